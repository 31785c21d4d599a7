//! Values of the REST API that are no text: whole numbers in a range, times, and what may be null.

use crate::clock::{Micros, to_utc};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;
use std::borrow::Cow;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// The largest whole number that every JSON reader takes exactly: 2^53 - 1.
pub(super) const LARGEST: i64 = 9_007_199_254_740_991;

/// A whole number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole<const LEAST: i64, const MOST: i64>(pub(super) i64);

/// The number of a row.
pub(super) type Id = Whole<1, LARGEST>;

/// The simplest [`Type`]: one that is its own raw value and has its schema written where it is used.
macro_rules! inline_type {
    ([$($generics:tt)*] $type:ty, $name:expr, $schema:expr) => {
        impl<$($generics)*> Type for $type {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> Cow<'static, str> {
                $name.into()
            }

            fn schema_ref() -> MetaSchemaRef {
                MetaSchemaRef::Inline(Box::new($schema))
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
                Box::new(std::iter::once(self))
            }
        }
    };
}
pub(super) use inline_type;

inline_type!([const LEAST: i64, const MOST: i64] Whole<LEAST, MOST>, format!("whole {LEAST} to {MOST}"), MetaSchema {
    minimum: Some(LEAST as f64),
    maximum: Some(MOST as f64),
    ..MetaSchema::new_with_format("integer", "int64")
});

impl<const LEAST: i64, const MOST: i64> ParseFromJSON for Whole<LEAST, MOST> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let number = value.as_ref().and_then(Value::as_i64).filter(|number| (LEAST..=MOST).contains(number));
        number.map(Self).ok_or_else(|| ParseError::expected_type(value.unwrap_or_default()))
    }
}

impl<const LEAST: i64, const MOST: i64> ToJSON for Whole<LEAST, MOST> {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.into())
    }
}

/// A moment, written as RFC 3339 in UTC with microseconds and `Z`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timestamp(pub(super) Micros);

const RFC_3339: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

inline_type!([] Timestamp, "timestamp", MetaSchema {
    example: Some("2026-01-15T10:30:00.000000Z".into()),
    ..MetaSchema::new_with_format("string", "date-time")
});

impl Timestamp {
    /// An example.
    pub(super) const EXAMPLE: Self = Self(1_768_473_000_000_000);
}

impl ToJSON for Timestamp {
    fn to_json(&self) -> Option<Value> {
        to_utc(self.0).format(RFC_3339).ok().map(Value::String)
    }
}

impl ParseFromJSON for Timestamp {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let value = value.unwrap_or_default();
        let moment = value.as_str().and_then(|text| PrimitiveDateTime::parse(text, RFC_3339).ok());
        let micros = |moment: OffsetDateTime| i64::try_from(moment.unix_timestamp_nanos() / 1_000).ok();
        moment.and_then(|moment| micros(moment.assume_utc())).map(Self).ok_or_else(|| ParseError::expected_type(value))
    }
}

/// A field of an answer that is always there and may be null.
#[derive(Debug, Clone)]
pub(super) struct Nullable<T>(pub(super) Option<T>);

impl<T> From<Option<T>> for Nullable<T> {
    fn from(value: Option<T>) -> Self {
        Self(value)
    }
}

impl<T: Type> Type for Nullable<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = T::RawValueType;
    type RawElementValueType = T::RawElementValueType;

    fn name() -> Cow<'static, str> {
        format!("{} or null", T::name()).into()
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref().merge(MetaSchema { nullable: true, ..MetaSchema::ANY })
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        self.0.as_ref().and_then(T::as_raw_value)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self::RawElementValueType> + 'a> {
        self.0.raw_element_iter()
    }
}

impl<T: ToJSON> ToJSON for Nullable<T> {
    fn to_json(&self) -> Option<Value> {
        self.0.to_json()
    }
}

impl<T: ParseFromJSON> ParseFromJSON for Nullable<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Option::parse_from_json(value).map(Self).map_err(ParseError::propagate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_microseconds() {
        let written = Timestamp::EXAMPLE.to_json();
        assert_eq!(written, Some("2026-01-15T10:30:00.000000Z".into()));
        assert_eq!(Timestamp::parse_from_json(written).unwrap().0, Timestamp::EXAMPLE.0);
        assert_eq!(Timestamp(1).to_json(), Some("1970-01-01T00:00:00.000001Z".into()));
    }
}
