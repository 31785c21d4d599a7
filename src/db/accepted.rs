//! A text that came in is written with its reply job, in one transaction, before the model is asked.

use super::dialect::{postgres_now, sqlite_now};
use super::jobs::{Job, job_columns, lane};
use super::new_message::{NewMessage, bind_text, text_columns};
use super::{Db, DbError, in_transaction};
use crate::clock::Micros;
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::SqliteConnection;
use std::collections::{HashMap, HashSet};

/// Whether no job of a lane is unfinished.
macro_rules! lane_is_free {
    ($lane:literal) => {
        concat!("NOT EXISTS (SELECT 1 FROM jobs AS older WHERE older.lane = ", $lane, " AND older.gave_up_at IS NULL)")
    };
}

/// Why a new text is not to be answered, if there is a reason: its sender told us to stop, or its peer got as many
/// replies as it may in ten minutes, which only machines that answer each other do.
macro_rules! unanswerable {
    ($user:literal, $peer:literal, $from:literal, $to:literal, $service:literal, $at:literal, $limit:literal) => {
        concat!(
            "CASE WHEN EXISTS (SELECT 1 FROM opt_outs WHERE peer_number = ",
            $from,
            " AND own_number IN (",
            $to,
            ", ",
            $service,
            ")) THEN 'opted out' WHEN (SELECT created_at FROM sms_logs WHERE user_id = ",
            $user,
            " AND peer = ",
            $peer,
            " AND message_sid IS NOT NULL AND answered_with IS NULL AND (reply_status IS NULL OR reply_status NOT IN ('ignored', 'draft', 'discarded')) \
             ORDER BY id DESC LIMIT 1 OFFSET ",
            $limit,
            " - 1) > ",
            $at,
            " - 600000000 THEN 'too many replies' END AS reason"
        )
    };
}

/// Inserts the text of `bind_text!` if it is new; one that is not to be answered, with this loop limit, is settled with
/// it.
macro_rules! insert_text {
    ($limit:literal) => {
        concat!(
            "INSERT INTO sms_logs (reply_status, reason, ",
            $crate::db::new_message::text_columns!(),
            ") SELECT CASE WHEN reason IS NOT NULL THEN 'ignored' END, reason, ",
            $crate::db::new_message::text_values!(),
            " FROM (SELECT ",
            $crate::db::accepted::unanswerable!("$1", "$2", "$5", "$6", "$7", "$11", $limit),
            ") AS why WHERE TRUE ON CONFLICT (message_sid) DO NOTHING RETURNING id, reply_status"
        )
    };
}
pub(super) use {insert_text, unanswerable};

/// The texts that are new, of a JSON list of [`AcceptRow`], with the loop limit, which is the same for all; those that
/// are not to be answered are settled with it.
const ACCEPT_TEXTS: &str = concat!(
    "INSERT INTO sms_logs (reply_status, reason, ",
    text_columns!(),
    ") SELECT CASE WHEN reason IS NOT NULL THEN 'ignored' END, reason, value ->> 'user_id', value ->> 'peer', \
     value ->> 'message_sid', value ->> 'channel', 'inbound', value ->> 'from', value ->> 'to', \
     value ->> 'messaging_service_sid', value ->> 'profile_name', value ->> 'text', value ->> 'media', value ->> 'at', \
     value ->> 'account_sid', 0, 0 FROM (SELECT value, ",
    unanswerable!(
        "value ->> 'user_id'",
        "value ->> 'peer'",
        "value ->> 'from'",
        "value ->> 'to'",
        "value ->> 'messaging_service_sid'",
        "value ->> 'at'",
        "$2"
    ),
    " FROM jsonb_each($1)) WHERE TRUE ON CONFLICT (message_sid) DO NOTHING RETURNING id, message_sid, reply_status"
);
/// The reply jobs of new texts, of a JSON list of [`JobRow`]. A job whose lane is free is claimed if its webhook wants
/// it.
const ACCEPT_JOBS: &str = concat!(
    "INSERT INTO jobs (kind, subject_id, run_at, attempts, claimed, lane, created_at) \
     SELECT kind, subject_id, CASE WHEN is_free THEN lease + ",
    sqlite_now!(),
    " ELSE at END, CASE WHEN is_free THEN 1 ELSE 0 END, is_free, \
     lane, at FROM (SELECT value ->> 'kind' AS kind, value ->> 'subject_id' AS subject_id, \
     value ->> 'lease' AS lease, value ->> 'lane' AS lane, value ->> 'at' AS at, \
     value ->> 'lease' IS NOT NULL AND ",
    lane_is_free!("value ->> 'lane'"),
    " AS is_free FROM jsonb_each($1)) WHERE TRUE RETURNING ",
    job_columns!()
);
/// Both for one text.
const ACCEPT_POSTGRES: &str = concat!(
    "WITH text AS (",
    insert_text!("$16"),
    "), job AS (SELECT $14::bigint IS NOT NULL AND ",
    lane_is_free!("$15::text"),
    " AS is_free) \
     INSERT INTO jobs (kind, subject_id, run_at, attempts, claimed, lane, created_at) \
     SELECT $13, text.id, CASE WHEN is_free THEN $14::bigint + ",
    postgres_now!(),
    " ELSE $11::bigint END, CASE WHEN is_free THEN 1 ELSE 0 END, is_free, \
     $15::text, $11::bigint FROM text, job WHERE text.reply_status IS NULL RETURNING ",
    job_columns!()
);
/// Two texts of one lane that arrive together must not both find it free.
pub(super) const LOCK_LANE: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";

/// A new text with the length of its job's first lease, if the webhook wants one.
#[derive(Serialize)]
struct AcceptRow {
    #[serde(skip)]
    kind: &'static str,
    #[serde(flatten)]
    new: NewMessage,
    #[serde(skip)]
    lease: Option<Micros>,
}

#[derive(Serialize)]
struct JobRow {
    kind: &'static str,
    subject_id: i64,
    lease: Option<Micros>,
    lane: String,
    at: Micros,
}

impl Db {
    /// Writes a text and its job of this `kind` in one transaction. With a `lease` the job is claimed by the caller for
    /// that long, unless an earlier one of its lane is unfinished; without, or if so, it waits for the outbox (attempts
    /// 0). `None` when the text was here before, or is not to be answered: [`Db::message_by_sid`] then tells what
    /// became of it.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn accept_message(
        &self,
        new: NewMessage,
        kind: &'static str,
        lease: Option<Micros>,
    ) -> Result<Option<Job>, DbError> {
        let pool = match self {
            Self::Sqlite { writer, .. } => {
                return writer.gather("text", accept_rows, AcceptRow { kind, new, lease }).await;
            }
            Self::Postgres(pool) => pool,
        };
        let lane = lane(&new.to, &new.from);
        in_transaction!(pool, |c| {
            sqlx::query(LOCK_LANE).bind(&lane).execute(&mut *c).await?;
            let query = bind_text!(sqlx::query_as(ACCEPT_POSTGRES), new).bind(kind).bind(lease).bind(&lane);
            Ok(query.bind(new.loop_limit).fetch_optional(&mut *c).await?)
        })
    }
}

fn accept_rows<'c>(
    c: &'c mut SqliteConnection,
    rows: Vec<&'c AcceptRow>,
) -> BoxFuture<'c, Result<Vec<Option<Job>>, DbError>> {
    Box::pin(async move {
        let loop_limit = rows.first().map(|row| row.new.loop_limit);
        let new: Vec<(i64, String, Option<String>)> =
            sqlx::query_as(ACCEPT_TEXTS).bind(super::json_list(&rows)).bind(loop_limit).fetch_all(&mut *c).await?;
        // Of two deliveries in one batch the first one gets the job.
        let mut new: HashMap<String, i64> =
            new.into_iter().filter(|(_, _, status)| status.is_none()).map(|(id, sid, _)| (sid, id)).collect();
        let texts: Vec<Option<i64>> = rows.iter().map(|row| new.remove(&row.new.message_sid)).collect();
        // Of one lane's texts in one batch only the first one may find it free.
        let mut lanes = HashSet::new();
        let due = rows.iter().zip(&texts).filter_map(|(row, text)| {
            let (subject_id, lane) = ((*text)?, lane(&row.new.to, &row.new.from));
            let lease = row.lease.filter(|_| lanes.insert(lane.clone()));
            Some(JobRow { kind: row.kind, subject_id, lease, lane, at: row.new.at })
        });
        let due: Vec<JobRow> = due.collect();
        if due.is_empty() {
            return Ok(rows.iter().map(|_| None).collect());
        }
        let jobs: Vec<Job> = sqlx::query_as(ACCEPT_JOBS).bind(super::json_list(&due)).fetch_all(&mut *c).await?;
        let mut jobs: HashMap<i64, Job> = jobs.into_iter().map(|job| (job.subject_id, job)).collect();
        Ok(texts.into_iter().map(|text| jobs.remove(&text?)).collect())
    })
}
