use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use super::*;

fn project_file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The values the TwiML schema lists for an attribute of `element`.
fn schema_values(element: &str, attribute: &str) -> HashSet<String> {
    let text = fs::read_to_string(project_file("tests/data/twiml-schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    let values = &schema["voice"]["classes"][element]["attributes"][attribute]["values"];
    values.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

fn spoken(tts_voice: &str, tag: &str) -> (&'static str, &'static str) {
    let voice = voice_for(tts_voice, language(tag).unwrap());
    (voice.name, voice.language)
}

#[test]
fn the_catalogue_holds_exactly_twilios_voices() {
    let basic = ["man", "woman", "alice"].map(str::to_owned);
    let mut listed = schema_values("Say", "voice");
    basic.iter().for_each(|name| assert!(listed.remove(name)));
    let known: HashSet<_> = catalogue::entries().map(|entry| entry.name.to_owned()).collect();
    assert_eq!(known, listed);
}

#[test]
fn every_language_is_one_twilio_speaks_and_hears() {
    let (say, gather) = (schema_values("Say", "language"), schema_values("Gather", "language"));
    for language in languages() {
        assert!(say.contains(language.say), "{}", language.tag);
        assert!(gather.contains(language.locale), "{}", language.tag);
    }
}

#[test]
fn every_openai_and_basic_voice_exists_in_every_language() {
    let (voices, locales) = (schema_values("Say", "voice"), schema_values("Say", "language"));
    for language in languages() {
        for (name, _) in OPENAI.iter().chain(&BASIC) {
            assert_eq!(check(name, language.tag), Ok(()));
            let voice = voice_for(name, language);
            assert!(voices.contains(voice.name), "{voice:?}");
            assert!(locales.contains(voice.language), "{voice:?}");
            assert_eq!(base(voice.language), base(language.tag), "{voice:?}");
        }
    }
}

#[test]
fn the_voices_of_a_language_speak_its_own_locale() {
    for language in languages() {
        for &name in language.female.iter().chain(language.male) {
            let entry = catalogue::find(name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
            let british_guest = language.tag == "en" && name == "Polly.Brian-Neural";
            assert!(
                entry.locales().any(|locale| locale == language.say) || british_guest,
                "{name} in {}",
                language.tag
            );
        }
        assert_eq!(voice_for(DEFAULT_VOICE, language), voice_for("no such voice", language), "{}", language.tag);
        assert_eq!(voice_for(DEFAULT_VOICE, language).language, language.say);
        assert_ne!(voice_for("echo", language), voice_for("nova", language), "{}", language.tag);
    }
}

#[test]
fn every_twilio_voice_speaks_the_languages_it_passes_for_and_no_other() {
    let locales = schema_values("Say", "language");
    for (entry, language) in catalogue::entries().flat_map(|entry| languages().iter().map(move |l| (entry, l))) {
        let voice = voice_for(entry.name, language);
        if check(entry.name, language.tag).is_ok() {
            assert_eq!(voice.name, entry.name);
            assert!(locales.contains(voice.language), "{voice:?}");
        } else {
            assert_eq!(voice, voice_for(DEFAULT_VOICE, language));
        }
    }
}

#[test]
fn conversation_relay_gets_every_voice_without_prefix_and_no_free_one() {
    for language in languages() {
        for name in OPENAI.iter().chain(&BASIC).map(|(name, _)| *name).chain(twilio_voices(language)) {
            let voice = relay_voice(voice_for(name, language));
            let prefix = if voice.provider == "Google" { "Google" } else { "Polly" };
            let entry = catalogue::find(&format!("{prefix}.{}", voice.name)).unwrap_or_else(|| panic!("{voice:?}"));
            assert!(language.locale_of(entry).is_some(), "{voice:?} in {}", language.tag);
        }
    }
    let told = |tts_voice, tag| relay_voice(voice_for(tts_voice, language(tag).unwrap()));
    assert_eq!(told("nova", "en"), RelayVoice { provider: "Amazon", name: "Ruth-Neural" });
    assert_eq!(told("man", "de"), RelayVoice { provider: "Amazon", name: "Daniel-Neural" });
    let chirp = "Google.en-US-Chirp3-HD-Aoede";
    assert_eq!(told(chirp, "en"), RelayVoice { provider: "Google", name: "en-US-Chirp3-HD-Aoede" });
}

#[test]
fn conversation_relay_is_told_every_code_once() {
    for tts_voice in ["nova", "fable", "man", "Polly.Amy", ""] {
        let all = relay_languages(tts_voice);
        let codes: HashSet<_> = all.iter().map(|language| language.code).collect();
        assert_eq!(codes.len(), all.len(), "{tts_voice}");
        for language in languages() {
            let voice = voice_for(tts_voice, language);
            let code = RelayLanguage { code: voice.language, voice: relay_voice(voice) };
            assert!(all.iter().any(|known| known.code == code.code), "{tts_voice} in {}", language.tag);
        }
    }
    assert_eq!(relay_languages("nova").len(), languages().len());
}

#[test]
fn the_voices_listed_for_a_language_are_those_a_preference_may_name() {
    for language in languages() {
        let listed: HashSet<_> = twilio_voices(language).collect();
        for name in catalogue::entries().map(|entry| entry.name) {
            assert_eq!(listed.contains(name), check(name, language.tag).is_ok(), "{name} in {}", language.tag);
        }
        assert_eq!(listed.contains("man"), voice_for("man", language).name == "man", "{}", language.tag);
    }
}

#[test]
fn tags_are_understood_in_many_spellings() {
    let cases = [
        ("en", "en"),
        ("EN", "en"),
        ("en-US", "en"),
        ("en_us", "en"),
        ("en-CA", "en"),
        ("en-gb", "en-GB"),
        ("es-ES", "es"),
        ("es-AR", "es"),
        ("ES_mx", "es-MX"),
        ("de-DE", "de"),
        ("de-CH", "de"),
        ("fr_CA", "fr-CA"),
        ("pt-BR", "pt"),
        ("pt-pt", "pt-PT"),
        ("zh-CN", "zh"),
        ("zh-Hans", "zh"),
        ("cmn-CN", "zh"),
        ("cmn", "zh"),
        ("cmn-Hans-CN", "zh"),
        ("zh_TW", "zh-TW"),
        ("cmn-TW", "zh-TW"),
        ("arb", "ar"),
        ("ar-EG", "ar"),
        ("ar-ae", "ar-AE"),
    ];
    for (written, tag) in cases {
        assert_eq!(language(written).map(|language| language.tag), Some(tag), "{written}");
    }
    for unknown in ["", "-", "xx", "e", "eng", "english", "en-", "en US", "-en", "en-überall", "yue", "yue-HK", "tlh"]
    {
        assert_eq!(language(unknown), None, "{unknown}");
    }
    for known in languages() {
        assert_eq!(language(known.tag), Some(known));
        assert_eq!(language(known.locale), Some(known));
        assert_eq!(language(known.say), Some(known));
    }
    assert!(language(DEFAULT_LANGUAGE).is_some());
}

#[test]
fn preferences_become_the_voices_people_mean() {
    assert_eq!(spoken("nova", "en"), ("Polly.Ruth-Neural", "en-US"));
    assert_eq!(spoken("Onyx", "en"), ("Polly.Stephen-Neural", "en-US"));
    assert_eq!(spoken("FABLE", "en"), ("Polly.Brian-Neural", "en-GB"));
    assert_eq!(spoken("nova", "es"), ("Polly.Lucia-Neural", "es-ES"));
    assert_eq!(spoken("echo", "es-MX"), ("Polly.Andres-Neural", "es-MX"));
    assert_eq!(spoken("nova", "zh"), ("Polly.Zhiyu-Neural", "cmn-CN"));
    assert_eq!(spoken("echo", "hi"), ("Google.hi-IN-Neural2-B", "hi-IN"));
    assert_eq!(spoken("Polly.Amy", "en"), ("Polly.Amy", "en-GB"));
    assert_eq!(spoken("polly.lupe-neural", "es"), ("Polly.Lupe-Neural", "es-US"));
    assert_eq!(spoken("Polly.Kajal-Neural", "hi"), ("Polly.Kajal-Neural", "hi-IN"));
    assert_eq!(spoken("Polly.Kajal-Neural", "en"), ("Polly.Kajal-Neural", "en-IN"));
    assert_eq!(spoken("Polly.Zeina", "ar"), ("Polly.Zeina", "arb"));
    assert_eq!(spoken("Polly.Mía-Generative", "es"), ("Polly.Mía-Generative", "es-MX"));
    assert_eq!(spoken("Google.cmn-TW-Wavenet-B", "zh"), ("Google.cmn-TW-Wavenet-B", "cmn-TW"));
    assert_eq!(spoken("Man", "de"), ("man", "de-DE"));
    assert_eq!(spoken("woman", "pl"), ("Polly.Ola-Neural", "pl-PL"));
    assert_eq!(spoken("Polly.Amy", "de"), ("Polly.Vicki-Neural", "de-DE"));
    assert_eq!(spoken("", "fr"), ("Polly.Lea-Neural", "fr-FR"));
}

#[test]
fn impossible_pairs_are_refused_in_words() {
    assert_eq!(check("Polly.Amy", "en"), Ok(()));
    assert_eq!(check("NOVA", "ja-JP"), Ok(()));
    assert_eq!(
        check("Polly.Hiujin-Neural", "zh").map_err(|error| error.to_string()),
        Err("the voice Polly.Hiujin-Neural speaks yue-CN and cannot read Mandarin Chinese".to_owned())
    );
    assert_eq!(
        check("Polly.Amy", "de").map_err(|error| error.to_string()),
        Err("the voice Polly.Amy speaks en-GB and cannot read German".to_owned())
    );
    assert_eq!(check("novva", "en"), Err(VoiceError::UnknownVoice));
    assert_eq!(check("", "en"), Err(VoiceError::UnknownVoice));
    assert_eq!(check("nova", "tlh"), Err(VoiceError::UnknownLanguage));
    assert!(VoiceError::UnknownVoice.to_string().contains("alloy, ash, ballad"));
    assert!(VoiceError::UnknownLanguage.to_string().contains("en, en-GB, en-AU"));
}
