//! Telling what an utterance is from the phrases it consists of, without being fooled by one that only contains them.

use serde::Deserialize;
use std::collections::BTreeSet;

/// Letters beyond which nobody only says goodbye or asks for somebody.
const LONGEST: usize = 160;

/// A phrase callers say, written `(a|b) c (d|)`: "a c d", "a c", "b c d" or "b c". Parts that follow one another, each
/// with the letters of its wordings.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "String")]
pub(super) struct Phrase(Vec<Vec<Vec<char>>>);

impl From<String> for Phrase {
    fn from(written: String) -> Self {
        let wordings = |part: &str| part.split('|').map(|wording| Utterance::from(wording).letters).collect();
        Self(written.split(['(', ')']).map(wordings).collect())
    }
}

impl Phrase {
    /// Where the phrase may end if it begins at letter `start`.
    fn ends(&self, letters: &[char], start: usize) -> BTreeSet<usize> {
        let mut ends = BTreeSet::from([start]);
        for wordings in &self.0 {
            let fitting = |at: usize| wordings.iter().filter(move |wording| letters[at..].starts_with(wording));
            ends = ends.iter().flat_map(|at| fitting(*at).map(move |wording| at + wording.len())).collect();
        }
        ends
    }
}

/// The letters and digits of a text in lower case: blanks inside a phrase, signs and accents written apart make no
/// difference ("good bye" is "goodbye").
struct Utterance {
    letters: Vec<char>,
    /// For each letter and for the end, whether a phrase may begin or end before it: where a word does, so that
    /// "jaha, det" is not "ja, ha det".
    edges: Vec<bool>,
}

impl From<&str> for Utterance {
    fn from(text: &str) -> Self {
        let (mut letters, mut edges, mut apart) = (Vec::new(), Vec::new(), true);
        for letter in text.to_lowercase().chars() {
            if letter.is_alphanumeric() {
                edges.push(apart || joins_words(letter));
                letters.push(letter);
                apart = joins_words(letter);
            } else {
                apart = true;
            }
        }
        edges.push(true);
        Self { letters, edges }
    }
}

/// Whether the letter is of a script without blanks between words (Chinese, Japanese, Korean as it is recognized) or
/// one that writes "and" as part of the next word (Arabic).
fn joins_words(letter: char) -> bool {
    matches!(letter, '\u{600}'..='\u{6ff}' | '\u{2e80}'..)
}

/// Whether an utterance consists of phrases that are `wanted`, at least one, and such as may stand around them.
pub(super) fn consists_of(utterance: &str, wanted: &[Phrase], around: &[Phrase]) -> bool {
    let said = Utterance::from(utterance);
    let length = said.letters.len();
    if length > LONGEST {
        return false;
    }
    // Whether phrases can cover everything before a letter: none of them wanted, and at least one.
    let (mut without, mut with) = (vec![false; length + 1], vec![false; length + 1]);
    without[0] = true;
    for start in 0..length {
        if !without[start] && !with[start] {
            continue;
        }
        let ends = |phrases: &[Phrase]| -> BTreeSet<usize> {
            let ends = phrases.iter().flat_map(|phrase| phrase.ends(&said.letters, start));
            ends.filter(|end| *end > start && said.edges[*end]).collect()
        };
        for end in ends(around) {
            without[end] |= without[start];
            with[end] |= with[start];
        }
        for end in ends(wanted) {
            with[end] = true;
        }
    }
    with[length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases(written: &[&str]) -> Vec<Phrase> {
        written.iter().map(|phrase| Phrase::from((*phrase).to_owned())).collect()
    }

    #[test]
    fn a_phrase_is_said_in_any_of_its_wordings() {
        let wanted = phrases(&["(get|give) me (a human|someone) (now|)"]);
        for said in ["Get me a human!", "give me someone now", "GIVE  ME SOMEONE"] {
            assert!(consists_of(said, &wanted, &[]), "{said}");
        }
        for said in ["", "get me", "give me a human later", "me a human", "get give me someone"] {
            assert!(!consists_of(said, &wanted, &[]), "{said}");
        }
    }

    #[test]
    fn phrases_begin_and_end_with_words_in_scripts_that_have_blanks() {
        let (wanted, around) = (phrases(&["ha det", "good bye", "再见", "مع السلامة"]), phrases(&["ja", "好", "و"]));
        for said in ["Ja, ha det", "goodbye", "Good bye", "好再见", "ومع السلامة"] {
            assert!(consists_of(said, &wanted, &around), "{said}");
        }
        assert!(!consists_of("Jaha, det", &wanted, &around));
    }

    #[test]
    fn a_phrase_without_letters_is_never_said() {
        assert!(!consists_of("thanks", &phrases(&["!", "(|)"]), &phrases(&["thanks"])));
    }

    #[test]
    fn a_speech_is_no_single_wish() {
        let wanted = phrases(&["bye"]);
        assert!(consists_of(&"bye ".repeat(LONGEST / 3), &wanted, &[]));
        assert!(!consists_of(&"bye ".repeat(LONGEST / 3 + 1), &wanted, &[]));
    }
}
