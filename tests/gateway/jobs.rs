//! What is still to be done, what was given up, and what happens while Twilio refuses the credentials.

use crate::support::app::{CALLER, Database, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};
use sqlx::Connection;

const OTHER: &str = "+14155550199";
const DAY: i64 = 24 * 3600;

/// A text whose reply comes too late for its webhook.
async fn text_answered_late(app: &TestApp, sid: &str, from: &str) {
    let gate = app.llm.decides("yes", &format!("Late for {sid}.")).waits();
    app.text(sid, from, "Hello").await;
    gate.open();
}

fn states(jobs: &Value) -> Vec<&Value> {
    jobs.as_array().unwrap().iter().map(|job| &job["state"]).collect()
}

on_both_databases! {
    async fn a_job_that_was_given_up_is_listed_and_can_be_tried_again(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails(400, 21408);
        text_answered_late(&app, "SM1", CALLER).await;
        let job = app.until("/jobs/?state=gave_up", |jobs| jobs[0].is_object()).await[0].clone();
        assert_eq!((&job["kind"], &job["attempts"]), (&json!("reply"), &json!(1)));
        assert_eq!((&job["own_number"], &job["peer_number"]), (&json!(OURS), &json!(CALLER)));
        assert!(job["last_error"].as_str().unwrap().contains("21408"), "{job}");
        let text = app.get("/history/1/sms").await[0].clone();
        assert_eq!((&text["id"], &text["reply_status"]), (&job["subject_id"], &json!("failed")));
        assert!(text["error_meaning"].as_str().unwrap().contains("country"), "{text}");
        app.later(3 * DAY);
        app.twilio.fails(503, 20503);
        let retried = app.api("POST", &format!("/jobs/{}/retry", job["id"]), None).await;
        assert_eq!((retried.status, &retried.json()["state"]), (200, &json!("waiting")));
        app.until("/jobs/?state=waiting", |jobs| jobs[0]["attempts"] == 2 && jobs[0]["last_error"].as_str().unwrap().contains("503")).await;
        app.later(60);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "Late for SM1.");
        app.until("/jobs/", |jobs| jobs == &json!([])).await;
        let text = app.get("/history/1/sms").await[0].clone();
        assert_eq!((&text["reply_status"], &text["error_code"]), (&json!("queued"), &json!(null)));
    }

    async fn a_text_that_nobody_asked_for_is_listed_with_its_receivers_number(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        app.twilio.fails(429, 20429);
        app.create("/sms/send", json!({ "user_id": user, "text": "Your bicycle is ready." })).await;
        let jobs = app.until("/jobs/?state=waiting", |jobs| jobs[0]["last_error"].is_string()).await;
        assert_eq!((&jobs[0]["own_number"], &jobs[0]["peer_number"]), (&json!(OURS), &json!(CALLER)));
    }

    async fn a_job_that_is_being_done_is_not_tried_again(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        let gate = app.llm.decides("yes", "Once.").waits();
        app.text("SM1", CALLER, "Hello").await;
        app.text("SM2", CALLER, "Are you there?").await;
        let jobs = app.get("/jobs/").await;
        assert_eq!(states(&jobs), ["waiting", "running"]);
        let retry = async |id: &Value| app.api("POST", &format!("/jobs/{id}/retry"), None).await.status;
        assert_eq!((retry(&jobs[1]["id"]).await, retry(&json!(404)).await), (409, 404));
        assert_eq!(app.get("/jobs/?state=running").await, json!([jobs[1]]));
        assert_eq!(app.get(&format!("/jobs/?before={}", jobs[0]["id"])).await, json!([jobs[1]]));
        assert_eq!(app.api("GET", "/jobs/?state=done", None).await.status, 422);
        app.llm.decides("yes", "Twice.");
        gate.open();
        let sent = app.twilio.wait_for_sent(2).await;
        assert_eq!((sent[0].body.as_str(), sent[1].body.as_str()), ("Once.", "Twice."));
    }

    async fn while_twilio_refuses_the_credentials_nothing_is_sent_and_then_it_goes_on(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        assert_eq!(app.get("/health/").await["sending"], "ok");
        app.twilio.fails(401, 20003);
        text_answered_late(&app, "SM1", CALLER).await;
        app.until("/health/", |health| health["sending"] == "paused").await;
        text_answered_late(&app, "SM2", OTHER).await;
        let is_waiting = |job: &Value| job["last_error"].as_str().is_some_and(|error| error.contains("credentials"));
        app.until("/jobs/?state=waiting", |jobs| jobs.as_array().unwrap().iter().filter(|job| is_waiting(job)).count() == 2).await;
        assert_eq!(app.twilio.post_count(), 1, "the second one was not even tried");
        app.later(70);
        app.twilio.wait_for_sent(2).await;
        app.until("/health/", |health| health["sending"] == "ok").await;
    }

    async fn however_long_twilio_refuses_the_credentials_no_reply_is_given_up(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails(401, 20003);
        app.twilio.fails(403, 20403);
        app.twilio.fails(503, 20503);
        text_answered_late(&app, "SM1", CALLER).await;
        app.until("/health/", |health| health["sending"] == "paused").await;
        app.until("/jobs/?state=waiting", |jobs| jobs[0].is_object()).await;
        app.later(3 * DAY);
        app.twilio.wait_for_posts(2).await;
        app.until("/jobs/?state=waiting", |jobs| jobs[0]["attempts"] == 2).await;
        app.later(70);
        app.twilio.wait_for_posts(3).await;
        app.until("/jobs/?state=waiting", |jobs| jobs[0]["attempts"] == 3).await;
        app.later(60);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "Late for SM1.");
    }

    async fn who_was_erased_leaves_no_job_behind(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails(400, 21211);
        text_answered_late(&app, "SM1", CALLER).await;
        app.until("/jobs/?state=gave_up", |jobs| jobs[0].is_object()).await;
        assert_eq!(app.api("DELETE", "/users/1", None).await.status, 204);
        assert_eq!(app.get("/jobs/").await, json!([]));
    }

    async fn the_patience_of_a_reply_behind_a_paused_one_begins_with_its_first_try(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails(401, 20003);
        app.twilio.fails(401, 20003);
        text_answered_late(&app, "SM1", CALLER).await;
        app.until("/health/", |health| health["sending"] == "paused").await;
        app.text("SM2", CALLER, "And?").await;
        app.later(25 * 3600);
        app.twilio.wait_for_posts(2).await;
        app.llm.decides("yes", "Two.");
        app.until("/jobs/?state=waiting", |jobs| jobs.as_array().unwrap().len() == 2).await;
        app.twilio.takes_then_fails(503, 20503);
        app.later(70);
        app.twilio.wait_for_posts(4).await;
        let jobs = app.until("/jobs/", |jobs| jobs[0]["state"] != "running" && jobs[0]["last_error"].is_string()).await;
        assert_eq!((&jobs[0]["state"], &jobs[0]["attempts"]), (&json!("waiting"), &json!(1)), "{jobs}");
    }

    async fn nothing_is_sent_before_the_time_that_twilio_names(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails_with_retry_after(429, 20429, 3600);
        text_answered_late(&app, "SM1", CALLER).await;
        app.until("/jobs/?state=waiting", |jobs| jobs[0]["last_error"].is_string()).await;
        app.later(3500);
        // A text of somebody else that is due by now shows that the outbox has looked.
        text_answered_late(&app, "SM2", OTHER).await;
        assert_eq!(app.twilio.wait_for_sent(1).await[0].to, OTHER);
        app.later(1000);
        assert_eq!(app.twilio.wait_for_sent(2).await[1].to, CALLER);
    }
}

#[tokio::test]
async fn a_job_of_a_kind_that_only_a_newer_version_knows_is_left_to_it() {
    let Some(database) = Database::postgres().await else { return };
    let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
    let mut connection = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let newer = "INSERT INTO jobs (kind, subject_id, run_at, attempts, created_at) VALUES ('translation', 1, 1, 0, 1)";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    // What is due after it is done.
    text_answered_late(&app, "SM1", CALLER).await;
    app.twilio.wait_for_sent(1).await;
    app.later(60);
    text_answered_late(&app, "SM2", OTHER).await;
    app.twilio.wait_for_sent(2).await;
    let jobs = app.until("/jobs/", |jobs| jobs.as_array().unwrap().len() == 1).await;
    assert_eq!((&jobs[0]["kind"], &jobs[0]["attempts"]), (&json!("translation"), &json!(0)));
}
