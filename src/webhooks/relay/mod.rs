//! Calls over ConversationRelay: handed over to a WebSocket, talked through there, and taken back when the session is over.

mod answering;
mod asking;
mod heard;
mod hearing;
mod line;
mod playing;
mod session;
mod setup;
mod speaking;

use super::in_time::{Trouble, in_time};
use super::manner::{default_manner, manner, refusal};
use super::on_call::in_its_language;
use super::origin::{CalledUrl, url_of};
use super::requests::{Handoff, RelayEnd};
use super::signed::forbidden;
use super::speech::sentences_of;
use super::telling::next_part_of;
use super::transfer;
use super::turns::keep;
use super::voicing::Voiced;
use super::{Signed, Twiml, link, next_turn};
use crate::app::App;
use crate::clock::{Micros, SECOND};
use crate::config::VoiceTool;
use crate::conversation::call::OnCall;
use crate::conversation::reply::After;
use crate::conversation::speech::joined;
use crate::conversation::talk::{Talk, heard_sentences};
use crate::db::DbError;
use crate::db::relay::{LeftOver, LeftTurn};
use crate::db::turns::Turn;
use crate::db::voice_answers::VoiceStep;
use crate::twilio::signature::Payload;
use crate::twilio::twiml::{Relay, Words, relay, say_and_gather, say_and_go};
use crate::twilio::voices;
use poem::http::StatusCode;
use poem::web::websocket::{WebSocket, WebSocketConfig};
use poem::web::{Data, Query};
use poem::{Error, FromRequest, IntoResponse, Request, RequestBody, Response, Result, handler};
use serde::Deserialize;
use std::slice::from_ref;
use std::sync::Arc;
use tracing::{error, info, warn};

/// How long Twilio may take from the document to the first frame.
const HANDOVER: Micros = 600 * SECOND;
/// What a token of a session is made for.
const PURPOSE: &str = "relay";
/// Sessions at the same time; further calls are told that their session failed, and go on over webhooks.
const SESSIONS: usize = 4096;
/// Lost sessions in a row after which a call goes on over webhooks.
const FAILURES: i64 = 2;
/// How often it is asked again what follows a session, while the database is out of reach.
const ASKED_AGAIN: u8 = 5;
/// What a socket buffers; nearly all frames of Twilio's fit, and the library's own buffers would take 256 KiB.
const BUFFER_BYTES: usize = 2 * 1024;
/// The longest frame of ours that waits to be taken.
const FRAME_BYTES: usize = 64 * 1024;
/// The longest frame of Twilio's: what nobody says in one go is longer.
const LONGEST_FRAME_BYTES: usize = 256 * 1024;

/// The document that hands a call over to the WebSocket. Without a greeting the call goes on where it was. No two are the same,
/// because their tokens run out.
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
        // What was signed as `wss` may reach us as `ws`, behind a proxy or in a trial without one. A handshake names no account.
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

/// What the URL says where we have Twilio ask once more what follows a session: that form names it no more.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AskedBefore {
    /// How often it was asked in vain; never more than [`ASKED_AGAIN`] in our own URLs.
    tried: u8,
    /// The session.
    session: String,
}

/// `POST /twilio/relay/ended`: a session is over, and Twilio asks what comes next.
#[handler]
pub async fn ended(
    Signed(mut end): Signed<RelayEnd>,
    Query(before): Query<AskedBefore>,
    called: CalledUrl,
    app: Data<&Arc<App>>,
) -> Twiml {
    if end.session_id.is_empty() {
        end.session_id.clone_from(&before.session);
    }
    let answered = in_time(&app, || go_on(&app, &end, &called)).await;
    Twiml(answered.unwrap_or_else(|cause| ask_again(&app, &end, &before, &cause)))
}

/// Has Twilio ask again in a moment, for without the database nobody knows where the call was. In the end it is given up.
fn ask_again(app: &App, end: &RelayEnd, before: &AskedBefore, cause: &Trouble) -> String {
    let (call_sid, tried) = (&end.call.call_sid, before.tried);
    let (how, phrases) = default_manner(app);
    let is_over = matches!(end.handoff, Some(Handoff::Goodbye | Handoff::EndCall | Handoff::TimeOver));
    if is_over || tried >= ASKED_AGAIN {
        error!(call.sid = call_sid, tried, error = %cause, "A call could not go on after its session, and ends");
        let words = if is_over { &[][..] } else { from_ref(&phrases.unavailable) };
        return say_and_go(&app.documents.goodbye, how, words, "");
    }
    warn!(call.sid = call_sid, tried, error = %cause, "It is not known what follows a session: asked again in a moment");
    let words = &phrases.one_moment[usize::from(tried) % phrases.one_moment.len()];
    let again = format!("/twilio/relay/ended?tried={}&session={}", tried + 1, end.session_id);
    say_and_go(&app.documents.hold, how, from_ref(words), &link(app, &again))
}

/// What Twilio is answered after a session. It is stored before it is sent, so that a redelivery hears the same and changes
/// nothing; a session that is not named has nothing that it could be stored under.
async fn go_on(app: &App, end: &RelayEnd, called: &CalledUrl) -> Result<String, Trouble> {
    if end.is_over {
        app.db.record_call(None, end.call.event(app.clock.now())).await?;
        return Ok(app.documents.empty.render(&[]));
    }
    let step = (!end.session_id.is_empty()).then(|| VoiceStep::session_ended(&end.call.call_sid, &end.session_id));
    if let Some(step) = &step
        && let Some(stored) = app.db.voice_answer(step).await?
    {
        return Ok(stored.twiml);
    }
    let Some(call) = in_its_language(app, &end.call).await? else { return Ok(refusal(app)) };
    let twiml = what_follows(app, &call, end, called).await?;
    match &step {
        Some(step) => keep(app, &call, step, twiml).await,
        None => Ok(twiml),
    }
}

/// What comes after a session: what was handed over, or, when it was lost, another one. A call that loses two in a row goes
/// on over webhooks.
async fn what_follows(app: &App, call: &OnCall, end: &RelayEnd, called: &CalledUrl) -> Result<String, Trouble> {
    let call_sid = &call.call_sid;
    let (how, phrases) = manner(app, call.person());
    // Who has heard a farewell hears no other.
    let is_over = matches!(end.handoff, Some(Handoff::Goodbye | Handoff::EndCall | Handoff::TimeOver));
    if !call.person().is_active && !is_over {
        return Ok(say_and_go(&app.documents.goodbye, how, from_ref(&phrases.unavailable), ""));
    }
    let turn = app.db.relay_call(call_sid).await?.map_or(0, |call| call.last_turn);
    let next = next_turn(app, &VoiceStep { call_sid: call_sid.clone(), turn, part: 0 });
    let (handoff, failures) = match end.handoff {
        Some(handoff) => (Some(handoff), 0),
        None => {
            // Where its user was erased, the call is not written down any more, and its losses could not be counted.
            app.db.record_call(Some(call.person().user_id), end.call.event(app.clock.now())).await?;
            let failures = app.db.count_relay_failure(call_sid, &end.session_id).await?;
            info!(call.sid = call_sid, failures, "A ConversationRelay session was lost");
            (what_followed(app, call_sid, turn).await?, failures)
        }
    };
    // Turns are counted from 1, also where none was taken.
    let taken = turn.max(1);
    match (handoff, &call.transfer_to) {
        // The words were said in the session.
        (Some(Handoff::Transfer), Some(number)) => Ok(transfer::connect(app, call, number, taken, &Voiced::default())),
        (Some(Handoff::Transfer), None) => {
            Ok(say_and_gather(&app.documents.answer, how, from_ref(&phrases.no_transfer), &next))
        }
        (Some(Handoff::Voicemail), _) => Ok(transfer::voicemail(app, call, taken)),
        (Some(Handoff::Goodbye | Handoff::EndCall | Handoff::TimeOver), _) => {
            Ok(say_and_go(&app.documents.goodbye, how, Words::Say(&[]), ""))
        }
        (None, _) if failures < FAILURES => Ok(hand_over(app, call, called, "")),
        (None, _) => match go_on_over_webhooks(app, call, turn).await? {
            Some(twiml) => Ok(twiml),
            None => Ok(say_and_gather(&app.documents.answer, how, from_ref(&phrases.apology), &next)),
        },
    }
}

/// Where the answer to a call's last turn goes on, if the end of it was not heard: in the part after what counts as told.
async fn go_on_over_webhooks(app: &App, call: &OnCall, turn: i64) -> Result<Option<String>, Trouble> {
    if turn == 0 {
        return Ok(None);
    }
    let step = VoiceStep { call_sid: call.call_sid.clone(), turn, part: 0 };
    let (person, (how, _)) = (call.person(), manner(app, call.person()));
    let twiml = say_and_go(&app.documents.hold, how, Words::Say(&[]), &next_part_of(app, &step));
    let language = person.language;
    let left_over = move |left: &LeftTurn| {
        let heard = asking::said(left);
        let (sentences, told) = match &left.whole {
            Some(answer) => {
                let sentences = sentences_of(answer, language);
                let told = heard_sentences(&sentences, &heard);
                (sentences, told)
            }
            // The model goes on right after what was heard, be it half a sentence.
            None if heard.is_empty() => (Vec::new(), 0),
            None => (vec![heard.clone()], 1),
        };
        LeftOver { sentences, told, heard }
    };
    Ok(app.db.leave_to_webhooks(app.clock.now(), &step, person.user_id, twiml, left_over).await?)
}

/// What was to follow the last turn of a session that was lost before it could hand it over.
async fn what_followed(app: &App, call_sid: &str, turn: i64) -> Result<Option<Handoff>, Trouble> {
    let last = leave_off(app, call_sid, turn).await?;
    Ok(Handoff::after(After::of(last.and_then(|last| last.action).as_deref())))
}

/// The last turn of a session that was lost. The session may not have noticed it yet, or was killed: an answer that it had not
/// spoken to its end is left to the next one, as the session itself leaves it.
async fn leave_off(app: &App, call_sid: &str, turn: i64) -> Result<Option<Turn>, DbError> {
    let last = app.db.turn(call_sid, turn).await?;
    if let Some(last) = last.as_ref().filter(|last| last.ended && !last.unspoken.is_zero()) {
        let mut talk = Talk::default();
        talk.say(&joined(&last.sentences));
        let heard = talk.heard_before(last.unspoken);
        if heard != talk.answer() {
            app.db.leave_unheard(last.claim, heard).await?;
        }
    }
    Ok(last)
}
