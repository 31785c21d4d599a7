//! What is left of an answer whose ConversationRelay session was lost: who says it, and what of it counts as heard.

use crate::relay::{STORY, tells};
use crate::support::app::{CALLER, OURS, RELAY, TestApp, on_both_databases};
use crate::support::caller::{Phone, Relay};
use crate::support::fake_llm::Between;
use crate::support::scripted_server::Gate;
use serde_json::json;

/// A filler comes soon, once the words before it are spoken.
pub const HASTY: [(&str, &str); 2] = [RELAY, ("VOICE_REPLY_BUDGET", "0.4")];

/// A call whose caller was told the first of these `pieces` of an answer and then a filler. The gate holds the other
/// pieces back.
pub async fn told_the_beginning(app: &TestApp, pieces: &[&str]) -> (Phone, Relay, Gate) {
    let (phone, mut relay, gate) = tells(app, pieces, 1).await;
    relay.next_message().await;
    (phone, relay, gate)
}

on_both_databases! {
    async fn after_two_losses_the_rest_of_a_whole_answer_is_said_over_webhooks(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.says(&format!("{}They lived on.", "It is a very long story. ".repeat(8)));
        relay.says("Tell me a story").await;
        relay.hears_turn().await;
        for _ in 0..2 {
            let end = relay.drops();
            app.until("/history/1/conversations", |turns| turns[0]["heard_text"].is_string()).await;
            phone.relay_ended(end).await;
            if phone.connect().is_none() {
                break;
            }
            relay = phone.relay().await;
            relay.hears_turn().await;
        }
        assert!(phone.hears().join(" ").ends_with("It is a very long story. They lived on."), "{:?}", phone.hears());
        assert_eq!(phone.gather().unwrap().attr("action"), Some("/twilio/voice/turns/2"));
        assert_eq!(app.llm.request_count(), 1);
        assert_eq!(app.get("/history/1/conversations").await[0]["heard_text"], json!(null));
        for exchange in phone.trace().to_vec() {
            assert_eq!(phone.redeliver(&exchange).await.body, exchange.answer.body, "{}", exchange.path());
        }
    }

    async fn an_answer_that_a_lost_session_left_goes_on_after_what_was_heard_of_it(database) {
        let app = TestApp::start_with(&database, &HASTY).await;
        let (mut phone, relay, _gate) = told_the_beginning(&app, &STORY).await;
        let end = relay.drops();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "Once upon a time").await;
        phone.relay_ended(end).await;
        app.llm.says("there was a telephone.");
        let mut relay = phone.relay().await;
        assert!(relay.hears_turn().await.ends_with("there was a telephone."));
        assert_eq!(app.llm.requests()[1]["messages"][2]["content"], "Once upon a time");
        let whole = "Once upon a time there was a telephone.";
        let turns = app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == whole).await;
        assert_eq!((turns.as_array().unwrap().len(), &turns[0]["heard_text"]), (1, &json!(null)));
        app.llm.says("Good night.");
        relay.says("Thank you").await;
        assert!(relay.hears_turn().await.ends_with("Good night."));
    }

    async fn the_rest_of_an_answer_whose_session_was_lost_while_it_was_spoken_is_said_without_the_model(database) {
        let app = TestApp::start_with(&database, &HASTY).await;
        let (mut phone, mut relay, gate) = told_the_beginning(&app, &["Yes. ", "Once upon a time there was a telephone. ", "Then somebody called it."]).await;
        gate.open();
        relay.hears_turn().await;
        let end = relay.drops();
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "Yes.").await;
        phone.relay_ended(end).await;
        let mut relay = phone.relay().await;
        assert_eq!(relay.hears_turn().await, "Once upon a time there was a telephone. Then somebody called it.");
        assert_eq!(app.llm.request_count(), 1);
        assert_eq!(app.get("/history/1/conversations").await[0]["heard_text"], json!(null));
    }

    async fn the_rest_of_an_answer_is_said_though_the_loss_was_not_noticed(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        app.llm.says(&format!("{}They lived on.", "It is a very long story. ".repeat(8)));
        relay.says("Tell me a story").await;
        relay.hears_turn().await;
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"].is_string()).await;
        let (end, first) = relay.drops_unnoticed();
        phone.relay_ended(end).await;
        let mut relay = phone.relay().await;
        assert!(relay.hears_turn().await.ends_with("It is a very long story. They lived on."));
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"].is_null()).await;
        // The session before last closes with the gateway, and what it believes was heard counts no more.
        app.llm.says("Good night.");
        relay.says("Thank you").await;
        relay.hears_turn().await;
        relay.hangs_up().await;
        let app = app.restart(&database, &[RELAY]).await;
        drop(first);
        let turns = app.get("/history/1/conversations").await;
        assert_eq!((turns[1]["turn"].as_i64(), &turns[1]["heard_text"]), (Some(1), &json!(null)), "{turns}");
        assert_eq!(app.llm.request_count(), 2);
    }

    async fn the_rest_of_an_answer_is_said_over_webhooks_though_no_loss_was_noticed(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut lost = Vec::new();
        let mut relay = phone.relay().await;
        app.llm.says(&format!("{}They lived on.", "It is a very long story. ".repeat(8)));
        relay.says("Tell me a story").await;
        relay.hears_turn().await;
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"].is_string()).await;
        loop {
            let (end, session) = relay.drops_unnoticed();
            lost.push(session);
            phone.relay_ended(end).await;
            if phone.connect().is_none() {
                break;
            }
            relay = phone.relay().await;
            assert!(relay.hears_turn().await.ends_with("It is a very long story. They lived on."));
        }
        assert_eq!(lost.len(), 2);
        assert!(phone.hears().join(" ").ends_with("It is a very long story. They lived on."), "{:?}", phone.hears());
        assert_eq!(app.llm.request_count(), 1);
        for exchange in phone.trace().to_vec() {
            assert_eq!(phone.redeliver(&exchange).await.body, exchange.answer.body, "{}", exchange.path());
        }
    }

    async fn who_breaks_into_the_rest_of_an_answer_has_heard_its_beginning_all_the_same(database) {
        let app = TestApp::start_with(&database, &HASTY).await;
        let (mut phone, mut relay, gate) = told_the_beginning(&app, &["Yes. ", "Once upon a time there was a telephone."]).await;
        gate.open();
        relay.hears_turn().await;
        let end = relay.drops();
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "Yes.").await;
        phone.relay_ended(end).await;
        let mut relay = phone.relay().await;
        relay.hears_turn().await;
        assert_eq!(app.get("/history/1/conversations").await[0]["heard_text"], json!(null));
        relay.interrupts("", 0).await;
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "Yes.").await;
    }

    async fn who_breaks_into_an_answer_that_goes_on_has_heard_its_beginning_and_a_cough_before_that_stops_nothing(database) {
        let app = TestApp::start_with(&database, &HASTY).await;
        let (mut phone, relay, _gate) = told_the_beginning(&app, &STORY).await;
        let end = relay.drops();
        app.until("/history/1/conversations", |turns| turns[0]["gpt_response"] == "Once upon a time").await;
        phone.relay_ended(end).await;
        let gate = app.llm.says("there was a telephone.").waits();
        let mut relay = phone.relay().await;
        app.llm.wait_for_requests(2).await;
        let filler = relay.next_message().await["token"].as_str().unwrap().to_owned();
        relay.interrupts(filler.trim().split_once(' ').unwrap().0, 100).await;
        gate.open();
        assert!(relay.hears_turn().await.ends_with("there was a telephone."));
        relay.interrupts("", 0).await;
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"] == "Once upon a time").await;
        assert_eq!(app.llm.request_count(), 2);
    }

    async fn of_an_answer_without_blanks_the_beginning_was_heard_too(database) {
        const TALE: &str = "从前有一部电话谁也不愿意接后来有一天有人打来了它就第一次开口说话";
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let user = app.user("ann", CALLER).await;
        app.create(&format!("/preferences/?user_id={user}"), json!({ "language": "zh" })).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        let gate = Gate::closed();
        app.llm.streams(&[TALE, "。"], Between::Gate(gate.clone()));
        gate.let_through(1);
        // Nobody waits for the end of the greeting.
        relay.interrupts("", 0).await;
        relay.says("讲个故事").await;
        assert_eq!(relay.next_message().await["token"], TALE);
        // It is stored after a second, while it is spoken.
        app.until(&format!("/calls/{}", phone.sid()), |call| call["turns"][0]["gpt_response"] == TALE).await;
        let end = relay.drops();
        app.until("/history/1/conversations", |turns| turns[0]["heard_text"].is_string()).await;
        phone.relay_ended(end).await;
        app.llm.says("就这样。");
        phone.relay().await.hears_turn().await;
        let heard = app.llm.requests()[1]["messages"][2]["content"].as_str().unwrap().to_owned();
        assert!(TALE.starts_with(&heard) && heard.chars().count() > 2 && heard.len() < TALE.len(), "{heard}");
    }
}
