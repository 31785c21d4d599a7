//! Texts that an administrator sends to users, and the hours in which they wait.

use crate::api_support::{faulty_fields, problem};
use crate::support::app::{Answer, CALLER, Database, KEY, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};
use sqlx::Connection;
use switchboard::clock::{Clock, to_utc};

const OTHER: &str = "+14155550199";
const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";
const HOUR: i64 = 3600;

fn order(user: i64) -> Value {
    json!({ "user_id": user, "text": "Your bicycle is ready." })
}

async fn send(app: &TestApp, order: Value) -> Answer {
    app.api("POST", "/sms/send", Some(order)).await
}

async fn send_with(app: &TestApp, key: &str, order: &Value) -> Answer {
    let request =
        app.http.post(format!("{}/sms/send", app.base)).header("x-api-key", KEY).header("idempotency-key", key);
    Answer::of(request.header("content-type", "application/json").body(order.to_string())).await
}

/// `SMS_QUIET_HOURS` between these hours from now, in UTC.
fn quiet(from: i64, to: i64) -> String {
    let time = |hours: i64| {
        let time = to_utc(Clock::default().now() + hours * HOUR * 1_000_000);
        format!("{:02}:{:02}", time.hour(), time.minute())
    };
    format!("{}-{}", time(from), time(to))
}

/// From an hour ago to two hours from now.
fn quiet_now() -> String {
    quiet(-1, 2)
}

on_both_databases! {
    async fn a_user_is_sent_a_text_and_the_history_shows_it(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let answer = send(&app, order(user)).await;
        assert_eq!(answer.status, 201);
        let queued = answer.json();
        assert_eq!((&queued["direction"], &queued["reply_status"]), (&json!("outbound"), &json!("pending")));
        let sent = &app.twilio.wait_for_sent(1).await[0];
        assert_eq!((sent.from.as_str(), sent.to.as_str(), sent.body.as_str()), (OURS, CALLER, "Your bicycle is ready."));
        let texts = app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        assert_eq!((&texts[0]["id"], &texts[0]["reply_text"]), (&queued["id"], &json!("Your bicycle is ready.")));
        app.llm.decides("yes", "See you.");
        app.text("SM1", CALLER, "I am coming").await;
        assert!(app.llm.requests()[0]["messages"].to_string().contains("Your bicycle is ready."), "the model knows of it");
    }

    async fn the_history_tells_how_long_it_was_and_what_it_cost(database) {
        let app = TestApp::start_with(&database, &[("SMS_SEGMENT_PRICE", "0.5")]).await;
        let user = app.user("ann", CALLER).await;
        app.create("/sms/send", json!({ "user_id": user, "text": "a".repeat(161) })).await;
        let texts = app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        assert_eq!((&texts[0]["segments"], &texts[0]["encoding"]), (&json!(2), &json!("gsm7")));
        assert_eq!(texts[0]["cost_estimate"], 1.0);
    }

    async fn the_owner_of_our_number_gets_it_where_calls_are_forwarded_to(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", OURS).await;
        assert_eq!(faulty_fields(&problem(&send(&app, order(user)).await, 422)), ["user_id"], "we do not write to ourselves");
        app.create(&format!("/preferences/?user_id={user}"), json!({ "forward_number": OTHER })).await;
        assert_eq!(send(&app, order(user)).await.status, 201);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].to, OTHER);
    }

    async fn nobody_is_written_to_who_is_inactive_unknown_or_opted_out(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        problem(&send(&app, order(404)).await, 404);
        app.text("SM1", CALLER, "STOP").await;
        problem(&send_with(&app, "one", &order(user)).await, 409);
        assert_eq!(app.get("/history/1/sms").await.as_array().unwrap().len(), 1, "nothing was queued");
        app.text("SM2", CALLER, "START").await;
        assert_eq!(send_with(&app, "one", &order(user)).await.status, 201, "what came to nothing may be tried again");
        app.twilio.wait_for_sent(1).await;
        app.api("PUT", &format!("/users/{user}"), Some(json!({ "is_active": false }))).await;
        problem(&send(&app, order(user)).await, 409);
        for wrong in [json!(""), json!("a".repeat(10_001)), json!("😀".repeat(5_001)), json!(null)] {
            let told = problem(&send(&app, json!({ "user_id": user, "text": wrong })).await, 422);
            assert_eq!(faulty_fields(&told), ["text"]);
        }
    }

    async fn what_waits_for_a_messaging_service_is_dropped_when_its_receiver_opts_out_of_it(database) {
        let settings = [("SMS_QUIET_HOURS", &*quiet_now()), ("TWILIO_MESSAGING_SERVICE_SID", SERVICE)];
        let app = TestApp::start_with(&database, &settings).await;
        let user = app.user("ann", CALLER).await;
        assert_eq!(send(&app, order(user)).await.status, 201);
        let stop = [("MessageSid", "SM1"), ("From", CALLER), ("To", OTHER), ("Body", "STOP"), ("MessagingServiceSid", SERVICE)];
        app.webhook("/twilio/sms", &stop).await;
        assert_eq!(app.get("/history/1/sms").await[1]["reply_status"], "canceled");
        problem(&send(&app, order(user)).await, 409);
    }

    async fn a_key_sends_one_text_however_often_it_is_used(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let body = order(user);
        let (one, two) = tokio::join!(send_with(&app, "one", &body), send_with(&app, "one", &body));
        assert_eq!((one.status, two.status, &one.body), (201, 201, &two.body));
        let first = one;
        let again = send_with(&app, "one", &body).await;
        assert_eq!((again.status, &again.body), (201, &first.body));
        assert_eq!(again.headers["idempotency-replayed"], "true");
        let other = json!({ "user_id": user, "text": "Something else." });
        assert_eq!(faulty_fields(&problem(&send_with(&app, "one", &other).await, 422)), ["Idempotency-Key"]);
        app.twilio.wait_for_sent(1).await;
        assert_eq!(send_with(&app, "two", &body).await.status, 201);
        app.twilio.wait_for_sent(2).await;
        app.clock.advance(24 * HOUR + 1);
        assert_eq!(send_with(&app, "one", &other).await.status, 201, "after a day a key is new again");
        assert_eq!(app.twilio.wait_for_sent(3).await.len(), 3);
    }

    async fn in_quiet_hours_a_text_waits_for_their_end_and_holds_up_no_answer(database) {
        let app = TestApp::start_with(&database, &[("SMS_QUIET_HOURS", &quiet_now())]).await;
        let user = app.user("ann", CALLER).await;
        assert_eq!(send(&app, order(user)).await.json()["reply_status"], "pending");
        app.llm.decides("yes", "An answer.");
        assert_eq!(app.text("SM1", CALLER, "Hello").await.messaging().messages(), ["An answer."]);
        app.later(HOUR);
        app.llm.decides("yes", "Another one.");
        assert_eq!(app.text("SM2", CALLER, "Hello again").await.messaging().messages(), ["Another one."]);
        assert_eq!(app.twilio.post_count(), 0);
        app.later(HOUR);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "Your bicycle is ready.");
    }

    async fn a_text_whose_first_try_failed_waits_for_the_end_of_the_quiet_hours(database) {
        for (status, lookups) in [(429, 0), (503, 1)] {
            let app = TestApp::start_with(&database, &[("SMS_QUIET_HOURS", &quiet(1, 4))]).await;
            let user = app.user(&format!("ann{status}"), &format!("+14155550{status}")).await;
            app.twilio.fails(status, 20000);
            send(&app, order(user)).await;
            app.until("/jobs/?state=waiting", |jobs| jobs[0]["last_error"].is_string()).await;
            app.later(2 * HOUR);
            app.until("/jobs/", |jobs| jobs[0]["last_error"].as_str().unwrap().contains("quiet")).await;
            assert_eq!((app.twilio.sent().len(), app.twilio.lookup_count()), (0, lookups));
            app.later(2 * HOUR);
            app.twilio.wait_for_sent(1).await;
            app.until("/jobs/", |jobs| jobs == &json!([])).await;
            app.stop().await;
        }
    }

    async fn quiet_hours_are_those_of_the_receivers_time_zone(database) {
        let app = TestApp::start_with(&database, &[("SMS_QUIET_HOURS", &quiet_now()), ("DEFAULT_TIME_ZONE", "Asia/Tokyo")]).await;
        let (ann, bob) = (app.user("ann", CALLER).await, app.user("bob", OTHER).await);
        let preferences = app.create(&format!("/preferences/?user_id={ann}"), json!({ "time_zone": "utc" })).await;
        send(&app, order(ann)).await;
        send(&app, order(bob)).await;
        assert_eq!(app.twilio.wait_for_sent(1).await[0].to, OTHER, "it is day where Bob is");
        // Where Ann is meanwhile it is quiet for an hour more.
        let by_id = format!("/preferences/{}", preferences["id"]);
        let moved = app.api("PUT", &by_id, Some(json!({ "time_zone": "Atlantic/Cape_Verde" }))).await;
        assert_eq!(moved.json()["time_zone"], "Atlantic/Cape_Verde");
        app.later(2 * HOUR);
        send(&app, order(bob)).await;
        assert_eq!(app.twilio.wait_for_sent(2).await[1].to, OTHER);
        app.later(HOUR);
        assert_eq!(app.twilio.wait_for_sent(3).await[2].to, CALLER);
    }

    async fn a_draft_that_is_sent_by_hand_answers_in_quiet_hours_too(database) {
        let app = TestApp::start_with(&database, &[("SMS_QUIET_HOURS", &quiet_now())]).await;
        app.llm.decides("unsure", "I will ask.");
        app.text("SM1", CALLER, "Do we agree?").await;
        let texts = app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "draft").await;
        app.create(&format!("/sms/{}/send", texts[0]["id"]), json!({})).await;
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "I will ask.");
    }

    async fn what_waits_is_not_sent_to_a_user_made_inactive_meanwhile(database) {
        let app = TestApp::start_with(&database, &[("SMS_QUIET_HOURS", &quiet_now())]).await;
        let user = app.user("ann", CALLER).await;
        assert_eq!(send(&app, order(user)).await.status, 201);
        assert_eq!(app.api("PUT", &format!("/users/{user}"), Some(json!({ "is_active": false }))).await.status, 200);
        app.later(3 * HOUR);
        app.until("/jobs/", |jobs| jobs == &json!([])).await;
        let text = app.get("/history/1/sms").await[0].clone();
        assert_eq!((&text["reply_status"], &text["reason"]), (&json!("canceled"), &json!("inactive user")));
        assert_eq!(app.twilio.post_count(), 0);
    }

    async fn the_words_to_who_was_erased_are_not_told_again(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        assert_eq!(send_with(&app, "one", &order(user)).await.status, 201);
        app.twilio.wait_for_sent(1).await;
        assert_eq!(app.api("DELETE", &format!("/users/{user}"), None).await.status, 204);
        assert_eq!(send_with(&app, "one", &order(user)).await.status, 404);
    }

    async fn a_key_tells_what_was_sent_though_nobody_may_write_any_more(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let first = send_with(&app, "one", &order(user)).await;
        app.text("SM1", CALLER, "STOP").await;
        assert_eq!(send_with(&app, "one", &order(user)).await.body, first.body);
        assert_eq!(send_with(&app, "two", &order(user)).await.status, 409);
    }
}

#[tokio::test]
async fn a_text_and_the_answer_to_its_request_are_kept_together_or_not_at_all() {
    let Some(database) = Database::postgres().await else { return };
    let app = TestApp::start(&database).await;
    let user = app.user("ann", CALLER).await;
    let mut connection = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
                  CREATE TRIGGER refuse BEFORE UPDATE ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION refuse()";
    sqlx::raw_sql(refuse).execute(&mut connection).await.unwrap();
    assert_eq!(send_with(&app, "one", &order(user)).await.status, 500);
    assert_eq!(app.get(&format!("/history/{user}/sms")).await, json!([]));
    sqlx::raw_sql("DROP TRIGGER refuse ON idempotency_keys").execute(&mut connection).await.unwrap();
    let sent = send_with(&app, "one", &order(user)).await;
    assert_eq!((sent.status, sent.headers.get("idempotency-replayed")), (201, None));
    app.twilio.wait_for_sent(1).await;
}
