//! Sending is paused while Twilio refuses the account's credentials: no request would pass, and every one adds to the harm.

use crate::clock::{Clock, Micros, SECOND};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tracing::{error, info};

/// How long nothing is sent before it is tried again.
const LENGTH: Micros = 60 * SECOND;

/// Whether sending is paused. Cheap to clone.
#[derive(Clone)]
pub struct Pause {
    clock: Clock,
    /// The end of the pause; 0 while Twilio takes what is sent.
    until: Arc<AtomicI64>,
}

impl Pause {
    /// No pause.
    pub fn new(clock: Clock) -> Self {
        Self { clock, until: Arc::default() }
    }

    /// The end of the pause, when there is one and it is not over.
    pub fn until(&self) -> Option<Micros> {
        Some(self.until.load(Ordering::Relaxed)).filter(|until| *until > self.clock.now())
    }

    /// Whether Twilio refused the credentials when it was last asked.
    pub fn is_on(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    /// Twilio refuses the credentials: nothing is sent until the time that is returned. It is said once, however often it
    /// happens until they are mended.
    pub fn begin(&self, reason: &str) -> Micros {
        let until = self.clock.now() + LENGTH;
        if self.until.swap(until, Ordering::Relaxed) == 0 {
            error!(reason, "Sending texts is paused: look at TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN");
        }
        until
    }

    /// Twilio takes the credentials.
    pub fn end(&self) {
        if self.is_on() && self.until.swap(0, Ordering::Relaxed) != 0 {
            info!("Texts are sent again");
        }
    }
}
