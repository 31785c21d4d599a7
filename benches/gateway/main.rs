//! What the gateway costs: `just bench`, which is `cargo bench --bench gateway`.
//!
//! First the two pure steps of every webhook, timed in this process. Then the release binary on a free loopback port,
//! with a temporary SQLite file (`synchronous=FULL`) and a scripted model of ours that answers at once, under signed
//! load from 64 connections that are kept alive. Every answer is checked; a wrong one ends the bench. Server, model and
//! load share the machine's cores, so requests a second are a lower bound; the server's CPU time per request is the
//! steadier figure.
//!
//! The part with the server reads `/proc`, so it runs on Linux only.

#[path = "../common/mod.rs"]
mod common;
mod load;
mod model;
mod report;
mod scenarios;
mod steps;

use common::Failure;
use common::server::Server;
use std::process::ExitCode;
use std::time::Duration;

/// No run takes longer, whatever the server does.
const LIMIT: Duration = Duration::from_secs(55);
/// Load before the counted one, for caches, connections and branch predictors.
const WARM_UP: Duration = Duration::from_millis(700);
/// The counted load of one scenario; it ends before that when its prepared requests are used up.
const COUNTED: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    common::bench("gateway", 256, run)
}

fn run() -> Result<(), Failure> {
    report::steps(&steps::measure()?);
    if !cfg!(target_os = "linux") {
        println!("The server is measured on Linux only.");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, serve_and_load()).await.map_err(|_| format!("not done after {LIMIT:?}"))?
    })
}

async fn serve_and_load() -> Result<(), Failure> {
    let server = Server::start(model::start()?, &[]).await?;
    let idle = server.memory()?.now;
    report::loads_begin(load::CONNECTIONS);
    for scenario in scenarios::ALL {
        let requests = scenario.requests(&server);
        let (warm, _) = load::run(server.address, scenario, &requests, WARM_UP).await?;
        let before = server.cpu_time()?;
        let (_, measured) = load::run(server.address, scenario, &requests[warm..], COUNTED).await?;
        let cpu = server.cpu_time()?.saturating_sub(before);
        report::load(scenario, &measured, cpu);
    }
    report::memory(idle, server.memory()?.peak);
    server.stop()
}
