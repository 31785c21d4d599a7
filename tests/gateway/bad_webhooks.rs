//! Webhooks that Twilio would not send, signed all the same: whatever a field holds, the answer is valid TwiML or says
//! what is wrong, and never tells of another call.

use crate::support::app::{ACCOUNT, Answer, CALLER, OURS, TOKEN, TestApp, on_both_databases};
use crate::support::signing::{encode_form, sign};
use crate::support::twiml::Twiml;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Who calls and writes in [`webhooks`].
const STRANGER: &str = "+14155550177";
const SECRET: &str = "The safe opens with a hairpin.";

/// Webhooks in flight together.
const AT_ONCE: usize = 24;

/// Every webhook with all fields the gateway reads, as Twilio would fill them.
fn webhooks() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    const CALL: &str = "From=+14155550177|To=+15005550006|Direction=inbound|CallStatus=in-progress";
    const REPORT: (&str, &str) =
        ("From=+15005550006|To=+14155550177|MessageStatus=failed", "|SmsStatus=failed|ErrorCode=30003");
    let more = [
        ("/twilio/voice", CALL, ""),
        ("/twilio/voice/turns/1", CALL, "|SpeechResult=Hi|Digits=1"),
        ("/twilio/voice/turns/1/parts/1", CALL, ""),
        ("/twilio/voice/turns/1/transferred", CALL, "|DialCallStatus=no-answer|DialCallSid=CA2|DialCallDuration=0"),
        ("/twilio/voice/turns/1/offer", CALL, "|SpeechResult=Hi|Digits=1"),
        ("/twilio/voice/turns/1/recorded", CALL, "|RecordingUrl=https://api.twilio.com/RE1|RecordingDuration=7"),
        (
            "/twilio/voice/recording",
            "RecordingSid=RE1|RecordingUrl=https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1",
            "|RecordingStatus=completed|RecordingDuration=3",
        ),
        ("/twilio/voice/status", CALL, "|CallDuration=42|Timestamp=Thu, 15 Jan 2026 10:30:00 +0000"),
        ("/twilio/voice/answered-by", "AnsweredBy=machine_end_beep", "|MachineDetectionDuration=3200"),
        (
            "/twilio/voice/message",
            "From=+15005550006|To=+14155550177|Direction=outbound-api",
            "|CallStatus=in-progress",
        ),
        (
            "/twilio/relay/ended",
            CALL,
            "|SessionStatus=ended|SessionDuration=7|HandoffData={\"reason\":\"transfer\"}|ErrorCode=64105",
        ),
        (
            "/twilio/sms",
            "From=+14155550177|To=+15005550006|Body=Hello|NumMedia=1|MediaUrl0=https://example.com/1",
            "|MediaContentType0=image/png|OptOutType=NONE|ButtonText=Yes",
        ),
        ("/twilio/sms/status", REPORT.0, REPORT.1),
        ("/twilio/sms/status/1", REPORT.0, REPORT.1),
        ("/twilio/sms/status/1/2", REPORT.0, REPORT.1),
    ];
    let pairs = |text: &'static str| text.split('|').filter_map(|field| field.split_once('='));
    more.map(|(path, some, more)| (path, pairs(some).chain(pairs(more)).collect())).into()
}

/// What any field may hold instead.
fn bad_values() -> Vec<String> {
    let mut values: Vec<String> = [
        "",
        " ",
        "abc",
        "-1",
        "0",
        "99999999999",
        "1e9",
        "NaN",
        "٣",
        "null",
        "[]",
        "client:ann",
        "whatsapp:",
        "sip:a@b",
    ]
    .map(str::to_owned)
    .into();
    values.extend(
        [
            "\0",
            "a\0b",
            "\u{1}\u{8}\u{b}\u{1f}\u{7f}",
            "\r\nX: y",
            "\u{fffe}\u{ffff}\u{feff}",
            "<Hangup/>&amp;]]>\"'",
            "{{say}}",
        ]
        .map(str::to_owned),
    );
    values.extend(
        ["'; DROP TABLE users; --", "\u{202e}👩‍👩‍👧🇩🇪", "%00%FF", "\\u0000", "../../etc/passwd"].map(str::to_owned),
    );
    values.push("+1".repeat(50));
    values.push("long ".repeat(20_000));
    values
}

/// The form of a webhook's fields with an id of its own.
fn with_id<'f>(path: &str, id: &'f str, fields: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let name = if path.contains("/sms") { "MessageSid" } else { "CallSid" };
    let session = path.starts_with("/twilio/relay/").then_some(("SessionId", "VX1"));
    [&[("AccountSid", ACCOUNT), (name, id)], session.as_slice(), fields].concat()
}

/// Posts these fields signed.
async fn post(app: &TestApp, path: &str, fields: &[(&str, &str)]) -> Answer {
    let signature = sign(TOKEN, &format!("{}{path}", app.base), fields);
    app.post_form(path, &encode_form(fields), Some(&signature)).await
}

/// Posts a body of any bytes, signed as its readable form.
async fn post_raw(app: &TestApp, path: &str, body: &[u8]) -> Answer {
    let pairs: Vec<_> = form_urlencoded::parse(body).collect();
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value): &(Cow<'_, str>, Cow<'_, str>)| (name.as_ref(), value.as_ref())).collect();
    let url = format!("{}{path}", app.base);
    let request = app.http.post(&url).header("content-type", "application/x-www-form-urlencoded");
    Answer::of(request.header("x-twilio-signature", sign(TOKEN, &url, &pairs)).body(body.to_vec())).await
}

/// Valid TwiML, 204 for a report, or the fault of who asks; and not a word of the other call.
#[track_caller]
fn assert_sound(path: &str, answer: &Answer, what: &str) {
    match answer.status {
        200 if path.ends_with("/sms") => drop(answer.messaging()),
        200 => drop(answer.voice()),
        204 => {
            assert!(
                ["/status", "/recording", "/answered-by"].iter().any(|report| path.contains(report)),
                "{path} {what}"
            );
            assert_eq!(answer.body, "", "{path} {what}");
        }
        400..=499 => assert!(
            !answer.body.contains("panick") && !answer.body.contains("SELECT"),
            "{path} {what}: {}",
            answer.body
        ),
        status => panic!("{path} {what}: {status} {}", answer.body),
    }
    assert!(!answer.body.contains("hairpin"), "{path} {what}: {}", answer.body);
}

/// A model that says the beginning of what it is told, so that every character comes back.
fn echo(app: &TestApp) {
    app.llm.always_answers(|request| {
        let said =
            request["messages"].as_array().and_then(|messages| messages.last()).map(|last| last["content"].clone());
        let said: String = said.as_ref().and_then(Value::as_str).unwrap_or("nothing").chars().take(2_000).collect();
        let is_text = request["response_format"].is_object();
        if is_text { json!({ "decision": "yes", "reply_text": said }).to_string() } else { said }
    });
}

/// Somebody's call and text, which nobody else may hear of.
async fn told_in_confidence(app: &TestApp) {
    app.llm.says(SECRET);
    app.call("CAsecret", CALLER, OURS).talks(1, SECRET).await;
    app.llm.decides("yes", SECRET);
    app.text("SMsecret", CALLER, SECRET).await;
}

/// The confidential call and text are as they were, and every row can be read.
async fn assert_unharmed(app: &TestApp) {
    for user in app.get("/users/?limit=100").await.as_array().unwrap() {
        let history = app.get(&format!("/history/{}?limit=500", user["id"])).await;
        let is_owner = user["phone_number"] == CALLER;
        assert_eq!(history.to_string().contains("hairpin"), is_owner, "{user}");
        if is_owner {
            let counts = ["conversations", "calls", "sms"].map(|list| history[list].as_array().unwrap().len());
            assert_eq!(counts, [1, 1, 1], "{history:#}");
            assert_eq!(history["conversations"][0]["gpt_response"], SECRET);
        }
    }
}

on_both_databases! {
    async fn whatever_a_field_holds_the_answer_is_sound(database) {
        let app = TestApp::start(&database).await;
        told_in_confidence(&app).await;
        echo(&app);
        let (values, ids) = (bad_values(), AtomicUsize::new(0));
        for (path, fields) in webhooks() {
            let mut cases = vec![];
            for (at, (name, value)) in fields.iter().enumerate() {
                let mut missing = fields.clone();
                missing.remove(at);
                cases.push((format!("without {name}"), missing));
                for bad in &values {
                    let mut changed = fields.clone();
                    changed[at].1 = bad;
                    cases.push((format!("{name}={}", bad.chars().take(40).collect::<String>()), changed));
                    let shown = bad.len() < 100;
                    if shown && bad.contains(['\0', '<']) {
                        // Twice, with another value and with the same.
                        let doubled = [fields.as_slice(), &[(*name, bad.as_str()), (*name, *value)]].concat();
                        cases.push((format!("{name} doubled with {bad}"), doubled));
                    }
                }
            }
            for some in cases.chunks(AT_ONCE) {
                let posts = some.iter().map(async |(what, fields)| {
                    let id = format!("XX{}", ids.fetch_add(1, Ordering::Relaxed));
                    assert_sound(path, &post(&app, path, &with_id(path, &id, fields)).await, what);
                });
                join_all(posts).await;
            }
        }
        assert_unharmed(&app).await;
    }

    async fn an_id_that_is_none_is_refused_and_nothing_stored(database) {
        let app = TestApp::start(&database).await;
        for (path, fields) in webhooks() {
            for bad in bad_values().iter().filter(|bad| !matches!(bad.as_str(), "abc" | "0" | "99999999999" | "1e9" | "NaN" | "null")) {
                let answer = post(&app, path, &with_id(path, bad, &fields)).await;
                assert_eq!(answer.status, 400, "{path} {bad:.40}: {}", answer.body);
            }
            let long = "C".repeat(65);
            assert_eq!(post(&app, path, &with_id(path, &long, &fields)).await.status, 400, "{path}");
            let from = format!("+{}", "1".repeat(400));
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, if *name == "From" { &from } else { *value })).collect();
            let status = post(&app, path, &with_id(path, "XX1", &fields)).await.status;
            let no_sender_read = ["/twilio/sms/status", "/twilio/voice/answered-by", "/twilio/voice/recording"];
            let reads_no_sender = no_sender_read.iter().any(|report| path.starts_with(report));
            assert_eq!(status, if reads_no_sender { 204 } else { 400 }, "{path}");
        }
        assert_eq!(app.get("/users/").await, json!([]));
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn turns_and_parts_nobody_announced_tell_nothing_of_others(database) {
        let app = TestApp::start(&database).await;
        told_in_confidence(&app).await;
        echo(&app);
        let numbers = ["0", "2", "7", "-1", "+1", "01", "1.0", "1e3", "abc", "%31", "%00", "%FF", "4294967295", "4294967296",
            "99999999999999999999", "١", "1%2F..", "1;a=b"];
        let mut paths: Vec<String> = numbers.iter().map(|n| format!("/twilio/voice/turns/{n}")).collect();
        paths.extend(numbers.iter().flat_map(|n| [format!("/twilio/voice/turns/1/parts/{n}"), format!("/twilio/voice/turns/{n}/parts/3")]));
        paths.extend(["/twilio/voice/turns/", "/twilio/voice/turns/1/", "/twilio/voice/turns/1/parts/", "/twilio/voice/turns/1?n=2"].map(str::to_owned));
        for (n, path) in paths.iter().enumerate() {
            for said in ["Hello", ""] {
                let call = format!("CA{n}{said}");
                let fields = [("AccountSid", ACCOUNT), ("CallSid", &call), ("From", STRANGER), ("To", OURS), ("SpeechResult", said)];
                // What a client makes of the path is what is signed.
                let url: reqwest::Url = format!("{}{path}", app.base).parse().unwrap();
                let signature = sign(TOKEN, url.as_str(), &fields);
                let answer = app.post_form(path, &encode_form(&fields), Some(&signature)).await;
                assert_sound(path, &answer, said);
            }
        }
        let part = post(&app, "/twilio/voice/turns/9/parts/9", &with_id("", "CA999", &webhooks()[0].1)).await;
        assert_eq!(part.voice().action().as_deref(), Some("/twilio/voice/turns/10"), "the call goes on");
        // The confidential call's own answer goes to that call alone, whoever claims to be calling.
        let other = post(&app, "/twilio/voice/turns/1/parts/1", &with_id("", "CAother", &webhooks()[0].1)).await;
        assert_sound("/twilio/voice/turns/1/parts/1", &other, "another call's part");
        assert_unharmed(&app).await;
    }

    async fn a_doubled_id_means_its_first_value(database) {
        let app = TestApp::start(&database).await;
        told_in_confidence(&app).await;
        echo(&app);
        for (path, fields) in webhooks() {
            let mut fields = with_id(path, "XX1", &fields);
            let name = fields[1].0;
            fields.push((name, if name == "CallSid" { "CAsecret" } else { "SMsecret" }));
            assert_sound(path, &post(&app, path, &fields).await, "a doubled id");
        }
        assert_unharmed(&app).await;
    }

    async fn bodies_that_are_badly_encoded_are_read_or_refused(database) {
        let app = TestApp::start(&database).await;
        told_in_confidence(&app).await;
        echo(&app);
        let spoilt: [&[u8]; 14] = [
            b"%", b"%4", b"%zz", b"%FF%FE", b"%C3", b"%ED%A0%80", b"%ED%A0%BD%ED%B8%80", b"%F4%90%80%80", b"%C0%80", b"%00", b"\xff\xfe",
            b"\x00\x01\x1b", b"&&&=&==&=x", b"+%2B+",
        ];
        let ids = AtomicUsize::new(0);
        for (path, fields) in webhooks() {
            for name in ["From", "SpeechResult", "Body", "CallStatus", "MessageStatus", "MediaUrl0", "%FF"] {
                let posts = spoilt.iter().map(async |bytes| {
                    let id = format!("XX{}", ids.fetch_add(1, Ordering::Relaxed));
                    let sound: Vec<_> = with_id(path, &id, &fields).into_iter().filter(|(known, _)| *known != name).collect();
                    let body = [encode_form(&sound).as_bytes(), b"&", name.as_bytes(), b"=", bytes].concat();
                    let answer = post_raw(&app, path, &body).await;
                    assert_sound(path, &answer, &format!("{name}={}", bytes.escape_ascii()));
                });
                join_all(posts).await;
            }
        }
        assert_unharmed(&app).await;
    }

    async fn size_is_limited_but_many_fields_are_not(database) {
        let app = TestApp::start(&database).await;
        echo(&app);
        let names: Vec<String> = (0..5_000).map(|n| format!("Custom{n}")).collect();
        let (speech, huge) = ("All is well. ".repeat(8_000), "x".repeat(1024 * 1024 + 1));
        for (path, fields) in webhooks() {
            let many: Vec<_> = with_id(path, "XX1", &fields).into_iter().chain(names.iter().map(|name| (name.as_str(), "1"))).collect();
            let answer = post(&app, path, &many).await;
            assert!(matches!(answer.status, 200 | 204), "{path}: {} {}", answer.status, answer.body);
            assert_sound(path, &answer, "5,000 fields");
            let too_much = [with_id(path, "XX2", &fields), vec![("Extra", huge.as_str())]].concat();
            assert_eq!(post(&app, path, &too_much).await.status, 413, "{path}");
            let url = format!("{}{path}", app.base);
            let unsigned = app.http.post(&url).header("content-type", "application/x-www-form-urlencoded").body(huge.clone());
            assert_eq!(unsigned.send().await.unwrap().status(), 403, "{path}: what is not signed is not even read");
        }
        let said = app.call("CA3", CALLER, OURS).talks(1, &speech).await;
        assert!(said.say().starts_with("All is well. All is well."), "100 KB of speech are heard and answered");
        let written = app.text("SM3", CALLER, &speech).await;
        assert_eq!(Twiml::messaging(&written.body).messages().len(), 1, "and so are 100 KB of text");
        let history = app.get("/history/2").await;
        assert!(history["sms"][0]["incoming_text"].as_str().unwrap().len() >= speech.trim().len());
        assert_eq!(history["conversations"][0]["input_text"].as_str().unwrap().len(), speech.trim().len());
    }
}
