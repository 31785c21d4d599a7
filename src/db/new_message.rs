//! Texts that just came in: how they are written, with a reply job (`accepted.rs`, `quiet_window.rs`) or without one.

use super::messages::{reason, reply_status};
use super::{Db, DbError, unit};
use crate::clock::Micros;
use crate::config::AccountSid;
use serde::Serialize;

/// A text that just came in.
#[derive(Debug, Clone, Serialize)]
pub struct NewMessage {
    /// The Twilio account it came to.
    pub account_sid: Option<AccountSid>,
    /// Whose it is.
    pub user_id: Option<i64>,
    /// The other side.
    pub peer: String,
    /// Twilio's id.
    pub message_sid: String,
    /// `sms`, `whatsapp` …
    pub channel: &'static str,
    /// The sender's address, with its channel's prefix.
    pub from: String,
    /// Our address, with its channel's prefix.
    pub to: String,
    /// The Messaging Service it came through, or none.
    pub messaging_service_sid: Option<String>,
    /// What the sender is called on WhatsApp or RCS.
    pub profile_name: Option<String>,
    /// What was written.
    pub text: String,
    /// JSON list of `{url, content_type}`.
    pub media: Option<String>,
    /// When it came in.
    pub at: Micros,
    /// The most replies that its peer may get in ten minutes.
    #[serde(skip)]
    pub loop_limit: i64,
}

/// The columns that hold a [`NewMessage`]; what else is written stands before them.
macro_rules! text_columns {
    () => {
        "user_id, peer, message_sid, channel, direction, from_number, to_number, messaging_service_sid, profile_name, \
         incoming_text, media, created_at, account_sid, input_tokens, output_tokens"
    };
}
/// Their values, which `bind_text!` binds. Further parameters are counted from $13 on.
macro_rules! text_values {
    () => {
        "$1, $2, $3, $4, 'inbound', $5, $6, $7, $8, $9, $10, $11, $12, 0, 0"
    };
}
/// Binds $1 to $12 of `text_values!`.
macro_rules! bind_text {
    ($query:expr, $new:ident) => {
        $query
            .bind($new.user_id)
            .bind(&$new.peer)
            .bind(&$new.message_sid)
            .bind($new.channel)
            .bind(&$new.from)
            .bind(&$new.to)
            .bind(&$new.messaging_service_sid)
            .bind(&$new.profile_name)
            .bind(&$new.text)
            .bind(&$new.media)
            .bind($new.at)
            .bind($new.account_sid.map(|sid| sid.to_string()))
    };
}
pub(super) use {bind_text, text_columns, text_values};

/// Inserts a text that has no reply job; rows written.
macro_rules! log_message {
    ($c:ident, $new:ident, $status:expr, $reply:expr, $reason:expr) => {{
        let query = sqlx::query(concat!(
            "INSERT INTO sms_logs (reply_text, reply_status, reason, ",
            $crate::db::new_message::text_columns!(),
            ") VALUES ($13, $14, $15, ",
            $crate::db::new_message::text_values!(),
            ") ON CONFLICT (message_sid) DO NOTHING"
        ));
        let query = $crate::db::new_message::bind_text!(query, $new).bind(&$reply).bind($status).bind($reason);
        query.execute(&mut *$c).await?.rows_affected()
    }};
}
pub(super) use log_message;

/// What becomes of a text that no model is asked about.
#[derive(Debug, Clone)]
pub enum Unasked {
    /// It is not answered, for one of the [`reason`]s.
    Ignored(&'static str),
    /// It is answered with this sentence.
    Answered(String),
    /// It is a keyword and answered with this sentence.
    Confirmed(String),
}

impl Db {
    /// Writes a text that no model is asked about, unless it was here before.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn log_message(&self, new: NewMessage, unasked: Unasked) -> Result<(), DbError> {
        let (status, reply, reason) = match unasked {
            Unasked::Ignored(reason) => (reply_status::IGNORED, None, Some(reason)),
            Unasked::Answered(reply) => (reply_status::ANSWERED, Some(reply), None),
            Unasked::Confirmed(reply) => (reply_status::CONFIRMED, Some(reply), Some(reason::KEYWORD)),
        };
        unit!(self, [new, reply], |c| {
            log_message!(c, new, status, reply, reason);
            Ok(())
        })
    }
}
