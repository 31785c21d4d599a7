//! How the gateway behaves as an HTTP server: hosts, origins, paths, methods, sizes, headers.

use crate::api_support::{operations, problem, send, send_raw};
use crate::support::app::{Answer, CALLER, Database, KEY, TestApp};
use serde_json::json;
use std::collections::BTreeSet;

const ELSEWHERE: &str = "https://elsewhere.example";
const LISTED: &str = "https://app.example.com";

/// Asks as a script of a page of this origin does.
async fn from_page(app: &TestApp, method: &str, path: &str, origin: &str) -> Answer {
    let request = app.http.request(method.parse().unwrap(), format!("{}{path}", app.base)).header("origin", origin);
    if method != "OPTIONS" {
        return Answer::of(request.header("x-api-key", KEY)).await;
    }
    let request = request.header("access-control-request-method", "PUT");
    Answer::of(request.header("access-control-request-headers", "content-type,x-api-key,authorization")).await
}

/// Whether a browser would let a page of this origin use the API and read its answers.
async fn is_let_in(app: &TestApp, origin: &str) -> bool {
    let allows = |answer: &Answer| {
        answer.headers.get("access-control-allow-origin").is_some_and(|allowed| allowed == origin || allowed == "*")
    };
    let preflight = from_page(app, "OPTIONS", "/users/1", origin).await;
    let list = |name: &str| preflight.headers.get(name).map(|list| list.to_lowercase()).unwrap_or_default();
    let is_allowed = (200..300).contains(&preflight.status)
        && allows(&preflight)
        && list("access-control-allow-methods").contains("put")
        && ["content-type", "x-api-key", "authorization"]
            .iter()
            .all(|name| list("access-control-allow-headers").contains(name));
    let mut readable = BTreeSet::new();
    for (method, path) in
        [("GET", "/users/"), ("GET", "/users/404"), ("GET", "/nowhere"), ("DELETE", "/users/"), ("GET", "/health")]
    {
        let answer = from_page(app, method, path, origin).await;
        assert!(!answer.headers.contains_key("access-control-allow-credentials"), "never with credentials");
        readable.insert(allows(&answer));
    }
    assert_eq!(readable, BTreeSet::from([is_allowed]), "failures are read as answers are: {origin}");
    is_allowed
}

#[tokio::test]
async fn pages_of_any_origin_are_let_in_unless_origins_are_listed() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    assert!(is_let_in(&app, ELSEWHERE).await);
    let settings = [("CORS_ORIGINS", r#"["https://app.example.com", "http://localhost:3000"]"#)];
    let app = app.restart(&database, &settings).await;
    assert!(is_let_in(&app, LISTED).await && is_let_in(&app, "http://localhost:3000").await);
    for origin in
        [ELSEWHERE, "http://app.example.com", "https://app.example.com.evil.example", "http://localhost:3001", "null"]
    {
        assert!(!is_let_in(&app, origin).await, "{origin}");
    }
    let listed = from_page(&app, "GET", "/users/", LISTED).await;
    assert!(listed.headers["vary"].to_lowercase().contains("origin"), "caches must keep the origins apart");
}

#[tokio::test]
async fn the_gateways_own_pages_are_always_served() {
    let database = Database::sqlite();
    let settings = [("CORS_ORIGINS", "[]"), ("PUBLIC_BASE_URL", "https://gateway.example.com")];
    let app = TestApp::start_with(&database, &settings).await;
    for origin in [app.base.as_str(), "https://gateway.example.com"] {
        for path in ["/users/", "/openapi.json"] {
            assert_eq!(from_page(&app, "GET", path, origin).await.status, 200, "{origin}");
        }
        let body = json!({ "username": origin }).to_string();
        let request = app.http.post(format!("{}/users/", app.base)).header("origin", origin).header("x-api-key", KEY);
        assert_eq!(Answer::of(request.header("content-type", "application/json").body(body)).await.status, 201);
    }
    assert!(!is_let_in(&app, ELSEWHERE).await);
}

#[tokio::test]
async fn only_trusted_hosts_are_served_where_some_are_named() {
    let database = Database::sqlite();
    let app = TestApp::start_with(&database, &[("TRUSTED_HOSTS", "gateway.example.com, 10.0.0.7")]).await;
    let named = async |host: &str, path: &str| {
        Answer::of(app.http.get(format!("{}{path}", app.base)).header("host", host).header("x-api-key", KEY)).await
    };
    for host in ["gateway.example.com", "gateway.example.com:8443", "GateWay.Example.COM", "10.0.0.7"] {
        assert_eq!(named(host, "/users/").await.status, 200, "{host}");
    }
    for host in [
        "evil.example",
        "gateway.example.com.evil.example",
        "evil.example:443",
        "xgateway.example.com",
        "10.0.0.70",
        "",
    ] {
        for path in ["/users/", "/health", "/docs", "/nowhere"] {
            problem(&named(host, path).await, 400);
        }
    }
    assert_eq!(app.text("SM1", CALLER, "Hello").await.status, 400, "webhooks are no exception");
    let nameless = send_raw(&app, b"GET /health HTTP/1.0\r\n\r\n").await;
    assert!(nameless.starts_with("HTTP/1.0 400") || nameless.starts_with("HTTP/1.1 400"), "{nameless}");
}

#[tokio::test]
async fn paths_answer_with_and_without_their_trailing_slash() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    app.user("ann", CALLER).await;
    app.create("/preferences/?user_id=1", json!({})).await;
    for operation in operations(&app).await {
        let bare = operation.path.trim_end_matches('/');
        let (one, other) = if operation.method == "GET" {
            (app.api("GET", bare, None).await, app.api("GET", &format!("{bare}/"), None).await)
        } else {
            let send = async |path: &str| send(&app, &operation.method, path, "text/plain", "").await;
            // The second deletion would find nothing.
            if operation.method == "DELETE" {
                let keyless = async |path: String| Answer::of(app.http.delete(path)).await;
                (keyless(format!("{}{bare}", app.base)).await, keyless(format!("{}{bare}/", app.base)).await)
            } else {
                (send(bare).await, send(&format!("{bare}/")).await)
            }
        };
        assert_eq!(one.status, other.status, "{} {bare}", operation.method);
        // That there is no such job or text is an answer of the operation's.
        let is_reached = ![404, 405].contains(&one.status) || one.body.contains("There is no ");
        assert!(is_reached && !(300..400).contains(&one.status), "{} {bare}: {}", operation.method, one.body);
        if !bare.starts_with("/health") {
            assert_eq!(one.body, other.body, "{} {bare}", operation.method);
        }
    }
    for page in ["/docs", "/redoc", "/openapi.json"] {
        assert_eq!(
            (app.api("GET", page, None).await.status, app.api("GET", &format!("{page}/"), None).await.status),
            (200, 200)
        );
    }
    assert_eq!(app.get("/users?limit=1").await, app.get("/users/?limit=1").await);
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_told_as_problems() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    for path in [
        "/",
        "/nowhere",
        "/users/1/nothing",
        "/history",
        "/preferences/1/x",
        "//",
        "/users//1",
        "/%2e%2e/etc/passwd",
        "/%FF",
    ] {
        problem(&app.api("GET", path, None).await, 404);
    }
    for (method, path, allowed) in [
        ("PATCH", "/users/1", "DELETE GET HEAD PUT"),
        ("DELETE", "/users/", "GET HEAD POST"),
        ("GET", "/conversation/", "POST"),
        ("GET", "/sms/decision", "POST"),
        ("POST", "/health", "GET HEAD"),
        ("POST", "/history/1", "GET HEAD"),
        ("POST", "/docs", "GET HEAD"),
        ("POST", "/openapi.json", "GET HEAD"),
        ("GET", "/twilio/sms", "POST"),
        ("TRACE", "/users/1", "DELETE GET HEAD PUT"),
        ("SPLICE", "/users/1", "DELETE GET HEAD PUT"),
    ] {
        let answer = app.api(method, path, None).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        let allow = answer.headers.get("allow").unwrap_or_else(|| panic!("{method} {path} has no Allow"));
        let mut listed: Vec<&str> = allow.split(',').map(str::trim).collect();
        listed.sort_unstable();
        assert_eq!(listed.join(" "), allowed, "{method} {path}");
        if !path.starts_with("/twilio") {
            problem(&answer, 405);
        }
    }
    for path in ["/users/", "/health", "/docs"] {
        let head = app.api("HEAD", path, None).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
}

#[tokio::test]
async fn bodies_are_json_of_at_most_a_megabyte() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    app.user("ann", CALLER).await;
    app.create("/preferences/?user_id=1", json!({})).await;
    let huge = || format!(r#"{{ "text": "{}" }}"#, "x".repeat(1_100_000));
    let in_chunks = || {
        let chunks =
            huge().into_bytes().chunks(50_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
        reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
    };
    for operation in operations(&app).await.into_iter().filter(|operation| operation.has_body()) {
        let path = format!("{}?user_id=1", operation.path);
        let send = async |kind: &str, body: reqwest::Body| send(&app, &operation.method, &path, kind, body).await;
        problem(&send("application/json", huge().into()).await, 413);
        problem(&send("application/json", in_chunks()).await, 413);
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "json",
            "",
        ] {
            problem(&send(kind, "{}".into()).await, 415);
        }
        let url = format!("{}{path}", app.base);
        let untyped = app.http.request(operation.method.parse().unwrap(), url).header("x-api-key", KEY).body("{}");
        problem(&Answer::of(untyped).await, 415);
        let large = format!(r#"{{ "unknown": "{}" }}"#, "x".repeat(900_000));
        for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
            assert!(![413, 415].contains(&send(kind, large.clone().into()).await.status), "{kind}");
        }
    }
    assert_eq!((app.get("/users/").await.as_array().unwrap().len(), app.llm.request_count()), (1, 0));
}

#[tokio::test]
async fn every_answer_bears_its_own_id_and_guards_the_browser() {
    let database = Database::sqlite();
    let app = TestApp::start_with(&database, &[("PUBLIC_BASE_URL", "https://gateway.example.com")]).await;
    let mut answers = Vec::new();
    for (method, path) in [
        ("GET", "/health"),
        ("GET", "/users/"),
        ("GET", "/users/404"),
        ("GET", "/nowhere"),
        ("PATCH", "/users/1"),
        ("POST", "/users/"),
        ("GET", "/docs"),
        ("POST", "/twilio/sms"),
        ("OPTIONS", "/users/"),
    ] {
        answers.push(app.api(method, path, None).await);
        answers.push(from_page(&app, method, path, ELSEWHERE).await);
    }
    answers.push(Answer::of(app.http.get(format!("{}/users/", app.base))).await);
    let ids: BTreeSet<&String> = answers.iter().map(|answer| &answer.headers["x-request-id"]).collect();
    assert_eq!(ids.len(), answers.len());
    for answer in &answers {
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer");
        assert_eq!(answer.headers["x-frame-options"], "DENY");
        assert!(answer.headers["strict-transport-security"].starts_with("max-age="));
        assert!(answer.headers.contains_key("cache-control") && !answer.headers.contains_key("server"));
    }
    assert!(app.api("GET", "/users/", None).await.headers["content-security-policy"].contains("default-src 'none'"));
}
