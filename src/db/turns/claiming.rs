//! Turns are claimed by the one process that answers them. On SQLite the claims of all calls that wait share one
//! statement.

use super::{LEASE, TurnClaim, is_over};
use crate::clock::Micros;
use crate::db::dialect::{postgres_now, postgres_rows, sqlite_now, sqlite_rows};
use crate::db::summaries::queue_summary;
use crate::db::{Db, DbError, in_transaction, json_list};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};
use std::collections::HashMap;

/// A spoken turn that is about to be answered.
#[derive(Debug, Clone, Serialize)]
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

/// A turn that is to be claimed, and when its call is summed up if this is the first turn.
#[derive(Serialize)]
struct ClaimRow {
    #[serde(flatten)]
    new: NewTurn,
    #[serde(skip)]
    sum_up_at: Option<Micros>,
}

/// A claim that was granted.
#[derive(FromRow)]
struct Granted {
    call_sid: String,
    turn: i64,
    #[sqlx(flatten)]
    claim: NewClaim,
}

/// The turns that are new, of a JSON list of [`ClaimRow`], for the length of a lease.
macro_rules! claim {
    ($now:ident, $rows:ident) => {
        concat!(
            "INSERT INTO conversation_logs (user_id, peer, channel, call_sid, turn, input_text, failed, input_tokens, \
             output_tokens, processing_time_ms, model_used, created_at, attempt, lease_until) \
             SELECT CAST(value ->> 'user_id' AS BIGINT), value ->> 'peer', 'voice', value ->> 'call_sid', \
             CAST(value ->> 'turn' AS BIGINT), value ->> 'input_text', FALSE, 0, 0, 0, '', CAST(value ->> 'at' AS BIGINT), 1, ",
            $now!(),
            " + $2 FROM ",
            $rows!(),
            " WHERE TRUE ON CONFLICT (call_sid, turn) DO NOTHING RETURNING id, attempt, call_sid, turn, \
             (SELECT language FROM call_logs WHERE call_sid = conversation_logs.call_sid) AS language, \
             (SELECT purpose FROM call_logs WHERE call_sid = conversation_logs.call_sid) AS purpose, \
             (SELECT started_at FROM call_logs WHERE call_sid = conversation_logs.call_sid) AS call_started_at, ",
            is_over!(),
            " AS call_is_over, \
             COALESCE((SELECT is_active FROM users WHERE id = conversation_logs.user_id), FALSE) AS user_is_active"
        )
    };
}

/// Claims turns within the transaction `$c` of this kind of database: a list of the claim of each row, if it was
/// granted.
macro_rules! claim_rows {
    ($c:ident, $now:ident, $list:ident, $rows:expr) => {{
        let rows: &[&ClaimRow] = $rows;
        let query = sqlx::query_as(claim!($now, $list)).bind(json_list(rows)).bind(LEASE);
        let granted: Vec<Granted> = query.fetch_all(&mut *$c).await?;
        let mut granted: HashMap<(String, i64), NewClaim> =
            granted.into_iter().map(|Granted { call_sid, turn, claim }| ((call_sid, turn), claim)).collect();
        let mut claims = Vec::with_capacity(rows.len());
        for ClaimRow { new, sum_up_at } in rows {
            // Of two deliveries in one batch the first one is granted the claim.
            let claim = granted.remove(&(new.call_sid.clone(), new.turn));
            if let (Some(claim), Some(sum_up_at)) = (&claim, sum_up_at) {
                queue_summary!($c, &new.call_sid, claim.claim.id, sum_up_at, new.at);
            }
            claims.push(claim);
        }
        Ok(claims)
    }};
}

impl Db {
    /// Claims `(CallSid, turn)` for this process; `None` when the turn was claimed before. If it is the call's first
    /// turn, the call will be summed up at `sum_up_at`.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn claim_turn(&self, new: NewTurn, sum_up_at: Option<Micros>) -> Result<Option<NewClaim>, DbError> {
        let row = ClaimRow { new, sum_up_at };
        let pool = match self {
            Self::Sqlite { writer, .. } => return writer.gather("turn", claim_on_sqlite, row).await,
            Self::Postgres(pool) => pool,
        };
        let claims: Vec<Option<NewClaim>> =
            in_transaction!(pool, |c| { claim_rows!(c, postgres_now, postgres_rows, &[&row]) })?;
        Ok(claims.into_iter().next().flatten())
    }
}

fn claim_on_sqlite<'c>(
    c: &'c mut SqliteConnection,
    rows: Vec<&'c ClaimRow>,
) -> BoxFuture<'c, Result<Vec<Option<NewClaim>>, DbError>> {
    Box::pin(async move { claim_rows!(c, sqlite_now, sqlite_rows, &rows) })
}
