//! The fixed sentences of each language, and how a caller says goodbye in it: built in, or from the operator's folder.

use crate::twilio::voices::Language;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The sentences of one language.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phrases {
    /// The first words of a call.
    pub greeting: String,
    /// After a silence.
    pub did_not_hear: String,
    /// While the answer is being written; several, so that none is said twice in a row.
    pub one_moment: Vec<String>,
    /// A turn failed; the call goes on.
    pub apology: String,
    /// The call cannot be taken; it ends.
    pub unavailable: String,
    /// The last words of a call.
    pub goodbye: String,
    /// To an unknown caller who is not taken.
    pub refused: String,
    /// The same for a text.
    pub text_refused: String,
    /// How a caller says goodbye, in lower case.
    pub goodbyes: Vec<String>,
    /// What may stand around a goodbye without making it anything else, in lower case.
    pub courtesies: Vec<String>,
    /// The two lists above as they are compared: letters, and whether they are a goodbye.
    #[serde(skip)]
    farewells: Vec<(Vec<char>, bool)>,
}

/// The sentences of all languages.
#[derive(Debug)]
pub struct PhraseBook {
    by_language: HashMap<&'static str, Phrases>,
}

/// Why the sentences cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct PhrasesError {
    file: PathBuf,
    reason: String,
}

macro_rules! built_in {
    ($($language:literal)*) => {
        &[$(($language, include_str!(concat!("../../twiml-templates/phrases/", $language, ".toml")))),*]
    };
}

const BUILT_IN: &[(&str, &str)] =
    built_in!("ar" "de" "en" "es" "fr" "hi" "it" "ja" "ko" "nl" "pl" "pt" "ru" "sv" "tr" "zh");

impl PhraseBook {
    /// The sentences from `phrases/<language>.toml` in the operator's folder `dir`, or the built-in ones of a language for
    /// which the folder has no file.
    ///
    /// # Errors
    /// The first file that cannot be read, lacks a sentence or has an unknown one.
    pub fn load(dir: Option<&Path>) -> Result<Self, PhrasesError> {
        let mut by_language = HashMap::new();
        for (language, built_in) in BUILT_IN {
            let name = PathBuf::from("phrases").join(format!("{language}.toml"));
            let file = dir.map_or_else(|| name.clone(), |dir| dir.join(&name));
            let source = match dir.map(|_| std::fs::read_to_string(&file)) {
                Some(Ok(source)) => source,
                Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(PhrasesError { file, reason: error.to_string() });
                }
                Some(Err(_)) | None => (*built_in).to_owned(),
            };
            let fault = |reason: String| PhrasesError { file: file.clone(), reason };
            let mut phrases: Phrases = toml::from_str(&source).map_err(|error| fault(error.to_string()))?;
            if phrases.one_moment.is_empty() {
                return Err(fault("one_moment needs at least one sentence".to_owned()));
            }
            if let Some(name) = phrases.unspoken() {
                return Err(fault(format!("{name} has an empty sentence, which Twilio refuses to say")));
            }
            phrases.prepare();
            by_language.insert(*language, phrases);
        }
        Ok(Self { by_language })
    }

    /// The sentences for a language.
    pub fn of(&self, language: &Language) -> &Phrases {
        // A test proves that every language's file is there.
        self.by_language.get(language.phrases).unwrap_or_else(|| &self.by_language["en"])
    }
}

impl Phrases {
    /// Whether the caller says goodbye and nothing else: the whole utterance consists of goodbyes and courtesies. "Don't say
    /// goodbye yet" does not.
    pub fn is_goodbye(&self, utterance: &str) -> bool {
        let said = letters(utterance);
        if said.len() > LONGEST_GOODBYE {
            return false;
        }
        // reached[i]: whether the first i letters can be covered without a goodbye, and with one.
        let mut reached = vec![(false, false); said.len() + 1];
        reached[0].0 = true;
        for at in 0..said.len() {
            let (without, with) = reached[at];
            if !without && !with {
                continue;
            }
            for (phrase, is_goodbye) in &self.farewells {
                if said[at..].starts_with(phrase) {
                    let next = &mut reached[at + phrase.len()];
                    next.0 |= without && !is_goodbye;
                    next.1 |= with || (without && *is_goodbye);
                }
            }
        }
        reached[said.len()].1
    }

    /// The name of a sentence that has no words.
    fn unspoken(&self) -> Option<&'static str> {
        let single = [
            ("greeting", &self.greeting),
            ("did_not_hear", &self.did_not_hear),
            ("apology", &self.apology),
            ("unavailable", &self.unavailable),
            ("goodbye", &self.goodbye),
            ("refused", &self.refused),
            ("text_refused", &self.text_refused),
        ];
        let several = self.one_moment.iter().map(|text| ("one_moment", text));
        single.into_iter().chain(several).find(|(_, text)| text.trim().is_empty()).map(|(name, _)| name)
    }

    /// Prepares [`Phrases::is_goodbye`].
    fn prepare(&mut self) {
        let goodbyes = self.goodbyes.iter().map(|phrase| (letters(phrase), true));
        let courtesies = self.courtesies.iter().map(|phrase| (letters(phrase), false));
        self.farewells = goodbyes.chain(courtesies).filter(|(phrase, _)| !phrase.is_empty()).collect();
    }
}

/// Letters beyond which nobody only says goodbye.
const LONGEST_GOODBYE: usize = 160;

/// The letters and digits of a text in lower case: blanks, signs and accents written apart make no difference, and scripts
/// without blanks need no other rule.
fn letters(text: &str) -> Vec<char> {
    text.to_lowercase().chars().filter(|letter| letter.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::voices::languages;
    use std::collections::HashSet;

    fn bases() -> HashSet<&'static str> {
        languages().iter().map(|language| language.phrases).collect()
    }

    #[test]
    fn every_language_has_its_sentences() {
        let book = PhraseBook::load(None).unwrap();
        assert_eq!(book.by_language.keys().copied().collect::<HashSet<_>>(), bases());
        for (language, phrases) in &book.by_language {
            let sentences = [
                &phrases.greeting,
                &phrases.did_not_hear,
                &phrases.apology,
                &phrases.unavailable,
                &phrases.goodbye,
                &phrases.refused,
                &phrases.text_refused,
            ];
            for sentence in sentences.into_iter().chain(&phrases.one_moment) {
                assert!(!sentence.is_empty() && sentence.trim() == sentence, "{language}: {sentence}");
                assert!(!sentence.contains(['<', '>', '&', '{', '}', '\n']), "{language}: {sentence}");
            }
            assert!(phrases.one_moment.len() > 1, "{language} would say the same filler twice");
            assert!(phrases.is_goodbye(&phrases.goodbye), "{language}: our own goodbye is one");
            assert!(!phrases.is_goodbye(&phrases.greeting), "{language}: the greeting hangs up");
            assert!(!phrases.courtesies.iter().any(|courtesy| phrases.is_goodbye(courtesy)), "{language}");
        }
    }

    #[test]
    fn goodbyes_are_told_from_requests() {
        #[derive(Deserialize)]
        struct Cases {
            ends: Vec<String>,
            goes_on: Vec<String>,
        }
        let mut cases: HashMap<String, Cases> = toml::from_str(include_str!("../../tests/data/goodbyes.toml")).unwrap();
        let book = PhraseBook::load(None).unwrap();
        for base in bases() {
            let cases = cases.remove(base).unwrap_or_else(|| panic!("{base} has no cases"));
            let phrases = &book.by_language[base];
            cases.ends.iter().for_each(|text| assert!(phrases.is_goodbye(text), "{base}: {text}"));
            cases.goes_on.iter().for_each(|text| assert!(!phrases.is_goodbye(text), "{base}: {text}"));
        }
        assert!(cases.is_empty(), "cases of no language");
        assert!(!book.by_language["en"].is_goodbye(""), "silence ends nothing");
    }
}
