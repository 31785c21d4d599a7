//! What Twilio was answered for each part of each turn, byte for byte: a redelivered webhook hears the same.

use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use sqlx::FromRow;

/// One answer to a voice webhook.
#[derive(Debug, Clone, FromRow)]
pub struct VoiceAnswer {
    /// Whether the caller had said nothing.
    pub silent: bool,
    /// The document.
    pub twiml: String,
}

/// Which webhook was answered.
#[derive(Debug, Clone)]
pub struct VoiceStep {
    /// The call.
    pub call_sid: String,
    /// The turn in the call.
    pub turn: i64,
    /// 0 for the turn itself, then its parts.
    pub part: i64,
}

const ANSWER: &str = "SELECT silent, twiml FROM voice_answers WHERE call_sid = $1 AND turn = $2 AND part = $3";

impl Db {
    /// Stores an answer before it is sent; answers with the one that was stored first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_voice_answer(
        &self,
        now: Micros,
        step: VoiceStep,
        user_id: Option<i64>,
        answer: VoiceAnswer,
    ) -> Result<VoiceAnswer, DbError> {
        let new = answer.clone();
        let earlier = unit!(self, [step, new], |c| {
            let kept = sqlx::query(
                "INSERT INTO voice_answers (call_sid, turn, part, user_id, silent, twiml, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (call_sid, turn, part) DO NOTHING",
            )
            .bind(&step.call_sid)
            .bind(step.turn)
            .bind(step.part)
            .bind(user_id)
            .bind(new.silent)
            .bind(&new.twiml)
            .bind(now)
            .execute(&mut *c)
            .await?
            .rows_affected();
            if kept > 0 {
                return Ok(None);
            }
            let query = sqlx::query_as(ANSWER).bind(&step.call_sid).bind(step.turn).bind(step.part);
            Ok(query.fetch_optional(&mut *c).await?)
        })?;
        Ok(earlier.unwrap_or(answer))
    }

    /// The answer stored for a step.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voice_answer(&self, step: &VoiceStep) -> Result<Option<VoiceAnswer>, DbError> {
        read!(self, fetch_optional, ANSWER, &step.call_sid, step.turn, step.part)
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
