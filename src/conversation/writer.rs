//! Writes the answer of one spoken turn: from the model's pieces to sentences, each stored as it is complete.

use super::party::Party;
use super::sentences::Sentences;
use super::{Asked, ConversationService};
use crate::clock::{Clock, Micros};
use crate::db::conversations::{Answer, Except};
use crate::db::turns::{Heard, RENEWAL, TurnClaim, TurnEnd};
use crate::db::{Db, DbError};
use crate::llm::{End, LlmError, Piece};
use crate::telemetry::SLOW_MS;
use futures_util::{FutureExt, StreamExt};
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// However slowly a model speaks, nobody waits for it any more after this time.
const LONGEST_ANSWER: Duration = Duration::from_secs(180);

/// What an answer starts from.
pub struct Expected {
    /// What was said.
    pub words: String,
    /// The sentences of the answer that are there already.
    pub said: Vec<String>,
    /// When it was said.
    pub at: Micros,
}

/// What became of writing an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is complete.
    Whole,
    /// The model failed, or nobody listens any more.
    Failed,
    /// Another process answers the turn now.
    TakenOver,
}

/// Who answers which turn.
pub(super) struct TurnWriter {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) service: ConversationService,
    pub(super) claim: TurnClaim,
    pub(super) party: Party,
    pub(super) call_sid: String,
    pub(super) turn: i64,
    pub(super) hung_up: CancellationToken,
}

/// Why an answer stops before its end.
enum Break {
    Model(LlmError),
    Db(DbError),
    TakenOver,
}

impl From<DbError> for Break {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

/// What is there of an answer.
struct Draft {
    sentences: Vec<String>,
    /// Sentences of an earlier try, which a model that is told to go on may repeat.
    repeatable: usize,
    input_tokens: i64,
    output_tokens: i64,
    model: String,
}

impl TurnWriter {
    /// Writes the whole answer; `told` is called with the sentences whenever more of them are stored.
    pub(super) async fn write(self, expected: Expected, told: impl Fn(&[String])) -> Written {
        let started = Instant::now();
        let mut draft =
            Draft { sentences: expected.said, repeatable: 0, input_tokens: 0, output_tokens: 0, model: String::new() };
        let outcome = tokio::select! {
            outcome = timeout(LONGEST_ANSWER, self.answer(&expected.words, &mut draft, &told)) => {
                outcome.unwrap_or(Err(Break::Model(LlmError::Timeout)))
            }
            () = self.hung_up.cancelled() => Ok(()),
        };
        let turn_ms = (started.elapsed().as_secs_f64() * 1000.0).round();
        let (call_sid, turn) = (&self.call_sid, self.turn);
        let failed = match &outcome {
            Ok(()) if self.hung_up.is_cancelled() => {
                info!(call.sid = call_sid, turn, turn_ms, "The caller hung up during turn {turn}");
                draft.sentences.is_empty()
            }
            Ok(()) => {
                let (tokens_in, tokens_out) = (draft.input_tokens, draft.output_tokens);
                info!(
                    call.sid = call_sid,
                    turn, turn_ms, tokens_in, tokens_out, "Answered turn {turn} in {turn_ms} ms"
                );
                if turn_ms > SLOW_MS {
                    warn!(call.sid = call_sid, turn, turn_ms, "Answering a turn took longer than two seconds");
                }
                false
            }
            Err(Break::TakenOver) => return Written::TakenOver,
            Err(Break::Model(cause)) => {
                warn!(call.sid = call_sid, turn, turn_ms, error = %cause, "Turn {turn} has no answer");
                true
            }
            Err(Break::Db(cause)) => {
                error!(call.sid = call_sid, turn, error = %cause, "The answer of turn {turn} could not be stored");
                true
            }
        };
        self.end(draft, failed, turn_ms).await
    }

    async fn end(&self, draft: Draft, failed: bool, elapsed_ms: f64) -> Written {
        let (call_sid, turn) = (&self.call_sid, self.turn);
        let answer = (!draft.sentences.is_empty()).then(|| Answer {
            text: draft.sentences.join(" "),
            input_tokens: draft.input_tokens,
            output_tokens: draft.output_tokens,
            model: draft.model,
            elapsed_ms,
        });
        let end = TurnEnd { answer, failed, action: None, heard: Heard::AsTold, elapsed_ms };
        match self.db.end_turn(self.clock.now(), self.claim, end).await {
            Ok(false) => Written::TakenOver,
            Ok(true) if failed => Written::Failed,
            Ok(true) => Written::Whole,
            Err(cause) => {
                error!(call.sid = call_sid, turn, error = %cause, "The end of turn {turn} could not be stored");
                Written::Failed
            }
        }
    }

    /// The answer as the model gives it. One that breaks off after some sentences is asked for once more, from there on.
    async fn answer(&self, words: &str, draft: &mut Draft, told: &impl Fn(&[String])) -> Result<(), Break> {
        match self.listen(words, draft, told).await {
            Err(Break::Model(cause)) if !draft.sentences.is_empty() => {
                warn!(call.sid = self.call_sid, turn = self.turn, error = %cause, "An answer broke off and is asked for again");
                self.listen(words, draft, told).await
            }
            other => other,
        }
    }

    async fn listen(&self, words: &str, draft: &mut Draft, told: &impl Fn(&[String])) -> Result<(), Break> {
        draft.repeatable = draft.sentences.len();
        let person = &self.party.person;
        let except = Except::Turn(self.claim.id);
        let asked = Asked { person, peer: &self.party.peer, text: words, except, on_call: true };
        let mut pieces = self.service.speak(asked, &draft.sentences).await?;
        let mut cut = Sentences::new(person.language);
        loop {
            let Ok(piece) = timeout(RENEWAL, pieces.next()).await else {
                if self.db.progress_turn(self.claim, None).await? { continue } else { return Err(Break::TakenOver) }
            };
            let mut next = Some(piece);
            let mut complete = Vec::new();
            let mut end = None;
            // All that is there already is taken together: one write serves it.
            while let Some(piece) = next {
                match piece {
                    Some(Ok(Piece::Text(text))) => complete.extend(cut.push(&text)),
                    Some(Ok(Piece::Tool(_))) => {}
                    Some(Ok(Piece::End(over))) => end = Some(over),
                    Some(Err(cause)) => {
                        self.add(draft, complete, told).await?;
                        return Err(Break::Model(cause));
                    }
                    None => return Ok(()),
                }
                next = if end.is_some() { None } else { pieces.next().now_or_never() };
            }
            if end.is_some() {
                complete.extend(cut.finish());
            }
            self.add(draft, complete, told).await?;
            if let Some(end) = end {
                draft.count(end);
                return Ok(());
            }
        }
    }

    /// Stores sentences, then tells of them.
    async fn add(&self, draft: &mut Draft, complete: Vec<String>, told: &impl Fn(&[String])) -> Result<(), Break> {
        let before = draft.sentences.len();
        for sentence in complete {
            let is_repeated = draft.sentences.len() == before
                && before == draft.repeatable
                && draft.sentences[..draft.repeatable].contains(&sentence);
            if !is_repeated {
                draft.sentences.push(sentence);
            }
        }
        if draft.sentences.len() == before {
            return Ok(());
        }
        if !self.db.progress_turn(self.claim, Some(&draft.sentences)).await? {
            return Err(Break::TakenOver);
        }
        told(&draft.sentences);
        Ok(())
    }
}

impl Draft {
    fn count(&mut self, end: End) {
        self.input_tokens += i64::from(end.input_tokens);
        self.output_tokens += i64::from(end.output_tokens);
        self.model = end.model;
    }
}
