//! What Twilio was answered for each part of each turn, byte for byte: a redelivered webhook hears the same. And with it how
//! far the answer was told, so that the next part goes on there.

use super::dialect::{postgres_now, sqlite_now};
use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use sqlx::FromRow;
use std::time::Duration;

/// Which webhook was answered.
#[derive(Debug, Clone)]
pub struct VoiceStep {
    /// The call; of what follows a ConversationRelay session, the call and the session.
    pub call_sid: String,
    /// The turn in the call.
    pub turn: i64,
    /// 0 for the turn itself, then its parts; see [`LONGEST_ANSWER`].
    pub part: i64,
}

/// The parts of an answer; nobody speaks that long. Documents that are no part of it are steps beyond.
pub const LONGEST_ANSWER: i64 = 10_000;

impl VoiceStep {
    /// The greeting of a call.
    pub fn greeting(call_sid: &str) -> Self {
        Self { call_sid: call_sid.to_owned(), turn: 0, part: 0 }
    }

    /// What follows a ConversationRelay session, of which a call may have several. No id has a blank in it, so whatever a webhook
    /// names as its session, it is never answered with what was stored for another call.
    pub fn session_ended(call_sid: &str, session_id: &str) -> Self {
        Self { call_sid: format!("{call_sid} {session_id}"), turn: 0, part: 0 }
    }

    /// The message that an answering machine is left.
    pub fn message(call_sid: &str) -> Self {
        Self { call_sid: call_sid.to_owned(), turn: 1, part: LONGEST_ANSWER + 1 }
    }

    /// What follows a call to a person.
    pub fn transferred(&self) -> Self {
        Self { part: LONGEST_ANSWER + 2, ..self.clone() }
    }

    /// What follows the offer to leave a message.
    pub fn offered(&self) -> Self {
        Self { part: LONGEST_ANSWER + 3, ..self.clone() }
    }

    /// What follows a message that the caller left, or did not leave.
    pub fn recorded(&self) -> Self {
        Self { part: LONGEST_ANSWER + 4, ..self.clone() }
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
    /// How long the caller has heard no new words of the turn by now, in microseconds; less than 0 while words are still spoken.
    /// See [`VoiceAnswer::waited`].
    pub waited: Micros,
    /// The document.
    pub twiml: String,
}

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

impl VoiceAnswer {
    /// How long the caller has heard no new words; nothing while some are still spoken.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.waited).unwrap_or(0))
    }
}

macro_rules! newest {
    ($now:ident) => {
        concat!(
            "SELECT part, silent, told, filler, twiml, ",
            $now!(),
            " - waiting_since AS waited FROM voice_answers \
             WHERE call_sid = $1 AND turn = $2 AND part <= $3 ORDER BY part DESC LIMIT 1"
        )
    };
}
macro_rules! keep {
    ($now:ident) => {
        concat!(
            "INSERT INTO voice_answers (call_sid, turn, part, user_id, silent, told, filler, twiml, created_at, waiting_since) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, ",
            $now!(),
            " - $10) ON CONFLICT (call_sid, turn, part) DO NOTHING"
        )
    };
}
/// Writes an answer within the transaction `$c`, by the text that [`Db::keep`] gives; how many rows that were.
macro_rules! insert {
    ($c:ident, $keep:expr, $now:expr, $step:expr, $user_id:expr, $answer:expr) => {
        sqlx::query($keep)
            .bind(&$step.call_sid)
            .bind($step.turn)
            .bind($step.part)
            .bind($user_id)
            .bind($answer.silent)
            .bind($answer.told)
            .bind($answer.filler)
            .bind(&$answer.twiml)
            .bind($now)
            .bind($answer.waited)
            .execute(&mut *$c)
            .await?
            .rows_affected()
    };
}
pub(super) use insert;

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
    /// Stores an answer before it is sent, and what it tells of its turn; answers with the document that was stored first.
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
        let (step, new) = (step.clone(), answer.clone());
        let (keep, newest) = (self.keep(), self.newest());
        let earlier: Option<VoiceAnswer> = unit!(self, [step, new, told], |c| {
            if insert!(c, keep, now, step, user_id, new) == 0 {
                let query = sqlx::query_as(newest).bind(&step.call_sid).bind(step.turn).bind(step.part);
                return Ok(query.fetch_optional(&mut *c).await?);
            }
            let (heard, late) = match &told {
                Told::Nothing => return Ok(None),
                Told::UpTo(words) => (Some(words.as_str()), false),
                Told::All => (None, false),
                Told::TooLate => (None, true),
            };
            sqlx::query(
                "UPDATE conversation_logs SET late = $4, \
                 heard_text = CASE WHEN $4 THEN COALESCE(heard_text, '') ELSE $3 END \
                 WHERE call_sid = $1 AND turn = $2",
            )
            .bind(&step.call_sid)
            .bind(step.turn)
            .bind(heard)
            .bind(late)
            .execute(&mut *c)
            .await?;
            Ok(None)
        })?;
        Ok(earlier.map_or(answer.twiml, |earlier| earlier.twiml))
    }

    /// The newest answer of a turn up to a part: the part's own, or the one before it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voice_answer_up_to(&self, step: &VoiceStep) -> Result<Option<VoiceAnswer>, DbError> {
        read!(self, fetch_optional, self.newest(), &step.call_sid, step.turn, step.part)
    }

    /// The answer stored for exactly this step.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voice_answer(&self, step: &VoiceStep) -> Result<Option<VoiceAnswer>, DbError> {
        Ok(self.voice_answer_up_to(step).await?.filter(|answer| answer.part == step.part))
    }

    pub(super) fn keep(&self) -> &'static str {
        self.text(keep!(sqlite_now), keep!(postgres_now))
    }

    fn newest(&self) -> &'static str {
        self.text(newest!(sqlite_now), newest!(postgres_now))
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
