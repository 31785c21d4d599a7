//! Spoken turns while they are answered. The row is where the process that writes an answer and the ones that tell it to the
//! caller meet: its sentences are there as they are completed, and its lease shows that somebody is writing. Whoever finds
//! the lease over takes the turn over under a higher attempt number; writes of an older attempt match no row.

use super::conversations::Answer;
use super::news::{News, tell};
use super::summaries::queue_summary;
use super::{Db, DbError, read, unit};
use crate::clock::{Micros, SECOND};
use sqlx::FromRow;
use std::time::Duration;

/// How long a turn stays with the process that answers it, without a sign of life from there. By the database's clock,
/// because the clocks of several machines may differ by more.
const LEASE: Micros = 6 * SECOND;
/// How often that sign of life is given: a lease survives a lost one.
pub const RENEWAL: Duration = Duration::from_secs(2);

/// A spoken turn that is about to be answered.
#[derive(Debug, Clone)]
pub struct NewTurn {
    /// The call.
    pub call_sid: String,
    /// The turn's number in the call.
    pub turn: i64,
    /// Whose conversation it is.
    pub user_id: i64,
    /// The other side; see [`crate::conversation::party::Party::peer`].
    pub peer: String,
    /// What was said.
    pub input_text: String,
    /// When.
    pub at: Micros,
}

/// A turn that this process may answer. A write under an older `attempt` than the row's matches no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct TurnClaim {
    /// The row.
    pub id: i64,
    /// 1 for the first process that answers the turn, one more each time it is taken over.
    pub attempt: i64,
}

/// A turn that was claimed, and what is known of its call.
#[derive(Debug, Clone, FromRow)]
pub struct NewClaim {
    /// The claim.
    #[sqlx(flatten)]
    pub claim: TurnClaim,
    /// The tag of the language that is spoken, when it is no longer the user's own.
    pub language: Option<String>,
    /// Why we called, when we did.
    pub purpose: Option<String>,
    /// When the call began; not known with its first webhook.
    pub call_started_at: Option<Micros>,
    /// Whether the call is over, so that nobody hears an answer.
    pub call_is_over: bool,
}

/// Where a turn is.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The row.
    pub id: i64,
    /// What was said.
    pub input_text: String,
    /// The sentences of the answer that are complete; an answer over ConversationRelay may be one piece.
    pub sentences: Vec<String>,
    /// Whether no more will come: the answer is complete, or failed.
    pub ended: bool,
    /// Whether the model failed; some sentences may be there all the same.
    pub failed: bool,
    /// What follows the answer: `end_call`, `transfer`, `voicemail`, or the conversation goes on.
    pub action: Option<String>,
    /// Whether a process is answering it.
    pub leased: bool,
    /// See [`NewClaim::language`].
    pub language: Option<String>,
    /// See [`NewClaim::purpose`].
    pub purpose: Option<String>,
    /// When it was said.
    pub created_at: Micros,
}

/// How a turn ended.
#[derive(Debug, Clone)]
pub struct TurnEnd {
    /// What was answered, which may be less than all when the model failed.
    pub answer: Option<Answer>,
    /// Whether the model failed.
    pub failed: bool,
    /// See [`Turn::action`].
    pub action: Option<&'static str>,
    /// What the caller heard of it.
    pub heard: Heard,
    /// From the question to the end of the answer, in milliseconds.
    pub elapsed_ms: f64,
}

/// What of an answer reached the caller.
#[derive(Debug, Clone)]
pub enum Heard {
    /// All of it.
    All,
    /// What was told so far; the rest is told part by part.
    AsTold,
    /// Only this.
    Only(String),
    /// Only this, and then an apology: the rest came too late.
    TooLate(String),
}

macro_rules! sqlite_now {
    () => {
        "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    };
}
macro_rules! postgres_now {
    () => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
    };
}
macro_rules! claim {
    ($now:ident) => {
        concat!(
            "INSERT INTO conversation_logs (user_id, peer, channel, call_sid, turn, input_text, failed, input_tokens, \
             output_tokens, processing_time_ms, model_used, created_at, attempt, lease_until) \
             VALUES ($1, $2, 'voice', $3, $4, $5, FALSE, 0, 0, 0, '', $6, 1, ",
            $now!(),
            " + $7) \
             ON CONFLICT (call_sid, turn) DO NOTHING RETURNING id, attempt, \
             (SELECT language FROM call_logs WHERE call_sid = $3) AS language, \
             (SELECT purpose FROM call_logs WHERE call_sid = $3) AS purpose, \
             (SELECT started_at FROM call_logs WHERE call_sid = $3) AS call_started_at, \
             EXISTS (SELECT 1 FROM call_logs WHERE call_sid = $3 AND status_rank = 5) AS call_is_over"
        )
    };
}
macro_rules! progress {
    ($now:ident) => {
        concat!(
            "UPDATE conversation_logs SET sentences = COALESCE($3, sentences), lease_until = ",
            $now!(),
            " + $4 \
             WHERE id = $1 AND attempt = $2 AND answered_at IS NULL AND NOT failed"
        )
    };
}
macro_rules! take_over {
    ($now:ident) => {
        concat!(
            "UPDATE conversation_logs SET attempt = attempt + 1, lease_until = ",
            $now!(),
            " + $2 \
             WHERE id = $1 AND answered_at IS NULL AND NOT failed AND lease_until < ",
            $now!(),
            " RETURNING id, attempt"
        )
    };
}
macro_rules! turn {
    ($now:ident) => {
        concat!(
            "SELECT turn.id, input_text, sentences, gpt_response, answered_at IS NOT NULL AS answered, failed, action, \
             COALESCE(lease_until, 0) >= ",
            $now!(),
            " AS leased, language, purpose, turn.created_at \
             FROM conversation_logs AS turn LEFT JOIN call_logs ON call_logs.call_sid = turn.call_sid \
             WHERE turn.call_sid = $1 AND turn.turn = $2"
        )
    };
}

/// A turn as its row holds it.
#[derive(FromRow)]
struct TurnRow {
    id: i64,
    input_text: String,
    sentences: String,
    gpt_response: Option<String>,
    answered: bool,
    failed: bool,
    action: Option<String>,
    leased: bool,
    language: Option<String>,
    purpose: Option<String>,
    created_at: Micros,
}

/// The sentences that `progress_turn` wrote; an answer that was never cut into any is one piece.
fn sentences(written: &str, answer: Option<String>) -> Vec<String> {
    let sentences: Vec<String> = serde_json::from_str(written).unwrap_or_default();
    if sentences.is_empty() { answer.into_iter().collect() } else { sentences }
}

impl Db {
    /// Claims `(CallSid, turn)` for this process; `None` when the turn was claimed before. If it is the call's first turn, the
    /// call will be summed up at `sum_up_at`.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn claim_turn(&self, new: NewTurn, sum_up_at: Option<Micros>) -> Result<Option<NewClaim>, DbError> {
        let text = self.text(claim!(sqlite_now), claim!(postgres_now));
        unit!(self, [new], |c| {
            let claimed: Option<NewClaim> = sqlx::query_as(text)
                .bind(new.user_id)
                .bind(&new.peer)
                .bind(&new.call_sid)
                .bind(new.turn)
                .bind(&new.input_text)
                .bind(new.at)
                .bind(LEASE)
                .fetch_optional(&mut *c)
                .await?;
            if let (Some(claimed), Some(sum_up_at)) = (&claimed, sum_up_at) {
                queue_summary!(c, &new.call_sid, claimed.claim.id, sum_up_at, new.at);
            }
            Ok(claimed)
        })
    }

    /// Stores the sentences that are complete by now, or with `None` only gives a sign of life. False when the turn is no
    /// longer the claimant's: another process took it over, or it was ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn progress_turn(&self, claim: TurnClaim, sentences: Option<&[String]>) -> Result<bool, DbError> {
        let text = self.text(progress!(sqlite_now), progress!(postgres_now));
        // A list of strings can always be written.
        let sentences = sentences.map(|sentences| serde_json::to_string(sentences).unwrap_or_default());
        let news = sentences.is_some().then(|| self.news(News::Turn(claim.id))).flatten();
        unit!(self, [sentences, news], |c| {
            let query = sqlx::query(text).bind(claim.id).bind(claim.attempt).bind(&sentences).bind(LEASE);
            let written = query.execute(&mut *c).await?.rows_affected() > 0;
            tell!(c, news);
            Ok(written)
        })
    }

    /// Ends a turn. False when it is no longer the claimant's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_turn(&self, now: Micros, claim: TurnClaim, end: TurnEnd) -> Result<bool, DbError> {
        let news = self.news(News::Turn(claim.id));
        unit!(self, [end, news], |c| {
            let answer = end.answer.as_ref();
            let (as_told, heard) = match &end.heard {
                Heard::All => (false, None),
                Heard::AsTold => (true, None),
                Heard::Only(text) => (false, Some(text.as_str())),
                Heard::TooLate(text) => (false, Some(text.as_str())),
            };
            let late = matches!(end.heard, Heard::TooLate(_));
            let written = sqlx::query(
                "UPDATE conversation_logs SET gpt_response = $3, failed = $4, input_tokens = COALESCE($5, input_tokens), \
                 output_tokens = COALESCE($6, output_tokens), model_used = COALESCE($7, model_used), \
                 processing_time_ms = $8, answered_at = $9, action = $10, lease_until = NULL, \
                 heard_text = CASE WHEN $11 THEN COALESCE(heard_text, '') ELSE $12 END, late = late OR $13 \
                 WHERE id = $1 AND attempt = $2 AND answered_at IS NULL AND NOT failed",
            )
            .bind(claim.id)
            .bind(claim.attempt)
            .bind(answer.map(|a| a.text.as_str()))
            .bind(end.failed)
            .bind(answer.map(|a| a.input_tokens))
            .bind(answer.map(|a| a.output_tokens))
            .bind(answer.map(|a| a.model.as_str()))
            .bind(end.elapsed_ms)
            .bind(answer.is_some().then_some(now))
            .bind(end.action)
            .bind(as_told && answer.is_some())
            .bind(heard)
            .bind(late)
            .execute(&mut *c)
            .await?
            .rows_affected();
            tell!(c, news);
            Ok(written > 0)
        })
    }

    /// Takes a turn over from a process that gave no sign of life for the length of a lease; `None` when somebody holds it
    /// or it is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_turn_over(&self, id: i64) -> Result<Option<TurnClaim>, DbError> {
        let text = self.text(take_over!(sqlite_now), take_over!(postgres_now));
        unit!(self, [], |c| { Ok(sqlx::query_as(text).bind(id).bind(LEASE).fetch_optional(&mut *c).await?) })
    }

    /// Where a turn of a call is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn turn(&self, call_sid: &str, turn: i64) -> Result<Option<Turn>, DbError> {
        let text = self.text(turn!(sqlite_now), turn!(postgres_now));
        let row: Option<TurnRow> = read!(self, fetch_optional, text, call_sid, turn)?;
        Ok(row.map(|row| Turn {
            id: row.id,
            input_text: row.input_text,
            sentences: sentences(&row.sentences, row.gpt_response),
            ended: row.answered || row.failed,
            failed: row.failed,
            action: row.action,
            leased: row.leased,
            language: row.language,
            purpose: row.purpose,
            created_at: row.created_at,
        }))
    }

    /// What was answered last in a call before a turn, and reached the caller.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_answer(&self, call_sid: &str, before: i64) -> Result<Option<String>, DbError> {
        let text = "SELECT COALESCE(heard_text, gpt_response) FROM conversation_logs \
                    WHERE call_sid = $1 AND turn < $2 AND gpt_response IS NOT NULL AND COALESCE(heard_text, ' ') <> '' \
                    ORDER BY turn DESC LIMIT 1";
        let last: Option<(String,)> = read!(self, fetch_optional, text, call_sid, before)?;
        Ok(last.map(|(answer,)| answer))
    }

    /// Whether the caller had an apology in place of this turn's answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_turn_late(&self, id: i64) -> Result<bool, DbError> {
        let late: Option<(bool,)> =
            read!(self, fetch_optional, "SELECT late FROM conversation_logs WHERE id = $1", id)?;
        Ok(late.is_some_and(|(late,)| late))
    }

    /// Ends all leases: the database is this process's alone, so whoever held them is gone. A webhook that asks for one of
    /// those turns takes it over at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_turns(&self) -> Result<(), DbError> {
        unit!(self, [], |c| {
            let text = "UPDATE conversation_logs SET lease_until = 0 WHERE answered_at IS NULL AND NOT failed";
            sqlx::query(text).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// Settles the turns that were begun before `before` and never ended: nobody asks for them any more. How many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail_orphaned_turns(&self, before: Micros) -> Result<u64, DbError> {
        unit!(self, [], |c| {
            let text = "UPDATE conversation_logs SET failed = TRUE \
                        WHERE answered_at IS NULL AND NOT failed AND created_at < $1";
            Ok(sqlx::query(text).bind(before).execute(&mut *c).await?.rows_affected())
        })
    }
}
