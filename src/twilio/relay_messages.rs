//! What ConversationRelay and the gateway tell each other over the WebSocket: one JSON object a text frame.
//! (twilio.com/docs/voice/conversationrelay/websocket-messages)
//!
//! What comes in is read leniently, for Twilio adds fields, has changed the type of one, and leaves others out.

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
    /// The language heard; empty when it is not told.
    #[serde(default, deserialize_with = "text")]
    pub lang: String,
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
    /// How much of the answer was heard, in its own words.
    #[serde(default, deserialize_with = "text")]
    pub utterance_until_interrupt: String,
    /// For how long it was heard, in milliseconds, when it is told.
    #[serde(default, deserialize_with = "milliseconds")]
    pub duration_until_interrupt_ms: Option<u64>,
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

fn milliseconds<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    let number: Option<f64> = text(value)?.trim().parse().ok();
    // A cast that is out of range ends at the range's end.
    Ok(number.filter(|number| *number >= 0.0).map(|number| number as u64))
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
        /// A [`RelayLanguage`](super::voices::RelayLanguage) code, when it is not the session's.
        #[serde(skip_serializing_if = "Option::is_none")]
        lang: Option<&'a str>,
        /// Whether the caller may break in, when it is not as the TwiML document says.
        #[serde(skip_serializing_if = "Option::is_none")]
        interruptible: Option<bool>,
    },
    /// Sound to be played.
    Play {
        /// Its URL.
        source: &'a str,
        /// How often; 0 is as often as possible.
        #[serde(rename = "loop")]
        times: u32,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frame: &str) -> FromTwilio {
        parse(frame).unwrap_or_else(|error| panic!("{error}: {frame}"))
    }

    #[test]
    fn the_setup_tells_whose_call_it_is() {
        let frame = r#"{"type":"setup","sessionId":"VX1","accountSid":"AC1","parentCallSid":"","callSid":"CA1",
            "from":"+14155550123","to":"+15005550006","forwardedFrom":"+15005550006","callType":"PSTN","callerName":"",
            "direction":"inbound","callStatus":"RINGING","customParameters":{"token":"t0k3n","n":1}}"#;
        let parameters = [("token", "t0k3n"), ("n", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = Setup {
            session_id: "VX1".to_owned(),
            account_sid: "AC1".to_owned(),
            call_sid: "CA1".to_owned(),
            from: "+14155550123".to_owned(),
            to: "+15005550006".to_owned(),
            direction: "inbound".to_owned(),
            custom_parameters: parameters.into(),
        };
        assert_eq!(read(frame), FromTwilio::Setup(expected));
        for bare in [r#"{"type":"setup"}"#, r#"{"type":"setup","callSid":null,"customParameters":null,"to":{"a":[1]}}"#]
        {
            assert_eq!(read(bare), FromTwilio::Setup(Setup::default()));
        }
    }

    #[test]
    fn a_prompt_is_over_unless_it_says_otherwise() {
        let prompt = |words: &str, lang: &str, last| {
            FromTwilio::Prompt(Prompt { voice_prompt: words.to_owned(), lang: lang.to_owned(), last })
        };
        let whole =
            r#"{"type":"prompt","voicePrompt":"Hi \"you\" ☎","lang":"en-US","last":true,"agentSpeaking":false}"#;
        assert_eq!(read(whole), prompt("Hi \"you\" ☎", "en-US", true));
        assert_eq!(read(r#"{"voicePrompt":"Hi","last":false,"type":"prompt"}"#), prompt("Hi", "", false));
        for without in ["", r#","last":null"#, r#","last":"true""#, r#","last":1"#] {
            let frame = format!(r#"{{"type":"prompt","voicePrompt":"Hi"{without}}}"#);
            assert_eq!(read(&frame), prompt("Hi", "", true), "{frame}");
        }
        assert_eq!(read(r#"{"type":"prompt","last":"false","voicePrompt":null}"#), prompt("", "", false));
    }

    #[test]
    fn keys_interruptions_and_errors_are_read() {
        let dtmf = |digit: &str| FromTwilio::Dtmf(Dtmf { digit: digit.to_owned() });
        assert_eq!(read(r#"{"type":"dtmf","digit":"*"}"#), dtmf("*"));
        assert_eq!(read(r#"{"type":"dtmf","digit":5}"#), dtmf("5"));
        assert_eq!(read(r#"{"type":"dtmf"}"#), dtmf(""));
        let error = r#"{"type":"error","description":"Invalid message received: {\"foo\":\"bar\"}"}"#;
        let description = r#"Invalid message received: {"foo":"bar"}"#.to_owned();
        assert_eq!(read(error), FromTwilio::Error(Fault { description }));
        for (written, read_as) in [
            (r#"460"#, Some(460)),
            (r#""460""#, Some(460)),
            (r#"460.7"#, Some(460)),
            (r#"1e30"#, Some(u64::MAX)),
            (r#"-1"#, None),
            (r#""soon""#, None),
            (r#"null"#, None),
            (r#"[]"#, None),
        ] {
            let frame = format!(
                r#"{{"type":"interrupt","utteranceUntilInterrupt":"Life is a","durationUntilInterruptMs":{written}}}"#
            );
            let utterance_until_interrupt = "Life is a".to_owned();
            let expected = Interrupt { utterance_until_interrupt, duration_until_interrupt_ms: read_as };
            assert_eq!(read(&frame), FromTwilio::Interrupt(expected), "{frame}");
        }
    }

    #[test]
    fn unknown_types_are_told_from_broken_frames() {
        for (frame, kind) in [(r#"{"type":"info","name":"roundTripDelayMs"}"#, "info"), (r#"{"type":""}"#, "")] {
            assert!(matches!(parse(frame), Err(FrameError::UnknownType(told)) if told == kind), "{frame}");
        }
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(100_000));
        assert!(matches!(parse(&long), Err(FrameError::UnknownType(told)) if told.len() == LONGEST_TYPE));
        for broken in [
            "",
            "null",
            "[]",
            "7",
            "\"setup\"",
            "{}",
            r#"{"type":null}"#,
            r#"{"type":1}"#,
            r#"{"type":"prompt""#,
            r#"{"type":"prompt"} {}"#,
            r#"{"type":"prompt","voicePrompt":"a","voicePrompt":"b"}"#,
            r#"{"type":"setup","customParameters":[1]}"#,
            &"[".repeat(100_000),
        ] {
            let shown: String = broken.chars().take(60).collect();
            assert!(matches!(parse(broken), Err(FrameError::Broken(_))), "{shown}");
        }
    }

    #[test]
    fn frames_are_written_as_twilio_reads_them() {
        let text = |token, last, lang, interruptible| ToTwilio::Text { token, last, lang, interruptible }.to_json();
        assert_eq!(text("Hi \"you\"\n ", false, None, None), r#"{"type":"text","token":"Hi \"you\"\n ","last":false}"#);
        assert_eq!(text("", true, None, None), r#"{"type":"text","token":"","last":true}"#);
        assert_eq!(
            text("¡Hola!", true, Some("es-MX"), Some(false)),
            r#"{"type":"text","token":"¡Hola!","last":true,"lang":"es-MX","interruptible":false}"#
        );
        assert_eq!(
            ToTwilio::Play { source: "https://a.example/b.wav", times: 1, preemptible: true }.to_json(),
            r#"{"type":"play","source":"https://a.example/b.wav","loop":1,"preemptible":true}"#
        );
        assert_eq!(
            ToTwilio::Language { tts_language: "cmn-CN", transcription_language: "cmn-Hans-CN" }.to_json(),
            r#"{"type":"language","ttsLanguage":"cmn-CN","transcriptionLanguage":"cmn-Hans-CN"}"#
        );
        assert_eq!(
            ToTwilio::End { handoff_data: r#"{"reason":"transfer"}"# }.to_json(),
            r#"{"type":"end","handoffData":"{\"reason\":\"transfer\"}"}"#
        );
    }
}
