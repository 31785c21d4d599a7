//! Requests that name themselves with a key, so that repeating one does nothing twice. Kept for a day.

use super::{Db, DbError, read, unit};
use crate::clock::{Micros, SECOND};
use sqlx::FromRow;

/// A key is honoured this long.
pub const KEYS_KEPT: Micros = 24 * 3600 * SECOND;

/// One request, by its key.
#[derive(Debug, Clone)]
pub struct KeyedRequest {
    /// The operation; each has keys of its own.
    pub route: &'static str,
    /// The client's name for the request.
    pub key: String,
    /// Tells requests with the same key apart.
    pub fingerprint: String,
    /// Whom the answer tells of: it is erased with this user.
    pub user_id: i64,
}

/// What is known of a keyed request that came before.
pub(super) const KNOWN: &str = "SELECT fingerprint, status, body, created_at FROM idempotency_keys \
     WHERE route = $1 AND idempotency_key = $2 AND created_at >= $3";

/// Claims the request `$new` at the time `$now` within the transaction `$c`, or tells what is known of it.
macro_rules! claim_request {
    ($c:ident, $now:expr, $new:expr) => {{
        let claimed = sqlx::query(
            "INSERT INTO idempotency_keys (route, idempotency_key, fingerprint, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (route, idempotency_key) DO UPDATE SET fingerprint = excluded.fingerprint, status = NULL, \
             body = NULL, user_id = NULL, created_at = excluded.created_at WHERE idempotency_keys.created_at < $5",
        )
        .bind($new.route)
        .bind(&$new.key)
        .bind(&$new.fingerprint)
        .bind($now)
        .bind($now - $crate::db::idempotency::KEYS_KEPT)
        .execute(&mut *$c)
        .await?
        .rows_affected();
        if claimed > 0 {
            $crate::db::idempotency::KeyClaim::New
        } else {
            let query = sqlx::query_as($crate::db::idempotency::KNOWN).bind($new.route).bind(&$new.key);
            let known: Option<$crate::db::idempotency::Known> =
                query.bind($now - $crate::db::idempotency::KEYS_KEPT).fetch_optional(&mut *$c).await?;
            // Without a row it was released a moment ago, so it may be tried again.
            let in_flight = $crate::db::idempotency::KeyClaim::InFlight { since: $now };
            known.map_or(in_flight, |known| known.of($new))
        }
    }};
}
pub(super) use claim_request;

/// Keeps the answer to the claimed request `$done` within the transaction `$c`.
macro_rules! keep_response {
    ($c:ident, $done:expr, $status:expr, $body:expr) => {
        sqlx::query(
            "UPDATE idempotency_keys SET status = $3, body = $4, user_id = $5 WHERE route = $1 AND idempotency_key = $2",
        )
        .bind($done.route)
        .bind(&$done.key)
        .bind(i64::from($status))
        .bind($body)
        .bind($done.user_id)
        .execute(&mut *$c)
        .await?
    };
}
pub(super) use keep_response;

/// What is known of a keyed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyClaim {
    /// It is new, and the claimant's to carry out.
    New,
    /// It was answered so.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The body, byte for byte.
        body: String,
    },
    /// It came before and has no answer yet.
    InFlight {
        /// When it came.
        since: Micros,
    },
    /// The key is another request's.
    Other,
}

#[derive(FromRow)]
pub(super) struct Known {
    fingerprint: String,
    status: Option<i64>,
    body: Option<String>,
    created_at: Micros,
}

impl Known {
    /// What it says to a request with the same key.
    pub(super) fn of(self, request: &KeyedRequest) -> KeyClaim {
        match self {
            Self { fingerprint, .. } if fingerprint != request.fingerprint => KeyClaim::Other,
            Self { status: Some(status), body, .. } => {
                KeyClaim::Answered { status: u16::try_from(status).unwrap_or(500), body: body.unwrap_or_default() }
            }
            Self { created_at, .. } => KeyClaim::InFlight { since: created_at },
        }
    }
}

impl Db {
    /// What is known of a request; `None` when it is new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known_request(&self, now: Micros, request: &KeyedRequest) -> Result<Option<KeyClaim>, DbError> {
        let known: Option<Known> = read!(self, fetch_optional, KNOWN, request.route, &request.key, now - KEYS_KEPT)?;
        Ok(known.map(|known| known.of(request)))
    }

    /// Claims a request for this process, or tells what is known of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_request(&self, now: Micros, request: &KeyedRequest) -> Result<KeyClaim, DbError> {
        let new = request.clone();
        unit!(self, [new], |c| { Ok(claim_request!(c, now, &new)) })
    }

    /// Keeps the answer to a claimed request for its repetitions.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when its user was deleted.
    pub async fn keep_response(&self, request: &KeyedRequest, status: u16, body: &str) -> Result<(), DbError> {
        let (done, body) = (request.clone(), body.to_owned());
        unit!(self, [done, body], |c| {
            keep_response!(c, done, status, &body);
            Ok(())
        })
    }

    /// Forgets a claimed request that came to nothing, so that it may be tried again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_request(&self, request: &KeyedRequest) -> Result<(), DbError> {
        let failed = request.clone();
        unit!(self, [failed], |c| {
            let text = "DELETE FROM idempotency_keys WHERE route = $1 AND idempotency_key = $2 AND status IS NULL";
            sqlx::query(text).bind(failed.route).bind(&failed.key).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// Forgets the keys that came before `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_keys(&self, before: Micros) -> Result<u64, DbError> {
        unit!(self, [], |c| {
            let query = sqlx::query("DELETE FROM idempotency_keys WHERE created_at < $1").bind(before);
            Ok(query.execute(&mut *c).await?.rows_affected())
        })
    }
}
