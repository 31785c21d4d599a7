//! Chat Completions on the wire: requests that borrow, replies that forgive.
//!
//! Compatible servers leave out `id`, `created` and `usage`, send `"content": null` in the first delta and
//! `choices: []` in the usage chunk, content in parts, and finish reasons of their own. So only what is needed is read,
//! and a field of an unexpected kind counts as absent. `message` (whole answers) and `delta` (chunks) are read alike.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, IgnoredAny},
    ser::SerializeSeq,
};
use serde_json::Value;

use super::{
    Finish, Prompt, Tool,
    calls::{CallPart, Calls},
    image::Shown,
    retry::Failure,
};

/// One request. Absent options are left out, because some servers refuse fields they do not know, even if null.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub model: &'a str,
    pub messages: Messages<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub tools: &'a [Tool],
    pub stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
}

/// Asks for the token counts of a streamed answer, which come in a last chunk of their own.
#[derive(Serialize)]
pub(super) struct StreamOptions {
    pub include_usage: bool,
}

/// The system message, put together while it is written, and then the conversation.
pub(super) struct Messages<'a> {
    pub prompt: &'a Prompt,
    /// Instructions of ours that follow the prompt's own.
    pub appended: [&'a str; 2],
    /// Whether pictures go with it.
    pub images: bool,
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct SystemMessage<'a> {
            role: &'static str,
            content: Joined<'a>,
        }
        let [first, second] = self.appended;
        let system = [self.prompt.system.as_str(), first, second];
        let mut seq = serializer.serialize_seq(None)?;
        if system.iter().any(|part| !part.is_empty()) {
            seq.serialize_element(&SystemMessage { role: "system", content: Joined(system) })?;
        }
        for message in &self.prompt.messages {
            match self.images && !message.images.is_empty() {
                true => seq.serialize_element(&Shown(message))?,
                false => seq.serialize_element(message)?,
            }
        }
        seq.end()
    }
}

/// Paragraphs as one string; empty ones are left out.
struct Joined<'a>([&'a str; 3]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for part in self.0.iter().filter(|part| !part.is_empty()) {
            write!(f, "{gap}{part}")?;
            gap = "\n\n";
        }
        Ok(())
    }
}

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A whole reply or one chunk of a streamed one.
#[derive(Deserialize)]
pub(super) struct Reply {
    #[serde(default, deserialize_with = "or_default")]
    choices: Vec<Choice>,
    #[serde(default, deserialize_with = "or_default")]
    usage: Option<Usage>,
    #[serde(default, deserialize_with = "lenient")]
    model: Option<String>,
    /// Gateways report a failure of the server behind them with status 200, or in the middle of a stream.
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    delta: Option<Said>,
    #[serde(default, deserialize_with = "lenient")]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default, deserialize_with = "lenient")]
    content: Option<Content>,
    #[serde(default, deserialize_with = "lenient")]
    refusal: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    tool_calls: Option<Vec<CallPart>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(default, deserialize_with = "lenient")]
    text: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default, deserialize_with = "lenient")]
    prompt_tokens: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    completion_tokens: Option<f64>,
}

/// Null counts as absent.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Whatever is not a `T` counts as absent.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Maybe<T> {
        Known(T),
        Other(IgnoredAny),
    }
    Ok(match Maybe::deserialize(deserializer)? {
        Maybe::Known(value) => Some(value),
        Maybe::Other(_) => None,
    })
}

/// What one reply or chunk brought.
#[derive(Default)]
pub(super) struct Heard {
    /// Empty when it holds none.
    pub text: String,
    /// Whether a tool call began or went on.
    pub called: bool,
}

/// What has come of an answer so far.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub text: String,
    pub refused: bool,
    pub calls: Calls,
    /// None until the server says how the answer ended; some never do.
    pub finish: Option<Finish>,
    pub input_tokens: u32,
    pub output_tokens: u32,
    /// As the server names it, or empty.
    pub model: String,
}

impl Raw {
    /// Takes over everything but the text of a reply or chunk, which is returned.
    pub(super) fn absorb(&mut self, reply: Reply) -> Result<Heard, Failure> {
        if let Some(error) = reply.error.filter(|error| !error.is_null()) {
            return Err(failure_inside(&error));
        }
        if let Some(usage) = reply.usage {
            // Casts saturate; a negative or absurd count ends up at a bound.
            self.input_tokens = usage.prompt_tokens.unwrap_or_default() as u32;
            self.output_tokens = usage.completion_tokens.unwrap_or_default() as u32;
        }
        if self.model.is_empty() {
            // No database text can hold NUL.
            self.model = reply.model.unwrap_or_default().replace('\0', "");
        }
        let Some(choice) = reply.choices.into_iter().next() else { return Ok(Heard::default()) };
        self.finish = choice.finish_reason.as_deref().and_then(finish).or(self.finish);
        let Some(said) = choice.delta.or(choice.message) else { return Ok(Heard::default()) };
        self.refused |= said.refusal.is_some_and(|refusal| !refusal.trim().is_empty());
        let calls = said.tool_calls.unwrap_or_default();
        let called = !calls.is_empty();
        calls.into_iter().for_each(|part| self.calls.add(part));
        if self.calls.too_long() {
            return Err(Failure::Unreadable);
        }
        let text = match said.content {
            None => String::new(),
            Some(Content::Text(text)) => text.replace('\0', ""),
            Some(Content::Parts(parts)) => {
                parts.into_iter().filter_map(|part| part.text).collect::<String>().replace('\0', "")
            }
        };
        Ok(Heard { text, called })
    }
}

/// OpenAI's reasons and the common ones of others; an unknown one means that the model was done.
fn finish(reason: &str) -> Option<Finish> {
    match reason {
        "" => None,
        "length" | "max_tokens" | "model_length" => Some(Finish::Cut),
        "content_filter" | "refusal" | "safety" => Some(Finish::Refused),
        _ => Some(Finish::Whole),
    }
}

/// An error in a reply with status 200: its `code` or `status` if that is an HTTP status, else a bad gateway's.
pub(super) fn failure_inside(error: &Value) -> Failure {
    let number = |name| error.get(name).and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()));
    let status = ["code", "status"].into_iter().filter_map(number).find(|code| (400..600).contains(code));
    let status = status.and_then(|code| u16::try_from(code).ok()).unwrap_or(502);
    Failure::Status { status, retry_after: None, body: error.to_string() }
}
