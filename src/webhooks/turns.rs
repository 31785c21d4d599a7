//! One spoken turn: claimed once, answered by one model call in a task of its own, and heard by whichever webhooks wait
//! for it (`telling.rs`). What each webhook is answered is stored first, so that its redelivery hears the same.

use super::in_time::Trouble;
use super::manner::{manner, refusal};
use super::next_turn;
use super::on_call::on_call;
use super::requests::{CallerInput, SpeechTurn};
use super::telling::{Asked, tell};
use super::transfer;
use super::voicing::{self, phrase};
use crate::app::App;
use crate::clock::{Micros, micros};
use crate::conversation::call::OnCall;
use crate::conversation::wishes::{Wish, tell_of_wish, wish};
use crate::db::DbError;
use crate::db::calls::CallEvent;
use crate::db::turns::{NewTurn, TurnClaim, TurnEnd};
use crate::db::voice_answers::{Told, VoiceAnswer, VoiceStep};
use crate::twilio::twiml::{say_and_gather, say_and_go};
use std::sync::Arc;
use tracing::{Instrument, info, warn};

/// What the person on the telephone has said.
struct Said {
    /// The words; none when it is for the assistant to speak first.
    words: String,
    /// Whether the key for a person was pressed.
    wants_human: bool,
    /// What the webhook says of the call.
    event: CallEvent,
}

/// `POST /twilio/voice/turns/{n}`: claims the turn, has it answered, and tells what the caller hears first.
pub(super) async fn take_turn(app: &Arc<App>, said: &SpeechTurn, step: &VoiceStep) -> Result<String, Trouble> {
    let asked = Asked::now(step);
    let Some(call) = on_call(app, &said.call).await? else { return Ok(refusal(app)) };
    let event = said.call.event(app.clock.now());
    let user_id = call.person().user_id;
    if !call.person().is_active {
        app.db.record_call(Some(user_id), event).await?;
        let (how, phrases) = manner(app, call.person());
        let twiml = say_and_go(&app.documents.goodbye, how, &phrase(app, call.person(), &phrases.unavailable), "");
        return keep(app, &call, step, twiml).await;
    }
    let words = match said.input() {
        CallerInput::Words(words) => words,
        other => {
            let now = event.at;
            app.db.record_call(Some(user_id), event).await?;
            let state = app.db.call_state(&step.call_sid).await?;
            let (language, started_at) = state.map_or((None, None), |state| (state.language, state.started_at));
            let call = call.in_language(language.as_deref());
            return match other {
                _ if is_over(app, started_at, now) => time_over(app, &call, step).await,
                CallerInput::Again => again(app, &call, &asked).await,
                _ => silence(app, &call, step).await,
            };
        }
    };
    answer(app, call, &asked, Said { words, wants_human: said.pressed("0"), event }).await
}

/// The first words of a call that we placed: the assistant speaks, and the person's first words are turn 2.
pub(super) async fn speak_first(app: &Arc<App>, call: OnCall, event: CallEvent) -> Result<String, Trouble> {
    let step = VoiceStep { call_sid: call.call_sid.clone(), turn: 1, part: 0 };
    answer(app, call, &Asked::now(&step), Said { words: String::new(), wants_human: false, event }).await
}

/// Claims the turn, has it answered, and tells what there is to hear in time.
async fn answer(app: &Arc<App>, call: OnCall, asked: &Asked<'_>, said: Said) -> Result<String, Trouble> {
    // In a task of its own: a claim whose webhook is dropped would leave a turn that nobody answers.
    let claim = claim_and_start(app.clone(), call.clone(), asked.step.clone(), said).in_current_span();
    match tokio::spawn(claim).await.unwrap_or_else(|_| Err(DbError::stopped().into()))? {
        Some(twiml) => Ok(twiml),
        None => tell(app, &call, asked, None).await,
    }
}

/// The answer that is there already, or that needs no model; else `None`, and the model is being asked.
async fn claim_and_start(app: Arc<App>, call: OnCall, step: VoiceStep, said: Said) -> Result<Option<String>, Trouble> {
    let Said { words, wants_human, event } = said;
    let new = NewTurn {
        call_sid: step.call_sid.clone(),
        turn: step.turn,
        user_id: call.person().user_id,
        peer: call.party.peer.clone(),
        input_text: words,
        at: event.at,
    };
    // The call's row and the turn's are written in one go; only a claim that is new may ask the model.
    let (recorded, claimed) =
        tokio::join!(app.db.record_call(Some(call.person().user_id), event), app.turns.claim(new.clone()));
    let claimed = claimed?;
    if let Err(cause) = recorded {
        warn!(call.sid = step.call_sid, error = %cause, "The log of a call could not be brought up to date");
    }
    let Some(claimed) = claimed else { return Ok(app.db.voice_answer(&step).await?.map(|stored| stored.twiml)) };
    let call = OnCall { purpose: claimed.purpose, ..call.in_language(claimed.language.as_deref()) };
    if claimed.call_is_over {
        // Words that come after the end of the call: kept, and answered to nobody.
        app.db.end_turn(app.clock.now(), claimed.claim, TurnEnd::unanswered()).await?;
        info!(call.sid = step.call_sid, turn = step.turn, turn_ms = 0, "Words came after the end of the call");
        return keep(&app, &call, &step, app.documents.goodbye.render(&[])).await.map(Some);
    }
    let wish = if is_over(&app, claimed.call_started_at, new.at) {
        Some(Wish::TimeOver)
    } else {
        wish(&call, app.phrases.of(call.person().language), &new.input_text, wants_human)
    };
    if let Some(wish) = wish {
        return grant(&app, &call, &step, wish, claimed.claim).await.map(Some);
    }
    app.turns.start(claimed.claim, call.clone(), new);
    voicing::prepare(&app, &call, step.turn);
    Ok(None)
}

/// Does what the caller wishes, for which the model is not asked.
async fn grant(
    app: &App,
    call: &OnCall,
    step: &VoiceStep,
    wish: Wish<'_>,
    claim: TurnClaim,
) -> Result<String, Trouble> {
    let (how, phrases) = manner(app, call.person());
    let says = phrase(app, call.person(), wish.words(phrases));
    let twiml = match wish {
        Wish::Goodbye | Wish::TimeOver => say_and_go(&app.documents.goodbye, how, &says, ""),
        Wish::Person(number) => transfer::connect(app, call, number, step.turn, &says),
        Wish::Nobody => say_and_gather(&app.documents.answer, how, &says, &next_turn(app, step)),
        Wish::Voicemail => transfer::voicemail(app, call, step.turn),
    };
    // Kept first: whoever waits for this turn must not take the words for an answer of the model's.
    let kept = keep(app, call, step, twiml).await?;
    app.db.end_turn(app.clock.now(), claim, wish.end(phrases)).await?;
    tell_of_wish(&step.call_sid, step.turn);
    Ok(kept)
}

/// The caller wants to hear the last answer again.
async fn again(app: &App, call: &OnCall, asked: &Asked<'_>) -> Result<String, Trouble> {
    let step = asked.step;
    let (how, phrases) = manner(app, call.person());
    let words = match app.db.last_answer(&step.call_sid, step.turn).await? {
        Some(answer) => voicing::again(app, call, step, &answer, asked.deadline(app)).await,
        None => phrase(app, call.person(), &phrases.nothing_to_repeat),
    };
    let twiml = say_and_gather(&app.documents.answer, how, &words, &next_turn(app, step));
    keep(app, call, step, twiml).await
}

/// The caller said nothing: asked once more, and after a second silence in a row bid goodbye.
async fn silence(app: &App, call: &OnCall, step: &VoiceStep) -> Result<String, Trouble> {
    let before = VoiceStep { turn: step.turn - 1, ..step.clone() };
    let again = app.db.voice_answer(&before).await?.is_some_and(|answer| answer.silent);
    let (how, phrases) = manner(app, call.person());
    let twiml = if again {
        say_and_go(&app.documents.goodbye, how, &phrase(app, call.person(), &phrases.goodbye), "")
    } else {
        let question = phrase(app, call.person(), &phrases.did_not_hear);
        say_and_gather(&app.documents.answer, how, &question, &next_turn(app, step))
    };
    info!(call.sid = step.call_sid, turn = step.turn, turn_ms = 0, again, "The caller said nothing");
    let answer = VoiceAnswer { part: step.part, silent: true, twiml, ..VoiceAnswer::default() };
    store(app, call, step, answer).await
}

/// Whether a call has lasted as long as it may.
fn is_over(app: &App, started_at: Option<Micros>, now: Micros) -> bool {
    started_at.is_some_and(|started_at| now.saturating_sub(started_at) > micros(app.config.voice.longest_call))
}

/// The end of a call that has lasted as long as it may, whose caller said no words.
async fn time_over(app: &App, call: &OnCall, step: &VoiceStep) -> Result<String, Trouble> {
    let (how, phrases) = manner(app, call.person());
    let twiml = say_and_go(&app.documents.goodbye, how, &phrase(app, call.person(), &phrases.time_over), "");
    keep(app, call, step, twiml).await
}

/// Stores a document of fixed words before it is sent; if the step was answered before, that document is the one.
pub(super) async fn keep(app: &App, call: &OnCall, step: &VoiceStep, twiml: String) -> Result<String, Trouble> {
    store(app, call, step, VoiceAnswer { part: step.part, twiml, ..VoiceAnswer::default() }).await
}

async fn store(app: &App, call: &OnCall, step: &VoiceStep, answer: VoiceAnswer) -> Result<String, Trouble> {
    let user_id = call.person().user_id;
    Ok(app.db.keep_voice_answer(app.clock.now(), step, user_id, answer, Told::Nothing).await?)
}
