//! The language model: what it is told, what comes back, and what can go wrong.
//!
//! Any server that speaks OpenAI's Chat Completions serves. Callers see whole, usable answers or an [`LlmError`];
//! retries, the deviations of compatible servers and unusable answers are dealt with inside.

mod answer;
mod audio;
mod calls;
mod client;
mod decide;
mod dialect;
mod endpoint;
mod form;
mod image;
mod offline;
mod prompt;
mod retry;
mod stream;
mod summarise;
mod wire;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};

use crate::config::LlmConfig;

pub use endpoint::SetupError;
pub use image::Image;
pub use prompt::{Message, Prompt, Role, Tool, ToolCall};

/// How long a call waits for the first piece of an answer, in all, before it is a [`LlmError::Timeout`].
pub const FIRST_PIECE: Duration = Duration::from_secs(60);

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The answer, trimmed, with at least one letter or digit.
    pub text: String,
    /// Tokens of all prompts sent for it, 0 when the server does not count.
    pub input_tokens: u32,
    /// Tokens of all answers to them, 0 when the server does not count.
    pub output_tokens: u32,
    /// The model that answered, as the server names it, else as configured.
    pub model: String,
}

/// What the model decided about a text message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Agreed.
    Yes,
    /// Declined.
    No,
    /// It cannot be told.
    Unsure,
}

/// A decision about a text message, and what to reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Yes, no or unsure.
    pub verdict: Verdict,
    /// How sure the model is of it, from 0 to 1; none when it did not say.
    pub confidence: Option<f64>,
    /// Why it decided so, on one line of at most 300 characters; none when it did not say.
    pub reason: Option<String>,
    /// The reply, trimmed, with at least one letter or digit.
    pub reply_text: String,
    /// As in [`Completion`].
    pub input_tokens: u32,
    /// As in [`Completion`].
    pub output_tokens: u32,
    /// As in [`Completion`].
    pub model: String,
}

/// What was said on a call, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// One paragraph on one line, with at least one letter or digit.
    pub summary: String,
    /// What the caller asked for, each on one line; empty when they asked for nothing.
    pub requests: Vec<String>,
    /// As in [`Completion`].
    pub input_tokens: u32,
    /// As in [`Completion`].
    pub output_tokens: u32,
    /// As in [`Completion`].
    pub model: String,
}

/// Spoken words, in a form that Twilio plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// The whole file.
    pub bytes: Bytes,
    /// `audio/mpeg` or `audio/wav`, as the bytes are; most servers heed `OPENAI_TTS_FORMAT`.
    pub content_type: &'static str,
}

/// A piece of an answer that is still being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// More text, to be appended as it is.
    Text(String),
    /// A tool that the model calls, all of it. Comes after the text, before [`Piece::End`].
    Tool(ToolCall),
    /// The answer is over; always the last item of a stream that did not fail.
    End(End),
}

/// What is known when a streamed answer is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// As in [`Completion`].
    pub input_tokens: u32,
    /// As in [`Completion`].
    pub output_tokens: u32,
    /// As in [`Completion`].
    pub model: String,
    /// Whether the answer is whole.
    pub finish: Finish,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model said all it wanted to say.
    Whole,
    /// Cut at the token limit: the last sentence may be broken.
    Cut,
    /// A content filter ended it: the rest is missing on purpose.
    Refused,
}

/// Why there is no answer. Holds neither keys nor anything people or the model said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LlmError {
    /// No answer within the caller's time, or no next piece.
    #[error("the model did not answer in time")]
    Timeout,
    /// 429, 5xx or no connection, after all retries.
    #[error("the model is not available right now")]
    Unavailable {
        /// When the server wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
    /// The server refused the request: a wrong key, an unknown model. Asking again is no use.
    #[error("the model server refused the request with status {status}")]
    Rejected {
        /// The HTTP status it answered.
        status: u16,
    },
    /// Asked twice, the model gave nothing that may be passed on.
    #[error("the model gave no usable answer: {0}")]
    Unusable(&'static str),
}

/// What there is to say where no model is configured for the task.
const NOT_CONFIGURED: LlmError = LlmError::Unusable("no model is configured for it");

impl LlmError {
    /// How long to wait before asking again, when the server named a time.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after } => *retry_after,
            _ => None,
        }
    }
}

/// The model behind the gateway. Cheap to clone.
#[derive(Clone)]
pub enum Llm {
    /// An OpenAI-compatible server.
    Live(Arc<client::Live>),
    /// No key and no base URL are set: a built-in stand-in answers and says so.
    Offline,
}

impl Llm {
    /// The model that the configuration names, or the offline stand-in when it names neither key nor base URL.
    ///
    /// # Errors
    /// When the key or the base URL cannot be used.
    pub fn new(config: &LlmConfig) -> Result<Llm, SetupError> {
        if config.api_key.is_none() && config.base_url.is_none() {
            return Ok(Llm::Offline);
        }
        Ok(Llm::Live(Arc::new(client::Live::new(config)?)))
    }

    /// A whole answer within `timeout`, all retries included.
    ///
    /// # Errors
    /// When the server failed for all of `timeout` or gave nothing of use.
    pub async fn complete(&self, prompt: &Prompt, timeout: Duration) -> Result<Completion, LlmError> {
        match self {
            Self::Live(live) => live.complete(prompt, timeout).await,
            Self::Offline => Ok(offline::complete(prompt)),
        }
    }

    /// The pieces of an answer as they come, and [`Piece::End`]; the stream is over after that or after an error.
    ///
    /// Waits up to [`FIRST_PIECE`] for the first piece (retries included), then up to the configured time-out for each
    /// next one. An answer that turns out empty, refused or nonsensical before its first piece is asked for again once;
    /// one that only calls tools is none of these. Nothing is sent before the first poll; dropping the stream ends the
    /// request.
    pub fn stream(&self, prompt: Prompt) -> BoxStream<'static, Result<Piece, LlmError>> {
        match self {
            Self::Live(live) => stream::pieces(live.clone(), prompt).boxed(),
            Self::Offline => offline::stream(&prompt).boxed(),
        }
    }

    /// Yes or no, and a reply, to a text message within `timeout`, all retries included.
    ///
    /// What there is to decide is said in the prompt's `system`; how to answer is appended to it here.
    ///
    /// # Errors
    /// When the server failed for all of `timeout` or gave nothing of use.
    pub async fn decide(&self, prompt: &Prompt, timeout: Duration) -> Result<Decision, LlmError> {
        match self {
            Self::Live(live) => live.decide(prompt, timeout).await,
            Self::Offline => Ok(offline::decide(prompt)),
        }
    }

    /// A summary of the call that the prompt tells, and what the caller asked for, within `timeout`, all retries
    /// included.
    ///
    /// What there is to sum up is said in the prompt; how to answer is appended to its `system` here.
    ///
    /// # Errors
    /// When no model is configured, or the server failed for all of `timeout` or gave nothing of use.
    pub async fn summarise(&self, prompt: &Prompt, timeout: Duration) -> Result<Summary, LlmError> {
        match self {
            Self::Live(live) => live.summarise(prompt, timeout).await,
            Self::Offline => Err(NOT_CONFIGURED),
        }
    }

    /// Whether [`Llm::speak`] asks anybody; the offline stand-in has no voice.
    pub fn can_speak(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// `text` (at most 4096 characters) spoken by `voice`, one of OpenAI's names such as `nova`, within `timeout`, all
    /// retries included.
    ///
    /// # Errors
    /// Those of any request; [`LlmError::Rejected`] also for a text that is too long, [`LlmError::Unusable`] for an
    /// answer that is neither mp3 nor wav, and where [`Llm::can_speak`] is false.
    pub async fn speak(&self, text: &str, voice: &str, timeout: Duration) -> Result<Audio, LlmError> {
        match self {
            Self::Live(live) => live.speak(text, voice, timeout).await,
            Self::Offline => Err(NOT_CONFIGURED),
        }
    }

    /// Whether [`Llm::transcribe`] asks anybody: a server is configured, and a model for it.
    pub fn can_transcribe(&self) -> bool {
        matches!(self, Self::Live(live) if live.speech.transcribe_model.is_some())
    }

    /// The words in a recording, trimmed, within `timeout`, all retries included; empty when nothing was said.
    ///
    /// `file_name` tells the kind of audio by its ending (`message.wav`, `message.mp3`), `language` (ISO 639-1, such as
    /// `es`) what is spoken, if that is known.
    ///
    /// # Errors
    /// Those of any request; [`LlmError::Unusable`] also where [`Llm::can_transcribe`] is false.
    pub async fn transcribe(
        &self,
        audio: impl Into<Bytes>,
        file_name: &str,
        language: Option<&str>,
        timeout: Duration,
    ) -> Result<String, LlmError> {
        match self {
            Self::Live(live) => live.transcribe(audio.into(), file_name, language, timeout).await,
            Self::Offline => Err(NOT_CONFIGURED),
        }
    }
}
