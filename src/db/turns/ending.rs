//! How turns end, and what of their answers reached the caller.

use super::TurnClaim;
use crate::clock::{Micros, micros};
use crate::db::conversations::Answer;
use crate::db::dialect::{postgres_now, postgres_rows, sqlite_now, sqlite_rows};
use crate::db::news::{News, tell};
use crate::db::{Db, DbError, json_list, unit};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::SqliteConnection;
use std::collections::HashSet;
use std::time::Duration;

/// How a turn ended.
#[derive(Debug, Clone)]
pub struct TurnEnd {
    /// What was answered, which may be less than all when the model failed.
    pub answer: Option<Answer>,
    /// Whether the model failed.
    pub failed: bool,
    /// See [`super::Turn::action`].
    pub action: Option<&'static str>,
    /// What the caller heard of it.
    pub heard: Heard,
    /// Its sentences, which are none where it is one piece; `None` when those that are stored are all.
    pub sentences: Option<Vec<String>>,
    /// From the question to the end of the answer, in milliseconds.
    pub elapsed_ms: f64,
}

impl TurnEnd {
    /// The end of a turn that has no answer.
    pub fn unanswered() -> Self {
        Self { answer: None, failed: true, action: None, heard: Heard::AsTold, sentences: None, elapsed_ms: 0.0 }
    }
}

/// What of an answer reached the caller.
#[derive(Debug, Clone)]
pub enum Heard {
    /// All of it.
    All,
    /// All of it, once it is spoken, which takes this long. For that time the session that speaks it holds the turn: if
    /// it is lost sooner, what is left of the time tells what was not heard, however the loss is noticed.
    Spoken(Duration),
    /// What was told so far; the rest is told part by part.
    AsTold,
    /// Only this.
    Only(String),
    /// Only this, and then an apology: the rest came too late.
    TooLate(String),
}

/// The end of a turn as its row holds it.
#[derive(Serialize)]
struct EndRow {
    #[serde(flatten)]
    claim: TurnClaim,
    answer: Option<Answer>,
    failed: bool,
    elapsed_ms: f64,
    answered_at: Option<Micros>,
    action: Option<&'static str>,
    /// Whether what is stored as heard is what was heard.
    as_told: bool,
    heard: Option<String>,
    late: bool,
    /// JSON list.
    sentences: Option<String>,
    unspoken: Option<Micros>,
}

/// The turns that are still their claimants', of a JSON list of [`EndRow`]. `lease_until` is a lease while a turn is
/// open; once it has ended it tells until when its words are spoken, and is NULL where nobody has to know.
macro_rules! end {
    ($now:ident, $rows:ident) => {
        concat!(
            "UPDATE conversation_logs SET gpt_response = value -> 'answer' ->> 'text', failed = CAST(value ->> 'failed' AS BOOLEAN), \
             input_tokens = COALESCE(CAST(value -> 'answer' ->> 'input_tokens' AS BIGINT), input_tokens), \
             output_tokens = COALESCE(CAST(value -> 'answer' ->> 'output_tokens' AS BIGINT), output_tokens), \
             model_used = COALESCE(value -> 'answer' ->> 'model', model_used), \
             processing_time_ms = CAST(value ->> 'elapsed_ms' AS DOUBLE PRECISION), \
             answered_at = CAST(value ->> 'answered_at' AS BIGINT), action = value ->> 'action', lease_until = ",
            $now!(),
            " + CAST(value ->> 'unspoken' AS BIGINT), \
             heard_text = CASE WHEN CAST(value ->> 'as_told' AS BOOLEAN) THEN COALESCE(heard_text, '') ELSE value ->> 'heard' END, \
             late = late OR CAST(value ->> 'late' AS BOOLEAN), sentences = COALESCE(value ->> 'sentences', sentences) FROM ",
            $rows!(),
            " WHERE conversation_logs.id = CAST(value ->> 'id' AS BIGINT) \
             AND attempt = CAST(value ->> 'attempt' AS BIGINT) AND answered_at IS NULL AND NOT failed \
             RETURNING conversation_logs.id, attempt"
        )
    };
}
macro_rules! hold {
    ($now:ident) => {
        concat!("UPDATE conversation_logs SET lease_until = ", $now!(), " + $3 WHERE id = $1 AND attempt = $2")
    };
}

impl EndRow {
    fn new(now: Micros, claim: TurnClaim, end: TurnEnd) -> Self {
        let TurnEnd { answer, failed, action, heard, sentences, elapsed_ms } = end;
        let answered_at = answer.is_some().then_some(now);
        let (as_told, heard, late, unspoken) = match heard {
            Heard::All => (false, None, false, None),
            Heard::Spoken(time) => (false, None, false, Some(micros(time))),
            Heard::AsTold => (answer.is_some(), None, false, None),
            Heard::Only(text) => (false, Some(text), false, None),
            Heard::TooLate(text) => (false, Some(text), true, None),
        };
        let sentences = sentences.as_deref().map(json_list);
        Self { claim, answer, failed, elapsed_ms, answered_at, action, as_told, heard, late, sentences, unspoken }
    }
}

impl Db {
    /// Ends a turn. False when it is no longer the claimant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_turn(&self, now: Micros, claim: TurnClaim, end: TurnEnd) -> Result<bool, DbError> {
        let row = EndRow::new(now, claim, end);
        if let Self::Sqlite { writer, .. } = self {
            return writer.gather_one("turn's end", end_on_sqlite, row).await;
        }
        let (rows, news) = (json_list(&[row]), self.news(News::Turn(claim.id)));
        unit!(self, [rows, news], |c| {
            let query = sqlx::query(end!(postgres_now, postgres_rows)).bind(&rows);
            let written = query.execute(&mut *c).await?.rows_affected();
            tell!(c, news);
            Ok(written > 0)
        })
    }

    /// The whole answer of a turn is being spoken once more, which takes this long; see [`Heard::Spoken`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hold_turn(&self, claim: TurnClaim, unspoken: Duration) -> Result<(), DbError> {
        let text = self.text(hold!(sqlite_now), hold!(postgres_now));
        unit!(self, [], |c| {
            let query = sqlx::query(text).bind(claim.id).bind(claim.attempt).bind(micros(unspoken));
            query.execute(&mut *c).await?;
            Ok(())
        })
    }
}

fn end_on_sqlite<'c>(c: &'c mut SqliteConnection, rows: Vec<&'c EndRow>) -> BoxFuture<'c, Result<Vec<bool>, DbError>> {
    Box::pin(async move {
        let query = sqlx::query_as(end!(sqlite_now, sqlite_rows)).bind(json_list(&rows));
        let ended: Vec<TurnClaim> = query.fetch_all(&mut *c).await?;
        let mut ended: HashSet<TurnClaim> = ended.into_iter().collect();
        Ok(rows.iter().map(|row| ended.remove(&row.claim)).collect())
    })
}
