//! What is being said on calls over ConversationRelay, stored for all of them together: a statement for each would keep
//! the database from what callers wait for.

use crate::db::Db;
use crate::db::relay::SoFar;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Answers of which something may wait to be stored.
const WAITING: usize = 4096;
/// Answers that are stored together at the most: what is being said is in memory several times until then.
const TOGETHER: usize = 128;
/// Between two statements.
const PAUSE: Duration = Duration::from_millis(50);

/// Stores what is being said.
pub struct SaidSoFar {
    waiting: mpsc::Sender<SoFar>,
    stop: CancellationToken,
    task: TaskTracker,
}

impl SaidSoFar {
    /// Starts the task that stores.
    pub fn start(db: Db) -> Self {
        let (said, waiting) = mpsc::channel(WAITING);
        let (stop, task) = (CancellationToken::new(), TaskTracker::new());
        let stopped = stop.clone();
        task.spawn(async move { stopped.run_until_cancelled(store(db, waiting)).await });
        Self { waiting: said, stop, task }
    }

    /// Has this stored soon, and waits for nothing. What finds too much waiting is left out: there will be more of the
    /// answer, or its end.
    pub fn store(&self, said: SoFar) {
        self.waiting.try_send(said).ok();
    }

    /// Stores nothing more, and lets go of the database.
    pub async fn drain(&self) {
        self.stop.cancel();
        self.task.close();
        self.task.wait().await;
    }
}

async fn store(db: Db, mut waiting: mpsc::Receiver<SoFar>) {
    let mut said = Vec::new();
    while waiting.recv_many(&mut said, TOGETHER).await > 0 {
        // Of one answer the newest counts.
        let newest: HashMap<i64, SoFar> = said.drain(..).map(|said| (said.claim.id, said)).collect();
        if let Err(cause) = db.save_said(newest.into_values().collect()).await {
            warn!(error = %cause, "What is being said could not be stored");
        }
        sleep(PAUSE).await;
    }
}
