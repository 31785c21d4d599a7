//! One spoken turn: claimed once, answered by one model call in a task of its own, and heard by whichever webhooks wait for
//! it. What each webhook is answered is stored first, so that its redelivery hears the same.

use super::link;
use super::requests::{CallRequest, SpeechTurn};
use super::voice::{Trouble, manner, next_turn, party, refusal};
use crate::app::App;
use crate::clock::{Micros, micros};
use crate::conversation::Asked;
use crate::conversation::party::{Party, Person};
use crate::conversation::phrases::Phrases;
use crate::conversation::service::AnswerError;
use crate::conversation::speech::spoken;
use crate::conversation::turns::{Outcome, Waited};
use crate::db::DbError;
use crate::db::calls::CallEvent;
use crate::db::conversations::{Answer, Except, NewTurn};
use crate::db::voice_answers::{VoiceAnswer, VoiceStep};
use crate::llm::LlmError;
use crate::telemetry::SLOW_MS;
use crate::twilio::twiml::{say_and_gather, say_and_go};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument, error, info, warn};

/// How often a turn that another process answers is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// However slowly a model speaks, nobody waits for it any more after this time.
const LONGEST_ANSWER: Duration = Duration::from_secs(180);
/// What `model_used` says of fixed sentences.
const NO_MODEL: &str = "none";

/// `POST /twilio/voice/turns/{n}`: claims the turn, has it answered, and tells what the caller hears first.
pub(super) async fn take_turn(app: &Arc<App>, said: &SpeechTurn, step: &VoiceStep) -> Result<String, Trouble> {
    let deadline = Instant::now() + app.config.voice.reply_budget;
    let Some(party) = party(app, &said.call).await? else { return Ok(refusal(app)) };
    let event = said.call.event(app.clock.now());
    if !party.person.is_active {
        app.db.record_call(Some(party.person.user_id), event).await?;
        let (how, phrases) = manner(app, &party.person);
        return Ok(say_and_go(&app.documents.goodbye, how, std::slice::from_ref(&phrases.unavailable), ""));
    }
    let words = said.words();
    if words.is_empty() {
        app.db.record_call(Some(party.person.user_id), event).await?;
        return silence(app, &party.person, step).await;
    }
    let new = NewTurn {
        call_sid: step.call_sid.clone(),
        turn: step.turn,
        user_id: party.person.user_id,
        peer: party.peer.clone(),
        input_text: words.clone(),
        at: event.at,
    };
    // In a task of its own: a claim whose webhook is dropped would leave a turn that nobody answers.
    let task = tokio::spawn(claim_and_start(app.clone(), party.clone(), step.clone(), event, new).in_current_span());
    let asked_at = app.clock.now();
    match task.await.unwrap_or_else(|_| Err(DbError::stopped().into()))? {
        Some(twiml) => Ok(twiml),
        None => answer_in_time(app, &party.person, step, asked_at, deadline).await,
    }
}

/// The answer that is there already, a goodbye's among them; else `None`, and the model is being asked.
async fn claim_and_start(
    app: Arc<App>,
    party: Party,
    step: VoiceStep,
    event: CallEvent,
    new: NewTurn,
) -> Result<Option<String>, Trouble> {
    let words = new.input_text.clone();
    // The call's row and the turn's are written in one go; only a claim that is new may ask the model.
    let (recorded, claimed) =
        tokio::join!(app.db.record_call(Some(party.person.user_id), event), app.db.claim_turn(new));
    let claimed = claimed?;
    if let Err(cause) = recorded {
        warn!(call.sid = step.call_sid, error = %cause, "The log of a call could not be brought up to date");
    }
    let Some(id) = claimed else { return Ok(app.db.voice_answer(&step).await?.map(|stored| stored.twiml)) };
    if app.phrases.of(party.person.language).is_goodbye(&words) {
        return goodbye(&app, &party.person, &step, id).await.map(Some);
    }
    app.turns.start(&step.call_sid, step.turn, write_answer(app.clone(), party, step.clone(), id, words));
    Ok(None)
}

/// `POST /twilio/voice/turns/{n}/parts/{k}`: goes on waiting for the answer.
pub(super) async fn take_part(app: &App, call: &CallRequest, step: &VoiceStep) -> Result<String, Trouble> {
    let deadline = Instant::now() + app.config.voice.reply_budget;
    if let Some(stored) = app.db.voice_answer(step).await? {
        return Ok(stored.twiml);
    }
    let Some(party) = party(app, call).await? else { return Ok(refusal(app)) };
    let Some(turn) = app.db.turn(&step.call_sid, step.turn).await? else {
        // Never taken, so nothing may be stored for it.
        let (how, phrases) = manner(app, &party.person);
        let action = next_turn(app, step);
        return Ok(say_and_gather(&app.documents.apology, how, std::slice::from_ref(&phrases.apology), &action));
    };
    answer_in_time(app, &party.person, step, turn.created_at, deadline).await
}

/// Asks the model and stores what it answers. Runs to its end whoever waits for it.
async fn write_answer(app: Arc<App>, party: Party, step: VoiceStep, id: i64, words: String) -> Outcome {
    let started = Instant::now();
    let asked =
        Asked { person: &party.person, peer: &party.peer, text: &words, except: Except::Turn(id), on_call: true };
    let answer = tokio::time::timeout(LONGEST_ANSWER, app.conversation.reply(asked)).await;
    let answer = answer.unwrap_or(Err(AnswerError::Llm(LlmError::Timeout)));
    let turn_ms = (started.elapsed().as_secs_f64() * 1000.0).round();
    let VoiceStep { call_sid, turn, .. } = &step;
    match &answer {
        Ok(answer) => {
            let (tokens_in, tokens_out) = (answer.input_tokens, answer.output_tokens);
            info!(call.sid = call_sid, turn, turn_ms, tokens_in, tokens_out, "Answered turn {turn} in {turn_ms} ms");
            if turn_ms > SLOW_MS {
                warn!(call.sid = call_sid, turn, turn_ms, "Answering a turn took longer than two seconds");
            }
        }
        Err(cause) => warn!(call.sid = call_sid, turn, turn_ms, error = %cause, "Turn {turn} has no answer"),
    }
    let answer = answer.ok();
    let outcome = answer.as_ref().map_or(Outcome::Failed, |answer| Outcome::Answered(answer.text.as_str().into()));
    if let Err(cause) = app.db.finish_turn(app.clock.now(), id, answer, turn_ms).await {
        error!(call.sid = call_sid, turn, error = %cause, "The answer of turn {turn} could not be stored");
    }
    outcome
}

/// What the caller hears at this step: the answer if it is there by `deadline`, else a short wait, and an apology once the
/// caller has waited since `asked_at` for too long. It is stored before it is sent.
async fn answer_in_time(
    app: &App,
    person: &Person,
    step: &VoiceStep,
    asked_at: Micros,
    deadline: Instant,
) -> Result<String, Trouble> {
    let (how, phrases) = manner(app, person);
    let action = next_turn(app, step);
    let twiml = match outcome(app, step, deadline).await? {
        Some(Outcome::Answered(text)) => say_and_gather(&app.documents.answer, how, &spoken(&text), &action),
        None if app.clock.now().saturating_sub(asked_at) < micros(app.config.voice.patience) => {
            let part = step.part + 1;
            let redirect = link(app, &format!("/twilio/voice/turns/{}/parts/{part}", step.turn));
            say_and_go(&app.documents.hold, how, filler(phrases, step), &redirect)
        }
        Some(Outcome::Failed) | None => {
            say_and_gather(&app.documents.apology, how, std::slice::from_ref(&phrases.apology), &action)
        }
    };
    keep(app, person, step, twiml, false).await
}

/// A few words while the caller waits, at every other step, another one each time.
fn filler<'p>(phrases: &'p Phrases, step: &VoiceStep) -> &'p [String] {
    if step.part % 2 == 1 {
        return &[];
    }
    let fillers = &phrases.one_moment;
    let nth = usize::try_from(step.turn + step.part / 2).unwrap_or(0) % fillers.len();
    &fillers[nth..=nth]
}

/// The outcome of a turn: `None` when it is still being written at `deadline`.
async fn outcome(app: &App, step: &VoiceStep, deadline: Instant) -> Result<Option<Outcome>, Trouble> {
    loop {
        match app.turns.wait(&step.call_sid, step.turn, deadline).await {
            Waited::Over(outcome) => return Ok(Some(outcome)),
            Waited::StillWriting => return Ok(None),
            Waited::NotHere => {}
        }
        // Another process answers it, or it is over: the database knows.
        match app.db.turn(&step.call_sid, step.turn).await? {
            None => return Ok(Some(Outcome::Failed)),
            Some(turn) if turn.failed => return Ok(Some(Outcome::Failed)),
            Some(turn) => {
                if let Some(text) = turn.gpt_response {
                    return Ok(Some(Outcome::Answered(text.into())));
                }
            }
        }
        if Instant::now() + LOOK_EVERY > deadline {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The caller said nothing: asked once more, and after a second silence in a row bid goodbye.
async fn silence(app: &App, person: &Person, step: &VoiceStep) -> Result<String, Trouble> {
    let before = VoiceStep { turn: step.turn - 1, ..step.clone() };
    let again = app.db.voice_answer(&before).await?.is_some_and(|answer| answer.silent);
    let (how, phrases) = manner(app, person);
    let twiml = if again {
        say_and_go(&app.documents.goodbye, how, std::slice::from_ref(&phrases.goodbye), "")
    } else {
        let action = next_turn(app, step);
        say_and_gather(&app.documents.answer, how, std::slice::from_ref(&phrases.did_not_hear), &action)
    };
    info!(call.sid = step.call_sid, turn = step.turn, turn_ms = 0, again, "The caller said nothing");
    keep(app, person, step, twiml, true).await
}

async fn goodbye(app: &App, person: &Person, step: &VoiceStep, id: i64) -> Result<String, Trouble> {
    let (how, phrases) = manner(app, person);
    let text = phrases.goodbye.clone();
    let twiml = say_and_go(&app.documents.goodbye, how, std::slice::from_ref(&text), "");
    let answer = Answer { text, input_tokens: 0, output_tokens: 0, model: NO_MODEL.to_owned(), elapsed_ms: 0.0 };
    // Kept first: whoever waits for this turn must not take the words for an answer after which the call goes on.
    let kept = keep(app, person, step, twiml, false).await?;
    app.db.finish_turn(app.clock.now(), id, Some(answer), 0.0).await?;
    let (turn_ms, tokens_in, tokens_out) = (0, 0, 0);
    info!(call.sid = step.call_sid, turn = step.turn, turn_ms, tokens_in, tokens_out, "The caller said goodbye");
    Ok(kept)
}

/// Stores an answer before it is sent; if the step was answered meanwhile, that answer is the one.
async fn keep(app: &App, person: &Person, step: &VoiceStep, twiml: String, silent: bool) -> Result<String, Trouble> {
    let answer = VoiceAnswer { silent, twiml };
    let kept = app.db.keep_voice_answer(app.clock.now(), step.clone(), Some(person.user_id), answer).await?;
    Ok(kept.twiml)
}
