//! The fields of webhooks about what a Record recorded.

use super::{BadField, CallRequest, Webhook, sid};
use crate::twilio::form::Form;

/// What a Record recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The call.
    pub call: CallRequest,
    /// Whether there is a recording: without one the caller said nothing.
    pub is_message: bool,
}

impl Webhook for Recorded {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let is_empty = form.get("RecordingDuration").is_some_and(|seconds| seconds.trim() == "0");
        let is_message = form.get("RecordingUrl").is_some_and(|url| !url.is_empty()) && !is_empty;
        Ok(Self { call: CallRequest::read(form)?, is_message })
    }
}

/// A report on what a Record recorded.
#[derive(Debug)]
pub struct RecordingReport {
    /// The call.
    pub call_sid: String,
    /// The message; none when the caller said nothing, when recording failed, or while it goes on.
    pub recording: Option<Recording>,
}

/// A message that Twilio has ready.
#[derive(Debug)]
pub struct Recording {
    /// Its id.
    pub sid: String,
    /// Where Twilio keeps it.
    pub url: String,
    /// Its length, if Twilio told it.
    pub duration_seconds: Option<i64>,
}

/// Twilio's are a hundred characters long.
const LONGEST_URL: usize = 2048;

impl Webhook for RecordingReport {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let call_sid = sid(form, "CallSid")?;
        if form.get("RecordingStatus").is_some_and(|status| status != "completed") {
            return Ok(Self { call_sid, recording: None });
        }
        let url = form.text("RecordingUrl");
        if url.is_empty() || url.len() > LONGEST_URL {
            return Err(BadField("RecordingUrl"));
        }
        let duration_seconds = match form.get("RecordingDuration") {
            Some(seconds) => Some(seconds.parse::<u32>().map_err(|_| BadField("RecordingDuration"))?.into()),
            None => None,
        };
        let recording = Recording { sid: sid(form, "RecordingSid")?, url, duration_seconds };
        // What is shorter than a second is no message.
        Ok(Self { call_sid, recording: Some(recording).filter(|recording| recording.duration_seconds != Some(0)) })
    }
}
