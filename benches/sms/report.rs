//! The figures as people read them.

use crate::common::figures::{millis, verdict};
use crate::load::Measured;
use std::time::Duration;

/// What the gateway must stay under while everybody waits, in bytes.
const MEMORY: u64 = 200_000_000;

/// Texts to a model that answers at once. `cpu` is what the server spent on them, `peak` its resident memory.
pub fn answered_at_once(measured: &Measured, cpu: Duration, peak: u64) {
    let texts = measured.waits.len();
    let each = cpu.as_secs_f64() * 1e6 / texts.max(1) as f64;
    println!("\n{texts} texts over 64 connections, a model that answers at once, SQLite (FULL)");
    waits(measured);
    println!("  {:.0} texts/s, {each:.0} µs of CPU each, peak memory {:.1} MB", measured.rate(), megabytes(peak));
}

/// Texts of people who all wait for a model that takes its time.
pub fn waiting_together(measured: &Measured, latency: Duration, idle: u64, peak: u64) {
    let (texts, in_time) = (measured.waits.len(), measured.in_time);
    println!("\n{texts} texts in the same moment, a model that takes {latency:?}, SQLite (FULL)");
    waits(measured);
    println!(
        "  all answered after {:.1} s: {in_time} in time, {} by REST",
        measured.elapsed.as_secs_f64(),
        texts - in_time
    );
    println!("  none lost, none answered twice");
    let (bar, met) = (megabytes(MEMORY), verdict(peak < MEMORY));
    println!("  memory: idle {:.1} MB, peak {:.1} MB (bar {bar:.0} MB: {met})", megabytes(idle), megabytes(peak));
}

fn waits(measured: &Measured) {
    let [p50, p99] = [0.5, 0.99].map(|share| millis(measured.percentile(share)));
    println!("  webhooks: p50 {p50:.1} ms, p99 {p99:.1} ms");
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
