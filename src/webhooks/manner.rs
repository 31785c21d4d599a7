//! How somebody is spoken to: voice, recognition and fixed sentences.

use crate::app::App;
use crate::conversation::party::Person;
use crate::conversation::phrases::Phrases;
use crate::twilio::twiml::{Speaking, say_and_go};
use crate::twilio::voices::{self, Language, Voice};

/// What an unknown caller hears who is not taken.
pub(super) fn refusal(app: &App) -> String {
    let (how, phrases) = default_manner(app);
    say_and_go(&app.documents.goodbye, how, std::slice::from_ref(&phrases.refused), "")
}

/// How a person is spoken to.
pub(super) fn manner<'a>(app: &'a App, person: &'a Person) -> (Speaking<'a>, &'a Phrases) {
    (speaking(app, person.voice, person.language), app.phrases.of(person.language))
}

/// How somebody is spoken to of whom nothing is known.
pub(super) fn default_manner(app: &App) -> (Speaking<'_>, &Phrases) {
    let language = &voices::languages()[0];
    let voice = voices::voice_for(voices::DEFAULT_VOICE, language);
    (speaking(app, voice, language), app.phrases.of(language))
}

fn speaking<'a>(app: &'a App, voice: Voice, language: &'static Language) -> Speaking<'a> {
    let settings = &app.config.voice;
    let speech_model = settings.speech_model.as_deref().unwrap_or_default();
    Speaking { voice, recognition: language.locale, speech_model, hints: &settings.speech_hints }
}
