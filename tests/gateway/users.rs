//! Users, from their making to their erasure.

use crate::api_support::{assert_fields, assert_time, faulty_fields, ids, problem};
use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};

const FIELDS: &str = "id username email phone_number is_active created_at updated_at";

on_both_databases! {
    async fn a_user_is_made_read_changed_and_erased(database) {
        let app = TestApp::start(&database).await;
        let given = json!({ "username": "john_doe", "email": "john@example.com", "phone_number": CALLER });
        let answer = app.api("POST", "/users/", Some(given.clone())).await;
        assert_eq!(answer.status, 201);
        let made = answer.json();
        assert_fields(&made, FIELDS);
        for (field, value) in given.as_object().unwrap() {
            assert_eq!(&made[field], value);
        }
        assert!(made["id"].is_i64() && made["is_active"] == true);
        assert_time(&made["created_at"]);
        assert_eq!(made["created_at"], made["updated_at"]);
        let path = format!("/users/{}", made["id"]);
        assert_eq!(app.get(&path).await, made);
        assert_eq!(app.get("/users/").await, json!([made]));

        app.clock.advance(60);
        let change = json!({ "email": "newemail@example.com", "is_active": false });
        let changed = app.api("PUT", &path, Some(change)).await;
        assert_eq!(changed.status, 200);
        let changed = changed.json();
        let mut expected = made.clone();
        expected["email"] = json!("newemail@example.com");
        expected["is_active"] = json!(false);
        expected["updated_at"] = changed["updated_at"].clone();
        assert_eq!(changed, expected, "what is not named stays");
        assert!(changed["updated_at"].as_str() > made["updated_at"].as_str());
        assert_eq!(app.get(&path).await, changed);

        let gone = app.api("DELETE", &path, None).await;
        assert_eq!((gone.status, gone.body.as_str()), (204, ""));
        for method in ["GET", "PUT", "DELETE"] {
            problem(&app.api(method, &path, (method == "PUT").then(|| json!({}))).await, 404);
        }
        assert_eq!(app.get("/users/").await, json!([]));
    }

    async fn only_the_name_is_needed_and_the_rest_can_be_taken_away(database) {
        let app = TestApp::start(&database).await;
        let bare = app.create("/users/", json!({ "username": "ann" })).await;
        assert_fields(&bare, FIELDS);
        assert!(bare["email"].is_null() && bare["phone_number"].is_null());
        let nulls = json!({ "username": "bob", "email": null, "phone_number": null });
        app.create("/users/", nulls).await;
        let full = json!({ "username": "eve", "email": "eve@example.com", "phone_number": CALLER });
        let path = format!("/users/{}", app.create("/users/", full).await["id"]);
        app.api("PUT", &path, Some(json!({ "email": null, "phone_number": null }))).await;
        let emptied = app.get(&path).await;
        assert_eq!((&emptied["username"], &emptied["email"]), (&json!("eve"), &Value::Null));
        assert!(emptied["phone_number"].is_null());
    }

    async fn name_address_and_number_are_nobody_elses(database) {
        let app = TestApp::start(&database).await;
        let ann = json!({ "username": "ann", "email": "ann@example.com", "phone_number": CALLER });
        let first = app.create("/users/", ann.clone()).await;
        let bob = app.create("/users/", json!({ "username": "bob" })).await;
        let path = format!("/users/{}", bob["id"]);
        for (field, words) in [("username", "username"), ("email", "email"), ("phone_number", "phone number")] {
            let mut body = json!({ "username": "new" });
            body[field] = ann[field].clone();
            for (method, path) in [("POST", "/users/"), ("PUT", path.as_str())] {
                let told = problem(&app.api(method, path, Some(body.clone())).await, 400);
                assert!(told["detail"].as_str().unwrap().contains(words), "{told}");
                assert_eq!(faulty_fields(&told), [field]);
            }
        }
        assert_eq!(app.get("/users/").await, json!([first, bob]), "nothing was stored");
        let same = app.api("PUT", &format!("/users/{}", first["id"]), Some(ann.clone())).await;
        assert_eq!(same.status, 200, "one's own values are free");
        app.api("DELETE", &format!("/users/{}", first["id"]), None).await;
        let again = app.create("/users/", ann).await;
        assert!(again["id"].as_i64() > bob["id"].as_i64(), "an id is never used again");
    }

    async fn of_simultaneous_users_with_one_name_one_is_made(database) {
        let app = TestApp::start(&database).await;
        let make = || app.api("POST", "/users/", Some(json!({ "username": "ann" })));
        let (a, b, c, d) = tokio::join!(make(), make(), make(), make());
        let mut statuses = [a, b, c, d].map(|answer| answer.status);
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 400, 400, 400]);
        assert_eq!(app.get("/users/").await.as_array().unwrap().len(), 1);
    }

    async fn simultaneous_changes_of_different_fields_all_last(database) {
        let app = TestApp::start(&database).await;
        let path = format!("/users/{}", app.user("ann", CALLER).await);
        let change = |body| app.api("PUT", &path, Some(body));
        tokio::join!(
            change(json!({ "username": "anna" })),
            change(json!({ "email": "anna@example.com" })),
            change(json!({ "phone_number": OURS })),
            change(json!({ "is_active": false })),
        );
        let user = app.get(&path).await;
        assert_eq!((&user["username"], &user["email"]), (&json!("anna"), &json!("anna@example.com")));
        assert_eq!((&user["phone_number"], &user["is_active"]), (&json!(OURS), &json!(false)));
    }

    async fn users_are_listed_in_pages(database) {
        let app = TestApp::start(&database).await;
        let mut made = Vec::new();
        for n in 0..12 {
            made.push(app.create("/users/", json!({ "username": format!("user {n}") })).await["id"].as_i64().unwrap());
        }
        let page = async |query: &str| ids(&app.get(&format!("/users/{query}")).await);
        assert_eq!(page("").await, made[..10], "ten, unless asked otherwise");
        assert_eq!(page("?skip=10").await, made[10..]);
        assert_eq!(page("?skip=3&limit=4").await, made[3..7]);
        assert_eq!(page("?limit=1").await, made[..1]);
        assert_eq!(page("?limit=100").await, made);
        assert_eq!(page("?skip=12").await, [0_i64; 0]);
        assert_eq!(page("?skip=9007199254740991").await, [0_i64; 0]);
        for (query, field) in [("limit=0", "limit"), ("limit=101", "limit"), ("skip=-1", "skip")] {
            let told = problem(&app.api("GET", &format!("/users/?{query}"), None).await, 422);
            assert_eq!(faulty_fields(&told), [field]);
        }
    }

    async fn erasing_a_person_erases_preferences_and_history(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let other = app.user("bob", "+14155550199").await;
        for id in [user, other] {
            app.create(&format!("/preferences/?user_id={id}"), json!({})).await;
            app.create("/conversation/", json!({ "user_id": id, "text": "my secret" })).await;
        }
        app.llm.always_decides("yes", "Fine.");
        app.create("/sms/decision", json!({ "user_id": user, "text": "my secret" })).await;
        app.text("SM1", CALLER, "my secret").await;
        app.call("CA1", CALLER, OURS).rings().await;
        app.call("CA1", CALLER, OURS).talks(1, "my secret").await;
        let preferences = app.get(&format!("/preferences/{user}")).await["id"].clone();
        let untouched = [app.get(&format!("/preferences/{other}")).await, app.get(&format!("/history/{other}")).await];

        assert_eq!(app.api("DELETE", &format!("/users/{user}"), None).await.status, 204);
        for path in [format!("/preferences/{user}"), format!("/history/{user}"), format!("/history/{user}/sms")] {
            problem(&app.api("GET", &path, None).await, 404);
        }
        problem(&app.api("PUT", &format!("/preferences/{preferences}"), Some(json!({}))).await, 404);
        let back = app.user("ann", CALLER).await;
        assert_eq!(app.get(&format!("/history/{back}")).await, json!({ "conversations": [], "calls": [], "sms": [] }));
        let left = [app.get(&format!("/preferences/{other}")).await, app.get(&format!("/history/{other}")).await];
        assert_eq!(left, untouched, "other people's stay");
        app.create("/conversation/", json!({ "user_id": back, "text": "Do you know me?" })).await;
        assert!(!app.llm.requests().last().unwrap().to_string().contains("my secret"));
    }

    async fn names_of_the_world_and_values_at_their_limits_are_kept_as_they_are(database) {
        let app = TestApp::start(&database).await;
        let long = "n".repeat(150);
        let names = ["Zoë Müller-O'Neil", "山田 太郎", "🙂", "Robert'); DROP TABLE users;--", "<b>&\"", &long, "%_"];
        for (n, name) in names.into_iter().enumerate() {
            let email = format!("first.last+tag{n}@mail-{n}.example.co.uk");
            let body = json!({ "username": name, "email": email, "phone_number": format!("+12345678901234{n}") });
            let made = app.create("/users/", body).await;
            let read = app.get(&format!("/users/{}", made["id"])).await;
            assert_eq!((&read["username"], &read["email"]), (&json!(name), &json!(email)));
        }
        assert_eq!(app.get("/users/").await.as_array().unwrap().len(), 7);
    }
}
