//! The outbox's rows: work that must happen, even after a crash.

use super::outbound::SEND;
use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use sqlx::FromRow;

/// The job that answers a text; its subject is the row in `sms_logs`.
pub const REPLY: &str = "reply";
/// The job that decides about a text and writes a draft; its subject is the row in `sms_logs`.
pub const DRAFT: &str = "draft";
/// The job that fetches a voicemail, has its words written down and tells its owner; its subject is the row in `voicemails`.
pub const VOICEMAIL: &str = "voicemail";
/// The job that sums a call up; its subject is the row of the call's first turn in `conversation_logs`.
pub const SUMMARY: &str = "summary";

/// Twilio's error code for a message to somebody who opted out.
const OPTED_OUT: i64 = 21610;

/// A claimed job. `attempts` is the number of the claim: a write under an older number matches no row.
#[derive(Debug, Clone, FromRow)]
pub struct Job {
    /// Never used again.
    pub id: i64,
    /// What is to be done, [`REPLY`] for one.
    pub kind: String,
    /// The row it is about.
    pub subject_id: i64,
    /// How often it was claimed, this time included.
    pub attempts: i64,
    /// When it was written.
    pub created_at: Micros,
}

impl Job {
    /// Whether it is about a row in `sms_logs`.
    fn is_of_text(&self) -> bool {
        matches!(self.kind.as_str(), REPLY | DRAFT | SEND)
    }
}

/// The claim; `$lock` keeps two workers on PostgreSQL from waiting for the same row.
macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "UPDATE jobs SET run_at = $2, attempts = attempts + 1 WHERE id = \
             (SELECT id FROM jobs WHERE run_at <= $1 AND gave_up_at IS NULL ORDER BY run_at, id LIMIT 1 ",
            $lock,
            ") RETURNING id, kind, subject_id, attempts, created_at"
        )
    };
}

impl Db {
    /// Claims the job that has been due for longest, until `lease_until`; after that it may be claimed again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_job(&self, now: Micros, lease_until: Micros) -> Result<Option<Job>, DbError> {
        let text = self.text(claim!(""), claim!("FOR UPDATE SKIP LOCKED"));
        unit!(self, [], |c| { Ok(sqlx::query_as(text).bind(now).bind(lease_until).fetch_optional(&mut *c).await?) })
    }

    /// Moves a claimed job to `run_at`: the end of a longer lease, or the time of the next try with the reason why this one
    /// failed. False when the job is no longer the claimant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn move_job(&self, job: &Job, run_at: Micros, error: Option<String>) -> Result<bool, DbError> {
        let (id, attempts) = (job.id, job.attempts);
        unit!(self, [error], |c| {
            let text =
                "UPDATE jobs SET run_at = $3, last_error = COALESCE($4, last_error) WHERE id = $1 AND attempts = $2";
            let query = sqlx::query(text).bind(id).bind(attempts).bind(run_at).bind(&error);
            Ok(query.execute(&mut *c).await?.rows_affected() > 0)
        })
    }

    /// Gives a claimed job up: it is kept with its reason. The text of one that is about a text shows that the reply failed,
    /// unless Twilio has reported on it; Twilio's error 21610 says that the receiver opted out, which is remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn give_up_job(&self, now: Micros, job: &Job, error: String, code: Option<i64>) -> Result<(), DbError> {
        let job = job.clone();
        unit!(self, [job, error], |c| {
            let kept = sqlx::query("UPDATE jobs SET gave_up_at = $3, last_error = $4 WHERE id = $1 AND attempts = $2")
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
            if code == Some(OPTED_OUT) {
                sqlx::query(
                    "INSERT INTO opt_outs (peer_number, own_number, evidence, created_at) \
                     SELECT CASE direction WHEN 'outbound' THEN to_number ELSE from_number END, \
                     CASE direction WHEN 'outbound' THEN from_number ELSE to_number END, $3, $2 FROM sms_logs WHERE id = $1 \
                     ON CONFLICT (peer_number, own_number) DO NOTHING",
                )
                .bind(job.subject_id)
                .bind(now)
                .bind(OPTED_OUT.to_string())
                .execute(&mut *c)
                .await?;
            }
            sqlx::query(
                "UPDATE sms_logs SET reply_status = 'failed', error_code = $2 WHERE id = $1 AND reply_sid IS NULL",
            )
            .bind(job.subject_id)
            .bind(code)
            .execute(&mut *c)
            .await?;
            Ok(())
        })
    }

    /// Deletes a claimed job whose subject is gone.
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

    /// When the next job is due; `None` when nothing waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_job_at(&self) -> Result<Option<Micros>, DbError> {
        let text = "SELECT MIN(run_at) FROM jobs WHERE gave_up_at IS NULL";
        let (next,): (Option<i64>,) = read!(self, fetch_one, text)?;
        Ok(next)
    }
}
