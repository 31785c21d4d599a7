//! What comes in on a session: words, keys, and the moment at which the caller breaks in.

use super::line::Over;
use super::session::Session;

use crate::conversation::wishes::keys_in_words;
use crate::twilio::relay_messages::{self, FrameError, FromTwilio};
use poem::web::websocket::{CloseCode, Message};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How long another key is waited for, and how many there can be.
const NEXT_KEY: Duration = Duration::from_millis(1500);
const MOST_KEYS: usize = 64;
/// Broken frames in a row after which the session is closed, as Twilio does on its side.
const BROKEN: u32 = 10;

/// What was heard of the caller.
pub(super) struct Caller {
    /// When there was something to hear last.
    pub(super) heard_at: Instant,
    /// How often in a row there was nothing, and the caller was asked to speak.
    pub(super) silences: u32,
    /// The keys pressed so far.
    keys: String,
    /// When they count as they are, unless there is another one.
    pub(super) keys_at: Option<Instant>,
}

impl Caller {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard_at: now, silences: 0, keys: String::new(), keys_at: None }
    }

    fn is_there(&mut self) {
        (self.heard_at, self.silences) = (Instant::now(), 0);
    }

    fn take_keys(&mut self) -> String {
        self.keys_at = None;
        std::mem::take(&mut self.keys)
    }
}

impl Session {
    /// Takes a frame.
    pub(super) async fn on_frame(&mut self, frame: Message) -> Result<(), Over> {
        self.last_frame = Instant::now();
        let text = match frame {
            Message::Text(text) => text,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            _ => return self.on_broken_frame(),
        };
        let call_sid = &self.call.call_sid;
        let frame = match relay_messages::parse(&text) {
            Ok(frame) => frame,
            Err(FrameError::Broken(_)) => return self.on_broken_frame(),
            Err(FrameError::UnknownType(kind)) => {
                debug!(call.sid = call_sid, kind, "A frame of a type that is not known");
                return Ok(());
            }
        };
        self.broken = 0;
        match frame {
            FromTwilio::Prompt(prompt) if prompt.last && !prompt.voice_prompt.trim().is_empty() => {
                self.on_words(prompt.voice_prompt.trim(), false).await
            }
            // Somebody is speaking, or coughed.
            FromTwilio::Prompt(_) => {
                self.caller.heard_at = Instant::now();
                Ok(())
            }
            FromTwilio::Dtmf(dtmf) => self.on_key(&dtmf.digit).await,
            FromTwilio::Interrupt(interrupt) => self.on_interrupt(&interrupt.utterance_until_interrupt).await,
            FromTwilio::Error(fault) => {
                warn!(call.sid = call_sid, "Twilio reports an error on a ConversationRelay session");
                debug!(call.sid = call_sid, fault.description, "What it says");
                Ok(())
            }
            FromTwilio::Setup(_) => Ok(()),
        }
    }

    fn on_broken_frame(&mut self) -> Result<(), Over> {
        self.broken += 1;
        warn!(call.sid = self.call.call_sid, in_a_row = self.broken, "A broken frame was passed over");
        if self.broken > BROKEN {
            return Err(Over::Closed(CloseCode::Invalid, "too many broken frames in a row"));
        }
        Ok(())
    }

    /// The caller said something, or pressed keys, which are told in words. Keys that were pressed just before words go
    /// with them.
    async fn on_words(&mut self, words: &str, wants_person: bool) -> Result<(), Over> {
        if self.leaving.is_some() {
            return Ok(());
        }
        self.caller.is_there();
        let keys = self.caller.take_keys();
        self.cut_short().await?;
        if keys.is_empty() {
            return self.answer_or_apologise(words, wants_person).await;
        }
        self.answer_or_apologise(&format!("{} {words}", keys_in_words(&keys)), keys == "0").await
    }

    async fn on_key(&mut self, key: &str) -> Result<(), Over> {
        self.caller.is_there();
        match key {
            "*" if self.caller.keys.is_empty() => self.repeat().await,
            "#" => self.on_keys().await,
            "*" | "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" if self.caller.keys.len() < MOST_KEYS => {
                self.caller.keys.push_str(key);
                self.caller.keys_at = Some(self.caller.heard_at + NEXT_KEY);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// No further key was pressed.
    pub(super) async fn on_keys(&mut self) -> Result<(), Over> {
        let keys = self.caller.take_keys();
        if keys.is_empty() { Ok(()) } else { self.on_words(&keys_in_words(&keys), keys == "0").await }
    }

    /// The caller broke in: nothing more of what was sent is spoken.
    async fn on_interrupt(&mut self, utterance: &str) -> Result<(), Over> {
        let now = Instant::now();
        let left = self.left();
        let hushed = self.hush().await;
        (self.spoken_until, self.caller.heard_at) = (now, now);
        self.keep_heard(utterance, left).await;
        hushed
    }
}
