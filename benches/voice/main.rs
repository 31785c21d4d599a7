//! How fast a caller hears the model: `just bench-voice`, which is `cargo bench --bench voice`.
//!
//! The release binary on a free loopback port with a temporary SQLite file (`synchronous=FULL`), a scripted model of
//! ours that speaks at a pace, and callers of ours that follow TwiML at speaking speed. Every word is checked; one that
//! is lost, doubled or out of order makes the bench fail, a missed bar does not. Gateway, model and callers share the
//! machine's cores, and every delay of theirs counts against the gateway.
//!
//! The bars are for calls that begin evenly over the length of a turn, so that at every moment some speak and some
//! listen, and for calls that begin within two seconds and so leave the gateway idle together; what 200 calls cost that
//! begin in the same moment is printed beside.
//!
//! It reads `/proc`, so it runs on Linux only.

mod call;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod common;
mod model;
mod relay;
mod report;
mod script;
mod webhooks;

use common::Failure;
use common::server::Server;
use report::Spent;
use script::Script;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::unconstrained;

/// No run takes longer, whatever the server does.
const LIMIT: Duration = Duration::from_secs(170);
/// What may be measured alone: `cargo bench --bench voice -- relay`.
const SECTIONS: [&str; 2] = ["webhooks", "relay"];
/// From a caller's words to their next: a second until the first sentence is there, and six to speak it.
const TURN: Duration = Duration::from_secs(7);
/// The gateway's `VOICE_REPLY_BUDGET`.
const BUDGET: Duration = Duration::from_secs(2);
/// Files that the gateway and this process may have open: two connections for each of 1,000 calls, and some more.
const OPEN_FILES: u64 = 4096;

fn main() -> ExitCode {
    common::bench("voice", OPEN_FILES, || {
        if run()? { Ok(()) } else { Err("words were not heard as they were written".into()) }
    })
}

fn run() -> Result<bool, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // One task for all callers: tokio's budget for a task, meant for one connection, would have them wait for each
    // other.
    runtime.block_on(unconstrained(async {
        tokio::time::timeout(LIMIT, measure()).await.map_err(|_| format!("not done after {LIMIT:?}"))?
    }))
}

/// Whether every word was heard as it was written.
async fn measure() -> Result<bool, Failure> {
    let script = Arc::new(Script::new());
    let model = model::start(script.clone())?;
    let asked: Vec<_> = std::env::args().filter(|argument| SECTIONS.contains(&argument.as_str())).collect();
    let is_wanted = |section: &str| asked.is_empty() || asked.iter().any(|asked| asked == section);
    let mut right = true;
    if is_wanted(SECTIONS[0]) {
        right &= measure_webhooks(model, &script).await?;
    }
    if is_wanted(SECTIONS[1]) {
        right &= measure_relay(model, &script).await?;
    }
    Ok(right)
}

async fn measure_webhooks(model: SocketAddr, script: &Script) -> Result<bool, Failure> {
    let budget = BUDGET.as_secs().to_string();
    let server = Server::start(model, &[("VOICE_REPLY_BUDGET", &budget)]).await?;
    let mut right = true;
    let waves = [(3, TURN, 0), (3, Duration::from_secs(2), 1_000), (1, Duration::ZERO, 2_000)];
    for (turns, spread, number) in waves {
        let (before, started) = (server.cpu_time()?, Instant::now());
        let calls = webhooks::speak(&server, script, turns, spread, number).await?;
        let cpu = server.cpu_time()?.saturating_sub(before);
        let spent = Spent { cpu, elapsed: started.elapsed(), memory: server.memory()?.peak };
        let begin = if spread.is_zero() { "all at once".to_owned() } else { format!("spread over {spread:?}") };
        report::heading(&format!("{} calls over webhooks, begun {begin}", webhooks::CALLS));
        right &= report::calls(calls, &spent, !spread.is_zero());
    }
    report::late(&webhooks::wait(&server, script, 3_000).await?, BUDGET);
    server.stop()?;
    Ok(right)
}

async fn measure_relay(model: SocketAddr, script: &Script) -> Result<bool, Failure> {
    let server = Server::start(model, &[("VOICE_TRANSPORT", "relay")]).await?;
    let relayed = relay::speak(&server, script).await?;
    report::heading(&format!("{} calls over ConversationRelay at 20 tokens/s each", relay::CALLS));
    let right = report::relayed(relayed, relay::CALLS);
    server.stop()?;
    Ok(right)
}
