//! How the program ends, and what it finds when it starts again.

use super::program::{Folder, Program};
use super::twilio::{Around, as_given, get, webhook};
use crate::support::app::KEY;
use std::time::{Duration, Instant};

#[tokio::test]
async fn sigterm_finishes_the_turn_and_the_text_in_flight() {
    let (around, folder) = (Around::start().await, Folder::new());
    let settings = around.settings(&[("VOICE_REPLY_BUDGET", "10")]);
    let mut program = Program::serve(&folder, &as_given(&settings)).await;
    for signal in ["TERM", "INT"] {
        let (turn, sms) =
            (around.llm.says("Still spoken.").waits(), around.llm.decides("yes", "Still written.").waits());
        let call = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("SpeechResult", "Hello")];
        let text = [("MessageSid", "SM1"), ("Body", "Hello")];
        let spoken = async { webhook(&program, "/twilio/voice/turns/1", &call).await.voice().say() };
        let written = async {
            around.llm.wait_for_in_flight(1).await;
            webhook(&program, "/twilio/sms", &text).await.messaging().messages()
        };
        let stop = async {
            around.llm.wait_for_in_flight(2).await;
            program.signal(signal);
            let address = program.base().trim_start_matches("http://").to_owned();
            let started = Instant::now();
            while tokio::net::TcpStream::connect(&address).await.is_ok() {
                assert!(started.elapsed() < Duration::from_secs(5), "it goes on taking connections");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            turn.open();
            sms.open();
        };
        let (spoken, written, ()) = tokio::join!(spoken, written, stop);
        assert_eq!((spoken.as_str(), written[0].as_str()), ("Still spoken.", "Still written."));
        assert_eq!(program.ends().await.code(), Some(0), "{}", program.logged());
        assert!(program.logged().contains("Stopped"), "{}", program.logged());
        std::fs::remove_file(folder.path().join("switchboard.db")).unwrap();
        program = Program::serve(&folder, &as_given(&settings)).await;
    }
    program.signal("TERM");
    assert_eq!(program.ends().await.code(), Some(0));
}

#[tokio::test]
async fn a_text_whose_gateway_was_killed_is_answered_by_the_next() {
    let (around, folder) = (Around::start().await, Folder::new());
    let settings = around.settings(&[]);
    let mut program = Program::serve(&folder, &as_given(&settings)).await;
    let gate = around.llm.decides("yes", "Never heard.").waits();
    let fields = [("MessageSid", "SM1"), ("Body", "Hello")];
    let text = async {
        tokio::select! {
            answer = webhook(&program, "/twilio/sms", &fields) => panic!("answered before it was killed: {answer:?}"),
            () = around.llm.wait_for_in_flight(1) => {}
        }
    };
    text.await;
    program.signal("KILL");
    assert_eq!(program.ends().await.code(), None);
    gate.open();
    around.llm.always_decides("yes", "Here I am again.");
    let killed = Instant::now();
    let mut program = Program::serve(&folder, &as_given(&settings)).await;
    let told = get(&program, "/history/1/sms", KEY).await.json();
    assert_eq!(told[0]["incoming_text"], "Hello", "it was written down before the model was asked");
    assert!(
        webhook(&program, "/twilio/sms", &fields).await.messaging().is_empty(),
        "its redelivery waits for the same reply"
    );
    while around.twilio.sent().is_empty() {
        assert!(killed.elapsed() < Duration::from_secs(40), "not taken up: {}", program.logged());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(around.twilio.sent()[0].body, "Here I am again.");
    program.signal("TERM");
    assert_eq!(program.ends().await.code(), Some(0));
    assert_eq!((around.twilio.post_count(), around.llm.request_count()), (1, 2));
}

#[tokio::test]
async fn a_turn_whose_gateway_was_killed_before_any_word_is_answered_by_the_next_one() {
    let (around, folder) = (Around::start().await, Folder::new());
    let settings = around.settings(&[]);
    let program = Program::serve(&folder, &as_given(&settings)).await;
    let gate = around.llm.says("Never heard.").waits();
    let said = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("SpeechResult", "Tell me")];
    tokio::select! {
        answer = webhook(&program, "/twilio/voice/turns/1", &said) => panic!("answered before it was killed: {answer:?}"),
        () = around.llm.wait_for_in_flight(1) => {}
    }
    drop(program);
    gate.open();
    let program = Program::serve(&folder, &as_given(&settings)).await;
    around.llm.says("Here again.");
    let again = webhook(&program, "/twilio/voice/turns/1", &said).await.voice();
    assert_eq!(again.say(), "Here again.");
    assert_eq!(again.action().as_deref(), Some("/twilio/voice/turns/2"));
}
