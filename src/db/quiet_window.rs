//! Texts that are answered together: while a quiet window runs, the next text of a lane joins the job of the one before
//! it.

use super::accepted::{LOCK_LANE, insert_text};
use super::jobs::lane;
use super::messages::Message;
use super::new_message::{NewMessage, bind_text};
use super::{Db, DbError, read, unit};
use crate::clock::{Micros, SECOND};

/// However many texts follow each other, the first one is answered after this time.
const LONGEST_WAIT: Micros = 30 * SECOND;

impl Db {
    /// Writes a text whose answer is due at `due_at`, when others may have joined it, or that joins the text before it.
    /// The last one holds the reply, and the earlier ones point at it. False when the text was here before.
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
            let query = bind_text!(sqlx::query_as(insert_text!("$13")), new).bind(new.loop_limit);
            let written: Option<(i64, Option<String>)> = query.fetch_optional(&mut *c).await?;
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
