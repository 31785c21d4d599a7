//! Voices: what a preference may name, and what speaks it.

use super::Tag;
use super::auth::Admin;
use super::outcome::Outcome;
use super::request::InQuery;
use super::text::{LanguageTag, Text};
use crate::twilio::voices::{self, Language, openai_voices, twilio_voices, voice_for};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

/// The voices of a language.
#[derive(Object)]
#[oai(example)]
struct LanguageVoices {
    /// The value of a preference's `language`.
    language: String,
    /// The language's English name.
    name: String,
    /// The locale that speech recognition listens for.
    recognition: String,
    /// OpenAI's voices, which exist in every language.
    openai_voices: Vec<OpenAiVoice>,
    /// Twilio's voices that can read the language, those of other regions included.
    twilio_voices: Vec<String>,
}

/// One of OpenAI's voices.
#[derive(Object)]
#[oai(rename = "OpenAiVoice")]
struct OpenAiVoice {
    /// The value of a preference's `tts_voice`.
    name: String,
    /// The Twilio voice that speaks in its place, unless calls are spoken by the model's server (`SPEECH=openai`).
    twilio_voice: String,
}

impl From<&Language> for LanguageVoices {
    fn from(language: &Language) -> Self {
        let openai_voice =
            |name: &str| OpenAiVoice { name: name.to_owned(), twilio_voice: voice_for(name, language).name.to_owned() };
        Self {
            language: language.tag.to_owned(),
            name: language.name.to_owned(),
            recognition: language.locale.to_owned(),
            openai_voices: openai_voices().map(openai_voice).collect(),
            twilio_voices: twilio_voices(language).map(str::to_owned).collect(),
        }
    }
}

impl Example for LanguageVoices {
    fn example() -> Self {
        Self {
            language: "es-MX".to_owned(),
            name: "Mexican Spanish".to_owned(),
            recognition: "es-MX".to_owned(),
            openai_voices: vec![OpenAiVoice { name: "nova".to_owned(), twilio_voice: "Polly.Mia-Neural".to_owned() }],
            twilio_voices: vec!["man".to_owned(), "woman".to_owned(), "Polly.Mia-Neural".to_owned()],
        }
    }
}

/// `/voices`
#[derive(Clone, Copy)]
pub(super) struct VoicesApi;

#[OpenApi(prefix_path = "/voices", tag = "Tag::Voices")]
impl VoicesApi {
    /// List voices
    ///
    /// The languages that are spoken here, and for each the voices that a preference may name.
    #[oai(path = "/", method = "get", operation_id = "listVoices")]
    async fn list(
        &self,
        _admin: Admin,
        /// Only this language.
        language: InQuery<Option<Text<LanguageTag>>>,
    ) -> Outcome<Json<Vec<LanguageVoices>>> {
        let only = language.0.and_then(|tag| voices::language(&tag.into_inner()));
        let listed = voices::languages().iter().filter(|language| only.is_none_or(|only| only == *language));
        Ok(Json(listed.map(LanguageVoices::from).collect()))
    }
}
