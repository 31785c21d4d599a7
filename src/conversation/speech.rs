//! From an answer as a model writes it to words that can be read aloud.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// What one `Say` takes: Twilio allows 3,000 characters for some voices and 4,500 bytes once URL-encoded (error 13521).
const SAY_CHARS: usize = 2_900;
const SAY_ENCODED_BYTES: usize = 4_400;
/// What one document takes; Twilio allows 64 kB (error 11750), the rest is markup.
const DOCUMENT_BYTES: usize = 56_000;

/// The answer without Markdown and pictographs, cut into pieces that fit a `Say` each and one document together.
pub fn spoken(answer: &str) -> Vec<String> {
    // What no document can hold must not be all that a piece holds.
    let answer: String = answer.chars().filter(|c| c.is_whitespace() || !is_unspeakable(*c)).collect();
    let plain = plain(&answer);
    let text = if plain.chars().any(char::is_alphanumeric) { plain } else { answer.trim().to_owned() };
    let mut pieces: Vec<String> = Vec::new();
    let mut room = DOCUMENT_BYTES;
    for piece in split(&text) {
        // `&` and the like grow to five bytes when they are escaped.
        let size =
            piece.bytes().map(|byte| if matches!(byte, b'&' | b'<' | b'>') { 5 } else { 1 }).sum::<usize>() + 100;
        let Some(rest) = room.checked_sub(size) else { break };
        room = rest;
        pieces.push(piece.to_owned());
    }
    pieces
}

/// The words of a Markdown text: emphasis, headings, code marks and link targets go, list items become sentences.
fn plain(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut numbers: Vec<Option<u64>> = Vec::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES) {
        match event {
            Event::Text(text) | Event::Code(text) | Event::Html(text) | Event::InlineHtml(text) => {
                push_words(&mut out, &text)
            }
            Event::SoftBreak | Event::HardBreak | Event::Rule => out.push(' '),
            Event::Start(Tag::List(first)) => {
                out.push(BLOCK_END);
                numbers.push(first);
            }
            Event::End(TagEnd::List(_)) => drop(numbers.pop()),
            Event::Start(Tag::Item) => {
                if let Some(Some(number)) = numbers.last_mut() {
                    out.push_str(&format!("{number}: "));
                    *number += 1;
                }
            }
            Event::End(
                TagEnd::Item | TagEnd::Heading(_) | TagEnd::Paragraph | TagEnd::CodeBlock | TagEnd::TableRow,
            ) => {
                out.push(BLOCK_END);
            }
            Event::End(TagEnd::TableCell) => out.push_str(", "),
            _ => {}
        }
    }
    let mut spoken = String::with_capacity(out.len());
    for block in out.split(BLOCK_END) {
        let mut words = block.split_whitespace().peekable();
        if words.peek().is_some()
            && spoken.ends_with(|c: char| c.is_alphanumeric() || matches!(c, ')' | '"' | '\'' | '%'))
        {
            // Where a line or an item ended a voice must pause.
            spoken.push('.');
        }
        for word in words {
            if !spoken.is_empty() {
                spoken.push(' ');
            }
            spoken.push_str(word);
        }
    }
    spoken
}

/// Where a paragraph, an item or a heading ends, while an answer is taken apart.
const BLOCK_END: char = '\u{2029}';

/// Appends text without pictographs, which a voice would read by their names.
fn push_words(out: &mut String, text: &str) {
    out.extend(text.chars().filter(|c| {
        !matches!(c,
            '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{200d}' | '\u{20e3}' | '\u{e0020}'..='\u{e007f}')
    }));
}

/// Control characters, and the two that are no characters: XML forbids most of them.
fn is_unspeakable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')
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
    let (mut chars, mut encoded) = (0, 0);
    for (at, c) in text.char_indices() {
        chars += 1;
        encoded += if c.is_ascii_alphanumeric() || c == ' ' { 1 } else { 3 * c.len_utf8() };
        if chars > SAY_CHARS || encoded > SAY_ENCODED_BYTES {
            return at;
        }
    }
    text.len()
}

/// Where a text that is too long is best cut: after its last sentence, else before its last word, else at its end; never in
/// the first half, so that cutting gets on. In bytes, from 1.
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
}
