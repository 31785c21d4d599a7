//! What REST clients see of a model that is slow, down, or says nothing of use, and what callers do of one that says
//! odd things.

use crate::api_support::{assert_come_back_later, problem};
use crate::support::app::{Answer, CALLER, Database, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BOTH: [&str; 2] = ["/conversation/", "/sms/decision"];

/// Asks one of the two as user 1.
async fn ask(app: &TestApp, path: &str) -> Answer {
    app.api("POST", path, Some(json!({ "user_id": 1, "text": "Can you come?" }))).await
}

/// A gateway on SQLite that knows one user.
async fn gateway_with(settings: &[(&str, &str)]) -> (Database, TestApp) {
    let database = Database::sqlite();
    let app = TestApp::start_with(&database, settings).await;
    app.user("ann", CALLER).await;
    (database, app)
}

/// Checks that the user's history holds no answer of any kind.
async fn assert_no_answer_stored(app: &TestApp) {
    let history = app.get("/history/1").await;
    let entries = |list: &str| history[list].as_array().unwrap().clone();
    assert!(entries("conversations").iter().all(|turn| turn["gpt_response"].is_null()), "{history}");
    assert!(entries("sms").iter().all(|text| text["reply_text"].is_null() && text["decision"].is_null()), "{history}");
}

/// A completion with this content and finish reason.
fn completion(content: &str, finish_reason: &str) -> String {
    json!({ "choices": [{ "message": { "content": content }, "finish_reason": finish_reason }] }).to_string()
}

/// A content that both accept.
fn good() -> String {
    json!({ "decision": "yes", "reply_text": "I will." }).to_string()
}

on_both_databases! {
    async fn without_a_model_nothing_is_stored_as_an_answer_and_one_may_come_back(database) {
        let app = TestApp::start_with(&database, &[("MAX_RETRIES", "0"), ("OPENAI_TIMEOUT", "1")]).await;
        app.user("ann", CALLER).await;
        for path in BOTH {
            app.llm.fails(500);
            assert_come_back_later(&ask(&app, path).await);
            app.llm.fails_with_retry_after(429, 7);
            let answer = ask(&app, path).await;
            assert_come_back_later(&answer);
            assert_eq!(answer.headers["retry-after"], "7", "as the model's server asks");
            app.llm.breaks_mid_stream(&good());
            assert_come_back_later(&ask(&app, path).await);
        }
        assert_no_answer_stored(&app).await;
        app.llm.always_says(&good());
        for path in BOTH {
            assert_eq!(ask(&app, path).await.status, 200);
        }
    }

    async fn a_text_for_a_caller_is_sent_without_what_no_database_can_hold(database) {
        let app = TestApp::start_with(&database, &[("VOICE_TOOLS", "send_text_to_caller")]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        app.llm.calls_tool("send_text_to_caller", r#"{"text":"Main\u0000 Street 5"}"#);
        app.llm.says("I have sent it.");
        phone.says("Text me the address").await;
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "Main Street 5");
    }

    async fn a_model_whose_name_no_database_can_hold_is_heard_all_the_same(database) {
        let app = TestApp::start(&database).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let body = r#"data: {"model":"odd\u0000","choices":[{"delta":{"content":"Here I am."},"finish_reason":"stop"}]}"#;
        app.llm.answers_raw(200, &[("Content-Type", "text/event-stream")], &format!("{body}\n\ndata: [DONE]\n\n"));
        phone.says("Hello").await;
        assert_eq!(phone.hears(), ["Here I am."]);
    }
}

#[tokio::test]
async fn an_unreachable_model_is_told_as_such() {
    let (_database, app) = gateway_with(&[("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"), ("MAX_RETRIES", "1")]).await;
    for path in BOTH {
        assert_come_back_later(&ask(&app, path).await);
    }
    assert_no_answer_stored(&app).await;
}

#[tokio::test]
async fn passing_failures_are_tried_again_as_often_as_configured() {
    let (_database, app) = gateway_with(&[("MAX_RETRIES", "2")]).await;
    for path in BOTH {
        for statuses in [[429, 500], [502, 503], [504, 529]] {
            let before = app.llm.request_count();
            for status in statuses {
                app.llm.fails(status);
            }
            app.llm.says(&good());
            assert_eq!(ask(&app, path).await.status, 200, "after {statuses:?}");
            assert_eq!(app.llm.request_count() - before, 3);
        }
        let before = app.llm.request_count();
        for _ in 0..3 {
            app.llm.fails(500);
        }
        assert_come_back_later(&ask(&app, path).await);
        assert_eq!(app.llm.request_count() - before, 3, "the first time and two more");
    }
}

#[tokio::test]
async fn a_refused_request_is_not_tried_again() {
    let (_database, app) = gateway_with(&[]).await;
    for (n, status) in [401, 403, 404].into_iter().enumerate() {
        app.llm.fails(status);
        problem(&ask(&app, "/conversation/").await, 503);
        assert_eq!(app.llm.request_count(), n + 1);
    }
    assert_no_answer_stored(&app).await;
}

#[tokio::test]
async fn the_servers_wish_to_wait_is_heeded_within_the_callers_time() {
    let (_database, app) = gateway_with(&[("OPENAI_TIMEOUT", "3")]).await;
    let timed = async |path| {
        let started = Instant::now();
        (ask(&app, path).await, started.elapsed())
    };
    app.llm.fails_with_retry_after(429, 1);
    app.llm.says(&good());
    let (answer, took) = timed("/conversation/").await;
    assert_eq!(answer.status, 200);
    assert!(took >= Duration::from_secs(1), "{took:?}");
    for path in BOTH {
        app.llm.fails_with_retry_after(503, 3600);
        let (answer, took) = timed(path).await;
        assert_come_back_later(&answer);
        assert!(took < Duration::from_secs(4), "an hour is more than the caller has: {took:?}");
    }
    assert_no_entry_beside_the_first(&app).await;
}

async fn assert_no_entry_beside_the_first(app: &TestApp) {
    let answers = app.get("/history/1/conversations").await;
    let answered = answers.as_array().unwrap().iter().filter(|turn| !turn["gpt_response"].is_null()).count();
    assert_eq!(answered, 1);
}

#[tokio::test]
async fn a_slow_model_is_given_up_in_time_with_all_retries() {
    let settings = [("OPENAI_TIMEOUT", "0.5"), ("MAX_RETRIES", "10")];
    let (_database, app) = gateway_with(&settings).await;
    for path in BOTH {
        app.llm.hangs();
        let started = Instant::now();
        assert_come_back_later(&ask(&app, path).await);
        for _ in 0..5 {
            app.llm.fails(500).delay(Duration::from_millis(150));
        }
        assert_come_back_later(&ask(&app, path).await);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        app.llm.wait_for_in_flight(0).await;
    }
    assert_no_answer_stored(&app).await;
}

#[tokio::test]
async fn a_request_ends_when_its_own_time_does() {
    let (_database, app) = gateway_with(&[("REQUEST_TIMEOUT", "0.3"), ("OPENAI_TIMEOUT", "60")]).await;
    for path in BOTH {
        app.llm.hangs();
        assert_come_back_later(&ask(&app, path).await);
    }
    app.llm.release();
    assert_no_answer_stored(&app).await;
}

#[tokio::test]
async fn an_unusable_answer_is_asked_for_once_more_and_never_stored_and_a_text_waits_for_a_person() {
    let (_database, app) = gateway_with(&[]).await;
    let mut unusable = vec![
        completion("", "stop"),
        completion(" \n\t ", "stop"),
        completion("?!…", "stop"),
        completion("<think>What is it?", "stop"),
        completion("I cannot", "content_filter"),
        completion("an endless sentence that is cut in the", "length"),
        r#"{"choices":[{"message":{"content":null,"refusal":"I cannot help."},"finish_reason":"stop"}]}"#.to_owned(),
        r#"{"choices":[]}"#.to_owned(),
        "{}".to_owned(),
        "<html>busy</html>".to_owned(),
        String::new(),
    ];
    for path in BOTH {
        if path == "/sms/decision" {
            unusable.extend(
                ["yes", "{}", r#"{"decision":"yes"}"#, r#"{"decision":"banana","reply_text":"Hi."}"#]
                    .map(|text| completion(text, "stop")),
            );
        }
        for body in &unusable {
            let before = app.llm.request_count();
            app.llm.answers_raw(200, &[("Content-Type", "application/json")], body);
            app.llm.answers_raw(200, &[("Content-Type", "application/json")], body);
            let answer = ask(&app, path).await;
            if path == "/sms/decision" {
                let decision = answer.json();
                assert_eq!((&decision["decision"], &decision["needs_human"]), (&json!("no"), &json!(true)), "{body}");
                assert_eq!((&decision["reply_text"], &decision["confidence"]), (&json!(""), &json!(null)), "{body}");
                assert!(decision["reason"].as_str().unwrap().starts_with("the model gave no usable answer"));
            } else {
                assert_come_back_later(&answer);
            }
            assert_eq!(app.llm.request_count() - before, 2, "{path}: {body}");
        }
    }
    let history = app.get("/history/1?limit=500").await;
    assert_eq!(history["conversations"], json!([]));
    let texts = history["sms"].as_array().unwrap();
    assert_eq!(texts.len(), unusable.len());
    assert!(texts.iter().all(|text| text["decision"] == "unsure" && text["reply_text"].is_null()), "{history}");
    for path in BOTH {
        for body in &unusable[..11] {
            app.llm.answers_raw(200, &[("Content-Type", "application/json")], body);
            app.llm.says(&good());
            assert_eq!(ask(&app, path).await.status, 200, "{path}: the second answer after {body}");
        }
    }
    let history = app.get("/history/1?limit=11").await;
    let all_are = |list: &str, field: &str, value: &str| {
        history[list].as_array().unwrap().iter().all(|entry| entry[field] == value)
    };
    assert!(all_are("conversations", "gpt_response", &good()) && all_are("sms", "reply_text", "I will."), "{history}");
}

#[tokio::test]
async fn of_an_answer_cut_twice_no_broken_sentence_is_kept() {
    let (_database, app) = gateway_with(&[]).await;
    for path in BOTH {
        app.llm.cuts_off(r#"{"decision":"yes","reply_text":"Gladly. But not befo"#);
        app.llm.cuts_off(r#"{"decision":"yes","reply_text":"Gladly. But not befo"#);
        let answer = ask(&app, path).await;
        assert!(!answer.body.contains("befo") && [200, 503].contains(&answer.status), "{}", answer.body);
    }
    assert!(!app.get("/history/1").await.to_string().contains("befo"));
}

#[tokio::test]
async fn servers_that_deviate_are_understood() {
    let (_database, app) = gateway_with(&[]).await;
    let content = |text: &str| Value::from(text).to_string();
    let hi = content("Hi.");
    for body in [
        format!(r#"{{"choices":[{{"message":{{"content":{hi}}}}}]}}"#),
        format!(
            r#"{{"choices":[{{"message":{{"content":{hi}}},"finish_reason":"eos_token"}}],"service_tier":"turbo"}}"#
        ),
        format!(r#"{{"choices":[{{"message":{{"content":{hi}}},"finish_reason":null}}],"usage":null,"model":null}}"#),
        r#"{"choices":[{"message":{"content":[{"type":"text","text":"Hi"},{"type":"text","text":"."}]}}]}"#.to_owned(),
        completion("<think>A greeting.</think>\n\nHi.", "stop"),
    ] {
        app.llm.answers_raw(200, &[("Content-Type", "application/json")], &body);
        let reply = ask(&app, "/conversation/").await.json();
        assert_eq!(reply["gpt_response"], "Hi.", "{body}");
        assert!(reply["input_tokens"] == 0 && reply["output_tokens"] == 0 && reply["model_used"] == "test-model");
    }
    for error in ["busy", r#"{"detail":"busy"}"#, r#"{"error":"busy"}"#, r#"{"error":{"code":503}}"#, ""] {
        app.llm.answers_raw(503, &[("Content-Type", "text/plain")], error);
        app.llm.says("Hi.");
        assert_eq!(ask(&app, "/conversation/").await.status, 200, "after {error}");
    }
}

#[tokio::test]
async fn what_a_server_refuses_is_put_differently_and_remembered() {
    let (_database, app) = gateway_with(&[]).await;
    let refuse = |words: &str| {
        let body = json!({ "error": { "message": words, "code": 400 } }).to_string();
        app.llm.answers_raw(400, &[("Content-Type", "application/json")], &body);
    };
    refuse("'max_tokens' is not supported with this model, use 'max_completion_tokens'");
    assert_eq!(ask(&app, "/conversation/").await.status, 200);
    refuse("response_format 'json_schema' is not supported");
    for _ in 0..2 {
        app.llm.decides("yes", "I will.");
        assert_eq!(ask(&app, "/sms/decision").await.status, 200);
    }
    let requests = app.llm.requests();
    assert_eq!(requests.len(), 5, "nothing is tried in vain twice");
    assert!(requests[1..].iter().all(|sent| sent["max_completion_tokens"] == 500 && sent.get("max_tokens").is_none()));
    assert_eq!(
        (&requests[2]["response_format"]["type"], &requests[4]["response_format"]["type"]),
        (&json!("json_schema"), &json!("json_object"))
    );
}
