//! What the stories of the REST API share.

use crate::support::app::{Answer, KEY, TestApp};
use crate::support::wait::PATIENCE;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The problem that an answer is: its status and media type are right, and it has words for a person.
pub fn problem(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{}", answer.body);
    let problem = answer.json();
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "a sentence: {problem}");
    problem
}

/// Checks that an answer is 503 and says when to come back.
pub fn assert_come_back_later(answer: &Answer) {
    problem(answer, 503);
    let seconds: u32 = answer.headers["retry-after"].parse().expect("Retry-After in seconds");
    assert!(seconds >= 1);
}

/// The fields that a problem is about.
pub fn faulty_fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(
        errors.iter().all(|error| error["message"].as_str().is_some_and(|message| !message.is_empty())),
        "{problem}"
    );
    errors.iter().filter_map(|error| error["field"].as_str()).collect()
}

/// Checks that an object has these fields (separated by blanks) and no others.
pub fn assert_fields(object: &Value, fields: &str) {
    let mut expected: Vec<&str> = fields.split_whitespace().collect();
    let mut seen: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, expected, "{object}");
}

/// Checks that a value is a moment as RFC 3339 writes it, in UTC with `Z`.
pub fn assert_time(value: &Value) {
    use time::format_description::well_known::Rfc3339;
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    assert!(text.ends_with('Z') && time::OffsetDateTime::parse(text, &Rfc3339).is_ok(), "{text}");
}

/// The ids of a list's entries.
pub fn ids(list: &Value) -> Vec<i64> {
    list.as_array().expect("a list").iter().map(|entry| entry["id"].as_i64().expect("an id")).collect()
}

/// Sends bytes to the REST API with its key, as a body of this media type.
pub async fn send(app: &TestApp, method: &str, path: &str, media_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.http.request(method.parse().expect("a method"), format!("{}{path}", app.base));
    Answer::of(request.header("x-api-key", KEY).header("content-type", media_type).body(body)).await
}

/// Sends a request's bytes as they are and returns those of the answer; for what no HTTP client would send. The request
/// must ask for the connection to be closed.
pub async fn send_raw(app: &TestApp, request: &[u8]) -> String {
    let address = app.base.strip_prefix("http://").expect("the base is an address");
    let mut stream = TcpStream::connect(address).await.expect("the gateway listens");
    stream.write_all(request).await.expect("the gateway reads");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the gateway closes the connection").expect("the gateway answers");
    String::from_utf8_lossy(&answer).into_owned()
}

/// One operation that `/openapi.json` documents.
pub struct Operation {
    /// In upper case.
    pub method: String,
    /// With `1` for every id.
    pub path: String,
    /// As documented.
    pub document: Value,
}

impl Operation {
    /// Whether it asks for a key: there are ways to show one, and none of them is to show nothing.
    pub fn asks_for_key(&self) -> bool {
        let ways = self.document["security"].as_array().map(Vec::as_slice).unwrap_or_default();
        !ways.is_empty() && !ways.contains(&serde_json::json!({}))
    }

    /// Whether it takes a body.
    pub fn has_body(&self) -> bool {
        self.document.get("requestBody").is_some()
    }
}

/// All documented operations.
pub async fn operations(app: &TestApp) -> Vec<Operation> {
    let document = app.get("/openapi.json").await;
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, operations): (&String, &Value)| {
        let path: Vec<&str> = path.split('/').map(|step| if step.starts_with('{') { "1" } else { step }).collect();
        let (path, operations) = (path.join("/"), operations.as_object().expect("operations").clone());
        operations.into_iter().map(move |(method, document)| Operation {
            method: method.to_uppercase(),
            path: path.clone(),
            document,
        })
    };
    paths.iter().flat_map(of_path).collect()
}
