//! Figures as people read them.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

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

/// What memory costs on this machine that nobody has touched for two seconds: some hosts take it away from their
/// guests, and whatever runs first after a pause waits until it is back. Ordinary machines need a tenth of a
/// microsecond a page.
pub fn idle_memory() -> String {
    const IDLE: Duration = Duration::from_secs(2);
    const PAGE: usize = 4096;
    const PAGES: u32 = 2048;
    let mut memory = vec![1_u8; PAGE * PAGES as usize];
    std::thread::sleep(IDLE);
    let touched = Instant::now();
    black_box(&mut memory).iter_mut().step_by(PAGE).for_each(|byte| *byte += 1);
    let page = touched.elapsed() / PAGES;
    black_box(&memory);
    format!("Memory left alone for {IDLE:?} costs {:.1} µs a page when it is touched again", page.as_secs_f64() * 1e6)
}

/// The value that `share` (0 to 1) of the values, in ascending order, do not exceed.
pub fn percentile(ascending: &[Duration], share: f64) -> Duration {
    let last = ascending.len().saturating_sub(1);
    ascending.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// Milliseconds, with fractions.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Whether a bar is met, in a word.
pub fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}
