//! `SPEECH=openai`: what a call is told is spoken by the model's voice and fetched by Twilio, or read by Twilio where that
//! voice is slow or fails.

use crate::support::app::{Answer, CALLER, Database, OURS, TestApp, on_both_databases};
use crate::support::caller::Phone;
use crate::support::fake_audio::{sound_of, wav};
use crate::support::fake_llm::Between;
use crate::support::scripted_server::Gate;
use crate::support::wait::until;
use serde_json::json;

const STORY: [&str; 3] = [
    "Once upon a time there was a telephone that nobody ever wanted to answer again. ",
    "Then one day somebody called it, and it spoke for the very first time in years. ",
    "They lived happily ever after.",
];
const GREETING: &str = "Hello! How can I help you?";

async fn spoken(database: &Database) -> TestApp {
    spoken_with(database, &[]).await
}

async fn spoken_with(database: &Database, more: &[(&str, &str)]) -> TestApp {
    let settings = [&[("SPEECH", "openai"), ("MAX_RETRIES", "0")], more].concat();
    let app = TestApp::start_with(database, &settings).await;
    app.llm.speech_tells_words();
    app
}

/// Somebody who calls, and hears the greeting.
async fn caller(app: &TestApp) -> Phone {
    app.dials(CALLER, OURS).await
}

/// Fetches a URL as Twilio does, without a signature.
async fn fetch(app: &TestApp, url: &str) -> Answer {
    Answer::of(app.http.get(url)).await
}

/// The words of all that is heard, read or played.
async fn words(app: &TestApp, heard: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for heard in heard {
        words.push(if is_url(heard) { fetch(app, heard).await.body } else { heard.clone() });
    }
    words
}

fn is_url(heard: &str) -> bool {
    heard.contains("/speech/")
}

fn said(voice: &str, words: &str) -> String {
    String::from_utf8(sound_of(voice, words.trim())).unwrap()
}

/// Waits until so many sentences were asked of the speech endpoint.
async fn speeches(app: &TestApp, count: usize) {
    until(|| app.llm.speech_requests().len() >= count, || format!("{:?}", app.llm.speech_requests())).await;
}

on_both_databases! {
    async fn an_answer_is_played_sentence_by_sentence_while_the_model_still_writes(database) {
        let app = spoken(&database).await;
        let mut phone = caller(&app).await;
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(2);
        let mut phone = { phone = phone.step_by_step(); phone };
        phone.says("Tell me a story").await;
        assert_eq!(words(&app, phone.hears()).await, [said("nova", STORY[0])]);
        gate.open();
        // What comes next is being spoken before it is asked for: the greeting and the three sentences.
        speeches(&app, 4).await;
        while !phone.is_heard() {
            phone.goes_on().await;
        }
        assert_eq!(words(&app, phone.hears()).await, STORY[1..].iter().map(|words| said("nova", words)).collect::<Vec<_>>());
        assert_eq!(app.llm.speech_requests().len(), 4, "each sentence once");
        let turn = &app.get("/history/1/conversations").await[0];
        assert_eq!((&turn["gpt_response"], &turn["heard_text"]), (&json!(STORY.concat()), &json!(null)));
    }
}
