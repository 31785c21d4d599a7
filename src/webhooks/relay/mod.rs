//! Calls over ConversationRelay: handed over to a WebSocket, talked through there, and taken back when the session is
//! over.

mod answering;
mod asking;
pub mod ended;
mod heard;
mod hearing;
mod line;
mod playing;
mod session;
mod setup;
mod speaking;

use super::link;
use super::manner::manner;
use super::origin::{CalledUrl, url_of};
use super::signed::forbidden;
use crate::app::App;
use crate::clock::{Micros, SECOND};
use crate::config::VoiceTool;
use crate::conversation::call::OnCall;
use crate::twilio::signature::Payload;
use crate::twilio::twiml::{Relay, relay};
use crate::twilio::voices;
use poem::http::StatusCode;
use poem::web::Data;
use poem::web::websocket::{WebSocket, WebSocketConfig};
use poem::{Error, FromRequest, IntoResponse, Request, RequestBody, Response, Result, handler};
use std::sync::Arc;
use tracing::warn;

/// How long Twilio may take from the document to the first frame.
const HANDOVER: Micros = 600 * SECOND;
/// What a token of a session is made for.
const PURPOSE: &str = "relay";
/// Sessions at the same time; further calls are told that their session failed, and go on over webhooks.
const SESSIONS: usize = 4096;
/// What a socket buffers; nearly all frames of Twilio's fit, and the library's own buffers would take 256 KiB.
const BUFFER_BYTES: usize = 2 * 1024;
/// The longest frame of ours that waits to be taken.
const FRAME_BYTES: usize = 64 * 1024;
/// The longest frame of Twilio's: what nobody says in one go is longer.
const LONGEST_FRAME_BYTES: usize = 256 * 1024;

/// The document that hands a call over to the WebSocket. Without a greeting the call goes on where it was. No two are
/// the same, because their tokens run out.
pub(super) fn hand_over(app: &App, call: &OnCall, called: &CalledUrl, greeting: &str) -> String {
    let person = call.person();
    let (how, _) = manner(app, person);
    // Twilio refuses a call for a single code that it does not know, so it is told of no more than may be spoken.
    let languages = if app.config.voice.tools.contains(&VoiceTool::SwitchLanguage) {
        voices::relay_languages(&person.tts_voice)
    } else {
        vec![voices::relay_language(person.voice)]
    };
    let connection = Relay {
        url: &called.socket(&link(app, "/twilio/relay")),
        // What the model's voice says is said in the session.
        greeting: if app.synthesiser.is_some() { "" } else { greeting },
        languages: &languages,
        token: &app.tokens.seal(PURPOSE, &call.call_sid, app.clock.now() + HANDOVER),
        action: &link(app, "/twilio/relay/ended"),
    };
    relay(&app.documents.relay, how, connection)
}

/// A handshake of a WebSocket that Twilio signed; anything else is answered 403.
pub struct SignedHandshake {
    /// Scheme and host under which Twilio reaches us over HTTP.
    origin: String,
}

impl<'r> FromRequest<'r> for SignedHandshake {
    async fn from_request(request: &'r Request, _body: &mut RequestBody) -> Result<Self> {
        let app: Data<&Arc<App>> = Data::from_request_without_body(request).await?;
        let signature = request.headers().get("x-twilio-signature").map(|value| value.as_bytes());
        let url = url_of(request, &app);
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        // What was signed as `wss` may reach us as `ws`, behind a proxy or in a trial without one. A handshake names no
        // account.
        let is_signed = |scheme: &str| {
            let url = format!("{scheme}://{rest}");
            app.accounts.all().any(|account| account.verifier.accepts(signature, &url, &Payload::Nothing))
        };
        if let Some((_, scheme)) = [("wss", "https"), ("ws", "http")].into_iter().find(|(scheme, _)| is_signed(scheme))
        {
            let host = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
            return Ok(Self { origin: format!("{scheme}://{host}") });
        }
        if let Some(untold) = app.refusals.pass() {
            warn!(webhook.url = url, untold, "Refused a ConversationRelay session: its signature does not fit");
        }
        Err(forbidden())
    }
}

/// `GET /twilio/relay`: Twilio opens the WebSocket of a call.
#[handler]
pub async fn open(signed: SignedHandshake, socket: WebSocket, app: Data<&Arc<App>>) -> Result<Response> {
    if app.stopping.is_cancelled() || app.sessions.len() >= SESSIONS {
        return Err(Error::from_status(StatusCode::SERVICE_UNAVAILABLE));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * FRAME_BYTES)
        .max_message_size(Some(LONGEST_FRAME_BYTES))
        .max_frame_size(Some(LONGEST_FRAME_BYTES));
    let (app, place) = (app.clone(), app.sessions.token());
    let talk = move |socket| async move {
        setup::run(app, socket, signed.origin).await;
        drop(place);
    };
    Ok(socket.config(config).on_upgrade(talk).into_response())
}
