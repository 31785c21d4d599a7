//! The fields of each webhook (twilio.com/docs/voice/twiml, …/messaging/guides/webhook-request).

mod recordings;
mod sessions;
mod texts;

use crate::clock::Micros;
use crate::config::AccountSid;
use crate::conversation::wishes::keys_in_words;
use crate::db::calls::{self, CallEvent};
use crate::twilio::form::Form;
use crate::twilio::relay_messages::Setup;
pub use recordings::{Recorded, Recording, RecordingReport};
pub use sessions::{Handoff, RelayEnd};
pub use texts::{IncomingText, MessageProgress};
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

/// The account that a webhook names. That it is one of ours, and which, was checked with the signature.
fn account(form: &Form<'_>) -> Option<AccountSid> {
    form.get("AccountSid").and_then(AccountSid::parse)
}

/// What every webhook of a call says.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// The account.
    pub account: Option<AccountSid>,
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
    /// See [`calls::is_over_for_sure`]: nobody hears what is answered.
    pub fn is_over_for_sure(&self) -> bool {
        calls::is_over_for_sure(&self.status)
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
            account_sid: self.account,
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
            account: account(form),
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
            account: AccountSid::parse(&setup.account_sid),
            call_sid: setup.call_sid.clone(),
            from: setup.from.clone(),
            to: setup.to.clone(),
            direction: setup.direction.clone(),
            status: "in-progress".to_owned(),
        }
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
pub enum CallerInput {
    /// Nothing.
    Silence,
    /// Asked to hear the last answer again, with the star key.
    Again,
    /// Said this, or pressed keys, which are told in words.
    Words(String),
}

impl SpeechTurn {
    /// What the caller said, or which keys were pressed.
    pub fn input(&self) -> CallerInput {
        match (self.speech.trim(), self.digits.trim()) {
            ("", "") => CallerInput::Silence,
            ("", "*") => CallerInput::Again,
            ("", digits) => CallerInput::Words(keys_in_words(digits)),
            (speech, _) => CallerInput::Words(speech.to_owned()),
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
    /// The account.
    pub account: Option<AccountSid>,
    /// The call.
    pub call_sid: String,
    /// `human`, `machine_end_beep`, `fax` …; nothing when Twilio names nobody.
    pub who: Option<String>,
}

impl Webhook for AnsweredBy {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        Ok(Self { account: account(form), call_sid: sid(form, "CallSid")?, who: word(form, "AnsweredBy") })
    }
}
