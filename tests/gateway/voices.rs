//! The voices that preferences may name, as the REST API lists them.

use crate::api_support::{assert_fields, faulty_fields, problem};
use crate::support::app::{CALLER, TestApp, on_both_databases};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FIELDS: &str = "language name recognition openai_voices twilio_voices";

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap()).collect()
}

on_both_databases! {
    async fn all_languages_are_listed_with_their_voices(database) {
        let app = TestApp::start(&database).await;
        let listed = app.get("/voices/").await;
        let languages: BTreeSet<_> = texts(&listed, "language").into_iter().collect();
        for language in "en en-GB es es-MX fr de it pt nl pl ja zh hi ar".split(' ') {
            assert!(languages.contains(language), "{language}: {languages:?}");
        }
        for language in listed.as_array().unwrap() {
            assert_fields(language, FIELDS);
            let twilios: Vec<_> = language["twilio_voices"].as_array().unwrap().iter().collect();
            assert_eq!(language["openai_voices"].as_array().unwrap().len(), 13);
            for voice in language["openai_voices"].as_array().unwrap() {
                assert!(twilios.contains(&&voice["twilio_voice"]), "{language}");
            }
        }
        assert_eq!(listed[0]["language"], "en");
        assert_eq!((&listed[0]["name"], &listed[0]["recognition"]), (&json!("English"), &json!("en-US")));
        let nova = json!({ "name": "nova", "twilio_voice": "Polly.Ruth-Neural" });
        assert!(listed[0]["openai_voices"].as_array().unwrap().contains(&nova));
    }

    async fn one_language_is_listed_however_its_tag_is_written(database) {
        let app = TestApp::start(&database).await;
        for (tag, language) in [("es-MX", "es-MX"), ("ES_mx", "es-MX"), ("de-CH", "de"), ("pt-BR", "pt")] {
            assert_eq!(texts(&app.get(&format!("/voices/?language={tag}")).await, "language"), [language], "{tag}");
        }
        for wrong in ["tlh", "", "english", "en&language=de"] {
            let told = problem(&app.api("GET", &format!("/voices?language={wrong}"), None).await, 422);
            assert_eq!(faulty_fields(&told), ["language"], "{wrong}: {told}");
        }
    }

    async fn every_listed_voice_is_taken_as_a_preference(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let made = app.create(&format!("/preferences/?user_id={user}"), json!({ "language": "nl-BE" })).await;
        let listed = app.get("/voices/?language=nl-BE").await;
        let mut voices = texts(&listed[0]["openai_voices"], "name");
        voices.extend(listed[0]["twilio_voices"].as_array().unwrap().iter().map(|voice| voice.as_str().unwrap()));
        assert!(voices.len() > 20, "{voices:?}");
        for voice in voices {
            let path = format!("/preferences/{}", made["id"]);
            assert_eq!(app.api("PUT", &path, Some(json!({ "tts_voice": voice }))).await.status, 200, "{voice}");
        }
    }
}
