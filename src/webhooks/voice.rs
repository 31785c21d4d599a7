//! A call over plain webhooks: greeting, turn after turn, goodbye. Every webhook is answered in time with something to hear,
//! whatever the model or the database does.

use super::origin::CalledUrl;
use super::requests::{CallRequest, DialEnd, Recorded, SpeechTurn};
use super::voicing::phrase;
use super::{Signed, Twiml, link, relay, transfer, turns};
use crate::app::App;
use crate::config::Transport;
use crate::conversation::call::OnCall;
use crate::conversation::party::{Party, Person};
use crate::conversation::phrases::Phrases;
use crate::db::DbError;
use crate::db::voice_answers::VoiceStep;
use crate::twilio::address::Address;
use crate::twilio::twiml::{Speaking, say_and_gather, say_and_go};
use crate::twilio::voices::{self, Language, Voice};
use poem::error::NotFoundError;
use poem::web::{Data, Path};
use poem::{Result, handler};
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info};

/// Twilio gives up after 15 seconds; whatever takes longer than this is an apology.
const DEADLINE: Duration = Duration::from_secs(11);

/// `POST /twilio/voice`: a call comes in.
#[handler]
pub async fn incoming(Signed(call): Signed<CallRequest>, called: CalledUrl, app: Data<&Arc<App>>) -> Twiml {
    match in_time(&app, || greet(&app, &call, &called)).await {
        Ok(twiml) => Twiml(twiml),
        Err(cause) => {
            error!(call.sid = call.call_sid, error = %cause, "A call could not be taken");
            let (how, phrases) = default_manner(&app);
            Twiml(say_and_go(&app.documents.goodbye, how, std::slice::from_ref(&phrases.unavailable), ""))
        }
    }
}

/// `POST /twilio/voice/turns/{n}`: what the Gather of turn n - 1 heard.
#[handler]
pub async fn turn(Signed(said): Signed<SpeechTurn>, Path(n): Path<u32>, app: Data<&Arc<App>>) -> Result<Twiml> {
    let step = step(&said.call, n, 0)?;
    let answered = in_time(&app, || turns::take_turn(&app, &said, &step)).await;
    Ok(answered.map_or_else(|cause| apologise(&app, &step, &cause), Twiml))
}

/// `POST /twilio/voice/turns/{n}/parts/{k}`: the rest of an answer that was not there in time.
#[handler]
pub async fn part(
    Signed(call): Signed<CallRequest>,
    Path((n, k)): Path<(u32, u32)>,
    app: Data<&Arc<App>>,
) -> Result<Twiml> {
    let step = step(&call, n, k)?;
    let answered = in_time(&app, || turns::take_part(&app, &call, &step)).await;
    Ok(answered.map_or_else(|cause| apologise(&app, &step, &cause), Twiml))
}

/// `POST /twilio/voice/turns/{n}/transferred`: the call to a person is over, or nobody took it.
#[handler]
pub async fn transferred(Signed(end): Signed<DialEnd>, Path(n): Path<u32>, app: Data<&Arc<App>>) -> Result<Twiml> {
    let step = step(&end.call, n, 0)?;
    let answered = in_time(&app, || transfer::transferred(&app, &end, &step)).await;
    Ok(answered.map_or_else(|cause| apologise(&app, &step, &cause), Twiml))
}

/// `POST /twilio/voice/turns/{n}/offer`: what a caller says to the offer to leave a message.
#[handler]
pub async fn offer(Signed(said): Signed<SpeechTurn>, Path(n): Path<u32>, app: Data<&Arc<App>>) -> Result<Twiml> {
    let step = step(&said.call, n, 0)?;
    let answered = in_time(&app, || transfer::offered(&app, &said, &step)).await;
    Ok(answered.map_or_else(|cause| apologise(&app, &step, &cause), Twiml))
}

/// `POST /twilio/voice/turns/{n}/recorded`: the caller has left a message, or none.
#[handler]
pub async fn recorded(Signed(left): Signed<Recorded>, Path(n): Path<u32>, app: Data<&Arc<App>>) -> Result<Twiml> {
    let step = step(&left.call, n, 0)?;
    let answered = in_time(&app, || transfer::recorded(&app, &left)).await;
    Ok(answered.map_or_else(|cause| apologise(&app, &step, &cause), Twiml))
}

/// Turns and parts of one call; nobody speaks that often.
const MOST_STEPS: u32 = 10_000;

/// The step that a URL of ours names; 404 when we never gave out such a URL.
fn step(call: &CallRequest, n: u32, k: u32) -> Result<VoiceStep> {
    if n == 0 || n > MOST_STEPS || k > MOST_STEPS {
        return Err(NotFoundError.into());
    }
    Ok(VoiceStep { call_sid: call.call_sid.clone(), turn: n.into(), part: k.into() })
}

/// Why a webhook has nothing better than an apology.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The answer took longer than Twilio waits.
    #[error("it took too long")]
    Late,
}

/// The answer, or within Twilio's time the trouble there is.
pub(super) async fn in_time<F>(app: &App, answer: impl Fn() -> F) -> Result<String, Trouble>
where
    F: Future<Output = Result<String, Trouble>>,
{
    let answered = async {
        match answer().await {
            // The user was deleted a moment ago: find out anew whose call it is.
            Err(Trouble::Db(DbError::NoParent)) => {
                app.directory.forget().await;
                answer().await
            }
            other => other,
        }
    };
    tokio::time::timeout(DEADLINE, answered).await.unwrap_or(Err(Trouble::Late))
}

/// An apology that needs neither database nor preferences; the next turn may work again.
fn apologise(app: &App, step: &VoiceStep, cause: &Trouble) -> Twiml {
    error!(call.sid = step.call_sid, turn = step.turn, error = %cause, "A turn could not be served");
    let (how, phrases) = default_manner(app);
    let action = next_turn(app, step);
    Twiml(say_and_gather(&app.documents.apology, how, std::slice::from_ref(&phrases.apology), &action))
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
    if on_the_line.purpose.is_some() {
        info!(call.sid = call.call_sid, user.id = person.user_id, "A call of ours was answered");
        return turns::speak_first(app, on_the_line, event).await;
    }
    info!(call.sid = call.call_sid, user.id = person.user_id, "Answered a call");
    let (how, phrases) = manner(app, person);
    if person.voice_transport.unwrap_or(app.config.voice.transport) == Transport::Relay {
        return Ok(relay::hand_over(app, &on_the_line, called, &phrases.greeting));
    }
    let action = link(app, "/twilio/voice/turns/1");
    Ok(say_and_gather(&app.documents.incoming, how, &phrase(app, person, &phrases.greeting), &action))
}

/// Who is on the telephone; `None` when it is nobody's call and strangers are refused.
pub(super) async fn on_call(app: &App, call: &CallRequest) -> Result<Option<OnCall>, DbError> {
    let (person, us) = call.person_and_us();
    let placed = if call.is_ours() { app.db.placed_call(&call.call_sid).await? } else { None };
    let (party, purpose) = match placed {
        // Whom we called is known; the number may be another user's, too.
        Some(placed) => {
            let person = app.directory.person(placed.user_id).await?;
            let party = person.map(|person| Party { person: Arc::new(person), peer: String::new() });
            (party, Some(placed.purpose))
        }
        None => (app.directory.party(&Address::parse(person), &Address::parse(us), &call.call_sid).await?, None),
    };
    Ok(party.map(|party| OnCall {
        call_sid: call.call_sid.clone(),
        transfer_to: transfer_number(app, &party, person, us),
        party,
        caller: person.to_owned(),
        ours: us.to_owned(),
        purpose,
    }))
}

/// Whom a caller may be connected to: the number of the preferences, else the operator's; never one of ours, configured or
/// only called, which would call ourselves, and never the caller's own.
fn transfer_number(app: &App, party: &Party, caller: &str, us: &str) -> Option<String> {
    let on_the_line = [caller, us].map(|address| Address::parse(address).number);
    let is_free = |number: &&String| !app.directory.is_own(number) && !on_the_line.contains(&Some(number.as_str()));
    let numbers = [&party.person.forward_number, &app.config.voice.transfer_number];
    numbers.into_iter().flatten().find(is_free).cloned()
}

/// What an unknown caller hears who is not taken.
pub(super) fn refusal(app: &App) -> String {
    let (how, phrases) = default_manner(app);
    say_and_go(&app.documents.goodbye, how, std::slice::from_ref(&phrases.refused), "")
}

/// Where the next turn is heard.
pub(super) fn next_turn(app: &App, step: &VoiceStep) -> String {
    link(app, &format!("/twilio/voice/turns/{}", step.turn + 1))
}

/// How a person is spoken to.
pub(super) fn manner<'a>(app: &'a App, person: &'a Person) -> (Speaking<'a>, &'a Phrases) {
    (speaking(app, person.voice, person.language), app.phrases.of(person.language))
}

/// How somebody is spoken to of whom nothing is known.
pub(super) fn default_manner(app: &App) -> (Speaking<'_>, &Phrases) {
    let language = &voices::languages()[0];
    let voice = voices::voice_for(voices::DEFAULT_VOICE, language);
    (speaking(app, voice, language), app.phrases.of(language))
}

fn speaking<'a>(app: &'a App, voice: Voice, language: &'static Language) -> Speaking<'a> {
    let settings = &app.config.voice;
    let speech_model = settings.speech_model.as_deref().unwrap_or_default();
    Speaking { voice, recognition: language.locale, speech_model, hints: &settings.speech_hints }
}
