//! Messages that callers leave: kept, written down, shown in the history, and told to their owner by a text.

use crate::api_support::assert_time;
use crate::support::app::{ACCOUNT, CALLER, OURS, TestApp, on_both_databases};
use crate::support::caller::Phone;
use crate::support::fake_audio::mp3;
use crate::support::wait::until;
use serde_json::{Value, json};

/// Where the owner of our number is reached.
const OWNER: &str = "+14155550188";
const TRANSCRIBES: &[(&str, &str)] = &[("OPENAI_TRANSCRIBE_MODEL", "test-transcriber"), ("MAX_RETRIES", "0")];

/// The owner of our number, with these preferences besides the number to forward to; the id.
async fn owner(app: &TestApp, preferences: Value) -> i64 {
    let user = app.user("owner", OURS).await;
    let mut all = json!({ "forward_number": OWNER });
    all.as_object_mut().unwrap().extend(preferences.as_object().unwrap().clone());
    app.create(&format!("/preferences/?user_id={user}"), all).await;
    user
}

/// A caller who has heard the beep.
async fn at_the_beep(app: &TestApp, from: &str) -> Phone {
    let mut phone = app.dials(from, OURS).await;
    phone.says("I would like to leave a message").await;
    assert!(phone.is_recording(), "{:?}", phone.hears());
    phone
}

/// Where Twilio keeps a recording, or will keep it.
fn url(app: &TestApp, sid: &str) -> String {
    format!("{}/2010-04-01/Accounts/{ACCOUNT}/Recordings/{sid}", app.twilio.base_url())
}

/// The messages on the user's latest call, once there are as many as wanted and their words are known.
async fn transcribed(app: &TestApp, user: i64, count: usize) -> Vec<Value> {
    let is_there = |calls: &Value| {
        let left = calls[0]["voicemails"].as_array();
        left.is_some_and(|left| left.len() == count && left.iter().all(|one| one["transcript"].is_string()))
    };
    let calls = app.until(&format!("/history/{user}/calls"), is_there).await;
    calls[0]["voicemails"].as_array().unwrap().clone()
}

on_both_databases! {
    async fn a_caller_who_reaches_nobody_leaves_a_message_and_its_owner_reads_it(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({})).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.presses("0").await;
        assert_eq!(phone.is_dialling().unwrap().number, OWNER);
        phone.dial_ends("no-answer", 0).await;
        phone.presses("1").await;
        assert!(phone.is_recording());
        app.llm.transcribes("Please call me back about the invoice.");
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 12).await;
        assert!(phone.has_ended());

        let notice = &app.twilio.wait_for_sent(1).await[0];
        assert_eq!((notice.from.as_str(), notice.to.as_str()), (OURS, OWNER));
        assert_eq!(notice.body, format!("Voicemail from {CALLER}: Please call me back about the invoice."));
        let heard = &app.llm.transcription_requests()[0];
        assert_eq!((heard.language.as_deref(), heard.file_name.as_str(), &heard.audio), (Some("en"), "message.mp3", &mp3()));

        let left = &transcribed(&app, user, 1).await[0];
        assert_eq!((&left["recording_sid"], &left["duration_seconds"]), (&json!("RE1"), &json!(12)));
        assert_eq!(left["transcript"], "Please call me back about the invoice.");
        assert_eq!(left["transcript_status"], "done");
        assert_time(&left["created_at"]);
        let texts = app.until(&format!("/history/{user}/sms"), |texts| texts[0]["reply_status"] == "queued").await;
        assert_eq!((&texts[0]["direction"], &texts[0]["reply_text"]), (&json!("outbound"), &json!(notice.body)));
    }

    async fn a_redelivered_report_neither_keeps_nor_tells_a_message_twice(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({})).await;
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 3).await;
        assert_eq!(phone.trace().last().unwrap().path(), "/twilio/voice/recording");
        let (one, two) = tokio::join!(phone.redeliver_last(), phone.redeliver_last());
        assert_eq!((one.status, two.status), (204, 204));
        app.twilio.wait_for_sent(1).await;
        assert_eq!(phone.redeliver_last().await.status, 204);
        assert_eq!(transcribed(&app, user, 1).await.len(), 1);
        // A later message has its notice; the first one still has but one.
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message_and_hangs_up("RE2", &app.twilio.keeps_recording("RE2", &mp3()), 3).await;
        app.twilio.wait_for_sent(2).await;
        assert_eq!((app.twilio.sent().len(), app.llm.transcription_requests().len()), (2, 2));
    }

    async fn without_a_model_for_it_a_message_is_told_by_its_length_in_the_owners_language(database) {
        let app = TestApp::start(&database).await;
        owner(&app, json!({ "language": "de", "tts_voice": "onyx" })).await;
        let mut phone = app.dials("+266696687", OURS).await;
        phone.says("Ich möchte eine Nachricht hinterlassen").await;
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 7).await;
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!(sent[0].body, "Unbekannt hat eine Sprachnachricht von 7 Sekunden hinterlassen.");
        assert_eq!(app.twilio.fetch_count(), 0, "nobody wants the recording");
    }

    async fn a_message_in_another_language_is_written_down_in_it(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        owner(&app, json!({ "language": "es-MX", "tts_voice": "nova" })).await;
        let mut phone = app.dials(CALLER, OURS).await;
        phone.says("quiero dejar un mensaje").await;
        assert!(phone.is_recording(), "{:?}", phone.hears());
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 7).await;
        app.twilio.wait_for_sent(1).await;
        assert_eq!(app.llm.transcription_requests()[0].language.as_deref(), Some("es"));
    }

    async fn a_long_message_is_told_in_one_text(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({})).await;
        let words = "There is more to say. ".repeat(200);
        app.llm.transcribes(&words);
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 120).await;
        let body = app.twilio.wait_for_sent(1).await[0].body.clone();
        assert!(body.encode_utf16().count() <= 1600 && body.ends_with("say. ..."), "{body}");
        assert_eq!(transcribed(&app, user, 1).await[0]["transcript"], words.trim());
    }

    async fn while_nothing_can_be_written_down_the_notice_waits_and_then_goes_out_without_words(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({})).await;
        (0..20).for_each(|_| app.llm.transcription_fails(500));
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 12).await;
        let tried = |times: usize| {
            let llm = &app.llm;
            until(move || llm.transcription_requests().len() >= times, || "the message is not tried again".to_owned())
        };
        tried(1).await;
        app.later(5);
        tried(2).await;
        assert_eq!(app.twilio.sent().len(), 0, "there may be words yet");
        assert_eq!(app.get(&format!("/history/{user}/calls")).await[0]["voicemails"][0]["transcript_status"], "pending");
        app.later(900);
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!(sent[0].body, format!("{CALLER} left a voicemail of 12 seconds."));
        let calls = app.get(&format!("/history/{user}/calls")).await;
        let left = &calls[0]["voicemails"][0];
        assert_eq!((&left["transcript"], &left["transcript_status"]), (&json!(null), &json!("unavailable")));
    }

    async fn a_recording_that_is_not_there_yet_is_asked_for_again(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        owner(&app, json!({})).await;
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE1", &url(&app, "RE1"), 12).await;
        until(|| app.twilio.lookup_count() >= 1, || "nobody asks for the recording".to_owned()).await;
        app.twilio.keeps_recording("RE1", &mp3());
        app.later(5);
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!(sent[0].body, format!("Voicemail from {CALLER}: This is a scripted transcript."));
    }

    async fn a_recording_that_is_not_twilios_is_not_fetched(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        owner(&app, json!({})).await;
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE1", "http://127.0.0.1:9/recording", 12).await;
        assert_eq!(app.twilio.wait_for_sent(1).await[0].body, format!("{CALLER} left a voicemail of 12 seconds."));
        assert_eq!(app.llm.transcription_requests(), []);
    }

    async fn who_says_nothing_leaves_no_message(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({})).await;
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.stays_silent().await;
        let sid = phone.sid();
        for (status, seconds) in [("absent", "0"), ("failed", "3"), ("in-progress", "3"), ("completed", "0")] {
            let fields = [("CallSid", sid), ("RecordingSid", "RE1"), ("RecordingUrl", "https://api.twilio.com/RE1"),
                ("RecordingStatus", status), ("RecordingDuration", seconds)];
            assert_eq!(app.webhook("/twilio/voice/recording", &fields).await.status, 204, "{status}");
        }
        assert_eq!(app.get(&format!("/history/{user}/calls")).await[0]["voicemails"], json!([]));
    }

    async fn a_report_that_tells_of_no_recording_is_refused(database) {
        let app = TestApp::start(&database).await;
        let sound = [("CallSid", "CA1"), ("RecordingSid", "RE1"), ("RecordingUrl", "https://api.twilio.com/RE1"),
            ("RecordingStatus", "completed"), ("RecordingDuration", "3")];
        for (name, value) in [("CallSid", ""), ("RecordingSid", "RE 1"), ("RecordingSid", ""), ("RecordingUrl", ""),
            ("RecordingUrl", &"x".repeat(5000)), ("RecordingDuration", "-1"), ("RecordingDuration", "soon")] {
            let fields = sound.map(|(known, sent)| (known, if known == name { value } else { sent }));
            assert_eq!(app.webhook("/twilio/voice/recording", &fields).await.status, 400, "{name}={value}");
        }
        let unsigned = app.post_form("/twilio/voice/recording", "CallSid=CA1&RecordingSid=RE1", None).await;
        assert_eq!(unsigned.status, 403);
    }

    async fn a_message_waits_until_it_is_known_whose_call_it_was(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({})).await;
        let url = app.twilio.keeps_recording("RE1", &mp3());
        let report = [("CallSid", "CA1"), ("RecordingSid", "RE1"), ("RecordingUrl", url.as_str()),
            ("RecordingStatus", "completed"), ("RecordingDuration", "3")];
        assert_eq!(app.webhook("/twilio/voice/recording", &report).await.status, 204);
        app.call("CA1", CALLER, OURS).is("completed", &[("CallDuration", "9")]).await;
        app.later(5);
        app.twilio.wait_for_sent(1).await;
        assert_eq!(transcribed(&app, user, 1).await[0]["recording_sid"], "RE1");
        app.api("DELETE", &format!("/users/{user}"), None).await;
        let again = app.user("owner", OURS).await;
        app.call("CA1", CALLER, OURS).is("completed", &[]).await;
        assert_eq!(app.get(&format!("/history/{again}/calls")).await[0]["voicemails"], json!([]), "it went with its owner");
    }

    async fn nobody_is_told_of_a_message_of_their_own(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = app.user("ann", CALLER).await;
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 3).await;
        // The notice would be written with the words.
        transcribed(&app, user, 1).await;
        assert_eq!(app.get(&format!("/history/{user}/sms")).await, json!([]));
    }

    async fn an_owner_who_calls_from_the_number_to_forward_to_is_not_told_either(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({})).await;
        let mut phone = at_the_beep(&app, OWNER).await;
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 3).await;
        transcribed(&app, user, 1).await;
        assert_eq!(app.get(&format!("/history/{user}/sms")).await, json!([]));
    }

    async fn an_owner_who_wants_no_notices_gets_none(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({ "notifications_enabled": false })).await;
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 3).await;
        transcribed(&app, user, 1).await;
        assert_eq!(app.get(&format!("/history/{user}/sms")).await, json!([]));
    }

    async fn an_owner_who_is_erased_meanwhile_is_not_told(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({})).await;
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE1", &url(&app, "RE1"), 12).await;
        until(|| app.twilio.lookup_count() >= 1, || "nobody asks for the recording".to_owned()).await;
        app.api("DELETE", &format!("/users/{user}"), None).await;
        app.twilio.keeps_recording("RE1", &mp3());
        app.later(60);
        owner(&app, json!({})).await;
        app.llm.transcribes("The second message.");
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE2", &app.twilio.keeps_recording("RE2", &mp3()), 12).await;
        let sent = app.twilio.wait_for_sent(1).await;
        assert_eq!((sent.len(), sent[0].body.as_str()), (1, format!("Voicemail from {CALLER}: The second message.").as_str()));
        assert_eq!(app.llm.transcription_requests().len(), 1, "nobody's message is written down");
    }

    async fn the_notice_is_part_of_its_owners_own_conversation(database) {
        let app = TestApp::start_with(&database, TRANSCRIBES).await;
        let user = owner(&app, json!({})).await;
        let mut phone = at_the_beep(&app, CALLER).await;
        phone.leaves_message("RE1", &app.twilio.keeps_recording("RE1", &mp3()), 12).await;
        let notice = app.twilio.wait_for_sent(1).await[0].body.clone();
        app.until(&format!("/history/{user}/sms"), |texts| texts[0]["reply_status"] == "queued").await;
        app.create("/conversation/", json!({ "user_id": user, "text": "Who was that?" })).await;
        let told = app.llm.requests().last().unwrap()["messages"].clone();
        assert_eq!(told[1], json!({ "role": "assistant", "content": notice }));
        assert_eq!(told[2], json!({ "role": "user", "content": "Who was that?" }));
    }
}
