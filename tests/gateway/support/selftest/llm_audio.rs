use serde_json::{Value, json};

use crate::support::fake_audio::{mp3, wav};
use crate::support::fake_llm::FakeLlm;

async fn speak(llm: &FakeLlm, body: Value) -> reqwest::Response {
    reqwest::Client::new().post(format!("{}/audio/speech", llm.base_url())).json(&body).send().await.unwrap()
}

fn hello(format: &str) -> Value {
    json!({ "model": "m", "input": "Hello.", "voice": "nova", "response_format": format })
}

async fn transcribe(llm: &FakeLlm, parts: &str) -> reqwest::Response {
    let request = reqwest::Client::new().post(format!("{}/audio/transcriptions", llm.base_url()));
    request.header("Content-Type", "multipart/form-data; boundary=x-1").body(parts.to_owned()).send().await.unwrap()
}

const FORM: &str = "--x-1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRI\r\nFF\r\n\
    --x-1\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n\
    --x-1\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nes\r\n--x-1--\r\n";

#[tokio::test]
async fn speaks_in_order_then_with_the_standing_answers() {
    let llm = FakeLlm::start().await;
    llm.synthesises(b"ID3 first");
    llm.speech_fails(503);
    let first = speak(&llm, hello("mp3")).await;
    assert_eq!(first.headers()["content-type"], "audio/mpeg");
    assert_eq!(&first.bytes().await.unwrap()[..], b"ID3 first");
    assert_eq!(speak(&llm, hello("mp3")).await.status(), 503);
    assert_eq!(speak(&llm, hello("mp3")).await.bytes().await.unwrap(), mp3());
    let standing = speak(&llm, hello("wav")).await;
    assert_eq!(standing.headers()["content-type"], "audio/wav");
    assert_eq!(standing.bytes().await.unwrap(), wav());
    assert_eq!(llm.speech_requests().len(), 4);
    assert_eq!(llm.speech_requests()[0]["input"], "Hello.");
    assert_eq!(llm.request_count(), 0, "these are no chat completions");
}

#[tokio::test]
async fn holds_a_speech_and_refuses_what_no_server_would_take() {
    let llm = FakeLlm::start().await;
    let gate = llm.speech_waits();
    let opening = async {
        llm.wait_for_in_flight(1).await;
        gate.open();
    };
    assert_eq!(tokio::join!(speak(&llm, hello("mp3")), opening).0.status(), 200);
    for input in [String::new(), "x".repeat(4097)] {
        let refused = speak(&llm, json!({ "model": "m", "input": input, "voice": "nova" })).await;
        assert_eq!(refused.status(), 400);
    }
    assert_eq!(transcribe(&llm, "--x-1--").await.status(), 400);
}

#[tokio::test]
async fn transcribes_in_order_then_with_the_standing_answer() {
    let llm = FakeLlm::start().await;
    llm.transcribes("Call me.");
    llm.transcription_fails(500);
    let text = async |response: reqwest::Response| response.json::<Value>().await.unwrap()["text"].clone();
    assert_eq!(text(transcribe(&llm, FORM).await).await, "Call me.");
    assert_eq!(transcribe(&llm, FORM).await.status(), 500);
    assert_eq!(text(transcribe(&llm, FORM).await).await, "This is a scripted transcript.");
    let sent = llm.transcription_requests();
    assert_eq!(sent.len(), 3);
    assert_eq!((sent[0].file_name.as_str(), &sent[0].audio[..]), ("a.wav", &b"RI\r\nFF"[..]));
    assert_eq!((sent[0].model.as_str(), sent[0].language.as_deref()), ("m", Some("es")));
}
