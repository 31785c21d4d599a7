//! Answers are stored before they are sent, with how far they tell their turn. On SQLite those of all calls that wait
//! share a few statements.

use super::{VoiceAnswer, VoiceStep};
use crate::clock::Micros;
use crate::db::dialect::{postgres_now, postgres_rows, sqlite_now, sqlite_rows};
use crate::db::{Db, DbError, in_transaction, json_list};
use futures_util::future::BoxFuture;
use serde::Serialize;
use sqlx::SqliteConnection;
use std::collections::{HashMap, HashSet};

/// What telling an answer means for its turn.
#[derive(Debug, Clone)]
pub enum Told {
    /// Nothing: no words of the answer were told.
    Nothing,
    /// The answer up to here; more will follow.
    UpTo(String),
    /// The whole answer.
    All,
    /// An apology instead; the answer, once it is there, was told too late.
    TooLate,
}

/// An answer as its row holds it.
#[derive(Debug, Clone, Serialize)]
pub(in crate::db) struct KeptRow {
    call_sid: String,
    turn: i64,
    part: i64,
    user_id: i64,
    silent: bool,
    told: i64,
    filler: Option<i64>,
    waited: Micros,
    twiml: String,
    at: Micros,
    #[serde(skip)]
    tells: Option<ToldRow>,
}

/// How far a turn is told.
#[derive(Debug, Clone, Serialize)]
struct ToldRow {
    call_sid: String,
    turn: i64,
    heard: Option<String>,
    late: bool,
}

/// The answers that are new, of a JSON list of [`KeptRow`].
macro_rules! keep {
    ($now:ident, $rows:ident) => {
        concat!(
            "INSERT INTO voice_answers (call_sid, turn, part, user_id, silent, told, filler, twiml, created_at, waiting_since) \
             SELECT value ->> 'call_sid', CAST(value ->> 'turn' AS BIGINT), CAST(value ->> 'part' AS BIGINT), \
             CAST(value ->> 'user_id' AS BIGINT), CAST(value ->> 'silent' AS BOOLEAN), CAST(value ->> 'told' AS BIGINT), \
             CAST(value ->> 'filler' AS BIGINT), value ->> 'twiml', CAST(value ->> 'at' AS BIGINT), ",
            $now!(),
            " - CAST(value ->> 'waited' AS BIGINT) FROM ",
            $rows!(),
            " WHERE TRUE ON CONFLICT (call_sid, turn, part) DO NOTHING RETURNING call_sid, turn, part"
        )
    };
}
/// How far turns are told, of a JSON list of [`ToldRow`].
macro_rules! tell_of {
    ($rows:ident) => {
        concat!(
            "UPDATE conversation_logs SET late = is_late, \
             heard_text = CASE WHEN is_late THEN COALESCE(heard_text, '') ELSE heard END \
             FROM (SELECT value ->> 'call_sid' AS of_call, CAST(value ->> 'turn' AS BIGINT) AS of_turn, \
             value ->> 'heard' AS heard, CAST(value ->> 'late' AS BOOLEAN) AS is_late FROM ",
            $rows!(),
            ") AS told WHERE call_sid = of_call AND turn = of_turn"
        )
    };
}
/// The answers that were there before, of a JSON list of [`KeptRow`].
macro_rules! earlier {
    ($rows:ident) => {
        concat!(
            "SELECT call_sid, turn, part, twiml FROM voice_answers, (SELECT value ->> 'call_sid' AS of_call, \
             CAST(value ->> 'turn' AS BIGINT) AS of_turn, CAST(value ->> 'part' AS BIGINT) AS of_part FROM ",
            $rows!(),
            ") AS asked WHERE call_sid = of_call AND turn = of_turn AND part = of_part"
        )
    };
}

/// CallSid, turn and part.
type Place = (String, i64, i64);

/// Keeps answers within the transaction `$c` of this kind of database: a list of the document of each row, which is the
/// one that was stored first.
macro_rules! keep_rows {
    ($c:ident, $now:ident, $list:ident, $rows:expr) => {{
        let rows: &[&KeptRow] = $rows;
        let query = sqlx::query_as(keep!($now, $list)).bind(json_list(rows));
        let new: Vec<Place> = query.fetch_all(&mut *$c).await?;
        let mut new: HashSet<Place> = new.into_iter().collect();
        // Of two deliveries in one batch the first one is new.
        let (new, old): (Vec<&KeptRow>, Vec<&KeptRow>) = rows.iter().partition(|row| new.remove(&row.place()));
        let told: Vec<&ToldRow> = new.iter().filter_map(|row| row.tells.as_ref()).collect();
        if !told.is_empty() {
            sqlx::query(tell_of!($list)).bind(json_list(&told)).execute(&mut *$c).await?;
        }
        let mut earlier: HashMap<Place, String> = HashMap::new();
        if !old.is_empty() {
            let query = sqlx::query_as(earlier!($list)).bind(json_list(&old));
            let stored: Vec<(String, i64, i64, String)> = query.fetch_all(&mut *$c).await?;
            earlier.extend(stored.into_iter().map(|(call_sid, turn, part, twiml)| ((call_sid, turn, part), twiml)));
        }
        let document = |row: &&KeptRow| earlier.get(&row.place()).unwrap_or(&row.twiml).clone();
        Ok(rows.iter().map(document).collect())
    }};
}

impl KeptRow {
    /// The answer to `step`, for this user.
    pub(in crate::db) fn new(now: Micros, step: &VoiceStep, user_id: i64, answer: VoiceAnswer, told: Told) -> Self {
        let told_row = |heard, late| Some(ToldRow { call_sid: step.call_sid.clone(), turn: step.turn, heard, late });
        let tells = match told {
            Told::Nothing => None,
            Told::UpTo(words) => told_row(Some(words), false),
            Told::All => told_row(None, false),
            Told::TooLate => told_row(None, true),
        };
        let VoiceAnswer { silent, told, filler, waited, twiml, .. } = answer;
        let (call_sid, turn, part) = (step.call_sid.clone(), step.turn, step.part);
        Self { call_sid, turn, part, user_id, silent, told, filler, waited, twiml, at: now, tells }
    }

    fn place(&self) -> Place {
        (self.call_sid.clone(), self.turn, self.part)
    }
}

impl Db {
    /// Stores an answer before it is sent, and what it tells of its turn; answers with the document that was stored
    /// first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_voice_answer(
        &self,
        now: Micros,
        step: &VoiceStep,
        user_id: i64,
        answer: VoiceAnswer,
        told: Told,
    ) -> Result<String, DbError> {
        let row = KeptRow::new(now, step, user_id, answer, told);
        let pool = match self {
            Self::Sqlite { writer, .. } => return writer.gather("voice answer", keep_on_sqlite, row).await,
            Self::Postgres(pool) => pool,
        };
        let kept: Vec<String> = in_transaction!(pool, |c| { keep_rows!(c, postgres_now, postgres_rows, &[&row]) })?;
        kept.into_iter().next().ok_or_else(DbError::stopped)
    }

    /// See [`keep`].
    pub(in crate::db) fn keep(&self) -> &'static str {
        self.text(keep!(sqlite_now, sqlite_rows), keep!(postgres_now, postgres_rows))
    }
}

fn keep_on_sqlite<'c>(
    c: &'c mut SqliteConnection,
    rows: Vec<&'c KeptRow>,
) -> BoxFuture<'c, Result<Vec<String>, DbError>> {
    Box::pin(async move { keep_rows!(c, sqlite_now, sqlite_rows, &rows) })
}
