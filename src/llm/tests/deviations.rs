//! What compatible servers do differently.

use super::{fake::*, *};

async fn decide(fake: &Fake, model: &Llm) -> Decision {
    let decision = model.decide(&prompt(), LONG).await.unwrap();
    assert!(!fake.requests().is_empty());
    decision
}

fn decided() -> Step {
    ok(&reply(r#"{"decision":"yes","reply_text":"Fine."}"#, "stop"))
}

#[tokio::test]
async fn replies_with_missing_or_odd_fields_are_read() {
    for body in [
        r#"{"choices":[{"message":{"content":"Hi."}}]}"#,
        r#"{"choices":[{"message":{"content":"Hi.","tool_calls":[]},"finish_reason":null}],"usage":null,"model":null}"#,
        r#"{"choices":[{"message":{"content":"Hi."},"finish_reason":"eos_token"}],"service_tier":"turbo"}"#,
        r#"{"choices":[{"message":{"content":"Hi."},"finish_reason":7}],"usage":{"prompt_tokens":"x"},"error":null}"#,
        r#"{"choices":[{"message":{"content":[{"type":"text","text":"Hi"},{"type":"text","text":"."}]}}],"model":1}"#,
        r#"{"choices":[{"delta":null,"message":{"content":"Hi.","refusal":""}}],"usage":{"prompt_tokens":null}}"#,
    ] {
        let fake = Fake::answering([ok(body)]).await;
        let answer = ask(&fake).await.unwrap();
        let model = "configured".to_owned();
        assert_eq!(answer, Completion { text: "Hi.".into(), input_tokens: 0, output_tokens: 0, model }, "{body}");
    }
}

#[tokio::test]
async fn an_error_inside_a_successful_reply_is_an_error() {
    let busy = r#"{"error":{"code":429,"message":"busy"}}"#;
    let fake = Fake::answering([ok(busy), ok(r#"{"error":"text"}"#), ok(&reply("Hi.", "stop"))]).await;
    assert_eq!(ask(&fake).await.unwrap().text, "Hi.");
    let fake = Fake::answering([ok(r#"{"error":{"code":"401"}}"#)]).await;
    assert_eq!(ask(&fake).await, Err(LlmError::Rejected { status: 401 }));
}

#[tokio::test]
async fn refused_fields_are_put_differently_and_remembered() {
    let fake = Fake::answering([
        status(400, "", r#"{"error":{"message":"'max_tokens' is not supported, use 'max_completion_tokens'"}}"#),
        status(400, "", r#"{"error":{"message":"'temperature' does not support 0.7 with this model"}}"#),
        ok(&reply("Hi.", "stop")),
        ok(&reply("Hi.", "stop")),
    ])
    .await;
    let model = model(&fake);
    model.complete(&prompt(), LONG).await.unwrap();
    model.complete(&prompt(), LONG).await.unwrap();
    let last = fake.requests().pop().unwrap().body;
    assert_eq!(fake.requests().len(), 4);
    assert_eq!(last["max_completion_tokens"], 500);
    assert!(last.get("max_tokens").is_none() && last.get("temperature").is_none());
}

#[tokio::test]
async fn a_limit_that_is_refused_in_both_fields_is_rejected() {
    let body = "max_tokens is too large; so is max_completion_tokens";
    let fake = Fake::answering([status(400, "", body), status(400, "", body), ok("")]).await;
    assert_eq!(ask(&fake).await, Err(LlmError::Rejected { status: 400 }));
}

#[tokio::test]
async fn decisions_ask_for_a_schema() {
    let fake = Fake::answering([decided()]).await;
    let decision = decide(&fake, &model(&fake)).await;
    assert_eq!((decision.verdict, decision.reply_text.as_str()), (Verdict::Yes, "Fine."));
    assert_eq!((decision.input_tokens, decision.output_tokens, decision.model.as_str()), (7, 3, "answering"));
    let sent = &fake.requests()[0].body;
    let required = &sent["response_format"]["json_schema"]["schema"]["required"];
    assert_eq!(required, &json!(["confidence", "decision", "reason", "reply_text"]));
    let system = sent["messages"][0]["content"].as_str().unwrap();
    assert!(system.starts_with("Be kind.\n\nAnswer with one JSON object"), "{system}");
}

#[tokio::test]
async fn summaries_ask_for_a_schema_and_what_the_server_does_not_take_is_learned_from_decisions_too() {
    let refusal = status(400, "", r#"{"error":{"message":"response_format 'json_schema' is unavailable"}}"#);
    let summary = reply(r#"{"summary":"They met.","requests":[]}"#, "stop");
    let fake = Fake::answering([ok(&summary), refusal, decided(), ok(&summary)]).await;
    let model = model(&fake);
    model.summarise(&prompt(), LONG).await.unwrap();
    decide(&fake, &model).await;
    model.summarise(&prompt(), LONG).await.unwrap();
    let [first, .., last] = &fake.requests()[..] else { panic!("too few requests") };
    let schema = &first.body["response_format"]["json_schema"];
    assert_eq!((&schema["name"], &schema["strict"]), (&json!("summary"), &json!(true)));
    assert_eq!(schema["schema"]["required"], json!(["requests", "summary"]));
    assert_eq!(last.body["response_format"], json!({"type": "json_object"}));
    let system = last.body["messages"][0]["content"].as_str().unwrap();
    assert!(system.starts_with("Be kind.\n\nAnswer with one JSON object"), "{system}");
    assert!(system.contains(r#"Its key "summary""#), "{system}");
}

#[tokio::test]
async fn decisions_fall_back_to_what_the_server_takes_and_remember_it() {
    for refusals in [
        [
            status(400, "", r#"{"error":{"message":"response_format 'json_schema' is unavailable"}}"#),
            status(422, "", r#"{"detail":[{"loc":["body","response_format"],"msg":"extra"}]}"#),
        ],
        [status(501, "", ""), status(404, "", "unknown field response_format")],
    ] {
        let fake = Fake::answering(refusals.into_iter().chain([decided(), decided()])).await;
        let model = model(&fake);
        decide(&fake, &model).await;
        decide(&fake, &model).await;
        let formats: Vec<_> = fake.requests().iter().map(|r| r.body["response_format"]["type"].clone()).collect();
        assert_eq!(formats, [json!("json_schema"), json!("json_object"), Value::Null, Value::Null]);
    }
}

#[tokio::test]
async fn a_decision_tells_how_sure_it_is_and_why_if_the_server_lets_it() {
    let whole = r#"{"confidence":0.75,"decision":"no","reason":"He is\naway.","reply_text":"Sorry."}"#;
    let bare = r#"Well: {"decision":"no","reply_text":"Sorry."}"#;
    let fake =
        Fake::answering([ok(&reply(whole, "stop")), status(400, "", "response_format"), ok(&reply(bare, "stop"))])
            .await;
    let model = model(&fake);
    let decision = decide(&fake, &model).await;
    assert_eq!((decision.confidence, decision.reason.as_deref()), (Some(0.75), Some("He is away.")));
    let decision = decide(&fake, &model).await;
    assert_eq!((decision.verdict, decision.confidence, decision.reason), (Verdict::No, None, None));
    let told = fake.requests()[2].body["messages"][0]["content"].to_string();
    assert!(told.contains("confidence") && told.contains("reason"), "{told}");
}

#[tokio::test]
async fn a_wrong_key_ends_a_decision_too() {
    let fake = Fake::answering([status(400, "", r#"{"error":{"code":400,"message":"bad key"}}"#), decided()]).await;
    let rejected = model(&fake).decide(&prompt(), LONG).await;
    assert_eq!(rejected, Err(LlmError::Rejected { status: 400 }));
}

#[tokio::test]
async fn a_call_of_a_tool_nobody_offered_is_no_answer() {
    let tool = json!({"choices": [{"finish_reason": "tool_calls", "message": {"content": null, "tool_calls":
        [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}}]});
    let fake = Fake::answering([ok(&tool.to_string()), ok(&reply("Hi.", "stop"))]).await;
    assert_eq!(ask(&fake).await.unwrap().text, "Hi.");
}
