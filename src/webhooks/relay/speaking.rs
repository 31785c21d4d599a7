//! Answers on a session: spoken as they come, broken off where the caller breaks in, and stored as they were heard.

use super::answering::Answering;
use super::line::Over;
use super::session::Session;
use crate::conversation::plain::Plain;
use crate::conversation::reply::{After, Cost, Said};
use crate::conversation::talk::Talk;
use crate::conversation::tell_of_answer;
use crate::conversation::wishes::{Wish, wish};
use crate::db::DbError;
use crate::db::relay::{BROKEN_OFF, LeftTurn};
use crate::db::turns::{Heard, NewClaim, NewTurn, TurnClaim, TurnEnd};
use crate::llm::LlmError;
use crate::twilio::relay_messages::ToTwilio;
use crate::twilio::voices::Language;
use crate::webhooks::requests::Handoff;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

/// However slowly a model speaks, its late answer is not waited for any longer.
const LONGEST_ANSWER: Duration = Duration::from_secs(180);

impl Session {
    /// Answers what the caller said: with fixed words if it needs no model, else the model begins to.
    pub(super) async fn answer(&mut self, words: &str, wants_person: bool) -> Result<(), Trouble> {
        let claim = self.claim(words).await?.claim;
        let (app, call) = (self.app.clone(), self.call.clone());
        let phrases = app.phrases.of(call.person().language);
        let Some(wish) = wish(&call, phrases, words, wants_person) else {
            return Ok(self.ask(claim, words, String::new(), Cost::default()).await?);
        };
        app.db.end_turn(app.clock.now(), claim, wish.end(phrases)).await?;
        let (turn, turn_ms, tokens_in, tokens_out) = (self.turn, 0, 0, 0);
        info!(call.sid = call.call_sid, turn, turn_ms, tokens_in, tokens_out, "Answered a turn without the model");
        // The document that takes the message asks for it.
        if wish != Wish::Voicemail {
            let mut talk = Talk::default();
            talk.say(wish.words(phrases));
            self.spoken = Some((claim.id, talk));
            self.say(wish.words(phrases), true).await?;
        }
        match wish {
            Wish::Goodbye => self.leave(Handoff::Goodbye),
            Wish::Person(_) => self.leave(Handoff::Transfer),
            Wish::Voicemail => self.leave(Handoff::Voicemail),
            Wish::TimeOver => self.leave(Handoff::TimeOver),
            Wish::Nobody => {}
        }
        Ok(())
    }

    /// Lets the model begin to answer, or go on after what was `heard` of its answer before.
    async fn ask(&mut self, claim: TurnClaim, words: &str, heard: String, cost_before: Cost) -> Result<(), DbError> {
        let asked_at = Instant::now();
        let mut talk = Talk::default();
        let mut said = Vec::new();
        if !heard.is_empty() {
            talk.say(&format!("{heard} "));
            said.push(heard);
        }
        let reply = match self.app.conversation.speak(&self.call, claim.id, words, &said).await {
            Ok(reply) => reply,
            Err(cause) => {
                self.give_up(claim).await;
                return Err(cause);
            }
        };
        let voice = &self.app.config.voice;
        self.answering = Some(Box::new(Answering {
            claim,
            turn: self.turn,
            words: words.to_owned(),
            reply,
            plain: Plain::default(),
            talk,
            cost_before,
            again: false,
            asked_at,
            filler_at: asked_at + voice.reply_budget,
            late_at: asked_at + voice.patience,
        }));
        Ok(())
    }

    /// Ends a turn that nothing was asked for, as far as the database can be reached at all.
    async fn give_up(&mut self, claim: TurnClaim) {
        let end = TurnEnd { answer: None, failed: true, action: None, heard: Heard::All, elapsed_ms: 0.0 };
        self.app.db.end_turn(self.app.clock.now(), claim, end).await.ok();
    }

    /// The session before was lost: what it left unanswered is answered now, and who has no answer to wait for is asked to
    /// speak, so that there is no silence.
    pub(super) async fn take_up(&mut self) -> Result<(), Over> {
        let call_sid = self.call.call_sid.clone();
        let taken_up = match self.app.db.take_up_turn(&call_sid).await {
            Ok(None) => return self.say_fixed(|phrases| &phrases.did_not_hear).await,
            Ok(Some(left)) => {
                info!(call.sid = call_sid, turn = self.turn, "A turn is taken up that a lost session left");
                let LeftTurn { claim, input_text, heard, input_tokens, output_tokens, model_used: model } = left;
                self.ask(claim, &input_text, heard, Cost { input_tokens, output_tokens, model }).await
            }
            Err(cause) => Err(cause),
        };
        match taken_up {
            Ok(()) => Ok(()),
            Err(cause) => {
                error!(call.sid = call_sid, turn = self.turn, error = %cause, "A lost turn could not be taken up");
                self.say_fixed(|phrases| &phrases.apology).await
            }
        }
    }

    /// Claims the call's next turn; a number that is taken is passed over.
    async fn claim(&mut self, words: &str) -> Result<NewClaim, DbError> {
        loop {
            self.turn += 1;
            let new = NewTurn {
                call_sid: self.call.call_sid.clone(),
                turn: self.turn,
                user_id: self.call.person().user_id,
                peer: self.call.party.peer.clone(),
                input_text: words.to_owned(),
                at: self.app.clock.now(),
            };
            if let Some(claim) = self.app.turns.claim(new).await? {
                return Ok(claim);
            }
        }
    }

    /// Passes on what the model says.
    pub(super) async fn take(&mut self, said: Result<Said, LlmError>) -> Result<(), Over> {
        let Some(answering) = &mut self.answering else { return Ok(()) };
        match said {
            Ok(Said::Words(text)) => {
                let words = answering.speakable(&text);
                if !words.is_empty() {
                    self.say(&words, false).await?;
                }
                self.wait_for_more();
                Ok(())
            }
            Ok(Said::Switched(language)) => {
                let words = answering.rest_apart();
                self.switch(&words, language).await
            }
            Ok(Said::End { after, .. }) => self.finish(after).await,
            Err(cause) if !answering.again && !answering.talk.is_empty() => self.ask_again(cause).await,
            Err(cause) => self.fail(cause).await,
        }
    }

    fn wait_for_more(&mut self) {
        let voice = &self.app.config.voice;
        if let Some(answering) = &mut self.answering {
            answering.wait(Instant::now(), self.spoken_until, voice.reply_budget, voice.patience);
        }
    }

    /// Says the last `words` of one language and goes on in another.
    async fn switch(&mut self, words: &str, language: &'static Language) -> Result<(), Over> {
        if !words.is_empty() {
            self.say(words, false).await?;
        }
        Arc::make_mut(&mut self.call).switch(language);
        let tts_language = self.call.person().voice.language;
        self.line.send(&ToTwilio::Language { tts_language, transcription_language: language.locale }).await?;
        self.wait_for_more();
        Ok(())
    }

    /// The answer is over: says the rest, stores it, and does what follows.
    async fn finish(&mut self, after: After) -> Result<(), Over> {
        let Some(mut answering) = self.answering.take() else { return Ok(()) };
        let (app, call) = (self.app.clone(), self.call.clone());
        let phrases = app.phrases.of(call.person().language);
        let after = if call.transfer_to.is_none() && after == After::Transfer { After::Listen } else { after };
        let mut words = answering.rest();
        if answering.talk.is_empty() {
            words = match after {
                After::Listen => return self.apologise(answering).await,
                After::EndCall => phrases.goodbye.clone(),
                After::Transfer => phrases.transferring.clone(),
            };
            answering.talk.say(&words);
        }
        if self.failures > 0 {
            // This session makes up for those that were lost, however it ends.
            self.failures = 0;
            if let Err(cause) = app.db.forget_relay_failures(&call.call_sid).await {
                warn!(call.sid = call.call_sid, error = %cause, "A session that works could not be written down");
            }
        }
        self.say(&words, true).await?;
        match after {
            After::Listen => {}
            After::EndCall => self.leave(Handoff::EndCall),
            After::Transfer => self.leave(Handoff::Transfer),
        }
        tell_of_answer(&call.call_sid, answering.turn, answering.elapsed_ms(), &answering.cost());
        self.spoken = Some((answering.claim.id, self.keep(answering, false, after.stored(), Heard::All).await));
        Ok(())
    }

    /// The answer broke off after some words: the model is asked to go on after them.
    async fn ask_again(&mut self, cause: LlmError) -> Result<(), Over> {
        let Some(mut answering) = self.answering.take() else { return Ok(()) };
        warn!(call.sid = self.call.call_sid, turn = answering.turn, error = %cause, "An answer broke off and is asked for again");
        let words = answering.rest_apart();
        if !words.is_empty() {
            self.say(&words, false).await?;
        }
        let said = [answering.talk.answer()];
        match self.app.conversation.speak(&self.call, answering.claim.id, &answering.words, &said).await {
            Ok(reply) => {
                answering.cost_before = answering.cost();
                (answering.reply, answering.again) = (reply, true);
                self.answering = Some(answering);
                Ok(())
            }
            Err(cause) => {
                error!(call.sid = self.call.call_sid, turn = answering.turn, error = %cause, "An answer could not go on");
                self.apologise(answering).await
            }
        }
    }

    async fn fail(&mut self, cause: LlmError) -> Result<(), Over> {
        let Some(mut answering) = self.answering.take() else { return Ok(()) };
        let (call_sid, turn, turn_ms) = (&self.call.call_sid, answering.turn, answering.elapsed_ms());
        warn!(call.sid = call_sid, turn, turn_ms, error = %cause, "Turn {turn} has no answer");
        let words = answering.rest_apart();
        if !words.is_empty() {
            self.say(&words, false).await?;
        }
        self.apologise(answering).await
    }

    /// Says that there is no more of an answer.
    async fn apologise(&mut self, answering: Box<Answering>) -> Result<(), Over> {
        self.say_fixed(|phrases| &phrases.apology).await?;
        self.keep(answering, true, None, Heard::All).await;
        Ok(())
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
        self.say(&words, false).await?;
        // Two fillers without a pause between them would be chatter.
        if let Some(answering) = &mut self.answering {
            answering.filler_at = self.spoken_until + 2 * app.config.voice.reply_budget;
        }
        Ok(())
    }

    /// The answer takes too long: the caller is asked to speak on, and it is kept for later turns once it is there.
    pub(super) async fn give_up_waiting(&mut self) -> Result<(), Over> {
        let Some(mut answering) = self.answering.take() else { return Ok(()) };
        warn!(call.sid = self.call.call_sid, turn = answering.turn, "An answer takes too long");
        let words = answering.rest_apart();
        if !words.is_empty() {
            self.say(&words, false).await?;
        }
        let (app, gone, call_sid) = (self.app.clone(), self.gone.clone(), self.call.call_sid.clone());
        let told = answering.talk.answer();
        answering.reply.disarm();
        self.app.sessions.spawn(async move {
            let whole = tokio::select! {
                outcome = timeout(LONGEST_ANSWER, answering.hear_out()) => outcome.unwrap_or(false),
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
                self.say(&answer, true).await
            }
            Ok(None) => self.say_fixed(|phrases| &phrases.nothing_to_repeat).await,
            Err(cause) => {
                error!(call.sid = self.call.call_sid, error = %cause, "An answer could not be repeated");
                self.say_fixed(|phrases| &phrases.apology).await
            }
        }
    }

    /// Ends the answer that is being given where it is, because something else comes first.
    pub(super) async fn cut_short(&mut self) -> Result<(), Over> {
        if self.answering.is_some() {
            self.say("", true).await?;
        }
        self.break_off().await;
        Ok(())
    }

    /// Ends the answer that is being given where it is.
    async fn break_off(&mut self) {
        if let Some(answering) = self.answering.take() {
            let heard = self.heard_by_now(&answering.talk);
            self.keep(answering, false, None, heard).await;
        }
    }

    /// The session is over. The caller may still be there, on a connection that is lost.
    pub(super) async fn leave_off(&mut self) {
        if let Some(answering) = self.answering.take() {
            let heard = self.heard_by_now(&answering.talk);
            self.keep(answering, false, Some(BROKEN_OFF), heard).await;
        } else if let Some((turn_id, talk)) = self.spoken.take()
            && let Heard::Only(heard) = self.heard_by_now(&talk)
        {
            self.store_heard(turn_id, heard).await;
        }
    }

    /// What was spoken by now of what was sent.
    fn heard_by_now(&self, talk: &Talk) -> Heard {
        let heard = talk.heard_before(self.spoken_until.saturating_duration_since(Instant::now()));
        if heard == talk.answer() { Heard::All } else { Heard::Only(heard) }
    }

    /// The caller broke in after `utterance`: the model is stopped, and only what was heard goes into later prompts. Where no
    /// word of the answer was said yet, it is still wanted; whatever is said next ends it anyway.
    pub(super) async fn keep_heard(&mut self, utterance: &str) {
        info!(call.sid = self.call.call_sid, turn = self.turn, "The caller broke in");
        let Some(mut answering) = self.answering.take() else { return self.keep_heard_of_last(utterance).await };
        let talk = &answering.talk;
        // What was being spoken may still have been the answer before.
        let last_tells = self.spoken.as_ref().is_some_and(|(_, last)| last.tells(utterance));
        let is_of_last = !talk.tells(utterance) && (talk.is_silent() || last_tells);
        if is_of_last {
            self.keep_heard_of_last(utterance).await;
        }
        if answering.talk.is_empty() {
            answering.filler_at = Instant::now() + self.app.config.voice.reply_budget;
            self.answering = Some(answering);
            return;
        }
        let heard = if is_of_last { String::new() } else { answering.talk.heard(utterance) };
        answering.rest();
        self.keep(answering, false, None, Heard::Only(heard)).await;
    }

    /// Of the answer that was given last only this was heard.
    async fn keep_heard_of_last(&mut self, utterance: &str) {
        let Some((turn_id, talk)) = self.spoken.take() else { return };
        let heard = talk.heard(utterance);
        if heard != talk.answer() {
            self.store_heard(turn_id, heard).await;
        }
    }

    async fn store_heard(&mut self, turn_id: i64, heard: String) {
        if let Err(cause) = self.app.db.heard_only(turn_id, heard).await {
            error!(call.sid = self.call.call_sid, error = %cause, "What was heard of an answer could not be stored");
        }
    }

    /// Stores the end of a turn; gives back what was said in it. The model is told to stop first, if it still speaks.
    async fn keep(
        &mut self,
        answering: Box<Answering>,
        failed: bool,
        action: Option<&'static str>,
        heard: Heard,
    ) -> Talk {
        let end = answering.end(failed, action, heard);
        let Answering { claim, turn, talk, reply, .. } = *answering;
        drop(reply);
        if let Err(cause) = self.app.db.end_turn(self.app.clock.now(), claim, end).await {
            error!(call.sid = self.call.call_sid, turn, error = %cause, "The answer of turn {turn} could not be stored");
        }
        talk
    }
}

/// Why words are not answered.
pub(super) enum Trouble {
    Db(DbError),
    Over(Over),
}

impl From<DbError> for Trouble {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<Over> for Trouble {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}
