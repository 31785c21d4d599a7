//! Sending is paused while Twilio refuses an account's credentials: no request of that account would pass, and every
//! one adds to the harm.

use crate::clock::{Clock, Micros, SECOND};
use crate::config::AccountSid;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::{error, info};

/// How long nothing is sent before it is tried again.
const LENGTH: Micros = 60 * SECOND;

/// Which accounts' sending is paused. Cheap to clone.
#[derive(Clone)]
pub struct Pause {
    clock: Clock,
    /// The ends of the pauses of those accounts whose credentials Twilio refused when it was last asked.
    until: Arc<Mutex<HashMap<AccountSid, Micros>>>,
}

impl Pause {
    /// No pause.
    pub fn new(clock: Clock) -> Self {
        Self { clock, until: Arc::default() }
    }

    /// The end of an account's pause, when there is one and it is not over.
    pub fn until(&self, account: AccountSid) -> Option<Micros> {
        self.paused().get(&account).copied().filter(|until| *until > self.clock.now())
    }

    /// Whether Twilio refused the credentials of any account when it was last asked.
    pub fn is_on(&self) -> bool {
        !self.paused().is_empty()
    }

    /// Twilio refuses the account's credentials: it sends nothing until the time that is returned. It is said once,
    /// however often it happens until they are mended.
    pub fn begin(&self, account: AccountSid, reason: &str) -> Micros {
        let until = self.clock.now() + LENGTH;
        if self.paused().insert(account, until).is_none() {
            error!(%account, reason, "Sending texts is paused: look at the account's SID and token in the settings");
        }
        until
    }

    /// Twilio takes the account's credentials.
    pub fn end(&self, account: AccountSid) {
        if self.paused().remove(&account).is_some() {
            info!("Texts are sent again");
        }
    }

    fn paused(&self) -> MutexGuard<'_, HashMap<AccountSid, Micros>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
