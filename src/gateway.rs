//! The running gateway: started in order, stopped in order. What `serve`, `demo` and the tests all run.

use crate::app::{App, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::{routes, server};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long the model may still take for turns that nobody waits for any more, once the gateway stops.
const LAST_TURNS: Duration = Duration::from_secs(8);

/// How long the database may take to close.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// A gateway that serves requests and works on its outbox.
pub struct Gateway {
    app: Arc<App>,
    address: SocketAddr,
    stop_serving: CancellationToken,
    stop_working: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
    worker: JoinHandle<()>,
    listener: JoinHandle<()>,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its parts cannot be put together.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its address is taken or not ours.
    #[error("cannot listen on {address} (HOST, PORT): {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

impl Gateway {
    /// Starts a gateway.
    ///
    /// # Errors
    /// When the address cannot be listened on, or see [`StartError`].
    pub async fn start(config: Config, clock: Clock) -> Result<Self, GatewayError> {
        let address = SocketAddr::new(config.host, config.port);
        let failed = |error| GatewayError::Listen { address, error };
        // The database first: that a second gateway would share its file is told before that its port is taken.
        let app = App::new(config, clock).await?;
        let listener = server::listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop_serving, stop_working) = (CancellationToken::new(), CancellationToken::new());
        let server = tokio::spawn(server::serve(listener, routes::gateway(app.clone()), stop_serving.clone()));
        let worker = {
            let (outbox, stop) = (app.outbox.clone(), stop_working.clone());
            tokio::spawn(async move { outbox.run(stop).await })
        };
        let listener = {
            let (turns, stop) = (app.turns.clone(), stop_working.clone());
            tokio::spawn(async move { turns.hear(stop).await })
        };
        Ok(Self { app, address, stop_serving, stop_working, server, worker, listener })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its handlers can reach.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Stops: no new connections, calls over ConversationRelay are left to another gateway, the requests in flight and
    /// the jobs in hand are finished, then the database is closed.
    pub async fn stop(self) {
        self.stop_serving.cancel();
        self.app.stopping.cancel();
        self.server.await.ok();
        self.stop_working.cancel();
        let drain = async {
            self.worker.await.ok();
            self.listener.await.ok();
            self.app.drain().await;
        };
        if tokio::time::timeout(LAST_TURNS, drain).await.is_err() {
            warn!("Some turns or jobs were not finished in time; jobs are taken up at the next start");
        }
        if tokio::time::timeout(LAST_WRITES, self.app.db.close()).await.is_err() {
            warn!("The database does not let go; the gateway ends without it");
        }
    }
}
