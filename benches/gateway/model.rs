//! A model that answers at once and always the same: Chat Completions, whole or streamed, in a thread of its own.

use crate::common::connection::{Connection, Message};
use crate::common::{Failure, chat};
use serde_json::json;
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
        connection.send(answer.as_bytes()).await?;
    }
    Ok(())
}

fn asks_for(request: &Message<'_>, field: &str) -> bool {
    request.body.windows(field.len()).any(|bytes| bytes == field.as_bytes())
}

/// An answer in both forms, as they go over the wire.
struct Said {
    whole: String,
    streamed: String,
}

fn content(text: &str) -> Said {
    let tokens: String = text.split_inclusive(' ').map(chat::token).collect();
    Said { whole: chat::whole(text), streamed: chat::begin() + &tokens + &chat::end() }
}
