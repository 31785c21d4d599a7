//! What Twilio was answered for each part of each turn, byte for byte: a redelivered webhook hears the same. And with
//! it how far the answer was told, so that the next part goes on there.

mod keeping;

use super::dialect::{postgres_now, sqlite_now};
use super::reader::find_each;
use super::{Db, DbError, in_time, read, unit};
use crate::clock::Micros;
use futures_util::future::BoxFuture;
pub(super) use keeping::KeptRow;
pub use keeping::Told;
use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};
use std::time::Duration;

/// Which webhook was answered.
#[derive(Debug, Clone, Serialize)]
pub struct VoiceStep {
    /// The call; of what follows a ConversationRelay session, the call and the session.
    pub call_sid: String,
    /// The turn in the call.
    pub turn: i64,
    /// 0 for the turn itself, then its parts; see [`MOST_PARTS`].
    pub part: i64,
}

/// The highest part of an answer; nobody speaks that long. The documents around it (transfer, voicemail …) are steps
/// beyond.
pub const MOST_PARTS: i64 = 10_000;

impl VoiceStep {
    /// The greeting of a call.
    pub fn greeting(call_sid: &str) -> Self {
        Self { call_sid: call_sid.to_owned(), turn: 0, part: 0 }
    }

    /// What follows a ConversationRelay session, of which a call may have several. No id has a blank in it, so whatever
    /// a webhook names as its session, it is never answered with what was stored for another call.
    pub fn session_ended(call_sid: &str, session_id: &str) -> Self {
        Self { call_sid: format!("{call_sid} {session_id}"), turn: 0, part: 0 }
    }

    /// The message that an answering machine is left.
    pub fn message(call_sid: &str) -> Self {
        Self { call_sid: call_sid.to_owned(), turn: 1, part: MOST_PARTS + 1 }
    }

    /// What follows a call to a person.
    pub fn transferred(&self) -> Self {
        Self { part: MOST_PARTS + 2, ..self.clone() }
    }

    /// What follows the offer to leave a message.
    pub fn offered(&self) -> Self {
        Self { part: MOST_PARTS + 3, ..self.clone() }
    }

    /// What follows a message that the caller left, or did not leave.
    pub fn recorded(&self) -> Self {
        Self { part: MOST_PARTS + 4, ..self.clone() }
    }
}

/// One answer to a voice webhook.
#[derive(Debug, Clone, Default, FromRow)]
pub struct VoiceAnswer {
    /// The part of the turn.
    pub part: i64,
    /// Whether the caller had said nothing.
    pub silent: bool,
    /// How many sentences of the turn's answer were told with this and before.
    pub told: i64,
    /// Which filler was said, if one was.
    pub filler: Option<i64>,
    /// How long the caller has heard no new words of the turn by now, in microseconds; less than 0 while words are
    /// still spoken. See [`VoiceAnswer::waited`].
    pub waited: Micros,
    /// The document.
    pub twiml: String,
}

impl VoiceAnswer {
    /// How long the caller has heard no new words; nothing while some are still spoken.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.waited).unwrap_or(0))
    }
}

macro_rules! answer {
    ($now:ident) => {
        concat!("part, silent, told, filler, twiml, ", $now!(), " - waiting_since AS waited")
    };
}
/// The newest answer up to each of a JSON list of [`VoiceStep`].
const NEWEST_SQLITE: &str = concat!(
    "SELECT key.key AS place, ",
    answer!(sqlite_now),
    " FROM jsonb_each($1) AS key CROSS JOIN voice_answers AS newest WHERE newest.rowid = \
     (SELECT rowid FROM voice_answers WHERE call_sid = value ->> 'call_sid' AND turn = value ->> 'turn' \
     AND part <= value ->> 'part' ORDER BY part DESC LIMIT 1)"
);
/// That of one step.
const NEWEST_POSTGRES: &str = concat!(
    "SELECT ",
    answer!(postgres_now),
    " FROM voice_answers WHERE call_sid = $1 AND turn = $2 AND part <= $3 ORDER BY part DESC LIMIT 1"
);

/// The document stored for exactly this step, within the transaction `$c`.
macro_rules! stored {
    ($c:ident, $step:expr) => {{
        let text = "SELECT twiml FROM voice_answers WHERE call_sid = $1 AND turn = $2 AND part = $3";
        let query = sqlx::query_as(text).bind(&$step.call_sid).bind($step.turn).bind($step.part);
        let stored: Option<(String,)> = query.fetch_optional(&mut *$c).await?;
        stored.map(|(twiml,)| twiml)
    }};
}
pub(super) use stored;

impl Db {
    /// The newest answer of a turn up to a part: the part's own, or the one before it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voice_answer_up_to(&self, step: &VoiceStep) -> Result<Option<VoiceAnswer>, DbError> {
        match self {
            Self::Sqlite { reader, .. } => reader.gather("voice answer", newest_answers, step.clone()).await,
            Self::Postgres(pool) => {
                let query = sqlx::query_as(NEWEST_POSTGRES).bind(&step.call_sid).bind(step.turn).bind(step.part);
                Ok(in_time(query.fetch_optional(pool)).await?)
            }
        }
    }

    /// The answer stored for exactly this step.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voice_answer(&self, step: &VoiceStep) -> Result<Option<VoiceAnswer>, DbError> {
        Ok(self.voice_answer_up_to(step).await?.filter(|answer| answer.part == step.part))
    }

    /// The filler that was said last in a call.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_filler(&self, call_sid: &str) -> Result<Option<i64>, DbError> {
        let text = "SELECT filler FROM voice_answers WHERE call_sid = $1 AND filler IS NOT NULL \
                    ORDER BY turn DESC, part DESC LIMIT 1";
        let last: Option<(i64,)> = read!(self, fetch_optional, text, call_sid)?;
        Ok(last.map(|(filler,)| filler))
    }

    /// Forgets the answers stored before `before`: no webhook is redelivered that late.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_voice_answers(&self, before: Micros) -> Result<u64, DbError> {
        unit!(self, [], |c| {
            let query = sqlx::query("DELETE FROM voice_answers WHERE created_at < $1").bind(before);
            Ok(query.execute(&mut *c).await?.rows_affected())
        })
    }
}

fn newest_answers<'c>(
    c: &'c mut SqliteConnection,
    steps: Vec<&'c VoiceStep>,
) -> BoxFuture<'c, Result<Vec<Option<VoiceAnswer>>, DbError>> {
    Box::pin(async move { find_each(c, NEWEST_SQLITE, &steps).await })
}
