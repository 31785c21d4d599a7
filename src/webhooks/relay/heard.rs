//! An answer ends: where the caller breaks in, where something else comes first, or with the session. What is stored is
//! what was heard of it.

use super::answering::Answering;
use super::line::Over;
use super::session::Session;
use crate::conversation::talk::Talk;
use crate::db::DbError;
use crate::db::relay::{BROKEN_INTO, BROKEN_OFF};
use crate::db::turns::Heard;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{error, info};

impl Session {
    /// Ends the answer that is being given where it is, because something else comes first.
    pub(super) async fn cut_short(&mut self) -> Result<(), Over> {
        let is_busy = self.player.as_ref().is_some_and(|player| player.is_busy());
        if let Some(answering) = self.answering.take() {
            let heard = self.heard_by_now(&answering.talk);
            self.keep(answering, false, Some(BROKEN_INTO), heard).await;
            self.end_words().await?;
        } else if is_busy {
            self.keep_heard_of_last("", self.left()).await;
        }
        self.hush().await
    }

    /// The session is over. The caller may still be there, on a connection that is lost.
    pub(super) async fn leave_off(&mut self) {
        if let Some(answering) = self.answering.take() {
            let heard = self.heard_by_now(&answering.talk);
            self.keep(answering, false, Some(BROKEN_OFF), heard).await;
        } else if let Some((claim, talk)) = self.spoken.take()
            && let Heard::Only(heard) = self.heard_by_now(&talk)
        {
            let stored = self.app.db.leave_unheard(claim, heard).await;
            self.note(stored);
        }
    }

    /// How long it takes to speak what was said and not spoken yet.
    pub(super) fn left(&self) -> Duration {
        self.spoken_until.saturating_duration_since(Instant::now())
    }

    /// What was spoken by now of what was sent.
    fn heard_by_now(&self, talk: &Talk) -> Heard {
        let heard = talk.heard_before(self.left());
        if heard == talk.answer() { Heard::All } else { Heard::Only(heard) }
    }

    /// The caller broke in after `utterance`, with so much `left` to be spoken: the model is stopped, and only what was
    /// heard goes into later prompts. Where no word of the answer was said yet, it is still wanted; whatever is said
    /// next ends it anyway.
    pub(super) async fn keep_heard(&mut self, utterance: &str, left: Duration) {
        info!(call.sid = self.call.call_sid, turn = self.turn, "The caller broke in");
        let Some(mut answering) = self.answering.take() else { return self.keep_heard_of_last(utterance, left).await };
        let talk = &answering.talk;
        // What was being spoken may still have been the answer before.
        let is_of_last = match &self.player {
            Some(_) => left > talk.time(),
            None => {
                let last_tells = self.spoken.as_ref().is_some_and(|(_, last)| last.tells(utterance));
                !talk.tells(utterance) && (talk.is_silent() || last_tells)
            }
        };
        if is_of_last {
            self.keep_heard_of_last(utterance, left.saturating_sub(talk.time())).await;
        }
        if answering.talk.is_as_begun() {
            answering.filler_at = Instant::now() + self.app.config.voice.reply_budget;
            self.answering = Some(answering);
            return;
        }
        let heard = if is_of_last { String::new() } else { self.heard(&answering.talk, utterance, left) };
        answering.rest();
        self.keep(answering, false, Some(BROKEN_INTO), Heard::Only(heard)).await;
    }

    /// Of the answer that was given last only this was heard.
    async fn keep_heard_of_last(&mut self, utterance: &str, left: Duration) {
        let Some((claim, talk)) = self.spoken.take() else { return };
        let heard = self.heard(&talk, utterance, left);
        let stored = self.app.db.heard_only(claim, (heard != talk.answer()).then_some(heard)).await;
        self.note(stored);
    }

    /// What of a talk was heard. Of words that were played Twilio tells nothing, so there the time decides.
    fn heard(&self, talk: &Talk, utterance: &str, left: Duration) -> String {
        match self.player {
            Some(_) => talk.heard_before(left),
            None => talk.heard(utterance),
        }
    }

    /// Logs that what was heard could not be stored, if it could not.
    pub(super) fn note(&self, stored: Result<(), DbError>) {
        if let Err(cause) = stored {
            error!(call.sid = self.call.call_sid, error = %cause, "What was heard of an answer could not be stored");
        }
    }

    /// Stores the end of a turn; gives back what was said in it. The model is told to stop first, if it still speaks.
    pub(super) async fn keep(
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
