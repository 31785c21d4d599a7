//! Whether Twilio reads words aloud (`<Say>`) or plays them as the model's voice speaks them (`<Play>`): decided here
//! for all that a call is told. With `SPEECH=twilio` everything is read aloud and nothing is done for it.
//!
//! Words are played only when their sound is there, so that nothing is lost by a voice that is slow or fails.

use super::speech::{Spoken, sentences_of};
use crate::app::App;
use crate::conversation::call::OnCall;
use crate::conversation::parts::next_part;
use crate::conversation::party::Person;
use crate::conversation::speech::{says, spoken};
use crate::conversation::turns::Progress;
use crate::db::voice_answers::VoiceStep;
use crate::synthesis::LONGEST_WAIT;
use crate::twilio::twiml::Words;
use crate::twilio::voices;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

/// The first words of an answer wait so long for their sound, however late they are.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
/// Words whose sound comes right after that of the words before are told with them.
const GRACE: Duration = Duration::from_millis(20);
/// Sentences that one document plays; the next part goes on.
const MOST_PLAYS: usize = 8;
/// Sentences that are played at once when an answer is repeated, which has no parts.
const MOST_REPEATED: usize = 50;
/// Turns that take longer are prepared no further.
const LONGEST_TURN: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Words for a caller; none by default.
#[derive(Debug, Default)]
pub(super) struct Voiced {
    /// In pieces that fit a `Say` each.
    says: Vec<String>,
    /// Where the same words are fetched as sound, when all of it is there.
    plays: Option<Vec<String>>,
}

impl Voiced {
    /// These words and then others.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.says.extend(other.says);
        self.plays = self.plays.zip(other.plays).map(|(plays, more)| [plays, more].concat());
        self
    }
}

impl<'a> From<&'a Voiced> for Words<'a> {
    fn from(words: &'a Voiced) -> Self {
        match &words.plays {
            Some(urls) => Self::Play(urls),
            None => Self::Say(&words.says),
        }
    }
}

/// The next words of an answer.
pub(super) struct VoicedPart {
    /// How many of the sentences it tells.
    pub(super) sentences: usize,
    /// The words.
    pub(super) words: Voiced,
}

/// A fixed sentence in the person's language. Nobody waits for one: its sound is made for the next time it is said.
pub(super) fn phrase(app: &App, person: &Person, sentence: &str) -> Voiced {
    let url = app.synthesiser.as_ref().and_then(|synthesiser| {
        let (voice, language) = (voice(person), person.language);
        let name = app.phrases.of(language).name_of(sentence)?;
        synthesiser.prepare(sentence, voice).then(|| Spoken::Phrase { language, name }.url(app, voice))
    });
    Voiced { says: vec![sentence.to_owned()], plays: url.map(|url| vec![url]) }
}

/// What a turn's answer goes on with after `told` sentences: those whose sound is there, soon after `deadline` at the
/// latest, else what Twilio reads of them.
pub(super) async fn part(
    app: &App,
    call: &OnCall,
    step: &VoiceStep,
    progress: &Progress,
    told: usize,
    deadline: Instant,
) -> VoicedPart {
    let fresh = progress.sentences.get(told..).unwrap_or_default();
    let read = next_part(fresh, progress.ending.is_some());
    let fresh = &fresh[..read.sentences];
    let voice = voice(call.person());
    let sentences = ready(app, voice, &fresh[..fresh.len().min(MOST_PLAYS)], deadline).await;
    if sentences == 0 {
        // No words need no sound.
        let plays = fresh.is_empty().then(Vec::new);
        return VoicedPart { sentences: read.sentences, words: Voiced { says: read.says, plays } };
    }
    let url = |index| Spoken::Sentence { call_sid: step.call_sid.clone(), turn: step.turn, index }.url(app, voice);
    let plays = Some((told..told + sentences).map(url).collect());
    VoicedPart { sentences, words: Voiced { says: says(&fresh[..sentences]), plays } }
}

/// How many of the sentences can be played, counted from the first one.
async fn ready(app: &App, voice: &'static str, sentences: &[String], deadline: Instant) -> usize {
    let Some(synthesiser) = &app.synthesiser else { return 0 };
    for sentence in sentences {
        synthesiser.prepare(sentence, voice);
    }
    let (mut ready, mut patience) = (0, patience(deadline));
    for sentence in sentences {
        if !synthesiser.ready(sentence, voice, patience).await {
            break;
        }
        ready += 1;
        patience = GRACE;
    }
    ready
}

/// The last answer before this turn once more, whole.
pub(super) async fn again(app: &App, call: &OnCall, step: &VoiceStep, answer: &str, deadline: Instant) -> Voiced {
    Voiced { says: spoken(answer), plays: sounds_again(app, call, step, answer, deadline).await }
}

/// Its sentences as sounds, if there are not too many and all of them are ready in time.
async fn sounds_again(
    app: &App,
    call: &OnCall,
    step: &VoiceStep,
    answer: &str,
    deadline: Instant,
) -> Option<Vec<String>> {
    let synthesiser = app.synthesiser.as_ref()?;
    let (voice, language) = (voice(call.person()), call.person().language);
    let sentences = sentences_of(answer, language);
    if sentences.is_empty() || sentences.len() > MOST_REPEATED {
        return None;
    }
    let ready = sentences.iter().map(|sentence| synthesiser.ready(sentence, voice, patience(deadline)));
    if !join_all(ready).await.into_iter().all(|ready| ready) {
        return None;
    }
    let url = |index| {
        let (call_sid, before) = (step.call_sid.clone(), step.turn);
        Spoken::Again { call_sid, before, language, index }.url(app, voice)
    };
    Some((0..sentences.len()).map(url).collect())
}

/// Has the sentences of a turn's answer spoken as they are stored, so that their sound is there when it is asked for.
pub(super) fn prepare(app: &Arc<App>, call: &OnCall, turn: i64) {
    let Some(synthesiser) = app.synthesiser.clone() else { return };
    let (app, call) = (app.clone(), call.clone());
    let prepare = async move {
        let (voice, mut begun) = (voice(call.person()), 0);
        while let Ok(Some(progress)) = app.turns.wait(&call, turn, begun, Instant::now() + LOOK_EVERY).await {
            for sentence in progress.sentences.get(begun..).unwrap_or_default() {
                synthesiser.prepare(sentence, voice);
            }
            begun = progress.sentences.len();
            if progress.ending.is_some() {
                break;
            }
        }
    };
    tokio::spawn(timeout(LONGEST_TURN, prepare).in_current_span());
}

/// How long words wait for their sound when `deadline` is when the caller should hear something.
pub(super) fn patience(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

/// The voice that a person prefers, or the default where that is none of OpenAI's.
pub(super) fn voice(person: &Person) -> &'static str {
    voices::openai_voice(&person.tts_voice).unwrap_or(voices::DEFAULT_VOICE)
}
