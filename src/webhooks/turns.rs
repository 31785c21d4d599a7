//! One spoken turn: claimed once, answered by one model call in a task of its own, and heard by whichever webhooks wait for
//! it. What each webhook is answered is stored first, so that its redelivery hears the same.

use super::in_time::Trouble;
use super::manner::{manner, refusal};
use super::on_call::on_call;
use super::requests::{CallRequest, Heard, SpeechTurn};
use super::transfer;
use super::voicing::{self, Part, phrase};
use super::{link, next_turn};
use crate::app::App;
use crate::clock::{Micros, micros};
use crate::conversation::call::OnCall;
use crate::conversation::reply::After;
use crate::conversation::speech::joined;
use crate::conversation::turns::{Ending, Progress};
use crate::conversation::wishes::{Wish, wish};
use crate::db::DbError;
use crate::db::calls::CallEvent;
use crate::db::turns::{Heard as Reached, NewTurn, TurnEnd};
use crate::db::voice_answers::{Told, VoiceAnswer, VoiceStep};
use crate::twilio::twiml::{Words, say_and_gather, say_and_go};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

/// What stands for the person's words in the first turn of a call that we placed.
pub(super) const ANSWERED: &str = "(the call is answered)";

/// `POST /twilio/voice/turns/{n}`: claims the turn, has it answered, and tells what the caller hears first.
pub(super) async fn take_turn(app: &Arc<App>, said: &SpeechTurn, step: &VoiceStep) -> Result<String, Trouble> {
    let deadline = Instant::now() + app.config.voice.reply_budget;
    let Some(call) = on_call(app, &said.call).await? else { return Ok(refusal(app)) };
    let event = said.call.event(app.clock.now());
    let user_id = call.person().user_id;
    if !call.person().is_active {
        app.db.record_call(Some(user_id), event).await?;
        let (how, phrases) = manner(app, call.person());
        return Ok(say_and_go(&app.documents.goodbye, how, &phrase(app, call.person(), &phrases.unavailable), ""));
    }
    let words = match said.heard() {
        Heard::Words(words) => words,
        other => {
            let now = event.at;
            app.db.record_call(Some(user_id), event).await?;
            let state = app.db.call_state(&step.call_sid).await?;
            let (language, started_at) = state.map_or((None, None), |state| (state.language, state.started_at));
            let call = call.in_language(language.as_deref());
            return match other {
                _ if is_over(app, started_at, now) => time_over(app, &call, step).await,
                Heard::Again => again(app, &call, step, deadline).await,
                _ => silence(app, &call, step).await,
            };
        }
    };
    answer(app, call, step, event, words, said.pressed("0"), deadline).await
}

/// The first words of a call that we placed: the assistant speaks, and the person's first words are turn 2.
pub(super) async fn speak_first(app: &Arc<App>, call: OnCall, event: CallEvent) -> Result<String, Trouble> {
    let deadline = Instant::now() + app.config.voice.reply_budget;
    let step = VoiceStep { call_sid: call.call_sid.clone(), turn: 1, part: 0 };
    answer(app, call, &step, event, ANSWERED.to_owned(), false, deadline).await
}

/// Claims the turn, has it answered, and tells what there is to hear by `deadline`.
async fn answer(
    app: &Arc<App>,
    call: OnCall,
    step: &VoiceStep,
    event: CallEvent,
    words: String,
    wants_human: bool,
    deadline: Instant,
) -> Result<String, Trouble> {
    let new = NewTurn {
        call_sid: step.call_sid.clone(),
        turn: step.turn,
        user_id: call.person().user_id,
        peer: call.party.peer.clone(),
        input_text: words,
        at: event.at,
    };
    // In a task of its own: a claim whose webhook is dropped would leave a turn that nobody answers.
    let claim = claim_and_start(app.clone(), call.clone(), step.clone(), event, new, wants_human).in_current_span();
    match tokio::spawn(claim).await.unwrap_or_else(|_| Err(DbError::stopped().into()))? {
        Some(twiml) => Ok(twiml),
        None => tell(app, &call, step, None, deadline).await,
    }
}

/// The answer that is there already, or that needs no model; else `None`, and the model is being asked.
async fn claim_and_start(
    app: Arc<App>,
    call: OnCall,
    step: VoiceStep,
    event: CallEvent,
    new: NewTurn,
    wants_human: bool,
) -> Result<Option<String>, Trouble> {
    // The call's row and the turn's are written in one go; only a claim that is new may ask the model.
    let (recorded, claimed) =
        tokio::join!(app.db.record_call(Some(call.person().user_id), event), app.turns.claim(new.clone()));
    let claimed = claimed?;
    if let Err(cause) = recorded {
        warn!(call.sid = step.call_sid, error = %cause, "The log of a call could not be brought up to date");
    }
    let Some(claimed) = claimed else { return Ok(app.db.voice_answer(&step).await?.map(|stored| stored.twiml)) };
    let call = OnCall { purpose: claimed.purpose, ..call.in_language(claimed.language.as_deref()) };
    let (how, phrases) = manner(&app, call.person());
    let words = &new.input_text;
    let is_over = is_over(&app, claimed.call_started_at, new.at);
    if claimed.call_is_over {
        // Words that come after the end of the call: kept, and answered to nobody.
        let end = TurnEnd { answer: None, failed: true, action: None, heard: Reached::AsTold, elapsed_ms: 0.0 };
        app.db.end_turn(app.clock.now(), claimed.claim, end).await?;
        info!(call.sid = step.call_sid, turn = step.turn, turn_ms = 0, "Words came after the end of the call");
        return keep(&app, &call, &step, app.documents.goodbye.render(&[]), false).await.map(Some);
    }
    let wish = if is_over { Some(Wish::TimeOver) } else { wish(&call, phrases, words, wants_human) };
    let Some(wish) = wish else {
        app.turns.start(claimed.claim, call.clone(), new);
        voicing::prepare(&app, &call, step.turn);
        return Ok(None);
    };
    let says = phrase(&app, call.person(), wish.words(phrases));
    let twiml = match wish {
        Wish::Goodbye | Wish::TimeOver => say_and_go(&app.documents.goodbye, how, &says, ""),
        Wish::Person(number) => transfer::connect(&app, &call, number, step.turn, &says),
        Wish::Nobody => say_and_gather(&app.documents.answer, how, &says, &next_turn(&app, &step)),
        Wish::Voicemail => transfer::voicemail(&app, &call, step.turn),
    };
    // Kept first: whoever waits for this turn must not take the words for an answer of the model's.
    let kept = keep(&app, &call, &step, twiml, false).await?;
    app.db.end_turn(app.clock.now(), claimed.claim, wish.end(phrases)).await?;
    let (turn_ms, tokens_in, tokens_out) = (0, 0, 0);
    info!(
        call.sid = step.call_sid,
        turn = step.turn,
        turn_ms,
        tokens_in,
        tokens_out,
        "Answered a turn without the model"
    );
    Ok(Some(kept))
}

/// `POST /twilio/voice/turns/{n}/parts/{k}`: goes on with the answer.
pub(super) async fn take_part(app: &App, call: &CallRequest, step: &VoiceStep) -> Result<String, Trouble> {
    let deadline = Instant::now() + app.config.voice.reply_budget;
    let before = app.db.voice_answer_up_to(step).await?;
    if let Some(stored) = before.as_ref().filter(|stored| stored.part == step.part) {
        return Ok(stored.twiml.clone());
    }
    let Some(call) = on_call(app, call).await? else { return Ok(refusal(app)) };
    tell(app, &call, step, before.as_ref(), deadline).await
}

/// What a webhook is answered, and what that means for the turn.
struct Telling {
    twiml: String,
    told: Told,
    filler: Option<i64>,
}

/// What the caller hears at this step, after what was told `before`: the next words of the answer if there are any by
/// `deadline`, else a short wait, and an apology once there were none for too long. It is stored before it is sent.
async fn tell(
    app: &App,
    call: &OnCall,
    step: &VoiceStep,
    before: Option<&VoiceAnswer>,
    deadline: Instant,
) -> Result<String, Trouble> {
    let told = before.map_or(0, |before| usize::try_from(before.told).unwrap_or(0));
    let Some(progress) = app.turns.wait(call, step.turn, told, deadline).await? else {
        // Never taken, so nothing may be stored for it.
        let (how, phrases) = manner(app, call.person());
        let sorry = phrase(app, call.person(), &phrases.apology);
        return Ok(say_and_gather(&app.documents.apology, how, &sorry, &next_turn(app, step)));
    };
    let call = &call.clone().speaking(progress.language);
    let part = voicing::part(app, call, step, &progress, told, deadline).await;
    let now_told = told + part.sentences;
    let telling = match progress.ending {
        Some(ending) if now_told >= progress.sentences.len() => last_part(app, call, step, part, ending, now_told),
        _ if part.sentences > 0 => {
            let (how, _) = manner(app, call.person());
            let twiml = say_and_go(&app.documents.part, how, &part.words, &next_part_of(app, step));
            Telling { twiml, told: Told::UpTo(joined(&progress.sentences[..now_told])), filler: None }
        }
        _ => hold(app, call, step, before, &progress).await?,
    };
    let Telling { twiml, told: means, filler } = telling;
    let told = i64::try_from(now_told).unwrap_or(i64::MAX);
    let answer = VoiceAnswer { part: step.part, silent: false, told, filler, twiml };
    Ok(app.db.keep_voice_answer(app.clock.now(), step, call.person().user_id, answer, means).await?)
}

/// The end of an answer, and what follows it.
fn last_part(app: &App, call: &OnCall, step: &VoiceStep, part: Part, ending: Ending, told: usize) -> Telling {
    let (how, phrases) = manner(app, call.person());
    let action = next_turn(app, step);
    let mut means = Told::All;
    let has_words = part.sentences > 0;
    let twiml = match (ending, &call.transfer_to) {
        (Ending::Whole(After::EndCall), _) => {
            let words = if has_words { part.words } else { phrase(app, call.person(), &phrases.goodbye) };
            say_and_go(&app.documents.goodbye, how, &words, "")
        }
        (Ending::Whole(After::Transfer), Some(number)) => {
            let words = if has_words { part.words } else { phrase(app, call.person(), &phrases.transferring) };
            transfer::connect(app, call, number, step.turn, &words)
        }
        (Ending::Whole(_), _) => say_and_gather(&app.documents.answer, how, &part.words, &action),
        (Ending::Failed, _) => {
            let words = part.words.and(phrase(app, call.person(), &phrases.apology));
            if told == 0 {
                means = Told::Nothing;
            }
            say_and_gather(&app.documents.apology, how, &words, &action)
        }
    };
    Telling { twiml, told: means, filler: None }
}

/// There is nothing to tell yet: a filler, silence after one, or an apology after too much of both.
async fn hold(
    app: &App,
    call: &OnCall,
    step: &VoiceStep,
    before: Option<&VoiceAnswer>,
    progress: &Progress,
) -> Result<Telling, Trouble> {
    let (how, phrases) = manner(app, call.person());
    let words_since = match before.map(|before| before.told).filter(|told| *told > 0) {
        Some(told) => app.db.told_since(step, told).await?,
        None => None,
    };
    let waited = app.clock.now().saturating_sub(words_since.unwrap_or(progress.asked_at));
    if waited >= micros(app.config.voice.patience) {
        let sorry = phrase(app, call.person(), &phrases.apology);
        let twiml = say_and_gather(&app.documents.apology, how, &sorry, &next_turn(app, step));
        return Ok(Telling { twiml, told: Told::TooLate, filler: None });
    }
    let next = next_part_of(app, step);
    if before.is_some_and(|before| before.filler.is_some()) {
        // Two fillers without a pause between them would be chatter; the next webhook waits in silence.
        let twiml = say_and_go(&app.documents.hold, how, Words::Say(&[]), &next);
        return Ok(Telling { twiml, told: Told::Nothing, filler: None });
    }
    let last = app.db.last_filler(&step.call_sid).await?;
    let fillers = &phrases.one_moment;
    let filler = usize::try_from(last.map_or(step.turn, |last| last + 1)).unwrap_or(0) % fillers.len();
    let twiml = say_and_go(&app.documents.hold, how, &phrase(app, call.person(), &fillers[filler]), &next);
    Ok(Telling { twiml, told: Told::Nothing, filler: i64::try_from(filler).ok() })
}

/// Where the next part of the answer is asked for.
fn next_part_of(app: &App, step: &VoiceStep) -> String {
    link(app, &format!("/twilio/voice/turns/{}/parts/{}", step.turn, step.part + 1))
}

/// The caller wants to hear the last answer again.
async fn again(app: &App, call: &OnCall, step: &VoiceStep, deadline: Instant) -> Result<String, Trouble> {
    let (how, phrases) = manner(app, call.person());
    let words = match app.db.last_answer(&step.call_sid, step.turn).await? {
        Some(answer) => voicing::again(app, call, step, &answer, deadline).await,
        None => phrase(app, call.person(), &phrases.nothing_to_repeat),
    };
    let twiml = say_and_gather(&app.documents.answer, how, &words, &next_turn(app, step));
    keep(app, call, step, twiml, false).await
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
    keep(app, call, step, twiml, true).await
}

/// Whether a call has lasted as long as it may.
fn is_over(app: &App, started_at: Option<Micros>, now: Micros) -> bool {
    started_at.is_some_and(|started_at| now.saturating_sub(started_at) > micros(app.config.voice.longest_call))
}

/// The end of a call that has lasted as long as it may, whose caller said no words.
async fn time_over(app: &App, call: &OnCall, step: &VoiceStep) -> Result<String, Trouble> {
    let (how, phrases) = manner(app, call.person());
    let twiml = say_and_go(&app.documents.goodbye, how, &phrase(app, call.person(), &phrases.time_over), "");
    keep(app, call, step, twiml, false).await
}

/// Stores an answer of fixed words before it is sent; if the step was answered meanwhile, that answer is the one.
async fn keep(app: &App, call: &OnCall, step: &VoiceStep, twiml: String, silent: bool) -> Result<String, Trouble> {
    let answer = VoiceAnswer { part: step.part, silent, told: 0, filler: None, twiml };
    Ok(app.db.keep_voice_answer(app.clock.now(), step, call.person().user_id, answer, Told::Nothing).await?)
}
