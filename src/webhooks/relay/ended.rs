//! A session is over: what was handed over follows, or, when it was lost, the call is put back on its feet.

use super::asking;
use super::hand_over;
use crate::app::App;
use crate::conversation::call::OnCall;
use crate::conversation::reply::After;
use crate::conversation::speech::joined;
use crate::conversation::talk::{Talk, heard_sentences};
use crate::db::DbError;
use crate::db::relay::{LeftOver, LeftTurn};
use crate::db::turns::Turn;
use crate::db::voice_answers::VoiceStep;
use crate::twilio::twiml::{Words, say_and_gather, say_and_go};
use crate::webhooks::in_time::{Trouble, in_time};
use crate::webhooks::manner::{default_manner, manner, refusal};
use crate::webhooks::on_call::in_its_language;
use crate::webhooks::origin::CalledUrl;
use crate::webhooks::requests::{Handoff, RelayEnd};
use crate::webhooks::speech::sentences_of;
use crate::webhooks::telling::next_part_of;
use crate::webhooks::transfer;
use crate::webhooks::turns::keep;
use crate::webhooks::voicing::Voiced;
use crate::webhooks::{Signed, Twiml, link, next_turn};
use poem::handler;
use poem::web::{Data, Query};
use serde::Deserialize;
use std::slice::from_ref;
use std::sync::Arc;
use tracing::{error, info, warn};

/// Lost sessions in a row after which a call goes on over webhooks.
const FAILURES: i64 = 2;
/// How often it is asked again what follows a session, while the database is out of reach.
const ASKED_AGAIN: u8 = 5;

/// What the URL says where we have Twilio ask once more: the request that follows a `<Redirect>` carries neither
/// `SessionId` nor `HandoffData`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AskedBefore {
    /// How often it was asked in vain; never more than [`ASKED_AGAIN`] in our own URLs.
    tried: u8,
    /// The session.
    session: String,
    /// What was handed over with its end; see [`Handoff::name`].
    reason: String,
}

/// `POST /twilio/relay/ended`: a session is over, and Twilio asks what comes next.
#[handler]
pub async fn session_ended(
    Signed(mut end): Signed<RelayEnd>,
    Query(before): Query<AskedBefore>,
    called: CalledUrl,
    app: Data<&Arc<App>>,
) -> Twiml {
    if end.session_id.is_empty() {
        end.session_id.clone_from(&before.session);
    }
    end.handoff = end.handoff.or_else(|| Handoff::of(&before.reason));
    let answered = in_time(&app, || go_on(&app, &end, &called)).await;
    Twiml(answered.unwrap_or_else(|cause| ask_again(&app, &end, &before, &cause)))
}

/// Has Twilio ask again in a moment, for without the database nobody knows where the call was. In the end it is given
/// up.
fn ask_again(app: &App, end: &RelayEnd, before: &AskedBefore, cause: &Trouble) -> String {
    let (call_sid, tried) = (&end.call.call_sid, before.tried);
    let (how, phrases) = default_manner(app);
    let is_over = end.handoff.is_some_and(Handoff::ends_call);
    if is_over || tried >= ASKED_AGAIN {
        error!(call.sid = call_sid, tried, error = %cause, "A call could not go on after its session, and ends");
        let words = if is_over { &[][..] } else { from_ref(&phrases.unavailable) };
        return say_and_go(&app.documents.goodbye, how, words, "");
    }
    warn!(call.sid = call_sid, tried, error = %cause, "It is not known what follows a session: asked again in a moment");
    let words = &phrases.one_moment[usize::from(tried) % phrases.one_moment.len()];
    let reason = end.handoff.map(|handoff| format!("reason={}&", handoff.name())).unwrap_or_default();
    // In the order of the names: Twilio may put a query so on the wire, and signs it as it was given.
    let again = format!("/twilio/relay/ended?{reason}session={}&tried={}", end.session_id, tried + 1);
    say_and_go(&app.documents.hold, how, from_ref(words), &link(app, &again))
}

/// What Twilio is answered after a session. It is stored before it is sent, so that a redelivery hears the same and
/// changes nothing; a session that is not named has nothing that it could be stored under.
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

/// What comes after a session: what was handed over, or, when it was lost, another one. A call that loses two in a row
/// goes on over webhooks.
async fn what_follows(app: &App, call: &OnCall, end: &RelayEnd, called: &CalledUrl) -> Result<String, Trouble> {
    let call_sid = &call.call_sid;
    let (how, phrases) = manner(app, call.person());
    // Who has heard a farewell hears no other.
    let is_over = end.handoff.is_some_and(Handoff::ends_call);
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

/// Where the answer to a call's last turn goes on, if the end of it was not heard: in the part after what counts as
/// told.
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
    let last = settle_lost_turn(app, call_sid, turn).await?;
    Ok(Handoff::after(After::of(last.and_then(|last| last.action).as_deref())))
}

/// The last turn of a session that was lost. The session may not have noticed it yet, or was killed: an answer that it
/// had not spoken to its end is left to the next one, as the session itself leaves it.
pub(super) async fn settle_lost_turn(app: &App, call_sid: &str, turn: i64) -> Result<Option<Turn>, DbError> {
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
