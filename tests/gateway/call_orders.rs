//! Orders to call somebody: each is for the calls to that person alone, and over when the person is deleted.

use crate::support::app::{CALLER, OURS, TestApp, on_both_databases};
use crate::support::caller::Ending;
use crate::support::fake_twilio::PlacedCall;
use serde_json::json;

const PUBLIC: (&str, &str) = ("PUBLIC_BASE_URL", "https://gateway.example.com");
const PURPOSE: &str = "Say that the bicycle is ready.";

/// Ann, and a call to her that rings.
async fn ordered(app: &TestApp) -> (i64, PlacedCall) {
    let ann = app.user("ann", CALLER).await;
    app.create("/calls/", json!({ "user_id": ann, "purpose": PURPOSE })).await;
    (ann, app.twilio.placed_calls().remove(0))
}

on_both_databases! {
    async fn who_is_deleted_while_the_telephone_rings_does_not_come_back(database) {
        let app = TestApp::start_with(&database, &[PUBLIC]).await;
        let (ann, placed) = ordered(&app).await;
        app.api("DELETE", &format!("/users/{ann}"), None).await;
        let phone = app.answers(&placed).await;
        assert_eq!((phone.hears().len(), phone.ended_by()), (0, Some(Ending::Hangup)));
        assert_eq!((app.get("/users/").await, app.llm.request_count()), (json!([]), 0));
    }

    async fn who_is_deleted_during_a_call_of_ours_does_not_come_back(database) {
        let app = TestApp::start_with(&database, &[PUBLIC]).await;
        let (ann, placed) = ordered(&app).await;
        app.llm.says("Hello Ann.");
        let mut phone = app.answers(&placed).await;
        app.api("DELETE", &format!("/users/{ann}"), None).await;
        phone.says("Fine, thanks").await;
        assert_eq!(phone.ended_by(), Some(Ending::Hangup));
        assert_eq!((app.get("/users/").await, app.llm.request_count()), (json!([]), 1));
    }

    async fn an_order_is_for_the_call_to_its_person_alone(database) {
        let app = TestApp::start_with(&database, &[PUBLIC]).await;
        let (ann, placed) = ordered(&app).await;
        let bob = "+14155550199";
        app.user("bob", bob).await;
        let mut caller = app.dials(bob, OURS).await;
        let answered = caller.trace()[0].clone();
        for (direction, from, to) in [("inbound", bob, OURS), ("inbound", OURS, CALLER), ("outbound-api", OURS, bob)] {
            let mut other = answered.clone();
            other.url = format!("{}/twilio/voice/placed/1", PUBLIC.1);
            other.fields.retain(|(name, _)| !["Direction", "From", "To"].contains(&name.as_str()));
            let fields = [("Direction", direction), ("From", from), ("To", to)];
            other.fields.extend(fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
            let document = caller.redeliver(&other).await.voice();
            assert!(document.hangs_up() && document.says().is_empty(), "{direction} {to}: {document:?}");
        }
        app.llm.says("How can I help?");
        caller.says("Hello?").await;
        assert!(!app.llm.requests()[0]["messages"].to_string().contains(PURPOSE));
        app.llm.says("Hello Ann.");
        let phone = app.answers(&placed).await;
        assert_eq!(phone.hears(), ["Hello Ann."]);
        let calls = app.get(&format!("/history/{ann}/calls")).await;
        assert_eq!(calls.as_array().map(Vec::len), Some(1), "{calls}");
    }

    async fn an_order_that_never_was_makes_nobody_a_user(database) {
        let app = TestApp::start(&database).await;
        let fields = [("CallSid", "CA1"), ("From", OURS), ("To", CALLER), ("Direction", "outbound-api")];
        for path in ["/twilio/voice/placed/99", "/twilio/voice", "/twilio/voice/turns/1"] {
            let document = app.webhook(path, &fields).await.voice();
            assert!(document.hangs_up(), "{path}");
        }
        assert_eq!(app.get("/users/").await, json!([]));
    }
}
