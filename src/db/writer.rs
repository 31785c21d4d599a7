//! SQLite's single writer. It takes all the work that waits, runs it in one transaction, and answers each caller only
//! after the commit, so many durable writes share one flush to disk.
//!
//! Handing a statement to SQLite's thread and back costs several times what the statement itself does. So the writes of
//! the webhooks, of which many wait at the same time, are [gathered](Writer::gather): one statement writes all their
//! rows.

use super::DbError;
use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use std::any::Any;
use tokio::sync::{mpsc, oneshot};

/// Works that may wait before a new one has to wait for a place.
const QUEUE: usize = 1024;
/// Works that share one transaction at the most.
const BATCH: usize = 256;

/// A row to be written or asked for.
pub(super) type Item = Box<dyn Any + Send + Sync>;
/// What came of it.
pub(super) type Value = Box<dyn Any + Send>;
type Unit = Box<dyn for<'c> Fn(&'c mut SqliteConnection) -> BoxFuture<'c, Result<Value, DbError>> + Send + Sync>;
/// A statement over many items, whatever their type.
pub(super) type Rows = Box<
    dyn for<'c> Fn(&'c mut SqliteConnection, Vec<&'c Item>) -> BoxFuture<'c, Result<Vec<Value>, DbError>> + Send + Sync,
>;

/// One statement (or a few) over many items, which answers with what came of each, in the same order.
pub(super) type ManyRows<I, O> =
    for<'c> fn(&'c mut SqliteConnection, Vec<&'c I>) -> BoxFuture<'c, Result<Vec<O>, DbError>>;

enum Work {
    /// One closure, one atomic unit.
    Unit(Unit),
    /// A row, written together with all the others of the same name. One statement alone needs no transaction around
    /// it.
    Row { name: &'static str, one_statement: bool, rows: Rows, item: Item },
}

enum Order {
    Run(Work, oneshot::Sender<Result<Value, DbError>>),
    Close(oneshot::Sender<()>),
}

/// A handle to the writer's task. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    orders: mpsc::Sender<Order>,
}

impl Writer {
    /// Starts the task that owns the writing connection.
    pub(super) fn start(connection: SqliteConnection, options: SqliteConnectOptions) -> Self {
        let (orders, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(write(connection, options, waiting));
        Self { orders }
    }

    /// Runs one unit and answers after its commit. A caller that stops waiting does not stop the unit. It may run
    /// twice, but only one of the runs counts.
    pub(super) async fn run<T, F>(&self, unit: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, DbError>> + Send + Sync + 'static,
    {
        let unit: Unit = Box::new(move |connection| {
            let outcome = unit(connection);
            Box::pin(async move { outcome.await.map(|value| Box::new(value) as Value) })
        });
        self.order(Work::Unit(unit)).await
    }

    /// Writes `item` with all the other items of this `name` that wait, by one call of `rows`; answers after the
    /// commit.
    pub(super) async fn gather<I, O>(&self, name: &'static str, rows: ManyRows<I, O>, item: I) -> Result<O, DbError>
    where
        I: Send + Sync + 'static,
        O: Send + 'static,
    {
        self.order(Work::Row { name, one_statement: false, rows: rows_of(rows), item: Box::new(item) }).await
    }

    /// Like [`Writer::gather`] for `rows` that are a single statement.
    pub(super) async fn gather_one<I, O>(&self, name: &'static str, rows: ManyRows<I, O>, item: I) -> Result<O, DbError>
    where
        I: Send + Sync + 'static,
        O: Send + 'static,
    {
        self.order(Work::Row { name, one_statement: true, rows: rows_of(rows), item: Box::new(item) }).await
    }

    async fn order<T: 'static>(&self, work: Work) -> Result<T, DbError> {
        let (answer, result) = oneshot::channel();
        self.orders.send(Order::Run(work, answer)).await.map_err(|_| DbError::stopped())?;
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

/// `rows` for items of any type; those of another type than its own cannot be there.
pub(super) fn rows_of<I: Send + Sync + 'static, O: Send + 'static>(rows: ManyRows<I, O>) -> Rows {
    Box::new(move |connection, items| {
        let outcome = rows(connection, items.into_iter().filter_map(|item| item.downcast_ref()).collect());
        Box::pin(async move { Ok(outcome.await?.into_iter().map(|value| Box::new(value) as Value).collect()) })
    })
}

async fn write(mut connection: SqliteConnection, options: SqliteConnectOptions, mut waiting: mpsc::Receiver<Order>) {
    let mut orders = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut orders, BATCH).await > 0 {
        let mut batch = Vec::with_capacity(orders.len());
        let mut answers = Vec::with_capacity(orders.len());
        let mut close = None;
        for order in orders.drain(..) {
            match order {
                Order::Run(work, answer) => {
                    batch.push(work);
                    answers.push(answer);
                }
                Order::Close(done) => close = Some(done),
            }
        }
        let results = run_batch(&mut connection, &batch).await;
        // A full or failing disk makes SQLite undo the transaction by itself; sqlx then believes for ever that it is
        // open.
        let is_doubtful =
            |result: &Result<Value, DbError>| matches!(result, Err(DbError::OutOfReach(_) | DbError::Failed(_)));
        if results.iter().any(is_doubtful)
            && let Ok(fresh) = options.connect().await
        {
            connection = fresh;
        }
        for (answer, result) in answers.into_iter().zip(results) {
            answer.send(result).ok();
        }
        if let Some(done) = close {
            connection.close().await.ok();
            done.send(()).ok();
            return;
        }
    }
}

async fn run_batch(connection: &mut SqliteConnection, batch: &[Work]) -> Vec<Result<Value, DbError>> {
    let outcome = match run_together(connection, batch).await {
        // One work failed and took the others with it: run them again, each in a savepoint of its own.
        Err(error) if batch.len() > 1 && !matches!(error, DbError::OutOfReach(_)) => run_apart(connection, batch).await,
        other => other.map(|values| values.into_iter().map(Ok).collect()),
    };
    outcome.unwrap_or_else(|error| {
        let mut error = Some(error);
        batch.iter().map(|_| Err(error.take().unwrap_or_else(DbError::stopped))).collect()
    })
}

async fn run_together(connection: &mut SqliteConnection, batch: &[Work]) -> Result<Vec<Value>, DbError> {
    if let Some(Work::Row { name, one_statement: true, rows, .. }) = batch.first()
        && same(batch, name).count() == batch.len()
    {
        return rows(connection, same(batch, name).map(|(_, item)| item).collect()).await;
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut values: Vec<Option<Value>> = batch.iter().map(|_| None).collect();
    for (at, work) in batch.iter().enumerate() {
        if values[at].is_some() {
            continue;
        }
        let done = match work {
            Work::Unit(unit) => unit(&mut transaction).await.map(|value| vec![(at, value)]),
            Work::Row { name, rows, .. } => {
                let (places, items): (Vec<usize>, Vec<&Item>) = same(batch, name).unzip();
                rows(&mut transaction, items).await.map(|values| places.into_iter().zip(values).collect())
            }
        };
        match done {
            Ok(done) => done.into_iter().for_each(|(place, value)| values[place] = Some(value)),
            Err(error) => {
                transaction.rollback().await?;
                return Err(error);
            }
        }
    }
    transaction.commit().await?;
    values.into_iter().map(|value| value.ok_or_else(DbError::stopped)).collect()
}

async fn run_apart(connection: &mut SqliteConnection, batch: &[Work]) -> Result<Vec<Result<Value, DbError>>, DbError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut results = Vec::with_capacity(batch.len());
    for work in batch {
        let mut savepoint = transaction.begin().await?;
        let result = match work {
            Work::Unit(unit) => unit(&mut savepoint).await,
            Work::Row { rows, item, .. } => {
                let values = rows(&mut savepoint, vec![item]).await;
                values.and_then(|values| values.into_iter().next().ok_or_else(DbError::stopped))
            }
        };
        match &result {
            Ok(_) => savepoint.commit().await?,
            Err(_) => savepoint.rollback().await?,
        }
        results.push(result);
    }
    transaction.commit().await?;
    Ok(results)
}

/// The rows of a batch that one statement writes, with their places.
fn same<'b>(batch: &'b [Work], name: &'static str) -> impl Iterator<Item = (usize, &'b Item)> {
    batch.iter().enumerate().filter_map(move |(at, work)| match work {
        Work::Row { name: other, item, .. } if *other == name => Some((at, item)),
        _ => None,
    })
}
