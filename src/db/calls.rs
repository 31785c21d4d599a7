//! The call log: one row a CallSid, whatever order its webhooks come in.

use super::dialect::{postgres_rows, sqlite_rows};
use super::news::{News, tell};
use super::summaries::sum_up;
use super::{Db, DbError, read, unit};
use crate::clock::{Micros, SECOND};
use crate::config::AccountSid;
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};

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

/// What one webhook says of a call.
#[derive(Debug, Clone)]
pub struct CallEvent {
    /// The Twilio account.
    pub account_sid: Option<AccountSid>,
    /// Twilio's id.
    pub call_sid: String,
    /// `inbound`, `outbound-api` or `outbound-dial`.
    pub direction: String,
    /// The caller's address.
    pub from: String,
    /// The called address.
    pub to: String,
    /// Twilio's call status.
    pub status: String,
    /// Length in seconds, in the final event.
    pub duration_seconds: Option<i64>,
    /// When it happened.
    pub at: Micros,
}

impl CallEvent {
    /// Whether it is the end of the call, as far as this webhook tells.
    pub fn is_over(&self) -> bool {
        rank(&self.status) == OVER
    }

    /// Whether it is the end for sure: a call that loses a ConversationRelay session may be reported as failed, and goes on.
    pub fn is_over_for_sure(&self) -> bool {
        self.is_over() && self.status != FAILED
    }
}

/// The rank of every real end; SQL texts name it as 5.
const OVER: i64 = 5;

/// The status of a call that was never answered, or that lost a ConversationRelay session.
const FAILED: &str = "failed";

/// How late a status is in a call's life. A report never takes a call back; of two ends the first counts, but any real end
/// replaces one that was only presumed.
pub(super) fn rank(status: &str) -> i64 {
    match status {
        "queued" => 0,
        "initiated" => 1,
        "ringing" => 2,
        "in-progress" => 3,
        UNKNOWN_END => 4,
        "completed" | "busy" | "no-answer" | "failed" | "canceled" => OVER,
        _ => 2,
    }
}

/// A call whose end was not reported in this time is closed.
pub const FORGOTTEN_AFTER: Micros = 4 * 3600 * SECOND;

/// The status of a call whose end was never reported.
pub const UNKNOWN_END: &str = "unknown-end";

/// A call's row as one event writes it.
#[derive(Debug, Clone, Serialize)]
struct CallRow {
    account_sid: Option<AccountSid>,
    user_id: Option<i64>,
    call_sid: String,
    direction: String,
    from_number: String,
    to_number: String,
    status: String,
    rank: i64,
    duration: Option<i64>,
    started_at: Micros,
    ended_at: Option<Micros>,
    is_over_for_sure: bool,
    at: Micros,
}

/// A later event fills in the user and raises the status; a final one sets end and length. A call that goes on after it lost a
/// ConversationRelay session does not fail any more. `rows` is a JSON list of [`CallRow`].
macro_rules! record {
    ($rows:ident) => {
        concat!(
            "INSERT INTO call_logs (user_id, call_sid, direction, from_number, to_number, status, status_rank, \
             duration_seconds, started_at, ended_at, created_at, account_sid) \
             SELECT COALESCE(CAST(value ->> 'user_id' AS BIGINT), \
             (SELECT id FROM users WHERE phone_number = value ->> 'from_number'), \
             (SELECT id FROM users WHERE phone_number = value ->> 'to_number')), \
             value ->> 'call_sid', value ->> 'direction', value ->> 'from_number', value ->> 'to_number', value ->> 'status', \
             CAST(value ->> 'rank' AS BIGINT), CAST(value ->> 'duration' AS BIGINT), \
             CAST(value ->> 'started_at' AS BIGINT), CAST(value ->> 'ended_at' AS BIGINT), CAST(value ->> 'at' AS BIGINT), \
             value ->> 'account_sid' FROM ", $rows!(), " WHERE TRUE \
             ON CONFLICT (call_sid) DO UPDATE SET \
             user_id = COALESCE(call_logs.user_id, excluded.user_id), \
             account_sid = COALESCE(call_logs.account_sid, excluded.account_sid), \
             status = CASE WHEN excluded.status_rank > call_logs.status_rank THEN excluded.status ELSE call_logs.status END, \
             status_rank = CASE WHEN excluded.status_rank > call_logs.status_rank THEN excluded.status_rank \
             ELSE call_logs.status_rank END, \
             duration_seconds = CASE WHEN call_logs.status_rank < 5 \
             THEN COALESCE(excluded.duration_seconds, call_logs.duration_seconds) \
             ELSE COALESCE(call_logs.duration_seconds, excluded.duration_seconds) END, \
             ended_at = CASE WHEN call_logs.status_rank < 5 \
             THEN COALESCE(excluded.ended_at, call_logs.ended_at) ELSE call_logs.ended_at END, \
             started_at = CASE WHEN excluded.started_at < call_logs.started_at \
             THEN excluded.started_at ELSE call_logs.started_at END \
             WHERE excluded.status <> 'failed' OR call_logs.relay_session IS NULL"
        )
    };
}
const RECORD_SQLITE: &str = record!(sqlite_rows);
const RECORD_POSTGRES: &str = record!(postgres_rows);

/// The summaries of calls that are over for sure are due: `$1` is the same list of [`CallRow`].
const SUM_UP_SQLITE: &str =
    sum_up!("SELECT value ->> 'call_sid' FROM jsonb_each($1) WHERE value ->> 'is_over_for_sure'");
/// Records a call that is over for sure and makes its summary due.
const END_POSTGRES: &str = concat!(
    "WITH recorded AS (",
    record!(postgres_rows),
    ") ",
    sum_up!("SELECT value ->> 'call_sid' FROM json_array_elements(CAST($1 AS JSON)) AS rows (value)")
);

/// How a call goes on.
#[derive(Debug, Clone, FromRow)]
pub struct CallState {
    /// The tag of the language that is spoken, when it is no longer the user's own.
    pub language: Option<String>,
    /// When the call began.
    pub started_at: Option<Micros>,
}

impl Db {
    /// Writes down what a webhook says of a call. `user_id` is the call's user when it is known; else the user is found by
    /// the numbers, and stays open when neither is anybody's. Whether a summary may be due because the call is over.
    ///
    /// # Errors
    /// When the database fails; [`DbError::NoParent`] when the user was deleted.
    pub async fn record_call(&self, user_id: Option<i64>, event: CallEvent) -> Result<bool, DbError> {
        let rank = rank(&event.status);
        let (is_over, is_over_for_sure) = (event.is_over(), event.is_over_for_sure());
        let duration = event.duration_seconds.filter(|_| is_over);
        let row = CallRow {
            account_sid: event.account_sid,
            user_id,
            call_sid: event.call_sid,
            direction: event.direction,
            from_number: event.from,
            to_number: event.to,
            status: event.status,
            rank,
            duration,
            // An end that comes before any other event knows the start from the length.
            started_at: event.at - duration.unwrap_or(0) * SECOND,
            ended_at: is_over.then_some(event.at),
            is_over_for_sure,
            at: event.at,
        };
        match self {
            Self::Sqlite { writer, .. } => writer.gather_one("call", record_rows, row).await,
            Self::Postgres(_) => {
                let rows = super::json_list(&[&row]);
                let text = if is_over_for_sure { END_POSTGRES } else { RECORD_POSTGRES };
                let news = is_over_for_sure.then(|| self.news(News::HungUp(row.call_sid.clone()))).flatten();
                unit!(self, [rows, news], |c| {
                    let written = sqlx::query(text).bind(&rows).execute(&mut *c).await?.rows_affected();
                    tell!(c, news);
                    Ok(is_over_for_sure && written > 0)
                })
            }
        }
    }

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

fn record_rows<'c>(c: &'c mut SqliteConnection, rows: Vec<&'c CallRow>) -> BoxFuture<'c, Result<Vec<bool>, DbError>> {
    Box::pin(async move {
        let list = super::json_list(&rows);
        sqlx::query(RECORD_SQLITE).bind(&list).execute(&mut *c).await?;
        let mut is_due = false;
        if rows.iter().any(|row| row.is_over_for_sure) {
            is_due = sqlx::query(SUM_UP_SQLITE).bind(&list).execute(c).await?.rows_affected() > 0;
        }
        Ok(vec![is_due; rows.len()])
    })
}
