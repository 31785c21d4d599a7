//! Speech and transcription.

use std::time::Instant;

use super::{fake::*, *};

const MP3: &str = "ID3\u{4}\0 and so on";
const WAV: &str = "RIFF\0\0\0\0WAVEfmt ";

async fn speak(script: impl IntoIterator<Item = Step>) -> (Result<Audio, LlmError>, Vec<Request>) {
    let fake = Fake::answering(script).await;
    (model(&fake).speak("Hello.", "nova", LONG).await, fake.requests())
}

async fn transcribe(script: impl IntoIterator<Item = Step>) -> (Result<String, LlmError>, Vec<Request>) {
    let fake = Fake::answering(script).await;
    (model(&fake).transcribe(WAV, "message.wav", Some("es"), LONG).await, fake.requests())
}

fn mp3() -> Audio {
    Audio { bytes: MP3.into(), content_type: "audio/mpeg" }
}

fn audio(body: &str) -> Step {
    status(200, "content-type: audio/mpeg\r\n", body)
}

#[tokio::test]
async fn speech_is_asked_for_and_comes_as_it_is() {
    let (answer, sent) = speak([audio(MP3)]).await;
    assert_eq!(answer, Ok(mp3()));
    assert!(sent[0].head.starts_with("POST /v1/audio/speech HTTP/1.1\r\n"), "{}", sent[0].head);
    assert!(sent[0].head.to_lowercase().contains("\r\nauthorization: bearer sk-secret\r\n"));
    let body = json!({"model": "speaking", "input": "Hello.", "voice": "nova", "response_format": "mp3"});
    assert_eq!(sent[0].body, body);
}

#[tokio::test]
async fn the_format_is_asked_for_as_configured_and_named_as_it_came() {
    let fake = Fake::answering([audio(WAV), audio(MP3)]).await;
    let mut settings = settings(fake.url());
    settings.speech.tts_format = TtsFormat::Wav;
    let model = Llm::new(&settings).unwrap();
    assert_eq!(model.speak("Hello.", "nova", LONG).await.unwrap().content_type, "audio/wav");
    assert_eq!(fake.requests()[0].body["response_format"], "wav");
    assert_eq!(model.speak("Hello.", "nova", LONG).await, Ok(mp3()));
}

#[tokio::test]
async fn what_is_no_audio_is_no_speech() {
    for body in ["", r#"{"error":{"message":"busy"}}"#, "<html>busy</html>", "OggS"] {
        let (answer, sent) = speak([audio(body), audio(MP3)]).await;
        assert_eq!(answer, Err(LlmError::Unusable("it is no audio that a call can play")), "{body}");
        assert_eq!(sent.len(), 1);
    }
}

#[tokio::test]
async fn passing_failures_of_speech_are_retried_and_others_are_not() {
    let cut = Step::Close("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nID3".into());
    let failures = [status(429, "", ""), status(500, "", "oops"), cut];
    let (answer, sent) = speak(failures.into_iter().chain([audio(MP3)])).await;
    assert_eq!((answer, sent.len()), (Ok(mp3()), 4));
    let (answer, sent) = speak([status(404, "", "no such path"), audio(MP3)]).await;
    assert_eq!((answer, sent.len()), (Err(LlmError::Rejected { status: 404 }), 1));
}

#[tokio::test]
async fn speech_that_does_not_come_in_time_is_given_up() {
    let fake = Fake::answering([Step::Hang, audio(MP3)]).await;
    let start = Instant::now();
    assert_eq!(model(&fake).speak("Hi.", "nova", Duration::from_millis(100)).await, Err(LlmError::Timeout));
    assert!(start.elapsed() < LONG / 2);
    fake.gone.notified().await;
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_text_that_is_too_long_is_not_even_sent() {
    let fake = Fake::answering([audio(MP3)]).await;
    let model = model(&fake);
    let too_long = model.speak(&"é".repeat(4097), "nova", LONG).await;
    assert_eq!((too_long, fake.requests().len()), (Err(LlmError::Rejected { status: 400 }), 0));
    assert!(model.speak(&"é".repeat(4096), "nova", LONG).await.is_ok());
}

#[tokio::test]
async fn a_recording_is_sent_as_a_form_and_its_words_come_back() {
    let (answer, sent) = transcribe([ok(r#"{"text":" Call me. "}"#)]).await;
    assert_eq!(answer, Ok("Call me.".to_owned()));
    assert!(sent[0].head.starts_with("POST /v1/audio/transcriptions HTTP/1.1\r\n"), "{}", sent[0].head);
    let form = String::from_utf8(sent[0].bytes.clone()).unwrap();
    for part in [
        "name=\"model\"\r\n\r\nhearing\r\n".to_owned(),
        "name=\"language\"\r\n\r\nes\r\n".to_owned(),
        "name=\"file\"; filename=\"message.wav\"\r\n".to_owned(),
        format!("\r\n\r\n{WAV}\r\n"),
    ] {
        assert!(form.contains(&part), "{part:?} is not in {form:?}");
    }
}

#[tokio::test]
async fn transcripts_in_other_forms_are_read() {
    assert_eq!(transcribe([status(200, "content-type: text/plain\r\n", "Call me.\n")]).await.0.unwrap(), "Call me.");
    assert_eq!(transcribe([ok(r#"{"text":""}"#)]).await.0.unwrap(), "");
    let (answer, sent) = transcribe([ok("<html>busy</html>"), ok(r#"{"text":"Hi."}"#)]).await;
    assert_eq!((answer, sent.len()), (Err(LlmError::Unusable("it is not JSON")), 1));
}

#[tokio::test]
async fn passing_failures_of_transcription_are_retried_with_the_whole_form() {
    let busy = ok(r#"{"error":{"code":503,"message":"busy"}}"#);
    let (answer, sent) = transcribe([status(429, "", ""), busy, ok(r#"{"text":"Hi."}"#)]).await;
    assert_eq!((answer.unwrap().as_str(), sent.len()), ("Hi.", 3));
    assert!(sent.iter().all(|request| String::from_utf8_lossy(&request.bytes).contains(WAV)));
    let (answer, sent) = transcribe([status(400, "", "bad audio"), ok(r#"{"text":"Hi."}"#)]).await;
    assert_eq!((answer, sent.len()), (Err(LlmError::Rejected { status: 400 }), 1));
}

#[tokio::test]
async fn what_is_not_configured_cannot_be_asked_for() {
    let fake = Fake::answering([]).await;
    let mut settings = settings(fake.url());
    settings.speech.transcribe_model = None;
    let deaf = Llm::new(&settings).unwrap();
    assert!(deaf.can_speak() && !deaf.can_transcribe());
    assert!(model(&fake).can_transcribe());
    assert!(!Llm::Offline.can_speak() && !Llm::Offline.can_transcribe());
    for llm in [deaf, Llm::Offline] {
        let refused = llm.transcribe(WAV, "message.wav", None, LONG).await;
        assert!(matches!(refused, Err(LlmError::Unusable(_))), "{refused:?}");
    }
    assert!(matches!(Llm::Offline.speak("Hi.", "nova", LONG).await, Err(LlmError::Unusable(_))));
    assert!(fake.requests().is_empty());
}
