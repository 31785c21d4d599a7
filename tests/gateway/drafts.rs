//! Drafts: replies that wait for a person, who sends or discards them.

use crate::api_support::{ids, problem};
use crate::support::app::{Answer, CALLER, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};

const DRAFTS: (&str, &str) = ("AUTO_REPLY_DEFAULT", "false");

/// Waits until the newest text has a draft.
async fn draft(app: &TestApp) -> Value {
    app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "draft").await[0].clone()
}

/// A text that has a draft with these words; its id.
async fn drafted(app: &TestApp, sid: &str, text: &str, words: &str) -> Value {
    app.llm.decides("yes", words);
    app.text(sid, CALLER, text).await;
    app.until("/history/1/sms", |texts| texts[0]["message_sid"] == sid && texts[0]["reply_status"] == "draft").await;
    draft(app).await["id"].clone()
}

async fn post(app: &TestApp, id: &Value, what: &str, body: Value) -> Answer {
    app.api("POST", &format!("/sms/{id}/{what}"), Some(body)).await
}

on_both_databases! {
    async fn a_text_the_model_is_unsure_of_is_not_answered_but_waits_for_a_person(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("unsure", "I will ask.");
        assert!(app.text("SM1", CALLER, "Do we agree?").await.messaging().is_empty());
        let text = draft(&app).await;
        assert_eq!((&text["decision"], &text["reply_text"]), (&json!("unsure"), &json!("I will ask.")));
        assert_eq!((&text["confidence"], &text["reason"]), (&json!(0.9), &json!("scripted")));
        assert!(app.text("SM1", CALLER, "Do we agree?").await.messaging().is_empty(), "its redelivery is not answered either");
        app.later(3600);
        assert_eq!(app.get("/sms/drafts/?user_id=1").await, json!([text]));
        assert_eq!((app.llm.request_count(), app.twilio.post_count()), (1, 0));
    }

    async fn a_late_decision_that_is_unsure_is_not_sent_either(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        let gate = app.llm.decides("unsure", "I will ask.").waits();
        app.text("SM1", CALLER, "Do we agree?").await;
        gate.open();
        draft(&app).await;
        app.later(3600);
        assert_eq!(app.twilio.post_count(), 0);
    }

    async fn a_text_with_no_usable_answer_is_a_draft_without_words_and_not_tried_for_a_day(database) {
        let app = TestApp::start(&database).await;
        app.llm.says("I would say it depends.");
        app.llm.says("It still does.");
        assert!(app.text("SM1", CALLER, "Do we agree?").await.messaging().is_empty());
        let text = draft(&app).await;
        assert_eq!((&text["decision"], &text["reply_text"]), (&json!("unsure"), &json!(null)));
        assert!(text["reason"].as_str().unwrap().starts_with("the model gave no usable answer"));
        app.later(3600);
        problem(&post(&app, &text["id"], "send", json!({})).await, 409);
        assert_eq!(post(&app, &text["id"], "send", json!({ "text": "We do." })).await.status, 200);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "We do.");
        assert_eq!(app.llm.request_count(), 2);
    }

    async fn a_draft_is_sent_once_however_often_that_is_asked_for(database) {
        let app = TestApp::start_with(&database, &[DRAFTS]).await;
        let id = drafted(&app, "SM1", "Can you come?", "I can.").await;
        let (one, two) = tokio::join!(post(&app, &id, "send", json!({})), post(&app, &id, "send", json!({})));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        let sent = &app.twilio.wait_for_sent(1).await[0];
        assert_eq!((sent.from.as_str(), sent.to.as_str(), sent.body.as_str()), (OURS, CALLER, "I can."));
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        problem(&post(&app, &id, "send", json!({})).await, 409);
        problem(&post(&app, &id, "discard", json!({})).await, 409);
        assert_eq!(app.get("/sms/drafts/?user_id=1").await, json!([]));
        app.later(3600);
        assert_eq!(app.twilio.post_count(), 1);
    }

    async fn other_words_take_the_place_of_the_drafts(database) {
        let app = TestApp::start_with(&database, &[DRAFTS]).await;
        let id = drafted(&app, "SM1", "Can you come?", "I can.").await;
        let other = "Ž".repeat(71);
        let sent = post(&app, &id, "send", json!({ "text": other })).await.json();
        assert_eq!((&sent["id"], &sent["reply_text"]), (&id, &json!(other)));
        assert_eq!((&sent["segments"], &sent["encoding"]), (&json!(2), &json!("ucs2")));
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, other);
        let next = drafted(&app, "SM2", "And then?", "We will see.").await;
        let told = app.llm.requests()[1]["messages"].to_string();
        assert!(told.contains(&other) && !told.contains("I can."), "the model knows what was sent: {told}");
        for wrong in [json!(""), json!("a".repeat(10_001)), json!("😀".repeat(5_001)), json!(7)] {
            problem(&post(&app, &next, "send", json!({ "text": wrong })).await, 422);
        }
    }

    async fn what_is_discarded_is_never_sent_nor_told(database) {
        let app = TestApp::start_with(&database, &[DRAFTS]).await;
        let id = drafted(&app, "SM1", "Can you come?", "I can.").await;
        assert_eq!(post(&app, &id, "discard", json!({})).await.json()["reply_status"], "discarded");
        problem(&post(&app, &id, "discard", json!({})).await, 409);
        problem(&post(&app, &id, "send", json!({ "text": "Yes." })).await, 409);
        drafted(&app, "SM2", "Well?", "Hm.").await;
        let told = app.llm.requests()[1]["messages"].to_string();
        assert!(told.contains("Can you come?") && !told.contains("I can."), "{told}");
        app.later(3600);
        assert_eq!(app.twilio.post_count(), 0);
    }

    async fn nothing_is_sent_to_who_opted_out_and_unknown_texts_are_404(database) {
        let app = TestApp::start_with(&database, &[DRAFTS]).await;
        let id = drafted(&app, "SM1", "Can you come?", "I can.").await;
        app.text("SM2", CALLER, "STOP").await;
        problem(&post(&app, &id, "send", json!({})).await, 409);
        problem(&post(&app, &json!(404), "send", json!({})).await, 404);
        problem(&post(&app, &json!(404), "send", json!({ "text": "Yes." })).await, 404);
        problem(&post(&app, &json!(404), "discard", json!({})).await, 404);
        problem(&app.api("GET", "/sms/drafts/?user_id=404", None).await, 404);
        app.later(3600);
        assert_eq!(app.twilio.post_count(), 0);
    }

    async fn drafts_are_newest_first_and_paged_by_id(database) {
        let app = TestApp::start_with(&database, &[DRAFTS]).await;
        for sid in ["SM1", "SM2", "SM3"] {
            drafted(&app, sid, "Can you come?", "I can.").await;
        }
        let all = ids(&app.get("/sms/drafts/?user_id=1").await);
        assert!(all.len() == 3 && all.is_sorted_by(|newer, older| newer > older), "{all:?}");
        let page = app.get(&format!("/sms/drafts/?user_id=1&limit=1&before={}", all[0])).await;
        assert_eq!(ids(&page), all[1..2]);
    }

    async fn a_reply_that_waits_becomes_a_draft_when_automatic_replies_are_turned_off(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        let other = "+14155550199";
        app.twilio.fails(401, 20003);
        let gate = app.llm.decides("yes", "One.").waits();
        app.text("SM1", CALLER, "First").await;
        app.text("SM2", CALLER, "Second").await;
        gate.open();
        app.until("/health/", |health| health["sending"] == "paused").await;
        let gate = app.llm.decides("yes", "Written.").waits();
        app.text("SM3", other, "Third").await;
        gate.open();
        app.until("/history/2/sms", |texts| texts[0]["reply_status"] == "pending").await;
        for user in [1, 2] {
            app.create(&format!("/preferences/?user_id={user}"), json!({ "auto_reply_enabled": false })).await;
        }
        app.llm.decides("yes", "Not asked yet.");
        app.later(70);
        app.until("/history/1/sms", |texts| texts[1]["reply_status"] == "draft").await;
        for (user, words) in [(1, "Not asked yet."), (2, "Written.")] {
            let texts = app.until(&format!("/history/{user}/sms"), |texts| texts[0]["reply_status"] == "draft").await;
            assert_eq!(texts[0]["reply_text"], words);
        }
        app.later(3600);
        app.until("/jobs/", |jobs| jobs == &json!([])).await;
        assert_eq!(app.twilio.sent().len(), 0);
    }
}
