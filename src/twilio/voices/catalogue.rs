//! Every voice Twilio's `<Say>` knows besides `man` and `woman`, with the locales it speaks.
//!
//! The list is `catalogue.tsv`: one voice a line, its name as Twilio writes it, a tab, its locales with the main one
//! first, separated by blanks. The lines are sorted by name with ASCII letters taken as lower case, so that a name is
//! found by halving the text itself: nothing is built at start, and a look-up allocates nothing. Names: the voice
//! enumeration of Twilio's helper libraries; locales of Amazon's voices and which of them are bilingual: Twilio's page
//! "Text-to-Speech (TTS)", section "Available voices and languages". A voice Twilio adds is one more line here.

use std::cmp::Ordering;

const CATALOGUE: &str = include_str!("catalogue.tsv");

/// One line of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The name as Twilio writes it, e.g. `Polly.Amy-Neural`.
    pub(super) name: &'static str,
    locales: &'static str,
}

impl Entry {
    fn parse(line: &'static str) -> Option<Self> {
        let (name, locales) = line.split_once('\t')?;
        Some(Self { name, locales })
    }

    /// The locales this voice speaks, the main one first: values of `<Say language>`.
    pub(super) fn locales(self) -> impl Iterator<Item = &'static str> {
        self.locales.split(' ')
    }
}

/// The voice of this name, in whatever case it is written.
pub(super) fn find(name: &str) -> Option<Entry> {
    let mut rest = CATALOGUE;
    while !rest.is_empty() {
        let (before, from_middle) = rest.as_bytes().split_at(rest.len() / 2);
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let end = from_middle.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |offset| before.len() + offset);
        let entry = Entry::parse(&rest[start..end])?;
        match order(name, entry.name) {
            Ordering::Less => rest = &rest[..start],
            Ordering::Equal => return Some(entry),
            Ordering::Greater => rest = rest.get(end + 1..).unwrap_or_default(),
        }
    }
    None
}

/// The order of the lines: bytes, ASCII letters taken as lower case.
fn order(a: &str, b: &str) -> Ordering {
    a.bytes().map(|byte| byte.to_ascii_lowercase()).cmp(b.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// Every line.
pub(super) fn entries() -> impl Iterator<Item = Entry> {
    CATALOGUE.lines().filter_map(Entry::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_and_unique() {
        let names: Vec<_> = entries().map(|entry| entry.name).collect();
        for pair in names.windows(2) {
            assert_eq!(order(pair[0], pair[1]), Ordering::Less, "{} must stand before {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn every_voice_is_found_in_any_case() {
        for entry in entries() {
            assert_eq!(find(entry.name), Some(entry));
            assert_eq!(find(&entry.name.to_ascii_uppercase()), Some(entry));
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in
            ["", "\n", "\t", "Polly", "Polly.", "Polly.Amy-Neura", "Polly.Amy-Neurals", "A", "~", "Polly.Amy\ten-GB"]
        {
            assert_eq!(find(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_google_voice_speaks_the_locale_in_its_name() {
        for entry in entries().filter(|entry| entry.name.starts_with("Google.")) {
            let locale = entry.locales().next().unwrap();
            assert!(entry.name["Google.".len()..].to_lowercase().starts_with(&locale.to_lowercase()), "{entry:?}");
            assert_eq!(entry.locales().count(), 1, "{entry:?}");
        }
    }
}
