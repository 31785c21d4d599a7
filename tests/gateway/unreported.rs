//! Replies that were the answer to a webhook, and of which Twilio reports nothing.

use crate::support::app::{CALLER, Database, TestApp, on_both_databases};
use serde_json::json;

const SIX_MINUTES: i64 = 360;

/// A gateway that has answered a text, with a Twilio that never hears of it if `lost`.
async fn answered(database: &Database, lost: bool, settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::start_with(database, settings).await;
    if lost {
        app.twilio.loses_replies();
    }
    app.llm.decides("yes", "At five.");
    assert_eq!(app.text("SM1", CALLER, "When?").await.messaging().messages(), ["At five."]);
    app
}

on_both_databases! {
    async fn a_reply_that_twilio_never_got_is_sent_once(database) {
        let app = answered(&database, true, &[]).await;
        app.later(SIX_MINUTES);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "At five.");
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        app.until("/jobs/", |jobs| jobs == &json!([])).await;
        assert!(app.text("SM1", CALLER, "When?").await.messaging().is_empty(), "a redelivery so late gets nothing more");
        app.later(SIX_MINUTES);
        app.llm.decides("yes", "Yes.");
        app.text("SM2", CALLER, "Really?").await;
        assert_eq!((app.twilio.sent().len(), app.twilio.lookup_count()), (1, 1));
    }

    async fn a_reply_that_twilio_has_is_not_sent_and_its_status_is_taken(database) {
        let app = answered(&database, false, &[]).await;
        app.later(SIX_MINUTES);
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        app.until("/jobs/", |jobs| jobs == &json!([])).await;
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (0, 1));
    }

    async fn of_two_answers_within_two_minutes_the_one_that_was_lost_is_sent(database) {
        let app = answered(&database, true, &[]).await;
        app.twilio.gets_replies();
        app.later(60);
        app.llm.decides("yes", "Bring a cake.");
        app.text("SM2", CALLER, "Shall I bring something?").await;
        app.later(250);
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, "At five.");
        app.until("/jobs/", |jobs| jobs == &json!([])).await;
        app.later(SIX_MINUTES);
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        assert_eq!(app.twilio.sent().len(), 1, "the other one arrived");
    }

    async fn two_answers_in_the_same_words_are_two(database) {
        let app = answered(&database, false, &[]).await;
        app.later(100);
        app.llm.decides("yes", "At five.");
        app.text("SM2", CALLER, "When again?").await;
        for wait in [250, 110] {
            app.later(wait);
            app.until("/history/1/sms", |texts| texts[usize::from(wait == 250)]["reply_status"] == "queued").await;
            app.until("/jobs/", |jobs| jobs == &json!([])).await;
        }
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (0, 2));
    }

    async fn words_whose_signs_twilio_wrote_otherwise_are_known(database) {
        let app = TestApp::start(&database).await;
        app.twilio.folds_replies();
        app.llm.decides("yes", "At “five”. ");
        app.text("SM1", CALLER, "When?").await;
        app.later(SIX_MINUTES);
        app.until("/history/1/sms", |texts| texts[0]["reply_status"] == "queued").await;
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (0, 1));
    }

    async fn a_report_that_comes_late_still_settles_it(database) {
        let app = answered(&database, true, &[]).await;
        let answer = app.text("SM1", CALLER, "When?").await.messaging();
        let path = answer.find("Message").unwrap().attr("statusCallback").unwrap().to_owned();
        app.twilio.fails_lookup(503, 20503);
        app.later(SIX_MINUTES);
        let jobs = app.until("/jobs/?state=waiting", |jobs| jobs[0]["last_error"].is_string()).await;
        assert_eq!(jobs[0]["kind"], "answer");
        app.webhook(&path, &[("MessageSid", "SMreply"), ("MessageStatus", "delivered")]).await;
        app.later(60);
        app.until("/jobs/", |jobs| jobs == &json!([])).await;
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (0, 1));
        assert_eq!(app.get("/history/1/sms").await[0]["reply_status"], "delivered");
    }

    async fn what_was_reported_is_not_looked_for(database) {
        let app = answered(&database, true, &[]).await;
        let answer = app.text("SM1", CALLER, "When?").await.messaging();
        let path = answer.find("Message").unwrap().attr("statusCallback").unwrap().to_owned();
        app.webhook(&path, &[("MessageSid", "SMreply"), ("MessageStatus", "sent")]).await;
        app.text("SM2", "+14155550199", "HELP").await;
        app.later(SIX_MINUTES);
        app.later(SIX_MINUTES);
        app.llm.decides("yes", "Yes.");
        app.text("SM3", CALLER, "Really?").await;
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (0, 0));
    }

    async fn it_is_not_sent_to_who_opted_out_meanwhile(database) {
        let app = answered(&database, true, &[]).await;
        app.text("SM2", CALLER, "STOP").await;
        app.later(SIX_MINUTES);
        app.until("/history/1/sms", |texts| texts[1]["reply_status"] == "canceled").await;
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (0, 1));
    }

    async fn where_reports_go_elsewhere_nothing_is_looked_for(database) {
        let app = answered(&database, true, &[("SMS_STATUS_CALLBACK", "https://reports.example.com/")]).await;
        app.later(SIX_MINUTES);
        app.llm.decides("yes", "Yes.");
        app.text("SM2", CALLER, "Really?").await;
        assert_eq!((app.twilio.post_count(), app.twilio.lookup_count()), (0, 0));
        assert_eq!(app.get("/history/1/sms").await[1]["reply_status"], "answered");
    }
}
