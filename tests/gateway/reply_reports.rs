//! What Twilio reports of replies, whichever way they went.

use crate::support::app::{Answer, CALLER, TestApp, on_both_databases};
use serde_json::{Value, json};

async fn reports(app: &TestApp, path: &str, sid: &str, status: &str, more: &[(&str, &str)]) -> Answer {
    let fields = [&[("MessageSid", sid), ("MessageStatus", status)], more].concat();
    let answer = app.webhook(path, &fields).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    answer
}

async fn status(app: &TestApp) -> Value {
    app.get("/history/1/sms").await[0]["reply_status"].clone()
}

on_both_databases! {
    async fn the_delivery_of_a_reply_in_the_webhooks_answer_is_followed(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", "At once.");
        let answer = app.text("SM1", CALLER, "Hello").await.messaging();
        let path = answer.find("Message").unwrap().attr("statusCallback").unwrap().to_owned();
        for (reported, shown) in [("queued", "queued"), ("sent", "sent"), ("queued", "sent"), ("delivered", "delivered")] {
            reports(&app, &path, "SMreply", reported, &[]).await;
            assert_eq!(status(&app).await, shown);
        }
        reports(&app, &path, "SMother", "failed", &[]).await;
        assert_eq!(status(&app).await, "delivered", "another message is not this reply");
        assert!(app.text("SM1", CALLER, "Hello").await.messaging().is_empty(), "Twilio has the reply already");
    }

    async fn a_report_settles_a_send_whose_answer_was_lost(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.accepts_but_drops_connection();
        let gate = app.llm.decides("yes", "Once only.").waits();
        app.text("SM1", CALLER, "Hello").await;
        gate.open();
        let sent = app.twilio.wait_for_sent(1).await;
        let jobs = app.until("/jobs/?state=waiting", |jobs| jobs[0]["last_error"].is_string()).await;
        reports(&app, &format!("/twilio/sms/status/{}", jobs[0]["id"]), &sent[0].sid, "delivered", &[]).await;
        app.later(60);
        app.until("/jobs/", |jobs| jobs == &json!([])).await;
        assert_eq!((status(&app).await, app.twilio.post_count(), app.twilio.lookup_count()), (json!("delivered"), 1, 0));
    }

    async fn an_error_is_told_in_words(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", "Nobody gets this.");
        let answer = app.text("SM1", CALLER, "Hello").await.messaging();
        let path = answer.find("Message").unwrap().attr("statusCallback").unwrap().to_owned();
        assert!(path.ends_with("#rc=2&rp=all"), "a report that finds the gateway restarting is delivered again: {path}");
        reports(&app, &path, "SMreply", "undelivered", &[("ErrorCode", "30006")]).await;
        let text = app.get("/history/1/sms").await[0].clone();
        assert_eq!((&text["reply_status"], &text["error_code"]), (&json!("undelivered"), &json!(30006)));
        assert!(text["error_meaning"].as_str().unwrap().contains("landline"), "{text}");
    }

    async fn the_operator_may_name_another_address_for_reports(database) {
        let named = "https://reports.example.com/twilio?tenant=7";
        let app = TestApp::start_with(&database, &[("SMS_STATUS_CALLBACK", named), ("SMS_REPLY_BUDGET", "1")]).await;
        app.llm.decides("yes", "At once.");
        let answer = app.text("SM1", CALLER, "Hello").await.messaging();
        assert_eq!(answer.find("Message").unwrap().attr("statusCallback"), Some(named));
        let gate = app.llm.decides("yes", "Later.").waits();
        app.text("SM2", CALLER, "And now?").await;
        gate.open();
        assert_eq!(app.twilio.wait_for_sent(1).await[0].status_callback.as_deref(), Some(named));
    }
}
