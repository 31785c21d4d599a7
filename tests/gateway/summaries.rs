//! Calls are summed up when they are over.

use crate::support::app::{CALLER, Database, OURS, RELAY, TestApp, on_both_databases};
use crate::support::wait::until;
use serde_json::{Value, json};

const NO_RETRIES: &[(&str, &str)] = &[("MAX_RETRIES", "0")];

/// The user's latest call, once it is summed up.
async fn summed_up(app: &TestApp, user: i64) -> Value {
    app.until(&format!("/history/{user}/calls"), |calls| calls[0]["summary"].is_string()).await[0].clone()
}

/// Waits until so many summaries were asked for.
async fn asked(app: &TestApp, times: usize) {
    let seen = || format!("{:#?}", app.llm.summary_requests());
    until(|| app.llm.summary_requests().len() >= times, seen).await;
}

on_both_databases! {
    async fn a_call_that_is_over_is_summed_up_once(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        app.llm.summarises("Ann asked about Paris.", &["Tell her the time.", "Call back."]);
        let mut phone = app.dials(CALLER, OURS).await;
        app.llm.says("Paris.");
        phone.says("What is the capital of France?").await;
        app.llm.says("It is noon there.");
        phone.says("And the time there?").await;
        let calls = app.get(&format!("/history/{user}/calls")).await;
        assert_eq!((&calls[0]["summary"], &calls[0]["requests"]), (&json!(null), &json!([])), "it is not over yet");
        phone.hangs_up().await;
        let call = summed_up(&app, user).await;
        assert_eq!(call["summary"], "Ann asked about Paris.");
        assert_eq!(call["requests"], json!(["Tell her the time.", "Call back."]));
        let told = &app.llm.summary_requests()[0]["messages"];
        assert!(told[0]["content"].as_str().unwrap().contains("Write in English."), "{told}");
        let spoken = "Caller: What is the capital of France?\nAssistant: Paris.\n\
                      Caller: And the time there?\nAssistant: It is noon there.";
        assert_eq!(told[1], json!({ "role": "user", "content": spoken }));

        assert_eq!(phone.redeliver_last().await.status, 204, "its end is reported again");
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        phone.hangs_up().await;
        assert_eq!(summed_up(&app, user).await["summary"], "This is the scripted summary.");
        assert_eq!(app.llm.summary_requests().len(), 2);
    }

    async fn a_call_is_summed_up_in_its_users_language(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("eva", CALLER).await;
        app.create(&format!("/preferences/?user_id={user}"), json!({ "language": "de", "tts_voice": "onyx" })).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hallo, wie spät ist es?").await;
        phone.hangs_up().await;
        summed_up(&app, user).await;
        let told = &app.llm.summary_requests()[0]["messages"][0];
        assert!(told["content"].as_str().unwrap().contains("Write in German."), "{told}");
    }

    async fn a_call_on_which_nothing_was_said_is_not_summed_up(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let mut silent = app.dials(CALLER, OURS).await;
        silent.stays_silent().await;
        silent.hangs_up().await;
        // Whatever might be waiting for the end of the call is due by now.
        app.later(5 * 3600);
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        phone.hangs_up().await;
        summed_up(&app, user).await;
        let calls = app.get(&format!("/history/{user}/calls")).await;
        assert_eq!((&calls[1]["call_sid"], &calls[1]["summary"]), (&json!(silent.sid()), &json!(null)));
        assert_eq!(app.llm.summary_requests().len(), 1);
    }

    async fn a_model_that_is_down_sums_up_later(database) {
        let app = TestApp::start_with(&database, NO_RETRIES).await;
        let user = app.user("ann", CALLER).await;
        app.llm.summary_fails(500);
        app.llm.summary_fails(500);
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        phone.hangs_up().await;
        for times in [1, 2] {
            asked(&app, times).await;
            app.later(10);
        }
        summed_up(&app, user).await;
        assert_eq!(app.llm.summary_requests().len(), 3);
    }

    async fn a_call_whose_end_was_never_reported_is_summed_up_when_it_is_closed(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        app.later(4 * 3600 + 61);
        app.until(&format!("/history/{user}/calls"), |calls| calls[0]["status"] == "unknown-end").await;
        assert_eq!(app.llm.summary_requests().len(), 0);
        app.later(600);
        summed_up(&app, user).await;
    }

    async fn a_call_that_a_restart_interrupted_is_summed_up_all_the_same(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        let app = app.restart(&database, &[]).await;
        phone.moves_to(&app);
        phone.says("Are you still there?").await;
        phone.hangs_up().await;
        summed_up(&app, user).await;
        let told = app.llm.summary_requests()[0]["messages"][1]["content"].clone();
        assert!(told.as_str().unwrap().contains("Caller: Hello"), "{told}");
    }

    async fn a_call_whose_end_is_all_that_a_gateway_sees_of_it_is_summed_up_at_once(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        let app = app.restart(&database, &[]).await;
        phone.moves_to(&app);
        phone.hangs_up().await;
        summed_up(&app, user).await;
    }

    async fn a_call_that_we_placed_is_summed_up_without_words_that_nobody_said(database) {
        let app = TestApp::start_with(&database, &[("PUBLIC_BASE_URL", "https://gateway.example.com")]).await;
        let user = app.user("ann", CALLER).await;
        app.create("/calls/", json!({ "user_id": user, "purpose": "Say that the bicycle is ready." })).await;
        app.llm.says("Your bicycle is ready.");
        let mut phone = app.answers(&app.twilio.placed_calls()[0]).await;
        app.llm.says("At six.");
        phone.says("When do you close?").await;
        phone.hangs_up().await;
        summed_up(&app, user).await;
        let spoken = "Assistant: Your bicycle is ready.\nCaller: When do you close?\nAssistant: At six.";
        assert_eq!(app.llm.summary_requests()[0]["messages"][1]["content"], spoken);
        assert_eq!(app.get(&format!("/history/{user}/conversations")).await[1]["input_text"], "");
    }

    async fn a_user_who_is_erased_meanwhile_leaves_no_summary(database) {
        let app = TestApp::start(&database).await;
        let user = app.user("ann", CALLER).await;
        let gate = app.llm.summarises("Ann said a secret.", &[]).waits();
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("The safe opens with a hairpin").await;
        phone.hangs_up().await;
        asked(&app, 1).await;
        app.api("DELETE", &format!("/users/{user}"), None).await;
        gate.open();
        let user = app.user("bob", CALLER).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        phone.hangs_up().await;
        assert_eq!(summed_up(&app, user).await["summary"], "This is the scripted summary.");
        assert_eq!(app.get(&format!("/history/{user}/calls")).await.as_array().unwrap().len(), 1);
    }

    async fn calls_are_not_summed_up_where_that_is_not_wanted(database) {
        let app = TestApp::start_with(&database, &[("CALL_SUMMARIES", "false")]).await;
        let user = app.user("ann", CALLER).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        phone.hangs_up().await;
        // Nor are those for whose end nobody waits any more, once it is wanted again.
        let app = app.restart(&database, &[]).await;
        app.later(5 * 3600);
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("Hello").await;
        phone.hangs_up().await;
        summed_up(&app, user).await;
        assert_eq!(app.llm.summary_requests().len(), 1);
    }

    async fn a_call_that_was_reported_as_failed_with_a_session_is_summed_up_when_it_is_over(database) {
        let app = TestApp::start_with(&database, &[RELAY]).await;
        let user = app.user("ann", CALLER).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let mut relay = phone.relay().await;
        relay.says("Hello").await;
        relay.hears_turn().await;
        let end = relay.drops();
        app.call(phone.sid(), CALLER, OURS).is("failed", &[]).await;
        phone.relay_ended(end).await;
        let mut relay = phone.relay().await;
        relay.hears_turn().await;
        relay.says("Call me back at noon").await;
        relay.hears_turn().await;
        phone.relay_ended(relay.hangs_up().await).await;
        summed_up(&app, user).await;
        let told = app.llm.summary_requests()[0]["messages"][1]["content"].clone();
        assert!(told.as_str().unwrap().contains("Caller: Call me back at noon"), "{told}");
        assert_eq!(app.llm.summary_requests().len(), 1);
    }
}

#[tokio::test]
async fn the_end_of_a_call_may_be_reported_to_another_gateway_than_the_one_that_spoke() {
    let Some(database) = Database::postgres().await else { return };
    let one = TestApp::start(&database).await;
    let other = TestApp::start_with(&database, &[("OPENAI_BASE_URL", &one.llm.base_url())]).await;
    let user = one.user("ann", CALLER).await;
    let mut phone = one.dials(CALLER, OURS).await;
    phone.says("Hello").await;
    phone.moves_to(&other);
    phone.hangs_up().await;
    summed_up(&one, user).await;
    assert_eq!(one.llm.summary_requests().len(), 1);
}
