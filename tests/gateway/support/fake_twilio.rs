//! A scripted stand-in for Twilio's REST API: it takes messages, calls and changes to calls, keeps and lists them, and
//! gives out recordings.

mod routes;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::scripted_server::{Gate, Server};
pub use super::twilio_resources::{CallUpdate, PlacedCall, SentMessage};
use super::wait::until;

/// The account that [`FakeTwilio::start`] knows.
pub const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";
/// That account's token.
pub const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The fake REST API. Scripted mishaps are queued; each meets one POST, in order. Lookups (GET) have a queue of their
/// own.
pub struct FakeTwilio {
    server: Server,
    account: String,
    state: Arc<Mutex<State>>,
    silence: Gate,
}

#[derive(Default)]
struct State {
    /// What the requests of each account must be authorised with.
    credentials: HashMap<String, String>,
    mishaps: VecDeque<Mishap>,
    lookup_mishaps: VecDeque<Mishap>,
    posts: usize,
    lookups: usize,
    messages: Vec<SentMessage>,
    placed_calls: Vec<PlacedCall>,
    call_updates: Vec<CallUpdate>,
    /// What is given out below these paths, with its content type.
    files: HashMap<String, (String, Vec<u8>)>,
    moved: HashMap<String, String>,
    fetches: usize,
    /// Whether messages stay queued: they have no DateSent then, and no filter by it finds them.
    queued: bool,
    /// Whether what goes out as `<Message>` never comes here.
    replies_lost: bool,
    /// Whether the account is on trial.
    trial: bool,
    /// Whether the words of what goes out as `<Message>` are written in the GSM alphabet.
    folds: bool,
    /// How many seconds pass before a message is in the list.
    listed_after: i64,
    /// How many seconds its clock is ahead of the machine's.
    ahead: i64,
}

enum Mishap {
    /// Nothing is done and this is answered.
    Error { status: u16, code: u32, retry_after: Option<u64> },
    /// What was asked is done, and the connection is cut in place of an answer.
    DoneButCut,
    /// Nothing is done and nothing answered.
    Silence(Gate),
    /// What was asked is done, and answered once the gate is open.
    DoneAndHeld(Gate),
}

impl FakeTwilio {
    /// Starts on a free loopback port with the account [`ACCOUNT_SID`] and its [`AUTH_TOKEN`].
    pub async fn start() -> Self {
        Self::start_for(ACCOUNT_SID, AUTH_TOKEN).await
    }

    /// Starts with an account of the test's choice.
    pub async fn start_for(account: &str, token: &str) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, of) = (state.clone(), account.to_owned());
        let server = Server::start(move |request| routes::answer(&mut lock(&shared), &of, request)).await;
        let fake = Self { server, account: account.to_owned(), state, silence: Gate::closed() };
        fake.has_account(account, token);
        fake
    }

    /// Knows another account, too.
    pub fn has_account(&self, account: &str, token: &str) {
        let credentials = format!("Basic {}", BASE64_STANDARD.encode(format!("{account}:{token}")));
        lock(&self.state).credentials.insert(account.to_owned(), credentials);
    }

    /// What belongs into `TWILIO_API_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Answers the next POST with an error and does nothing.
    pub fn fails(&self, status: u16, twilio_code: u32) {
        self.next(Mishap::Error { status, code: twilio_code, retry_after: None });
    }

    /// Answers the next POST with an error and a `Retry-After` header, and does nothing.
    pub fn fails_with_retry_after(&self, status: u16, twilio_code: u32, seconds: u64) {
        self.next(Mishap::Error { status, code: twilio_code, retry_after: Some(seconds) });
    }

    /// Does what the next POST asks and cuts the connection before answering.
    pub fn accepts_but_drops_connection(&self) {
        self.next(Mishap::DoneButCut);
    }

    /// Takes the next POST, does nothing and never answers.
    pub fn hangs(&self) {
        self.next(Mishap::Silence(self.silence.clone()));
    }

    /// Does what the next POST asks and never answers.
    pub fn accepts_but_hangs(&self) {
        self.next(Mishap::DoneAndHeld(self.silence.clone()));
    }

    /// Does what the next POST asks and answers when the gate is opened.
    pub fn waits(&self) -> Gate {
        let gate = Gate::closed();
        self.next(Mishap::DoneAndHeld(gate.clone()));
        gate
    }

    /// Does what the next POST asks, and answers the one after it with an error.
    pub fn takes_then_fails(&self, status: u16, twilio_code: u32) {
        let open = Gate::closed();
        open.open();
        self.next(Mishap::DoneAndHeld(open));
        self.fails(status, twilio_code);
    }

    /// From now on no message is sent: all stay queued.
    pub fn keeps_messages_queued(&self) {
        lock(&self.state).queued = true;
    }

    /// From now on there are words of Twilio's own before those of each message.
    pub fn is_on_trial(&self) {
        lock(&self.state).trial = true;
    }

    /// From now on it writes typographic quotes of what goes out as `<Message>` as plain ones, and ends in no blanks.
    pub fn folds_replies(&self) {
        lock(&self.state).folds = true;
    }

    /// From now on messages are in its list only so long after they were made.
    pub fn lists_after(&self, seconds: i64) {
        lock(&self.state).listed_after = seconds;
    }

    /// From now on nothing that a webhook is answered comes to it, as when the gateway dies in the middle.
    pub fn loses_replies(&self) {
        lock(&self.state).replies_lost = true;
    }

    /// From now on it comes again.
    pub fn gets_replies(&self) {
        lock(&self.state).replies_lost = false;
    }

    /// Answers the next GET with an error.
    pub fn fails_lookup(&self, status: u16, twilio_code: u32) {
        let mishap = Mishap::Error { status, code: twilio_code, retry_after: None };
        lock(&self.state).lookup_mishaps.push_back(mishap);
    }

    /// Moves its clock on.
    pub fn later(&self, seconds: i64) {
        lock(&self.state).ahead += seconds;
    }

    /// A `<Message>` went out: it is in the list, and nobody has asked for it over REST. Its sid.
    pub fn replies(&self, from: &str, to: &str, body: &str) -> String {
        let mut state = lock(&self.state);
        let folded = body.replace(['“', '”'], "\"").trim_end().to_owned();
        let body = if state.folds { &folded } else { body };
        let reply = routes::reply(&state, &self.account, from, to, body);
        if !state.replies_lost {
            state.messages.push(reply.clone());
        }
        reply.sid
    }

    /// The messages accepted over REST so far, oldest first.
    pub fn sent(&self) -> Vec<SentMessage> {
        let state = lock(&self.state);
        state.messages.iter().filter(|message| message.direction == "outbound-api").cloned().collect()
    }

    /// The calls accepted so far, oldest first.
    pub fn placed_calls(&self) -> Vec<PlacedCall> {
        lock(&self.state).placed_calls.clone()
    }

    /// From now on a placed call has this status (`ringing`, `in-progress`, `completed` …).
    pub fn call_is(&self, sid: &str, status: &str) {
        let mut state = lock(&self.state);
        let call = state.placed_calls.iter_mut().find(|call| call.sid == sid).expect("a call that was placed");
        call.status = status.to_owned();
    }

    /// Keeps a recording, which is given out as WAV and as MP3; its URL as Twilio tells it, without either's ending.
    pub fn keeps_recording(&self, sid: &str, bytes: &[u8]) -> String {
        let path = format!("/2010-04-01/Accounts/{}/Recordings/{sid}", self.account);
        for (ending, content_type) in [("", "audio/x-wav"), (".wav", "audio/x-wav"), (".mp3", "audio/mpeg")] {
            self.gives_out(&format!("{path}{ending}"), content_type, bytes);
        }
        format!("{}{path}", self.base_url())
    }

    /// Gives out these bytes at a path, to whoever has the account's credentials.
    pub fn gives_out(&self, path: &str, content_type: &str, bytes: &[u8]) {
        lock(&self.state).files.insert(path.to_owned(), (content_type.to_owned(), bytes.to_owned()));
    }

    /// Sends who asks for this path to another URL, as Twilio does to where it stores media.
    pub fn moves(&self, path: &str, url: &str) {
        lock(&self.state).moved.insert(path.to_owned(), url.to_owned());
    }

    /// How many times a recording or another file was given out.
    pub fn fetch_count(&self) -> usize {
        lock(&self.state).fetches
    }

    /// The call updates accepted so far, oldest first.
    pub fn call_updates(&self) -> Vec<CallUpdate> {
        lock(&self.state).call_updates.clone()
    }

    /// How many POSTs came in, refused and failed ones included.
    pub fn post_count(&self) -> usize {
        lock(&self.state).posts
    }

    /// How many lookups (GET) came in.
    pub fn lookup_count(&self) -> usize {
        lock(&self.state).lookups
    }

    /// How many requests are neither answered to their end nor given up by the client.
    pub fn in_flight(&self) -> usize {
        self.server.in_flight()
    }

    /// Waits until at least `count` messages were accepted, and returns all of them.
    pub async fn wait_for_sent(&self, count: usize) -> Vec<SentMessage> {
        until(|| self.sent().len() >= count, || self.seen(&format!("at least {count} messages"))).await;
        self.sent()
    }

    /// Waits until at least `count` calls were placed, and returns all of them.
    pub async fn wait_for_placed_calls(&self, count: usize) -> Vec<PlacedCall> {
        until(|| self.placed_calls().len() >= count, || self.seen(&format!("at least {count} calls"))).await;
        self.placed_calls()
    }

    /// Waits until at least `count` changes to calls were accepted, and returns all of them.
    pub async fn wait_for_call_updates(&self, count: usize) -> Vec<CallUpdate> {
        until(|| self.call_updates().len() >= count, || self.seen(&format!("at least {count} changes to calls"))).await;
        self.call_updates()
    }

    /// Waits until at least `count` POSTs came in, whatever became of them.
    pub async fn wait_for_posts(&self, count: usize) {
        until(|| self.post_count() >= count, || self.seen(&format!("at least {count} POSTs"))).await;
    }

    fn seen(&self, wanted: &str) -> String {
        let (posts, calls) = (self.post_count(), self.placed_calls());
        format!(
            "wanted {wanted} at Twilio, saw {posts} POSTs, these messages: {:#?} and calls: {calls:#?}",
            self.sent()
        )
    }

    fn next(&self, mishap: Mishap) {
        lock(&self.state).mishaps.push_back(mishap);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test code panics while it holds the fake Twilio's state")
}
