//! One thought in several texts gets one reply.

use crate::support::app::{CALLER, TestApp, on_both_databases};
use crate::support::scripted_server::Gate;
use serde_json::{Value, json};

/// The last words of the prompt `n`.
fn asked(app: &TestApp, n: usize) -> Value {
    app.llm.requests()[n]["messages"].as_array().unwrap().last().unwrap()["content"].clone()
}

on_both_databases! {
    async fn texts_that_follow_each_other_are_answered_together(database) {
        let app = TestApp::start_with(&database, &[("SMS_QUIET_WINDOW", "20")]).await;
        app.llm.decides("yes", "Two pizzas, gladly.");
        for (sid, words) in [("SM1", "I want"), ("SM2", "two"), ("SM3", "pizzas"), ("SM2", "two")] {
            assert!(app.text(sid, CALLER, words).await.messaging().is_empty());
        }
        assert_eq!(app.llm.request_count(), 0);
        app.later(21);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "Two pizzas, gladly.");
        assert_eq!(asked(&app, 0), "I want\ntwo\npizzas");
        let texts = app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        let with: Vec<_> = texts.as_array().unwrap().iter().map(|text| &text["answered_with"]).collect();
        assert_eq!(with, [&json!(null), &texts[0]["id"], &texts[0]["id"]]);

        app.llm.decides("yes", "Coming.");
        app.text("SM4", CALLER, "When?").await;
        app.later(21);
        assert_eq!(app.twilio.wait_for_sent(2).await[1].body, "Coming.");
        let told = app.llm.requests()[1]["messages"].to_string();
        assert!(told.contains(r"I want\ntwo\npizzas") && told.contains("gladly"), "all is remembered: {told}");
    }

    async fn who_goes_on_writing_is_answered_after_half_a_minute(database) {
        let app = TestApp::start_with(&database, &[("SMS_QUIET_WINDOW", "20")]).await;
        app.text("SM1", CALLER, "One").await;
        app.later(15);
        app.text("SM2", CALLER, "two").await;
        app.later(10);
        app.text("SM3", CALLER, "three").await;
        assert_eq!(app.llm.request_count(), 0);
        app.llm.decides("yes", "Enough.");
        app.later(6);
        app.twilio.wait_for_sent(1).await;
        assert_eq!(asked(&app, 0), "One\ntwo\nthree");
    }

    async fn a_text_that_comes_while_the_answer_is_written_is_answered_next(database) {
        let app = TestApp::start_with(&database, &[("SMS_QUIET_WINDOW", "5")]).await;
        let gate = app.llm.decides("yes", "To the first.").waits();
        app.text("SM1", CALLER, "First").await;
        app.later(6);
        app.llm.wait_for_requests(1).await;
        app.text("SM2", CALLER, "Second").await;
        app.llm.decides("yes", "To the second.");
        app.later(6);
        gate.open();
        let sent = app.twilio.wait_for_sent(2).await;
        assert_eq!((sent[0].body.as_str(), sent[1].body.as_str()), ("To the first.", "To the second."));
        assert_eq!((asked(&app, 0), asked(&app, 1)), (json!("First"), json!("Second")));
    }

    async fn however_many_write_at_the_same_time_nobody_waits_for_anothers_answer(database) {
        const PEOPLE: usize = 100;
        let app = TestApp::start_with(&database, &[("SMS_QUIET_WINDOW", "5")]).await;
        app.llm.always_decides("yes", "At last.");
        let gates: Vec<_> = (0..PEOPLE).map(|_| app.llm.decides("yes", "At last.").waits()).collect();
        let texts = (0..PEOPLE).map(|n| {
            let app = &app;
            async move { app.text(&format!("SM{n}"), &format!("+1415555{n:04}"), "Hello").await }
        });
        futures_util::future::join_all(texts).await;
        app.later(6);
        app.llm.wait_for_in_flight(PEOPLE).await;
        gates.iter().for_each(Gate::open);
        assert_eq!(app.twilio.wait_for_sent(PEOPLE).await.len(), PEOPLE);
    }

    async fn drafts_are_written_for_all_of_them_too(database) {
        let app = TestApp::start_with(&database, &[("SMS_QUIET_WINDOW", "5"), ("AUTO_REPLY_DEFAULT", "false")]).await;
        app.llm.decides("no", "Perhaps.");
        app.text("SM1", CALLER, "Could you").await;
        app.text("SM2", CALLER, "come?").await;
        app.later(6);
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "draft").await;
        assert_eq!((asked(&app, 0), app.twilio.post_count()), (json!("Could you\ncome?"), 0));
    }
}
