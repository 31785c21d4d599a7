//! SQLite's single writer. It takes all units that wait, runs them in one transaction, and answers each caller only after
//! the commit, so many durable writes share one flush to disk.

use super::DbError;
use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use std::any::Any;
use tokio::sync::{mpsc, oneshot};

/// Units that may wait before a new one has to wait for a place.
const QUEUE: usize = 1024;
/// Units that share one transaction at the most.
const BATCH: usize = 256;

type Value = Box<dyn Any + Send>;
type Unit = Box<dyn for<'c> Fn(&'c mut SqliteConnection) -> BoxFuture<'c, Result<Value, DbError>> + Send + Sync>;

enum Order {
    Run { unit: Unit, answer: oneshot::Sender<Result<Value, DbError>> },
    Close(oneshot::Sender<()>),
}

/// A handle to the writer's task. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    orders: mpsc::Sender<Order>,
}

impl Writer {
    /// Starts the task that owns the writing connection.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let (orders, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(write(connection, waiting));
        Self { orders }
    }

    /// Runs one unit and answers after its commit. A caller that stops waiting does not stop the unit.
    pub(super) async fn run<T, F>(&self, unit: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, DbError>> + Send + Sync + 'static,
    {
        let (answer, result) = oneshot::channel();
        let unit: Unit = Box::new(move |connection| {
            let outcome = unit(connection);
            Box::pin(async move { outcome.await.map(|value| Box::new(value) as Value) })
        });
        self.orders.send(Order::Run { unit, answer }).await.map_err(|_| DbError::stopped())?;
        let value = result.await.map_err(|_| DbError::stopped())??;
        value.downcast().map(|value| *value).map_err(|_| DbError::stopped())
    }

    /// Finishes what was accepted and closes the connection.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.orders.send(Order::Close(done)).await.is_ok() {
            closed.await.ok();
        }
    }
}

async fn write(mut connection: SqliteConnection, mut waiting: mpsc::Receiver<Order>) {
    let mut orders = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut orders, BATCH).await > 0 {
        let mut units = Vec::with_capacity(orders.len());
        let mut close = None;
        for order in orders.drain(..) {
            match order {
                Order::Run { unit, answer } => units.push((unit, answer)),
                Order::Close(done) => close = Some(done),
            }
        }
        run_batch(&mut connection, units).await;
        if let Some(done) = close {
            connection.close().await.ok();
            done.send(()).ok();
            return;
        }
    }
}

async fn run_batch(connection: &mut SqliteConnection, units: Vec<(Unit, oneshot::Sender<Result<Value, DbError>>)>) {
    let outcome = match run_together(connection, &units).await {
        // A unit failed and took the others with it: run them again, each in a savepoint of its own.
        Err(_) if units.len() > 1 => run_apart(connection, &units).await,
        other => other.map(|values| values.into_iter().map(Ok).collect()),
    };
    match outcome {
        Ok(results) => {
            for ((_, answer), result) in units.into_iter().zip(results) {
                answer.send(result).ok();
            }
        }
        Err(error) => {
            let mut error = Some(error);
            for (_, answer) in units {
                answer.send(Err(error.take().unwrap_or_else(DbError::stopped))).ok();
            }
        }
    }
}

type Units = [(Unit, oneshot::Sender<Result<Value, DbError>>)];

async fn run_together(connection: &mut SqliteConnection, units: &Units) -> Result<Vec<Value>, DbError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut values = Vec::with_capacity(units.len());
    for (unit, _) in units {
        match unit(&mut transaction).await {
            Ok(value) => values.push(value),
            Err(error) => {
                transaction.rollback().await?;
                return Err(error);
            }
        }
    }
    transaction.commit().await?;
    Ok(values)
}

async fn run_apart(connection: &mut SqliteConnection, units: &Units) -> Result<Vec<Result<Value, DbError>>, DbError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut results = Vec::with_capacity(units.len());
    for (unit, _) in units {
        let mut savepoint = transaction.begin().await?;
        let result = unit(&mut savepoint).await;
        match &result {
            Ok(_) => savepoint.commit().await?,
            Err(_) => savepoint.rollback().await?,
        }
        results.push(result);
    }
    transaction.commit().await?;
    Ok(results)
}
