//! The documents the gateway answers with, one for each situation: built in, or from the operator's folder.

use super::template::{Template, TemplateError, Value};
use super::voices::{RelayLanguage, RelayVoice, Voice, relay_voice};
use std::path::{Path, PathBuf};

/// All documents, read and checked.
#[derive(Debug)]
pub struct Documents {
    /// The greeting of a call, and the first Gather.
    pub incoming: Template,
    /// An answer, or its last part, inside the Gather that hears the next turn.
    pub answer: Template,
    /// A part of an answer, then a Redirect to ask for the next.
    pub part: Template,
    /// A few words or none while the answer is being written, then a Redirect to ask for it.
    pub hold: Template,
    /// Something went wrong; the call goes on.
    pub apology: Template,
    /// The last words of a call.
    pub goodbye: Template,
    /// The caller is put through to a person.
    pub transfer: Template,
    /// The caller is asked to leave a message.
    pub voicemail: Template,
    /// The call is carried over a WebSocket.
    pub relay: Template,
    /// A call that is not taken.
    pub reject: Template,
    /// A reply to a text.
    pub message: Template,
    /// Nothing to say: no reply to a text.
    pub empty: Template,
}

/// How something is said and heard.
#[derive(Debug, Clone, Copy)]
pub struct Speaking<'a> {
    /// The voice, and the language it speaks.
    pub voice: Voice,
    /// The locale to listen for.
    pub recognition: &'a str,
    /// `Gather speechModel`; empty leaves it to Twilio.
    pub speech_model: &'a str,
    /// `Gather hints`; may be empty.
    pub hints: &'a str,
}

/// What is said: one `<Say>` or `<Play>` for each entry. No entries are silence.
#[derive(Debug, Clone, Copy)]
pub enum Words<'a> {
    /// Sentences, which Twilio reads aloud.
    Say(&'a [String]),
    /// URLs of sound, which Twilio fetches.
    Play(&'a [String]),
}

impl<'a> From<&'a [String]> for Words<'a> {
    fn from(sentences: &'a [String]) -> Self {
        Self::Say(sentences)
    }
}

impl<'a> From<&'a Vec<String>> for Words<'a> {
    fn from(sentences: &'a Vec<String>) -> Self {
        Self::Say(sentences)
    }
}

/// Whom a caller is put through to.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// The person's number in E.164.
    pub number: &'a str,
    /// The number that the person is shown: one of ours, or empty for the caller's own.
    pub caller_id: &'a str,
    /// Where Twilio asks what comes next when the person did not answer or has hung up.
    pub action: &'a str,
}

/// What a caller may leave.
#[derive(Debug, Clone, Copy)]
pub struct Voicemail<'a> {
    /// The longest recording, in seconds.
    pub max_length: u64,
    /// Where Twilio asks what comes next, with a `RecordingUrl` when something was recorded.
    pub action: &'a str,
    /// Where Twilio reports that the recording can be fetched, or that there is none.
    pub callback: &'a str,
}

/// A call over ConversationRelay.
#[derive(Debug, Clone, Copy)]
pub struct Relay<'a> {
    /// The WebSocket's address: `wss://`, without a query.
    pub url: &'a str,
    /// The first words of the call; empty when it goes on.
    pub greeting: &'a str,
    /// All languages that the call may change to.
    pub languages: &'a [RelayLanguage],
    /// The parameter `token`, by which the WebSocket knows its call.
    pub token: &'a str,
    /// Where Twilio asks what comes next when the WebSocket is over.
    pub action: &'a str,
}

/// Why the documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// A document is faulty.
    #[error("{}, {error}", file.display())]
    Faulty {
        /// The file.
        file: PathBuf,
        /// Line and reason.
        error: TemplateError,
    },
    /// A document cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A document has a place that nothing fills in its situation.
    #[error("{}: the place {{{{{place}}}}} has no value in this document", file.display())]
    Unfilled {
        /// The file.
        file: PathBuf,
        /// The place.
        place: &'static str,
    },
    /// A document lacks a place without which it cannot do its work.
    #[error("{}: the place {{{{{place}}}}} is missing", file.display())]
    Incomplete {
        /// The file.
        file: PathBuf,
        /// The place.
        place: &'static str,
    },
}

/// The places that [`say_and_gather`] fills.
const GATHER: &[&str] =
    &["voice", "language", "say", "play", "action", "recognition", "speech_model", "hints", "speech_timeout"];
/// The places that [`say_and_go`] fills.
const GO: &[&str] = &["voice", "language", "say", "play", "redirect"];
/// The places that [`transfer`] fills.
const TRANSFER: &[&str] = &["voice", "language", "say", "play", "action", "number", "caller_id"];
/// The places that [`voicemail`] fills.
const VOICEMAIL: &[&str] = &["voice", "language", "say", "play", "action", "max_length", "callback"];
/// The places that [`relay`] fills.
const RELAY: &[&str] = &[
    "voice",
    "language",
    "provider",
    "greeting",
    "recognition",
    "hints",
    "url",
    "action",
    "relay_code",
    "relay_provider",
    "relay_voice",
    "token",
];

/// How long a silence ends a turn when a speech model is named, for which Twilio asks for a whole number.
const SPEECH_TIMEOUT_SECONDS: &str = "2";

macro_rules! built_in {
    ($name:literal) => {
        ($name, include_str!(concat!("../../twiml-templates/", $name)))
    };
}

impl Documents {
    /// The documents of the operator's folder `dir`, or the built-in one where the folder has none of that name.
    ///
    /// # Errors
    /// The first document that cannot be read or is faulty, with its file, line and reason.
    pub fn load(dir: Option<&Path>) -> Result<Self, DocumentsError> {
        let load = |(name, built_in): (&str, &'static str), given: &[&'static str], needed: &[&'static str]| {
            let file = dir.map_or_else(|| PathBuf::from(name), |dir| dir.join(name));
            let source = match dir.map(|_| std::fs::read_to_string(&file)) {
                Some(Ok(source)) => source,
                Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(DocumentsError::Unreadable { file, error });
                }
                Some(Err(_)) | None => built_in.to_owned(),
            };
            let template =
                Template::parse(&source).map_err(|error| DocumentsError::Faulty { file: file.clone(), error })?;
            let places = template.places();
            if let Some(place) = places.iter().find(|place| !given.contains(place)) {
                return Err(DocumentsError::Unfilled { file, place });
            }
            match needed.iter().find(|place| !places.contains(place)) {
                Some(place) => Err(DocumentsError::Incomplete { file, place }),
                None => Ok(template),
            }
        };
        Ok(Self {
            incoming: load(built_in!("incoming.xml"), GATHER, &["say", "play", "action"])?,
            answer: load(built_in!("answer.xml"), GATHER, &["say", "play", "action"])?,
            part: load(built_in!("part.xml"), GO, &["say", "play", "redirect"])?,
            hold: load(built_in!("hold.xml"), GO, &["redirect"])?,
            apology: load(built_in!("apology.xml"), GATHER, &["say", "play", "action"])?,
            goodbye: load(built_in!("goodbye.xml"), GO, &["say", "play"])?,
            transfer: load(built_in!("transfer.xml"), TRANSFER, &["action", "number"])?,
            voicemail: load(built_in!("voicemail.xml"), VOICEMAIL, &["action", "callback"])?,
            relay: load(built_in!("relay.xml"), RELAY, &["url", "action", "token"])?,
            reject: load(built_in!("reject.xml"), &[], &[])?,
            message: load(built_in!("message.xml"), &["message"], &["message"])?,
            empty: load(built_in!("empty.xml"), &[], &[])?,
        })
    }
}

/// Says something and hears the next turn, whose webhook is `action`.
pub fn say_and_gather<'a>(
    document: &Template,
    how: Speaking<'a>,
    words: impl Into<Words<'a>>,
    action: &'a str,
) -> String {
    // Twilio ends a turn by itself only where it chooses the model by itself too.
    let speech_timeout = if how.speech_model.is_empty() { "auto" } else { SPEECH_TIMEOUT_SECONDS };
    let [voice, language, words] = spoken(how, words.into());
    document.render(&[
        voice,
        language,
        words,
        ("action", Value::One(action)),
        ("recognition", Value::One(how.recognition)),
        ("speech_model", Value::One(how.speech_model)),
        ("hints", Value::One(how.hints)),
        ("speech_timeout", Value::One(speech_timeout)),
    ])
}

/// Says something, then asks `redirect` what comes next, or without it ends the call.
pub fn say_and_go<'a>(
    document: &Template,
    how: Speaking<'a>,
    words: impl Into<Words<'a>>,
    redirect: &'a str,
) -> String {
    let [voice, language, words] = spoken(how, words.into());
    document.render(&[voice, language, words, ("redirect", Value::One(redirect))])
}

/// Says something and puts the caller through.
pub fn transfer<'a>(document: &Template, how: Speaking<'a>, words: impl Into<Words<'a>>, to: Transfer<'a>) -> String {
    let [voice, language, words] = spoken(how, words.into());
    document.render(&[
        voice,
        language,
        words,
        ("action", Value::One(to.action)),
        ("number", Value::One(to.number)),
        ("caller_id", Value::One(to.caller_id)),
    ])
}

/// Says something and records what the caller leaves after the beep.
pub fn voicemail<'a>(
    document: &Template,
    how: Speaking<'a>,
    words: impl Into<Words<'a>>,
    left: Voicemail<'a>,
) -> String {
    let [voice, language, words] = spoken(how, words.into());
    document.render(&[
        voice,
        language,
        words,
        ("action", Value::One(left.action)),
        ("max_length", Value::One(&left.max_length.to_string())),
        ("callback", Value::One(left.callback)),
    ])
}

/// Hands the call over to a WebSocket.
pub fn relay(document: &Template, how: Speaking<'_>, call: Relay<'_>) -> String {
    let column = |of: fn(&RelayLanguage) -> &'static str| -> Vec<String> {
        call.languages.iter().map(|language| of(language).to_owned()).collect()
    };
    let RelayVoice { provider, name } = relay_voice(how.voice);
    document.render(&[
        ("url", Value::One(call.url)),
        ("greeting", Value::One(call.greeting)),
        ("language", Value::One(how.voice.language)),
        ("provider", Value::One(provider)),
        ("voice", Value::One(name)),
        ("recognition", Value::One(how.recognition)),
        ("hints", Value::One(how.hints)),
        ("relay_code", Value::Each(&column(|language| language.code))),
        ("relay_provider", Value::Each(&column(|language| language.voice.provider))),
        ("relay_voice", Value::Each(&column(|language| language.voice.name))),
        ("token", Value::One(call.token)),
        ("action", Value::One(call.action)),
    ])
}

/// A place and what fills it.
type Filling<'a> = (&'static str, Value<'a>);

/// The places by which something is said.
fn spoken<'a>(how: Speaking<'a>, words: Words<'a>) -> [Filling<'a>; 3] {
    let words = match words {
        Words::Say(sentences) => ("say", Value::Each(sentences)),
        Words::Play(urls) => ("play", Value::Each(urls)),
    };
    [("voice", Value::One(how.voice.name)), ("language", Value::One(how.voice.language)), words]
}

/// Replies to a text with one message or several.
pub fn message(document: &Template, messages: &[String]) -> String {
    document.render(&[("message", Value::Each(messages))])
}
