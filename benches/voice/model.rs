//! A model that speaks at a pace: Chat Completions, streamed token by token, in a thread of its own.

use crate::common::connection::Connection;
use crate::common::{Failure, chat};
use crate::script::{Answer, Script};
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};

/// Starts it; it ends with the process.
pub fn start(script: Arc<Script>) -> Result<SocketAddr, Failure> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("model".to_owned()).spawn(move || runtime.block_on(serve(listener, script)))?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener, script: Arc<Script>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (connection, script) = (Connection::over(listener.accept().await?.0)?, script.clone());
        // A gateway that closes its connection in the middle is none of our concern: it does so when a caller hangs up.
        tokio::spawn(async move { answer_all(connection, &script).await.ok() });
    }
}

async fn answer_all(mut connection: Connection, script: &Script) -> io::Result<()> {
    while let Some(request) = connection.receive().await? {
        let asked = String::from_utf8_lossy(request.body);
        if asked.contains("\"response_format\"") {
            let summary = json!({ "summary": "A caller asked about some matters.", "requests": [] });
            connection.send(chat::whole(&summary.to_string()).as_bytes()).await?;
            continue;
        }
        match script.asked_for(&asked) {
            Some(answer) => speak(&mut connection, &answer).await?,
            None => connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await?,
        }
    }
    Ok(())
}

async fn speak(connection: &mut Connection, answer: &Answer) -> io::Result<()> {
    let mut due = Instant::now() + answer.pace.first;
    connection.send(chat::begin().as_bytes()).await?;
    for (place, token) in answer.tokens.iter().enumerate() {
        let event = chat::token(token);
        sleep_until(due).await;
        answer.write(place);
        connection.send(event.as_bytes()).await?;
        due += answer.pace.every;
    }
    connection.send(chat::end().as_bytes()).await
}
