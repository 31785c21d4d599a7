//! The figures as people read them.

use crate::common::figures::{millis, verdict};
use crate::load::Measured;
use crate::scenarios::Scenario;
use crate::steps::Step;
use std::time::Duration;

/// What the gateway must stay under before any load, in bytes.
const IDLE_MEMORY: u64 = 30_000_000;

/// The timed steps.
pub fn steps(steps: &[Step]) {
    println!("\n{:<40} {:>9}", "in process", "median");
    for Step { name, median, bar } in steps {
        let bar =
            bar.map_or_else(String::new, |bar| format!("   bar {} µs: {}", bar.as_micros(), verdict(median < &bar)));
        println!("{name:<40} {:>6.2} µs{bar}", micros(*median));
    }
}

/// The heading of the loads.
pub fn loads_begin(connections: usize) {
    let heading = format!("release server, SQLite (FULL), {connections} connections");
    println!("\n{heading:<52} {:>10} {:>9} {:>9} {:>11}", "requests/s", "p50 ms", "p99 ms", "CPU µs/req");
}

/// One load. `cpu` is what the server spent on it.
pub fn load(scenario: &Scenario, measured: &Measured, cpu: Duration) {
    let each = micros(cpu) / measured.waits.len().max(1) as f64;
    let (p50, p99) = (millis(measured.percentile(0.5)), millis(measured.percentile(0.99)));
    println!("{:<52} {:>10.0} {p50:>9.2} {p99:>9.2} {each:>11.1}", scenario.name, measured.rate());
}

/// Resident memory in bytes, before and after all loads.
pub fn memory(idle: u64, peak: u64) {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let (bar, met) = (megabytes(IDLE_MEMORY), verdict(idle < IDLE_MEMORY));
    println!(
        "\nresident memory: idle {:.1} MB (bar {bar:.0} MB: {met}), peak {:.1} MB",
        megabytes(idle),
        megabytes(peak)
    );
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
