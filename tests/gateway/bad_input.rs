//! Bad input: every field of every REST route, in every way it can be wrong, is refused by name and changes nothing.

use crate::api_support::{faulty_fields, problem, send};
use crate::support::app::{Answer, CALLER, Database, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};

/// A way in which a field is wrong, as JSON text; `None` leaves it out.
type Wrong = Option<String>;

/// What no field takes that wants text of a form.
fn no_text() -> Vec<Wrong> {
    let values =
        [json!(5), json!(true), json!([]), json!({}), json!(["x"]), json!(""), json!(" "), json!("\t\n"), json!("\0")];
    let mut wrong: Vec<Wrong> = values.iter().map(|value| Some(value.to_string())).collect();
    wrong.push(Some(json!("x".repeat(100_000)).to_string()));
    wrong.push(Some(json!("a\u{0}b").to_string()));
    wrong
}

/// What no field takes that wants a whole number above zero.
fn no_id() -> Vec<Wrong> {
    let written = [
        "0",
        "-1",
        "1.5",
        "9223372036854775808",
        "-9223372036854775809",
        "1e300",
        "\"1\"",
        "\"\"",
        "true",
        "[]",
        "{}",
        "[1]",
    ];
    written.map(|text| Some(text.to_owned())).into()
}

fn texts<const N: usize>(values: [&str; N]) -> Vec<Wrong> {
    values.map(|text| Some(json!(text).to_string())).into()
}

fn null() -> Vec<Wrong> {
    vec![Some("null".to_owned())]
}

fn username() -> Vec<Wrong> {
    [no_text(), null(), texts(["\u{7}bell", "\u{1b}[31m", &"n".repeat(151)])].concat()
}

fn email() -> Vec<Wrong> {
    let long = format!("{}@example.com", "x".repeat(300));
    [
        no_text(),
        texts([
            "nobody",
            "a@",
            "@b.example",
            "a b@c.example",
            "a@b@",
            "a@b..example",
            "<a@b.example>",
            "a@b.example\r\nBcc: c@d.example",
            &long,
        ]),
    ]
    .concat()
}

fn phone_number() -> Vec<Wrong> {
    let odd = [
        "12345",
        "+",
        "+0123456789",
        "+12",
        "+12345678901234567",
        "++14155550123",
        "+1 415 555 0123",
        "14155550123",
        "tel:+14155550123",
        "whatsapp:+14155550123",
        "+1415555o123",
        "＋14155550123",
        "+١٤١٥٥٥٥٠١٢٣",
        "+14155550123\n",
    ];
    [no_text(), texts(odd), vec![Some("14155550123".to_owned())]].concat()
}

fn switch() -> Vec<Wrong> {
    ["\"true\"", "\"\"", "1", "0", "[]", "{}", "null"].map(|text| Some(text.to_owned())).into()
}

/// A method, a path, a good body, and for each of its fields what is wrong.
type Case = (&'static str, &'static str, Value, Vec<(&'static str, Vec<Wrong>)>);

/// The operations with a body: what is good, and for each field what is not.
fn cases() -> Vec<Case> {
    let missing = || vec![None];
    let user =
        json!({ "username": "new", "email": "new@example.com", "phone_number": "+14155550177", "is_active": false });
    let preferences = json!({ "language": "de", "tts_voice": "onyx", "auto_reply_enabled": false,
        "conversation_timeout": 60,
        "notifications_enabled": false, "forward_number": "+14155550188" });
    let preference_fields = || {
        vec![
            ("language", [no_text(), null(), texts(["tlh", "e", "en_US!", "english"])].concat()),
            ("tts_voice", [no_text(), null(), texts(["nobody", "Polly.Nobody", "nova\"/>", "no va"])].concat()),
            ("auto_reply_enabled", switch()),
            ("conversation_timeout", [no_id().split_off(1), null()].concat()),
            ("notifications_enabled", switch()),
            ("forward_number", phone_number()),
        ]
    };
    let said = json!({ "user_id": 1, "text": "Hello" });
    let said_fields = || {
        vec![
            ("user_id", [no_id(), missing(), null()].concat()),
            ("text", [no_text(), missing(), null(), texts(["a\u{1b}b"])].concat()),
        ]
    };
    vec![
        (
            "POST",
            "/users/",
            user.clone(),
            vec![("username", [username(), missing()].concat()), ("email", email()), ("phone_number", phone_number())],
        ),
        (
            "PUT",
            "/users/1",
            user,
            vec![
                ("username", username()),
                ("email", email()),
                ("phone_number", phone_number()),
                ("is_active", switch()),
            ],
        ),
        ("POST", "/preferences/?user_id=2", preferences.clone(), preference_fields()),
        ("PUT", "/preferences/1", preferences, preference_fields()),
        (
            "POST",
            "/calls/",
            json!({ "user_id": 1, "to": CALLER, "purpose": "Say hello." }),
            vec![
                ("user_id", [no_id(), missing(), null()].concat()),
                ("to", phone_number()),
                ("purpose", [no_text(), missing(), null(), texts([&"x".repeat(1_001)])].concat()),
            ],
        ),
        ("POST", "/conversation/", said.clone(), said_fields()),
        ("POST", "/sms/decision", said, said_fields()),
        (
            "POST",
            "/sms/send",
            json!({ "user_id": 1, "text": "Hello." }),
            vec![
                ("user_id", [no_id(), missing(), null()].concat()),
                ("text", [no_text(), missing(), null(), texts([&"x".repeat(10_001)])].concat()),
            ],
        ),
    ]
}

/// A good body with one field written as `wrong`.
fn body_with(good: &Value, field: &str, wrong: &Wrong) -> String {
    let mut members: Vec<String> = Vec::new();
    for (name, value) in good.as_object().unwrap().iter().filter(|(name, _)| *name != field) {
        members.push(format!("{}: {value}", json!(name)));
    }
    members.extend(wrong.iter().map(|wrong| format!("{}: {wrong}", json!(field))));
    format!("{{ {} }}", members.join(", "))
}

/// A gateway that knows two users, one with preferences and some history.
pub async fn lived_in(database: &Database) -> TestApp {
    let app = TestApp::start(database).await;
    app.user("ann", CALLER).await;
    app.user("bob", "+14155550199").await;
    app.create("/preferences/?user_id=1", json!({ "language": "es" })).await;
    app.llm.always_decides("yes", "Fine.");
    app.create("/conversation/", json!({ "user_id": 1, "text": "Hello" })).await;
    app.text("SM1", CALLER, "Hello").await;
    app.call("CA1", CALLER, OURS).rings().await;
    app
}

/// All that the gateway keeps, and how often the model was asked.
pub async fn state(app: &TestApp) -> Value {
    let users = app.get("/users/?limit=100").await;
    let mut people = Vec::new();
    for id in users.as_array().unwrap().iter().map(|user| &user["id"]) {
        let preferences = app.api("GET", &format!("/preferences/{id}"), None).await.body;
        people.push(json!([preferences, app.get(&format!("/history/{id}?limit=500")).await]));
    }
    json!({ "users": users, "people": people, "asked": app.llm.request_count(), "sent": app.twilio.post_count() })
}

/// Checks that an answer is 422 over this field alone.
pub fn assert_refused(answer: &Answer, field: &str, case: &str) {
    assert_eq!(answer.status, 422, "{case}: {}", answer.body);
    assert_eq!(faulty_fields(&problem(answer, 422)), [field], "{case}");
    assert!(answer.body.len() < 5_000, "a huge value is not sent back: {case}");
}

on_both_databases! {
    async fn every_field_of_a_body_is_checked(database) {
        let app = lived_in(&database).await;
        let before = state(&app).await;
        for (method, path, good, fields) in cases() {
            for (field, wrongs) in fields {
                for wrong in wrongs {
                    let body = body_with(&good, field, &wrong);
                    let shown: String = body.chars().take(200).collect();
                    let answer = send(&app, method, path, "application/json", body).await;
                    assert_refused(&answer, field, &format!("{field} of {method} {path}: {shown}"));
                }
            }
            assert_eq!(state(&app).await, before, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn all_faulty_fields_are_named_together() {
    let database = Database::sqlite();
    let app = lived_in(&database).await;
    let before = state(&app).await;
    for (method, path, _, fields) in cases() {
        let mut body = json!({});
        for (field, _) in &fields {
            body[*field] = json!([]);
        }
        let told = problem(&app.api(method, path, Some(body)).await, 422);
        let (mut named, mut expected) = (faulty_fields(&told), Vec::from_iter(fields.iter().map(|(field, _)| *field)));
        named.sort_unstable();
        expected.sort_unstable();
        assert_eq!(named, expected, "{method} {path}");
    }
    assert_eq!(state(&app).await, before);
}

#[tokio::test]
async fn a_body_is_one_json_object_in_utf_8() {
    let database = Database::sqlite();
    let app = lived_in(&database).await;
    let before = state(&app).await;
    for (method, path, good, fields) in cases() {
        let good = good.to_string();
        let mut bodies: Vec<Vec<u8>> = [
            "",
            " ",
            "null",
            "[]",
            "\"text\"",
            "5",
            "true",
            "no json",
            "{",
            "{}}",
            "{} {}",
            "{'a': 1}",
            "{\"a\": NaN}",
            "\0",
            "a=b",
        ]
        .map(|text| text.as_bytes().to_vec())
        .into();
        bodies.push(good.as_bytes()[..good.len() - 1].to_vec());
        bodies.push(format!("[{good}]").into_bytes());
        bodies.push(good.encode_utf16().flat_map(u16::to_le_bytes).collect());
        bodies.push(["[".repeat(100_000), "]".repeat(100_000)].concat().into_bytes());
        bodies.push(["{\"a\":".repeat(10_000), "1".to_owned(), "}".repeat(10_000)].concat().into_bytes());
        for (field, _) in &fields {
            let invalid: [&[u8]; 4] = [b"\"\xff\xfe\"", b"\"\xc3\"", b"\"\xed\xa0\x80\"", b"\"raw \x00 byte\""];
            for bytes in invalid {
                bodies.push([format!("{{\"{field}\": ").as_bytes(), bytes, b"}"].concat());
            }
            for escape in [r#""\ud800""#, r#""\udc00\ud800""#, r#""\u12""#, r#""\x41""#] {
                bodies.push(format!("{{\"{field}\": {escape}}}").into_bytes());
            }
        }
        for body in bodies {
            let shown = String::from_utf8_lossy(&body).chars().take(100).collect::<String>();
            let answer = send(&app, method, path, "application/json", body).await;
            assert_eq!(answer.status, 422, "{method} {path}: {shown}: {}", answer.body);
            problem(&answer, 422);
        }
        assert_eq!(state(&app).await, before, "{method} {path}");
    }
}
