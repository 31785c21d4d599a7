//! The one place where the time of day is read. Everything below the edge is told the time, so a test can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::OffsetDateTime;

/// Unix time in microseconds: how the database stores every moment.
pub type Micros = i64;

/// Microseconds in a second.
pub const SECOND: Micros = 1_000_000;

/// The system's clock, with an offset that tests move forward.
#[derive(Clone, Default)]
pub struct Clock {
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// The present moment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Micros {
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000;
        i64::try_from(now).unwrap_or(i64::MAX).saturating_add(self.offset.load(Ordering::Relaxed))
    }

    /// Moves this clock (and its clones) `seconds` into the future.
    pub fn advance(&self, seconds: i64) {
        self.offset.fetch_add(seconds * SECOND, Ordering::Relaxed);
    }
}

/// `micros` as a date and time in UTC.
pub fn to_utc(micros: Micros) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `duration` in microseconds.
pub fn micros(duration: std::time::Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
