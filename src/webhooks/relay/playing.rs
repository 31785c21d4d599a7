//! Words as sound, with `SPEECH=openai`: each sentence is played once its sound is there, and read by Twilio where the
//! voice is slow or fails; always in the order in which they were said.

use super::line::Over;
use super::session::Session;
use crate::conversation::speech::speaking_time;
use crate::twilio::relay_messages::ToTwilio;
use crate::twilio::twiml::Words;
use crate::webhooks::speech::Spoken;
use crate::webhooks::voicing::{patience, phrase, voice};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use tracing::error;

/// Has words played in their turn.
pub(super) struct Player {
    /// Scheme and host under which Twilio reaches us.
    origin: String,
    queue: VecDeque<Queued>,
    /// Whether the sound of the first in the queue is there, once that is known.
    pending: Option<BoxFuture<'static, bool>>,
}

/// What waits for its turn.
pub(super) enum Queued {
    /// A sentence that is played under this name if its sound is there soon after `due`; without a name it is read.
    Sentence { words: String, name: Option<Spoken>, due: Instant },
    /// A fixed sentence, which nobody waits for. It is not the `last` where an answer is still to come.
    Fixed { words: String, last: bool },
    /// What follows is in another language.
    Switch { tts_language: &'static str, transcription_language: &'static str },
}

impl Queued {
    fn time(&self) -> Duration {
        match self {
            Self::Sentence { words, .. } | Self::Fixed { words, .. } => speaking_time(words),
            Self::Switch { .. } => Duration::ZERO,
        }
    }
}

impl Player {
    pub(super) fn new(origin: String) -> Self {
        Self { origin, queue: VecDeque::new(), pending: None }
    }

    /// Whether something waits for its turn.
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    fn time(&self) -> Duration {
        self.queue.iter().map(Queued::time).sum()
    }

    /// What waits is not said any more; how long it would have taken. What comes later is in the last language all the
    /// same.
    fn clear(&mut self) -> Duration {
        let time = self.time();
        let switch = self.queue.drain(..).rfind(|queued| matches!(queued, Queued::Switch { .. }));
        (self.queue, self.pending) = (switch.into_iter().collect(), None);
        time
    }
}

/// Whether the sound that is waited for is there.
pub(super) async fn next_sound(player: &mut Option<Box<Player>>) -> bool {
    match player.as_mut().and_then(|player| player.pending.as_mut()) {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}

impl Session {
    /// Says sentences of the answer that is being given, each of which is stored first: its sound is asked for by name.
    pub(super) async fn play(&mut self, sentences: Vec<String>) -> Result<(), Over> {
        let Some(answering) = &mut self.answering else { return Ok(()) };
        let (first, due) = (answering.sentences.len(), answering.asked_at + self.app.config.voice.reply_budget);
        let turn = answering.turn;
        answering.sentences.extend_from_slice(&sentences);
        let stored = self.app.db.progress_turn(answering.claim, &answering.sentences).await;
        if let Err(cause) = &stored {
            error!(call.sid = self.call.call_sid, turn, error = %cause, "Sentences could not be stored; Twilio reads them");
        }
        for (index, words) in (first..).zip(sentences) {
            let name = Spoken::Sentence { call_sid: self.call.call_sid.clone(), turn, index };
            let name = matches!(stored, Ok(true)).then_some(name);
            self.queue(Queued::Sentence { words, name, due }).await?;
        }
        Ok(())
    }

    /// Says the `sentences` of the answer before the next turn again, from the `first` on.
    pub(super) async fn play_again(&mut self, sentences: &[String], first: usize) -> Result<(), Over> {
        let (call_sid, before) = (self.call.call_sid.clone(), self.turn + 1);
        let (language, due) = (self.call.person().language, Instant::now() + self.app.config.voice.reply_budget);
        for (index, words) in sentences.iter().cloned().enumerate().skip(first) {
            let name = Some(Spoken::Again { call_sid: call_sid.clone(), before, language, index });
            self.queue(Queued::Sentence { words, name, due }).await?;
        }
        Ok(())
    }

    /// Says something after all that was said before.
    pub(super) async fn queue(&mut self, queued: Queued) -> Result<(), Over> {
        self.spoken_until = self.spoken_until.max(Instant::now()) + queued.time();
        let Some(player) = &mut self.player else { return Ok(()) };
        if let (Queued::Sentence { words, name: Some(_), .. }, Some(synthesiser)) = (&queued, &self.app.synthesiser) {
            synthesiser.prepare(words, voice(self.call.person()));
        }
        player.queue.push_back(queued);
        self.play_on().await
    }

    /// The sound of what comes next is there, or is waited for no longer.
    pub(super) async fn on_sound(&mut self, is_there: bool) -> Result<(), Over> {
        if let Some(player) = &mut self.player {
            player.pending = None;
        }
        self.send_first(is_there).await?;
        self.play_on().await
    }

    /// Sends what can be sent, up to a sentence whose sound has to be waited for.
    async fn play_on(&mut self) -> Result<(), Over> {
        while let Some(player) = self.player.as_mut().filter(|player| player.pending.is_none()) {
            let is_there = match (player.queue.front(), &self.app.synthesiser) {
                (None, _) => break,
                (Some(Queued::Sentence { words, name: Some(_), due }), Some(synthesiser)) => {
                    let voice = voice(self.call.person());
                    let is_there = synthesiser.prepare(words, voice);
                    if !is_there {
                        // As long as there is something to hear, nothing is lost by waiting.
                        let heard_until = self.spoken_until.checked_sub(player.time()).unwrap_or(*due);
                        let (synthesiser, words) = (synthesiser.clone(), words.clone());
                        let patience = patience((*due).max(heard_until));
                        let ready = async move { synthesiser.ready(&words, voice, patience).await };
                        player.pending = Some(ready.boxed());
                        break;
                    }
                    is_there
                }
                _ => false,
            };
            self.send_first(is_there).await?;
        }
        Ok(())
    }

    /// Sends the first in the queue: played if its sound is there, else read. A sentence stands for itself, so that
    /// Twilio waits for no more words before it speaks.
    async fn send_first(&mut self, is_there: bool) -> Result<(), Over> {
        let Some(player) = &mut self.player else { return Ok(()) };
        let time = player.time();
        let Some(first) = player.queue.pop_front() else { return Ok(()) };
        let person = self.call.person();
        let path = match &first {
            Queued::Sentence { name: Some(name), .. } if is_there => Some(name.url(&self.app, voice(person))),
            Queued::Fixed { words, .. } => match Words::from(&phrase(&self.app, person, words)) {
                Words::Play(urls) => urls.first().cloned(),
                Words::Say(_) => None,
            },
            _ => None,
        };
        let source = path.map(|path| format!("{}{path}", player.origin));
        let message = match (&first, &source) {
            (Queued::Switch { tts_language, transcription_language }, _) => {
                ToTwilio::Language { tts_language, transcription_language }
            }
            (_, Some(source)) => ToTwilio::Play { source, interruptible: true, preemptible: false },
            (Queued::Sentence { words, .. }, None) => ToTwilio::Text { token: words, last: true },
            (Queued::Fixed { words, last }, None) => ToTwilio::Text { token: words, last: *last },
        };
        self.line.send(&message).await?;
        // It begins later than was reckoned with if it had to be waited for.
        self.spoken_until = self.spoken_until.max(Instant::now() + time);
        Ok(())
    }

    /// What waits for its turn is not said any more.
    pub(super) async fn hush(&mut self) -> Result<(), Over> {
        let Some(player) = &mut self.player else { return Ok(()) };
        let time = player.clear();
        self.spoken_until = self.spoken_until.checked_sub(time).unwrap_or(self.spoken_until);
        self.play_on().await
    }
}
