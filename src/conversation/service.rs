//! What the model is asked and how, for every way of talking: a spoken turn, and the REST API.

use super::call::OnCall;
use super::doer::Doer;
use super::party::Person;
use super::reply::{Begun, Reply, in_language};
use super::{thread, tools};
use crate::clock::Clock;
use crate::config::VoiceTool;
use crate::db::conversations::{Answer, Except};
use crate::db::{Db, DbError};
use crate::llm::{Llm, LlmError, Message, Prompt};
use crate::twilio::address::Address;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What the model is told of calls.
const ON_CALL: &str = " You are on a telephone call and your words are read aloud: answer in a few short sentences of plain \
                       speech, without lists, markup, emoji or web addresses.";
/// What the model is told before the purpose of a call that an answering machine took.
const MACHINE: &str = " You have called this person yourself, and their answering machine records: say the whole message and \
                       ask for nothing that needs an answer now. The purpose of the call:";
/// What the model is told of an answer that the caller was not told in time.
const LATE: &str = "Your last answer came too late: the caller did not hear it. If it still matters, begin with it, and say \
                    that it is about the earlier question.";

/// Answers what people say. Cheap to clone.
#[derive(Clone)]
pub struct ConversationService {
    db: Db,
    llm: Arc<Llm>,
    clock: Clock,
    system_prompt: Option<Arc<str>>,
    /// What the model may do on calls.
    tools: Arc<[VoiceTool]>,
    /// Tells the outbox that a job is due.
    wake: Arc<Notify>,
    /// How long a whole answer may take that nobody waits for on the telephone.
    timeout: Duration,
}

/// Something said, by whom and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whose conversation it is.
    pub person: &'a Person,
    /// The other side; see [`super::party::Party::peer`].
    pub peer: &'a str,
    /// The words.
    pub text: &'a str,
    /// The row of these words, which is not part of what was said before.
    pub except: Except,
}

/// Why there is no reply or decision.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The model has none.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// The history cannot be read.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ConversationService {
    /// A service that speaks with `llm` and remembers in `db`. The operator's `system_prompt` replaces the built-in
    /// role.
    pub fn new(
        db: Db,
        llm: Arc<Llm>,
        clock: Clock,
        system_prompt: Option<&str>,
        tools: &[VoiceTool],
        wake: Arc<Notify>,
        timeout: Duration,
    ) -> Self {
        Self { db, llm, clock, system_prompt: system_prompt.map(Arc::from), tools: tools.into(), wake, timeout }
    }

    /// The model's whole answer, with what was said before in mind. Stores nothing.
    ///
    /// # Errors
    /// When the model gives no usable answer in time, or the history cannot be read.
    pub async fn answer(&self, asked: Asked<'_>) -> Result<Answer, AnswerError> {
        let started = Instant::now();
        let (messages, _) = self.thread(&asked).await?;
        let system = in_language(self.role(), asked.person.language);
        let prompt = Prompt { system, messages, ..Prompt::default() };
        let completion = self.llm.complete(&prompt, self.timeout).await?;
        Ok(Answer {
            text: completion.text,
            input_tokens: completion.input_tokens.into(),
            output_tokens: completion.output_tokens.into(),
            model: completion.model,
            elapsed_ms: started.elapsed().as_secs_f64() * 1000.0,
        })
    }

    /// The model's answer to `words` on a call as it is given, after what is there of it already; without words the
    /// assistant speaks first. `turn_id` is the row of the turn. Nothing is asked before the first poll; dropping the
    /// reply ends the request.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub async fn speak(&self, call: &Arc<OnCall>, turn_id: i64, words: &str, begun: Begun) -> Result<Reply, DbError> {
        let person = call.person();
        let text = if words.is_empty() { thread::CALL_ANSWERED } else { words };
        let asked = Asked { person, peer: &call.party.peer, text, except: Except::Turn(turn_id) };
        let (messages, answer_was_late) = self.thread(&asked).await?;
        let mut instructions = format!("{}{ON_CALL}", self.role());
        if let Some(purpose) = &call.purpose {
            instructions = format!("{instructions} You have called this person yourself, for this purpose: {purpose}");
        }
        if answer_was_late {
            instructions = format!("{instructions} {LATE}");
        }
        let offered = self.offered(call);
        let tools = offered.iter().copied().map(tools::offered).collect();
        let does = Doer {
            db: self.db.clone(),
            clock: self.clock.clone(),
            call: call.clone(),
            turn_id,
            offered,
            wake: self.wake.clone(),
        };
        Ok(Reply::new(self.llm.clone(), does, instructions, messages, tools, begun))
    }

    /// What to leave on an answering machine that took a call made for `purpose`, in at most `time`. Stores nothing.
    ///
    /// # Errors
    /// When the model gives no usable message in time.
    pub async fn message(&self, call: &OnCall, purpose: &str, time: Duration) -> Result<String, LlmError> {
        let system = in_language(&format!("{}{ON_CALL}{MACHINE} {purpose}", self.role()), call.person().language);
        let messages = vec![Message::user(thread::MACHINE_LISTENS)];
        let prompt = Prompt { system, messages, ..Prompt::default() };
        Ok(self.llm.complete(&prompt, time).await?.text)
    }

    /// The configured tools that can do something on this call.
    fn offered(&self, call: &OnCall) -> Vec<VoiceTool> {
        let is_of_use = |tool: &VoiceTool| match tool {
            VoiceTool::EndCall | VoiceTool::SwitchLanguage => true,
            VoiceTool::TransferToHuman => call.transfer_to.is_some(),
            VoiceTool::SendTextToCaller => Address::parse(&call.caller).number.is_some(),
        };
        self.tools.iter().copied().filter(is_of_use).collect()
    }

    /// What was said before and now, and whether the last answer came too late to be heard.
    async fn thread(&self, asked: &Asked<'_>) -> Result<(Vec<Message>, bool), DbError> {
        let earlier = self.db.thread(asked.person.user_id, asked.peer, asked.except).await?;
        let thread = thread::thread(earlier, asked.text, self.clock.now(), asked.person.conversation_timeout);
        Ok((thread.messages, thread.answer_was_late))
    }

    /// The operator's role for the model, or the built-in one.
    pub(crate) fn role(&self) -> &str {
        self.system_prompt.as_deref().unwrap_or("You are a helpful, friendly assistant.")
    }
}
