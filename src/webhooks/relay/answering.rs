//! A turn while its answer is spoken as the model gives it.

use crate::conversation::plain::Plain;
use crate::conversation::reply::{Reply, Said};
use crate::conversation::talk::Talk;
use crate::db::conversations::Answer;
use crate::db::turns::{Heard, TurnClaim, TurnEnd};
use std::time::Duration;
use tokio::time::Instant;

/// A turn that is being answered.
pub(super) struct Answering {
    pub(super) claim: TurnClaim,
    pub(super) turn: i64,
    pub(super) reply: Reply,
    /// Holds back what may still be markup.
    pub(super) plain: Plain,
    /// What was sent.
    pub(super) talk: Talk,
    pub(super) asked_at: Instant,
    /// When a filler is due, and when an apology, if no words come before.
    pub(super) filler_at: Instant,
    pub(super) late_at: Instant,
}

impl Answering {
    /// The next words to be sent, from the model's; may be empty.
    pub(super) fn speakable(&mut self, piece: &str) -> String {
        let words = self.plain.push(piece);
        self.talk.say(&words);
        words
    }

    /// The words that were held back, at the end.
    pub(super) fn rest(&mut self) -> String {
        let words = self.plain.finish();
        self.talk.say(&words);
        words
    }

    /// The words that were held back, where others follow that stand apart.
    pub(super) fn rest_apart(&mut self) -> String {
        let mut words = self.rest();
        if self.talk.needs_blank() {
            self.talk.say(" ");
            words.push(' ');
        }
        words
    }

    /// There are words again: from now on the next ones are waited for, once those that were sent are spoken.
    pub(super) fn wait(&mut self, now: Instant, spoken_until: Instant, budget: Duration, patience: Duration) {
        self.filler_at = now.max(spoken_until) + budget;
        self.late_at = now + patience;
    }

    /// From the question until now, in milliseconds.
    pub(super) fn elapsed_ms(&self) -> f64 {
        (self.asked_at.elapsed().as_secs_f64() * 1000.0).round()
    }

    /// Hears the model out without saying anything; whether it came to an end.
    pub(super) async fn hear_out(&mut self) -> bool {
        loop {
            match self.reply.next().await {
                Ok(Said::Words(text)) => drop(self.speakable(&text)),
                Ok(Said::Switched(_)) => drop(self.rest_apart()),
                Ok(Said::End { .. }) => {
                    self.rest();
                    return true;
                }
                Err(cause) => {
                    self.rest_apart();
                    if self.reply.go_on_after(self.talk.answer(), cause).is_err() {
                        return false;
                    }
                }
            }
        }
    }

    /// The end of the turn. Without any words it counts as failed.
    pub(super) fn end(&self, failed: bool, action: Option<&'static str>, heard: Heard) -> TurnEnd {
        let (elapsed_ms, cost) = (self.elapsed_ms(), self.reply.cost());
        let answer = (!self.talk.is_empty()).then(|| Answer {
            text: self.talk.answer(),
            input_tokens: cost.input_tokens,
            output_tokens: cost.output_tokens,
            model: cost.model.clone(),
            elapsed_ms,
        });
        TurnEnd { failed: failed || answer.is_none(), answer, action, heard, elapsed_ms }
    }
}
