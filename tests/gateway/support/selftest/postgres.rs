use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use crate::support::app::Database;
use crate::support::postgres::{cut, database, own_cluster, restore, variable};
use crate::support::wait::{PATIENCE, until};

#[tokio::test]
async fn every_test_has_a_database_of_its_own() {
    let Some(one) = Database::postgres().await else { return };
    let Some(other) = Database::postgres().await else { return };
    assert_ne!(one.url(), other.url());
    let mut connection = PgConnection::connect(&one.url()).await.unwrap();
    sqlx::query("CREATE TABLE things (id BIGINT)").execute(&mut connection).await.unwrap();
    let mut connection = PgConnection::connect(&other.url()).await.unwrap();
    assert!(sqlx::query("SELECT id FROM things").fetch_all(&mut connection).await.is_err());
}

#[tokio::test]
async fn many_databases_at_once() {
    let made = futures_util::future::join_all((0..6).map(|_| Database::postgres())).await;
    let urls: std::collections::HashSet<_> = made.iter().flatten().map(Database::url).collect();
    assert!(urls.is_empty() || urls.len() == 6);
}

#[tokio::test]
async fn a_database_goes_with_its_test_however_that_ends() {
    let Some(used) = Database::postgres().await else { return };
    let Some(out_of_reach) = Database::postgres().await else { return };
    let urls = [used.url(), out_of_reach.url()];
    let _still_connected = PgConnection::connect(&urls[0]).await.unwrap();
    cut(&urls[1]).await;
    let panicked = tokio::spawn(async move {
        let _databases = [used, out_of_reach];
        std::panic::resume_unwind(Box::new("a test fails"));
    });
    assert!(panicked.await.unwrap_err().is_panic());
    for url in urls {
        let deadline = Instant::now() + PATIENCE;
        while !is_gone(&url).await {
            assert!(Instant::now() < deadline, "the database is still there");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn is_gone(url: &str) -> bool {
    let refused = PgConnection::connect(url).await.err();
    let code = refused.as_ref().and_then(|error| error.as_database_error()?.code());
    code.as_deref() == Some("3D000")
}

#[tokio::test]
async fn a_database_goes_out_of_reach_and_comes_back() {
    let Some(database) = Database::postgres().await else { return };
    let Some(other) = Database::postgres().await else { return };
    let url = database.url();
    let pool = PgPoolOptions::new().max_connections(3).connect(&url).await.unwrap();
    let mut untouched = PgConnection::connect(&other.url()).await.unwrap();
    let ask = || sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&pool);
    assert_eq!(ask().await.unwrap(), 1);
    cut(&url).await;
    assert!(ask().await.is_err());
    assert!(PgConnection::connect(&url).await.is_err());
    assert_eq!(sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&mut untouched).await.unwrap(), 1);
    restore(&url).await;
    assert_eq!(ask().await.unwrap(), 1);
}

/// Runs itself in a second process, which starts a cluster of its own and aborts.
#[tokio::test]
async fn the_cluster_ends_with_the_process() {
    const MARK: &str = "the cluster is in ";
    const IS_SECOND: &str = "SWITCHBOARD_TEST_ABORTS";
    if variable(IS_SECOND).is_some() {
        database().await;
        println!("\n{MARK}{}", own_cluster().map_or(Path::new(""), |cluster| cluster.directory()).display());
        std::process::abort();
    }
    if Database::postgres().await.is_none() || own_cluster().is_none() {
        return;
    }
    let (_crate, module) = module_path!().split_once("::").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("{module}::the_cluster_ends_with_the_process"), "--exact", "--nocapture"])
        .env(IS_SECOND, "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let output = String::from_utf8(output.stdout).unwrap();
    let directory = output.lines().find_map(|line| line.strip_prefix(MARK)).map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| panic!("no cluster in the second process: {output}"));
    assert!(directory.starts_with("/tmp"), "{output}");
    until(|| !directory.exists(), || format!("{} is still there", directory.display())).await;
    let own = own_cluster().unwrap();
    let port = own.url().parse::<reqwest::Url>().unwrap().port().unwrap();
    assert!(own.directory().exists() && TcpStream::connect(("127.0.0.1", port)).is_ok());
}
