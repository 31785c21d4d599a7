//! The fixed sentences of each language, and what callers say in it that needs no model: built in, or from the operator's
//! folder.

mod heard;

use crate::twilio::voices::Language;
use heard::{Phrase, consists_of};
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
    /// A person is being called for the caller.
    pub transferring: String,
    /// Nobody answered; the caller may press 1 for the voicemail or go on talking.
    pub transfer_failed: String,
    /// Nobody can be called for the caller; the call goes on.
    pub no_transfer: String,
    /// The person who took the call hung up; it ends.
    pub transfer_over: String,
    /// Before the tone; `#` ends the message.
    pub voicemail: String,
    /// The message is recorded; the call ends.
    pub voicemail_thanks: String,
    /// Nothing was recorded; the call ends.
    pub voicemail_empty: String,
    /// The caller wants the last answer again, and there is none.
    pub nothing_to_repeat: String,
    /// The call has lasted as long as one may; it ends.
    pub time_over: String,
    /// The text that tells the owner what a voicemail says: `{caller}`, `{transcript}`.
    notice_voicemail: String,
    /// The text that tells the owner of a voicemail whose words are not known: `{caller}`, `{seconds}`.
    notice_voicemail_silent: String,
    /// How a caller says goodbye, in lower case, as in all lists of what callers say.
    goodbyes: Vec<Phrase>,
    /// What may stand around a goodbye without making it anything else.
    courtesies: Vec<Phrase>,
    /// How a caller asks for a person.
    human_wishes: Vec<Phrase>,
    /// How a caller asks to leave a message.
    voicemail_wishes: Vec<Phrase>,
    /// What may stand around a wish without making it anything else; unlike a courtesy it never declines, since "no" turns
    /// "operator" into the opposite.
    pleas: Vec<Phrase>,
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
            let phrases = parse(&source).map_err(|reason| PhrasesError { file, reason })?;
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
        consists_of(utterance, &self.goodbyes, &self.courtesies)
    }

    /// Whether the caller asks for a person and for nothing else. "I don't want to speak to a human" does not.
    pub fn wants_human(&self, utterance: &str) -> bool {
        consists_of(utterance, &self.human_wishes, &self.pleas)
    }

    /// Whether the caller asks to leave a message and for nothing else. "Can you take a message to Tom?" does not.
    pub fn wants_voicemail(&self, utterance: &str) -> bool {
        consists_of(utterance, &self.voicemail_wishes, &self.pleas)
    }

    /// The text that tells the owner of a voicemail of `seconds` from `caller`, with its words if there are any.
    pub fn notice(&self, caller: &str, transcript: Option<&str>, seconds: i64) -> String {
        let seconds = seconds.to_string();
        match transcript.map(str::trim).filter(|words| !words.is_empty()) {
            Some(words) => fill(&self.notice_voicemail, &[("caller", caller), ("transcript", words)]),
            None => fill(&self.notice_voicemail_silent, &[("caller", caller), ("seconds", &seconds)]),
        }
        .expect("the placeholders were checked when the sentences were loaded")
    }
}

/// The sentences of a file.
///
/// # Errors
/// What is wrong with the file.
fn parse(source: &str) -> Result<Phrases, String> {
    let phrases: Phrases = toml::from_str(source).map_err(|error| error.to_string())?;
    if phrases.one_moment.is_empty() {
        return Err("one_moment needs at least one sentence".to_owned());
    }
    if let Some(name) = unspoken(source) {
        return Err(format!("{name} has an empty sentence, which Twilio refuses to say"));
    }
    for (name, notice, placeholders) in [
        ("notice_voicemail", &phrases.notice_voicemail, ["caller", "transcript"]),
        ("notice_voicemail_silent", &phrases.notice_voicemail_silent, ["caller", "seconds"]),
    ] {
        if let Some(missing) = placeholders.iter().find(|known| !notice.contains(&format!("{{{known}}}"))) {
            return Err(format!("{name} lacks {{{missing}}}"));
        }
        fill(notice, &placeholders.map(|known| (known, ""))).map_err(|reason| format!("{name} {reason}"))?;
    }
    Ok(phrases)
}

/// The name of a sentence or list, whichever, that has a text without words.
fn unspoken(source: &str) -> Option<String> {
    let texts: toml::Table = toml::from_str(source).ok()?;
    let wordless = |text: &toml::Value| text.as_str().is_some_and(|text| text.trim().is_empty());
    let several = |texts: &toml::Value| texts.as_array().is_some_and(|texts| texts.iter().any(wordless));
    texts.into_iter().find(|(_, value)| wordless(value) || several(value)).map(|(name, _)| name)
}

/// A sentence with its placeholders filled, in one pass: braces in a value are no placeholders.
///
/// # Errors
/// What is wrong: a placeholder without a value.
fn fill(sentence: &str, values: &[(&str, &str)]) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), sentence);
    while let Some((before, placeholder)) = rest.split_once('{') {
        let (name, after) = placeholder.split_once('}').ok_or("has a { without a }")?;
        let known = values.iter().find(|(known, _)| *known == name);
        let (_, value) = known.ok_or_else(|| format!("has an unknown placeholder, {{{name}}}"))?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::voices::languages;
    use std::collections::HashSet;

    fn bases() -> HashSet<&'static str> {
        languages().iter().map(|language| language.phrases).collect()
    }

    fn texts(source: &str) -> HashMap<String, Vec<String>> {
        let texts: HashMap<String, toml::Value> = toml::from_str(source).unwrap();
        let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
        let several = |value: &toml::Value| value.as_array().map(|values| values.iter().map(text).collect());
        texts.iter().map(|(name, value)| (name.clone(), several(value).unwrap_or_else(|| vec![text(value)]))).collect()
    }

    #[test]
    fn every_language_has_its_sentences() {
        let book = PhraseBook::load(None).unwrap();
        assert_eq!(book.by_language.keys().copied().collect::<HashSet<_>>(), bases());
        for (language, source) in BUILT_IN {
            let texts = texts(source);
            for (name, text) in texts.iter().flat_map(|(name, texts)| texts.iter().map(move |text| (name, text))) {
                assert!(!text.is_empty() && text.trim() == text, "{language}: {text}");
                let braces = name.starts_with("notice_");
                assert!(!text.contains(['<', '>', '&']), "{language}: {text}");
                assert!(braces || !text.contains(['{', '}']), "{language}: {text}");
            }
            let fillers: HashSet<_> = texts["one_moment"].iter().collect();
            assert!(fillers.len() >= 5, "{language} would say the same filler again too soon");
        }
    }

    #[test]
    fn the_gateways_own_words_mean_what_callers_mean_by_them() {
        let book = PhraseBook::load(None).unwrap();
        for (language, source) in BUILT_IN {
            let (texts, phrases) = (texts(source), &book.by_language[language]);
            assert!(phrases.is_goodbye(&phrases.goodbye), "{language}: our own goodbye is one");
            assert!(!phrases.is_goodbye(&phrases.greeting), "{language}: the greeting hangs up");
            assert!(!texts["courtesies"].iter().any(|courtesy| phrases.is_goodbye(courtesy)), "{language}");
            for plea in &texts["pleas"] {
                assert!(!phrases.wants_human(plea) && !phrases.wants_voicemail(plea), "{language}: {plea}");
            }
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
        let mut wrong = Vec::new();
        for base in bases() {
            let Cases { ends, goes_on } = cases.remove(base).unwrap_or_else(|| panic!("{base} has no cases"));
            let phrases = &book.by_language[base];
            wrong.extend(ends.into_iter().filter(|text| !phrases.is_goodbye(text)));
            wrong.extend(goes_on.into_iter().filter(|text| phrases.is_goodbye(text)));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(cases.is_empty(), "cases of no language");
        assert!(!book.by_language["en"].is_goodbye(""), "silence ends nothing");
    }

    #[test]
    fn wishes_are_told_from_other_requests() {
        #[derive(Deserialize)]
        struct Cases {
            human: Vec<String>,
            no_human: Vec<String>,
            voicemail: Vec<String>,
            no_voicemail: Vec<String>,
        }
        let mut cases: HashMap<String, Cases> = toml::from_str(include_str!("../../tests/data/wishes.toml")).unwrap();
        let book = PhraseBook::load(None).unwrap();
        let mut wrong = Vec::new();
        for base in bases() {
            let cases = cases.remove(base).unwrap_or_else(|| panic!("{base} has no cases"));
            let phrases = &book.by_language[base];
            let heard =
                |text: &String| (phrases.wants_human(text), phrases.wants_voicemail(text), phrases.is_goodbye(text));
            wrong.extend(cases.human.into_iter().filter(|text| heard(text) != (true, false, false)));
            wrong.extend(cases.no_human.into_iter().filter(|text| heard(text).0));
            wrong.extend(cases.voicemail.into_iter().filter(|text| heard(text) != (false, true, false)));
            wrong.extend(cases.no_voicemail.into_iter().filter(|text| heard(text).1));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(cases.is_empty(), "cases of no language");
    }

    #[test]
    fn the_owner_reads_a_voicemail_as_it_was_said() {
        let book = PhraseBook::load(None).unwrap();
        let english = &book.by_language["en"];
        let notice = english.notice("+14155550123", Some(" Use {caller} and {seconds}. "), 7);
        assert_eq!(notice, "Voicemail from +14155550123: Use {caller} and {seconds}.");
        for nothing in [None, Some(""), Some(" ")] {
            let notice = english.notice("+14155550123", nothing, 7);
            assert_eq!(notice, "+14155550123 left a voicemail of 7 seconds.");
        }
        for (language, phrases) in &book.by_language {
            for notice in [phrases.notice("C4", Some("T5"), 6), phrases.notice("C4", None, 6)] {
                assert!(notice.contains("C4") && notice.contains(['5', '6']), "{language}: {notice}");
                assert!(!notice.contains(['{', '}']), "{language}: {notice}");
            }
        }
    }

    #[test]
    fn sentences_that_cannot_be_said_are_refused() {
        let (_, english) = BUILT_IN.iter().find(|(language, _)| *language == "en").unwrap();
        let refusal = |from: &str, to: &str| {
            assert!(english.contains(from), "{from}");
            parse(&english.replacen(from, to, 1)).unwrap_err()
        };
        for (from, to, reason) in [
            ("Voicemail from {caller}", "Voicemail", "notice_voicemail lacks {caller}"),
            ("{transcript}", "{}", "notice_voicemail lacks {transcript}"),
            ("{seconds} seconds", "some", "notice_voicemail_silent lacks {seconds}"),
            ("Voicemail from", "{who}", "notice_voicemail has an unknown placeholder, {who}"),
            ("{transcript}", "{transcript} {", "notice_voicemail has a { without a }"),
            ("{seconds} seconds.", "{seconds} {transcript}", "notice_voicemail_silent has an unknown placeholder"),
            ("\"Let me think.\"", "\" \"", "one_moment has an empty sentence"),
            ("transferring = \"", "transferring = \"\" # ", "transferring has an empty sentence"),
        ] {
            let refused = refusal(from, to);
            assert!(refused.contains(reason), "{to}: {refused}");
        }
    }
}
