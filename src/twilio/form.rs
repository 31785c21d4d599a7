//! The fields of a Twilio webhook: a parsed form that keeps every pair, because the signature covers all of them.

use std::borrow::Cow;

/// The decoded pairs of a form in the order in which they came, repeated names included.
#[derive(Debug, Default)]
pub struct Form<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Form<'a> {
    /// Decodes `application/x-www-form-urlencoded` bytes. `+` and `%20` are blanks, a name without `=` has an empty
    /// value, nothing is trimmed or dropped.
    pub fn parse(raw: &'a [u8]) -> Self {
        let mut pairs = Vec::with_capacity(32);
        pairs.extend(form_urlencoded::parse(raw));
        Self { pairs }
    }

    /// All pairs as received.
    pub fn pairs(&self) -> &[(Cow<'a, str>, Cow<'a, str>)] {
        &self.pairs
    }

    /// The first value with this exact name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// The first value with this name without the characters no database text can hold (NUL), or an empty text.
    pub fn text(&self, name: &str) -> String {
        let value = self.get(name).unwrap_or_default();
        if value.contains('\0') { value.replace('\0', "") } else { value.to_owned() }
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Cow<'a, str>)> for Form<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>>(pairs: I) -> Self {
        Self { pairs: pairs.into_iter().collect() }
    }
}
