//! How texts are answered: `just bench-sms`, which is `cargo bench --bench sms`.
//!
//! The release binary on a free loopback port, with a temporary SQLite file (`synchronous=FULL`), a scripted model and
//! a server that takes what is sent through Twilio's REST API. First texts over 64 connections with a model that
//! answers at once; then ten thousand people who write in the same moment, each over a connection of their own, to a
//! model that takes a second. Each text must have exactly one reply, in the answer to its webhook or by REST; all
//! replies are counted. Everything shares the machine's cores, so the figures are a lower bound.
//!
//! Reads `/proc`, so it runs on Linux only.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod common;
mod load;
mod model;
mod report;
mod rest;

use common::Failure;
use common::server::Server;
use load::Load;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// No part takes longer, whatever the server does.
const LIMIT: Duration = Duration::from_secs(90);
/// Load before the counted one.
const WARM_UP: usize = 2_000;
/// Texts of the counted load on a model that answers at once.
const COUNTED: usize = 20_000;
/// People who write in the same moment.
const AT_ONCE: usize = 10_000;
/// Files that the gateway and this process may have open: a connection for each of those people, and those to the
/// model.
const OPEN_FILES: u64 = 16_384;
/// How long the slow model takes.
const SLOW: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    common::bench("sms", OPEN_FILES, run)
}

fn run() -> Result<(), Failure> {
    if !cfg!(target_os = "linux") {
        println!("Texts are measured on Linux only.");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let in_time =
        async |part| tokio::time::timeout(LIMIT, part).await.map_err(|_| format!("not done after {LIMIT:?}"))?;
    runtime.block_on(async {
        in_time(Box::pin(answered_at_once()) as load::Part).await?;
        in_time(Box::pin(waiting_together())).await
    })
}

/// Texts one after the other on each connection, and a model without latency.
async fn answered_at_once() -> Result<(), Failure> {
    let sent = Arc::default();
    let server = start(Duration::ZERO, Arc::clone(&sent)).await?;
    load::run(&server, &sent, Load { first: 0, texts: WARM_UP, connections: 64 }).await?;
    let before = server.cpu_time()?;
    let measured = load::run(&server, &sent, Load { first: WARM_UP, texts: COUNTED, connections: 64 }).await?;
    report::answered_at_once(&measured, server.cpu_time()?.saturating_sub(before), server.memory()?.peak);
    server.stop()
}

/// Everybody in the same moment, and a model that takes its time.
async fn waiting_together() -> Result<(), Failure> {
    let sent = Arc::default();
    let server = start(SLOW, Arc::clone(&sent)).await?;
    let idle = server.memory()?.now;
    let measured = load::run(&server, &sent, Load { first: 0, texts: AT_ONCE, connections: AT_ONCE }).await?;
    report::waiting_together(&measured, SLOW, idle, server.memory()?.peak);
    server.stop()
}

async fn start(latency: Duration, sent: Arc<rest::Sent>) -> Result<Server, Failure> {
    let rest = format!("http://{}", rest::start(sent)?);
    Server::start(model::start(latency)?, &[("TWILIO_API_BASE_URL", &rest)]).await
}
