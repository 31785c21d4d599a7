//! A scripted stand-in for Twilio's REST API: it takes messages and call updates, keeps them, and lists the messages.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use time::OffsetDateTime;

use super::scripted_server::{Gate, Request, Server, Step, json_response};
pub use super::twilio_resources::{CallUpdate, SentMessage};
use super::twilio_resources::{error_body, is_address};
use super::wait::until;

/// The account that [`FakeTwilio::start`] knows.
pub const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";
/// That account's token.
pub const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The fake REST API. Scripted mishaps are queued; each meets one POST, in order. Lookups (GET) have a queue of their own.
pub struct FakeTwilio {
    server: Server,
    state: Arc<Mutex<State>>,
    silence: Gate,
}

#[derive(Default)]
struct State {
    credentials: String,
    mishaps: VecDeque<Mishap>,
    lookup_mishaps: VecDeque<Mishap>,
    posts: usize,
    lookups: usize,
    messages: Vec<SentMessage>,
    calls: Vec<CallUpdate>,
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
        let credentials = format!("Basic {}", BASE64_STANDARD.encode(format!("{account}:{token}")));
        let state = Arc::new(Mutex::new(State { credentials, ..State::default() }));
        let (shared, account) = (state.clone(), account.to_owned());
        let server = Server::start(move |request| answer(&mut lock(&shared), &account, request)).await;
        Self { server, state, silence: Gate::closed() }
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

    /// Answers the next GET with an error.
    pub fn fails_lookup(&self, status: u16, twilio_code: u32) {
        let mishap = Mishap::Error { status, code: twilio_code, retry_after: None };
        lock(&self.state).lookup_mishaps.push_back(mishap);
    }

    /// The messages accepted so far, oldest first.
    pub fn sent(&self) -> Vec<SentMessage> {
        lock(&self.state).messages.clone()
    }

    /// The call updates accepted so far, oldest first.
    pub fn call_updates(&self) -> Vec<CallUpdate> {
        lock(&self.state).calls.clone()
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

    /// Waits until at least `count` POSTs came in, whatever became of them.
    pub async fn wait_for_posts(&self, count: usize) {
        until(|| self.post_count() >= count, || self.seen(&format!("at least {count} POSTs"))).await;
    }

    fn seen(&self, wanted: &str) -> String {
        format!("wanted {wanted} at Twilio, saw {} POSTs and these messages: {:#?}", self.post_count(), self.sent())
    }

    fn next(&self, mishap: Mishap) {
        lock(&self.state).mishaps.push_back(mishap);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test code panics while it holds the fake Twilio's state")
}

/// A JSON answer before it is put into bytes.
struct Answer(u16, serde_json::Value);

impl Answer {
    fn error(status: u16, code: u32, message: &str) -> Self {
        Answer(status, error_body(status, code, message))
    }
}

fn answer(state: &mut State, account: &str, request: &Request) -> Vec<Step> {
    let write =
        |Answer(status, body): Answer, headers: &[(&str, &str)]| Step::Write(json_response(status, headers, &body));
    if request.header("authorization") != Some(&state.credentials) {
        let challenge = [("WWW-Authenticate", "Basic realm=\"Twilio API\"")];
        return vec![write(Answer::error(401, 20003, "Authenticate"), &challenge)];
    }
    let mishap = if request.method == "POST" {
        state.posts += 1;
        state.mishaps.pop_front()
    } else {
        state.lookups += 1;
        state.lookup_mishaps.pop_front()
    };
    match mishap {
        None => vec![write(route(state, account, request), &[])],
        Some(Mishap::Error { status, code, retry_after }) => {
            let seconds = retry_after.map(|seconds| seconds.to_string());
            let headers: Vec<_> = seconds.iter().map(|seconds| ("Retry-After", seconds.as_str())).collect();
            vec![write(Answer::error(status, code, "the scripted Twilio fails"), &headers)]
        }
        Some(Mishap::DoneButCut) => {
            route(state, account, request);
            vec![Step::Cut]
        }
        Some(Mishap::Silence(gate)) => vec![Step::Hold(gate), Step::Cut],
        Some(Mishap::DoneAndHeld(gate)) => vec![Step::Hold(gate), write(route(state, account, request), &[])],
    }
}

fn route(state: &mut State, account: &str, request: &Request) -> Answer {
    let not_found = || Answer::error(404, 20404, &format!("The requested resource {} was not found", request.path));
    let Some(path) = request.path.strip_prefix(&format!("/2010-04-01/Accounts/{account}/")) else { return not_found() };
    let segments: Vec<_> = path.strip_suffix(".json").unwrap_or_default().split('/').collect();
    let form = || form_urlencoded::parse(&request.body).into_owned().collect::<Vec<(String, String)>>();
    match (request.method.as_str(), segments.as_slice()) {
        ("POST", ["Messages"]) => create_message(state, account, &form()),
        ("GET", ["Messages"]) => list_messages(state, request),
        ("GET", ["Messages", sid]) => match state.messages.iter().find(|message| message.sid == *sid) {
            Some(message) => Answer(200, message.resource()),
            None => not_found(),
        },
        ("POST", ["Calls", sid]) => {
            let update = CallUpdate { sid: (*sid).to_owned(), account: account.to_owned(), fields: form() };
            if let Some((code, message)) = update.fault() {
                return Answer::error(400, code, message);
            }
            state.calls.push(update.clone());
            Answer(200, update.resource())
        }
        _ => not_found(),
    }
}

fn create_message(state: &mut State, account: &str, form: &[(String, String)]) -> Answer {
    static CREATED: AtomicU64 = AtomicU64::new(1);
    let field =
        |name| form.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone());
    let Some(to) = field("To") else { return Answer::error(400, 21604, "A 'To' phone number is required.") };
    if !is_address(&to) {
        return Answer::error(400, 21211, "Invalid 'To' Phone Number");
    }
    let Some(from) = field("From").or_else(|| field("MessagingServiceSid")) else {
        return Answer::error(400, 21603, "A 'From' phone number is required.");
    };
    let Some(body) = field("Body") else { return Answer::error(400, 21602, "Message body is required.") };
    if body.chars().count() > 1600 {
        return Answer::error(400, 21617, "The concatenated message body exceeds the 1600 character limit");
    }
    let message = SentMessage {
        // Unlike the numbers that tests make up for texts coming in.
        sid: format!("SMfa4e{:028x}", CREATED.fetch_add(1, Ordering::Relaxed)),
        to,
        from,
        body,
        status_callback: field("StatusCallback"),
        account: account.to_owned(),
        created: now(),
    };
    state.messages.push(message.clone());
    Answer(201, message.resource())
}

fn list_messages(state: &State, request: &Request) -> Answer {
    let mut found: Vec<_> = state.messages.iter().rev().collect();
    let (mut page, mut page_size) = (0, 50);
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        match name.as_ref() {
            "To" => found.retain(|message| message.to == value),
            "From" => found.retain(|message| message.from == value),
            "DateSent" | "DateSent<" | "DateSent>" => {
                let relation = name.chars().last().filter(|last| "<>".contains(*last)).unwrap_or('=');
                if found.iter().any(|message| message.sent_within(relation, &value).is_none()) {
                    return Answer::error(400, 20001, "DateSent is not a date");
                }
                found.retain(|message| message.sent_within(relation, &value) == Some(true));
            }
            "Page" => page = value.parse().unwrap_or(0),
            "PageSize" => page_size = value.parse().unwrap_or(50).clamp(1, 1000),
            _ => return Answer::error(400, 20001, "a parameter that a list of messages does not take"),
        }
    }
    let start = (page * page_size).min(found.len());
    let end = (start + page_size).min(found.len());
    let next = (end < found.len()).then(|| format!("{}?PageSize={page_size}&Page={}", request.path, page + 1));
    let messages: Vec<_> = found[start..end].iter().map(|message| message.resource()).collect();
    Answer(
        200,
        json!({
            "messages": messages,
            "page": page,
            "page_size": page_size,
            "start": start,
            "end": end.saturating_sub(1),
            "first_page_uri": format!("{}?PageSize={page_size}&Page=0", request.path),
            "next_page_uri": next,
            "previous_page_uri": null,
            "uri": request.path,
        }),
    )
}

#[expect(clippy::disallowed_methods, reason = "the fake is another machine: it has a clock of its own")]
fn now() -> OffsetDateTime {
    // Twilio's dates have whole seconds.
    OffsetDateTime::now_utc().replace_nanosecond(0).expect("zero is a valid nanosecond")
}
