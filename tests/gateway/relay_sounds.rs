//! `SPEECH=openai` over ConversationRelay: sentences are played in order, and read where the voice is slow.

use crate::spoken_by_openai::{ANSWER, GREETING, STORY, fetch, said, speaking, speeches};
use crate::support::app::{CALLER, OURS, RELAY, TestApp, on_both_databases};
use crate::support::caller::{Ending, Phone, Relay};
use crate::support::fake_llm::Between;
use crate::support::scripted_server::Gate;
use serde_json::json;

const FILLERS: [&str; 5] =
    ["One moment, please.", "Let me think.", "Just a second.", "Give me a moment.", "Hold on, please."];

/// The next words: those that are read, or the sound that is played.
async fn hears(app: &TestApp, relay: &mut Relay) -> String {
    let message = relay.next_message().await;
    if message["type"] == "text" {
        let token = message["token"].as_str().unwrap();
        let is_filler = FILLERS.contains(&token);
        assert_eq!(message["last"], !is_filler, "what is read stands for itself: {token}");
        return token.to_owned();
    }
    assert_eq!((&message["interruptible"], &message["preemptible"]), (&json!(true), &json!(false)), "{message}");
    let sound = fetch(app, message["source"].as_str().unwrap()).await;
    assert_eq!((sound.status, sound.headers["content-type"].as_str()), (200, "audio/mpeg"), "{}", sound.body);
    sound.body
}

/// Somebody who calls and has heard the greeting, whose sound is there from then on.
async fn caller(app: &TestApp) -> (Phone, Relay) {
    let phone = app.dials(CALLER, OURS).await;
    assert_eq!(phone.connect().unwrap().attr("welcomeGreeting"), None, "it is said in the session");
    let mut relay = phone.relay().await;
    assert_eq!(hears(app, &mut relay).await, GREETING);
    speeches(app, 1).await;
    (phone, relay)
}

on_both_databases! {
    async fn an_answer_is_played_sentence_by_sentence_while_the_model_still_writes(database) {
        let app = speaking(&database, &[RELAY]).await;
        let (phone, mut relay) = caller(&app).await;
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(1);
        relay.says("Tell me a story").await;
        assert_eq!(hears(&app, &mut relay).await, said("nova", STORY[0]));
        let call = app.get(&format!("/calls/{}", phone.sid())).await;
        assert_eq!(call["turns"][0]["gpt_response"], STORY[0].trim(), "what is there of it");
        gate.open();
        assert_eq!(hears(&app, &mut relay).await, said("nova", STORY[1]));
        assert_eq!(hears(&app, &mut relay).await, said("nova", STORY[2]));
        let turns = app.until("/history/1/conversations", |turns| turns[0]["output_tokens"] != 0).await;
        assert_eq!((&turns[0]["gpt_response"], &turns[0]["heard_text"]), (&json!(STORY.concat()), &json!(null)));
        relay.presses('*').await;
        for sentence in STORY {
            assert_eq!(hears(&app, &mut relay).await, said("nova", sentence), "once more");
        }
        assert_eq!(app.llm.speech_requests().len(), 4, "each sentence is made once");
    }

    async fn fixed_sentences_are_read_the_first_time_and_played_from_then_on(database) {
        let app = speaking(&database, &[RELAY]).await;
        let (mut phone, mut relay) = caller(&app).await;
        relay.says("Goodbye").await;
        assert_eq!(hears(&app, &mut relay).await, "Goodbye!");
        phone.relay_ended(relay.until_end().await).await;
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
        speeches(&app, 2).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        assert_eq!(hears(&app, &mut relay).await, said("nova", GREETING));
        relay.says("Goodbye").await;
        assert_eq!(hears(&app, &mut relay).await, said("nova", "Goodbye!"));
        assert_eq!(relay.until_end().await.handoff_data(), Some(r#"{"reason":"goodbye"}"#));
    }

    async fn an_answer_whose_sound_is_late_is_read(database) {
        let app = speaking(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.5")]).await;
        let (_phone, mut relay) = caller(&app).await;
        let _late = app.llm.speech_waits();
        relay.says("Hello").await;
        assert_eq!(hears(&app, &mut relay).await, ANSWER);
    }

    async fn a_sentence_whose_sound_is_late_is_read_in_its_place(database) {
        let app = speaking(&database, &[RELAY]).await;
        let (_phone, mut relay) = caller(&app).await;
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(1);
        relay.says("Tell me a story").await;
        assert_eq!(hears(&app, &mut relay).await, said("nova", STORY[0]));
        let late = app.llm.speech_waits();
        gate.open();
        let (second, third) = (hears(&app, &mut relay).await, hears(&app, &mut relay).await);
        late.open();
        assert_eq!((second.as_str(), third.replace("ID3 nova: ", "").as_str()), (STORY[1].trim(), STORY[2]));
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == STORY.concat()).await;
    }

    async fn a_sentence_that_cannot_be_spoken_is_read(database) {
        let app = speaking(&database, &[RELAY]).await;
        let (_phone, mut relay) = caller(&app).await;
        app.llm.speech_fails(500);
        relay.says("Hello").await;
        assert_eq!(hears(&app, &mut relay).await, ANSWER);
    }

    async fn a_filler_that_is_read_is_not_the_last_of_what_is_said(database) {
        let app = speaking(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.2")]).await;
        let (_phone, mut relay) = caller(&app).await;
        let gate = app.llm.says("Late.").waits();
        relay.says("Hello").await;
        let filler = relay.next_message().await;
        assert_eq!((&filler["type"], &filler["last"]), (&json!("text"), &json!(false)));
        gate.open();
    }

    async fn a_language_that_is_switched_to_stays_though_the_caller_breaks_in(database) {
        let app = speaking(&database, &[RELAY, ("VOICE_TOOLS", "switch_language")]).await;
        let (_phone, mut relay) = caller(&app).await;
        let late = app.llm.speech_waits();
        app.llm.says_and_calls("One moment.", "switch_language", r#"{"language":"de"}"#);
        app.llm.hangs();
        relay.says("Can we speak German?").await;
        app.llm.wait_for_requests(2).await;
        relay.interrupts("", 0).await;
        let change = relay.next_message().await;
        assert_eq!((&change["type"], &change["transcriptionLanguage"]), (&json!("language"), &json!("de-DE")));
        late.open();
    }

    async fn the_rest_of_a_played_answer_is_played_by_the_next_session_and_then_over_webhooks(database) {
        let app = speaking(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.3")]).await;
        let (mut phone, mut relay) = caller(&app).await;
        let gate = Gate::closed();
        app.llm.streams(&["It is true. ", STORY[0], STORY[1]], Between::Gate(gate.clone()));
        gate.let_through(1);
        relay.says("Tell me a story").await;
        while hears(&app, &mut relay).await != said("nova", "It is true.") {}
        // A filler comes once that was spoken.
        hears(&app, &mut relay).await;
        gate.open();
        for sentence in &STORY[..2] {
            while hears(&app, &mut relay).await != said("nova", sentence) {}
        }
        let end = relay.drops();
        let rest = [STORY[0], STORY[1]].map(|sentence| said("nova", sentence));
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "It is true.").await;
        phone.relay_ended(end).await;
        let mut relay = phone.relay().await;
        for sentence in &rest {
            assert_eq!(&hears(&app, &mut relay).await, sentence);
        }
        let end = relay.drops();
        let turns = app.until("/history/1/conversations", |turns| turns[0]["heard_text"].is_string()).await;
        assert!(turns[0]["heard_text"].as_str().unwrap().starts_with("It is true."), "{turns}");
        phone.relay_ended(end).await;
        let mut heard = Vec::new();
        for url in phone.hears() {
            heard.push(fetch(&app, url).await.body);
        }
        assert_eq!(heard, rest);
        let turns = app.get("/history/1/conversations").await;
        assert_eq!(turns[0]["gpt_response"], format!("It is true. {}{}", STORY[0], STORY[1].trim()));
        assert_eq!(turns[0]["heard_text"], json!(null));
        assert_eq!(phone.gather().unwrap().attr("action"), Some("/twilio/voice/turns/2"));
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn a_broken_answer_goes_on_in_the_models_voice_over_webhooks(database) {
        let app = speaking(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.5")]).await;
        let (mut phone, mut relay) = caller(&app).await;
        let gate = Gate::closed();
        app.llm.streams(&["It is true. ", "And then", " nothing."], Between::Gate(gate.clone()));
        gate.let_through(2);
        relay.says("Tell me a story").await;
        while hears(&app, &mut relay).await != said("nova", "It is true.") {}
        // A filler comes once that was spoken.
        hears(&app, &mut relay).await;
        let end = relay.drops();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "It is true.").await;
        phone.relay_ended(end).await;
        app.llm.hangs();
        let relay = phone.relay().await;
        app.llm.wait_for_requests(2).await;
        let end = relay.drops();
        app.llm.wait_for_in_flight(0).await;
        app.llm.says(STORY[2]);
        phone.relay_ended(end).await;
        let last = phone.hears().last().unwrap();
        assert_eq!(fetch(&app, last).await.body, said("nova", STORY[2]));
        assert_eq!(app.llm.requests()[2]["messages"][2]["content"], "It is true.");
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == format!("It is true. {}", STORY[2])).await;
    }

    async fn of_a_played_answer_that_is_broken_into_what_was_heard_is_kept(database) {
        let app = speaking(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.3")]).await;
        let (_phone, mut relay) = caller(&app).await;
        let gate = Gate::closed();
        app.llm.streams(&["It is true. ", STORY[0], STORY[1]], Between::Gate(gate.clone()));
        gate.let_through(1);
        relay.says("Tell me a story").await;
        let mut heard = hears(&app, &mut relay).await;
        while heard != said("nova", "It is true.") {
            heard = hears(&app, &mut relay).await;
        }
        // A filler comes once that was spoken.
        hears(&app, &mut relay).await;
        gate.open();
        assert_eq!(hears(&app, &mut relay).await, said("nova", STORY[0]));
        relay.interrupts("", 0).await;
        let turns = app.until("/history/1/conversations", |turns| turns[0]["heard_text"].is_string()).await;
        assert_eq!(turns[0]["heard_text"], "It is true.");
        app.llm.says("As you like.");
        relay.says("Stop").await;
        // The last sentence may have been on its way.
        while hears(&app, &mut relay).await != said("nova", "As you like.") {}
        assert_eq!(app.llm.requests()[1]["messages"][2]["content"], "It is true.");
    }

    async fn a_url_that_names_other_words_by_now_is_asked_for_again(database) {
        let app = speaking(&database, &[RELAY]).await;
        let (mut phone, mut relay) = caller(&app).await;
        let gate = Gate::closed();
        app.llm.streams(&["Yes. ", "It is. ", "And then", " nothing."], Between::Gate(gate.clone()));
        gate.let_through(3);
        relay.says("Is it true?").await;
        for sentence in ["Yes.", "It is."] {
            assert_eq!(hears(&app, &mut relay).await, said("nova", sentence));
        }
        let before = relay.received().last().unwrap()["source"].clone();
        // Both are spoken, and the filler comes that is due then.
        relay.next_message().await;
        phone.relay_ended(relay.drops()).await;
        app.llm.says(STORY[2]);
        let mut relay = phone.relay().await;
        assert_eq!(hears(&app, &mut relay).await, said("nova", STORY[2]));
        let after = relay.received().last().unwrap()["source"].clone();
        let sound = fetch(&app, after.as_str().unwrap()).await;
        let may_be_kept = sound.headers["cache-control"].contains("max-age");
        assert!(before != after || !may_be_kept, "Twilio would play the words of before: {:?}", sound.headers);
    }
}
