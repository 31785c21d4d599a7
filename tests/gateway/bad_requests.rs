//! What the REST API answers to requests that are not as they must be: always a problem that says what is right, and
//! nothing stored.

use crate::support::app::{Answer, CALLER, KEY, TestApp, on_both_databases};
use serde_json::{Value, json};

const BODIES: [(&str, &str); 6] = [
    ("POST", "/users/"),
    ("PUT", "/users/1"),
    ("POST", "/preferences/?user_id=1"),
    ("PUT", "/preferences/1"),
    ("POST", "/conversation/"),
    ("POST", "/sms/decision"),
];

async fn send(app: &TestApp, method: &str, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.http.request(method.parse().unwrap(), format!("{}{path}", app.base));
    Answer::of(request.header("x-api-key", KEY).header("content-type", content_type).body(body)).await
}

fn with(mut values: Vec<Value>, more: &[Value]) -> Vec<Value> {
    values.extend_from_slice(more);
    values
}

/// All that may have been stored.
async fn everything(app: &TestApp) -> Value {
    json!([app.get("/users/").await, app.get("/preferences/1").await, app.get("/history/1").await])
}

on_both_databases! {
    async fn every_field_is_checked_and_nothing_stored(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("anna", CALLER).await;
        app.create(&format!("/preferences/?user_id={user}"), json!({})).await;
        let before = everything(&app).await;
        let long = "x".repeat(200_000);
        let others = || vec![json!(1.5), json!(true), json!([]), json!([1]), json!({})];
        let texts = || with(others(), &[json!(""), json!(long), json!("a\u{0}b"), json!("\u{1b}[1m")]);
        let numbers = || with(others(), &[json!("1"), json!(-1), json!(1e300), Value::Null]);
        let switches = || vec![json!("true"), json!(1), json!([]), json!({}), Value::Null];
        let blank = [json!("  \t "), Value::Null];
        let phones = ["12345678", "+0123456789", "+12345", "+1234567890123456", "+1415555012x"].map(Value::from);
        let mails = ["x", "x@", "@x.de", "a b@x.de", "x@y"].map(Value::from);
        let user = json!({ "username": "eve" });
        let said = json!({ "user_id": 1, "text": "Hello" });
        for (operations, base, field, values) in [
            (&BODIES[..1], &user, "username", with(texts(), &blank)),
            (&BODIES[1..2], &json!({}), "username", with(texts(), &blank)),
            (&BODIES[..2], &user, "email", with(texts(), &mails)),
            (&BODIES[..2], &user, "phone_number", with(texts(), &phones)),
            (&BODIES[1..2], &json!({}), "is_active", switches()),
            (&BODIES[2..4], &json!({}), "language", with(texts(), &[json!("tlh"), Value::Null])),
            (&BODIES[2..4], &json!({}), "tts_voice", with(texts(), &[json!("HAL"), Value::Null])),
            (&BODIES[2..4], &json!({}), "auto_reply_enabled", switches()),
            (&BODIES[2..4], &json!({}), "conversation_timeout", with(numbers(), &[json!(86_401)])),
            (&BODIES[2..4], &json!({}), "notifications_enabled", switches()),
            (&BODIES[2..4], &json!({}), "forward_number", with(texts(), &phones)),
            (&BODIES[4..], &said, "user_id", with(numbers(), &[json!(0)])),
            (&BODIES[4..], &said, "text", with(texts(), &blank)),
        ] {
            for (method, path) in operations {
                for value in &values {
                    let mut body = base.clone();
                    body[field] = value.clone();
                    let shown: String = value.to_string().chars().take(40).collect();
                    let answer = app.api(method, path, Some(body)).await;
                    assert_eq!(answer.problem().0, 422, "{method} {path} {field}: {shown}");
                    assert_eq!(answer.json()["errors"][0]["field"], field, "{method} {path}: {shown}");
                }
            }
        }
        for (path, missing) in [
            ("/users/", "username is missing."),
            ("/conversation/", "user_id is missing. text is missing."),
            ("/sms/decision", "user_id is missing. text is missing."),
        ] {
            assert_eq!(app.api("POST", path, Some(json!({}))).await.problem(), (422, missing.to_owned()));
        }
        assert_eq!(everything(&app).await, before);
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn bodies_that_are_no_json_objects_are_refused(database) {
        let app = TestApp::start(&database).await;
        for (method, path) in BODIES {
            for body in ["", "{", "[]", "null", "7", "\"{}\"", "{\"text\": \"\\ud800\"}", "{} {}"] {
                let answer = send(&app, method, path, "application/json", body).await;
                assert_eq!(answer.problem().0, 422, "{method} {path}: {body}");
            }
            assert_eq!(send(&app, method, path, "application/json", "[".repeat(900_000)).await.problem().0, 422);
            assert_eq!(send(&app, method, path, "application/json", b"{\"\xff\": 1}".to_vec()).await.problem().0, 422);
            assert_eq!(send(&app, method, path, "application/json", " ".repeat(1_000_001)).await.problem().0, 413);
            for content_type in ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"] {
                assert_eq!(send(&app, method, path, content_type, "{}").await.problem().0, 415, "{content_type}");
            }
        }
    }

    async fn parameters_are_checked_and_named(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("anna", CALLER).await;
        for (path, name) in [
            ("/users/abc", "user_id"), ("/users/0", "user_id"), ("/users/-1", "user_id"), ("/users/%00", "user_id"),
            ("/users/99999999999999999999", "user_id"), ("/preferences/x", "id"), ("/history/1.0/sms", "user_id"),
            ("/users/?limit=0", "limit"), ("/users/?limit=101", "limit"), ("/users/?limit=abc", "limit"),
            ("/users/?limit=", "limit"), ("/users/?limit=1&limit=2", "limit"), ("/users/?skip=-1", "skip"),
            ("/history/1?limit=501", "limit"), ("/history/1/calls?before=-1", "before"),
            ("/history/1/sms?before=x", "before"),
        ] {
            let answer = app.api("GET", path, None).await;
            assert_eq!((answer.problem().0, &answer.json()["errors"][0]["field"]), (422, &json!(name)), "{path}");
        }
        let missing = app.api("POST", "/preferences/", Some(json!({}))).await;
        assert_eq!(missing.problem(), (422, "user_id is missing.".to_owned()));
        assert_eq!(app.get(&format!("/history/{user}?limit=500&colour=red")).await["sms"], json!([]));
    }

    async fn without_the_key_nothing_is_told(database) {
        let app = TestApp::start(&database).await;
        app.user("anna", CALLER).await;
        let others = [("GET", "/users/"), ("GET", "/users/1"), ("DELETE", "/users/1"), ("GET", "/preferences/1"),
            ("DELETE", "/preferences/1"), ("GET", "/history/1"), ("GET", "/history/1/sms"), ("GET", "/history/1/calls"),
            ("GET", "/history/1/conversations")];
        for (method, path) in BODIES.into_iter().chain(others) {
            for (name, value) in [
                ("x-none", ""), ("x-api-key", ""), ("x-api-key", "wrong"), ("authorization", "Basic eDp5"),
                ("authorization", "Bearer wrong"), ("authorization", "Bearer"),
            ] {
                let request = app.http.request(method.parse().unwrap(), format!("{}{path}", app.base));
                let answer = Answer::of(request.header(name, value)).await;
                assert_eq!((answer.problem().0, answer.headers["www-authenticate"].as_str()), (401, "Bearer"));
            }
        }
        let request = app.http.get(format!("{}/users/", app.base)).bearer_auth(KEY);
        assert_eq!(Answer::of(request).await.json().as_array().map(Vec::len), Some(1));
    }

    async fn unknown_addresses_and_methods_are_problems_too(database) {
        let app = TestApp::start(&database).await;
        for path in ["/", "/nothing", "/users/1/x", "/history", "/history/", "/users//", "/preferences/1/2"] {
            assert_eq!(app.api("GET", path, None).await.problem().0, 404, "{path}");
        }
        for (method, path, allow) in [
            ("PATCH", "/users/1", "DELETE, GET, HEAD, PUT"), ("DELETE", "/users/", "GET, HEAD, POST"),
            ("POST", "/health", "GET, HEAD"), ("GET", "/sms/decision", "POST"), ("PUT", "/docs", "GET, HEAD"),
        ] {
            let answer = app.api(method, path, None).await;
            assert_eq!((answer.problem().0, answer.headers["allow"].as_str()), (405, allow), "{method} {path}");
        }
    }
}
