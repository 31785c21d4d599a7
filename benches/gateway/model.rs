//! A model that answers at once and always the same: Chat Completions, whole or streamed, in a thread of its own.

use crate::Failure;
use crate::connection::{Connection, Message};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// What it says on a call.
pub const ANSWER: &str = "The capital of France is Paris.";
/// What it replies to a text.
pub const REPLY: &str = "Yes, Friday at half past twelve suits me well.";

/// Starts it; it ends with the process.
pub fn start() -> Result<SocketAddr, Failure> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("model".to_owned()).spawn(move || runtime.block_on(serve(listener)))?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let connection = Connection::over(listener.accept().await?.0)?;
        // A gateway that closes its connection in the middle is none of our concern.
        tokio::spawn(async move { answer_all(connection).await.ok() });
    }
}

async fn answer_all(mut connection: Connection) -> io::Result<()> {
    let (decision, answer) = (content(&json!({ "decision": "yes", "reply_text": REPLY }).to_string()), content(ANSWER));
    while let Some(request) = connection.receive().await? {
        let said = if asks_for(&request, "\"response_format\"") { &decision } else { &answer };
        let answer = if asks_for(&request, "\"stream\":true") { &said.streamed } else { &said.whole };
        connection.send(answer).await?;
    }
    Ok(())
}

fn asks_for(request: &Message<'_>, field: &str) -> bool {
    request.body.windows(field.len()).any(|bytes| bytes == field.as_bytes())
}

/// An answer in both forms, as they go over the wire.
struct Said {
    whole: Vec<u8>,
    streamed: Vec<u8>,
}

fn content(text: &str) -> Said {
    let usage = json!({ "prompt_tokens": 120, "completion_tokens": 14, "total_tokens": 134 });
    let message = json!({ "role": "assistant", "content": text });
    let whole = reply("chat.completion", json!([choice("message", message, Some("stop"))]), usage.clone()).to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
    let whole = format!("{head}{}\r\n\r\n{whole}", whole.len());

    let chunk = |choices: Value, usage: Value| reply("chat.completion.chunk", choices, usage).to_string();
    let piece = |delta: Value, finish| chunk(json!([choice("delta", delta, finish)]), Value::Null);
    let mut events = vec![piece(json!({ "role": "assistant", "content": "" }), None)];
    events.extend(text.split_inclusive(' ').map(|word| piece(json!({ "content": word }), None)));
    events.extend([piece(json!({}), Some("stop")), chunk(json!([]), usage), "[DONE]".to_owned()]);
    let mut streamed =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for event in events {
        let event = format!("data: {event}\n\n");
        streamed += &format!("{:x}\r\n{event}\r\n", event.len());
    }
    streamed += "0\r\n\r\n";
    Said { whole: whole.into_bytes(), streamed: streamed.into_bytes() }
}

fn reply(object: &str, choices: Value, usage: Value) -> Value {
    json!({
        "id": "chatcmpl-bench", "object": object, "created": 1_767_225_600, "model": "scripted", "choices": choices,
        "usage": usage,
    })
}

fn choice(form: &str, said: Value, finish: Option<&str>) -> Value {
    json!({ "index": 0, form: said, "logprobs": null, "finish_reason": finish })
}
