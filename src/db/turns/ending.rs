//! How turns end, and what of their answers reached the caller.

use super::TurnClaim;
use crate::clock::{Micros, micros};
use crate::db::conversations::Answer;
use crate::db::dialect::{postgres_now, sqlite_now};
use crate::db::news::{News, tell};
use crate::db::{Db, DbError, json_list, unit};
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
    /// All of it, once it is spoken, which takes this long. For that time the session that speaks it holds the turn: if it is
    /// lost sooner, what is left of the time tells what was not heard, however the loss is noticed.
    Spoken(Duration),
    /// What was told so far; the rest is told part by part.
    AsTold,
    /// Only this.
    Only(String),
    /// Only this, and then an apology: the rest came too late.
    TooLate(String),
}

/// `lease_until` is a lease while a turn is open; once it has ended it tells until when its words are spoken, and is NULL where
/// nobody has to know.
macro_rules! end {
    ($now:ident) => {
        concat!(
            "UPDATE conversation_logs SET gpt_response = $3, failed = $4, input_tokens = COALESCE($5, input_tokens), \
             output_tokens = COALESCE($6, output_tokens), model_used = COALESCE($7, model_used), \
             processing_time_ms = $8, answered_at = $9, action = $10, lease_until = ",
            $now!(),
            " + $15, heard_text = CASE WHEN $11 THEN COALESCE(heard_text, '') ELSE $12 END, late = late OR $13, \
             sentences = COALESCE($14, sentences) \
             WHERE id = $1 AND attempt = $2 AND answered_at IS NULL AND NOT failed"
        )
    };
}
macro_rules! hold {
    ($now:ident) => {
        concat!("UPDATE conversation_logs SET lease_until = ", $now!(), " + $3 WHERE id = $1 AND attempt = $2")
    };
}

impl Db {
    /// Ends a turn. False when it is no longer the claimant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_turn(&self, now: Micros, claim: TurnClaim, end: TurnEnd) -> Result<bool, DbError> {
        let text = self.text(end!(sqlite_now), end!(postgres_now));
        let news = self.news(News::Turn(claim.id));
        unit!(self, [end, news], |c| {
            let answer = end.answer.as_ref();
            let sentences = end.sentences.as_deref().map(json_list);
            let (as_told, heard) = match &end.heard {
                Heard::All | Heard::Spoken(_) => (false, None),
                Heard::AsTold => (true, None),
                Heard::Only(text) | Heard::TooLate(text) => (false, Some(text.as_str())),
            };
            let late = matches!(end.heard, Heard::TooLate(_));
            let unspoken = if let Heard::Spoken(time) = end.heard { Some(micros(time)) } else { None };
            let written = sqlx::query(text)
                .bind(claim.id)
                .bind(claim.attempt)
                .bind(answer.map(|a| a.text.as_str()))
                .bind(end.failed)
                .bind(answer.map(|a| a.input_tokens))
                .bind(answer.map(|a| a.output_tokens))
                .bind(answer.map(|a| a.model.as_str()))
                .bind(end.elapsed_ms)
                .bind(answer.is_some().then_some(now))
                .bind(end.action)
                .bind(as_told && answer.is_some())
                .bind(heard)
                .bind(late)
                .bind(sentences)
                .bind(unspoken)
                .execute(&mut *c)
                .await?
                .rows_affected();
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
