//! The spoken turns that are being answered by this process, so that any webhook of the call can wait for the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// What became of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The model's answer.
    Answered(Arc<str>),
    /// There is none.
    Failed,
}

type Key = (String, i64);
type Flights = Arc<Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>>;

/// The turns in flight. Cheap to clone.
#[derive(Clone, Default)]
pub struct Turns {
    flights: Flights,
    tasks: TaskTracker,
}

/// What waiting for a turn brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited {
    /// The turn is over.
    Over(Outcome),
    /// Still being written.
    StillWriting,
    /// Not written by this process.
    NotHere,
}

impl Turns {
    /// Answers a turn in a task of its own: a caller who hangs up or a webhook that is dropped does not stop it.
    pub fn start(&self, call_sid: &str, turn: i64, answer: impl Future<Output = Outcome> + Send + 'static) {
        let key = (call_sid.to_owned(), turn);
        let (over, flight) = watch::channel(None);
        self.lock().insert(key.clone(), flight);
        let landing = Landing { flights: self.flights.clone(), key };
        let task = async move {
            // Taken off when the task ends in any way; who waits holds a receiver of their own.
            let _landing = landing;
            over.send_replace(Some(answer.await));
        };
        self.tasks.spawn(task.in_current_span());
    }

    /// Waits for the outcome of a turn, at most until `deadline`.
    pub async fn wait(&self, call_sid: &str, turn: i64, deadline: Instant) -> Waited {
        let flight = self.lock().get(&(call_sid.to_owned(), turn)).cloned();
        let Some(mut flight) = flight else { return Waited::NotHere };
        match tokio::time::timeout_at(deadline, flight.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => Waited::Over(outcome.clone().unwrap_or(Outcome::Failed)),
            Ok(Err(_)) => Waited::Over(Outcome::Failed),
            Err(_) => Waited::StillWriting,
        }
    }

    /// Waits until all turns in flight are over.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, watch::Receiver<Option<Outcome>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Landing {
    flights: Flights,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
