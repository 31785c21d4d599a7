//! The history: what its entries tell, and how it is paged.

use crate::api_support::{assert_fields, assert_time, faulty_fields, ids, problem};
use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};

const CONVERSATION: &str = "id user_id channel call_sid turn input_text gpt_response heard_text input_tokens \
     output_tokens processing_time_ms model_used created_at";
const CALL: &str = "id user_id call_sid direction from_number to_number status purpose answered_by duration_seconds started_at ended_at \
     summary requests voicemails created_at";
const SMS: &str = "id user_id message_sid channel direction from_number to_number incoming_text media decision \
     confidence reply_text reply_status reason error_code error_meaning segments encoding cost_estimate answered_with created_at";
const LISTS: [&str; 3] = ["conversations", "calls", "sms"];

/// Checks some fields of an entry.
fn assert_values(entry: &Value, expected: Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&entry[field], value, "{field} of {entry}");
    }
}

/// A user with `count` entries in each list.
async fn busy_user(app: &TestApp, name: &str, number: &str, count: usize) -> i64 {
    let user = app.user(name, number).await;
    for n in 0..count {
        app.llm.says("Fine.");
        app.create("/conversation/", json!({ "user_id": user, "text": format!("words {n}") })).await;
        app.llm.decides("yes", "Fine.");
        app.text(&format!("SM{name}{n}"), number, &format!("text {n}")).await;
        app.call(&format!("CA{name}{n}"), number, OURS).rings().await;
    }
    user
}

on_both_databases! {
    async fn a_new_user_has_an_empty_history(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        assert_eq!(app.get(&format!("/history/{user}")).await, json!({ "conversations": [], "calls": [], "sms": [] }));
        for list in LISTS {
            assert_eq!(app.get(&format!("/history/{user}/{list}")).await, json!([]));
            problem(&app.api("GET", &format!("/history/404/{list}"), None).await, 404);
        }
        problem(&app.api("GET", "/history/404", None).await, 404);
    }

    async fn a_call_is_told_with_its_turns(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let call = app.call("CA1", CALLER, OURS);
        call.rings().await;
        let rung = app.get(&format!("/history/{user}/calls")).await;
        assert_fields(&rung[0], CALL);
        assert_values(&rung[0], json!({ "user_id": user, "call_sid": "CA1", "direction": "inbound",
            "from_number": CALLER, "to_number": OURS, "duration_seconds": null, "ended_at": null, "summary": null,
            "requests": [], "voicemails": [] }));
        app.clock.advance(5);
        app.llm.says("Paris, of course.");
        call.talks(1, "What is the capital of France?").await;
        app.clock.advance(5);
        call.is("completed", &[("CallDuration", "10")]).await;
        let history = app.get(&format!("/history/{user}")).await;
        assert_fields(&history, "conversations calls sms");
        let (told, turn) = (&history["calls"][0], &history["conversations"][0]);
        assert_fields(told, CALL);
        assert_values(told, json!({ "id": rung[0]["id"], "status": "completed", "duration_seconds": 10 }));
        for field in ["started_at", "ended_at", "created_at"] {
            assert_time(&told[field]);
        }
        assert!(told["ended_at"].as_str() > told["started_at"].as_str());
        assert_fields(turn, CONVERSATION);
        assert_values(turn, json!({ "user_id": user, "channel": "voice", "call_sid": "CA1", "turn": 1,
            "input_text": "What is the capital of France?", "gpt_response": "Paris, of course.", "output_tokens": 3,
            "model_used": "test-model" }));
        assert_time(&turn["created_at"]);
        assert!(turn["id"].is_i64() && turn["input_tokens"].is_i64() && turn["processing_time_ms"].is_number());
    }

    async fn a_text_is_told_with_its_decision_and_the_fate_of_its_reply(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let gate = app.llm.decides("no", "I cannot come.").waits();
        let undecided = async {
            let texts = app.until(&format!("/history/{user}/sms"), |texts| !texts[0].is_null()).await;
            assert_fields(&texts[0], SMS);
            assert_values(&texts[0], json!({ "decision": null, "reply_text": null, "incoming_text": "Can you come?" }));
            gate.open();
        };
        tokio::join!(app.text("SM1", CALLER, "Can you come?"), undecided);
        let texts = app.get(&format!("/history/{user}/sms")).await;
        assert_fields(&texts[0], SMS);
        assert_values(&texts[0], json!({ "user_id": user, "message_sid": "SM1", "channel": "sms", "direction": "inbound",
            "from_number": CALLER, "to_number": OURS, "incoming_text": "Can you come?", "media": [], "decision": "no",
            "reply_text": "I cannot come.", "error_code": null }));
        assert!(texts[0]["id"].is_i64() && texts[0]["reply_status"].is_string());
        assert_time(&texts[0]["created_at"]);
        assert_eq!(app.get(&format!("/history/{user}")).await["sms"], texts);
    }

    async fn lists_are_newest_first_and_paged_by_id(database) {
        let app = TestApp::start(&database).await;
        let user = busy_user(&app, "ann", CALLER, 5).await;
        let other = busy_user(&app, "bob", "+14155550199", 2).await;
        for list in LISTS {
            let path = format!("/history/{user}/{list}");
            let whole = app.get(&path).await;
            let all = ids(&whole);
            assert!(all.len() == 5 && all.is_sorted_by(|newer, older| newer > older), "{list}: {all:?}");
            assert!(whole.as_array().unwrap().iter().all(|entry| entry["user_id"] == user));
            let (mut paged, mut before) = (Vec::new(), String::new());
            loop {
                let page = ids(&app.get(&format!("{path}?limit=2{before}")).await);
                let Some(last) = page.last() else { break };
                before = format!("&before={last}");
                paged.extend(page);
            }
            assert_eq!(paged, all, "{list}");
            assert_eq!(ids(&app.get(&format!("{path}?before={}", all[1])).await), all[2..]);
            assert_eq!(ids(&app.get(&format!("{path}?limit=1")).await), all[..1]);
            assert_eq!(ids(&app.get(&format!("{path}?limit=500&before=9007199254740991")).await), all);
            let beyond = app.get(&format!("/history/{user}?limit=3")).await;
            assert_eq!(ids(&beyond[list]), all[..3], "{list} of the whole history");
            assert_eq!(ids(&app.get(&format!("/history/{other}/{list}")).await).len(), 2);
        }
    }

    async fn fifty_entries_are_told_unless_asked_otherwise(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        for n in 0..51 {
            app.create("/conversation/", json!({ "user_id": user, "text": format!("words {n}") })).await;
        }
        let count = async |path: &str| ids(&app.get(path).await).len();
        assert_eq!(count(&format!("/history/{user}/conversations")).await, 50);
        assert_eq!(count(&format!("/history/{user}/conversations?limit=51")).await, 51);
        assert_eq!(app.get(&format!("/history/{user}")).await["conversations"].as_array().unwrap().len(), 50);
    }

    async fn pages_have_1_to_500_entries(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        for path in ["", "/conversations", "/calls", "/sms"].map(|list| format!("/history/{user}{list}")) {
            for limit in ["1", "500"] {
                app.get(&format!("{path}?limit={limit}")).await;
            }
            for limit in ["0", "501", "-1"] {
                let told = problem(&app.api("GET", &format!("{path}?limit={limit}"), None).await, 422);
                assert_eq!(faulty_fields(&told), ["limit"]);
            }
        }
    }
}
