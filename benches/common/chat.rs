//! Chat Completions as a model server writes them, whole or streamed, as they go over the wire.

use serde_json::json;

const USAGE: &str = r#"{"prompt_tokens":120,"completion_tokens":14,"total_tokens":134}"#;

/// An answer in one piece.
pub fn whole(text: &str) -> String {
    let message = json!({ "role": "assistant", "content": text }).to_string();
    let body = reply("chat.completion", &choice("message", &message, r#""stop""#), USAGE);
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What comes before the first token of a streamed answer.
pub fn begin() -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    head.to_owned() + &chunk(r#"{"role":"assistant","content":""}"#, "null")
}

/// A token.
pub fn token(text: &str) -> String {
    chunk(&format!(r#"{{"content":{}}}"#, json!(text)), "null")
}

/// What comes after the last token.
pub fn end() -> String {
    let usage = reply("chat.completion.chunk", "", USAGE);
    chunk("{}", r#""stop""#) + &event(&usage) + &event("[DONE]") + "0\r\n\r\n"
}

fn chunk(delta: &str, finish: &str) -> String {
    event(&reply("chat.completion.chunk", &choice("delta", delta, finish), "null"))
}

/// A server-sent event in an HTTP chunk of its own.
fn event(data: &str) -> String {
    format!("{:x}\r\ndata: {data}\n\n\r\n", "data: \n\n".len() + data.len())
}

fn reply(object: &str, choices: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"chatcmpl-bench","object":"{object}","created":1767225600,"model":"scripted","choices":[{choices}],"usage":{usage}}}"#
    )
}

fn choice(form: &str, said: &str, finish: &str) -> String {
    format!(r#"{{"index":0,"{form}":{said},"logprobs":null,"finish_reason":{finish}}}"#)
}
