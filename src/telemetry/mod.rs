//! Logs: one line an event on standard error, as text for people or JSON for programs.
//!
//! What must never be logged: keys, the text of messages, whole phone numbers. The filter below keeps other crates from
//! doing so.

mod format;
mod layer;
#[cfg(test)]
mod tests;
mod throttle;

use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use crate::config::LogConfig;
use layer::LogLayer;
pub use throttle::Throttle;

/// Answers that take longer, in milliseconds, get a warning.
pub const SLOW_MS: f64 = 2_000.0;

/// Starts logging for the whole process. Only the first call has an effect.
pub fn init(log: &LogConfig) {
    // It fails only where logging has been started already, and then there is nothing to do.
    let _ = tracing::subscriber::set_global_default(subscriber(log, std::io::stderr));
}

fn subscriber<W>(log: &LogConfig, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::registry().with(filter(log.level)).with(LogLayer::new(log.format, writer))
}

/// Our own lines from `level` up; of other crates (sqlx, hyper, poem, …) warnings and errors at most.
///
/// Our own spans of level `INFO` and up pass whatever the level is: they carry the request id that every line shows.
fn filter(level: LevelFilter) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    const OWN: &str = env!("CARGO_CRATE_NAME");
    let shown = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(OWN, level)
        // Logs whole answers that it cannot parse, and they hold people's words.
        .with_target("async_openai", LevelFilter::OFF);
    let spans = level.max(LevelFilter::INFO);
    filter_fn(move |metadata: &Metadata<'_>| {
        let is_own_span = metadata.is_span() && metadata.target().starts_with(OWN);
        shown.would_enable(metadata.target(), metadata.level()) || (is_own_span && *metadata.level() <= spans)
    })
    .with_max_level_hint(spans)
}
