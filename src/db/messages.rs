//! Texts: what came in, what was decided, and how far the reply has got.

use super::jobs::Job;
use super::{Db, DbError, read, unit};
use crate::clock::{Micros, SECOND};
use crate::config::AccountSid;
use sqlx::FromRow;

/// Where the reply to a text stands, as it is stored and shown. After a send by REST it takes Twilio's own words
/// (`queued`, `sent`, `delivered`, `undelivered`, `failed` …).
pub mod reply_status {
    /// Went out as `<Message>` in the answer to the webhook.
    pub const ANSWERED: &str = "answered";
    /// A keyword that was answered with a fixed sentence; no model is told of it.
    pub const CONFIRMED: &str = "confirmed";
    /// Written, to be sent through Twilio's REST API.
    pub const PENDING: &str = "pending";
    /// Handed to Twilio's REST API, whose answer is not in yet.
    pub const SENDING: &str = "sending";
    /// Written, for a person to look at; nothing was sent.
    pub const DRAFT: &str = "draft";
    /// A draft that a person did not want to be sent.
    pub const DISCARDED: &str = "discarded";
    /// The text is not to be answered, for one of the [`super::reason`]s.
    pub const IGNORED: &str = "ignored";
    /// Not sent, because its receiver told us to stop or was made inactive meanwhile.
    pub const CANCELED: &str = "canceled";
    /// Given up, or refused by Twilio.
    pub const FAILED: &str = "failed";
}

/// Why a text is not answered, as it is stored and shown.
pub mod reason {
    /// STOP, START or HELP.
    pub const KEYWORD: &str = "keyword";
    /// The sender opted out.
    pub const OPTED_OUT: &str = "opted out";
    /// It came from a number of ours.
    pub const OWN_NUMBER: &str = "own number";
    /// The user is inactive.
    pub const INACTIVE: &str = "inactive user";
    /// It came from a short code or a name, where nobody reads answers.
    pub const NO_PERSON: &str = "sender is no person";
    /// A machine wrote it in answer to another text.
    pub const AUTO_REPLY: &str = "automatic reply";
    /// A thumb up and the like.
    pub const REACTION: &str = "reaction";
    /// The peer got as many replies as `SMS_LOOP_LIMIT` allows.
    pub const LOOP: &str = "too many replies";
}

/// The time in which a peer may get no more than `SMS_LOOP_LIMIT` replies.
pub const LOOP_WINDOW: Micros = 600 * SECOND;

/// One text with its decision and reply.
#[derive(Debug, Clone, FromRow)]
pub struct Message {
    /// The row's id, by which lists page.
    pub id: i64,
    /// Whose text it is; none when an unknown sender was refused.
    pub user_id: Option<i64>,
    /// The other side; see [`crate::conversation::party::Party::peer`].
    pub peer: String,
    /// Twilio's id; none for a text that came by REST.
    pub message_sid: Option<String>,
    /// `sms`, `whatsapp`, `rcs`, `messenger` or `api`.
    pub channel: String,
    /// `inbound`, or `outbound` for a text that answers none; its words are the reply.
    pub direction: String,
    /// The sender's address.
    pub from_number: Option<String>,
    /// The receiver's address.
    pub to_number: Option<String>,
    account_sid: Option<String>,
    /// The Messaging Service that it came through or, as a text that answers none, is sent through; or none.
    pub messaging_service_sid: Option<String>,
    /// What the sender is called on WhatsApp or RCS.
    pub profile_name: Option<String>,
    /// What was written.
    pub incoming_text: String,
    /// JSON list of `{url, content_type}`, with the `size` in bytes of those that were fetched.
    pub media: Option<String>,
    /// `yes`, `no` or `unsure`; none until it is decided.
    pub decision: Option<String>,
    /// How sure the model is of it, from 0 to 1; none when it did not say.
    pub confidence: Option<f64>,
    /// The reply.
    pub reply_text: Option<String>,
    /// See [`reply_status`].
    pub reply_status: Option<String>,
    /// Why it is not answered; see [`reason`].
    pub reason: Option<String>,
    /// Twilio's id of a reply sent by REST.
    pub reply_sid: Option<String>,
    /// Twilio's error code of a reply that failed.
    pub error_code: Option<i64>,
    /// The segments the reply takes; none on channels that know no segments.
    pub segments: Option<i64>,
    /// `gsm7` or `ucs2`, with the segments.
    pub encoding: Option<String>,
    /// What they cost by `SMS_SEGMENT_PRICE`.
    pub cost_estimate: Option<f64>,
    /// The job that answers it, once there is something to answer.
    pub job_id: Option<i64>,
    /// The later text whose reply answers this one too.
    pub answered_with: Option<i64>,
    /// Whether it answers nothing and its receiver did not ask for it.
    pub unsolicited: bool,
    /// When it came in.
    pub created_at: Micros,
    /// When sending by REST was first tried.
    pub send_started_at: Option<Micros>,
}

impl Message {
    /// The Twilio account, when it is known.
    pub fn account(&self) -> Option<AccountSid> {
        self.account_sid.as_deref().and_then(AccountSid::parse)
    }
}

/// How long a text is on its way, all its messages together; nothing on channels that know no segments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    /// How many segments it takes.
    pub segments: Option<i64>,
    /// `gsm7` or `ucs2`.
    pub encoding: Option<&'static str>,
    /// What they cost by `SMS_SEGMENT_PRICE`.
    pub cost_estimate: Option<f64>,
}

/// A decision on a text, and what it took.
#[derive(Debug, Clone)]
pub struct TextDecision {
    /// `yes`, `no` or [`UNSURE`].
    pub decision: &'static str,
    /// How sure the model is of it, from 0 to 1; none when it did not say.
    pub confidence: Option<f64>,
    /// Why it was decided so, on one line; none when the model did not say.
    pub reason: Option<String>,
    /// The reply; none when the model gave nothing that may be sent.
    pub reply_text: Option<String>,
    /// The segments it takes; none on channels that know no segments.
    pub segments: Option<i64>,
    /// `gsm7` or `ucs2`, with the segments.
    pub encoding: Option<&'static str>,
    /// What they cost by `SMS_SEGMENT_PRICE`.
    pub cost_estimate: Option<f64>,
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
}

/// The decision that leaves a text to a person.
pub const UNSURE: &str = "unsure";

impl TextDecision {
    /// The reply, if it may go out without a person having looked at it.
    pub fn sendable(&self) -> Option<&str> {
        self.reply_text.as_deref().filter(|_| self.decision != UNSURE)
    }
}

impl Db {
    /// Adds a decided text of the REST API; nothing is sent for it.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn add_decision(
        &self,
        asked_at: Micros,
        now: Micros,
        user_id: i64,
        text: String,
        decision: TextDecision,
    ) -> Result<Message, DbError> {
        unit!(self, [text, decision], |c| {
            Ok(sqlx::query_as(
                "INSERT INTO sms_logs (user_id, peer, channel, direction, incoming_text, decision, reply_text, \
                 input_tokens, output_tokens, created_at, decided_at, segments, encoding, cost_estimate, confidence, reason) \
                 VALUES ($1, '', 'api', 'inbound', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING *",
            )
            .bind(user_id)
            .bind(&text)
            .bind(decision.decision)
            .bind(&decision.reply_text)
            .bind(decision.input_tokens)
            .bind(decision.output_tokens)
            .bind(asked_at)
            .bind(now)
            .bind(decision.segments)
            .bind(decision.encoding)
            .bind(decision.cost_estimate)
            .bind(decision.confidence)
            .bind(&decision.reason)
            .fetch_one(&mut *c)
            .await?)
        })
    }

    /// How many texts of the user's `peer` (of the address `peer`, when they are nobody's) came in since then that are
    /// neither ignored nor left to a person.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replies_since(&self, user_id: Option<i64>, peer: &str, since: Micros) -> Result<i64, DbError> {
        let text = "SELECT COUNT(*) FROM sms_logs WHERE (user_id = $1 OR ($1 IS NULL AND user_id IS NULL)) AND peer = $2 \
                    AND created_at > $3 AND message_sid IS NOT NULL AND answered_with IS NULL \
                    AND (reply_status IS NULL OR reply_status NOT IN ('ignored', 'draft', 'discarded'))";
        let (count,): (i64,) = read!(self, fetch_one, text, user_id, peer, since)?;
        Ok(count)
    }

    /// Writes down how long the text is that this job sends.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_size(&self, job: &Job, size: Size) -> Result<(), DbError> {
        let (text_id, id, attempts) = (job.subject_id, job.id, job.attempts);
        unit!(self, [], |c| {
            let text = "UPDATE sms_logs SET segments = $4, encoding = $5, cost_estimate = $6 \
                        WHERE id = $1 AND EXISTS (SELECT 1 FROM jobs WHERE id = $2 AND attempts = $3)";
            let query = sqlx::query(text).bind(text_id).bind(id).bind(attempts);
            query.bind(size.segments).bind(size.encoding).bind(size.cost_estimate).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// The text with this row id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message(&self, id: i64) -> Result<Option<Message>, DbError> {
        read!(self, fetch_optional, "SELECT * FROM sms_logs WHERE id = $1", id)
    }

    /// Writes down what is known now of the files that came with a text: the whole list.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_media(&self, text_id: i64, media: String) -> Result<(), DbError> {
        unit!(self, [media], |c| {
            let query = sqlx::query("UPDATE sms_logs SET media = $2 WHERE id = $1");
            query.bind(text_id).bind(&media).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// The text with this MessageSid.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_by_sid(&self, sid: &str) -> Result<Option<Message>, DbError> {
        read!(self, fetch_optional, "SELECT * FROM sms_logs WHERE message_sid = $1", sid)
    }

    /// Erases the texts, calls and voicemails from before `before` that are nobody's: of strangers who were refused,
    /// and what was reported after their user was deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn erase_strangers(&self, before: Micros) -> Result<(), DbError> {
        unit!(self, [], |c| {
            for text in [
                "DELETE FROM sms_logs WHERE user_id IS NULL AND created_at < $1",
                "DELETE FROM call_logs WHERE user_id IS NULL AND created_at < $1",
                "DELETE FROM voicemails WHERE user_id IS NULL AND created_at < $1",
            ] {
                sqlx::query(text).bind(before).execute(&mut *c).await?;
            }
            Ok(())
        })
    }

    /// The user's texts, newest first, those before the id `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn messages(&self, user_id: i64, before: i64, limit: i64) -> Result<Vec<Message>, DbError> {
        read!(
            self,
            fetch_all,
            "SELECT * FROM sms_logs WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            user_id,
            before,
            limit
        )
    }
}
