//! What ConversationRelay and the gateway tell each other over the WebSocket: one JSON object a text frame.
//! (twilio.com/docs/voice/conversationrelay/websocket-messages)
//!
//! What comes in is read leniently, for Twilio adds fields, has changed the type of one, and leaves others out.

#[cfg(test)]
mod tests;

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;

/// A frame of Twilio's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromTwilio {
    /// The first frame: whose call it is.
    Setup(Setup),
    /// Somebody said something.
    Prompt(Prompt),
    /// Somebody pressed a key.
    Dtmf(Dtmf),
    /// Somebody spoke or pressed a key while an answer was being heard.
    Interrupt(Interrupt),
    /// Twilio did not understand a frame of ours, or cannot do its work.
    Error(Fault),
}

/// Whose call it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Setup {
    /// VX…
    #[serde(deserialize_with = "text")]
    pub session_id: String,
    /// AC…
    #[serde(deserialize_with = "text")]
    pub account_sid: String,
    /// CA…
    #[serde(deserialize_with = "text")]
    pub call_sid: String,
    /// The caller's address.
    #[serde(deserialize_with = "text")]
    pub from: String,
    /// The called address.
    #[serde(deserialize_with = "text")]
    pub to: String,
    /// `inbound`, `outbound-api` …
    #[serde(deserialize_with = "text")]
    pub direction: String,
    /// The `<Parameter>`s of the TwiML document, by name.
    #[serde(deserialize_with = "parameters")]
    pub custom_parameters: HashMap<String, String>,
}

/// Something said.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// The words.
    #[serde(default, deserialize_with = "text")]
    pub voice_prompt: String,
    /// Whether the utterance is over; partial ones follow each other until it is. Without a word about it, it is.
    #[serde(default = "yes", deserialize_with = "yes_unless_false")]
    pub last: bool,
}

/// A key pressed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dtmf {
    /// `0` to `9`, `*` or `#`; empty when it is not told.
    #[serde(default, deserialize_with = "text")]
    pub digit: String,
}

/// An answer broken into.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interrupt {
    /// How much of the answer was heard, in its own words; nothing is told of sound that was played.
    #[serde(default, deserialize_with = "text")]
    pub utterance_until_interrupt: String,
}

/// What Twilio complains of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Fault {
    /// In words.
    #[serde(default, deserialize_with = "text")]
    pub description: String,
}

/// Why a frame is not understood. It is passed over either way.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame of a type that the gateway does not know; Twilio may add some.
    #[error("frames of the type {0:?} are not known")]
    UnknownType(String),
    /// The frame is no JSON object with a type, or a field of it is nothing that can be read.
    #[error("the frame is broken: {0}")]
    Broken(#[from] serde_json::Error),
}

/// Reads a frame.
///
/// # Errors
/// See [`FrameError`].
pub fn parse(frame: &str) -> Result<FromTwilio, FrameError> {
    #[derive(Deserialize)]
    struct Kind<'f> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'f, str>,
    }
    let Kind { kind } = serde_json::from_str(frame)?;
    Ok(match &*kind {
        "setup" => FromTwilio::Setup(serde_json::from_str(frame)?),
        "prompt" => FromTwilio::Prompt(serde_json::from_str(frame)?),
        "dtmf" => FromTwilio::Dtmf(serde_json::from_str(frame)?),
        "interrupt" => FromTwilio::Interrupt(serde_json::from_str(frame)?),
        "error" => FromTwilio::Error(serde_json::from_str(frame)?),
        _ => return Err(FrameError::UnknownType(kind.chars().take(LONGEST_TYPE).collect())),
    })
}

/// Characters of an unknown type that are told in the log.
const LONGEST_TYPE: usize = 40;

/// A value that ought to be a text, and is now and then something else.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
    Bool(bool),
    Other(IgnoredAny),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            // No database text can hold NUL.
            Self::Text(text) if text.contains('\0') => text.replace('\0', ""),
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Bool(flag) => flag.to_string(),
            Self::Other(_) => String::new(),
        }
    }
}

fn text<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Scalar::deserialize(value).map(Scalar::into_text)
}

fn parameters<'de, D: Deserializer<'de>>(value: D) -> Result<HashMap<String, String>, D::Error> {
    let parameters: Option<HashMap<String, Scalar>> = Option::deserialize(value)?;
    Ok(parameters.into_iter().flatten().map(|(name, value)| (name, value.into_text())).collect())
}

fn yes() -> bool {
    true
}

fn yes_unless_false<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    Ok(text(value)? != "false")
}

/// A frame of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToTwilio<'a> {
    /// A piece of an answer to be spoken.
    Text {
        /// The words with the blanks between them and the next piece's; may be empty when it is the last.
        token: &'a str,
        /// Whether the answer is over. Until then Twilio may wait with speaking.
        last: bool,
    },
    /// Sound to be played.
    Play {
        /// Its URL.
        source: &'a str,
        /// Whether the caller may break in.
        interruptible: bool,
        /// Whether what is sent next cuts it off.
        preemptible: bool,
    },
    /// From here on another language is spoken and listened for.
    Language {
        /// A [`RelayLanguage`](super::voices::RelayLanguage) code.
        tts_language: &'a str,
        /// A [`Language`](super::voices::Language) locale.
        transcription_language: &'a str,
    },
    /// The session is over; Twilio asks the document's action what comes next.
    End {
        /// What the action is told as `HandoffData`, often JSON.
        handoff_data: &'a str,
    },
}

impl ToTwilio<'_> {
    /// The frame's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and booleans can always be written as JSON")
    }
}
