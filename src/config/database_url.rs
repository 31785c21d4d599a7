//! `DATABASE_URL`: an SQLite file or a PostgreSQL server.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;

/// Where the history is kept.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// A file, made when it does not exist; a relative path counts from the working directory.
    Sqlite(PathBuf),
    /// A `postgres://` address, user and password included.
    Postgres(SecretString),
}

/// The parameters that the PostgreSQL driver knows. It passes over any other one and writes its value to the log, so a
/// misspelt `sslmode` would quietly connect without TLS.
const POSTGRES_PARAMETERS: [&str; 19] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "options[",
];

impl DatabaseUrl {
    /// Reads one of
    /// - `sqlite://./app.db`, `sqlite:///./app.db` (relative), `sqlite:///abs/app.db`, `sqlite:////abs/app.db` (absolute),
    /// - `postgresql://…`, `postgres://…`, `postgresql+asyncpg://…`.
    ///
    /// # Errors
    /// What the address must be. The text never quotes the address, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" | "sqlite+aiosqlite" => sqlite(rest).map(Self::Sqlite),
            "postgres" | "postgresql" | "postgresql+asyncpg" => postgres(rest).map(Self::Postgres),
            _ => Err("must start with sqlite:// or postgresql://, such as sqlite://./switchboard.db".into()),
        }
    }
}

fn sqlite(rest: &str) -> Result<PathBuf, String> {
    if rest.contains('?') {
        return Err("must name an SQLite file without parameters (nothing after ?)".into());
    }
    if rest.contains(":memory:") {
        return Err("must name an SQLite file: a database in memory would forget every conversation".into());
    }
    // The third slash both ends the empty host and, before anything but ./ and ../, begins an absolute path.
    let after_third_slash = rest.strip_prefix('/');
    let path = match after_third_slash {
        Some(path) if path.starts_with("./") || path.starts_with("../") => path.to_owned(),
        Some(path) => format!("/{}", path.trim_start_matches('/')),
        None => rest.to_owned(),
    };
    if path.ends_with('/') || Path::new(&path).file_name().is_none() {
        return Err("must name an SQLite file, such as sqlite://./switchboard.db".into());
    }
    Ok(path.into())
}

fn postgres(rest: &str) -> Result<SecretString, String> {
    let parameters = rest.split_once('?').map_or("", |(_, query)| query);
    for (name, _) in form_urlencoded::parse(parameters.as_bytes()) {
        let known = POSTGRES_PARAMETERS.contains(&name.split_inclusive('[').next().unwrap_or_default());
        if !known {
            let hint = if name == "ssl" { " (write sslmode=require)" } else { "" };
            return Err(format!("holds the parameter {name:?}, which is not known{hint}"));
        }
    }
    let url = format!("postgres://{rest}");
    if rest.is_empty() || PgConnectOptions::from_str(&url).is_err() {
        return Err("must be a PostgreSQL address such as postgresql://user:password@localhost:5432/switchboard; \
            special characters in the password are percent-encoded (@ as %40, / as %2F)"
            .into());
    }
    Ok(SecretString::from(url))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn sqlite_addresses_name_a_file() {
        for (text, expected) in [
            ("sqlite://./switchboard.db", "./switchboard.db"),
            ("sqlite://switchboard.db", "switchboard.db"),
            ("sqlite:///./app.db", "./app.db"),
            ("sqlite:///../data/app.db", "../data/app.db"),
            ("sqlite:///abs/app.db", "/abs/app.db"),
            ("sqlite:////abs/app.db", "/abs/app.db"),
            ("SQLite+aiosqlite:///./app.db", "./app.db"),
        ] {
            match DatabaseUrl::parse(text) {
                Ok(DatabaseUrl::Sqlite(path)) => assert_eq!(path, Path::new(expected), "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn postgres_addresses_are_normalised_and_never_shown() {
        for (text, expected) in [
            ("postgres://u:pw@db.example:5433/x", "postgres://u:pw@db.example:5433/x"),
            ("postgresql://u:pw@localhost/x?sslmode=require", "postgres://u:pw@localhost/x?sslmode=require"),
            ("postgresql+asyncpg://u:p%40w@localhost/x", "postgres://u:p%40w@localhost/x"),
            ("postgres:///x?host=/run/postgresql", "postgres:///x?host=/run/postgresql"),
            ("postgres://u@localhost/x?options[search_path]=a", "postgres://u@localhost/x?options[search_path]=a"),
        ] {
            let url = DatabaseUrl::parse(text).unwrap();
            assert!(!format!("{url:?}").contains("pw"), "{url:?}");
            match url {
                DatabaseUrl::Postgres(address) => assert_eq!(address.expose_secret(), expected, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn refuses_what_cannot_be_opened() {
        for text in [
            "",
            "app.db",
            "sqlite:app.db",
            "sqlite://",
            "sqlite:///",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite:///:memory:",
            "sqlite:///data/",
            "sqlite://./",
            "sqlite://..",
            "sqlite:///x.db?mode=memory",
            "mysql://u:hunter2@localhost/x",
            "postgres://",
            "postgres://u:hunter2@localhost:99999/x",
            "postgres://u:hun/ter2@localhost/x",
            "postgresql+asyncpg://u:hunter2@localhost/x?ssl=require",
            "postgres://u:hunter2@localhost/x?sslmode=maybe",
        ] {
            let problem = DatabaseUrl::parse(text).unwrap_err();
            assert!(!problem.contains("hunter2"), "{text}: {problem}");
        }
    }
}
