//! Texts that answer none: what the assistant sends a caller, notices to users, and what an administrator sends them.
//! They are rows of the log of texts like replies, and go out the same way.

use super::idempotency::{KeyClaim, KeyedRequest, claim_request, keep_response};
use super::jobs::lane;
use super::messages::Message;
use super::{Db, DbError, unit};
use crate::clock::Micros;
use crate::config::AccountSid;
use std::sync::Arc;

/// The job that sends a text; its subject is the row in `sms_logs`.
pub const SEND: &str = "send";

/// A text to be sent.
#[derive(Debug, Clone)]
pub struct OutboundText {
    /// The Twilio account that sends it; without one the account of our address.
    pub account_sid: Option<AccountSid>,
    /// The Messaging Service that it is sent through; without one it comes from our address.
    pub messaging_service_sid: Option<Arc<str>>,
    /// In whose history it is.
    pub user_id: i64,
    /// The other side; see [`crate::conversation::party::Party::peer`].
    pub peer: String,
    /// Our address.
    pub from: String,
    /// The receiver's address, in E.164.
    pub to: String,
    /// Sent in several messages, if one does not hold it.
    pub text: String,
    /// Names the occasion: for one occasion one text is sent, however often it is asked for.
    pub occasion: String,
    /// When it was written.
    pub at: Micros,
    /// Whether its receiver did not ask for it, so that it waits for the end of the quiet hours.
    pub is_unsolicited: bool,
    /// When it may go out.
    pub due_at: Micros,
}

/// What came of a request to send a text.
#[derive(Debug)]
pub enum Queued {
    /// It will be sent.
    Now {
        /// Its row.
        id: i64,
        /// What the request is answered.
        answer: String,
    },
    /// A request with the same key came before.
    Before(KeyClaim),
    /// Its receiver does not want to be written to.
    OptedOut,
}

/// Queues the text `$new` within the transaction `$c`; its row's id if it is new. A text that nobody asked for has a
/// lane of its own, in which it may wait without holding up an answer.
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
        let mut queued = None;
        if is_new {
            let (id,): (i64,) = sqlx::query_as(
                "INSERT INTO sms_logs (user_id, peer, channel, direction, from_number, to_number, incoming_text, reply_text, \
                 reply_status, input_tokens, output_tokens, created_at, decided_at, unsolicited, account_sid, \
                 messaging_service_sid) \
                 VALUES ($1, $2, 'sms', 'outbound', $3, $4, '', $5, 'pending', 0, 0, $6, $6, $7, $8, $9) RETURNING id",
            )
            .bind($new.user_id)
            .bind(&$new.peer)
            .bind(&$new.from)
            .bind(&$new.to)
            .bind(&$new.text)
            .bind($new.at)
            .bind($new.is_unsolicited)
            .bind($new.account_sid.map(|sid| sid.to_string()))
            .bind($new.messaging_service_sid.as_deref())
            .fetch_one(&mut *$c)
            .await?;
            sqlx::query(
                "INSERT INTO jobs (kind, subject_id, run_at, attempts, lane, created_at) VALUES ($1, $2, $3, 0, $4, $5)",
            )
            .bind($crate::db::outbound::SEND)
            .bind(id)
            .bind($new.due_at)
            .bind($new.lane())
            .bind($new.at)
            .execute(&mut *$c)
            .await?;
            queued = Some(id);
        }
        queued
    }};
}
pub(super) use queue_text;

impl OutboundText {
    pub(super) fn lane(&self) -> String {
        let lane = lane(&self.from, &self.to);
        if self.is_unsolicited { format!("{lane} unsolicited") } else { lane }
    }
}

impl Db {
    /// Writes a text and the job that sends it. False when there was one on the same occasion before.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn queue_text(&self, new: OutboundText) -> Result<bool, DbError> {
        unit!(self, [new], |c| { Ok(queue_text!(c, new).is_some()) })
    }

    /// Writes a text and the job that sends it, unless its receiver does not want to be written to. With a keyed
    /// `request` what it is answered (`answer`, as 201) is kept in the same unit, so that however this ends its
    /// repetition sends no second text.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn queue_for_request(
        &self,
        new: OutboundText,
        request: Option<KeyedRequest>,
        answer: fn(Message) -> String,
    ) -> Result<Queued, DbError> {
        unit!(self, [new, request], |c| {
            let text = "SELECT 1 FROM opt_outs WHERE peer_number = $1 AND own_number IN ($2, $3) LIMIT 1";
            let query = sqlx::query_as(text).bind(&new.to).bind(&new.from).bind(new.messaging_service_sid.as_deref());
            let found: Option<(i32,)> = query.fetch_optional(&mut *c).await?;
            if found.is_some() {
                return Ok(Queued::OptedOut);
            }
            if let Some(request) = &request {
                match claim_request!(c, new.at, request) {
                    KeyClaim::New => {}
                    known => return Ok(Queued::Before(known)),
                }
            }
            let id = queue_text!(c, new);
            let text = "SELECT * FROM sms_logs WHERE id = $1";
            let message: Message = sqlx::query_as(text).bind(id).fetch_one(&mut *c).await?;
            let (id, answer) = (message.id, answer(message));
            if let Some(request) = &request {
                keep_response!(c, request, 201_u16, &answer);
            }
            Ok(Queued::Now { id, answer })
        })
    }
}
