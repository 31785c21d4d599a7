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
            let braces = name.starts_with("notice_") || name == "machine_message";
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
    let mut cases: HashMap<String, Cases> = toml::from_str(include_str!("../../../tests/data/goodbyes.toml")).unwrap();
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
    let mut cases: HashMap<String, Cases> = toml::from_str(include_str!("../../../tests/data/wishes.toml")).unwrap();
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
    let notice = english.notice(Some("+14155550123"), Some(" Use {caller} and {seconds}. "), 7);
    assert_eq!(notice, "Voicemail from +14155550123: Use {caller} and {seconds}.");
    for nothing in [None, Some(""), Some(" ")] {
        let notice = english.notice(Some("+14155550123"), nothing, 7);
        assert_eq!(notice, "+14155550123 left a voicemail of 7 seconds.");
    }
    assert_eq!(english.notice(None, None, 7), "unknown caller left a voicemail of 7 seconds.");
    for (language, phrases) in &book.by_language {
        for notice in [phrases.notice(Some("C4"), Some("T5"), 6), phrases.notice(Some("C4"), None, 6)] {
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
        ("{purpose}", "it", "machine_message lacks {purpose}"),
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

#[test]
fn every_sentence_that_is_spoken_has_a_name_of_its_own() {
    const UNSPOKEN: [&str; 13] = [
        "machine_message",
        "text_refused",
        "text_stopped",
        "text_started",
        "text_help",
        "notice_voicemail",
        "notice_voicemail_silent",
        "unknown_caller",
        "goodbyes",
        "courtesies",
        "human_wishes",
        "voicemail_wishes",
        "pleas",
    ];
    for (language, source) in BUILT_IN {
        let phrases = parse(source).unwrap();
        let spoken = texts(source).into_iter().filter(|(name, _)| !UNSPOKEN.contains(&name.as_str()));
        for text in spoken.flat_map(|(_, texts)| texts) {
            let name = phrases.name_of(&text).unwrap_or_else(|| panic!("{language}: {text} has no name"));
            assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
            assert_eq!(phrases.named(&name), Some(text.as_str()), "{language}");
        }
        assert_eq!((phrases.named("goodbyes"), phrases.named("one_moment.99")), (None, None));
        assert_eq!(phrases.name_of("Something else."), None);
    }
}
