//! Texts that answer none: what the assistant sends a caller, and notices to users. They are rows of the log of texts like
//! replies, and go out the same way.

use super::{Db, DbError, unit};
use crate::clock::Micros;

/// The job that sends a text; its subject is the row in `sms_logs`.
pub const SEND: &str = "send";

/// A text to be sent.
#[derive(Debug, Clone)]
pub struct OutboundText {
    /// In whose history it is.
    pub user_id: i64,
    /// The other side; see [`crate::conversation::party::Party::peer`].
    pub peer: String,
    /// Our address.
    pub from: String,
    /// The receiver's address, in E.164.
    pub to: String,
    /// At most 1,600 characters.
    pub text: String,
    /// Names the occasion: for one occasion one text is sent, however often it is asked for.
    pub occasion: String,
    /// When it was written.
    pub at: Micros,
}

/// Queues the text `$new` within the transaction `$c`; whether it is new.
macro_rules! queue_text {
    ($c:ident, $new:ident) => {{
        let is_new = sqlx::query(
            "INSERT INTO idempotency_keys (route, idempotency_key, fingerprint, created_at) VALUES ('text', $1, '', $2) \
             ON CONFLICT (route, idempotency_key) DO NOTHING",
        )
        .bind(&$new.occasion)
        .bind($new.at)
        .execute(&mut *$c)
        .await?
        .rows_affected()
            > 0;
        if is_new {
            let (id,): (i64,) = sqlx::query_as(
                "INSERT INTO sms_logs (user_id, peer, channel, direction, from_number, to_number, incoming_text, reply_text, \
                 reply_status, input_tokens, output_tokens, created_at, decided_at) \
                 VALUES ($1, $2, 'sms', 'outbound', $3, $4, '', $5, 'pending', 0, 0, $6, $6) RETURNING id",
            )
            .bind($new.user_id)
            .bind(&$new.peer)
            .bind(&$new.from)
            .bind(&$new.to)
            .bind(&$new.text)
            .bind($new.at)
            .fetch_one(&mut *$c)
            .await?;
            sqlx::query(
                "INSERT INTO jobs (kind, subject_id, run_at, attempts, lane, created_at) VALUES ($1, $2, $3, 0, $4, $3)",
            )
            .bind($crate::db::outbound::SEND)
            .bind(id)
            .bind($new.at)
            .bind($crate::db::jobs::lane(&$new.from, &$new.to))
            .execute(&mut *$c)
            .await?;
        }
        is_new
    }};
}
pub(super) use queue_text;

impl Db {
    /// Writes a text and the job that sends it. False when there was one on the same occasion before.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn queue_text(&self, new: OutboundText) -> Result<bool, DbError> {
        unit!(self, [new], |c| { Ok(queue_text!(c, new)) })
    }
}
