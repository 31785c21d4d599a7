use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fake_llm::{Between, FakeLlm};
use crate::support::scripted_server::Gate;

pub(super) fn question(stream: bool) -> Value {
    json!({
        "model": "gpt-3.5-turbo",
        "stream": stream,
        "stream_options": if stream { json!({ "include_usage": true }) } else { Value::Null },
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "What is new?" }],
    })
}

pub(super) async fn post(llm: &FakeLlm, body: &Value) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}/chat/completions", llm.base_url());
    reqwest::Client::new().post(url).bearer_auth("key").json(body).send().await
}

pub(super) async fn ask(llm: &FakeLlm) -> Value {
    let answer = post(llm, &question(false)).await.expect("an answer");
    answer.json().await.expect("an answer in JSON")
}

async fn content(llm: &FakeLlm) -> String {
    ask(llm).await["choices"][0]["message"]["content"].as_str().expect("content").to_owned()
}

/// The events of a stream, `[DONE]` checked and left out.
pub(super) fn events(body: &str) -> Vec<Value> {
    let mut data: Vec<_> = body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(data.pop(), Some("[DONE]"));
    data.into_iter().map(|data| serde_json::from_str(data).expect("every event is JSON")).collect()
}

pub(super) fn streamed_text(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn answers_in_order_then_with_the_standing_answer() {
    let llm = FakeLlm::start().await;
    assert_eq!(content(&llm).await, "This is the scripted answer.");
    llm.always_says("Always.");
    llm.says("First.");
    llm.decides("yes", "See you at <8>.");
    assert_eq!(llm.unused_answers(), 2);
    assert_eq!(content(&llm).await, "First.");
    let decision: Value = serde_json::from_str(&content(&llm).await).unwrap();
    assert_eq!(
        decision,
        json!({ "decision": "yes", "reply_text": "See you at <8>.", "confidence": 0.9, "reason": "scripted" })
    );
    assert_eq!(content(&llm).await, "Always.");
    llm.always_decides("no", "Sorry.");
    assert!(content(&llm).await.contains("\"no\""));
    llm.always_answers(|request| request["messages"][1]["content"].as_str().unwrap_or_default().to_owned());
    assert_eq!(content(&llm).await, "What is new?");

    assert_eq!(llm.request_count(), 6);
    assert_eq!(llm.requests()[0]["messages"][1]["content"], "What is new?");
    assert_eq!(llm.authorizations()[0].as_deref(), Some("Bearer key"));
    assert_eq!(ask(&llm).await["usage"], json!({ "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8 }));
}

#[tokio::test]
async fn streams_as_real_servers_do() {
    let llm = FakeLlm::start().await;
    llm.says("One two  three.");
    let response = post(&llm, &question(true)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let events = events(&response.text().await.unwrap());
    assert_eq!(events[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": null }));
    assert_eq!(streamed_text(&events), "One two  three.");
    let [.., finish, usage] = events.as_slice() else { panic!("too few events") };
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], 3);

    let mut without_usage = question(true);
    without_usage["stream_options"] = Value::Null;
    let body = post(&llm, &without_usage).await.unwrap().text().await.unwrap();
    assert!(!body.contains("usage"), "{body}");
}

#[tokio::test]
async fn pieces_come_one_by_one_through_a_gate_after_the_headers() {
    let llm = FakeLlm::start().await;
    let gate = Gate::closed();
    llm.streams(&["Hello. ", "How are ", "you?"], Between::Gate(gate.clone()));
    let mut response = post(&llm, &question(true)).await.unwrap();
    let mut read = String::new();
    while !read.contains("assistant") {
        read += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert!(tokio::time::timeout(Duration::from_millis(50), response.chunk()).await.is_err());
    gate.let_through(1);
    let piece = response.chunk().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&piece).unwrap().contains("Hello. "));
    assert!(tokio::time::timeout(Duration::from_millis(50), response.chunk()).await.is_err());
    gate.open();
    assert_eq!(streamed_text(&events(&format!("{read}{}", response.text().await.unwrap()))), "How are you?");

    llm.streams(&["a", "b"], Between::Pause(Duration::from_millis(30)));
    let start = Instant::now();
    assert_eq!(content(&llm).await, "ab");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn holds_and_delays_answers() {
    let llm = FakeLlm::start().await;
    llm.says("at once");
    llm.says("late").delay(Duration::from_millis(60));
    let of_third = llm.says("held").waits();
    assert_eq!(content(&llm).await, "at once");
    let start = Instant::now();
    assert_eq!(content(&llm).await, "late");
    assert!(start.elapsed() >= Duration::from_millis(60));

    let held = async { tokio::join!(content(&llm), async { (llm.wait_for_requests(3).await, of_third.open()) }).0 };
    assert_eq!(held.await, "held");

    llm.delay(Duration::from_millis(40));
    let gate = llm.waits();
    let start = Instant::now();
    let opening = async {
        llm.wait_for_in_flight(1).await;
        gate.open();
    };
    assert_eq!(tokio::join!(content(&llm), opening).0, "This is the scripted answer.");
    assert!(start.elapsed() >= Duration::from_millis(40));
    llm.wait_for_in_flight(0).await;
}

#[tokio::test]
async fn deviates_as_told() {
    let llm = FakeLlm::start().await;
    llm.fails(500);
    llm.fails_with_retry_after(429, 7);
    llm.answers_raw(400, &[("Content-Type", "text/plain")], "no");
    llm.cuts_off("{\"decision\": \"ye");
    llm.refuses();
    llm.refuses();
    assert_eq!(post(&llm, &question(false)).await.unwrap().status(), 500);
    let limited = post(&llm, &question(true)).await.unwrap();
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert!(limited.json::<Value>().await.unwrap()["error"]["message"].is_string());
    assert_eq!(post(&llm, &question(false)).await.unwrap().text().await.unwrap(), "no");
    assert_eq!(ask(&llm).await["choices"][0]["finish_reason"], "length");
    let refusal = ask(&llm).await;
    assert!(refusal["choices"][0]["message"]["content"].is_null());
    assert!(refusal["choices"][0]["message"]["refusal"].is_string());
    let streamed = post(&llm, &question(true)).await.unwrap().text().await.unwrap();
    assert!(events(&streamed).iter().any(|event| event["choices"][0]["delta"]["refusal"].is_string()));
    assert_eq!(streamed_text(&events(&streamed)), "");
}

#[tokio::test]
async fn breaks_off_and_falls_silent() {
    let llm = FakeLlm::start().await;
    for stream in [true, false] {
        llm.breaks_mid_stream("The answer is");
        let mut response = post(&llm, &question(stream)).await.unwrap();
        let mut read = String::new();
        let error = loop {
            match response.chunk().await {
                Ok(Some(bytes)) => read += std::str::from_utf8(&bytes).unwrap(),
                Ok(None) => panic!("the end came in good order"),
                Err(error) => break error,
            }
        };
        assert!(read.contains("The answer is"), "{error}: {read}");
    }
    llm.hangs();
    llm.hangs();
    let url = format!("{}/chat/completions", llm.base_url());
    let impatient = reqwest::Client::builder().timeout(Duration::from_millis(50)).build().unwrap();
    assert!(impatient.post(url).json(&question(false)).send().await.unwrap_err().is_timeout());
    llm.wait_for_in_flight(0).await;
    let question = question(false);
    let (answer, ()) = tokio::join!(post(&llm, &question), async {
        llm.wait_for_in_flight(1).await;
        llm.release();
    });
    assert!(answer.is_err());
    assert_eq!(llm.request_count(), 4);
}

#[tokio::test]
async fn refuses_what_no_model_server_would_take() {
    let llm = FakeLlm::start().await;
    for fault in
        [json!({}), json!({ "model": "m", "messages": [] }), json!({ "model": "m", "messages": [{ "role": "user" }] })]
    {
        assert_eq!(post(&llm, &fault).await.unwrap().status(), 400, "{fault}");
    }
    let client = reqwest::Client::new();
    let elsewhere = client.get(format!("{}/models", llm.base_url())).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404);
    assert!(elsewhere.json::<Value>().await.unwrap()["error"].is_object());
}

#[tokio::test]
async fn many_at_once_over_kept_connections() {
    let llm = FakeLlm::start().await;
    let client = reqwest::Client::new();
    let url = format!("{}/chat/completions", llm.base_url());
    let gate = llm.waits();
    let first = tokio::spawn(client.post(&url).json(&question(false)).send());
    llm.wait_for_requests(1).await;
    for round in 1..=10 {
        let asked = (0..20).map(|_| client.post(&url).json(&question(false)).send());
        for response in futures_util::future::join_all(asked).await {
            assert!(response.unwrap().text().await.unwrap().contains("scripted answer"));
        }
        assert_eq!(llm.request_count(), 1 + round * 20);
    }
    llm.wait_for_in_flight(1).await;
    gate.open();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn the_port_closes_with_the_fake() {
    let llm = FakeLlm::start().await;
    llm.hangs();
    let url = format!("{}/chat/completions", llm.base_url());
    let hanging = tokio::spawn(reqwest::Client::new().post(&url).json(&question(false)).send());
    llm.wait_for_requests(1).await;
    drop(llm);
    assert!(hanging.await.unwrap().is_err());
    assert!(reqwest::Client::new().post(&url).json(&question(false)).send().await.unwrap_err().is_connect());
}
