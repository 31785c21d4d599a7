//! `SPEECH=openai`: what a call is told is spoken by the model's voice and fetched by Twilio, or read by Twilio where
//! that voice is slow or fails.

use crate::support::app::{Answer, CALLER, Database, OURS, TestApp, on_both_databases};
use crate::support::caller::Phone;
use crate::support::fake_audio::{sound_of, wav};
use crate::support::fake_llm::Between;
use crate::support::said::{APOLOGY, DID_NOT_HEAR};
use crate::support::scripted_server::Gate;
use crate::support::wait::{PATIENCE, until};
use futures_util::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};

pub const STORY: [&str; 3] = [
    "Once upon a time there was a telephone that nobody ever wanted to answer again. ",
    "Then one day somebody called it, and it spoke for the very first time in years. ",
    "They lived happily ever after.",
];
pub const GREETING: &str = "Hello! How can I help you?";
pub const ANSWER: &str = "This is the scripted answer.";

/// A gateway whose calls are spoken by OpenAI's voices, one sound for each voice and sentence.
pub async fn speaking(database: &Database, more: &[(&str, &str)]) -> TestApp {
    let settings = [SPOKEN, more].concat();
    let app = TestApp::start_with(database, &settings).await;
    app.llm.speech_tells_words();
    app
}

const SPOKEN: &[(&str, &str)] = &[("SPEECH", "openai"), ("MAX_RETRIES", "0")];

/// Somebody who calls and has heard the greeting, whose sound is there from then on.
async fn caller(app: &TestApp) -> Phone {
    let before = app.llm.speech_requests().len();
    let phone = app.dials(CALLER, OURS).await;
    assert_eq!(phone.hears(), [GREETING]);
    speeches(app, before + 1).await;
    phone
}

/// Fetches a URL as Twilio does, without a signature.
pub async fn fetch(app: &TestApp, url: &str) -> Answer {
    Answer::of(app.http.get(url)).await
}

/// What is heard: the words that are read, and the sound that is played.
async fn hears(app: &TestApp, phone: &Phone) -> Vec<String> {
    let heard = phone.hears().iter().map(|heard| async move {
        if !heard.contains("/speech/") {
            return heard.clone();
        }
        let sound = fetch(app, heard).await;
        assert_eq!((sound.status, sound.headers["content-type"].as_str()), (200, "audio/mpeg"), "{}", sound.body);
        sound.body
    });
    join_all(heard).await
}

/// The sound of a sentence, as text.
pub fn said(voice: &str, sentence: &str) -> String {
    String::from_utf8(sound_of(voice, sentence.trim())).unwrap()
}

/// Waits until so many sentences were asked of the speech endpoint.
pub async fn speeches(app: &TestApp, count: usize) {
    until(|| app.llm.speech_requests().len() >= count, || format!("{:?}", app.llm.speech_requests())).await;
}

on_both_databases! {
    async fn an_answer_is_played_sentence_by_sentence_while_the_model_still_writes(database) {
        let app = speaking(&database, &[]).await;
        let mut phone = caller(&app).await.step_by_step();
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(2);
        phone.says("Tell me a story").await;
        assert_eq!(hears(&app, &phone).await, [said("nova", STORY[0])]);
        gate.open();
        // The greeting and all three sentences: what comes next is made before it is asked for.
        speeches(&app, 4).await;
        while !phone.is_heard() {
            phone.goes_on().await;
        }
        assert_eq!(hears(&app, &phone).await, STORY.map(|sentence| said("nova", sentence)), "in order, each once");
        assert_eq!(app.llm.speech_requests().len(), 4, "each sentence is made once");
        assert_eq!(app.llm.speech_requests()[1]["model"], "gpt-4o-mini-tts");
        for exchange in phone.trace().to_vec().iter().filter(|exchange| exchange.path().contains("/turns/")) {
            assert_eq!(phone.redeliver(exchange).await.body, exchange.answer.body, "{}", exchange.path());
        }
        let turn = &app.get("/history/1/conversations").await[0];
        assert_eq!((&turn["gpt_response"], &turn["heard_text"]), (&json!(STORY.concat()), &json!(null)));
    }

    async fn a_url_gives_the_sound_to_whoever_has_it_and_a_known_one_is_not_sent_again(database) {
        let app = speaking(&database, &[]).await;
        let mut phone = caller(&app).await;
        app.llm.synthesises(&wav());
        phone.says("Hello").await;
        let url = phone.hears()[0].clone();
        assert!(!url.contains("scripted"), "a URL tells no words: {url}");
        let sound = app.http.get(&url).send().await.unwrap();
        let header = |name| sound.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((sound.status().as_u16(), header("content-type").as_str()), (200, "audio/wav"));
        assert_eq!(header("content-length"), wav().len().to_string());
        assert_eq!(header("cache-control"), "private, no-cache", "it may name other words later");
        let etag = header("etag");
        assert_eq!(sound.bytes().await.unwrap(), wav());
        let known = Answer::of(app.http.get(&url).header("if-none-match", &etag)).await;
        assert_eq!((known.status, known.body.as_str(), &known.headers["etag"]), (304, "", &etag));
        let other = Answer::of(app.http.get(&url).header("if-none-match", "\"other\"")).await;
        assert_eq!(other.status, 200);
        let head = Answer::of(app.http.head(&url)).await;
        assert_eq!((head.status, head.headers["content-type"].as_str(), head.body.as_str()), (200, "audio/wav", ""));
        assert_eq!(app.llm.speech_requests().len(), 2, "the greeting and the answer");
    }

    async fn a_url_that_was_made_up_or_is_too_old_gives_nothing(database) {
        let app = speaking(&database, &[]).await;
        let mut phone = caller(&app).await;
        phone.says("Hello").await;
        let url = phone.hears()[0].clone();
        let (body, seal) = url.rsplit_once('.').unwrap();
        for forged in [format!("{body}x.{seal}"), format!("{body}.{}", &seal[1..]), format!("{}/speech/x", app.base)] {
            let answer = fetch(&app, &forged).await;
            assert_eq!((answer.status, answer.headers.contains_key("etag")), (404, false), "{forged}");
        }
        app.clock.advance(14 * 60);
        assert_eq!(fetch(&app, &url).await.status, 200, "a call may take its time");
        app.clock.advance(17 * 60);
        assert_eq!(fetch(&app, &url).await.status, 404);
    }

    async fn words_that_were_deleted_are_not_spoken_any_more(database) {
        let app = speaking(&database, &[]).await;
        let mut phone = caller(&app).await;
        phone.says("Hello").await;
        let url = phone.hears()[0].clone();
        assert_eq!(app.api("DELETE", "/users/1", None).await.status, 204);
        assert_eq!(fetch(&app, &url).await.status, 404);
    }

    async fn a_sentence_that_cannot_be_spoken_is_read_by_twilio_in_the_same_turn(database) {
        let app = speaking(&database, &[]).await;
        let mut phone = caller(&app).await;
        app.llm.speech_fails(500);
        phone.says("Hello").await;
        assert_eq!(phone.hears(), [ANSWER]);
        let failed = Instant::now();
        while phone.hears() == [ANSWER] {
            assert!(failed.elapsed() < PATIENCE, "the voice is never tried again");
            tokio::time::sleep(Duration::from_millis(50)).await;
            phone.says("And now?").await;
        }
        assert_eq!(hears(&app, &phone).await, [said("nova", ANSWER)]);
    }

    async fn a_sentence_whose_sound_is_late_is_read_by_twilio_in_the_same_turn(database) {
        let app = speaking(&database, &[("VOICE_REPLY_BUDGET", "0.5")]).await;
        let mut phone = caller(&app).await;
        let gate = app.llm.speech_waits();
        phone.says("Hello").await;
        assert_eq!(phone.hears(), [ANSWER]);
        assert!(phone.trace().iter().all(|exchange| exchange.took < Duration::from_secs(2)), "{:?}", phone.trace());
        gate.open();
    }

    async fn an_answer_whose_sound_is_late_in_the_middle_is_told_to_its_end(database) {
        let app = speaking(&database, &[("VOICE_REPLY_BUDGET", "1")]).await;
        let mut phone = caller(&app).await.step_by_step();
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(2);
        phone.says("Tell me a story").await;
        assert_eq!(hears(&app, &phone).await, [said("nova", STORY[0])]);
        let late = app.llm.speech_waits();
        gate.open();
        while !phone.is_heard() {
            phone.goes_on().await;
        }
        assert!(phone.hears().iter().any(|heard| heard.contains("ever after.") || heard.contains("very first")), "read");
        late.open();
        let words: Vec<_> = hears(&app, &phone).await.iter().map(|heard| heard.replace("ID3 nova: ", "")).collect();
        assert_eq!(words.join(" "), STORY.concat());
    }

    async fn a_voice_that_keeps_failing_is_left_alone(database) {
        let app = speaking(&database, &[]).await;
        let mut phone = caller(&app).await;
        for turn in 0..10 {
            app.llm.speech_fails(503);
            app.llm.says(&format!("This is answer number {turn}."));
            phone.says("Hello").await;
            assert_eq!(phone.hears(), [format!("This is answer number {turn}.")]);
        }
        let asked = app.llm.speech_requests().len() - 1;
        assert!((1..5).contains(&asked), "{asked} of 10 answers");
        let again = app.dials(CALLER, OURS).await;
        assert_eq!(hears(&app, &again).await, [said("nova", GREETING)], "what is there is played all the same");
    }

    async fn many_who_fetch_the_same_sentence_have_it_made_once_by_whichever_gateway_they_ask(database) {
        let app = speaking(&database, &[]).await;
        let mut phone = caller(&app).await;
        phone.says("Hello").await;
        let path = phone.hears()[0].strip_prefix(&app.base).unwrap().to_owned();
        let app = app.restart(&database, SPOKEN).await;
        let before = app.llm.speech_requests().len();
        let gate = app.llm.speech_waits();
        let url = format!("{}{path}", app.base);
        let open = async {
            speeches(&app, before + 1).await;
            gate.open();
        };
        let (answers, ()) = tokio::join!(join_all((0..20).map(|_| fetch(&app, &url))), open);
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == said("nova", ANSWER)), "{answers:?}");
        assert_eq!(app.llm.speech_requests().len(), before + 1);
    }

    async fn sound_that_cannot_be_had_is_an_error_of_the_gateway(database) {
        let app = speaking(&database, &[]).await;
        let mut phone = caller(&app).await;
        phone.says("Hello").await;
        let path = phone.hears()[0].strip_prefix(&app.base).unwrap().to_owned();
        let app = app.restart(&database, SPOKEN).await;
        app.llm.speech_fails(500);
        let url = format!("{}{path}", app.base);
        assert_eq!(fetch(&app, &url).await.status, 503);
        assert_eq!(fetch(&app, &url).await.status, 200, "a failure is not kept");
    }

    async fn fixed_sentences_are_read_the_first_time_and_played_from_then_on(database) {
        let app = speaking(&database, &[]).await;
        let mut first = caller(&app).await;
        first.stays_silent().await;
        assert_eq!(first.hears(), [DID_NOT_HEAR]);
        first.says("Goodbye").await;
        assert_eq!(first.hears(), ["Goodbye!"]);
        speeches(&app, 3).await;
        let mut second = app.dials(CALLER, OURS).await;
        assert_eq!(hears(&app, &second).await, [said("nova", GREETING)]);
        second.stays_silent().await;
        assert_eq!(hears(&app, &second).await, [said("nova", DID_NOT_HEAR)]);
        second.says("Goodbye").await;
        assert_eq!(hears(&app, &second).await, [said("nova", "Goodbye!")]);
        assert!(second.has_ended());
        assert_eq!(app.llm.speech_requests().len(), 3);
    }

    async fn a_document_that_is_delivered_again_is_the_same_though_its_sound_is_there_by_then(database) {
        let person = [("TRANSFER_NUMBER", "+14155550177"), ("VOICE_REPLY_BUDGET", "0.1")];
        let app = speaking(&database, &person).await;
        let through_all = async |number: &str| {
            let mut phone = app.dials(CALLER, OURS).await;
            let mut heard = phone.hears().to_vec();
            phone.presses("0").await;
            heard.extend_from_slice(phone.hears());
            phone.dial_ends("no-answer", 0).await;
            heard.extend_from_slice(phone.hears());
            phone.presses("1").await;
            heard.extend_from_slice(phone.hears());
            phone.leaves_message(number, &format!("{}/{number}", app.twilio.base_url()), 3).await;
            heard.extend_from_slice(phone.hears());
            (phone, heard)
        };
        let (first, read) = through_all("RE1").await;
        assert!(read.len() >= 5 && !read.iter().any(|heard| heard.contains("/speech/")), "{read:?}");
        speeches(&app, read.len()).await;
        let (second, played) = through_all("RE2").await;
        assert!(played.iter().all(|heard| heard.contains("/speech/")), "{played:?}");
        app.clock.advance(16 * 60);
        for phone in [first, second] {
            for exchange in phone.trace() {
                assert_eq!(phone.redeliver(exchange).await.body, exchange.answer.body, "{}", exchange.path());
            }
        }
    }

    async fn an_answer_is_played_again_from_the_sound_that_is_there(database) {
        let app = speaking(&database, &[]).await;
        let mut phone = caller(&app).await;
        app.llm.says(&STORY.concat());
        phone.says("Tell me a story").await;
        let story = STORY.map(|sentence| said("nova", sentence));
        assert_eq!(hears(&app, &phone).await, story);
        phone.presses("*").await;
        assert_eq!(hears(&app, &phone).await, story);
        assert_eq!(app.llm.speech_requests().len(), 4);
    }

    async fn an_answer_that_breaks_off_is_told_with_an_apology_of_the_same_voice(database) {
        let app = speaking(&database, &[]).await;
        for (call, apology) in [APOLOGY.to_owned(), said("nova", APOLOGY)].into_iter().enumerate() {
            let mut phone = app.dials(CALLER, OURS).await;
            app.llm.breaks_mid_stream("So much is sure. And then there");
            app.llm.fails(500);
            phone.says("Tell me").await;
            let heard = hears(&app, &phone).await;
            assert_eq!(heard.last(), Some(&apology));
            assert_eq!(heard.len(), 2, "nothing is lost: {heard:?}");
            assert!(heard[0].contains("So much is sure."), "{heard:?}");
            speeches(&app, 3).await;
            assert_eq!(app.llm.speech_requests().len(), 3, "call {call}");
        }
    }

    async fn the_voice_is_the_preferred_one_of_openais_or_the_default(database) {
        let app = speaking(&database, &[]).await;
        let user = app.user("ada", CALLER).await;
        let made = app.create(&format!("/preferences/?user_id={user}"), json!({ "tts_voice": "onyx" })).await;
        for (preferred, voice) in [("onyx", "onyx"), ("Echo", "echo"), ("Polly.Ruth-Neural", "nova")] {
            let path = format!("/preferences/{}", made["id"]);
            let changed = app.api("PUT", &path, Some(json!({ "tts_voice": preferred }))).await;
            assert_eq!(changed.status, 200, "{}", changed.body);
            let mut phone = app.dials(CALLER, OURS).await;
            phone.says("Hello").await;
            assert_eq!(hears(&app, &phone).await, [said(voice, ANSWER)]);
        }
    }

    async fn without_the_setting_twilio_reads_and_nothing_is_spoken(database) {
        let app = TestApp::start(&database).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        assert_eq!(phone.hears(), [ANSWER]);
        assert!(app.llm.speech_requests().is_empty());
        assert_eq!(fetch(&app, &format!("{}/speech/x.y", app.base)).await.status, 404);
    }

    async fn urls_are_below_the_public_address(database) {
        let app = speaking(&database, &[("PUBLIC_BASE_URL", "https://voice.example.com/gateway")]).await;
        let mut phone = caller(&app).await;
        phone.says("Hello").await;
        let path = phone.hears()[0].strip_prefix("https://voice.example.com").unwrap();
        assert!(path.starts_with("/gateway/speech/"), "{path}");
        assert_eq!(fetch(&app, &format!("{}{path}", app.base)).await.body, said("nova", ANSWER));
    }
}

#[tokio::test]
async fn another_instance_gives_out_what_one_has_told() {
    let Some(database) = Database::postgres().await else { return };
    let (one, other) = tokio::join!(speaking(&database, &[]), speaking(&database, &[]));
    let mut phone = caller(&one).await;
    one.llm.says(&STORY.concat());
    phone.says("Tell me a story").await;
    assert_eq!(phone.hears().len(), 3);
    for (url, sentence) in phone.hears().iter().zip(STORY) {
        let path = url.strip_prefix(&one.base).unwrap();
        assert_eq!(fetch(&other, &format!("{}{path}", other.base)).await.body, said("nova", sentence));
    }
}
