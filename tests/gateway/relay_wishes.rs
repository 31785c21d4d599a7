//! What callers ask for, press or leave unsaid on a call over ConversationRelay.

use crate::support::app::{CALLER, OURS, RELAY, TestApp, on_both_databases};
use crate::support::caller::Ending;
use crate::support::said::{DID_NOT_HEAR, UNAVAILABLE};
use serde_json::json;

const PERSON: &str = "+14155550199";

on_both_databases! {
    async fn who_asks_for_a_person_is_connected_and_comes_back_when_nobody_answers(database) {
        let settings = [RELAY, ("TRANSFER_NUMBER", PERSON), ("VOICE_TOOLS", "transfer_to_human")];
        let app = TestApp::start_with(&database, &settings).await;
        for way in ["words", "key", "tool"] {
            let mut phone = app.dials(CALLER, OURS).await;
            let mut relay = phone.relay().await;
            match way {
                "words" => relay.says("Can I speak to a human, please?").await,
                "key" => relay.presses('0').await,
                _ => {
                    app.llm.says_and_calls("I will get somebody.", "transfer_to_human", "{}");
                    relay.says("I am angry").await;
                }
            }
            let said = relay.hears_turn().await;
            assert_eq!(said, if way == "tool" { "I will get somebody." } else { "One moment, I am connecting you." });
            let end = relay.until_end().await;
            assert_eq!(end.handoff_data(), Some(r#"{"reason":"transfer"}"#), "{way}");
            phone.relay_ended(end).await;
            assert_eq!(phone.is_dialling().unwrap().number, PERSON);
            assert!(phone.hears().is_empty(), "it was said already");
            phone.dial_ends("no-answer", 0).await;
            app.llm.says("I am still here.");
            phone.says("Hello?").await;
            assert_eq!(phone.hears(), ["I am still here."]);
        }
    }

    async fn the_key_for_a_person_is_taken_before_any_word_of_an_answer(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("TRANSFER_NUMBER", PERSON)]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.hangs();
        relay.says("Tell me a story").await;
        app.llm.wait_for_in_flight(1).await;
        relay.presses('0').await;
        assert_eq!(relay.hears_turn().await, "", "what was begun is over");
        assert_eq!(relay.hears_turn().await, "One moment, I am connecting you.");
        app.llm.wait_for_in_flight(0).await;
        let end = relay.until_end().await;
        assert_eq!(end.handoff_data(), Some(r#"{"reason":"transfer"}"#));
        phone.relay_ended(end).await;
        assert_eq!(phone.is_dialling().unwrap().number, PERSON);
        let turns = app.get("/history/1/conversations").await;
        assert_eq!((&turns[0]["turn"], &turns[1]["gpt_response"]), (&json!(2), &json!(null)));
        phone.dial_ends("no-answer", 0).await;
        app.llm.says("I am still here.");
        phone.says("Hello?").await;
        assert_eq!(phone.hears(), ["I am still here."]);
    }

    async fn who_wants_to_leave_a_message_leaves_it(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.says("I want to leave a message").await;
        let end = relay.until_end().await;
        assert_eq!(end.handoff_data(), Some(r#"{"reason":"voicemail"}"#));
        phone.relay_ended(end).await;
        assert!(phone.is_recording() && phone.hears()[0].contains("after the tone"));
    }

    async fn who_asks_for_a_person_where_there_is_nobody_talks_on(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.presses('0').await;
        assert!(relay.hears_turn().await.contains("cannot connect you"));
        app.llm.says("Of course.");
        relay.says("Then you help me").await;
        assert_eq!(relay.hears_turn().await, "Of course.");
    }

    async fn the_model_may_end_the_call_and_change_the_language(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("VOICE_TOOLS", "end_call,switch_language")]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        assert!(phone.connect().unwrap().find_all("Language").len() > 12);
        let mut relay = phone.relay().await;
        app.llm.says_and_calls("One moment.", "switch_language", r#"{"language":"de"}"#);
        app.llm.says("Gern.");
        relay.says("Can we speak German?").await;
        assert_eq!(relay.hears_turn().await, "One moment. Gern.");
        let change = relay.received().iter().find(|message| message["type"] == "language").unwrap();
        assert_eq!((&change["ttsLanguage"], &change["transcriptionLanguage"]), (&json!("de-DE"), &json!("de-DE")));
        app.llm.calls_tool("end_call", "");
        relay.says("Das war alles, mach Schluss").await;
        assert_eq!(relay.hears_turn().await, "Auf Wiederhören!", "a farewell in the call's language");
        let end = relay.until_end().await;
        assert_eq!(end.handoff_data(), Some(r#"{"reason":"end_call"}"#));
        phone.relay_ended(end).await;
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
    }

    async fn keys_are_gathered_and_told_and_a_star_repeats(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.presses('*').await;
        assert!(relay.hears_turn().await.starts_with("There is nothing to repeat"));
        app.llm.says("You pressed twelve.");
        relay.presses('1').await;
        relay.presses('2').await;
        assert_eq!(relay.hears_turn().await, "You pressed twelve.");
        assert_eq!(app.llm.requests()[0]["messages"][1]["content"], "(keys pressed: 12)");
        relay.presses('*').await;
        assert_eq!(relay.hears_turn().await, "You pressed twelve.");
        assert_eq!(app.llm.request_count(), 1);
        app.llm.says("Thank you.");
        relay.presses('7').await;
        relay.presses('#').await;
        assert_eq!(relay.hears_turn().await, "Thank you.");
    }

    async fn keys_that_are_pressed_just_before_words_go_with_them(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.says("Thank you.");
        relay.presses('4').await;
        relay.presses('2').await;
        relay.says("is my number").await;
        assert_eq!(relay.hears_turn().await, "Thank you.");
        assert_eq!(app.llm.requests()[0]["messages"][1]["content"], "(keys pressed: 42) is my number");
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn a_silence_is_asked_about_and_a_second_one_ends_the_call(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.stays_silent();
        assert_eq!(relay.hears_turn().await, DID_NOT_HEAR);
        assert_eq!(relay.hears_turn().await, "Goodbye!");
        let end = relay.until_end().await;
        phone.relay_ended(end).await;
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
    }

    async fn a_star_ends_a_row_of_silences(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.stays_silent();
        assert_eq!(relay.hears_turn().await, DID_NOT_HEAR);
        relay.presses('*').await;
        relay.hears_turn().await;
        assert_eq!(relay.hears_turn().await, DID_NOT_HEAR);
    }

    async fn a_caller_who_is_made_inactive_in_mid_call_is_told_at_the_next_words(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let user = app.user("ann", CALLER).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.says("Hello").await;
        relay.hears_turn().await;
        app.api("PUT", &format!("/users/{user}"), Some(json!({ "is_active": false }))).await;
        relay.says("Are you there?").await;
        assert_eq!(relay.hears_turn().await, UNAVAILABLE);
        let end = relay.until_end().await;
        phone.relay_ended(end).await;
        assert!(phone.hears().is_empty(), "it was said already");
        assert_eq!((phone.ended_by(), app.llm.request_count()), (Some(Ending::Hangup), 1));
    }
}
