//! Calls that we place: written down as orders before Twilio is asked, and known by their CallSid from then on.

use super::calls::{CallEvent, rank};
use super::dialect::{postgres_now, sqlite_now};
use super::{Db, DbError, read, unit};
use crate::clock::{Micros, SECOND};
use sqlx::FromRow;

/// How long a process may take to change a call that a machine answered, and Twilio to ask for what the machine hears
/// then. By the database's clock.
const CHANGE_LEASE: Micros = 6 * SECOND;

/// What a webhook must know of a call that we placed.
#[derive(Debug, Clone, FromRow)]
pub struct PlacedCall {
    /// The user who is called.
    pub user_id: i64,
    /// Why we call.
    pub purpose: String,
}

/// Whether a process may change a call because of who answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeClaim {
    /// It may, for six seconds.
    Granted,
    /// Another one is at it.
    Held,
    /// It was done, or the call is not known.
    Settled,
}

/// Whether `$2` is news of who answered a call: a fax, or a machine that has spoken to its end, stays what it is.
macro_rules! is_news {
    () => {
        "COALESCE(answered_by, '') \
         NOT IN ($2, 'fax', 'machine_end_beep', 'machine_end_silence', 'machine_end_other')"
    };
}
macro_rules! claim_change {
    ($now:ident) => {
        concat!(
            "UPDATE call_logs SET change_until = ",
            $now!(),
            " + $3 WHERE call_sid = $1 AND change_until < ",
            $now!(),
            " AND ",
            is_news!()
        )
    };
}
macro_rules! is_changing {
    ($now:ident) => {
        concat!("SELECT COUNT(*) FROM call_logs WHERE call_sid = $1 AND change_until >= ", $now!(), " AND ", is_news!())
    };
}

impl Db {
    /// Writes down that `user_id` is about to be called, and why; the order's id.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn order_call(&self, user_id: i64, purpose: &str, now: Micros) -> Result<i64, DbError> {
        let purpose = purpose.to_owned();
        unit!(self, [purpose], |c| {
            let text = "INSERT INTO call_orders (user_id, purpose, created_at) VALUES ($1, $2, $3) RETURNING id";
            let (id,) = sqlx::query_as(text).bind(user_id).bind(&purpose).bind(now).fetch_one(&mut *c).await?;
            Ok(id)
        })
    }

    /// Writes down which call an order has become: Twilio has taken it, or it was answered. A webhook may have told of
    /// the call before, but not whom we called and why. False, and nothing is written, when the order is gone with its
    /// user or never was, when the call is to none of the user's numbers, and when it is another one: a caller's, or
    /// that of another order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_placed_call(&self, order: i64, call: CallEvent) -> Result<bool, DbError> {
        let rank = rank(&call.status);
        unit!(self, [call], |c| {
            let written = sqlx::query(
                "INSERT INTO call_logs (user_id, call_sid, direction, from_number, to_number, status, status_rank, \
                 started_at, purpose, created_at, account_sid) \
                 SELECT call_orders.user_id, $2, 'outbound-api', $3, $4, $5, $6, $7, purpose, $7, $8 FROM call_orders \
                 JOIN users ON users.id = call_orders.user_id \
                 LEFT JOIN user_preferences ON user_preferences.user_id = users.id \
                 WHERE call_orders.id = $1 AND $4 IN (phone_number, forward_number) \
                 ON CONFLICT (call_sid) DO UPDATE SET user_id = excluded.user_id, purpose = excluded.purpose \
                 WHERE call_logs.direction = 'outbound-api' AND (call_logs.purpose IS NULL \
                 OR (call_logs.user_id = excluded.user_id AND call_logs.purpose = excluded.purpose))",
            )
            .bind(order)
            .bind(&call.call_sid)
            .bind(&call.from)
            .bind(&call.to)
            .bind(&call.status)
            .bind(rank)
            .bind(call.at)
            .bind(call.account_sid.map(|sid| sid.to_string()))
            .execute(&mut *c)
            .await?
            .rows_affected();
            Ok(written > 0)
        })
    }

    /// A call that we placed; `None` when it is not one, or is not written down yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn placed_call(&self, call_sid: &str) -> Result<Option<PlacedCall>, DbError> {
        let text = "SELECT user_id, purpose FROM call_logs \
                    WHERE call_sid = $1 AND purpose IS NOT NULL AND user_id IS NOT NULL";
        read!(self, fetch_optional, text, call_sid)
    }

    /// Asks for the right to change a call because `who` answered it. What a process did under it is written down with
    /// [`Db::record_answered_by`]; the right of one that died runs out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_change(&self, call_sid: &str, who: &str) -> Result<ChangeClaim, DbError> {
        let claim = self.text(claim_change!(sqlite_now), claim_change!(postgres_now));
        let is_changing = self.text(is_changing!(sqlite_now), is_changing!(postgres_now));
        let (call_sid, who) = (call_sid.to_owned(), who.to_owned());
        unit!(self, [call_sid, who], |c| {
            let query = sqlx::query(claim).bind(&call_sid).bind(&who).bind(CHANGE_LEASE);
            if query.execute(&mut *c).await?.rows_affected() > 0 {
                return Ok(ChangeClaim::Granted);
            }
            let query = sqlx::query_as(is_changing).bind(&call_sid).bind(&who);
            let (held,): (i64,) = query.fetch_one(&mut *c).await?;
            Ok(if held > 0 { ChangeClaim::Held } else { ChangeClaim::Settled })
        })
    }

    /// Writes down who answered a call, in Twilio's words, after what had to be done was done; whether that is news. A
    /// fax, or a machine that has spoken to its end, stays what it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_answered_by(&self, call_sid: &str, who: &str) -> Result<bool, DbError> {
        let (call_sid, who) = (call_sid.to_owned(), who.to_owned());
        unit!(self, [call_sid, who], |c| {
            let text = concat!("UPDATE call_logs SET answered_by = $2 WHERE call_sid = $1 AND ", is_news!());
            Ok(sqlx::query(text).bind(&call_sid).bind(&who).execute(&mut *c).await?.rows_affected() > 0)
        })
    }

    /// Forgets the orders given before `before`: their calls were answered, or never will be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_call_orders(&self, before: Micros) -> Result<u64, DbError> {
        unit!(self, [], |c| {
            let query = sqlx::query("DELETE FROM call_orders WHERE created_at < $1").bind(before);
            Ok(query.execute(&mut *c).await?.rows_affected())
        })
    }
}
