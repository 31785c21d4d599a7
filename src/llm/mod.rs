//! The language model: what it is told, what comes back, and what can go wrong.
//!
//! Any server that speaks OpenAI's Chat Completions serves. Callers see whole, usable answers or an [`LlmError`];
//! retries, the deviations of compatible servers and unusable answers are dealt with inside.

mod answer;
mod client;
mod decide;
mod dialect;
mod endpoint;
mod offline;
mod retry;
mod stream;
mod wire;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::BoxStream};
use serde::Serialize;

use crate::config::LlmConfig;

pub use endpoint::SetupError;

/// How long a call waits for the first piece of an answer, in all, before it is a [`LlmError::Timeout`].
pub const FIRST_PIECE: Duration = Duration::from_secs(60);

/// What the model is told: instructions, the conversation so far, and last (role user) what was said now.
///
/// What people say is only ever [`Role::User`], earlier answers [`Role::Assistant`]; neither ever enters `system`.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// Our instructions; none of it comes from the people who talk to the model. Empty: no system message is sent.
    pub system: String,
    /// Oldest first; the last one is what is to be answered.
    pub messages: Vec<Message>,
}

impl Prompt {
    /// What was said now: the newest message of the user, or nothing.
    fn last_said(&self) -> &str {
        self.messages.iter().rfind(|m| m.role == Role::User).map_or("", |m| m.content.as_str())
    }
}

/// One message of the conversation.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said, unchanged.
    pub content: String,
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person.
    User,
    /// The model, earlier.
    Assistant,
}

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Yes, no or unsure.
    pub verdict: Verdict,
    /// The reply, trimmed, with at least one letter or digit.
    pub reply_text: String,
    /// As in [`Completion`].
    pub input_tokens: u32,
    /// As in [`Completion`].
    pub output_tokens: u32,
    /// As in [`Completion`].
    pub model: String,
}

/// A piece of an answer that is still being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// More text, to be appended as it is.
    Text(String),
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
    pub fn new(config: &LlmConfig) -> Result<Llm, SetupError> {
        if config.api_key.is_none() && config.base_url.is_none() {
            return Ok(Llm::Offline);
        }
        Ok(Llm::Live(Arc::new(client::Live::new(config)?)))
    }

    /// A whole answer within `timeout`, all retries included.
    pub async fn complete(&self, prompt: &Prompt, timeout: Duration) -> Result<Completion, LlmError> {
        match self {
            Self::Live(live) => live.complete(prompt, client::Manner::whole(timeout)).await,
            Self::Offline => Ok(offline::complete(prompt)),
        }
    }

    /// The pieces of an answer as they come, and [`Piece::End`]; the stream is over after that or after an error.
    ///
    /// Waits up to [`FIRST_PIECE`] for the first piece (retries included), then up to the configured time-out for each
    /// next one. An answer that turns out empty, refused or nonsensical before its first piece is asked for again
    /// once. Nothing is sent before the first poll; dropping the stream ends the request.
    pub fn stream(&self, prompt: Prompt) -> BoxStream<'static, Result<Piece, LlmError>> {
        match self {
            Self::Live(live) => stream::pieces(live.clone(), prompt).boxed(),
            Self::Offline => offline::stream(&prompt).boxed(),
        }
    }

    /// The answer of a call as a whole: asked for and timed like [`Llm::stream`], checked like [`Llm::complete`].
    pub async fn complete_call(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        match self {
            Self::Live(live) => live.complete(prompt, client::Manner::Call).await,
            Self::Offline => Ok(offline::complete(prompt)),
        }
    }

    /// Yes or no, and a reply, to a text message within `timeout`, all retries included.
    ///
    /// What there is to decide is said in the prompt's `system`; how to answer is appended to it here.
    pub async fn decide(&self, prompt: &Prompt, timeout: Duration) -> Result<Decision, LlmError> {
        match self {
            Self::Live(live) => live.decide(prompt, client::Manner::whole(timeout)).await,
            Self::Offline => Ok(offline::decide(prompt)),
        }
    }
}
