//! The beginning of a session: the first frame says whose call it is, and proves it with the token of the call's
//! document.

use super::PURPOSE;
use super::line::{Line, Over};
use super::session::Session;
use crate::app::App;
use crate::config::AccountSid;
use crate::conversation::call::OnCall;
use crate::db::DbError;
use crate::db::relay::RelayCall;
use crate::twilio::relay_messages::{self, FromTwilio, Setup};
use crate::webhooks::on_call::on_call;
use crate::webhooks::requests::CallRequest;
use poem::web::websocket::{CloseCode, Message, WebSocketStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{error, info, warn};

/// How long the first frame may take.
const SETUP: Duration = Duration::from_secs(10);

/// Holds a session on a WebSocket whose handshake was signed.
pub(super) async fn run(app: Arc<App>, socket: WebSocketStream, origin: String) {
    let mut line = Line::new(socket);
    let setup = match timeout(SETUP, set_up(&app, &mut line)).await.unwrap_or(Err(UNKNOWN)) {
        Ok(setup) => setup,
        Err(over) => {
            warn!("Refused a ConversationRelay session that does not say whose call it is");
            return line.close(over).await;
        }
    };
    let call_sid = setup.call_sid.as_str();
    let (call, known) = match find_call(&app, &setup).await {
        Ok(Some(found)) => found,
        Ok(None) => return line.close(UNKNOWN).await,
        Err(cause) => {
            error!(call.sid = call_sid, error = %cause, "A ConversationRelay session could not begin");
            return line.close(Over::Closed(CloseCode::Error, "the gateway cannot serve it")).await;
        }
    };
    info!(
        call.sid = call_sid,
        session.id = setup.session_id,
        sessions = app.sessions.len(),
        "A ConversationRelay session began"
    );
    let mut session = Session::new(app, line, origin, call, known);
    let over = session.talk().await;
    session.leave_off().await;
    session.gone.cancel();
    info!(call.sid = call_sid, "A ConversationRelay session is over: {over:?}");
    session.line.close(over).await;
}

/// What is answered to somebody who does not say whose call it is.
const UNKNOWN: Over = Over::Closed(CloseCode::Policy, "a setup with the token of its call must come first");

/// The first frame, which must be of a call that was handed over.
async fn set_up(app: &App, line: &mut Line) -> Result<Setup, Over> {
    let frame = loop {
        match line.next().await? {
            Message::Text(text) => break text,
            Message::Ping(_) | Message::Pong(_) => {}
            _ => return Err(UNKNOWN),
        }
    };
    let Ok(FromTwilio::Setup(setup)) = relay_messages::parse(&frame) else { return Err(UNKNOWN) };
    let token = setup.custom_parameters.get("token").map(String::as_str).unwrap_or_default();
    let is_its_call = app.tokens.open(PURPOSE, token, app.clock.now()).is_some_and(|call| call == setup.call_sid);
    let named = AccountSid::parse(&setup.account_sid);
    if is_its_call && app.accounts.claimed(named).is(named) { Ok(setup) } else { Err(UNKNOWN) }
}

/// Who is on the telephone, and where the call stands; `None` when it is nobody's call.
async fn find_call(app: &App, setup: &Setup) -> Result<Option<(OnCall, RelayCall)>, DbError> {
    let request = CallRequest::from(setup);
    let Some(call) = on_call(app, &request).await? else { return Ok(None) };
    let now = app.clock.now();
    app.db.record_call(Some(call.person().user_id), request.event(now)).await?;
    let Some(known) = app.db.relay_call(&call.call_sid).await? else { return Ok(None) };
    // The handshake may have been signed by any account of ours.
    if known.account_sid.as_deref().is_some_and(|sid| AccountSid::parse(sid) != request.account) {
        return Ok(None);
    }
    let call = call.in_language(known.language.as_deref());
    Ok(Some((OnCall { purpose: known.purpose.clone(), ..call }, known)))
}
