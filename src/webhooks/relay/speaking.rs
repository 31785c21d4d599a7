//! Words go out: the model's as it gives them, fillers while it is silent, an apology when it fails.

use super::answering::{Cutter, Fresh};
use super::line::Over;
use super::playing::Queued;
use super::session::Session;
use crate::conversation::reply::{After, Said};
use crate::conversation::tell_of_answer;
use crate::db::turns::Heard;
use crate::llm::LlmError;
use crate::twilio::relay_messages::ToTwilio;
use crate::twilio::voices::Language;
use crate::webhooks::requests::Handoff;
use crate::webhooks::speech::sentences_of;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::{error, warn};

impl Session {
    /// Passes on what the model says.
    pub(super) async fn take(&mut self, said: Result<Said, LlmError>) -> Result<(), Over> {
        let Some(answering) = &mut self.answering else { return Ok(()) };
        match said {
            Ok(Said::Words(text)) => {
                let fresh = answering.speakable(&text);
                let has_words = fresh.has_words();
                self.give(fresh).await?;
                // Blanks and signs end no silence.
                if has_words {
                    self.wait_for_more();
                }
                Ok(())
            }
            Ok(Said::Switched(language)) => {
                let fresh = answering.rest_apart();
                answering.cutter = Cutter::new(self.player.is_some(), language);
                self.give(fresh).await?;
                self.switch(language).await
            }
            Ok(Said::End { after, .. }) => self.finish(after).await,
            Err(cause) => {
                let fresh = answering.rest_broken();
                let broken = answering.reply.go_on_after(answering.talk.answer(), cause);
                self.give(fresh).await?;
                match broken {
                    Ok(()) => Ok(()),
                    Err(cause) => self.fail(cause).await,
                }
            }
        }
    }

    /// Says more of the answer that is being given.
    async fn give(&mut self, fresh: Fresh) -> Result<(), Over> {
        match fresh {
            _ if fresh.is_empty() => Ok(()),
            Fresh::Words(words) => {
                if let Some(answering) = &mut self.answering {
                    answering.save_soon();
                }
                self.say(&words, false).await
            }
            Fresh::Sentences(sentences) => self.play(sentences).await,
        }
    }

    /// Says that there are no more words to come; where they are played each stands for itself.
    pub(super) async fn end_words(&mut self) -> Result<(), Over> {
        match self.player {
            Some(_) => Ok(()),
            None => self.say("", true).await,
        }
    }

    fn wait_for_more(&mut self) {
        let voice = &self.app.config.voice;
        if let Some(answering) = &mut self.answering {
            answering.wait(Instant::now(), self.spoken_until, voice.reply_budget, voice.patience);
        }
    }

    /// The answer goes on in another language.
    async fn switch(&mut self, language: &'static Language) -> Result<(), Over> {
        Arc::make_mut(&mut self.call).switch(language);
        let (tts_language, transcription_language) = (self.call.person().voice.language, language.locale);
        match self.player {
            Some(_) => self.queue(Queued::Switch { tts_language, transcription_language }).await?,
            None => self.line.send(&ToTwilio::Language { tts_language, transcription_language }).await?,
        }
        self.wait_for_more();
        Ok(())
    }

    /// The answer is over: says the rest, stores it, and does what follows. Twilio hears of its end only once it is
    /// stored, so that no session that follows takes it for one that was never given.
    async fn finish(&mut self, after: After) -> Result<(), Over> {
        let (app, call) = (self.app.clone(), self.call.clone());
        let phrases = app.phrases.of(call.person().language);
        let after = if call.transfer_to.is_none() && after == After::Transfer { After::Listen } else { after };
        let Some(answering) = &mut self.answering else { return Ok(()) };
        let fresh = answering.rest();
        let closing = match after {
            _ if !answering.talk.is_empty() => None,
            After::Listen => return self.apologise().await,
            After::EndCall => Some(&phrases.goodbye),
            After::Transfer => Some(&phrases.transferring),
            After::Voicemail => Some(&phrases.voicemail),
        };
        if let Some(words) = closing {
            answering.talk.say(words);
        }
        self.give(fresh).await?;
        if self.failures > 0 {
            // This session makes up for those that were lost, however it ends.
            self.failures = 0;
            if let Err(cause) = app.db.forget_relay_failures(&call.call_sid).await {
                warn!(call.sid = call.call_sid, error = %cause, "A session that works could not be written down");
            }
        }
        let Some(answering) = self.answering.take() else { return Ok(()) };
        tell_of_answer(&call.call_sid, answering.turn, answering.elapsed_ms(), answering.reply.cost());
        let (claim, heard) = (answering.claim, Heard::Spoken(self.left()));
        self.spoken = Some((claim, self.keep(answering, false, after.stored(), heard).await));
        self.leaving = Handoff::after(after);
        match closing {
            Some(words) => self.say_phrase(words).await,
            None => self.end_words().await,
        }
    }

    async fn fail(&mut self, cause: LlmError) -> Result<(), Over> {
        let Some(answering) = &self.answering else { return Ok(()) };
        let (call_sid, turn, turn_ms) = (&self.call.call_sid, answering.turn, answering.elapsed_ms());
        warn!(call.sid = call_sid, turn, turn_ms, error = %cause, "Turn {turn} has no answer");
        self.apologise().await
    }

    /// Says that there is no more of an answer.
    async fn apologise(&mut self) -> Result<(), Over> {
        if let Some(answering) = self.answering.take() {
            self.keep(answering, true, None, Heard::All).await;
        }
        self.say_fixed(|phrases| &phrases.apology).await
    }

    /// A few words while the answer is being written, never the same twice in a row.
    pub(super) async fn say_filler(&mut self) -> Result<(), Over> {
        let app = self.app.clone();
        let fillers = &app.phrases.of(self.call.person().language).one_moment;
        let Some(answering) = &mut self.answering else { return Ok(()) };
        self.filler = (self.filler + 1) % fillers.len();
        let apart = if answering.talk.needs_blank() { " " } else { "" };
        let words = format!("{apart}{} ", fillers[self.filler]);
        answering.talk.fill(&words);
        match self.player {
            Some(_) => self.queue(Queued::Fixed { words: fillers[self.filler].clone(), last: false }).await?,
            None => self.say(&words, false).await?,
        }
        // Two fillers without a pause between them would be chatter.
        if let Some(answering) = &mut self.answering {
            answering.filler_at = self.spoken_until + 2 * app.config.voice.reply_budget;
        }
        Ok(())
    }

    /// The answer takes too long: the caller is asked to speak on, and it is kept for later turns once it is there.
    pub(super) async fn give_up_waiting(&mut self) -> Result<(), Over> {
        let Some(answering) = &mut self.answering else { return Ok(()) };
        warn!(call.sid = self.call.call_sid, turn = answering.turn, "An answer takes too long");
        // A sentence that is not complete belongs to what comes too late.
        if self.player.is_none() {
            let fresh = answering.rest_apart();
            self.give(fresh).await?;
        }
        let Some(mut answering) = self.answering.take() else { return Ok(()) };
        let (app, gone, call_sid) = (self.app.clone(), self.gone.clone(), self.call.call_sid.clone());
        let told = answering.talk.answer();
        answering.reply.disarm();
        self.app.sessions.spawn(async move {
            let whole = tokio::select! {
                whole = answering.hear_out() => whole,
                () = gone.cancelled() => false,
            };
            let end = answering.end(!whole, None, Heard::TooLate(told));
            if let Err(cause) = app.db.end_turn(app.clock.now(), answering.claim, end).await {
                error!(call.sid = call_sid, turn = answering.turn, error = %cause, "A late answer could not be stored");
            }
        });
        self.say_fixed(|phrases| &phrases.apology).await
    }

    /// Says the last answer again.
    pub(super) async fn repeat(&mut self) -> Result<(), Over> {
        if self.leaving.is_some() {
            return Ok(());
        }
        self.cut_short().await?;
        let last = self.app.db.last_answer(&self.call.call_sid, self.turn + 1).await;
        match last {
            Ok(Some(answer)) => {
                self.spoken = None;
                match self.player {
                    Some(_) => self.play_again(&sentences_of(&answer, self.call.person().language), 0).await,
                    None => self.say(&answer, true).await,
                }
            }
            Ok(None) => self.say_fixed(|phrases| &phrases.nothing_to_repeat).await,
            Err(cause) => {
                error!(call.sid = self.call.call_sid, error = %cause, "An answer could not be repeated");
                self.say_fixed(|phrases| &phrases.apology).await
            }
        }
    }
}
