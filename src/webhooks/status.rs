//! Reports on calls and replies. Their order and repetition do not matter, and an id we do not know is taken too: Twilio only
//! wants to hear that the report arrived.

use super::Signed;
use super::requests::{CallProgress, MessageProgress};
use crate::app::App;
use crate::db::DbError;
use poem::http::{StatusCode, header};
use poem::web::Data;
use poem::{Error, Response, Result, handler};
use std::sync::Arc;
use tracing::{debug, error};

/// `POST /twilio/voice/status`
#[handler]
pub async fn call(Signed(progress): Signed<CallProgress>, app: Data<&Arc<App>>) -> Result<StatusCode> {
    let event = progress.event(app.clock.now());
    debug!(call.sid = event.call_sid, call.status = event.status, "A call is {}", event.status);
    app.db.record_call(None, event).await.map_err(out_of_reach)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /twilio/sms/status`
#[handler]
pub async fn message(Signed(progress): Signed<MessageProgress>, app: Data<&Arc<App>>) -> Result<StatusCode> {
    if let Some(report) = progress.report {
        let (reply_sid, status) = (report.reply_sid.clone(), report.status.clone());
        let known = app.db.record_reply_status(report).await.map_err(out_of_reach)?;
        debug!(reply.sid = reply_sid, reply.status = status, known, "A reply is {status}");
    }
    Ok(StatusCode::NO_CONTENT)
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
