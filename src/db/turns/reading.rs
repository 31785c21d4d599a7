//! Where turns are, for whoever tells them to the caller.

use super::TurnClaim;
use crate::clock::Micros;
use crate::db::conversations::NO_MODEL;
use crate::db::dialect::{postgres_now, sqlite_now};
use crate::db::reader::find_each;
use crate::db::relay::{BROKEN_INTO, BROKEN_OFF};
use crate::db::{Db, DbError, in_time, read};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};
use std::time::Duration;

/// Where a turn is.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The row, and the claim by which it is answered now.
    pub claim: TurnClaim,
    /// What was said.
    pub input_text: String,
    /// The sentences of the answer that are complete; an answer over ConversationRelay may be one piece.
    pub sentences: Vec<String>,
    /// Whether no more will come: the answer is complete, or failed.
    pub ended: bool,
    /// Whether the model failed; some sentences may be there all the same.
    pub failed: bool,
    /// What follows the answer: `end_call`, `transfer`, `voicemail`, or how it was broken off (`db/relay.rs`); else the
    /// conversation goes on.
    pub action: Option<String>,
    /// Whether a process is answering it or, when it has ended, its words are still being spoken.
    pub leased: bool,
    /// How long it takes to speak what was not spoken yet of an answer that is whole; see [`super::Heard::Spoken`].
    pub unspoken: Duration,
    /// See [`super::NewClaim::language`].
    pub language: Option<String>,
    /// See [`super::NewClaim::purpose`].
    pub purpose: Option<String>,
}

macro_rules! turn {
    ($now:ident) => {
        concat!(
            "turn.id, attempt, input_text, sentences, gpt_response, answered_at IS NOT NULL AS answered, failed, action, \
             COALESCE(lease_until, 0) - ",
            $now!(),
            " AS lease_left, language, purpose"
        )
    };
}
/// Each turn of a JSON list of [`TurnKey`].
const TURN_SQLITE: &str = concat!(
    "SELECT key.key AS place, ",
    turn!(sqlite_now),
    " FROM jsonb_each($1) AS key CROSS JOIN conversation_logs AS turn LEFT JOIN call_logs ON call_logs.call_sid = turn.call_sid \
     WHERE turn.call_sid = value ->> 'call_sid' AND turn.turn = value ->> 'turn'"
);
/// One turn.
const TURN_POSTGRES: &str = concat!(
    "SELECT ",
    turn!(postgres_now),
    " FROM conversation_logs AS turn LEFT JOIN call_logs ON call_logs.call_sid = turn.call_sid \
     WHERE turn.call_sid = $1 AND turn.turn = $2"
);

#[derive(Serialize)]
struct TurnKey {
    call_sid: String,
    turn: i64,
}

/// A turn as its row holds it.
#[derive(FromRow)]
struct TurnRow {
    #[sqlx(flatten)]
    claim: TurnClaim,
    input_text: String,
    sentences: String,
    gpt_response: Option<String>,
    answered: bool,
    failed: bool,
    action: Option<String>,
    lease_left: Micros,
    language: Option<String>,
    purpose: Option<String>,
}

/// The sentences that `progress_turn` wrote; an answer that was never cut into any is one piece.
fn sentences(written: &str, answer: Option<String>) -> Vec<String> {
    let sentences: Vec<String> = serde_json::from_str(written).unwrap_or_default();
    if sentences.is_empty() { answer.into_iter().collect() } else { sentences }
}

impl Db {
    /// Where a turn of a call is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn turn(&self, call_sid: &str, turn: i64) -> Result<Option<Turn>, DbError> {
        let row: Option<TurnRow> = match self {
            Self::Sqlite { reader, .. } => {
                reader.gather("turn", turns, TurnKey { call_sid: call_sid.to_owned(), turn }).await?
            }
            Self::Postgres(pool) => {
                let query = sqlx::query_as(TURN_POSTGRES).bind(call_sid).bind(turn);
                in_time(query.fetch_optional(pool)).await?
            }
        };
        Ok(row.map(|row| Turn {
            claim: row.claim,
            input_text: row.input_text,
            sentences: sentences(&row.sentences, row.gpt_response),
            ended: row.answered || row.failed,
            failed: row.failed,
            action: row.action,
            leased: row.lease_left >= 0,
            unspoken: Duration::from_micros(u64::try_from(row.lease_left).unwrap_or(0)),
            language: row.language,
            purpose: row.purpose,
        }))
    }

    /// What was answered last in a call before a turn, and reached the caller.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_answer(&self, call_sid: &str, before: i64) -> Result<Option<String>, DbError> {
        let text = "SELECT COALESCE(heard_text, gpt_response) FROM conversation_logs \
                    WHERE call_sid = $1 AND turn < $2 AND gpt_response IS NOT NULL AND COALESCE(heard_text, ' ') <> '' \
                    ORDER BY turn DESC LIMIT 1";
        let last: Option<(String,)> = read!(self, fetch_optional, text, call_sid, before)?;
        Ok(last.map(|(answer,)| answer))
    }

    /// What the model answered last in a call and was not broken off in, heard or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_whole_answer(&self, call_sid: &str) -> Result<Option<String>, DbError> {
        let text = "SELECT gpt_response FROM conversation_logs \
                    WHERE call_sid = $1 AND gpt_response IS NOT NULL AND gpt_response <> '' AND NOT failed \
                    AND COALESCE(action, '') NOT IN ($2, $3) AND model_used <> $4 \
                    ORDER BY turn DESC LIMIT 1";
        let last: Option<(String,)> = read!(self, fetch_optional, text, call_sid, BROKEN_OFF, BROKEN_INTO, NO_MODEL)?;
        Ok(last.map(|(answer,)| answer))
    }

    /// Whether the caller had an apology in place of this turn's answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_turn_late(&self, id: i64) -> Result<bool, DbError> {
        let late: Option<(bool,)> =
            read!(self, fetch_optional, "SELECT late FROM conversation_logs WHERE id = $1", id)?;
        Ok(late.is_some_and(|(late,)| late))
    }
}

fn turns<'c>(
    c: &'c mut SqliteConnection,
    keys: Vec<&'c TurnKey>,
) -> BoxFuture<'c, Result<Vec<Option<TurnRow>>, DbError>> {
    Box::pin(async move { find_each(c, TURN_SQLITE, &keys).await })
}
