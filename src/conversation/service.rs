//! What the model is asked and how, for every way of talking: a spoken turn, and the REST API.

use super::party::Person;
use super::thread;
use crate::clock::Clock;
use crate::db::conversations::{Answer, Except};
use crate::db::{Db, DbError};
use crate::llm::{Llm, LlmError, Message, Piece, Prompt};
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the model is told of an answer that it was interrupted in; the sentences that are said already come last in the
/// conversation.
const GO_ON: &str = "You were interrupted in the middle of your answer. Your last message is what you have said so far: go on \
                     right after it, and repeat nothing of it.";
/// What the model is told of an answer that the caller was not told in time.
const LATE: &str = "Your last answer came too late: the caller did not hear it. If it still matters, begin with it, and say \
                    that it is about the earlier question.";

/// Answers what people say. Cheap to clone.
#[derive(Clone)]
pub struct ConversationService {
    db: Db,
    llm: Arc<Llm>,
    clock: Clock,
    system_prompt: Option<Arc<str>>,
    /// How long a whole answer may take that nobody waits for on the telephone.
    timeout: Duration,
}

/// Something said, by whom and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whose conversation it is.
    pub person: &'a Person,
    /// The other side; see [`super::party::Party::peer`].
    pub peer: &'a str,
    /// The words.
    pub text: &'a str,
    /// The row of these words, which is not part of what was said before.
    pub except: Except,
    /// Whether the answer will be spoken on a call.
    pub on_call: bool,
}

/// Why there is no reply or decision.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The model has none.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// The history cannot be read.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ConversationService {
    /// A service that speaks with `llm` and remembers in `db`. The operator's `system_prompt` replaces the built-in role.
    pub fn new(db: Db, llm: Arc<Llm>, clock: Clock, system_prompt: Option<&str>, timeout: Duration) -> Self {
        Self { db, llm, clock, system_prompt: system_prompt.map(Arc::from), timeout }
    }

    /// The model's whole answer, with what was said before in mind. Stores nothing.
    ///
    /// # Errors
    /// When the model gives no usable answer in time, or the history cannot be read.
    pub async fn answer(&self, asked: Asked<'_>) -> Result<Answer, AnswerError> {
        let started = Instant::now();
        let prompt = self.prompt(asked, &[]).await?;
        let completion = self.llm.complete(&prompt, self.timeout).await?;
        Ok(Answer {
            text: completion.text,
            input_tokens: completion.input_tokens.into(),
            output_tokens: completion.output_tokens.into(),
            model: completion.model,
            elapsed_ms: started.elapsed().as_secs_f64() * 1000.0,
        })
    }

    /// The model's answer as it is written, after the sentences that were `said` already if it was interrupted before.
    /// Nothing is asked before the first poll; dropping the stream ends the request.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub async fn speak(
        &self,
        asked: Asked<'_>,
        said: &[String],
    ) -> Result<BoxStream<'static, Result<Piece, LlmError>>, DbError> {
        Ok(self.llm.stream(self.prompt(asked, said).await?))
    }

    /// The operator's role for the model, or the built-in one.
    pub(crate) fn role(&self) -> &str {
        self.system_prompt.as_deref().unwrap_or("You are a helpful, friendly assistant.")
    }

    async fn prompt(&self, asked: Asked<'_>, said: &[String]) -> Result<Prompt, DbError> {
        let earlier = self.db.thread(asked.person.user_id, asked.peer, asked.except).await?;
        let thread = thread::thread(earlier, asked.text, self.clock.now(), asked.person.conversation_timeout);
        let mut system = self.instructions(&asked);
        let mut messages = thread.messages;
        if thread.answer_was_late && asked.on_call {
            system = format!("{system} {LATE}");
        }
        if !said.is_empty() {
            system = format!("{system} {GO_ON}");
            messages.push(Message::assistant(said.join(" ")));
            messages.push(Message::user("(Please go on.)"));
        }
        Ok(Prompt { system, messages, tools: Vec::new() })
    }

    fn instructions(&self, asked: &Asked<'_>) -> String {
        let manner = if asked.on_call {
            " You are on a telephone call and your words are read aloud: answer in a few short sentences of plain speech, \
             without lists, markup, emoji or web addresses."
        } else {
            ""
        };
        format!(
            "{}{manner} Answer in {} unless you are asked for another language.",
            self.role(),
            asked.person.language.name
        )
    }
}
