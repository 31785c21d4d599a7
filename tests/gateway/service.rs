//! Health, the key, and the documentation.

use crate::api_support::{assert_come_back_later, assert_fields, operations, problem, send};
use crate::support::app::{ACCOUNT, Answer, CALLER, Database, KEY, OURS, TOKEN, TestApp, on_both_databases};
use crate::support::postgres;
use crate::support::signing::{encode_form, sign};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};
use std::collections::BTreeSet;

on_both_databases! {
    async fn while_the_database_is_out_of_reach_clients_are_told_to_come_back(database) {
        let app = TestApp::start(&database).await;
        app.close_database().await;
        for (method, path, body) in [
            ("GET", "/users/", None),
            ("POST", "/users/", Some(json!({ "username": "eve" }))),
            ("POST", "/conversation/", Some(json!({ "user_id": 1, "text": "Hello" }))),
            ("GET", "/health/ready", None),
        ] {
            assert_come_back_later(&app.api(method, path, body).await);
        }
        let health = app.get("/health").await;
        assert_eq!((&health["status"], &health["database"]), (&json!("ok"), &json!("unreachable")));
    }

    async fn health_is_told_to_everybody(database) {
        let app = TestApp::start(&database).await;
        for path in ["/health", "/health/ready"] {
            let answer = Answer::of(app.http.get(format!("{}{path}", app.base))).await;
            assert_eq!((answer.status, answer.headers["content-type"].starts_with("application/json")), (200, true));
            let health = answer.json();
            assert!(health["uptime_seconds"].is_u64() && health["status"] == "ok" && health["database"] == "ok");
            assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
        }
    }

    async fn a_fault_inside_is_told_without_internals(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        execute(&database, "ALTER TABLE user_preferences RENAME TO lost_table").await;
        let told = problem(&app.api("GET", &format!("/preferences/{user}"), None).await, 500);
        let words = told.to_string().to_lowercase();
        for internal in ["table", "user_preferences", "sql", "column", "relation", ".rs", "panic"] {
            assert!(!words.contains(internal), "{internal}: {told}");
        }
        execute(&database, "ALTER TABLE lost_table RENAME TO user_preferences").await;
        problem(&app.api("GET", &format!("/preferences/{user}"), None).await, 404);
    }
}

async fn execute(database: &Database, sql: &'static str) {
    let sql = AssertSqlSafe(sql);
    match database {
        Database::Sqlite(_) => {
            let mut connection = sqlx::SqliteConnection::connect(&database.url()).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
        Database::Postgres(url) => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
    }
}

#[tokio::test]
async fn with_the_database_out_of_reach_the_gateway_lives_and_is_not_ready() {
    let Some(database) = Database::postgres().await else { return };
    let app = TestApp::start(&database).await;
    app.user("ann", CALLER).await;
    postgres::cut(&database.url()).await;
    let (health, ready) = tokio::join!(app.get("/health"), app.api("GET", "/health/ready", None));
    assert!(health["status"] == "ok" && health["database"] != "ok", "{health}");
    assert_come_back_later(&ready);
    for (method, path) in [("GET", "/users/1"), ("DELETE", "/users/1"), ("GET", "/history/1")] {
        assert_come_back_later(&app.api(method, path, None).await);
    }
    postgres::restore(&database.url()).await;
    app.until("/health", |health| health["database"] == "ok").await;
    assert_eq!(app.api("GET", "/health/ready", None).await.status, 200);
    assert_eq!(app.get("/users/1").await["username"], "ann");
}

#[tokio::test]
async fn every_operation_but_health_needs_the_key() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    let open = ["/health", "/health/ready"];
    let wrong = [
        None,
        Some(("x-api-key", String::new())),
        Some(("x-api-key", "wrong".to_owned())),
        Some(("x-api-key", KEY[1..].to_owned())),
        Some(("x-api-key", format!("{KEY}x"))),
        Some(("x-api-key", KEY.to_uppercase())),
        Some(("x-api-key", format!("Bearer {KEY}"))),
        Some(("authorization", KEY.to_owned())),
        Some(("authorization", "Bearer ".to_owned())),
        Some(("authorization", "Bearer wrong".to_owned())),
        Some(("authorization", format!("Basic {KEY}"))),
    ];
    let right = [
        ("x-api-key", KEY.to_owned()),
        ("authorization", format!("Bearer {KEY}")),
        ("authorization", format!("bearer {KEY}")),
    ];
    for operation in operations(&app).await {
        let named = format!("{} {}", operation.method, operation.path);
        let request = || app.http.request(operation.method.parse().unwrap(), format!("{}{}", app.base, operation.path));
        assert_eq!(operation.asks_for_key(), !open.contains(&operation.path.as_str()), "{named}");
        if !operation.asks_for_key() {
            assert_eq!(Answer::of(request()).await.status, 200, "{named}");
            continue;
        }
        for header in &wrong {
            // What else is wrong with a request is nobody's business who has no key.
            let request =
                request().header("content-type", "application/json").body("no json").query(&[("api_key", KEY)]);
            let answer =
                Answer::of(header.iter().fold(request, |request, (name, value)| request.header(*name, value))).await;
            problem(&answer, 401);
            assert!(answer.headers.contains_key("www-authenticate"), "{named}");
        }
        for (name, value) in &right {
            let answer = Answer::of(request().header(*name, value)).await;
            assert!(![401, 403].contains(&answer.status), "{named} with {name}: {}", answer.status);
        }
    }
    assert_eq!((app.get("/users/").await, app.llm.request_count()), (json!([]), 0));
}

#[tokio::test]
async fn the_pages_of_the_documentation_load_nothing_from_elsewhere() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    for path in ["/docs", "/redoc"] {
        let page = Answer::of(app.http.get(format!("{}{path}", app.base))).await;
        assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
        let policy = &page.headers["content-security-policy"];
        assert!(policy.contains("default-src 'none'") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        let markup = without_scripts(&page.body);
        for address in addresses(&markup) {
            let is_own =
                !address.starts_with("//") && (address.starts_with(['#', '/', '.']) || address.starts_with("data:"));
            assert!(is_own, "{path} loads {address}");
        }
        assert!(page.body.contains("createUser"), "the documentation is inside");
        assert!(page.body.len() > 100_000, "and so is what shows it");
    }
    let document = Answer::of(app.http.get(format!("{}/openapi.json", app.base))).await;
    assert_eq!((document.status, document.headers["content-type"].as_str()), (200, "application/json"));
}

/// A page without what stands inside its scripts; their opening tags stay.
fn without_scripts(page: &str) -> String {
    let mut parts = page.split("</script>");
    let markup = parts.by_ref().map(|part| match part.find("<script") {
        Some(start) => &part[..start + part[start..].find('>').expect("a tag ends")],
        None => part,
    });
    markup.collect::<Vec<_>>().join("\n")
}

/// Every `src`, `href`, `url(…)` and `@import` in a page's markup and styles.
fn addresses(markup: &str) -> Vec<String> {
    let after = |mark: &str| -> Vec<String> {
        let rests = markup.split(mark).skip(1);
        let address = |rest: &str| {
            let rest = rest.trim_start_matches(['"', '\'', ' ', '(']);
            rest.split(['"', '\'', ')', '>', ' ']).next().unwrap_or_default().to_owned()
        };
        rests.map(address).filter(|address| !address.is_empty()).collect()
    };
    ["src=", "href=", "url(", "@import", "action="].into_iter().flat_map(after).collect()
}

#[tokio::test]
async fn every_operation_documents_itself_and_its_failures() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    let operations = operations(&app).await;
    let mut names = BTreeSet::new();
    for operation in &operations {
        let (named, document) = (format!("{} {}", operation.method, operation.path), &operation.document);
        for words in ["operationId", "summary", "description"] {
            assert!(document[words].as_str().is_some_and(|text| !text.is_empty()), "{named} has no {words}");
        }
        assert!(names.insert(document["operationId"].to_string()), "{named} has another's name");
        let responses = document["responses"].as_object().unwrap();
        let mut expected: Vec<&str> = Vec::new();
        if operation.asks_for_key() {
            expected.extend(["401", "500", "503"]);
        }
        if operation.has_body() {
            expected.extend(["413", "415", "422"]);
        }
        if operation.path.contains("/1") {
            expected.extend(["404", "422"]);
        }
        if operation.path == "/health/ready" {
            expected.push("503");
        }
        for status in expected {
            assert!(responses.contains_key(status), "{named} does not document {status}");
        }
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
            assert!(response["content"]["application/problem+json"]["schema"].is_object(), "{named} {status}");
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{named} {status}");
        }
    }
    assert_eq!(operations.len(), 29, "{names:?}");
}

/// The id of a text that has a draft.
async fn drafted(app: &TestApp) -> Value {
    app.llm.decides("unsure", "I will ask.");
    let text = [("AccountSid", ACCOUNT), ("MessageSid", "SM1"), ("From", CALLER), ("To", OURS), ("Body", "Hello")];
    let signature = sign(TOKEN, "https://gateway.example.com/twilio/sms", &text);
    app.post_form("/twilio/sms", &encode_form(&text), Some(&signature)).await;
    app.until("/sms/drafts/?user_id=1", |drafts| !drafts[0].is_null()).await[0]["id"].clone()
}

#[tokio::test]
async fn the_documents_examples_are_accepted() {
    let database = Database::sqlite();
    let app = TestApp::start_with(&database, &[("PUBLIC_BASE_URL", "https://gateway.example.com")]).await;
    let document = app.get("/openapi.json").await;
    let mut with_body = operations(&app).await;
    with_body.retain(|operation| operation.has_body());
    // Users first, then what belongs to them.
    with_body.sort_by_key(|operation| (operation.path.trim_end_matches('/') != "/users", operation.method.clone()));
    app.llm.always_decides("yes", "Fine.");
    for operation in with_body {
        let reference =
            operation.document["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
        let example = document.pointer(reference.trim_start_matches('#')).unwrap()["example"].clone();
        let path = match (operation.method.as_str(), operation.path.trim_end_matches('/')) {
            ("POST", "/preferences") => "/preferences/?user_id=1".to_owned(),
            ("POST", "/sms/1/send") => format!("/sms/{}/send", drafted(&app).await),
            _ => operation.path.clone(),
        };
        let answer = send(&app, &operation.method, &path, "application/json", example.to_string()).await;
        assert!((200..300).contains(&answer.status), "{} {path}: {example} → {}", operation.method, answer.body);
    }
}

#[tokio::test]
async fn the_contract_is_what_it_was() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    // serde_json reads a float as large as this one only nearly.
    let document = app.api("GET", "/openapi.json", None).await.body.replace("9007199254740991.0", "9007199254740991");
    let document: Value = serde_json::from_str(&document).unwrap();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.")
            && document["info"]["version"] == env!("CARGO_PKG_VERSION")
    );
    assert_fields(&document["components"]["securitySchemes"], "ApiKey Bearer");
    let mut lines = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let words =
                |value: &Value| value.as_array().into_iter().flatten().map(parameter).collect::<Vec<_>>().join(", ");
            let statuses: BTreeSet<&str> =
                operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            let statuses = Vec::from_iter(statuses).join(" ");
            lines.push(format!("{} {path} ({}) → {statuses}", method.to_uppercase(), words(&operation["parameters"])));
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        lines.push(String::new());
        lines.push(format!("{name}: {}", told(schema)));
        let needed = schema["required"].as_array().cloned().unwrap_or_default();
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let mark = if needed.contains(&json!(field)) { "" } else { "?" };
            lines.push(format!("  {field}{mark}: {}", told(schema)));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

fn parameter(parameter: &Value) -> String {
    let mark = if parameter["required"] == true { "" } else { "?" };
    format!("{}{mark}: {}", parameter["name"].as_str().unwrap(), told(&parameter["schema"]))
}

/// A schema in a few words: type, format, limits.
fn told(schema: &Value) -> String {
    let known = ["format", "nullable", "minimum", "maximum", "minLength", "maxLength", "pattern", "default", "enum"];
    let kind = match (schema.get("items"), schema["allOf"].get(0)) {
        (Some(items), _) => format!("list of {}", told(items)),
        (_, Some(other)) => told(other),
        _ => schema["type"].as_str().or(schema["$ref"].as_str()).unwrap_or_default().to_owned(),
    };
    let shown = |value: &Value| value.as_f64().map_or_else(|| value.to_string(), |number| number.to_string());
    let limits = known.iter().filter_map(|name| Some(format!("{name} {}", shown(schema.get(name)?))));
    [kind].into_iter().chain(limits).collect::<Vec<_>>().join(", ")
}
