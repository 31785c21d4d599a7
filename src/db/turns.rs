//! Spoken turns while they are answered. The row is where the process that writes an answer and the ones that tell it to the
//! caller meet: its sentences are there as they are completed, and its lease shows that somebody is writing. Whoever finds
//! the lease over takes the turn over under a higher attempt number; writes of an older attempt match no row.

mod ending;
mod progress;
mod reading;

use super::dialect::{postgres_now, sqlite_now};
use super::summaries::queue_summary;
use super::{Db, DbError, unit};
use crate::clock::{Micros, SECOND};
pub use ending::{Heard, TurnEnd};
pub(super) use progress::SaidRow;
pub use reading::Turn;
use serde::Serialize;
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
    /// What was said; empty when we called and the assistant speaks first.
    pub input_text: String,
    /// When.
    pub at: Micros,
}

/// A turn that this process may answer. A write under an older `attempt` than the row's matches no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow, Serialize)]
pub struct TurnClaim {
    /// The row.
    pub id: i64,
    /// 1 for the first process that answers the turn, one more each time it is taken over.
    pub attempt: i64,
}

/// What became of a lease that was to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It goes on.
    Renewed,
    /// It goes on, but the call is over, so that nobody hears the answer.
    CallOver,
    /// The turn is no longer the claimant's: another process took it over, or it was ended.
    Lost,
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
    /// Whether the user's calls are still answered.
    pub user_is_active: bool,
}

/// Whether a call is over, so that nobody hears an answer.
macro_rules! is_over {
    ($call_sid:literal) => {
        concat!("EXISTS (SELECT 1 FROM call_logs WHERE call_sid = ", $call_sid, " AND status_rank = 5)")
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
             (SELECT started_at FROM call_logs WHERE call_sid = $3) AS call_started_at, ",
            is_over!("$3"),
            " AS call_is_over, COALESCE((SELECT is_active FROM users WHERE id = $1), FALSE) AS user_is_active"
        )
    };
}
macro_rules! renew {
    ($now:ident) => {
        concat!(
            "UPDATE conversation_logs SET lease_until = ",
            $now!(),
            " + $3 WHERE id = $1 AND attempt = $2 AND answered_at IS NULL AND NOT failed RETURNING ",
            is_over!("conversation_logs.call_sid")
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

    /// Gives a sign of life, and looks whether the caller is still there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew_turn(&self, claim: TurnClaim) -> Result<Lease, DbError> {
        let text = self.text(renew!(sqlite_now), renew!(postgres_now));
        unit!(self, [], |c| {
            let query = sqlx::query_as(text).bind(claim.id).bind(claim.attempt).bind(LEASE);
            let renewed: Option<(bool,)> = query.fetch_optional(&mut *c).await?;
            Ok(match renewed {
                Some((false,)) => Lease::Renewed,
                Some((true,)) => Lease::CallOver,
                None => Lease::Lost,
            })
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
