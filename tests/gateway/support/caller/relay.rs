//! ConversationRelay as Twilio runs it: the WebSocket to the gateway, and what passes over it.
//! (twilio.com/docs/voice/conversationrelay/websocket-messages)

use super::Phone;
use super::line::{Line, authority};
use crate::support::app::TOKEN;
use crate::support::signing::sign;
use crate::support::wait::PATIENCE;
use crate::support::xml::Element;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A session with the gateway.
pub struct Relay {
    socket: WebSocketStream<TcpStream>,
    session: String,
    /// The language that is understood, as the document or the gateway's last message has it.
    language: String,
    received: Vec<Value>,
    began: Instant,
    /// How long a message of the gateway's is waited for.
    patience: Duration,
}

/// How a session ended, as Twilio tells the action of the `<Connect>`.
#[derive(Debug)]
pub struct SessionEnd {
    pub(super) fields: Vec<(&'static str, String)>,
}

impl SessionEnd {
    /// What the gateway handed over with its `end`.
    pub fn handoff_data(&self) -> Option<&str> {
        self.fields.iter().find(|(name, _)| *name == "HandoffData").map(|(_, value)| value.as_str())
    }

    /// Whether it ended because the person hung up.
    pub(super) fn is_by_person(&self) -> bool {
        self.fields.contains(&("SessionStatus", "completed".to_owned()))
    }
}

impl Relay {
    /// Opens the session that `relay`, a `<ConversationRelay>`, asks for, as one of this account.
    pub(super) async fn open(line: &Line, relay: &Element, phone: &Phone, account: &str) -> Self {
        let url = relay.attr("url").expect("a ConversationRelay has a URL");
        let local = line.local(url).replacen("http://", "ws://", 1);
        let mut handshake = local.as_str().into_client_request().unwrap_or_else(|error| panic!("{local}: {error}"));
        let signature = sign(TOKEN, &line.signed_socket_url(url), &[]);
        for (name, value) in [("host", authority(url)), ("x-twilio-signature", &signature)] {
            handshake.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        let socket = TcpStream::connect(authority(&local)).await.expect("the gateway listens");
        socket.set_nodelay(true).expect("small frames may go at once");
        let (socket, _) = client_async(handshake, socket).await.unwrap_or_else(|error| panic!("{url}: {error}"));

        let session = format!("VX{}", uuid::Uuid::new_v4().simple());
        let language = relay.attr("transcriptionLanguage").or(relay.attr("language")).unwrap_or("en-US").to_owned();
        let mut opened =
            Self { socket, session, language, received: Vec::new(), began: Instant::now(), patience: PATIENCE };
        let text = |parameter: &Element, name| parameter.attr(name).unwrap_or_default().to_owned();
        let parameters: Map<String, Value> = relay
            .find_all("Parameter")
            .into_iter()
            .map(|parameter| (text(parameter, "name"), json!(text(parameter, "value"))))
            .collect();
        let setup = json!({
            "type": "setup",
            "sessionId": opened.session,
            "accountSid": account,
            "parentCallSid": "",
            "callSid": phone.sid,
            "from": phone.from,
            "to": phone.to,
            "forwardedFrom": "",
            "callType": "PSTN",
            "callerName": "",
            "direction": phone.direction,
            "callStatus": "IN-PROGRESS",
            "customParameters": parameters,
        });
        opened.sends_raw(&setup.to_string()).await;
        opened
    }

    /// The caller says this.
    pub async fn says(&mut self, words: &str) {
        self.prompts(words, true).await;
    }

    /// The caller has said this so far and goes on speaking.
    pub async fn says_partially(&mut self, words: &str) {
        self.prompts(words, false).await;
    }

    /// The caller presses a key.
    pub async fn presses(&mut self, digit: char) {
        self.sends_raw(&json!({ "type": "dtmf", "digit": digit.to_string() }).to_string()).await;
    }

    /// The caller breaks in after having heard so much, for so many milliseconds.
    pub async fn interrupts(&mut self, heard_so_far: &str, milliseconds: u64) {
        let message = json!({
            "type": "interrupt",
            "utteranceUntilInterrupt": heard_so_far,
            "durationUntilInterruptMs": milliseconds,
        });
        self.sends_raw(&message.to_string()).await;
    }

    /// The caller says nothing for longer than anything else takes that a test waits for.
    pub fn stays_silent(&mut self) {
        self.patience = 3 * PATIENCE;
    }

    /// Sends a text frame as it is.
    pub async fn sends_raw(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap_or_else(|error| panic!("the session is cut: {error}"));
    }

    /// The gateway's next message; panics when there is none, or when it is none that Twilio takes.
    pub async fn next_message(&mut self) -> Value {
        self.receive().await.unwrap_or_else(|| panic!("the gateway ended the session after {:#?}", self.received))
    }

    /// What the gateway says next, from its first token to the one that is the last; other messages on the way are
    /// [`received`](Self::received), too.
    pub async fn hears_turn(&mut self) -> String {
        let mut turn = String::new();
        loop {
            let message = self.next_message().await;
            assert_ne!(message["type"], "end", "the session is ended after {turn:?}");
            if message["type"] == "text" {
                turn.push_str(message["token"].as_str().unwrap_or_default());
                if message["last"] == true {
                    return turn;
                }
            }
        }
    }

    /// Everything the gateway has sent so far.
    pub fn received(&self) -> &[Value] {
        &self.received
    }

    /// Waits until the gateway ends the session with an `end`.
    pub async fn until_end(mut self) -> SessionEnd {
        loop {
            let message = self.next_message().await;
            if message["type"] == "end" {
                let handoff = message["handoffData"].as_str().map(|data| ("HandoffData", data.to_owned()));
                // The connection may be gone already: the gateway has said all it had to say.
                self.socket.close(None).await.ok();
                return self.end("ended", handoff);
            }
        }
    }

    /// Waits until the gateway cuts the connection without having ended the session, as when it is killed.
    pub async fn until_cut(mut self) -> SessionEnd {
        while let Some(message) = self.receive().await {
            assert_ne!(message["type"], "end", "the session was ended in good order");
        }
        self.fail()
    }

    /// The person hangs up.
    pub async fn hangs_up(mut self) -> SessionEnd {
        self.socket.close(None).await.ok();
        self.end("completed", None)
    }

    /// Twilio closes the connection in good order, though nobody hung up.
    pub async fn closes(mut self) -> SessionEnd {
        self.socket.close(None).await.ok();
        self.fail()
    }

    /// The connection is lost, without a word of the protocol.
    pub fn drops(self) -> SessionEnd {
        self.fail()
    }

    /// The connection is lost, and the gateway cannot notice it for as long as what is given beside it is kept.
    pub fn drops_unnoticed(self) -> (SessionEnd, impl Sized) {
        (self.fail(), self.socket)
    }

    async fn prompts(&mut self, words: &str, last: bool) {
        let message = json!({ "type": "prompt", "voicePrompt": words, "lang": self.language, "last": last });
        self.sends_raw(&message.to_string()).await;
    }

    /// The next message, or none when the connection has ended.
    async fn receive(&mut self) -> Option<Value> {
        loop {
            let frame = timeout(self.patience, self.socket.next()).await;
            let frame = frame.unwrap_or_else(|_| panic!("the gateway says nothing after {:#?}", self.received));
            match frame {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                    if let Err(fault) = check(&message) {
                        panic!("Twilio would not take this message (64107): {fault}: {message:#}");
                    }
                    if let Some(language) = message["transcriptionLanguage"].as_str() {
                        self.language = language.to_owned();
                    }
                    self.received.push(message.clone());
                    return Some(message);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(frame)) => panic!("Twilio takes text frames only: {frame:?}"),
            }
        }
    }

    fn fail(&self) -> SessionEnd {
        let mut end = self.end("failed", Some(("ErrorCode", "64105".to_owned())));
        end.fields.push(("ErrorMessage", "WebSocket connection ended".to_owned()));
        end
    }

    fn end(&self, status: &str, more: Option<(&'static str, String)>) -> SessionEnd {
        let mut fields = vec![
            ("SessionId", self.session.clone()),
            ("SessionStatus", status.to_owned()),
            ("SessionDuration", self.began.elapsed().as_secs().to_string()),
        ];
        fields.extend(more);
        SessionEnd { fields }
    }
}

/// What Twilio would object to in a message from the gateway.
fn check(message: &Value) -> Result<(), &'static str> {
    let is_flag = |name: &str| message[name].is_null() || message[name].is_boolean();
    let is_text = |name: &str| message[name].as_str().is_some_and(|text| !text.is_empty());
    match message["type"].as_str() {
        Some("text") if !message["token"].is_string() => Err("a text needs a token"),
        Some("text") if !["last", "interruptible", "preemptible"].into_iter().all(is_flag) => Err("a flag is none"),
        Some("text") => Ok(()),
        Some("play") if message["source"].as_str().is_some_and(|source| source.starts_with("http")) => Ok(()),
        Some("play") => Err("its source is no URL"),
        Some("sendDigits") if message["digits"].as_str().is_some_and(are_digits) => Ok(()),
        Some("sendDigits") => Err("its digits are none"),
        Some("language") if is_text("ttsLanguage") || is_text("transcriptionLanguage") => Ok(()),
        Some("language") => Err("it names no language"),
        Some("end") if message["handoffData"].is_null() || message["handoffData"].is_string() => Ok(()),
        Some("end") => Err("its handoffData is no text"),
        _ => Err("its type is unknown"),
    }
}

fn are_digits(digits: &str) -> bool {
    !digits.is_empty() && digits.chars().all(|key| matches!(key, '0'..='9' | 'w' | '#' | '*'))
}
