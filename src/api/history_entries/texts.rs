//! A text with its reply.

use crate::api::values::{Nullable, Timestamp};
use crate::db::messages;
use crate::twilio::errors::meaning;
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::Deserialize;

/// A text, what was decided about it, and how far the reply has got.
#[derive(Object)]
#[oai(rename = "SmsEntry", example)]
pub(in crate::api) struct Sms {
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
    /// `answered` at once, `confirmed` (a keyword), `pending`, `sending`, `draft`, `discarded` (a draft), `ignored`,
    /// `canceled` (the receiver opted out, or is an inactive user), or Twilio's word for a reply that was sent later
    /// (`queued`, `sent`, `delivered`, `undelivered`, `failed` …), of one in several messages for the worst of them;
    /// null while it is being decided, and for a text that is answered with a later one.
    reply_status: Nullable<String>,
    /// Why it was decided so, in the model's words on one line; or why the text is not answered: `keyword`, `opted
    /// out`, `own number`, `inactive user`, `sender is no person` (a short code or a name), `automatic reply`,
    /// `reaction`, or `too many replies` (`SMS_LOOP_LIMIT`). Null when nothing is known of it.
    reason: Nullable<String>,
    /// Twilio's error code of a reply that failed.
    error_code: Nullable<i64>,
    /// The segments the reply takes, all its messages together; null without a reply, on other channels than SMS, and
    /// of a text that answers none until it is sent.
    segments: Nullable<i64>,
    /// Their encoding: `gsm7`, or `ucs2` when a character of the reply is not in the GSM alphabet.
    encoding: Nullable<String>,
    /// What they cost by `SMS_SEGMENT_PRICE`; null when it is not set.
    cost_estimate: Nullable<f64>,
    /// What the error code means; null for one that is not known here.
    error_meaning: Nullable<String>,
    /// The id of the later text of this sender with which it is answered: its reply is for both. Null for a text with a
    /// reply of its own.
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
