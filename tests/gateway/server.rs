//! The accept loop, spoken to byte by byte.

use crate::support::app::{ACCOUNT, CALLER, Database, OURS, TOKEN, TestApp};
use crate::support::signing::{encode_form, sign};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The time for a head, for a silent connection and between two requests, in seconds, and what a busy machine adds.
const HEAD: std::ops::RangeInclusive<f64> = 19.0..=27.0;
/// The time for a body.
const BODY: std::ops::RangeInclusive<f64> = 9.5..=16.0;
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection to the gateway.
struct Wire(TcpStream);

impl Wire {
    async fn open(app: &TestApp) -> Self {
        Self(TcpStream::connect(app.base.trim_start_matches("http://")).await.unwrap())
    }

    async fn opened_with(app: &TestApp, bytes: impl AsRef<[u8]>) -> Self {
        let mut wire = Self::open(app).await;
        wire.write(bytes).await;
        wire
    }

    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// One answer: its status and its whole text.
    async fn answer(&mut self) -> (u16, String) {
        let head = self.until("\r\n\r\n").await;
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head + &String::from_utf8(body).unwrap())
    }

    /// Reads byte by byte up to and with `end`.
    async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            match self.0.read_u8().await {
                Ok(byte) => read.push(byte),
                Err(error) => panic!("the gateway hung up ({error}) after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).unwrap()
    }

    /// All that comes until the gateway closes the connection, by an orderly end or a reset.
    async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        self.0.read_to_end(&mut read).await.ok();
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// The head of a signed text's webhook, without its end, and its body.
fn text(app: &TestApp, sid: &str) -> (String, String) {
    let fields = [("AccountSid", ACCOUNT), ("MessageSid", sid), ("From", CALLER), ("To", OURS), ("Body", "Hello")];
    let signature = sign(TOKEN, &format!("{}/twilio/sms", app.base), &fields);
    let host = app.base.trim_start_matches("http://");
    let head = format!(
        "POST /twilio/sms HTTP/1.1\r\nHost: {host}\r\nX-Twilio-Signature: {signature}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n"
    );
    (head, encode_form(&fields))
}

async fn seconds<T>(work: impl Future<Output = T>) -> (f64, T) {
    let started = Instant::now();
    let done = work.await;
    (started.elapsed().as_secs_f64(), done)
}

#[tokio::test]
async fn who_sends_nothing_or_half_a_request_is_hung_up_on() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    let closed = async |bytes: &str| {
        let mut wire = Wire::opened_with(&app, bytes).await;
        seconds(wire.rest()).await
    };
    let dripping = async {
        // A byte every second does not buy more time.
        let mut wire = Wire::opened_with(&app, "GET /health HTTP/1.1\r\nHost: localhost\r\nX: ").await;
        let (mut reading, mut writing) = wire.0.split();
        let drip = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if writing.write_all(b"x").await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut end = Vec::new();
        let read = seconds(async {
            tokio::select! { _ = reading.read_to_end(&mut end) => {}, () = drip => {} }
        });
        read.await.0
    };
    let slow_body = async {
        let (head, body) = text(&app, "SM1");
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        let mut wire = Wire::opened_with(&app, head + &body[..body.len() - 1]).await;
        seconds(wire.answer()).await
    };
    let idle = async {
        let mut wire = Wire::opened_with(&app, HEALTH).await;
        assert_eq!(wire.answer().await.0, 200);
        seconds(wire.rest()).await
    };
    let (silent, half, line, dripped, body, idle) = tokio::join!(
        closed(""),
        closed("POST /twilio/sms HTTP/1.1\r\nHost: localhost\r\n"),
        closed("G"),
        dripping,
        slow_body,
        idle
    );
    for (what, (time, said)) in [("silent", silent), ("half a head", half), ("one byte", line), ("idle", idle)] {
        assert!(HEAD.contains(&time), "{what}: {time} s");
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{what}: {said}");
    }
    assert!(HEAD.contains(&dripped), "dripping: {dripped} s");
    let (time, (status, answer)) = body;
    assert!(BODY.contains(&time) && status == 408, "a slow body: {time} s, {answer}");
    assert_eq!(app.llm.request_count(), 0);
    assert_eq!(app.api("GET", "/health", None).await.status, 200);
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_their_order() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    let mut wire = Wire::open(&app).await;
    for _ in 0..3 {
        wire.write(HEALTH).await;
        assert_eq!(wire.answer().await.0, 200);
    }
    let unknown = HEALTH.replace("/health", "/nothing");
    wire.write([HEALTH, &unknown, HEALTH].concat()).await;
    assert_eq!([wire.answer().await.0, wire.answer().await.0, wire.answer().await.0], [200, 404, 200]);
    wire.write(HEALTH.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
    assert_eq!(wire.answer().await.0, 200);
    assert_eq!(wire.rest().await, "", "it is closed as asked");
}

#[tokio::test]
async fn a_body_may_come_in_chunks_or_once_it_is_asked_for() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    app.llm.always_decides("yes", "Hi.");
    let (head, body) = text(&app, "SM1");
    let mut wire = Wire::opened_with(&app, format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    for part in body.as_bytes().chunks(7) {
        wire.write([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()).await;
    }
    wire.write("0\r\n\r\n").await;
    let (status, answer) = wire.answer().await;
    assert!(status == 200 && answer.contains(">Hi.</Message>"), "{answer}");
    let (head, body) = text(&app, "SM2");
    wire.write(format!("{head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    assert!(wire.until("\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    wire.write(body).await;
    let (status, answer) = wire.answer().await;
    assert!(status == 200 && answer.contains(">Hi.</Message>"), "{answer}");
}

#[tokio::test]
async fn what_is_no_sound_http_1_request_is_refused_and_hung_up_on() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    let huge = |size: usize| HEALTH.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(size)));
    let many = HEALTH.replace("\r\n\r\n", &("\r\nX: x".repeat(2_000) + "\r\n\r\n"));
    let (head, body) = text(&app, "SM1");
    let both = format!("{head}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", body.len());
    for (what, bytes) in [
        ("a huge head", huge(200_000)),
        ("a huge address", HEALTH.replace("/health", &format!("/{}", "x".repeat(200_000)))),
        ("too many headers", many),
        ("HTTP/2 at once", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("no HTTP", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".to_owned() + "\r\n\r\n"),
        ("two lengths", format!("{head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{body}")),
        ("a length that is none", format!("{head}Content-Length: -1\r\n\r\n{body}")),
        ("a header with a NUL", HEALTH.replace("localhost", "local\0host")),
        ("two framings", both),
    ] {
        let mut wire = Wire::open(&app).await;
        // It may be refused before all of it is read.
        wire.0.write_all(bytes.as_bytes()).await.ok();
        let (time, said) = seconds(wire.rest()).await;
        let statuses: Vec<_> = said.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect();
        let refused = statuses.len() <= 1 && statuses.iter().all(|status| status.starts_with('4'));
        assert!(refused && time < 5.0, "{what}: {time} s, {said}");
    }
    let mut slowly = Wire::opened_with(&app, "P").await;
    slowly.write("RI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!slowly.rest().await.contains("HTTP/1.1 2"));
    let mut fine = Wire::opened_with(&app, huge(30_000)).await;
    assert_eq!(fine.answer().await.0, 200, "a long head is none");
    assert_eq!(app.llm.request_count(), 0);
}

#[tokio::test]
async fn an_upgraded_connection_passes_through_the_accept_loop() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = poem::endpoint::make(|request: poem::Request| async move {
        let upgrade = request.take_upgrade()?;
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(upgrade.await.unwrap());
            tokio::io::copy(&mut from, &mut to).await
        });
        let switching = poem::Response::builder().status(poem::http::StatusCode::SWITCHING_PROTOCOLS);
        Ok::<_, poem::Error>(switching.header("connection", "upgrade").header("upgrade", "echo").finish())
    });
    let stop = tokio_util::sync::CancellationToken::new();
    let server = tokio::spawn(switchboard::server::serve(listener, echo, stop.clone()));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    client.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    drop(client);
    stop.cancel();
    server.await.unwrap().unwrap();
}
