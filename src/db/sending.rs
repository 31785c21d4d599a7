//! A reply as it is sent by REST: its messages, and the intent to send the next one. A reply that no single message
//! holds goes out as several, its parts. Each is a row, its position counted from 1; the text's own row keeps the whole
//! reply and shows where it stands.

use super::jobs::Job;
use super::{Db, DbError, read, unit};
use crate::clock::{Micros, SECOND};
use sqlx::FromRow;

/// Where the only message of a reply is: in the text's own row.
pub const WHOLE: i64 = 0;

/// On WhatsApp people may be written to, other than with a template, for so long after they wrote.
pub const WHATSAPP_WINDOW: Micros = 24 * 3600 * SECOND;

/// One message of a reply.
#[derive(Debug, Clone, FromRow)]
pub struct Part {
    /// Its place, counted from 1, or [`WHOLE`].
    pub position: i64,
    /// What is sent, number included.
    pub body: String,
    /// Twilio's id, once it is known that it was sent.
    pub sid: Option<String>,
}

/// Locks the row of the text `$1`, on PostgreSQL, before its parts are changed: so that who sums them up sees what
/// others did.
pub(super) const LOCK_TEXT: &str = "UPDATE sms_logs SET reply_status = reply_status WHERE id = $1";

/// Within a transaction: what of a reply to the text `$text_id` is not sent will not be.
macro_rules! cancel_parts {
    ($c:ident, $text_id:expr) => {
        sqlx::query("UPDATE reply_parts SET status = 'canceled' WHERE text_id = $1 AND sid IS NULL")
            .bind($text_id)
            .execute(&mut *$c)
            .await?
    };
}
pub(super) use cancel_parts;

impl Db {
    /// The messages of the reply that this job sends, as they were written when its sending began; if it begins now,
    /// these. None when the job is no longer the claimant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn split_reply(&self, job: &Job, bodies: Vec<String>) -> Result<Vec<Part>, DbError> {
        let (text_id, id, attempts) = (job.subject_id, job.id, job.attempts);
        unit!(self, [bodies], |c| {
            let text = "SELECT position, body, sid FROM reply_parts WHERE text_id = $1 ORDER BY position";
            let written: Vec<Part> = sqlx::query_as(text).bind(text_id).fetch_all(&mut *c).await?;
            if !written.is_empty() {
                return Ok(written);
            }
            for (position, body) in (1_i64..).zip(&bodies) {
                sqlx::query(
                    "INSERT INTO reply_parts (text_id, position, body, status) SELECT $1, $2, $3, 'pending' \
                     WHERE EXISTS (SELECT 1 FROM jobs WHERE id = $4 AND attempts = $5) ON CONFLICT DO NOTHING",
                )
                .bind(text_id)
                .bind(position)
                .bind(body)
                .bind(id)
                .bind(attempts)
                .execute(&mut *c)
                .await?;
            }
            Ok(sqlx::query_as(text).bind(text_id).fetch_all(&mut *c).await?)
        })
    }

    /// Records the intent to send a reply, or the message of it at this position (see [`WHOLE`]). False when the job is
    /// no longer the claimant's, or a report told meanwhile that it was sent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_send(&self, now: Micros, job: &Job, position: i64) -> Result<bool, DbError> {
        let (text_id, id, attempts) = (job.subject_id, job.id, job.attempts);
        unit!(self, [], |c| {
            if position != WHOLE {
                sqlx::query(LOCK_TEXT).bind(text_id).execute(&mut *c).await?;
                let query = sqlx::query(
                    "UPDATE reply_parts SET status = 'sending' WHERE text_id = $1 AND position = $4 AND sid IS NULL \
                     AND EXISTS (SELECT 1 FROM jobs WHERE id = $2 AND attempts = $3)",
                );
                let query = query.bind(text_id).bind(id).bind(attempts).bind(position);
                if query.execute(&mut *c).await?.rows_affected() == 0 {
                    return Ok(false);
                }
            }
            let query = sqlx::query(
                "UPDATE sms_logs SET reply_status = 'sending', job_id = $2, send_started_at = COALESCE(send_started_at, $4) \
                 WHERE id = $1 AND reply_sid IS NULL AND EXISTS (SELECT 1 FROM jobs WHERE id = $2 AND attempts = $3)",
            );
            Ok(query.bind(text_id).bind(id).bind(attempts).bind(now).execute(&mut *c).await?.rows_affected() > 0)
        })
    }

    /// Whether this WhatsApp address wrote to that one of ours since then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wrote_on_whatsapp(&self, theirs: &str, ours: &str, since: Micros) -> Result<bool, DbError> {
        let text = "SELECT 1 FROM sms_logs WHERE from_number = $1 AND to_number = $2 AND channel = 'whatsapp' \
                    AND direction = 'inbound' AND created_at >= $3 LIMIT 1";
        let found: Option<(i32,)> = read!(self, fetch_optional, text, theirs, ours, since)?;
        Ok(found.is_some())
    }

    /// Takes the intent to send a message back: Twilio surely did not take it, so there is nothing to look for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_back_send(&self, job: &Job, position: i64) -> Result<(), DbError> {
        let (text_id, id, attempts) = (job.subject_id, job.id, job.attempts);
        unit!(self, [], |c| {
            let text = "UPDATE sms_logs SET reply_status = 'pending', send_started_at = NULL WHERE id = $1 AND reply_sid IS NULL \
                        AND reply_status = 'sending' AND EXISTS (SELECT 1 FROM jobs WHERE id = $2 AND attempts = $3)";
            let query = sqlx::query(text).bind(text_id).bind(id).bind(attempts);
            if query.execute(&mut *c).await?.rows_affected() > 0 && position != WHOLE {
                let text =
                    "UPDATE reply_parts SET status = 'pending' WHERE text_id = $1 AND position = $2 AND sid IS NULL";
                sqlx::query(text).bind(text_id).bind(position).execute(&mut *c).await?;
            }
            Ok(())
        })
    }

    /// Ends a reply job whose receiver must not be written to, for one of the [`super::messages::reason`]s: what is not
    /// sent will not be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel_reply(&self, job: &Job, reason: &'static str) -> Result<(), DbError> {
        let (text_id, id, attempts) = (job.subject_id, job.id, job.attempts);
        unit!(self, [], |c| {
            let query = sqlx::query("DELETE FROM jobs WHERE id = $1 AND attempts = $2");
            if query.bind(id).bind(attempts).execute(&mut *c).await?.rows_affected() > 0 {
                let text = "UPDATE sms_logs SET reply_status = 'canceled', job_id = $2, reason = $3 WHERE id = $1";
                sqlx::query(text).bind(text_id).bind(id).bind(reason).execute(&mut *c).await?;
                cancel_parts!(c, text_id);
            }
            Ok(())
        })
    }
}
