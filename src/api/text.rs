//! The kinds of text that requests may hold: what each must be, for the documentation and for the check alike.

mod kinds;

use super::values::inline_type;
pub(super) use kinds::{
    CallSid, Email, IdempotencyKey, JobState, LanguageTag, PhoneNumber, Purpose, SmsBody, TimeZoneName, TransportName,
    Username, VoiceName, Words,
};
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

const KINDS: [&Kind; 13] = [
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
    JobState::KIND,
    TimeZoneName::KIND,
];

impl Kind {
    /// The kind that a schema made by [`Kind::schema`] is of.
    pub(super) fn of(schema: &MetaSchema) -> Option<&'static Self> {
        KINDS.into_iter().find(|kind| Some(kind.title) == schema.title.as_deref())
    }

    /// What `text` must be, when it is something else.
    pub(super) fn fault(&self, text: &str) -> Option<String> {
        if !(self.accepts)(text) {
            let values = (self.values)();
            let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
            return Some(match values.as_slice() {
                [] => self.must.to_owned(),
                values => format!("must be one of {}", values.join(", ")),
            });
        }
        let (least, most) = self.length;
        let fits = (least..=most).contains(&text.chars().count());
        (!fits).then(|| format!("must have {least} to {most} characters"))
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
    use super::kinds::is_email;
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
