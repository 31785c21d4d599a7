//! The figures as people read them, each with its bar.

use crate::common::figures::{millis, percentile, verdict};
use crate::relay::Relayed;
use crate::script::Faults;
use crate::webhooks::Late;
use std::time::Duration;

/// What a load of calls over webhooks came to.
#[derive(Default)]
pub struct Calls {
    /// From the end of the first sentence at the model to the webhook's answer that tells it.
    pub first_words: Vec<Duration>,
    /// How long the webhooks that bring the caller's words waited.
    pub turns: Vec<Duration>,
    /// How long the webhooks for further parts waited.
    pub parts: Vec<Duration>,
    /// Answers that told nothing of the model's words.
    pub pauses: usize,
    /// Words that are not as they must be.
    pub faults: Faults,
}

impl Calls {
    /// Both together.
    pub fn plus(mut self, other: Self) -> Self {
        self.first_words.extend(other.first_words);
        self.turns.extend(other.turns);
        self.parts.extend(other.parts);
        self.pauses += other.pauses;
        self.faults = self.faults.plus(other.faults);
        self
    }
}

/// What the server spent on a load.
pub struct Spent {
    pub cpu: Duration,
    pub elapsed: Duration,
    /// Resident memory in bytes.
    pub memory: u64,
}

/// The heading of some figures.
pub fn heading(text: &str) {
    println!("\n{text:<60} {:>9} {:>9}", "p50 ms", "p99 ms");
}

/// A load of calls over webhooks, with or without bars for how long things take; whether all words were heard as they
/// were written.
pub fn calls(mut calls: Calls, spent: &Spent, bars: bool) -> bool {
    let bar = |millis: f64| bars.then_some(millis);
    figure("the first sentence is written -> it is told", &mut calls.first_words, bar(50.0), bar(100.0));
    figure("  of the webhook that waits for it", &mut calls.turns, None, None);
    figure("a part asked for at speaking speed -> it is told", &mut calls.parts, None, bar(20.0));
    println!("  answers without words of the model (pauses): {}", calls.pauses);
    cost(spent, calls.turns.len(), "turn");
    faults(calls.faults)
}

/// Calls over ConversationRelay; whether all words were heard as they were written.
pub fn relayed(mut relayed: Relayed, calls: usize) -> bool {
    let tokens = relayed.passes.len();
    figure("a token is written -> it is heard", &mut relayed.passes, None, Some(20.0));
    let spent = Spent { cpu: relayed.cpu, elapsed: relayed.elapsed, memory: relayed.peak };
    cost(&spent, tokens, "token");
    let each = |bytes: u64| bytes.saturating_sub(relayed.idle) as f64 / calls as f64 / 1e3;
    println!(
        "  resident memory of a call: {:.1} kB while it waits, {:.1} kB at the most   bar 60: {}",
        each(relayed.waiting),
        each(relayed.peak),
        verdict(each(relayed.peak) < 60.0)
    );
    faults(relayed.faults)
}

/// Models that keep their callers waiting.
pub fn late(late: &[Late], budget: Duration) {
    println!("\n{:<32} {:>10} {:>12}   the caller", "first token after", "webhooks", "worst wait");
    for Late { delay, worst, webhooks, told_after, told } in late {
        let hears = if *told { "hears the answer" } else { "hears an apology" };
        println!(
            "{:<32} {webhooks:>10} {:>9.2} s   {hears} after {:.1} s",
            format!("{} s", delay.as_secs()),
            worst.as_secs_f64(),
            told_after.as_secs_f64()
        );
    }
    let worst = late.iter().map(|late| late.worst).max().unwrap_or_default();
    let bar = budget + Duration::from_millis(500);
    println!("  no webhook over {:.1} s: {}", bar.as_secs_f64(), verdict(worst <= bar));
}

/// Waits of one kind with what must not be exceeded, in milliseconds.
fn figure(name: &str, waits: &mut [Duration], p50: Option<f64>, p99: Option<f64>) {
    waits.sort_unstable();
    let (at_p50, at_p99) = (millis(percentile(waits, 0.5)), millis(percentile(waits, 0.99)));
    let bar = match (p50, p99) {
        (None, None) => String::new(),
        (Some(p50), Some(p99)) => format!("   bars {p50:.0} and {p99:.0}: {}", verdict(at_p50 <= p50 && at_p99 <= p99)),
        (p50, p99) => {
            let bar = p50.or(p99).unwrap_or_default();
            format!("   bar {bar:.0}: {}", verdict(p50.map_or(at_p99, |_| at_p50) <= bar))
        }
    };
    println!("{:<60} {at_p50:>9.2} {at_p99:>9.2}{bar}", format!("{name} ({})", waits.len()));
}

/// What the server spent.
fn cost(spent: &Spent, count: usize, of: &str) {
    println!(
        "  the gateway's CPU: {:.0} % of a core, {:.2} ms a {of}; resident memory {:.1} MB",
        100.0 * spent.cpu.as_secs_f64() / spent.elapsed.as_secs_f64(),
        millis(spent.cpu) / count.max(1) as f64,
        spent.memory as f64 / 1e6
    );
}

/// Whether there are none.
fn faults(Faults { lost, doubled, reordered, strayed }: Faults) -> bool {
    let none = lost + doubled + reordered + strayed == 0;
    println!(
        "  words lost {lost}, doubled {doubled}, out of order {reordered}, of another answer {strayed}   bar 0: {}",
        verdict(none)
    );
    none
}
