//! Several Twilio accounts, each with its own token and numbers; and the Messaging Service of one.

use crate::support::app::{ACCOUNT, CALLER, OURS, RELAY, TOKEN, TestApp, on_both_databases};
use crate::support::signing::sign;
use crate::support::wait::until;
use serde_json::json;

const OTHER: &str = "AC00000000000000000000000000000002";
const OTHER_TOKEN: &str = "abcdefabcdefabcdefabcdefabcdefab";
const OTHERS: &str = "+15005550007";
const CALL: &str = "CA00000000000000000000000000000011";
const SERVICE: &str = "MG0123456789abcdef0123456789abcdef";

fn accounts() -> String {
    json!([{ "account_sid": OTHER, "auth_token": OTHER_TOKEN, "numbers": [OTHERS] }]).to_string()
}

fn text<'f>(sid: &'f str, body: &'f str) -> [(&'f str, &'f str); 4] {
    [("MessageSid", sid), ("From", CALLER), ("To", OTHERS), ("Body", body)]
}

/// Has the model send the caller a text on a call.
async fn has_a_text_sent(app: &TestApp, text: &str) {
    app.llm.calls_tool("send_text_to_caller", &json!({ "text": text }).to_string());
    app.llm.says("It is on its way.");
    app.dials(CALLER, OURS).await.says("Text me the address").await;
}

const TOOL: (&str, &str) = ("VOICE_TOOLS", "send_text_to_caller");
const THROUGH_SERVICE: [(&str, &str); 3] =
    [TOOL, ("TWILIO_MESSAGING_SERVICE_SID", SERVICE), ("SMS_REPLY_BUDGET", "0.05")];

on_both_databases! {
    async fn a_text_to_another_account_is_checked_with_its_token_and_its_late_reply_sent_with_its_credentials(database) {
        let settings = [("TWILIO_ACCOUNTS", accounts()), ("SMS_REPLY_BUDGET", "0.05".to_owned())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let app = TestApp::start_with(&database, &settings).await;
        app.twilio.has_account(OTHER, OTHER_TOKEN);
        app.twilio.accepts_but_drops_connection();
        let gate = app.llm.decides("yes", "From the other one.").waits();
        let answer = app.webhook_of(OTHER, OTHER_TOKEN, "/twilio/sms", &text("SM1", "Hello")).await;
        assert!(answer.messaging().is_empty());
        gate.open();
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!((sent[0].account.as_str(), sent[0].from.as_str(), sent[0].to.as_str()), (OTHER, OTHERS, CALLER));
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "sending").await;
        app.later(60);
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        assert_eq!(app.twilio.post_count(), 1, "it is looked up in its account");
        app.text("SM2", OTHERS, "Hello").await;
        assert_eq!(app.llm.request_count(), 1, "a number of another account is ours, too");
    }

    async fn a_webhook_of_one_account_signed_with_the_token_of_another_is_refused(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_ACCOUNTS", &accounts())]).await;
        let unknown = "AC00000000000000000000000000000003";
        for (account, token) in [(ACCOUNT, OTHER_TOKEN), (OTHER, TOKEN), (unknown, TOKEN), (unknown, OTHER_TOKEN), ("AC2", TOKEN)] {
            let call = [("CallSid", "CA1"), ("From", CALLER), ("To", OTHERS)];
            for (path, fields) in [("/twilio/sms", &text("SM1", "Hello")[..]), ("/twilio/voice", &call), ("/twilio/voice/status", &call)] {
                let answer = app.webhook_of(account, token, path, fields).await;
                assert_eq!((answer.status, answer.body.as_str()), (403, ""), "{account} {token} {path}");
            }
        }
        assert_eq!((app.llm.request_count(), app.get("/users/").await), (0, json!([])));
        app.llm.decides("yes", "Hi.");
        assert_eq!(app.webhook_of(OTHER, OTHER_TOKEN, "/twilio/sms", &text("SM1", "Hello")).await.messaging().messages(), ["Hi."]);
    }

    async fn no_account_hears_or_changes_anything_of_a_call_of_another(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_ACCOUNTS", &accounts())]).await;
        app.llm.says("The safe opens with a hairpin.");
        let call = app.call(CALL, CALLER, OURS);
        call.rings().await;
        assert_eq!(call.talks(1, "How does it open?").await.say(), "The safe opens with a hairpin.");
        let fields = [("CallSid", CALL), ("From", CALLER), ("To", OURS), ("CallStatus", "completed"), ("SessionStatus", "failed")];
        for path in ["", "/turns/1", "/turns/1/parts/1", "/turns/2", "/turns/1/offer", "/turns/1/recorded", "/message", "/status"] {
            let answer = app.webhook_of(OTHER, OTHER_TOKEN, &format!("/twilio/voice{path}"), &fields).await;
            assert_eq!((answer.status, answer.body.as_str()), (403, ""), "{path}");
        }
        assert_eq!(app.webhook_of(OTHER, OTHER_TOKEN, "/twilio/relay/ended", &fields).await.status, 403);
        assert_eq!(app.get(&format!("/calls/{CALL}")).await["status"], "in-progress");
        assert_eq!(app.llm.request_count(), 1);
        let theirs = [("CallSid", "CA2"), ("From", CALLER), ("To", OTHERS), ("CallStatus", "ringing")];
        for _ in 0..2 {
            app.webhook_of(OTHER, OTHER_TOKEN, "/twilio/voice", &theirs).await.voice();
        }
    }

    async fn no_account_hears_what_was_answered_to_the_text_of_another(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_ACCOUNTS", &accounts())]).await;
        for (sid, words) in [("SM1", "How does it open?"), ("SM2", "Stop. Thank you")] {
            app.llm.decides("yes", "With a hairpin.");
            let reply = app.text(sid, CALLER, words).await.messaging().messages();
            assert_eq!(reply.len(), 1, "{words}");
            assert_eq!(app.text(sid, CALLER, words).await.messaging().messages(), reply);
            assert!(app.webhook_of(OTHER, OTHER_TOKEN, "/twilio/sms", &text(sid, words)).await.messaging().is_empty(), "{words}");
        }
    }

    async fn a_call_of_another_account_is_changed_with_its_credentials(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_ACCOUNTS", &accounts())]).await;
        app.twilio.has_account(OTHER, OTHER_TOKEN);
        let call = [("CallSid", CALL), ("From", CALLER), ("To", OTHERS), ("CallStatus", "ringing")];
        app.webhook_of(OTHER, OTHER_TOKEN, "/twilio/voice", &call).await.voice();
        assert_eq!(app.api("POST", &format!("/calls/{CALL}/hangup"), None).await.status, 200);
        let fax = [("CallSid", "CA2"), ("AnsweredBy", "fax")];
        assert_eq!(app.webhook_of(OTHER, OTHER_TOKEN, "/twilio/voice/answered-by", &fax).await.status, 204);
        let changed: Vec<_> = app.twilio.call_updates().into_iter().map(|update| (update.account, update.sid)).collect();
        assert_eq!(changed, [(OTHER.to_owned(), CALL.to_owned()), (OTHER.to_owned(), "CA2".to_owned())]);
    }

    async fn refused_credentials_of_one_account_do_not_hold_up_another(database) {
        let settings = [("TWILIO_ACCOUNTS", accounts()), ("SMS_REPLY_BUDGET", "0.05".to_owned())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let app = TestApp::start_with(&database, &settings).await;
        let gates = [app.llm.decides("yes", "One.").waits(), app.llm.decides("yes", "Two.").waits()];
        app.webhook_of(OTHER, OTHER_TOKEN, "/twilio/sms", &text("SM1", "Hello")).await.messaging();
        gates[0].open();
        app.until("/health/", |health| health["sending"] == "paused").await;
        app.text("SM2", CALLER, "Hello").await.messaging();
        gates[1].open();
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!((sent[0].account.as_str(), sent[0].body.as_str()), (ACCOUNT, "Two."));
        assert_eq!(app.get("/health/").await["sending"], "paused", "the other account's still is");
    }

    async fn a_session_may_be_of_any_account_but_must_be_of_its_calls(database) {
        let settings = [RELAY, ("TWILIO_ACCOUNTS", &accounts())];
        let app = TestApp::start_with(&database, &settings).await;
        let mut phone = app.dials(CALLER, OURS).await;
        let url = format!("{}/twilio/relay", app.base.replacen("http", "wss", 1));
        assert_eq!(phone.handshake_status(Some(&sign(OTHER_TOKEN, &url, &[]))).await, 101);
        assert_eq!(phone.handshake_status(Some(&sign("a token of nobody's", &url, &[]))).await, 403);
        let end = phone.relay_of(OTHER).await.until_cut().await;
        phone.relay_ended(end).await;
        assert_eq!(app.llm.request_count(), 0);
    }

    async fn what_we_begin_goes_through_the_messaging_service_and_replies_from_the_number_written_to(database) {
        let app = TestApp::start_with(&database, &THROUGH_SERVICE).await;
        has_a_text_sent(&app, "Main Street 5").await;
        let gate = app.llm.decides("yes", "You are welcome.").waits();
        app.twilio.wait_for_sent(1).await;
        let came_through = ("MessagingServiceSid", SERVICE);
        let thanks = [("MessageSid", "SM1"), ("From", CALLER), ("To", OURS), ("Body", "Thanks"), came_through];
        app.webhook("/twilio/sms", &thanks).await;
        gate.open();
        app.twilio.wait_for_sent(2).await;
        let order = json!({ "user_id": 1, "text": "We are open." });
        assert_eq!(app.api("POST", "/sms/send", Some(order)).await.status, 201);
        let sent = app.twilio.wait_for_sent(3).await;
        let sent: Vec<_> = sent.iter().map(|sent| (sent.from.as_str(), sent.body.as_str())).collect();
        assert_eq!(sent, [(SERVICE, "Main Street 5"), (OURS, "You are welcome."), (SERVICE, "We are open.")]);
    }

    async fn what_we_begin_comes_from_another_account_when_the_main_one_has_no_number(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_ACCOUNTS", &accounts()), ("TWILIO_PHONE_NUMBERS", "")]).await;
        app.twilio.has_account(OTHER, OTHER_TOKEN);
        let user = app.user("ann", CALLER).await;
        app.create("/sms/send", json!({ "user_id": user, "text": "We are open." })).await;
        let sent = &app.twilio.wait_for_sent(1).await[0];
        assert_eq!((sent.account.as_str(), sent.from.as_str(), sent.to.as_str()), (OTHER, OTHERS, CALLER));
    }

    async fn a_send_through_the_service_whose_answer_was_lost_is_looked_up(database) {
        let app = TestApp::start_with(&database, &THROUGH_SERVICE).await;
        app.twilio.accepts_but_drops_connection();
        has_a_text_sent(&app, "Main Street 5").await;
        app.twilio.wait_for_sent(1).await;
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "sending").await;
        app.later(60);
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (1, 1));
    }

    async fn nothing_goes_through_a_service_to_who_opted_out_of_it(database) {
        let app = TestApp::start_with(&database, &THROUGH_SERVICE).await;
        app.twilio.fails(400, 21610);
        has_a_text_sent(&app, "Main Street 5").await;
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "failed").await;
        has_a_text_sent(&app, "Once more").await;
        assert_eq!(app.get("/history/1/sms").await.as_array().unwrap().len(), 1, "nothing is queued");
        until(|| app.twilio.in_flight() == 0, || "requests in flight".to_owned()).await;
        assert_eq!(app.twilio.post_count(), 1);
    }

    async fn a_report_of_one_account_changes_no_reply_of_another(database) {
        let app = TestApp::start_with(&database, &[("TWILIO_ACCOUNTS", &accounts())]).await;
        app.llm.decides("yes", "At once.");
        let answer = app.text("SM1", CALLER, "Hello").await.messaging();
        let path = answer.find("Message").unwrap().attr("statusCallback").unwrap().to_owned();
        let status = async || app.get("/history/1/sms").await[0]["reply_status"].clone();
        let failed = [("MessageSid", "SMforeign"), ("MessageStatus", "failed"), ("ErrorCode", "21610")];
        assert_eq!(app.webhook_of(OTHER, OTHER_TOKEN, &path, &failed).await.status, 204);
        assert_eq!((status().await, app.get("/opt-outs/").await), (json!("answered"), json!([])));
        app.webhook(&path, &[("MessageSid", "SMreply"), ("MessageStatus", "sent")]).await;
        let failed = [("MessageSid", "SMreply"), ("MessageStatus", "failed")];
        app.webhook_of(OTHER, OTHER_TOKEN, "/twilio/sms/status", &failed).await;
        assert_eq!(status().await, "sent");
    }
}
