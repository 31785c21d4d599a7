//! Opening the database, and looking whether it could be opened.

use super::reader::Reader;
use super::writer::Writer;
use super::{Db, DbError, PATIENCE};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

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
        let pool = SqlitePoolOptions::new()
            .test_before_acquire(false)
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .map_err(OpenError::open)?;
        Ok(Self::Sqlite { pool, reader, writer: Writer::start(connection, write_options), _lock: Arc::new(lock) })
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
