//! What can go wrong in the database, in terms its callers act on.

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::sqlite::SqliteError;

/// A failed read or write. Expected conflicts that a caller handles in passing are values, not errors.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A unique constraint refused the row. `field` is `table.column`, the same for both databases.
    #[error("{field} is taken")]
    Taken {
        /// The column that must be unique.
        field: String,
    },
    /// The row refers to one that is not there (any more).
    #[error("a row that is referred to does not exist")]
    NoParent,
    /// The database does not answer, is full, or refuses connections: worth trying again later.
    #[error("the database is out of reach: {0}")]
    OutOfReach(sqlx::Error),
    /// Anything else: a fault in the program or the schema.
    #[error("the database failed: {0}")]
    Failed(sqlx::Error),
}

impl DbError {
    /// The error of a unit whose writer has stopped.
    pub(crate) fn stopped() -> Self {
        Self::OutOfReach(sqlx::Error::PoolClosed)
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let refused = match error.as_database_error() {
            Some(refused) => refused,
            None => {
                return match error {
                    sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed => Self::OutOfReach(error),
                    _ => Self::Failed(error),
                };
            }
        };
        match refused.kind() {
            ErrorKind::UniqueViolation => Self::Taken { field: taken_field(refused) },
            ErrorKind::ForeignKeyViolation => Self::NoParent,
            _ if is_out_of_reach(refused) => Self::OutOfReach(error),
            _ => Self::Failed(error),
        }
    }
}

/// SQLite says `UNIQUE constraint failed: users.email`, PostgreSQL names the constraint `users_email_key`.
fn taken_field(error: &dyn DatabaseError) -> String {
    if let (Some(table), Some(constraint)) = (error.table(), error.constraint()) {
        let column = constraint.strip_prefix(table).and_then(|rest| rest.strip_prefix('_'));
        return format!("{table}.{}", column.and_then(|rest| rest.strip_suffix("_key")).unwrap_or(constraint));
    }
    error.message().rsplit(": ").next().unwrap_or_default().to_owned()
}

/// SQLite: busy, locked, read-only, I/O error, corrupt, full, cannot open (primary code in the low byte). PostgreSQL:
/// classes 08 (connection), 53 (resources), 57 (operator), 25006 (read-only), 55000 and 3D000 (database gone).
fn is_out_of_reach(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        return matches!(code.parse::<u32>().map(|code| code & 0xff), Ok(5 | 6 | 8 | 10 | 11 | 13 | 14));
    }
    ["08", "53", "57"].iter().any(|class| code.starts_with(class))
        || ["25006", "55000", "3D000"].contains(&code.as_ref())
}
