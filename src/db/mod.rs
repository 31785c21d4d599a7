//! All SQL text lives in this module: one text for SQLite and PostgreSQL, compiled for both.
//!
//! Reads go through `read!`, writes through `unit!`: one closure, one atomic unit. On SQLite a single writer takes the units
//! that wait into one transaction (`writer.rs`); on PostgreSQL each is a transaction of its own. What webhooks read and write
//! most is gathered on SQLite: one statement answers all who wait (`reader.rs`, `Writer::gather`).

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
use reader::Reader;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
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
        readers: SqlitePool,
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
            $crate::db::Db::Sqlite { readers, .. } => sqlx::query_as($text)$(.bind($value))*.$fetch(readers).await,
            $crate::db::Db::Postgres(pool) => $crate::db::in_time(sqlx::query_as($text)$(.bind($value))*.$fetch(pool)).await,
        }
        .map_err($crate::db::DbError::from)
    };
}

/// Runs one atomic unit of writing: `unit!(self, [owned, values], |c| { … Ok(value) })`. The named values are cloned into
/// the closure, because SQLite's writer may run it twice. An `Err` undoes the unit and nothing else.
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
/// half-way.
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
    /// Opens (SQLite: creates) the database at `path` and brings its tables up to date.
    ///
    /// # Errors
    /// When another gateway holds the file, when it cannot be written, or when a migration fails.
    pub async fn open_sqlite(path: &Path) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        let write_options = options.clone().create_if_missing(true);
        let mut connection = write_options.connect().await.map_err(OpenError::open)?;
        sqlx::migrate!("migrations/sqlite").run(&mut connection).await.map_err(OpenError::Migrate)?;
        let options = options.read_only(true);
        let reader = Reader::start(options.connect().await.map_err(OpenError::open)?);
        let readers = SqlitePoolOptions::new()
            .test_before_acquire(false)
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .map_err(OpenError::open)?;
        Ok(Self::Sqlite { readers, reader, writer: Writer::start(connection, write_options), _lock: Arc::new(lock) })
    }

    /// Connects to the PostgreSQL server at `url` and brings its tables up to date.
    ///
    /// # Errors
    /// When the server cannot be reached or a migration fails.
    pub async fn open_postgres(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(OpenError::open)?.disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .map_err(OpenError::open)?;
        sqlx::migrate!("migrations/postgres").run(&pool).await.map_err(OpenError::Migrate)?;
        Ok(Self::Postgres(pool))
    }

    /// Looks whether the file at `path` can be used, without changing it.
    ///
    /// # Errors
    /// When it cannot be opened, or its folder is missing.
    pub async fn probe_sqlite(path: &Path) -> Result<Probe, OpenError> {
        if !path.exists() {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let trial = folder.join(format!(".switchboard-check-{}", uuid::Uuid::new_v4().simple()));
            let tried = File::create_new(&trial).and_then(|_| std::fs::remove_file(&trial));
            return tried
                .map(|()| Probe::WillBeMade)
                .map_err(|error| OpenError::Lock { path: folder.to_owned(), error });
        }
        let lock = lock_path(path);
        let held = lock.exists().then(|| File::open(&lock)).transpose();
        let held = held.map_err(|error| OpenError::Lock { path: lock, error })?;
        if held.is_some_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock))) {
            return Ok(Probe::InUse);
        }
        File::options().write(true).open(path).map_err(|error| OpenError::Lock { path: path.to_owned(), error })?;
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = options.connect().await.map_err(OpenError::open)?;
        sqlx::query("SELECT count(*) FROM sqlite_master").execute(&mut connection).await.map_err(OpenError::open)?;
        Ok(Probe::Answers)
    }

    /// Looks whether the server at `url` can be used, without changing it.
    ///
    /// # Errors
    /// When it cannot be reached or refuses us.
    pub async fn probe_postgres(url: &str) -> Result<Probe, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(OpenError::open)?;
        let connected = tokio::time::timeout(PATIENCE, options.connect()).await;
        let mut connection = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(OpenError::open)?;
        sqlx::query("SELECT 1").execute(&mut connection).await.map_err(OpenError::open)?;
        Ok(Probe::Answers)
    }

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

    /// Ends all connections, after the writes that were accepted.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer, .. } => {
                writer.close().await;
                readers.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// How a database was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It answers.
    Answers,
    /// A gateway holds the file.
    InUse,
    /// There is no file yet, but a folder for it.
    WillBeMade,
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the SQLite file.
    #[error("{} is in use by another gateway; two must not share one SQLite file (use PostgreSQL for several)", .0.display())]
    InUse(PathBuf),
    /// The database, or the lock file beside it, cannot be written.
    #[error("{} cannot be written: {error}", path.display())]
    Lock {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It cannot be opened or reached.
    #[error("the database cannot be opened: {0}")]
    Open(Box<sqlx::Error>),
    /// It cannot be written to.
    #[error(transparent)]
    Write(#[from] DbError),
    /// Its tables cannot be brought up to date.
    #[error("the database's tables cannot be brought up to date: {0}")]
    Migrate(sqlx::migrate::MigrateError),
}

impl OpenError {
    fn open(error: sqlx::Error) -> Self {
        Self::Open(Box::new(error))
    }
}

/// The lock file beside the database itself, whatever links lead to it.
fn lock_path(database: &Path) -> PathBuf {
    let real = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
    let mut name = real.into_os_string();
    name.push(".lock");
    PathBuf::from(name)
}

/// Takes the lock that keeps a second gateway off the file. The system releases it however the process ends.
fn lock(database: &Path) -> Result<File, OpenError> {
    let path = lock_path(database);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| OpenError::Lock { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse(database.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(OpenError::Lock { path, error }),
    }
}

/// Rows for a statement that writes many at once.
fn json_list<T: serde::Serialize>(rows: &[T]) -> String {
    // Rows are structs of texts and numbers: nothing in them can fail.
    serde_json::to_string(rows).unwrap_or_default()
}
