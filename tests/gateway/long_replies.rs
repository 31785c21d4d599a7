//! Replies that no single message holds: split at the ends of sentences, numbered, and sent one message after the
//! other.

use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use crate::support::fake_twilio::SentMessage;
use crate::support::wait::until;
use serde_json::{Value, json};
use std::iter::zip;
use switchboard::clock::to_utc;
use switchboard::sms::segments::segments;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Room for several messages.
const ROOM: (&str, &str) = ("SMS_MAX_SEGMENTS", "60");

/// A reply of so many sentences; 55 of them fill a message.
pub fn sentences(count: usize) -> String {
    (1..=count).map(|n| format!("This is sentence {n} of many.")).collect::<Vec<_>>().join(" ")
}

/// Asserts that these messages are the reply, each part once and in order.
pub fn assert_whole(sent: &[SentMessage], reply: &str) {
    let count = sent.len();
    let pieces = zip(1.., sent).map(|(n, message)| {
        assert!(message.body.ends_with('.') && message.body.len() <= 1600, "{}", message.body);
        let number = format!("({n}/{count}) ");
        message.body.strip_prefix(&number).unwrap_or_else(|| panic!("{number}: {}", message.body)).to_owned()
    });
    assert_eq!(pieces.collect::<Vec<_>>().join(" "), reply);
}

/// The newest text, once its reply stands there.
async fn reply_is(app: &TestApp, status: &str) -> Value {
    app.until("/history/1/sms", |texts| texts[0]["reply_status"] == status).await[0].clone()
}

/// Waits until nothing is left to be done, and moves the clock on whenever the oldest job waits to be tried again.
async fn is_done(app: &TestApp) {
    let done = |jobs: &Value| {
        let waits_until = jobs.as_array().and_then(|jobs| jobs.last()?["run_at"].as_str());
        let waits_until = waits_until.map(|at| OffsetDateTime::parse(at, &Rfc3339).unwrap());
        // A claimed job must keep its claim.
        if jobs.as_array().is_some_and(|jobs| jobs.iter().all(|job| job["state"] == "waiting"))
            && waits_until.is_some_and(|at| at > to_utc(app.clock.now()))
        {
            app.later(60);
        }
        jobs == &json!([])
    };
    app.until("/jobs/", done).await;
}

/// Twilio's report of a part, to the URL that the gateway would name.
async fn reports(app: &TestApp, part: usize, sid: &str, status: &str, more: &[(&str, &str)]) {
    let fields = [&[("MessageSid", sid), ("MessageStatus", status)], more].concat();
    assert_eq!(app.webhook(&format!("/twilio/sms/status/1/{part}"), &fields).await.status, 204);
}

on_both_databases! {
    async fn a_reply_within_its_segments_is_split_where_no_message_holds_it(database) {
        let app = TestApp::start_with(&database, &[ROOM, ("SMS_SEGMENT_PRICE", "0.5")]).await;
        let reply = sentences(150);
        app.llm.decides("yes", &reply);
        assert!(app.text("SM1", CALLER, "Tell me all").await.messaging().is_empty(), "it is not for the webhook");
        let sent = app.twilio.wait_for_sent(3).await;
        assert_whole(&sent, &reply);
        assert!(sent.iter().all(|message| (message.to.as_str(), message.from.as_str()) == (CALLER, OURS)));
        is_done(&app).await;
        let text = reply_is(&app, "queued").await;
        let counted: usize = sent.iter().map(|message| segments(&message.body).0).sum();
        assert_eq!((&text["reply_text"], &text["segments"]), (&json!(reply), &json!(counted)));
        assert_eq!((&text["encoding"], &text["cost_estimate"]), (&json!("gsm7"), &json!(counted as f64 / 2.0)));
        assert!(app.text("SM1", CALLER, "Tell me all").await.messaging().is_empty(), "nor for its redelivery");
        app.llm.decides("yes", "You are welcome.");
        app.text("SM2", CALLER, "Thanks").await.messaging();
        let told = app.llm.requests()[1]["messages"].to_string();
        assert!(told.contains("sentence 150 of many") && !told.contains("(1/3)"), "the model knows of it as one: {told}");
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (3, 0));
    }

    async fn the_budget_counts_all_messages_and_their_numbers(database) {
        let app = TestApp::start_with(&database, &[("SMS_MAX_SEGMENTS", "20")]).await;
        app.llm.decides("yes", &sentences(200));
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        let sent = app.twilio.wait_for_sent(2).await;
        assert!(app.llm.requests()[0]["messages"][0]["content"].as_str().unwrap().contains("at most 2754 characters"));
        is_done(&app).await;
        assert_eq!((app.llm.request_count(), app.twilio.post_count()), (2, 2));
        let counted: usize = sent.iter().map(|message| segments(&message.body).0).sum();
        assert!((18..=20).contains(&counted), "{counted}");
        assert!(sent[1].body.starts_with("(2/2) ") && sent[1].body.ends_with("of many. ..."), "{}", sent[1].body);
        assert_eq!(reply_is(&app, "queued").await["segments"], counted);
    }

    async fn without_segments_one_message_is_asked_for_and_five_are_the_most(database) {
        let app = TestApp::start(&database).await;
        let (from, to) = (format!("whatsapp:{CALLER}"), format!("whatsapp:{OURS}"));
        let text = async |sid| {
            let fields = [("MessageSid", sid), ("From", from.as_str()), ("To", to.as_str()), ("Body", "Hello")];
            app.webhook("/twilio/sms", &fields).await.messaging().messages()
        };
        app.llm.decides("yes", &sentences(150));
        app.llm.decides("yes", &sentences(50));
        assert_eq!(text("SM1").await, [sentences(50)], "the shorter one is taken");
        assert!(app.llm.requests()[0]["messages"][0]["content"].as_str().unwrap().contains("at most 1600 characters"));
        app.llm.decides("yes", &sentences(150));
        app.llm.decides("yes", &sentences(100));
        assert!(text("SM2").await.is_empty());
        assert_whole(&app.twilio.wait_for_sent(2).await, &sentences(100));
        app.llm.decides("yes", &sentences(1_000));
        app.llm.decides("yes", &sentences(900));
        assert!(text("SM3").await.is_empty());
        let sent = app.twilio.wait_for_sent(7).await;
        is_done(&app).await;
        assert!(sent[6].body.starts_with("(5/5) ") && sent[6].body.ends_with("of many. ..."), "{}", sent[6].body);
        assert_eq!((app.llm.request_count(), app.twilio.post_count()), (6, 7));
    }

    async fn each_part_arrives_once_and_in_order_whatever_becomes_of_a_send(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        let first = app.twilio.waits();
        app.twilio.accepts_but_drops_connection();
        app.twilio.fails(500, 20500);
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        app.twilio.wait_for_sent(1).await;
        app.llm.decides("yes", "And this is after it.");
        assert!(app.text("SM2", CALLER, "And then?").await.messaging().is_empty(), "it waits for its turn");
        first.open();
        app.twilio.wait_for_sent(2).await;
        app.until("/jobs/", |jobs| jobs[1]["last_error"].is_string()).await;
        assert_eq!(app.get("/history/1/sms").await[1]["reply_status"], "sending");
        is_done(&app).await;
        let sent = app.twilio.sent();
        assert_whole(&sent[..3], &sentences(150));
        assert_eq!((sent.len(), sent[3].body.as_str()), (4, "And this is after it."));
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (5, 2), "what is unknown is looked up first");
    }

    async fn the_next_gateway_goes_on_where_one_stopped(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        let first = app.twilio.waits();
        app.twilio.fails(503, 20503);
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        first.open();
        app.twilio.wait_for_posts(2).await;
        app.until("/jobs/", |jobs| jobs[0]["last_error"].is_string()).await;
        let app = app.restart(&database, &[]).await;
        app.later(60);
        assert_whole(&app.twilio.wait_for_sent(3).await, &sentences(150));
        is_done(&app).await;
        assert_eq!((app.llm.request_count(), app.twilio.post_count()), (1, 4));
        reply_is(&app, "queued").await;
    }

    async fn a_report_settles_the_part_that_its_url_names(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        let first = app.twilio.waits();
        app.twilio.accepts_but_drops_connection();
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        first.open();
        let sent = app.twilio.wait_for_sent(2).await;
        app.until("/jobs/", |jobs| jobs[0]["last_error"].is_string()).await;
        reports(&app, 1, "SMtwice", "sent", &[]).await;
        assert_eq!(app.get("/history/1/sms").await[0]["reply_status"], "sending", "the first part's sid is another");
        reports(&app, 2, &sent[1].sid, "sent", &[]).await;
        is_done(&app).await;
        assert_whole(&app.twilio.sent(), &sentences(150));
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (3, 0));
    }

    async fn a_report_between_two_addresses_is_of_the_part_on_its_way(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        app.twilio.accepts_but_drops_connection();
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        let sent = app.twilio.wait_for_sent(1).await;
        app.until("/jobs/", |jobs| jobs[0]["last_error"].is_string()).await;
        let report = [("MessageSid", sent[0].sid.as_str()), ("MessageStatus", "sent"), ("From", OURS), ("To", CALLER)];
        assert_eq!(app.webhook("/twilio/sms/status", &report).await.status, 204);
        is_done(&app).await;
        assert_whole(&app.twilio.sent(), &sentences(150));
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (3, 0));
    }

    async fn the_whole_stands_where_the_worst_of_its_parts_does(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        let sent = app.twilio.wait_for_sent(3).await;
        is_done(&app).await;
        let steps = [(1, "delivered", "queued"), (3, "sent", "queued"), (2, "read", "sent"), (3, "delivered", "delivered"), (3, "sent", "delivered")];
        for (part, reported, shown) in steps {
            reports(&app, part, &sent[part - 1].sid, reported, &[]).await;
            assert_eq!(app.get("/history/1/sms").await[0]["reply_status"], shown, "part {part} is {reported}");
        }
        reports(&app, 1, &sent[0].sid, "undelivered", &[("ErrorCode", "30006")]).await;
        let text = reply_is(&app, "undelivered").await;
        assert_eq!(text["error_code"], 30006);
        assert!(text["error_meaning"].as_str().unwrap().contains("landline"), "{text}");
        reports(&app, 3, &sent[2].sid, "read", &[]).await;
        assert_eq!(reply_is(&app, "undelivered").await["error_code"], 30006);
    }

    async fn what_a_refused_part_leaves_unsent_is_sent_when_it_is_tried_again(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        let first = app.twilio.waits();
        app.twilio.fails(400, 21612);
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        first.open();
        let text = reply_is(&app, "failed").await;
        assert!(text["error_meaning"].as_str().unwrap().contains("cannot be reached"), "{text}");
        let job = app.get("/jobs/?state=gave_up").await[0]["id"].clone();
        let sid = app.twilio.sent()[0].sid.clone();
        reports(&app, 1, &sid, "delivered", &[]).await;
        assert_eq!(reply_is(&app, "failed").await["error_code"], 21612);
        assert_eq!(app.twilio.post_count(), 2, "nothing goes out after it");
        app.create(&format!("/jobs/{job}/retry"), json!({})).await;
        app.twilio.wait_for_sent(3).await;
        is_done(&app).await;
        assert_whole(&app.twilio.sent(), &sentences(150));
        assert_eq!(reply_is(&app, "queued").await["error_code"], json!(null));
    }

    async fn refused_credentials_hold_up_the_rest_and_lose_nothing(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        let first = app.twilio.waits();
        app.twilio.fails(401, 20003);
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        first.open();
        app.until("/health/", |health| health["sending"] == "paused").await;
        is_done(&app).await;
        assert_whole(&app.twilio.sent(), &sentences(150));
        assert_eq!(app.get("/health/").await["sending"], "ok");
    }

    async fn a_stop_between_two_parts_cancels_the_rest(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        let first = app.twilio.waits();
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        let sent = app.twilio.wait_for_sent(1).await;
        app.text("SM2", CALLER, "STOP").await;
        first.open();
        app.until("/history/1/sms", |texts| texts[1]["reply_status"] == "canceled").await;
        is_done(&app).await;
        reports(&app, 1, &sent[0].sid, "delivered", &[]).await;
        assert_eq!(app.get("/history/1/sms").await[1]["reply_status"], "canceled", "it was not sent whole");
        assert_eq!(app.twilio.post_count(), 1);
    }

    async fn a_stop_before_the_rest_is_tried_again_takes_it_away(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        app.twilio.accepts_but_drops_connection();
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        let sent = app.twilio.wait_for_sent(1).await;
        app.until("/jobs/", |jobs| jobs[0]["last_error"].is_string()).await;
        // The report tells that the first part was sent, and nothing is under way.
        reports(&app, 1, &sent[0].sid, "delivered", &[]).await;
        app.text("SM2", CALLER, "STOP").await;
        assert_eq!(app.get("/jobs/").await, json!([]));
        reports(&app, 1, &sent[0].sid, "read", &[]).await;
        assert_eq!(app.get("/history/1/sms").await[1]["reply_status"], "canceled");
        assert_eq!(app.twilio.post_count(), 1);
    }

    async fn a_long_text_of_a_person_is_split_too_and_ten_thousand_characters_are_the_most(database) {
        let public = "https://gateway.example.com";
        let app = TestApp::start_with(&database, &[("PUBLIC_BASE_URL", public)]).await;
        let user = app.user("ann", CALLER).await;
        let queued = app.create("/sms/send", json!({ "user_id": user, "text": sentences(150) })).await;
        assert_eq!(queued["reply_status"], "pending");
        let sent = app.twilio.wait_for_sent(3).await;
        assert_whole(&sent, &sentences(150));
        for (n, message) in zip(1.., &sent) {
            let callback = format!("{public}/twilio/sms/status/1/{n}#rc=2&rp=all");
            assert_eq!(message.status_callback.as_deref(), Some(callback.as_str()));
        }
        is_done(&app).await;
        assert_eq!(reply_is(&app, "queued").await["reply_text"], sentences(150));
        let longest = "a".repeat(10_000);
        assert_eq!(app.api("POST", "/sms/send", Some(json!({ "user_id": user, "text": longest }))).await.status, 201);
        app.twilio.wait_for_sent(10).await;
    }

    async fn a_draft_goes_out_in_as_many_messages_as_it_needs(database) {
        let app = TestApp::start_with(&database, &[ROOM, ("AUTO_REPLY_DEFAULT", "false")]).await;
        for (sid, reply, words, whole) in [
            ("SM1", sentences(150), json!({}), sentences(150)),
            ("SM2", "Short.".to_owned(), json!({ "text": sentences(120) }), sentences(120)),
        ] {
            let before = app.twilio.sent().len();
            app.llm.decides("yes", &reply);
            app.text(sid, CALLER, "Tell me all").await;
            let draft = app.until("/history/1/sms", |texts| texts[0]["message_sid"] == sid && texts[0]["reply_status"] == "draft").await[0].clone();
            app.create(&format!("/sms/{}/send", draft["id"]), words).await;
            let sent = app.twilio.wait_for_sent(before + 3).await;
            assert_whole(&sent[before..], &whole);
            let counted: usize = sent[before..].iter().map(|message| segments(&message.body).0).sum();
            assert_eq!(app.get("/history/1/sms").await[0]["segments"], counted);
            is_done(&app).await;
        }
        assert_eq!(app.get("/jobs/").await, json!([]));
    }

    async fn a_user_who_is_deleted_takes_the_parts_along(database) {
        let app = TestApp::start_with(&database, &[ROOM]).await;
        let first = app.twilio.waits();
        app.llm.decides("yes", &sentences(150));
        app.text("SM1", CALLER, "Tell me all").await;
        app.twilio.wait_for_sent(1).await;
        assert_eq!(app.api("DELETE", "/users/1", None).await.status, 204);
        first.open();
        until(|| app.twilio.in_flight() == 0, || "requests in flight".to_owned()).await;
        // The job of a text that is gone is found without a subject when its claim is over.
        app.later(30);
        app.until("/jobs/", |jobs| jobs == &json!([])).await;
        assert_eq!(app.twilio.post_count(), 1);
    }
}
