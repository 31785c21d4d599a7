//! Tools that the model calls in a streamed answer.

use super::{fake::*, *};

fn tooled() -> Prompt {
    let tool = Tool {
        name: "end_call",
        description: "Hangs up.".into(),
        parameters: json!({"type": "object", "properties": {"why": {"type": "string"}}}),
    };
    let other = Tool { name: "switch_language", description: String::new(), parameters: json!({"type": "object"}) };
    Prompt { tools: vec![tool, other], ..prompt() }
}

/// All that came, the end's counts and model left out.
async fn hear(model: &Llm, prompt: Prompt) -> Vec<Result<Piece, LlmError>> {
    let pieces = model.stream(prompt).map(|item| match item {
        Ok(Piece::End(end)) => Ok(ended(end.finish)),
        other => other,
    });
    pieces.collect().await
}

async fn heard(script: impl IntoIterator<Item = Step>) -> (Vec<Result<Piece, LlmError>>, usize) {
    let fake = Fake::answering(script).await;
    (hear(&model(&fake), tooled()).await, fake.requests().len())
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

fn call(id: &str, name: &str, arguments: &str) -> Piece {
    Piece::Tool(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() })
}

fn ended(finish: Finish) -> Piece {
    Piece::End(End { input_tokens: 0, output_tokens: 0, model: String::new(), finish })
}

fn calls(parts: Value) -> String {
    chunk(json!({ "tool_calls": parts }), Value::Null)
}

fn begins(id: &str, name: &str) -> String {
    let function = json!({"name": name, "arguments": ""});
    calls(json!([{"index": 0, "id": id, "type": "function", "function": function}]))
}

fn goes_on(arguments: &str) -> String {
    calls(json!([{"index": 0, "function": {"arguments": arguments}}]))
}

#[tokio::test]
async fn tools_are_offered_in_streamed_answers_only() {
    let fake = Fake::answering([events([says("Hi."), ends("stop")]), ok(&reply("Hi.", "stop"))]).await;
    let model = model(&fake);
    hear(&model, tooled()).await;
    model.complete(&tooled(), LONG).await.unwrap();
    let sent = fake.requests();
    assert_eq!(
        sent[0].body["tools"][0],
        json!({"type": "function", "function": {"name": "end_call", "description": "Hangs up.",
            "parameters": {"type": "object", "properties": {"why": {"type": "string"}}}}})
    );
    assert!(sent[1].body.get("tools").is_none());
}

#[tokio::test]
async fn a_call_in_pieces_comes_whole_after_the_text_and_before_the_end() {
    let script = [says("Good"), says("bye."), begins("c1", "end_call"), goes_on("{\"why\""), goes_on(":\"done\"}")];
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}).to_string();
    let (pieces, asked) = heard([events(script.into_iter().chain([ends("tool_calls"), usage]))]).await;
    let call = call("c1", "end_call", r#"{"why":"done"}"#);
    assert_eq!(pieces, [text("Good"), text("bye."), call, ended(Finish::Whole)].map(Ok));
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn an_answer_of_calls_alone_is_an_answer() {
    let two = json!([
        {"id": "c1", "type": "function", "function": {"name": "end_call", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "switch_language", "arguments": {"to": "es"}}}
    ]);
    let both = [call("c1", "end_call", "{}"), call("c2", "switch_language", r#"{"to":"es"}"#), ended(Finish::Whole)];
    let unstreamed = json!({"choices": [{"finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": null, "tool_calls": two}}]});
    for script in [
        vec![calls(two.clone()), ends("tool_calls")],
        vec![says(" \n"), chunk(json!({"content": null, "tool_calls": two}), json!("stop"))],
        vec![unstreamed.to_string()],
        vec![calls(two.clone())],
    ] {
        let (pieces, asked) = heard([events(script)]).await;
        assert_eq!((pieces, asked), (both.clone().map(Ok).to_vec(), 1));
    }
}

#[tokio::test]
async fn a_call_without_an_id_is_given_one() {
    let script = events([calls(json!([{"function": {"name": "end_call"}}])), ends("stop")]);
    let (pieces, _) = heard([script]).await;
    let Some(Ok(Piece::Tool(call))) = pieces.first() else { panic!("{pieces:?}") };
    assert!(call.id.starts_with("call_") && call.id.len() > 9, "{}", call.id);
    assert_eq!((call.name.as_str(), call.arguments.as_str()), ("end_call", "{}"));
}

#[tokio::test]
async fn usage_that_never_comes_is_not_waited_for_after_a_call() {
    let script = [begins("c1", "end_call"), ends("tool_calls")].map(Event::Data).into_iter().chain([Event::Stay]);
    let heard = tokio::time::timeout(Duration::from_secs(10), heard([Step::Events(script.collect())]));
    let (pieces, _) = heard.await.expect("the answer is over");
    assert_eq!(pieces, [call("c1", "end_call", "{}"), ended(Finish::Whole)].map(Ok));
}

#[tokio::test]
async fn pieces_of_a_call_keep_the_stream_alive() {
    let pause = || Event::Pause(Duration::from_millis(200));
    let data = |text: String| Event::Data(text);
    let script = vec![
        data(says("Bye.")),
        pause(),
        data(begins("c1", "end_call")),
        pause(),
        data(goes_on("{")),
        pause(),
        data(goes_on("}")),
        data(ends("tool_calls")),
    ];
    let (pieces, _) = heard([Step::Events(script)]).await;
    assert_eq!(pieces, [text("Bye."), call("c1", "end_call", "{}"), ended(Finish::Whole)].map(Ok));
}

#[tokio::test]
async fn a_call_that_breaks_off_is_never_passed_on() {
    let half = || [Event::Data(begins("c1", "end_call")), Event::Data(goes_on("{\"why\""))];
    let broken = LlmError::Unavailable { retry_after: None };
    for (last, error) in [(Event::Break, broken), (Event::Stay, LlmError::Timeout)] {
        let script = [Event::Data(says("Bye."))].into_iter().chain(half()).chain([last]).collect();
        assert_eq!(heard([Step::Events(script)]).await.0, [Ok(text("Bye.")), Err(error)]);
    }
    // Nothing was passed on yet: it is asked for again.
    let script = half().into_iter().chain([Event::Break]).collect();
    let (pieces, asked) = heard([Step::Events(script), events([says("Hi."), ends("stop")])]).await;
    assert_eq!((pieces, asked), ([text("Hi."), ended(Finish::Whole)].map(Ok).to_vec(), 2));
    let cut = || events([begins("c1", "end_call"), goes_on("{\"why\""), ends("length")]);
    let (pieces, asked) = heard([cut(), events([says("Hi."), ends("stop")])]).await;
    assert_eq!((pieces, asked), ([text("Hi."), ended(Finish::Whole)].map(Ok).to_vec(), 2));
    let (pieces, _) = heard([cut(), cut()]).await;
    assert!(matches!(pieces[..], [Err(LlmError::Unusable(_))]), "{pieces:?}");
}

#[tokio::test]
async fn a_call_whose_end_nobody_tells_looks_cut_when_it_is() {
    let script = events([says("Bye."), begins("c1", "end_call"), goes_on("{\"why\"")]);
    let (pieces, _) = heard([script]).await;
    assert_eq!(pieces, [text("Bye."), call("c1", "end_call", "{\"why\""), ended(Finish::Cut)].map(Ok));
}

#[tokio::test]
async fn a_server_that_refuses_tools_is_asked_without_them_from_then_on() {
    let good = || events([says("Hi."), ends("stop")]);
    for (code, body) in [
        (400, r#"{"error":{"message":"gemma:2b does not support tools"}}"#),
        (422, r#"{"detail":[{"loc":["body","tools"],"msg":"Extra inputs are not permitted"}]}"#),
        (500, r#"{"error":{"code":500,"message":"tools param requires --jinja flag"}}"#),
    ] {
        let fake = Fake::answering([status(code, "", body), good(), good()]).await;
        let model = model(&fake);
        for _ in 0..2 {
            assert_eq!(hear(&model, tooled()).await, [text("Hi."), ended(Finish::Whole)].map(Ok));
        }
        let offered: Vec<_> = fake.requests().iter().map(|request| request.body.get("tools").is_some()).collect();
        assert_eq!(offered, [true, false, false], "{body}");
    }
}

#[tokio::test]
async fn calls_and_results_are_told_in_the_next_request() {
    let fake = Fake::answering([events([says("Bye."), ends("stop")])]).await;
    let called = ToolCall { id: "c1".into(), name: "end_call".into(), arguments: "{}".into() };
    let mut prompt = tooled();
    prompt.messages.extend([Message::calls("", vec![called]), Message::result("c1", "Ended.")]);
    hear(&model(&fake), prompt).await;
    let function = json!({"name": "end_call", "arguments": "{}"});
    assert_eq!(
        fake.requests()[0].body["messages"].as_array().unwrap()[4..],
        [
            json!({"role": "assistant", "content": null,
                "tool_calls": [{"id": "c1", "type": "function", "function": function}]}),
            json!({"role": "tool", "content": "Ended.", "tool_call_id": "c1"}),
        ]
    );
}

#[tokio::test]
async fn a_call_of_a_tool_nobody_offered_is_none() {
    let unknown = || events([begins("c1", "rm"), goes_on("{}"), ends("tool_calls")]);
    let (pieces, asked) = heard([unknown(), events([says("Hi."), ends("stop")])]).await;
    assert_eq!((pieces, asked), ([text("Hi."), ended(Finish::Whole)].map(Ok).to_vec(), 2));
    let (pieces, _) = heard([events([says("Bye."), begins("c1", "rm"), ends("tool_calls")])]).await;
    assert_eq!(pieces, [text("Bye."), ended(Finish::Whole)].map(Ok));
    let fake = Fake::answering([unknown(), unknown()]).await;
    assert_eq!(hear(&model(&fake), prompt()).await, [Err(LlmError::Unusable("it is empty"))]);
}
