use serde_json::{Value, json};

use super::llm::{ask, events, post, question, streamed_text};
use crate::support::fake_llm::FakeLlm;

/// The first tool call of a stream, put together.
fn streamed_call(events: &[Value]) -> (String, String, String) {
    let calls: Vec<_> = events.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let arguments = calls.iter().map(|call| text(&call["function"]["arguments"])).collect();
    let first = calls.iter().find(|call| call["id"].is_string()).expect("a tool call");
    (text(&first["id"]), text(&first["function"]["name"]), arguments)
}

#[tokio::test]
async fn calls_tools_in_pieces_and_whole_with_and_without_words() {
    let llm = FakeLlm::start().await;
    for _ in 0..2 {
        llm.calls_tool("end_call", r#"{"why":"done"}"#);
        llm.says_and_calls("Good bye.", "end_call", "{}");
    }
    let streamed = async || events(&post(&llm, &question(true)).await.unwrap().text().await.unwrap());
    let (wordless, spoken) = (streamed().await, streamed().await);
    let (first, name, arguments) = streamed_call(&wordless);
    assert_eq!((name.as_str(), arguments.as_str()), ("end_call", r#"{"why":"done"}"#));
    assert_eq!(streamed_text(&wordless), "");
    let finish = |events: &[Value]| {
        events.iter().rev().find_map(|e| e["choices"][0]["finish_reason"].as_str().map(str::to_owned))
    };
    assert_eq!(finish(&wordless).as_deref(), Some("tool_calls"));
    let (second, _, arguments) = streamed_call(&spoken);
    assert_eq!((streamed_text(&spoken).as_str(), arguments.as_str()), ("Good bye.", "{}"));
    assert_ne!(first, second);

    let wordless = ask(&llm).await["choices"][0].clone();
    assert_eq!((&wordless["message"]["content"], &wordless["finish_reason"]), (&Value::Null, &json!("tool_calls")));
    assert_eq!(
        wordless["message"]["tool_calls"][0]["function"],
        json!({ "name": "end_call", "arguments": "{\"why\":\"done\"}" })
    );
    assert_eq!(ask(&llm).await["choices"][0]["message"]["content"], "Good bye.");
}

#[tokio::test]
async fn takes_calls_and_their_results_and_nothing_half_of_it() {
    let llm = FakeLlm::start().await;
    let calls = json!([{ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } }]);
    let called = json!({ "role": "assistant", "content": null, "tool_calls": calls });
    let result = |id: &str| json!({ "role": "tool", "content": "Done.", "tool_call_id": id });
    let status = async |messages: Value| {
        post(&llm, &json!({ "model": "m", "messages": messages })).await.unwrap().status().as_u16()
    };
    assert_eq!(status(json!([called, result("c1")])).await, 200);
    assert_eq!(status(json!([called, result("c2")])).await, 400);
    assert_eq!(status(json!([result("c1")])).await, 400);
    assert_eq!(status(json!([{ "role": "assistant", "content": null }])).await, 400);
}

#[tokio::test]
async fn refuses_tools_when_told_and_keeps_its_answers() {
    let llm = FakeLlm::start().await;
    llm.refuses_tools();
    llm.says("First.");
    let mut with_tools = question(false);
    with_tools["tools"] = json!([{ "type": "function", "function": { "name": "f" } }]);
    let refused = post(&llm, &with_tools).await.unwrap();
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("tools"));
    assert_eq!(ask(&llm).await["choices"][0]["message"]["content"], "First.");
}

#[tokio::test]
async fn summaries_have_a_queue_of_their_own() {
    let llm = FakeLlm::start().await;
    llm.says("First.");
    llm.summarises("They met.", &["A call."]);
    llm.summary_fails(503);
    let held = llm.waits();
    let mut by_schema = question(false);
    by_schema["response_format"] = json!({ "type": "json_schema", "json_schema": { "name": "summary" } });
    let mut in_words = question(false);
    in_words["messages"][0]["content"] = json!("Answer. Its key \"summary\" is a paragraph.");
    let content = async |body: &Value| {
        let answer: Value = post(&llm, body).await.unwrap().json().await.unwrap();
        let text = answer["choices"][0]["message"]["content"].as_str().expect("content").to_owned();
        serde_json::from_str::<Value>(&text).expect("a summary is JSON")
    };
    assert_eq!(content(&by_schema).await, json!({ "summary": "They met.", "requests": ["A call."] }));
    assert_eq!(post(&llm, &in_words).await.unwrap().status(), 503);
    let standing = json!({ "summary": "This is the scripted summary.", "requests": ["The scripted request."] });
    assert_eq!(content(&in_words).await, standing);
    assert_eq!((llm.summary_requests().len(), llm.request_count(), llm.unused_answers()), (3, 0, 1));
    held.open();
    assert_eq!(ask(&llm).await["choices"][0]["message"]["content"], "First.");
    assert_eq!(llm.request_count(), 1);
}
