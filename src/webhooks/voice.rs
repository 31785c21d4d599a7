//! A call over plain webhooks: greeting, turn after turn, goodbye. Every webhook is answered in time with something to
//! hear, whatever the model or the database does.

use super::in_time::{Trouble, in_time};
use super::manner::{default_manner, manner, refusal};
use super::on_call::on_call;
use super::origin::CalledUrl;
use super::requests::{CallRequest, DialEnd, Recorded, SpeechTurn};
use super::voicing::phrase;
use super::{Signed, Twiml, link, next_turn, relay, telling, transfer, turns};
use crate::app::App;
use crate::config::Transport;
use crate::db::voice_answers::{MOST_PARTS, VoiceStep};
use crate::twilio::twiml::{say_and_gather, say_and_go};
use poem::error::NotFoundError;
use poem::web::{Data, Path};
use poem::{Result, handler};
use std::slice::from_ref;
use std::sync::Arc;
use tracing::{error, info};

/// `POST /twilio/voice`: a call comes in.
#[handler]
pub async fn incoming(Signed(call): Signed<CallRequest>, called: CalledUrl, app: Data<&Arc<App>>) -> Twiml {
    greeting(&app, &call, in_time(&app, || greet(&app, &call, &called)).await)
}

/// The greeting, or an excuse when there is none.
fn greeting(app: &App, call: &CallRequest, greeted: std::result::Result<String, Trouble>) -> Twiml {
    Twiml(greeted.unwrap_or_else(|cause| {
        error!(call.sid = call.call_sid, error = %cause, "A call could not be taken");
        let (how, phrases) = default_manner(app);
        say_and_go(&app.documents.goodbye, how, from_ref(&phrases.unavailable), "")
    }))
}

/// `POST /twilio/voice/placed/{order}`: a call that we placed is answered. Twilio's signature covers the order, so
/// nobody else names one.
#[handler]
pub async fn placed(
    Signed(call): Signed<CallRequest>,
    Path(order): Path<i64>,
    called: CalledUrl,
    app: Data<&Arc<App>>,
) -> Twiml {
    let greet_known = || async {
        let is_the_orders = call.is_ours() && app.db.record_placed_call(order, call.event(app.clock.now())).await?;
        if !is_the_orders {
            // The person was deleted while the telephone rang, or there never was such an order.
            info!(call.sid = call.call_sid, "Hung up a call without an order");
            return Ok(app.documents.goodbye.render(&[]));
        }
        greet(&app, &call, &called).await
    };
    greeting(&app, &call, in_time(&app, greet_known).await)
}

/// `POST /twilio/voice/turns/{n}`: what the Gather of turn n - 1 heard.
#[handler]
pub async fn turn(Signed(said): Signed<SpeechTurn>, Path(n): Path<u32>, app: Data<&Arc<App>>) -> Result<Twiml> {
    let step = step(&said.call, n, 0)?;
    let answered = in_time(&app, || turns::take_turn(&app, &said, &step)).await;
    Ok(or_apology(&app, &step, answered))
}

/// `POST /twilio/voice/turns/{n}/parts/{k}`: the rest of an answer that was not there in time.
#[handler]
pub async fn part(
    Signed(call): Signed<CallRequest>,
    Path((n, k)): Path<(u32, u32)>,
    app: Data<&Arc<App>>,
) -> Result<Twiml> {
    let step = step(&call, n, k)?;
    let answered = in_time(&app, || telling::take_part(&app, &call, &step)).await;
    Ok(or_apology(&app, &step, answered))
}

/// `POST /twilio/voice/turns/{n}/transferred`: the call to a person is over, or nobody took it.
#[handler]
pub async fn transferred(Signed(end): Signed<DialEnd>, Path(n): Path<u32>, app: Data<&Arc<App>>) -> Result<Twiml> {
    let step = step(&end.call, n, 0)?;
    let answered = in_time(&app, || transfer::transferred(&app, &end, &step)).await;
    Ok(or_apology(&app, &step, answered))
}

/// `POST /twilio/voice/turns/{n}/offer`: what a caller says to the offer to leave a message.
#[handler]
pub async fn offer(Signed(said): Signed<SpeechTurn>, Path(n): Path<u32>, app: Data<&Arc<App>>) -> Result<Twiml> {
    let step = step(&said.call, n, 0)?;
    let answered = in_time(&app, || transfer::offered(&app, &said, &step)).await;
    Ok(or_apology(&app, &step, answered))
}

/// `POST /twilio/voice/turns/{n}/recorded`: the caller has left a message, or none.
#[handler]
pub async fn recorded(Signed(left): Signed<Recorded>, Path(n): Path<u32>, app: Data<&Arc<App>>) -> Result<Twiml> {
    let step = step(&left.call, n, 0)?;
    let answered = in_time(&app, || transfer::recorded(&app, &left, &step)).await;
    Ok(or_apology(&app, &step, answered))
}

/// Turns of one call; nobody speaks that often.
const MOST_TURNS: u32 = 10_000;

/// The step that a URL of ours names; 404 when we never gave out such a URL.
fn step(call: &CallRequest, n: u32, k: u32) -> Result<VoiceStep> {
    if n == 0 || n > MOST_TURNS || i64::from(k) > MOST_PARTS {
        return Err(NotFoundError.into());
    }
    Ok(VoiceStep { call_sid: call.call_sid.clone(), turn: n.into(), part: k.into() })
}

/// The document, or an apology that needs neither database nor preferences; the next turn may work again.
fn or_apology(app: &App, step: &VoiceStep, answered: std::result::Result<String, Trouble>) -> Twiml {
    Twiml(answered.unwrap_or_else(|cause| {
        error!(call.sid = step.call_sid, turn = step.turn, error = %cause, "A turn could not be served");
        let (how, phrases) = default_manner(app);
        say_and_gather(&app.documents.apology, how, from_ref(&phrases.apology), &next_turn(app, step))
    }))
}

async fn greet(app: &Arc<App>, call: &CallRequest, called: &CalledUrl) -> Result<String, Trouble> {
    let event = call.event(app.clock.now());
    let Some(on_the_line) = on_call(app, call).await? else {
        app.db.record_call(None, event).await?;
        info!(call.sid = call.call_sid, "Refused an unknown caller");
        return Ok(refusal(app));
    };
    let person = on_the_line.person();
    app.db.record_call(Some(person.user_id), event.clone()).await?;
    if !person.is_active {
        info!(call.sid = call.call_sid, user.id = person.user_id, "Rejected the call of an inactive user");
        // Only a call that still rings can be rejected.
        let document = if call.is_ours() { &app.documents.goodbye } else { &app.documents.reject };
        return Ok(document.render(&[]));
    }
    let is_placed = on_the_line.purpose.is_some();
    info!(call.sid = call.call_sid, user.id = person.user_id, is_placed, "A call is answered");
    let (how, phrases) = manner(app, person);
    if person.voice_transport.unwrap_or(app.config.voice.transport) == Transport::Relay {
        // Where we called, the model has the first words.
        let greeting = if is_placed { "" } else { &phrases.greeting };
        let twiml = relay::hand_over(app, &on_the_line, called, greeting);
        return turns::keep(app, &on_the_line, &VoiceStep::greeting(&call.call_sid), twiml).await;
    }
    if is_placed {
        return turns::speak_first(app, on_the_line, event).await;
    }
    let action = link(app, "/twilio/voice/turns/1");
    let twiml = say_and_gather(&app.documents.incoming, how, &phrase(app, person, &phrases.greeting), &action);
    // What Twilio reads is the same each time; what it plays depends on the sound that is there.
    if app.synthesiser.is_none() {
        return Ok(twiml);
    }
    turns::keep(app, &on_the_line, &VoiceStep::greeting(&call.call_sid), twiml).await
}
