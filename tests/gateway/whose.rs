//! Whose a call or text is, and what the model is told of earlier ones.

use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use serde_json::{Value, json};

const OTHER: &str = "+14155550199";

/// What the model was told in its latest request, without the instructions.
fn told(app: &TestApp) -> Vec<String> {
    let requests = app.llm.requests();
    let messages = requests.last().expect("the model was asked")["messages"].as_array().unwrap().clone();
    messages.iter().filter(|message| message["role"] != "system").map(|message| text_of(&message["content"])).collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

on_both_databases! {
    async fn a_stranger_becomes_a_user_with_one_thread_over_calls_texts_and_rest(database) {
        let app = TestApp::start(&database).await;
        app.llm.says("Hello on the phone.");
        app.call("CA1", CALLER, OURS).talks(1, "I am Ann").await;
        let users = app.get("/users/").await;
        assert_eq!((users.as_array().unwrap().len(), &users[0]["phone_number"]), (1, &json!(CALLER)));
        app.llm.decides("yes", "Hello in writing.");
        app.text("SM1", CALLER, "It is Ann again").await;
        app.llm.says("Hello over REST.");
        let body = json!({ "user_id": users[0]["id"], "text": "Who am I?" });
        app.create("/conversation/", body).await;
        assert_eq!(told(&app), ["I am Ann", "Hello on the phone.", "It is Ann again", "Hello in writing.", "Who am I?"]);
    }

    async fn two_callers_of_one_owner_never_see_each_others_words(database) {
        let app = TestApp::start(&database).await;
        let owner = app.user("shop", OURS).await;
        app.llm.decides("yes", "To the first.");
        app.text("SM1", CALLER, "secret of the first").await;
        app.llm.decides("yes", "To the second.");
        app.text("SM2", OTHER, "secret of the second").await;
        assert_eq!(told(&app), ["secret of the second"]);
        app.llm.says("On the phone.");
        app.call("CA1", CALLER, OURS).talks(1, "me again").await;
        assert_eq!(told(&app), ["secret of the first", "To the first.", "me again"]);
        let history = app.get(&format!("/history/{owner}")).await;
        assert_eq!((history["sms"].as_array().unwrap().len(), history["conversations"].as_array().unwrap().len()), (2, 1));
        app.llm.says("The owner's own.");
        app.create("/conversation/", json!({ "user_id": owner, "text": "as owner" })).await;
        assert_eq!(told(&app), ["as owner"], "the owner's own thread is another");
    }

    async fn the_caller_counts_before_the_owner_of_the_called_number(database) {
        let app = TestApp::start(&database).await;
        app.user("shop", OURS).await;
        let caller = app.user("ann", CALLER).await;
        app.llm.decides("yes", "Hi Ann.");
        app.text("SM1", CALLER, "Hello").await;
        assert_eq!(app.get(&format!("/history/{caller}/sms")).await.as_array().unwrap().len(), 1);
    }

    async fn a_withheld_number_gets_an_answer_and_a_thread_for_the_call_alone(database) {
        let app = TestApp::start(&database).await;
        for (call, from) in [("CA1", "anonymous"), ("CA2", "+266696687"), ("CA3", "")] {
            app.llm.says("Hello, whoever you are.");
            let heard = app.call(call, from, OURS).talks(1, &format!("secret of {call}")).await;
            assert_eq!(heard.say(), "Hello, whoever you are.");
            assert_eq!(told(&app), [format!("secret of {call}")]);
        }
        app.llm.says("Still here.");
        app.call("CA1", "anonymous", OURS).talks(2, "and now?").await;
        assert_eq!(told(&app), ["secret of CA1", "Hello, whoever you are.", "and now?"]);
        assert_eq!(app.get("/users/").await.as_array().unwrap().len(), 1, "all of them share one user");
    }

    async fn a_whatsapp_sender_is_known_by_the_number(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        app.llm.decides("yes", "Hi.");
        let from = format!("whatsapp:{CALLER}");
        let to = format!("whatsapp:{OURS}");
        let fields = [("MessageSid", "SM1"), ("From", from.as_str()), ("To", to.as_str()), ("Body", "Hello")];
        app.webhook("/twilio/sms", &fields).await.messaging();
        let texts = app.get(&format!("/history/{user}/sms")).await;
        assert_eq!((&texts[0]["channel"], &texts[0]["from_number"]), (&json!("whatsapp"), &json!(from)));
    }

    async fn a_pause_longer_than_the_timeout_starts_a_new_conversation(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        app.create(&format!("/preferences/?user_id={user}"), json!({ "conversation_timeout": 60 })).await;
        let call = app.call("CA1", CALLER, OURS);
        app.llm.says("One.");
        call.talks(1, "first").await;
        app.clock.advance(50);
        app.llm.says("Two.");
        call.talks(2, "second").await;
        assert_eq!(told(&app), ["first", "One.", "second"]);
        app.clock.advance(65);
        app.llm.says("Three.");
        call.talks(3, "third").await;
        assert_eq!(told(&app), ["third"]);
    }

    async fn the_model_is_told_of_the_last_twenty_exchanges(database) {
        let app = TestApp::start(&database).await;
        let call = app.call("CA1", CALLER, OURS);
        app.llm.always_says("Yes.");
        for n in 1..=23 {
            call.talks(n, &format!("turn {n}")).await;
        }
        let told = told(&app);
        assert_eq!((told.len(), told[0].as_str()), (41, "turn 3"));
    }

    async fn a_deleted_user_is_erased_with_everything_and_may_come_back(database) {
        let app = TestApp::start(&database).await;
        app.llm.always_says("Yes.");
        app.call("CA1", CALLER, OURS).talks(1, "remember me").await;
        assert_eq!(app.api("DELETE", "/users/1", None).await.status, 204);
        assert_eq!(app.api("GET", "/history/1", None).await.status, 404);
        app.call("CA2", CALLER, OURS).talks(1, "it is me").await;
        assert_eq!(told(&app), ["it is me"]);
        app.call("CA1", CALLER, OURS).talks(2, "still on the line").await;
    }
}
