//! A model server that does what its script says, one step per request.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What one request gets.
pub enum Step {
    /// These bytes; the connection stays open for the next request.
    Bytes(String),
    /// These bytes and then the end of the connection.
    Close(String),
    /// No byte, until the client goes.
    Hang,
    /// A streamed answer.
    Events(Vec<Event>),
}

/// A part of a streamed answer.
pub enum Event {
    /// `data: …`
    Data(String),
    /// As it is.
    Raw(&'static str),
    Pause(Duration),
    /// The connection breaks.
    Break,
    /// Nothing more, until the client goes.
    Stay,
}

/// A request as it came.
#[derive(Clone)]
pub struct Request {
    pub head: String,
    /// Null when it is not JSON.
    pub body: Value,
    pub bytes: Vec<u8>,
}

pub struct Fake {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    /// Told whenever a client closes its connection.
    pub gone: Arc<Notify>,
}

/// An answer with a status, further header lines (each ended by `\r\n`) and a body.
pub fn status(status: u16, headers: &str, body: &str) -> Step {
    Step::Bytes(format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}

pub fn ok(body: &str) -> Step {
    status(200, "content-type: application/json\r\n", body)
}

/// A streamed answer that ends as it should.
pub fn events(data: impl IntoIterator<Item = String>) -> Step {
    Step::Events(data.into_iter().chain(["[DONE]".to_owned()]).map(Event::Data).collect())
}

impl Fake {
    /// Starts a server; a request after the last step finds the connection closed.
    pub async fn answering(script: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script: Arc<Mutex<VecDeque<Step>>> = Arc::new(Mutex::new(script.into_iter().collect()));
        let (seen, gone) = (Arc::default(), Arc::new(Notify::new()));
        let fake = Self { port, seen: Arc::clone(&seen), gone: gone.clone() };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (script, seen, gone) = (script.clone(), seen.clone(), gone.clone());
                tokio::spawn(async move {
                    serve(socket, &script, &seen).await;
                    gone.notify_one();
                });
            }
        });
        fake
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut socket: TcpStream, script: &Mutex<VecDeque<Step>>, seen: &Mutex<Vec<Request>>) {
    while let Some(request) = read(&mut socket).await {
        seen.lock().unwrap().push(request);
        let step = script.lock().unwrap().pop_front();
        let open = match step {
            None => false,
            Some(Step::Bytes(bytes)) => socket.write_all(bytes.as_bytes()).await.is_ok(),
            Some(Step::Close(bytes)) => {
                let _ = socket.write_all(bytes.as_bytes()).await;
                false
            }
            Some(Step::Hang) => wait_for_end(&mut socket).await,
            Some(Step::Events(events)) => stream(&mut socket, events).await,
        };
        if !open {
            return;
        }
    }
}

async fn wait_for_end(socket: &mut TcpStream) -> bool {
    while socket.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
    false
}

async fn stream(socket: &mut TcpStream, events: Vec<Event>) -> bool {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let _ = socket.write_all(head.as_bytes()).await;
    for event in events {
        let text = match event {
            Event::Data(data) => format!("data: {data}\n\n"),
            Event::Raw(text) => text.to_owned(),
            Event::Pause(pause) => {
                tokio::time::sleep(pause).await;
                continue;
            }
            Event::Break => return false,
            Event::Stay => return wait_for_end(socket).await,
        };
        let _ = socket.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await;
    }
    socket.write_all(b"0\r\n\r\n").await.is_ok()
}

async fn read(socket: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end + 2]).into_owned();
            let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let body = bytes.get(end + 4..end + 4 + length.unwrap_or(0usize));
            if let Some(body) = body {
                let (body, bytes) = (serde_json::from_slice(body).unwrap_or_default(), body.to_vec());
                return Some(Request { head, body, bytes });
            }
        }
        let mut buffer = [0; 4096];
        match socket.read(&mut buffer).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}
