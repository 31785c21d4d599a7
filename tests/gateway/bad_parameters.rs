//! Bad parameters: every one of every REST route, in the path and behind it, is refused by name and changes nothing.

use crate::api_support::problem;
use crate::bad_input::{assert_refused, lived_in, state};
use crate::support::app::{Answer, Database, TestApp};
use serde_json::json;

/// What is no whole number, as it stands in a URL.
const NO_NUMBER: [&str; 15] = [
    "%20",
    "abc",
    "1.5",
    "1e1",
    "0x1",
    "1%00",
    "%00",
    "%F0%9F%99%82",
    "%D9%A1",
    "9223372036854775808",
    "-9223372036854775809",
    "1;2",
    "1'--",
    "null",
    "0",
];

/// The paths with an id, and its name.
const WITH_ID: [(&str, &str, &str); 12] = [
    ("GET", "/users/{}", "user_id"),
    ("PUT", "/users/{}", "user_id"),
    ("DELETE", "/users/{}", "user_id"),
    ("GET", "/preferences/{}", "id"),
    ("PUT", "/preferences/{}", "id"),
    ("DELETE", "/preferences/{}", "id"),
    ("GET", "/history/{}", "user_id"),
    ("GET", "/history/{}/conversations", "user_id"),
    ("GET", "/history/{}/calls", "user_id"),
    ("GET", "/history/{}/sms", "user_id"),
    ("GET", "/calls/{}", "call_sid"),
    ("POST", "/calls/{}/hangup", "call_sid"),
];

async fn ask(app: &TestApp, method: &str, path: &str) -> Answer {
    app.api(method, path, matches!(method, "POST" | "PUT").then(|| json!({}))).await
}

#[tokio::test]
async fn every_parameter_is_checked() {
    let database = Database::sqlite();
    let app = lived_in(&database).await;
    let before = state(&app).await;
    let huge = "9".repeat(5_000);
    let mut cases = Vec::new();
    for (method, path, parameter, least, most) in [
        ("GET", "/users/", "skip", 0, None),
        ("GET", "/users/", "limit", 1, Some(100)),
        ("POST", "/preferences/", "user_id", 1, None),
        ("GET", "/history/1", "limit", 1, Some(500)),
        ("GET", "/history/1/conversations", "limit", 1, Some(500)),
        ("GET", "/history/1/calls", "limit", 1, Some(500)),
        ("GET", "/history/1/sms", "limit", 1, Some(500)),
        ("GET", "/history/1/conversations", "before", 1, None),
        ("GET", "/history/1/calls", "before", 1, None),
        ("GET", "/history/1/sms", "before", 1, None),
    ] {
        let mut wrong: Vec<String> = NO_NUMBER[..14].iter().map(|&text| text.to_owned()).collect();
        wrong.extend(["", "%FF", "%ED%A0%80", "-5", &huge].map(str::to_owned));
        wrong.push((least - 1).to_string());
        wrong.extend(most.map(|most: i64| (most + 1).to_string()));
        cases.extend(wrong.into_iter().map(|value| (method, format!("{path}?{parameter}={value}"), parameter)));
        cases.push((method, format!("{path}?{parameter}=1&{parameter}=2"), parameter));
    }
    cases.push(("POST", "/preferences/".to_owned(), "user_id"));
    for (method, path, parameter) in WITH_ID {
        let wrong = NO_NUMBER.into_iter().chain(["-1", &huge]);
        cases.extend(wrong.map(|value| (method, path.replace("{}", value), parameter)));
    }
    for (method, path, parameter) in cases {
        let shown: String = path.chars().take(80).collect();
        let answer = ask(&app, method, &path).await;
        assert_refused(&answer, parameter, &format!("{method} {shown}"));
    }
    assert_eq!(state(&app).await, before);
}

#[tokio::test]
async fn a_path_that_is_no_text_leads_nowhere() {
    let database = Database::sqlite();
    let app = lived_in(&database).await;
    let before = state(&app).await;
    for (method, path, _) in WITH_ID {
        for bytes in ["%FF", "1%C3", "%ED%A0%80"] {
            problem(&ask(&app, method, &path.replace("{}", bytes)).await, 404);
        }
    }
    assert_eq!(state(&app).await, before);
}
