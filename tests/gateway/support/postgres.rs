//! A PostgreSQL database for each test that asks for one.
//!
//! The databases live in a throw-away cluster that the first test of the process starts and that ends with the process,
//! or on the server that `TEST_DATABASE_URL` names. Each is dropped when its test ends, so that a run needs little
//! disk; only a killed run leaves some on a server that was named (they begin with `switchboard_test_`).

use std::io::Write;
use std::sync::OnceLock;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::postgres_cluster::{Cluster, find_programs};
use super::wait::PATIENCE;

/// The server of this process: none where PostgreSQL is not installed, a fault where it is but does not start.
static SERVER: OnceLock<Result<Option<Server>, String>> = OnceLock::new();

enum Server {
    /// Started by us.
    Own(Cluster),
    /// Named by `TEST_DATABASE_URL`.
    Given(String),
}

impl Server {
    fn find() -> Result<Option<Self>, String> {
        if let Some(url) = variable("TEST_DATABASE_URL") {
            return Ok(Some(Server::Given(url)));
        }
        let Some(programs) = find_programs(&variable("PATH").unwrap_or_default()) else {
            if variable("CI").as_deref() == Some("true") {
                return Err(
                    "PostgreSQL is not installed (initdb not found), and CI=true allows no skipped tests".to_owned()
                );
            }
            // Past the test harness, which keeps the output of tests that pass to itself.
            let notice = "\nPostgreSQL is not installed (initdb not found): PostgreSQL tests were SKIPPED\n\n";
            let _ = std::io::stderr().write_all(notice.as_bytes());
            return Ok(None);
        };
        Cluster::start(&programs).map(|cluster| Some(Server::Own(cluster)))
    }

    fn url(&self) -> &str {
        match self {
            Server::Own(cluster) => cluster.url(),
            Server::Given(url) => url,
        }
    }
}

/// A new, empty database; its URL, or none where PostgreSQL is not installed (said once on standard error).
///
/// # Panics
/// When PostgreSQL is installed and does not start, or is not installed while `CI=true`.
pub async fn database() -> Option<String> {
    // The start blocks this thread for about a second, once; the other tests wait for it here.
    let server = match SERVER.get_or_init(Server::find) {
        Ok(server) => server.as_ref()?,
        Err(fault) => panic!("{fault}"),
    };
    let name = format!("switchboard_test_{}", uuid::Uuid::now_v7().simple());
    execute(&mut connect(server.url()).await, &format!("CREATE DATABASE {name}")).await;
    let mut url = parse(server.url());
    url.set_path(&name);
    Some(url.into())
}

/// Drops a database made by [`database`], whoever is still connected to it.
///
/// It has a thread and a runtime of its own, because it is called where a test ends, well or in a panic, and nothing
/// can be awaited. A failure is only told: a test that is over is not failed by its tidying up.
///
/// The test does not wait for it: `DROP DATABASE` waits for every process of the server, and one whose client is in the
/// middle of logging in does nothing until that client goes on, which may be a task of the very test that waits, until
/// the server's `authentication_timeout` of a minute. What is left of our own cluster at the end goes with it; a server
/// that was named is waited for, so that nothing stays there.
pub fn drop_database(url: &str) {
    let (server, name) = (server_url().to_owned(), database_name(url));
    let dropping = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a small runtime");
        runtime.block_on(async {
            execute(&mut connect(&server).await, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        });
    });
    if own_cluster().is_none() {
        // The thread's panic has printed its reason.
        dropping.join().ok();
    }
}

/// Puts a database out of reach: its connections are cut and new ones refused, until [`restore`].
pub async fn cut(url: &str) {
    let (mut server, name) = (connect(server_url()).await, database_name(url));
    execute(&mut server, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        // A connection that was being made a moment ago may show up only after the others were cut.
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        let connections = sqlx::query(cut).bind(&name).fetch_all(&mut server).await.expect("connections can be cut");
        if connections.is_empty() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{} connections to {name} do not end", connections.len());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Puts a database back into reach after [`cut`].
pub async fn restore(url: &str) {
    let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", database_name(url));
    execute(&mut connect(server_url()).await, &sql).await;
}

/// The cluster of this process, once it was started by a call of [`database`].
pub fn own_cluster() -> Option<&'static Cluster> {
    match SERVER.get() {
        Some(Ok(Some(Server::Own(cluster)))) => Some(cluster),
        _ => None,
    }
}

fn server_url() -> &'static str {
    match SERVER.get() {
        Some(Ok(Some(server))) => server.url(),
        _ => panic!("only a database that this process made can be cut"),
    }
}

fn database_name(url: &str) -> String {
    parse(url).path().trim_start_matches('/').to_owned()
}

fn parse(url: &str) -> reqwest::Url {
    url.parse().unwrap_or_else(|error| panic!("the database's URL is none: {error}"))
}

/// A connection of its own for each use: a test's connections end with its runtime.
async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("the PostgreSQL server cannot be reached: {error}"))
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// A variable of the tests' environment; an empty one counts as none.
#[expect(clippy::disallowed_methods, reason = "what the tests run against is no setting of the gateway")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
