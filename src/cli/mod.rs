//! The sub-commands.

pub mod check;
pub mod demo;
pub mod serve;

use std::process::ExitCode;
use switchboard::config::{Config, Warning};

/// The configuration and its warnings, or the exit status after its faults were printed.
fn configuration() -> Result<(Config, Vec<Warning>), ExitCode> {
    Config::from_environment().map_err(|faults| {
        eprintln!("The configuration is faulty:\n{faults}");
        ExitCode::from(2)
    })
}
