//! Sessions of ConversationRelay that are lost, ended or left by a gateway that stops: how the call goes on.

use crate::relay::{STORY, tells};
use crate::relay_rest::{HASTY, told_the_beginning};
use crate::support::app::{CALLER, OURS, RELAY, TestApp, on_both_databases};
use crate::support::caller::Ending;
use crate::support::said::{APOLOGY, DID_NOT_HEAR};
use serde_json::json;

const PERSON: &str = "+14155550199";

on_both_databases! {
    async fn a_lost_session_is_taken_up_again_and_after_a_second_loss_the_call_goes_on_over_webhooks(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.says("Hello. How are you?");
        relay.says("Hi").await;
        relay.hears_turn().await;
        relay.interrupts("Hello.", 400).await;
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "Hello.").await;
        phone.relay_ended(relay.drops()).await;
        assert!(phone.connect().is_some() && phone.hears().is_empty(), "the call goes on without another greeting");
        let lost = phone.trace().last().unwrap().clone();
        for _ in 0..3 {
            let again = phone.redeliver(&lost).await.voice();
            assert!(again.find("ConversationRelay").is_some(), "a loss that is told again is no other loss");
        }
        // A session that works makes up for the one that was lost.
        let mut relay = phone.relay().await;
        assert_eq!(relay.hears_turn().await, DID_NOT_HEAR, "who has no answer to wait for is asked to speak");
        app.llm.says("Still here. And you?");
        relay.says("Are you there?").await;
        relay.hears_turn().await;
        assert_eq!(app.llm.requests()[1]["messages"][2]["content"], "Hello.", "with its history");
        relay.interrupts("Still here.", 700).await;
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "Still here.").await;
        phone.relay_ended(relay.drops()).await;
        let relay = phone.relay().await;
        phone.relay_ended(relay.drops()).await;
        assert_eq!(phone.hears(), [APOLOGY], "there is no answer to wait for");
        assert_eq!(phone.gather().unwrap().attr("action"), Some("/twilio/voice/turns/3"));
        assert_eq!(phone.redeliver_last().await.body, phone.trace().last().unwrap().answer.body);
        app.llm.says("Over webhooks now.");
        phone.says("And now?").await;
        assert_eq!(phone.hears(), ["Over webhooks now."]);
    }

    async fn after_two_losses_a_broken_answer_goes_on_over_webhooks(database) {
        let app = TestApp::start_with(&database, &HASTY).await;
        let (mut phone, relay, _gate) = told_the_beginning(&app, &STORY).await;
        let end = relay.drops();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "Once upon a time").await;
        phone.relay_ended(end).await;
        app.llm.hangs();
        let relay = phone.relay().await;
        app.llm.wait_for_requests(2).await;
        let end = relay.drops();
        app.llm.wait_for_in_flight(0).await;
        app.llm.says("there was a telephone.");
        phone.relay_ended(end).await;
        assert_eq!(phone.hears().last().unwrap(), "there was a telephone.");
        assert!(!phone.hears().join(" ").contains("Once"), "it was heard before");
        assert_eq!(phone.gather().unwrap().attr("action"), Some("/twilio/voice/turns/2"));
        for asked in &app.llm.requests()[1..] {
            assert_eq!(asked["messages"][2]["content"], "Once upon a time", "the model goes on after it");
        }
        let whole = "Once upon a time there was a telephone.";
        let turns = app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == whole).await;
        assert_eq!((turns.as_array().unwrap().len(), &turns[0]["heard_text"]), (1, &json!(null)));
        for exchange in phone.trace().to_vec() {
            assert_eq!(phone.redeliver(&exchange).await.body, exchange.answer.body, "{}", exchange.path());
        }
        assert_eq!(app.llm.request_count(), 3);
        app.llm.says("Good night.");
        phone.says("Thank you").await;
        assert_eq!(phone.hears().last().unwrap(), "Good night.");
    }

    async fn a_gateway_that_stops_leaves_its_calls_to_the_next(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let (mut phone, relay, _gate) = tells(&app, &STORY, 1).await;
        let (app, end) = tokio::join!(app.restart(&database, &[RELAY]), relay.until_cut());
        phone.moves_to(&app);
        phone.relay_ended(end).await;
        app.llm.says("It was once a telephone.");
        let mut relay = phone.relay().await;
        assert!(relay.hears_turn().await.ends_with("It was once a telephone."));
        assert_eq!(app.llm.requests()[1]["messages"][1]["content"], "Tell me a story");
        let turns = app.until("/history/1/conversations", |turns| turns[0]["output_tokens"] != 0).await;
        assert!(turns[0]["gpt_response"].as_str().unwrap().ends_with("It was once a telephone."), "{turns}");
        assert_eq!((turns.as_array().unwrap().len(), &turns[0]["heard_text"]), (1, &json!(null)));
    }

    async fn a_question_without_any_answer_is_answered_after_a_loss(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.hangs();
        relay.says("Tell me a story").await;
        app.llm.wait_for_in_flight(1).await;
        let end = relay.drops();
        app.llm.wait_for_in_flight(0).await;
        phone.relay_ended(end).await;
        app.llm.says("There was a telephone.");
        let mut relay = phone.relay().await;
        assert!(relay.hears_turn().await.ends_with("There was a telephone."));
        let turns = app.until("/history/1/conversations", |turns| turns[0]["gpt_response"].is_string()).await;
        assert_eq!((turns.as_array().unwrap().len(), &turns[0]["turn"]), (1, &json!(1)));
    }

    async fn a_gateway_that_stops_while_a_call_is_leaving_hands_it_over_at_once(database) {
        let settings = [RELAY, ("TRANSFER_NUMBER", PERSON)];
        let app = TestApp::start_with(&database, &settings).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.says("Can I speak to a human, please?").await;
        relay.hears_turn().await;
        let (app, end) = tokio::join!(app.restart(&database, &settings), relay.until_end());
        assert_eq!(end.handoff_data(), Some(r#"{"reason":"transfer"}"#));
        phone.moves_to(&app);
        phone.relay_ended(end).await;
        assert_eq!(phone.is_dialling().unwrap().number, PERSON);
    }

    async fn what_was_to_follow_a_session_follows_though_it_was_lost(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("TRANSFER_NUMBER", PERSON)]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.says("Can I speak to a human, please?").await;
        relay.hears_turn().await;
        phone.relay_ended(relay.drops()).await;
        assert_eq!(phone.is_dialling().unwrap().number, PERSON);
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.says("Goodbye").await;
        relay.hears_turn().await;
        phone.relay_ended(relay.drops()).await;
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.says("I want to leave a message").await;
        app.until("/history/1/conversations", |turns| turns[0]["input_text"] == "I want to leave a message" && turns[0]["gpt_response"].is_string()).await;
        phone.relay_ended(relay.drops()).await;
        assert!(phone.is_recording() && phone.hears()[0].contains("after the tone"));
    }

    async fn the_end_of_a_session_is_understood_however_little_is_told_of_it(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("TRANSFER_NUMBER", PERSON)]).await;
        let call = app.call("CA1", CALLER, OURS);
        let ends = async |fields: &[(&str, &str)]| call.webhook("/twilio/relay/ended", fields).await.body;
        let greeting = call.webhook("/twilio/voice", &[("CallStatus", "ringing")]).await.body;
        let transfer = ends(&[("SessionId", "VX1"), ("SessionStatus", "ended"), ("HandoffData", r#"{"reason":"transfer"}"#)]).await;
        assert!(transfer.contains("/turns/1/transferred"), "{transfer}");
        let voicemail = ends(&[("SessionId", "VX2"), ("SessionStatus", "ended"), ("HandoffData", r#"{"reason":"voicemail"}"#)]).await;
        assert!(voicemail.contains("/turns/1/recorded"), "{voicemail}");
        // What fails a session may be told as the call's failure, too.
        let lost = [("SessionId", "VX3"), ("SessionStatus", "failed"), ("CallStatus", "failed")];
        let again = ends(&lost).await;
        assert!(again.contains("<ConversationRelay"), "{again}");
        assert_eq!(ends(&lost).await, again);
        assert_eq!(call.webhook("/twilio/voice", &[("CallStatus", "ringing")]).await.body, greeting);
        let unknown = ends(&[("SessionStatus", "failed"), ("ErrorCode", "64102")]).await;
        assert!(unknown.contains("/twilio/voice/turns/1"), "the second loss: {unknown}");
        let over = ends(&[("SessionId", "VX1"), ("SessionStatus", "completed")]).await;
        assert!(!over.contains("<Connect") && !over.contains("<Gather"), "{over}");
    }

    async fn the_end_of_a_session_is_never_answered_with_another_calls_document(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let fields = |session| [("SessionId", session), ("SessionStatus", "failed")];
        let one = app.call("CA1", CALLER, OURS);
        let greeting = one.webhook("/twilio/voice", &[("CallStatus", "ringing")]).await.body;
        let lost = one.webhook("/twilio/relay/ended", &fields("VX1")).await.body;
        for (other, session) in [("CA2", "VX1"), ("CA3", "CA1")] {
            let answer = app.call(other, PERSON, OURS).webhook("/twilio/relay/ended", &fields(session)).await.body;
            assert!(answer.contains("<ConversationRelay") && answer != lost && answer != greeting, "{answer}");
        }
    }

    async fn what_hands_a_call_over_is_the_same_when_it_is_asked_for_again(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let greeting = ("/twilio/voice", vec![("CallStatus", "ringing")]);
        let lost = ("/twilio/relay/ended", vec![("SessionId", "VX1"), ("SessionStatus", "failed")]);
        let mut answers = Vec::new();
        for (path, fields) in [&greeting, &lost] {
            let answer = app.call("CA1", CALLER, OURS).webhook(path, fields).await.body;
            assert!(answer.contains("<ConversationRelay"), "{answer}");
            answers.push(answer);
        }
        // Another token would be made by now.
        app.clock.advance(400);
        for (number, (path, fields)) in [&greeting, &lost, &lost].into_iter().enumerate() {
            assert_eq!(app.call("CA1", CALLER, OURS).webhook(path, fields).await.body, answers[number.min(1)], "{path}");
        }
        let app = app.restart(&database, &[RELAY]).await;
        for ((path, fields), answer) in [&greeting, &lost].into_iter().zip(&answers) {
            assert_eq!(&app.call("CA1", CALLER, OURS).webhook(path, fields).await.body, answer, "{path}");
        }
        // It was one loss, however often it was told; this is the second.
        let fields = [("SessionId", "VX2"), ("SessionStatus", "failed")];
        let second = app.call("CA1", CALLER, OURS).webhook("/twilio/relay/ended", &fields).await.body;
        assert!(second.contains("/twilio/voice/turns/1"), "{second}");
    }

    async fn the_losses_of_a_call_are_counted_though_its_user_was_erased(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let user = app.user("ann", CALLER).await;
        let call = app.call("CA1", CALLER, OURS);
        call.webhook("/twilio/voice", &[("CallStatus", "ringing")]).await;
        assert_eq!(app.api("DELETE", &format!("/users/{user}"), None).await.status, 204);
        let lost = async |session| {
            call.webhook("/twilio/relay/ended", &[("SessionId", session), ("SessionStatus", "failed")]).await.body
        };
        assert!(lost("VX1").await.contains("<ConversationRelay"));
        let second = lost("VX2").await;
        assert!(second.contains("/twilio/voice/turns/1"), "{second}");
    }
}
