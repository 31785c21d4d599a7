//! How long a text is on its way: the segments that carriers count, and cutting and splitting what is too long for them.
//! (GSM 03.38; twilio.com/docs/glossary/what-sms-character-limit.)

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// Twilio refuses a longer body (error 14103), counted as UTF-16 code units here to be safe.
pub const MESSAGE_UNITS: usize = 1600;

/// The characters of the GSM 7-bit alphabet.
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿\
                   abcdefghijklmnopqrstuvwxyzäöñüà";
/// Those of its extension table, each written as an escape and another character.
const GSM_EXTENSION: &str = "^{}\\[~]|€\u{c}";

/// How the characters of a text are written on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Seven bits a character, in the GSM alphabet.
    Gsm7,
    /// UTF-16: for texts with any other character.
    Ucs2,
}

impl Encoding {
    /// The encoding that a text needs.
    pub fn of(text: &str) -> Self {
        let is_gsm = |c: char| c.is_ascii_alphanumeric() || c == ' ' || GSM.contains(c) || GSM_EXTENSION.contains(c);
        if text.chars().all(is_gsm) { Self::Gsm7 } else { Self::Ucs2 }
    }

    /// As it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gsm7 => "gsm7",
            Self::Ucs2 => "ucs2",
        }
    }

    /// How many units this many segments hold. One of several has a header, which takes room.
    pub const fn room(self, segments: usize) -> usize {
        match (self, segments) {
            (Self::Gsm7, 1) => 160,
            (Self::Gsm7, _) => 153 * segments,
            (Self::Ucs2, 1) => 70,
            (Self::Ucs2, _) => 67 * segments,
        }
    }

    /// How many units a character takes, which never come apart.
    fn units(self, c: char) -> usize {
        match self {
            Self::Gsm7 if GSM_EXTENSION.contains(c) => 2,
            Self::Gsm7 => 1,
            Self::Ucs2 => c.len_utf16(),
        }
    }

    /// How many segments a text in this encoding takes.
    fn segments(self, text: &str) -> usize {
        let total: usize = text.chars().map(|c| self.units(c)).sum();
        if total <= self.room(1) {
            return 1;
        }
        let room = self.room(2) / 2;
        let (mut segments, mut filled) = (1, 0);
        for units in text.chars().map(|c| self.units(c)) {
            if filled + units > room {
                (segments, filled) = (segments + 1, 0);
            }
            filled += units;
        }
        segments
    }
}

/// How many segments a text takes, and in which encoding.
pub fn segments(text: &str) -> (usize, Encoding) {
    let encoding = Encoding::of(text);
    (encoding.segments(text), encoding)
}

/// The text with typographic signs in the GSM alphabet, when it takes fewer segments so. Letters stay what they are.
pub fn economical(text: String) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match plain_sign(c) {
            Some(sign) => folded.push_str(sign),
            None => folded.push(c),
        }
    }
    if segments(&folded).0 < segments(&text).0 { folded } else { text }
}

/// What stands for a typographic sign in the GSM alphabet.
fn plain_sign(c: char) -> Option<&'static str> {
    Some(match c {
        '‘' | '’' | '‚' | '‛' | '′' | '‹' | '›' | '´' | '`' => "'",
        '“' | '”' | '„' | '‟' | '″' | '«' | '»' => "\"",
        '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' | '•' => "-",
        '…' => "...",
        '\t' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' => " ",
        '\u{2028}' | '\u{2029}' => "\n",
        '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' => "",
        _ => return None,
    })
}

/// How long one message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// This many segments, and no more than Twilio takes.
    Segments(usize),
    /// As much as Twilio takes: on channels that know no segments.
    Message,
}

impl Limit {
    /// Whether a text keeps to it.
    pub fn holds(self, text: &str) -> bool {
        let is_sendable = utf16_units(text) <= MESSAGE_UNITS;
        match self {
            Self::Segments(most) => is_sendable && segments(text).0 <= most,
            Self::Message => is_sendable,
        }
    }

    /// About how many characters it allows in this encoding.
    pub fn characters(self, encoding: Encoding) -> usize {
        match self {
            Self::Segments(most) => encoding.room(most).min(MESSAGE_UNITS),
            Self::Message => MESSAGE_UNITS,
        }
    }

    /// The text, cut and with an ellipsis if it is too long: after a sentence if possible, else after a word.
    pub fn shorten(self, text: String) -> String {
        if self.holds(&text) {
            return text;
        }
        let text = text.trim();
        let fits = fitting(text, |start| self.holds(&with_ellipsis(start)));
        with_ellipsis(&text[..cut(text, fits)])
    }
}

/// An ellipsis in the alphabet of the text.
fn with_ellipsis(start: &str) -> String {
    let start = start.trim_end();
    let blank = if start.ends_with(is_mark) { " " } else { "" };
    let ellipsis = if Encoding::of(start) == Encoding::Gsm7 { "..." } else { "…" };
    format!("{start}{blank}{ellipsis}")
}

/// A text that is longer than a message may be as several, numbered "(1/3) …"; any other as it is.
pub fn numbered(text: &str) -> Vec<String> {
    if utf16_units(text) <= MESSAGE_UNITS {
        return vec![text.to_owned()];
    }
    let mut digits = 1;
    loop {
        let pieces = pieces(text, MESSAGE_UNITS - "(/) ".len() - 2 * digits);
        let count = pieces.len();
        if count.to_string().len() <= digits {
            return pieces.iter().enumerate().map(|(n, piece)| format!("({}/{count}) {piece}", n + 1)).collect();
        }
        digits += 1;
    }
}

/// The text in pieces of at most `room` UTF-16 units; only blanks between them are lost.
fn pieces(text: &str, room: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text.trim());
    while utf16_units(rest) > room {
        let end = cut(rest, fitting(rest, |start| utf16_units(start) <= room));
        pieces.push(rest[..end].trim_end());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// How much of the beginning of a text fits, in bytes: whole characters as people see them, if one fits at all.
fn fitting(text: &str, fits: impl Fn(&str) -> bool) -> usize {
    let longest = |ends: Vec<usize>| ends[..ends.partition_point(|end| fits(&text[..*end]))].last().copied();
    longest(text.grapheme_indices(true).map(|(at, seen)| at + seen.len()).collect())
        .or_else(|| longest(text.char_indices().map(|(at, c)| at + c.len_utf8()).collect()))
        .unwrap_or(text.len())
}

/// Where a text of which the first `fits` bytes fit is best cut: after a sentence or else a word in the second half of them,
/// else as late as possible; but never within a character as people see it nor within a URL, unless it does not fit at all.
fn cut(text: &str, fits: usize) -> usize {
    let urls = urls(text);
    let in_url = |at: usize| urls.iter().any(|url| url.start < at && at < url.end);
    let ends = text.grapheme_indices(true).map(|(at, seen)| at + seen.len());
    let ends: Vec<usize> = ends.take_while(|end| *end <= fits).filter(|end| !in_url(*end)).collect();
    let latest = |is_good: &dyn Fn(usize) -> bool| ends.iter().copied().rfind(|end| is_good(*end));
    latest(&|end| end > fits / 2 && ends_sentence(&text[..end], &text[end..]))
        .or_else(|| latest(&|end| end > fits / 2 && text[end..].starts_with(char::is_whitespace)))
        .or_else(|| latest(&|end| !text[..end].trim_end().is_empty()))
        .unwrap_or(fits)
}

fn ends_sentence(before: &str, after: &str) -> bool {
    let mark = before.trim_end_matches(['"', '\'', '”', '’', '»', ')', ']', '」', '』', '）']).chars().next_back();
    match mark {
        Some('.' | '!' | '?' | '…') => after.is_empty() || after.starts_with(char::is_whitespace),
        Some(mark) => is_mark(mark),
        None => false,
    }
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '｡' | '।' | '॥' | '؟' | '۔')
}

/// Where the web addresses in a text are.
fn urls(text: &str) -> Vec<Range<usize>> {
    let schemes = text.match_indices("://").map(|(at, _)| {
        let before = &text[..at];
        before.trim_end_matches(|c: char| c.is_ascii_alphanumeric()).len()
    });
    let hosts = text.match_indices("www.").map(|(at, _)| at);
    schemes.chain(hosts).map(|start| start..text[start..].find(ends_url).map_or(text.len(), |at| start + at)).collect()
}

/// Whether a character is never part of a URL: white space, quotes, and the marks of Chinese and Japanese.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}')
}

fn utf16_units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_counted_as_carriers_do() {
        use Encoding::{Gsm7, Ucs2};
        for (text, expected) in [
            (String::new(), (1, Gsm7)),
            ("a".repeat(160), (1, Gsm7)),
            ("a".repeat(161), (2, Gsm7)),
            ("a".repeat(306), (2, Gsm7)),
            ("a".repeat(307), (3, Gsm7)),
            ("€".repeat(80), (1, Gsm7)),
            // The escape of the 153rd character goes to the next segment with it.
            (format!("{}€{}", "a".repeat(152), "a".repeat(152)), (3, Gsm7)),
            ("ж".repeat(70), (1, Ucs2)),
            ("ж".repeat(71), (2, Ucs2)),
            ("😀".repeat(35), (1, Ucs2)),
            ("😀".repeat(67), (3, Ucs2)),
            (format!("{}ç", "a".repeat(69)), (1, Ucs2)),
        ] {
            assert_eq!(segments(&text), expected, "{text}");
        }
    }

    #[test]
    fn signs_are_folded_only_when_that_saves_segments() {
        let (typographic, plain) = ("“It’s here” – now… ".repeat(9), "\"It's here\" - now... ".repeat(9));
        assert_eq!(economical(typographic.clone()), plain);
        for kept in ["“Short”".to_owned(), format!("{typographic} Привет, мир"), "Ünïcode ê".repeat(40)]
        {
            assert_eq!(economical(kept.clone()), kept);
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_after_a_sentence() {
        let one = Limit::Segments(1);
        assert_eq!(one.shorten("a".repeat(160)), "a".repeat(160));
        assert_eq!(one.shorten("All is well. ".repeat(20)), format!("{} ...", ["All is well."; 12].join(" ")));
        assert_eq!(one.shorten("好的。".repeat(40)), format!("{} …", "好的。".repeat(22)));
        assert_eq!(one.shorten("word ".repeat(50)), format!("{}...", ["word"; 31].join(" ")));
        assert_eq!(Limit::Message.shorten("😀".repeat(900)), format!("{}…", "😀".repeat(799)));
    }

    #[test]
    fn what_people_see_as_one_is_not_cut() {
        for one in ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "e\u{301}", "नी"] {
            let short = Limit::Segments(1).shorten(one.repeat(80));
            assert_eq!(short.trim_end_matches('…').replace(one, ""), "", "{short}");
        }
        let url = "https://example.com/a/long/path?with=a&query=string";
        let short = Limit::Segments(1).shorten(format!("{} {url}", "x".repeat(140)));
        assert_eq!(short, format!("{}...", "x".repeat(140)));
    }

    #[test]
    fn what_no_message_holds_is_split_and_numbered() {
        assert_eq!(numbered("Short."), ["Short."]);
        let long = ["All is well."; 300].join(" ");
        let parts = numbered(&long);
        assert_eq!(parts.len(), 3);
        assert!(parts[0].starts_with("(1/3) All is well.") && parts[2].starts_with("(3/3) "), "{parts:?}");
        assert!(parts.iter().all(|part| part.ends_with("well.")));
        assert!(numbered(&"😀".repeat(20_000))[9].starts_with("(10/26) "));
    }
}
