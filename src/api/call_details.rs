//! A call as the API shows it while it goes on.

use super::problem::Problem;
use super::text::{CallSid, PhoneNumber, Purpose, Text};
use super::values::{Nullable, Timestamp};
use crate::db::Db;
use crate::db::live_calls::{LiveTurn, LiveVoicemail};
use poem_openapi::Object;
use poem_openapi::types::Example;

/// A call, and what came of it so far.
#[derive(Object)]
#[oai(example)]
pub(super) struct CallDetails {
    /// The call's id in the history.
    id: i64,
    /// Whose call it is; null when the gateway refused a stranger.
    user_id: Nullable<i64>,
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
    /// Who answered a call of the gateway's, as Twilio tells it (`human`, `machine_end_beep` …); null until it is known.
    answered_by: Nullable<String>,
    /// How long it took; null until it is over.
    duration_seconds: Nullable<i64>,
    /// When it began.
    started_at: Timestamp,
    /// When it ended; null until it is over.
    ended_at: Nullable<Timestamp>,
    /// When the entry was made.
    created_at: Timestamp,
    /// What was said, oldest first.
    turns: Vec<CallTurn>,
    /// What the call was about; null until it is summed up.
    summary: Nullable<String>,
    /// What the other side asked for; empty until the call is summed up.
    requests: Vec<String>,
    /// Messages that were left on the call.
    voicemails: Vec<CallVoicemail>,
}

/// A turn of a call.
#[derive(Object)]
struct CallTurn {
    /// Its number in the call.
    turn: i64,
    /// What was said.
    input_text: String,
    /// What was answered; null while there is no answer, and for good when the model failed.
    gpt_response: Nullable<String>,
    /// What of the answer was heard, when it was not all.
    heard_text: Nullable<String>,
    /// When it was said.
    created_at: Timestamp,
}

impl From<LiveTurn> for CallTurn {
    fn from(row: LiveTurn) -> Self {
        Self {
            turn: row.turn,
            input_text: row.input_text,
            gpt_response: row.gpt_response.into(),
            heard_text: row.heard_text.into(),
            created_at: Timestamp(row.created_at),
        }
    }
}

/// A message that was left on a call.
#[derive(Object)]
struct CallVoicemail {
    /// Twilio's RecordingSid.
    recording_sid: String,
    /// Where Twilio keeps it; it takes the account's credentials to hear it.
    recording_url: String,
    /// Its length.
    duration_seconds: Nullable<i64>,
    /// Its words; null when they were not written down.
    transcript: Nullable<String>,
    /// When it was left.
    created_at: Timestamp,
}

impl From<LiveVoicemail> for CallVoicemail {
    fn from(row: LiveVoicemail) -> Self {
        Self {
            recording_sid: row.recording_sid,
            recording_url: row.recording_url,
            duration_seconds: row.duration_seconds.into(),
            transcript: row.transcript.into(),
            created_at: Timestamp(row.created_at),
        }
    }
}

impl CallDetails {
    /// The call with this CallSid.
    ///
    /// # Errors
    /// 404 when the gateway knows no such call, and when the database fails.
    pub(super) async fn of(db: &Db, call_sid: &str) -> Result<Self, Problem> {
        let (call, turns, voicemails) =
            tokio::try_join!(db.live_call(call_sid), db.turns_of(call_sid), db.voicemails_of(call_sid))?;
        let call = call.ok_or_else(|| Problem::not_found(format!("There is no call {call_sid}.")))?;
        Ok(Self {
            id: call.id,
            user_id: call.user_id.into(),
            call_sid: call.call_sid,
            direction: call.direction,
            from_number: call.from_number,
            to_number: call.to_number,
            status: call.status,
            purpose: call.purpose.into(),
            answered_by: call.answered_by.into(),
            duration_seconds: call.duration_seconds.into(),
            started_at: Timestamp(call.started_at),
            ended_at: call.ended_at.map(Timestamp).into(),
            created_at: Timestamp(call.created_at),
            turns: turns.into_iter().map(CallTurn::from).collect(),
            summary: call.summary.into(),
            requests: call.requests.and_then(|list| serde_json::from_str(&list).ok()).unwrap_or_default(),
            voicemails: voicemails.into_iter().map(CallVoicemail::from).collect(),
        })
    }

    /// Whether the call is over.
    pub(super) fn is_over(&self) -> bool {
        self.ended_at.0.is_some()
    }
}

impl Example for CallDetails {
    fn example() -> Self {
        Self {
            id: 3,
            user_id: Some(1).into(),
            call_sid: Text::<CallSid>::example().into_inner(),
            direction: "outbound-api".to_owned(),
            from_number: "+14155550100".to_owned(),
            to_number: Text::<PhoneNumber>::example().into_inner(),
            status: "in-progress".to_owned(),
            purpose: Some(Text::<Purpose>::example().into_inner()).into(),
            answered_by: Some("human".to_owned()).into(),
            duration_seconds: None.into(),
            started_at: Timestamp::EXAMPLE,
            ended_at: None.into(),
            created_at: Timestamp::EXAMPLE,
            turns: vec![CallTurn {
                turn: 1,
                input_text: "(the call is answered)".to_owned(),
                gpt_response: Some("Hello John, your bicycle is ready. When would you like to fetch it?".to_owned())
                    .into(),
                heard_text: None.into(),
                created_at: Timestamp::EXAMPLE,
            }],
            summary: None.into(),
            requests: Vec::new(),
            voicemails: Vec::new(),
        }
    }
}
