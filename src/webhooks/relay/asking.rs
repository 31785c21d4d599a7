//! What the caller said becomes a turn: answered with fixed words, or the model begins to answer.

use super::answering::{Answering, Cutter};
use super::ended::settle_lost_turn;
use super::line::Over;
use super::session::Session;
use crate::conversation::reply::{Begun, Cost};
use crate::conversation::speech::{joined, speaking_time};
use crate::conversation::talk::{Talk, heard_sentences};
use crate::conversation::wishes::{Wish, tell_of_wish, wish};
use crate::db::DbError;
use crate::db::relay::LeftTurn;
use crate::db::turns::{NewClaim, NewTurn, TurnClaim, TurnEnd};
use crate::webhooks::requests::Handoff;
use crate::webhooks::speech::sentences_of;
use tokio::time::Instant;
use tracing::{error, info};

impl Session {
    /// Answers what the caller said, if only with an apology.
    pub(super) async fn answer_or_apologise(&mut self, words: &str, wants_person: bool) -> Result<(), Over> {
        match self.answer(words, wants_person).await {
            Ok(()) => Ok(()),
            Err(Unanswered::Over(over)) => Err(over),
            Err(Unanswered::Db(cause)) => {
                error!(call.sid = self.call.call_sid, turn = self.turn, error = %cause, "A turn could not be served");
                self.say_fixed(|phrases| &phrases.apology).await
            }
        }
    }

    /// Answers what the caller said: with fixed words if it needs no model, else the model begins to.
    async fn answer(&mut self, words: &str, wants_person: bool) -> Result<(), Unanswered> {
        let NewClaim { claim, user_is_active, .. } = self.claim(words).await?;
        if !user_is_active {
            info!(call.sid = self.call.call_sid, turn = self.turn, "Ended the call of a user who is inactive by now");
            self.give_up(claim).await;
            return Ok(self.say_and_leave(|phrases| &phrases.unavailable, Handoff::Goodbye).await?);
        }
        let (app, call) = (self.app.clone(), self.call.clone());
        let phrases = app.phrases.of(call.person().language);
        let Some(wish) = wish(&call, phrases, words, wants_person) else {
            return Ok(self.ask(claim, words, Begun::default()).await?);
        };
        app.db.end_turn(app.clock.now(), claim, wish.end(phrases)).await?;
        tell_of_wish(&call.call_sid, self.turn);
        // The document that takes the message asks for it.
        if wish != Wish::Voicemail {
            let mut talk = Talk::default();
            talk.say(wish.words(phrases));
            self.spoken = Some((claim, talk));
            self.say_phrase(wish.words(phrases)).await?;
        }
        self.leaving = Handoff::after_wish(wish);
        Ok(())
    }

    /// Lets the model begin to answer, or go on after what has `begun`.
    async fn ask(&mut self, claim: TurnClaim, words: &str, begun: Begun) -> Result<(), DbError> {
        let asked_at = Instant::now();
        let (talk, mut sentences) = (Talk::after(&begun.said), Vec::new());
        // What was heard stands as the row's first sentence (`take_up!`); the names of the next ones count on from it.
        if !begun.said.is_empty() && self.player.is_some() {
            sentences.push(begun.said.clone());
        }
        let reply = match self.app.conversation.speak(&self.call, claim.id, words, begun).await {
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
            reply,
            cutter: Cutter::new(self.player.is_some(), self.call.person().language),
            talk,
            sentences,
            asked_at,
            filler_at: asked_at + voice.reply_budget,
            late_at: asked_at + voice.patience,
            save_at: None,
        }));
        Ok(())
    }

    /// Ends a turn that nothing was asked for, as far as the database can be reached at all.
    async fn give_up(&mut self, claim: TurnClaim) {
        self.app.db.end_turn(self.app.clock.now(), claim, TurnEnd::unanswered()).await.ok();
    }

    /// The session before was lost: what it left unanswered is answered now, and who has no answer to wait for is asked
    /// to speak, so that there is no silence.
    pub(super) async fn take_up(&mut self) -> Result<(), Over> {
        let call_sid = self.call.call_sid.clone();
        // The answer may have come to its end since the loss was told.
        let left_off = settle_lost_turn(&self.app, &call_sid, self.turn).await.map(drop);
        self.note(left_off);
        let taken_up = match self.app.db.take_up_turn(&call_sid, self.turn).await {
            Ok(None) => return self.say_fixed(|phrases| &phrases.did_not_hear).await,
            Ok(Some(left)) => {
                info!(call.sid = call_sid, turn = self.turn, "A turn is taken up that a lost session left");
                let said = said(&left);
                let LeftTurn { claim, input_tokens, output_tokens, model_used: model, .. } = left;
                if let Some(answer) = left.whole {
                    return self.say_rest(claim, &answer, &said).await;
                }
                let begun = Begun { said, cost: Cost { input_tokens, output_tokens, model } };
                self.ask(claim, &left.input_text, begun).await
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

    /// Says the rest of an answer, from the sentence that was not heard to its end.
    async fn say_rest(&mut self, claim: TurnClaim, answer: &str, heard: &str) -> Result<(), Over> {
        let sentences = sentences_of(answer, self.call.person().language);
        let first = heard_sentences(&sentences, heard);
        let (mut talk, rest) = (Talk::after(&joined(&sentences[..first])), joined(&sentences[first..]));
        talk.say(&rest);
        self.spoken = Some((claim, talk));
        let held = self.app.db.hold_turn(claim, self.left() + speaking_time(&rest)).await;
        self.note(held);
        match self.player {
            Some(_) => self.play_again(&sentences, first).await,
            None => self.say(&rest, true).await,
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
}

/// What the caller heard of an answer; where nobody knows, what is stored of it.
pub(super) fn said(left: &LeftTurn) -> String {
    let stored = || serde_json::from_str::<Vec<String>>(&left.sentences).unwrap_or_default();
    left.heard.clone().unwrap_or_else(|| joined(&stored()))
}

/// Why words are not answered.
enum Unanswered {
    Db(DbError),
    Over(Over),
}

impl From<DbError> for Unanswered {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<Over> for Unanswered {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}
