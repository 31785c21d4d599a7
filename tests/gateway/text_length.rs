//! How long replies are: told, written again, cut, and counted.

use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use serde_json::json;

const LONG: &str = "All is well. ";

on_both_databases! {
    async fn a_reply_over_the_budget_is_written_again_once(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", &LONG.repeat(60));
        app.llm.decides("no", "In short: all is well.");
        assert_eq!(app.text("SM1", CALLER, "Hello").await.messaging().messages(), ["In short: all is well."]);
        let asked = app.llm.requests();
        assert!(asked[0]["messages"][0]["content"].as_str().unwrap().contains("at most 612 characters without emoji"));
        let again = asked[1]["messages"].as_array().unwrap();
        assert!(again[0]["content"].as_str().unwrap().contains("too long"));
        assert!(again.iter().any(|message| message["role"] == "assistant" && message["content"].to_string().contains(LONG)));
        let text = app.get("/history/1/sms").await[0].clone();
        assert_eq!((&text["decision"], &text["segments"]), (&json!("yes"), &json!(1)), "the decision stays");
    }

    async fn one_that_stays_too_long_is_cut_after_a_sentence(database) {
        let app = TestApp::start_with(&database, &[("SMS_MAX_SEGMENTS", "2"), ("SMS_SEGMENT_PRICE", "0.01")]).await;
        app.llm.decides("yes", &LONG.repeat(60));
        app.llm.decides("yes", &LONG.repeat(50));
        let reply = app.text("SM1", CALLER, "Hello").await.messaging().messages().remove(0);
        assert!(reply.len() <= 306 && reply.ends_with("well. ..."), "{reply}");
        let text = app.get("/history/1/sms").await[0].clone();
        assert_eq!((&text["segments"], &text["encoding"], &text["cost_estimate"]), (&json!(2), &json!("gsm7"), &json!(0.02)));
        assert_eq!(app.llm.request_count(), 2, "it is asked once more, not again and again");
    }

    async fn one_that_cannot_be_had_shorter_is_cut(database) {
        let app = TestApp::start_with(&database, &[("MAX_RETRIES", "0")]).await;
        app.llm.decides("yes", &LONG.repeat(60));
        app.llm.fails(500);
        let reply = app.text("SM1", CALLER, "Hello").await.messaging().messages().remove(0);
        assert!(reply.len() <= 612 && reply.ends_with("well. ..."), "{reply}");
    }

    async fn typographic_signs_are_folded_where_that_saves_segments(database) {
        let typographic = "It’s “all” well… ".repeat(6);
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", &typographic);
        let reply = app.text("SM1", CALLER, "Hello").await.messaging().messages().remove(0);
        assert_eq!(reply, "It's \"all\" well... ".repeat(6).trim());
        let app = app.restart(&database, &[("SMS_SMART_ENCODING", "false")]).await;
        app.llm.decides("yes", &typographic);
        let reply = app.text("SM2", CALLER, "Hello").await.messaging().messages().remove(0);
        assert_eq!(reply, typographic.trim());
        let texts = app.get("/history/1/sms").await;
        assert_eq!((&texts[0]["encoding"], &texts[0]["segments"]), (&json!("ucs2"), &json!(2)));
        assert_eq!((&texts[1]["encoding"], &texts[1]["segments"]), (&json!("gsm7"), &json!(1)));
    }

    async fn a_reply_that_is_sent_later_is_counted_too(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05"), ("SMS_SEGMENT_PRICE", "0.5")]).await;
        let gate = app.llm.decides("yes", "Later.").waits();
        app.text("SM1", CALLER, "Hello").await;
        gate.open();
        let texts = app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        assert_eq!((&texts[0]["segments"], &texts[0]["cost_estimate"]), (&json!(1), &json!(0.5)));
    }

    async fn other_channels_have_no_segments(database) {
        let app = TestApp::start_with(&database, &[("SMS_MAX_SEGMENTS", "1")]).await;
        let long = "It’s all well. ".repeat(100);
        app.llm.decides("yes", &long);
        let (from, to) = (format!("whatsapp:{CALLER}"), format!("whatsapp:{OURS}"));
        let fields = [("MessageSid", "SM1"), ("From", from.as_str()), ("To", to.as_str()), ("Body", "Hello")];
        assert_eq!(app.webhook("/twilio/sms", &fields).await.messaging().messages(), [long.trim()]);
        assert_eq!(app.get("/history/1/sms").await[0]["segments"], json!(null));
    }

    async fn web_addresses_are_not_folded(database) {
        let app = TestApp::start(&database).await;
        for (sid, url) in [("SM1", "https://en.wikipedia.org/wiki/Hobson’s_choice"), ("SM2", "en.wikipedia.org/wiki/Hobson’s_choice")] {
            let reply = format!("You find all about it at {url} and we’re open from nine to five.");
            app.llm.decides("yes", &reply);
            assert_eq!(app.text(sid, CALLER, "Where?").await.messaging().messages(), [reply]);
        }
    }
}
