//! The decision about a text: yes or no, and what to reply.

use super::length::{Limit, total_segments};
use super::media::{Attached, described};
use super::segments::{self, Encoding};
use crate::clock::Clock;
use crate::config::SmsConfig;
use crate::conversation::party::Person;
use crate::conversation::service::AnswerError;
use crate::conversation::thread;
use crate::db::Db;
use crate::db::conversations::Except;
use crate::db::messages::{Size, TextDecision, UNSURE};
use crate::llm::{Image, Llm, LlmError, Message, Prompt, Verdict};
use crate::twilio::voices::Language;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// The most messages of a reply on a channel without segments, where nothing else ends it.
const MOST_MESSAGES: usize = 5;

/// Decides about texts. Cheap to clone.
#[derive(Clone)]
pub struct SmsService {
    db: Db,
    llm: Arc<Llm>,
    clock: Clock,
    role: Arc<str>,
    timeout: Duration,
    config: Arc<SmsConfig>,
}

/// A text to decide about.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Whose text it is.
    pub person: &'a Person,
    /// The other side; see [`crate::conversation::party::Party::peer`].
    pub peer: &'a str,
    /// `sms`, `whatsapp` …: only SMS has segments.
    pub channel: &'a str,
    /// What the sender is called on WhatsApp or RCS, if that is told.
    pub profile_name: Option<&'a str>,
    /// What was written.
    pub text: &'a str,
    /// The files that came with it.
    pub media: &'a [Attached],
    /// Those of them that the model is shown.
    pub images: &'a [Image],
    /// How often its job was tried, this time included; 0 when it has none, and whoever asks is told of failures.
    pub tries: i64,
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
    pub fn new(db: Db, llm: Arc<Llm>, clock: Clock, role: &str, timeout: Duration, config: &SmsConfig) -> Self {
        Self { db, llm, clock, role: Arc::from(role), timeout, config: Arc::new(config.clone()) }
    }

    /// Decides about a text with what was said before in mind. Stores nothing. A text that there is no use in asking
    /// about again is left to a person: the model is unsure and has no reply.
    ///
    /// # Errors
    /// When the model does not answer in time, or the history cannot be read.
    pub async fn decide(&self, text: Text<'_>) -> Result<Decided, AnswerError> {
        let started = Instant::now();
        let earlier = self.db.thread(text.person.user_id, text.peer, text.except).await?;
        let said = described(text.text, text.media, text.profile_name);
        let mut thread = thread::thread(earlier, &said, self.clock.now(), text.person.conversation_timeout);
        if let Some(last) = thread.messages.last_mut() {
            last.images = text.images.to_vec();
        }
        let (language, is_sms) = (text.person.language, text.channel == "sms");
        // Without segments one message is asked for, and a model that does not keep to it is let go on for some more.
        let (wanted, most) = match Limit::Segments(self.config.max_segments) {
            segments if is_sms => (segments, segments),
            _ => (Limit::Messages(1), Limit::Messages(MOST_MESSAGES)),
        };
        let budget = match likely_encoding(text.text, language) {
            Encoding::Gsm7 if is_sms => format!("{} characters without emoji", wanted.characters(Encoding::Gsm7)),
            encoding => format!("{} characters", wanted.characters(encoding)),
        };
        let system = self.instructions(language, &budget);
        let mut prompt = Prompt { system, messages: thread.messages, ..Prompt::default() };
        let elapsed_ms = || started.elapsed().as_secs_f64() * 1000.0;
        let mut decision = match self.llm.decide(&prompt, self.timeout).await {
            Err(error) if is_hopeless(&error, text.tries) => {
                warn!(%error, "A text waits for a person");
                return Ok(Decided { decision: nothing_usable(&error), elapsed_ms: elapsed_ms() });
            }
            decided => decided?,
        };
        let mut reply_text = self.written(decision.reply_text, is_sms);
        if !wanted.holds(&reply_text) {
            prompt.system = format!("{} {TOO_LONG} At most {budget}.", prompt.system);
            prompt.messages.push(Message::assistant(reply_text.as_str()));
            prompt.messages.push(Message::user("(Please write a shorter reply.)"));
            match self.llm.decide(&prompt, self.timeout.saturating_sub(started.elapsed())).await {
                Ok(shorter) => {
                    decision.input_tokens += shorter.input_tokens;
                    decision.output_tokens += shorter.output_tokens;
                    reply_text = self.written(shorter.reply_text, is_sms);
                }
                Err(error) => debug!(%error, "A reply that is too long cannot be had shorter"),
            }
            reply_text = most.shorten(reply_text);
        }
        let Size { segments, encoding, cost_estimate } = self.size(&reply_text, text.channel);
        let decision = TextDecision {
            decision: match decision.verdict {
                Verdict::Yes => "yes",
                Verdict::No => "no",
                Verdict::Unsure => UNSURE,
            },
            confidence: decision.confidence,
            reason: decision.reason,
            reply_text: Some(reply_text),
            segments,
            encoding,
            cost_estimate,
            input_tokens: decision.input_tokens.into(),
            output_tokens: decision.output_tokens.into(),
        };
        Ok(Decided { decision, elapsed_ms: elapsed_ms() })
    }

    /// How long a text is on its way over a channel.
    pub fn size(&self, text: &str, channel: &str) -> Size {
        if channel != "sms" {
            return Size::default();
        }
        let segments = total_segments(text);
        Size {
            segments: Some(segments as i64),
            encoding: Some(Encoding::of(text).name()),
            cost_estimate: self.config.segment_price.map(|price| segments as f64 * price),
        }
    }

    /// A reply as it is sent.
    fn written(&self, reply: String, is_sms: bool) -> String {
        if is_sms && self.config.smart_encoding { segments::economical(reply) } else { reply }
    }

    fn instructions(&self, language: &Language, budget: &str) -> String {
        format!(
            "{} You answer a text message. Decide whether what it asks or proposes is agreed to (yes), declined (no), or \
             cannot be told (unsure); a text that asks nothing is a yes. Write the reply: at most {budget} of plain \
             text, in {} unless the text is in another language.",
            self.role, language.name
        )
    }
}

/// A model that does not answer in time is asked this often, which takes some ten minutes: its server may just be slow.
const MOST_TIMEOUTS: i64 = 8;

/// What the model is told of a reply of its own that is too long; it comes last in the conversation.
const TOO_LONG: &str =
    "Your last message is the reply you wrote, and it is too long. Decide as before, and write a shorter one.";

/// Whether a person has to look, for the text would only hold up those after it: the model was asked twice and gave
/// nothing usable, its server refuses what it is told (too long, or not liked by a filter), or it never comes to an
/// end. Other refusals are over the settings.
fn is_hopeless(error: &LlmError, tries: i64) -> bool {
    match error {
        LlmError::Unusable(_) => true,
        LlmError::Rejected { status: 400 | 413 | 422 } => tries > 0,
        LlmError::Timeout => tries >= MOST_TIMEOUTS,
        LlmError::Rejected { .. } | LlmError::Unavailable { .. } => false,
    }
}

/// The decision where the model gave none.
fn nothing_usable(error: &LlmError) -> TextDecision {
    TextDecision {
        decision: UNSURE,
        confidence: None,
        reason: Some(error.to_string()),
        reply_text: None,
        segments: None,
        encoding: None,
        cost_estimate: None,
        input_tokens: 0,
        output_tokens: 0,
    }
}

/// The languages whose letters are all in the GSM alphabet.
const GSM_LANGUAGES: [&str; 5] = ["de", "en", "it", "nl", "sv"];

/// The encoding that the reply to `text` is likely to need.
fn likely_encoding(text: &str, language: &Language) -> Encoding {
    let is_foreign = |c: char| c.is_alphabetic() && Encoding::of(c.encode_utf8(&mut [0; 4])) == Encoding::Ucs2;
    let is_gsm = GSM_LANGUAGES.contains(&language.phrases) && !text.contains(is_foreign);
    if is_gsm { Encoding::Gsm7 } else { Encoding::Ucs2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::voices;

    #[test]
    fn the_likely_encoding_is_that_of_the_language_and_the_text() {
        for (tag, text, expected) in [
            ("en", "Hello “you” 👋", Encoding::Gsm7),
            ("en", "Привет", Encoding::Ucs2),
            ("de", "Grüße", Encoding::Gsm7),
            ("fr", "Bonjour", Encoding::Ucs2),
            ("ja", "", Encoding::Ucs2),
        ] {
            assert_eq!(likely_encoding(text, voices::language(tag).unwrap()), expected, "{tag}: {text}");
        }
    }
}
