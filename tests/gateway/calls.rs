//! Calls, from the greeting to the goodbye.

use crate::support::app::{CALLER, Database, OURS, TestApp, on_both_databases};
use crate::support::caller::Ending;
use crate::support::postgres;
use crate::support::said::{APOLOGY, DID_NOT_HEAR};
use crate::support::twiml::Twiml;
use serde_json::json;
use std::time::Duration;

const SID: &str = "CA1";

on_both_databases! {
    async fn a_call_is_greeted_heard_and_answered_turn_by_turn(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        app.create(&format!("/preferences/?user_id={user}"), json!({ "language": "en", "tts_voice": "nova" })).await;

        let mut phone = app.phone(CALLER, OURS).with_sid(SID);
        phone.dials().await;
        assert_eq!(phone.hears(), ["Hello! How can I help you?"]);
        let gather = phone.gather().unwrap();
        assert_eq!(gather.attr("action"), Some("/twilio/voice/turns/1"));
        assert_eq!(gather.attr("language"), Some("en-US"));
        assert_eq!(gather.attr("actionOnEmptyResult"), Some("true"));
        assert_eq!(gather.find("Say").unwrap().attr("voice"), Some("Polly.Ruth-Neural"));

        app.llm.says("Paris.");
        phone.barges_in("What is the capital of France?").await;
        assert_eq!(phone.hears(), ["Paris."]);
        assert_eq!(phone.gather().unwrap().attr("action"), Some("/twilio/voice/turns/2"));

        app.llm.says("About two million people.");
        phone.says("How many people live there?").await;
        assert_eq!(phone.hears(), ["About two million people."]);
        let told = &app.llm.requests()[1]["messages"];
        assert_eq!(told[1], json!({ "role": "user", "content": "What is the capital of France?" }));
        assert_eq!(told[2], json!({ "role": "assistant", "content": "Paris." }));
        assert_eq!(told[3], json!({ "role": "user", "content": "How many people live there?" }));

        app.clock.advance(42);
        phone.says("Thank you, goodbye!").await;
        assert_eq!(phone.hears(), ["Goodbye!"]);
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
        assert_eq!(app.llm.request_count(), 2, "a goodbye needs no model");
        assert_eq!(phone.trace().last().unwrap().answer.status, 204, "the call's end is reported");

        let history = app.get(&format!("/history/{user}")).await;
        let turns = history["conversations"].as_array().unwrap();
        assert_eq!(turns.len(), 3);
        assert_eq!(turns[2]["input_text"], "What is the capital of France?");
        assert_eq!(turns[2]["gpt_response"], "Paris.");
        assert_eq!((&turns[2]["channel"], &turns[2]["call_sid"], &turns[2]["turn"]), (&json!("voice"), &json!(SID), &json!(1)));
        assert!(turns[2]["output_tokens"].as_i64().unwrap() > 0);
        let call = &history["calls"][0];
        assert_eq!((&call["call_sid"], &call["status"], &call["duration_seconds"]), (&json!(SID), &json!("completed"), &json!(42)));
        assert!(call["ended_at"].as_str().unwrap().ends_with('Z'));
    }

    async fn a_redelivered_turn_hears_the_same_and_never_asks_the_model_again(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        app.llm.says("Once.");
        app.llm.says("Twice?");
        let said = [("SpeechResult", "Tell me")];
        let first = call.webhook("/twilio/voice/turns/1", &said).await;
        let again = call.webhook("/twilio/voice/turns/1", &said).await;
        assert_eq!(first.body, again.body);
        assert_eq!(first.voice().say(), "Once.");
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn simultaneous_deliveries_of_a_turn_share_one_model_call(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = app.llm.says("Only once.").waits();
        let said = [("SpeechResult", "Tell me")];
        let deliveries = async {
            tokio::join!(
                call.webhook("/twilio/voice/turns/1", &said),
                call.webhook("/twilio/voice/turns/1", &said),
                call.webhook("/twilio/voice/turns/1", &said),
            )
        };
        let open = async {
            app.llm.wait_for_requests(1).await;
            gate.open();
        };
        let ((one, two, three), ()) = tokio::join!(deliveries, open);
        assert_eq!(one.voice().say(), "Only once.");
        assert_eq!((&one.body, &two.body), (&two.body, &three.body));
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn a_slow_model_is_bridged_by_a_hold_whose_redelivery_hears_the_same(database) {
        let app = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "0.1")]).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = app.llm.says("At last.").waits();
        let said = [("SpeechResult", "Tell me")];
        let hold = call.webhook("/twilio/voice/turns/1", &said).await;
        let part = hold.voice().redirect().unwrap();
        assert_eq!(part, "/twilio/voice/turns/1/parts/1");
        assert!(!hold.voice().say().is_empty(), "the caller hears something");
        let second = call.webhook(&part, &[]).await;
        assert_eq!(second.voice().redirect().as_deref(), Some("/twilio/voice/turns/1/parts/2"));
        gate.open();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "At last.").await;
        let last = call.webhook("/twilio/voice/turns/1/parts/2", &[]).await;
        assert_eq!(last.voice().say(), "At last.");
        assert_eq!(last.voice().action().as_deref(), Some("/twilio/voice/turns/2"));
        for (path, first) in [("/twilio/voice/turns/1/parts/2", &last), (part.as_str(), &second)] {
            assert_eq!(&call.webhook(path, &[]).await.body, &first.body, "{path} again");
        }
        assert_eq!(call.webhook("/twilio/voice/turns/1", &said).await.body, hold.body);
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn a_caller_who_waited_too_long_hears_an_apology_and_the_call_goes_on(database) {
        let app = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "0.3"), ("VOICE_PATIENCE", "1")]).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = app.llm.says("Too late.").waits();
        let apology = call.talks(1, "Tell me").await;
        assert_eq!(apology.say(), APOLOGY);
        assert_eq!(apology.action().as_deref(), Some("/twilio/voice/turns/2"));
        gate.open();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "Too late.").await;
        app.llm.says("In time.");
        assert_eq!(call.talks(2, "Again").await.say(), "In time.");
    }

    async fn a_failed_model_is_a_spoken_apology_and_the_next_turn_works(database) {
        let app = TestApp::start_with(&database, &[("MAX_RETRIES", "0")]).await;
        let call = app.call(SID, CALLER, OURS);
        app.llm.fails(500);
        let apology = call.talks(1, "Tell me").await;
        assert!(apology.say().starts_with("Sorry"));
        assert_eq!(apology.action().as_deref(), Some("/twilio/voice/turns/2"));
        app.llm.says("Fine again.");
        assert_eq!(call.talks(2, "And now?").await.say(), "Fine again.");
        let turns = app.get("/history/1/conversations").await;
        assert_eq!(turns[1]["gpt_response"], json!(null), "a failure is no answer");
        assert_eq!(turns[1]["input_text"], "Tell me");
    }

    async fn a_caller_who_hangs_up_does_not_stop_the_answer(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = app.llm.says("For the record.").waits();
        let gone = tokio::time::timeout(Duration::from_millis(300), call.says(1, "Tell me")).await;
        assert!(gone.is_err(), "the client gave up");
        gate.open();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "For the record.").await;
        assert_eq!(call.talks(1, "Tell me").await.say(), "For the record.");
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn one_silence_is_asked_about_and_a_second_one_ends_the_call(database) {
        let app = TestApp::start(&database).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.stays_silent().await;
        assert_eq!(phone.hears(), [DID_NOT_HEAR]);
        app.llm.says("Hi.");
        phone.says("Hello").await;
        phone.says("  ").await;
        assert!(phone.is_heard(), "the two silences are not in a row");
        phone.stays_silent().await;
        assert_eq!((phone.hears(), phone.ended_by()), (&["Goodbye!".to_owned()][..], Some(Ending::Hangup)));
        let last_turn = phone.trace().iter().rfind(|made| made.path().contains("/turns/")).unwrap();
        assert!(phone.redeliver(last_turn).await.voice().hangs_up(), "its redelivery ends the call, too");
    }

    async fn simultaneous_goodbyes_all_end_the_call(database) {
        let app = TestApp::start(&database).await;
        for n in 0..20 {
            let sid = format!("CA{n}");
            let call = app.call(&sid, CALLER, OURS);
            let (one, two) = tokio::join!(call.says(1, "Goodbye"), call.says(1, "Goodbye"));
            assert!(one.hangs_up() && two.hangs_up());
        }
    }

    async fn a_turn_whose_client_leaves_at_any_moment_is_answered(database) {
        let app = TestApp::start(&database).await;
        app.llm.always_says("Always.");
        for n in 1..=12 {
            let sid = format!("CA{n}");
            let call = app.call(&sid, CALLER, OURS);
            let moment = Duration::from_micros(300 * n);
            tokio::time::timeout(moment, call.says(1, "Hello")).await.ok();
            assert_eq!(call.talks(1, "Hello").await.say(), "Always.", "left after {moment:?}");
        }
    }

    async fn the_length_of_a_call_counts_whichever_webhook_ended_it(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        call.webhook("/twilio/voice/turns/1", &[("CallStatus", "completed")]).await.voice();
        call.is("completed", &[("CallDuration", "42")]).await;
        assert_eq!(app.get("/history/1/calls").await[0]["duration_seconds"], 42);
    }

    async fn pressed_keys_are_words_too(database) {
        let app = TestApp::start(&database).await;
        app.llm.says("You pressed five.");
        let heard = app.call(SID, CALLER, OURS).webhook("/twilio/voice/turns/1", &[("Digits", "5")]).await;
        assert_eq!(heard.voice().say(), "You pressed five.");
        assert_eq!(app.get("/history/1/conversations").await[0]["input_text"], "(keys pressed: 5)");
    }

    async fn a_call_is_spoken_in_the_language_and_voice_of_its_user(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("eva", CALLER).await;
        app.create(&format!("/preferences/?user_id={user}"), json!({ "language": "de", "tts_voice": "onyx" })).await;
        let greeting = app.call(SID, CALLER, OURS).rings().await;
        assert_eq!(greeting.gather().unwrap().attr("language"), Some("de-DE"));
        assert_eq!(greeting.find("Say").unwrap().attr("language"), Some("de-DE"));
        assert!(greeting.find("Say").unwrap().attr("voice").unwrap().contains("de-DE"), "{greeting:?}");
        app.llm.says("Guten Tag.");
        app.call(SID, CALLER, OURS).talks(1, "Hallo").await;
        assert!(app.llm.requests()[0]["messages"][0]["content"].as_str().unwrap().contains("German"));
    }

    async fn reports_may_come_twice_and_in_any_order(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let call = app.call(SID, CALLER, OURS);
        let end = [("CallDuration", "17"), ("Timestamp", "Mon, 23 Nov 2026 01:00:17 +0000")];
        assert_eq!(call.is("completed", &end).await.status, 204);
        assert_eq!(call.is("ringing", &[("Timestamp", "Mon, 23 Nov 2026 01:00:00 +0000")]).await.status, 204);
        call.rings().await;
        assert_eq!(call.is("in-progress", &[]).await.status, 204);
        assert_eq!(call.is("completed", &end).await.status, 204);
        assert_eq!(call.is("failed", &[]).await.status, 204);
        let calls = app.get(&format!("/history/{user}/calls")).await;
        assert_eq!(calls.as_array().unwrap().len(), 1);
        let call = &calls[0];
        assert_eq!((&call["status"], &call["duration_seconds"]), (&json!("completed"), &json!(17)));
        assert_eq!((&call["started_at"], &call["ended_at"]), (&json!("2026-11-23T01:00:00.000000Z"), &json!("2026-11-23T01:00:17.000000Z")));
    }

    async fn a_call_whose_end_was_never_reported_is_closed_after_four_hours(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        app.call(SID, CALLER, OURS).rings().await;
        app.later(4 * 3600 + 61);
        let path = format!("/history/{user}/calls");
        app.until(&path, |calls| calls[0]["status"] == "unknown-end").await;
        app.call(SID, CALLER, OURS).is("completed", &[("CallDuration", "60")]).await;
        let calls = app.get(&path).await;
        assert_eq!((&calls[0]["status"], &calls[0]["duration_seconds"]), (&json!("completed"), &json!(60)), "a real end counts");
    }

    async fn a_turn_of_a_call_never_seen_is_served_and_the_call_logged(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        app.llm.says("Of course.");
        assert_eq!(app.call("CA7", CALLER, OURS).talks(5, "Can you hear me?").await.say(), "Of course.");
        assert_eq!(app.get(&format!("/history/{user}/calls")).await[0]["call_sid"], "CA7");
    }

    async fn whatever_is_said_and_answered_stays_valid_twiml(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        let nasty = "<Dial>+1</Dial> & \"quotes\" 'single' ]]> \u{0}\u{8}\u{fffe} 😀 {{say}} **bold** <";
        app.llm.says(nasty);
        let heard = call.talks(1, &nasty.replace('\u{0}', "")).await;
        assert!(heard.say().contains("<Dial>+1</Dial> & \"quotes\" 'single'"), "{:?}", heard.says());
        assert!(heard.find("Dial").is_none() && !heard.say().contains("**"));
        app.llm.says(&"A long sentence without an end in sight. ".repeat(500));
        let heard = call.talks(2, &"ten kilobytes of speech ".repeat(450)).await;
        assert!(heard.says().len() > 1, "split into several");
        app.llm.says("é".repeat(9000).as_str());
        call.talks(3, "accents").await;
        assert_eq!(app.llm.requests()[0]["messages"].as_array().unwrap().len(), 2, "speech is only ever a user message");
    }

    async fn a_stranger_is_refused_politely_where_strangers_are_refused(database) {
        let app = TestApp::start_with(&database, &[("UNKNOWN_CALLERS", "refuse")]).await;
        let call = app.call(SID, CALLER, OURS);
        let refusal = call.rings().await;
        assert!(refusal.hangs_up() && refusal.say().contains("known callers only"));
        assert!(call.says(1, "But I am").await.hangs_up());
        assert_eq!(app.get("/users/").await, json!([]));
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn the_call_of_an_inactive_user_is_rejected_and_logged(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        app.api("PUT", &format!("/users/{user}"), Some(json!({ "is_active": false }))).await;
        assert!(app.call(SID, CALLER, OURS).rings().await.rejects());
        assert_eq!(app.get(&format!("/history/{user}/calls")).await[0]["call_sid"], SID);
    }
}

#[tokio::test]
async fn with_the_database_out_of_reach_a_call_gets_an_apology_and_a_text_503() {
    let Some(database) = Database::postgres().await else { return };
    let app = TestApp::start(&database).await;
    postgres::cut(&database.url()).await;
    let call = app.call(SID, CALLER, OURS);
    let (greeting, heard, text) = tokio::join!(call.rings(), call.says(1, "Hello"), app.text("SM1", CALLER, "Hello"));
    assert!(greeting.hangs_up() && greeting.say().starts_with("Sorry"));
    assert_eq!(heard.action().as_deref(), Some("/twilio/voice/turns/2"), "the call goes on");
    assert_eq!(text.status, 503);
    assert_eq!(app.api("GET", "/health/ready", None).await.status, 503);
    postgres::restore(&database.url()).await;
    app.llm.says("Back again.");
    assert_eq!(call.talks(2, "And now?").await.say(), "Back again.");
}

#[tokio::test]
async fn a_part_may_be_asked_of_another_gateway_on_the_same_database() {
    let Some(database) = Database::postgres().await else { return };
    let one = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "0.1")]).await;
    let other = TestApp::start_with(&database, &[("OPENAI_BASE_URL", &one.llm.base_url())]).await;
    let gate = one.llm.says("From the first.").waits();
    let mut phone = one.phone(CALLER, OURS).step_by_step();
    phone.dials().await;
    phone.says("Tell me").await;
    assert!(phone.trace()[1].took < Duration::from_secs(5), "a hold comes in time");
    phone.moves_to(&other);
    let open = async {
        one.llm.wait_for_requests(1).await;
        gate.open();
    };
    tokio::join!(phone.goes_on(), open);
    while !phone.is_heard() {
        phone.goes_on().await;
    }
    assert!(phone.hears().ends_with(&["From the first.".to_owned()]));
    phone.moves_to(&one);
    let part = &phone.trace().last().unwrap().answer;
    assert_eq!(phone.redeliver_last().await.body, part.body, "its redelivery hears the same");
    assert_eq!(one.llm.request_count(), 1);
}

#[test]
fn a_twiml_reader_is_strict_enough_to_trust() {
    let wrong = "<Response><Say voice=\"Polly.Nobody\">Hi</Say></Response>";
    assert!(std::panic::catch_unwind(|| Twiml::voice(wrong)).is_err());
}
