//! Who does not want to be written to: an address and one of our numbers, or the Messaging Service that the number is
//! in.

use super::accepted::LOCK_LANE;
use super::jobs::lane;
use super::messages::{reason, reply_status};
use super::new_message::{NewMessage, log_message};
use super::sending::cancel_parts;
use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use sqlx::FromRow;

/// Somebody who does not want to be written to.
#[derive(Debug, Clone, FromRow)]
pub struct OptOut {
    /// The address that must not be written to, as Twilio gives it.
    pub peer_number: String,
    /// The number of ours, or the Messaging Service (`MG…`), that must not write.
    pub own_number: String,
    /// The text that said so; none when Twilio did.
    pub message_sid: Option<String>,
    /// Its words, or Twilio's error code.
    pub evidence: Option<String>,
    /// When it was told.
    pub created_at: Micros,
}

/// Twilio's error codes for a message to somebody who opted out: the usual one, and that of its newer ways.
const OPTED_OUT: [i64; 2] = [21610, 30630];

/// Within a transaction: remembers that the receiver of the reply to the text `$text_id` opted out, if Twilio's error
/// code says so.
macro_rules! heed_refusal {
    ($c:ident, $now:expr, $text_id:expr, $code:expr) => {
        if let Some(code) = $code.filter(|code| $crate::db::opt_outs::says_opted_out(*code)) {
            sqlx::query(
                "INSERT INTO opt_outs (peer_number, own_number, evidence, created_at, messaging_service_sid) \
                 SELECT CASE direction WHEN 'outbound' THEN to_number ELSE from_number END, \
                 CASE direction WHEN 'outbound' THEN COALESCE(messaging_service_sid, from_number) ELSE to_number END, $3, $2, \
                 messaging_service_sid FROM sms_logs WHERE id = $1 ON CONFLICT (peer_number, own_number) DO NOTHING",
            )
            .bind($text_id)
            .bind($now)
            .bind(code.to_string())
            .execute(&mut *$c)
            .await?;
        }
    };
}
pub(super) use heed_refusal;

pub(super) fn says_opted_out(code: i64) -> bool {
    OPTED_OUT.contains(&code)
}

impl Db {
    /// Whether `peer` told the `own` number, or the Messaging Service it is in, to stop writing. Addresses are as
    /// Twilio gives them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_opted_out(&self, peer: &str, own: &str, service: Option<&str>) -> Result<bool, DbError> {
        let text = "SELECT 1 FROM opt_outs WHERE peer_number = $1 AND own_number IN ($2, $3) LIMIT 1";
        let found: Option<(i32,)> = read!(self, fetch_optional, text, peer, own, service)?;
        Ok(found.is_some())
    }

    /// Writes a STOP with the opt-out, and takes the jobs away that would still write to the sender. If it came through
    /// a Messaging Service it counts for all of it: for those of our numbers, too, through which a text has come from
    /// it. It is answered with the `confirmation`, if there is one and the sender had not opted out before.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn log_stop(
        &self,
        new: NewMessage,
        our_numbers: Vec<String>,
        confirmation: Option<String>,
    ) -> Result<(), DbError> {
        let lane = lane(&new.to, &new.from);
        // A text that is being written down is seen, or sees the opt-out. SQLite has one writer, so there is nothing to
        // lock.
        let lock = self.text("SELECT $1", LOCK_LANE);
        unit!(self, [new, our_numbers, confirmation, lane], |c| {
            sqlx::query(lock).bind(&lane).execute(&mut *c).await?;
            if log_message!(c, new, reply_status::IGNORED, None::<String>, Some(reason::KEYWORD)) == 0 {
                return Ok(());
            }
            let mut added = 0;
            for own in [&new.to].into_iter().chain(&new.messaging_service_sid).chain(&our_numbers) {
                let text = "INSERT INTO opt_outs \
                            (peer_number, own_number, message_sid, evidence, created_at, messaging_service_sid) \
                            SELECT $1, $2, $3, $4, $5, $6 WHERE $2 IN ($7, $6) OR EXISTS (SELECT 1 FROM sms_logs \
                            WHERE messaging_service_sid = $6 AND to_number = $2 AND direction = 'inbound') \
                            ON CONFLICT (peer_number, own_number) DO NOTHING";
                let query = sqlx::query(text).bind(&new.from).bind(own).bind(&new.message_sid).bind(&new.text);
                let query = query.bind(new.at).bind(&new.messaging_service_sid).bind(&new.to);
                added += query.execute(&mut *c).await?.rows_affected();
            }
            // Who holds one of these jobs finds it gone, and so sends nothing. What is on its way already runs its
            // course.
            let taken: Vec<(i64,)> = sqlx::query_as(
                "DELETE FROM jobs WHERE kind IN ('reply', 'draft', 'send') AND gave_up_at IS NULL AND EXISTS \
                 (SELECT 1 FROM sms_logs WHERE sms_logs.id = jobs.subject_id AND send_started_at IS NULL \
                 AND ((direction = 'inbound' AND from_number = $1 AND (to_number = $2 OR messaging_service_sid = $3)) \
                 OR (direction = 'outbound' AND to_number = $1 AND (from_number = $2 OR messaging_service_sid = $3)))) \
                 RETURNING subject_id",
            )
            .bind(&new.from)
            .bind(&new.to)
            .bind(&new.messaging_service_sid)
            .fetch_all(&mut *c)
            .await?;
            for (text_id,) in taken {
                let text =
                    "UPDATE sms_logs SET reply_status = 'canceled', reason = $2 WHERE id = $1 OR answered_with = $1";
                sqlx::query(text).bind(text_id).bind(reason::OPTED_OUT).execute(&mut *c).await?;
                cancel_parts!(c, text_id);
            }
            if let Some(confirmation) = confirmation.filter(|_| added > 0) {
                let text = "UPDATE sms_logs SET reply_status = 'confirmed', reply_text = $2 WHERE message_sid = $1";
                sqlx::query(text).bind(&new.message_sid).bind(confirmation).execute(&mut *c).await?;
            }
            Ok(())
        })
    }

    /// Writes a START, which takes the opt-out back, from all numbers of the Messaging Service if it came through one:
    /// those that were in it at the STOP, and those through which a text has come from it since. It is answered with
    /// the `confirmation`, if there is one.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn log_start(&self, new: NewMessage, confirmation: Option<String>) -> Result<(), DbError> {
        let status = if confirmation.is_some() { reply_status::CONFIRMED } else { reply_status::IGNORED };
        unit!(self, [new, confirmation], |c| {
            if log_message!(c, new, status, confirmation, Some(reason::KEYWORD)) > 0 {
                let text = "DELETE FROM opt_outs WHERE peer_number = $1 \
                            AND (own_number IN ($2, $3) OR messaging_service_sid = $3 OR EXISTS (SELECT 1 FROM sms_logs \
                            WHERE sms_logs.messaging_service_sid = $3 AND to_number = own_number AND direction = 'inbound'))";
                let query = sqlx::query(text).bind(&new.from).bind(&new.to).bind(&new.messaging_service_sid);
                query.execute(&mut *c).await?;
            }
            Ok(())
        })
    }

    /// The opt-outs, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn opt_outs(&self, skip: i64, limit: i64) -> Result<Vec<OptOut>, DbError> {
        let text = "SELECT * FROM opt_outs ORDER BY created_at DESC, peer_number, own_number LIMIT $2 OFFSET $1";
        read!(self, fetch_all, text, skip, limit)
    }
}
