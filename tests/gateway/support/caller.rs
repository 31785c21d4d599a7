//! A caller whose end of the call follows TwiML as Twilio does, so that a test reads as a conversation.
//!
//! [`TestApp::dials`] rings the gateway. From then on the phone performs every document's verbs in order, fetches what
//! redirects and actions lead to, and stops where somebody must act: in a `<Gather>`, `<Dial>`, `<Record>` or
//! `<Connect>`, or when the call is over. Nothing is waited for between parts. Every request is signed, and every
//! answer must be valid TwiML.

mod acts;
mod follow;
mod line;
mod outbound;
mod relay;

use super::app::{ACCOUNT, TestApp};
use super::xml::Element;
pub use line::Exchange;
use line::Line;
pub use relay::Relay;
use relay::SessionEnd;
use std::collections::VecDeque;
use switchboard::clock::{Clock, Micros};

/// One call, seen from the telephone network.
pub struct Phone {
    line: Line,
    clock: Clock,
    sid: String,
    from: String,
    to: String,
    direction: &'static str,
    /// The `CallStatus` of the requests made from now on.
    status: &'static str,
    /// Where the call's progress is reported, and which events besides its end.
    status_callback: Option<String>,
    status_events: Vec<String>,
    reports: u32,
    /// Where Twilio says whether a machine answered, once it knows.
    machine_callback: Option<String>,
    answered_by: Option<String>,
    began: Micros,
    step_by_step: bool,
    state: State,
    /// The URL of the document that is performed, and what is left of it.
    document: String,
    verbs: VecDeque<Element>,
    heard: Vec<String>,
    trace: Vec<Exchange>,
    last_request: Option<(String, Vec<(String, String)>)>,
}

/// Where the call stands.
#[derive(Debug)]
enum State {
    /// It has not begun.
    OnHook,
    /// In a `<Gather>`: the caller may speak or press keys.
    Gathering(Element),
    /// At a `<Redirect>` to this URL, on a phone that goes step by step.
    Redirecting(String),
    Dialling(Element),
    Recording(Element),
    Connected(Element),
    Over(Ending),
}

/// What ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A `<Hangup>`.
    Hangup,
    /// A document without anything left to do.
    EndOfDocument,
    /// A `<Reject>`.
    Reject,
    /// The person hung up.
    Person,
    /// The person never answered: busy, or let it ring.
    NotAnswered,
    /// A change of the call through the REST API.
    RestApi,
}

/// Whom a `<Dial>` rings.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialled {
    /// The number.
    pub number: String,
    /// What the number is shown; without it, the caller's own.
    pub caller_id: Option<String>,
    /// How long it rings, in seconds.
    pub timeout: Option<u32>,
}

impl TestApp {
    /// `from` rings `to` and hears what the gateway has to say first.
    pub async fn dials(&self, from: &str, to: &str) -> Phone {
        let mut phone = self.phone(from, to);
        phone.dials().await;
        phone
    }

    /// A phone that has not dialled yet, to be set up differently.
    pub fn phone(&self, from: &str, to: &str) -> Phone {
        Phone::new(Line::to(self), self.clock.clone(), from, to)
    }
}

impl Phone {
    /// A phone on the line with a scripted server in place of the gateway.
    pub fn towards(base: &str, from: &str, to: &str) -> Self {
        Self::new(Line::to_address(base), Clock::default(), from, to)
    }

    fn new(line: Line, clock: Clock, from: &str, to: &str) -> Self {
        let status_callback = Some(line.url("/twilio/voice/status"));
        Self {
            line,
            began: clock.now(),
            clock,
            sid: format!("CA{}", uuid::Uuid::new_v4().simple()),
            from: from.to_owned(),
            to: to.to_owned(),
            direction: "inbound",
            status: "ringing",
            status_callback,
            status_events: Vec::new(),
            reports: 0,
            machine_callback: None,
            answered_by: None,
            step_by_step: false,
            state: State::OnHook,
            document: String::new(),
            verbs: VecDeque::new(),
            heard: Vec::new(),
            trace: Vec::new(),
            last_request: None,
        }
    }

    /// Gives the call this SID in place of a unique one.
    pub fn with_sid(mut self, sid: &str) -> Self {
        self.sid = sid.to_owned();
        self
    }

    /// Lets the phone stop before every `<Redirect>`, until [`goes_on`](Self::goes_on).
    pub fn step_by_step(mut self) -> Self {
        self.step_by_step = true;
        self
    }

    /// Sends the call's further requests to another gateway, as a load balancer does.
    pub fn moves_to(&mut self, app: &TestApp) {
        self.moves(Line::to(app));
    }

    /// The same for a gateway that is a program of its own, at this address.
    pub fn moves_towards(&mut self, base: &str) {
        self.moves(Line::to_address(base));
    }

    fn moves(&mut self, line: Line) {
        let before = std::mem::replace(&mut self.line, line);
        let mut urls = vec![&mut self.document];
        urls.extend(self.status_callback.as_mut());
        urls.extend(self.machine_callback.as_mut());
        urls.extend(self.last_request.as_mut().map(|(url, _)| url));
        if let State::Redirecting(url) = &mut self.state {
            urls.push(url);
        }
        for url in urls {
            *url = self.line.instead_of(&before, url);
        }
    }

    /// The call's SID.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// What was said to the caller since they last acted: the texts of `<Say>` and the URLs of `<Play>`, in order.
    pub fn hears(&self) -> &[String] {
        &self.heard
    }

    /// Whether the gateway listens to what is said or pressed.
    pub fn is_heard(&self) -> bool {
        matches!(self.state, State::Gathering(_))
    }

    /// The `<Gather>` that listens.
    pub fn gather(&self) -> Option<&Element> {
        match &self.state {
            State::Gathering(gather) => Some(gather),
            _ => None,
        }
    }

    /// Whom the gateway rings to connect the caller with.
    pub fn is_dialling(&self) -> Option<Dialled> {
        let State::Dialling(dial) = &self.state else { return None };
        Some(Dialled {
            number: dial.text().trim().to_owned(),
            caller_id: dial.attr("callerId").map(str::to_owned),
            timeout: dial.attr("timeout").and_then(|seconds| seconds.parse().ok()),
        })
    }

    /// Whether what the caller says is recorded.
    pub fn is_recording(&self) -> bool {
        matches!(self.state, State::Recording(_))
    }

    /// The `<ConversationRelay>` the call is connected with.
    pub fn connect(&self) -> Option<&Element> {
        match &self.state {
            State::Connected(connect) => connect.find("ConversationRelay"),
            _ => None,
        }
    }

    /// Whether the call is over.
    pub fn has_ended(&self) -> bool {
        self.ended_by().is_some()
    }

    /// What ended the call, once it is over.
    pub fn ended_by(&self) -> Option<Ending> {
        match self.state {
            State::Over(ending) => Some(ending),
            _ => None,
        }
    }

    /// Every request made for this call, oldest first.
    pub fn trace(&self) -> &[Exchange] {
        &self.trace
    }

    /// Makes the last request once more, answered or not; the call itself does not notice.
    pub async fn redeliver_last(&self) -> super::app::Answer {
        let (url, fields) = self.last_request.as_ref().expect("a request was made");
        self.line.post(url, fields).await.answer
    }

    /// Makes a request of the trace once more; the call itself does not notice.
    pub async fn redeliver(&self, exchange: &Exchange) -> super::app::Answer {
        self.line.post(&exchange.url, &exchange.fields).await.answer
    }

    /// The fields that every request of a call has.
    fn call_fields(&self) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = [
            ("AccountSid", ACCOUNT),
            ("ApiVersion", "2010-04-01"),
            ("CallSid", &self.sid),
            ("CallStatus", self.status),
            ("Direction", self.direction),
            ("From", &self.from),
            ("Caller", &self.from),
            ("To", &self.to),
            ("Called", &self.to),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        fields.extend(self.answered_by.iter().map(|who| ("AnsweredBy".to_owned(), who.clone())));
        fields
    }
}

fn pairs<'f>(fields: &'f [(&'static str, String)]) -> Vec<(&'f str, &'f str)> {
    fields.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
