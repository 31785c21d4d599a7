//! The call log: one row a CallSid, whatever order its webhooks come in.

mod recording;

use super::{Db, DbError, read, unit};
use crate::clock::Micros;
pub(super) use recording::rank;
pub use recording::{CallEvent, FORGOTTEN_AFTER, UNKNOWN_END, is_over_for_sure};
use sqlx::FromRow;

/// One call.
#[derive(Debug, Clone, FromRow)]
pub struct Call {
    /// The row's id, by which lists page.
    pub id: i64,
    /// Whose call it is.
    pub user_id: i64,
    /// Twilio's id.
    pub call_sid: String,
    /// `inbound`, `outbound-api` or `outbound-dial`.
    pub direction: String,
    /// As Twilio gave it; may be no number.
    pub from_number: String,
    /// As Twilio gave it.
    pub to_number: String,
    /// Twilio's call status, or `unknown-end` when its end was never reported.
    pub status: String,
    /// The Twilio account, when it is known.
    pub account_sid: Option<String>,
    /// Why we called, when we did.
    pub purpose: Option<String>,
    /// Who answered a call of ours, in Twilio's words.
    pub answered_by: Option<String>,
    /// Length of a finished call, in seconds.
    pub duration_seconds: Option<i64>,
    /// When it was first heard of.
    pub started_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// What was said, in short, once it was summed up.
    pub summary: Option<String>,
    /// What the caller asked for: a JSON list.
    pub requests: Option<String>,
    /// When the row was made.
    pub created_at: Micros,
}

macro_rules! call {
    ($where:literal) => {
        concat!(
            "SELECT id, user_id, call_sid, direction, from_number, to_number, status, account_sid, purpose, answered_by, \
             duration_seconds, started_at, ended_at, summary, requests, created_at FROM call_logs WHERE ",
            $where
        )
    };
}

/// How a call goes on.
#[derive(Debug, Clone, FromRow)]
pub struct CallState {
    /// The tag of the language that is spoken, when it is no longer the user's own.
    pub language: Option<String>,
    /// When the call began.
    pub started_at: Option<Micros>,
}

impl Db {
    /// The call goes on in the language with this tag.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn switch_call(&self, call_sid: &str, language: &'static str) -> Result<(), DbError> {
        let call_sid = call_sid.to_owned();
        unit!(self, [call_sid], |c| {
            let query = sqlx::query("UPDATE call_logs SET language = $2 WHERE call_sid = $1");
            query.bind(&call_sid).bind(language).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// How a call goes on; `None` when it is not written down yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn call_state(&self, call_sid: &str) -> Result<Option<CallState>, DbError> {
        let text = "SELECT language, started_at FROM call_logs WHERE call_sid = $1";
        read!(self, fetch_optional, text, call_sid)
    }

    /// The Twilio account of a call, as far as it is known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account_of_call(&self, call_sid: &str) -> Result<Option<String>, DbError> {
        let text = "SELECT account_sid FROM call_logs WHERE call_sid = $1";
        let known: Option<(Option<String>,)> = read!(self, fetch_optional, text, call_sid)?;
        Ok(known.and_then(|(account,)| account))
    }

    /// Closes the calls first heard of before `before` whose end was never reported; answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close_forgotten_calls(&self, now: Micros, before: Micros) -> Result<u64, DbError> {
        unit!(self, [], |c| {
            let text = "UPDATE call_logs SET status = $3, status_rank = $4, ended_at = $1 \
                        WHERE ended_at IS NULL AND created_at < $2";
            let query = sqlx::query(text).bind(now).bind(before).bind(UNKNOWN_END).bind(rank(UNKNOWN_END));
            Ok(query.execute(&mut *c).await?.rows_affected())
        })
    }

    /// A user's call by its CallSid; `None` when it is not known, or nobody's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn call(&self, call_sid: &str) -> Result<Option<Call>, DbError> {
        read!(self, fetch_optional, call!("call_sid = $1 AND user_id IS NOT NULL"), call_sid)
    }

    /// The user's calls, newest first, those before the id `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn calls(&self, user_id: i64, before: i64, limit: i64) -> Result<Vec<Call>, DbError> {
        read!(self, fetch_all, call!("user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"), user_id, before, limit)
    }
}
