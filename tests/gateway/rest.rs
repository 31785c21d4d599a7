//! The REST API as its clients see it.

use crate::support::app::{CALLER, TestApp, on_both_databases};
use serde_json::{Value, json};
use std::time::Duration;

/// The names of an object's fields, sorted.
fn fields(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

fn is_utc(time: &Value) -> bool {
    time.as_str().is_some_and(|text| text.len() == "2026-01-15T10:30:00.000000Z".len() && text.ends_with('Z'))
}

on_both_databases! {
    async fn users_are_made_listed_changed_and_erased(database) {
        let app = TestApp::start(&database).await;
        let john = json!({ "username": "john_doe", "email": "john@example.com", "phone_number": CALLER });
        let made = app.api("POST", "/users/", Some(john)).await;
        assert_eq!((made.status, made.headers["content-type"].as_str()), (201, "application/json; charset=utf-8"));
        let made = made.json();
        assert_eq!(
            fields(&made),
            ["created_at", "email", "id", "is_active", "phone_number", "updated_at", "username"]
        );
        assert!(made["id"] == 1 && made["is_active"] == true && is_utc(&made["created_at"]), "{made}");
        app.create("/users", json!({ "username": "eve", "email": null })).await;
        assert_eq!(app.get("/users/1/").await, made);
        let name = |user: &Value| user["username"].clone();
        let names = |list: Value| list.as_array().unwrap().iter().map(name).collect::<Vec<_>>();
        assert_eq!(names(app.get("/users/").await), ["john_doe", "eve"]);
        assert_eq!(names(app.get("/users?skip=1&limit=1").await), ["eve"]);

        let change = json!({ "email": null, "is_active": false });
        let changed = app.api("PUT", "/users/1", Some(change)).await.json();
        assert_eq!((&changed["email"], &changed["is_active"]), (&Value::Null, &json!(false)));
        assert_eq!(changed["phone_number"], CALLER);
        let unchanged = app.api("PUT", "/users/1", Some(json!({}))).await.json();
        assert_eq!((&unchanged["username"], &unchanged["email"]), (&json!("john_doe"), &Value::Null));

        assert_eq!(app.api("DELETE", "/users/1", None).await.status, 204);
        assert_eq!(app.api("DELETE", "/users/1", None).await.problem().0, 404);
        for path in ["/users/1", "/preferences/1", "/history/1"] {
            assert_eq!(app.api("GET", path, None).await.problem().0, 404, "{path}");
        }
    }

    async fn what_must_be_unique_is_refused_in_words(database) {
        let app = TestApp::start(&database).await;
        app.create("/users/", json!({ "username": "a", "email": "a@example.com", "phone_number": CALLER })).await;
        app.create("/users/", json!({ "username": "b" })).await;
        for (field, value, detail) in [
            ("username", "a", "The username is taken by another user."),
            ("email", "a@example.com", "The email is taken by another user."),
            ("phone_number", CALLER, "The phone number is taken by another user."),
        ] {
            let change = app.api("PUT", "/users/2", Some(json!({ field: value }))).await;
            assert_eq!(change.problem(), (400, detail.to_owned()));
            let mut new = json!({ "username": "c" });
            new[field] = json!(value);
            assert_eq!(app.api("POST", "/users/", Some(new)).await.problem(), (400, detail.to_owned()));
        }
        app.create("/preferences/?user_id=1", json!({})).await;
        assert_eq!(app.api("POST", "/preferences/?user_id=1", Some(json!({}))).await.problem().0, 400);
        assert_eq!(app.api("POST", "/preferences/?user_id=9", Some(json!({}))).await.problem().0, 404);
    }

    async fn preferences_keep_a_language_and_a_voice_that_go_together(database) {
        let app = TestApp::start_with(&database, &[("AUTO_REPLY_DEFAULT", "false")]).await;
        let user = app.user("anna", CALLER).await;
        let defaults = app.create(&format!("/preferences/?user_id={user}"), json!({})).await;
        let id = defaults["id"].as_i64().unwrap();
        assert_eq!((&defaults["language"], &defaults["tts_voice"]), (&json!("en"), &json!("nova")));
        assert_eq!((&defaults["auto_reply_enabled"], &defaults["conversation_timeout"]), (&json!(false), &json!(300)));
        assert_eq!((&defaults["notifications_enabled"], &defaults["forward_number"]), (&json!(true), &Value::Null));
        assert_eq!(app.get(&format!("/preferences/{user}")).await, defaults);

        let path = format!("/preferences/{id}");
        let change = |body: Value| app.api("PUT", &path, Some(body));
        let german =
            json!({ "language": "DE_ch", "tts_voice": "Polly.Vicki-Neural", "forward_number": "+4915112345678" });
        let changed = change(german).await.json();
        assert_eq!((&changed["language"], &changed["forward_number"]), (&json!("de"), &json!("+4915112345678")));
        for (body, field) in [
            (json!({ "language": "en" }), "language"),
            (json!({ "tts_voice": "Polly.Ruth-Neural" }), "tts_voice"),
            (json!({ "tts_voice": "HAL" }), "tts_voice"),
            (json!({ "language": "tlh" }), "language"),
        ] {
            let refused = change(body).await;
            assert_eq!((refused.status, &refused.json()["errors"][0]["field"]), (422, &json!(field)));
        }
        assert_eq!(change(json!({ "forward_number": null })).await.json()["forward_number"], Value::Null);
        assert_eq!(app.api("DELETE", &path, None).await.status, 204);
        assert_eq!(app.api("DELETE", &path, None).await.problem().0, 404);
        assert_eq!(app.api("GET", &format!("/preferences/{user}"), None).await.problem().0, 404);
    }

    async fn a_conversation_is_answered_with_what_was_said_before_in_mind(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("anna", CALLER).await;
        app.create(&format!("/preferences/?user_id={user}"), json!({ "language": "es", "tts_voice": "onyx" })).await;
        app.llm.says("The capital of France is Paris.");
        let asked = json!({ "user_id": user, "text": "What is the capital of France?" });
        let first = app.create("/conversation/", asked).await;
        assert_eq!(
            fields(&first),
            [
                "created_at", "gpt_response", "id", "input_text", "input_tokens", "model_used", "output_tokens",
                "processing_time_ms", "tts", "user_id"
            ]
        );
        assert_eq!(first["gpt_response"], "The capital of France is Paris.");
        assert!(first["input_tokens"].is_i64() && first["processing_time_ms"].is_f64() && is_utc(&first["created_at"]));
        assert_eq!((&first["tts"]["language"], &first["tts"]["tts_voice"]), (&json!("es"), &json!("onyx")));
        assert!(first["tts"]["twilio_voice"].as_str().unwrap().contains("es-ES"), "{}", first["tts"]);

        app.create("/conversation/", json!({ "user_id": user, "text": "And of Italy?" })).await;
        let told = app.llm.requests()[1]["messages"].clone();
        let told: Vec<_> = told.as_array().unwrap()[1..].iter().map(|message| message["content"].clone()).collect();
        assert_eq!(told, ["What is the capital of France?", "The capital of France is Paris.", "And of Italy?"]);

        let turns = app.get(&format!("/history/{user}/conversations")).await;
        assert_eq!((&turns[0]["input_text"], &turns[1]["input_text"]), (&json!("And of Italy?"), &first["input_text"]));
        assert_eq!((&turns[1]["channel"], &turns[1]["call_sid"]), (&json!("api"), &Value::Null));
        let older = app.get(&format!("/history/{user}/conversations?before={}&limit=5", turns[0]["id"])).await;
        assert_eq!(older, json!([turns[1]]));
        let newest = json!({ "conversations": [turns[0]], "calls": [], "sms": [] });
        assert_eq!(app.get(&format!("/history/{user}?limit=1")).await, newest);
    }

    async fn a_text_is_decided_and_nothing_is_sent(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("anna", CALLER).await;
        for (verdict, decision, needs_human) in [("yes", "yes", false), ("no", "no", false), ("unsure", "no", true)] {
            app.llm.decides(verdict, "So be it.");
            let answer = app.create("/sms/decision", json!({ "user_id": user, "text": "Can you help me?" })).await;
            assert_eq!((&answer["decision"], &answer["needs_human"]), (&json!(decision), &json!(needs_human)));
            assert_eq!((&answer["incoming_text"], &answer["reply_text"]), (&json!("Can you help me?"), &json!("So be it.")));
            let text = app.get(&format!("/history/{user}/sms?limit=1")).await[0].clone();
            assert_eq!((&text["id"], &text["decision"]), (&answer["id"], &json!(verdict)));
            assert_eq!((&text["media"], &text["reply_status"]), (&json!([]), &Value::Null));
        }
        assert_eq!(app.twilio.post_count(), 0);
    }

    async fn a_model_that_fails_is_503_and_leaves_no_trace(database) {
        let settings = [("MAX_RETRIES", "0"), ("OPENAI_TIMEOUT", "0.3")];
        let app = TestApp::start_with(&database, &settings).await;
        let user = app.user("anna", CALLER).await;
        for path in ["/conversation/", "/sms/decision"] {
            let ask = || app.api("POST", path, Some(json!({ "user_id": user, "text": "Hello" })));
            app.llm.fails_with_retry_after(429, 17);
            let busy = ask().await;
            assert_eq!((busy.problem().0, busy.headers["retry-after"].as_str()), (503, "17"));
            app.llm.hangs();
            let late = ask().await;
            assert_eq!(late.problem(), (503, "The model did not answer in time.".to_owned()));
            assert_eq!(late.headers["retry-after"], "5");
        }
        assert_eq!(app.get(&format!("/history/{user}")).await, json!({ "conversations": [], "calls": [], "sms": [] }));
    }

    async fn a_request_ends_with_the_request_timeout(database) {
        let app = TestApp::start_with(&database, &[("REQUEST_TIMEOUT", "0.2")]).await;
        let user = app.user("anna", CALLER).await;
        app.llm.delay(Duration::from_secs(3));
        let late = app.api("POST", "/conversation/", Some(json!({ "user_id": user, "text": "Hello" }))).await;
        assert_eq!(late.problem(), (503, "The answer took too long.".to_owned()));
        assert!(late.headers.contains_key("retry-after"));
    }

    async fn while_the_database_is_out_of_reach_clients_are_told_to_come_back(database) {
        let app = TestApp::start(&database).await;
        app.close_database().await;
        for (method, path, body) in [
            ("GET", "/users/", None),
            ("POST", "/users/", Some(json!({ "username": "eve" }))),
            ("POST", "/conversation/", Some(json!({ "user_id": 1, "text": "Hello" }))),
            ("GET", "/health/ready", None),
        ] {
            let answer = app.api(method, path, body).await;
            assert_eq!(answer.problem(), (503, "The database is out of reach right now.".to_owned()), "{path}");
            assert_eq!(answer.headers["retry-after"], "5");
        }
        let health = app.get("/health").await;
        assert_eq!((&health["status"], &health["database"]), (&json!("ok"), &json!("unreachable")));
    }

    async fn health_and_documentation_need_no_key(database) {
        let app = TestApp::start(&database).await;
        let get = async |path: &str| {
            let answer = app.http.get(format!("{}{path}", app.base)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            answer.text().await.unwrap()
        };
        for path in ["/health", "/health/ready/"] {
            let health: Value = serde_json::from_str(&get(path).await).unwrap();
            assert_eq!((&health["status"], &health["database"]), (&json!("ok"), &json!("ok")));
            assert!(health["version"].is_string() && health["uptime_seconds"].is_u64());
        }
        let document: Value = serde_json::from_str(&get("/openapi.json").await).unwrap();
        assert!(document["paths"]["/users/{user_id}"]["put"]["responses"]["422"].is_object());
        for page in ["/docs", "/redoc"] {
            let page = get(page).await;
            assert!(page.contains("createUser"), "the document is inside");
            for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
                assert!(!page.contains(outside), "{outside}");
            }
        }
    }
}
