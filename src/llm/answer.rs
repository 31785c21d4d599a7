//! Whether an answer may be passed on, and what can be saved of a cut one. Pure functions.

use super::{Finish, wire::Raw};

/// Why an answer may not be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Empty,
    Refused,
    Cut,
    /// Not one letter or digit.
    Nonsense,
    /// Not of the form asked for.
    Malformed,
}

impl Flaw {
    /// What [`super::LlmError::Unusable`] says.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Empty => "it is empty",
            Self::Refused => "the model refused",
            Self::Cut => "it is cut before its first sentence ends",
            Self::Nonsense => "it holds no words",
            Self::Malformed => "it does not have the form asked for",
        }
    }

    /// What is added to the instructions when the model is asked again.
    pub(super) fn nudge(self) -> &'static str {
        match self {
            Self::Cut => "Be brief: at most two short sentences.",
            Self::Malformed => "Answer with the JSON object alone, nothing before or after it.",
            Self::Empty | Self::Refused | Self::Nonsense => "",
        }
    }
}

/// The text of a good answer, trimmed.
pub(super) fn checked(raw: &Raw) -> Result<&str, Flaw> {
    let text = spoken(&raw.text).unwrap_or_default().trim();
    if raw.refused || raw.finish == Some(Finish::Refused) {
        Err(Flaw::Refused)
    } else if raw.finish == Some(Finish::Cut) {
        Err(Flaw::Cut)
    } else if text.is_empty() {
        Err(Flaw::Empty)
    } else if !has_words(text) {
        Err(Flaw::Nonsense)
    } else {
        Ok(text)
    }
}

/// Whether there is anything to say: a letter or a digit.
pub(super) fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// What follows the leading `<think>…</think>` block of a reasoning model; None while the block is open, or may be
/// opening.
pub(super) fn spoken(text: &str) -> Option<&str> {
    const OPEN: &str = "<think>";
    let text = text.trim_start();
    match text.strip_prefix(OPEN) {
        Some(thoughts) => thoughts.split_once("</think>").map(|(_, rest)| rest.trim_start()),
        None if OPEN.starts_with(text) => None,
        None => Some(text),
    }
}

/// A cut answer up to the end of its last complete sentence.
pub(super) fn repaired(text: &str) -> Option<&str> {
    let text = spoken(text)?;
    let whole = text.char_indices().rev().find_map(|(at, c)| {
        let end = at + c.len_utf8();
        ends_sentence(&text[..at], c, &text[end..]).then(|| {
            let closing = |c: char| matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '»');
            let rest = &text[end..];
            &text[..end + rest.len() - rest.trim_start_matches(closing).len()]
        })
    })?;
    has_words(whole).then(|| whole.trim())
}

/// Whether `mark` ends a sentence between what comes before and after it.
fn ends_sentence(before: &str, mark: char, after: &str) -> bool {
    match mark {
        '。' | '！' | '？' => true,
        '!' | '?' | '…' => !after.starts_with(char::is_alphanumeric),
        '.' => {
            // "3.5" cut at its point and the "2." of a list are no sentences.
            let digits = before.chars().rev().take_while(char::is_ascii_digit).count();
            !after.starts_with(char::is_alphanumeric) && (digits == 0 || (digits > 2 && !after.is_empty()))
        }
        _ => false,
    }
}

/// Whether a text looks finished; asked where the server did not say how the answer ended.
pub(super) fn looks_whole(text: &str) -> bool {
    text.trim_end()
        .chars()
        .next_back()
        .is_some_and(|c| !c.is_alphanumeric() && !matches!(c, ',' | ';' | ':' | '-' | '('))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str, finish: Finish) -> Raw {
        Raw { text: text.into(), finish: Some(finish), ..Raw::default() }
    }

    #[test]
    fn flaws_are_recognised() {
        assert_eq!(checked(&raw(" Hi. ", Finish::Whole)), Ok("Hi."));
        assert_eq!(checked(&Raw { text: "Hi".into(), ..Raw::default() }), Ok("Hi"));
        assert_eq!(checked(&raw("<think>hm</think>\n\nHi.", Finish::Whole)), Ok("Hi."));
        assert_eq!(checked(&raw("\n ", Finish::Whole)), Err(Flaw::Empty));
        assert_eq!(checked(&raw("<think>and so on", Finish::Whole)), Err(Flaw::Empty));
        assert_eq!(checked(&raw("?! … 🙂", Finish::Whole)), Err(Flaw::Nonsense));
        assert_eq!(checked(&raw("Yes, but", Finish::Cut)), Err(Flaw::Cut));
        assert_eq!(checked(&raw("I", Finish::Refused)), Err(Flaw::Refused));
        assert_eq!(checked(&Raw { refused: true, ..raw("Hi.", Finish::Whole) }), Err(Flaw::Refused));
        assert_eq!(checked(&raw("你好。", Finish::Whole)), Ok("你好。"));
    }

    #[test]
    fn thoughts_are_not_spoken() {
        assert_eq!(spoken("Hi"), Some("Hi"));
        assert_eq!(spoken(" <thi"), None);
        assert_eq!(spoken(""), None);
        assert_eq!(spoken("<think>a"), None);
        assert_eq!(spoken("<think>a</think> b"), Some("b"));
        assert_eq!(spoken("a <think>b</think>"), Some("a <think>b</think>"));
    }

    #[test]
    fn cut_answers_keep_their_whole_sentences() {
        assert_eq!(repaired("One. Two is cut"), Some("One."));
        assert_eq!(repaired("Is it? He said \"Yes.\" And th"), Some("Is it? He said \"Yes.\""));
        assert_eq!(repaired("It costs 3."), None);
        assert_eq!(repaired("Fine. It costs 3.5 and mo"), Some("Fine."));
        assert_eq!(repaired("Two steps follow! 1. Op"), Some("Two steps follow!"));
        assert_eq!(repaired("Since 2019. Then"), Some("Since 2019."));
        assert_eq!(repaired("好的。明天"), Some("好的。"));
        assert_eq!(repaired("no end in sight"), None);
        assert_eq!(repaired("... and th"), None);
        assert_eq!(repaired("<think>One. Two"), None);
        assert_eq!(repaired(""), None);
    }

    #[test]
    fn unfinished_texts_look_unfinished() {
        assert!(looks_whole("Good. "));
        assert!(looks_whole("Good 🙂"));
        assert!(!looks_whole("and then the"));
        assert!(!looks_whole("namely:"));
        assert!(!looks_whole(""));
    }
}
