//! Calls over ConversationRelay: words as the model says them, and what was heard of them.

use crate::support::app::{CALLER, OURS, RELAY, TestApp, on_both_databases};
use crate::support::caller::{Ending, Phone, Relay};
use crate::support::fake_llm::Between;
use crate::support::scripted_server::Gate;
use serde_json::{Value, json};

pub const STORY: [&str; 3] = ["Once upon a time ", "there was a telephone. ", "Then somebody called it."];

/// A call whose caller was told the first of these `pieces` of an answer, so many; the gate holds the others back.
pub async fn tells(app: &TestApp, pieces: &[&str], so_many: usize) -> (Phone, Relay, Gate) {
    let phone = app.dials(CALLER, OURS).await;
    let mut relay = phone.relay().await;
    let gate = Gate::closed();
    app.llm.streams(pieces, Between::Gate(gate.clone()));
    gate.let_through(so_many);
    relay.says("Tell me a story").await;
    for piece in &pieces[..so_many] {
        let told = relay.next_message().await;
        assert_eq!(told["token"].as_str().map(str::trim), Some(piece.trim()), "no filler yet");
    }
    (phone, relay, gate)
}

/// The texts among messages, in order.
pub fn tokens(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter(|message| message["type"] == "text").map(|text| text["token"].as_str().unwrap()).collect()
}

/// How many of them are the last of what is said in one go.
fn lasts(messages: &[Value]) -> usize {
    messages.iter().filter(|message| message["last"] == true).count()
}

on_both_databases! {
    async fn a_call_is_handed_over_and_answered_word_by_word(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("PUBLIC_BASE_URL", "https://calls.example.com/phone")]).await;
        let user = app.user("ann", CALLER).await;
        app.create(&format!("/preferences/?user_id={user}"), json!({ "language": "de", "tts_voice": "nova" })).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let connection = phone.connect().unwrap();
        assert_eq!(connection.attr("url"), Some("wss://calls.example.com/phone/twilio/relay"));
        assert_eq!((connection.attr("language"), connection.attr("transcriptionLanguage")), (Some("de-DE"), Some("de-DE")));
        assert_eq!((connection.attr("interruptible"), connection.attr("dtmfDetection")), (Some("any"), Some("true")));
        assert!(connection.attr("voice").is_some_and(|voice| !voice.contains("Polly.") && !voice.contains("Google.")));
        let languages: Vec<_> = connection.find_all("Language").iter().map(|language| language.attr("code").unwrap().to_owned()).collect();
        assert_eq!(languages, ["de-DE"], "nobody changes the language");
        assert_eq!(phone.hears().len(), 1, "the greeting is said by Twilio");

        let mut relay = phone.relay().await;
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        relay.says_partially("Erzähl").await;
        relay.says("Erzähl mir eine Geschichte").await;
        gate.let_through(1);
        let first = relay.next_message().await;
        assert_eq!((&first["type"], &first["token"], &first["last"]), (&json!("text"), &json!("Once upon a time"), &json!(false)));
        gate.open();
        assert_eq!(relay.hears_turn().await, " there was a telephone. Then somebody called it.");
        app.llm.says("Nobody knows.");
        relay.says("Und dann?").await;
        assert_eq!(relay.hears_turn().await, "Nobody knows.");
        assert_eq!((lasts(relay.received()), app.llm.request_count()), (2, 2));
        assert_eq!(app.llm.requests()[1]["messages"][2]["content"], STORY.concat());
        let turns = app.until(&format!("/history/{user}/conversations"), |turns| turns[0]["gpt_response"].is_string()).await;
        assert_eq!((&turns[1]["gpt_response"], &turns[1]["heard_text"], &turns[1]["turn"]), (&json!(STORY.concat()), &json!(null), &json!(1)));
        assert!(turns[1]["output_tokens"].as_i64().unwrap() > 0);

        relay.says("Auf Wiedersehen").await;
        let end = relay.until_end().await;
        assert_eq!(end.handoff_data(), Some(r#"{"reason":"goodbye"}"#));
        phone.relay_ended(end).await;
        assert_eq!((phone.ended_by(), phone.hears().len()), (Some(Ending::Hangup), 0), "the goodbye was said already");
        assert_eq!(app.llm.request_count(), 2, "a goodbye needs no model");
    }

    async fn markup_is_not_read_aloud_however_it_is_cut(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.streams(&["# Par", "is\n\nIt is *", "*the** ca", "pital \u{1f389}."], Between::Nothing);
        relay.says("What is it?").await;
        assert_eq!(relay.hears_turn().await, "Paris. It is the capital .");
    }

    async fn of_an_interrupted_answer_only_what_was_heard_goes_into_later_prompts(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let (_phone, mut relay, _gate) = tells(&app, &STORY, 2).await;
        // Twilio's blanks are its own.
        relay.interrupts("Once upon  a time there", 900).await;
        app.llm.wait_for_in_flight(0).await;
        let turns = app.until("/history/1/conversations", |turns| turns[0]["gpt_response"].is_string()).await;
        assert_eq!(turns[0]["gpt_response"], STORY[..2].concat().trim(), "what was generated");
        assert_eq!(turns[0]["heard_text"], "Once upon a time there");

        app.llm.says("Sorry. It was short anyway.");
        relay.says("Stop it").await;
        assert_eq!(relay.hears_turn().await, "Sorry. It was short anyway.");
        let told = app.llm.requests()[1]["messages"].clone();
        assert_eq!(told[2], json!({ "role": "assistant", "content": "Once upon a time there" }));
        // An answer that is complete may still be spoken.
        relay.interrupts("Sorry.", 300).await;
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "Sorry.").await;
        app.llm.says("As you like.");
        relay.says("What?").await;
        relay.hears_turn().await;
        assert_eq!(app.llm.requests()[2]["messages"][4]["content"], "Sorry.");
    }

    async fn a_cough_before_the_first_word_of_an_answer_does_not_stop_it(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.4")]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.says("Paris is the capital of France.");
        relay.says("France?").await;
        relay.hears_turn().await;
        let gate = app.llm.says("Madrid.").waits();
        relay.says("Spain?").await;
        app.llm.wait_for_in_flight(1).await;
        relay.interrupts("Paris is the", 300).await;
        app.until("/history/1/conversations", |turns| turns[1]["heard_text"] == "Paris is the").await;
        // The first of them may have been on its way before.
        let filler = [relay.next_message().await, relay.next_message().await][1]["token"].as_str().unwrap().to_owned();
        relay.interrupts(filler.split_once(' ').unwrap().0, 100).await;
        relay.next_message().await;
        gate.open();
        assert!(relay.hears_turn().await.ends_with("Madrid."));
        let turns = app.until("/history/1/conversations", |turns| turns[0]["gpt_response"].is_string()).await;
        assert_eq!((&turns[0]["gpt_response"], &turns[0]["heard_text"]), (&json!("Madrid."), &json!(null)));
        assert_eq!(turns[1]["heard_text"], "Paris is the");
        assert_eq!(app.llm.request_count(), 2);
    }

    async fn an_interrupt_in_the_answer_before_leaves_the_one_being_written_unheard(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.says("Paris is the capital of France.");
        relay.says("France?").await;
        relay.hears_turn().await;
        let gate = Gate::closed();
        app.llm.streams(&["Madrid is ", "it."], Between::Gate(gate.clone()));
        gate.let_through(1);
        relay.says("Spain?").await;
        relay.next_message().await;
        relay.interrupts("Paris is the", 300).await;
        app.llm.wait_for_in_flight(0).await;
        let turns = app.until("/history/1/conversations", |turns| turns[0]["heard_text"].is_string()).await;
        assert_eq!((&turns[0]["heard_text"], &turns[1]["heard_text"]), (&json!(""), &json!("Paris is the")));
    }

    async fn words_that_come_while_an_answer_is_written_end_it_and_are_answered(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let (_phone, mut relay, _gate) = tells(&app, &STORY, 2).await;
        app.llm.says("A short one: it rang.");
        relay.says("A short one").await;
        assert_eq!(relay.hears_turn().await, "", "what was begun is over");
        assert_eq!(relay.hears_turn().await, "A short one: it rang.");
        app.llm.wait_for_in_flight(0).await;
        let turns = app.get("/history/1/conversations").await;
        assert_eq!(turns[1]["gpt_response"], STORY[..2].concat().trim());
        let heard = turns[1]["heard_text"].as_str().expect("it takes longer to speak than the test takes");
        assert!(STORY.concat().starts_with(heard) && heard.len() < 20, "{heard}");
    }

    async fn a_call_that_has_lasted_too_long_is_ended(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("VOICE_MAX_MINUTES", "1")]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        app.clock.advance(58);
        let mut relay = phone.relay().await;
        app.llm.hangs();
        relay.says("Hello").await;
        assert_eq!(relay.hears_turn().await, "", "what was begun is over");
        assert!(relay.hears_turn().await.starts_with("Our time is up."));
        let end = relay.until_end().await;
        assert_eq!(end.handoff_data(), Some(r#"{"reason":"time_over"}"#));
        phone.relay_ended(end).await;
        assert!(phone.has_ended());
    }

    async fn a_caller_who_hangs_up_stops_the_model(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let (mut phone, relay, _gate) = tells(&app, &STORY, 1).await;
        let end = relay.hangs_up().await;
        phone.relay_ended(end).await;
        app.llm.wait_for_in_flight(0).await;
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "Once upon a time").await;
        assert_eq!(app.get("/history/1/calls").await[0]["status"], "completed");
    }

    async fn what_was_sent_and_not_spoken_when_the_caller_hung_up_was_not_heard(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        let story = "It is a long story. ".repeat(20);
        app.llm.says(&story);
        relay.says("Tell me a story").await;
        relay.hears_turn().await;
        let end = relay.hangs_up().await;
        phone.relay_ended(end).await;
        let turns = app.until("/history/1/conversations", |turns| turns[0]["heard_text"].is_string()).await;
        assert_eq!(turns[0]["gpt_response"], story.trim());
        let heard = turns[0]["heard_text"].as_str().unwrap();
        assert!(story.starts_with(heard) && heard.len() < story.len() / 2, "{heard}");
    }

    async fn an_answer_shows_in_the_call_while_it_is_being_said(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        relay.says("Tell me a story").await;
        let call = format!("/calls/{}", phone.sid());
        for so_far in 1..3 {
            gate.let_through(1);
            let said = STORY[..so_far].concat();
            app.until(&call, |call| call["turns"][0]["gpt_response"] == said.trim()).await;
        }
        gate.open();
        relay.hears_turn().await;
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == STORY.concat()).await;
        // From then on the answer counts, and no longer what was stored of it.
        let part = app.call(phone.sid(), CALLER, OURS).webhook("/twilio/voice/turns/1/parts/1", &[]).await.voice();
        assert_eq!(part.say(), STORY.concat());
    }

    async fn a_session_needs_twilios_signature_and_the_token_of_its_call(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        for signature in [None, Some("wrong"), Some("bm90IGEgc2lnbmF0dXJlIG9mIFR3aWxpbw==")] {
            assert_eq!(phone.handshake_status(signature).await, 403, "{signature:?}");
        }
        let mut other = app.dials(CALLER, OURS).await.with_sid("CA0ther");
        let end = other.relay().await.until_cut().await;
        other.relay_ended(end).await;
        app.clock.advance(601);
        phone.relay().await.until_cut().await;
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn a_session_of_another_account_is_refused(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        phone.relay_of("AC00000000000000000000000000000002").await.until_cut().await;
    }

    async fn frames_that_mean_nothing_are_survived(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        for frame in ["", "{", "null", "[]", r#"{"type":7}"#, r#"{"type":"prompt","voicePrompt":"  "}"#,
            r#"{"type":"news"}"#, r#"{"type":"error","description":"a fault"}"#, r#"{"type":"dtmf"}"#,
            r#"{"type":"interrupt"}"#, r#"{"type":"setup"}"#] {
            relay.sends_raw(frame).await;
        }
        relay.sends_raw(&json!({ "type": "interrupt", "utteranceUntilInterrupt": "x".repeat(60_000) }).to_string()).await;
        app.llm.says("Fine.");
        relay.says("How are you?").await;
        assert_eq!(relay.hears_turn().await, "Fine.");
        for _ in 0..10 {
            relay.sends_raw("broken").await;
        }
        app.llm.says("Still fine.");
        relay.says("And now?").await;
        assert_eq!(relay.hears_turn().await, "Still fine.");
        for _ in 0..11 {
            relay.sends_raw("broken").await;
        }
        relay.until_cut().await;
    }

    async fn everybody_chooses_how_their_calls_are_carried(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        assert!(app.dials(CALLER, OURS).await.is_heard());
        let path = format!("/preferences/?user_id={user}");
        app.create(&path, json!({ "language": "en", "tts_voice": "nova", "voice_transport": "relay" })).await;
        assert!(app.dials(CALLER, OURS).await.connect().is_some());
    }

    async fn a_socket_is_opened_with_a_slash_at_the_end_of_its_url_too(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        assert_eq!(phone.handshake_status_with_slash(true).await, 101);
        assert_eq!(phone.handshake_status_with_slash(false).await, 403);
    }

    async fn absurd_prompts_are_answered(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        for (number, words) in ["a\0b".to_owned(), "word ".repeat(20_000)].iter().enumerate() {
            app.llm.says("Fine.");
            relay.says(words).await;
            assert!(relay.hears_turn().await.ends_with("Fine."));
            let asked = app.llm.requests()[number]["messages"].as_array().unwrap().last().unwrap()["content"].clone();
            assert_eq!(asked, words.replace('\0', "").trim());
        }
    }
}
