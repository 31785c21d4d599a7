//! Spoken turns: claimed once, answered sentence by sentence in a task of their own, and heard by whichever webhooks wait for
//! them. What this process writes is heard through a channel; what another one writes is looked up in the database, which is
//! where both meet. A turn whose process died is taken over and goes on after the sentences that are there.

use super::ConversationService;
use super::call::OnCall;
use super::reply::After;
use super::writer::{AT_ONCE, Expected, Tell, TurnWriter, Written};
use crate::clock::{Clock, Micros};
use crate::db::news::News;
use crate::db::turns::{NewTurn, Turn, TurnClaim};
use crate::db::{Db, DbError};
use crate::twilio::voices::{self, Language};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// How often a turn that another process answers is looked at, when no news of it come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// News that may wait to be heard; who misses some looks.
const NEWS: usize = 256;

/// How far a turn is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The sentences that are complete and stored.
    pub sentences: Arc<[String]>,
    /// What became of it, once it is over.
    pub ending: Option<Ending>,
    /// The language the call goes on in, when it was switched.
    pub language: Option<&'static Language>,
    /// When it was said.
    pub asked_at: Micros,
    /// Whether the model speaks at a pace, so that more will not be there at once.
    goes_on: bool,
}

/// What became of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The answer is complete, and this follows.
    Whole(After),
    /// The model failed; there may be some sentences all the same.
    Failed,
}

type Key = (String, i64);

/// The turns of all calls. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    service: ConversationService,
    flights: Mutex<HashMap<Key, Flight>>,
    news: broadcast::Sender<i64>,
    tasks: TaskTracker,
}

/// A turn that this process answers.
#[derive(Clone)]
struct Flight {
    progress: watch::Receiver<Progress>,
    hung_up: CancellationToken,
}

impl Turns {
    /// No turns yet; answers come from `service`.
    pub fn new(db: Db, clock: Clock, service: ConversationService) -> Self {
        let (news, _) = broadcast::channel(NEWS);
        Self(Arc::new(Inner { db, clock, service, flights: Mutex::default(), news, tasks: TaskTracker::new() }))
    }

    /// Answers a claimed turn in a task of its own: a webhook that is dropped does not stop it.
    pub fn start(&self, claim: TurnClaim, call: OnCall, new: NewTurn) {
        self.write(claim, call, new.turn, Expected { words: new.input_text, said: Vec::new(), at: new.at });
    }

    /// How far a turn of a call is, once there are more than `told` sentences or it is over, at the latest at `deadline`;
    /// `None` when there is no such turn. A turn that nobody answers any more is taken over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wait(
        &self,
        call: &OnCall,
        turn: i64,
        told: usize,
        deadline: Instant,
    ) -> Result<Option<Progress>, DbError> {
        let (call_sid, mut news) = (call.call_sid.as_str(), None);
        loop {
            let flight = self.flights().get(&(call_sid.to_owned(), turn)).cloned();
            if let Some(flight) = flight {
                return Ok(Some(flight.wait(told, deadline).await));
            }
            // Subscribed before the look, so that nothing is missed in between.
            let news = news.get_or_insert_with(|| self.0.news.subscribe());
            let Some(row) = self.0.db.turn(call_sid, turn).await? else { return Ok(None) };
            if row.ended || row.sentences.len() > told {
                return Ok(Some(progress_of(row)));
            }
            if !row.leased
                && let Some(claim) = self.0.db.take_turn_over(row.id).await?
            {
                let expected = Expected { words: row.input_text, said: row.sentences, at: row.created_at };
                let call = call.clone().in_language(row.language.as_deref());
                self.write(claim, OnCall { purpose: row.purpose, ..call }, turn, expected);
                continue;
            }
            if Instant::now() >= deadline {
                return Ok(Some(progress_of(row)));
            }
            let look = deadline.min(Instant::now() + LOOK_EVERY);
            let about_it = async { while !matches!(news.recv().await, Ok(id) if id == row.id) {} };
            timeout_at(look, about_it).await.ok();
        }
    }

    /// The caller hung up: nobody waits for the answers of this call any more, so the model is told to stop.
    pub fn hang_up(&self, call_sid: &str) {
        self.flights().iter().filter(|((call, _), _)| call == call_sid).for_each(|(_, flight)| flight.hung_up.cancel());
    }

    /// Hears what other processes on the same database tell, until `stop`.
    pub async fn hear(&self, stop: CancellationToken) {
        let hear = |news| match news {
            News::Turn(id) => drop(self.0.news.send(id)),
            News::CallOver(call_sid) => self.hang_up(&call_sid),
        };
        self.0.db.hear(stop, hear).await;
    }

    /// Waits until all turns in flight are over.
    pub async fn drain(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn write(&self, claim: TurnClaim, call: OnCall, turn: i64, expected: Expected) {
        let key = (call.call_sid.clone(), turn);
        let said = expected.said.clone().into();
        let begun = Progress { sentences: said, ending: None, language: None, asked_at: expected.at, goes_on: false };
        let (progress, flight) = watch::channel(begun);
        let hung_up = CancellationToken::new();
        self.flights().insert(key.clone(), Flight { progress: flight, hung_up: hung_up.clone() });
        let landing = Landing { turns: self.clone(), key };
        let (db, clock, service) = (self.0.db.clone(), self.0.clock.clone(), self.0.service.clone());
        let writer = TurnWriter { db, clock, service, claim, call: Arc::new(call), turn, hung_up };
        let task = async move {
            // Taken off when the task ends in any way; who waits holds a receiver of their own.
            let _landing = landing;
            let ending = match writer.write(expected, &progress).await {
                Written::Whole(after) => Some(Ending::Whole(after)),
                Written::Failed => Some(Ending::Failed),
                // Whoever took it over answers it; who waits here looks there.
                Written::TakenOver => None,
            };
            progress.send_modify(|now| now.ending = ending);
        };
        self.0.tasks.spawn(task.in_current_span());
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Flight>> {
        self.0.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tell for &watch::Sender<Progress> {
    fn more(&self, sentences: &[String], goes_on: bool) {
        self.send_modify(|now| (now.sentences, now.goes_on) = (sentences.into(), goes_on));
    }

    fn switched(&self, language: &'static Language) {
        self.send_modify(|now| now.language = Some(language));
    }
}

impl Flight {
    async fn wait(mut self, told: usize, deadline: Instant) -> Progress {
        let has_news = |progress: &Progress| progress.sentences.len() > told || progress.ending.is_some();
        let in_time = matches!(timeout_at(deadline, self.progress.wait_for(has_news)).await, Ok(Ok(_)));
        let goes_on = self.progress.borrow().goes_on;
        // An answer that comes at once is told at once, so that the caller can break in; its end may still have to be stored.
        if in_time && !goes_on {
            let over = self.progress.wait_for(|progress| progress.ending.is_some());
            timeout_at(Instant::now() + AT_ONCE, over).await.ok();
        }
        self.progress.borrow().clone()
    }
}

fn progress_of(row: Turn) -> Progress {
    let ending = if row.failed { Ending::Failed } else { Ending::Whole(After::of(row.action.as_deref())) };
    let language = row.language.as_deref().and_then(voices::language);
    Progress {
        sentences: row.sentences.into(),
        ending: row.ended.then_some(ending),
        language,
        asked_at: row.created_at,
        goes_on: false,
    }
}

struct Landing {
    turns: Turns,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.turns.flights().remove(&self.key);
    }
}
