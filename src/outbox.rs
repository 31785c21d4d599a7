//! The worker: takes up the jobs that are due, several at a time, and now and then sweeps what nobody reported the end
//! of. What each kind of job does is in a file of its own: [`reply`], [`voicemail`], [`summary`].

pub mod claim;
pub mod pause;
mod pictures;
pub mod reply;
pub mod sending;
pub mod summary;
pub mod voicemail;

use crate::clock::{Clock, Micros, SECOND};
use crate::db::Db;
use crate::db::calls::FORGOTTEN_AFTER;
use crate::db::idempotency::KEYS_KEPT;
use crate::db::jobs::{ANSWER, DRAFT, Job, REPLY, SUMMARY, VOICEMAIL};
use crate::db::outbound::SEND;
use claim::{Claims, LEASE};
use reply::Replier;
use std::sync::Arc;
use std::time::Duration;
use summary::Summariser;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, warn};
use voicemail::Voicemails;

/// Jobs worked on at the same time.
const AT_ONCE: usize = 128;
/// How long a webhook waits for a place among those whose replies are being written.
const PLACE_WAIT: Duration = Duration::from_secs(2);
/// The longest sleep: how late another instance's abandoned job is seen.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// The time between two sweeps.
const SWEEP_EVERY: Micros = 60 * SECOND;
/// A turn that was not answered in this time will not be: longer than any answer takes.
const ORPHANED_AFTER: Micros = 600 * SECOND;
/// What is nobody's is kept this long, for the operator to look into.
const STRANGERS_KEPT: Micros = 7 * 24 * 3600 * SECOND;
/// Answers are kept this long for a redelivery, and orders of calls until they are answered.
const ANSWERS_KEPT: Micros = 24 * 3600 * SECOND;

/// The outbox. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    db: Db,
    clock: Clock,
    claims: Claims,
    workers: Workers,
    wake: Arc<Notify>,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

/// Who does the jobs.
#[derive(Clone)]
pub struct Workers {
    /// The jobs about texts.
    pub replier: Replier,
    /// The jobs about voicemails.
    pub voicemails: Voicemails,
    /// The jobs about calls that are over.
    pub summariser: Summariser,
}

impl Outbox {
    /// An outbox over the jobs in `db`; `wake` tells it that one is due now, and as many webhooks as `places` get their
    /// replies at the same time.
    pub fn new(db: Db, clock: Clock, workers: Workers, wake: Arc<Notify>, places: usize) -> Self {
        let claims = Claims::new(db.clone(), clock.clone());
        let places = Arc::new(Semaphore::new(places));
        Self { db, clock, claims, workers, wake, tasks: TaskTracker::new(), places }
    }

    /// Tells the worker that a job is due now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The way replies go, for the webhook that starts one.
    pub fn replier(&self) -> &Replier {
        &self.workers.replier
    }

    /// A place among the webhooks whose replies are being written. `None` when none is free soon: then the outbox
    /// answers, so that however many people write and however slow the model is, memory stays in bounds and connections
    /// remain for calls.
    pub async fn place(&self, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        let place = self.places.clone().acquire_owned();
        tokio::time::timeout_at(deadline.min(Instant::now() + PLACE_WAIT), place).await.ok()?.ok()
    }

    /// Runs work that belongs to a job in a task that [`Outbox::drain`] waits for.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work.in_current_span());
    }

    /// Works until `stop`; jobs that were begun are not interrupted.
    pub async fn run(&self, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut swept = Micros::MIN;
        while !stop.is_cancelled() {
            if self.clock.now() >= swept.saturating_add(SWEEP_EVERY) {
                swept = self.clock.now();
                self.sweep().await;
            }
            // A worker without a free place claims nothing, so that others can.
            let Some(mut free) = free_places(&places).await else { return };
            let now = self.clock.now();
            match self.db.claim_jobs(now, LEASE, free.num_permits()).await {
                Ok(jobs) if !jobs.is_empty() => {
                    for job in jobs {
                        let (outbox, place) = (self.clone(), free.split(1));
                        self.tasks.spawn(async move {
                            outbox.work(job).await;
                            // It may have queued another one, and the next of its lane is due now.
                            outbox.wake();
                            drop(place);
                        });
                    }
                    continue;
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "The outbox cannot be read"),
            }
            drop(free);
            let sleep = self.until_next().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Waits until all jobs that were begun are over.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn work(&self, job: Job) {
        let Workers { replier, voicemails, summariser } = &self.workers;
        match job.kind.as_str() {
            REPLY | DRAFT | SEND | ANSWER => self.claims.work(&job, reply::GIVE_UP_AFTER, replier.go_on(&job)).await,
            VOICEMAIL => self.claims.work(&job, voicemail::GIVE_UP_AFTER, voicemails.go_on(&job)).await,
            SUMMARY => self.claims.work(&job, summary::GIVE_UP_AFTER, summariser.go_on(&job)).await,
            // Of other kinds none is claimed.
            _ => {}
        }
    }

    async fn until_next(&self) -> Duration {
        let next = self.db.next_job_at().await.ok().flatten();
        let wait = next.map_or(Micros::MAX, |at| at.saturating_sub(self.clock.now()));
        Duration::from_micros(u64::try_from(wait).unwrap_or(0)).clamp(Duration::from_millis(10), LONGEST_SLEEP)
    }

    async fn sweep(&self) {
        let now = self.clock.now();
        match self.db.close_forgotten_calls(now, now - FORGOTTEN_AFTER).await {
            Ok(0) => {}
            Ok(calls) => info!(calls, "Closed {calls} calls whose end was never reported"),
            Err(error) => warn!(%error, "Forgotten calls could not be closed"),
        }
        match self.workers.replier.take_up_unreported(now).await {
            Ok(0) => {}
            Ok(replies) => info!(replies, "Twilio reported nothing of {replies} replies, which are looked for"),
            Err(error) => warn!(%error, "Replies of which nothing was reported could not be taken up"),
        }
        let swept = async {
            self.db.fail_orphaned_turns(now - ORPHANED_AFTER).await?;
            self.db.forget_voice_answers(now - ANSWERS_KEPT).await?;
            self.db.forget_keys(now - KEYS_KEPT).await?;
            self.db.forget_call_orders(now - ANSWERS_KEPT).await?;
            self.db.erase_strangers(now - STRANGERS_KEPT).await
        };
        if let Err(error) = swept.await {
            warn!(%error, "What is old could not be swept");
        }
    }
}

/// All places that are free, as soon as there is one.
async fn free_places(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let mut free = places.clone().acquire_owned().await.ok()?;
    let others = u32::try_from(places.available_permits()).unwrap_or(0);
    if let Ok(others) = places.clone().try_acquire_many_owned(others) {
        free.merge(others);
    }
    Some(free)
}
