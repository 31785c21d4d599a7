//! A log line that anybody outside can cause is written now and then, not each time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one occasion in a period through and counts the others.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    /// A throttle that lets one occasion through in each `period`.
    pub const fn new(period: Duration) -> Self {
        Self { period, state: Mutex::new((None, 0)) }
    }

    /// `Some(n)` when this occasion may be told, after `n` that were not; else `None`.
    pub fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0.is_some_and(|last| last.elapsed() < self.period) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(Instant::now());
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_passes_and_tells_how_many_did_not() {
        let throttle = Throttle::new(Duration::from_millis(30));
        assert_eq!((throttle.pass(), throttle.pass(), throttle.pass()), (Some(0), None, None));
        let passed = std::iter::repeat_with(|| throttle.pass()).find_map(|passed| passed);
        assert!(passed.is_some_and(|left_out| left_out >= 2));
    }
}
