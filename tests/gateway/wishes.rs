//! What a caller may want besides an answer: a person, a voicemail, the last words again, the end of the call; and what
//! the model may do for the caller.

use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use crate::support::caller::{Ending, Phone};
use serde_json::json;

const HUMAN: &str = "+14155550177";
const OWNER_PHONE: &str = "+14155550188";
const TRANSFER: (&str, &str) = ("TRANSFER_NUMBER", HUMAN);
const ALL_TOOLS: (&str, &str) = ("VOICE_TOOLS", "end_call,transfer_to_human,switch_language,send_text_to_caller");

on_both_databases! {
    async fn a_caller_who_presses_zero_is_connected_to_the_operators_number(database) {
        let app = TestApp::start_with(&database, &[TRANSFER]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.presses("0").await;
        assert_eq!(phone.hears(), ["One moment, I am connecting you."]);
        let dialled = phone.is_dialling().unwrap();
        assert_eq!((dialled.number.as_str(), dialled.caller_id), (HUMAN, None), "the person sees who calls");
        phone.dial_ends("completed", 60).await;
        assert_eq!(phone.hears(), ["Thank you for calling. Goodbye!"]);
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
        assert_eq!(app.llm.request_count(), 0);
        let turn = &app.get("/history/1/conversations").await[0];
        assert_eq!((&turn["input_text"], &turn["gpt_response"]), (&json!("(keys pressed: 0)"), &json!("One moment, I am connecting you.")));
    }

    async fn a_wish_for_a_human_reaches_the_owner_where_the_preferences_say(database) {
        let app = TestApp::start_with(&database, &[TRANSFER]).await;
        let owner = app.user("owner", OURS).await;
        app.create(&format!("/preferences/?user_id={owner}"), json!({ "forward_number": OWNER_PHONE })).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Can I talk to a real person, please?").await;
        assert_eq!(phone.is_dialling().unwrap().number, OWNER_PHONE);
    }

    async fn nobody_takes_the_call_and_the_assistant_goes_on(database) {
        let app = TestApp::start_with(&database, &[TRANSFER]).await;
        for outcome in ["no-answer", "busy", "failed"] {
            let mut phone = app.dials(CALLER, OURS).await;
            phone.says("I want to speak to a human").await;
            phone.dial_ends(outcome, 0).await;
            assert!(phone.hears()[0].starts_with("I could not reach anybody."), "{outcome}: {:?}", phone.hears());
            app.llm.says("We open at nine.");
            phone.says("When do you open?").await;
            assert_eq!(phone.hears(), ["We open at nine."], "{outcome}");
            app.llm.says("You are welcome.");
            phone.says("That is kind").await;
            assert_eq!(phone.hears(), ["You are welcome."], "{outcome}");
        }
    }

    async fn a_message_is_left_when_nobody_takes_the_call(database) {
        let app = TestApp::start_with(&database, &[TRANSFER, ("VOICEMAIL_MAX_SECONDS", "90")]).await;
        for how in ["1", "words", ""] {
            let mut phone = app.dials(CALLER, OURS).await;
            phone.presses("0").await;
            phone.dial_ends("no-answer", 0).await;
            match how {
                "1" => phone.presses("1").await,
                "words" => phone.says("I would like to leave a message").await,
                _ => phone.stays_silent().await,
            }
            assert!(phone.is_recording(), "{how}");
            let record = &phone.trace().last().unwrap().answer.body;
            assert!(record.contains(r#"maxLength="90""#) && record.contains(r#"recordingStatusCallback="/twilio/voice/recording""#));
            phone.hangs_up().await;
        }
    }

    async fn without_anybody_to_connect_to_the_caller_is_told_so(database) {
        let app = TestApp::start(&database).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("I want to speak to a human").await;
        assert_eq!(phone.hears(), ["I cannot connect you to anybody right now. How else can I help?"]);
        assert!(phone.is_dialling().is_none() && !phone.has_ended());
    }

    async fn our_own_numbers_and_the_callers_own_are_never_dialled(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_PHONE_NUMBERS", "+15005550007")]).await;
        let owner = app.user("owner", OURS).await;
        let made = app.create(&format!("/preferences/?user_id={owner}"), json!({ "forward_number": HUMAN })).await;
        let path = format!("/preferences/{}", made["id"]);
        // The number that was called is ours though it is not configured.
        for (number, allowed) in [(OURS, false), (CALLER, false), (HUMAN, true)] {
            assert_eq!(app.api("PUT", &path, Some(json!({ "forward_number": number }))).await.status, 200, "{number}");
            let mut phone = app.dials(CALLER, OURS).await;
            phone.says("operator").await;
            assert_eq!(phone.is_dialling().is_some(), allowed, "{number}");
        }
        // It may have become ours after it was stored.
        let app = app.restart(&database, &[("TWILIO_PHONE_NUMBERS", HUMAN)]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("operator").await;
        assert!(phone.is_dialling().is_none());
    }

    async fn the_operators_number_is_dialled_where_that_of_the_preferences_cannot_be(database) {
        let app = TestApp::start_with(&database, &[TRANSFER]).await;
        let owner = app.user("owner", OURS).await;
        app.create(&format!("/preferences/?user_id={owner}"), json!({ "forward_number": OWNER_PHONE })).await;
        let mut phone = app.dials(OWNER_PHONE, OURS).await;
        phone.presses("0").await;
        assert_eq!(phone.is_dialling().unwrap().number, HUMAN, "the owner calls from the own telephone");
        let mut phone = app.dials(CALLER, OURS).await;
        phone.presses("0").await;
        assert_eq!(phone.is_dialling().unwrap().number, OWNER_PHONE);
    }

    async fn a_caller_without_a_number_is_passed_on_under_ours(database) {
        let app = TestApp::start_with(&database, &[TRANSFER]).await;
        for from in ["anonymous", "+266696687", "client:ann", "sip:ann@example.com"] {
            let mut phone = app.dials(from, OURS).await;
            phone.presses("0").await;
            let dialled = phone.is_dialling().unwrap();
            assert_eq!((dialled.number.as_str(), dialled.caller_id.as_deref()), (HUMAN, Some(OURS)), "{from}");
        }
    }

    async fn a_wish_that_is_none_goes_to_the_model(database) {
        let app = TestApp::start_with(&database, &[TRANSFER]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        for said in ["I don't want to speak to a human", "Don't say goodbye yet", "What does the plus operator do?"] {
            app.llm.says("I see.");
            phone.says(said).await;
            assert_eq!(phone.hears(), ["I see."], "{said}");
        }
    }

    async fn the_star_key_repeats_the_last_answer_and_other_keys_go_to_the_model(database) {
        let app = TestApp::start(&database).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.presses("*").await;
        assert_eq!(phone.hears(), ["There is nothing to repeat yet. How can I help you?"]);
        app.llm.says("The code is **4711**.");
        phone.says("What is the code?").await;
        for _ in 0..2 {
            phone.presses("*").await;
            assert_eq!(phone.hears(), ["The code is 4711."]);
        }
        let again = phone.redeliver_last().await;
        assert_eq!(again.voice().say(), "The code is 4711.");
        app.llm.says("Two it is.");
        phone.presses("2").await;
        assert_eq!(phone.hears(), ["Two it is."]);
        assert_eq!(app.llm.requests().last().unwrap()["messages"].as_array().unwrap().last().unwrap()["content"], "(keys pressed: 2)");
        assert_eq!(app.llm.request_count(), 2);
    }

    async fn a_call_ends_when_its_longest_duration_is_over(database) {
        let app = TestApp::start_with(&database, &[("VOICE_MAX_MINUTES", "10")]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        app.clock.advance(9 * 60);
        phone.says("Still there?").await;
        assert!(!phone.has_ended());
        app.clock.advance(61);
        phone.says("And now?").await;
        assert_eq!(phone.hears(), ["Our time is up. Thank you for calling. Goodbye!"]);
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
    }

    async fn silence_keys_and_the_offer_after_a_transfer_do_not_make_a_call_longer(database) {
        let app = TestApp::start_with(&database, &[("VOICE_MAX_MINUTES", "10"), TRANSFER]).await;
        for how in ["silence", "star", "offer"] {
            let mut phone = app.dials(CALLER, OURS).await;
            app.clock.advance(9 * 60);
            phone.presses("*").await;
            assert!(!phone.has_ended(), "{how}");
            if how == "offer" {
                phone.presses("0").await;
                phone.dial_ends("no-answer", 0).await;
            }
            app.clock.advance(61);
            match how {
                "silence" => phone.stays_silent().await,
                _ => phone.presses("*").await,
            }
            assert_eq!(phone.hears(), ["Our time is up. Thank you for calling. Goodbye!"], "{how}");
            assert_eq!(phone.ended_by(), Some(Ending::Hangup), "{how}");
        }
    }

    async fn the_model_ends_the_call_with_its_farewell(database) {
        let app = TestApp::start_with(&database, &[ALL_TOOLS]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        app.llm.says_and_calls("All booked. Have a lovely day!", "end_call", "{}");
        phone.says("So that is settled").await;
        assert_eq!(phone.hears().join(" "), "All booked. Have a lovely day!");
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
        let mut phone = app.dials(CALLER, OURS).await;
        app.llm.calls_tool("end_call", "{}");
        phone.says("So that is settled").await;
        assert_eq!((phone.hears(), phone.ended_by()), (&["Goodbye!".to_owned()][..], Some(Ending::Hangup)));
    }

    async fn the_model_connects_the_caller_only_to_the_configured_number(database) {
        let app = TestApp::start_with(&database, &[ALL_TOOLS, TRANSFER]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        app.llm.says_and_calls("I will get somebody.", "transfer_to_human", r#"{"number":"+19005550000"}"#);
        phone.says("This is too difficult for you").await;
        assert_eq!(phone.hears(), ["I will get somebody."]);
        assert_eq!(phone.is_dialling().unwrap().number, HUMAN);
    }

    async fn a_transfer_is_not_offered_where_there_is_nobody(database) {
        let app = TestApp::start_with(&database, &[ALL_TOOLS]).await;
        app.dials(CALLER, OURS).await.says("Hello").await;
        let offered: Vec<_> = app.llm.requests()[0]["tools"].as_array().unwrap().iter().map(|tool| tool["function"]["name"].clone()).collect();
        assert_eq!(offered, ["end_call", "switch_language", "send_text_to_caller"]);
        let app = app.restart(&database, &[]).await;
        app.dials(CALLER, OURS).await.says("Hello").await;
        assert!(app.llm.requests()[1].get("tools").is_none(), "none is configured");
    }

    async fn the_call_goes_on_in_the_language_the_model_switched_to(database) {
        let app = TestApp::start_with(&database, &[ALL_TOOLS]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        app.llm.calls_tool("switch_language", r#"{"language":"de"}"#);
        app.llm.says("Gerne auf Deutsch.");
        phone.says("Können wir Deutsch sprechen?").await;
        assert_eq!(phone.hears(), ["Gerne auf Deutsch."]);
        assert_eq!(spoken_language(&phone), "de-DE");
        assert_eq!(app.llm.request_count(), 2, "the model is told that it is done and goes on");
        app.llm.says("Bitte sehr.");
        phone.says("Danke").await;
        assert_eq!(spoken_language(&phone), "de-DE");
        assert!(app.llm.requests()[2]["messages"][0]["content"].as_str().unwrap().contains("German"));
        phone.says("Auf Wiederhören").await;
        assert_eq!(phone.ended_by(), Some(Ending::Hangup), "the new language's goodbye counts");
    }

    async fn an_answer_that_breaks_off_goes_on_in_the_language_it_was_switched_to(database) {
        let app = TestApp::start_with(&database, &[ALL_TOOLS]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        app.llm.calls_tool("switch_language", r#"{"language":"de"}"#);
        app.llm.breaks_mid_stream("Gerne auf Deutsch. Und dann noch");
        app.llm.says("Wie kann ich helfen?");
        phone.says("Können wir Deutsch sprechen?").await;
        assert_eq!(phone.hears().join(" "), "Gerne auf Deutsch. Wie kann ich helfen?");
        for request in &app.llm.requests()[1..] {
            let instructions = request["messages"][0]["content"].as_str().unwrap();
            assert!(instructions.contains("Answer in German") && !instructions.contains("in English"), "{instructions}");
        }
    }

    async fn the_tools_of_an_answer_that_came_too_late_do_nothing(database) {
        let settings = [ALL_TOOLS, ("VOICE_REPLY_BUDGET", "0.1"), ("VOICE_PATIENCE", "0.2")];
        let app = TestApp::start_with(&database, &settings).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let gate = app.llm.calls_tool("send_text_to_caller", r#"{"text":"Main Street 5"}"#).waits();
        app.llm.says("I have not sent it.");
        phone.says("Text me the address").await;
        assert!(phone.hears().last().unwrap().starts_with("Sorry"));
        gate.open();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "I have not sent it.").await;
        assert_eq!(app.get("/history/1/sms").await, json!([]));
    }

    async fn a_text_for_the_caller_is_sent_once_and_only_to_the_caller(database) {
        let app = TestApp::start_with(&database, &[ALL_TOOLS]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        app.llm.calls_tool("send_text_to_caller", r#"{"text":"Main Street 5","to":"+19005550000"}"#);
        app.llm.says("I have sent you the address.");
        phone.says("Text me the address").await;
        assert_eq!(phone.hears(), ["I have sent you the address."]);
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!((sent[0].to.as_str(), sent[0].from.as_str(), sent[0].body.as_str()), (CALLER, OURS, "Main Street 5"));
        phone.redeliver_last().await;
        let texts = app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        assert_eq!((&texts[0]["direction"], &texts[0]["reply_text"]), (&json!("outbound"), &json!("Main Street 5")));
        assert_eq!(app.twilio.sent().len(), 1);
        app.llm.says("Yes.");
        phone.says("Did you send it?").await;
        let told = app.llm.requests().last().unwrap()["messages"].to_string();
        assert!(told.contains("Main Street 5"), "the model knows what it sent: {told}");
    }

    async fn who_opted_out_of_texts_gets_none_from_a_call(database) {
        let app = TestApp::start_with(&database, &[ALL_TOOLS]).await;
        app.text("SM1", CALLER, "STOP").await;
        app.llm.calls_tool("send_text_to_caller", r#"{"text":"Main Street 5"}"#);
        app.llm.says("Done.");
        app.dials(CALLER, OURS).await.says("Text me the address").await;
        let told = app.llm.requests()[1]["messages"].to_string();
        assert!(told.contains("no more texts"), "the model knows that none is sent: {told}");
        assert_eq!(app.get("/history/1/sms").await.as_array().unwrap().len(), 1, "only the STOP");
    }

    async fn what_the_model_said_before_it_ends_the_call_is_the_farewell(database) {
        let app = TestApp::start_with(&database, &[ALL_TOOLS, ("TRANSFER_NUMBER", HUMAN)]).await;
        for (turn, tool) in [(1, "transfer_to_human"), (2, "end_call")] {
            app.llm.says_and_calls("Alles gebucht. Einen Moment noch!", "switch_language", r#"{"language":"de"}"#);
            let gate = app.llm.calls_tool(tool, "{}").waits();
            let call = app.call("CA1", CALLER, OURS);
            let first = call.says(turn, "Was jetzt?").await;
            assert_eq!(first.say(), "Alles gebucht. Einen Moment noch!");
            gate.open();
            let last = call.webhook(&first.redirect().unwrap(), &[]).await.voice();
            assert_eq!((last.say().as_str(), last.gather().is_some()), ("", false), "{tool}: {last:?}");
        }
    }

    async fn tools_with_faulty_arguments_or_unknown_names_do_nothing(database) {
        let app = TestApp::start_with(&database, &[("VOICE_TOOLS", "switch_language")]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        app.llm.calls_tool("switch_language", r#"{"language":"tlh"}"#);
        app.llm.says("I cannot speak that.");
        phone.says("Speak Klingon").await;
        assert_eq!(phone.hears(), ["I cannot speak that."]);
        assert_eq!(spoken_language(&phone), "en-US");
        app.llm.says_and_calls("Bye then.", "end_call", "{}");
        phone.says("So long").await;
        assert!(!phone.has_ended(), "what is not configured cannot be called");
    }

    async fn a_model_without_tools_answers_all_the_same(database) {
        let app = TestApp::start_with(&database, &[ALL_TOOLS]).await;
        app.llm.refuses_tools();
        app.llm.says("Hello yourself.");
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        assert_eq!(phone.hears(), ["Hello yourself."]);
    }

    async fn a_model_that_never_stops_calling_tools_is_stopped(database) {
        let app = TestApp::start_with(&database, &[("VOICE_TOOLS", "switch_language")]).await;
        for _ in 0..10 {
            app.llm.calls_tool("switch_language", r#"{"language":"fr"}"#);
        }
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Parlez-vous français ?").await;
        assert!(!phone.has_ended() && app.llm.request_count() < 6, "{}", app.llm.request_count());
    }
}

/// The language of what is said last.
fn spoken_language(phone: &Phone) -> String {
    let last = phone.trace().iter().rev().find(|exchange| exchange.answer.body.contains("<Say")).unwrap();
    last.twiml().find("Say").unwrap().attr("language").unwrap().to_owned()
}
