//! What holds for every input: forms and their signatures, escaping, addresses, and the cutting of answers.

use crate::support::signing::{encode_form, sign};
use crate::support::twiml::Twiml;
use poem::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::borrow::Cow;
use switchboard::conversation::speech::{cut_at, spoken};
use switchboard::twilio::address::{Address, is_e164};
use switchboard::twilio::form::Form;
use switchboard::twilio::signature::{self, Payload, Verifier};
use switchboard::twilio::twiml::{
    Documents, Relay, Speaking, Transfer, Voicemail, Words, message, relay, say_and_gather, say_and_go, transfer,
    voicemail,
};
use switchboard::twilio::voices::{Voice, relay_languages};
use switchboard::webhooks::called_url;

const URL: &str = "https://gateway.example.com/twilio/voice";
const HOW: Speaking<'static> =
    Speaking { voice: Voice { name: "alice", language: "en-US" }, recognition: "en-US", speech_model: "", hints: "" };

type Pairs = Vec<(String, String)>;

/// Any text, and often one of what tends to break forms and documents.
fn wild(longest: usize) -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "&",
        "<",
        ">",
        "\"",
        "'",
        "]]>",
        "<!--",
        "&amp;",
        "&apos;",
        "</Say>",
        "{{say}}",
        "{{",
        "}}",
        "%",
        "%00",
        "+",
        "=",
        ";",
        "\0",
        "\u{1}",
        "\u{b}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{feff}",
        "\r\n",
        "\r",
        "\n",
        "\t",
        " ",
        "🎉",
        "👩‍👩‍👧",
        "é",
        "ء",
        "你好",
        "\u{10ffff}",
        "a",
        "0",
        "# ",
        "* ",
        "`",
        "https://example.com/?a=b&c=d",
    ]);
    let piece = prop_oneof![nasty.prop_map(str::to_owned), any::<char>().prop_map(String::from), "[ -~]{1,8}"];
    vec(piece, 0..longest).prop_map(|pieces| pieces.concat())
}

fn borrowed<'p>(pairs: impl IntoIterator<Item = &'p (String, String)>) -> Vec<(&'p str, &'p str)> {
    pairs.into_iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn is_valid(tokens: &[&str], signature: &str, url: &str, body: &str) -> bool {
    let form = Form::parse(body.as_bytes());
    Verifier::new(tokens.iter().copied()).accepts(Some(signature.as_bytes()), url, &Payload::Form(&form))
}

proptest! {
    #[test]
    fn a_form_comes_out_as_it_went_in_and_its_signature_fits(pairs in vec((wild(6), wild(10)), 0..8), token in "[!-~]{1,80}") {
        // An empty pair is nothing in a body; Twilio sends none.
        let pairs: Vec<_> = pairs.into_iter().filter(|(name, value)| !(name.is_empty() && value.is_empty())).collect();
        // Names may be repeated, with other values and with the same one.
        let repeated: Vec<_> = pairs.iter().map(|(name, _)| (name.clone(), "again".to_owned())).chain(pairs.clone()).collect();
        for pairs in [&pairs, &repeated] {
            let pairs = borrowed(pairs);
            let body = encode_form(&pairs);
            let form = Form::parse(body.as_bytes());
            let parsed: Vec<_> = form.pairs().iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
            prop_assert_eq!(&parsed, &pairs);
            let signature = sign(&token, URL, &pairs);
            prop_assert!(is_valid(&[&token], &signature, URL, &body));
            prop_assert!(is_valid(&["another-token", &token], &signature, URL, &body), "while a token is replaced");
            prop_assert_eq!(signature::sign(&token, URL, &form), signature);
        }
    }

    #[test]
    fn a_change_of_any_value_name_address_or_token_makes_a_signature_invalid(
        pairs in btree_map("[A-Za-z]{1,12}", wild(6), 1..8),
        which in any::<prop::sample::Index>(),
        other in wild(6),
        token in "[!-~]{1,64}",
    ) {
        let pairs: Pairs = pairs.into_iter().collect();
        let signature = sign(&token, URL, &borrowed(&pairs));
        let changed = |change: &dyn Fn(&mut Pairs)| {
            let mut pairs = pairs.clone();
            change(&mut pairs);
            encode_form(&borrowed(&pairs))
        };
        let at = which.index(pairs.len());
        let body = encode_form(&borrowed(&pairs));
        prop_assert!(is_valid(&[&token], &signature, URL, &body));
        if other != pairs[at].1 {
            prop_assert!(!is_valid(&[&token], &signature, URL, &changed(&|pairs| pairs[at].1 = other.clone())));
        }
        prop_assert!(!is_valid(&[&token], &signature, URL, &changed(&|pairs| pairs[at].1.push('x'))));
        prop_assert!(!is_valid(&[&token], &signature, URL, &changed(&|pairs| pairs[at].0.push('x'))));
        prop_assert!(!is_valid(&[&token], &signature, URL, &changed(&|pairs| drop(pairs.remove(at)))));
        prop_assert!(!is_valid(&[&token], &signature, URL, &changed(&|pairs| pairs.push(("Added".to_owned(), String::new())))));
        for url in [format!("{URL}/"), format!("{URL}?"), URL.replace("https", "http"), URL.replace("gateway", "Gateway")] {
            prop_assert!(!is_valid(&[&token], &signature, &url, &body), "{url}");
        }
        let (longer_token, longer_signature) = (token.clone() + "x", signature.clone() + " ");
        prop_assert!(!is_valid(&[&longer_token], &signature, URL, &body));
        prop_assert!(!is_valid(&[&token], &longer_signature, URL, &body));
    }

    #[test]
    fn neither_form_nor_verifier_stumbles_over_any_bytes(
        body in vec(any::<u8>(), 0..200),
        claimed in vec(any::<u8>(), 0..40),
        url in prop_oneof![wild(8), "(https|ws|wss|http)://[ -~]{0,20}"],
    ) {
        let (form, verifier) = (Form::parse(&body), Verifier::new(["token"]));
        for payload in [Payload::Form(&form), Payload::Bytes(&body), Payload::Nothing] {
            prop_assert!(!verifier.accepts(Some(&claimed), &url, &payload));
            prop_assert!(!verifier.accepts(None, &url, &payload));
        }
        prop_assert!(!form.text("SpeechResult").contains('\0'));
    }

    #[test]
    fn the_called_address_is_found_whatever_the_headers_hold(
        headers in vec((0..6_usize, prop_oneof![
            vec(any::<u8>(), 0..24), wild(6).prop_map(String::into_bytes), "(proto|host|for)=[ -~]{0,12}(;|,)host=x".prop_map(String::into_bytes),
        ]), 0..8),
        target in "/[!-~]{0,20}",
    ) {
        let names = ["host", "forwarded", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "origin"];
        let headers: HeaderMap = headers
            .iter()
            .filter_map(|(name, value)| Some((HeaderName::from_static(names[*name]), HeaderValue::from_bytes(value).ok()?)))
            .collect();
        for trusted in [false, true] {
            let url = called_url(&headers, &target, None, trusted);
            prop_assert!(url.ends_with(&target) && (url.starts_with("http://") || url.starts_with("https://")), "{url}");
        }
        let mut own = headers.clone();
        names[1..].iter().for_each(|name| drop(own.remove(*name)));
        prop_assert_eq!(called_url(&headers, &target, None, false), called_url(&own, &target, None, false));
    }

    #[test]
    fn any_text_stays_text_in_every_document(text in wild(40), link in wild(12)) {
        let documents = Documents::load(None).unwrap();
        let expected = allowed(&text);
        // Twilio refuses a Say or a Message without words; the gateway never makes one (see below and `texts`).
        prop_assume!(expected.chars().any(char::is_alphanumeric) && expected.chars().count() < 300);
        let say = vec![text.clone()];
        for document in [&documents.incoming, &documents.answer, &documents.apology] {
            let twiml = Twiml::voice(&say_and_gather(document, HOW, &say, &link));
            prop_assert_eq!(twiml.says(), std::slice::from_ref(&expected));
            prop_assert_eq!(twiml.gather().unwrap().attr("action").unwrap_or_default(), allowed(&link));
        }
        prop_assert_eq!(Twiml::voice(&say_and_go(&documents.goodbye, HOW, &say, "")).says(), std::slice::from_ref(&expected));
        for document in [&documents.hold, &documents.part] {
            let twiml = Twiml::voice(&say_and_go(document, HOW, &say, &text));
            prop_assert_eq!((twiml.say(), twiml.find("Redirect").unwrap().text()), (expected.clone(), expected.clone()));
            let twiml = Twiml::voice(&say_and_go(document, HOW, Words::Play(&say), &text));
            prop_assert_eq!(twiml.find("Play").unwrap().text(), expected.clone());
        }
        let to = Transfer { number: &text, caller_id: &text, action: &text };
        let twiml = Twiml::voice(&transfer(&documents.transfer, HOW, &say, to));
        prop_assert_eq!((twiml.say(), twiml.find("Number").unwrap().text()), (expected.clone(), expected.clone()));
        prop_assert_eq!(twiml.find("Dial").unwrap().attr("callerId"), Some(expected.as_str()));
        let left = Voicemail { max_length: 1, action: &text, callback: &text };
        let twiml = Twiml::voice(&voicemail(&documents.voicemail, HOW, &say, left));
        prop_assert_eq!(twiml.find("Record").unwrap().attr("recordingStatusCallback"), Some(expected.as_str()));
        let languages = relay_languages("nova");
        let call = Relay { url: "wss://example.com", greeting: &text, languages: &languages, token: &text, action: &text };
        let how = Speaking { hints: &text, ..HOW };
        let twiml = Twiml::voice(&relay(&documents.relay, how, call));
        let session = twiml.find("ConversationRelay").unwrap();
        prop_assert_eq!(session.attr("welcomeGreeting"), Some(expected.as_str()));
        prop_assert_eq!(twiml.find("Parameter").unwrap().attr("value"), Some(expected.as_str()));
        let reply = Twiml::messaging(&message(&documents.message, &say, "/twilio/sms/status/7"));
        prop_assert_eq!(reply.messages(), [expected]);
    }

    #[test]
    fn a_number_is_e164_when_it_is_a_plus_and_7_to_15_digits(text in prop_oneof![r"\+[1-9][0-9]{0,17}", "[+0-9 ٣a-]{0,18}", wild(6)]) {
        let digits: Vec<char> = text.chars().skip(1).collect();
        let fits = text.starts_with('+') && (7..=15).contains(&digits.len()) && digits[0] != '0'
            && digits.iter().all(|digit| "0123456789".contains(*digit));
        prop_assert_eq!(is_e164(&text), fits);
    }

    #[test]
    fn an_address_holds_its_number_whatever_the_channel(text in prop_oneof![r"\+[1-9][0-9]{6,14}", wild(8)], blank in "[ \t]?") {
        let plain = Address::parse(&text);
        prop_assert!(plain.number.is_none_or(|number| is_e164(number) && text.contains(number)));
        prop_assert!(text.contains(plain.raw));
        if is_e164(&text) {
            for channel in ["whatsapp", "rcs", "messenger"] {
                let prefixed = format!("{blank}{channel}:{text}{blank}");
                let address = Address::parse(&prefixed);
                prop_assert_eq!((address.channel, address.number), (channel, plain.number));
                prop_assert_eq!(address.raw, prefixed.trim(), "which is the way back");
            }
            prop_assert_eq!((plain.channel, plain.is_short_code()), ("sms", false));
        }
    }

    #[test]
    fn of_a_plain_answer_no_word_is_lost_however_it_is_cut(
        some in vec(prop_oneof![9 => "[a-zà-þ]{1,12}", 2 => "[a-z]{1,12}[.!?]", 1 => "你{1,40}"], 1..30),
        long in "[a-z]{0,4}",
        often in 1..80_usize,
    ) {
        let mut words = vec![some; often].concat();
        // A word that fits no Say.
        words.extend((!long.is_empty()).then(|| long.repeat(1500)));
        let answer = words.join(" ");
        // What fits one document; the rest of a longer answer is not spoken.
        prop_assume!(answer.len() < 40_000);
        let pieces = spoken(&answer);
        prop_assert_eq!(pieces.concat().replace(' ', ""), answer.replace(' ', ""));
        if words.iter().all(|word| word.len() < 100) {
            prop_assert_eq!(pieces.join(" "), answer, "words are left whole");
        }
    }

    #[test]
    fn whatever_the_model_answers_can_be_said(answer in prop_oneof![wild(60), wild(30).prop_map(|text| text.repeat(400))]) {
        // A model's answer has a letter or a digit, or it is asked again.
        prop_assume!(answer.chars().any(char::is_alphanumeric));
        let documents = Documents::load(None).unwrap();
        let pieces = spoken(&answer);
        prop_assert!(!pieces.is_empty());
        let twiml = Twiml::voice(&say_and_gather(&documents.answer, HOW, &pieces, "/twilio/voice/turns/2"));
        prop_assert_eq!(twiml.says().len(), pieces.len());
    }

    #[test]
    fn a_text_is_cut_between_characters_and_never_in_its_first_half(text in wild(60)) {
        let end = cut_at(&text);
        prop_assert!(text.is_char_boundary(end) && (text.is_empty() || end > text.len() / 2));
    }
}

#[test]
fn pairs_keep_their_order_and_repetitions() {
    let form = Form::parse(b"b=1&a=&b=2&a&=x&b=1");
    let pairs: Vec<_> = [("b", "1"), ("a", ""), ("b", "2"), ("a", ""), ("", "x"), ("b", "1")]
        .map(|(name, value)| (Cow::from(name), Cow::from(value)))
        .into();
    assert_eq!(form.pairs(), pairs);
}

#[test]
fn what_cannot_be_said_makes_no_piece_of_its_own() {
    let longest = "a".repeat(2_900);
    assert_eq!(spoken(&format!("{longest}\0\u{1}\u{fffe}")), [longest]);
}

/// The text without the characters that no XML document can hold.
fn allowed(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)).collect()
}
