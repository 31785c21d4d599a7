//! Calls that the gateway places and that a machine answers: it is left a message after its beep, once.

use crate::outbound_calls::{OPENING, PUBLIC, PURPOSE, is_changed, order, placed, start, start_with};
use crate::support::app::{CALLER, Database, OURS, RELAY, TestApp, on_both_databases};
use crate::support::caller::{Ending, Exchange, Phone};
use crate::support::fake_llm::Between;
use crate::support::scripted_server::Gate;
use serde_json::json;
use std::time::Duration;
use switchboard::db::Db;
use switchboard::db::placed_calls::ChangeClaim;

/// The report on who answered that came last, with another answer.
fn report_of(phone: &Phone, who: &str) -> Exchange {
    let mut report =
        phone.trace().iter().rfind(|exchange| exchange.path() == "/twilio/voice/answered-by").unwrap().clone();
    report.fields.retain(|(name, _)| name != "AnsweredBy");
    report.fields.push(("AnsweredBy".to_owned(), who.to_owned()));
    report
}

#[tokio::test]
async fn a_message_that_another_gateway_leaves_stops_the_model() {
    let Some(database) = Database::postgres().await else { return };
    let (budget, patience) = (("VOICE_REPLY_BUDGET", "0.1"), ("VOICE_PATIENCE", "0.2"));
    let one = start_with(&database, &[budget, patience]).await;
    let other = TestApp::start_with(&database, &[budget, patience]).await;
    let placed = placed(&one).await;
    let _held = one.llm.says(OPENING).waits();
    one.answers(&placed).await;
    assert_eq!(one.llm.in_flight(), 1);
    let fields = [("CallSid", placed.sid.as_str()), ("From", OURS), ("To", CALLER), ("Direction", "outbound-api")];
    other.llm.fails(500);
    let message = other.webhook("/twilio/voice/message", &fields).await.voice();
    assert!(message.say().contains(PURPOSE), "{}", message.say());
    one.llm.wait_for_in_flight(0).await;
}

#[tokio::test]
async fn what_a_process_that_died_owed_a_machine_is_done_once() {
    let Some(database) = Database::postgres().await else { return };
    let app = start(&database).await;
    let db = Db::open_postgres(&database.url()).await.unwrap();
    for (number, was_told) in [false, true].into_iter().enumerate() {
        let user = app.user(&format!("user{number}"), &format!("+1415555012{number}")).await;
        app.create("/calls/", order(user)).await;
        let placed = app.twilio.placed_calls().pop().unwrap();
        let mut phone = app.answers(&placed).await;
        phone.machine_detected("human").await;
        // It died after it had asked Twilio, or before.
        let claim = db.claim_change(&placed.sid, "machine_end_beep").await.unwrap();
        assert_eq!(claim, ChangeClaim::Granted);
        if was_told {
            let mut message = report_of(&phone, "machine_end_beep");
            message.url = format!("{}/twilio/voice/message", PUBLIC.1);
            phone.redeliver(&message).await.voice();
        }
        assert_eq!(phone.redeliver(&report_of(&phone, "machine_end_beep")).await.status, 204);
        assert_eq!(app.twilio.call_updates().len(), 1, "was told: {was_told}");
        assert_eq!(app.get(&format!("/calls/{}", placed.sid)).await["answered_by"], "machine_end_beep");
    }
    db.close().await;
}

on_both_databases! {
    async fn a_machine_is_left_the_opening_after_its_beep(database) {
        let app = start_with(&database, &[("VOICE_REPLY_BUDGET", "0.5")]).await;
        let placed = placed(&app).await;
        app.llm.says(OPENING);
        let mut phone = app.answers(&placed).await.step_by_step();
        phone.machine_detected("machine_start").await;
        assert!(app.twilio.call_updates().is_empty(), "it still speaks");
        // What the machine says is heard as if a person said it, and the model is asked.
        let _held = app.llm.says("And who are you?").waits();
        phone.says("This is the voicemail of Ann.").await;
        phone.machine_detected("machine_end_beep").await;
        is_changed(&app, &mut phone).await;
        assert_eq!(phone.hears(), [OPENING]);
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
        app.llm.wait_for_in_flight(0).await;
        let message = phone.trace().iter().find(|exchange| exchange.path() == "/twilio/voice/message").unwrap();
        assert_eq!(phone.redeliver(message).await.body, message.answer.body);
        let report = phone.trace().iter().rfind(|exchange| exchange.path() == "/twilio/voice/answered-by").unwrap();
        assert_eq!(phone.redeliver(report).await.status, 204);
        assert_eq!(app.twilio.call_updates().len(), 1, "a report that comes twice changes nothing twice");
        let call = app.get(&format!("/calls/{}", placed.sid)).await;
        assert_eq!((&call["answered_by"], &call["status"]), (&json!("machine_end_beep"), &json!("completed")));
        assert_eq!(call["turns"][0]["heard_text"], json!(null), "all of it was heard");
    }

    async fn a_machine_that_answers_a_call_over_conversation_relay_gets_its_message(database) {
        let app = start_with(&database, &[RELAY]).await;
        let placed = placed(&app).await;
        app.llm.says(OPENING);
        let mut phone = app.answers(&placed).await;
        let mut relay = phone.relay().await;
        assert_eq!(relay.hears_turn().await, OPENING);
        let _held = app.llm.says("And who are you?").waits();
        relay.says("This is the voicemail of Ann.").await;
        app.llm.wait_for_in_flight(1).await;
        phone.machine_detected("machine_end_beep").await;
        // Twilio leaves the session for the document that the call is redirected to.
        let left = relay.closes();
        is_changed(&app, &mut phone).await;
        left.await;
        assert_eq!((phone.hears(), phone.ended_by()), (&[OPENING.to_owned()][..], Some(Ending::Hangup)));
        app.llm.wait_for_in_flight(0).await;
    }

    async fn a_machine_that_breaks_into_the_first_words_of_a_session_is_left_the_answer_that_followed(database) {
        let app = start_with(&database, &[RELAY]).await;
        let placed = placed(&app).await;
        let gate = Gate::closed();
        app.llm.streams(&["Hello Ann, ", "your bicycle ", "is ready."], Between::Gate(gate.clone()));
        gate.let_through(1);
        let mut phone = app.answers(&placed).await;
        let mut relay = phone.relay().await;
        assert_eq!(relay.next_message().await["token"], "Hello Ann, ");
        app.llm.says(OPENING);
        relay.says("This is the voicemail of Ann.").await;
        // What was begun is ended first.
        while relay.hears_turn().await != OPENING {}
        phone.machine_detected("machine_end_beep").await;
        relay.closes().await;
        is_changed(&app, &mut phone).await;
        assert_eq!((phone.hears(), app.llm.request_count()), (&[OPENING.to_owned()][..], 2));
    }

    async fn a_machine_that_breaks_into_the_first_words_is_left_a_message_that_the_model_is_asked_for(database) {
        let app = start_with(&database, &[RELAY]).await;
        let placed = placed(&app).await;
        let gate = Gate::closed();
        app.llm.streams(&["Hello Ann, ", "your bicycle ", "is ready."], Between::Gate(gate.clone()));
        gate.let_through(1);
        let mut phone = app.answers(&placed).await;
        let mut relay = phone.relay().await;
        assert_eq!(relay.next_message().await["token"], "Hello Ann, ");
        let _held = app.llm.says("And who are you?").waits();
        relay.says("This is the voicemail of Ann.").await;
        app.llm.wait_for_requests(2).await;
        app.llm.says(OPENING);
        phone.machine_detected("machine_end_beep").await;
        relay.closes().await;
        is_changed(&app, &mut phone).await;
        assert_eq!(phone.hears(), [OPENING]);
        assert!(app.llm.requests()[2]["messages"][0]["content"].as_str().unwrap().contains(PURPOSE));
    }

    async fn a_machine_that_answers_before_the_model_is_left_the_purpose(database) {
        let app = start_with(&database, &[("VOICE_REPLY_BUDGET", "0.1"), ("VOICE_PATIENCE", "0.2")]).await;
        let placed = placed(&app).await;
        let gate = app.llm.says(OPENING).waits();
        let mut phone = app.answers(&placed).await;
        phone.machine_detected("machine_end_silence").await;
        is_changed(&app, &mut phone).await;
        assert_eq!(phone.hears(), [format!("Hello, this is an automated call. It is about the following: {PURPOSE}")]);
        app.llm.wait_for_in_flight(0).await;
        gate.open();
        let message = phone.trace().iter().find(|exchange| exchange.path() == "/twilio/voice/message").unwrap();
        assert_eq!(phone.redeliver(message).await.body, message.answer.body);
    }

    async fn a_fax_is_hung_up_on(database) {
        let app = start(&database).await;
        let placed = placed(&app).await;
        let mut phone = app.answers(&placed).await;
        phone.machine_detected("unknown").await;
        assert!(app.twilio.call_updates().is_empty(), "it may be a person");
        phone.machine_detected("fax").await;
        is_changed(&app, &mut phone).await;
        assert_eq!(phone.ended_by(), Some(Ending::RestApi));
        assert_eq!(app.get(&format!("/calls/{}", placed.sid)).await["answered_by"], "fax");
    }

    async fn a_machine_is_told_though_twilio_stumbles(database) {
        let app = start(&database).await;
        let placed = placed(&app).await;
        let mut phone = app.answers(&placed).await;
        app.twilio.fails(429, 20429);
        phone.machine_detected("machine_end_other").await;
        is_changed(&app, &mut phone).await;
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
    }

    async fn a_report_is_taken_again_when_twilio_did_not_do_what_it_needs(database) {
        let app = start(&database).await;
        let placed = placed(&app).await;
        let mut phone = app.answers(&placed).await;
        phone.machine_detected("human").await;
        let machine = report_of(&phone, "machine_end_beep");
        app.twilio.fails(500, 20500);
        assert_eq!(phone.redeliver(&machine).await.status, 503);
        let path = format!("/calls/{}", placed.sid);
        assert_eq!(app.get(&path).await["answered_by"], "human", "as if the report had never come");
        assert_eq!(phone.redeliver(&machine).await.status, 204);
        assert_eq!(app.twilio.call_updates().len(), 1);
        assert_eq!(app.get(&path).await["answered_by"], "machine_end_beep");
    }

    async fn a_call_that_is_over_cannot_be_changed_and_need_not_be(database) {
        let app = start(&database).await;
        let placed = placed(&app).await;
        let mut phone = app.answers(&placed).await;
        phone.machine_detected("human").await;
        app.twilio.fails(400, 21220);
        assert_eq!(phone.redeliver(&report_of(&phone, "fax")).await.status, 204);
        assert_eq!((app.twilio.post_count(), app.twilio.call_updates().len()), (2, 0), "the call and the change refused");
    }

    async fn a_machine_is_told_once_however_often_and_in_which_order_it_is_reported(database) {
        let app = start(&database).await;
        let placed = placed(&app).await;
        let mut phone = app.answers(&placed).await;
        phone.machine_detected("human").await;
        let machine = report_of(&phone, "machine_end_beep");
        let gate = app.twilio.waits();
        let at_the_same_time = async {
            app.twilio.wait_for_call_updates(1).await;
            let twilio_answers = async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                gate.open();
            };
            let (again, ()) = tokio::join!(phone.redeliver(&machine), twilio_answers);
            again.status
        };
        let (first, again) = tokio::join!(phone.redeliver(&machine), at_the_same_time);
        assert_eq!((first.status, again), (204, 204));
        for late in ["machine_start", "unknown", "machine_end_other", "fax"] {
            assert_eq!(phone.redeliver(&report_of(&phone, late)).await.status, 204, "{late}");
        }
        assert_eq!(app.twilio.call_updates().len(), 1);
        assert_eq!(app.get(&format!("/calls/{}", placed.sid)).await["answered_by"], "machine_end_beep");
    }
}
