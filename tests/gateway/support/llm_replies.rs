//! What a scripted model answer looks like on the wire: OpenAI's chat completion, whole or as server-sent events.

use std::time::Duration;

use serde_json::{Value, json};

use super::scripted_server::{Gate, Step, chunk, head, json_response, response};

/// What stands before each piece of a streamed answer, the first one included: the headers go out at once.
#[derive(Clone)]
pub enum Between {
    /// The pieces follow each other at once.
    Nothing,
    /// A fixed time passes.
    Pause(Duration),
    /// The test lets each piece through, or opens the gate for all.
    Gate(Gate),
}

impl Between {
    fn step(&self) -> Option<Step> {
        match self {
            Between::Nothing => None,
            Between::Pause(time) => Some(Step::Pause(*time)),
            Between::Gate(gate) => Some(Step::Hold(gate.clone())),
        }
    }
}

/// One answer of the model server.
pub enum Reply {
    /// The model speaks; `finish_reason` is `stop`, `length`, or what a deviating server invents.
    Text { pieces: Vec<String>, between: Between, finish_reason: &'static str },
    /// The model declines: no content, its words in the `refusal` field.
    Refusal(String),
    /// The model calls a tool, maybe after some words; streamed, the arguments come in two pieces.
    Call { text: String, id: String, name: String, arguments: String },
    /// The connection is cut after this much of the answer.
    Broken(String),
    /// Any bytes at all.
    Raw { status: u16, headers: Vec<(String, String)>, body: String },
    /// Silence until the gate opens, then a cut.
    Silence(Gate),
}

impl Reply {
    /// A complete answer, in pieces of one word each when it is streamed.
    pub fn says(text: &str) -> Self {
        let pieces = text.split_inclusive(' ').map(str::to_owned).collect();
        Reply::Text { pieces, between: Between::Nothing, finish_reason: "stop" }
    }

    /// An error as OpenAI words it.
    pub fn error(status: u16, retry_after: Option<u64>) -> Self {
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        headers.extend(retry_after.map(|seconds| ("Retry-After".to_owned(), seconds.to_string())));
        let body = error_body("the scripted model server fails", "server_error").to_string();
        Reply::Raw { status, headers, body }
    }

    /// The steps that answer `request`.
    pub fn steps(self, request: &Value) -> Vec<Step> {
        let streamed = request["stream"] == true;
        match self {
            Reply::Text { pieces, between, finish_reason } if streamed => {
                let deltas = pieces.iter().map(|piece| json!({ "content": piece })).collect();
                stream(request, deltas, &between, finish_reason, &pieces.concat())
            }
            Reply::Text { pieces, between, finish_reason } => {
                let text = pieces.concat();
                let body = completion(request, json!({ "content": text, "refusal": null }), finish_reason, &text);
                let waits = pieces.iter().filter_map(|_| between.step());
                waits.chain([Step::Write(json_response(200, &[], &body))]).collect()
            }
            Reply::Refusal(words) if streamed => {
                stream(request, vec![json!({ "refusal": words })], &Between::Nothing, "stop", &words)
            }
            Reply::Refusal(words) => {
                let body = completion(request, json!({ "content": null, "refusal": words }), "stop", &words);
                vec![Step::Write(json_response(200, &[], &body))]
            }
            Reply::Call { text, id, name, arguments } if streamed => {
                let call = |id: Value, name: Value, arguments: &str| {
                    let function = json!({ "name": name, "arguments": arguments });
                    json!({ "tool_calls": [{ "index": 0, "id": id, "type": "function", "function": function }] })
                };
                let (first, second) = arguments.split_at(arguments.len() / 2);
                let words = text.split_inclusive(' ').map(|word| json!({ "content": word }));
                let begun = call(json!(id), json!(name), "");
                let more = [first, second].map(|piece| call(Value::Null, Value::Null, piece));
                let deltas = words.chain([begun]).chain(more).collect();
                stream(request, deltas, &Between::Nothing, "tool_calls", &text)
            }
            Reply::Call { text, id, name, arguments } => {
                let function = json!({ "name": name, "arguments": arguments });
                let content = if text.is_empty() { Value::Null } else { json!(text) };
                let calls = json!([{ "id": id, "type": "function", "function": function }]);
                let message = json!({ "content": content, "tool_calls": calls });
                vec![Step::Write(json_response(200, &[], &completion(request, message, "tool_calls", &text)))]
            }
            Reply::Broken(text) if streamed => {
                let deltas = vec![json!({ "content": text })];
                let mut steps = stream(request, deltas, &Between::Nothing, "stop", &text);
                steps.truncate(3); // the head, the opening delta, the text
                steps.push(Step::Cut);
                steps
            }
            Reply::Broken(text) => {
                let body = completion(request, json!({ "content": text, "refusal": null }), "stop", &text);
                let mut bytes = json_response(200, &[], &body);
                bytes.truncate(bytes.len() - 40);
                vec![Step::Write(bytes), Step::Cut]
            }
            Reply::Raw { status, headers, body } => {
                let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                vec![Step::Write(response(status, &headers, body))]
            }
            Reply::Silence(gate) => vec![Step::Hold(gate), Step::Cut],
        }
    }
}

/// OpenAI's error object.
pub fn error_body(message: &str, kind: &str) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
}

fn completion(request: &Value, mut message: Value, finish_reason: &str, text: &str) -> Value {
    message["role"] = json!("assistant");
    json!({
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_768_471_800,
        "model": request["model"],
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason }],
        "usage": usage(request, text),
    })
}

/// The event stream: an opening delta with `content: null`, as several servers send it, the deltas, the
/// finish reason, the usage (only when asked for; in a chunk of its own without choices), and `[DONE]`.
fn stream(request: &Value, deltas: Vec<Value>, between: &Between, finish_reason: &str, text: &str) -> Vec<Step> {
    let with_usage = request["stream_options"]["include_usage"] == true;
    let event = |choices: Value, usage: Value| {
        let mut data = json!({
            "id": "chatcmpl-scripted",
            "object": "chat.completion.chunk",
            "created": 1_768_471_800,
            "model": request["model"],
            "choices": choices,
        });
        if with_usage {
            data["usage"] = usage;
        }
        Step::Write(chunk(&format!("data: {data}\n\n")))
    };
    let choice = |delta: Value, finish_reason: Value| {
        event(json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason }]), Value::Null)
    };
    let headers = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")];
    let mut steps =
        vec![Step::Write(head(200, &headers)), choice(json!({ "role": "assistant", "content": null }), Value::Null)];
    for delta in deltas {
        steps.extend(between.step());
        steps.push(choice(delta, Value::Null));
    }
    steps.push(choice(json!({}), json!(finish_reason)));
    if with_usage {
        steps.push(event(json!([]), usage(request, text)));
    }
    steps.push(Step::Write(chunk("data: [DONE]\n\n")));
    steps.push(Step::Write(chunk("")));
    steps
}

/// One token for each word, so that tests can say what they expect.
fn usage(request: &Value, text: &str) -> Value {
    let words = |text: &str| text.split_whitespace().count();
    let messages = request["messages"].as_array();
    let prompt: usize =
        messages.into_iter().flatten().filter_map(|message| message["content"].as_str()).map(words).sum();
    let completion = words(text);
    json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
}
