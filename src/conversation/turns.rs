//! Spoken turns: claimed once, answered sentence by sentence in a task of their own, and heard by whichever webhooks
//! wait for them. What this process writes is heard through a channel; what another one writes is looked up in the
//! database, which is where both meet. A turn whose process died is taken over and goes on after the sentences that are
//! there.

use super::ConversationService;
use super::call::OnCall;
use super::reply::After;
use super::writer::{AT_ONCE, Expected, TurnWriter, Written};
use crate::clock::{Clock, Micros, SECOND};
use crate::db::calls::FORGOTTEN_AFTER;
use crate::db::news::News;
use crate::db::relay::{BROKEN_INTO, BROKEN_OFF};
use crate::db::turns::{NewClaim, NewTurn, Turn, TurnClaim};
use crate::db::{Db, DbError};
use crate::twilio::voices::{self, Language};
use moka::future::Cache;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// How often a turn that another process answers is looked at, when no news of it comes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// News that may wait to be heard; who misses some looks.
const NEWS: usize = 256;

/// A call is summed up this long after its first turn at the latest, when its end was not reported and it was closed.
const SUMMED_UP_AFTER: Micros = FORGOTTEN_AFTER + 600 * SECOND;
/// How many calls are remembered whose summary is queued; for a forgotten one the insert looks for an earlier turn
/// again.
const REMEMBERED: u64 = 100_000;

/// How far a turn is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The sentences that are complete and stored.
    pub sentences: Arc<[String]>,
    /// What became of it, once it is over.
    pub ending: Option<Ending>,
    /// The language it is answered in.
    pub language: &'static Language,
    /// Whether the model speaks at a pace, so that more will not be there at once.
    pub(super) goes_on: bool,
}

/// What became of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The answer is complete, and this follows.
    Whole(After),
    /// The model failed, or its answer was broken off; there may be some sentences all the same.
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
    /// The calls whose summary is on the list of jobs already; none when calls are not summed up.
    talks: Option<Cache<String, ()>>,
}

/// A turn that this process answers.
#[derive(Clone)]
struct Flight {
    progress: watch::Receiver<Progress>,
    hung_up: CancellationToken,
}

impl Turns {
    /// No turns yet; answers come from `service`. With `sums_up` every call is summed up.
    pub fn new(db: Db, clock: Clock, service: ConversationService, sums_up: bool) -> Self {
        let (news, _) = broadcast::channel(NEWS);
        let lifetime = Duration::from_micros(SUMMED_UP_AFTER.unsigned_abs());
        let talks = sums_up.then(|| Cache::builder().max_capacity(REMEMBERED).time_to_live(lifetime).build());
        let (flights, tasks) = (Mutex::default(), TaskTracker::new());
        Self(Arc::new(Inner { db, clock, service, flights, news, tasks, talks }))
    }

    /// Claims a turn for this process; `None` when it was claimed before. With a call's first turn its summary is put
    /// on the list of jobs.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn claim(&self, new: NewTurn) -> Result<Option<NewClaim>, DbError> {
        let Some(talks) = &self.0.talks else { return self.0.db.claim_turn(new, None).await };
        let call_sid = new.call_sid.clone();
        let sum_up_at = (!talks.contains_key(&call_sid)).then_some(new.at + SUMMED_UP_AFTER);
        let claimed = self.0.db.claim_turn(new, sum_up_at).await?;
        if sum_up_at.is_some() {
            talks.insert(call_sid, ()).await;
        }
        Ok(claimed)
    }

    /// Answers a claimed turn in a task of its own: a webhook that is dropped does not stop it.
    pub fn start(&self, claim: TurnClaim, call: OnCall, new: NewTurn) {
        self.write(claim, call, new.turn, Expected { words: new.input_text, said: Vec::new() });
    }

    /// How far a turn of a call is, once there are more than `told` sentences or it is over, at the latest at
    /// `deadline`; `None` when there is no such turn. A turn that nobody answers any more is taken over.
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
        // Words that another process wrote are told one look later, so that an answer that comes at once is told whole.
        let (call_sid, mut news, mut graced) = (call.call_sid.as_str(), None, false);
        loop {
            let flight = self.flights().get(&(call_sid.to_owned(), turn)).cloned();
            if let Some(flight) = flight {
                return Ok(Some(flight.wait(told, deadline).await));
            }
            // Subscribed before the look, so that nothing is missed in between.
            let news = news.get_or_insert_with(|| self.0.news.subscribe());
            let Some(row) = self.0.db.turn(call_sid, turn).await? else { return Ok(None) };
            let has_words = row.sentences.len() > told;
            if row.ended || (has_words && graced) {
                return Ok(Some(progress_of(row, call)));
            }
            if !row.leased
                && let Some(claim) = self.0.db.take_turn_over(row.claim.id).await?
            {
                let expected = Expected { words: row.input_text, said: row.sentences };
                let call = call.clone().in_language(row.language.as_deref());
                self.write(claim, OnCall { purpose: row.purpose, ..call }, turn, expected);
                continue;
            }
            if Instant::now() >= deadline {
                return Ok(Some(progress_of(row, call)));
            }
            let look = if has_words { Instant::now() + AT_ONCE } else { deadline.min(Instant::now() + LOOK_EVERY) };
            graced = has_words;
            let about_it = async { while !matches!(news.recv().await, Ok(id) if id == row.claim.id) {} };
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
            News::HungUp(call_sid) => self.hang_up(&call_sid),
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
        let language = call.person().language;
        let begun = Progress { sentences: said, ending: None, language, goes_on: false };
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

impl Flight {
    async fn wait(mut self, told: usize, deadline: Instant) -> Progress {
        let has_news = |progress: &Progress| progress.sentences.len() > told || progress.ending.is_some();
        let in_time = matches!(timeout_at(deadline, self.progress.wait_for(has_news)).await, Ok(Ok(_)));
        let goes_on = self.progress.borrow().goes_on;
        // An answer that comes at once is told at once, so that the caller can break in; its end may still have to be
        // stored.
        if in_time && !goes_on {
            let over = self.progress.wait_for(|progress| progress.ending.is_some());
            timeout_at(Instant::now() + AT_ONCE, over).await.ok();
        }
        self.progress.borrow().clone()
    }
}

fn progress_of(row: Turn, call: &OnCall) -> Progress {
    let ending = match row.action.as_deref() {
        Some(BROKEN_OFF | BROKEN_INTO) => Ending::Failed,
        _ if row.failed => Ending::Failed,
        action => Ending::Whole(After::of(action)),
    };
    let language = row.language.as_deref().and_then(voices::language).unwrap_or(call.person().language);
    Progress { sentences: row.sentences.into(), ending: row.ended.then_some(ending), language, goes_on: false }
}

/// Takes the flight off the list however its task ends.
struct Landing {
    turns: Turns,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.turns.flights().remove(&self.key);
    }
}
