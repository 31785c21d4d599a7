//! Voices and languages: a person's preference, in OpenAI's or Twilio's names, turned into what `<Say>` and `<Gather>`
//! take.
//!
//! A preference is a pair: a language ("en", "es-MX") and a voice ("nova", "Polly.Ruth-Neural"). [`check`] refuses a
//! pair that cannot be when it is written; [`voice_for`] answers at call time and never fails. Neither allocates.

mod catalogue;
mod languages;
#[cfg(test)]
mod tests;

use Timbre::{Female, Male};

/// The language of people who have not chosen one.
pub const DEFAULT_LANGUAGE: &str = "en";

/// The voice of people who have not chosen one; it exists in every language.
pub const DEFAULT_VOICE: &str = "nova";

/// A language the gateway speaks.
#[derive(Debug, PartialEq, Eq)]
pub struct Language {
    /// The canonical value of the preference, a BCP 47 tag: "en", "en-GB", "es-MX".
    pub tag: &'static str,
    /// The English name, for the model's instructions: "English", "Mexican Spanish".
    pub name: &'static str,
    /// The value of `<Gather language>`, which speech recognition listens for: "en-US", "cmn-Hans-CN".
    pub locale: &'static str,
    /// The value of `<Say language>` its own voices speak: "en-US", "cmn-CN". A [`Voice`] carries its own.
    pub say: &'static str,
    /// The base name of its file of fixed sentences, shared by the regions of a language: "en".
    pub phrases: &'static str,
    /// Its women's voices, the default first; never empty.
    female: &'static [&'static str],
    /// Its men's voices; never empty.
    male: &'static [&'static str],
}

impl Language {
    /// Twilio's name of the voice that comes nearest; a language with few voices uses them again.
    fn voice(&self, timbre: Timbre) -> &'static str {
        match timbre {
            Female(rank) => self.female[rank % self.female.len()],
            Male(rank) => self.male[rank % self.male.len()],
        }
    }

    /// The locale in which a voice speaks this language: the same region if it can, else any region of the language.
    fn locale_of(&self, voice: catalogue::Entry) -> Option<&'static str> {
        let exact = voice.locales().find(|&locale| locale == self.say);
        exact.or_else(|| voice.locales().find(|locale| base(locale) == base(self.say)))
    }
}

/// A voice as TwiML writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    /// The value of `<Say voice>`.
    pub name: &'static str,
    /// The value of `<Say language>` which goes with that voice.
    pub language: &'static str,
}

/// A voice as ConversationRelay writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayVoice {
    /// The value of `ttsProvider`: "Amazon" or "Google".
    pub provider: &'static str,
    /// The value of `voice`, without the prefix that `<Say>` asks for: "Ruth-Neural", "en-US-Neural2-C".
    pub name: &'static str,
}

/// A language as ConversationRelay is told it: `<Language code ttsProvider voice>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayLanguage {
    /// The code, the [`Voice::language`] of the voice; a `text` or `language` message names it.
    pub code: &'static str,
    /// The voice that speaks it.
    pub voice: RelayVoice,
}

/// Why a preferred voice and language are refused. The messages are for the person who wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VoiceError {
    /// The language tag names no language of [`languages()`].
    #[error("this language is not spoken here; the languages are {}", tags())]
    UnknownLanguage,
    /// The voice is neither one of OpenAI's nor one of Twilio's.
    #[error(
        "there is no such voice; take one of {}, man, woman, or a Twilio voice such as Polly.Ruth-Neural \
         or Google.de-DE-Neural2-G",
        openai_names()
    )]
    UnknownVoice,
    /// A Twilio voice of another language.
    #[error("the voice {voice} speaks {speaks} and cannot read {language}")]
    OtherLanguage {
        /// Twilio's name of the voice.
        voice: &'static str,
        /// The locale it speaks.
        speaks: &'static str,
        /// The English name of the language it was asked for.
        language: &'static str,
    },
}

/// How an OpenAI voice sounds: whose voice, and which of a language's voices of that sex (0 is the first).
#[derive(Debug, Clone, Copy)]
enum Timbre {
    Female(usize),
    Male(usize),
}

/// OpenAI's voices. The ranks make thirteen names eight voices in English; fable and ballad are British there too.
const OPENAI: [(&str, Timbre); 13] = [
    ("alloy", Female(1)),
    ("ash", Male(0)),
    ("ballad", Male(3)),
    ("coral", Female(0)),
    ("echo", Male(0)),
    ("fable", Male(3)),
    ("nova", Female(0)),
    ("onyx", Male(1)),
    ("sage", Female(2)),
    ("shimmer", Female(2)),
    ("verse", Male(2)),
    ("marin", Female(3)),
    ("cedar", Male(2)),
];

/// Twilio's free voices; in a language they do not speak, the language's first voice of that sex stands in.
const BASIC: [(&str, Timbre); 2] = [("man", Male(0)), ("woman", Female(0))];

/// What the free voices speak (Twilio's page "Text-to-Speech (TTS)", rows of type Basic).
const BASIC_LOCALES: [&str; 8] = ["en-US", "en-GB", "es-ES", "es-MX", "es-US", "fr-FR", "de-DE", "it-IT"];

/// The languages the gateway speaks, each base language followed by its regions.
pub fn languages() -> &'static [Language] {
    &languages::LANGUAGES
}

/// The language a tag means. Case does not matter and `_` counts as `-`; Twilio's own codes ("cmn-CN", "arb") are
/// understood; a region without an entry ("de-CH") means its base language. `None` for any other language.
pub fn language(tag: &str) -> Option<&'static Language> {
    let exact = languages().iter().find(|language| same_tag(language.tag, tag));
    let code = || languages().iter().find(|language| same_tag(language.locale, tag) || same_tag(language.say, tag));
    let other_region =
        || languages().iter().find(|language| is_tag(tag) && language.tag.eq_ignore_ascii_case(base(tag)));
    exact.or_else(code).or_else(other_region)
}

/// The voice that reads a language to someone who prefers `tts_voice`. A preference that is unknown or belongs to
/// another language gives the language's default voice: a call is never lost over a voice.
pub fn voice_for(tts_voice: &str, language: &Language) -> Voice {
    let basic = named(&BASIC, tts_voice);
    if let Some((name, _)) = basic
        && BASIC_LOCALES.contains(&language.say)
    {
        return Voice { name, language: language.say };
    }
    let name = named(&OPENAI, tts_voice).or(basic).map_or(tts_voice, |(_, timbre)| language.voice(timbre));
    catalogue::find(name)
        .and_then(|entry| Some(Voice { name: entry.name, language: language.locale_of(entry)? }))
        .unwrap_or_else(|| Voice { name: language.voice(Female(0)), language: language.say })
}

/// A voice for ConversationRelay, which has no free voices: the language's own voice of that sex stands in.
pub fn relay_voice(voice: Voice) -> RelayVoice {
    let spoken = language(voice.language).unwrap_or(&languages()[0]);
    let name = named(&BASIC, voice.name).map_or(voice.name, |(_, timbre)| spoken.voice(timbre));
    match name.strip_prefix("Google.") {
        Some(name) => RelayVoice { provider: "Google", name },
        None => RelayVoice { provider: "Amazon", name: name.strip_prefix("Polly.").unwrap_or(name) },
    }
}

/// The language that a voice speaks, for ConversationRelay.
pub fn relay_language(voice: Voice) -> RelayLanguage {
    RelayLanguage { code: voice.language, voice: relay_voice(voice) }
}

/// All languages for ConversationRelay, each code once, spoken by the voice of someone who prefers `tts_voice`.
pub fn relay_languages(tts_voice: &str) -> Vec<RelayLanguage> {
    let mut all: Vec<RelayLanguage> = Vec::with_capacity(languages().len());
    for language in languages() {
        let voice = voice_for(tts_voice, language);
        if all.iter().all(|known| known.code != voice.language) {
            all.push(relay_language(voice));
        }
    }
    all
}

/// OpenAI's names for its voices, all of which a preference may hold.
pub fn openai_voices() -> impl Iterator<Item = &'static str> {
    OPENAI.into_iter().map(|(name, _)| name)
}

/// OpenAI's name for a voice, in whatever case it is written; `None` when it is none of OpenAI's.
pub fn openai_voice(name: &str) -> Option<&'static str> {
    named(&OPENAI, name).map(|(name, _)| name)
}

/// Twilio's voices that can read a language, the free ones first.
pub fn twilio_voices(language: &Language) -> impl Iterator<Item = &'static str> {
    let basic = BASIC.into_iter().filter(|_| BASIC_LOCALES.contains(&language.say)).map(|(name, _)| name);
    basic.chain(catalogue::entries().filter(|entry| language.locale_of(*entry).is_some()).map(|entry| entry.name))
}

/// Says whether a voice can read a language, before the pair is stored as a preference.
///
/// # Errors
/// [`VoiceError`]: the language or the voice is unknown, or the voice is a Twilio voice of another language. A voice of
/// another region of the language (`Polly.Amy`, en-GB, for "en") is fine.
pub fn check(tts_voice: &str, language_tag: &str) -> Result<(), VoiceError> {
    let language = language(language_tag).ok_or(VoiceError::UnknownLanguage)?;
    if named(&OPENAI, tts_voice).or(named(&BASIC, tts_voice)).is_some() {
        return Ok(());
    }
    let entry = catalogue::find(tts_voice).ok_or(VoiceError::UnknownVoice)?;
    if language.locale_of(entry).is_some() {
        return Ok(());
    }
    let speaks = entry.locales().next().unwrap_or_default();
    Err(VoiceError::OtherLanguage { voice: entry.name, speaks, language: language.name })
}

/// The row of a table of names, in whatever case the name is written.
fn named(table: &[(&'static str, Timbre)], name: &str) -> Option<(&'static str, Timbre)> {
    table.iter().copied().find(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// The language of a tag without its region; Twilio's codes for Mandarin and standard Arabic become those people write.
fn base(tag: &str) -> &str {
    let first = tag.split(['-', '_']).next().unwrap_or(tag);
    if first.eq_ignore_ascii_case("cmn") {
        "zh"
    } else if first.eq_ignore_ascii_case("arb") {
        "ar"
    } else {
        first
    }
}

/// Whether this has the form of a language tag: subtags of 1 to 8 letters or digits (BCP 47, section 2.1).
fn is_tag(tag: &str) -> bool {
    tag.split(['-', '_'])
        .all(|subtag| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn same_tag(known: &str, written: &str) -> bool {
    let hyphened = written.bytes().map(|byte| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() });
    known.bytes().map(|byte| byte.to_ascii_lowercase()).eq(hyphened)
}

fn tags() -> String {
    languages().iter().map(|language| language.tag).collect::<Vec<_>>().join(", ")
}

fn openai_names() -> String {
    openai_voices().collect::<Vec<_>>().join(", ")
}
