//! How long a message is on its way: the segments that carriers count.
//! (GSM 03.38; twilio.com/docs/glossary/what-sms-character-limit.)

use super::urls::urls;

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

/// How many segments one message takes, and in which encoding.
pub fn segments(text: &str) -> (usize, Encoding) {
    let encoding = Encoding::of(text);
    (encoding.segments(text), encoding)
}

/// The text with typographic signs in the GSM alphabet, when it takes fewer segments so. Letters stay what they are,
/// and so do web addresses.
pub fn economical(text: String) -> String {
    let urls = urls(&text);
    let folded = folded(&text, |at| urls.iter().any(|url| url.contains(&at)));
    if segments(&folded).0 < segments(&text).0 { folded } else { text }
}

/// The words of a text, however its signs and blanks are written: those of one message may come back folded.
pub fn bare_words(text: &str) -> String {
    folded(text, |_| false).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text with typographic signs in the GSM alphabet, but for those at the places that are kept.
fn folded(text: &str, is_kept: impl Fn(usize) -> bool) -> String {
    let mut folded = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match plain_sign(c).filter(|_| !is_kept(at)) {
            Some(sign) => folded.push_str(sign),
            None => folded.push(c),
        }
    }
    folded
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
}
