//! The gateway as production runs it, on its own database and a port of its own, with a scripted model and a fake
//! Twilio at the far end of their URLs.

use super::fake_llm::FakeLlm;
use super::fake_twilio::FakeTwilio;
use super::postgres;
use super::signing::{encode_form, sign};
use super::twiml::Twiml;
use super::wait::PATIENCE;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Once;
use std::time::{Duration, Instant};
use switchboard::clock::Clock;
use switchboard::config::Config;
use switchboard::gateway::Gateway;

/// The account whose webhooks the gateway takes.
pub const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// Its auth token.
pub const TOKEN: &str = "12345678901234567890123456789012";
/// The REST API's key.
pub const KEY: &str = "a-key-for-tests-only";
/// Calls go over ConversationRelay.
pub const RELAY: (&str, &str) = ("VOICE_TRANSPORT", "relay");
/// A number of the gateway.
pub const OURS: &str = "+15005550006";
/// Somebody who calls and writes.
pub const CALLER: &str = "+14155550123";

/// A database of a test's own.
pub enum Database {
    /// A file in a folder that goes with the test.
    Sqlite(PathBuf),
    /// The URL of a database that goes with the test, too.
    Postgres(String),
}

impl Database {
    /// A new SQLite file, not made yet.
    pub fn sqlite() -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(remove_leftovers);
        let folder = std::env::temp_dir().join(format!("{FOLDER_PREFIX}{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        Self::Sqlite(folder)
    }

    /// A new PostgreSQL database; none where PostgreSQL is not installed.
    pub async fn postgres() -> Option<Self> {
        postgres::database().await.map(Self::Postgres)
    }

    /// What `DATABASE_URL` says of it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}", folder.join("test.db").display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        match self {
            Self::Sqlite(folder) => drop(std::fs::remove_dir_all(folder)),
            Self::Postgres(url) => postgres::drop_database(url),
        }
    }
}

const FOLDER_PREFIX: &str = "switchboard-test-";

/// Removes the folders of runs that were killed: those older than any test lasts.
fn remove_leftovers() {
    const LONGEST_TEST: Duration = Duration::from_secs(3600);
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX);
        let age = entry.metadata().ok().and_then(|about| about.modified().ok()?.elapsed().ok());
        if is_ours && age.is_some_and(|age| age > LONGEST_TEST) {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// Writes each story once and tells it on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($database:ident) $body:block)*) => { $(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn story($database: $crate::support::app::Database) $body

            #[tokio::test]
            async fn on_sqlite() {
                story($crate::support::app::Database::sqlite()).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                if let Some(database) = $crate::support::app::Database::postgres().await {
                    story(database).await;
                }
            }
        }
    )* };
}
pub(crate) use on_both_databases;

/// A running gateway with everything around it.
pub struct TestApp {
    /// Where it listens, as a base URL.
    pub base: String,
    /// Its `PUBLIC_BASE_URL`, if it has one.
    pub public_url: Option<String>,
    /// The model it asks.
    pub llm: FakeLlm,
    /// Twilio's REST API.
    pub twilio: FakeTwilio,
    /// Its clock, which a test may move.
    pub clock: Clock,
    /// A client for its REST API.
    pub http: reqwest::Client,
    gateway: Option<Gateway>,
}

impl TestApp {
    /// Starts a gateway on `database`.
    pub async fn start(database: &Database) -> Self {
        Self::start_with(database, &[]).await
    }

    /// Starts a gateway with some settings of its own; an empty value takes a setting back.
    pub async fn start_with(database: &Database, settings: &[(&str, &str)]) -> Self {
        Self::start_beside(FakeLlm::start().await, FakeTwilio::start_for(ACCOUNT, TOKEN).await, database, settings)
            .await
    }

    /// Stops the gateway and starts another on the same database with the same model and Twilio.
    pub async fn restart(mut self, database: &Database, settings: &[(&str, &str)]) -> Self {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop().await;
        }
        Self::start_beside(self.llm, self.twilio, database, settings).await
    }

    async fn start_beside(llm: FakeLlm, twilio: FakeTwilio, database: &Database, settings: &[(&str, &str)]) -> Self {
        let mut all: HashMap<String, String> = [
            ("PORT", "0"),
            ("DATABASE_URL", &database.url()),
            ("OPENAI_BASE_URL", &llm.base_url()),
            ("OPENAI_MODEL", "test-model"),
            ("OPENAI_TIMEOUT", "5"),
            ("RETRY_DELAY", "0.01"),
            ("TWILIO_ACCOUNT_SID", ACCOUNT),
            ("TWILIO_AUTH_TOKEN", TOKEN),
            ("TWILIO_API_BASE_URL", &twilio.base_url()),
            ("TWILIO_PHONE_NUMBERS", OURS),
            ("ADMIN_API_KEY", KEY),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let setting = |name: &str| all.get(name).filter(|value| !value.is_empty()).cloned();
        let read = Config::load(setting);
        let (config, _) = read.unwrap_or_else(|faults| panic!("{faults}"));
        let clock = Clock::default();
        let gateway = Gateway::start(config, clock.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        let base = format!("http://{}", gateway.address());
        let http = reqwest::Client::builder().timeout(PATIENCE * 2).build().expect("a client can be built");
        Self { base, public_url: setting("PUBLIC_BASE_URL"), llm, twilio, clock, http, gateway: Some(gateway) }
    }

    /// Stops the gateway as SIGTERM does.
    pub async fn stop(mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop().await;
        }
    }

    /// Takes the gateway's database out of its reach for good.
    pub async fn close_database(&self) {
        if let Some(gateway) = &self.gateway {
            gateway.app().db.close().await;
        }
    }

    /// Posts a signed webhook.
    pub async fn webhook(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.webhook_of(ACCOUNT, TOKEN, path, fields).await
    }

    /// Posts a webhook that names this account and is signed with this token. Twilio keeps a fragment of the URL to
    /// itself.
    pub async fn webhook_of(&self, account: &str, token: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let path = path.split('#').next().unwrap_or_default();
        let mut all = vec![("AccountSid", account), ("ApiVersion", "2010-04-01")];
        all.extend(fields);
        let url = format!("{}{path}", self.base);
        let signature = sign(token, &url, &all);
        let answer = self.post_form(path, &encode_form(&all), Some(&signature)).await;
        if path == "/twilio/sms" && answer.status == 200 {
            let field = |name| fields.iter().find(|(field, _)| *field == name).map_or("", |(_, value)| *value);
            for message in answer.messaging().messages() {
                self.twilio.replies(field("To"), field("From"), &message);
            }
        }
        answer
    }

    /// Posts form bytes as they are, with a signature or without.
    pub async fn post_form(&self, path: &str, body: &str, signature: Option<&str>) -> Answer {
        let mut request = self.http.post(format!("{}{path}", self.base));
        request = request.header("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
        if let Some(signature) = signature {
            request = request.header("x-twilio-signature", signature);
        }
        Answer::of(request.body(body.to_owned())).await
    }

    /// Asks the REST API with its key.
    pub async fn api(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.base)).header("x-api-key", KEY);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        Answer::of(request).await
    }

    /// GET of the REST API, which must succeed.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.api("GET", path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// POST to the REST API, which must succeed.
    pub async fn create(&self, path: &str, body: Value) -> Value {
        let answer = self.api("POST", path, Some(body)).await;
        assert!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
        answer.json()
    }

    /// A user with this name and number; the id.
    pub async fn user(&self, name: &str, phone_number: &str) -> i64 {
        let body = serde_json::json!({ "username": name, "phone_number": phone_number });
        self.create("/users/", body).await["id"].as_i64().expect("an id")
    }

    /// Asks until an answer satisfies a condition; tells the last answer when none does.
    pub async fn until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.get(path).await;
            if condition(&answer) {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "{path} never came to what was awaited: {answer:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Moves the clock on, Twilio's too, and lets the worker see it.
    pub fn later(&self, seconds: i64) {
        self.twilio.later(seconds);
        self.clock.advance(seconds);
        if let Some(gateway) = &self.gateway {
            gateway.app().outbox.wake();
        }
    }

    /// A caller on the telephone, whose voice webhooks all belong to one call.
    pub fn call<'a>(&'a self, sid: &'a str, from: &'a str, to: &'a str) -> Call<'a> {
        Call { app: self, sid, from, to }
    }

    /// A text comes in.
    pub async fn text(&self, sid: &str, from: &str, body: &str) -> Answer {
        self.webhook("/twilio/sms", &[("MessageSid", sid), ("From", from), ("To", OURS), ("Body", body)]).await
    }
}

/// One call.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    app: &'a TestApp,
    sid: &'a str,
    from: &'a str,
    to: &'a str,
}

impl Call<'_> {
    /// Posts a webhook of this call.
    pub async fn webhook(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![("CallSid", self.sid), ("From", self.from), ("To", self.to), ("Direction", "inbound")];
        if !fields.iter().any(|(name, _)| *name == "CallStatus") {
            all.push(("CallStatus", "in-progress"));
        }
        all.extend(fields);
        self.app.webhook(path, &all).await
    }

    /// The call comes in.
    pub async fn rings(&self) -> Twiml {
        self.webhook("/twilio/voice", &[("CallStatus", "ringing")]).await.voice()
    }

    /// The caller says something in turn `n`; what is heard first.
    pub async fn says(&self, n: u32, words: &str) -> Twiml {
        let path = format!("/twilio/voice/turns/{n}");
        self.webhook(&path, &[("SpeechResult", words), ("Confidence", "0.9")]).await.voice()
    }

    /// The caller says something, and waits through all parts and holds for the answer; fillers are no part of it.
    pub async fn talks(&self, n: u32, words: &str) -> Twiml {
        let (mut heard, mut told) = (self.says(n, words).await, Vec::new());
        while let Some(redirect) = heard.redirect() {
            told.extend(heard.says().into_iter().filter(|said| !is_filler(said)));
            heard = self.webhook(&redirect, &[]).await.voice();
        }
        heard.after(told)
    }

    /// Twilio reports the call's progress.
    pub async fn is(&self, status: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![("CallStatus", status)];
        all.extend(fields);
        self.webhook("/twilio/voice/status", &all).await
    }
}

/// Whether the gateway says this while there is nothing to tell.
fn is_filler(said: &str) -> bool {
    let phrases = include_str!("../../../twiml-templates/phrases/en.toml");
    phrases.lines().any(|line| line.starts_with("one_moment") && line.contains(said))
}

/// What the gateway answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Sends a request and reads the answer.
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap_or_else(|error| panic!("the gateway did not answer: {error:?}"));
        let status = response.status().as_u16();
        let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = response.headers().iter().map(header).collect();
        Self { status, headers, body: response.text().await.expect("the answer has a readable body") }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The answer to a voice webhook: 200 with valid TwiML.
    pub fn voice(&self) -> Twiml {
        self.assert_twiml();
        Twiml::voice(&self.body)
    }

    /// The answer to a text's webhook: 200 with valid TwiML.
    pub fn messaging(&self) -> Twiml {
        self.assert_twiml();
        Twiml::messaging(&self.body)
    }

    fn assert_twiml(&self) {
        assert_eq!(self.status, 200, "{}", self.body);
        assert_eq!(self.headers["content-type"], "text/xml; charset=utf-8");
    }
}
