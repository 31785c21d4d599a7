//! Twilio's REST API as far as sending goes: takes every message, and counts them by their receiver.

use crate::common::Failure;
use crate::common::connection::{Connection, Message};
use serde_json::json;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// How many messages each number was sent.
#[derive(Default)]
pub struct Sent(Mutex<HashMap<String, u32>>);

impl Sent {
    /// How many messages this number was sent.
    pub fn to(&self, number: &str) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(number).copied().unwrap_or_default()
    }

    /// Counts one more; the number of all.
    fn add(&self, number: String) -> u32 {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sent.entry(number).or_default() += 1;
        sent.values().sum()
    }
}

/// Starts it in a thread of its own; it ends with the process.
pub fn start(sent: Arc<Sent>) -> Result<SocketAddr, Failure> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("rest".to_owned()).spawn(move || runtime.block_on(serve(listener, sent)))?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener, sent: Arc<Sent>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (connection, sent) = (Connection::over(listener.accept().await?.0)?, sent.clone());
        // A gateway that closes its connection in the middle is none of our concern.
        tokio::spawn(async move { answer_all(connection, &sent).await.ok() });
    }
}

async fn answer_all(mut connection: Connection, sent: &Sent) -> io::Result<()> {
    while let Some(request) = connection.receive().await? {
        let answer = answer(&request, sent);
        connection.send(answer.as_bytes()).await?;
    }
    Ok(())
}

fn answer(request: &Message<'_>, sent: &Sent) -> String {
    let (status, body) = if request.head.starts_with("POST ") {
        let to = form_urlencoded::parse(request.body).find(|(name, _)| name == "To");
        let place = sent.add(to.map(|(_, to)| to.into_owned()).unwrap_or_default());
        ("201 Created", json!({ "sid": format!("SM{place:032x}"), "status": "queued" }))
    } else {
        ("200 OK", json!({ "messages": [] }))
    };
    let body = body.to_string();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
