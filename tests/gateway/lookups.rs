//! How Twilio's list of messages settles what became of a send whose outcome is unknown.

use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use serde_json::json;

const LATE: (&str, &str) = ("SMS_REPLY_BUDGET", "0.05");

/// A text whose reply comes too late for its webhook, and is not sent at the first try.
async fn text_answered_late(app: &TestApp, sid: &str, reply: &str) {
    let gate = app.llm.decides("yes", reply).waits();
    assert!(app.text(sid, CALLER, "Hello").await.messaging().is_empty());
    gate.open();
    app.until("/jobs/?state=waiting", |jobs| jobs[0]["last_error"].is_string()).await;
}

/// A minute later all is done.
async fn is_settled(app: &TestApp) {
    app.later(60);
    app.until("/jobs/", |jobs| jobs == &json!([])).await;
}

on_both_databases! {
    async fn a_message_that_twilio_has_only_queued_is_found(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        app.twilio.keeps_messages_queued();
        app.twilio.accepts_but_drops_connection();
        text_answered_late(&app, "SM1", "Once only.").await;
        is_settled(&app).await;
        assert_eq!(app.twilio.sent().len(), 1, "it was sent twice");
    }

    async fn a_message_that_the_list_shows_a_moment_later_is_not_sent_again(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        app.twilio.lists_after(20);
        app.twilio.accepts_but_drops_connection();
        text_answered_late(&app, "SM1", "Once only.").await;
        let job = app.get("/jobs/").await[0]["id"].clone();
        assert_eq!(app.api("POST", &format!("/jobs/{job}/retry"), None).await.status, 200);
        app.until("/jobs/?state=waiting", |jobs| jobs[0]["attempts"] == 2).await;
        is_settled(&app).await;
        assert_eq!((app.twilio.sent().len(), app.twilio.lookup_count()), (1, 2), "it was sent twice");
    }

    async fn a_message_is_found_on_a_later_page_of_the_list(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        app.twilio.accepts_but_drops_connection();
        text_answered_late(&app, "SM1", "Once only.").await;
        for n in 0..100 {
            app.twilio.replies(OURS, CALLER, &format!("Something else {n}"));
        }
        is_settled(&app).await;
        assert_eq!((app.twilio.sent().len(), app.twilio.lookup_count()), (1, 3), "it was sent twice");
    }

    async fn pages_are_read_back_to_the_time_of_the_send_only(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        for n in 0..120 {
            app.twilio.replies(OURS, CALLER, &format!("Long ago {n}"));
        }
        app.later(600);
        app.twilio.fails(500, 20500);
        text_answered_late(&app, "SM1", "Once only.").await;
        is_settled(&app).await;
        assert_eq!((app.twilio.sent().len(), app.twilio.lookup_count()), (1, 1));
    }

    async fn while_the_list_has_no_end_nothing_is_sent(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        app.twilio.fails(500, 20500);
        text_answered_late(&app, "SM1", "Once only.").await;
        for _ in 0..1001 {
            app.twilio.replies(OURS, CALLER, "Something else");
        }
        app.later(60);
        let jobs = app.until("/jobs/", |jobs| jobs[0]["last_error"].as_str().unwrap().contains("too long")).await;
        assert_eq!((&jobs[0]["state"], app.twilio.post_count()), (&json!("waiting"), 1));
    }

    async fn the_same_words_in_twiml_a_moment_before_are_no_message_of_ours(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.5")]).await;
        app.llm.decides("yes", "OK.");
        assert_eq!(app.text("SM1", CALLER, "First").await.messaging().messages(), ["OK."]);
        app.twilio.fails(500, 20500);
        text_answered_late(&app, "SM2", "OK.").await;
        is_settled(&app).await;
        assert_eq!(app.twilio.sent().len(), 1, "the second text has no reply");
    }

    async fn the_same_words_of_another_text_are_not_taken_for_those_that_were_lost(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        let user = app.user("ann", CALLER).await;
        app.twilio.fails(500, 20500);
        text_answered_late(&app, "SM1", "OK.").await;
        app.create("/sms/send", json!({ "user_id": user, "text": "OK." })).await;
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        is_settled(&app).await;
        assert_eq!(app.twilio.sent().len(), 2, "the reply is lost");
    }

    async fn the_words_that_twilio_puts_before_those_of_a_trial_account_do_not_hide_them(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        app.twilio.is_on_trial();
        app.twilio.accepts_but_drops_connection();
        text_answered_late(&app, "SM1", "Once only.").await;
        is_settled(&app).await;
        assert_eq!(app.twilio.sent().len(), 1, "it was sent twice");
    }

    async fn a_look_up_that_is_refused_ends_no_reply(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        app.twilio.accepts_but_drops_connection();
        app.twilio.fails_lookup(404, 20404);
        text_answered_late(&app, "SM1", "Once only.").await;
        app.later(60);
        let jobs = app.until("/jobs/", |jobs| jobs[0]["last_error"].as_str().unwrap().contains("404")).await;
        assert_eq!(jobs[0]["state"], "waiting");
        is_settled(&app).await;
        assert_eq!((app.twilio.sent().len(), app.twilio.post_count()), (1, 1));
    }

    async fn a_send_that_twilio_surely_did_not_take_is_not_looked_up(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        app.twilio.fails(429, 20429);
        text_answered_late(&app, "SM1", "Later.").await;
        assert_eq!(app.get("/history/1/sms").await[0]["reply_status"], "pending");
        is_settled(&app).await;
        assert_eq!((app.twilio.sent().len(), app.twilio.lookup_count()), (1, 0));
    }

    async fn a_send_whose_outcome_was_unknown_once_is_looked_up_until_it_is_settled(database) {
        let app = TestApp::start_with(&database, &[LATE]).await;
        app.twilio.fails(500, 20500);
        app.twilio.fails(429, 20429);
        text_answered_late(&app, "SM1", "Later.").await;
        app.later(60);
        app.until("/jobs/?state=waiting", |jobs| jobs[0]["attempts"] == 2).await;
        is_settled(&app).await;
        assert_eq!((app.twilio.sent().len(), app.twilio.lookup_count()), (1, 2));
    }
}
