//! The kinds of text that requests may hold: what each must be, for the documentation and for the check alike.

use super::values::inline_type;
use crate::config::Transport;
use crate::quiet_hours::time_zone;
use crate::sms::segments::{Limit, MESSAGE_UNITS};
use crate::twilio::address::is_e164;
use crate::twilio::voices;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{MaybeUndefined, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;
use std::borrow::Cow;
use std::marker::PhantomData;

/// One kind of text.
pub(super) struct Kind {
    /// Its name, unlike any other kind's.
    title: &'static str,
    /// Shortest and longest, in characters.
    length: (usize, usize),
    /// The format, in OpenAPI's words.
    format: Option<&'static str>,
    /// The values that are documented.
    values: fn() -> Vec<Value>,
    /// What `accepts` accepts, as a regular expression of ECMA 262, unless format or values say it.
    pattern: Option<&'static str>,
    /// An example.
    example: &'static str,
    /// What it must be, unless the values say it.
    must: &'static str,
    /// Whether a text of the right length is of this kind.
    accepts: fn(&str) -> bool,
}

const KINDS: [&Kind; 12] = [
    Username::KIND,
    Email::KIND,
    PhoneNumber::KIND,
    Words::KIND,
    Purpose::KIND,
    SmsBody::KIND,
    CallSid::KIND,
    IdempotencyKey::KIND,
    LanguageTag::KIND,
    VoiceName::KIND,
    TransportName::KIND,
    TimeZoneName::KIND,
];

impl Kind {
    /// The kind that a schema made by [`Kind::schema`] is of.
    pub(super) fn of(schema: &MetaSchema) -> Option<&'static Self> {
        KINDS.into_iter().find(|kind| Some(kind.title) == schema.title.as_deref())
    }

    /// What `text` must be, when it is something else.
    pub(super) fn fault(&self, text: &str) -> Option<String> {
        let (least, most) = self.length;
        if !(least..=most).contains(&text.chars().count()) {
            let range = if least == most { least.to_string() } else { format!("{least} to {most}") };
            return Some(format!("must have {range} characters"));
        }
        if (self.accepts)(text) {
            return None;
        }
        let values = (self.values)();
        if values.is_empty() {
            return Some(self.must.to_owned());
        }
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        Some(format!("must be one of {}", values.join(", ")))
    }

    fn schema(&self) -> MetaSchema {
        MetaSchema {
            title: Some(self.title.to_owned()),
            format: self.format,
            pattern: self.pattern.map(str::to_owned),
            enum_items: (self.values)(),
            example: Some(self.example.into()),
            min_length: Some(self.length.0),
            max_length: Some(self.length.1),
            ..MetaSchema::new("string")
        }
    }
}

/// Marks a type as the name of a kind of text.
pub(super) trait TextKind: Send + Sync + 'static {
    /// The kind.
    const KIND: &'static Kind;
}

/// What people call a user.
pub(super) struct Username;

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
pub(super) struct Email;

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
pub(super) struct PhoneNumber;

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
pub(super) struct Words;

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
pub(super) struct Purpose;

impl TextKind for Purpose {
    const KIND: &'static Kind = &Kind {
        title: "Purpose",
        length: (1, 1_000),
        example: "Tell John that the repair is done and ask when he wants to fetch his bicycle.",
        ..*Words::KIND
    };
}

/// What is sent to somebody in one message.
pub(super) struct SmsBody;

impl TextKind for SmsBody {
    const KIND: &'static Kind = &Kind {
        title: "SmsBody",
        length: (1, MESSAGE_UNITS),
        example: "Your bicycle is ready.",
        must: "must not be blank, must hold no control characters other than line breaks and tabs, and must have at most 1600 \
               characters as Twilio counts them, where many an emoji is two",
        accepts: |text| is_words(text) && Limit::Message.holds(text),
        ..*Words::KIND
    };
}

/// Twilio's id of a call.
pub(super) struct CallSid;

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
pub(super) struct IdempotencyKey;

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
pub(super) struct LanguageTag;

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
pub(super) struct VoiceName;

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
pub(super) struct TransportName;

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
pub(super) struct TimeZoneName;

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

/// Whether mail may well be sent there: a local part of RFC 5322's unquoted characters, and a host name.
fn is_email(text: &str) -> bool {
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

/// Text of a kind.
#[derive(Debug)]
pub(super) struct Text<K>(String, PhantomData<K>);

impl<K: TextKind> Text<K> {
    /// The kind's example.
    pub(super) fn example() -> Self {
        Self(K::KIND.example.to_owned(), PhantomData)
    }

    /// The text, to be looked at.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    pub(super) fn into_inner(self) -> String {
        self.0
    }
}

inline_type!([K: TextKind] Text<K>, K::KIND.title, K::KIND.schema());

impl<K: TextKind> ParseFromJSON for Text<K> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value.unwrap_or_default() {
            Value::String(text) => match K::KIND.fault(&text) {
                None => Ok(Self(text, PhantomData)),
                Some(fault) => Err(ParseError::custom(fault)),
            },
            other => Err(ParseError::expected_type(other)),
        }
    }
}

impl<K: TextKind> ToJSON for Text<K> {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.clone()))
    }
}

/// A field of a partial update, as the database takes it: `None` leaves it, `Some(None)` empties it.
pub(super) fn update<K: TextKind>(field: MaybeUndefined<Text<K>>) -> Option<Option<String>> {
    match field {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(text) => Some(Some(text.into_inner())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem_openapi::validation::{Pattern, Validator};
    use proptest::prelude::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_accepts_its_example() {
        for kind in KINDS {
            assert_eq!(Kind::of(&kind.schema()).map(|found| found.title), Some(kind.title));
            assert_eq!(kind.fault(kind.example), None, "{}", kind.title);
        }
    }

    proptest! {
        #[test]
        fn the_documented_pattern_and_the_check_agree(
            text in prop_oneof![".*", "[\\x00-\\x20\\x7f-\\xa1a]{0,4}", "\\+?[0-9]{0,17}", "[a-zA-Z0-9._ -]{0,5}"],
        ) {
            for kind in KINDS {
                if let Some(pattern) = kind.pattern {
                    let is_documented = Pattern::new(pattern).check(&text);
                    prop_assert_eq!(is_documented, (kind.accepts)(&text), "{}: {:?}", kind.title, text);
                }
            }
        }
    }

    #[test]
    fn tells_addresses_of_mail_from_other_text() {
        for address in ["a@b.co", "john.doe+tag@mail.example.com", "o'brien@xn--bcher-kva.example"] {
            assert!(is_email(address), "{address}");
        }
        for text in ["", "@", "a@b", "a b@c.de", "a@-b.de", "a@b..de", ".a@b.de", "a@b.de\n", "a@@b.de", "a@[1.2.3.4]"]
        {
            assert!(!is_email(text), "{text:?}");
        }
    }
}
