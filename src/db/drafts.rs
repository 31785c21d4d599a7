//! Drafts: replies that wait for a person, who sends or discards them.

use super::jobs::lane;
use super::messages::Message;
use super::outbound::SEND;
use super::sending::WHATSAPP_WINDOW;
use super::{Db, DbError, read, unit};
use crate::clock::Micros;

/// Other words for a draft, and how long they are on their way.
#[derive(Debug, Clone)]
pub struct NewWords {
    /// The reply.
    pub text: String,
    /// The segments it takes; none on channels that know no segments.
    pub segments: Option<i64>,
    /// `gsm7` or `ucs2`, with the segments.
    pub encoding: Option<&'static str>,
    /// What they cost by `SMS_SEGMENT_PRICE`.
    pub cost_estimate: Option<f64>,
}

/// Why a draft is not sent or discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDraft {
    /// There is no such text.
    Unknown,
    /// The text has no draft, or none any more.
    Gone,
    /// The draft has no words, and none were given.
    Wordless,
    /// Its receiver does not want to be written to.
    OptedOut,
    /// Its receiver's last WhatsApp message is too old; see [`WHATSAPP_WINDOW`].
    WindowClosed,
}

impl Db {
    /// The user's drafts, newest first, those before the id `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drafts(&self, user_id: i64, before: i64, limit: i64) -> Result<Vec<Message>, DbError> {
        read!(
            self,
            fetch_all,
            "SELECT * FROM sms_logs WHERE user_id = $1 AND reply_status = 'draft' AND id < $2 ORDER BY id DESC LIMIT $3",
            user_id,
            before,
            limit
        )
    }

    /// Turns the draft of a text into a reply, with `words` in place of its own if there are any, and queues its
    /// sending. Whoever does so first does it alone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn send_draft(
        &self,
        now: Micros,
        id: i64,
        words: Option<NewWords>,
    ) -> Result<Result<Message, NoDraft>, DbError> {
        unit!(self, [words], |c| {
            let words = words.as_ref();
            let sent: Option<Message> = sqlx::query_as(
                "UPDATE sms_logs SET reply_status = 'pending', reply_text = COALESCE($2, reply_text), \
                 segments = CASE WHEN $2 IS NULL THEN segments ELSE $3 END, \
                 encoding = CASE WHEN $2 IS NULL THEN encoding ELSE $4 END, \
                 cost_estimate = CASE WHEN $2 IS NULL THEN cost_estimate ELSE $5 END \
                 WHERE id = $1 AND reply_status = 'draft' AND COALESCE($2, reply_text) IS NOT NULL AND NOT EXISTS \
                 (SELECT 1 FROM opt_outs WHERE peer_number = from_number \
                 AND own_number IN (to_number, messaging_service_sid)) \
                 AND (channel <> 'whatsapp' OR EXISTS (SELECT 1 FROM sms_logs AS last WHERE last.from_number = sms_logs.from_number \
                 AND last.to_number = sms_logs.to_number AND last.channel = 'whatsapp' AND last.direction = 'inbound' \
                 AND last.created_at >= $6)) RETURNING *",
            )
            .bind(id)
            .bind(words.map(|words| words.text.as_str()))
            .bind(words.and_then(|words| words.segments))
            .bind(words.and_then(|words| words.encoding))
            .bind(words.and_then(|words| words.cost_estimate))
            .bind(now - WHATSAPP_WINDOW)
            .fetch_optional(&mut *c)
            .await?;
            let Some(sent) = sent else {
                let text = "SELECT reply_status, COALESCE($2, reply_text) IS NULL, EXISTS (SELECT 1 FROM opt_outs \
                            WHERE peer_number = from_number AND own_number IN (to_number, messaging_service_sid)) \
                            FROM sms_logs WHERE id = $1";
                let query = sqlx::query_as(text).bind(id).bind(words.map(|words| words.text.as_str()));
                let found: Option<(Option<String>, bool, bool)> = query.fetch_optional(&mut *c).await?;
                return Ok(Err(match found {
                    None => NoDraft::Unknown,
                    Some((status, _, _)) if status.as_deref() != Some("draft") => NoDraft::Gone,
                    Some((_, true, _)) => NoDraft::Wordless,
                    Some((_, _, true)) => NoDraft::OptedOut,
                    Some(_) => NoDraft::WindowClosed,
                }));
            };
            let ours = sent.to_number.as_deref().unwrap_or_default();
            let theirs = sent.from_number.as_deref().unwrap_or_default();
            sqlx::query(
                "INSERT INTO jobs (kind, subject_id, run_at, attempts, lane, created_at) VALUES ($1, $2, $3, 0, $4, $3)",
            )
            .bind(SEND)
            .bind(id)
            .bind(now)
            .bind(lane(ours, theirs))
            .execute(&mut *c)
            .await?;
            Ok(Ok(sent))
        })
    }

    /// Discards the draft of a text: its text is left unanswered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn discard_draft(&self, id: i64) -> Result<Result<Message, NoDraft>, DbError> {
        unit!(self, [], |c| {
            let text =
                "UPDATE sms_logs SET reply_status = 'discarded' WHERE id = $1 AND reply_status = 'draft' RETURNING *";
            if let Some(discarded) = sqlx::query_as(text).bind(id).fetch_optional(&mut *c).await? {
                return Ok(Ok(discarded));
            }
            let text = "SELECT 1 FROM sms_logs WHERE id = $1";
            let found: Option<(i32,)> = sqlx::query_as(text).bind(id).fetch_optional(&mut *c).await?;
            Ok(Err(if found.is_some() { NoDraft::Gone } else { NoDraft::Unknown }))
        })
    }
}
