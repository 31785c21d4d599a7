//! The texts of one sender are answered one after the other, those of different senders at the same time.

use crate::support::app::{CALLER, Database, TestApp, on_both_databases};
use serde_json::json;
use std::time::Duration;

const OTHER: &str = "+14155550199";

/// The last words of each prompt, in the order in which the model was asked.
fn asked(app: &TestApp) -> Vec<String> {
    let last = |request: &serde_json::Value| request["messages"].as_array().unwrap().last().unwrap()["content"].clone();
    app.llm.requests().iter().map(|request| last(request).as_str().unwrap().to_owned()).collect()
}

on_both_databases! {
    async fn a_text_waits_for_the_ones_before_it_and_is_answered_as_soon_as_they_are(database) {
        let app = TestApp::start(&database).await;
        let gate = app.llm.decides("yes", "The first answer.").waits();
        let first = app.text("SM1", CALLER, "First");
        let meanwhile = async {
            app.llm.wait_for_requests(1).await;
            assert!(app.text("SM2", CALLER, "Second").await.messaging().is_empty(), "it is answered at once");
            app.llm.decides("yes", "To somebody else.");
            assert_eq!(app.text("SM3", OTHER, "Hello").await.messaging().messages(), ["To somebody else."]);
            assert_eq!(asked(&app), ["First", "Hello"]);
            app.llm.decides("yes", "The second answer.");
            gate.open();
        };
        let (first, ()) = tokio::join!(first, meanwhile);
        assert_eq!(first.messaging().messages(), ["The first answer."]);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "The second answer.");
        let told = app.llm.requests()[2]["messages"].to_string();
        assert!(told.contains("First") && told.contains("The first answer."), "the second knows of the first: {told}");
    }

    async fn what_arrives_while_an_answer_is_written_is_no_part_of_its_prompt(database) {
        let app = TestApp::start_with(&database, &[("MAX_RETRIES", "0"), ("SMS_REPLY_BUDGET", "0.1")]).await;
        app.llm.fails(500);
        app.text("SM1", CALLER, "First").await;
        app.llm.wait_for_requests(1).await;
        app.text("SM2", CALLER, "Second").await;
        app.llm.decides("yes", "One.");
        app.llm.decides("yes", "Two.");
        app.later(10);
        let sent = app.twilio.wait_for_sent(2).await;
        assert_eq!((sent[0].body.as_str(), sent[1].body.as_str()), ("One.", "Two."));
        assert_eq!(asked(&app), ["First", "First", "Second"]);
    }

    async fn texts_that_come_at_the_same_time_are_answered_in_the_order_of_the_history(database) {
        let app = TestApp::start(&database).await;
        app.llm.always_decides("yes", "An answer.");
        let words = ["one", "two", "three", "four", "five", "six"];
        let texts = words.map(|word| {
            let app = &app;
            async move { app.text(&format!("SM{word}"), CALLER, word).await.messaging().messages().len() }
        });
        let in_twiml: usize = futures_util::future::join_all(texts).await.into_iter().sum();
        app.twilio.wait_for_sent(words.len() - in_twiml).await;
        let history = app.until("/history/1/sms", |texts| {
            texts.as_array().unwrap().iter().all(|text| !matches!(text["reply_status"].as_str(), None | Some("pending" | "sending")))
        }).await;
        let mut written: Vec<_> = history.as_array().unwrap().iter().map(|text| text["incoming_text"].as_str().unwrap()).collect();
        written.reverse();
        assert_eq!(asked(&app), written);
        assert_eq!(in_twiml + app.twilio.sent().len(), words.len());
    }

    async fn a_text_whose_reply_was_given_up_holds_nobody_up(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails(400, 21211);
        let gate = app.llm.decides("yes", "Refused.").waits();
        app.text("SM1", CALLER, "First").await;
        app.text("SM2", CALLER, "Second").await;
        app.llm.decides("yes", "Taken.");
        gate.open();
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "Taken.");
        app.until("/history/1/sms", |texts| texts[1]["reply_status"] == json!("failed")).await;
    }

    async fn the_text_of_who_was_erased_holds_nobody_up(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.5")]).await;
        app.twilio.fails_with_retry_after(429, 20429, 600);
        let gate = app.llm.decides("yes", "Later.").waits();
        app.text("SM1", CALLER, "Hello").await;
        gate.open();
        app.until("/jobs/?state=waiting", |jobs| jobs[0]["last_error"].is_string()).await;
        assert_eq!(app.api("DELETE", "/users/1", None).await.status, 204);
        app.llm.decides("yes", "At once.");
        assert_eq!(app.text("SM2", CALLER, "Hello").await.messaging().messages(), ["At once."]);
    }

    async fn a_text_that_the_models_server_refuses_waits_for_a_person_and_holds_nobody_up(database) {
        let app = TestApp::start_with(&database, &[("MAX_RETRIES", "0")]).await;
        app.llm.fails(400);
        assert!(app.text("SM1", CALLER, "Something the filter does not like").await.messaging().is_empty());
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "draft").await;
        app.llm.decides("yes", "All day.");
        assert_eq!(app.text("SM2", CALLER, "Are you open today?").await.messaging().messages(), ["All day."]);
        let texts = app.get("/history/1/sms").await;
        assert_eq!((&texts[1]["reply_status"], &texts[1]["decision"]), (&json!("draft"), &json!("unsure")));
        assert!(texts[1]["reason"].as_str().unwrap().contains("400"), "{texts}");
    }

    async fn a_text_that_the_model_never_gets_done_with_waits_for_a_person_and_holds_nobody_up(database) {
        let settings = [("MAX_RETRIES", "0"), ("OPENAI_TIMEOUT", "0.1"), ("SMS_REPLY_BUDGET", "0.05")];
        let app = TestApp::start_with(&database, &settings).await;
        for _ in 0..8 {
            app.llm.hangs();
        }
        app.text("SM1", CALLER, "Something that takes for ever").await;
        app.llm.wait_for_requests(1).await;
        app.text("SM2", CALLER, "Are you open today?").await;
        app.llm.decides("yes", "All day.");
        for tries in 1..8 {
            let waits = |job: &serde_json::Value| job["state"] == "waiting" && job["attempts"] == tries;
            app.until("/jobs/", |jobs| waits(&jobs[1])).await;
            app.later(750);
        }
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "All day.");
        assert_eq!(app.get("/history/1/sms").await[1]["reply_status"], "draft");
    }
}

#[tokio::test]
async fn two_gateways_on_one_database_keep_the_order_too() {
    let Some(database) = Database::postgres().await else { return };
    let one = TestApp::start(&database).await;
    let settings = [("OPENAI_BASE_URL", one.llm.base_url()), ("TWILIO_API_BASE_URL", one.twilio.base_url())];
    let other = TestApp::start_with(&database, &settings.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    let gate = one.llm.decides("yes", "One.").waits();
    let first = one.text("SM1", CALLER, "First");
    let meanwhile = async {
        one.llm.wait_for_requests(1).await;
        assert!(other.text("SM2", CALLER, "Second").await.messaging().is_empty());
        one.llm.decides("yes", "Two.");
        gate.open();
    };
    let (first, ()) = tokio::join!(first, meanwhile);
    assert_eq!(first.messaging().messages(), ["One."]);
    assert_eq!(one.twilio.wait_for_sent(1).await[0].body, "Two.");
    assert_eq!(
        (asked(&one).as_slice(), one.twilio.post_count()),
        (["First".to_owned(), "Second".to_owned()].as_slice(), 1)
    );
}

#[tokio::test]
async fn a_gateway_whose_clock_is_ahead_leaves_alone_what_another_is_working_on() {
    let Some(database) = Database::postgres().await else { return };
    let one = TestApp::start(&database).await;
    let settings = [("OPENAI_BASE_URL", one.llm.base_url()), ("TWILIO_API_BASE_URL", one.twilio.base_url())];
    let other = TestApp::start_with(&database, &settings.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    let gate = one.llm.decides("yes", "Once.").waits();
    let skewed = async {
        one.llm.wait_for_requests(1).await;
        other.later(30);
        // It answers a text of its own, and takes up nothing else meanwhile.
        one.llm.decides("yes", "Twice.");
        assert_eq!(other.text("SM2", OTHER, "Hello").await.messaging().messages(), ["Twice."]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(one.text("SM1", CALLER, "Hello"), skewed);
    assert_eq!((one.llm.request_count(), answer.messaging().messages()), (2, vec!["Once.".to_owned()]));
}
