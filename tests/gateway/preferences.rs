//! Preferences: one set for each user, and what they change.

use crate::api_support::{assert_fields, assert_time, faulty_fields, problem};
use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};

const FIELDS: &str = "id user_id language tts_voice auto_reply_enabled conversation_timeout notifications_enabled \
     forward_number voice_transport time_zone created_at updated_at";

/// The values that were chosen, without ids and times.
fn chosen(preferences: &Value) -> Value {
    let mut chosen = preferences.clone();
    for field in ["id", "user_id", "created_at", "updated_at"] {
        chosen.as_object_mut().unwrap().remove(field);
    }
    chosen
}

on_both_databases! {
    async fn preferences_are_made_read_changed_and_deleted(database) {
        let app = TestApp::start(&database).await;
        app.user("somebody", OURS).await;
        let user = app.user("ann", CALLER).await;
        let answer = app.api("POST", &format!("/preferences/?user_id={user}"), Some(json!({}))).await;
        assert_eq!(answer.status, 201);
        let made = answer.json();
        assert_fields(&made, FIELDS);
        let defaults = json!({ "language": "en", "tts_voice": "nova", "auto_reply_enabled": true,
            "conversation_timeout": 300, "notifications_enabled": true, "forward_number": null,
            "voice_transport": null, "time_zone": null });
        assert_eq!((chosen(&made), &made["user_id"]), (defaults, &json!(user)));
        assert!(made["id"].is_i64() && made["id"] != made["user_id"], "so that the two cannot be mixed up here");
        assert_time(&made["created_at"]);
        assert_eq!(made["created_at"], made["updated_at"]);
        assert_eq!(app.get(&format!("/preferences/{user}")).await, made);

        app.clock.advance(60);
        let by_id = format!("/preferences/{}", made["id"]);
        let changed = app.api("PUT", &by_id, Some(json!({ "language": "es", "tts_voice": "alloy" }))).await;
        assert_eq!(changed.status, 200);
        let changed = changed.json();
        let mut expected = made.clone();
        expected["language"] = json!("es");
        expected["tts_voice"] = json!("alloy");
        expected["updated_at"] = changed["updated_at"].clone();
        assert_eq!(changed, expected, "what is not named stays");
        assert!(changed["updated_at"].as_str() > made["updated_at"].as_str());
        assert_eq!(app.get(&format!("/preferences/{user}")).await, changed);

        let gone = app.api("DELETE", &by_id, None).await;
        assert_eq!((gone.status, gone.body.as_str()), (204, ""));
        problem(&app.api("GET", &format!("/preferences/{user}"), None).await, 404);
        problem(&app.api("PUT", &by_id, Some(json!({}))).await, 404);
        problem(&app.api("DELETE", &by_id, None).await, 404);
        assert_eq!(app.get(&format!("/users/{user}")).await["username"], "ann", "the user stays");
        app.create(&format!("/preferences/?user_id={user}"), json!({})).await;
    }

    async fn every_preference_can_be_given_and_changed(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let given = json!({ "language": "de", "tts_voice": "onyx", "auto_reply_enabled": false,
            "conversation_timeout": 0, "notifications_enabled": false, "forward_number": "+493012345678",
            "voice_transport": "gather", "time_zone": "Europe/Berlin" });
        let made = app.create(&format!("/preferences/?user_id={user}"), given.clone()).await;
        assert_eq!(chosen(&made), given);
        let by_id = format!("/preferences/{}", made["id"]);
        let other = json!({ "language": "fr", "tts_voice": "nova", "auto_reply_enabled": true,
            "conversation_timeout": 3600, "notifications_enabled": true, "forward_number": null,
            "voice_transport": "relay", "time_zone": "Asia/Kolkata" });
        let mut expected = given;
        for (field, value) in other.as_object().unwrap() {
            expected[field] = value.clone();
            let changed = app.api("PUT", &by_id, Some(json!({ field: value }))).await;
            assert_eq!((changed.status, chosen(&changed.json())), (200, expected.clone()), "{field} alone");
        }
        assert_eq!(chosen(&app.api("PUT", &by_id, Some(json!({}))).await.json()), expected);
        expected["voice_transport"] = Value::Null;
        expected["time_zone"] = Value::Null;
        let emptied = app.api("PUT", &by_id, Some(json!({ "voice_transport": null, "time_zone": null }))).await;
        assert_eq!((emptied.status, chosen(&emptied.json())), (200, expected.clone()));
        assert_eq!(chosen(&app.get(&format!("/preferences/{user}")).await), expected);
    }

    async fn a_user_has_one_set_and_nobody_has_none(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        problem(&app.api("GET", &format!("/preferences/{user}"), None).await, 404);
        let path = format!("/preferences/?user_id={user}");
        let make = || app.api("POST", &path, Some(json!({ "language": "es" })));
        let (a, b, c) = tokio::join!(make(), make(), make());
        let mut statuses = [a, b, c].map(|answer| answer.status);
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 400, 400]);
        let second = app.api("POST", &path, Some(json!({ "language": "de" }))).await;
        assert!(problem(&second, 400)["detail"].as_str().unwrap().contains("preferences"));
        assert_eq!(app.get(&format!("/preferences/{user}")).await["language"], "es");
        problem(&app.api("POST", "/preferences/?user_id=404", Some(json!({}))).await, 404);
        problem(&app.api("GET", "/preferences/404", None).await, 404);
    }

    async fn the_operators_default_for_replies_counts(database) {
        let app = TestApp::start_with(&database, &[("AUTO_REPLY_DEFAULT", "false")]).await;
        let user = app.user("ann", CALLER).await;
        let made = app.create(&format!("/preferences/?user_id={user}"), json!({})).await;
        assert_eq!(made["auto_reply_enabled"], false);
    }

    async fn calls_are_not_forwarded_to_a_number_of_ours(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_PHONE_NUMBERS", "+15005550006,+15005550007")]).await;
        let user = app.user("ann", CALLER).await;
        let path = format!("/preferences/?user_id={user}");
        for ours in [OURS, "+15005550007"] {
            let told = problem(&app.api("POST", &path, Some(json!({ "forward_number": ours }))).await, 422);
            assert_eq!(faulty_fields(&told), ["forward_number"], "{told}");
            assert!(told.to_string().contains("TWILIO_PHONE_NUMBERS"), "{told}");
        }
        problem(&app.api("GET", &format!("/preferences/{user}"), None).await, 404);
        let made = app.create(&path, json!({ "forward_number": "+493012345678" })).await;
        let told = app.api("PUT", &format!("/preferences/{}", made["id"]), Some(json!({ "forward_number": OURS }))).await;
        assert_eq!(faulty_fields(&problem(&told, 422)), ["forward_number"]);
        assert_eq!(app.get(&format!("/preferences/{user}")).await, made, "nothing was changed");
    }

    async fn a_transport_must_be_one_there_is(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let path = format!("/preferences/?user_id={user}");
        for wrong in [json!("websocket"), json!("Relay"), json!(""), json!(1), json!({})] {
            let told = problem(&app.api("POST", &path, Some(json!({ "voice_transport": wrong }))).await, 422);
            assert_eq!(faulty_fields(&told), ["voice_transport"], "{told}");
        }
        problem(&app.api("GET", &format!("/preferences/{user}"), None).await, 404);
        let made = app.create(&path, json!({ "voice_transport": "relay" })).await;
        let by_id = format!("/preferences/{}", made["id"]);
        problem(&app.api("PUT", &by_id, Some(json!({ "voice_transport": "gathers" }))).await, 422);
        assert_eq!(app.get(&format!("/preferences/{user}")).await, made, "nothing was changed");
    }

    async fn a_time_zone_must_be_one_there_is_and_is_told_as_it_is_written(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let path = format!("/preferences/?user_id={user}");
        for wrong in [json!("Mars/Olympus"), json!("+01:00"), json!(""), json!(1)] {
            let told = problem(&app.api("POST", &path, Some(json!({ "time_zone": wrong }))).await, 422);
            assert_eq!(faulty_fields(&told), ["time_zone"], "{told}");
        }
        assert_eq!(app.create(&path, json!({ "time_zone": "america/new_york" })).await["time_zone"], "America/New_York");
    }

    async fn a_voice_must_speak_the_language(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let path = format!("/preferences/?user_id={user}");
        let refused = async |method: &str, path: &str, body: Value, field: &str| {
            let told = problem(&app.api(method, path, Some(body)).await, 422);
            assert_eq!(faulty_fields(&told), [field], "{told}");
        };
        refused("POST", &path, json!({ "language": "es", "tts_voice": "Polly.Ruth-Neural" }), "tts_voice").await;
        refused("POST", &path, json!({ "tts_voice": "Polly.Nobody" }), "tts_voice").await;
        refused("POST", &path, json!({ "tts_voice": "nobody" }), "tts_voice").await;
        refused("POST", &path, json!({ "language": "tlh" }), "language").await;
        problem(&app.api("GET", &format!("/preferences/{user}"), None).await, 404);
        let made = app.create(&path, json!({ "language": "en", "tts_voice": "Polly.Ruth-Neural" })).await;
        let by_id = format!("/preferences/{}", made["id"]);
        refused("PUT", &by_id, json!({ "language": "es" }), "language").await;
        refused("PUT", &by_id, json!({ "tts_voice": "Polly.Lupe-Neural" }), "tts_voice").await;
        assert_eq!(app.get(&format!("/preferences/{user}")).await, made, "nothing was changed");
        let both = json!({ "language": "es", "tts_voice": "nova" });
        assert_eq!(app.api("PUT", &by_id, Some(both)).await.status, 200, "together they go");
    }

    async fn changes_are_heard_at_once(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        assert_eq!(app.call("CA1", CALLER, OURS).rings().await.gather().unwrap().attr("language"), Some("en-US"));
        let made = app.create(&format!("/preferences/?user_id={user}"), json!({ "language": "es" })).await;
        let spanish = app.call("CA2", CALLER, OURS).rings().await;
        assert!(spanish.gather().unwrap().attr("language").unwrap().starts_with("es-"));
        let by_id = format!("/preferences/{}", made["id"]);
        app.api("PUT", &by_id, Some(json!({ "language": "de", "auto_reply_enabled": false }))).await;
        assert_eq!(app.call("CA3", CALLER, OURS).rings().await.gather().unwrap().attr("language"), Some("de-DE"));
        assert!(app.text("SM1", CALLER, "Hallo").await.messaging().is_empty());
        app.api("DELETE", &by_id, None).await;
        assert_eq!(app.call("CA4", CALLER, OURS).rings().await.gather().unwrap().attr("language"), Some("en-US"));
    }
}
