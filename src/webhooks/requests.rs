//! The fields of each webhook (twilio.com/docs/voice/twiml, …/messaging/guides/webhook-request).

use crate::clock::Micros;
use crate::conversation::wishes::keys_in_words;
use crate::db::calls::CallEvent;
use crate::db::reply_reports::ReplyReport;
use crate::twilio::form::Form;
use crate::twilio::relay_messages::Setup;
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// A webhook that can be read from its form.
pub trait Webhook: Sized + Send {
    /// Reads the fields.
    ///
    /// # Errors
    /// When the id of what it is about is missing or absurd.
    fn read(form: &Form<'_>) -> Result<Self, BadField>;
}

/// A field without which a webhook means nothing, or one no database text can hold.
#[derive(Debug, thiserror::Error)]
#[error("{0} is missing or not what Twilio sends.")]
pub struct BadField(&'static str);

/// Ids and addresses are short; what is longer is not Twilio's.
const LONGEST_ID: usize = 64;
const LONGEST_ADDRESS: usize = 320;

fn sid(form: &Form<'_>, name: &'static str) -> Result<String, BadField> {
    let sid = form.get(name).unwrap_or_default();
    let is_sound = !sid.is_empty() && sid.len() <= LONGEST_ID && sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_sound { Ok(sid.to_owned()) } else { Err(BadField(name)) }
}

fn address(form: &Form<'_>, name: &'static str) -> Result<String, BadField> {
    let address = form.text(name);
    if address.len() <= LONGEST_ADDRESS { Ok(address) } else { Err(BadField(name)) }
}

/// A short word such as a status; what is none is left out.
fn word(form: &Form<'_>, name: &str) -> Option<String> {
    let word = form.get(name)?;
    let is_sound =
        !word.is_empty() && word.len() <= 32 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    is_sound.then(|| word.to_owned())
}

/// What every webhook of a call says.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// The call.
    pub call_sid: String,
    /// The caller.
    pub from: String,
    /// The called number.
    pub to: String,
    direction: String,
    status: String,
}

impl CallRequest {
    /// Whether the call is over, so that nobody hears what is answered.
    pub fn is_over(&self) -> bool {
        self.event(0).is_over()
    }

    /// Whether we placed the call.
    pub fn is_ours(&self) -> bool {
        self.direction.starts_with("outbound")
    }

    /// The sides as the gateway sees them: on a call that we placed, the person is the one who was called.
    pub fn person_and_us(&self) -> (&str, &str) {
        if self.is_ours() { (&self.to, &self.from) } else { (&self.from, &self.to) }
    }

    /// What the log of calls is told.
    pub fn event(&self, at: Micros) -> CallEvent {
        CallEvent {
            call_sid: self.call_sid.clone(),
            direction: self.direction.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            status: self.status.clone(),
            duration_seconds: None,
            at,
        }
    }
}

impl Webhook for CallRequest {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        Ok(Self {
            call_sid: sid(form, "CallSid")?,
            from: address(form, "From")?,
            to: address(form, "To")?,
            direction: word(form, "Direction").unwrap_or_else(|| "inbound".to_owned()),
            status: word(form, "CallStatus").unwrap_or_else(|| "in-progress".to_owned()),
        })
    }
}

impl From<&Setup> for CallRequest {
    /// The call of a ConversationRelay session.
    fn from(setup: &Setup) -> Self {
        Self {
            call_sid: setup.call_sid.clone(),
            from: setup.from.clone(),
            to: setup.to.clone(),
            direction: setup.direction.clone(),
            status: "in-progress".to_owned(),
        }
    }
}

/// How a ConversationRelay session ended.
#[derive(Debug)]
pub struct RelayEnd {
    /// The call.
    pub call: CallRequest,
    /// The session; empty when it is not told.
    pub session_id: String,
    /// Whether the call is over, too. A session that failed can be followed by another, whatever the call's status says.
    pub is_over: bool,
    /// What we handed over with the session's end.
    pub handoff: Option<Handoff>,
}

/// What comes after a ConversationRelay session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Handoff {
    /// Goodbye was said: the call ends.
    Goodbye,
    /// The model ended the call.
    EndCall,
    /// The call has lasted as long as one may.
    TimeOver,
    /// The caller is connected to a person.
    Transfer,
    /// The caller leaves a message.
    Voicemail,
}

impl Handoff {
    /// As `handoffData`.
    pub fn to_json(self) -> String {
        serde_json::to_string(&self).expect("a name can always be written as JSON")
    }
}

impl Webhook for RelayEnd {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let handoff = form.get("HandoffData").and_then(|data| serde_json::from_str(data).ok());
        let call = CallRequest::read(form)?;
        let is_over = form.get("SessionStatus") == Some("completed") || (call.is_over() && call.status != "failed");
        Ok(Self { call, session_id: sid(form, "SessionId").unwrap_or_default(), is_over, handoff })
    }
}

/// What a Gather heard.
#[derive(Debug)]
pub struct SpeechTurn {
    /// The call.
    pub call: CallRequest,
    speech: String,
    digits: String,
}

/// What the caller did when it was the caller's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Silence,
    /// Asked to hear the last answer again, with the star key.
    Again,
    /// Said this, or pressed keys, which are told in words.
    Words(String),
}

impl SpeechTurn {
    /// What the caller said, or which keys were pressed.
    pub fn heard(&self) -> Heard {
        match (self.speech.trim(), self.digits.trim()) {
            ("", "") => Heard::Silence,
            ("", "*") => Heard::Again,
            ("", digits) => Heard::Words(keys_in_words(digits)),
            (speech, _) => Heard::Words(speech.to_owned()),
        }
    }

    /// Whether the caller pressed this key and nothing else.
    pub fn pressed(&self, key: &str) -> bool {
        self.speech.trim().is_empty() && self.digits.trim() == key
    }
}

impl Webhook for SpeechTurn {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        Ok(Self { call: CallRequest::read(form)?, speech: form.text("SpeechResult"), digits: form.text("Digits") })
    }
}

/// What became of a call to the person a caller was transferred to.
#[derive(Debug)]
pub struct DialEnd {
    /// The caller's call.
    pub call: CallRequest,
    /// Whether the person took it.
    pub answered: bool,
}

impl Webhook for DialEnd {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let answered = matches!(form.get("DialCallStatus"), Some("completed" | "answered"));
        Ok(Self { call: CallRequest::read(form)?, answered })
    }
}

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

/// A report on a call's progress.
#[derive(Debug)]
pub struct CallProgress {
    call: CallRequest,
    duration_seconds: Option<i64>,
    at: Option<Micros>,
}

impl CallProgress {
    /// What the log of calls is told; `now` counts when Twilio gives no time.
    pub fn event(&self, now: Micros) -> CallEvent {
        let mut event = self.call.event(self.at.unwrap_or(now));
        event.duration_seconds = self.duration_seconds;
        event
    }
}

impl Webhook for CallProgress {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let seconds = |name| form.get(name).and_then(|value| value.parse::<u32>().ok()).map(i64::from);
        let at = form.get("Timestamp").and_then(|at| OffsetDateTime::parse(at, &Rfc2822).ok());
        let at = at.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000).ok()).filter(|at| *at > 0);
        let duration_seconds = seconds("CallDuration").filter(|seconds| *seconds < 7 * 24 * 3600);
        Ok(Self { call: CallRequest::read(form)?, duration_seconds, at })
    }
}

/// Who answered a call of ours, as far as Twilio can tell.
#[derive(Debug)]
pub struct AnsweredBy {
    /// The call.
    pub call_sid: String,
    /// `human`, `machine_end_beep`, `fax` …; nothing when Twilio names nobody.
    pub who: Option<String>,
}

impl Webhook for AnsweredBy {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        Ok(Self { call_sid: sid(form, "CallSid")?, who: word(form, "AnsweredBy") })
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

/// An incoming text.
#[derive(Debug)]
pub struct IncomingText {
    /// The text's id.
    pub message_sid: String,
    /// The sender.
    pub from: String,
    /// Our number.
    pub to: String,
    /// What was written; the button's words when one was pressed.
    pub text: String,
    /// Twilio's reading of a keyword, with Advanced Opt-Out.
    pub opt_out_type: Option<String>,
    /// The Messaging Service that our number is in, or none.
    pub messaging_service_sid: Option<String>,
    /// What the sender is called on WhatsApp or RCS.
    pub profile_name: Option<String>,
    /// Whether it is a reaction to another message (WhatsApp and RCS).
    pub is_reaction: bool,
    /// Whether it is no text at all, but a report that one of ours was delivered or read.
    pub is_receipt: bool,
    /// JSON list of `{url, content_type}`.
    pub media: Option<String>,
    /// How many there are.
    pub media_count: usize,
}

/// The states of messages that we sent; one that comes in is `received`.
const REPORTED: [&str; 5] = ["sent", "delivered", "undelivered", "failed", "read"];

/// A name of letters that is no longer than names are.
fn profile_name(name: &str) -> Option<String> {
    const LONGEST: usize = 60;
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    Some(name).filter(|name| name.contains(char::is_alphanumeric))
}

/// Twilio allows ten files a message.
const MOST_MEDIA: usize = 10;

impl Webhook for IncomingText {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let message_sid = sid(form, "MessageSid").or_else(|missing| sid(form, "SmsSid").map_err(|_| missing))?;
        let body = form.text("Body");
        let count = form.get("NumMedia").and_then(|count| count.parse::<usize>().ok()).unwrap_or(0).min(MOST_MEDIA);
        let media: Vec<_> = (0..count)
            .filter_map(|n| {
                let url = Some(form.text(&format!("MediaUrl{n}"))).filter(|url| !url.is_empty())?;
                let content_type = form.text(&format!("MediaContentType{n}"));
                Some(json!({ "url": url, "content_type": content_type }))
            })
            .collect();
        Ok(Self {
            message_sid,
            from: address(form, "From")?,
            to: address(form, "To")?,
            text: if body.is_empty() { form.text("ButtonText") } else { body },
            opt_out_type: word(form, "OptOutType"),
            messaging_service_sid: sid(form, "MessagingServiceSid").ok(),
            profile_name: profile_name(&form.text("ProfileName")),
            is_reaction: form.get("MessageType").is_some_and(|kind| kind.eq_ignore_ascii_case("reaction")),
            is_receipt: form.get("EventType").is_some_and(|event| event.eq_ignore_ascii_case("read"))
                || form.get("SmsStatus").is_some_and(|status| REPORTED.contains(&status)),
            media_count: media.len(),
            media: (!media.is_empty()).then(|| json!(media).to_string()),
        })
    }
}

/// A report on a reply's progress.
#[derive(Debug)]
pub struct MessageProgress {
    /// What is reported; nothing when Twilio names no status.
    pub report: Option<ReplyReport>,
}

impl Webhook for MessageProgress {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let reply_sid = sid(form, "MessageSid").or_else(|missing| sid(form, "SmsSid").map_err(|_| missing))?;
        let (from, to) = (form.text("From"), form.text("To"));
        let status = word(form, "MessageStatus").or_else(|| word(form, "SmsStatus"));
        let error_code = form.get("ErrorCode").and_then(|code| code.parse::<u32>().ok()).map(i64::from);
        Ok(Self { report: status.map(|status| ReplyReport { reply_sid, from, to, status, error_code }) })
    }
}
