//! A call over ConversationRelay whose caller breaks in: the model is stopped, and knows afterwards what was heard.

use super::Failure;
use super::model::{Model, STORY};
use super::twilio::{ACCOUNT, CALLER, OURS, Twilio, found};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const CALL: &str = "CA00000000000000000000000000000002";
const SESSION: &str = "VX00000000000000000000000000000001";
/// What the caller has heard when they break in.
const HEARD: &str = "Once upon a time there was a telephone";
/// What the gateway has sent by then, in characters.
const SENT: usize = 80;
const PATIENCE: Duration = Duration::from_secs(15);

/// A call in which a story is interrupted.
pub async fn interrupted(twilio: &Twilio, model: &Model) -> Result<(), Failure> {
    println!("A call from {CALLER} to {OURS}, over ConversationRelay");
    let document = twilio.call_webhook(CALL, "/twilio/voice", &[("CallStatus", "ringing")]).await?;
    let attribute = |element: &str, name: &'static str| -> Result<String, Failure> {
        Ok(found(&document, element, Some(name))?.ok_or_else(|| format!("no {name} of a {element}: {document}"))?)
    };
    println!("  gateway  {}", attribute("ConversationRelay", "welcomeGreeting")?);
    let mut session = Session(twilio.web_socket(&attribute("ConversationRelay", "url")?).await?);
    let token = attribute("Parameter", "value")?;
    session
        .send(json!({
            "type": "setup", "sessionId": SESSION, "accountSid": ACCOUNT, "callSid": CALL,
            "from": CALLER, "to": OURS, "direction": "inbound", "customParameters": { "token": token },
        }))
        .await?;

    session.say("Tell me that story again.").await?;
    let mut sent = String::new();
    while sent.len() < SENT {
        sent += &session.next().await?.0;
    }
    println!("  gateway  {sent} ...");
    println!("  caller   (breaks in after {HEARD:?})");
    session
        .send(json!({ "type": "interrupt", "utteranceUntilInterrupt": HEARD, "durationUntilInterruptMs": 2500 }))
        .await?;
    session.say("I know it. When are you open?").await?;
    let mut answer = String::new();
    loop {
        let (token, last) = session.next().await?;
        // Words that were under way when the caller broke in are not spoken.
        if STORY.contains(token.as_str()) && answer.is_empty() {
            continue;
        }
        answer += &token;
        if last {
            break;
        }
    }
    println!("  gateway  {answer}");
    let told = model.told();
    if !told.as_array().is_some_and(|told| told.iter().any(|message| message["content"] == HEARD)) {
        return Err(format!("the model was not told what was heard: {told}").into());
    }

    println!("  caller   (hangs up)");
    session.0.close(None).await?;
    let end = [("CallStatus", "completed"), ("SessionId", SESSION), ("SessionStatus", "completed")];
    twilio.call_webhook(CALL, &attribute("Connect", "action")?, &end).await?;
    twilio.call_webhook(CALL, "/twilio/voice/status", &[("CallStatus", "completed"), ("CallDuration", "9")]).await?;
    println!("  (the call is over)\n");
    Ok(())
}

/// What the history tells of the interrupted answer.
pub fn show_history(turns: &[Value]) -> Result<(), Failure> {
    // The last answer was cut short too, when the caller hung up.
    let interrupted = turns.iter().find(|turn| turn["heard_text"].is_string() && turn["turn"] == 1);
    let interrupted = interrupted.ok_or("no answer is marked as interrupted")?;
    let written = interrupted["gpt_response"].as_str().unwrap_or_default();
    println!("Of the interrupted answer it tells, and the model was told only what was heard:");
    println!("  written  {written}");
    println!("  heard    {HEARD}");
    let is_right = interrupted["heard_text"] == HEARD && written.len() > HEARD.len() && STORY.starts_with(written);
    if is_right { Ok(()) } else { Err(format!("the history is not what was heard: {interrupted}").into()) }
}

/// The WebSocket of a call.
struct Session(WebSocketStream<TcpStream>);

impl Session {
    async fn send(&mut self, message: Value) -> Result<(), Failure> {
        Ok(self.0.send(Message::text(message.to_string())).await?)
    }

    async fn say(&mut self, words: &str) -> Result<(), Failure> {
        println!("  caller   {words}");
        self.send(json!({ "type": "prompt", "voicePrompt": words, "lang": "en-US", "last": true })).await
    }

    /// The next words, and whether they are the last of what is said.
    async fn next(&mut self) -> Result<(String, bool), Failure> {
        loop {
            let frame = timeout(PATIENCE, self.0.next()).await?.ok_or("the gateway ended the session")??;
            let Message::Text(text) = frame else { continue };
            let message: Value = serde_json::from_str(&text)?;
            if let Some(token) = message["token"].as_str() {
                return Ok((token.to_owned(), message["last"] == true));
            }
        }
    }
}
