//! A small HTTP/1.1 server whose answers are scripts: bytes to write, times to wait, gates to stand before, a cut.
//!
//! Written by hand because the fakes must do what well-behaved servers never do: fall silent in the middle of an
//! answer, or cut the connection after having done the work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

/// One request as it came in.
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The target without its query, still percent-encoded.
    pub path: String,
    /// What followed the `?`, still percent-encoded; empty without one.
    pub query: String,
    /// The body's bytes.
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Request {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// One step of an answer.
pub enum Step {
    /// Write these bytes, head and chunk framing included.
    Write(Vec<u8>),
    /// Do nothing for a while.
    Pause(Duration),
    /// Wait until the test opens the gate.
    Hold(Gate),
    /// Close the connection and forget the rest.
    Cut,
}

/// Holds an answer back until the test lets it go. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Opens the gate for good: whoever waits and whoever comes later passes.
    pub fn open(&self) {
        self.0.close();
    }

    /// Lets `count` of those who wait, or of those who come next, pass; the gate stays closed for the others.
    pub fn let_through(&self, count: usize) {
        self.0.add_permits(count);
    }

    async fn pass(&self) {
        // An error says that the semaphore is closed, which is the open gate.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// The server; dropping it closes its port and every connection.
pub struct Server {
    address: SocketAddr,
    in_flight: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Server {
    /// Starts on a free loopback port. `script` is called once for each request, in the order of their arrival.
    pub async fn start<F>(script: F) -> Self
    where
        F: Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let in_flight = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(listener, Arc::new(script), in_flight.clone())).abort_handle();
        Self { address, in_flight, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have come in completely and are neither answered to their end nor given up by the client.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept<F>(listener: TcpListener, script: Arc<F>, in_flight: Arc<AtomicUsize>)
where
    F: Fn(&Request) -> Vec<Step> + Send + Sync + 'static,
{
    // Dropped with this task, which ends the connections.
    let mut connections = JoinSet::new();
    loop {
        if let Ok((socket, _)) = listener.accept().await {
            connections.spawn(serve(socket, script.clone(), in_flight.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve<F>(mut socket: TcpStream, script: Arc<F>, in_flight: Arc<AtomicUsize>)
where
    F: Fn(&Request) -> Vec<Step>,
{
    // Small writes must not wait for each other's acknowledgement.
    let _ = socket.set_nodelay(true);
    let mut received = Vec::new();
    while let Some(request) = read_request(&mut socket, &mut received).await {
        let _counted = InFlight::one_more(&in_flight);
        let steps = script(&request);
        let (mut from_client, mut to_client) = socket.split();
        let stays_open = tokio::select! {
            stays_open = play(steps, &mut to_client) => stays_open,
            () = client_left(&mut from_client, &mut received) => false,
        };
        if !stays_open {
            return;
        }
    }
}

/// Plays the script; false when the connection is over.
async fn play(steps: Vec<Step>, to_client: &mut (impl AsyncWriteExt + Unpin)) -> bool {
    for step in steps {
        match step {
            Step::Write(bytes) if to_client.write_all(&bytes).await.is_err() => return false,
            Step::Write(_) => {}
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Hold(gate) => gate.pass().await,
            Step::Cut => return false,
        }
    }
    true
}

/// Returns when the client closed its side; what it sends before that is kept as the next request's beginning.
async fn client_left(from_client: &mut (impl AsyncReadExt + Unpin), received: &mut Vec<u8>) {
    while matches!(from_client.read_buf(received).await, Ok(count) if count > 0) {}
}

/// The next request, or none when the client closed the connection or sent what this server does not read
/// (a chunked request body among it: the clients under test always know their length).
async fn read_request(socket: &mut TcpStream, received: &mut Vec<u8>) -> Option<Request> {
    const BLANK_LINE: &[u8] = b"\r\n\r\n";
    let head_end = loop {
        match received.windows(BLANK_LINE.len()).position(|window| window == BLANK_LINE) {
            Some(end) => break end,
            None if socket.read_buf(received).await.ok()? == 0 => return None,
            None => {}
        }
    };
    let head = String::from_utf8(received.drain(..head_end + BLANK_LINE.len()).collect()).ok()?;
    let mut lines = head.trim_end().split("\r\n");
    let mut request_line = lines.next()?.split(' ');
    let (method, target) = (request_line.next()?.to_owned(), request_line.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines
        .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
        .collect::<Option<Vec<_>>>()?;
    let mut request = Request { method, path: path.to_owned(), query: query.to_owned(), headers, body: Vec::new() };
    if request.header("transfer-encoding").is_some() {
        return None;
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>).ok()?;
    while received.len() < length {
        if socket.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
    request.body = received.drain(..length).collect();
    Some(request)
}

/// Counts one request for as long as it lives.
struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    fn one_more(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A whole response in bytes; `Content-Length` is added unless the headers hold one.
pub fn response(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        headers.push(("Content-Length", &length));
    }
    let mut bytes = head(status, &headers);
    bytes.extend_from_slice(body);
    bytes
}

/// A whole JSON response in bytes.
pub fn json_response(status: u16, headers: &[(&str, &str)], body: &serde_json::Value) -> Vec<u8> {
    let headers = [&[("Content-Type", "application/json")], headers].concat();
    response(status, &headers, body.to_string())
}

/// A response's status line and headers alone, blank line included.
pub fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("-");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} {reason}\r\n{headers}\r\n").into_bytes()
}

/// One chunk of a body sent with `Transfer-Encoding: chunked`; the empty text ends the body.
pub fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}
