//! What the benches share: the gateway as a process, the forms Twilio sends it, and figures.

pub mod chat;
pub mod connection;
pub mod figures;
pub mod form;
pub mod server;
pub mod text;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Runs the bench of this name, when it is asked for: `cargo test --all-targets` starts benches too. It and the gateway
/// may have so many `open_files`.
pub fn bench(name: &str, open_files: u64, run: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("Nothing to test here; cargo bench --bench {name} measures.");
        return ExitCode::SUCCESS;
    }
    let measured = allow_open_files(open_files).and_then(|()| {
        println!("{}\n{}", figures::machine(), figures::idle_memory());
        run()
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("The bench failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program anew when it may not open enough files; the gateway inherits the limit.
fn allow_open_files(wanted: u64) -> Result<(), Failure> {
    // Where there is no such file, nothing is measured that needs many.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let allowed = limit.and_then(|limit| limit.split_whitespace().next()?.parse().ok());
    if allowed.is_none_or(|allowed: u64| allowed >= wanted) {
        return Ok(());
    }
    let raise = format!("ulimit -n {wanted} && exec \"$0\" \"$@\"");
    let program = std::env::current_exe()?;
    Err(Command::new("sh").arg("-c").arg(raise).arg(program).args(std::env::args_os().skip(1)).exec().into())
}

/// What ends a bench: a sentence for people.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
