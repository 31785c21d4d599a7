//! An answer on a call while the model gives it: its words, and what it does besides speaking. A tool that does
//! something which the answer goes on after (another language, a text message) is run here, and the model told what
//! came of it.

use super::doer::Doer;
use super::tools::{self, Action};
use crate::llm::{Finish, Llm, LlmError, Message, Piece, Prompt, Tool, ToolCall};
use crate::twilio::voices::Language;
use futures_util::stream::{self, BoxStream, Fuse};
use futures_util::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

/// How often the model may go on after tools in one answer.
const ROUNDS: usize = 3;
/// However slowly a model speaks, nobody waits for its answer any longer.
const LONGEST_ANSWER: Duration = Duration::from_secs(180);
/// What the model is told of an answer that it was interrupted in; the words that are said already come last in the
/// conversation.
const GO_ON: &str = " You were interrupted in the middle of your answer. Your last message is what you have said so far: go on \
                     right after it, and repeat nothing of it.";

/// What comes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// More words, as the model wrote them.
    Words(String),
    /// The answer goes on in this language.
    Switched(&'static Language),
    /// The answer is over.
    End {
        /// What follows it.
        after: After,
        /// Whether the model said all it wanted to; if not, its last sentence may be broken.
        whole: bool,
    },
}

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The conversation goes on.
    Listen,
    /// The call is to end.
    EndCall,
    /// The caller is to be connected to a person.
    Transfer,
    /// The caller is to leave a message.
    Voicemail,
}

impl After {
    /// As it is stored; nothing when the conversation goes on.
    pub fn stored(self) -> Option<&'static str> {
        match self {
            Self::Listen => None,
            Self::EndCall => Some("end_call"),
            Self::Transfer => Some("transfer"),
            Self::Voicemail => Some("voicemail"),
        }
    }

    /// From what is stored.
    pub fn of(stored: Option<&str>) -> Self {
        match stored {
            Some("end_call") => Self::EndCall,
            Some("transfer") => Self::Transfer,
            Some("voicemail") => Self::Voicemail,
            _ => Self::Listen,
        }
    }
}

/// What an answer took so far.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Tokens of all prompts.
    pub input_tokens: i64,
    /// Tokens of all answers.
    pub output_tokens: i64,
    /// The model, as its server names it.
    pub model: String,
}

/// What is there of an answer whose writer was lost.
#[derive(Debug, Default)]
pub struct Begun {
    /// The words; may be empty.
    pub said: String,
    /// What they took.
    pub cost: Cost,
}

/// An answer that is being given.
pub struct Reply {
    llm: Arc<Llm>,
    does: Doer,
    /// What the model is told without the language to answer in, which may be switched.
    instructions: String,
    language: &'static Language,
    prompt: Prompt,
    /// How many messages there are up to what the caller said.
    asked: usize,
    pieces: Fuse<BoxStream<'static, Result<Piece, LlmError>>>,
    text: String,
    calls: Vec<ToolCall>,
    rounds: usize,
    cost: Cost,
    /// Whether it broke off once and was asked for again.
    again: bool,
    over_at: Instant,
}

impl Reply {
    /// The answer to the last of `messages`, after what is there of it already.
    pub(super) fn new(
        llm: Arc<Llm>,
        does: Doer,
        instructions: String,
        messages: Vec<Message>,
        tools: Vec<Tool>,
        begun: Begun,
    ) -> Self {
        let language = does.call.person().language;
        let (system, asked) = (in_language(&instructions, language), messages.len());
        let mut reply = Self {
            pieces: stream::empty().boxed().fuse(),
            prompt: Prompt { system, messages, tools },
            llm,
            does,
            instructions,
            language,
            asked,
            text: String::new(),
            calls: Vec::new(),
            rounds: 0,
            cost: begun.cost,
            again: false,
            over_at: Instant::now() + LONGEST_ANSWER,
        };
        if begun.said.is_empty() {
            reply.ask();
        } else {
            reply.ask_after(begun.said);
        }
        reply
    }

    fn ask(&mut self) {
        self.pieces = self.llm.stream(self.prompt.clone()).fuse();
    }

    fn ask_after(&mut self, said: String) {
        self.prompt.messages.truncate(self.asked);
        self.prompt.messages.extend([Message::assistant(said), Message::user("(Please go on.)")]);
        if !self.instructions.ends_with(GO_ON) {
            self.instructions.push_str(GO_ON);
        }
        self.prompt.system = in_language(&self.instructions, self.language);
        (self.calls, self.rounds) = (Vec::new(), 0);
        self.text.clear();
        self.ask();
    }

    /// The answer broke off: the model is asked once more, and goes on after the words that were `said`.
    ///
    /// # Errors
    /// The `cause`, when nothing was said yet or it broke off before.
    pub fn go_on_after(&mut self, said: String, cause: LlmError) -> Result<(), LlmError> {
        if self.again || !said.contains(char::is_alphanumeric) || self.over_at <= Instant::now() {
            return Err(cause);
        }
        let Doer { call, turn_id, .. } = &self.does;
        warn!(call.sid = call.call_sid, turn.id = turn_id, error = %cause, "An answer broke off and is asked for again");
        self.again = true;
        self.ask_after(said);
        Ok(())
    }

    /// What comes next; nothing follows [`Said::End`] or an error. May be dropped and called again at any moment.
    ///
    /// # Errors
    /// When the model fails, or stops in the middle.
    pub async fn next(&mut self) -> Result<Said, LlmError> {
        loop {
            let next = timeout_at(self.over_at, self.pieces.next()).await;
            let said = match next.map_err(|_| LlmError::Timeout)?.transpose()? {
                // The end is good at any time.
                Some(piece) if !matches!(piece, Piece::End(_)) && self.over_at <= Instant::now() => {
                    return Err(LlmError::Timeout);
                }
                Some(piece) => self.take(piece),
                // The stream is over and tools were called. The stream stays over if this is dropped in the middle.
                None => self.run_tools().await,
            };
            if let Some(said) = said {
                return Ok(said);
            }
        }
    }

    /// What comes next if it is there already; never runs tools.
    pub fn ready(&mut self) -> Option<Result<Said, LlmError>> {
        loop {
            match self.pieces.next().now_or_never()?? {
                Ok(piece) => {
                    if let Some(said) = self.take(piece) {
                        return Some(Ok(said));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn take(&mut self, piece: Piece) -> Option<Said> {
        match piece {
            Piece::Text(text) => {
                // What is said after a tool stands apart from what was said before.
                let apart = self.text.is_empty() && self.rounds > 0;
                self.text.push_str(&text);
                Some(Said::Words(if apart { format!("\n{text}") } else { text }))
            }
            Piece::Tool(call) => {
                self.calls.push(call);
                None
            }
            Piece::End(end) => {
                self.cost.input_tokens += i64::from(end.input_tokens);
                self.cost.output_tokens += i64::from(end.output_tokens);
                self.cost.model = end.model;
                let over = Said::End { after: After::Listen, whole: end.finish == Finish::Whole };
                self.calls.is_empty().then_some(over)
            }
        }
    }

    /// Nobody waits for the answer any more: its tools do nothing from now on.
    pub fn disarm(&mut self) {
        self.does.offered.clear();
    }

    /// What the answer took so far.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// Runs the tools that were called, and lets the model go on unless the answer ends with them.
    async fn run_tools(&mut self) -> Option<Said> {
        let calls = self.calls.clone();
        let (mut results, mut after, mut switched) = (Vec::with_capacity(calls.len()), After::Listen, None);
        if self.does.is_late().await {
            self.disarm();
        }
        for call in &calls {
            let result = match tools::action(&self.does.offered, call) {
                Ok(Action::EndCall) => {
                    after = After::EndCall;
                    "The call ends.".to_owned()
                }
                Ok(Action::Transfer) => {
                    after = After::Transfer;
                    "The caller is being connected.".to_owned()
                }
                Ok(Action::SwitchLanguage(language)) => {
                    switched = Some(language);
                    self.does.switch(language).await
                }
                Ok(Action::SendText(text)) => self.does.send(text).await,
                Err(fault) => fault,
            };
            // What the model names may be anything; only names of ours are for the log.
            let offered = self.does.offered.iter().map(|tool| tool.name()).find(|name| *name == call.name);
            info!(call.sid = self.does.call.call_sid, tool = offered.unwrap_or("unknown"), "The model called a tool");
            results.push(Message::result(&call.id, result));
        }
        // Only now, so that a caller of `next` who went away in the middle has the tools run again.
        self.calls.clear();
        self.rounds += 1;
        if after != After::Listen || self.rounds > ROUNDS {
            return Some(Said::End { after, whole: true });
        }
        self.prompt.messages.push(Message::calls(std::mem::take(&mut self.text), calls));
        self.prompt.messages.extend(results);
        if let Some(language) = switched {
            self.language = language;
            self.prompt.system = in_language(&self.instructions, language);
        }
        self.ask();
        switched.map(Said::Switched)
    }
}

/// Instructions with the language to answer in.
pub(super) fn in_language(instructions: &str, language: &Language) -> String {
    format!("{instructions} Answer in {} unless you are asked for another language.", language.name)
}
