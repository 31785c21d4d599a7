//! All SQL text lives in this module: one text for SQLite and PostgreSQL, compiled for both.
//!
//! Reads go through `read!`, writes through `unit!`: one closure, one atomic unit. On SQLite a single writer takes the
//! units that wait into one transaction (`writer.rs`); on PostgreSQL each is a transaction of its own. What webhooks
//! read and write most is gathered on SQLite: one statement answers all who wait (`reader.rs`, `Writer::gather`).

mod accepted;
pub mod calls;
pub mod conversations;
mod dialect;
pub mod drafts;
mod error;
pub mod idempotency;
pub mod job_list;
pub mod jobs;
pub mod live_calls;
pub mod messages;
pub mod new_message;
pub mod news;
mod open;
pub mod opt_outs;
pub mod outbound;
pub mod placed_calls;
pub mod preferences;
pub mod quiet_window;
mod reader;
pub mod relay;
pub mod replies;
pub mod reply_reports;
pub mod sending;
pub mod summaries;
pub mod turns;
mod unreported;
pub mod users;
pub mod voice_answers;
pub mod voicemails;
mod writer;

pub use error::DbError;
pub use open::{OpenError, Probe};
use reader::Reader;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use writer::Writer;

/// How long a request waits for a connection or for a busy database before it counts as out of reach. Below every
/// webhook's deadline, so that a caller still gets a spoken apology.
const PATIENCE: Duration = Duration::from_secs(2);

/// The database: a file of our own, or a PostgreSQL server shared by several instances. Cheap to clone.
#[derive(Clone)]
pub enum Db {
    /// A SQLite file, locked for this process.
    Sqlite {
        /// Read-only connections.
        pool: SqlitePool,
        /// The reader of the webhooks.
        reader: Reader,
        /// The only writer.
        writer: Writer,
        /// Held as long as the gateway runs, so that no second one opens the file.
        _lock: Arc<File>,
    },
    /// A PostgreSQL server.
    Postgres(PgPool),
}

/// Reads rows from whichever database this is: `read!(self, fetch_all, "SELECT …", value, value)`.
macro_rules! read {
    ($db:expr, $fetch:ident, $text:expr $(, $value:expr)* $(,)?) => {
        match $db {
            $crate::db::Db::Sqlite { pool, .. } => sqlx::query_as($text)$(.bind($value))*.$fetch(pool).await,
            $crate::db::Db::Postgres(pool) => $crate::db::in_time(sqlx::query_as($text)$(.bind($value))*.$fetch(pool)).await,
        }
        .map_err($crate::db::DbError::from)
    };
}

/// Runs one atomic unit of writing: `unit!(self, [owned, values], |c| { … Ok(value) })`. The named values are cloned
/// into the closure, because SQLite's writer may run it twice. An `Err` undoes the unit and nothing else.
macro_rules! unit {
    ($db:expr, [$($v:ident),* $(,)?], |$c:ident| $body:block) => {
        match $db {
            $crate::db::Db::Sqlite { writer, .. } => {
                writer.run(move |$c| { $(let $v = $v.clone();)* Box::pin(async move $body) }).await
            }
            $crate::db::Db::Postgres(pool) => $crate::db::in_transaction!(pool, |$c| $body),
        }
    };
}

/// Runs one unit as a transaction on PostgreSQL, in a task of its own, so that a client that hangs up does not undo it
/// half-way. For `unit!`, and for what is gathered on SQLite.
macro_rules! in_transaction {
    ($pool:expr, |$c:ident| $body:block) => {{
        let pool = $pool.clone();
        let task = tokio::spawn($crate::db::in_time(async move {
            let mut transaction = pool.begin().await?;
            let outcome = {
                let $c = &mut *transaction;
                async move $body.await
            };
            match outcome {
                Ok(value) => {
                    transaction.commit().await?;
                    Ok(value)
                }
                Err(error) => {
                    transaction.rollback().await.ok();
                    Err(error)
                }
            }
        }));
        task.await.unwrap_or_else(|_| Err($crate::db::DbError::stopped()))
    }};
}
pub(crate) use in_transaction;
use {read, unit};

/// Ends what a server that fell silent (or a lock) would hold for ever.
pub(crate) async fn in_time<T, E: From<sqlx::Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(PATIENCE * 2, work).await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}

impl Db {
    /// `sqlite` or `postgres`, as the texts that must differ are chosen.
    fn text(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self {
            Self::Sqlite { .. } => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    /// The kind of database, for people: `SQLite` or `PostgreSQL`.
    pub fn kind(&self) -> &'static str {
        self.text("SQLite", "PostgreSQL")
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ping(&self) -> Result<(), DbError> {
        let (_,): (i32,) = read!(self, fetch_one, "SELECT 1")?;
        Ok(())
    }

    /// Ends all connections, after the writes that were accepted; the webhooks' reader goes with its last handle.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { pool, writer, .. } => {
                writer.close().await;
                pool.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Rows for a statement that writes many at once.
fn json_list<T: serde::Serialize>(rows: &[T]) -> String {
    // Rows are structs of texts and numbers: nothing in them can fail.
    serde_json::to_string(rows).unwrap_or_default()
}
