//! Replies that were Twilio's answer to a webhook and of which nothing was ever reported. Nobody knows whether Twilio
//! got them: the gateway may have died between storing and answering, and the text not been delivered again.

use super::jobs::ANSWER;
use super::{Db, DbError, unit};
use crate::clock::Micros;

/// Replies taken up at a time.
const MOST: i64 = 100;

impl Db {
    /// Takes up the unreported replies that were answered between `after` and `before` to texts of these accounts
    /// (their SIDs with commas between): each becomes one whose sending was begun when it was answered. The job is the
    /// one that wrote the reply, with its id, for a late report still names it; it is in no lane, so that nothing newer
    /// waits for what was answered long ago. How many there were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_up_unreported(
        &self,
        now: Micros,
        after: Micros,
        before: Micros,
        accounts: String,
    ) -> Result<usize, DbError> {
        let insert = self.text(
            "INSERT INTO jobs (id, kind, subject_id, run_at, attempts, created_at) VALUES ($1, $2, $3, $4, 1, $4) \
             ON CONFLICT (id) DO NOTHING",
            "INSERT INTO jobs (id, kind, subject_id, run_at, attempts, created_at) OVERRIDING SYSTEM VALUE \
             VALUES ($1, $2, $3, $4, 1, $4) ON CONFLICT (id) DO NOTHING",
        );
        unit!(self, [accounts], |c| {
            let taken: Vec<(i64, i64)> = sqlx::query_as(
                "UPDATE sms_logs SET reply_status = 'sending', send_started_at = decided_at WHERE id IN \
                 (SELECT id FROM sms_logs WHERE reply_status = 'answered' AND reply_sid IS NULL AND job_id IS NOT NULL \
                 AND decided_at > $1 AND decided_at < $2 AND $3 LIKE '%' || account_sid || '%' ORDER BY decided_at LIMIT $4) \
                 AND reply_status = 'answered' AND reply_sid IS NULL \
                 RETURNING id, job_id",
            )
            .bind(after)
            .bind(before)
            .bind(&accounts)
            .bind(MOST)
            .fetch_all(&mut *c)
            .await?;
            for (text_id, job_id) in &taken {
                // Its first claim was the webhook's.
                sqlx::query(insert).bind(job_id).bind(ANSWER).bind(text_id).bind(now).execute(&mut *c).await?;
            }
            Ok(taken.len())
        })
    }
}
