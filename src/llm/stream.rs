//! Answers piece by piece, for calls.
//!
//! Headers come long before the first token, so time is counted to pieces of text, never to bytes: keep-alive comments
//! and empty deltas do not extend it. The library reads the connection in a task of its own, which ends, and the
//! request with it, when the stream is dropped.

use std::{mem, sync::Arc, time::Duration, vec};

use async_openai::{error::OpenAIError, types::stream::StreamResponse};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    End, FIRST_PIECE, Finish, LlmError, Piece, Prompt,
    answer::{self, Flaw},
    client::{Live, Question},
    retry::Failure,
    wire::{Heard, Raw, Reply},
};

/// How long the token counts may come after the answer itself before we go without them.
const USAGE_WAIT: Duration = Duration::from_secs(1);

/// What the beginning of a streamed answer turned out to be.
pub(super) enum Opening {
    /// It is over, not a word can be said, and no tool is called.
    Flawed(Flaw),
    Speaking(Speech),
}

/// An answer that has begun.
pub(super) struct Speech {
    source: StreamResponse<Reply>,
    /// The first piece, until it is passed on.
    opening: Option<String>,
    raw: Raw,
    /// When the next piece has to be here.
    deadline: Instant,
    gap: Duration,
    /// Whether the last text with words in it looked finished.
    whole: bool,
}

impl Live {
    /// Begins an answer: everything up to its first piece with a word in it, retries included.
    pub(super) async fn open(&self, question: Question<'_>, deadline: Instant) -> Result<Opening, LlmError> {
        self.policy.run(deadline, || self.begin(question)).await
    }

    async fn begin(&self, question: Question<'_>) -> Result<Opening, Failure> {
        let mut dialect = self.learned.dialect();
        let mut source: StreamResponse<Reply> = loop {
            let request = self.request(question, dialect, true);
            match self.client.chat().create_stream_byot(&request).await.map_err(Failure::from) {
                Ok(source) => break source,
                Err(failure) => dialect = dialect.adapted(&failure, question.asked(true)).ok_or(failure)?,
            }
        };
        self.learned.keep(dialect);
        let (mut raw, mut held) = (Raw::default(), String::new());
        let (opening, whole) = loop {
            let Some(item) = source.next().await else { break (None, false) };
            held.push_str(&absorb(&mut raw, item)?.text);
            // Held back until there is a word: thoughts and nonsense are never passed on.
            if let Some(said) = answer::spoken(&held).filter(|said| answer::has_words(said)) {
                break (Some(said.to_owned()), answer::looks_whole(said));
            }
            if raw.calls.any(&question.prompt.tools) && raw.finish.is_some() {
                break (None, false);
            }
        };
        if opening.is_none() {
            raw.text = held;
            let flaw = answer::checked(&raw).err().unwrap_or(Flaw::Empty);
            // A call of a tool needs no words.
            if !(raw.calls.any(&question.prompt.tools) && matches!(flaw, Flaw::Empty | Flaw::Nonsense)) {
                return Ok(Opening::Flawed(flaw));
            }
        }
        let deadline = Instant::now() + if raw.finish.is_some() { USAGE_WAIT } else { self.gap };
        Ok(Opening::Speaking(Speech { source, opening, raw, deadline, gap: self.gap, whole }))
    }
}

/// What one event brought. Events that are not JSON are passed over.
fn absorb(raw: &mut Raw, item: Result<Reply, OpenAIError>) -> Result<Heard, Failure> {
    match item.map_err(Failure::from) {
        Ok(reply) => raw.absorb(reply),
        Err(Failure::Unreadable) => Ok(Heard::default()),
        Err(failure) => Err(failure),
    }
}

impl Speech {
    /// The next piece of text; None when the answer is over.
    async fn next(&mut self) -> Result<Option<String>, LlmError> {
        if let Some(opening) = self.opening.take() {
            return Ok(Some(opening));
        }
        loop {
            let ending = self.raw.finish.is_some();
            let item = match timeout_at(self.deadline, self.source.next()).await {
                Ok(Some(item)) => item,
                Ok(None) => return Ok(None),
                Err(_) if ending => return Ok(None),
                Err(_) => return Err(LlmError::Timeout),
            };
            match absorb(&mut self.raw, item) {
                Ok(Heard { text, .. }) if !text.is_empty() => {
                    if !text.trim().is_empty() {
                        self.whole = answer::looks_whole(&text);
                    }
                    self.deadline = Instant::now() + self.gap;
                    return Ok(Some(text));
                }
                Ok(_) if !ending && self.raw.finish.is_some() => self.deadline = Instant::now() + USAGE_WAIT,
                Ok(Heard { called: true, .. }) if !ending => self.deadline = Instant::now() + self.gap,
                Ok(_) => {}
                Err(_) if ending => return Ok(None),
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// How the answer ended. A server that does not say so, or whose connection ended early, leaves only its looks.
    fn finish(&self) -> Finish {
        let whole = self.raw.calls.look_whole().unwrap_or(self.whole);
        self.raw.finish.unwrap_or(if whole { Finish::Whole } else { Finish::Cut })
    }
}

/// [`super::Llm::stream`] for a live server.
pub(super) fn pieces(live: Arc<Live>, prompt: Prompt) -> impl Stream<Item = Result<Piece, LlmError>> + Send {
    stream::unfold((Talk::Unasked, live, prompt), |(mut talk, live, prompt)| async move {
        let piece = talk.next(&live, &prompt).await?;
        Some((piece, (talk, live, prompt)))
    })
}

/// Where a stream is.
enum Talk {
    Unasked,
    Speaking(Speech),
    /// The text is over; what is still to be passed on.
    Ending(vec::IntoIter<Piece>),
}

impl Talk {
    async fn next(&mut self, live: &Live, prompt: &Prompt) -> Option<Result<Piece, LlmError>> {
        let mut speech = match mem::replace(self, Self::Ending(Vec::new().into_iter())) {
            Self::Ending(mut pieces) => {
                let piece = pieces.next()?;
                *self = Self::Ending(pieces);
                return Some(Ok(piece));
            }
            Self::Speaking(speech) => speech,
            Self::Unasked => match begin(live, prompt).await {
                Ok(speech) => speech,
                Err(error) => return Some(Err(error)),
            },
        };
        match speech.next().await {
            Ok(Some(text)) => {
                *self = Self::Speaking(speech);
                Some(Ok(Piece::Text(text)))
            }
            Ok(None) => {
                let finish = speech.finish();
                let Raw { calls, input_tokens, output_tokens, model, .. } = speech.raw;
                let end = End { input_tokens, output_tokens, model: live.model_named(model), finish };
                let pieces: Vec<_> = calls.finished(&prompt.tools).map(Piece::Tool).chain([Piece::End(end)]).collect();
                let mut pieces = pieces.into_iter();
                let piece = pieces.next()?;
                *self = Self::Ending(pieces);
                Some(Ok(piece))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// An answer with words or a tool call in it; the model is asked twice for one at most.
async fn begin(live: &Live, prompt: &Prompt) -> Result<Speech, LlmError> {
    let deadline = Instant::now() + FIRST_PIECE;
    let mut question = Question::new(prompt, None);
    let flaw = match live.open(question, deadline).await? {
        Opening::Speaking(speech) => return Ok(speech),
        Opening::Flawed(flaw) => flaw,
    };
    question.nudge = flaw.nudge();
    match live.open(question, deadline).await? {
        Opening::Speaking(speech) => Ok(speech),
        Opening::Flawed(flaw) => Err(LlmError::Unusable(flaw.reason())),
    }
}
