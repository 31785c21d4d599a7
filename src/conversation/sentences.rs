//! Cuts an answer into sentences while a model streams it, character by character: how it was cut into pieces makes no
//! difference, and a sentence comes out with the first character that shows it is over.

use super::abbreviations::{self, Abbreviations, Ordinals};
use super::plain::{BLOCK_END, Plain, is_closing};
use super::speech::is_syllabic;
use crate::twilio::voices::Language;

/// A longer sentence is cut, in characters.
const LONGEST: usize = 300;

/// Cuts a streamed Markdown answer into sentences that can be read aloud. Each holds a letter or a digit, no white
/// space at its ends, and at most 300 characters.
#[derive(Debug)]
pub struct Sentences {
    plain: Plain,
    abbreviations: &'static Abbreviations,
    /// The sentence that is not over yet, and its length in characters.
    text: String,
    chars: usize,
    /// How many quotations and brackets are open in this block.
    open: usize,
    ending: Option<Ending>,
}

/// A full stop or another mark that may end the sentence.
#[derive(Debug, Clone, Copy)]
struct Ending {
    /// Where its first mark stands in the text, and where its marks, closing quotes and brackets end.
    mark: usize,
    end: usize,
    /// Whether a blank came after it: what decides now is the next word.
    blank: bool,
}

/// Whether the mark before a blank ends the sentence.
enum Verdict {
    Ends,
    GoesOn,
    /// The next word tells.
    Open,
}

impl Sentences {
    /// The sentences of an answer in this language.
    pub fn new(language: &Language) -> Self {
        let base = language.phrases.split('-').next().unwrap_or_default();
        Self {
            plain: Plain::default(),
            abbreviations: abbreviations::of(base),
            text: String::new(),
            chars: 0,
            open: 0,
            ending: None,
        }
    }

    /// The sentences that are complete with another piece of the answer.
    pub fn push(&mut self, piece: &str) -> Vec<String> {
        let plain = self.plain.push_blocks(piece);
        self.read(&plain)
    }

    /// What is left at the end of the answer. Afterwards another answer may begin.
    pub fn finish(&mut self) -> Vec<String> {
        let plain = self.plain.finish_blocks();
        let mut sentences = self.read(&plain);
        self.cut(self.text.len(), &mut sentences);
        (self.text, self.chars, self.open, self.ending) = (String::new(), 0, 0, None);
        sentences
    }

    fn read(&mut self, plain: &str) -> Vec<String> {
        let mut sentences = Vec::new();
        plain.chars().for_each(|c| self.take(c, &mut sentences));
        sentences
    }

    fn take(&mut self, c: char, sentences: &mut Vec<String>) {
        match c {
            '「' | '『' | '（' | '“' | '《' | '【' | '(' => self.open += 1,
            '」' | '』' | '）' | '”' | '》' | '】' | ')' => self.open = self.open.saturating_sub(1),
            BLOCK_END => self.open = 0,
            _ => {}
        }
        if c == BLOCK_END {
            self.cut_unless_fragment(self.text.len(), sentences);
            return;
        }
        if let Some(ending) = self.ending {
            self.weigh(ending, c, sentences);
        }
        if self.text.is_empty() && is_left_behind(c) {
            return;
        }
        self.text.push(c);
        self.chars += 1;
        if self.chars > LONGEST {
            self.cut_long(sentences);
            if self.text.is_empty() {
                return;
            }
        }
        let end = self.text.len();
        match self.ending {
            Some(ending) if !ending.blank => self.ending = Some(Ending { end, ..ending }),
            Some(_) => {}
            None if is_full_width(c) && self.open == 0 => self.cut_unless_fragment(end, sentences),
            None if is_mark(c) => self.ending = Some(Ending { mark: end - c.len_utf8(), end, blank: false }),
            None => {}
        }
    }

    /// Decides about the possible end of the sentence, now that `c` comes after it.
    fn weigh(&mut self, ending: Ending, c: char, sentences: &mut Vec<String>) {
        let marks = &self.text[ending.mark..ending.end];
        let verdict = if ending.blank {
            match c {
                _ if c.is_lowercase() || c.is_numeric() => Verdict::GoesOn,
                _ if c.is_alphabetic() => Verdict::Ends,
                // A quote, a bracket or a dash before the next word.
                _ => Verdict::Open,
            }
        } else if is_mark(c) || is_closing(c) {
            return;
        } else if c == ' ' {
            self.before_blank(ending)
        } else if marks.starts_with(is_full_width) {
            // 「はい。」と goes on.
            if marks.ends_with(is_closing) && matches!(c, 'と' | 'っ') { Verdict::GoesOn } else { Verdict::Ends }
        } else if marks.starts_with(is_joined_mark) || marks.starts_with(['!', '?']) && is_syllabic(c) {
            Verdict::Ends
        } else {
            Verdict::GoesOn
        };
        match verdict {
            Verdict::Ends => self.cut_unless_fragment(ending.end, sentences),
            Verdict::GoesOn => self.ending = None,
            Verdict::Open => self.ending = Some(Ending { blank: true, ..ending }),
        }
    }

    /// Whether the sentence is over when a blank comes after its mark.
    fn before_blank(&self, ending: Ending) -> Verdict {
        let marks = &self.text[ending.mark..ending.end];
        if !marks.starts_with(['.', '…']) {
            // "Really?" she asked.
            return if marks.ends_with(is_closing) && !marks.starts_with(is_full_width) {
                Verdict::Open
            } else {
                Verdict::Ends
            };
        }
        if marks != "." {
            // An ellipsis, or a quotation that is over.
            return Verdict::Open;
        }
        let mut words =
            self.text[..ending.mark].rsplit(|c: char| c.is_whitespace() || matches!(c, '-' | '–' | '—' | '/'));
        let word = words.next().unwrap_or_default().trim_start_matches(|c: char| !c.is_alphanumeric());
        self.after_word(word)
    }

    /// Whether the sentence is over after this word, a full stop and a blank.
    fn after_word(&self, word: &str) -> Verdict {
        let known = self.abbreviations;
        let is_letter = |part: &str| {
            let mut chars = part.chars();
            chars.next().is_some_and(|c| c.is_alphabetic() && !is_syllabic(c)) && chars.next().is_none()
        };
        if word.is_empty() {
            Verdict::Ends
        } else if Abbreviations::holds(known.never_last, word) {
            Verdict::GoesOn
        } else if Abbreviations::holds(known.may_be_last, word) {
            Verdict::Open
        } else if word.split('.').all(is_letter) {
            // Initials: "J. R. Tolkien", "U.S. Senate".
            Verdict::GoesOn
        } else if word.len() <= 2 && word.bytes().all(|c| c.is_ascii_digit())
            || word.bytes().all(|c| b"IVX".contains(&c))
        {
            match known.ordinals {
                Ordinals::None => Verdict::Ends,
                Ordinals::BeforeLowerCase => Verdict::Open,
                Ordinals::Always => Verdict::GoesOn,
            }
        } else {
            Verdict::Ends
        }
    }

    /// Ends the sentence at `end`, unless it is too short to stand alone: "1:", "A.".
    fn cut_unless_fragment(&mut self, end: usize, sentences: &mut Vec<String>) {
        self.ending = None;
        if !is_fragment(&self.text[..end]) {
            self.cut(end, sentences);
        }
    }

    fn cut(&mut self, end: usize, sentences: &mut Vec<String>) {
        let sentence = self.text[..end].trim();
        if sentence.contains(char::is_alphanumeric) {
            sentences.push(sentence.to_owned());
        }
        let rest = self.text[end..].trim_start_matches(is_left_behind);
        self.text.replace_range(..self.text.len() - rest.len(), "");
        self.chars = self.text.chars().count();
        self.ending = None;
    }

    /// Cuts what has become longer than a sentence may be: where it may have ended, else after a comma and the like,
    /// else between words, else between characters.
    fn cut_long(&mut self, sentences: &mut Vec<String>) {
        let limit = self.text.char_indices().nth(LONGEST).map_or(self.text.len(), |(at, _)| at);
        let text = &self.text[..limit];
        let third = limit / 3;
        let pause = text.char_indices().rev().find_map(|(at, c)| {
            let end = at + c.len_utf8();
            let pauses = matches!(c, '，' | '、' | '；' | '：' | '،' | '؛')
                || matches!(c, ',' | ';' | ':' | '-' | '–' | '—') && self.text[end..].starts_with(' ');
            (pauses && end > third).then_some(end)
        });
        let ending = self.ending.map(|ending| ending.end).filter(|end| *end <= limit);
        let blank = text.rfind(' ').filter(|at| !is_fragment(&text[..*at]));
        let whole = || {
            let cuts = self.text.char_indices().take_while(|(at, _)| *at <= limit);
            cuts.filter(|(at, c)| *at > 0 && !is_combining(*c)).last().map_or(limit, |(at, _)| at)
        };
        let end = ending.filter(|end| *end > third).or(pause).or(blank).unwrap_or_else(whole);
        self.cut(end, sentences);
    }
}

/// Whether a text is too short to be said alone: a letter of an alphabet, or the number of an item.
fn is_fragment(text: &str) -> bool {
    let mut words = text.chars().filter(|c| c.is_alphanumeric());
    match (words.next(), words.next()) {
        (None, _) => true,
        (Some(only), None) => !is_syllabic(only),
        (Some(first), Some(second)) => {
            first.is_numeric() && second.is_numeric() && words.all(char::is_numeric) && text.len() <= 4
        }
    }
}

/// Whether a character is nothing to begin a sentence with: the blank after the one before, its marks, its closing
/// quotes.
fn is_left_behind(c: char) -> bool {
    c == ' ' || is_mark(c) && c != '.' || is_closing(c) && !matches!(c, '"' | '\'' | '“' | '«')
}

fn is_mark(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…') || is_joined_mark(c) || is_full_width(c)
}

/// Marks that are never inside a word.
fn is_joined_mark(c: char) -> bool {
    matches!(c, '।' | '॥' | '؟' | '۔')
}

/// Marks after which Chinese and Japanese have no blank.
fn is_full_width(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '｡')
}

/// Whether a character belongs to the one before it: combining marks, joiners, the inner letters of a Korean syllable.
fn is_combining(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{5bf}'..='\u{5c7}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6ed}' | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{93c}'
        | '\u{93e}'..='\u{94f}' | '\u{951}'..='\u{957}' | '\u{962}' | '\u{963}' | '\u{e31}' | '\u{e34}'..='\u{e3a}'
        | '\u{e47}'..='\u{e4e}' | '\u{1160}'..='\u{11ff}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{200c}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}' | '\u{3099}' | '\u{309a}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{ff9e}' | '\u{ff9f}')
}

#[cfg(test)]
mod tests;
