//! What webhooks say of calls is written down. On SQLite that of all calls that wait shares a statement.

use crate::clock::{Micros, SECOND};
use crate::config::AccountSid;
use crate::db::dialect::{postgres_rows, sqlite_rows};
use crate::db::news::{News, tell};
use crate::db::summaries::sum_up;
use crate::db::{Db, DbError, json_list, unit};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::SqliteConnection;

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
    /// See [`is_over_for_sure`].
    pub fn is_over_for_sure(&self) -> bool {
        is_over_for_sure(&self.status)
    }
}

/// Whether Twilio's call status is the end of a call for sure: one that loses a ConversationRelay session may be reported
/// as failed, and goes on.
pub fn is_over_for_sure(status: &str) -> bool {
    rank(status) == OVER && status != FAILED
}

/// The rank of every real end; SQL texts name it as 5.
const OVER: i64 = 5;

/// The status of a call that was never answered, or that lost a ConversationRelay session.
const FAILED: &str = "failed";

/// How late a status is in a call's life. A report never takes a call back; of two ends the first counts, but any real
/// end replaces one that was only presumed.
pub(in crate::db) fn rank(status: &str) -> i64 {
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
    at: Micros,
}

/// A later event fills in the user and raises the status; a final one sets end and length. A call that goes on after it
/// lost a ConversationRelay session does not fail any more. `rows` is a JSON list of [`CallRow`].
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
const SUM_UP_SQLITE: &str = sum_up!("SELECT value ->> 'call_sid' FROM jsonb_each($1)");
/// Records a call that is over for sure and makes its summary due.
const END_POSTGRES: &str = concat!(
    "WITH recorded AS (",
    record!(postgres_rows),
    ") ",
    sum_up!("SELECT value ->> 'call_sid' FROM json_array_elements(CAST($1 AS JSON)) AS rows (value)")
);

impl Db {
    /// Writes down what a webhook says of a call. `user_id` is the call's user when it is known; else the user is found
    /// by the numbers, and stays open when neither is anybody's. Whether a summary may be due because the call is over.
    ///
    /// # Errors
    /// When the database fails; [`DbError::NoParent`] when the user was deleted.
    pub async fn record_call(&self, user_id: Option<i64>, event: CallEvent) -> Result<bool, DbError> {
        let rank = rank(&event.status);
        let (is_over, is_over_for_sure) = (rank == OVER, event.is_over_for_sure());
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
            at: event.at,
        };
        match self {
            Self::Sqlite { writer, .. } if is_over_for_sure => writer.gather("end of a call", end_rows, row).await,
            Self::Sqlite { writer, .. } => writer.gather_one("call", record_rows, row).await,
            Self::Postgres(_) => {
                let rows = json_list(&[&row]);
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
}

fn record_rows<'c>(c: &'c mut SqliteConnection, rows: Vec<&'c CallRow>) -> BoxFuture<'c, Result<Vec<bool>, DbError>> {
    Box::pin(async move {
        sqlx::query(RECORD_SQLITE).bind(json_list(&rows)).execute(c).await?;
        Ok(vec![false; rows.len()])
    })
}

fn end_rows<'c>(c: &'c mut SqliteConnection, rows: Vec<&'c CallRow>) -> BoxFuture<'c, Result<Vec<bool>, DbError>> {
    Box::pin(async move {
        let list = json_list(&rows);
        sqlx::query(RECORD_SQLITE).bind(&list).execute(&mut *c).await?;
        let is_due = sqlx::query(SUM_UP_SQLITE).bind(&list).execute(c).await?.rows_affected() > 0;
        Ok(vec![is_due; rows.len()])
    })
}
