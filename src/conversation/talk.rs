//! What is said to a caller in one go, and how much of it was heard when the caller broke in.

use super::speech::{needs_no_blank, speaking_time};
use std::iter::once;
use std::ops::Range;
use std::time::Duration;

/// Words as they were sent to be spoken: an answer, and the fillers between its pieces.
#[derive(Debug, Clone, Default)]
pub struct Talk {
    text: String,
    /// Where in the text the fillers stand, in order; they are no part of the answer.
    fillers: Vec<Range<usize>>,
    /// Up to here the answer was heard before, in a session that was lost.
    begun: usize,
}

impl Talk {
    /// The rest of an answer whose beginning, these words, was heard before.
    pub fn after(begun: &str) -> Self {
        let mut talk = Self { text: begun.to_owned(), ..Self::default() };
        if goes_on_apart(begun) {
            talk.text.push(' ');
        }
        talk.begun = talk.text.len();
        talk
    }

    /// More of the answer.
    pub fn say(&mut self, words: &str) {
        self.text.push_str(words);
    }

    /// A filler.
    pub fn fill(&mut self, words: &str) {
        let start = self.text.len();
        self.text.push_str(words);
        self.fillers.push(start..self.text.len());
    }

    /// Whether what is said next needs a blank before it; none follows a full-width mark.
    pub fn needs_blank(&self) -> bool {
        needs_blank(&self.text)
    }

    /// Whether the answer needs one where it goes on, which may be after a filler that has a blank of its own.
    pub fn answer_needs_blank(&self) -> bool {
        let end = self
            .fillers
            .iter()
            .rev()
            .fold(self.text.len(), |end, filler| if filler.end == end { filler.start } else { end });
        goes_on_apart(&self.text[..end])
    }

    /// How long all of it takes to speak that was not heard before.
    pub fn time(&self) -> Duration {
        speaking_time(&self.text[self.begun..])
    }

    /// Whether there is no word of an answer yet.
    pub fn is_empty(&self) -> bool {
        !self.answer().contains(char::is_alphanumeric)
    }

    /// Whether there is none but what was heard before.
    pub fn is_as_begun(&self) -> bool {
        let begun = self.up_to(self.begun);
        !self.answer()[begun.len()..].contains(char::is_alphanumeric)
    }

    /// The answer so far.
    pub fn answer(&self) -> String {
        self.up_to(self.text.len())
    }

    /// What of the answer was heard, when the caller broke in after `utterance`: Twilio's account of what was spoken,
    /// which may be only the end of it and have other blanks and signs than ours. What cannot be found in the talk
    /// counts as it is told, but never for more than there is.
    pub fn heard(&self, utterance: &str) -> String {
        match self.find_end(utterance) {
            Some(end) => self.up_to(end),
            None => {
                let (begun, whole) = (self.up_to(self.begun), self.answer());
                let told = if begun.is_empty() { String::new() } else { format!("{begun} ") } + utterance.trim();
                told.chars().take(whole.chars().count()).collect()
            }
        }
    }

    /// Whether `utterance` is a part of what was said.
    pub fn tells(&self, utterance: &str) -> bool {
        self.find_end(utterance).is_some_and(|end| end > self.begun)
    }

    /// Whether nothing was said, not even a filler.
    pub fn is_silent(&self) -> bool {
        self.text.len() == self.begun
    }

    /// What of the answer was spoken, to a word's end, when it would take `left` to speak the rest of what was sent.
    pub fn heard_before(&self, left: Duration) -> String {
        let parts_words = |c: char| c.is_whitespace() || needs_no_blank(c);
        let between = self.text.char_indices().filter(|(_, c)| parts_words(*c)).map(|(at, _)| at);
        let mut ends = once(0).chain(between).chain(once(self.text.len())).rev();
        self.up_to(ends.find(|end| speaking_time(&self.text[*end..]) >= left).unwrap_or(0).max(self.begun))
    }

    /// The answer up to this byte of the text.
    fn up_to(&self, end: usize) -> String {
        let (mut answer, mut at) = (String::new(), 0);
        for filler in self.fillers.iter().take_while(|filler| filler.start < end) {
            answer.push_str(&self.text[at..filler.start]);
            at = filler.end;
        }
        answer.push_str(self.text.get(at..end).unwrap_or_default());
        answer.trim().to_owned()
    }

    /// The byte after the first place where the letters of `utterance` stand in what was not heard before, and after
    /// the signs that follow them.
    fn find_end(&self, utterance: &str) -> Option<usize> {
        let wanted: Vec<char> = letters(utterance).map(|(_, letter)| letter).collect();
        let Some(last) = wanted.len().checked_sub(1) else { return Some(self.begun) };
        let ours: Vec<(usize, char)> = letters(&self.text).filter(|(end, _)| *end > self.begun).collect();
        let found = ours.windows(wanted.len()).find(|window| window.iter().map(|(_, c)| c).eq(&wanted))?;
        let end = found[last].0;
        let signs = self.text[end..].chars().take_while(|c| !c.is_alphanumeric() && !c.is_whitespace());
        Some(end + signs.map(char::len_utf8).sum::<usize>())
    }
}

fn needs_blank(text: &str) -> bool {
    let stands_apart = |c: char| c.is_whitespace() || matches!(c, '。' | '！' | '？');
    !text.is_empty() && !text.ends_with(stands_apart)
}

/// The same for more of an answer, which may have been broken off within a word.
fn goes_on_apart(text: &str) -> bool {
    needs_blank(text) && !text.ends_with(needs_no_blank)
}

/// How many of the sentences of an answer were heard to their end, when `heard` was heard of it.
pub fn heard_sentences(sentences: &[String], heard: &str) -> usize {
    let signs = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
    let mut left = signs(heard);
    sentences.iter().take_while(|sentence| left.checked_sub(signs(sentence)).map(|rest| left = rest).is_some()).count()
}

/// The letters and digits of a text in lower case, each with the byte after it.
fn letters(text: &str) -> impl Iterator<Item = (usize, char)> {
    let all = text.char_indices().filter(|(_, c)| c.is_alphanumeric());
    all.flat_map(|(at, c)| c.to_lowercase().map(move |lower| (at + c.len_utf8(), lower)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(said: &[&str]) -> Talk {
        let mut talk = Talk::default();
        for words in said {
            match words.strip_prefix("filler: ") {
                Some(filler) => talk.fill(filler),
                None => talk.say(words),
            }
        }
        talk
    }

    #[test]
    fn what_was_heard_is_the_answer_up_to_where_the_caller_broke_in() {
        let talk = talk(&["Paris is the capital. ", "It has two million people, ", "and more around it."]);
        assert_eq!(talk.heard("Paris is the"), "Paris is the");
        assert_eq!(talk.heard("Paris is the capital."), "Paris is the capital.");
        assert_eq!(talk.heard("Paris is the capital. It has two mill"), "Paris is the capital. It has two mill");
        assert_eq!(talk.heard(&talk.answer()), talk.answer());
        assert_eq!(talk.heard(""), "");
    }

    #[test]
    fn blanks_signs_and_case_make_no_difference() {
        let talk = talk(&["Well —  it's\n“3.5 km”, ", "I think. More."]);
        assert_eq!(talk.heard("well it's 3.5 KM I think"), "Well —  it's\n“3.5 km”, I think.");
        assert_eq!(super::Talk { text: "你好。再见！".to_owned(), ..Talk::default() }.heard("你 好。"), "你好。");
    }

    #[test]
    fn only_the_last_utterance_may_be_told() {
        let talk = talk(&["First. Second. Third. Fourth."]);
        assert_eq!(talk.heard("Second. Third"), "First. Second. Third.");
    }

    #[test]
    fn fillers_are_no_part_of_the_answer() {
        let talk = talk(&["filler: One moment, please. ", "It is ", "filler: Let me think. ", "five."]);
        assert_eq!(talk.answer(), "It is five.");
        assert_eq!(talk.heard("One moment, please. It is Let me think. five"), "It is five.");
        assert_eq!(talk.heard("One moment, please. It is Let me"), "It is");
        assert_eq!(talk.heard("One moment"), "");
        assert!(super::tests::talk(&["filler: One moment. "]).is_empty());
    }

    #[test]
    fn an_answer_goes_on_apart_whatever_was_said_in_between() {
        let needs = [&["One."][..], &["One.", "filler:  Wait. "], &["One.", "filler:  Wait. ", "filler: So. "]];
        assert!(needs.iter().all(|said| talk(said).answer_needs_blank()));
        let has = [
            &[][..],
            &["filler: Wait. "],
            &["One. "],
            &["One. ", "filler: Wait. "],
            &["你好。", "filler:  Wait. "],
            &["从前有"],
        ];
        assert!(!has.iter().any(|said| talk(said).answer_needs_blank()));
    }

    #[test]
    fn what_was_not_spoken_yet_was_not_heard() {
        let talk = talk(&["One two ", "filler: Let me think. ", "three."]);
        let before = |text| talk.heard_before(speaking_time(text));
        assert_eq!(talk.heard_before(Duration::ZERO), "One two three.");
        assert_eq!(
            (before("ree."), before(" three."), before("think. three.")),
            ("One two".into(), "One two".into(), "One two".into())
        );
        assert_eq!(
            (before("o Let me think. three."), before("One two Let me think. three.")),
            ("One".into(), String::new())
        );
        assert_eq!(talk.heard_before(Duration::from_secs(60)), "");
        let without_blanks = super::tests::talk(&["你好。再见！"]);
        let heard = ["！", "见！", "再见！", "。再见！", "你好。再见！"]
            .map(|left| without_blanks.heard_before(speaking_time(left)));
        assert_eq!(heard, ["你好。再", "你好。再", "你好。", "你", ""]);
    }

    #[test]
    fn what_was_heard_before_stays_heard() {
        let mut talk = Talk::after("One two.");
        assert!(talk.is_silent() && talk.is_as_begun() && !talk.is_empty());
        talk.fill("Let me think. ");
        assert!(talk.is_as_begun() && !talk.is_silent() && talk.tells("let me") && !talk.tells("One"));
        talk.say("Two three.");
        assert_eq!(talk.answer(), "One two. Two three.");
        assert!(!talk.is_as_begun());
        assert_eq!(
            ["", "let me", "two", "3"].map(|told| talk.heard(told)),
            ["One two.", "One two.", "One two. Two", "One two. 3"]
        );
        assert_eq!(talk.heard_before(Duration::from_secs(60)), "One two.");
        assert_eq!(talk.time(), speaking_time("Let me think. Two three."));
    }

    #[test]
    fn a_sentence_was_heard_when_its_last_sign_was() {
        let sentences = ["One two.", "Three.", "你好。"].map(str::to_owned);
        let heard = ["", "One", "One two", "One two.", "One two. Thr", "One  two. Three.", "One two. Three.你好。"];
        assert_eq!(heard.map(|heard| heard_sentences(&sentences, heard)), [0, 0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn what_is_not_found_counts_as_told_but_never_for_more_than_was_said() {
        let talk = talk(&["One two."]);
        assert_eq!(talk.heard("1 2"), "1 2");
        assert_eq!(talk.heard("something else entirely"), "somethin");
        assert_eq!(Talk::default().heard("something"), "");
    }
}
