//! Texts over many connections, and the count of their replies.

use crate::common::connection::Connection;
use crate::common::server::Server;
use crate::common::text::text;
use crate::common::{Failure, figures, form};
use crate::model;
use crate::rest::Sent;
use futures_util::future::try_join_all;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// A part of the bench.
pub type Part = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// Twilio waits no longer for an answer.
const TWILIO_WAITS: Duration = Duration::from_secs(15);
/// How often the replies are counted.
const COUNT_EVERY: Duration = Duration::from_millis(50);

/// Texts to be sent, each by a person of its own.
#[derive(Clone, Copy)]
pub struct Load {
    /// The number of the first one.
    pub first: usize,
    /// How many there are.
    pub texts: usize,
    /// Over how many connections; each carries one text at a time.
    pub connections: usize,
}

/// What one load came to. Every text has exactly one reply.
pub struct Measured {
    /// From the first request to the last reply.
    pub elapsed: Duration,
    /// How long each webhook waited for its answer, in ascending order.
    pub waits: Vec<Duration>,
    /// Replies in the answer to the webhook; the others went by REST.
    pub in_time: usize,
}

impl Measured {
    /// Texts answered in a second.
    pub fn rate(&self) -> f64 {
        self.waits.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The wait that `share` (0 to 1) of the webhooks did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        figures::percentile(&self.waits, share)
    }
}

/// Sends the texts, and waits until each has its reply.
pub async fn run(server: &Server, sent: &Sent, load: Load) -> Result<Measured, Failure> {
    let url = format!("{}/twilio/sms", server.base_url);
    let numbers = load.first..load.first + load.texts;
    let requests: Vec<_> =
        numbers.clone().map(|number| form::webhook(server.address, "/twilio/sms", &url, &text(number))).collect();
    let next = Cell::new(0);
    let waits = RefCell::new(Vec::with_capacity(load.texts));
    let in_answer = RefCell::new(vec![false; load.texts]);
    let started = Instant::now();
    let work = async || -> Result<(), Failure> {
        let mut connection = Connection::open(server.address).await?;
        loop {
            let place = next.replace(next.get() + 1);
            let Some(request) = requests.get(place) else { return Ok(()) };
            let asked = Instant::now();
            let answer = timeout(TWILIO_WAITS, connection.exchange(request)).await;
            let answer = answer.map_err(|_| format!("a text had no answer in {TWILIO_WAITS:?}"))??;
            waits.borrow_mut().push(asked.elapsed());
            if answer.status() != Some(200) {
                return Err(format!("a wrong answer to a text:\n{answer}").into());
            }
            let body = String::from_utf8_lossy(answer.body);
            in_answer.borrow_mut()[place] = body.contains(model::REPLY);
            // Twilio keeps no connection open; neither does somebody who has nothing more to say.
            if load.connections == load.texts {
                return Ok(());
            }
        }
    };
    try_join_all((0..load.connections).map(|_| work())).await?;
    let in_answer = in_answer.into_inner();
    loop {
        let replies = || {
            numbers
                .clone()
                .zip(&in_answer)
                .map(|(number, in_answer)| u32::from(*in_answer) + sent.to(&form::sender(number)))
        };
        if let Some(many) = replies().find(|replies| *replies > 1) {
            return Err(format!("a text has {many} replies").into());
        }
        if replies().all(|replies| replies == 1) {
            break;
        }
        sleep(COUNT_EVERY).await;
    }
    let elapsed = started.elapsed();
    let mut waits = waits.into_inner();
    waits.sort_unstable();
    Ok(Measured { elapsed, waits, in_time: in_answer.iter().filter(|in_answer| **in_answer).count() })
}
