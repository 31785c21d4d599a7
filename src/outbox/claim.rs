//! How a claimed job is worked on, whatever it does: its claim is renewed while the work goes on; work that fails is
//! put off, longer each time, and given up in the end.

use crate::clock::{Clock, Micros, SECOND};
use crate::db::jobs::Job;
use crate::db::{Db, DbError};
use crate::llm::LlmError;
use crate::twilio::rest::RestError;
use std::time::Duration;
use tracing::{debug, warn};

/// How long a claim holds without being renewed; after that another worker takes the job up.
pub const LEASE: Micros = 15 * SECOND;
/// How often the holder renews its claim: a lease survives a lost renewal.
const RENEWAL: Duration = Duration::from_secs(5);
/// The longest time between two tries, unless a server names a longer one.
const LONGEST_PAUSE: Micros = 600 * SECOND;
/// The longest time that a server may name: by then the job may be given up.
const LONGEST_NAMED: Micros = 24 * 3600 * SECOND;

/// Why a job is not done yet, and what to do about it.
#[derive(Debug)]
pub enum Setback {
    /// Try again, not before this time if one is given.
    Later(String, Option<Duration>),
    /// Nothing can be sent before this time, which is not the job's fault.
    Paused(String, Micros),
    /// Nothing failed, but it cannot be told before this time whether anything is to be done.
    NotYet(String, Micros),
    /// No use trying again; with Twilio's error code.
    Final(String, Option<i64>),
}

impl Setback {
    /// In words, with Twilio's error code if there is one.
    pub(super) fn reason(self) -> (String, Option<i64>) {
        match self {
            Self::Later(reason, _) | Self::Paused(reason, _) | Self::NotYet(reason, _) => (reason, None),
            Self::Final(reason, code) => (reason, code),
        }
    }
}

impl From<DbError> for Setback {
    fn from(error: DbError) -> Self {
        Self::Later(error.to_string(), None)
    }
}

impl From<LlmError> for Setback {
    fn from(error: LlmError) -> Self {
        Self::Later(error.to_string(), error.retry_after())
    }
}

impl From<RestError> for Setback {
    fn from(error: RestError) -> Self {
        let reason = error.to_string();
        match error {
            RestError::Refused { code, .. } => Self::Final(reason, code),
            RestError::Unusable(_) => Self::Final(reason, None),
            RestError::NotTaken { retry_after, .. } => Self::Later(reason, retry_after),
            RestError::Credentials(_) => Self::Later(reason, Some(Duration::from_secs(60))),
            RestError::Unreachable(_) | RestError::Unknown(_) => Self::Later(reason, None),
        }
    }
}

/// Holds claims on jobs. Cheap to clone.
#[derive(Clone)]
pub struct Claims {
    db: Db,
    clock: Clock,
}

impl Claims {
    /// Claims on the jobs in `db`.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Works on a job; what fails is put off, and given up `patience` after it was first tried.
    pub async fn work(&self, job: &Job, patience: Micros, work: impl Future<Output = Result<(), Setback>>) {
        if let Err(setback) = self.held(job, work).await {
            self.put_off(job, patience, setback).await;
        }
    }

    /// Works while renewing the claim; no longer than it is ours.
    pub fn held<T>(
        &self,
        job: &Job,
        work: impl Future<Output = Result<T, Setback>>,
    ) -> impl Future<Output = Result<T, Setback>> {
        // Boxed outside: the block would have room for it twice, and there are as many of them as texts wait for the
        // model.
        let work = Box::pin(work);
        let renew = async move {
            loop {
                tokio::time::sleep(RENEWAL).await;
                if let Ok(false) = self.db.renew_claim(job, LEASE).await {
                    break;
                }
            }
        };
        async move {
            tokio::select! {
                outcome = work => outcome,
                () = renew => Err(Setback::Later("the claim ended".to_owned(), None)),
            }
        }
    }

    /// Leaves a job for later, or gives it up: for good reason, or after `patience`.
    pub async fn put_off(&self, job: &Job, patience: Micros, setback: Setback) {
        let now = self.clock.now();
        let (id, kind, subject, attempts) = (job.id, job.kind.as_str(), job.subject_id, job.attempts);
        let outcome = match setback {
            Setback::Paused(reason, until) => {
                // The pause was told of when it began, and the job's patience begins anew.
                debug!(job.id = id, job.kind = kind, reason, "The {kind} job {id} has to wait");
                self.db.put_off_job(job, until, reason, Some(now)).await
            }
            Setback::NotYet(reason, at) => {
                debug!(job.id = id, job.kind = kind, reason, "The {kind} job {id} has to wait");
                self.db.put_off_job(job, at, reason, None).await
            }
            Setback::Later(reason, after) if now - job.tried_since < patience => {
                warn!(job.id = id, job.kind = kind, subject, attempts, reason, "The {kind} job {id} has to wait");
                self.db.put_off_job(job, now + backoff(attempts, after), reason, None).await
            }
            hopeless => {
                let (reason, code) = hopeless.reason();
                warn!(job.id = id, job.kind = kind, subject, attempts, reason, "The {kind} job {id} is given up");
                self.db.give_up_job(now, job, reason, code).await
            }
        };
        if let Err(error) = outcome {
            // The claim runs out and the job is taken up again.
            warn!(job.id = id, job.kind = kind, %error, "Could not put off the {kind} job {id}");
        }
    }
}

/// The wait before the next try: two seconds, doubled each time up to ten minutes, a little more at random so that what
/// failed together is not tried together; at least `after`, for a day.
fn backoff(attempts: i64, after: Option<Duration>) -> Micros {
    let doubled = (2 * SECOND) << (attempts - 1).clamp(0, 9);
    let base = doubled.min(LONGEST_PAUSE).max(after.map_or(0, crate::clock::micros).min(LONGEST_NAMED));
    // Without randomness they are tried together, which is no fault.
    let random = getrandom::u32().unwrap_or(0) >> 16;
    base + base.min(LONGEST_PAUSE) / 4 * Micros::from(random) / Micros::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_after_seconds_first_and_minutes_at_last() {
        for (attempts, low, high) in [(1, 2, 3), (2, 4, 5), (5, 32, 40), (20, 600, 750)] {
            let wait = backoff(attempts, None) / SECOND;
            assert!((low..=high).contains(&wait), "{attempts}: {wait}");
        }
        for (named, low, high) in [(30, 30, 38), (3600, 3600, 3750), (u64::MAX, 86_400, 86_550)] {
            let wait = backoff(1, Some(Duration::from_secs(named))) / SECOND;
            assert!((low..=high).contains(&wait), "{named}: {wait}");
        }
    }
}
