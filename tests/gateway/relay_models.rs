//! ConversationRelay with models that are late, fail or break off.

use crate::relay::{STORY, tokens};
use crate::support::app::{CALLER, OURS, RELAY, TestApp, on_both_databases};
use crate::support::fake_llm::Between;
use crate::support::said::APOLOGY;
use crate::support::scripted_server::Gate;
use serde_json::json;
use std::time::Duration;

on_both_databases! {
    async fn a_late_model_is_bridged_by_fillers_that_are_no_part_of_the_answer(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.1")]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        let gate = app.llm.says("At last.").waits();
        relay.says("Tell me").await;
        let (first, second) = (relay.next_message().await, relay.next_message().await);
        assert!(first["token"] != second["token"], "never the same twice in a row");
        assert_eq!((&first["last"], &second["last"]), (&json!(false), &json!(false)));
        gate.open();
        assert!(relay.hears_turn().await.ends_with("At last."));
        let turns = app.until("/history/1/conversations", |turns| turns[0]["gpt_response"].is_string()).await;
        assert_eq!(turns[0]["gpt_response"], "At last.");
        let said: String = tokens(relay.received()).concat();
        relay.interrupts(said.trim_end_matches(" last."), 900).await;
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "At").await;
        app.llm.says("Fine.");
        relay.says("And now?").await;
        assert!(relay.hears_turn().await.ends_with("Fine."));
    }

    async fn pieces_without_words_keep_nobody_waiting_in_silence(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.5")]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        let pieces = [&["Yes.\n"], ["\n"; 25].as_slice(), &["At last."]].concat();
        app.llm.streams(&pieces, Between::Pause(Duration::from_millis(100)));
        relay.says("Tell me").await;
        assert_eq!(relay.next_message().await["token"].as_str().map(str::trim), Some("Yes."));
        let filler = relay.next_message().await["token"].as_str().unwrap().trim().to_owned();
        assert!(!filler.is_empty() && filler != "At last.", "while nothing is said there is a filler: {filler}");
        assert!(relay.hears_turn().await.ends_with("At last."));
    }

    async fn an_answer_that_takes_too_long_is_apologised_for_and_kept_for_the_next_turn(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.3"), ("VOICE_PATIENCE", "1")]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        let gate = app.llm.says("Too late.").waits();
        relay.says("Tell me").await;
        assert!(relay.hears_turn().await.ends_with(APOLOGY));
        gate.open();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "Too late.").await;
        app.llm.says("In time.");
        relay.says("Again").await;
        assert!(relay.hears_turn().await.ends_with("In time."));
        let told = app.llm.requests()[1]["messages"].clone();
        assert!(told[0]["content"].as_str().unwrap().contains("came too late"), "{told}");
        assert_eq!(told[2]["content"], "Too late.");
    }

    async fn nobody_waits_while_words_are_spoken(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.1"), ("VOICE_PATIENCE", "1")]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        let gate = Gate::closed();
        app.llm.streams(&["Once upon a time there was a telephone. ", "It rang."], Between::Gate(gate.clone()));
        gate.let_through(1);
        relay.says("Tell me a story").await;
        relay.next_message().await;
        let next = relay.next_message().await;
        assert_eq!(next["last"], false, "a filler, once that was spoken, and no apology yet: {next}");
        gate.open();
        assert!(relay.hears_turn().await.ends_with("It rang."));
    }

    async fn a_failed_model_is_a_spoken_apology_and_the_next_words_are_answered(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("MAX_RETRIES", "0")]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.fails(500);
        relay.says("Tell me").await;
        assert_eq!(relay.hears_turn().await, APOLOGY);
        app.llm.says("Fine again.");
        relay.says("And now?").await;
        assert_eq!(relay.hears_turn().await, "Fine again.");
        assert_eq!(app.get("/history/1/conversations").await[1]["gpt_response"], json!(null));
    }

    async fn an_answer_that_breaks_off_goes_on_where_it_was(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("MAX_RETRIES", "0")]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.breaks_mid_stream("Once upon a time there was");
        app.llm.says("a telephone.");
        relay.says("Tell me a story").await;
        assert_eq!(relay.hears_turn().await, "Once upon a time there was a telephone.");
        assert_eq!(app.llm.requests()[1]["messages"][2]["content"], "Once upon a time there was");
        let turns = app.until("/history/1/conversations", |turns| turns[0]["gpt_response"].is_string()).await;
        assert_eq!(turns[0]["gpt_response"], "Once upon a time there was a telephone.");
    }

    async fn an_answer_that_breaks_off_twice_ends_with_an_apology_and_counts_all_its_tokens(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("MAX_RETRIES", "0"), ("VOICE_TOOLS", "switch_language")]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.breaks_mid_stream("Once upon a time");
        app.llm.breaks_mid_stream("there was");
        relay.says("Tell me a story").await;
        assert_eq!(relay.hears_turn().await, format!("Once upon a time there was {APOLOGY}"));
        assert_eq!(app.llm.request_count(), 2, "it is asked for again once");
        // Each of the two requests of an answer counts.
        app.llm.says_and_calls("One moment.", "switch_language", r#"{"language":"en"}"#);
        app.llm.breaks_mid_stream("It is");
        app.llm.says("five.");
        relay.says("What is it?").await;
        assert_eq!(relay.hears_turn().await, "One moment. It is five.");
        let whole = app.until("/history/1/conversations", |turns| turns[0]["output_tokens"] != 0).await[0].clone();
        app.llm.says("five.");
        relay.says("What?").await;
        relay.hears_turn().await;
        let single = app.until("/history/1/conversations", |turns| turns[0]["turn"] == 3 && turns[0]["output_tokens"] != 0).await[0].clone();
        assert!(whole["output_tokens"].as_i64() > single["output_tokens"].as_i64(), "{whole} {single}");
    }

    async fn an_apology_for_the_rest_of_an_answer_stands_apart(database) {
        let app = TestApp::start_with(&database, &[RELAY, ("VOICE_REPLY_BUDGET", "0.6"), ("VOICE_PATIENCE", "0.6")]).await;
        let phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(1);
        relay.says("Tell me a story").await;
        assert!(relay.hears_turn().await.ends_with(&format!("Once upon a time {APOLOGY}")));
    }
}
