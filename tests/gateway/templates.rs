//! The operator's own documents and sentences, and the built-in ones.

use crate::support::app::{CALLER, Database, OURS, TestApp};
use crate::support::twiml::Twiml;
use std::collections::HashMap;
use std::path::Path;
use switchboard::clock::Clock;
use switchboard::config::Config;
use switchboard::conversation::phrases::PhraseBook;
use switchboard::conversation::speech::spoken;
use switchboard::gateway::Gateway;
use switchboard::twilio::twiml::{
    Documents, Relay, Speaking, Transfer, Voicemail, Words, message, relay, say_and_gather, say_and_go, transfer,
    voicemail,
};
use switchboard::twilio::voices::{
    DEFAULT_VOICE, Language, language, languages, openai_voices, relay_languages, twilio_voices, voice_for,
};

/// A folder for an operator's documents, in the folder of a test's database and so gone with it.
fn folder(database: &Database) -> String {
    let file = database.url().trim_start_matches("sqlite://").to_owned();
    let folder = Path::new(&file).with_file_name("documents");
    std::fs::create_dir_all(folder.join("phrases")).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// What the gateway says instead of starting with this file in the operator's folder.
async fn refusal(name: &str, content: &[u8]) -> String {
    let database = Database::sqlite();
    let folder = folder(&database);
    std::fs::write(Path::new(&folder).join(name), content).unwrap();
    start_error(&database, &folder).await
}

async fn start_error(database: &Database, folder: &str) -> String {
    let settings = HashMap::from([
        ("PORT", "0".to_owned()),
        ("DATABASE_URL", database.url()),
        ("TWIML_TEMPLATES_DIR", folder.to_owned()),
    ]);
    let (config, _) = Config::load(|name| settings.get(name).cloned()).unwrap();
    match Gateway::start(config, Clock::default()).await {
        Ok(gateway) => {
            gateway.stop().await;
            "(it started)".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_faulty_document_stops_the_start_with_file_line_and_reason() {
    const ROOM: &str = "<Gather action=\"{{action}}\"><Say>{{say}}</Say><Play>{{play}}</Play></Gather>";
    let mut wrong = Vec::new();
    for (source, line, reason) in [
        ("<Response>\n<Say>{{say}}</Response>", 2, "Say"),
        ("<Response>\n<Gather action=\"{{action}}\">\n<Say>{{say}}</Say>", 3, "not closed"),
        ("<Response>ROOM</Response>\n<Response/>", 2, "one <Response>"),
        ("\n<Responses>ROOM</Responses>", 2, "one <Response>"),
        ("", 1, "one <Response>"),
        ("Hello", 1, "outside <Response>"),
        ("<!DOCTYPE Response>\n<Response>ROOM</Response>", 1, "outside <Response>"),
        ("<Response>\n\n<!DOCTYPE x></Response>", 3, ""),
        ("<Response>\n<Say><![CDATA[Hello]]></Say></Response>", 2, "CDATA"),
        ("<Response>\n<?php echo 1 ?></Response>", 2, "only elements"),
        ("<?php echo 1 ?>\n<Response>ROOM</Response>", 1, "outside <Response>"),
        ("<Response>\n<Shout>{{say}}</Shout></Response>", 2, "<Shout> is no TwiML element"),
        ("<Response>\n<say>{{say}}</say></Response>", 2, "<say> is no TwiML element"),
        ("<Response>\n<Say>{{caller}}</Say></Response>", 2, "{{caller}} is no place"),
        ("<Response>\n<Say voice=\"{{voic}}\">{{say}}</Say></Response>", 2, "{{voic}} is no place"),
        ("<Response>\n<Say>{{say</Say></Response>", 2, "not closed with }}"),
        ("<Response>\n<{{say}}/></Response>", 2, ""),
        ("<Response>\n<Say {{voice}}=\"x\">{{say}}</Say></Response>", 2, ""),
        ("<Response>\n<Say voice={{voice}}>{{say}}</Say></Response>", 2, ""),
        ("<Response>\n<Say a&b=\"x\">{{say}}</Say></Response>", 2, "no attribute's name"),
        ("<Response>\n<Say voice=\"a\" voice=\"b\">{{say}}</Say></Response>", 2, "duplicated"),
        ("<Response>\n<Say voice=\"a<b\">{{say}}</Say></Response>", 2, "&lt;"),
        ("<Response>ROOM\n<Say>Tom & Jerry</Say></Response>", 2, ""),
        ("<Response>ROOM\n<Say>Tom &nbsp; Jerry</Say></Response>", 2, "&nbsp;"),
        ("<Response>ROOM\n<Say>a&#1;b</Say></Response>", 2, "&#1;"),
        ("<Response>ROOM\n<Redirect>{{redirect}}?a=1&b=2</Redirect></Response>", 2, ""),
        ("<Response>ROOM\n<Play digits=\"1&2\"/></Response>", 2, "&"),
        ("<Response>ROOM\n<Play digits=\"1&nbsp;2\"/></Response>", 2, "nbsp"),
        ("<Response>ROOM\n<Say>a\u{1}b</Say></Response>", 2, ""),
        ("<Response>ROOM\n<Say voice=\"\u{1}\">b</Say></Response>", 2, ""),
    ] {
        let error = refusal("answer.xml", source.replace("ROOM", ROOM).as_bytes()).await;
        let at = format!("answer.xml, line {line}: ");
        if !(error.starts_with("TWIML_TEMPLATES_DIR: ") && error.contains(&at) && error.contains(reason)) {
            wrong.push(format!("{source:?}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_document_without_a_place_it_needs_stops_the_start() {
    let with = |places: &str| {
        let say: String = places.split(' ').map(|place| format!("<Say>{{{{{place}}}}}</Say>")).collect();
        format!("<Response>{say}</Response>")
    };
    for (name, there, missing) in [
        ("incoming.xml", "say play", "action"),
        ("answer.xml", "say play", "action"),
        ("answer.xml", "action play", "say"),
        ("answer.xml", "action say", "play"),
        ("apology.xml", "say play", "action"),
        ("hold.xml", "say play", "redirect"),
        ("part.xml", "say redirect", "play"),
        ("goodbye.xml", "voice play", "say"),
        ("goodbye.xml", "say", "play"),
        ("transfer.xml", "say action", "number"),
        ("voicemail.xml", "say action", "callback"),
        ("relay.xml", "action token", "url"),
        ("relay.xml", "action url", "token"),
    ] {
        let error = refusal(name, with(there).as_bytes()).await;
        assert!(error.contains(name) && error.contains(&format!("the place {{{{{missing}}}}} is missing")), "{error}");
    }
    let error = refusal("message.xml", b"<Response><Message>Hi</Message></Response>").await;
    assert!(error.contains("message.xml: the place {{message}} is missing"), "{error}");
}

#[tokio::test]
async fn a_document_with_a_place_that_nothing_fills_there_stops_the_start() {
    let hold = "<Response><Say>{{message}}</Say><Redirect>{{redirect}}</Redirect></Response>";
    let error = refusal("hold.xml", hold.as_bytes()).await;
    assert!(error.contains("hold.xml: the place {{message}} has no value in this document"), "{error}");
}

#[tokio::test]
async fn files_that_cannot_be_read_or_are_faulty_stop_the_start() {
    let database = Database::sqlite();
    let folder = folder(&database);
    std::fs::create_dir(Path::new(&folder).join("hold.xml")).unwrap();
    let error = start_error(&database, &folder).await;
    assert!(error.contains("documents/hold.xml: "), "{error}");
    let error = refusal("empty.xml", b"<Response>\xff</Response>").await;
    assert!(error.contains("empty.xml: "), "{error}");
    let english = include_str!("../../twiml-templates/phrases/en.toml");
    let mut wrong = Vec::new();
    for (content, reason) in [
        ("greeting = \"Hello\"".to_owned(), "missing field"),
        (format!("{english}\nshout = \"Hey\""), "shout"),
        (english.replace("greeting = \"", "greeting = 3 # \""), "line 1"),
        (english.replace("greeting = \"", "greeting = \"\"\""), "line"),
        (english.replace("one_moment = [", "one_moment = [] # "), "one_moment"),
        (english.replace("Goodbye!", ""), "goodbye"),
    ] {
        let error = refusal("phrases/en.toml", content.as_bytes()).await;
        if !(error.starts_with("TWIML_TEMPLATES_DIR: ")
            && error.contains("phrases/en.toml: ")
            && error.contains(reason))
        {
            wrong.push(format!("{reason}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn an_operators_document_is_used_and_the_others_stay_built_in() {
    let database = Database::sqlite();
    let folder = folder(&database);
    let own = "\u{feff}<?xml version=\"1.0\"?>\n<!-- Ours, & so on. -->\n<Response>\n  \
               <Say voice=\"{{voice}}\">You reached Tom &amp; Jerry &#8211; <emphasis>\"finally\"</emphasis> at 5 &gt; 4.</Say>\n  \
               <Gather input='speech' action=\"{{action}}\"><Say>{{ say }}</Say><Play>{{play}}</Play></Gather>\n  <Redirect>{{action}}</Redirect>\n</Response>\n";
    std::fs::write(Path::new(&folder).join("incoming.xml"), own).unwrap();
    let english = include_str!("../../twiml-templates/phrases/en.toml").replace("Hello! How", "Ahoy! How");
    std::fs::write(Path::new(&folder).join("phrases/en.toml"), english).unwrap();
    let app = TestApp::start_with(&database, &[("TWIML_TEMPLATES_DIR", &folder)]).await;
    let call = app.call("CA1", CALLER, OURS);
    let greeting = call.rings().await;
    assert_eq!(greeting.says(), ["You reached Tom & Jerry – \"finally\" at 5 > 4.", "Ahoy! How can I help you?"]);
    assert_eq!(greeting.verbs(), ["Say", "Gather", "Redirect"]);
    assert_eq!(greeting.action().as_deref(), Some("/twilio/voice/turns/1"));
    app.llm.says("Built in.");
    let answer = call.talks(1, "Hello").await;
    assert_eq!((answer.verbs(), answer.says()), (vec!["Gather"], vec!["Built in.".to_owned()]));
    assert_eq!(call.says(2, "Goodbye").await.verbs(), ["Say", "Hangup"]);
}

#[test]
fn all_built_in_documents_are_twilios_in_every_language() {
    let (documents, phrases) = (Documents::load(None).unwrap(), PhraseBook::load(None).unwrap());
    for language in languages() {
        let voice = voice_for(DEFAULT_VOICE, language);
        let how = Speaking { voice, recognition: language.locale, speech_model: "", hints: "" };
        let phrases = phrases.of(language);
        let answer = spoken(&"All is <well> & \"good\". ".repeat(400));
        let said = |text: &String| vec![text.clone()];
        for (document, texts) in [
            (&documents.incoming, said(&phrases.greeting)),
            (&documents.answer, said(&phrases.did_not_hear)),
            (&documents.answer, answer),
            (&documents.apology, said(&phrases.apology)),
        ] {
            let twiml = Twiml::voice(&say_and_gather(document, how, &texts, "/prefix/twilio/voice/turns/2"));
            assert_eq!((twiml.says(), twiml.action().as_deref()), (texts, Some("/prefix/twilio/voice/turns/2")));
            assert_eq!(twiml.gather().unwrap().attr("language"), Some(language.locale));
            assert_eq!(twiml.find("Say").unwrap().attr("voice"), Some(voice.name));
        }
        for text in [&phrases.unavailable, &phrases.goodbye, &phrases.refused] {
            let twiml = Twiml::voice(&say_and_go(&documents.goodbye, how, &said(text), ""));
            assert!(twiml.hangs_up() && twiml.say() == *text);
        }
        for filler in phrases.one_moment.iter().map(std::slice::from_ref).chain([&[][..]]) {
            for document in [&documents.hold, &documents.part] {
                let twiml = Twiml::voice(&say_and_go(document, how, filler, "/twilio/voice/turns/1/parts/1"));
                assert_eq!(
                    (twiml.says().as_slice(), twiml.redirect().as_deref()),
                    (filler, Some("/twilio/voice/turns/1/parts/1"))
                );
                assert_eq!(twiml.verbs().len(), filler.len() + 1);
            }
        }
        let replies = [phrases.text_refused.clone()];
        assert_eq!(Twiml::messaging(&message(&documents.message, &replies, "")).messages(), replies);
    }
    assert!(Twiml::voice(&documents.reject.render(&[])).rejects());
    assert!(Twiml::messaging(&documents.empty.render(&[])).is_empty());
}

/// How an English caller is spoken to.
fn english() -> Speaking<'static> {
    let english = &languages()[0];
    Speaking { voice: voice_for(DEFAULT_VOICE, english), recognition: english.locale, speech_model: "", hints: "" }
}

#[test]
fn sound_is_played_where_words_would_be_said() {
    let documents = Documents::load(None).unwrap();
    let urls = ["https://example.com/speech/a".to_owned(), "https://example.com/speech/b".to_owned()];
    let words = Words::Play(&urls);
    let to = Transfer { number: CALLER, caller_id: OURS, action: "/twilio/voice/transferred" };
    let left = Voicemail { max_length: 120, action: "/twilio/voice/left", callback: "/twilio/voice/recording" };
    for document in [
        say_and_gather(&documents.incoming, english(), words, "/twilio/voice/turns/1"),
        say_and_gather(&documents.answer, english(), words, "/twilio/voice/turns/2"),
        say_and_gather(&documents.apology, english(), words, "/twilio/voice/turns/2"),
        say_and_go(&documents.hold, english(), words, "/twilio/voice/turns/1/parts/1"),
        say_and_go(&documents.part, english(), words, "/twilio/voice/turns/1/parts/1"),
        say_and_go(&documents.goodbye, english(), words, ""),
        transfer(&documents.transfer, english(), words, to),
        voicemail(&documents.voicemail, english(), words, left),
    ] {
        let twiml = Twiml::voice(&document);
        assert!(twiml.says().is_empty(), "{document}");
        assert_eq!(twiml.find_all("Play").iter().map(|play| play.text()).collect::<Vec<_>>(), urls, "{document}");
    }
}

#[test]
fn recognition_is_told_its_model_and_hints_and_then_how_long_a_silence_is() {
    let documents = Documents::load(None).unwrap();
    let words = ["Hello.".to_owned()];
    let told = |how| {
        let twiml = Twiml::voice(&say_and_gather(&documents.answer, how, &words[..], "/twilio/voice/turns/2"));
        let attribute = |name| twiml.gather().unwrap().attr(name).map(str::to_owned);
        ["speechModel", "hints", "speechTimeout"].map(attribute)
    };
    assert_eq!(told(english()), [None, None, Some("auto".to_owned())], "Twilio chooses the model and hears the end");
    let how = Speaking { speech_model: "deepgram_nova-3", hints: "Switchboard,Ann & Bob", ..english() };
    let expected = ["deepgram_nova-3", "Switchboard,Ann & Bob", "2"];
    assert_eq!(told(how), expected.map(|text| Some(text.to_owned())));
}

#[test]
fn a_caller_is_put_through_to_one_number() {
    let documents = Documents::load(None).unwrap();
    let words = ["One moment.".to_owned()];
    for (caller_id, shown) in [(OURS, Some(OURS)), ("", None)] {
        let to = Transfer { number: CALLER, caller_id, action: "/twilio/voice/transferred" };
        let twiml = Twiml::voice(&transfer(&documents.transfer, english(), &words[..], to));
        let dial = twiml.find("Dial").unwrap();
        assert_eq!((twiml.verbs(), twiml.says()), (vec!["Say", "Dial"], words.to_vec()));
        assert_eq!((dial.text().trim(), dial.attr("callerId")), (CALLER, shown));
        assert_eq!(dial.attr("action"), Some("/twilio/voice/transferred"));
        assert_eq!((dial.attr("timeout"), dial.attr("answerOnBridge")), (Some("20"), Some("true")));
    }
}

#[test]
fn what_a_caller_leaves_is_recorded_and_reported() {
    let documents = Documents::load(None).unwrap();
    let words = ["Please leave a message after the beep.".to_owned()];
    let left = Voicemail { max_length: 90, action: "/twilio/voice/left", callback: "/twilio/voice/recording" };
    let twiml = Twiml::voice(&voicemail(&documents.voicemail, english(), &words[..], left));
    let record = twiml.find("Record").unwrap();
    assert_eq!((twiml.verbs(), twiml.says()), (vec!["Say", "Record", "Redirect"], words.to_vec()));
    assert_eq!((record.attr("maxLength"), record.attr("action")), (Some("90"), Some("/twilio/voice/left")));
    assert_eq!(record.attr("recordingStatusCallback"), Some("/twilio/voice/recording"));
    assert_eq!(record.attr("recordingStatusCallbackEvent"), Some("completed absent"));
    assert_eq!(twiml.redirect().as_deref(), Some("/twilio/voice/left"), "when nothing was recorded");
}

/// The relay document for somebody with this voice and language.
fn relayed(documents: &Documents, tts_voice: &str, language: &'static Language, greeting: &str) -> Twiml {
    let voice = voice_for(tts_voice, language);
    let how = Speaking { voice, recognition: language.locale, speech_model: "", hints: "Switchboard" };
    let languages = relay_languages(tts_voice);
    let url = "wss://example.com/twilio/relay";
    let call = Relay { url, greeting, languages: &languages, token: "t0k3n", action: "/twilio/relay/ended" };
    Twiml::voice(&relay(&documents.relay, how, call))
}

#[test]
fn a_relayed_call_is_told_voice_languages_and_token() {
    let documents = Documents::load(None).unwrap();
    let spanish = language("es-MX").unwrap();
    let twiml = relayed(&documents, "nova", spanish, "¡Hola!");
    assert_eq!(twiml.action().as_deref(), Some("/twilio/relay/ended"));
    let session = twiml.find("ConversationRelay").unwrap();
    for (name, value) in [
        ("url", "wss://example.com/twilio/relay"),
        ("welcomeGreeting", "¡Hola!"),
        ("language", "es-MX"),
        ("transcriptionLanguage", "es-MX"),
        ("ttsProvider", "Amazon"),
        ("voice", "Mia-Neural"),
        ("interruptible", "any"),
        ("dtmfDetection", "true"),
        ("hints", "Switchboard"),
    ] {
        assert_eq!(session.attr(name), Some(value), "{name}");
    }
    let told = twiml.find_all("Language");
    let told = told.iter().map(|language| ["code", "ttsProvider", "voice"].map(|name| language.attr(name).unwrap()));
    let expected = relay_languages("nova");
    assert_eq!(
        told.collect::<Vec<_>>(),
        expected.iter().map(|known| [known.code, known.voice.provider, known.voice.name]).collect::<Vec<_>>()
    );
    let parameter = twiml.find("Parameter").unwrap();
    assert_eq!((parameter.attr("name"), parameter.attr("value")), (Some("token"), Some("t0k3n")));
    let silent = relayed(&documents, "nova", spanish, "");
    assert_eq!(silent.find("ConversationRelay").unwrap().attr("welcomeGreeting"), None, "a call that goes on");
}

#[test]
fn a_relayed_call_is_valid_with_every_voice_of_every_language() {
    let documents = Documents::load(None).unwrap();
    for language in languages() {
        for voice in openai_voices().chain(["man", "woman"]).chain(twilio_voices(language).step_by(7)) {
            let twiml = relayed(&documents, voice, language, "Hello");
            let name = twiml.find("ConversationRelay").unwrap().attr("voice").unwrap();
            assert!(!name.starts_with("Polly.") && !name.starts_with("Google."), "{name}");
        }
    }
}
