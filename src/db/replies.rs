//! A reply's way through the database. The reply job is written with the text and deleted with its answer, each time in
//! one transaction: whoever deletes the job owns the answer.

use super::jobs::{Job, job_columns, lane};
use super::messages::{NewMessage, TextDecision};
use super::{Db, DbError, in_transaction, unit};
use crate::clock::Micros;
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::SqliteConnection;
use std::collections::{HashMap, HashSet};

/// What came of a send by REST.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Twilio's id of the reply.
    pub sid: Option<String>,
    /// Twilio's error code when it was refused.
    pub error_code: Option<i64>,
}

/// What became of a job that was to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was no longer the claimant's: nothing was written, and the answer is somebody else's.
    NotOurs,
    /// It ended, and nothing waits behind it.
    Alone,
    /// It ended, and the next one of its lane is due.
    NextWaits,
}

impl Ended {
    fn of(next_waits: Option<bool>) -> Self {
        match next_waits {
            None => Self::NotOurs,
            Some(false) => Self::Alone,
            Some(true) => Self::NextWaits,
        }
    }
}

/// Whether no job of a lane is unfinished.
macro_rules! lane_is_free {
    ($lane:literal) => {
        concat!("NOT EXISTS (SELECT 1 FROM jobs AS older WHERE older.lane = ", $lane, " AND older.gave_up_at IS NULL)")
    };
}

/// Why a new text is not to be answered, if there is a reason: its sender told us to stop, or its peer got as many replies
/// as it may in ten minutes, which only machines that answer each other do.
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
            " AND message_sid IS NOT NULL AND answered_with IS NULL AND (reply_status IS NULL OR reply_status <> 'ignored') \
             ORDER BY id DESC LIMIT 1 OFFSET ",
            $limit,
            " - 1) > ",
            $at,
            " - 600000000 THEN 'too many replies' END AS reason"
        )
    };
}
pub(super) use unanswerable;

/// The texts that are new, of a JSON list of [`AcceptRow`], with the loop limit, which is the same for all; those that are
/// not to be answered are settled with it.
const ACCEPT_TEXTS: &str = concat!(
    "INSERT INTO sms_logs (user_id, peer, message_sid, channel, direction, from_number, to_number, messaging_service_sid, \
     profile_name, incoming_text, media, reply_status, reason, input_tokens, output_tokens, created_at, account_sid) \
     SELECT value ->> 'user_id', value ->> 'peer', value ->> 'message_sid', value ->> 'channel', 'inbound', \
     value ->> 'from', value ->> 'to', value ->> 'messaging_service_sid', value ->> 'profile_name', value ->> 'text', \
     value ->> 'media', CASE WHEN reason IS NOT NULL THEN 'ignored' END, reason, 0, 0, value ->> 'at', \
     value ->> 'account_sid' FROM (SELECT value, ",
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
/// The reply jobs of new texts, of a JSON list of [`JobRow`]. A job whose lane is free is claimed if its webhook wants it.
const ACCEPT_JOBS: &str = concat!(
    "INSERT INTO jobs (kind, subject_id, run_at, attempts, claimed, lane, created_at) \
     SELECT kind, subject_id, CASE WHEN is_free THEN lease_until ELSE at END, CASE WHEN is_free THEN 1 ELSE 0 END, is_free, \
     lane, at FROM (SELECT value ->> 'kind' AS kind, value ->> 'subject_id' AS subject_id, \
     value ->> 'lease_until' AS lease_until, value ->> 'lane' AS lane, value ->> 'at' AS at, \
     value ->> 'lease_until' IS NOT NULL AND ",
    lane_is_free!("value ->> 'lane'"),
    " AS is_free FROM jsonb_each($1)) WHERE TRUE RETURNING ",
    job_columns!()
);
/// Both for one text.
const ACCEPT_POSTGRES: &str = concat!(
    "WITH why AS (SELECT ",
    unanswerable!("$1", "$2", "$5", "$6", "$13", "$9", "$15"),
    "), text AS ( \
     INSERT INTO sms_logs (user_id, peer, message_sid, channel, direction, from_number, to_number, messaging_service_sid, \
     profile_name, incoming_text, media, reply_status, reason, input_tokens, output_tokens, created_at, account_sid) \
     SELECT $1, $2, $3, $4, 'inbound', $5, $6, $13, $14, $7, $8, CASE WHEN reason IS NOT NULL THEN 'ignored' END, reason, \
     0, 0, $9, $16 FROM why ON CONFLICT (message_sid) DO NOTHING RETURNING id, reply_status), \
     job AS (SELECT $11::bigint IS NOT NULL AND ",
    lane_is_free!("$12::text"),
    " AS is_free) \
     INSERT INTO jobs (kind, subject_id, run_at, attempts, claimed, lane, created_at) \
     SELECT $10, text.id, CASE WHEN is_free THEN $11::bigint ELSE $9::bigint END, CASE WHEN is_free THEN 1 ELSE 0 END, is_free, \
     $12::text, $9::bigint FROM text, job WHERE text.reply_status IS NULL RETURNING ",
    job_columns!()
);
/// Two texts of one lane that arrive together must not both find it free.
pub(super) const LOCK_LANE: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";

/// Whether a job waits behind this one of its lane.
macro_rules! next_waits {
    ($job:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM jobs AS next WHERE next.lane = ",
            $job,
            ".lane AND next.id > ",
            $job,
            ".id \
             AND next.gave_up_at IS NULL)"
        )
    };
}

/// What a settled text is to become, where the row has something new to say. If a report on the reply has come before Twilio's
/// answer to the request that sent it, the report counts.
macro_rules! settled {
    ($row:literal) => {
        concat!(
            "decision = COALESCE(",
            $row,
            ".decision, sms_logs.decision), \
             reply_text = COALESCE(",
            $row,
            ".reply_text, sms_logs.reply_text), \
             reply_status = CASE WHEN sms_logs.reply_sid = ",
            $row,
            ".reply_sid THEN sms_logs.reply_status ELSE ",
            $row,
            ".status END, \
             input_tokens = sms_logs.input_tokens + ",
            $row,
            ".input_tokens, \
             output_tokens = sms_logs.output_tokens + ",
            $row,
            ".output_tokens, \
             decided_at = COALESCE(",
            $row,
            ".decided_at, sms_logs.decided_at), \
             reply_sid = COALESCE(",
            $row,
            ".reply_sid, sms_logs.reply_sid), \
             error_code = COALESCE(",
            $row,
            ".error_code, sms_logs.error_code), \
             job_id = ",
            $row,
            ".job_id, \
             segments = COALESCE(",
            $row,
            ".segments, sms_logs.segments), \
             encoding = COALESCE(",
            $row,
            ".encoding, sms_logs.encoding), \
             cost_estimate = COALESCE(",
            $row,
            ".cost_estimate, sms_logs.cost_estimate), \
             confidence = COALESCE(",
            $row,
            ".confidence, sms_logs.confidence), \
             reason = COALESCE(",
            $row,
            ".reason, sms_logs.reason)"
        )
    };
}

/// The texts of a JSON list of [`SettleRow`] whose jobs are still the claimants'.
const SETTLE_TEXTS: &str = concat!(
    "UPDATE sms_logs SET ",
    settled!("new"),
    " FROM (SELECT value ->> 'text_id' AS text_id, value ->> 'job_id' AS job_id, value ->> 'attempts' AS attempts, \
     value ->> 'decision' AS decision, value ->> 'reply_text' AS reply_text, value ->> 'status' AS status, \
     value ->> 'input_tokens' AS input_tokens, value ->> 'output_tokens' AS output_tokens, \
     value ->> 'decided_at' AS decided_at, value ->> 'reply_sid' AS reply_sid, value ->> 'error_code' AS error_code, \
     value ->> 'segments' AS segments, value ->> 'encoding' AS encoding, value ->> 'cost_estimate' AS cost_estimate, \
     value ->> 'confidence' AS confidence, value ->> 'reason' AS reason \
     FROM jsonb_each($1)) AS new \
     WHERE sms_logs.id = new.text_id \
     AND EXISTS (SELECT 1 FROM jobs WHERE jobs.id = new.job_id AND jobs.attempts = new.attempts) RETURNING sms_logs.id"
);
const SETTLE_JOBS: &str =
    concat!("DELETE FROM jobs WHERE id IN (SELECT value FROM jsonb_each($1)) RETURNING id, ", next_waits!("jobs"));
/// The same for one text; the job goes first, so that of two who settle at once only one does.
const SETTLE_POSTGRES: &str = concat!(
    "WITH new AS (SELECT $4::text AS decision, $5::text AS reply_text, $6::text AS status, $7::bigint AS input_tokens, \
     $8::bigint AS output_tokens, $9::bigint AS decided_at, $10::text AS reply_sid, $11::bigint AS error_code, \
     $12::bigint AS segments, $13::text AS encoding, $14::double precision AS cost_estimate, $15::double precision AS confidence, $16::text AS reason, $1::bigint AS job_id), \
     gone AS (DELETE FROM jobs WHERE id = $1 AND attempts = $2 RETURNING id, lane) \
     UPDATE sms_logs SET ",
    settled!("new"),
    " FROM new, gone WHERE sms_logs.id = $3 RETURNING ",
    next_waits!("gone")
);

/// A new text with the end of its job's first lease, if the webhook wants one.
#[derive(Serialize)]
struct AcceptRow {
    #[serde(skip)]
    kind: &'static str,
    #[serde(flatten)]
    new: NewMessage,
    #[serde(skip)]
    lease_until: Option<Micros>,
}

#[derive(Serialize)]
struct JobRow {
    kind: &'static str,
    subject_id: i64,
    lease_until: Option<Micros>,
    lane: String,
    at: Micros,
}

#[derive(Serialize)]
struct SettleRow {
    job_id: i64,
    attempts: i64,
    text_id: i64,
    decision: Option<&'static str>,
    reply_text: Option<String>,
    status: String,
    input_tokens: i64,
    output_tokens: i64,
    decided_at: Option<Micros>,
    reply_sid: Option<String>,
    error_code: Option<i64>,
    segments: Option<i64>,
    encoding: Option<&'static str>,
    cost_estimate: Option<f64>,
    confidence: Option<f64>,
    reason: Option<String>,
}

impl Db {
    /// Writes a text and its job of this `kind` in one transaction. With `lease_until` the job is claimed by the caller until
    /// then, unless an earlier one of its lane is unfinished; without, or if so, it waits for the outbox (attempts 0). `None`
    /// when the text was here before, or is not to be answered: [`Db::message_by_sid`] then tells what became of it.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn accept_message(
        &self,
        new: NewMessage,
        kind: &'static str,
        lease_until: Option<Micros>,
    ) -> Result<Option<Job>, DbError> {
        let pool = match self {
            Self::Sqlite { writer, .. } => {
                return writer.gather("text", accept_rows, AcceptRow { kind, new, lease_until }).await;
            }
            Self::Postgres(pool) => pool,
        };
        let lane = lane(&new.to, &new.from);
        in_transaction!(pool, |c| {
            sqlx::query(LOCK_LANE).bind(&lane).execute(&mut *c).await?;
            Ok(sqlx::query_as(ACCEPT_POSTGRES)
                .bind(new.user_id)
                .bind(&new.peer)
                .bind(&new.message_sid)
                .bind(new.channel)
                .bind(&new.from)
                .bind(&new.to)
                .bind(&new.text)
                .bind(&new.media)
                .bind(new.at)
                .bind(kind)
                .bind(lease_until)
                .bind(&lane)
                .bind(&new.messaging_service_sid)
                .bind(&new.profile_name)
                .bind(new.loop_limit)
                .bind(new.account_sid.map(|sid| sid.to_string()))
                .fetch_optional(&mut *c)
                .await?)
        })
    }

    /// Ends a reply job with its text's final state: the decision if there is a new one, and where the reply stands.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_message(
        &self,
        now: Micros,
        job: &Job,
        decision: Option<TextDecision>,
        status: &str,
        sent: Option<Sent>,
    ) -> Result<Ended, DbError> {
        let (tokens_in, tokens_out) = decision.as_ref().map_or((0, 0), |d| (d.input_tokens, d.output_tokens));
        let sent = sent.unwrap_or_default();
        let row = SettleRow {
            job_id: job.id,
            attempts: job.attempts,
            text_id: job.subject_id,
            decided_at: decision.as_ref().map(|_| now),
            decision: decision.as_ref().map(|d| d.decision),
            segments: decision.as_ref().and_then(|d| d.segments),
            encoding: decision.as_ref().and_then(|d| d.encoding),
            cost_estimate: decision.as_ref().and_then(|d| d.cost_estimate),
            confidence: decision.as_ref().and_then(|d| d.confidence),
            reason: decision.as_ref().and_then(|d| d.reason.clone()),
            reply_text: decision.and_then(|d| d.reply_text),
            status: status.to_owned(),
            input_tokens: tokens_in,
            output_tokens: tokens_out,
            reply_sid: sent.sid,
            error_code: sent.error_code,
        };
        let pool = match self {
            Self::Sqlite { writer, .. } => return writer.gather("settled text", settle_rows, row).await,
            Self::Postgres(pool) => pool,
        };
        in_transaction!(pool, |c| {
            let settled: Option<(bool,)> = sqlx::query_as(SETTLE_POSTGRES)
                .bind(row.job_id)
                .bind(row.attempts)
                .bind(row.text_id)
                .bind(row.decision)
                .bind(&row.reply_text)
                .bind(&row.status)
                .bind(row.input_tokens)
                .bind(row.output_tokens)
                .bind(row.decided_at)
                .bind(&row.reply_sid)
                .bind(row.error_code)
                .bind(row.segments)
                .bind(row.encoding)
                .bind(row.cost_estimate)
                .bind(row.confidence)
                .bind(&row.reason)
                .fetch_optional(&mut *c)
                .await?;
            Ok(Ended::of(settled.map(|(next_waits,)| next_waits)))
        })
    }

    /// Writes a step of a reply whose job goes on: the decision with `pending`, or the intent to send with
    /// `sending`. False when the job is no longer the claimant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn progress_message(
        &self,
        now: Micros,
        job: &Job,
        decision: Option<TextDecision>,
        status: &'static str,
    ) -> Result<bool, DbError> {
        let job = job.clone();
        unit!(self, [job, decision], |c| {
            let query = sqlx::query(
                "UPDATE sms_logs SET decision = COALESCE($2, decision), reply_text = COALESCE($3, reply_text), \
                 job_id = $9, segments = COALESCE($11, segments), encoding = COALESCE($12, encoding), \
                 cost_estimate = COALESCE($13, cost_estimate), confidence = COALESCE($14, confidence), \
                 reason = COALESCE($15, reason), input_tokens = input_tokens + $4, output_tokens = output_tokens + $5, reply_status = $6, \
                 decided_at = CASE WHEN $7 THEN $8 ELSE decided_at END, \
                 send_started_at = CASE WHEN $7 THEN send_started_at ELSE COALESCE(send_started_at, $8) END \
                 WHERE id = $1 AND EXISTS (SELECT 1 FROM jobs WHERE id = $9 AND attempts = $10)",
            )
            .bind(job.subject_id)
            .bind(decision.as_ref().map(|d| d.decision))
            .bind(decision.as_ref().and_then(|d| d.reply_text.as_deref()))
            .bind(decision.as_ref().map_or(0, |d| d.input_tokens))
            .bind(decision.as_ref().map_or(0, |d| d.output_tokens))
            .bind(status)
            .bind(decision.is_some())
            .bind(now)
            .bind(job.id)
            .bind(job.attempts)
            .bind(decision.as_ref().and_then(|d| d.segments))
            .bind(decision.as_ref().and_then(|d| d.encoding))
            .bind(decision.as_ref().and_then(|d| d.cost_estimate))
            .bind(decision.as_ref().and_then(|d| d.confidence))
            .bind(decision.as_ref().and_then(|d| d.reason.as_deref()));
            Ok(query.execute(&mut *c).await?.rows_affected() > 0)
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
            let lease_until = row.lease_until.filter(|_| lanes.insert(lane.clone()));
            Some(JobRow { kind: row.kind, subject_id, lease_until, lane, at: row.new.at })
        });
        let due: Vec<JobRow> = due.collect();
        if due.is_empty() {
            return Ok(rows.iter().map(|_| None).collect());
        }
        let due = super::json_list(&due.iter().collect::<Vec<_>>());
        let jobs: Vec<Job> = sqlx::query_as(ACCEPT_JOBS).bind(due).fetch_all(&mut *c).await?;
        let mut jobs: HashMap<i64, Job> = jobs.into_iter().map(|job| (job.subject_id, job)).collect();
        Ok(texts.into_iter().map(|text| jobs.remove(&text?)).collect())
    })
}

fn settle_rows<'c>(
    c: &'c mut SqliteConnection,
    rows: Vec<&'c SettleRow>,
) -> BoxFuture<'c, Result<Vec<Ended>, DbError>> {
    Box::pin(async move {
        let settled: Vec<(i64,)> =
            sqlx::query_as(SETTLE_TEXTS).bind(super::json_list(&rows)).fetch_all(&mut *c).await?;
        let mut settled: HashSet<i64> = settled.into_iter().map(|(id,)| id).collect();
        // Of two that settle one text in one batch the first one does.
        let ours: Vec<Option<i64>> =
            rows.iter().map(|row| settled.remove(&row.text_id).then_some(row.job_id)).collect();
        let jobs = super::json_list(&ours.iter().flatten().collect::<Vec<_>>());
        let gone: Vec<(i64, bool)> = sqlx::query_as(SETTLE_JOBS).bind(jobs).fetch_all(&mut *c).await?;
        let gone: HashMap<i64, bool> = gone.into_iter().collect();
        Ok(ours.into_iter().map(|job| Ended::of(job.and_then(|job| gone.get(&job).copied()))).collect())
    })
}
