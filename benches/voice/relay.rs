//! Calls over ConversationRelay: the gateway passes each token on as the model writes it.

use crate::call::{Call, first};
use crate::common::Failure;
use crate::common::form::{self, ACCOUNT_SID};
use crate::common::server::Server;
use crate::script::{Answer, Faults, Pace, Script};
use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Calls at the same time.
pub const CALLS: usize = 1_000;
/// Sentences of an answer: 400 tokens, which take 20 seconds.
const SENTENCES: usize = 25;
/// All callers have asked after this time.
const SPREAD: Duration = Duration::from_secs(2);
/// Handshakes under way at the same time.
const HANDSHAKES: usize = 32;
/// No token may be awaited longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the calls came to.
#[derive(Default)]
pub struct Relayed {
    /// From each token's writing at the model to the frame that brings it.
    pub passes: Vec<Duration>,
    /// Words that are not as they must be.
    pub faults: Faults,
    /// What the gateway spent while they spoke, and for how long.
    pub cpu: Duration,
    pub elapsed: Duration,
    /// Resident memory in bytes: before the calls, while all of them wait, and the most so far.
    pub idle: u64,
    pub waiting: u64,
    pub peak: u64,
}

/// Has [`CALLS`] calls speak at the same time.
pub async fn speak(server: &Server, script: &Script) -> Result<Relayed, Failure> {
    let idle = server.memory()?.now;
    let pace = Pace::new(Duration::from_millis(500), 20);
    let sessions = stream::iter(0..CALLS).map(|number| Session::open(server, number, script.answer(pace, SENTENCES)));
    let sessions: Vec<_> = sessions.buffered(HANDSHAKES).try_collect().await?;
    sleep(Duration::from_secs(1)).await;
    let waiting = server.memory()?.now;
    let (before, started) = (server.cpu_time()?, Instant::now());
    let one = async |(place, session): (usize, Session)| {
        sleep(SPREAD * u32::try_from(place)? / u32::try_from(CALLS)?).await;
        session.talk().await
    };
    let talks = try_join_all(sessions.into_iter().enumerate().map(one)).await?;
    let (cpu, elapsed) = (server.cpu_time()?.saturating_sub(before), started.elapsed());
    let mut relayed = Relayed { cpu, elapsed, idle, waiting, peak: server.memory()?.peak, ..Relayed::default() };
    for (passes, faults) in talks {
        relayed.passes.extend(passes);
        relayed.faults = relayed.faults.plus(faults);
    }
    Ok(relayed)
}

/// A call's WebSocket.
struct Session {
    socket: WebSocketStream<TcpStream>,
    answer: Arc<Answer>,
}

/// What the gateway sends, as far as it matters here.
#[derive(Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    last: bool,
}

impl Session {
    async fn open(server: &Server, number: usize, answer: Arc<Answer>) -> Result<Self, Failure> {
        let twiml = Call::handed_over(server, number).await?;
        let url = first(&twiml, " url=\"", "\"").ok_or_else(|| format!("no ConversationRelay: {twiml}"))?;
        let token = first(&twiml, "name=\"token\" value=\"", "\"").ok_or_else(|| format!("no token: {twiml}"))?;
        let mut handshake = format!("ws://{}/twilio/relay", server.address).into_client_request()?;
        let signature = form::signature(&url, &Vec::new());
        handshake.headers_mut().insert("x-twilio-signature", signature.parse()?);
        let stream = TcpStream::connect(server.address).await?;
        stream.set_nodelay(true)?;
        let small = WebSocketConfig::default().read_buffer_size(4 * 1024).write_buffer_size(0);
        let (mut socket, _) = client_async_with_config(handshake, stream, Some(small)).await?;
        let setup = json!({
            "type": "setup", "sessionId": format!("VX{number:032x}"), "accountSid": ACCOUNT_SID, "parentCallSid": "",
            "callSid": form::call_sid(number), "from": form::sender(number), "to": form::OWNER, "forwardedFrom": "",
            "callType": "PSTN", "callerName": "", "direction": "inbound", "callStatus": "IN-PROGRESS",
            "customParameters": { "token": token },
        });
        socket.send(Message::text(setup.to_string())).await?;
        Ok(Self { socket, answer })
    }

    /// Asks for the answer and hears it to its end.
    async fn talk(mut self) -> Result<(Vec<Duration>, Faults), Failure> {
        let prompt = json!({ "type": "prompt", "voicePrompt": self.answer.question(), "lang": "en-US", "last": true });
        self.socket.send(Message::text(prompt.to_string())).await?;
        let (mut heard, mut complete, mut passes) = (String::new(), 0, Vec::new());
        loop {
            let frame = timeout(PATIENCE, self.socket.next()).await;
            let Some(frame) = frame.map_err(|_| format!("no token for {PATIENCE:?}"))? else {
                return Err("a session was cut".into());
            };
            let Message::Text(text) = frame? else { continue };
            let now = Instant::now();
            let Frame { kind, token, last } = serde_json::from_str(&text)?;
            if kind != "text" {
                return Err(format!("an unexpected frame: {text}").into());
            }
            heard.push_str(&token);
            while let Some(token) = self.answer.tokens.get(passes.len())
                && complete + token.len() <= heard.len()
            {
                passes.push(now.saturating_duration_since(self.answer.written(passes.len())?));
                complete += token.len();
            }
            if last {
                break;
            }
        }
        let mut faults = self.answer.faults(&heard);
        if faults == Faults::default() && heard != self.answer.tokens.concat() {
            return Err(format!("an answer was not passed on as it was written: {heard}").into());
        }
        faults.lost += self.answer.tokens.len() - passes.len();
        self.socket.close(None).await?;
        Ok((passes, faults))
    }
}
