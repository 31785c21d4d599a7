use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::support::fake_twilio::{ACCOUNT_SID, AUTH_TOKEN, FakeTwilio};
use crate::support::signing::encode_form;
use crate::support::twiml::Twiml;

const US: &str = "+15005550006";
const THEM: &str = "+14155552345";

async fn post(twilio: &FakeTwilio, path: &str, fields: &[(&str, &str)]) -> reqwest::Result<reqwest::Response> {
    let url = format!("{}/2010-04-01/Accounts/{ACCOUNT_SID}/{path}", twilio.base_url());
    let request = reqwest::Client::new().post(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.timeout(Duration::from_secs(2)).body(encode_form(fields)).send().await
}

async fn send(twilio: &FakeTwilio, body: &str) -> reqwest::Result<reqwest::Response> {
    post(twilio, "Messages.json", &[("To", THEM), ("From", US), ("Body", body)]).await
}

async fn get(twilio: &FakeTwilio, path: &str) -> (u16, Value) {
    let url = format!("{}/2010-04-01/Accounts/{ACCOUNT_SID}/{path}", twilio.base_url());
    let request = reqwest::Client::new().get(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN));
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("an answer in JSON"))
}

#[tokio::test]
async fn takes_a_message_and_shows_it() {
    let twilio = FakeTwilio::start().await;
    let callback = "https://gateway.example.com/twilio/sms/status";
    let fields = [("To", THEM), ("From", US), ("Body", "Hello! 👍"), ("StatusCallback", callback)];
    let response = post(&twilio, "Messages.json", &fields).await.unwrap();
    assert_eq!(response.status(), 201);
    let created: Value = response.json().await.unwrap();
    let sent = twilio.wait_for_sent(1).await.remove(0);
    assert_eq!((sent.to.as_str(), sent.from.as_str(), sent.body.as_str()), (THEM, US, "Hello! 👍"));
    assert_eq!((sent.status_callback.as_deref(), sent.account.as_str()), (Some(callback), ACCOUNT_SID));
    assert_eq!(sent.sid.len(), 34);
    assert_eq!(created["sid"], sent.sid.as_str());
    assert_eq!(created["status"], "queued");
    assert_eq!(created["direction"], "outbound-api");
    assert_eq!(created["num_segments"], "1");
    assert!(OffsetDateTime::parse(created["date_created"].as_str().unwrap(), &Rfc2822).is_ok());
    assert_eq!(get(&twilio, &format!("Messages/{}.json", sent.sid)).await, (200, created));
    assert_eq!(get(&twilio, "Messages/SM00000000000000000000000000000000.json").await.1["code"], 20404);
    assert_eq!(twilio.lookup_count(), 2);

    let service = "MG0123456789abcdef0123456789abcdef";
    let fields = [("To", "whatsapp:+14155552345"), ("MessagingServiceSid", service), ("Body", "hi")];
    let created: Value = post(&twilio, "Messages.json", &fields).await.unwrap().json().await.unwrap();
    assert_eq!((&created["from"], &created["messaging_service_sid"]), (&Value::Null, &service.into()));
}

#[tokio::test]
async fn refuses_as_twilio_does() {
    let twilio = FakeTwilio::start().await;
    let long = "x".repeat(1601);
    let cases: [(&[(&str, &str)], u32); 5] = [
        (&[("From", US), ("Body", "x")], 21604),
        (&[("To", "12"), ("From", US), ("Body", "x")], 21211),
        (&[("To", THEM), ("Body", "x")], 21603),
        (&[("To", THEM), ("From", US), ("Body", "")], 21602),
        (&[("To", THEM), ("From", US), ("Body", &long)], 21617),
    ];
    for (fields, code) in cases {
        let response = post(&twilio, "Messages.json", fields).await.unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code);
    }
    let url = format!("{}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json", twilio.base_url());
    let stranger = reqwest::Client::new().post(url).basic_auth(ACCOUNT_SID, Some("wrong")).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    assert!(stranger.headers().contains_key("www-authenticate"));
    assert_eq!(stranger.json::<Value>().await.unwrap()["code"], 20003);
    assert_eq!(post(&twilio, "Nothing.json", &[]).await.unwrap().status(), 404);
    assert!(twilio.sent().is_empty());

    let other = FakeTwilio::start_for("ACffffffffffffffffffffffffffffffff", "secret").await;
    assert_eq!(send(&other, "x").await.unwrap().status(), 401);
}

#[tokio::test]
async fn lists_what_was_sent_newest_first() {
    let twilio = FakeTwilio::start().await;
    for body in ["one", "two", "three"] {
        send(&twilio, body).await.unwrap();
    }
    post(&twilio, "Messages.json", &[("To", US), ("From", THEM), ("Body", "back")]).await.unwrap();
    let bodies = async |query: &str| {
        let (status, list) = get(&twilio, &format!("Messages.json?{query}")).await;
        assert_eq!(status, 200, "{list}");
        let messages = list["messages"].as_array().unwrap().clone();
        messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(bodies("").await, ["back", "three", "two", "one"]);
    let conversation = encode_form(&[("To", THEM), ("From", US)]);
    assert_eq!(bodies(&conversation).await, ["three", "two", "one"]);
    assert_eq!(bodies(&format!("{conversation}&PageSize=2&Page=1")).await, ["one"]);
    let today = twilio.sent()[0].created.date();
    let tomorrow = today.next_day().unwrap();
    assert_eq!(bodies(&format!("DateSent={today}")).await.len(), 4);
    assert_eq!(bodies(&format!("DateSent%3E={today}")).await.len(), 4);
    assert_eq!(bodies(&format!("DateSent>={tomorrow}T00:00:00Z")).await.len(), 0);
    assert_eq!(bodies(&format!("DateSent<={tomorrow}&DateSent={tomorrow}")).await.len(), 0);
    assert_eq!(get(&twilio, "Messages.json?DateSent=yesterday").await.0, 400);
    assert_eq!(get(&twilio, "Messages.json?Whom=you").await.0, 400);
}

#[tokio::test]
async fn mishaps_come_in_order() {
    let twilio = FakeTwilio::start().await;
    twilio.fails(400, 21610);
    twilio.fails_with_retry_after(429, 20429, 3);
    twilio.accepts_but_drops_connection();
    let refused: Value = send(&twilio, "a").await.unwrap().json().await.unwrap();
    assert_eq!((&refused["code"], &refused["status"]), (&21610.into(), &400.into()));
    let limited = send(&twilio, "b").await.unwrap();
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "3"));
    assert!(send(&twilio, "c").await.is_err());
    assert_eq!(send(&twilio, "d").await.unwrap().status(), 201);
    let bodies: Vec<_> = twilio.sent().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, ["c", "d"]);
    assert_eq!(twilio.post_count(), 4);

    twilio.fails_lookup(503, 20503);
    assert_eq!(get(&twilio, "Messages.json").await.0, 503);
    assert_eq!(get(&twilio, "Messages.json").await.0, 200);

    let gate = twilio.waits();
    let held = async {
        twilio.wait_for_posts(5).await;
        assert_eq!((twilio.sent().len(), twilio.in_flight()), (3, 1));
        gate.open();
    };
    assert_eq!(tokio::join!(send(&twilio, "e"), held).0.unwrap().status(), 201);
}

#[tokio::test]
async fn falls_silent_with_and_without_having_sent() {
    let twilio = FakeTwilio::start().await;
    twilio.hangs();
    twilio.accepts_but_hangs();
    let (first, second) = tokio::join!(send(&twilio, "a"), async {
        twilio.wait_for_posts(1).await;
        send(&twilio, "b").await
    });
    assert!(first.unwrap_err().is_timeout());
    assert!(second.unwrap_err().is_timeout());
    assert_eq!(twilio.sent().len(), 1);
    assert_eq!(twilio.sent()[0].body, "b");
}

#[tokio::test]
async fn takes_call_updates() {
    let twilio = FakeTwilio::start().await;
    let call = "Calls/CA0123456789abcdef0123456789abcdef.json";
    let document = "<Response><Say>Enjoy</Say></Response>";
    assert_eq!(post(&twilio, call, &[("Twiml", document)]).await.unwrap().status(), 200);
    let update = twilio.call_updates().remove(0);
    assert_eq!(update.sid, "CA0123456789abcdef0123456789abcdef");
    assert_eq!(Twiml::voice(update.field("Twiml").unwrap()).say(), "Enjoy");
    let long = "x".repeat(4001);
    for faulty in [vec![], vec![("Twiml", "a"), ("Url", "b")], vec![("Twiml", long.as_str())]] {
        assert_eq!(post(&twilio, call, &faulty).await.unwrap().status(), 400);
    }
    let ended: Value = post(&twilio, call, &[("Status", "completed")]).await.unwrap().json().await.unwrap();
    assert_eq!(ended["status"], "completed");
}

#[tokio::test]
async fn places_calls_and_shows_and_lists_them() {
    let twilio = FakeTwilio::start().await;
    let callback = ("StatusCallback", "https://gateway.example.com/twilio/voice/status");
    let fields = [("To", THEM), ("From", US), ("Url", "https://gateway.example.com/twilio/outbound"), callback];
    let created: Value = post(&twilio, "Calls.json", &fields).await.unwrap().json().await.unwrap();
    assert_eq!((&created["status"], &created["direction"]), (&"queued".into(), &"outbound-api".into()));
    let placed = twilio.wait_for_placed_calls(1).await.remove(0);
    assert_eq!((placed.to.as_str(), placed.from.as_str(), placed.sid.len()), (THEM, US, 34));
    assert_eq!((placed.field("StatusCallback"), placed.account.as_str()), (Some(callback.1), ACCOUNT_SID));
    assert_eq!(created["sid"], placed.sid.as_str());

    let path = format!("Calls/{}.json", placed.sid);
    twilio.call_is(&placed.sid, "in-progress");
    assert_eq!(get(&twilio, &path).await.1["status"], "in-progress");
    post(&twilio, &path, &[("Status", "completed")]).await.unwrap();
    assert_eq!(twilio.wait_for_call_updates(1).await[0].sid, placed.sid);
    assert_eq!(get(&twilio, &path).await.1["status"], "completed");
    assert_eq!(get(&twilio, "Calls/CA00000000000000000000000000000000.json").await.0, 404);

    post(&twilio, "Calls.json", &[("To", THEM), ("From", US), ("Twiml", "<Response/>")]).await.unwrap();
    let statuses = async |query: &str| {
        let list = get(&twilio, &format!("Calls.json?{query}")).await.1;
        let calls = list["calls"].as_array().unwrap_or_else(|| panic!("{list}")).clone();
        calls.iter().map(|call| call["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(statuses(&encode_form(&[("To", THEM), ("From", US)])).await, ["queued", "completed"]);
    assert_eq!(statuses("Status=queued").await, ["queued"]);
    assert_eq!(statuses(&format!("StartTime%3E={}", placed.created.date())).await.len(), 2);
    assert!(statuses(&encode_form(&[("To", US)])).await.is_empty());
}

#[tokio::test]
async fn refuses_calls_as_twilio_does_and_meets_mishaps() {
    let twilio = FakeTwilio::start().await;
    let url = ("Url", "https://gateway.example.com/");
    let cases: [(&[(&str, &str)], u32); 4] = [
        (&[("From", US), url], 21201),
        (&[("To", "12"), ("From", US), url], 21211),
        (&[("To", THEM), url], 21213),
        (&[("To", THEM), ("From", US)], 21205),
    ];
    for (fields, code) in cases {
        let response = post(&twilio, "Calls.json", fields).await.unwrap();
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code);
    }
    assert!(twilio.placed_calls().is_empty());
    twilio.fails(503, 20503);
    twilio.accepts_but_drops_connection();
    let place = async || post(&twilio, "Calls.json", &[("To", THEM), ("From", US), url]).await;
    assert_eq!(place().await.unwrap().status(), 503);
    assert!(place().await.is_err());
    assert_eq!(twilio.placed_calls().len(), 1);
}

#[tokio::test]
async fn gives_out_recordings_to_those_with_credentials() {
    let twilio = FakeTwilio::start().await;
    let url = twilio.keeps_recording("RE1", b"\xff\x00sound");
    let fetch = async |url: &str, token| {
        let request = reqwest::Client::new().get(url).basic_auth(ACCOUNT_SID, Some(token));
        let response = request.send().await.unwrap();
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), content_type, response.bytes().await.unwrap().to_vec())
    };
    assert_eq!(fetch(&format!("{url}.mp3"), AUTH_TOKEN).await, (200, "audio/mpeg".into(), b"\xff\x00sound".to_vec()));
    assert_eq!(fetch(&url, AUTH_TOKEN).await.1, "audio/x-wav");
    assert_eq!(fetch(&url, "wrong").await.0, 401);
    assert_eq!(twilio.fetch_count(), 2);
    twilio.fails_lookup(404, 20404);
    assert_eq!(fetch(&url, AUTH_TOKEN).await.0, 404, "not there yet");
    assert_eq!(fetch(&url, AUTH_TOKEN).await.0, 200);
}
