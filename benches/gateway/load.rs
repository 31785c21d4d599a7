//! A closed loop: as many requests are under way as there are connections, each followed by the next one at once.

use crate::common::connection::Connection;
use crate::common::{Failure, figures};
use crate::scenarios::Scenario;
use futures_util::future::try_join_all;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections that are open at once.
pub const CONNECTIONS: usize = 64;
/// Twilio waits no longer for an answer.
const TWILIO_WAITS: Duration = Duration::from_secs(15);

/// What one load came to.
pub struct Measured {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// How long each request waited for its answer, in ascending order.
    pub waits: Vec<Duration>,
}

impl Measured {
    /// Answered requests a second.
    pub fn rate(&self) -> f64 {
        self.waits.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The wait that `share` (0 to 1) of the requests did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        figures::percentile(&self.waits, share)
    }
}

/// Sends `requests` in their order until `span` is over or none is left; each once. Also answers how many were sent.
pub async fn run(
    address: SocketAddr,
    scenario: &Scenario,
    requests: &[Vec<u8>],
    span: Duration,
) -> Result<(usize, Measured), Failure> {
    let connections = try_join_all((0..CONNECTIONS).map(|_| Connection::open(address))).await?;
    let (next, waits) = (Cell::new(0), RefCell::new(Vec::with_capacity(requests.len())));
    let started = Instant::now();
    let work = async |mut connection: Connection| -> Result<(), Failure> {
        while started.elapsed() < span {
            let Some(request) = requests.get(next.get()) else { break };
            next.set(next.get() + 1);
            let sent = Instant::now();
            let answer = tokio::time::timeout(TWILIO_WAITS, connection.exchange(request)).await;
            let answer =
                answer.map_err(|_| format!("no answer in {TWILIO_WAITS:?} to one of the {}", scenario.name))??;
            waits.borrow_mut().push(sent.elapsed());
            if !scenario.is_right(&answer) {
                return Err(format!("a wrong answer to one of the {}:\n{answer}", scenario.name).into());
            }
        }
        Ok(())
    };
    try_join_all(connections.into_iter().map(work)).await?;
    let elapsed = started.elapsed();
    let mut waits = waits.into_inner();
    waits.sort_unstable();
    Ok((next.get(), Measured { elapsed, waits }))
}
