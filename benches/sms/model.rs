//! A model that decides about texts, always the same after the same time, in a thread of its own.

use crate::common::connection::Connection;
use crate::common::{Failure, chat};
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// What it replies to a text.
pub const REPLY: &str = "Yes, Friday at half past twelve suits me well.";

/// Starts it; it ends with the process.
pub fn start(latency: Duration) -> Result<SocketAddr, Failure> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("model".to_owned()).spawn(move || runtime.block_on(serve(listener, latency)))?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener, latency: Duration) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let connection = Connection::over(listener.accept().await?.0)?;
        // A gateway that closes its connection in the middle is none of our concern.
        tokio::spawn(async move { answer_all(connection, latency).await.ok() });
    }
}

async fn answer_all(mut connection: Connection, latency: Duration) -> io::Result<()> {
    let decision = json!({ "decision": "yes", "confidence": 0.9, "reason": "Friday is free.", "reply_text": REPLY });
    let answer = chat::whole(&decision.to_string());
    while connection.receive().await?.is_some() {
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        connection.send(answer.as_bytes()).await?;
    }
    Ok(())
}
