//! The caller on the line with a scripted gateway.

use crate::support::app::{ACCOUNT, Answer, CALLER, Database, OURS, TOKEN, TestApp};
use crate::support::caller::{Dialled, Ending, Exchange, Phone};
use crate::support::fake_twilio::{CallUpdate, PlacedCall};
use crate::support::scripted_server::{Request, Server, Step, response};
use crate::support::signing::{encode_form, sign};

const RECORDING: &str = "https://api.twilio.com/recordings/RE1";

/// A gateway that answers each path with the verbs of this list, and reports with 204.
async fn gateway(documents: &'static [(&'static str, &'static str)]) -> Server {
    Server::start(move |request| {
        assert_signed(request);
        let verbs = documents.iter().find(|(path, _)| *path == request.path).map(|(_, verbs)| *verbs);
        vec![Step::Write(match verbs {
            Some(verbs) => {
                let body = format!("<Response>{verbs}</Response>");
                response(200, &[("Content-Type", "text/xml; charset=utf-8")], &body)
            }
            None => response(204, &[], ""),
        })]
    })
    .await
}

fn assert_signed(request: &Request) {
    let fields: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
    let pairs: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let url = format!("http://{}{}", request.header("host").unwrap(), request.path);
    assert_eq!(request.header("x-twilio-signature"), Some(sign(TOKEN, &url, &pairs).as_str()));
}

async fn dial(gateway: &Server) -> Phone {
    let mut phone = phone(gateway);
    phone.dials().await;
    phone
}

fn phone(gateway: &Server) -> Phone {
    Phone::towards(&format!("http://{}", gateway.address()), CALLER, OURS)
}

/// The last request: its path and some of its fields.
fn last<'p>(phone: &'p Phone, names: &[&str]) -> (&'p str, Vec<&'p str>) {
    let exchange = phone.trace().last().unwrap();
    (exchange.path(), names.iter().map(|name| exchange.field(name).unwrap_or("-")).collect())
}

#[tokio::test]
async fn a_conversation_follows_gathers_and_redirects() {
    let gateway = gateway(&[
        ("/twilio/voice", r#"<Say>Hi.</Say><Gather input="dtmf speech" action="turns/1"><Say>Well?</Say><Play>/a.wav</Play></Gather>"#),
        ("/twilio/turns/1", r#"<Say>One.</Say><Pause/><Redirect>/parts/1</Redirect>"#),
        ("/parts/1", r#"<Gather input="speech" action="/end" actionOnEmptyResult="true"><Say>Two.</Say></Gather>"#),
        ("/end", "<Say>Bye.</Say><Hangup/>"),
    ])
    .await;
    let mut phone = dial(&gateway).await;
    assert_eq!(phone.hears()[..2], ["Hi.", "Well?"]);
    assert!(phone.hears()[2].ends_with("/a.wav") && phone.hears()[2].starts_with("http://"));
    assert_eq!(last(&phone, &["CallStatus", "From", "To", "Direction"]).1, ["ringing", CALLER, OURS, "inbound"]);
    phone.barges_in("Hello").await;
    assert_eq!(phone.hears(), ["One.", "Two."]);
    assert!(phone.is_heard() && !phone.has_ended());
    let [_, said, _] = phone.trace() else { panic!("{:#?}", phone.trace()) };
    assert_eq!((said.path(), said.field("SpeechResult")), ("/twilio/turns/1", Some("Hello")));
    assert_eq!(phone.redeliver(said).await.body, said.answer.body);
    assert_eq!(last(&phone, &["CallStatus", "SpeechResult"]), ("/parts/1", vec!["in-progress", "-"]));
    assert!(phone.redeliver_last().await.body.contains("Two."));
    assert_eq!(phone.trace().len(), 3, "the call does not notice what is delivered again");
    phone.stays_silent().await;
    assert_eq!((phone.hears(), phone.ended_by()), (&["Bye.".to_owned()][..], Some(Ending::Hangup)));
    assert_eq!(phone.trace()[3].path(), "/end");
    assert_eq!(last(&phone, &["CallStatus", "CallDuration"]), ("/twilio/voice/status", vec!["completed", "0"]));
    assert_eq!(phone.trace()[3].field("CallSid"), Some(phone.sid()));
}

#[tokio::test]
async fn keys_end_where_the_gather_says() {
    let gateway = gateway(&[
        ("/twilio/voice", r#"<Gather action="/keys" numDigits="3"/><Say>Nobody there?</Say>"#),
        ("/keys", r#"<Gather action="/keys"/>"#),
    ])
    .await;
    let mut pressing = dial(&gateway).await;
    pressing.presses("12345").await;
    assert_eq!(last(&pressing, &["Digits"]).1, ["123"]);
    pressing.presses("12#45").await;
    assert_eq!(last(&pressing, &["Digits"]).1, ["12"]);
    let mut silent = dial(&gateway).await;
    silent.stays_silent().await;
    assert_eq!(silent.hears(), ["Nobody there?"]);
    assert_eq!(silent.ended_by(), Some(Ending::EndOfDocument));
}

#[tokio::test]
async fn a_person_is_dialled_and_the_call_comes_back() {
    let gateway = gateway(&[
        (
            "/twilio/voice",
            r#"<Dial action="/dialled" callerId="+15005550006" timeout="20"><Number>+14155550199</Number></Dial>"#,
        ),
        ("/dialled", "<Dial>+14155550198</Dial><Say>Still here.</Say>"),
    ])
    .await;
    let mut phone = dial(&gateway).await;
    let dialled = Dialled { number: "+14155550199".into(), caller_id: Some(OURS.into()), timeout: Some(20) };
    assert_eq!(phone.is_dialling(), Some(dialled));
    phone.dial_ends("completed", 7).await;
    assert_eq!(last(&phone, &["DialCallStatus", "DialCallDuration"]), ("/dialled", vec!["completed", "7"]));
    assert_eq!(phone.is_dialling().unwrap().number, "+14155550198");
    phone.dial_ends("no-answer", 0).await;
    assert_eq!((phone.hears(), phone.is_dialling()), (&["Still here.".to_owned()][..], None));
}

#[tokio::test]
async fn a_message_is_recorded_and_reported() {
    let gateway = gateway(&[
        ("/twilio/voice", r#"<Record action="/recorded" recordingStatusCallback="/recording" recordingStatusCallbackEvent="completed absent"/><Say>Nothing?</Say>"#),
        ("/recorded", "<Say>Thanks.</Say><Hangup/>"),
    ])
    .await;
    let mut waits = dial(&gateway).await;
    assert!(waits.is_recording());
    waits.leaves_message("RE1", RECORDING, 9).await;
    assert_eq!(waits.hears(), ["Thanks."]);
    let fields = ["RecordingSid", "RecordingUrl", "RecordingStatus", "RecordingDuration"];
    assert_eq!(last(&waits, &fields), ("/recording", vec!["RE1", RECORDING, "completed", "9"]));
    let mut leaves = dial(&gateway).await;
    leaves.leaves_message_and_hangs_up("RE2", RECORDING, 9).await;
    assert_eq!(leaves.ended_by(), Some(Ending::Person));
    let paths: Vec<_> = leaves.trace().iter().map(|exchange| exchange.path()).collect();
    assert_eq!(paths, ["/twilio/voice", "/recorded", "/twilio/voice/status", "/recording"]);
    assert_eq!(leaves.trace()[1].field("Digits"), Some("hangup"));
    let mut silent = dial(&gateway).await;
    silent.stays_silent().await;
    assert_eq!(silent.hears(), ["Nothing?"]);
    assert_eq!(last(&silent, &["RecordingStatus", "RecordingSid"]), ("/recording", vec!["absent", "-"]));
}

#[tokio::test]
async fn a_call_goes_step_by_step_and_may_be_hung_up_between() {
    let gateway = gateway(&[
        ("/twilio/voice", "<Say>One.</Say><Redirect>/two</Redirect>"),
        ("/two", "<Say>Two.</Say><Redirect>/two</Redirect>"),
    ])
    .await;
    let mut phone = phone(&gateway).with_sid("CA1").step_by_step();
    phone.dials().await;
    assert_eq!((phone.sid(), phone.hears()), ("CA1", &["One.".to_owned()][..]));
    phone.goes_on().await;
    assert_eq!(phone.hears(), ["One.", "Two."]);
    phone.hangs_up().await;
    assert_eq!(phone.ended_by(), Some(Ending::Person));
    assert_eq!(last(&phone, &["CallStatus"]).1, ["completed"]);
}

#[tokio::test]
async fn a_circle_of_redirects_is_noticed() {
    let gateway = gateway(&[("/twilio/voice", "<Redirect>/twilio/voice</Redirect>")]).await;
    let mut phone = phone(&gateway);
    assert!(tokio::spawn(async move { phone.dials().await }).await.unwrap_err().is_panic());
}

#[tokio::test]
async fn what_twilio_would_not_do_fails_the_test() {
    let documents = &[("/twilio/voice", r#"<Gather input="speech" action="/x"/>"#), ("/x", "<Reject/>")];
    let gateway = gateway(documents).await;
    let (mut breaks_in, mut presses, mut speaks) = (dial(&gateway).await, dial(&gateway).await, dial(&gateway).await);
    assert_eq!(speaks.gather().unwrap().attr("action"), Some("/x"));
    speaks.says("Hello").await;
    assert_eq!(speaks.ended_by(), Some(Ending::Reject));
    let after_the_end = tokio::spawn(async move { speaks.says("Hello?").await });
    assert!(after_the_end.await.unwrap_err().is_panic());
    let nothing_is_said = tokio::spawn(async move { breaks_in.barges_in("But").await });
    assert!(nothing_is_said.await.unwrap_err().is_panic());
    let keys_are_not_heard = tokio::spawn(async move { presses.presses("1").await });
    assert!(keys_are_not_heard.await.unwrap_err().is_panic());
}

/// A call as a gateway would place it, served by the webhooks of `app`.
async fn place(app: &TestApp, says: (&str, &str)) -> PlacedCall {
    let report = format!("{}/twilio/voice/status", app.base);
    let fields = [
        ("To", CALLER),
        ("From", OURS),
        says,
        ("StatusCallback", &report),
        ("StatusCallbackEvent", "initiated answered completed"),
        ("AsyncAmdStatusCallback", &report),
    ];
    let url = format!("{}/2010-04-01/Accounts/{ACCOUNT}/Calls.json", app.twilio.base_url());
    let request = app.http.post(url).basic_auth(ACCOUNT, Some(TOKEN)).body(encode_form(&fields));
    assert_eq!(Answer::of(request).await.status, 201);
    app.twilio.placed_calls().pop().unwrap()
}

#[tokio::test]
async fn a_placed_call_is_answered_found_to_be_a_machine_and_changed() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    let greeting = r#"<Response><Gather input="speech" action="/next"><Say>Hello!</Say></Gather></Response>"#;
    let placed = place(&app, ("Twiml", greeting)).await;
    let mut phone = app.answers(&placed).await;
    assert_eq!(phone.hears(), ["Hello!"]);
    let made = |exchange: &Exchange| (exchange.path().to_owned(), exchange.field("CallStatus").unwrap().to_owned());
    let made: Vec<_> = phone.trace().iter().map(made).collect();
    let made: Vec<_> = made.iter().map(|(path, status)| (path.as_str(), status.as_str())).collect();
    let report = "/twilio/voice/status";
    assert_eq!(made, [(report, "initiated"), (report, "in-progress")]);
    assert_eq!(last(&phone, &["Direction", "From", "To", "AnsweredBy"]).1, ["outbound-api", OURS, CALLER, "-"]);
    phone.machine_detected("machine_end_beep").await;
    assert_eq!(last(&phone, &["AnsweredBy", "CallSid"]), (report, vec!["machine_end_beep", &placed.sid]));
    let update = |name: &str, value: &str| CallUpdate {
        sid: placed.sid.clone(),
        account: ACCOUNT.to_owned(),
        fields: vec![(name.to_owned(), value.to_owned())],
    };
    let document = "<Response><Pause/><Say>One moment.</Say><Dial>+14155550198</Dial></Response>";
    phone.follows_update(&update("Twiml", document)).await;
    assert!(phone.is_dialling().is_some() && phone.hears() == ["One moment."]);
    phone.follows_update(&update("Url", &format!("{}/twilio/voice", app.base))).await;
    // The gateway knows of no such call of its own, and hangs up.
    assert!(phone.hears()[0].starts_with("Sorry") && phone.is_dialling().is_none() && phone.ended_by().is_some());
    assert_eq!(last(&phone, &["CallStatus"]), (report, vec!["completed"]));
}

#[tokio::test]
async fn a_placed_call_is_answered_by_somebody_or_nobody() {
    let database = Database::sqlite();
    let app = TestApp::start(&database).await;
    let voice = format!("{}/twilio/voice", app.base);
    let url = ("Url", voice.as_str());
    let phone = app.answers_as(&place(&app, url).await, Some("human")).await;
    assert_eq!(last(&phone, &["AnsweredBy"]).1, ["human"]);
    assert_eq!(app.twilio.placed_calls()[0].status, "in-progress");
    let phone = app.does_not_answer(&place(&app, url).await, "busy").await;
    assert_eq!((phone.ended_by(), last(&phone, &["CallStatus"]).1), (Some(Ending::NotAnswered), vec!["busy"]));
}

#[tokio::test]
async fn a_gateway_is_called_at_its_public_address() {
    let database = Database::sqlite();
    let app = TestApp::start_with(&database, &[("PUBLIC_BASE_URL", "https://gateway.example.com/behind")]).await;
    let mut phone = app.dials(CALLER, OURS).await;
    app.llm.says("Paris.");
    phone.says("The capital of France?").await;
    assert_eq!(phone.hears(), ["Paris."]);
    assert_eq!(phone.trace()[1].url, "https://gateway.example.com/behind/twilio/voice/turns/1");
    phone.hangs_up().await;
}
