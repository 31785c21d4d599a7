//! The verifier against the signature cases, and webhooks against forgeries.

use crate::support::app::{ACCOUNT, CALLER, OURS, TOKEN, TestApp, on_both_databases};
use crate::support::postgres::variable;
use crate::support::signing::{encode_form, sign};
use poem::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use switchboard::twilio::form::Form;
use switchboard::twilio::signature::{Payload, Verifier};
use switchboard::webhooks::called_url;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    kind: String,
    auth_token: String,
    method: String,
    url: String,
    params: Option<Vec<(String, String)>>,
    body: Option<String>,
    headers: HashMap<String, String>,
    signature: Option<String>,
    valid: bool,
    #[serde(default)]
    optional: bool,
    accepted_tokens: Option<Vec<String>>,
    received: Option<Received>,
}

#[derive(Deserialize)]
struct Received {
    request_target: String,
    trust_proxy: bool,
}

impl Vector {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn verdict(&self) -> bool {
        let tokens = self.accepted_tokens.clone().unwrap_or_else(|| vec![self.auth_token.clone()]);
        let verifier = Verifier::new(tokens.iter().map(String::as_str));
        let signature = self.signature.as_deref().map(str::as_bytes);
        let is_form =
            self.header("Content-Type").is_none_or(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let form: Form<'_> = match (&self.body, &self.params) {
            (Some(body), _) if is_form => Form::parse(body.as_bytes()),
            (_, Some(params)) => params.iter().map(|(n, v)| (Cow::from(n.as_str()), Cow::from(v.as_str()))).collect(),
            _ => Form::default(),
        };
        let payload = match &self.body {
            _ if self.method == "GET" => Payload::Nothing,
            Some(body) if !is_form => Payload::Bytes(body.as_bytes()),
            _ => Payload::Form(&form),
        };
        verifier.accepts(signature, &self.url, &payload)
    }
}

#[test]
fn every_signature_case_comes_out_as_it_must() {
    let file = variable("SIGNATURE_VECTORS")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/signatures.json").to_owned());
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let vectors: Vectors = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(!vectors.vectors.is_empty(), "{file} holds no case");
    // Shared keys sign with an algorithm named in a header; they are not served yet.
    let served =
        vectors.vectors.iter().filter(|vector| vector.kind != "sharedkey" && !vector.id.starts_with("sharedkey"));
    let wrong: Vec<_> =
        served.filter(|vector| !vector.optional && vector.verdict() != vector.valid).map(|vector| &vector.id).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_signature_address_is_rebuilt_from_what_a_trusted_proxy_tells() {
    let text = include_str!("../data/signatures.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    let mut seen = 0;
    for vector in vectors.vectors {
        let Some(received) = &vector.received else { continue };
        let headers: HeaderMap = vector
            .headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        assert_eq!(
            called_url(&headers, &received.request_target, None, received.trust_proxy),
            vector.url,
            "{}",
            vector.id
        );
        assert_ne!(called_url(&headers, &received.request_target, None, false), vector.url, "{} untrusted", vector.id);
        seen += 1;
    }
    assert!(seen > 0, "no case with a proxy");
}

const TEXT: [(&str, &str); 5] =
    [("AccountSid", ACCOUNT), ("MessageSid", "SM1"), ("From", CALLER), ("To", OURS), ("Body", "Hello")];

on_both_databases! {
    async fn a_forged_signature_is_refused_without_a_word_and_nothing_is_stored(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let body = encode_form(&TEXT);
        let forged = sign("another-token", &format!("{}/twilio/sms", app.base), &TEXT);
        for signature in [None, Some(""), Some(forged.as_str()), Some("not base64 ☃")] {
            for path in ["/twilio/voice", "/twilio/voice/turns/1", "/twilio/voice/turns/1/parts/1", "/twilio/voice/status",
                "/twilio/sms", "/twilio/sms/status", "/twilio/sms/status/1", "/twilio/sms/status/1/2"]
            {
                let answer = app.post_form(path, &body, signature).await;
                assert_eq!((answer.status, answer.body.as_str()), (403, ""), "{path} {signature:?}");
            }
        }
        assert_eq!(app.get(&format!("/history/{user}")).await["sms"], serde_json::json!([]));
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn a_signature_of_another_account_is_refused(database) {
        let app = TestApp::start(&database).await;
        let mut fields = TEXT;
        fields[0].1 = "AC99999999999999999999999999999999";
        let signature = sign(TOKEN, &format!("{}/twilio/sms", app.base), &fields);
        let answer = app.post_form("/twilio/sms", &encode_form(&fields), Some(&signature)).await;
        assert_eq!((answer.status, answer.body.as_str()), (403, ""));
    }

    async fn while_a_token_is_replaced_the_signature_of_either_counts(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_AUTH_TOKEN", "11111111111111111111111111111111,12345678901234567890123456789012")]).await;
        app.llm.decides("yes", "Hi.");
        assert_eq!(app.text("SM1", CALLER, "Hello").await.messaging().messages(), ["Hi."]);
    }

    async fn the_signature_covers_the_public_address_with_its_prefix(database) {
        let settings = [("PUBLIC_BASE_URL", "https://user:secret@gateway.example.com/prefix")];
        let app = TestApp::start_with(&database, &settings).await;
        let call = [("AccountSid", ACCOUNT), ("CallSid", "CA1"), ("From", CALLER), ("To", OURS), ("CallStatus", "ringing")];
        let signature = sign(TOKEN, "https://gateway.example.com/prefix/twilio/voice", &call);
        // Proxies either take the prefix off or leave it on.
        for path in ["/twilio/voice", "/prefix/twilio/voice"] {
            let answer = app.post_form(path, &encode_form(&call), Some(&signature)).await;
            assert_eq!(answer.voice().action().as_deref(), Some("/prefix/twilio/voice/turns/1"));
        }
    }

    async fn forwarded_addresses_count_for_the_signature_from_trusted_proxies_alone(database) {
        for (proxies, expected) in [("127.0.0.1", 200), ("", 403)] {
            let app = TestApp::start_with(&database, &[("TRUSTED_PROXIES", proxies)]).await;
            let call = [("AccountSid", ACCOUNT), ("CallSid", "CA1"), ("From", CALLER), ("To", OURS)];
            let signature = sign(TOKEN, "https://gateway.example.com/twilio/voice", &call);
            let request = app.http.post(format!("{}/twilio/voice", app.base));
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            let request = request.header("x-twilio-signature", signature).header("x-forwarded-proto", "https");
            let request = request.header("x-forwarded-host", "gateway.example.com").body(encode_form(&call));
            assert_eq!(request.send().await.unwrap().status(), expected, "proxies: {proxies:?}");
            app.stop().await;
        }
    }

    async fn a_webhook_that_is_no_form_needs_the_hash_of_its_body_and_is_then_refused(database) {
        let app = TestApp::start(&database).await;
        let post = async |path: String, kind: &str, body: &str| {
            let signature = sign(TOKEN, &format!("{}{path}", app.base), &[]);
            let request = app.http.post(format!("{}{path}", app.base)).header("content-type", kind);
            request.header("x-twilio-signature", signature).body(body.to_owned()).send().await.unwrap().status().as_u16()
        };
        let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(post(format!("/twilio/sms?bodySHA256={hash}"), "application/json", "{}").await, 415);
        assert_eq!(post(format!("/twilio/sms?bodySHA256={hash}"), "multipart/form-data; boundary=x", "{}").await, 415);
        assert_eq!(post(format!("/twilio/sms?bodySHA256={hash}"), "application/json", "{ }").await, 403);
        assert_eq!(post("/twilio/sms".to_owned(), "application/json", "{}").await, 403);
    }

    async fn a_webhook_is_posted_and_names_what_it_is_about(database) {
        let app = TestApp::start(&database).await;
        for path in ["/twilio/voice", "/twilio/voice/turns/1", "/twilio/voice/status", "/twilio/sms", "/twilio/sms/status", "/twilio/sms/status/1",
            "/twilio/sms/status/1/2"] {
            assert_eq!(app.api("GET", path, None).await.status, 405, "{path}");
            for fields in [vec![], vec![("CallSid", ""), ("MessageSid", "")], vec![("CallSid", "C A"), ("MessageSid", "ä")]] {
                assert_eq!(app.webhook(path, &fields).await.status, 400, "{path} {fields:?}");
            }
        }
    }
}
