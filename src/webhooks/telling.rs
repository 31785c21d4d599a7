//! What of a turn's answer a webhook tells: the next words in time, a filler, or an apology. The answer is written
//! meanwhile, by this process or by another one.

use super::in_time::Trouble;
use super::manner::{manner, refusal};
use super::on_call::on_call;
use super::requests::CallRequest;
use super::transfer;
use super::voicing::{self, VoicedPart, phrase};
use super::{link, next_turn};
use crate::app::App;
use crate::clock::micros;
use crate::conversation::call::OnCall;
use crate::conversation::reply::After;
use crate::conversation::speech::{joined, speaking_time};
use crate::conversation::turns::Ending;
use crate::db::voice_answers::{Told, VoiceAnswer, VoiceStep};
use crate::twilio::twiml::{Words, say_and_gather, say_and_go};
use std::time::Duration;
use tokio::time::Instant;

/// A webhook that waits for its document.
pub(super) struct Asked<'a> {
    /// What it asks for.
    pub(super) step: &'a VoiceStep,
    at: Instant,
}

impl<'a> Asked<'a> {
    /// A webhook that has just come in.
    pub(super) fn now(step: &'a VoiceStep) -> Self {
        Self { step, at: Instant::now() }
    }

    /// When the caller should hear something.
    pub(super) fn deadline(&self, app: &App) -> Instant {
        self.at + app.config.voice.reply_budget
    }

    /// How long the caller has heard no new words, when this came `before`: there by the database's clock, here by this
    /// process's, and never by two clocks at once.
    fn waited_since(&self, before: Option<&VoiceAnswer>) -> Duration {
        before.map_or(Duration::ZERO, VoiceAnswer::waited) + self.at.elapsed()
    }
}

/// `POST /twilio/voice/turns/{n}/parts/{k}`: goes on with the answer.
pub(super) async fn take_part(app: &App, call: &CallRequest, step: &VoiceStep) -> Result<String, Trouble> {
    let asked = Asked::now(step);
    let before = app.db.voice_answer_up_to(step).await?;
    if let Some(stored) = before.as_ref().filter(|stored| stored.part == step.part) {
        return Ok(stored.twiml.clone());
    }
    let Some(call) = on_call(app, call).await? else { return Ok(refusal(app)) };
    tell(app, &call, &asked, before.as_ref()).await
}

/// What a webhook is answered, and what that means for the turn.
struct Document {
    twiml: String,
    means: Told,
    filler: Option<i64>,
}

/// What the caller hears at this step, after what was told `before`: the next words of the answer if there are any in
/// time, else a short wait, and an apology once there were none for too long. It is stored before it is sent.
pub(super) async fn tell(
    app: &App,
    call: &OnCall,
    asked: &Asked<'_>,
    before: Option<&VoiceAnswer>,
) -> Result<String, Trouble> {
    let (step, deadline) = (asked.step, asked.deadline(app));
    let told = before.map_or(0, |before| usize::try_from(before.told).unwrap_or(0));
    let Some(progress) = app.turns.wait(call, step.turn, told, deadline).await? else {
        // Never taken, so nothing may be stored for it; read aloud, it is the same each time.
        let (how, phrases) = manner(app, call.person());
        let sorry = std::slice::from_ref(&phrases.apology);
        return Ok(say_and_gather(&app.documents.apology, how, sorry, &next_turn(app, step)));
    };
    let call = &call.clone().speaking(progress.language);
    let part = voicing::part(app, call, step, &progress, told, deadline).await;
    let part_sentences = part.sentences;
    let now_told = told + part_sentences;
    let document = match progress.ending {
        Some(ending) if now_told >= progress.sentences.len() => last_part(app, call, step, part, ending, now_told),
        _ if part.sentences > 0 => {
            let (how, _) = manner(app, call.person());
            let twiml = say_and_go(&app.documents.part, how, &part.words, &next_part_of(app, step));
            Document { twiml, means: Told::UpTo(joined(&progress.sentences[..now_told])), filler: None }
        }
        _ => hold(app, call, asked, before).await?,
    };
    let Document { twiml, means, filler } = document;
    let waited = match part_sentences {
        0 => micros(asked.waited_since(before)),
        // While words are spoken nobody waits: the wait begins when they are over.
        _ => -micros(progress.sentences[told..now_told].iter().map(|sentence| speaking_time(sentence)).sum()),
    };
    let told = i64::try_from(now_told).unwrap_or(i64::MAX);
    let answer = VoiceAnswer { part: step.part, silent: false, told, filler, waited, twiml };
    Ok(app.db.keep_voice_answer(app.clock.now(), step, call.person().user_id, answer, means).await?)
}

/// The end of an answer, and what follows it.
fn last_part(app: &App, call: &OnCall, step: &VoiceStep, part: VoicedPart, ending: Ending, told: usize) -> Document {
    let (how, phrases) = manner(app, call.person());
    let action = next_turn(app, step);
    let mut means = Told::All;
    // What the model said before is its farewell, also where an earlier part told it.
    let has_words = told > 0;
    let twiml = match (ending, &call.transfer_to) {
        (Ending::Whole(After::EndCall), _) => {
            let words = if has_words { part.words } else { phrase(app, call.person(), &phrases.goodbye) };
            say_and_go(&app.documents.goodbye, how, &words, "")
        }
        (Ending::Whole(After::Transfer), Some(number)) => {
            let words = if has_words { part.words } else { phrase(app, call.person(), &phrases.transferring) };
            transfer::connect(app, call, number, step.turn, &words)
        }
        // The document that takes the message asks for it.
        (Ending::Whole(After::Voicemail), _) => transfer::voicemail(app, call, step.turn),
        (Ending::Whole(After::Transfer | After::Listen), _) => {
            say_and_gather(&app.documents.answer, how, &part.words, &action)
        }
        (Ending::Failed, _) => {
            let words = part.words.and(phrase(app, call.person(), &phrases.apology));
            if told == 0 {
                means = Told::Nothing;
            }
            say_and_gather(&app.documents.apology, how, &words, &action)
        }
    };
    Document { twiml, means, filler: None }
}

/// There is nothing to tell yet: a filler, silence after one, or an apology after too much of both.
async fn hold(app: &App, call: &OnCall, asked: &Asked<'_>, before: Option<&VoiceAnswer>) -> Result<Document, Trouble> {
    let (step, (how, phrases)) = (asked.step, manner(app, call.person()));
    if asked.waited_since(before) >= app.config.voice.patience {
        let sorry = phrase(app, call.person(), &phrases.apology);
        let twiml = say_and_gather(&app.documents.apology, how, &sorry, &next_turn(app, step));
        return Ok(Document { twiml, means: Told::TooLate, filler: None });
    }
    let next = next_part_of(app, step);
    if before.is_some_and(|before| before.filler.is_some()) {
        // Two fillers without a pause between them would be chatter; the next webhook waits in silence.
        let twiml = say_and_go(&app.documents.hold, how, Words::Say(&[]), &next);
        return Ok(Document { twiml, means: Told::Nothing, filler: None });
    }
    let last = app.db.last_filler(&step.call_sid).await?;
    let fillers = &phrases.one_moment;
    let filler = usize::try_from(last.map_or(step.turn, |last| last + 1)).unwrap_or(0) % fillers.len();
    let twiml = say_and_go(&app.documents.hold, how, &phrase(app, call.person(), &fillers[filler]), &next);
    Ok(Document { twiml, means: Told::Nothing, filler: i64::try_from(filler).ok() })
}

/// Where the next part of the answer is asked for.
pub(super) fn next_part_of(app: &App, step: &VoiceStep) -> String {
    link(app, &format!("/twilio/voice/turns/{}/parts/{}", step.turn, step.part + 1))
}
