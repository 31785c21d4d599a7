//! A call with the messages that were left on it.

use crate::api::values::{Nullable, Timestamp};
use crate::db::{Db, DbError, calls, voicemails};
use poem_openapi::Object;
use poem_openapi::types::Example;
use std::collections::HashMap;

/// A call.
#[derive(Object)]
#[oai(rename = "CallEntry", example)]
pub(in crate::api) struct Call {
    /// The entry's id, by which lists are paged.
    id: i64,
    /// Whose call it is.
    user_id: i64,
    /// Twilio's CallSid.
    call_sid: String,
    /// `inbound`, `outbound-api` or `outbound-dial`.
    direction: String,
    /// The caller, as Twilio names it.
    from_number: String,
    /// Who was called, as Twilio names it.
    to_number: String,
    /// Twilio's call status, or `unknown-end` when its end was never reported.
    status: String,
    /// Why the gateway called; null for calls that came in.
    purpose: Nullable<String>,
    /// Who answered a call of the gateway's, as Twilio tells it (`human`, `machine_end_beep` …); null until it is
    /// known.
    answered_by: Nullable<String>,
    /// How long it took; null until it is over.
    duration_seconds: Nullable<i64>,
    /// When it began.
    started_at: Timestamp,
    /// When it ended; null until it is over.
    ended_at: Nullable<Timestamp>,
    /// What was said, in a paragraph; null until the call was summed up, which takes some moments after its end (hours
    /// after one that was reported as `failed`), and for good when nothing was said, `CALL_SUMMARIES` is off or no
    /// model is configured.
    summary: Nullable<String>,
    /// What the caller asked for, as the summary has it.
    requests: Vec<String>,
    /// The messages that the caller left.
    voicemails: Vec<Voicemail>,
    /// When the entry was made.
    created_at: Timestamp,
}

/// A message that a caller left.
#[derive(Object)]
#[oai(rename = "VoicemailEntry", example)]
struct Voicemail {
    /// Twilio's id of the recording.
    recording_sid: String,
    /// How long it is, if Twilio told it.
    duration_seconds: Nullable<i64>,
    /// Its words, once they are written down.
    transcript: Nullable<String>,
    /// `pending` until the words are written down, then `done`; `unavailable` when they cannot be had: nothing is set
    /// that writes them down (`OPENAI_TRANSCRIBE_MODEL`), or it kept failing.
    transcript_status: String,
    /// When it was left.
    created_at: Timestamp,
}

impl From<voicemails::Voicemail> for Voicemail {
    fn from(row: voicemails::Voicemail) -> Self {
        Self {
            recording_sid: row.recording_sid,
            duration_seconds: row.duration_seconds.into(),
            transcript: row.transcript.into(),
            transcript_status: row.transcript_status,
            created_at: Timestamp(row.created_at),
        }
    }
}

impl Example for Voicemail {
    fn example() -> Self {
        Self {
            recording_sid: "RE00000000000000000000000000000000".to_owned(),
            duration_seconds: Some(12).into(),
            transcript: Some("Please call me back about the invoice.".to_owned()).into(),
            transcript_status: "done".to_owned(),
            created_at: Timestamp::EXAMPLE,
        }
    }
}

impl Call {
    /// The entries of these calls, with the messages that were left on them.
    ///
    /// # Errors
    /// When the database fails.
    pub(in crate::api) async fn entries(db: &Db, calls: Vec<calls::Call>) -> Result<Vec<Self>, DbError> {
        let sids: Vec<&str> = calls.iter().map(|call| call.call_sid.as_str()).collect();
        let mut left: HashMap<String, Vec<Voicemail>> = HashMap::new();
        for voicemail in db.voicemails_of(&sids).await? {
            left.entry(voicemail.call_sid.clone()).or_default().push(voicemail.into());
        }
        Ok(calls
            .into_iter()
            .map(|call| {
                let voicemails = left.remove(&call.call_sid).unwrap_or_default();
                Self::of(call, voicemails)
            })
            .collect())
    }

    /// Whether it is over.
    pub(in crate::api) fn is_over(&self) -> bool {
        self.ended_at.0.is_some()
    }

    fn of(row: calls::Call, voicemails: Vec<Voicemail>) -> Self {
        let requests = row.requests.as_deref().and_then(|list| serde_json::from_str(list).ok());
        Self {
            id: row.id,
            user_id: row.user_id,
            call_sid: row.call_sid,
            direction: row.direction,
            from_number: row.from_number,
            to_number: row.to_number,
            status: row.status,
            purpose: row.purpose.into(),
            answered_by: row.answered_by.into(),
            duration_seconds: row.duration_seconds.into(),
            started_at: Timestamp(row.started_at),
            ended_at: row.ended_at.map(Timestamp).into(),
            summary: row.summary.into(),
            requests: requests.unwrap_or_default(),
            voicemails,
            created_at: Timestamp(row.created_at),
        }
    }
}

impl Example for Call {
    fn example() -> Self {
        Self {
            id: 3,
            user_id: 1,
            call_sid: "CA00000000000000000000000000000000".to_owned(),
            direction: "inbound".to_owned(),
            from_number: "+14155550123".to_owned(),
            to_number: "+14155550100".to_owned(),
            status: "completed".to_owned(),
            purpose: None.into(),
            answered_by: None.into(),
            duration_seconds: Some(42).into(),
            started_at: Timestamp::EXAMPLE,
            ended_at: Some(Timestamp::EXAMPLE).into(),
            summary: Some("The caller asked about an invoice and wants to be called back.".to_owned()).into(),
            requests: vec!["Call back about the invoice.".to_owned()],
            voicemails: vec![Voicemail::example()],
            created_at: Timestamp::EXAMPLE,
        }
    }
}
