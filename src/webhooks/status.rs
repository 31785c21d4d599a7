//! Reports on calls, recordings and replies. Their order and repetition do not matter, and an id we do not know is
//! taken too: Twilio only wants to hear that the report arrived.

use super::Signed;
use super::requests::{CallProgress, MessageProgress, Recording, RecordingReport};
use crate::app::App;
use crate::db::DbError;
use crate::db::reply_reports::ReplyReport;
use crate::db::sending::WHOLE;
use crate::db::voicemails::NewVoicemail;
use futures_util::FutureExt;
use poem::http::{StatusCode, header};
use poem::web::{Data, Path};
use poem::{Error, Response, Result, handler};
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, error, info};

/// `POST /twilio/voice/status`
#[handler]
pub async fn call(Signed(progress): Signed<CallProgress>, app: Data<&Arc<App>>) -> Result<StatusCode> {
    let event = progress.event(app.clock.now());
    debug!(call.sid = event.call_sid, call.status = event.status, "A call is {}", event.status);
    if event.is_over_for_sure() {
        app.turns.hang_up(&event.call_sid);
    }
    if before_twilio_gives_up(app.db.record_call(None, event)).await.map_err(out_of_reach)? {
        app.outbox.wake();
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /twilio/voice/recording`
#[handler]
pub async fn recording(Signed(report): Signed<RecordingReport>, app: Data<&Arc<App>>) -> Result<StatusCode> {
    let RecordingReport { call_sid, recording } = report;
    let Some(Recording { sid, url, duration_seconds }) = recording else {
        info!(call.sid = call_sid, "A caller left no message");
        return Ok(StatusCode::NO_CONTENT);
    };
    info!(call.sid = call_sid, recording.sid = sid, duration_seconds, "A caller left a message");
    let at = app.clock.now();
    let new = NewVoicemail { call_sid, recording_sid: sid, recording_url: url, duration_seconds, at };
    if before_twilio_gives_up(app.db.keep_voicemail(new)).await.map_err(out_of_reach)? {
        app.outbox.wake();
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /twilio/sms/status`: of a reply that no job of ours sent, as far as the URL tells.
#[handler]
pub async fn message(Signed(progress): Signed<MessageProgress>, app: Data<&Arc<App>>) -> Result<StatusCode> {
    record_reply(&app, progress.report).await
}

/// `POST /twilio/sms/status/{job}`
#[handler]
pub async fn message_of_job(
    Signed(progress): Signed<MessageProgress>,
    Path(job_id): Path<i64>,
    app: Data<&Arc<App>>,
) -> Result<StatusCode> {
    let report = progress.report.map(|report| ReplyReport { job: Some((job_id, WHOLE)), ..report });
    record_reply(&app, report).await
}

/// `POST /twilio/sms/status/{job}/{position}`: of one message of a reply that takes several.
#[handler]
pub async fn part_of_job(
    Signed(progress): Signed<MessageProgress>,
    Path(part): Path<(i64, i64)>,
    app: Data<&Arc<App>>,
) -> Result<StatusCode> {
    let report = progress.report.map(|report| ReplyReport { job: Some(part), ..report });
    record_reply(&app, report).await
}

async fn record_reply(app: &App, report: Option<ReplyReport>) -> Result<StatusCode> {
    if let Some(report) = report {
        let (reply_sid, status) = (report.reply_sid.clone(), report.status.clone());
        let known =
            before_twilio_gives_up(app.db.record_reply_status(app.clock.now(), report)).await.map_err(out_of_reach)?;
        debug!(reply.sid = reply_sid, reply.status = status, known = known.is_some(), "A reply is {status}");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Twilio gives up after 15 seconds, and then it is as if nothing had been answered. A report may use nearly all of
/// them: what is lost by being late is told once more, while a call that gets no document in time ends (see
/// `in_time.rs`).
const DEADLINE: Duration = Duration::from_secs(13);

/// The outcome of `work`, or in time that there is none. Not an `async fn`, whose future would hold `work` twice: as
/// argument and as what is awaited.
pub(super) fn before_twilio_gives_up<T>(
    work: impl Future<Output = Result<T, DbError>>,
) -> impl Future<Output = Result<T, DbError>> {
    tokio::time::timeout(DEADLINE, work).map(|outcome| outcome.unwrap_or_else(|_| Err(DbError::stopped())))
}

/// 503, so that Twilio's retry or fallback can act.
pub(super) fn out_of_reach(cause: DbError) -> Error {
    error!(error = %cause, "A webhook could not be written down");
    let answer = Response::builder()
        .status(StatusCode::SERVICE_UNAVAILABLE)
        .content_type("text/plain; charset=utf-8")
        .header(header::RETRY_AFTER, 2);
    Error::from_response(answer.body("The database is out of reach."))
}
