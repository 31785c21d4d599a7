//! Between the webhook that waits for a reply and the task that writes it: the reply is handed over, or sent later by
//! REST, never both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

/// The webhook that waits for a reply: the reply is either handed to it or, once it has stopped waiting, sent by REST;
/// never both.
pub struct Waiting {
    taken: Arc<AtomicBool>,
    answer: oneshot::Sender<Option<String>>,
}

/// The webhook's own end of [`Waiting`]. Dropping it counts as having stopped to wait.
pub struct Hearing {
    taken: Arc<AtomicBool>,
    /// The reply; none when nobody knows whether it was stored.
    pub answer: oneshot::Receiver<Option<String>>,
}

/// A webhook's wait for a reply.
pub fn waiting() -> (Waiting, Hearing) {
    let (sender, receiver) = oneshot::channel();
    let taken = Arc::new(AtomicBool::new(false));
    (Waiting { taken: taken.clone(), answer: sender }, Hearing { taken, answer: receiver })
}

impl Waiting {
    /// Whether the reply may go to the webhook, which from now on waits for it however long its storing takes.
    pub fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }

    /// Gives the webhook its reply.
    pub fn hand_over(self, reply: String) {
        // A webhook that is gone by now gets the reply with its redelivery.
        self.answer.send(Some(reply)).ok();
    }

    /// Tells the webhook that nobody knows whether its reply was stored.
    pub fn give_up(self) {
        self.answer.send(None).ok();
    }
}

impl Hearing {
    /// Stops waiting; false when the reply is on its way to the webhook already.
    pub fn stop(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.stop();
    }
}
