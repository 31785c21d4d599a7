//! The documents the gateway answers with, and what is filled into each.

mod documents;

use super::template::{Template, Value};
use super::voices::{RelayLanguage, RelayVoice, Voice, relay_voice};
pub use documents::{Documents, DocumentsError};

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
    /// The languages that may be spoken: the call's, and those that it may change to.
    pub languages: &'a [RelayLanguage],
    /// The parameter `token`, by which the WebSocket knows its call.
    pub token: &'a str,
    /// Where Twilio asks what comes next when the WebSocket is over.
    pub action: &'a str,
}

/// How long a silence ends a turn when a speech model is named, for which Twilio asks for a whole number.
const SPEECH_TIMEOUT_SECONDS: &str = "2";

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

/// Replies to a text with one message or several; an empty `status_callback` asks for no reports.
pub fn message(document: &Template, messages: &[String], status_callback: &str) -> String {
    document.render(&[("message", Value::Each(messages)), ("status_callback", Value::One(status_callback))])
}
