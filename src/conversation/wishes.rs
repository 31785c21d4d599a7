//! What callers want that needs no model: to say goodbye, to speak to a person, to leave a message.

use super::call::OnCall;
use super::phrases::Phrases;
use super::reply::After;
use crate::db::conversations::{Answer, NO_MODEL};
use crate::db::turns::{Heard, TurnEnd};
use tracing::info;

/// A wish that is granted without the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish<'a> {
    /// To end the call.
    Goodbye,
    /// To be connected to a person, who has this number.
    Person(&'a str),
    /// The same, and there is nobody.
    Nobody,
    /// To leave a message.
    Voicemail,
    /// Whatever it is: the call has lasted as long as it may.
    TimeOver,
}

/// What a caller wants who said `words`, or pressed the key for a person; `None` leaves it to the model.
pub fn wish<'a>(call: &'a OnCall, phrases: &Phrases, words: &str, pressed_for_person: bool) -> Option<Wish<'a>> {
    if phrases.is_goodbye(words) {
        Some(Wish::Goodbye)
    } else if pressed_for_person || phrases.wants_human(words) {
        Some(call.transfer_to.as_deref().map_or(Wish::Nobody, Wish::Person))
    } else if phrases.wants_voicemail(words) {
        Some(Wish::Voicemail)
    } else {
        None
    }
}

/// Logs that a turn was answered without the model.
pub fn tell_of_wish(call_sid: &str, turn: i64) {
    let (turn_ms, tokens_in, tokens_out) = (0, 0, 0);
    info!(call.sid = call_sid, turn, turn_ms, tokens_in, tokens_out, "Answered a turn without the model");
}

/// Keys pressed, as words that the model is told.
pub fn keys_in_words(keys: &str) -> String {
    format!("(keys pressed: {keys})")
}

impl Wish<'_> {
    /// The words that answer it.
    pub fn words<'p>(&self, phrases: &'p Phrases) -> &'p String {
        match self {
            Self::Goodbye => &phrases.goodbye,
            Self::Person(_) => &phrases.transferring,
            Self::Nobody => &phrases.no_transfer,
            Self::Voicemail => &phrases.voicemail,
            Self::TimeOver => &phrases.time_over,
        }
    }

    /// The end of the turn that is answered with these words.
    pub fn end(&self, phrases: &Phrases) -> TurnEnd {
        let after = match self {
            Self::Goodbye | Self::TimeOver => After::EndCall,
            Self::Person(_) => After::Transfer,
            Self::Voicemail => After::Voicemail,
            Self::Nobody => After::Listen,
        };
        let text = self.words(phrases).clone();
        let answer = Answer { text, input_tokens: 0, output_tokens: 0, model: NO_MODEL.to_owned(), elapsed_ms: 0.0 };
        TurnEnd {
            answer: Some(answer),
            failed: false,
            action: after.stored(),
            heard: Heard::All,
            sentences: None,
            elapsed_ms: 0.0,
        }
    }
}
