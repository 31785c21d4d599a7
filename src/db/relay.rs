//! Calls over ConversationRelay: where one stands when a session begins, what was heard of it, and sessions that were
//! lost.

use super::calls::rank;
use super::dialect::{postgres_rows, sqlite_rows};
use super::turns::{SaidRow, TurnClaim};
use super::voice_answers::{KeptRow, Told, VoiceAnswer, VoiceStep, stored};
use super::{Db, DbError, json_list, read, unit};
use crate::clock::Micros;
use sqlx::FromRow;

/// Where a call stands.
#[derive(Debug, Clone, FromRow)]
pub struct RelayCall {
    /// The highest turn so far; 0 before the first.
    pub last_turn: i64,
    /// The tag of the language that is spoken, when it is no longer the user's own.
    pub language: Option<String>,
    /// The Twilio account, when it is known.
    pub account_sid: Option<String>,
    /// Why we called, when we did.
    pub purpose: Option<String>,
    /// Sessions lost since the last one that answered a turn.
    pub relay_failures: i64,
    /// When the call began.
    pub started_at: Micros,
}

/// The action of a turn whose answer broke off with its session: no caller heard the end of it, and the next session
/// takes it up.
pub const BROKEN_OFF: &str = "broken_off";

/// The action of a turn whose answer is whole, but whose session was lost before the end of it was spoken: the next
/// session says the rest.
pub const UNHEARD: &str = "unheard";

/// The action of a turn whose answer ended where the caller broke in.
pub const BROKEN_INTO: &str = "broken_into";

/// A question whose answer was not heard to its end, as a lost session left it.
#[derive(Debug, Clone, FromRow)]
pub struct LeftTurn {
    /// The turn, open again unless the answer is whole.
    #[sqlx(flatten)]
    pub claim: TurnClaim,
    /// What the caller said.
    pub input_text: String,
    /// What the caller heard of the answer; not known when the session's process was killed.
    pub heard: Option<String>,
    /// The sentences that are stored of it: a JSON list.
    pub sentences: String,
    /// The answer, if it is whole.
    pub whole: Option<String>,
    /// What that much took.
    pub input_tokens: i64,
    /// What that much took.
    pub output_tokens: i64,
    /// The model that gave it.
    pub model_used: String,
}

/// How an answer that a lost session left goes on over webhooks.
#[derive(Debug, Clone)]
pub struct LeftOver {
    /// The sentences that are there of it.
    pub sentences: Vec<String>,
    /// How many of them count as told.
    pub told: usize,
    /// What the caller heard.
    pub heard: String,
}

/// Takes a turn up within the transaction `$c`. One that is open again has no answer but the sentences that count as
/// said.
macro_rules! take_up {
    ($c:ident, $call_sid:expr, $turn:expr) => {{
        let text = "UPDATE conversation_logs SET attempt = attempt + 1, failed = FALSE, action = NULL, lease_until = 0, \
                    answered_at = CASE WHEN action = $4 THEN answered_at END \
                    WHERE call_sid = $1 AND turn = $2 \
                    AND (action IN ($3, $4) OR (answered_at IS NULL AND NOT failed)) \
                    RETURNING id, attempt, input_text, COALESCE(heard_text, gpt_response) AS heard, sentences, \
                    CASE WHEN answered_at IS NOT NULL THEN gpt_response END AS whole, input_tokens, output_tokens, model_used";
        let query = sqlx::query_as(text).bind($call_sid).bind($turn).bind(BROKEN_OFF).bind(UNHEARD);
        let left: Option<LeftTurn> = query.fetch_optional(&mut *$c).await?;
        if let Some(LeftTurn { claim, heard, whole, .. }) = &left {
            let said: Vec<&String> = heard.iter().filter(|heard| !heard.is_empty()).collect();
            let said = (heard.is_some() && whole.is_none()).then(|| json_list(&said));
            let text = "UPDATE conversation_logs SET sentences = COALESCE($2, sentences), heard_text = NULL, \
                        gpt_response = CASE WHEN answered_at IS NOT NULL THEN gpt_response END WHERE id = $1";
            sqlx::query(text).bind(claim.id).bind(said).execute(&mut *$c).await?;
        }
        left
    }};
}

/// What was said so far of an answer that is being given.
#[derive(Debug)]
pub struct SoFar {
    /// The turn.
    pub claim: TurnClaim,
    /// The words, in one piece.
    pub words: String,
}

/// `rows` is a JSON list of [`SaidRow`].
macro_rules! save_said {
    ($rows:ident) => {
        concat!(
            "UPDATE conversation_logs SET sentences = value ->> 'sentences' FROM ",
            $rows!(),
            " WHERE conversation_logs.id = CAST(value ->> 'id' AS BIGINT) \
             AND attempt = CAST(value ->> 'attempt' AS BIGINT) AND answered_at IS NULL AND NOT failed"
        )
    };
}
const SAVE_SAID_SQLITE: &str = save_said!(sqlite_rows);
const SAVE_SAID_POSTGRES: &str = save_said!(postgres_rows);

impl Db {
    /// Stores what was said so far of answers, each once. Nothing is stored of a turn that is no longer the claimant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_said(&self, said: Vec<SoFar>) -> Result<(), DbError> {
        let row = |SoFar { claim, words }| SaidRow { claim, sentences: json_list(&[words]) };
        let rows: Vec<SaidRow> = said.into_iter().map(row).collect();
        let rows = json_list(&rows);
        let text = self.text(SAVE_SAID_SQLITE, SAVE_SAID_POSTGRES);
        unit!(self, [rows], |c| {
            sqlx::query(text).bind(&rows).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// Takes up the last turn of a call, if its answer was not heard to its end because its session was lost. Of an
    /// answer that is whole the rest counts as heard from now on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_up_turn(&self, call_sid: &str, turn: i64) -> Result<Option<LeftTurn>, DbError> {
        let call_sid = call_sid.to_owned();
        unit!(self, [call_sid], |c| { Ok(take_up!(c, &call_sid, turn)) })
    }

    /// The same where the call goes on over webhooks: the turn is told from the part after `step` on, and `twiml` is
    /// what leads there; `left_over` says how far it was told. Answers with the document that was stored first, and
    /// with none when there is nothing to take up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave_to_webhooks(
        &self,
        now: Micros,
        step: &VoiceStep,
        user_id: i64,
        twiml: String,
        left_over: impl Fn(&LeftTurn) -> LeftOver + Clone + Send + Sync + 'static,
    ) -> Result<Option<String>, DbError> {
        let (step, keep) = (step.clone(), self.keep());
        unit!(self, [step, twiml, left_over], |c| {
            let stored = stored!(c, step);
            if stored.is_some() {
                return Ok(stored);
            }
            // A redelivery at another gateway may have been faster, and is waited for here.
            let Some(left) = take_up!(c, &step.call_sid, step.turn) else { return Ok(stored!(c, step)) };
            let LeftOver { sentences, told, heard } = left_over(&left);
            let sentences = json_list(&sentences);
            let text = "UPDATE conversation_logs SET sentences = $2, heard_text = $3 WHERE id = $1";
            sqlx::query(text).bind(left.claim.id).bind(&sentences).bind(&heard).execute(&mut *c).await?;
            let told = i64::try_from(told).unwrap_or(i64::MAX);
            let answer = VoiceAnswer { told, twiml: twiml.clone(), ..VoiceAnswer::default() };
            let row = json_list(&[KeptRow::new(now, &step, user_id, answer, Told::Nothing)]);
            sqlx::query(keep).bind(&row).execute(&mut *c).await?;
            Ok(Some(twiml))
        })
    }

    /// Where a call stands; `None` when it is not known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn relay_call(&self, call_sid: &str) -> Result<Option<RelayCall>, DbError> {
        let text = "SELECT COALESCE((SELECT MAX(turn) FROM conversation_logs WHERE call_sid = $1), 0) AS last_turn, \
                    language, account_sid, purpose, relay_failures, started_at FROM call_logs WHERE call_sid = $1";
        read!(self, fetch_optional, text, call_sid)
    }

    /// Of the answer of this turn only `heard` reached the caller after all, or all of it, and sooner than was
    /// reckoned. Nothing is stored of a turn that another session has taken up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn heard_only(&self, claim: TurnClaim, heard: Option<String>) -> Result<(), DbError> {
        unit!(self, [heard], |c| {
            let query = sqlx::query(
                "UPDATE conversation_logs SET heard_text = $3, lease_until = NULL WHERE id = $1 AND attempt = $2",
            );
            query.bind(claim.id).bind(claim.attempt).bind(&heard).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// Of the answer of this turn only `heard` reached the caller before the session was lost. What was to follow it
    /// follows; else the rest is still to be said. The first account of it counts: the session's own, or that of
    /// whoever was told of the loss before. Nothing is stored of a turn that another session has taken up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave_unheard(&self, claim: TurnClaim, heard: String) -> Result<(), DbError> {
        unit!(self, [heard], |c| {
            let text = "UPDATE conversation_logs SET heard_text = $3, action = COALESCE(action, $4), lease_until = NULL \
                        WHERE id = $1 AND attempt = $2 AND COALESCE(action, '') <> $4";
            let query = sqlx::query(text).bind(claim.id).bind(claim.attempt);
            query.bind(&heard).bind(UNHEARD).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// A session of a call was lost, which counts once however often it is told, if the session is known. Answers with
    /// the sessions lost since the last one that answered a turn. The call goes on, whatever was reported of it: Twilio
    /// may tell the loss as the call's failure, too.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_relay_failure(&self, call_sid: &str, session_id: &str) -> Result<i64, DbError> {
        let (call_sid, session_id) = (call_sid.to_owned(), session_id.to_owned());
        unit!(self, [call_sid, session_id], |c| {
            let text = "UPDATE call_logs SET relay_session = $2, relay_failures = relay_failures + \
                        CASE WHEN $2 <> '' AND relay_session = $2 THEN 0 ELSE 1 END, \
                        ended_at = CASE WHEN status <> 'failed' THEN ended_at END, \
                        duration_seconds = CASE WHEN status <> 'failed' THEN duration_seconds END, \
                        status_rank = CASE WHEN status <> 'failed' THEN status_rank ELSE $3 END, \
                        status = CASE WHEN status <> 'failed' THEN status ELSE 'in-progress' END \
                        WHERE call_sid = $1 RETURNING relay_failures";
            let query = sqlx::query_as(text).bind(&call_sid).bind(&session_id).bind(rank("in-progress"));
            let counted: Option<(i64,)> = query.fetch_optional(&mut *c).await?;
            Ok(counted.map_or(1, |(failures,)| failures))
        })
    }

    /// A session of a call works.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_relay_failures(&self, call_sid: &str) -> Result<(), DbError> {
        let call_sid = call_sid.to_owned();
        unit!(self, [call_sid], |c| {
            let query = sqlx::query("UPDATE call_logs SET relay_failures = 0 WHERE call_sid = $1");
            query.bind(&call_sid).execute(&mut *c).await?;
            Ok(())
        })
    }
}
