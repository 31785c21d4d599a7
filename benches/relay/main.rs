//! What calls over ConversationRelay cost: `cargo bench --bench relay`, with the number of calls after `--`.
//!
//! The release binary on a free loopback port, with a temporary SQLite file and a scripted model that gives every call 20
//! tokens a second. Each token carries the moment at which the model sent it; the callers take the time until it arrives,
//! and check that none is lost, doubled or out of order. Server, model and callers share the machine's cores.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::error::Error;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

type Failure = Box<dyn Error + Send + Sync>;
type Socket = WebSocketStream<TcpStream>;

const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const CALLS: usize = 1000;
/// Tokens of an answer, and the time between two.
const TOKENS: usize = 200;
const PACE: Duration = Duration::from_millis(50);

fn main() -> Result<(), Failure> {
    // `cargo test --all-targets` starts benches too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("Nothing to test here; cargo bench --bench relay measures.");
        return Ok(());
    }
    let calls = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(CALLS);
    let started = Instant::now();
    let model = model(started)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(calls, model, started))
}

/// Starts the model in a thread of its own.
fn model(started: Instant) -> Result<SocketAddr, Failure> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || runtime.block_on(serve(listener, started)));
    Ok(address)
}

async fn serve(listener: std::net::TcpListener, started: Instant) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move { speak(stream, started).await.ok() });
    }
}

async fn speak(mut stream: TcpStream, started: Instant) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        read.clear();
        // A request's body is one JSON object and comes with its head or right after it.
        while !read.ends_with(b"}") {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let mut pace = tokio::time::interval(PACE);
        for _ in 0..TOKENS {
            pace.tick().await;
            let token = format!("w{} ", started.elapsed().as_micros());
            let choice = format!(r#"{{"index":0,"delta":{{"content":"{token}"}},"finish_reason":null}}"#);
            stream.write_all(event(&choice).as_bytes()).await?;
        }
        let end = event(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#);
        stream.write_all(format!("{end}e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").as_bytes()).await?;
    }
}

fn event(choice: &str) -> String {
    let chunk = format!(
        r#"data: {{"id":"c","object":"chat.completion.chunk","created":1,"model":"scripted","choices":[{choice}]}}"#
    );
    format!("{:x}\r\n{chunk}\n\n\r\n", chunk.len() + 2)
}

async fn measure(calls: usize, model: SocketAddr, started: Instant) -> Result<(), Failure> {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("relay-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let address = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let base = format!("http://{address}");
    let child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .env_clear()
        .envs([
            ("HOST", "127.0.0.1"),
            ("PORT", &address.port().to_string()),
            ("PUBLIC_BASE_URL", &base),
            ("DATABASE_URL", "sqlite://./bench.db"),
            ("TWILIO_ACCOUNT_SID", ACCOUNT),
            ("TWILIO_AUTH_TOKEN", AUTH_TOKEN),
            ("OPENAI_BASE_URL", &format!("http://{model}/v1")),
            ("VOICE_TRANSPORT", "relay"),
        ])
        .current_dir(&folder)
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(folder.join("err.log"))?)
        .spawn()?;
    let server = Server(child);
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let http = reqwest::Client::new();
    let mut sockets = Vec::new();
    // The first call makes what is made once.
    for number in 0..=calls {
        let socket = open(&http, address, &base, number).await?;
        match number {
            0 => drop(listen(socket, Arc::new(started)).await?),
            _ => sockets.push(socket),
        }
        if number == 0 {
            println!("{} KiB before the calls", server.memory()?);
        }
    }
    let before = server.memory()?;
    println!("{calls} sessions idle: {before} KiB");
    let cpu = server.cpu_ticks()?;
    let started = Arc::new(started);
    let begun = Instant::now();
    let listening: Vec<_> = sockets
        .into_iter()
        .enumerate()
        .map(|(number, socket)| {
            let started = started.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(number as u64 % 1000)).await;
                listen(socket, started).await
            })
        })
        .collect();
    tokio::time::sleep(PACE * TOKENS as u32 / 2).await;
    println!("{calls} sessions speaking: {} KiB", server.memory()?);
    let mut delays = Vec::new();
    for one in listening {
        delays.extend(one.await??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = (server.cpu_ticks()? - cpu) as f64 / 100.0;
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!("{} tokens in order, none lost, in {seconds:.1} s; the server took {cpu:.1} s of CPU", delays.len());
    println!("delay of a token: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(0.5), at(0.99), at(1.0));
    std::fs::remove_dir_all(&folder).ok();
    Ok(())
}

/// A call is taken and its session opened.
async fn open(http: &reqwest::Client, address: SocketAddr, base: &str, number: usize) -> Result<Socket, Failure> {
    let (sid, from) = (format!("CA{number:032x}"), format!("+1415{:07}", 5_550_000 + number));
    let fields = [
        ("AccountSid", ACCOUNT),
        ("CallSid", &sid),
        ("CallStatus", "ringing"),
        ("Direction", "inbound"),
        ("From", &from),
        ("To", "+15005550006"),
    ];
    let signed = fields.map(|(name, value)| format!("{name}{value}")).concat();
    let document = http
        .post(format!("{base}/twilio/voice"))
        .header("x-twilio-signature", sign(&format!("{base}/twilio/voice{signed}")))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
        .send()
        .await?
        .text()
        .await?;
    let token = document.split_once(r#"name="token" value=""#).and_then(|(_, rest)| rest.split_once('"'));
    let (token, _) = token.ok_or_else(|| format!("no token in {document}"))?;
    let url = format!("ws://{address}/twilio/relay");
    let mut handshake = url.as_str().into_client_request()?;
    handshake.headers_mut().insert("x-twilio-signature", sign(&url).parse()?);
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = client_async(handshake, stream).await?;
    let setup = serde_json::json!({
        "type": "setup", "sessionId": format!("VX{number:032x}"), "accountSid": ACCOUNT, "callSid": sid, "from": from,
        "to": "+15005550006", "direction": "inbound", "customParameters": { "token": token },
    });
    socket.send(Message::text(setup.to_string())).await?;
    Ok(socket)
}

/// Says something and hears the answer; the delay of each token in microseconds.
async fn listen(mut socket: Socket, started: Arc<Instant>) -> Result<Vec<u64>, Failure> {
    let prompt = r#"{"type":"prompt","voicePrompt":"Tell me a story","lang":"en-US","last":true}"#;
    socket.send(Message::text(prompt)).await?;
    let (mut delays, mut before) = (Vec::with_capacity(TOKENS), 0);
    loop {
        let frame = socket.next().await.ok_or("the session was cut")??;
        let now = started.elapsed().as_micros() as u64;
        let Message::Text(text) = frame else { continue };
        let message: serde_json::Value = serde_json::from_str(&text)?;
        for word in message["token"].as_str().unwrap_or_default().split_whitespace() {
            let sent: u64 = word.trim_start_matches('w').parse().map_err(|_| format!("not a token: {text}"))?;
            if sent <= before {
                return Err(format!("out of order: {text}").into());
            }
            delays.push(now.saturating_sub(sent));
            before = sent;
        }
        if message["last"] == true {
            return if delays.len() == TOKENS { Ok(delays) } else { Err(format!("{} tokens", delays.len()).into()) };
        }
    }
}

fn sign(text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(AUTH_TOKEN.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The gateway; dropping it ends it.
struct Server(Child);

impl Server {
    fn proc(&self, file: &str) -> std::io::Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id()))
    }

    /// Resident memory, in KiB.
    fn memory(&self) -> Result<u64, Failure> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        Ok(line.ok_or("no VmRSS in /proc")?.trim().parse()?)
    }

    /// CPU time, in hundredths of a second.
    fn cpu_ticks(&self) -> Result<u64, Failure> {
        let stat = self.proc("stat")?;
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        Ok(after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
