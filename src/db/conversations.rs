//! Turns of conversation, and what earlier ones a model is told.

use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, SqliteConnection};

/// What `model_used` says of fixed sentences.
pub const NO_MODEL: &str = "none";

/// One turn: what was said, and the answer once there is one.
#[derive(Debug, Clone, FromRow)]
pub struct Conversation {
    /// The row's id, by which lists page.
    pub id: i64,
    /// Whose conversation it is.
    pub user_id: i64,
    /// `voice` or `api`.
    pub channel: String,
    /// The call of a spoken turn.
    pub call_sid: Option<String>,
    /// The number of a spoken turn in its call.
    pub turn: Option<i64>,
    /// What was said; empty when we called and the assistant spoke first.
    pub input_text: String,
    /// What was answered; none while it is being written, or when the model failed.
    pub gpt_response: Option<String>,
    /// What of the answer reached the person, when it was not all.
    pub heard_text: Option<String>,
    /// Whether the model failed.
    pub failed: bool,
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// From the request to the whole answer, in milliseconds.
    pub processing_time_ms: f64,
    /// The model, as its server names it.
    pub model_used: String,
    /// When it was said.
    pub created_at: Micros,
    /// When the answer was there.
    pub answered_at: Option<Micros>,
}

/// An answer and what it took.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The words.
    pub text: String,
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// The model, as its server names it.
    pub model: String,
    /// From the request to the whole answer, in milliseconds.
    pub elapsed_ms: f64,
}

/// One earlier exchange of a thread.
#[derive(Debug, Clone, FromRow, Deserialize)]
pub struct Exchange {
    /// When it began.
    pub said_at: Micros,
    /// When it was answered, or when it began if it was not.
    pub last_at: Micros,
    /// What the person said: nothing when we called them, and none when they were written to.
    pub said: Option<String>,
    /// What was answered.
    pub answer: Option<String>,
    /// What of the answer reached the person, when it was not all.
    pub heard: Option<String>,
    /// Whether an apology was told in place of the answer, or of its end.
    pub late: bool,
}

/// Both logs, newest first. Of the texts only those are told that are older than the one which is answered and not
/// answered together with it; so what came while an answer was written belongs to the next prompt. A reply that did not
/// reach the person is not told, only the text it was for.
macro_rules! earlier {
    ($user:literal, $peer:literal, $turn:literal, $text:literal) => {
        concat!(
            "SELECT said_at, last_at, said, answer, heard, late FROM ( \
             SELECT * FROM (SELECT created_at AS said_at, COALESCE(answered_at, created_at) AS last_at, input_text AS said, \
             gpt_response AS answer, heard_text AS heard, late, id FROM conversation_logs \
             WHERE user_id = ", $user, " AND peer = ", $peer, " AND id <> ", $turn, " ORDER BY id DESC LIMIT 20) AS turns \
             UNION ALL \
             SELECT * FROM (SELECT created_at AS said_at, COALESCE(decided_at, created_at) AS last_at, NULLIF(incoming_text, '') AS said, \
             CASE WHEN reply_status IN ('draft', 'discarded', 'failed', 'undelivered', 'canceled') THEN NULL ELSE reply_text END AS answer, NULL AS heard, FALSE AS late, id FROM sms_logs \
             WHERE user_id = ", $user, " AND peer = ", $peer, " AND id < ", $text, " \
             AND (answered_with IS NULL OR answered_with <> ", $text, ") AND (reply_status IS NULL OR reply_status NOT IN ('ignored', 'confirmed')) ORDER BY id DESC LIMIT 20) AS texts \
             ) AS thread ORDER BY said_at DESC, id DESC LIMIT 20"
        )
    };
}

/// The thread of each of a JSON list of [`ThreadKey`].
const THREADS: &str = concat!(
    "SELECT (SELECT json_group_array(json_array(said_at, last_at, said, answer, heard, json(iif(late, 'true', 'false')))) FROM (",
    earlier!("key.value ->> 'user'", "key.value ->> 'peer'", "key.value ->> 'turn'", "key.value ->> 'text'"),
    ")) FROM jsonb_each($1) AS key ORDER BY key.key"
);

/// Whose thread, and the rows it must leave out.
#[derive(Serialize)]
struct ThreadKey {
    user: i64,
    peer: String,
    turn: i64,
    text: i64,
}

fn threads<'c>(
    c: &'c mut SqliteConnection,
    keys: Vec<&'c ThreadKey>,
) -> BoxFuture<'c, Result<Vec<Vec<Exchange>>, DbError>> {
    Box::pin(async move {
        let found: Vec<(String,)> = sqlx::query_as(THREADS).bind(super::json_list(&keys)).fetch_all(c).await?;
        let read = |(thread,): (String,)| {
            serde_json::from_str(&thread).map_err(|error| DbError::Failed(sqlx::Error::Decode(error.into())))
        };
        found.into_iter().map(read).collect()
    })
}

/// The rows that a thread must leave out, because they are the ones being answered.
#[derive(Debug, Clone, Copy)]
pub enum Except {
    /// Nothing: the row is not there yet.
    Nothing,
    /// This row of the conversation log.
    Turn(i64),
    /// This row of the text log, those that are answered with it, and what came after it.
    Text(i64),
}

impl Db {
    /// What was said before by and to the same user and peer, newest first, twenty exchanges at the most.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn thread(&self, user_id: i64, peer: &str, except: Except) -> Result<Vec<Exchange>, DbError> {
        let (turn, text) = match except {
            Except::Nothing => (0, i64::MAX),
            Except::Turn(id) => (id, i64::MAX),
            Except::Text(id) => (0, id),
        };
        match self {
            Self::Sqlite { reader, .. } => {
                reader.gather("thread", threads, ThreadKey { user: user_id, peer: peer.to_owned(), turn, text }).await
            }
            Self::Postgres(pool) => {
                let query =
                    sqlx::query_as(earlier!("$1", "$2", "$3", "$4")).bind(user_id).bind(peer).bind(turn).bind(text);
                Ok(super::in_time(query.fetch_all(pool)).await?)
            }
        }
    }

    /// Adds a finished turn of the REST API.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn add_conversation(
        &self,
        said_at: Micros,
        now: Micros,
        user_id: i64,
        input_text: String,
        answer: Answer,
    ) -> Result<Conversation, DbError> {
        unit!(self, [input_text, answer], |c| {
            Ok(sqlx::query_as(
                "INSERT INTO conversation_logs (user_id, peer, channel, input_text, gpt_response, failed, input_tokens, \
                 output_tokens, processing_time_ms, model_used, created_at, answered_at) \
                 VALUES ($1, '', 'api', $2, $3, FALSE, $4, $5, $6, $7, $8, $9) RETURNING *",
            )
            .bind(user_id)
            .bind(&input_text)
            .bind(&answer.text)
            .bind(answer.input_tokens)
            .bind(answer.output_tokens)
            .bind(answer.elapsed_ms)
            .bind(&answer.model)
            .bind(said_at)
            .bind(now)
            .fetch_one(&mut *c)
            .await?)
        })
    }

    /// The user's turns, newest first, those before the id `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn conversations(&self, user_id: i64, before: i64, limit: i64) -> Result<Vec<Conversation>, DbError> {
        read!(
            self,
            fetch_all,
            "SELECT * FROM conversation_logs WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            user_id,
            before,
            limit
        )
    }
}
