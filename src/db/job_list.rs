//! The outbox's rows as operators see them.

use super::dialect::{postgres_now, sqlite_now};
use super::jobs::{ANSWER, DRAFT, REPLY};
use super::outbound::SEND;
use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use sqlx::FromRow;

/// A job and how it stands.
#[derive(Debug, Clone, FromRow)]
pub struct ListedJob {
    /// The row's id, by which lists page.
    pub id: i64,
    /// What is to be done.
    pub kind: String,
    /// `waiting`, `running` or `gave_up`.
    pub state: String,
    /// The row it is about.
    pub subject_id: i64,
    /// Our address and the other side's, with a blank between, and perhaps a word more; only for jobs about texts.
    pub lane: Option<String>,
    /// When it is due; of one that runs the end of its lease.
    pub run_at: Micros,
    /// How often it was begun.
    pub attempts: i64,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: Micros,
}

/// What came of asking for a retry.
#[derive(Debug)]
pub enum Retry {
    /// The job is due now.
    Due(ListedJob),
    /// It is being worked on.
    Running,
    /// There is no such job.
    Unknown,
}

/// The columns of a [`ListedJob`]. Leases are by the database's clock.
macro_rules! listed {
    ($now:ident) => {
        concat!(
            "id, kind, CASE WHEN gave_up_at IS NOT NULL THEN 'gave_up' WHEN claimed AND run_at > ",
            $now!(),
            " THEN 'running' ELSE 'waiting' END AS state, subject_id, lane, run_at, attempts, last_error, created_at"
        )
    };
}

macro_rules! list {
    ($now:ident) => {
        concat!(
            "SELECT * FROM (SELECT ",
            listed!($now),
            " FROM jobs WHERE id < $1) AS listed WHERE CAST($2 AS TEXT) IS NULL OR state = $2 ORDER BY id DESC LIMIT $3"
        )
    };
}

macro_rules! retry {
    ($now:ident) => {
        concat!(
            "UPDATE jobs SET run_at = $1, gave_up_at = NULL, claimed = FALSE, tried_since = $1 \
             WHERE id = $2 AND (gave_up_at IS NOT NULL OR NOT claimed OR run_at <= ",
            $now!(),
            ") RETURNING ",
            listed!($now)
        )
    };
}

impl Db {
    /// The jobs, newest first, those before the id `before`; only those in `state` if one is given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jobs(&self, state: Option<&str>, before: i64, limit: i64) -> Result<Vec<ListedJob>, DbError> {
        let text = self.text(list!(sqlite_now), list!(postgres_now));
        read!(self, fetch_all, text, before, state, limit)
    }

    /// Makes a job that waits or was given up due now, and begins its patience anew; its text is no longer shown as
    /// failed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retry_job(&self, now: Micros, id: i64) -> Result<Retry, DbError> {
        let text = self.text(retry!(sqlite_now), retry!(postgres_now));
        unit!(self, [], |c| {
            let due: Option<ListedJob> = sqlx::query_as(text).bind(now).bind(id).fetch_optional(&mut *c).await?;
            let Some(job) = due else {
                let known: Option<(i64,)> =
                    sqlx::query_as("SELECT id FROM jobs WHERE id = $1").bind(id).fetch_optional(&mut *c).await?;
                return Ok(if known.is_some() { Retry::Running } else { Retry::Unknown });
            };
            if matches!(job.kind.as_str(), REPLY | DRAFT | SEND | ANSWER) {
                sqlx::query(
                    "UPDATE sms_logs SET error_code = NULL, \
                     reply_status = CASE WHEN reply_text IS NULL THEN NULL ELSE 'pending' END \
                     WHERE id = $1 AND reply_status = 'failed' AND reply_sid IS NULL",
                )
                .bind(job.subject_id)
                .execute(&mut *c)
                .await?;
                let text = "UPDATE reply_parts SET status = 'pending', error_code = NULL \
                            WHERE text_id = $1 AND status = 'failed' AND sid IS NULL";
                sqlx::query(text).bind(job.subject_id).execute(&mut *c).await?;
            }
            Ok(Retry::Due(job))
        })
    }
}
