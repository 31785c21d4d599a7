//! Writes the answer of one spoken turn: from the model's words to sentences, each stored as it is complete.

use super::ConversationService;
use super::call::OnCall;
use super::reply::{After, Begun, Cost, Reply, Said};
use super::sentences::Sentences;
use super::speech::joined;
use super::turns::Progress;
use crate::clock::Clock;
use crate::db::conversations::Answer;
use crate::db::turns::{Heard, Lease, RENEWAL, TurnClaim, TurnEnd};
use crate::db::{Db, DbError};
use crate::llm::LlmError;
use crate::telemetry::SLOW_MS;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// An answer that is complete this soon after its first words comes at once.
pub(super) const AT_ONCE: Duration = Duration::from_millis(100);
/// A longer pause between words shows that the model speaks at a pace.
const BETWEEN_WORDS: Duration = Duration::from_millis(10);

/// Logs that a turn was answered.
pub fn tell_of_answer(call_sid: &str, turn: i64, turn_ms: f64, cost: &Cost) {
    let Cost { input_tokens: tokens_in, output_tokens: tokens_out, .. } = cost;
    info!(call.sid = call_sid, turn, turn_ms, tokens_in, tokens_out, "Answered turn {turn} in {turn_ms} ms");
    if turn_ms > SLOW_MS {
        warn!(call.sid = call_sid, turn, turn_ms, "Answering a turn took longer than two seconds");
    }
}

/// What an answer starts from.
pub(super) struct Expected {
    /// What was said.
    pub(super) words: String,
    /// The sentences of the answer that are there already.
    pub(super) said: Vec<String>,
}

/// What became of writing an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is complete, and this follows.
    Whole(After),
    /// The model failed, or nobody listens any more.
    Failed,
    /// Another process answers the turn now.
    TakenOver,
}

/// Tells whoever waits how far the answer is.
type Telling = watch::Sender<Progress>;

/// Who answers which turn.
pub(super) struct TurnWriter {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) service: ConversationService,
    pub(super) claim: TurnClaim,
    pub(super) call: Arc<OnCall>,
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
    /// The call, in the language that the answer has come to.
    call: Arc<OnCall>,
    sentences: Vec<String>,
    /// How many of them are stored, and told to whoever waits.
    stored: usize,
    /// Sentences of an earlier try, which a model that is told to go on may repeat.
    repeatable: usize,
    after: After,
    cost: Cost,
}

impl TurnWriter {
    /// Writes the whole answer. Whoever waits is `told` of the sentences that are stored, and of a new language.
    pub(super) async fn write(self, expected: Expected, told: &Telling) -> Written {
        let started = Instant::now();
        let (call, stored) = (self.call.clone(), expected.said.len());
        let (sentences, after, cost) = (expected.said, After::Listen, Cost::default());
        let mut draft = Draft { call, sentences, stored, repeatable: 0, after, cost };
        let outcome = tokio::select! {
            biased;
            outcome = self.answer(&expected.words, &mut draft, told) => outcome,
            () = self.hung_up.cancelled() => Ok(()),
        };
        let turn_ms = (started.elapsed().as_secs_f64() * 1000.0).round();
        let (call_sid, turn) = (&self.call.call_sid, self.turn);
        let failed = match &outcome {
            Ok(()) if self.hung_up.is_cancelled() => {
                info!(call.sid = call_sid, turn, turn_ms, "The caller hung up during turn {turn}");
                draft.sentences.is_empty()
            }
            Ok(()) => {
                tell_of_answer(call_sid, turn, turn_ms, &draft.cost);
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
        self.end(draft, failed, turn_ms, told).await
    }

    async fn end(&self, draft: Draft, failed: bool, elapsed_ms: f64, told: &Telling) -> Written {
        let (call_sid, turn) = (&self.call.call_sid, self.turn);
        let is_stored = draft.is_stored();
        let Draft { sentences, after, cost, .. } = draft;
        // An answer may be nothing but the end of the call.
        let is_answer = !sentences.is_empty() || (!failed && after != After::Listen);
        let answer = is_answer.then(|| Answer {
            text: joined(&sentences),
            input_tokens: cost.input_tokens,
            output_tokens: cost.output_tokens,
            model: cost.model,
            elapsed_ms,
        });
        let failed = failed || !is_answer;
        let (action, rest) = (after.stored(), (!is_stored).then(|| sentences.clone()));
        let end = TurnEnd { answer, failed, action, heard: Heard::AsTold, sentences: rest, elapsed_ms };
        match self.db.end_turn(self.clock.now(), self.claim, end).await {
            Ok(false) => Written::TakenOver,
            Ok(true) => {
                if !is_stored {
                    told.send_modify(|now| (now.sentences, now.goes_on) = (sentences.into(), false));
                }
                if failed { Written::Failed } else { Written::Whole(after) }
            }
            Err(cause) => {
                error!(call.sid = call_sid, turn, error = %cause, "The end of turn {turn} could not be stored");
                Written::Failed
            }
        }
    }

    /// The answer as the model gives it. One that breaks off after some sentences goes on from there.
    async fn answer(&self, words: &str, draft: &mut Draft, told: &Telling) -> Result<(), Break> {
        draft.repeatable = draft.sentences.len();
        let there = Begun { said: joined(&draft.sentences), cost: Cost::default() };
        let mut reply = self.service.speak(&draft.call, self.claim.id, words, there).await?;
        let mut cut = Sentences::new(draft.call.person().language);
        let (mut begun, mut renewal) = (None, interval(RENEWAL));
        renewal.reset();
        let mut heard_at = Instant::now();
        loop {
            // By the time alone: words that complete no sentence are no sign of life to other processes.
            let said = tokio::select! {
                biased;
                _ = renewal.tick() => {
                    self.give_sign_of_life().await?;
                    continue;
                }
                said = reply.next() => said,
            };
            // Between its words, not between our looks: what we store meanwhile takes none of the model's time.
            let waited = heard_at.elapsed();
            heard_at = Instant::now();
            let at_a_pace = begun.get_or_insert_with(Instant::now).elapsed() > AT_ONCE && waited > BETWEEN_WORDS;
            let end = draft.take(said, &mut reply, &mut cut, told);
            draft.cost.clone_from(reply.cost());
            // What comes with the end is stored with it.
            if !draft.is_stored() && !matches!(end, Some(Ok(_))) {
                self.store(draft, at_a_pace && end.is_none(), told).await?;
            }
            match end {
                None => {}
                Some(Ok(after)) => {
                    draft.after = after;
                    return Ok(());
                }
                // What is left of a sentence was told to nobody.
                Some(Err(cause)) => {
                    reply.go_on_after(joined(&draft.sentences), cause).map_err(Break::Model)?;
                    cut = Sentences::new(draft.call.person().language);
                    draft.repeatable = draft.sentences.len();
                }
            }
        }
    }

    /// Renews the lease, which survives that it once cannot be renewed. News that the caller hung up may be lost, or
    /// come before this process answers the turn; they are seen here at the latest.
    async fn give_sign_of_life(&self) -> Result<(), Break> {
        match self.db.renew_turn(self.claim).await {
            Ok(Lease::Renewed) => Ok(()),
            Ok(Lease::CallOver) => {
                self.hung_up.cancel();
                Ok(())
            }
            Ok(Lease::Lost) => Err(Break::TakenOver),
            Err(cause) => {
                warn!(call.sid = self.call.call_sid, turn = self.turn, error = %cause, "The lease of a turn was not renewed");
                Ok(())
            }
        }
    }

    /// Stores the sentences, then tells of them.
    async fn store(&self, draft: &mut Draft, goes_on: bool, told: &Telling) -> Result<(), Break> {
        if !self.db.progress_turn(self.claim, &draft.sentences).await? {
            return Err(Break::TakenOver);
        }
        draft.stored = draft.sentences.len();
        let sentences: Arc<[String]> = draft.sentences.as_slice().into();
        told.send_modify(|now| (now.sentences, now.goes_on) = (sentences, goes_on));
        Ok(())
    }
}

impl Draft {
    /// Takes what was `said` and all that is there already besides, for one write serves it: the sentences it
    /// completes, and the answer's end if it has come.
    fn take(
        &mut self,
        said: Result<Said, LlmError>,
        reply: &mut Reply,
        cut: &mut Sentences,
        told: &Telling,
    ) -> Option<Result<After, LlmError>> {
        let (mut next, mut complete, mut end) = (Some(said), Vec::new(), None);
        while let Some(said) = next.take() {
            match said {
                Ok(Said::Words(text)) => complete.extend(cut.push(&text)),
                Ok(Said::Switched(language)) => {
                    complete.extend(cut.finish());
                    *cut = Sentences::new(language);
                    self.call = Arc::new((*self.call).clone().speaking(language));
                    told.send_modify(|now| now.language = language);
                }
                Ok(Said::End { after, whole }) => {
                    let rest = cut.finish();
                    // Of an answer that was cut the last sentence is broken, but better than nothing.
                    if whole || (complete.is_empty() && self.sentences.is_empty()) {
                        complete.extend(rest);
                    }
                    end = Some(Ok(after));
                }
                Err(cause) => end = Some(Err(cause)),
            }
            if end.is_none() {
                next = reply.ready();
            }
        }
        self.add(complete);
        end
    }

    fn add(&mut self, complete: Vec<String>) {
        for sentence in complete {
            let is_repeated = self.sentences.len() == self.repeatable && self.sentences.contains(&sentence);
            if !is_repeated {
                self.sentences.push(sentence);
            }
        }
    }

    fn is_stored(&self) -> bool {
        self.stored == self.sentences.len()
    }
}
