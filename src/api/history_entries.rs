//! The entries of a history.

use super::values::{Nullable, Timestamp};
use crate::db::{Db, DbError, calls, conversations, messages, voicemails};
use crate::twilio::errors::meaning;
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Deserialize;
use std::collections::HashMap;

/// A user's history, each list newest first.
#[derive(Object)]
#[oai(example)]
pub(super) struct History {
    /// Turns of conversation, on calls and over this API.
    pub(super) conversations: Vec<Turn>,
    /// Calls.
    pub(super) calls: Vec<Call>,
    /// Texts.
    pub(super) sms: Vec<Sms>,
}

impl Example for History {
    fn example() -> Self {
        Self { conversations: vec![Turn::example()], calls: vec![Call::example()], sms: vec![Sms::example()] }
    }
}

/// A turn of conversation: what was said, and the answer.
#[derive(Object)]
#[oai(rename = "ConversationEntry", example)]
pub(super) struct Turn {
    /// The entry's id, by which lists are paged.
    id: i64,
    /// Whose conversation it is.
    user_id: i64,
    /// `voice` for a turn on a call, `api` for one over this API.
    channel: String,
    /// The call's CallSid.
    call_sid: Nullable<String>,
    /// The turn's number in the call.
    turn: Nullable<i64>,
    /// What was said; empty where the gateway had called and the assistant spoke first.
    input_text: String,
    /// What was answered; null while there is no answer, and for good when the model failed.
    gpt_response: Nullable<String>,
    /// What of the answer reached the caller, when it was not all: the caller hung up or broke in, or the answer came too
    /// late. Only this is told to the model later. Null when all was heard.
    heard_text: Nullable<String>,
    /// Tokens of the prompt.
    input_tokens: i64,
    /// Tokens of the answer.
    output_tokens: i64,
    /// From the request to the whole answer.
    processing_time_ms: f64,
    /// The model, as its server names it; empty while there is no answer.
    model_used: String,
    /// When it was said.
    created_at: Timestamp,
}

impl From<conversations::Conversation> for Turn {
    fn from(row: conversations::Conversation) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            channel: row.channel,
            call_sid: row.call_sid.into(),
            turn: row.turn.into(),
            input_text: row.input_text,
            gpt_response: row.gpt_response.into(),
            heard_text: row.heard_text.into(),
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            processing_time_ms: row.processing_time_ms,
            model_used: row.model_used,
            created_at: Timestamp(row.created_at),
        }
    }
}

impl Example for Turn {
    fn example() -> Self {
        Self {
            id: 7,
            user_id: 1,
            channel: "voice".to_owned(),
            call_sid: Some("CA00000000000000000000000000000000".to_owned()).into(),
            turn: Some(1).into(),
            input_text: "What is the capital of France?".to_owned(),
            gpt_response: Some("The capital of France is Paris.".to_owned()).into(),
            heard_text: None.into(),
            input_tokens: 10,
            output_tokens: 8,
            processing_time_ms: 1250.5,
            model_used: "gpt-3.5-turbo".to_owned(),
            created_at: Timestamp::EXAMPLE,
        }
    }
}

/// A call.
#[derive(Object)]
#[oai(rename = "CallEntry", example)]
pub(super) struct Call {
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
    /// Who answered a call of the gateway's, as Twilio tells it (`human`, `machine_end_beep` …); null until it is known.
    answered_by: Nullable<String>,
    /// How long it took; null until it is over.
    duration_seconds: Nullable<i64>,
    /// When it began.
    started_at: Timestamp,
    /// When it ended; null until it is over.
    ended_at: Nullable<Timestamp>,
    /// What was said, in a paragraph; null until the call was summed up, which takes some moments after its end, and for
    /// good when nothing was said or `CALL_SUMMARIES` is off.
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
    /// `pending` until the words are written down, then `done`; `unavailable` when they cannot be had: nothing is set that
    /// writes them down (`OPENAI_TRANSCRIBE_MODEL`), or it kept failing.
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
    pub(super) async fn entries(db: &Db, calls: Vec<calls::Call>) -> Result<Vec<Self>, DbError> {
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
    pub(super) fn is_over(&self) -> bool {
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

/// A text, what was decided about it, and how far the reply has got.
#[derive(Object)]
#[oai(rename = "SmsEntry", example)]
pub(super) struct Sms {
    /// The entry's id, by which lists are paged.
    id: i64,
    /// Whose text it is.
    user_id: Nullable<i64>,
    /// Twilio's MessageSid; null for a text that came over this API.
    message_sid: Nullable<String>,
    /// `sms`, `whatsapp`, `rcs`, `messenger` or `api`.
    channel: String,
    /// `inbound`, or `outbound` for a text that answers none: its words are the reply.
    direction: String,
    /// The sender, as Twilio names it.
    from_number: Nullable<String>,
    /// The receiver, as Twilio names it.
    to_number: Nullable<String>,
    /// What was written.
    incoming_text: String,
    /// The pictures and other files that came with it.
    media: Vec<Media>,
    /// `yes`, `no` or `unsure`; null until it is decided, and for texts that are not to be answered.
    decision: Nullable<String>,
    /// How sure the model is of it, from 0 to 1; null when it did not say.
    confidence: Nullable<f64>,
    /// The reply.
    reply_text: Nullable<String>,
    /// `answered` at once, `confirmed` (a keyword), `pending`, `sending`, `draft`, `discarded` (a draft), `ignored`, `canceled` (the receiver opted
    /// out, or is an inactive user), or Twilio's word for a reply that was sent later (`queued`, `sent`, `delivered`, `undelivered`, `failed` …), of one in several
    /// messages for the worst of them; null while it is being decided, and for a text that is answered with a later one.
    reply_status: Nullable<String>,
    /// Why it was decided so, in the model's words on one line; or why the text is not answered: `keyword`, `opted out`, `own number`, `inactive user`, `sender is no person` (a short code
    /// or a name), `automatic reply`, `reaction`, or `too many replies` (`SMS_LOOP_LIMIT`). Null when nothing is known of it.
    reason: Nullable<String>,
    /// Twilio's error code of a reply that failed.
    error_code: Nullable<i64>,
    /// The segments the reply takes, all its messages together; null without a reply, on other channels than SMS, and of a
    /// text that answers none until it is sent.
    segments: Nullable<i64>,
    /// Their encoding: `gsm7`, or `ucs2` when a character of the reply is not in the GSM alphabet.
    encoding: Nullable<String>,
    /// What they cost by `SMS_SEGMENT_PRICE`; null when it is not set.
    cost_estimate: Nullable<f64>,
    /// What the error code means; null for one that is not known here.
    error_meaning: Nullable<String>,
    /// The id of the later text of this sender with which it is answered: its reply is for both. Null for a text with a reply of
    /// its own.
    answered_with: Nullable<i64>,
    /// When it came in.
    created_at: Timestamp,
}

/// A file that came with a text.
#[derive(Object, Deserialize)]
#[oai(rename = "MediaFile")]
struct Media {
    /// Where Twilio keeps it.
    url: String,
    /// Its media type.
    #[serde(default)]
    content_type: String,
    /// Its length in bytes; left out while it was not fetched, as only pictures are that the model is shown.
    #[oai(skip_serializing_if_is_none)]
    size: Option<u64>,
}

impl From<messages::Message> for Sms {
    fn from(row: messages::Message) -> Self {
        let media = row.media.as_deref().and_then(|list| serde_json::from_str(list).ok());
        Self {
            id: row.id,
            user_id: row.user_id.into(),
            message_sid: row.message_sid.into(),
            channel: row.channel,
            direction: row.direction,
            from_number: row.from_number.into(),
            to_number: row.to_number.into(),
            incoming_text: row.incoming_text,
            media: media.unwrap_or_default(),
            decision: row.decision.into(),
            confidence: row.confidence.into(),
            reply_text: row.reply_text.into(),
            reply_status: row.reply_status.into(),
            reason: row.reason.into(),
            error_code: row.error_code.into(),
            segments: row.segments.into(),
            encoding: row.encoding.into(),
            cost_estimate: row.cost_estimate.into(),
            error_meaning: row.error_code.and_then(meaning).map(str::to_owned).into(),
            answered_with: row.answered_with.into(),
            created_at: Timestamp(row.created_at),
        }
    }
}

impl Example for Sms {
    fn example() -> Self {
        Self {
            id: 5,
            user_id: Some(1).into(),
            message_sid: Some("SM00000000000000000000000000000000".to_owned()).into(),
            channel: "sms".to_owned(),
            direction: "inbound".to_owned(),
            from_number: Some("+14155550123".to_owned()).into(),
            to_number: Some("+14155550100".to_owned()).into(),
            incoming_text: "Can you help me tomorrow?".to_owned(),
            media: Vec::new(),
            decision: Some("yes".to_owned()).into(),
            confidence: Some(0.9).into(),
            reply_text: Some("Yes, I can help you tomorrow.".to_owned()).into(),
            reply_status: Some("answered".to_owned()).into(),
            reason: Some("The user is free tomorrow.".to_owned()).into(),
            error_code: None.into(),
            segments: Some(1).into(),
            encoding: Some("gsm7".to_owned()).into(),
            cost_estimate: Some(0.0083).into(),
            error_meaning: None.into(),
            answered_with: None.into(),
            created_at: Timestamp::EXAMPLE,
        }
    }
}
