//! A turn while its answer is spoken as the model gives it.

use crate::conversation::plain::Plain;
use crate::conversation::reply::{Reply, Said};
use crate::conversation::said_so_far::SaidSoFar;
use crate::conversation::sentences::Sentences;
use crate::conversation::talk::Talk;
use crate::db::conversations::Answer;
use crate::db::relay::SoFar;
use crate::db::turns::{Heard, TurnClaim, TurnEnd};
use crate::twilio::voices::Language;
use std::time::Duration;
use tokio::time::Instant;

/// A turn that is being answered.
pub(super) struct Answering {
    pub(super) claim: TurnClaim,
    pub(super) turn: i64,
    pub(super) reply: Reply,
    pub(super) cutter: Cutter,
    /// What was given out.
    pub(super) talk: Talk,
    /// The same in sentences, where they are played.
    pub(super) sentences: Vec<String>,
    pub(super) asked_at: Instant,
    /// When a filler is due, and when an apology, if no words come before.
    pub(super) filler_at: Instant,
    pub(super) late_at: Instant,
    /// When words that were passed on are stored, if there are any that are not.
    pub(super) save_at: Option<Instant>,
}

/// How often what was said of an answer is stored.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// In which pieces the model's words are given out.
pub(super) enum Cutter {
    /// As they come; only what may still be markup is held back.
    Words(Plain),
    /// In whole sentences.
    Sentences(Sentences),
}

/// What can be given out.
pub(super) enum Fresh {
    /// May be empty.
    Words(String),
    /// May be none.
    Sentences(Vec<String>),
}

impl Fresh {
    /// Whether there is nothing to say.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Words(words) => words.is_empty(),
            Self::Sentences(sentences) => sentences.is_empty(),
        }
    }

    /// Whether any of it is heard as words.
    pub(super) fn has_words(&self) -> bool {
        match self {
            Self::Words(words) => words.contains(char::is_alphanumeric),
            Self::Sentences(sentences) => !sentences.is_empty(),
        }
    }
}

impl Cutter {
    /// For words in this language, in sentences if they are played.
    pub(super) fn new(are_played: bool, language: &Language) -> Self {
        if are_played { Self::Sentences(Sentences::new(language)) } else { Self::Words(Plain::default()) }
    }
}

impl Answering {
    /// What can be given out with more of the model's words.
    pub(super) fn speakable(&mut self, piece: &str) -> Fresh {
        let fresh = match &mut self.cutter {
            Cutter::Words(plain) => Fresh::Words(plain.push(piece)),
            Cutter::Sentences(cut) => Fresh::Sentences(cut.push(piece)),
        };
        self.tell(fresh)
    }

    /// What was held back, at the end.
    pub(super) fn rest(&mut self) -> Fresh {
        let fresh = match &mut self.cutter {
            Cutter::Words(plain) => Fresh::Words(plain.finish()),
            Cutter::Sentences(cut) => Fresh::Sentences(cut.finish()),
        };
        self.tell(fresh)
    }

    /// What was held back, where something follows that stands apart.
    pub(super) fn rest_apart(&mut self) -> Fresh {
        match self.rest() {
            Fresh::Words(mut words) if self.talk.answer_needs_blank() => {
                self.talk.say(" ");
                words.push(' ');
                Fresh::Words(words)
            }
            fresh => fresh,
        }
    }

    /// The same where the answer broke off: half a sentence is left out if nothing of it was given out yet.
    pub(super) fn rest_broken(&mut self) -> Fresh {
        match &mut self.cutter {
            Cutter::Words(_) => self.rest_apart(),
            Cutter::Sentences(cut) => {
                cut.finish();
                Fresh::Sentences(Vec::new())
            }
        }
    }

    fn tell(&mut self, fresh: Fresh) -> Fresh {
        match &fresh {
            Fresh::Words(words) => self.talk.say(words),
            Fresh::Sentences(sentences) => {
                for sentence in sentences {
                    if self.talk.answer_needs_blank() {
                        self.talk.say(" ");
                    }
                    self.talk.say(sentence);
                }
            }
        }
        fresh
    }

    /// There are words again: from now on the next ones are waited for, once those that were sent are spoken.
    pub(super) fn wait(&mut self, now: Instant, spoken_until: Instant, budget: Duration, patience: Duration) {
        let silent_from = now.max(spoken_until);
        (self.filler_at, self.late_at) = (silent_from + budget, silent_from + patience);
    }

    /// What is due next.
    pub(super) fn due(&self) -> Instant {
        let next = self.filler_at.min(self.late_at);
        self.save_at.map_or(next, |at| at.min(next))
    }

    /// Words were passed on that are not stored yet.
    pub(super) fn save_soon(&mut self) {
        self.save_at.get_or_insert_with(|| Instant::now() + SAVE_EVERY);
    }

    /// Has what was said so far stored, for whoever looks at the call and for the session that follows where this
    /// process is killed. Words do not wait for it.
    pub(super) fn save(&mut self, so_far: &SaidSoFar) {
        self.save_at = None;
        so_far.store(SoFar { claim: self.claim, words: self.talk.answer() });
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
                    self.rest_broken();
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
        let sentences = Some(self.sentences.clone());
        TurnEnd { failed: failed || answer.is_none(), answer, action, heard, sentences, elapsed_ms }
    }
}
