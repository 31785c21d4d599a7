//! What the gateway still has to do, and what it gave up.

use super::Tag;
use super::auth::Admin;
use super::outcome::{CONFLICT, NOT_FOUND, Outcome};
use super::problem::Problem;
use super::request::{InPath, InQuery};
use super::text::{JobState, Text};
use super::values::{Id, Nullable, Timestamp, Whole};
use crate::app::App;
use crate::db::job_list::{ListedJob, Retry};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use std::sync::Arc;

/// Work that must happen: a reply, a draft, a text to be sent, a voicemail or a summary.
#[derive(Object)]
#[oai(example)]
struct Job {
    /// The job's id, by which lists are paged.
    id: i64,
    /// `reply`, `draft`, `send`, `answer` (a reply of which Twilio reported nothing), `voicemail` or `summary`.
    kind: String,
    /// `waiting`, `running`, or `gave_up`: it is kept until it is tried again.
    state: String,
    /// The id of what it is about: a text, a voicemail or a call's first turn.
    subject_id: i64,
    /// Our address; null for a job that is not about a text, or waits for no other.
    own_number: Nullable<String>,
    /// The other side's address; null where ours is.
    peer_number: Nullable<String>,
    /// When it is due. The jobs between two addresses are done one after the other, so it may have to wait longer.
    run_at: Timestamp,
    /// How often it was begun.
    attempts: i64,
    /// Why the last try failed; null when none has.
    last_error: Nullable<String>,
    /// When it was written.
    created_at: Timestamp,
}

impl From<ListedJob> for Job {
    fn from(row: ListedJob) -> Self {
        let mut addresses = row.lane.as_deref().into_iter().flat_map(|lane| lane.split(' '));
        let (own, peer) = (addresses.next(), addresses.next());
        Self {
            id: row.id,
            kind: row.kind,
            state: row.state,
            subject_id: row.subject_id,
            own_number: own.map(str::to_owned).into(),
            peer_number: peer.map(str::to_owned).into(),
            run_at: Timestamp(row.run_at),
            attempts: row.attempts,
            last_error: row.last_error.into(),
            created_at: Timestamp(row.created_at),
        }
    }
}

impl Example for Job {
    fn example() -> Self {
        Self {
            id: 7,
            kind: "reply".to_owned(),
            state: "gave_up".to_owned(),
            subject_id: 5,
            own_number: Some("+14155550100".to_owned()).into(),
            peer_number: Some("+14155550123".to_owned()).into(),
            run_at: Timestamp::EXAMPLE,
            attempts: 1,
            last_error: Some("Twilio refuses the request (status 400, error 21408)".to_owned()).into(),
            created_at: Timestamp::EXAMPLE,
        }
    }
}

/// `/jobs`
#[derive(Clone, Copy)]
pub(super) struct JobsApi;

#[OpenApi(prefix_path = "/jobs", tag = "Tag::Jobs")]
impl JobsApi {
    /// List what is to be done
    ///
    /// What waits, what is being done and what was given up; newest first. The next page begins before the last id of
    /// this one.
    #[oai(path = "/", method = "get", operation_id = "listJobs")]
    async fn list(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// Only jobs in this state.
        state: InQuery<Option<Text<JobState>>>,
        /// Only jobs with a smaller id.
        before: InQuery<Option<Id>>,
        /// How many jobs to answer at most.
        #[oai(default = "fifty")]
        limit: InQuery<Whole<1, 500>>,
    ) -> Outcome<Json<Vec<Job>>> {
        let before = before.0.map_or(i64::MAX, |id| id.0);
        let state = state.0.as_ref().map(Text::as_str);
        let jobs = app.db.jobs(state, before, limit.0.0).await?;
        Ok(Json(jobs.into_iter().map(Job::from).collect()))
    }

    /// Try a job again
    ///
    /// A job that waits or was given up is due now, and is tried for another day before it is given up.
    #[oai(path = "/:id/retry", method = "post", operation_id = "retryJob")]
    async fn retry(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The job's id.
        id: InPath<Id>,
    ) -> Outcome<Json<Job>, { NOT_FOUND | CONFLICT }> {
        let id = id.0.0;
        match app.db.retry_job(app.clock.now(), id).await? {
            Retry::Due(job) => {
                app.outbox.wake();
                Ok(Json(job.into()))
            }
            Retry::Running => Err(Problem::conflict(format!("The job {id} is being done.")).into()),
            Retry::Unknown => Err(Problem::not_found(format!("There is no job {id}.")).into()),
        }
    }
}

fn fifty() -> Whole<1, 500> {
    Whole(50)
}
