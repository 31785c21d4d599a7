//! Requests that name themselves with a key, so that repeating one does nothing twice. Kept for a day.

use super::{Db, DbError, unit};
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
}

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
struct Known {
    fingerprint: String,
    status: Option<i64>,
    body: Option<String>,
    created_at: Micros,
}

impl Db {
    /// Claims a request for this process, or tells what is known of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_request(&self, now: Micros, request: &KeyedRequest) -> Result<KeyClaim, DbError> {
        let new = request.clone();
        unit!(self, [new], |c| {
            let claimed = sqlx::query(
                "INSERT INTO idempotency_keys (route, idempotency_key, fingerprint, created_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (route, idempotency_key) DO UPDATE SET fingerprint = excluded.fingerprint, status = NULL, \
                 body = NULL, created_at = excluded.created_at WHERE idempotency_keys.created_at < $5",
            )
            .bind(new.route)
            .bind(&new.key)
            .bind(&new.fingerprint)
            .bind(now)
            .bind(now - KEYS_KEPT)
            .execute(&mut *c)
            .await?
            .rows_affected();
            if claimed > 0 {
                return Ok(KeyClaim::New);
            }
            let text = "SELECT fingerprint, status, body, created_at FROM idempotency_keys \
                        WHERE route = $1 AND idempotency_key = $2";
            let known: Option<Known> = sqlx::query_as(text).bind(new.route).bind(&new.key).fetch_optional(c).await?;
            Ok(match known {
                Some(known) if known.fingerprint != new.fingerprint => KeyClaim::Other,
                Some(Known { status: Some(status), body, .. }) => {
                    KeyClaim::Answered { status: u16::try_from(status).unwrap_or(500), body: body.unwrap_or_default() }
                }
                Some(known) => KeyClaim::InFlight { since: known.created_at },
                // Released a moment ago, so it may be tried again.
                None => KeyClaim::InFlight { since: now },
            })
        })
    }

    /// Keeps the answer to a claimed request for its repetitions.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_response(&self, request: &KeyedRequest, status: u16, body: &str) -> Result<(), DbError> {
        let (done, body) = (request.clone(), body.to_owned());
        unit!(self, [done, body], |c| {
            let text = "UPDATE idempotency_keys SET status = $3, body = $4 WHERE route = $1 AND idempotency_key = $2";
            let query = sqlx::query(text).bind(done.route).bind(&done.key).bind(i64::from(status)).bind(&body);
            query.execute(&mut *c).await?;
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
