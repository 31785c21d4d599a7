//! Texts that are answered together: while a quiet window runs, the next text of a lane joins the job of the one before it.

use super::accepted::{LOCK_LANE, unanswerable};
use super::jobs::lane;
use super::messages::{Message, NewMessage};
use super::{Db, DbError, read, unit};
use crate::clock::{Micros, SECOND};

/// However many texts follow each other, the first one is answered after this time.
const LONGEST_WAIT: Micros = 30 * SECOND;

impl Db {
    /// Writes a text whose answer is due at `due_at`, when others may have joined it, or that joins the text before it. The last
    /// one holds the reply, and the earlier ones point at it. False when the text was here before.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn accept_in_quiet_window(
        &self,
        new: NewMessage,
        kind: &'static str,
        due_at: Micros,
    ) -> Result<bool, DbError> {
        let lane = lane(&new.to, &new.from);
        // SQLite has one writer, so there is nothing to lock.
        let lock = self.text("SELECT $1", LOCK_LANE);
        unit!(self, [new, lane], |c| {
            sqlx::query(lock).bind(&lane).execute(&mut *c).await?;
            let written: Option<(i64, Option<String>)> = sqlx::query_as(concat!(
                "INSERT INTO sms_logs (user_id, peer, message_sid, channel, direction, from_number, to_number, \
                 messaging_service_sid, profile_name, incoming_text, media, reply_status, reason, input_tokens, output_tokens, \
                 created_at, account_sid) SELECT $1, $2, $3, $4, 'inbound', $5, $6, $10, $11, $7, $8, \
                 CASE WHEN reason IS NOT NULL THEN 'ignored' END, reason, 0, 0, $9, $13 FROM (SELECT ",
                unanswerable!("$1", "$2", "$5", "$6", "$10", "$9", "$12"),
                ") AS why WHERE TRUE ON CONFLICT (message_sid) DO NOTHING RETURNING id, reply_status"
            ))
            .bind(new.user_id)
            .bind(&new.peer)
            .bind(&new.message_sid)
            .bind(new.channel)
            .bind(&new.from)
            .bind(&new.to)
            .bind(&new.text)
            .bind(&new.media)
            .bind(new.at)
            .bind(&new.messaging_service_sid)
            .bind(&new.profile_name)
            .bind(new.loop_limit)
            .bind(new.account_sid.map(|sid| sid.to_string()))
            .fetch_optional(&mut *c)
            .await?;
            let text_id = match written {
                None => return Ok(false),
                Some((_, Some(_ignored))) => return Ok(true),
                Some((id, None)) => id,
            };
            let last: Option<(i64, i64)> = sqlx::query_as(
                "SELECT id, subject_id FROM jobs WHERE attempts = 0 AND kind IN ('reply', 'draft') \
                 AND id = (SELECT MAX(id) FROM jobs WHERE lane = $1 AND gave_up_at IS NULL)",
            )
            .bind(&lane)
            .fetch_optional(&mut *c)
            .await?;
            if let Some((job_id, earlier)) = last {
                // It may be claimed between reading and writing it; then it is answered without this text.
                let joined = sqlx::query(
                    "UPDATE jobs SET subject_id = $2, \
                     run_at = CASE WHEN $3 < created_at + $4 THEN $3 ELSE created_at + $4 END WHERE id = $1 AND attempts = 0",
                )
                .bind(job_id)
                .bind(text_id)
                .bind(due_at)
                .bind(LONGEST_WAIT)
                .execute(&mut *c)
                .await?
                .rows_affected();
                if joined > 0 {
                    sqlx::query("UPDATE sms_logs SET answered_with = $2 WHERE id = $1 OR answered_with = $1")
                        .bind(earlier)
                        .bind(text_id)
                        .execute(&mut *c)
                        .await?;
                    return Ok(true);
                }
            }
            sqlx::query(
                "INSERT INTO jobs (kind, subject_id, run_at, attempts, lane, created_at) VALUES ($1, $2, $3, 0, $4, $5)",
            )
            .bind(kind)
            .bind(text_id)
            .bind(due_at)
            .bind(&lane)
            .bind(new.at)
            .execute(&mut *c)
            .await?;
            Ok(true)
        })
    }

    /// The earlier texts that are answered with this one, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answered_with(&self, text_id: i64) -> Result<Vec<Message>, DbError> {
        read!(self, fetch_all, "SELECT * FROM sms_logs WHERE answered_with = $1 ORDER BY id", text_id)
    }
}
