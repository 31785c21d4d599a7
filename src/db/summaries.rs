//! Summaries of calls: their jobs, and what they are made of. A call's job is written with its first turn, so that none
//! is forgotten, and brought forward by the statement that writes down the call's end.

use super::jobs::Job;
use super::{Db, DbError, read, unit};
use sqlx::FromRow;

/// Writes the summary's job of the call `$call_sid` within the transaction `$c`, if `$turn_id` is its first turn.
macro_rules! queue_summary {
    ($c:ident, $call_sid:expr, $turn_id:expr, $run_at:expr, $now:expr) => {
        sqlx::query(
            "INSERT INTO jobs (kind, subject_id, run_at, attempts, created_at) SELECT $1, $2, $3, 0, $4 \
             WHERE NOT EXISTS (SELECT 1 FROM conversation_logs WHERE call_sid = $5 AND id < $2)",
        )
        .bind($crate::db::jobs::SUMMARY)
        .bind($turn_id)
        .bind($run_at)
        .bind($now)
        .bind($call_sid)
        .execute(&mut *$c)
        .await?
    };
}
pub(super) use queue_summary;

/// Makes the summaries of the listed calls due. A claimed job is left alone: its `run_at` is its lease or its next try.
/// The kind is a literal so that the index of these jobs serves.
macro_rules! sum_up {
    ($call_sids:literal) => {
        concat!(
            "UPDATE jobs SET run_at = created_at WHERE kind = 'summary' AND attempts = 0 \
             AND subject_id IN (SELECT id FROM conversation_logs WHERE call_sid IN (",
            $call_sids,
            "))"
        )
    };
}
pub(super) use sum_up;

/// A call that may have to be summed up.
#[derive(Debug, Clone, FromRow)]
pub struct CallToSumUp {
    /// Twilio's id.
    pub call_sid: String,
    /// Whose call it is.
    pub user_id: i64,
    /// Whether it is over.
    pub is_over: bool,
    /// Whether it was summed up already.
    pub is_summed_up: bool,
}

/// One turn of a call.
#[derive(Debug, Clone, FromRow)]
pub struct Spoken {
    /// What was said; empty when we called and the assistant spoke first.
    pub said: String,
    /// What of the answer was heard, if there was any.
    pub heard: Option<String>,
}

impl Db {
    /// The call of this turn, by the turn's row; `None` when either is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn call_to_sum_up(&self, turn_id: i64) -> Result<Option<CallToSumUp>, DbError> {
        let text = "SELECT call.call_sid, turn.user_id, call.ended_at IS NOT NULL AS is_over, \
                    call.summary IS NOT NULL AS is_summed_up \
                    FROM conversation_logs AS turn JOIN call_logs AS call ON call.call_sid = turn.call_sid \
                    WHERE turn.id = $1";
        read!(self, fetch_optional, text, turn_id)
    }

    /// What was said and heard on a call, in order: its last `most` turns.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn spoken_on(&self, call_sid: &str, most: i64) -> Result<Vec<Spoken>, DbError> {
        let text = "SELECT said, heard FROM (SELECT turn, input_text AS said, COALESCE(heard_text, gpt_response) AS heard \
                    FROM conversation_logs WHERE call_sid = $1 ORDER BY turn DESC LIMIT $2) AS last ORDER BY turn";
        read!(self, fetch_all, text, call_sid, most)
    }

    /// Ends a summary's job with the summary, and the caller's requests as a JSON list. False when the job is no longer
    /// the claimant's; then nothing was written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_summary(
        &self,
        job: &Job,
        call_sid: &str,
        summary: String,
        requests: &[String],
    ) -> Result<bool, DbError> {
        let (job, call_sid) = (job.clone(), call_sid.to_owned());
        let requests = super::json_list(requests);
        unit!(self, [job, call_sid, summary, requests], |c| {
            let text = "DELETE FROM jobs WHERE id = $1 AND attempts = $2";
            let query = sqlx::query(text).bind(job.id).bind(job.attempts);
            if query.execute(&mut *c).await?.rows_affected() == 0 {
                return Ok(false);
            }
            sqlx::query("UPDATE call_logs SET summary = $2, requests = $3 WHERE call_sid = $1")
                .bind(&call_sid)
                .bind(&summary)
                .bind(&requests)
                .execute(&mut *c)
                .await?;
            Ok(true)
        })
    }
}
