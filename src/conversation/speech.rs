//! From an answer as a model writes it to words that can be read aloud.

use super::plain::{Plain, is_forbidden};
use std::time::Duration;

/// What one `Say` takes: Twilio allows 3,000 characters for some voices and 4,500 bytes once URL-encoded (error 13521).
const SAY_CHARS: usize = 2_900;
const SAY_ENCODED_BYTES: usize = 4_400;
/// What the speech of one document takes, escaped; Twilio allows 64 kB (error 11750), the rest is markup.
pub(super) const DOCUMENT_BYTES: usize = 56_000;

/// The answer without Markdown and pictographs, cut into pieces that fit a `Say` each and one document together.
pub fn spoken(answer: &str) -> Vec<String> {
    let mut plain = Plain::default();
    let text = plain.push(answer) + &plain.finish();
    if text.contains(char::is_alphanumeric) {
        return within_document(split(&text).into_iter().map(str::to_owned));
    }
    // What no document can hold must not be all that a piece holds.
    let answer: String = answer.chars().filter(|c| !is_forbidden(*c)).collect();
    within_document(split(&answer).into_iter().map(str::to_owned))
}

/// Joins sentences, clean ones as [`super::sentences::Sentences`] makes them, into as few texts as fit a `Say` each and
/// one document together. What does not fit the document is left out.
pub fn says(sentences: &[impl AsRef<str>]) -> Vec<String> {
    let mut says: Vec<(String, Size)> = Vec::new();
    for part in sentences.iter().flat_map(|sentence| split(sentence.as_ref())) {
        let size = Size::of(part);
        match says.last_mut() {
            Some((say, said)) if said.and(size).fits() => {
                append(say, part);
                *said = said.and(size);
            }
            _ => says.push((part.to_owned(), size)),
        }
    }
    within_document(says.into_iter().map(|(say, _)| say))
}

/// The sentences as one text.
pub fn joined(sentences: &[String]) -> String {
    let mut text = String::new();
    for sentence in sentences {
        // What a broken answer begins with may end within a word.
        let goes_on = text.ends_with(needs_no_blank) && sentence.starts_with(needs_no_blank);
        if text.is_empty() || goes_on { text.push_str(sentence) } else { append(&mut text, sentence) }
    }
    text
}

/// Appends a sentence; after a full-width mark no blank follows.
fn append(text: &mut String, sentence: &str) {
    if !text.ends_with(['。', '！', '？']) {
        text.push(' ');
    }
    text.push_str(sentence);
}

/// How long a voice needs for a text: 15 characters a second, and 5 of Chinese, Japanese and Korean.
pub fn speaking_time(text: &str) -> Duration {
    let letters = text.chars().map(|c| if is_syllabic(c) { 3 } else { 1 }).sum::<u64>();
    Duration::from_millis(letters * 1000 / 15)
}

/// Whether a character stands for a syllable or a word: Chinese, Japanese and Korean ones.
pub(super) fn is_syllabic(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{11ff}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3100}'..='\u{312f}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether a word may begin with a character though no blank stands before it: Chinese and Japanese ones.
pub(super) fn needs_no_blank(c: char) -> bool {
    is_syllabic(c) && !matches!(c, '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7ff}')
}

/// The texts that fit one document.
fn within_document(says: impl Iterator<Item = String>) -> Vec<String> {
    let mut room = DOCUMENT_BYTES;
    says.map_while(|say| {
        room = room.checked_sub(escaped_len(&say))?;
        Some(say)
    })
    .collect()
}

/// `&` and the like grow to five bytes when they are escaped; each text may begin an element.
pub(super) fn escaped_len(text: &str) -> usize {
    text.bytes().map(|byte| if matches!(byte, b'&' | b'<' | b'>') { 5 } else { 1 }).sum::<usize>() + 100
}

/// What Twilio measures of a `Say`.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    chars: usize,
    encoded: usize,
}

impl Size {
    fn of(text: &str) -> Self {
        text.chars().fold(Self::default(), Self::with)
    }

    fn with(self, c: char) -> Self {
        let encoded = if c.is_ascii_alphanumeric() || c == ' ' { 1 } else { 3 * c.len_utf8() };
        Self { chars: self.chars + 1, encoded: self.encoded + encoded }
    }

    /// Both, and a blank between them.
    fn and(self, other: Self) -> Self {
        Self { chars: self.chars + 1 + other.chars, encoded: self.encoded + 1 + other.encoded }
    }

    fn fits(self) -> bool {
        self.chars <= SAY_CHARS && self.encoded <= SAY_ENCODED_BYTES
    }
}

/// Cuts a text into pieces that fit a `Say`: after a sentence if possible, else between words, else anywhere.
fn split(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let fits = fitting(rest);
        let end = if fits == rest.len() { fits } else { cut_at(&rest[..fits]) };
        pieces.push(rest[..end].trim_end());
        rest = rest[end..].trim_start();
    }
    pieces
}

/// How many bytes of `text` fit one `Say`.
fn fitting(text: &str) -> usize {
    let mut size = Size::default();
    for (at, c) in text.char_indices() {
        size = size.with(c);
        if !size.fits() {
            return at;
        }
    }
    text.len()
}

/// Where a text that is too long is best cut: after its last sentence, else before its last word, else at its end;
/// never in the first half, so that cutting gets on. In bytes, from 1.
pub fn cut_at(text: &str) -> usize {
    let half = text.len() / 2;
    let after_sentence = text.char_indices().rev().find_map(|(at, c)| {
        let end = at + c.len_utf8();
        let ends = match c {
            '.' | '!' | '?' => text[end..].starts_with(char::is_whitespace),
            '。' | '！' | '？' | '।' | '؟' => true,
            _ => false,
        };
        ends.then_some(end)
    });
    let before_word = || text.rfind(char::is_whitespace);
    after_sentence.filter(|end| *end > half).or_else(|| before_word().filter(|end| *end > half)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_and_pictographs_are_not_spoken() {
        let answer = "# Paris\n\n**Yes!** It is _the_ `capital` 🎉 of [France](https://example.com).\n\n1. Eat\n2. Sleep\n\n- a_b@c.de";
        assert_eq!(spoken(answer), ["Paris. Yes! It is the capital of France. 1: Eat. 2: Sleep. a_b@c.de"]);
    }

    #[test]
    fn what_looks_like_markup_but_is_none_is_spoken() {
        assert_eq!(spoken("3 < 5 & \"x\" <b>bold</b> 2 * 3 * 4"), ["3 < 5 & \"x\" <b>bold</b> 2 * 3 * 4"]);
        assert_eq!(spoken("🎉"), ["🎉"]);
    }

    #[test]
    fn sentences_are_joined_as_they_are_written() {
        let joined = |sentences: &[&str]| joined(&sentences.iter().map(|&s| s.to_owned()).collect::<Vec<_>>());
        assert_eq!(joined(&["One.", "Two."]), "One. Two.");
        assert_eq!(joined(&["从前有", "一部电话。", "它响了。"]), "从前有一部电话。它响了。");
        assert_eq!(joined(&["전화가", "울렸다."]), "전화가 울렸다.");
    }

    #[test]
    fn a_long_answer_is_cut_after_sentences_and_nothing_is_lost() {
        let sentence = "This is a sentence of some length, to be read aloud. ";
        let pieces = spoken(&sentence.repeat(200));
        assert!(pieces.len() > 2);
        assert!(pieces.iter().all(|piece| piece.chars().count() <= SAY_CHARS && piece.ends_with('.')));
        assert_eq!(pieces.join(" "), sentence.repeat(200).trim());
    }

    #[test]
    fn a_text_without_any_blank_is_cut_between_characters() {
        let pieces = spoken(&"你".repeat(2_000));
        assert!(pieces.len() > 1);
        assert_eq!(pieces.concat(), "你".repeat(2_000));
    }

    #[test]
    fn sentences_are_joined_into_as_few_pieces_as_fit() {
        assert_eq!(says(&["Hello there.", "How are you?"]), ["Hello there. How are you?"]);
        assert_eq!(says(&["你好。", "再见！", "OK."]), ["你好。再见！OK."]);
        assert!(says(&[""; 0]).is_empty());
        let sentences = vec!["x".repeat(290); 30];
        let pieces = says(&sentences);
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.join(" "), sentences.join(" "));
        assert_eq!(says(&["x".repeat(3_000)]).len(), 2);
        // 56 kB is what one document takes.
        assert_eq!(says(&vec!["x".repeat(290); 300]).len(), 20);
    }

    #[test]
    fn a_voice_needs_longer_for_a_syllable_than_for_a_letter() {
        assert_eq!(speaking_time(&"a".repeat(30)), Duration::from_secs(2));
        assert_eq!(speaking_time(&"你".repeat(10)), Duration::from_secs(2));
        assert_eq!(speaking_time(""), Duration::ZERO);
    }
}
