//! One `reply` for every way of talking: a spoken turn, and the REST API.

use super::party::Person;
use super::thread;
use crate::clock::Clock;
use crate::db::conversations::{Answer, Except};
use crate::db::{Db, DbError};
use crate::llm::{Completion, End, Llm, LlmError, Piece, Prompt};
use futures_util::{Stream, StreamExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

    /// The model's answer, with what was said before in mind. Stores nothing.
    ///
    /// # Errors
    /// When the model gives no usable answer in time, or the history cannot be read.
    pub async fn reply(&self, asked: Asked<'_>) -> Result<Answer, AnswerError> {
        let started = Instant::now();
        let earlier = self.db.thread(asked.person.user_id, asked.peer, asked.except).await?;
        let messages = thread::messages(earlier, asked.text, self.clock.now(), asked.person.conversation_timeout);
        let prompt = Prompt { system: self.instructions(&asked), messages, ..Prompt::default() };
        let completion = if asked.on_call {
            collected(self.llm.stream(prompt)).await?
        } else {
            self.llm.complete(&prompt, self.timeout).await?
        };
        Ok(Answer {
            text: completion.text,
            input_tokens: completion.input_tokens.into(),
            output_tokens: completion.output_tokens.into(),
            model: completion.model,
            elapsed_ms: started.elapsed().as_secs_f64() * 1000.0,
        })
    }

    /// The operator's role for the model, or the built-in one.
    pub(crate) fn role(&self) -> &str {
        self.system_prompt.as_deref().unwrap_or("You are a helpful, friendly assistant.")
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

/// A streamed answer as a whole.
async fn collected(mut pieces: impl Stream<Item = Result<Piece, LlmError>> + Unpin) -> Result<Completion, LlmError> {
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        match piece? {
            Piece::Text(more) => text.push_str(&more),
            Piece::Tool(_) => {}
            Piece::End(End { input_tokens, output_tokens, model, .. }) => {
                return Ok(Completion { text: text.trim_end().to_owned(), input_tokens, output_tokens, model });
            }
        }
    }
    Err(LlmError::Unusable("it has no end"))
}
