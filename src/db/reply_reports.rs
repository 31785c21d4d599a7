//! What Twilio reports of replies.

use super::messages::reply_status;
use super::{Db, DbError, read, unit};

/// What Twilio reports of a reply.
#[derive(Debug, Clone)]
pub struct ReplyReport {
    /// Its id.
    pub reply_sid: String,
    /// Who sent it: our address.
    pub from: String,
    /// Who gets it.
    pub to: String,
    /// Twilio's status.
    pub status: String,
    /// Twilio's error code when it failed.
    pub error_code: Option<i64>,
    /// The job that sent it, if the report names one.
    pub job_id: Option<i64>,
}

/// The reply with this sid, or the one of this job whose sid is not known yet.
const BY_JOB: &str = "SELECT id, reply_status, reply_sid FROM sms_logs WHERE reply_sid = $1 \
     UNION ALL SELECT id, reply_status, reply_sid FROM sms_logs \
     WHERE job_id = $2 AND reply_sid IS NULL AND reply_status IS NOT NULL";
/// The reply with this sid, or those on their way between these addresses.
const BY_ADDRESSES: &str = "SELECT id, reply_status, reply_sid FROM sms_logs WHERE reply_sid = $1 \
     UNION ALL SELECT id, reply_status, reply_sid FROM sms_logs \
     WHERE reply_status = 'sending' AND reply_sid IS NULL AND from_number = $2 AND to_number = $3 AND direction = 'inbound' \
     UNION ALL SELECT id, reply_status, reply_sid FROM sms_logs \
     WHERE reply_status = 'sending' AND reply_sid IS NULL AND from_number = $3 AND to_number = $2 AND direction = 'outbound'";

impl Db {
    /// Writes what Twilio reports of a reply. Reports may come twice and in any order: one that is behind what is known already
    /// changes nothing. One may even come before Twilio's answer to the request that sent the reply, and of a reply in TwiML
    /// there is no such answer: the job tells whose report it is, or without one the addresses, if only one reply is on its way
    /// between them. False when it is no reply of ours.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_reply_status(&self, report: ReplyReport) -> Result<bool, DbError> {
        unit!(self, [report], |c| {
            // The status may change between reading and writing it; then it is read again.
            for _ in 0..3 {
                let query = match report.job_id {
                    Some(job_id) => sqlx::query_as(BY_JOB).bind(&report.reply_sid).bind(job_id),
                    None => sqlx::query_as(BY_ADDRESSES).bind(&report.reply_sid).bind(&report.to).bind(&report.from),
                };
                let found: Vec<(i64, String, Option<String>)> = query.fetch_all(&mut *c).await?;
                let by_sid = found.iter().find(|(_, _, sid)| sid.is_some());
                let alone = found.first().filter(|_| found.len() == 1);
                let Some((id, known, sid)) = by_sid.or(alone) else { return Ok(false) };
                if sid.is_some() && rank(&report.status) <= rank(known) {
                    return Ok(true);
                }
                let changed = sqlx::query(
                    "UPDATE sms_logs SET reply_sid = $2, reply_status = $3, error_code = COALESCE($4, error_code) \
                     WHERE id = $1 AND reply_status = $5 AND (reply_sid IS NULL OR reply_sid = $2)",
                )
                .bind(id)
                .bind(&report.reply_sid)
                .bind(&report.status)
                .bind(report.error_code)
                .bind(known)
                .execute(&mut *c)
                .await?
                .rows_affected();
                if changed > 0 {
                    return Ok(true);
                }
            }
            Ok(true)
        })
    }

    /// Whether this is the sid of the reply to another text than `text_id`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_reply_to_another(&self, reply_sid: &str, text_id: i64) -> Result<bool, DbError> {
        let text = "SELECT 1 FROM sms_logs WHERE reply_sid = $1 AND id <> $2 LIMIT 1";
        let found: Option<(i32,)> = read!(self, fetch_optional, text, reply_sid, text_id)?;
        Ok(found.is_some())
    }
}

/// How late a status is in a message's life. `read` is later than `delivered`; nothing follows the other ends.
fn rank(status: &str) -> i64 {
    match status {
        "accepted" | "scheduled" | "queued" => 1,
        reply_status::SENDING => 2,
        "sent" => 3,
        "delivered" | "partially_delivered" => 5,
        "read" | "undelivered" | reply_status::FAILED | "canceled" => 6,
        _ => 0,
    }
}
