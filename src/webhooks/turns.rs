//! One spoken turn: claimed once, answered by one model call in a task of its own, and heard by whichever webhooks wait for
//! it. What each webhook is answered is stored first, so that its redelivery hears the same.

use super::link;
use super::requests::{CallRequest, SpeechTurn};
use super::voice::{Trouble, manner, next_turn, party, refusal};
use crate::app::App;
use crate::clock::micros;
use crate::conversation::parts::next_part;
use crate::conversation::party::{Party, Person};
use crate::conversation::turns::{Ending, Progress};
use crate::db::DbError;
use crate::db::calls::CallEvent;
use crate::db::conversations::Answer;
use crate::db::turns::{Heard, NewTurn, TurnClaim, TurnEnd};
use crate::db::voice_answers::{Told, VoiceAnswer, VoiceStep};
use crate::twilio::twiml::{Words, say_and_gather, say_and_go};
use std::sync::Arc;
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

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
    match task.await.unwrap_or_else(|_| Err(DbError::stopped().into()))? {
        Some(twiml) => Ok(twiml),
        None => tell(app, &party, step, None, deadline).await,
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
    // The call's row and the turn's are written in one go; only a claim that is new may ask the model.
    let (recorded, claimed) =
        tokio::join!(app.db.record_call(Some(party.person.user_id), event), app.db.claim_turn(new.clone()));
    let claimed = claimed?;
    if let Err(cause) = recorded {
        warn!(call.sid = step.call_sid, error = %cause, "The log of a call could not be brought up to date");
    }
    let Some(claim) = claimed else { return Ok(app.db.voice_answer(&step).await?.map(|stored| stored.twiml)) };
    if app.phrases.of(party.person.language).is_goodbye(&new.input_text) {
        return goodbye(&app, &party.person, &step, claim).await.map(Some);
    }
    app.turns.start(claim, party, new);
    Ok(None)
}

/// `POST /twilio/voice/turns/{n}/parts/{k}`: goes on with the answer.
pub(super) async fn take_part(app: &App, call: &CallRequest, step: &VoiceStep) -> Result<String, Trouble> {
    let deadline = Instant::now() + app.config.voice.reply_budget;
    let before = app.db.voice_answer_up_to(step).await?;
    if let Some(stored) = before.as_ref().filter(|stored| stored.part == step.part) {
        return Ok(stored.twiml.clone());
    }
    let Some(party) = party(app, call).await? else { return Ok(refusal(app)) };
    tell(app, &party, step, before.as_ref(), deadline).await
}

/// What the caller hears at this step, after what was told `before`: the next words of the answer if there are any by
/// `deadline`, else a short wait, and an apology once there were none for too long. It is stored before it is sent.
async fn tell(
    app: &App,
    party: &Party,
    step: &VoiceStep,
    before: Option<&VoiceAnswer>,
    deadline: Instant,
) -> Result<String, Trouble> {
    let (how, phrases) = manner(app, &party.person);
    let action = next_turn(app, step);
    let told = before.map_or(0, |before| usize::try_from(before.told).unwrap_or(0));
    let turn = (step.call_sid.as_str(), step.turn);
    let Some(Progress { sentences, ending, asked_at }) = app.turns.wait(turn, party, told, deadline).await? else {
        // Never taken, so nothing may be stored for it.
        return Ok(say_and_gather(&app.documents.apology, how, std::slice::from_ref(&phrases.apology), &action));
    };
    let part = next_part(sentences.get(told..).unwrap_or_default(), ending.is_some());
    let now_told = told + part.sentences;
    let go_on = link(app, &format!("/twilio/voice/turns/{}/parts/{}", step.turn, step.part + 1));
    let (twiml, filler, means) = match ending {
        Some(ending) if now_told >= sentences.len() => {
            let (mut says, mut document) = (part.says, &app.documents.answer);
            let means = match ending {
                Ending::Whole => Told::All,
                Ending::Failed => {
                    says.push(phrases.apology.clone());
                    document = &app.documents.apology;
                    if sentences.is_empty() { Told::Nothing } else { Told::All }
                }
            };
            (say_and_gather(document, how, &says, &action), None, means)
        }
        _ if part.sentences > 0 => {
            let words = sentences[..now_told].join(" ");
            (say_and_go(&app.documents.part, how, &part.says, &go_on), None, Told::UpTo(words))
        }
        _ => {
            let since =
                if told == 0 { None } else { app.db.told_since(step, before.map_or(0, |before| before.told)).await? };
            let waited = app.clock.now().saturating_sub(since.unwrap_or(asked_at));
            if waited >= micros(app.config.voice.patience) {
                let apology = std::slice::from_ref(&phrases.apology);
                (say_and_gather(&app.documents.apology, how, apology, &action), None, Told::TooLate)
            } else if before.is_some_and(|before| before.filler.is_some()) {
                // Two fillers without a pause between them would be a chatter.
                (say_and_go(&app.documents.hold, how, Words::Say(&[]), &go_on), None, Told::Nothing)
            } else {
                let last = app.db.last_filler(&step.call_sid).await?;
                let fillers = &phrases.one_moment;
                let filler = usize::try_from(last.map_or(step.turn, |last| last + 1)).unwrap_or(0) % fillers.len();
                let twiml = say_and_go(&app.documents.hold, how, &fillers[filler..=filler], &go_on);
                (twiml, i64::try_from(filler).ok(), Told::Nothing)
            }
        }
    };
    let told = i64::try_from(now_told).unwrap_or(i64::MAX);
    let answer = VoiceAnswer { part: step.part, silent: false, told, filler, twiml };
    Ok(app.db.keep_voice_answer(app.clock.now(), step, party.person.user_id, answer, means).await?)
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

async fn goodbye(app: &App, person: &Person, step: &VoiceStep, claim: TurnClaim) -> Result<String, Trouble> {
    let (how, phrases) = manner(app, person);
    let text = phrases.goodbye.clone();
    let twiml = say_and_go(&app.documents.goodbye, how, std::slice::from_ref(&text), "");
    let answer = Answer { text, input_tokens: 0, output_tokens: 0, model: NO_MODEL.to_owned(), elapsed_ms: 0.0 };
    // Kept first: whoever waits for this turn must not take the words for an answer after which the call goes on.
    let kept = keep(app, person, step, twiml, false).await?;
    let end = TurnEnd { answer: Some(answer), failed: false, action: None, heard: Heard::All, elapsed_ms: 0.0 };
    app.db.end_turn(app.clock.now(), claim, end).await?;
    let (turn_ms, tokens_in, tokens_out) = (0, 0, 0);
    info!(call.sid = step.call_sid, turn = step.turn, turn_ms, tokens_in, tokens_out, "The caller said goodbye");
    Ok(kept)
}

/// Stores an answer of fixed words before it is sent; if the step was answered meanwhile, that answer is the one.
async fn keep(app: &App, person: &Person, step: &VoiceStep, twiml: String, silent: bool) -> Result<String, Trouble> {
    let answer = VoiceAnswer { part: step.part, silent, told: 0, filler: None, twiml };
    Ok(app.db.keep_voice_answer(app.clock.now(), step, person.user_id, answer, Told::Nothing).await?)
}
