//! The command line.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod cli;

/// A gateway between Twilio and a language model.
#[derive(Parser)]
#[command(
    name = "switchboard",
    version,
    about,
    after_help = "Settings come from the environment and from .env; see .env.template."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Clone, Copy)]
enum Command {
    /// Run the gateway (what happens without a command, too).
    Serve,
    /// Place calls and send texts to a gateway of its own, and print the conversations.
    Demo,
    /// Check settings, database and TwiML documents; the exit status tells.
    Check,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => cli::serve::run().await,
        Command::Demo => cli::demo::run().await,
        Command::Check => cli::check::run().await,
    }
}
