//! A gateway that dies while it answers a turn, and the one that goes on in its place.

use super::program::{Folder, Program};
use super::twilio::{Around, as_given, get, webhook};
use crate::support::app::{Answer, CALLER, Database, KEY, OURS};
use crate::support::caller::{Phone, Relay};
use crate::support::fake_llm::Between;
use crate::support::scripted_server::Gate;
use crate::support::wait::PATIENCE;
use std::time::{Duration, Instant};

const BEGUN: &str = "The first thing to know is that there was a beginning to all of this, long ago.";
const REST: &str = "And that was the end.";

#[tokio::test]
async fn a_turn_whose_gateway_was_killed_is_finished_by_the_one_that_is_asked() {
    let Some(database) = Database::postgres().await else { return };
    let (around, folder, url) = (Around::start().await, Folder::new(), database.url());
    let settings = around.settings(&[("DATABASE_URL", &url), ("VOICE_REPLY_BUDGET", "1")]);
    let dying = Program::serve(&folder, &as_given(&settings)).await;
    let other = Program::serve(&folder, &as_given(&settings)).await;
    begin(&around, &dying).await;
    dying.signal("KILL");
    finish(&around, &other).await;
}

#[tokio::test]
async fn a_gateway_that_was_frozen_writes_nothing_into_a_turn_that_another_took_over() {
    let Some(database) = Database::postgres().await else { return };
    let (around, folder, url) = (Around::start().await, Folder::new(), database.url());
    let settings = around.settings(&[("DATABASE_URL", &url), ("VOICE_REPLY_BUDGET", "1")]);
    let mut frozen = Program::serve(&folder, &as_given(&settings)).await;
    let other = Program::serve(&folder, &as_given(&settings)).await;
    let gate = begin(&around, &frozen).await;
    frozen.signal("STOP");
    finish(&around, &other).await;
    gate.open();
    frozen.signal("CONT");
    // It finds out with its next write, and ends in good order afterwards.
    around.llm.wait_for_in_flight(0).await;
    frozen.signal("TERM");
    assert_eq!(frozen.ends().await.code(), Some(0));
    let turns = get(&other, "/history/1/conversations", KEY).await.json();
    assert_eq!(turns[0]["gpt_response"], format!("{BEGUN} {REST}"));
    assert_eq!(turns[0]["heard_text"], serde_json::json!(null));
}

#[tokio::test]
async fn a_turn_goes_on_after_its_gateway_was_killed_and_started_again() {
    let (around, folder) = (Around::start().await, Folder::new());
    let settings = around.settings(&[("DATABASE_URL", "sqlite://./calls.db"), ("VOICE_REPLY_BUDGET", "1")]);
    let mut dying = Program::serve(&folder, &as_given(&settings)).await;
    begin(&around, &dying).await;
    dying.signal("KILL");
    dying.ends().await;
    finish(&around, &Program::serve(&folder, &as_given(&settings)).await).await;
}

#[tokio::test]
async fn a_relayed_answer_whose_gateway_was_killed_goes_on_at_another() {
    let Some(database) = Database::postgres().await else { return };
    let (around, folder, url) = (Around::start().await, Folder::new(), database.url());
    let settings = around.settings(&[("DATABASE_URL", &url), ("VOICE_TRANSPORT", "relay")]);
    let mut dying = Program::serve(&folder, &as_given(&settings)).await;
    let other = Program::serve(&folder, &as_given(&settings)).await;
    let (phone, relay) = begin_relayed(&around, &dying).await;
    dying.signal("KILL");
    dying.ends().await;
    finish_relayed(&around, &other, phone, relay).await;
}

#[tokio::test]
async fn a_relayed_answer_goes_on_after_its_gateway_was_killed_and_started_again() {
    let (around, folder) = (Around::start().await, Folder::new());
    let settings = around.settings(&[("DATABASE_URL", "sqlite://./calls.db"), ("VOICE_TRANSPORT", "relay")]);
    let mut dying = Program::serve(&folder, &as_given(&settings)).await;
    let (phone, relay) = begin_relayed(&around, &dying).await;
    dying.signal("KILL");
    dying.ends().await;
    let again = Program::serve(&folder, &as_given(&settings)).await;
    finish_relayed(&around, &again, phone, relay).await;
}

/// The caller hears the first sentence word by word, and the model falls silent.
async fn begin_relayed(around: &Around, program: &Program) -> (Phone, Relay) {
    let mut phone = Phone::towards(&program.base(), CALLER, OURS);
    phone.dials().await;
    let mut relay = phone.relay().await;
    let gate = Gate::closed();
    around.llm.streams(&[BEGUN, " And then", " nothing."], Between::Gate(gate.clone()));
    gate.let_through(1);
    relay.says("What is there to know?").await;
    assert_eq!(relay.next_message().await["token"], BEGUN);
    let (path, waiting) = (format!("/calls/{}", phone.sid()), Instant::now());
    while get(program, &path, KEY).await.json()["turns"][0]["gpt_response"] != BEGUN {
        assert!(waiting.elapsed() < PATIENCE, "it is never stored");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    around.llm.says(REST);
    (phone, relay)
}

/// Twilio asks another gateway what comes next, and the caller hears the rest in a new session.
async fn finish_relayed(around: &Around, program: &Program, mut phone: Phone, relay: Relay) {
    let end = relay.until_cut().await;
    phone.moves_towards(&program.base());
    phone.relay_ended(end).await;
    let mut relay = phone.relay().await;
    assert_eq!(relay.hears_turn().await, REST);
    assert_eq!(around.llm.requests()[1]["messages"][2]["content"], BEGUN, "the model goes on after what was said");
    let turns = get(program, "/history/1/conversations", KEY).await.json();
    assert_eq!(turns[0]["gpt_response"], format!("{BEGUN} {REST}"));
    assert_eq!((turns.as_array().unwrap().len(), &turns[0]["heard_text"]), (1, &serde_json::json!(null)));
}

/// The caller hears the first sentence, and the model falls silent.
async fn begin(around: &Around, program: &Program) -> Gate {
    let gate = Gate::closed();
    around.llm.streams(&[BEGUN, " And then", " nothing."], Between::Gate(gate.clone()));
    gate.let_through(2);
    let heard = says(program, "/twilio/voice/turns/1").await.voice();
    assert_eq!(heard.say(), BEGUN);
    assert_eq!(heard.redirect().as_deref(), Some("/twilio/voice/turns/1/parts/1"));
    around.llm.says(REST);
    gate
}

/// The caller hears the rest, and nothing twice.
async fn finish(around: &Around, program: &Program) {
    let (mut part, mut all) = (Some("/twilio/voice/turns/1/parts/1".to_owned()), Vec::new());
    while let Some(path) = part {
        let heard = says(program, &path).await.voice();
        all.extend(heard.says());
        assert!(all.len() < 20, "it never ends: {all:?}");
        part = heard.redirect();
    }
    assert_eq!(all.last().map(String::as_str), Some(REST), "{all:?}");
    assert!(!all.iter().any(|said| said.contains("beginning")), "said before: {all:?}");
    assert_eq!(around.llm.request_count(), 2);
    let asked = around.llm.requests()[1]["messages"].clone();
    assert_eq!(asked[2]["content"], BEGUN, "the model goes on after what was said");
}

async fn says(program: &Program, path: &str) -> Answer {
    let fields = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("SpeechResult", "What is there to know?")];
    webhook(program, path, &fields).await
}
