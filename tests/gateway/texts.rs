//! Texts: decided and answered once, in time or later.

use crate::support::app::{CALLER, Database, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};

async fn texts(app: &TestApp) -> Value {
    app.get("/history/1/sms").await
}

/// Waits until the reply to the newest text has come to a status.
async fn reply_is(app: &TestApp, status: &str) -> Value {
    app.until("/history/1/sms", |texts| texts[0]["reply_status"] == status).await[0].clone()
}

on_both_databases! {
    async fn a_text_is_decided_and_answered(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", "Yes, I can help you tomorrow.");
        let answer = app.text("SM1", CALLER, "Can you help me tomorrow?").await.messaging();
        assert_eq!(answer.messages(), ["Yes, I can help you tomorrow."]);
        let text = texts(&app).await[0].clone();
        assert_eq!((&text["decision"], &text["reply_status"]), (&json!("yes"), &json!("answered")));
        assert_eq!((&text["message_sid"], &text["channel"], &text["direction"]), (&json!("SM1"), &json!("sms"), &json!("inbound")));
        assert_eq!((&text["from_number"], &text["to_number"]), (&json!(CALLER), &json!(OURS)));
        app.later(3600);
        assert_eq!(app.twilio.post_count(), 0, "nothing is sent twice");
    }

    async fn a_redelivered_text_gets_the_same_answer_without_asking_again(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", "Once.");
        let first = app.text("SM1", CALLER, "Hello").await;
        let again = app.text("SM1", CALLER, "Hello").await;
        assert_eq!(first.body, again.body);
        assert_eq!(first.messaging().messages(), ["Once."]);
        assert_eq!((app.llm.request_count(), texts(&app).await.as_array().unwrap().len()), (1, 1));
    }

    async fn simultaneous_deliveries_of_a_text_share_one_decision(database) {
        let app = TestApp::start(&database).await;
        let gate = app.llm.decides("no", "Only once.").waits();
        let deliveries = async { tokio::join!(app.text("SM1", CALLER, "Hello"), app.text("SM1", CALLER, "Hello")) };
        let open = async {
            app.llm.wait_for_requests(1).await;
            // Before it is decided the history shows the text already.
            assert_eq!(texts(&app).await[0]["decision"], json!(null));
            gate.open();
        };
        let ((one, two), ()) = tokio::join!(deliveries, open);
        assert_eq!(one.messaging().messages(), ["Only once."]);
        assert_eq!(one.body, two.body);
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn a_reply_over_the_budget_is_sent_later_exactly_once(database) {
        let settings = [("SMS_REPLY_BUDGET", "0.1"), ("PUBLIC_BASE_URL", "")];
        let app = TestApp::start_with(&database, &settings).await;
        let gate = app.llm.decides("yes", "A little late.").waits();
        assert!(app.text("SM1", CALLER, "Hello").await.messaging().is_empty());
        assert!(app.text("SM1", CALLER, "Hello").await.messaging().is_empty(), "its redelivery neither");
        gate.open();
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!((sent[0].to.as_str(), sent[0].body.as_str()), (CALLER, "A little late."));
        assert_eq!(sent[0].from, OURS);
        reply_is(&app, "queued").await;
        assert!(app.text("SM1", CALLER, "Hello").await.messaging().is_empty());
        app.later(3600);
        assert_eq!((app.llm.request_count(), app.twilio.sent().len()), (1, 1));
    }

    async fn the_progress_of_a_sent_reply_is_followed_in_any_order(database) {
        let settings = [("SMS_REPLY_BUDGET", "0.05"), ("PUBLIC_BASE_URL", "https://gateway.example.com")];
        let app = TestApp::start_with(&database, &settings).await;
        let (signed, path) = ("https://gateway.example.com", "/twilio/sms");
        let post = async |path: &str, fields: &[(&str, &str)]| {
            use crate::support::{app::{ACCOUNT, TOKEN}, signing::{encode_form, sign}};
            let mut all = vec![("AccountSid", ACCOUNT)];
            all.extend(fields);
            let signature = sign(TOKEN, &format!("{signed}{path}"), &all);
            app.post_form(path, &encode_form(&all), Some(&signature)).await
        };
        let gate = app.llm.decides("yes", "Later.").waits();
        post(path, &[("MessageSid", "SM1"), ("From", CALLER), ("To", OURS), ("Body", "Hello")]).await;
        gate.open();
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!(sent[0].status_callback.as_deref(), Some("https://gateway.example.com/twilio/sms/status/1#rc=2&rp=all"));
        reply_is(&app, "queued").await;
        for status in ["delivered", "sent", "delivered"] {
            let fields = [("MessageSid", sent[0].sid.as_str()), ("MessageStatus", status)];
            assert_eq!(post("/twilio/sms/status", &fields).await.status, 204);
        }
        assert_eq!(texts(&app).await[0]["reply_status"], "delivered");
        let unknown = [("MessageSid", "SM404"), ("MessageStatus", "failed"), ("ErrorCode", "30003")];
        assert_eq!(post("/twilio/sms/status", &unknown).await.status, 204);
    }

    async fn texts_beyond_those_that_may_wait_are_answered_by_the_outbox(database) {
        let app = TestApp::start_with(&database, &[("SMS_WAITING", "1"), ("SMS_REPLY_BUDGET", "0.2")]).await;
        let gate = app.llm.decides("yes", "To the first.").waits();
        app.llm.decides("yes", "To the second.");
        assert!(app.text("SM1", CALLER, "Hello").await.messaging().is_empty());
        assert!(app.text("SM2", "+15005550007", "Hello").await.messaging().is_empty(), "the first still has the only place");
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!((sent[0].to.as_str(), sent[0].body.as_str()), ("+15005550007", "To the second."));
        gate.open();
        assert_eq!(app.twilio.wait_for_sent(2).await[1].body, "To the first.");
        reply_is(&app, "queued").await;
        app.llm.decides("yes", "To the third.");
        assert_eq!(app.text("SM3", CALLER, "Hello").await.messaging().messages(), ["To the third."]);
    }

    async fn a_model_that_fails_in_time_answers_later(database) {
        let app = TestApp::start_with(&database, &[("MAX_RETRIES", "0")]).await;
        app.llm.fails(500);
        app.llm.decides("yes", "Now I can.");
        assert!(app.text("SM1", CALLER, "Hello").await.messaging().is_empty());
        app.later(10);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "Now I can.");
    }

    async fn work_left_by_a_gateway_that_ended_is_taken_up_by_the_next(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.1")]).await;
        app.twilio.fails(500, 20500);
        let gate = app.llm.decides("yes", "Survived.").waits();
        app.text("SM1", CALLER, "Hello").await;
        gate.open();
        app.twilio.wait_for_posts(1).await;
        let app = app.restart(&database, &[]).await;
        app.later(60);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "Survived.");
        reply_is(&app, "queued").await;
        assert_eq!((app.llm.request_count(), app.twilio.lookup_count()), (1, 1), "an unknown outcome is looked up first");
    }

    async fn a_send_whose_answer_was_lost_is_not_sent_again(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.accepts_but_drops_connection();
        let gate = app.llm.decides("yes", "Once only.").waits();
        app.text("SM1", CALLER, "Hello").await;
        gate.open();
        app.twilio.wait_for_sent(1).await;
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "sending").await;
        for _ in 0..3 {
            app.later(60);
        }
        reply_is(&app, "queued").await;
        assert_eq!((app.twilio.sent().len(), app.twilio.post_count()), (1, 1));
    }

    async fn a_refused_send_is_final_and_shown(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails(400, 21610);
        let gate = app.llm.decides("yes", "Nobody wants this.").waits();
        app.text("SM1", CALLER, "Hello").await;
        gate.open();
        assert_eq!(reply_is(&app, "failed").await["error_code"], 21610);
        app.later(3600);
        assert_eq!(app.twilio.post_count(), 1);
    }

    async fn keywords_reach_no_model_and_get_no_reply(database) {
        let app = TestApp::start(&database).await;
        for (n, word) in ["STOP", " stop. ", "Unsubscribe", "HELP", "info", "start"].into_iter().enumerate() {
            let answer = app.text(&format!("SM{n}"), CALLER, word).await;
            assert!(answer.messaging().is_empty(), "{word}");
        }
        assert_eq!(app.llm.request_count(), 0);
        assert_eq!(texts(&app).await.as_array().unwrap().len(), 6, "they are stored");
        app.llm.decides("yes", "Yes it is.");
        assert_eq!(app.text("SM9", CALLER, "stop by at five?").await.messaging().messages(), ["Yes it is."]);
    }

    async fn yes_opts_in_again_only_after_an_opt_out(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", "Noted.");
        assert_eq!(app.text("SM1", CALLER, "Yes").await.messaging().messages(), ["Noted."]);
        app.text("SM2", CALLER, "STOP").await;
        assert!(app.text("SM3", CALLER, "Are you there?").await.messaging().is_empty(), "nothing goes to who opted out");
        assert!(app.text("SM4", CALLER, "Yes").await.messaging().is_empty(), "it is a keyword now");
        app.llm.decides("yes", "Welcome back.");
        assert_eq!(app.text("SM5", CALLER, "Hello again").await.messaging().messages(), ["Welcome back."]);
        assert_eq!(app.llm.request_count(), 2);
    }

    async fn without_auto_reply_a_draft_is_written_and_nothing_sent(database) {
        let app = TestApp::start_with(&database, &[("AUTO_REPLY_DEFAULT", "false")]).await;
        let gate = app.llm.decides("no", "Perhaps not.").waits();
        assert!(app.text("SM1", CALLER, "Can you come?").await.messaging().is_empty(), "answered at once");
        gate.open();
        let draft = reply_is(&app, "draft").await;
        assert_eq!((&draft["decision"], &draft["reply_text"]), (&json!("no"), &json!("Perhaps not.")));
        app.llm.decides("yes", "Second.");
        app.text("SM2", CALLER, "Hello?").await;
        reply_is(&app, "draft").await;
        app.llm.wait_for_requests(2).await;
        let told = app.llm.requests()[1]["messages"].to_string();
        assert!(told.contains("Can you come?") && !told.contains("Perhaps not."), "an unsent draft is not told: {told}");
        app.later(3600);
        assert_eq!(app.twilio.post_count(), 0);
    }

    async fn a_late_reply_does_not_follow_a_stop(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        let gate = app.llm.decides("yes", "Too late.").waits();
        app.text("SM1", CALLER, "Hello").await;
        app.text("SM2", CALLER, "STOP").await;
        gate.open();
        app.until("/history/1/sms", |texts| texts[1]["reply_status"] == "canceled").await;
        assert_eq!(app.twilio.post_count(), 0);
    }

    async fn a_receiver_who_turns_out_to_have_opted_out_is_not_answered_again(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails(400, 21610);
        let gate = app.llm.decides("yes", "Nobody wants this.").waits();
        app.text("SM1", CALLER, "Hello").await;
        gate.open();
        reply_is(&app, "failed").await;
        assert!(app.text("SM2", CALLER, "And now?").await.messaging().is_empty());
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn machines_and_who_opted_out_get_no_refusal_either(database) {
        let app = TestApp::start_with(&database, &[("UNKNOWN_CALLERS", "refuse")]).await;
        app.text("SM1", CALLER, "STOP").await;
        for (sid, from) in [("SM2", CALLER), ("SM3", "88888"), ("SM4", OURS)] {
            assert!(app.text(sid, from, "Hello").await.messaging().is_empty(), "{from}");
        }
    }

    async fn a_draft_stays_a_draft_whatever_is_preferred_later(database) {
        let app = TestApp::start_with(&database, &[("MAX_RETRIES", "0")]).await;
        let user = app.user("ann", CALLER).await;
        let preferences = app.create(&format!("/preferences/?user_id={user}"), json!({ "auto_reply_enabled": false })).await;
        app.llm.fails(500);
        app.llm.decides("yes", "Only a draft.");
        app.text("SM1", CALLER, "Hello").await;
        app.llm.wait_for_requests(1).await;
        let path = format!("/preferences/{}", preferences["id"]);
        assert_eq!(app.api("PUT", &path, Some(json!({ "auto_reply_enabled": true }))).await.status, 200);
        app.later(10);
        reply_is(&app, "draft").await;
        assert_eq!(app.twilio.post_count(), 0);
    }

    async fn characters_no_database_holds_do_no_harm_in_a_reply(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", "Nothing\u{0} here.");
        assert_eq!(app.text("SM1", CALLER, "Hello").await.messaging().messages(), ["Nothing here."]);
        app.llm.says("Or\u{0} there.");
        assert_eq!(app.call("CA1", CALLER, OURS).talks(1, "Hello").await.say(), "Or there.");
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "Or there.").await;
    }

    async fn pictures_are_listed_in_the_history(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", "Nice picture.");
        let fields = [("MessageSid", "MM1"), ("From", CALLER), ("To", OURS), ("Body", ""), ("NumMedia", "1"),
            ("MediaUrl0", "https://api.twilio.com/media/ME1"), ("MediaContentType0", "image/jpeg")];
        assert_eq!(app.webhook("/twilio/sms", &fields).await.messaging().messages(), ["Nice picture."]);
        let media = json!([{ "url": "https://api.twilio.com/media/ME1", "content_type": "image/jpeg" }]);
        assert_eq!(texts(&app).await[0]["media"], media);
    }

    async fn a_file_without_a_type_is_listed_too(database) {
        let app = TestApp::start(&database).await;
        app.llm.decides("yes", "Thanks.");
        let fields = [("MessageSid", "MM1"), ("From", CALLER), ("To", OURS), ("NumMedia", "1"), ("MediaUrl0", "https://x.example/1")];
        app.webhook("/twilio/sms", &fields).await.messaging();
        assert_eq!(texts(&app).await[0]["media"], json!([{ "url": "https://x.example/1", "content_type": "" }]));
    }


    async fn a_stranger_is_refused_where_strangers_are_refused(database) {
        let app = TestApp::start_with(&database, &[("UNKNOWN_CALLERS", "refuse")]).await;
        let first = app.text("SM1", CALLER, "Hello").await;
        assert!(first.messaging().messages()[0].contains("known senders only"));
        assert_eq!(app.text("SM1", CALLER, "Hello").await.body, first.body);
        assert_eq!((app.llm.request_count(), app.get("/users/").await), (0, json!([])));
    }

    async fn the_text_of_an_inactive_user_is_logged_and_left_unanswered(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        app.api("PUT", &format!("/users/{user}"), Some(json!({ "is_active": false }))).await;
        assert!(app.text("SM1", CALLER, "Hello").await.messaging().is_empty());
        assert_eq!(texts(&app).await[0]["incoming_text"], "Hello");
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn our_own_numbers_are_never_answered(database) {
        let app = TestApp::start(&database).await;
        assert!(app.text("SM1", OURS, "Hello").await.messaging().is_empty());
        assert_eq!(app.llm.request_count(), 0);
        assert_eq!(app.get("/users/").await, json!([]), "nor do they become users");
        app.call("CA1", OURS, OURS).rings().await;
        app.llm.says("Hello.");
        app.call("CA2", CALLER, OURS).talks(1, "Hello").await;
        let users = app.get("/users/").await;
        let caller = users.as_array().unwrap().iter().find(|user| user["phone_number"] == CALLER);
        assert!(caller.is_some(), "the next stranger is a user of their own: {users}");
    }

    async fn a_report_that_overtakes_twilios_answer_counts(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        let answering = app.twilio.waits();
        let gate = app.llm.decides("yes", "On its way.").waits();
        app.text("SM1", CALLER, "Hello").await;
        gate.open();
        let sent = app.twilio.wait_for_sent(1).await;
        let report = [("MessageSid", sent[0].sid.as_str()), ("MessageStatus", "delivered"), ("From", OURS), ("To", CALLER)];
        assert_eq!(app.webhook("/twilio/sms/status", &report).await.status, 204);
        reply_is(&app, "delivered").await;
        answering.open();
        app.stop().await;
        let app = TestApp::start(&database).await;
        assert_eq!(texts(&app).await[0]["reply_status"], "delivered", "the answer does not take it back");
    }

    async fn a_reply_that_was_reported_is_not_sent_again_though_twilios_answer_was_lost(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.accepts_but_drops_connection();
        let gate = app.llm.decides("yes", "Once only.").waits();
        app.text("SM1", CALLER, "Hello").await;
        gate.open();
        let sent = app.twilio.wait_for_sent(1).await;
        reply_is(&app, "sending").await;
        let report = [("MessageSid", sent[0].sid.as_str()), ("MessageStatus", "delivered"), ("From", OURS), ("To", CALLER)];
        assert_eq!(app.webhook("/twilio/sms/status", &report).await.status, 204);
        reply_is(&app, "delivered").await;
        app.until("/jobs/", |jobs| {
            app.later(60);
            jobs == &json!([])
        }).await;
        assert_eq!(app.twilio.post_count(), 1, "it was sent twice");
        assert_eq!(reply_is(&app, "delivered").await["reply_text"], "Once only.");
    }

    async fn the_texts_of_strangers_who_were_refused_are_erased_after_a_week(database) {
        let app = TestApp::start_with(&database, &[("UNKNOWN_CALLERS", "refuse")]).await;
        let refusal = app.text("SM1", CALLER, "Hello").await;
        app.later(8 * 24 * 3600);
        // A text that is gone may come again: it is new then.
        assert_eq!(app.text("SM1", CALLER, "Hello").await.body, refusal.body);
    }
}

#[tokio::test]
async fn a_redelivery_to_another_gateway_on_the_same_database_gets_the_same_answer() {
    let Some(database) = Database::postgres().await else { return };
    let one = TestApp::start(&database).await;
    let other = TestApp::start_with(&database, &[("OPENAI_BASE_URL", &one.llm.base_url())]).await;
    let gate = one.llm.decides("yes", "Only once.").waits();
    let open = async {
        one.llm.wait_for_requests(1).await;
        gate.open();
    };
    let (first, again, ()) = tokio::join!(one.text("SM1", CALLER, "Hello"), other.text("SM1", CALLER, "Hello"), open);
    let mut replies = first.messaging().messages();
    replies.extend(again.messaging().messages());
    assert_eq!(replies, ["Only once.", "Only once."]);
    assert_eq!(one.llm.request_count(), 1);
}
