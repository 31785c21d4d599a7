//! The fixed sentences of each language, and what callers say in it that needs no model: built in, or from the
//! operator's folder.

mod heard;
#[cfg(test)]
mod tests;

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
    /// To somebody who wants no more texts.
    pub text_stopped: String,
    /// To somebody who wants texts again.
    pub text_started: String,
    /// To somebody who texts HELP.
    pub text_help: String,
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
    /// What an answering machine is told when the opening words of a call of ours are not there: `{purpose}`.
    machine_message: String,
    /// The text that tells the owner what a voicemail says: `{caller}`, `{transcript}`.
    notice_voicemail: String,
    /// The text that tells the owner of a voicemail whose words are not known: `{caller}`, `{seconds}`.
    notice_voicemail_silent: String,
    /// What stands there for a caller whose number is not known.
    unknown_caller: String,
    /// How a caller says goodbye, in lower case, as in all lists of what callers say.
    goodbyes: Vec<Phrase>,
    /// What may stand around a goodbye without making it anything else.
    courtesies: Vec<Phrase>,
    /// How a caller asks for a person.
    human_wishes: Vec<Phrase>,
    /// How a caller asks to leave a message.
    voicemail_wishes: Vec<Phrase>,
    /// What may stand around a wish without making it anything else; unlike a courtesy it never declines, since "no"
    /// turns "operator" into the opposite.
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
    /// The sentences from `phrases/<language>.toml` in the operator's folder `dir`, or the built-in ones of a language
    /// for which the folder has no file.
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
    /// Whether the caller says goodbye and nothing else: the whole utterance consists of goodbyes and courtesies.
    /// "Don't say goodbye yet" does not.
    pub fn is_goodbye(&self, utterance: &str) -> bool {
        consists_of(utterance, &self.goodbyes, &self.courtesies)
    }

    /// Whether an utterance is a courtesy and nothing else.
    pub fn is_courtesy(&self, utterance: &str) -> bool {
        consists_of(utterance, &self.courtesies, &[])
    }

    /// Whether the caller asks for a person and for nothing else. "I don't want to speak to a human" does not.
    pub fn wants_human(&self, utterance: &str) -> bool {
        consists_of(utterance, &self.human_wishes, &self.pleas)
    }

    /// Whether the caller asks to leave a message and for nothing else. "Can you take a message to Tom?" does not.
    pub fn wants_voicemail(&self, utterance: &str) -> bool {
        consists_of(utterance, &self.voicemail_wishes, &self.pleas)
    }

    /// The name of a sentence that is spoken: `greeting`, or `one_moment.2` of several.
    pub fn name_of(&self, sentence: &str) -> Option<String> {
        self.spoken().find(|(_, spoken)| *spoken == sentence).map(|(name, _)| name)
    }

    /// The sentence of a name that [`Phrases::name_of`] gave.
    pub fn named(&self, name: &str) -> Option<&str> {
        self.spoken().find(|(known, _)| known == name).map(|(_, sentence)| sentence)
    }

    /// The sentences that are spoken, and their names.
    fn spoken(&self) -> impl Iterator<Item = (String, &str)> {
        let single = [
            ("greeting", &self.greeting),
            ("did_not_hear", &self.did_not_hear),
            ("apology", &self.apology),
            ("unavailable", &self.unavailable),
            ("goodbye", &self.goodbye),
            ("refused", &self.refused),
            ("transferring", &self.transferring),
            ("transfer_failed", &self.transfer_failed),
            ("no_transfer", &self.no_transfer),
            ("transfer_over", &self.transfer_over),
            ("voicemail", &self.voicemail),
            ("voicemail_thanks", &self.voicemail_thanks),
            ("voicemail_empty", &self.voicemail_empty),
            ("nothing_to_repeat", &self.nothing_to_repeat),
            ("time_over", &self.time_over),
        ];
        let single = single.into_iter().map(|(name, sentence)| (name.to_owned(), sentence.as_str()));
        let several = self.one_moment.iter().enumerate();
        single.chain(several.map(|(n, sentence)| (format!("one_moment.{n}"), sentence.as_str())))
    }

    /// What an answering machine is told of the `purpose` of a call.
    pub fn machine_message(&self, purpose: &str) -> String {
        fill(&self.machine_message, &[("purpose", purpose)])
            .expect("the placeholders were checked when the sentences were loaded")
    }

    /// The text that tells the owner of a voicemail of `seconds` from the number `caller`, if that is known, with
    /// its words if there are any.
    pub fn notice(&self, caller: Option<&str>, transcript: Option<&str>, seconds: i64) -> String {
        let caller = caller.unwrap_or(&self.unknown_caller);
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
    let placeholders: [(_, _, &[&str]); 3] = [
        ("machine_message", &phrases.machine_message, &["purpose"]),
        ("notice_voicemail", &phrases.notice_voicemail, &["caller", "transcript"]),
        ("notice_voicemail_silent", &phrases.notice_voicemail_silent, &["caller", "seconds"]),
    ];
    for (name, sentence, placeholders) in placeholders {
        if let Some(missing) = placeholders.iter().find(|known| !sentence.contains(&format!("{{{known}}}"))) {
            return Err(format!("{name} lacks {{{missing}}}"));
        }
        let empty: Vec<_> = placeholders.iter().map(|known| (*known, "")).collect();
        fill(sentence, &empty).map_err(|reason| format!("{name} {reason}"))?;
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
