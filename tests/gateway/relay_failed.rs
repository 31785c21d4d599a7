//! Calls that are reported as failed with their ConversationRelay session, and sessions that are lost with the
//! database.

use crate::support::app::{CALLER, Database, OURS, RELAY, TestApp, on_both_databases};
use crate::support::postgres;
use crate::support::said::{APOLOGY, DID_NOT_HEAR, UNAVAILABLE};
use serde_json::json;

const PERSON: &str = "+14155550199";

on_both_databases! {
    async fn a_call_that_is_reported_as_failed_with_its_session_goes_on(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        for _ in 0..2 {
            let end = phone.relay().await.drops();
            app.call(phone.sid(), CALLER, OURS).is("failed", &[]).await;
            phone.relay_ended(end).await;
        }
        assert_eq!(phone.hears(), [APOLOGY]);
        app.llm.says("Still here.");
        phone.says("Are you there?").await;
        assert_eq!(phone.hears(), ["Still here."]);
    }

    async fn a_call_that_was_reported_as_failed_with_a_session_lives_on_after_it(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("TRANSFER_NUMBER", PERSON)]).await;
        app.user("ann", CALLER).await;
        for is_told_late in [false, true] {
            let mut phone = app.dials(CALLER, OURS).await;
            let path = format!("/calls/{}", phone.sid());
            let end = phone.relay().await.drops();
            if !is_told_late {
                app.call(phone.sid(), CALLER, OURS).is("failed", &[]).await;
            }
            phone.relay_ended(end).await;
            if is_told_late {
                app.call(phone.sid(), CALLER, OURS).is("failed", &[]).await;
            }
            let mut relay = phone.relay().await;
            assert_eq!(relay.hears_turn().await, DID_NOT_HEAR);
            let call = app.get(&path).await;
            assert_eq!((&call["status"], &call["ended_at"]), (&json!("in-progress"), &json!(null)));
            app.llm.says("Still here.");
            relay.says("Are you there?").await;
            assert_eq!(relay.hears_turn().await, "Still here.");
            relay.says("Can I speak to a human, please?").await;
            phone.relay_ended(relay.until_end().await).await;
            phone.dial_ends("no-answer", 0).await;
            app.llm.says("I am still here.");
            phone.says("Hello?").await;
            assert_eq!(phone.hears(), ["I am still here."]);
            phone.hangs_up().await;
            assert_eq!(app.get(&path).await["status"], "completed");
        }
    }

    async fn a_call_that_is_reported_as_failed_with_the_session_that_hands_it_over_goes_on(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("TRANSFER_NUMBER", PERSON)]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.says("Can I speak to a human, please?").await;
        relay.hears_turn().await;
        let end = relay.drops();
        app.call(phone.sid(), CALLER, OURS).is("failed", &[]).await;
        phone.relay_ended(end).await;
        phone.dial_ends("busy", 0).await;
        app.llm.says("I am still here.");
        phone.says("Hello?").await;
        assert_eq!(phone.hears(), ["I am still here."]);
    }

    async fn what_follows_a_session_is_asked_again_a_few_times_while_the_database_is_out_of_reach(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let call = app.call("CA1", CALLER, OURS);
        call.rings().await;
        match &database {
            Database::Sqlite(_) => app.close_database().await,
            Database::Postgres(url) => postgres::cut(url).await,
        }
        let lost = [("SessionId", "VX1"), ("SessionStatus", "failed")];
        let answer = call.webhook("/twilio/relay/ended", &lost).await.voice();
        assert_eq!(answer.redirect().as_deref(), Some("/twilio/relay/ended?session=VX1&tried=1"));
        assert!(!answer.say().is_empty(), "the caller is not left in silence");
        let last = call.webhook("/twilio/relay/ended?session=VX1&tried=5", &[]).await.voice();
        assert!(last.hangs_up() && last.say() == UNAVAILABLE, "{}", last.say());
        let said = [("SessionId", "VX1"), ("SessionStatus", "ended"), ("HandoffData", r#"{"reason":"goodbye"}"#)];
        let end = call.webhook("/twilio/relay/ended", &said).await.voice();
        assert!(end.hangs_up() && end.say().is_empty(), "whose goodbye was said hears nothing more: {}", end.say());
    }
}

#[tokio::test]
async fn a_session_that_is_lost_with_the_database_is_taken_up_when_the_database_is_back() {
    let Some(database) = Database::postgres().await else { return };
    let app = TestApp::start_with(&database, &[RELAY]).await;
    let mut phone = app.phone(CALLER, OURS).step_by_step();
    phone.dials().await;
    let mut relay = phone.relay().await;
    app.llm.says("Hello. How are you?");
    relay.says("Hi").await;
    relay.hears_turn().await;
    app.until("/history/1/conversations", |turns| turns[0]["gpt_response"].is_string()).await;
    let end = relay.drops();
    postgres::cut(&database.url()).await;
    phone.relay_ended(end).await;
    assert_eq!(phone.hears().len(), 1, "a few words, then Twilio asks again: {:?}", phone.hears());
    postgres::restore(&database.url()).await;
    app.until("/health", |health| health["database"] == "ok").await;
    phone.goes_on().await;
    let mut relay = phone.relay().await;
    relay.hears_turn().await;
    app.llm.says("Still here.");
    relay.says("Are you there?").await;
    assert!(relay.hears_turn().await.ends_with("Still here."));
    let again = phone.redeliver_last().await.body;
    assert_eq!(again, phone.trace().last().unwrap().answer.body, "it is one loss, under the session's name");
}

#[tokio::test]
async fn a_caller_who_is_handed_over_without_the_database_is_connected_when_it_is_back() {
    let Some(database) = Database::postgres().await else { return };
    let app = TestApp::start_with(&database, &[RELAY, ("TRANSFER_NUMBER", PERSON)]).await;
    let mut phone = app.phone(CALLER, OURS).step_by_step();
    phone.dials().await;
    let mut relay = phone.relay().await;
    relay.says("Can I speak to a human, please?").await;
    let end = relay.until_end().await;
    postgres::cut(&database.url()).await;
    phone.relay_ended(end).await;
    postgres::restore(&database.url()).await;
    app.until("/health", |health| health["database"] == "ok").await;
    phone.goes_on().await;
    assert_eq!(phone.is_dialling().map(|dialled| dialled.number), Some(PERSON.to_owned()));
    assert!(phone.trace().last().unwrap().path().starts_with("/twilio/relay/ended?reason=transfer&session="));
}
