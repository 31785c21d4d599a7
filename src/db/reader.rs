//! SQLite's reader for the webhooks. Like the [writer](super::writer) it answers many who wait with one statement:
//! handing a statement to SQLite's thread and back costs several times what the statement itself does.

use super::DbError;
use super::json_list;
use super::writer::{Item, ManyRows, Rows, Value, rows_of};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait before a new one has to wait for a place.
const QUEUE: usize = 1024;
/// Questions that are taken together at the most.
const BATCH: usize = 256;

struct Question {
    name: &'static str,
    rows: Rows,
    item: Item,
    answer: oneshot::Sender<Result<Value, DbError>>,
}

/// A handle to the reader's task. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    questions: mpsc::Sender<Question>,
}

impl Reader {
    /// Starts the task that owns the reading connection.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let (questions, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(read(connection, waiting));
        Self { questions }
    }

    /// Answers for `item` with all the other items of this `name` that wait, by one call of `rows`.
    pub(super) async fn gather<I, O>(&self, name: &'static str, rows: ManyRows<I, O>, item: I) -> Result<O, DbError>
    where
        I: Send + Sync + 'static,
        O: Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let question = Question { name, rows: rows_of(rows), item: Box::new(item), answer };
        self.questions.send(question).await.map_err(|_| DbError::stopped())?;
        let value = result.await.map_err(|_| DbError::stopped())??;
        value.downcast().map(|value| *value).map_err(|_| DbError::stopped())
    }
}

/// The row of each key, if there is one. `text` is given the keys as the JSON list `$1`, and answers with the places in
/// it, as `place`, of the keys whose rows it has found.
pub(super) async fn find_each<K: Serialize, R: for<'r> FromRow<'r, SqliteRow>>(
    c: &mut SqliteConnection,
    text: &'static str,
    keys: &[&K],
) -> Result<Vec<Option<R>>, DbError> {
    let mut each: Vec<Option<R>> = keys.iter().map(|_| None).collect();
    for row in sqlx::query(text).bind(json_list(keys)).fetch_all(c).await? {
        let place: i64 = row.try_get("place")?;
        if let Some(found) = usize::try_from(place).ok().and_then(|place| each.get_mut(place)) {
            *found = Some(R::from_row(&row)?);
        }
    }
    Ok(each)
}

async fn read(mut connection: SqliteConnection, mut waiting: mpsc::Receiver<Question>) {
    let mut questions = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut questions, BATCH).await > 0 {
        while let Some(name) = questions.first().map(|question| question.name) {
            let (same, others): (Vec<_>, Vec<_>) = questions.drain(..).partition(|question| question.name == name);
            questions = others;
            let items = same.iter().map(|question| &question.item).collect();
            let answers = match same.first() {
                Some(first) => (first.rows)(&mut connection, items).await,
                None => Ok(Vec::new()),
            };
            let mut answers = answers.map(Vec::into_iter);
            for question in same {
                let answer = match &mut answers {
                    Ok(values) => values.next().ok_or_else(DbError::stopped),
                    Err(error) => Err(std::mem::replace(error, DbError::stopped())),
                };
                question.answer.send(answer).ok();
            }
        }
    }
}
