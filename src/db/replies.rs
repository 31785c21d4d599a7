//! A reply's way through the database. The reply job is written with the text (`accepted.rs`) and deleted with its
//! answer, each time in one transaction: whoever deletes the job owns the answer.

use super::jobs::Job;
use super::messages::TextDecision;
use super::{Db, DbError, in_transaction, unit};
use crate::clock::Micros;
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::SqliteConnection;
use std::collections::HashMap;

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
    /// It ended without its answer, for its receiver told us to stop meanwhile.
    Canceled,
    /// It ended, and nothing waits behind it.
    Alone,
    /// It ended, and the next one of its lane is due.
    NextWaits,
}

impl Ended {
    /// What the statement tells: whether the text was canceled, and whether a job waits behind its own.
    fn of(settled: Option<(bool, bool)>) -> Self {
        match settled {
            None => Self::NotOurs,
            Some((true, _)) => Self::Canceled,
            Some((false, false)) => Self::Alone,
            Some((false, true)) => Self::NextWaits,
        }
    }
}

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

/// Whether a row settles a text as answered at once though its sender opted out: a STOP, to another number of the
/// Messaging Service for one, may cross the text.
macro_rules! is_barred {
    ($row:literal) => {
        concat!(
            $row,
            ".status = 'answered' AND EXISTS (SELECT 1 FROM opt_outs WHERE peer_number = sms_logs.from_number \
             AND own_number IN (sms_logs.to_number, sms_logs.messaging_service_sid))"
        )
    };
}

/// What a settled text is to become, where the row has something new to say. If a report on the reply has come before
/// Twilio's answer to the request that sent it, the report counts.
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
            ".reply_sid THEN sms_logs.reply_status WHEN ",
            is_barred!($row),
            " THEN 'canceled' ELSE ",
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
             reason = CASE WHEN ",
            is_barred!($row),
            " THEN 'opted out' ELSE COALESCE(",
            $row,
            ".reason, sms_logs.reason) END"
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
     AND EXISTS (SELECT 1 FROM jobs WHERE jobs.id = new.job_id AND jobs.attempts = new.attempts) \
     RETURNING sms_logs.id, sms_logs.reply_status = 'canceled'"
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
    " FROM new, gone WHERE sms_logs.id = $3 RETURNING sms_logs.reply_status = 'canceled', ",
    next_waits!("gone")
);

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
    /// Ends a reply job with its text's final state: the decision if there is a new one, and where the reply stands. A
    /// text whose sender opted out is not answered but canceled.
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
            let settled: Option<(bool, bool)> = sqlx::query_as(SETTLE_POSTGRES)
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
            Ok(Ended::of(settled))
        })
    }

    /// Writes the decision about a text whose reply is to be sent by its job. False when the job is no longer the
    /// claimant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_decision(&self, now: Micros, job: &Job, decision: TextDecision) -> Result<bool, DbError> {
        let job = job.clone();
        unit!(self, [job, decision], |c| {
            let query = sqlx::query(
                "UPDATE sms_logs SET reply_status = 'pending', job_id = $2, decision = $4, reply_text = $5, segments = $6, \
                 encoding = $7, cost_estimate = $8, confidence = $9, reason = $10, input_tokens = input_tokens + $11, \
                 output_tokens = output_tokens + $12, decided_at = $13 \
                 WHERE id = $1 AND EXISTS (SELECT 1 FROM jobs WHERE id = $2 AND attempts = $3)",
            )
            .bind(job.subject_id)
            .bind(job.id)
            .bind(job.attempts)
            .bind(decision.decision)
            .bind(&decision.reply_text)
            .bind(decision.segments)
            .bind(decision.encoding)
            .bind(decision.cost_estimate)
            .bind(decision.confidence)
            .bind(&decision.reason)
            .bind(decision.input_tokens)
            .bind(decision.output_tokens)
            .bind(now);
            Ok(query.execute(&mut *c).await?.rows_affected() > 0)
        })
    }
}

fn settle_rows<'c>(
    c: &'c mut SqliteConnection,
    rows: Vec<&'c SettleRow>,
) -> BoxFuture<'c, Result<Vec<Ended>, DbError>> {
    Box::pin(async move {
        let settled: Vec<(i64, bool)> =
            sqlx::query_as(SETTLE_TEXTS).bind(super::json_list(&rows)).fetch_all(&mut *c).await?;
        let mut settled: HashMap<i64, bool> = settled.into_iter().collect();
        // Of two that settle one text in one batch the first one does.
        let ours: Vec<Option<(i64, bool)>> =
            rows.iter().map(|row| Some((row.job_id, settled.remove(&row.text_id)?))).collect();
        let jobs = super::json_list(&ours.iter().flatten().map(|(job_id, _)| job_id).collect::<Vec<_>>());
        let gone: Vec<(i64, bool)> = sqlx::query_as(SETTLE_JOBS).bind(jobs).fetch_all(&mut *c).await?;
        let gone: HashMap<i64, bool> = gone.into_iter().collect();
        let ended = |(job_id, is_canceled)| Some((is_canceled, *gone.get(&job_id)?));
        Ok(ours.into_iter().map(|job| Ended::of(job.and_then(ended))).collect())
    })
}
