//! Spoken turns while they are answered. The row is where the process that writes an answer and the ones that tell it
//! to the caller meet: its sentences are there as they are completed, and its lease shows that somebody is writing.
//! Whoever finds the lease over takes the turn over under a higher attempt number; writes of an older attempt match no
//! row.

mod claiming;
mod ending;
mod progress;
mod reading;

use super::dialect::{postgres_now, sqlite_now};
use super::{Db, DbError, unit};
use crate::clock::{Micros, SECOND};
pub use claiming::{NewClaim, NewTurn};
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

/// A turn that this process may answer. A write under an older `attempt` than the row's matches no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromRow, Serialize)]
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

/// Whether the call of a turn is over, so that nobody hears an answer.
macro_rules! is_over {
    () => {
        "EXISTS (SELECT 1 FROM call_logs WHERE call_sid = conversation_logs.call_sid AND status_rank = 5)"
    };
}
use is_over;

macro_rules! renew {
    ($now:ident) => {
        concat!(
            "UPDATE conversation_logs SET lease_until = ",
            $now!(),
            " + $3 WHERE id = $1 AND attempt = $2 AND answered_at IS NULL AND NOT failed RETURNING ",
            is_over!()
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

    /// Takes a turn over from a process that gave no sign of life for the length of a lease; `None` when somebody holds
    /// it or it is over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_turn_over(&self, id: i64) -> Result<Option<TurnClaim>, DbError> {
        let text = self.text(take_over!(sqlite_now), take_over!(postgres_now));
        unit!(self, [], |c| { Ok(sqlx::query_as(text).bind(id).bind(LEASE).fetch_optional(&mut *c).await?) })
    }

    /// Ends all leases: the database is this process's alone, so whoever held them is gone. A webhook that asks for one
    /// of those turns takes it over at once.
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
