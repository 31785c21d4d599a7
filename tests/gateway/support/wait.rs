//! Waiting for a condition instead of sleeping for a time.

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen at once, before it fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Returns as soon as `condition` holds.
///
/// # Panics
/// After [`PATIENCE`], with what `seen` says about the state at that moment.
pub async fn until(condition: impl Fn() -> bool, seen: impl Fn() -> String) {
    // The real clock, so that a test with tokio's clock paused is not failed by its own jumps.
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {}", seen());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
