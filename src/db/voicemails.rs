//! What callers left after the beep. A recording may be heard of before its call is, so its user may be filled in
//! later.

use super::jobs::{Job, VOICEMAIL};
use super::outbound::{OutboundText, queue_text};
use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use crate::config::AccountSid;
use sqlx::FromRow;

/// A recording that Twilio has ready.
#[derive(Debug, Clone)]
pub struct NewVoicemail {
    /// The call.
    pub call_sid: String,
    /// Twilio's id of the recording.
    pub recording_sid: String,
    /// Where Twilio keeps it.
    pub recording_url: String,
    /// Its length, if Twilio told it.
    pub duration_seconds: Option<i64>,
    /// When it was reported.
    pub at: Micros,
}

/// A message that a caller left.
#[derive(Debug, Clone, FromRow)]
pub struct Voicemail {
    /// The row.
    pub id: i64,
    /// The call.
    pub call_sid: String,
    /// See [`NewVoicemail::recording_sid`].
    pub recording_sid: String,
    /// See [`NewVoicemail::recording_url`].
    pub recording_url: String,
    /// See [`NewVoicemail::duration_seconds`].
    pub duration_seconds: Option<i64>,
    /// Its words; empty when there were none, none at all while they are not written down.
    pub transcript: Option<String>,
    /// `pending`, `done`, or `unavailable` when the words cannot be had.
    pub transcript_status: String,
    /// When it was reported.
    pub created_at: Micros,
}

/// The call on which a message was left.
#[derive(Debug, Clone, FromRow)]
pub struct VoicemailCall {
    /// Whose call it is.
    pub user_id: i64,
    /// See [`super::calls::Call::direction`].
    pub direction: String,
    /// See [`super::calls::Call::from_number`].
    pub from_number: String,
    /// See [`super::calls::Call::to_number`].
    pub to_number: String,
    account_sid: Option<String>,
    /// The tag of the language that was spoken, when it was no longer the user's own.
    pub language: Option<String>,
}

impl VoicemailCall {
    /// The Twilio account, when it is known.
    pub fn account(&self) -> Option<AccountSid> {
        self.account_sid.as_deref().and_then(AccountSid::parse)
    }
}

impl Db {
    /// Writes a recording and its job in one transaction. False when it was here before.
    ///
    /// # Errors
    /// When the database fails; [`DbError::NoParent`] when the user is being deleted.
    pub async fn keep_voicemail(&self, new: NewVoicemail) -> Result<bool, DbError> {
        unit!(self, [new], |c| {
            let kept: Option<(i64,)> = sqlx::query_as(
                "INSERT INTO voicemails (user_id, call_sid, recording_sid, recording_url, duration_seconds, created_at) \
                 VALUES ((SELECT user_id FROM call_logs WHERE call_sid = $1), $1, $2, $3, $4, $5) \
                 ON CONFLICT (recording_sid) DO NOTHING RETURNING id",
            )
            .bind(&new.call_sid)
            .bind(&new.recording_sid)
            .bind(&new.recording_url)
            .bind(new.duration_seconds)
            .bind(new.at)
            .fetch_optional(&mut *c)
            .await?;
            let Some((id,)) = kept else { return Ok(false) };
            sqlx::query("INSERT INTO jobs (kind, subject_id, run_at, attempts, created_at) VALUES ($1, $2, $3, 0, $3)")
                .bind(VOICEMAIL)
                .bind(id)
                .bind(new.at)
                .execute(&mut *c)
                .await?;
            Ok(true)
        })
    }

    /// The message with this row id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voicemail(&self, id: i64) -> Result<Option<Voicemail>, DbError> {
        read!(self, fetch_optional, "SELECT * FROM voicemails WHERE id = $1", id)
    }

    /// The call with this sid, once it is known whose it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voicemail_call(&self, call_sid: &str) -> Result<Option<VoicemailCall>, DbError> {
        let text = "SELECT user_id, direction, from_number, to_number, account_sid, language FROM call_logs \
                    WHERE call_sid = $1 AND user_id IS NOT NULL";
        read!(self, fetch_optional, text, call_sid)
    }

    /// Ends a voicemail's job: the message is `user_id`'s, these are its words if they could be had, and the `notice`
    /// is queued. False when the job is no longer the claimant's; then nothing was written.
    ///
    /// # Errors
    /// When the database fails; [`DbError::NoParent`] when the user was deleted.
    pub async fn end_voicemail(
        &self,
        job: &Job,
        user_id: i64,
        transcript: Option<String>,
        notice: Option<OutboundText>,
    ) -> Result<bool, DbError> {
        let job = job.clone();
        unit!(self, [job, transcript, notice], |c| {
            let text = "DELETE FROM jobs WHERE id = $1 AND attempts = $2";
            let ended = sqlx::query(text).bind(job.id).bind(job.attempts).execute(&mut *c).await?.rows_affected();
            if ended == 0 {
                return Ok(false);
            }
            sqlx::query(
                "UPDATE voicemails SET user_id = $2, transcript = $3, \
                         transcript_status = CASE WHEN $4 THEN 'done' ELSE 'unavailable' END WHERE id = $1",
            )
            .bind(job.subject_id)
            .bind(user_id)
            .bind(&transcript)
            .bind(transcript.is_some())
            .execute(&mut *c)
            .await?;
            if let Some(notice) = &notice {
                let _ = queue_text!(c, notice);
            }
            Ok(true)
        })
    }

    /// The messages left on these calls, in the order in which they came.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voicemails_of(&self, call_sids: &[&str]) -> Result<Vec<Voicemail>, DbError> {
        if call_sids.is_empty() {
            return Ok(Vec::new());
        }
        let text = self.text(
            "SELECT * FROM voicemails WHERE call_sid IN (SELECT value FROM jsonb_each($1)) ORDER BY id",
            "SELECT * FROM voicemails WHERE call_sid IN (SELECT json_array_elements_text(CAST($1 AS JSON))) ORDER BY id",
        );
        let call_sids = super::json_list(call_sids);
        read!(self, fetch_all, text, &call_sids)
    }
}
