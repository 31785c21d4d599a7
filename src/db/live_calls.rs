//! The turns of any call as it goes on.

use super::{Db, DbError, read};
use crate::clock::Micros;
use sqlx::FromRow;

/// A turn of a call.
#[derive(Debug, Clone, FromRow)]
pub struct LiveTurn {
    /// Its number in the call.
    pub turn: i64,
    /// What was said; empty when we called and the assistant spoke first.
    pub input_text: String,
    /// What was answered; none while it is being written, or when the model failed.
    pub gpt_response: Option<String>,
    /// What is there of an answer that is being given: a JSON list of sentences, or of one piece.
    pub sentences: String,
    /// What of the answer reached the person, when it was not all.
    pub heard_text: Option<String>,
    /// When it was said.
    pub created_at: Micros,
}

impl Db {
    /// The turns of a call so far.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn turns_of(&self, call_sid: &str) -> Result<Vec<LiveTurn>, DbError> {
        let text = "SELECT turn, input_text, gpt_response, sentences, heard_text, created_at FROM conversation_logs \
                    WHERE call_sid = $1 AND turn IS NOT NULL ORDER BY turn";
        read!(self, fetch_all, text, call_sid)
    }
}
