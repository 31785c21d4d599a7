//! The sentences of answers, stored as they are complete. On SQLite those of all calls that come in the meantime share
//! one statement: of everything that a call writes, sentences are the most.

use super::{LEASE, TurnClaim};
use crate::db::dialect::{postgres_now, postgres_rows, sqlite_now, sqlite_rows};
use crate::db::news::{News, tell};
use crate::db::{Db, DbError, json_list, unit};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::SqliteConnection;
use std::collections::HashSet;

/// The turns that are still their claimants', of a JSON list of [`SaidRow`].
macro_rules! progress {
    ($now:ident, $rows:ident) => {
        concat!(
            "UPDATE conversation_logs SET sentences = value ->> 'sentences', lease_until = ",
            $now!(),
            " + $2 FROM ",
            $rows!(),
            " WHERE conversation_logs.id = CAST(value ->> 'id' AS BIGINT) \
             AND attempt = CAST(value ->> 'attempt' AS BIGINT) AND answered_at IS NULL AND NOT failed \
             RETURNING conversation_logs.id, attempt"
        )
    };
}

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
        let row = SaidRow { claim, sentences: json_list(sentences) };
        if let Self::Sqlite { writer, .. } = self {
            return writer.gather_one("sentences", progress_on_sqlite, row).await;
        }
        let (rows, news) = (json_list(&[row]), self.news(News::Turn(claim.id)));
        unit!(self, [rows, news], |c| {
            let query = sqlx::query(progress!(postgres_now, postgres_rows)).bind(&rows).bind(LEASE);
            let written = query.execute(&mut *c).await?.rows_affected() > 0;
            tell!(c, news);
            Ok(written)
        })
    }
}

fn progress_on_sqlite<'c>(
    c: &'c mut SqliteConnection,
    rows: Vec<&'c SaidRow>,
) -> BoxFuture<'c, Result<Vec<bool>, DbError>> {
    Box::pin(async move {
        let query = sqlx::query_as(progress!(sqlite_now, sqlite_rows)).bind(json_list(&rows)).bind(LEASE);
        let written: Vec<TurnClaim> = query.fetch_all(&mut *c).await?;
        let written: HashSet<TurnClaim> = written.into_iter().collect();
        Ok(rows.iter().map(|row| written.contains(&row.claim)).collect())
    })
}
