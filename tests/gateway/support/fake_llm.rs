//! A scripted model server that speaks OpenAI's Chat Completions (and its audio endpoints: `fake_audio.rs`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use super::fake_audio::Audio;
pub use super::llm_replies::Between;
use super::llm_replies::{Reply, error_body};
use super::scripted_server::{Gate, Request, Server, Step, json_response};
use super::wait::until;

/// The fake model server. Answers are queued and given in order; with the queue empty the standing answer is given.
///
/// Usage is counted as one token for each word. A streamed answer comes in pieces of one word. Requests for a call's
/// summary, which come in the background, have a queue of their own and count on their own.
pub struct FakeLlm {
    server: Server,
    pub(super) state: Arc<Mutex<State>>,
    silence: Gate,
}

type Answering = Box<dyn Fn(&Value) -> String + Send>;

pub(super) struct State {
    queue: VecDeque<Queued>,
    summaries: VecDeque<Queued>,
    queued_ever: usize,
    standing: Answering,
    before_next: Vec<Step>,
    requests: Vec<Value>,
    summary_requests: Vec<Value>,
    authorizations: Vec<Option<String>>,
    takes_tools: bool,
    takes_images: bool,
    pub(super) audio: Audio,
}

struct Queued {
    number: usize,
    before: Vec<Step>,
    reply: Reply,
}

impl FakeLlm {
    /// Starts on a free loopback port; the standing answer is "This is the scripted answer."
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            queue: VecDeque::new(),
            summaries: VecDeque::new(),
            queued_ever: 0,
            standing: Box::new(|_| "This is the scripted answer.".to_owned()),
            before_next: Vec::new(),
            requests: Vec::new(),
            summary_requests: Vec::new(),
            authorizations: Vec::new(),
            takes_tools: true,
            takes_images: true,
            audio: Audio::default(),
        }));
        let shared = state.clone();
        let server = Server::start(move |request| answer(&mut lock(&shared), request)).await;
        Self { server, state, silence: Gate::closed() }
    }

    /// What belongs into `OPENAI_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.server.address())
    }

    /// Queues a complete answer.
    pub fn says(&self, text: &str) -> QueuedAnswer<'_> {
        self.queue(Reply::says(text))
    }

    /// Queues a decision about a text message, as a JSON object in the content.
    pub fn decides(&self, decision: &str, reply_text: &str) -> QueuedAnswer<'_> {
        self.queue(Reply::says(&decision_text(decision, reply_text)))
    }

    /// Queues an answer that comes in these pieces when it is streamed; unstreamed it comes whole, after the same
    /// waits.
    pub fn streams(&self, pieces: &[&str], between: Between) -> QueuedAnswer<'_> {
        let pieces = pieces.iter().map(|&piece| piece.to_owned()).collect();
        self.queue(Reply::Text { pieces, between, finish_reason: "stop" })
    }

    /// Queues a call of a tool without words. The arguments are JSON text, or what a confused model writes.
    pub fn calls_tool(&self, name: &str, arguments: &str) -> QueuedAnswer<'_> {
        self.says_and_calls("", name, arguments)
    }

    /// Queues words followed by a call of a tool.
    pub fn says_and_calls(&self, text: &str, name: &str, arguments: &str) -> QueuedAnswer<'_> {
        let id = format!("call_scripted_{}", lock(&self.state).queued_ever + 1);
        self.queue(Reply::Call { text: text.to_owned(), id, name: name.to_owned(), arguments: arguments.to_owned() })
    }

    /// Refuses every request with `tools` in it from now on, as servers do whose model cannot call any.
    pub fn refuses_tools(&self) {
        lock(&self.state).takes_tools = false;
    }

    /// Refuses every request with pictures in it from now on, as servers do whose model cannot see.
    pub fn refuses_images(&self) {
        lock(&self.state).takes_images = false;
    }

    /// Queues the summary of a call, given to the next request for one.
    pub fn summarises(&self, summary: &str, requests: &[&str]) -> QueuedAnswer<'_> {
        self.queue_summary(Reply::says(&summary_text(summary, requests)))
    }

    /// Queues an error for the next request for a summary.
    pub fn summary_fails(&self, status: u16) -> QueuedAnswer<'_> {
        self.queue_summary(Reply::error(status, None))
    }

    /// Queues an answer that was cut at the token limit (`finish_reason: "length"`).
    pub fn cuts_off(&self, text: &str) -> QueuedAnswer<'_> {
        self.queue(Reply::Text { pieces: vec![text.to_owned()], between: Between::Nothing, finish_reason: "length" })
    }

    /// Queues a refusal: no content, the words in the `refusal` field.
    pub fn refuses(&self) -> QueuedAnswer<'_> {
        self.queue(Reply::Refusal("I'm sorry, I can't help with that.".to_owned()))
    }

    /// Queues an answer whose connection is cut after `text`: in the stream before its finish reason, unstreamed within
    /// the JSON document.
    pub fn breaks_mid_stream(&self, text: &str) -> QueuedAnswer<'_> {
        self.queue(Reply::Broken(text.to_owned()))
    }

    /// Queues any status, headers and body; only `Content-Length` is added where it is missing.
    pub fn answers_raw(&self, status: u16, headers: &[(&str, &str)], body: &str) -> QueuedAnswer<'_> {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.queue(Reply::Raw { status, headers, body: body.to_owned() })
    }

    /// Queues an error in OpenAI's form.
    pub fn fails(&self, status: u16) -> QueuedAnswer<'_> {
        self.queue(Reply::error(status, None))
    }

    /// Queues an error in OpenAI's form with a `Retry-After` header.
    pub fn fails_with_retry_after(&self, status: u16, seconds: u64) -> QueuedAnswer<'_> {
        self.queue(Reply::error(status, Some(seconds)))
    }

    /// Queues silence: the request is taken and never answered. [`FakeLlm::release`] cuts the connection.
    pub fn hangs(&self) -> QueuedAnswer<'_> {
        self.queue(Reply::Silence(self.silence.clone()))
    }

    /// Cuts the connections of all answers queued with [`FakeLlm::hangs`], those still to come included.
    pub fn release(&self) {
        self.silence.open();
    }

    /// Gives this answer whenever the queue is empty.
    pub fn always_says(&self, text: &str) {
        let text = text.to_owned();
        self.always_answers(move |_| text.clone());
    }

    /// Gives this decision whenever the queue is empty.
    pub fn always_decides(&self, decision: &str, reply_text: &str) {
        let text = decision_text(decision, reply_text);
        self.always_answers(move |_| text.clone());
    }

    /// Makes the answer from the request's body whenever the queue is empty.
    pub fn always_answers(&self, answering: impl Fn(&Value) -> String + Send + 'static) {
        lock(&self.state).standing = Box::new(answering);
    }

    /// Holds the answer to the next request, whichever answer that is, until the gate is opened.
    pub fn waits(&self) -> Gate {
        let gate = Gate::closed();
        lock(&self.state).before_next.push(Step::Hold(gate.clone()));
        gate
    }

    /// Delays the answer to the next request, whichever answer that is.
    pub fn delay(&self, time: Duration) {
        lock(&self.state).before_next.push(Step::Pause(time));
    }

    /// The bodies of all requests so far but those for summaries, in the order of their arrival.
    pub fn requests(&self) -> Vec<Value> {
        lock(&self.state).requests.clone()
    }

    /// The bodies of all requests for a call's summary so far.
    pub fn summary_requests(&self) -> Vec<Value> {
        lock(&self.state).summary_requests.clone()
    }

    /// The `Authorization` headers of the requests in [`FakeLlm::requests`].
    pub fn authorizations(&self) -> Vec<Option<String>> {
        lock(&self.state).authorizations.clone()
    }

    /// How many requests came in so far, those for summaries left out.
    pub fn request_count(&self) -> usize {
        lock(&self.state).requests.len()
    }

    /// How many requests of every kind are neither answered to their end nor given up by the client.
    pub fn in_flight(&self) -> usize {
        self.server.in_flight()
    }

    /// How many queued answers nobody has asked for yet.
    pub fn unused_answers(&self) -> usize {
        lock(&self.state).queue.len()
    }

    /// Waits until at least `count` requests came in.
    pub async fn wait_for_requests(&self, count: usize) {
        until(|| self.request_count() >= count, || self.seen(&format!("at least {count} requests"))).await;
    }

    /// Waits until exactly `count` requests are in flight.
    pub async fn wait_for_in_flight(&self, count: usize) {
        until(|| self.in_flight() == count, || self.seen(&format!("{count} requests in flight"))).await;
    }

    fn seen(&self, wanted: &str) -> String {
        let (count, in_flight) = (self.request_count(), self.in_flight());
        format!("wanted {wanted} at the model, saw {count} and {in_flight} in flight: {:#?}", self.requests())
    }

    fn queue(&self, reply: Reply) -> QueuedAnswer<'_> {
        self.queue_in(|state| &mut state.queue, reply)
    }

    fn queue_summary(&self, reply: Reply) -> QueuedAnswer<'_> {
        self.queue_in(|state| &mut state.summaries, reply)
    }

    fn queue_in(&self, queue: impl FnOnce(&mut State) -> &mut VecDeque<Queued>, reply: Reply) -> QueuedAnswer<'_> {
        let mut state = lock(&self.state);
        state.queued_ever += 1;
        let number = state.queued_ever;
        queue(&mut state).push_back(Queued { number, before: Vec::new(), reply });
        QueuedAnswer { llm: self, number }
    }
}

/// An answer just queued, to say more about it.
pub struct QueuedAnswer<'a> {
    llm: &'a FakeLlm,
    number: usize,
}

impl QueuedAnswer<'_> {
    /// Lets a time pass before this answer begins.
    pub fn delay(self, time: Duration) -> Self {
        self.precede(Step::Pause(time));
        self
    }

    /// Holds this answer until the gate is opened.
    pub fn waits(self) -> Gate {
        let gate = Gate::closed();
        self.precede(Step::Hold(gate.clone()));
        gate
    }

    fn precede(&self, step: Step) {
        let State { queue, summaries, .. } = &mut *lock(&self.llm.state);
        let queued = queue.iter_mut().chain(summaries).find(|queued| queued.number == self.number);
        queued.expect("an answer is described before it is asked for").before.push(step);
    }
}

pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no test code panics while it holds the fake model's state")
}

fn decision_text(decision: &str, reply_text: &str) -> String {
    json!({ "decision": decision, "reply_text": reply_text, "confidence": 0.9, "reason": "scripted" }).to_string()
}

fn summary_text(summary: &str, requests: &[&str]) -> String {
    json!({ "summary": summary, "requests": requests }).to_string()
}

/// An error in OpenAI's form as a whole answer.
pub(super) fn error(status: u16, message: &str) -> Vec<Step> {
    vec![Step::Write(json_response(status, &[], &error_body(message, "invalid_request_error")))]
}

fn answer(state: &mut State, request: &Request) -> Vec<Step> {
    match (request.path.as_str(), request.method.as_str()) {
        ("/v1/chat/completions", "POST") => complete(state, request),
        ("/v1/audio/speech", "POST") => state.audio.speak(request),
        ("/v1/audio/transcriptions", "POST") => state.audio.transcribe(request),
        ("/v1/chat/completions" | "/v1/audio/speech" | "/v1/audio/transcriptions", _) => {
            error(405, "only POST is served")
        }
        _ => error(404, "unknown path: only chat completions and audio are served"),
    }
}

fn complete(state: &mut State, request: &Request) -> Vec<Step> {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else { return error(400, "the body is not JSON") };
    if is_for_summary(&body) {
        state.summary_requests.push(body.clone());
        let standing = || Reply::says(&summary_text("This is the scripted summary.", &["The scripted request."]));
        let (mut steps, reply) = state
            .summaries
            .pop_front()
            .map_or_else(|| (Vec::new(), standing()), |queued| (queued.before, queued.reply));
        steps.extend(reply.steps(&body));
        return steps;
    }
    state.requests.push(body.clone());
    state.authorizations.push(request.header("authorization").map(str::to_owned));
    if let Err(fault) = check(&body) {
        return error(400, fault);
    }
    if !state.takes_tools && body.get("tools").is_some() {
        return error(400, "this model does not support tools");
    }
    if !state.takes_images && body["messages"].to_string().contains(r#""image_url""#) {
        return error(400, "image_url is not supported by this model");
    }
    let (own, reply) = match state.queue.pop_front() {
        Some(queued) => (queued.before, queued.reply),
        None => (Vec::new(), Reply::says(&(state.standing)(&body))),
    };
    let mut steps = std::mem::take(&mut state.before_next);
    steps.extend(own);
    steps.extend(reply.steps(&body));
    steps
}

/// Whether a call is to be summed up: the form's name says so, or the instructions that describe it in words.
fn is_for_summary(body: &Value) -> bool {
    let instructions = body["messages"].as_array().into_iter().flatten().filter(|message| message["role"] == "system");
    body["response_format"]["json_schema"]["name"] == "summary"
        || instructions.filter_map(|message| message["content"].as_str()).any(|text| text.contains(r#"key "summary""#))
}

/// What every compatible server insists on.
fn check(body: &Value) -> Result<(), &'static str> {
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err("you must provide a model parameter");
    }
    let messages = body["messages"].as_array().filter(|messages| !messages.is_empty());
    let mut called = Vec::new();
    for message in messages.ok_or("'messages' is missing or empty")? {
        if !matches!(message["role"].as_str(), Some("system" | "developer" | "user" | "assistant" | "tool")) {
            return Err("a message has no role or an unknown one");
        }
        let calls = message["tool_calls"].as_array();
        called.extend(calls.into_iter().flatten().map(|call| &call["id"]));
        if !(message["content"].is_string() || message["content"].is_array() || calls.is_some()) {
            return Err("a message has no content");
        }
        if message["role"] == "tool" && !called.contains(&&message["tool_call_id"]) {
            return Err("a message with role 'tool' must be a response to a preceding message with 'tool_calls'");
        }
    }
    Ok(())
}
