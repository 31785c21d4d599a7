//! The outbox's rows: work that must happen, even after a crash.

use super::dialect::{postgres_now, sqlite_now};
use super::opt_outs::heed_refusal;
use super::outbound::SEND;
use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use sqlx::FromRow;

/// The job that answers a text; its subject is the row in `sms_logs`.
pub const REPLY: &str = "reply";
/// The job that decides about a text and writes a draft; its subject is the row in `sms_logs`.
pub const DRAFT: &str = "draft";
/// The job that finds out whether a reply in TwiML went out, and sends it if not; its subject is the row in `sms_logs`.
pub const ANSWER: &str = "answer";
/// The job that fetches a voicemail, has its words written down and tells its owner; its subject is the row in
/// `voicemails`.
pub const VOICEMAIL: &str = "voicemail";
/// The job that sums a call up; its subject is the row of the call's first turn in `conversation_logs`.
pub const SUMMARY: &str = "summary";

/// A claimed job. `attempts` is the number of the claim: a write under an older number matches no row.
#[derive(Debug, Clone, FromRow)]
pub struct Job {
    /// Never used again.
    pub id: i64,
    /// What is to be done, [`REPLY`] for one.
    pub kind: String,
    /// The row it is about.
    pub subject_id: i64,
    /// How often it was claimed, this time included; 0 when it waits for its turn.
    pub attempts: i64,
    /// Since when it is tried: when it was first claimed, or when it was begun anew.
    pub tried_since: Micros,
}

/// The columns of a [`Job`].
macro_rules! job_columns {
    () => {
        "id, kind, subject_id, attempts, COALESCE(tried_since, created_at) AS tried_since"
    };
}
pub(super) use job_columns;

/// The lane of the texts between two addresses: its jobs are done one after the other, in the order in which they were
/// written.
pub(super) fn lane(ours: &str, theirs: &str) -> String {
    format!("{ours} {theirs}")
}

impl Job {
    /// Whether it is about a row in `sms_logs`.
    fn is_of_text(&self) -> bool {
        matches!(self.kind.as_str(), REPLY | DRAFT | SEND | ANSWER)
    }
}

/// Whether no older job of its lane is unfinished.
macro_rules! is_next {
    () => {
        "(lane IS NULL OR NOT EXISTS (SELECT 1 FROM jobs AS older \
         WHERE older.lane = jobs.lane AND older.id < jobs.id AND older.gave_up_at IS NULL))"
    };
}

/// Whether it is to be done, and this version knows how; what a newer one wrote is left to that one.
macro_rules! is_doable {
    () => {
        "gave_up_at IS NULL AND kind IN ('reply', 'draft', 'send', 'answer', 'voicemail', 'summary')"
    };
}

/// The claim of jobs that are due by our clock, or whose lease is over by the database's. `$lock` keeps two workers on
/// PostgreSQL from waiting for the same rows.
macro_rules! claim {
    ($now:ident, $lock:literal) => {
        concat!(
            "WITH now AS MATERIALIZED (SELECT theirs, CASE WHEN $1 > theirs THEN $1 ELSE theirs END AS latest FROM (SELECT ",
            $now!(),
            " AS theirs) AS clock), \
             due AS MATERIALIZED (SELECT id FROM jobs WHERE run_at <= (SELECT latest FROM now) \
             AND run_at <= CASE WHEN claimed THEN (SELECT theirs FROM now) ELSE $1 END AND ",
            is_doable!(),
            " AND ",
            is_next!(),
            " ORDER BY run_at, id LIMIT $3 ",
            $lock,
            ") UPDATE jobs SET run_at = (SELECT theirs FROM now) + $2, attempts = attempts + 1, claimed = TRUE, \
             tried_since = CASE WHEN attempts = 0 THEN $1 ELSE tried_since END WHERE id IN (SELECT id FROM due) RETURNING ",
            job_columns!()
        )
    };
}

macro_rules! renew {
    ($now:ident) => {
        concat!("UPDATE jobs SET run_at = $3 + ", $now!(), " WHERE id = $1 AND attempts = $2")
    };
}

impl Db {
    /// Claims the jobs that have been due for longest, at most `most`, for the length of a `lease`; after that they may
    /// be claimed again. Leases are by the database's clock, for those of several machines may differ by more. Of a
    /// lane only the oldest unfinished job is claimed, so that nothing overtakes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_jobs(&self, now: Micros, lease: Micros, most: usize) -> Result<Vec<Job>, DbError> {
        let text = self.text(claim!(sqlite_now, ""), claim!(postgres_now, "FOR UPDATE SKIP LOCKED"));
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        unit!(self, [], |c| { Ok(sqlx::query_as(text).bind(now).bind(lease).bind(most).fetch_all(&mut *c).await?) })
    }

    /// Holds a claimed job for another `lease`. False when it is no longer the claimant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew_claim(&self, job: &Job, lease: Micros) -> Result<bool, DbError> {
        let (id, attempts, text) = (job.id, job.attempts, self.text(renew!(sqlite_now), renew!(postgres_now)));
        unit!(self, [], |c| {
            let query = sqlx::query(text).bind(id).bind(attempts).bind(lease);
            Ok(query.execute(&mut *c).await?.rows_affected() > 0)
        })
    }

    /// Leaves a claimed job for `run_at`, with the reason why this try failed. `tried_since` begins its patience anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_off_job(
        &self,
        job: &Job,
        run_at: Micros,
        error: String,
        tried_since: Option<Micros>,
    ) -> Result<(), DbError> {
        let (id, attempts) = (job.id, job.attempts);
        unit!(self, [error], |c| {
            sqlx::query(
                "UPDATE jobs SET run_at = $3, claimed = FALSE, last_error = $4, tried_since = COALESCE($5, tried_since) \
                 WHERE id = $1 AND attempts = $2",
            )
            .bind(id)
            .bind(attempts)
            .bind(run_at)
            .bind(&error)
            .bind(tried_since)
            .execute(&mut *c)
            .await?;
            Ok(())
        })
    }

    /// Makes all claimed jobs due now: whoever held them is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_jobs(&self, now: Micros) -> Result<(), DbError> {
        unit!(self, [], |c| {
            sqlx::query("UPDATE jobs SET run_at = $1, claimed = FALSE WHERE claimed AND gave_up_at IS NULL")
                .bind(now)
                .execute(&mut *c)
                .await?;
            Ok(())
        })
    }

    /// Gives a claimed job up: it is kept with its reason. The text of one that is about a text shows that the reply
    /// failed, unless Twilio has reported on it, and the message that was under way too; if Twilio's error code says
    /// that the receiver opted out, that is remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn give_up_job(&self, now: Micros, job: &Job, error: String, code: Option<i64>) -> Result<(), DbError> {
        let job = job.clone();
        unit!(self, [job, error], |c| {
            let kept = sqlx::query(
                "UPDATE jobs SET gave_up_at = $3, claimed = FALSE, last_error = $4 WHERE id = $1 AND attempts = $2",
            )
            .bind(job.id)
            .bind(job.attempts)
            .bind(now)
            .bind(&error)
            .execute(&mut *c)
            .await?
            .rows_affected();
            if kept == 0 || !job.is_of_text() {
                return Ok(());
            }
            heed_refusal!(c, now, job.subject_id, code);
            sqlx::query(
                "UPDATE sms_logs SET reply_status = 'failed', error_code = $2 WHERE id = $1 AND reply_sid IS NULL",
            )
            .bind(job.subject_id)
            .bind(code)
            .execute(&mut *c)
            .await?;
            sqlx::query(
                "UPDATE reply_parts SET status = 'failed', error_code = $2 WHERE text_id = $1 \
                 AND position = (SELECT MIN(position) FROM reply_parts WHERE text_id = $1 AND sid IS NULL)",
            )
            .bind(job.subject_id)
            .bind(code)
            .execute(&mut *c)
            .await?;
            Ok(())
        })
    }

    /// Deletes a claimed job that has nothing left to do, as when its subject is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_job(&self, job: &Job) -> Result<(), DbError> {
        let (id, attempts) = (job.id, job.attempts);
        unit!(self, [], |c| {
            sqlx::query("DELETE FROM jobs WHERE id = $1 AND attempts = $2")
                .bind(id)
                .bind(attempts)
                .execute(&mut *c)
                .await?;
            Ok(())
        })
    }

    /// When the next job is due that nobody has claimed and that need not wait for another one of its lane; `None` when
    /// nothing waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_job_at(&self) -> Result<Option<Micros>, DbError> {
        let text = concat!(
            "SELECT run_at FROM jobs WHERE NOT claimed AND ",
            is_doable!(),
            " AND ",
            is_next!(),
            " ORDER BY run_at, id LIMIT 1"
        );
        let next: Option<(i64,)> = read!(self, fetch_optional, text)?;
        Ok(next.map(|(run_at,)| run_at))
    }
}
