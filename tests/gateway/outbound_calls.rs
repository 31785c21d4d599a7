//! Calls that the gateway places: who may be called, what the person or the machine at the other end hears, and that no
//! call is placed twice.

use crate::api_support::{assert_fields, faulty_fields, problem};
use crate::support::app::{Answer, CALLER, Database, KEY, OURS, RELAY, TestApp, on_both_databases};
use crate::support::caller::{Ending, Phone};
use crate::support::fake_twilio::PlacedCall;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use switchboard::db::Db;
use switchboard::db::calls::CallEvent;

pub const PUBLIC: (&str, &str) = ("PUBLIC_BASE_URL", "https://gateway.example.com");
pub const PURPOSE: &str = "Say that the bicycle is ready.";
pub const OPENING: &str = "Hello Ann, your bicycle is ready.";
const CALL: &str = "id user_id call_sid direction from_number to_number status purpose answered_by duration_seconds started_at \
     ended_at created_at turns summary requests voicemails";
/// A call that nobody placed.
const UNKNOWN: &str = "CA00000000000000000000000000000000";

pub async fn start(database: &Database) -> TestApp {
    start_with(database, &[]).await
}

pub async fn start_with(database: &Database, settings: &[(&str, &str)]) -> TestApp {
    TestApp::start_with(database, &[&[PUBLIC], settings].concat()).await
}

pub fn order(user: i64) -> Value {
    json!({ "user_id": user, "purpose": PURPOSE })
}

/// Asks for a call under a key.
async fn place_with(app: &TestApp, key: &str, order: &Value) -> Answer {
    let request = app.http.post(format!("{}/calls/", app.base)).header("x-api-key", KEY).header("idempotency-key", key);
    Answer::of(request.header("content-type", "application/json").body(order.to_string())).await
}

/// A call to ann, which rings at her telephone.
pub async fn placed(app: &TestApp) -> PlacedCall {
    let user = app.user("ann", CALLER).await;
    app.create("/calls/", order(user)).await;
    app.twilio.placed_calls().remove(0)
}

/// The one change that was made to the call, which the call then follows.
pub async fn is_changed(app: &TestApp, phone: &mut Phone) {
    let updates = app.twilio.wait_for_call_updates(1).await;
    assert_eq!(updates.len(), 1, "{updates:?}");
    phone.follows_update(&updates[0]).await;
}

on_both_databases! {
    async fn a_person_is_called_told_the_purpose_and_talked_with(database) {
        let app = start(&database).await;
        let user = app.user("ann", CALLER).await;
        let call = app.create("/calls/", order(user)).await;
        assert_fields(&call, CALL);
        assert_eq!(call["status"], "queued");
        let placed = app.twilio.placed_calls().remove(0);
        assert_eq!((placed.to.as_str(), placed.from.as_str(), call["call_sid"].as_str()), (CALLER, OURS, Some(placed.sid.as_str())));
        for (field, value) in [
            ("Url", "https://gateway.example.com/twilio/voice/placed/1#rc=2&rp=all"),
            ("StatusCallback", "https://gateway.example.com/twilio/voice/status#rc=2&rp=all"),
            ("AsyncAmdStatusCallback", "https://gateway.example.com/twilio/voice/answered-by#rc=2&rp=all"),
            ("TimeLimit", "1800"),
            ("Timeout", "30"),
        ] {
            assert_eq!(placed.field(field), Some(value), "{field}");
        }

        app.llm.says(OPENING);
        let mut phone = app.answers(&placed).await;
        assert_eq!(phone.hears(), [OPENING]);
        let told = &app.llm.requests()[0]["messages"];
        assert!(told[0]["content"].as_str().unwrap().contains(PURPOSE), "{told}");
        assert_eq!(told[1]["content"], "(the call is answered)");
        phone.machine_detected("human").await;

        app.llm.says("We close at six.");
        phone.says("Great, until when are you open?").await;
        assert_eq!(phone.hears(), ["We close at six."]);
        let told = &app.llm.requests()[1]["messages"];
        assert!(told[0]["content"].as_str().unwrap().contains(PURPOSE), "the purpose stays in mind");
        assert_eq!(told[2]["content"], OPENING);

        let path = format!("/calls/{}", placed.sid);
        let live = app.get(&path).await;
        assert_fields(&live, CALL);
        let about = ["user_id", "direction", "from_number", "to_number", "status", "purpose", "answered_by", "ended_at"];
        let expected = json!([user, "outbound-api", OURS, CALLER, "in-progress", PURPOSE, "human", null]);
        assert_eq!(json!(about.map(|field| live[field].clone())), expected);
        let turns: Vec<_> = live["turns"].as_array().unwrap().iter().map(|turn| (&turn["turn"], &turn["gpt_response"])).collect();
        assert_eq!(turns, [(&json!(1), &json!(OPENING)), (&json!(2), &json!("We close at six."))]);
        assert_eq!(live["turns"][0]["input_text"], "", "the assistant spoke first");
        assert_fields(&live["turns"][0], "turn input_text gpt_response heard_text created_at");

        app.clock.advance(30);
        phone.says("Goodbye!").await;
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
        let over = app.get(&path).await;
        assert_eq!(over["status"], "completed");
        let seconds = over["duration_seconds"].as_i64().unwrap();
        assert!((30..60).contains(&seconds), "{seconds} s: the clock runs on while it is moved");
        let history = app.get(&format!("/history/{user}/calls")).await;
        assert_eq!((&history[0]["purpose"], &history[0]["answered_by"]), (&json!(PURPOSE), &json!("human")));
        assert!(app.twilio.call_updates().is_empty(), "a person is left to talk");
        assert_eq!(app.get("/users/").await.as_array().unwrap().len(), 1, "nobody became a user");
    }

    async fn the_opening_is_told_part_by_part_and_redeliveries_hear_the_same(database) {
        let app = start_with(&database, &[("VOICE_REPLY_BUDGET", "0.1")]).await;
        let placed = placed(&app).await;
        app.llm.says(OPENING).delay(Duration::from_millis(300));
        let phone = app.answers(&placed).await;
        let heard = phone.hears();
        assert!(heard.len() >= 2 && heard.last().unwrap() == OPENING, "a filler, then the opening: {heard:?}");
        assert_eq!(phone.gather().unwrap().attr("action"), Some("/twilio/voice/turns/2"));
        let documents = phone.trace().iter().filter(|exchange| !exchange.path().ends_with("/status"));
        for exchange in documents {
            assert_eq!(phone.redeliver(exchange).await.body, exchange.answer.body, "{}", exchange.path());
        }
        assert_eq!(app.llm.request_count(), 1);
    }

    async fn a_placed_call_over_conversation_relay_speaks_first(database) {
        let app = start_with(&database, &[RELAY]).await;
        let placed = placed(&app).await;
        app.llm.says(OPENING);
        let mut phone = app.answers(&placed).await;
        assert_eq!(phone.connect().unwrap().attr("welcomeGreeting"), None);
        let mut relay = phone.relay().await;
        assert_eq!(relay.hears_turn().await, OPENING);
        app.llm.says("We close at six.");
        relay.says("Great, until when are you open?").await;
        assert_eq!(relay.hears_turn().await, "We close at six.");
        let told = &app.llm.requests()[1]["messages"];
        assert!(told[0]["content"].as_str().unwrap().contains(PURPOSE), "{told}");
        assert_eq!((&told[1]["content"], &told[2]["content"]), (&json!("(the call is answered)"), &json!(OPENING)));
        relay.says("Goodbye!").await;
        phone.relay_ended(relay.until_end().await).await;
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
        let call = app.get(&format!("/calls/{}", placed.sid)).await;
        let turns: Vec<_> = call["turns"].as_array().unwrap().iter().map(|turn| &turn["turn"]).collect();
        assert_eq!(turns, [1, 2, 3]);
    }

    async fn a_call_that_nobody_answers_is_in_the_history(database) {
        let app = start(&database).await;
        let placed = placed(&app).await;
        app.does_not_answer(&placed, "busy").await;
        let call = app.get(&format!("/calls/{}", placed.sid)).await;
        assert_eq!((&call["status"], &call["turns"]), (&json!("busy"), &json!([])));
        assert!(call["ended_at"].is_string());
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn a_call_is_hung_up_over_the_api(database) {
        let app = start(&database).await;
        let placed = placed(&app).await;
        let path = format!("/calls/{}/hangup", placed.sid);
        let mut phone = app.answers(&placed).await;
        let call = app.create(&path, json!({})).await;
        assert_fields(&call, CALL);
        is_changed(&app, &mut phone).await;
        assert_eq!(phone.ended_by(), Some(Ending::RestApi));
        assert_eq!(app.get(&format!("/calls/{}", placed.sid)).await["status"], "completed");
        problem(&app.api("POST", &path, None).await, 409);
        assert_eq!(app.twilio.call_updates().len(), 1);

        // A call that came in, too.
        let mut phone = app.dials(CALLER, OURS).await;
        let path = format!("/calls/{}/hangup", phone.sid());
        for (status, code, told) in [(404, 20404, 404), (400, 21220, 409), (400, 20001, 502), (429, 20429, 503), (500, 20500, 503)] {
            app.twilio.fails(status, code);
            problem(&app.api("POST", &path, None).await, told);
        }
        app.create(&path, json!({})).await;
        phone.follows_update(&app.twilio.call_updates()[1]).await;
        assert_eq!(phone.ended_by(), Some(Ending::RestApi));
        for (method, path) in [("GET", format!("/calls/{UNKNOWN}")), ("POST", format!("/calls/{UNKNOWN}/hangup"))] {
            problem(&app.api(method, &path, None).await, 404);
        }
    }

    async fn only_the_users_own_numbers_are_called(database) {
        const HOME: &str = "+14155550188";
        let app = start_with(&database, &[("TWILIO_PHONE_NUMBERS", "+15005550006,+15005550007")]).await;
        let (ann, owner) = (app.user("ann", CALLER).await, app.user("owner", "+15005550007").await);
        let nobody = app.create("/users/", json!({ "username": "nobody" })).await["id"].as_i64().unwrap();
        let told = async |user: i64, to: Option<&str>| {
            let order = json!({ "user_id": user, "to": to, "purpose": PURPOSE });
            faulty_fields(&problem(&app.api("POST", "/calls/", Some(order)).await, 422)).join(" ")
        };
        for to in [HOME, OURS, "+15005550007", "+14155550199"] {
            assert_eq!(told(ann, Some(to)).await, "to", "{to}");
        }
        for user in [owner, nobody] {
            assert_eq!(told(user, None).await, "to", "nothing to call");
        }
        assert_eq!(told(owner, Some("+15005550007")).await, "to", "our own number");
        for user in [ann, owner, nobody] {
            app.create(&format!("/preferences/?user_id={user}"), json!({ "forward_number": HOME })).await;
        }
        assert_eq!(app.twilio.post_count(), 0);
        for (user, to, from, called) in [
            (ann, None, OURS, CALLER),
            (ann, Some(HOME), OURS, HOME),
            (owner, None, "+15005550007", HOME),
            (nobody, Some(HOME), OURS, HOME),
        ] {
            app.create("/calls/", json!({ "user_id": user, "to": to, "purpose": PURPOSE })).await;
            let placed = app.twilio.placed_calls().pop().unwrap();
            assert_eq!((placed.from.as_str(), placed.to.as_str()), (from, called));
            // Whose number it is does not matter: the call is the user's who was meant.
            let mut phone = app.answers(&placed).await;
            phone.hangs_up().await;
            let call = app.get(&format!("/calls/{}", placed.sid)).await;
            assert_eq!((&call["user_id"], call["turns"].as_array().unwrap().len()), (&json!(user), 1));
            assert_eq!(app.get(&format!("/history/{user}/conversations?limit=1")).await[0]["call_sid"], placed.sid.as_str());
        }
        assert_eq!(app.get("/users/").await.as_array().unwrap().len(), 3, "nobody became a user");
        problem(&app.api("POST", "/calls/", Some(order(404))).await, 404);
        app.api("PUT", &format!("/users/{ann}"), Some(json!({ "is_active": false }))).await;
        problem(&app.api("POST", "/calls/", Some(order(ann))).await, 409);
    }

    async fn a_key_places_one_call_however_often_it_is_used(database) {
        let app = start(&database).await;
        let user = app.user("ann", CALLER).await;
        let first = place_with(&app, "one", &order(user)).await;
        assert_eq!((first.status, first.headers.get("idempotency-replayed")), (201, None));
        let again = place_with(&app, "one", &order(user)).await;
        assert_eq!((again.status, &again.body), (201, &first.body));
        assert_eq!(again.headers["idempotency-replayed"], "true");
        assert_eq!(again.headers["content-type"], first.headers["content-type"]);
        let other = json!({ "user_id": user, "purpose": "Something else." });
        assert_eq!(faulty_fields(&problem(&place_with(&app, "one", &other).await, 422)), ["Idempotency-Key"]);
        assert_eq!(app.twilio.post_count(), 1);
        assert_eq!(place_with(&app, "two", &order(user)).await.status, 201);
        app.create("/calls/", order(user)).await;
        assert_eq!(app.twilio.post_count(), 3, "another key, and none at all");
        app.clock.advance(24 * 3600 + 1);
        assert_eq!(place_with(&app, "one", &other).await.status, 201, "after a day a key is new again");
    }

    async fn simultaneous_requests_with_a_key_place_one_call(database) {
        let app = start(&database).await;
        let user = app.user("ann", CALLER).await;
        let (gate, order) = (app.twilio.waits(), order(user));
        let first = place_with(&app, "one", &order);
        let others = async {
            app.twilio.wait_for_posts(1).await;
            for _ in 0..3 {
                let told = place_with(&app, "one", &order).await;
                problem(&told, 409);
                assert!(told.headers["retry-after"].parse::<u32>().unwrap() >= 1);
            }
            // A process that died would leave it like this.
            app.clock.advance(61);
            let told = problem(&place_with(&app, "one", &order).await, 409);
            assert!(told["detail"].as_str().unwrap().contains("interrupted"), "{told}");
            gate.open();
        };
        let (first, ()) = tokio::join!(first, others);
        assert_eq!(first.status, 201);
        assert_eq!(place_with(&app, "one", &order).await.body, first.body);
        assert_eq!((app.twilio.post_count(), app.twilio.placed_calls().len()), (1, 1));
    }

    async fn a_client_that_hangs_up_finds_the_call_placed(database) {
        let app = start(&database).await;
        let user = app.user("ann", CALLER).await;
        let gate = app.twilio.waits();
        let order = order(user);
        tokio::select! {
            answer = place_with(&app, "one", &order) => panic!("Twilio has not answered yet: {answer:?}"),
            () = app.twilio.wait_for_posts(1) => {}
        }
        gate.open();
        app.until(&format!("/history/{user}/calls"), |calls| calls[0]["purpose"] == PURPOSE).await;
        let again = place_with(&app, "one", &order).await;
        assert!(matches!(again.status, 201 | 409), "{}", again.body);
        assert_eq!(app.twilio.placed_calls().len(), 1);
    }

    async fn a_call_that_may_have_been_placed_is_not_placed_again(database) {
        let app = start(&database).await;
        let user = app.user("ann", CALLER).await;
        for (key, mishap) in [("cut", true), ("failed", false)] {
            if mishap { app.twilio.accepts_but_drops_connection() } else { app.twilio.fails(500, 20500) }
            let posts = app.twilio.post_count();
            let first = place_with(&app, key, &order(user)).await;
            let told = problem(&first, 503);
            assert!(told["detail"].as_str().unwrap().contains("unknown whether the call was placed"), "{told}");
            let again = place_with(&app, key, &order(user)).await;
            assert_eq!((again.status, &again.body), (503, &first.body));
            assert_eq!(again.headers["idempotency-replayed"], "true");
            assert_eq!(app.twilio.post_count(), posts + 1);
        }
        // The person answers it all the same, and hears why.
        app.llm.says(OPENING);
        let placed = app.twilio.placed_calls().remove(0);
        let mut phone = app.answers(&placed).await;
        assert_eq!(phone.hears(), [OPENING]);
        assert!(app.llm.requests()[0]["messages"][0]["content"].as_str().unwrap().contains(PURPOSE));
        phone.machine_detected("human").await;
        let call = app.get(&format!("/calls/{}", placed.sid)).await;
        assert_eq!(json!([call["user_id"], call["purpose"], call["answered_by"]]), json!([user, PURPOSE, "human"]));
    }

    async fn a_call_that_was_not_placed_may_be_tried_again_with_its_key(database) {
        let app = start(&database).await;
        let user = app.user("ann", CALLER).await;
        for (status, code, told, words) in [
            (400, 21211, 502, "not a valid one"),
            (400, 21215, 502, "21215"),
            (401, 20003, 502, "TWILIO_AUTH_TOKEN"),
            (429, 20429, 503, "nothing was done"),
        ] {
            app.twilio.fails(status, code);
            let problem = problem(&place_with(&app, "one", &order(user)).await, told);
            assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
        }
        assert_eq!(app.get(&format!("/history/{user}/calls")).await, json!([]));
        assert_eq!(place_with(&app, "one", &order(user)).await.status, 201);
    }

    async fn all_settings_that_are_missing_are_named(database) {
        let none = [("TWILIO_ACCOUNT_SID", ""), ("PUBLIC_BASE_URL", ""), ("TWILIO_PHONE_NUMBERS", "")];
        let app = start_with(&database, &none).await;
        let user = app.user("ann", CALLER).await;
        let told = problem(&app.api("POST", "/calls/", Some(order(user))).await, 503);
        for (setting, _) in none {
            assert!(told["detail"].as_str().unwrap().contains(setting), "{told}");
        }
    }

    async fn a_missing_setting_is_named(database) {
        for (setting, value) in [
            ("TWILIO_ACCOUNT_SID", ""),
            ("PUBLIC_BASE_URL", ""),
            ("TWILIO_PHONE_NUMBERS", ""),
        ] {
            let app = start_with(&database, &[(setting, value)]).await;
            let users = app.get("/users/").await;
            let user = if users[0].is_null() { app.user("ann", CALLER).await } else { users[0]["id"].as_i64().unwrap() };
            let told = problem(&app.api("POST", "/calls/", Some(order(user))).await, 503);
            assert!(told["detail"].as_str().unwrap().contains(setting), "{told}");
            assert_eq!(app.twilio.post_count(), 0);
            app.stop().await;
        }
    }

    async fn a_report_that_overtakes_the_answer_to_the_placing_is_completed_by_it(database) {
        let app = start(&database).await;
        let (ann, bob) = (app.user("ann", OURS).await, app.user("bob", CALLER).await);
        app.stop().await;
        let db = match &database {
            Database::Sqlite(_) => Db::open_sqlite(Path::new(database.url().strip_prefix("sqlite://").unwrap())).await,
            Database::Postgres(url) => Db::open_postgres(url).await,
        };
        let (db, text) = (db.unwrap(), str::to_owned);
        let report = |status| CallEvent {
            account_sid: None,
            call_sid: text(UNKNOWN),
            direction: text("outbound-api"),
            from: text(OURS),
            to: text(CALLER),
            status: text(status),
            duration_seconds: None,
            at: 1_000_000,
        };
        db.record_call(None, report("ringing")).await.unwrap();
        assert_eq!(db.call(UNKNOWN).await.unwrap().unwrap().user_id, ann, "by the numbers alone");
        let order = db.order_call(bob, PURPOSE, 500_000).await.unwrap();
        db.record_placed_call(order, CallEvent { at: 2_000_000, ..report("queued") }).await.unwrap();
        let call = db.call(UNKNOWN).await.unwrap().unwrap();
        assert_eq!((call.user_id, call.status.as_str(), call.purpose.as_deref()), (bob, "ringing", Some(PURPOSE)));
        db.record_call(None, report("in-progress")).await.unwrap();
        let call = db.call(UNKNOWN).await.unwrap().unwrap();
        assert_eq!((call.user_id, call.status.as_str(), call.purpose.as_deref()), (bob, "in-progress", Some(PURPOSE)));
        db.close().await;
    }

    async fn a_key_is_1_to_255_printable_characters_given_once(database) {
        let app = start(&database).await;
        let user = app.user("ann", CALLER).await;
        let long = "k".repeat(256);
        for key in ["", &long, "ключ", "a\tb"] {
            let told = problem(&place_with(&app, key, &order(user)).await, 422);
            assert_eq!(faulty_fields(&told), ["Idempotency-Key"], "{key}");
        }
        let request = app.http.post(format!("{}/calls/", app.base)).header("x-api-key", KEY);
        let request = request.header("idempotency-key", "a").header("idempotency-key", "b");
        let twice = Answer::of(request.header("content-type", "application/json").body(order(user).to_string())).await;
        assert_eq!(faulty_fields(&problem(&twice, 422)), ["Idempotency-Key"]);
        assert_eq!(app.twilio.post_count(), 0);
        assert_eq!(place_with(&app, &long[1..], &order(user)).await.status, 201);
    }
}
