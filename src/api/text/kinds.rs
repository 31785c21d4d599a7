//! The kinds, each with what it must be.

use super::{Kind, TextKind};
use crate::config::Transport;
use crate::quiet_hours::time_zone;
use crate::sms::length::utf16_units;
use crate::twilio::address::is_e164;
use crate::twilio::voices;
use serde_json::Value;

/// What people call a user.
pub(in crate::api) struct Username;

impl TextKind for Username {
    const KIND: &'static Kind = &Kind {
        title: "Username",
        length: (1, 150),
        format: None,
        values: Vec::new,
        pattern: Some(r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"),
        example: "john_doe",
        must: "must not be blank and must hold no control characters",
        accepts: |text| !text.trim().is_empty() && !text.contains(char::is_control),
    };
}

/// An e-mail address.
pub(in crate::api) struct Email;

impl TextKind for Email {
    const KIND: &'static Kind = &Kind {
        title: "Email",
        length: (3, 254),
        format: Some("email"),
        values: Vec::new,
        pattern: None,
        example: "john@example.com",
        must: "must be an e-mail address, such as john@example.com",
        accepts: is_email,
    };
}

/// A telephone number.
pub(in crate::api) struct PhoneNumber;

impl TextKind for PhoneNumber {
    const KIND: &'static Kind = &Kind {
        title: "PhoneNumber",
        length: (8, 16),
        format: None,
        values: Vec::new,
        pattern: Some(r"^\+[1-9][0-9]{6,14}$"),
        example: "+14155550123",
        must: "must be a telephone number in E.164 form, such as +14155550123",
        accepts: is_e164,
    };
}

/// What somebody says or writes.
pub(in crate::api) struct Words;

impl TextKind for Words {
    const KIND: &'static Kind = &Kind {
        title: "Text",
        length: (1, 10_000),
        format: None,
        values: Vec::new,
        pattern: Some(WORDS),
        example: "Can you help me tomorrow?",
        must: "must not be blank and must hold no control characters other than line breaks and tabs",
        accepts: is_words,
    };
}

const WORDS: &str =
    r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$";

fn is_words(text: &str) -> bool {
    let is_allowed = |c: char| !c.is_control() || ['\n', '\r', '\t'].contains(&c);
    !text.trim().is_empty() && text.chars().all(is_allowed)
}

/// Why somebody is called.
pub(in crate::api) struct Purpose;

impl TextKind for Purpose {
    const KIND: &'static Kind = &Kind {
        title: "Purpose",
        length: (1, 1_000),
        example: "Tell John that the repair is done and ask when he wants to fetch his bicycle.",
        ..*Words::KIND
    };
}

/// The longest text that is sent to somebody, in UTF-16 units: some ten messages.
const LONGEST_SMS: usize = 10_000;

/// What is sent to somebody; in several messages, when one does not hold it.
pub(in crate::api) struct SmsBody;

impl TextKind for SmsBody {
    const KIND: &'static Kind = &Kind {
        title: "SmsBody",
        length: (1, LONGEST_SMS),
        example: "Your bicycle is ready.",
        must: "must not be blank, must hold no control characters other than line breaks and tabs, and must have at most 10000 \
               characters as Twilio counts them, where many an emoji is two",
        accepts: |text| is_words(text) && utf16_units(text) <= LONGEST_SMS,
        ..*Words::KIND
    };
}

/// Twilio's id of a call.
pub(in crate::api) struct CallSid;

impl TextKind for CallSid {
    const KIND: &'static Kind = &Kind {
        title: "CallSid",
        length: (34, 34),
        format: None,
        values: Vec::new,
        pattern: Some(r"^CA[0-9a-fA-F]{32}$"),
        example: "CA00000000000000000000000000000000",
        must: "must be a CallSid: CA and 32 hexadecimal digits",
        accepts: |text| {
            text.strip_prefix("CA")
                .is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        },
    };
}

/// A client's name for a request.
pub(in crate::api) struct IdempotencyKey;

impl TextKind for IdempotencyKey {
    const KIND: &'static Kind = &Kind {
        title: "IdempotencyKey",
        length: (1, 255),
        format: None,
        values: Vec::new,
        pattern: Some(r"^[\x20-\x7e]*$"),
        example: "0f8fad5b-d9cb-469f-a165-70867728950e",
        must: "must be printable ASCII characters",
        accepts: |text| text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)),
    };
}

/// A language that is spoken here.
pub(in crate::api) struct LanguageTag;

impl TextKind for LanguageTag {
    const KIND: &'static Kind = &Kind {
        title: "Language",
        length: (2, 35),
        format: None,
        values: || voices::languages().iter().map(|language| language.tag.into()).collect(),
        pattern: None,
        example: "es",
        must: "must be a language that is spoken here",
        accepts: |tag| voices::language(tag).is_some(),
    };
}

/// The name of a voice. Whether there is such a voice, and whether it speaks the language beside it, is seen there.
pub(in crate::api) struct VoiceName;

impl TextKind for VoiceName {
    const KIND: &'static Kind = &Kind {
        title: "Voice",
        length: (1, 100),
        format: None,
        values: Vec::new,
        pattern: Some(r"^[A-Za-z][A-Za-z0-9._-]*$"),
        example: "nova",
        must: "must be the name of a voice, such as nova or Polly.Ruth-Neural",
        accepts: |name| {
            name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        },
    };
}

/// How calls are carried.
pub(in crate::api) struct TransportName;

impl TextKind for TransportName {
    const KIND: &'static Kind = &Kind {
        title: "Transport",
        length: (5, 6),
        format: None,
        values: || Transport::ALL.map(|transport| transport.name().into()).into(),
        pattern: None,
        example: "relay",
        must: "must be the name of a transport",
        accepts: |name| Transport::of(name).is_some(),
    };
}

/// A time zone by its IANA name.
pub(in crate::api) struct TimeZoneName;

impl TextKind for TimeZoneName {
    const KIND: &'static Kind = &Kind {
        title: "TimeZone",
        length: (2, 64),
        format: None,
        values: Vec::new,
        pattern: None,
        example: "Europe/Berlin",
        must: "must be the IANA name of a time zone, such as Europe/Berlin",
        accepts: |name| time_zone(name).is_some(),
    };
}

/// How a job stands.
pub(in crate::api) struct JobState;

impl TextKind for JobState {
    const KIND: &'static Kind = &Kind {
        title: "JobState",
        length: (1, 20),
        format: None,
        values: || JOB_STATES.map(Value::from).to_vec(),
        pattern: None,
        example: "gave_up",
        must: "must be a state of jobs",
        accepts: |text| JOB_STATES.contains(&text),
    };
}

const JOB_STATES: [&str; 3] = ["waiting", "running", "gave_up"];

/// Whether mail may well be sent there: a local part of RFC 5322's unquoted characters, and a host name.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    local.len() <= 64 && local.split('.').all(is_atom) && domain.contains('.') && domain.split('.').all(is_label)
}
