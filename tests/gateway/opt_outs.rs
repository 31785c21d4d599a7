//! Keywords: who stops, starts and asks for help, and what follows.

use crate::api_support::problem;
use crate::support::app::{CALLER, Database, OURS, TestApp, on_both_databases};
use crate::support::wait::PATIENCE;
use serde_json::json;
use sqlx::Connection;

const SERVICE: &str = "MG00000000000000000000000000000001";
const TOLL_FREE: &str = "+18335550100";
const OTHER: &str = "+15005550007";

async fn text_to(app: &TestApp, sid: &str, to: &str, body: &str, more: &[(&str, &str)]) -> Vec<String> {
    let mut fields = vec![("MessageSid", sid), ("From", CALLER), ("To", to), ("Body", body)];
    fields.extend(more);
    app.webhook("/twilio/sms", &fields).await.messaging().messages()
}

on_both_databases! {
    async fn a_polite_stop_is_confirmed_once(database) {
        let app = TestApp::start(&database).await;
        let stopped = app.text("SM1", CALLER, "Stop. Thank you").await;
        assert_eq!(stopped.messaging().messages().len(), 1);
        assert!(stopped.body.contains("no more messages"), "{}", stopped.body);
        assert_eq!(app.text("SM1", CALLER, "Stop. Thank you").await.body, stopped.body, "its redelivery is told the same");
        assert!(app.text("SM2", CALLER, "Stop! Thanks.").await.messaging().is_empty(), "one confirmation is enough");
        assert!(app.text("SM3", CALLER, "Hello?").await.messaging().is_empty());
        let texts = app.get("/history/1/sms").await;
        assert_eq!((&texts[2]["reply_status"], &texts[2]["reason"]), (&json!("confirmed"), &json!("keyword")));
        assert_eq!((&texts[0]["reply_status"], &texts[0]["reason"]), (&json!("ignored"), &json!("opted out")));
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn keywords_are_confirmed_in_the_persons_language_where_twilio_does_not(database) {
        let app = TestApp::start_with(&database, &[("SMS_KEYWORD_REPLIES", "true")]).await;
        let user = app.user("ann", CALLER).await;
        app.create(&format!("/preferences/?user_id={user}"), json!({ "language": "de-DE" })).await;
        for (sid, word, expected) in [
            ("SM1", "HELP", "automatischer Assistent"),
            ("SM2", "Stop", "keine Nachrichten mehr"),
            ("SM4", "Yes", "wieder Nachrichten"),
        ] {
            let answer = app.text(sid, CALLER, word).await;
            assert!(answer.messaging().messages()[0].contains(expected), "{word}: {}", answer.body);
        }
        app.text("SM5", CALLER, "STOP").await;
        assert!(app.text("SM6", CALLER, "HELP").await.messaging().is_empty(), "nothing goes to who opted out");
        let by_twilio = text_to(&app, "SM7", OURS, "start", &[("OptOutType", "START")]).await;
        assert_eq!(by_twilio, [""; 0], "Twilio has confirmed it");
        app.llm.decides("yes", "Hello.");
        app.text("SM8", CALLER, "Hallo").await;
        let told = app.llm.requests()[0]["messages"].to_string();
        assert!(!told.contains("HELP") && !told.contains("Assistent\\."), "the model is told of no keyword: {told}");
        assert_eq!(app.llm.requests()[0]["messages"].as_array().unwrap().len(), 2, "{told}");
    }

    async fn yes_is_an_answer_on_toll_free_numbers_even_after_a_stop(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_PHONE_NUMBERS", TOLL_FREE)]).await;
        text_to(&app, "SM1", TOLL_FREE, "STOP", &[]).await;
        text_to(&app, "SM2", TOLL_FREE, "Yes", &[]).await;
        assert_eq!(app.get("/opt-outs/").await.as_array().unwrap().len(), 1, "the carrier still blocks it");
        text_to(&app, "SM3", TOLL_FREE, "UNSTOP", &[]).await;
        assert_eq!(app.get("/opt-outs/").await, json!([]));
    }

    async fn twilios_own_reading_of_a_keyword_wins(database) {
        let app = TestApp::start(&database).await;
        text_to(&app, "SM1", OURS, "arrêtez", &[("OptOutType", "STOP")]).await;
        let opt_outs = app.get("/opt-outs/").await;
        assert_eq!((&opt_outs[0]["peer_number"], &opt_outs[0]["own_number"]), (&json!(CALLER), &json!(OURS)));
        assert_eq!((&opt_outs[0]["evidence"], &opt_outs[0]["message_sid"]), (&json!("arrêtez"), &json!("SM1")));
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn an_opt_out_holds_for_all_numbers_of_a_messaging_service(database) {
        let app = TestApp::start(&database).await;
        let service = [("MessagingServiceSid", SERVICE)];
        text_to(&app, "SM1", OURS, "STOP", &service).await;
        assert_eq!(text_to(&app, "SM2", OTHER, "Hello?", &service).await, [""; 0]);
        app.llm.decides("yes", "This number is another matter.");
        assert_eq!(text_to(&app, "SM3", OTHER, "Hello?", &[]).await.len(), 1);
        text_to(&app, "SM4", OURS, "START", &service).await;
        app.llm.decides("yes", "Welcome back.");
        assert_eq!(text_to(&app, "SM5", OTHER, "Hello?", &service).await, ["Welcome back."]);
    }

    async fn an_answer_that_is_being_written_does_not_follow_a_stop(database) {
        let app = TestApp::start(&database).await;
        let gate = app.llm.decides("yes", "Too late.").waits();
        let stop = async {
            app.llm.wait_for_requests(1).await;
            app.text("SM2", CALLER, "STOP").await;
            gate.open();
        };
        let (answer, ()) = tokio::join!(app.text("SM1", CALLER, "Hello"), stop);
        assert!(answer.messaging().is_empty(), "{}", answer.body);
        let texts = app.get("/history/1/sms").await;
        assert_eq!((&texts[1]["reply_status"], &texts[1]["reason"]), (&json!("canceled"), &json!("opted out")));
        app.later(3600);
        assert_eq!(app.twilio.post_count(), 0);
    }

    async fn a_job_of_somebody_who_opted_out_meanwhile_asks_no_model(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05"), ("MAX_RETRIES", "0")]).await;
        app.llm.fails(500);
        app.text("SM1", CALLER, "Hello").await;
        app.until("/jobs/", |jobs| jobs[0]["last_error"].is_string()).await;
        app.twilio.fails(400, 21610);
        app.llm.decides("yes", "Nobody wants this.");
        app.text("SM2", CALLER, "Hello?").await;
        app.later(60);
        let texts = app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "canceled").await;
        assert_eq!(texts[1]["reply_status"], "failed");
        assert_eq!((app.llm.request_count(), app.twilio.post_count()), (2, 1));
    }

    async fn twilios_report_that_the_receiver_opted_out_is_remembered(database) {
        let app = TestApp::start(&database).await;
        for (n, code) in ["21610", "30630"].into_iter().enumerate() {
            let from = format!("+1415555020{n}");
            app.llm.decides("yes", "Nobody gets this.");
            let answer = app.text(&format!("SM{n}"), &from, "Hello").await.messaging();
            let path = answer.find("Message").unwrap().attr("statusCallback").unwrap().to_owned();
            let report = [("MessageSid", &*format!("SMreply{n}")), ("MessageStatus", "undelivered"), ("ErrorCode", code)];
            assert_eq!(app.webhook(&path, &report).await.status, 204);
            let opt_outs = app.get("/opt-outs/").await;
            let known = opt_outs.as_array().unwrap().iter().find(|opt_out| opt_out["peer_number"] == from);
            assert_eq!((&known.unwrap()["own_number"], &known.unwrap()["evidence"]), (&json!(OURS), &json!(code)));
            assert!(app.text(&format!("SM{n}again"), &from, "And now?").await.messaging().is_empty());
            app.text(&format!("SM{n}start"), &from, "START").await;
            app.webhook(&path, &report).await;
        }
        assert_eq!(app.get("/opt-outs/").await, json!([]), "a report that comes twice takes no START back");
        assert_eq!(app.llm.request_count(), 2);
    }

    async fn opt_outs_outlive_their_user_and_can_be_exported(database) {
        let app = TestApp::start_with(&database, &[("SMS_REPLY_BUDGET", "0.05")]).await;
        app.twilio.fails(400, 21610);
        let gate = app.llm.decides("yes", "Nobody wants this.").waits();
        app.text("SM1", "+14155550199", "Hello").await;
        gate.open();
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "failed").await;
        assert!(app.get("/history/1/sms").await[0]["error_meaning"].as_str().unwrap().contains("told this number to stop"));
        app.clock.advance(1);
        app.text("SM2", CALLER, "=STOP").await;
        for user in [1, 2] {
            assert_eq!(app.api("DELETE", &format!("/users/{user}"), None).await.status, 204);
        }
        let opt_outs = app.get("/opt-outs/").await;
        assert_eq!((&opt_outs[0]["peer_number"], &opt_outs[1]["evidence"]), (&json!(CALLER), &json!("21610")));
        assert_eq!(app.get("/opt-outs/?skip=1&limit=1").await, json!([opt_outs[1]]));
        let csv = app.api("GET", "/opt-outs/export.csv", None).await;
        assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
        assert!(csv.headers["content-disposition"].contains("opt-outs.csv"));
        let lines: Vec<_> = csv.body.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with(&format!("{CALLER},{OURS},SM2,'=STOP,2")), "{}", lines[1]);
        assert!(lines[2].starts_with(&format!("+14155550199,{OURS},,21610,")), "{}", lines[2]);
        assert!(app.text("SM3", CALLER, "Hello again").await.messaging().is_empty(), "a new user with the number is left alone");
    }

    async fn a_stop_with_politeness_around_it_is_a_stop(database) {
        let app = TestApp::start(&database).await;
        app.llm.always_decides("yes", "You are welcome!");
        for (n, words) in ["Stop, thank you", "STOP please", "Stop - thanks", "stop… please", "Please stop."].into_iter().enumerate() {
            let from = format!("+1415555020{n}");
            let told = app.text(&format!("SM{n}"), &from, words).await;
            assert!(told.body.contains("no more messages"), "Twilio says nothing to {words}: {}", told.body);
        }
        let held = app.get("/opt-outs/").await.as_array().unwrap().len();
        assert_eq!((held, app.llm.request_count()), (5, 0));
    }

    async fn nothing_leaves_to_who_opted_out_when_an_earlier_text_is_redelivered(database) {
        let app = TestApp::start_with(&database, &[("SMS_KEYWORD_REPLIES", "true")]).await;
        app.llm.decides("yes", "Gladly.");
        app.text("SM1", CALLER, "Hello").await;
        assert_eq!(app.text("SM2", CALLER, "HELP").await.messaging().messages().len(), 1);
        let stopped = app.text("SM3", CALLER, "Stop. Thank you").await;
        for (sid, body) in [("SM1", "Hello"), ("SM2", "HELP")] {
            let again = app.text(sid, CALLER, body).await;
            assert!(again.messaging().is_empty(), "{body}: {}", again.body);
        }
        assert_eq!(app.text("SM3", CALLER, "Stop. Thank you").await.body, stopped.body, "but for the confirmation");
    }

    async fn a_stop_to_a_service_holds_for_what_goes_out_from_any_of_its_numbers(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let service = [("MessagingServiceSid", SERVICE)];
        app.llm.decides("yes", "Hello.");
        text_to(&app, "SM1", OURS, "Hello", &service).await;
        text_to(&app, "SM2", OTHER, "STOP", &service).await;
        let order = json!({ "user_id": user, "text": "Your bicycle is ready." });
        problem(&app.api("POST", "/sms/send", Some(order.clone())).await, 409);
        text_to(&app, "SM3", OTHER, "START", &service).await;
        app.create("/sms/send", order).await;
        app.twilio.wait_for_sent(1).await;
    }

    async fn a_start_to_a_service_holds_for_numbers_that_joined_it_after_the_stop(database) {
        let app = TestApp::start(&database).await;
        let service = [("MessagingServiceSid", SERVICE)];
        text_to(&app, "SM1", OURS, "STOP", &[]).await;
        text_to(&app, "SM2", TOLL_FREE, "STOP", &[]).await;
        assert_eq!(text_to(&app, "SM3", OURS, "Hello?", &service).await, [""; 0], "it has joined");
        text_to(&app, "SM4", OTHER, "START", &service).await;
        let opt_outs = app.get("/opt-outs/").await;
        assert_eq!((opt_outs.as_array().unwrap().len(), &opt_outs[0]["own_number"]), (1, &json!(TOLL_FREE)), "{opt_outs}");
        app.llm.decides("yes", "Welcome back.");
        assert_eq!(text_to(&app, "SM5", OURS, "Hello again", &service).await, ["Welcome back."]);
    }

    async fn a_start_to_one_number_of_a_service_holds_for_all_of_them(database) {
        let app = TestApp::start(&database).await;
        let service = [("MessagingServiceSid", SERVICE)];
        text_to(&app, "SM1", OURS, "STOP", &service).await;
        text_to(&app, "SM2", OTHER, "START", &service).await;
        app.llm.decides("yes", "Welcome back.");
        assert_eq!(text_to(&app, "SM3", OURS, "Hello again", &service).await, ["Welcome back."]);
    }
}

/// A text is being written down (a trigger makes the moment longer) when its sender's STOP comes to `stopped`.
async fn a_text_crosses_a_stop_to(stopped: &str) {
    let Some(database) = Database::postgres().await else { return };
    let app = TestApp::start(&database).await;
    app.user("ann", CALLER).await;
    let mut connection = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$; \
                CREATE TRIGGER slow AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION slow()";
    sqlx::raw_sql(slow).execute(&mut connection).await.unwrap();
    let gate = app.llm.decides("yes", "Too late.").waits();
    let stop = async {
        let is_being_written = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')";
        let written = async {
            loop {
                let (is_being_written,): (bool,) =
                    sqlx::query_as(is_being_written).fetch_one(&mut connection).await.unwrap();
                if is_being_written {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, written).await.expect("the text is being written down");
        text_to(&app, "SM2", stopped, "STOP", &[("MessagingServiceSid", SERVICE)]).await;
        gate.open();
    };
    let crossing = text_to(&app, "SM1", OURS, "Hello", &[("MessagingServiceSid", SERVICE)]);
    let (told, ()) = tokio::join!(crossing, stop);
    assert_eq!(told, [""; 0]);
    let texts = app.get("/history/1/sms").await;
    let text = texts.as_array().unwrap().iter().find(|text| text["message_sid"] == "SM1").unwrap();
    assert_eq!((&text["reply_status"], &text["reason"]), (&json!("canceled"), &json!("opted out")));
    assert_eq!(app.get("/jobs/").await, json!([]));
}

#[tokio::test]
async fn a_text_that_crosses_its_senders_stop_is_not_answered() {
    a_text_crosses_a_stop_to(OURS).await;
}

#[tokio::test]
async fn a_text_that_crosses_its_senders_stop_to_another_number_of_the_service_is_not_answered() {
    a_text_crosses_a_stop_to(OTHER).await;
}
