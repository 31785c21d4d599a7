//! How long a reply may be: cutting what is longer, and splitting what no single message holds.

use super::segments::{Encoding, segments};
use super::urls::urls;
use unicode_segmentation::UnicodeSegmentation;

/// Twilio refuses a longer message (errors 14103 and 21617), counted as UTF-16 code units here to be safe.
pub const MESSAGE_UNITS: usize = 1600;

/// How long a reply may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// This many segments, those of all its messages together.
    Segments(usize),
    /// This many messages: on channels that know no segments.
    Messages(usize),
}

impl Limit {
    /// Whether a text keeps to it.
    pub fn holds(self, text: &str) -> bool {
        match self {
            Self::Segments(most) => total_segments(text) <= most,
            Self::Messages(most) => numbered(text).len() <= most,
        }
    }

    /// About how many characters it allows in this encoding.
    pub fn characters(self, encoding: Encoding) -> usize {
        match self {
            Self::Segments(most) => {
                let room = encoding.room(most);
                // Of several messages each has a number and ends in a segment that is not full.
                let in_several = encoding.room(most.saturating_sub(room.div_ceil(MESSAGE_UNITS)));
                room.min(MESSAGE_UNITS).max(in_several)
            }
            Self::Messages(most) => most * MESSAGE_UNITS,
        }
    }

    /// The text, cut and with an ellipsis if it is too long: after a sentence if possible, else after a word.
    pub fn shorten(self, text: String) -> String {
        if self.holds(&text) {
            return text;
        }
        let mut kept = text.trim();
        loop {
            let fits = fitting(kept, |start| self.holds(&with_ellipsis(start)));
            kept = &kept[..cut(kept, fits)];
            let short = with_ellipsis(kept);
            // What is shorter may need more segments, for its messages may end elsewhere.
            if self.holds(&short) {
                return short;
            }
        }
    }
}

/// An ellipsis in the alphabet of the text.
fn with_ellipsis(start: &str) -> String {
    let start = start.trim_end();
    let blank = if start.ends_with(is_mark) { " " } else { "" };
    let ellipsis = if Encoding::of(start) == Encoding::Gsm7 { "..." } else { "…" };
    format!("{start}{blank}{ellipsis}")
}

/// How many segments a text takes, in one message or in several.
pub fn total_segments(text: &str) -> usize {
    numbered(text).iter().map(|message| segments(message).0).sum()
}

/// A text that is longer than a message may be as several, numbered "(1/3) …"; any other as it is.
pub fn numbered(text: &str) -> Vec<String> {
    let text = if utf16_units(text) <= MESSAGE_UNITS { text } else { text.trim() };
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
    // One character more than fits is enough to tell where to cut.
    while let Some(too_long) = start_over(rest, room) {
        let end = cut(too_long, fitting(too_long, |start| utf16_units(start) <= room));
        pieces.push(rest[..end].trim_end());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// The shortest beginning of a text that is longer than `room` UTF-16 units, if the text is.
fn start_over(text: &str, room: usize) -> Option<&str> {
    let mut units = 0;
    let ends = text.char_indices().map(|(at, c)| (at + c.len_utf8(), c.len_utf16()));
    let mut over = ends.skip_while(|(_, c)| {
        units += c;
        units <= room
    });
    over.next().map(|(end, _)| &text[..end])
}

/// How much of the beginning of a text fits, in bytes: whole characters as people see them, if one fits at all.
fn fitting(text: &str, fits: impl Fn(&str) -> bool) -> usize {
    let longest = |ends: Vec<usize>| ends[..ends.partition_point(|end| fits(&text[..*end]))].last().copied();
    longest(text.grapheme_indices(true).map(|(at, seen)| at + seen.len()).collect())
        .or_else(|| longest(text.char_indices().map(|(at, c)| at + c.len_utf8()).collect()))
        .unwrap_or(text.len())
}

/// Where a text of which the first `fits` bytes fit is best cut: after a sentence or else a word in the second half of
/// them, else as late as possible; but never within a character as people see it nor within a URL, unless it does not
/// fit at all.
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

/// How long a text is as Twilio counts it at the most.
pub fn utf16_units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_after_a_sentence() {
        let one = Limit::Segments(1);
        assert_eq!(one.shorten("a".repeat(160)), "a".repeat(160));
        assert_eq!(one.shorten("All is well. ".repeat(20)), format!("{} ...", ["All is well."; 12].join(" ")));
        assert_eq!(one.shorten("好的。".repeat(40)), format!("{} …", "好的。".repeat(22)));
        assert_eq!(one.shorten("word ".repeat(50)), format!("{}...", ["word"; 31].join(" ")));
        assert_eq!(Limit::Messages(1).shorten("😀".repeat(900)), format!("{}…", "😀".repeat(799)));
    }

    #[test]
    fn what_people_see_as_one_is_not_cut() {
        for one in ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "e\u{301}", "नी"] {
            let short = Limit::Segments(1).shorten(one.repeat(80));
            assert_eq!(short.trim_end_matches('…').replace(one, ""), "", "{short}");
        }
        for url in ["https://example.com/a/long/path?with=a&query=string", "example.com/a/long/path/without/a/scheme"] {
            let short = Limit::Segments(1).shorten(format!("{} {url}", "x".repeat(140)));
            assert_eq!(short, format!("{}...", "x".repeat(140)));
            let short = Limit::Segments(1).shorten(format!("Here: {url}?{} more", "x".repeat(140)));
            assert_eq!(short, "Here:...");
        }
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
