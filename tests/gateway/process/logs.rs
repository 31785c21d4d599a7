//! What the program logs, and what it keeps to itself.

use super::program::{Folder, Program};
use super::twilio::{Around, as_given, get, webhook};
use crate::support::app::{KEY, TOKEN};
use serde_json::Value;

/// Lets a call, two texts, a forgery and REST requests happen; what was logged meanwhile.
async fn logged(more: &[(&'static str, &str)]) -> Vec<String> {
    let (around, folder) = (Around::start().await, Folder::new());
    let mut program = Program::serve(&folder, &as_given(&around.settings(more))).await;
    around.llm.says("My answer is marmalade.");
    around.llm.decides("yes", "Bring marmalade.");
    let turn = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("SpeechResult", "What about breakfast")];
    webhook(&program, "/twilio/voice", &turn[..2]).await.voice();
    assert_eq!(webhook(&program, "/twilio/voice/turns/1", &turn).await.voice().say(), "My answer is marmalade.");
    webhook(&program, "/twilio/voice/status", &[("CallSid", "CA1"), ("CallStatus", "completed")]).await;
    let text = [("MessageSid", "SM1"), ("Body", "Anything for breakfast?")];
    assert_eq!(webhook(&program, "/twilio/sms", &text).await.messaging().messages(), ["Bring marmalade."]);
    webhook(&program, "/twilio/sms", &[("MessageSid", "SM2"), ("Body", "STOP")]).await;
    // The model fails and quotes what it was asked.
    around.llm.answers_raw(400, &[], r#"{"error":{"message":"I do not like breakfast with marmalade"}}"#);
    let turn = [("CallSid", "CA2"), ("CallStatus", "in-progress"), ("SpeechResult", "More breakfast")];
    webhook(&program, "/twilio/voice/turns/1", &turn).await.voice();
    let forged = reqwest::Client::new().post(program.base() + "/twilio/sms").header("x-twilio-signature", "x");
    assert_eq!(forged.body("Body=breakfast").send().await.unwrap().status(), 403);
    assert_eq!(get(&program, "/history/1", KEY).await.status, 200);
    assert_eq!(get(&program, "/history/1", "a-wrong-key-marmalade").await.status, 401);
    program.signal("TERM");
    assert_eq!(program.ends().await.code(), Some(0));
    program.logged().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn at_info_no_key_no_words_and_no_whole_number_are_logged() {
    let lines = logged(&[]).await;
    let all = lines.join("\n");
    for hidden in ["marmalade", "breakfast", "STOP", KEY, TOKEN, "sk-a-key", "4155550123", "5005550006"] {
        assert!(!all.contains(hidden), "{hidden}:\n{all}");
    }
    for line in &lines {
        let parts: Vec<_> = line.splitn(4, " - ").collect();
        let shape: String = parts[0].chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert!(parts.len() == 4 && shape == "0000-00-00 00:00:00", "{line}");
        assert!(parts[1].split("::").all(|name| !name.is_empty() && !name.contains(' ')), "{line}");
        assert!(["INFO", "WARNING", "ERROR"].contains(&parts[2]) && !parts[3].is_empty(), "{line}");
    }
    let one = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(one("turn_ms="), 2, "one line for each turn:\n{all}");
    let turn = lines.iter().find(|line| line.contains("Answered turn 1")).unwrap();
    assert!(turn.contains(" - INFO - ") && turn.contains("tokens_in=") && turn.contains("tokens_out="), "{turn}");
    let text = lines
        .iter()
        .find(|line| line.contains("text") && line.contains("_ms="))
        .unwrap_or_else(|| panic!("no line for the text:\n{all}"));
    assert!(text.contains("tokens_in=") && text.contains("tokens_out="), "{text}");
    assert!(lines.iter().any(|line| line.contains("Refused a webhook") && line.contains("WARNING")));
}

#[tokio::test]
async fn json_logs_are_one_object_a_line_and_debug_shows_more() {
    let lines = logged(&[("LOG_FORMAT", "json"), ("DEBUG", "true")]).await;
    let objects: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    for object in &objects {
        for name in ["timestamp", "level", "target", "message"] {
            assert!(object[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {object}");
        }
    }
    let debug = objects.iter().filter(|object| object["level"] == "DEBUG");
    assert!(debug.clone().count() > 5 && debug.clone().any(|object| object["request.id"].is_string()), "{lines:#?}");
    let turn = objects.iter().find(|object| object["turn_ms"].is_number()).unwrap();
    assert_eq!((turn["call.sid"].as_str(), turn["turn"].as_i64()), (Some("CA1"), Some(1)));
    assert!(![KEY, TOKEN, "sk-a-key"].iter().any(|hidden| lines.join("\n").contains(hidden)));
}

#[tokio::test]
async fn only_what_is_severe_enough_is_logged() {
    let lines = logged(&[("LOG_LEVEL", "ERROR")]).await;
    assert!(lines.iter().all(|line| line.contains(" - ERROR - ")), "{lines:#?}");
}
