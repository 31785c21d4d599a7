//! The decision about a text: yes or no, and what to reply.

use super::media::{Attached, described};
use crate::clock::Clock;
use crate::conversation::party::Person;
use crate::conversation::service::AnswerError;
use crate::conversation::speech::cut_at;
use crate::conversation::thread;
use crate::db::Db;
use crate::db::conversations::Except;
use crate::db::messages::TextDecision;
use crate::llm::{Image, Llm, Prompt, Verdict};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Twilio refuses a longer body (error 14103), counted as UTF-16 code units here to be safe.
const MESSAGE_UNITS: usize = 1600;

/// Decides about texts. Cheap to clone.
#[derive(Clone)]
pub struct SmsService {
    db: Db,
    llm: Arc<Llm>,
    clock: Clock,
    role: Arc<str>,
    timeout: Duration,
}

/// A text to decide about.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Whose text it is.
    pub person: &'a Person,
    /// The other side; see [`crate::conversation::party::Party::peer`].
    pub peer: &'a str,
    /// What was written.
    pub text: &'a str,
    /// The files that came with it.
    pub media: &'a [Attached],
    /// Those of them that the model is shown.
    pub images: &'a [Image],
    /// Its row, which is not part of what was said before.
    pub except: Except,
}

/// A decision, and what it took.
#[derive(Debug, Clone)]
pub struct Decided {
    /// What is stored.
    pub decision: TextDecision,
    /// From the question to the answer, in milliseconds.
    pub elapsed_ms: f64,
}

impl SmsService {
    /// A service that asks `llm` and remembers in `db`.
    pub fn new(db: Db, llm: Arc<Llm>, clock: Clock, role: &str, timeout: Duration) -> Self {
        Self { db, llm, clock, role: Arc::from(role), timeout }
    }

    /// Decides about a text with what was said before in mind. Stores nothing.
    ///
    /// # Errors
    /// When the model gives no usable decision in time, or the history cannot be read.
    pub async fn decide(&self, text: Text<'_>) -> Result<Decided, AnswerError> {
        let started = Instant::now();
        let earlier = self.db.thread(text.person.user_id, text.peer, text.except).await?;
        let said = described(text.text, text.media);
        let mut thread = thread::thread(earlier, &said, self.clock.now(), text.person.conversation_timeout);
        if let Some(last) = thread.messages.last_mut() {
            last.images = text.images.to_vec();
        }
        let prompt = Prompt { system: self.instructions(text.person), messages: thread.messages, ..Prompt::default() };
        let decision = self.llm.decide(&prompt, self.timeout).await?;
        let decision = TextDecision {
            decision: match decision.verdict {
                Verdict::Yes => "yes",
                Verdict::No => "no",
                Verdict::Unsure => "unsure",
            },
            reply_text: shortened(decision.reply_text),
            input_tokens: decision.input_tokens.into(),
            output_tokens: decision.output_tokens.into(),
        };
        Ok(Decided { decision, elapsed_ms: started.elapsed().as_secs_f64() * 1000.0 })
    }

    fn instructions(&self, person: &Person) -> String {
        format!(
            "{} You answer a text message. Decide whether what it asks or proposes is agreed to (yes), declined (no), or \
             cannot be told (unsure); a text that asks nothing is a yes. Write the reply: at most 300 characters of plain \
             text, in {} unless the text is in another language.",
            self.role, person.language.name
        )
    }
}

/// A text in the length that one message takes, cut after a sentence if it can be.
pub fn shortened(text: String) -> String {
    let mut units = 0;
    let fits = text.char_indices().find_map(|(at, c)| {
        units += c.len_utf16();
        // Room for the ellipsis.
        (units > MESSAGE_UNITS - 1).then_some(at)
    });
    match fits {
        Some(at) if text.encode_utf16().count() > MESSAGE_UNITS => {
            format!("{}…", text[..cut_at(&text[..at])].trim_end())
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_fits_is_left_alone() {
        assert_eq!(shortened("a".repeat(1600)), "a".repeat(1600));
    }

    #[test]
    fn a_longer_one_is_cut_after_a_sentence() {
        let short = shortened("All is well. ".repeat(200));
        assert!(short.encode_utf16().count() <= 1600 && short.ends_with("well.…"), "{short}");
        assert_eq!(shortened("😀".repeat(900)).encode_utf16().count(), 1599);
    }
}
