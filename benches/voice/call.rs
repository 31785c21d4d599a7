//! A call over webhooks, as Twilio makes it: what is to be said takes its time, then the next webhook is asked.

use crate::common::Failure;
use crate::common::connection::Connection;
use crate::common::form;
use crate::common::server::Server;
use crate::script::{Answer, tells};
use std::time::{Duration, Instant};
use tokio::time::{sleep_until, timeout};

/// Twilio waits no longer for an answer.
const TWILIO_WAITS: Duration = Duration::from_secs(15);
/// Characters that a voice speaks in a second.
const SPEAKING_SPEED: u32 = 15;

/// A call; its connection to the gateway is kept alive.
pub struct Call<'s> {
    server: &'s Server,
    number: usize,
    connection: Connection,
    /// Where the caller's next words go.
    action: String,
}

/// One webhook and its answer.
pub struct Step {
    pub sent: Instant,
    pub answered: Instant,
    /// What the caller hears.
    pub says: String,
    twiml: String,
    next: Next,
}

/// How a document ends.
enum Next {
    Redirect(String),
    Gather(String),
    Other,
}

impl Step {
    /// How long the webhook waited for its answer.
    pub fn wait(&self) -> Duration {
        self.answered - self.sent
    }

    /// Whether it tells something of an answer.
    pub fn tells(&self) -> bool {
        tells(&self.says)
    }
}

impl<'s> Call<'s> {
    /// A call that has been greeted. `number` makes it one of its kind.
    pub async fn open(server: &'s Server, number: usize) -> Result<Self, Failure> {
        let (mut call, greeting) = Self::ring(server, number).await?;
        match greeting.next {
            Next::Gather(action) => call.action = action,
            _ => return Err(format!("a call was not greeted: {}", greeting.twiml).into()),
        }
        Ok(call)
    }

    /// The document that hands a call over to ConversationRelay.
    pub async fn handed_over(server: &'s Server, number: usize) -> Result<String, Failure> {
        Ok(Self::ring(server, number).await?.1.twiml)
    }

    async fn ring(server: &'s Server, number: usize) -> Result<(Self, Step), Failure> {
        let connection = Connection::open(server.address).await?;
        let mut call = Self { server, number, connection, action: String::new() };
        let answer = call.webhook("/twilio/voice", &[("CallStatus", "ringing")]).await?;
        Ok((call, answer))
    }

    /// Asks for `answer` and hears what comes until the gateway listens again.
    pub async fn asks(&mut self, answer: &Answer) -> Result<Vec<Step>, Failure> {
        let question = answer.question();
        let said = [("CallStatus", "in-progress"), ("SpeechResult", &question), ("Confidence", "0.93")];
        let action = std::mem::take(&mut self.action);
        let mut steps = vec![self.webhook(&action, &said).await?];
        loop {
            let last = &steps[steps.len() - 1];
            match &last.next {
                Next::Redirect(url) => {
                    let spoken = Duration::from_secs(1) * u32::try_from(last.says.chars().count())? / SPEAKING_SPEED;
                    let url = url.clone();
                    sleep_until((last.answered + spoken).into()).await;
                    steps.push(self.webhook(&url, &[("CallStatus", "in-progress")]).await?);
                }
                Next::Gather(action) => {
                    self.action = action.clone();
                    return Ok(steps);
                }
                Next::Other => return Err(format!("the gateway does not listen after {:?}", last.says).into()),
            }
        }
    }

    /// Ends the call.
    pub async fn hang_up(mut self) -> Result<(), Failure> {
        let request = self.request("/twilio/voice/status", &[("CallStatus", "completed"), ("CallDuration", "42")]);
        let answer = self.connection.exchange(&request).await?;
        if answer.status() == Some(204) { Ok(()) } else { Err(format!("a call did not end: {answer}").into()) }
    }

    async fn webhook(&mut self, url: &str, more: &[(&'static str, &str)]) -> Result<Step, Failure> {
        let request = self.request(url, more);
        let sent = Instant::now();
        let answer = timeout(TWILIO_WAITS, self.connection.exchange(&request)).await;
        let answer = answer.map_err(|_| format!("no answer in {TWILIO_WAITS:?} from {url}"))??;
        let answered = Instant::now();
        let twiml = std::str::from_utf8(answer.body)?;
        if answer.status() != Some(200) || !twiml.contains("<Response>") {
            return Err(format!("a wrong answer from {url}:\n{answer}").into());
        }
        let next = if let Some(url) = first(twiml, "<Redirect method=\"POST\">", "<") {
            Next::Redirect(url)
        } else if let Some(url) = first(twiml, " action=\"", "\"") {
            Next::Gather(url)
        } else {
            Next::Other
        };
        Ok(Step { sent, answered, says: says(twiml), twiml: twiml.to_owned(), next })
    }

    fn request(&self, url: &str, more: &[(&'static str, &str)]) -> Vec<u8> {
        let path = url.strip_prefix(&self.server.base_url).unwrap_or(url);
        let signed = format!("{}{path}", self.server.base_url);
        form::webhook(self.server.address, path, &signed, &form::call(self.number, more))
    }
}

/// All that a document says.
fn says(twiml: &str) -> String {
    let spoken = twiml.split("<Say ").skip(1).filter_map(|say| first(say, ">", "</Say>"));
    spoken.collect::<Vec<_>>().join(" ")
}

/// What stands between `before` and `after`.
pub fn first(twiml: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = twiml.split_once(before)?;
    Some(rest.split_once(after)?.0.replace("&amp;", "&"))
}
