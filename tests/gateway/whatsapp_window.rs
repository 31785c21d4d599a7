//! On WhatsApp nobody is written to freely who has not written for a day.

use crate::api_support::problem;
use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use serde_json::json;

const DAY: i64 = 24 * 3600;

async fn whatsapp(app: &TestApp, sid: &str, body: &str) {
    let (from, to) = (format!("whatsapp:{CALLER}"), format!("whatsapp:{OURS}"));
    let fields = [("MessageSid", sid), ("From", &*from), ("To", &*to), ("Body", body)];
    assert!(app.webhook("/twilio/sms", &fields).await.messaging().is_empty());
}

on_both_databases! {
    async fn a_reply_that_could_not_be_sent_for_a_day_fails(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails(401, 20003);
        let gate = app.llm.decides("yes", "At five.").waits();
        whatsapp(&app, "SM1", "When?").await;
        gate.open();
        app.until("/health/", |health| health["sending"] == "paused").await;
        app.until("/jobs/?state=waiting", |jobs| jobs[0]["last_error"].is_string()).await;
        app.later(DAY + 60);
        let text = app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "failed").await[0].clone();
        assert_eq!((&text["error_code"], app.twilio.post_count()), (&json!(63016), 1));
        assert!(text["error_meaning"].as_str().unwrap().contains("24 hours"), "{text}");
    }

    async fn a_draft_is_kept_until_they_write_again(database) {
        let app = TestApp::start_with(&database, &[("AUTO_REPLY_DEFAULT", "false")]).await;
        app.llm.decides("yes", "At five.");
        whatsapp(&app, "SM1", "When?").await;
        let draft = app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "draft").await[0]["id"].clone();
        app.later(DAY + 60);
        let send = async || app.api("POST", &format!("/sms/{draft}/send"), Some(json!({}))).await;
        let told = problem(&send().await, 409);
        assert!(told["detail"].as_str().unwrap().contains("24 hours"), "{told}");
        app.llm.decides("yes", "Soon.");
        whatsapp(&app, "SM2", "Hello?").await;
        assert_eq!(send().await.status, 200);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "At five.");
    }
}
