//! The figures as people read them.

use crate::load::Measured;
use crate::scenarios::Scenario;
use crate::steps::Step;
use std::fs;
use std::time::Duration;

/// What the gateway must stay under before any load, in bytes.
const IDLE_MEMORY: u64 = 30_000_000;

/// The machine, without which no figure means anything.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal");
    let memory = memory.and_then(|value| value.strip_suffix("kB")?.trim().parse::<f64>().ok());
    let memory = memory.map_or_else(String::new, |kib| format!(", {:.1} GiB of memory", kib / 1024.0 / 1024.0));
    format!(
        "Switchboard {} on {cores} cores ({processor}){memory}, {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS
    )
}

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
    let (p50, p99) = (micros(measured.percentile(0.5)) / 1e3, micros(measured.percentile(0.99)) / 1e3);
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

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}
