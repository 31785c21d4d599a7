//! The sentences of answers, stored as they are complete. On SQLite those of all calls that come in the meantime share
//! one statement: of everything that a call writes, sentences are the most.

use super::{LEASE, TurnClaim};
use crate::db::dialect::{postgres_now, sqlite_now};
use crate::db::news::{News, tell};
use crate::db::{Db, DbError, json_list, unit};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::SqliteConnection;
use std::collections::HashSet;

/// Many turns, of a JSON list of [`SaidRow`].
const PROGRESS_SQLITE: &str = concat!(
    "UPDATE conversation_logs SET sentences = value ->> 'sentences', lease_until = ",
    sqlite_now!(),
    " + $2 FROM jsonb_each($1) AS rows WHERE conversation_logs.id = value ->> 'id' AND attempt = value ->> 'attempt' \
     AND answered_at IS NULL AND NOT failed RETURNING id, attempt"
);
/// One turn.
const PROGRESS_POSTGRES: &str = concat!(
    "UPDATE conversation_logs SET sentences = $3, lease_until = ",
    postgres_now!(),
    " + $4 WHERE id = $1 AND attempt = $2 AND answered_at IS NULL AND NOT failed"
);

/// What was said so far of an answer, as its row holds it.
#[derive(Serialize)]
pub(in crate::db) struct SaidRow {
    #[serde(flatten)]
    pub(in crate::db) claim: TurnClaim,
    /// JSON list.
    pub(in crate::db) sentences: String,
}

impl Db {
    /// Stores the sentences that are complete by now. False when the turn is no longer the claimant's: another process
    /// took it over, or it was ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn progress_turn(&self, claim: TurnClaim, sentences: &[String]) -> Result<bool, DbError> {
        let sentences = json_list(sentences);
        if let Self::Sqlite { writer, .. } = self {
            return writer.gather_one("sentences", progress_rows, SaidRow { claim, sentences }).await;
        }
        let news = self.news(News::Turn(claim.id));
        unit!(self, [sentences, news], |c| {
            let query = sqlx::query(PROGRESS_POSTGRES).bind(claim.id).bind(claim.attempt).bind(&sentences).bind(LEASE);
            let written = query.execute(&mut *c).await?.rows_affected() > 0;
            tell!(c, news);
            Ok(written)
        })
    }
}

fn progress_rows<'c>(c: &'c mut SqliteConnection, rows: Vec<&'c SaidRow>) -> BoxFuture<'c, Result<Vec<bool>, DbError>> {
    Box::pin(async move {
        let query = sqlx::query_as(PROGRESS_SQLITE).bind(json_list(&rows)).bind(LEASE);
        let written: Vec<(i64, i64)> = query.fetch_all(&mut *c).await?;
        let written: HashSet<(i64, i64)> = written.into_iter().collect();
        Ok(rows.iter().map(|row| written.contains(&(row.claim.id, row.claim.attempt))).collect())
    })
}
