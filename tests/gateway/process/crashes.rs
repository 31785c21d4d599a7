//! Texts while the gateway is killed again and again: each is in the history once and gets exactly one reply.

use super::program::{Folder, Program};
use super::twilio::{Around, as_given, get, webhook};
use crate::long_replies::{assert_whole, sentences};
use crate::support::app::{ACCOUNT, Database, KEY, OURS};
use crate::support::fake_llm::FakeLlm;
use crate::support::fake_twilio::FakeTwilio;
use crate::support::signing::{encode_form, sign};
use crate::support::twiml::Twiml;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const ROUNDS: usize = 30;
/// Of two gateways; enough for every moment of a text.
const ROUNDS_OF_TWO: usize = 6;
const TEXTS: usize = 50;
/// The latest moment of a kill: about when the last of the texts is answered.
const LATEST_KILL_MS: u64 = 500;
/// How often a text that was not answered is delivered again: a gateway that has just started on a busy machine may be
/// too slow for a try.
const TRIES: usize = 10;
/// What the killed gateways had in hand is taken up when their leases are over.
const LEASES_END: Duration = Duration::from_secs(120);

#[tokio::test]
async fn on_sqlite_each_text_is_answered_once() {
    each_text_is_answered_once(&Database::sqlite()).await;
}

#[tokio::test]
async fn on_postgres_each_text_is_answered_once() {
    let Some(database) = Database::postgres().await else { return };
    each_text_is_answered_once(&database).await;
}

#[tokio::test]
async fn on_sqlite_a_reply_of_several_messages_goes_on_after_a_kill() {
    each_part_is_sent_once(&Database::sqlite()).await;
}

#[tokio::test]
async fn on_postgres_a_reply_of_several_messages_goes_on_after_a_kill() {
    let Some(database) = Database::postgres().await else { return };
    each_part_is_sent_once(&database).await;
}

/// The gateway is killed while Twilio holds its answer about the second message.
async fn each_part_is_sent_once(database: &Database) {
    let (around, folder, url) = (Around::start().await, Folder::new(), database.url());
    let reply = sentences(150);
    around.llm.always_decides("yes", &reply);
    around.twilio.waits().open();
    around.twilio.accepts_but_hangs();
    let settings = around.settings(&[("DATABASE_URL", &url), ("SMS_MAX_SEGMENTS", "60")]);
    let mut program = Program::serve(&folder, &as_given(&settings)).await;
    let text = [("MessageSid", "SM1"), ("Body", "Tell me all")];
    assert!(webhook(&program, "/twilio/sms", &text).await.messaging().is_empty());
    around.twilio.wait_for_sent(2).await;
    program.signal("KILL");
    program.ends().await;
    program = Program::serve(&folder, &as_given(&settings)).await;
    assert!(webhook(&program, "/twilio/sms", &text).await.messaging().is_empty(), "its redelivery");
    let started = Instant::now();
    while get(&program, "/jobs/", KEY).await.json() != json!([]) && started.elapsed() < LEASES_END {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_whole(&around.twilio.sent(), &reply);
    assert_eq!((around.twilio.sent().len(), around.twilio.lookup_count()), (3, 1), "{}", program.logged());
    assert_eq!(get(&program, "/history/1/sms", KEY).await.json()[0]["reply_status"], "queued");
}

async fn each_text_is_answered_once(database: &Database) {
    let mut random = Random(uuid::Uuid::new_v4().as_u64_pair().0);
    // Shown when the test fails.
    println!("seed {}", random.0);
    // A token of its own: a port that a killed gateway left may be another test's when a text is delivered again.
    let token = uuid::Uuid::new_v4().simple().to_string();
    let around = Around { llm: FakeLlm::start().await, twilio: FakeTwilio::start_for(ACCOUNT, &token).await };
    let (folder, url) = (Folder::new(), database.url());
    around.llm.always_answers(decision);
    let settings =
        around.settings(&[("DATABASE_URL", &url), ("SMS_REPLY_BUDGET", "0.3"), ("TWILIO_AUTH_TOKEN", &token)]);
    let twilio = Delivery { client: reqwest::Client::new(), token };
    let mut program = Program::serve(&folder, &as_given(&settings)).await;
    let mut replies = HashMap::new();
    for round in 0..ROUNDS {
        let texts: Vec<Text> = (0..TEXTS).map(|n| Text::new(round, n)).collect();
        let base = program.base();
        let delivered = join_all(texts.iter().map(|text| twilio.delivers(text, &base, 2)));
        let kill = async {
            tokio::time::sleep(Duration::from_millis(random.below(LATEST_KILL_MS))).await;
            program.signal("KILL");
        };
        let (delivered, ()) = tokio::join!(delivered, kill);
        program.ends().await;
        program = Program::serve(&folder, &as_given(&settings)).await;
        let base = program.base();
        let again = texts.iter().zip(&delivered).filter(|(_, heard)| heard.is_none());
        let again = join_all(again.map(|(text, _)| twilio.delivers(text, &base, TRIES))).await;
        assert!(again.iter().all(Option::is_some), "round {round}: {}", program.logged());
        for reply in delivered.into_iter().chain(again).flatten().flatten() {
            *replies.entry(reply).or_insert(0) += 1;
        }
    }
    each_once(&program, &around, replies, ROUNDS).await;
}

/// Waits until all texts are answered, and counts rows and replies: those that went as TwiML, and those that were sent.
async fn each_once(program: &Program, around: &Around, mut replies: HashMap<String, usize>, rounds: usize) {
    let in_twiml: usize = replies.values().sum();
    let started = Instant::now();
    while in_twiml + around.twilio.sent().len() < rounds * TEXTS && started.elapsed() < LEASES_END {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for sent in around.twilio.sent() {
        *replies.entry(sent.body).or_insert(0) += 1;
    }
    let texts = history(program).await;
    for text in (0..rounds).flat_map(|round| (0..TEXTS).map(move |n| Text::new(round, n))) {
        let (replies, rows) = (replies.get(&text.reply()).unwrap_or(&0), texts.get(&text.sid).unwrap_or(&0));
        assert_eq!((*replies, *rows), (1, 1), "replies to and rows of {}: {}", text.sid, program.logged());
    }
    println!("{in_twiml} of {} replies went as TwiML; the rest in {:?}", rounds * TEXTS, started.elapsed());
}

/// In each round one is killed; what it did not answer is delivered again to the other.
#[tokio::test]
async fn of_two_gateways_one_is_killed_again_and_again_and_each_text_is_answered_once() {
    let Some(database) = Database::postgres().await else { return };
    let mut random = Random(uuid::Uuid::new_v4().as_u64_pair().0);
    println!("seed {}", random.0);
    let token = uuid::Uuid::new_v4().simple().to_string();
    let around = Around { llm: FakeLlm::start().await, twilio: FakeTwilio::start_for(ACCOUNT, &token).await };
    let (folders, url) = ([Folder::new(), Folder::new()], database.url());
    around.llm.always_answers(decision);
    let settings =
        around.settings(&[("DATABASE_URL", &url), ("SMS_REPLY_BUDGET", "0.3"), ("TWILIO_AUTH_TOKEN", &token)]);
    let twilio = Delivery { client: reqwest::Client::new(), token };
    let mut programs = [
        Program::serve(&folders[0], &as_given(&settings)).await,
        Program::serve(&folders[1], &as_given(&settings)).await,
    ];
    let mut replies = HashMap::new();
    for round in 0..ROUNDS_OF_TWO {
        let texts: Vec<Text> = (0..TEXTS).map(|n| Text::new(round, n)).collect();
        let bases = [programs[0].base(), programs[1].base()];
        // The two texts of a sender come to different gateways.
        let delivered = join_all(texts.iter().enumerate().map(|(n, text)| {
            let (twilio, bases) = (&twilio, &bases);
            async move {
                match twilio.delivers(text, &bases[n % 2], 1).await {
                    None => twilio.delivers(text, &bases[(n + 1) % 2], 1).await,
                    heard => heard,
                }
            }
        }));
        let dying = random.below(2) as usize;
        let kill = async {
            tokio::time::sleep(Duration::from_millis(random.below(LATEST_KILL_MS))).await;
            programs[dying].signal("KILL");
        };
        let (delivered, ()) = tokio::join!(delivered, kill);
        programs[dying].ends().await;
        programs[dying] = Program::serve(&folders[dying], &as_given(&settings)).await;
        let base = programs[dying].base();
        let again = texts.iter().zip(&delivered).filter(|(_, heard)| heard.is_none());
        let again = join_all(again.map(|(text, _)| twilio.delivers(text, &base, TRIES))).await;
        assert!(again.iter().all(Option::is_some), "round {round}: {}", programs[dying].logged());
        for reply in delivered.into_iter().chain(again).flatten().flatten() {
            *replies.entry(reply).or_insert(0) += 1;
        }
    }
    each_once(&programs[0], &around, replies, ROUNDS_OF_TWO).await;
}

/// One text; two of each round are of the same sender.
struct Text {
    sid: String,
    from: String,
    body: String,
}

impl Text {
    fn new(round: usize, n: usize) -> Self {
        let sender = round * TEXTS + n / 2;
        Self { sid: format!("SM{round}x{n}"), from: format!("+1415555{sender:04}"), body: format!("text {round} {n}") }
    }

    fn reply(&self) -> String {
        format!("Re: {}", self.body)
    }
}

/// How texts come from Twilio.
struct Delivery {
    client: reqwest::Client,
    token: String,
}

impl Delivery {
    /// Delivers a text up to `tries` times; none when it was never answered whole, else the reply, if any.
    async fn delivers(&self, text: &Text, base: &str, tries: usize) -> Option<Option<String>> {
        let fields = [
            ("AccountSid", ACCOUNT),
            ("MessageSid", &text.sid),
            ("From", &text.from),
            ("To", OURS),
            ("Body", &text.body),
        ];
        let url = format!("{base}/twilio/sms");
        for _ in 0..tries {
            let request = self.client.post(&url).header("content-type", "application/x-www-form-urlencoded");
            let request =
                request.header("x-twilio-signature", sign(&self.token, &url, &fields)).body(encode_form(&fields));
            let Ok(response) = request.send().await else { continue };
            let is_success = response.status().is_success();
            if let (true, Ok(twiml)) = (is_success, response.text().await) {
                return Some(Twiml::messaging(&twiml).messages().pop());
            }
        }
        None
    }
}

/// The scripted decision: its reply names the text.
fn decision(request: &Value) -> String {
    let said = request["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
    let reply = format!("Re: {}", said.lines().last().unwrap_or_default());
    json!({ "decision": "yes", "reply_text": reply, "confidence": 0.9, "reason": "scripted" }).to_string()
}

/// How often each text is in the history, by its MessageSid.
async fn history(program: &Program) -> HashMap<String, usize> {
    let mut rows = HashMap::new();
    for skip in (0..).step_by(100) {
        let users = get(program, &format!("/users/?skip={skip}&limit=100"), KEY).await.json();
        let users = users.as_array().unwrap();
        for user in users {
            let texts = get(program, &format!("/history/{}/sms", user["id"]), KEY).await.json();
            for text in texts.as_array().unwrap() {
                *rows.entry(text["message_sid"].as_str().unwrap().to_owned()).or_insert(0) += 1;
            }
        }
        if users.len() < 100 {
            break;
        }
    }
    rows
}

/// Random numbers that can be had again (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}
