//! An answer told in parts, while the model still writes it.

use crate::support::app::{CALLER, Database, OURS, TestApp, on_both_databases};
use crate::support::fake_llm::Between;
use crate::support::said::APOLOGY;
use crate::support::scripted_server::Gate;
use serde_json::json;
use sqlx::Connection;
use std::time::Duration;

const SID: &str = "CA1";
const STORY: [&str; 3] = [
    "Once upon a time there was a telephone that nobody ever wanted to answer again. ",
    "Then one day somebody called it, and it spoke for the very first time in years. ",
    "They lived happily ever after.",
];

on_both_databases! {
    async fn the_first_sentence_is_heard_while_the_model_still_writes_and_the_last_part_listens(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(2);
        let first = call.says(1, "Tell me a story").await;
        assert_eq!(first.say(), STORY[0].trim());
        assert_eq!(first.redirect().as_deref(), Some("/twilio/voice/turns/1/parts/1"));
        assert!(first.gather().is_none(), "there is more to come");
        gate.open();
        let rest = call.webhook("/twilio/voice/turns/1/parts/1", &[]).await.voice();
        assert_eq!(rest.say(), [STORY[1], STORY[2]].concat());
        assert_eq!(rest.action().as_deref(), Some("/twilio/voice/turns/2"), "the caller can break in");
        assert_eq!(app.llm.request_count(), 1);
        let turn = &app.get("/history/1/conversations").await[0];
        assert_eq!((&turn["gpt_response"], &turn["heard_text"]), (&json!(STORY.concat()), &json!(null)));
    }

    async fn every_part_is_heard_the_same_when_it_is_delivered_again(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(2);
        let said = [("SpeechResult", "Tell me a story")];
        let first = call.webhook("/twilio/voice/turns/1", &said).await;
        gate.let_through(1);
        let (second, again) = tokio::join!(
            call.webhook("/twilio/voice/turns/1/parts/1", &[]),
            call.webhook("/twilio/voice/turns/1/parts/1", &[]),
        );
        assert_eq!(second.body, again.body);
        gate.open();
        let last = call.webhook("/twilio/voice/turns/1/parts/2", &[]).await;
        assert!(last.voice().gather().is_some());
        for (path, heard) in [("", &first), ("/parts/1", &second), ("/parts/2", &last)] {
            let again = call.webhook(&format!("/twilio/voice/turns/1{path}"), &said).await;
            assert_eq!(again.body, heard.body, "{path}");
        }
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn a_caller_who_hangs_up_stops_the_model_and_the_history_holds_what_was_told(database) {
        let app = TestApp::start(&database).await;
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(2);
        let call_sid = format!("CA{:032}", 7);
        let call = app.call(&call_sid, CALLER, OURS);
        assert_eq!(call.says(1, "Tell me a story").await.say(), STORY[0].trim());
        let live = app.get(&format!("/calls/{call_sid}")).await;
        assert_eq!(live["turns"][0]["gpt_response"], STORY[..2].concat().trim(), "what is there of the answer");
        call.is("completed", &[("CallDuration", "9")]).await;
        app.llm.wait_for_in_flight(0).await;
        let turns = app.until("/history/1/conversations", |turns| turns[0]["gpt_response"].is_string()).await;
        assert_eq!(turns[0]["gpt_response"], STORY[..2].concat().trim(), "what the model had written");
        assert_eq!(turns[0]["heard_text"], STORY[0].trim());
        app.llm.says("It ended well.");
        app.call("CA2", CALLER, OURS).talks(1, "How did it end?").await;
        let told = app.llm.requests()[1]["messages"].clone();
        assert_eq!(told[2], json!({ "role": "assistant", "content": STORY[0].trim() }), "only what was heard");
    }

    async fn an_answer_nobody_heard_is_not_told_to_the_model_again(database) {
        let app = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "0.1")]).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = app.llm.says("Nobody heard this.").waits();
        call.says(1, "Hello?").await;
        gate.open();
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "").await;
        call.is("completed", &[]).await;
        app.llm.says("Hello again.");
        app.call("CA2", CALLER, OURS).talks(1, "Me again").await;
        assert_eq!(app.llm.requests()[1]["messages"].as_array().unwrap().len(), 2, "the system's and the user's");
    }

    async fn an_answer_that_breaks_off_goes_on_after_what_was_said(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        app.llm.breaks_mid_stream("First of all, thank you. And then there");
        app.llm.says("First of all, thank you. Then we are done.");
        let heard = all_heard(&call, "Tell me").await;
        assert_eq!(heard, "First of all, thank you. Then we are done.");
        let messages = app.llm.requests()[1]["messages"].clone();
        assert_eq!(messages[2], json!({ "role": "assistant", "content": "First of all, thank you." }));
        assert!(messages[0]["content"].as_str().unwrap().contains("go on"));
    }

    async fn an_answer_that_breaks_off_for_good_ends_with_an_apology(database) {
        let app = TestApp::start_with(&database, &[("MAX_RETRIES", "0")]).await;
        let call = app.call(SID, CALLER, OURS);
        app.llm.breaks_mid_stream("So much is sure. And then there");
        app.llm.fails(500);
        assert_eq!(all_heard(&call, "Tell me").await, format!("So much is sure. {APOLOGY}"));
        app.llm.says("Better now.");
        assert_eq!(call.talks(2, "And now?").await.say(), "Better now.");
    }

    async fn fillers_vary_and_the_wait_between_them_is_silent(database) {
        let app = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "0.05")]).await;
        let call = app.call(SID, CALLER, OURS);
        let mut fillers = Vec::new();
        for turn in 1..4 {
            let gate = app.llm.says("Here it is.").waits();
            let mut heard = call.says(turn, "Tell me").await;
            for part in 1..6 {
                fillers.push(heard.say());
                heard = call.webhook(&heard.redirect().unwrap(), &[]).await.voice();
                if part == 5 {
                    gate.open();
                }
            }
            while let Some(redirect) = heard.redirect() {
                heard = call.webhook(&redirect, &[]).await.voice();
            }
        }
        let spoken: Vec<_> = fillers.iter().filter(|filler| !filler.is_empty()).collect();
        assert!(spoken.len() >= 9 && spoken.len() < fillers.len(), "{fillers:?}");
        assert!(spoken.windows(2).all(|pair| pair[0] != pair[1]), "{spoken:?}");
        assert!(fillers.windows(2).all(|pair| pair[0].is_empty() || pair[1].is_empty() || pair[0] != pair[1]), "{fillers:?}");
    }

    async fn an_answer_that_came_too_late_is_known_at_the_next_turn(database) {
        let app = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "0.3"), ("VOICE_PATIENCE", "1")]).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = app.llm.says("The answer is 42.").waits();
        assert!(call.talks(1, "What is the answer?").await.say().starts_with("Sorry"));
        gate.open();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "The answer is 42.").await;
        app.llm.says("About your earlier question: it is 42.");
        call.talks(2, "Are you there?").await;
        let messages = app.llm.requests()[1]["messages"].clone();
        assert_eq!(messages[2]["content"], "The answer is 42.");
        assert!(messages[0]["content"].as_str().unwrap().contains("came too late"));
    }

    async fn nobody_waits_while_words_are_spoken(database) {
        let app = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "1"), ("VOICE_PATIENCE", "2.5")]).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(2);
        let first = call.says(1, "Tell me a story").await;
        assert_eq!(first.say(), STORY[0].trim());
        let second = call.webhook(&first.redirect().unwrap(), &[]).await.voice();
        assert_eq!(second.say(), STORY[1].trim());
        // The caller listens to it, for longer than anybody waits.
        tokio::time::sleep(Duration::from_millis(2600)).await;
        let third = call.webhook(&second.redirect().unwrap(), &[]).await.voice();
        assert!(third.redirect().is_some(), "no apology yet: {third:?}");
        gate.open();
    }

    async fn of_an_answer_that_stalled_the_heard_part_alone_counts_later(database) {
        let app = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "0.3"), ("VOICE_PATIENCE", "1")]).await;
        let call = app.call(SID, CALLER, OURS);
        let gate = Gate::closed();
        app.llm.streams(&STORY, Between::Gate(gate.clone()));
        gate.let_through(2);
        let heard = call.talks(1, "Tell me a story").await;
        assert!(heard.says().last().unwrap().starts_with("Sorry"), "{heard:?}");
        gate.open();
        let whole = STORY.concat();
        let turns = app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == whole.as_str()).await;
        assert_eq!(turns[0]["heard_text"], STORY[..2].concat().trim());
        app.llm.says("As I was saying.");
        call.talks(2, "Are you there?").await;
        app.llm.says("Indeed.");
        call.talks(3, "And now?").await;
        let told = app.llm.requests()[2]["messages"].to_string();
        assert!(told.contains("telephone") && !told.contains("happily ever after"), "{told}");
    }

    async fn words_that_come_after_the_end_of_the_call_ask_no_model(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        call.rings().await;
        call.is("completed", &[("CallDuration", "3")]).await;
        assert!(call.says(1, "Hello?").await.hangs_up());
        assert_eq!(app.llm.request_count(), 0);
        assert_eq!(app.get("/history/1/conversations").await[0]["input_text"], "Hello?");
    }

    async fn an_answer_that_comes_at_once_is_told_at_once(database) {
        let app = TestApp::start(&database).await;
        app.llm.says(&STORY.concat());
        let heard = app.call(SID, CALLER, OURS).says(1, "Tell me a story").await;
        assert!(heard.gather().is_some(), "{heard:?}");
        assert_eq!(heard.say(), STORY.concat());
    }

    async fn a_part_that_was_never_promised_changes_nothing(database) {
        let app = TestApp::start(&database).await;
        let call = app.call(SID, CALLER, OURS);
        let apology = call.webhook("/twilio/voice/turns/7/parts/3", &[]).await.voice();
        assert!(apology.say().starts_with("Sorry") && apology.gather().is_some());
        app.llm.says("All of it.");
        assert_eq!(call.talks(1, "Tell me").await.say(), "All of it.");
        let other = app.call("CA2", "+14155550199", OURS).webhook("/twilio/voice/turns/1/parts/1", &[]).await.voice();
        assert!(other.say().starts_with("Sorry"), "another call's words are nobody's");
        let far = call.webhook("/twilio/voice/turns/1/parts/9", &[]).await.voice();
        assert!(far.gather().is_some() && far.say().is_empty(), "all was told before");
    }
}

#[tokio::test]
async fn a_hang_up_that_another_gateway_hears_of_stops_the_model() {
    let Some(database) = Database::postgres().await else { return };
    let one = TestApp::start(&database).await;
    let other = TestApp::start(&database).await;
    let gate = Gate::closed();
    one.llm.streams(&STORY, Between::Gate(gate.clone()));
    gate.let_through(2);
    assert_eq!(one.call(SID, CALLER, OURS).says(1, "Tell me a story").await.say(), STORY[0].trim());
    other.call(SID, CALLER, OURS).is("completed", &[("CallDuration", "9")]).await;
    one.llm.wait_for_in_flight(0).await;
    one.until("/history/1/conversations", |turns| turns[0]["heard_text"] == STORY[0].trim()).await;
}

#[tokio::test]
async fn a_hang_up_whose_news_is_lost_stops_the_model_too() {
    let Some(database) = Database::postgres().await else { return };
    let app = TestApp::start(&database).await;
    let gate = Gate::closed();
    app.llm.streams(&STORY, Between::Gate(gate.clone()));
    gate.let_through(2);
    assert_eq!(app.call(SID, CALLER, OURS).says(1, "Tell me a story").await.say(), STORY[0].trim());
    // Another gateway writes the end down, and nobody hears of it.
    let mut connection = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let over =
        sqlx::query("UPDATE call_logs SET status = 'completed', status_rank = 5, ended_at = 1 WHERE call_sid = $1");
    over.bind(SID).execute(&mut connection).await.unwrap();
    app.llm.wait_for_in_flight(0).await;
}

#[tokio::test]
async fn a_model_that_speaks_without_end_keeps_its_turn() {
    let Some(database) = Database::postgres().await else { return };
    let one = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "1")]).await;
    let other = TestApp::start_with(&database, &[("VOICE_REPLY_BUDGET", "1")]).await;
    let words: Vec<_> = (0..16).map(|_| "on and ").chain(["it ends."]).collect();
    one.llm.streams(&words, Between::Pause(Duration::from_millis(500)));
    let mut phone = one.phone(CALLER, OURS).step_by_step();
    phone.dials().await;
    phone.says("Go on").await;
    phone.moves_to(&other);
    while !phone.is_heard() {
        phone.goes_on().await;
    }
    assert_eq!(phone.hears().last().unwrap(), &("on and ".repeat(16) + "it ends."));
    assert_eq!((one.llm.request_count(), other.llm.request_count()), (1, 0), "nobody took the turn over");
}

#[tokio::test]
async fn the_parts_of_a_turn_may_be_asked_of_several_gateways_in_turn() {
    let Some(database) = Database::postgres().await else { return };
    let one = TestApp::start(&database).await;
    let other = TestApp::start(&database).await;
    let gate = Gate::closed();
    one.llm.streams(&STORY, Between::Gate(gate.clone()));
    gate.let_through(2);
    let first = one.call(SID, CALLER, OURS).says(1, "Tell me a story").await;
    let second = other.call(SID, CALLER, OURS).webhook(&first.redirect().unwrap(), &[]).await;
    assert_eq!(second.voice().say(), STORY[1].trim());
    gate.open();
    let last = one.call(SID, CALLER, OURS).webhook(&second.voice().redirect().unwrap(), &[]).await.voice();
    assert_eq!((last.say().as_str(), last.gather().is_some()), (STORY[2], true));
    assert_eq!((one.llm.request_count(), other.llm.request_count()), (1, 0), "nobody took anything over");
}

/// All that is heard in a turn, through its parts to the Gather.
async fn all_heard(call: &crate::support::app::Call<'_>, words: &str) -> String {
    let mut heard = call.says(1, words).await;
    let mut all = heard.says();
    while let Some(redirect) = heard.redirect() {
        heard = call.webhook(&redirect, &[]).await.voice();
        all.extend(heard.says());
    }
    assert!(heard.gather().is_some());
    all.join(" ")
}

#[tokio::test]
async fn a_gateway_whose_clock_is_ahead_or_behind_loses_no_patience() {
    let Some(database) = Database::postgres().await else { return };
    let hasty = [("VOICE_REPLY_BUDGET", "0.1")];
    let (one, other) = tokio::join!(TestApp::start_with(&database, &hasty), TestApp::start_with(&database, &hasty));
    other.clock.advance(120);
    for (asked, goes_on) in [(&one, &other), (&other, &one)] {
        let mut phone = asked.dials(CALLER, OURS).await.step_by_step();
        let gate = asked.llm.says("It is noon.").waits();
        phone.says("What time is it?").await;
        phone.moves_to(goes_on);
        for _ in 0..2 {
            phone.goes_on().await;
            assert!(!phone.is_heard(), "more is to come: {:?}", phone.hears());
        }
        gate.open();
        while !phone.is_heard() {
            phone.goes_on().await;
        }
        assert_eq!(phone.hears().last().unwrap(), "It is noon.");
    }
}
