//! Performing documents: what Twilio does between two acts of the people on the line.

use super::{Ending, Exchange, Phone, State, pairs};
use crate::support::twiml::Twiml;
use crate::support::xml::Element;
use switchboard::clock::{SECOND, to_utc};
use time::format_description::well_known::Rfc2822;

/// A call that is redirected more often without anybody acting goes in a circle.
const MOST_REDIRECTS: usize = 200;

impl Phone {
    /// Fetches a document and performs it, and all it leads to, until somebody must act.
    pub(super) async fn fetch(&mut self, url: String, fields: &[(&str, &str)]) {
        let twiml = self.post(url.clone(), fields).await.twiml();
        // From its first document on, the call is answered.
        self.status = "in-progress";
        self.reads(url, twiml);
        self.follow().await;
    }

    /// Takes up a document in place of the one that is performed.
    pub(super) fn reads(&mut self, url: String, twiml: Twiml) {
        self.document = url;
        self.verbs = twiml.into_verbs().into();
    }

    /// Performs the verbs that are left until somebody must act.
    pub(super) async fn follow(&mut self) {
        for _ in 0..MOST_REDIRECTS {
            match self.next_halt() {
                State::Redirecting(url) if !self.step_by_step => {
                    let twiml = self.post(url.clone(), &[]).await.twiml();
                    self.reads(url, twiml);
                }
                State::Over(ending) => return self.ends(ending, "completed").await,
                halt => return self.state = halt,
            }
        }
        panic!("more than {MOST_REDIRECTS} redirects in a row, the last one to {}", self.document);
    }

    /// Performs verbs up to the one that takes time, and says where that leaves the call.
    fn next_halt(&mut self) -> State {
        while let Some(verb) = self.verbs.pop_front() {
            match verb.name.as_str() {
                "Say" | "Play" => self.hear(&verb),
                "Pause" => {}
                "Gather" => {
                    verb.children().for_each(|child| self.hear(child));
                    return State::Gathering(posted(verb));
                }
                "Redirect" => return State::Redirecting(self.resolve(Some(posted(verb).text().trim()))),
                "Dial" => return State::Dialling(posted(verb)),
                "Record" => return State::Recording(posted(verb)),
                "Connect" => {
                    let relay = verb.find("ConversationRelay");
                    assert!(
                        relay.is_some(),
                        "of all that can be connected the caller knows ConversationRelay: {verb:?}"
                    );
                    self.heard.extend(relay.and_then(|relay| relay.attr("welcomeGreeting")).map(str::to_owned));
                    return State::Connected(posted(verb));
                }
                "Hangup" => return State::Over(Ending::Hangup),
                "Reject" => return State::Over(Ending::Reject),
                other => panic!("the caller does not know what to do at <{other}>"),
            }
        }
        State::Over(Ending::EndOfDocument)
    }

    fn hear(&mut self, verb: &Element) {
        let text = verb.text().trim().to_owned();
        match verb.name.as_str() {
            "Play" => self.heard.push(self.resolve(Some(&text))),
            "Say" => self.heard.push(text),
            _ => {}
        }
    }

    /// The call is over, and Twilio reports it.
    pub(super) async fn ends(&mut self, ending: Ending, status: &'static str) {
        assert!(!self.has_ended(), "the call is over already: {:?}", self.state);
        self.state = State::Over(ending);
        self.report_progress(status).await;
    }

    /// Reports the call's progress, if the gateway is to be told of it.
    pub(super) async fn report_progress(&mut self, status: &'static str) {
        self.status = status;
        let Some(url) = self.status_callback.clone() else { return };
        let seconds = (self.clock.now() - self.began) / SECOND;
        let at = to_utc(self.clock.now()).format(&Rfc2822).expect("a date of our time has an RFC 2822 form");
        let mut fields = vec![
            ("CallbackSource", "call-progress-events".to_owned()),
            ("SequenceNumber", self.reports.to_string()),
            ("Timestamp", at),
        ];
        self.reports += 1;
        if status == "completed" {
            fields.extend([("CallDuration", seconds.to_string()), ("Duration", (seconds / 60 + 1).to_string())]);
        }
        self.report(url, &pairs(&fields)).await;
    }

    /// Posts a report, whose answer only has to say that it arrived.
    pub(super) async fn report(&mut self, url: String, fields: &[(&str, &str)]) {
        let answer = &self.post(url.clone(), fields).await.answer;
        assert!((200..300).contains(&answer.status), "{url}: {} {}", answer.status, answer.body);
    }

    /// Makes one request of the call.
    pub(super) async fn post(&mut self, url: String, fields: &[(&str, &str)]) -> &Exchange {
        let mut all = self.call_fields();
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.last_request = Some((url.clone(), all.clone()));
        let exchange = self.line.post(&url, &all).await;
        self.trace.push(exchange);
        self.trace.last().expect("it was pushed just now")
    }

    /// A URL of the document that is performed; without one, Twilio asks for the same document again.
    pub(super) fn resolve(&self, url: Option<&str>) -> String {
        url.map_or_else(|| self.document.clone(), |url| self.line.resolve(&self.document, url))
    }
}

/// The caller makes POST requests only.
fn posted(verb: Element) -> Element {
    let method = verb.attr("method").unwrap_or("POST");
    assert_eq!(method, "POST", "{verb:?}");
    verb
}
