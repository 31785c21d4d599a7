//! One call by its CallSid, with all that is known of it: the ones we placed, and any call as it goes on.

use super::calls::rank;
use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use sqlx::FromRow;

/// A call that Twilio has just taken from us.
#[derive(Debug, Clone)]
pub struct NewPlacedCall {
    /// Twilio's id.
    pub call_sid: String,
    /// The user who is called.
    pub user_id: i64,
    /// Our number.
    pub from: String,
    /// The user's number.
    pub to: String,
    /// Twilio's call status.
    pub status: String,
    /// Why we call.
    pub purpose: String,
    /// When.
    pub at: Micros,
}

/// What a webhook must know of a call that we placed.
#[derive(Debug, Clone, FromRow)]
pub struct PlacedCall {
    /// The user who is called.
    pub user_id: i64,
    /// Why we call.
    pub purpose: String,
    /// Who answered, in Twilio's words, once Twilio knows.
    pub answered_by: Option<String>,
}

/// A call, and what came of it so far.
#[derive(Debug, Clone, FromRow)]
pub struct LiveCall {
    /// The row's id.
    pub id: i64,
    /// Whose call it is; nobody's when a stranger was refused.
    pub user_id: Option<i64>,
    /// Twilio's id.
    pub call_sid: String,
    /// `inbound`, `outbound-api` or `outbound-dial`.
    pub direction: String,
    /// As Twilio gave it; may be no number.
    pub from_number: String,
    /// As Twilio gave it.
    pub to_number: String,
    /// Twilio's call status, or `unknown-end` when its end was never reported.
    pub status: String,
    /// Why we called, when we did.
    pub purpose: Option<String>,
    /// Who answered, in Twilio's words.
    pub answered_by: Option<String>,
    /// Length of a finished call, in seconds.
    pub duration_seconds: Option<i64>,
    /// When it was first heard of.
    pub started_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// When the row was made.
    pub created_at: Micros,
    /// What was said, in a paragraph.
    pub summary: Option<String>,
    /// What the caller asked for, a JSON list of texts.
    pub requests: Option<String>,
}

/// A turn of a call.
#[derive(Debug, Clone, FromRow)]
pub struct LiveTurn {
    /// Its number in the call.
    pub turn: i64,
    /// What was said.
    pub input_text: String,
    /// What was answered; none while it is being written, or when the model failed.
    pub gpt_response: Option<String>,
    /// What of the answer reached the person, when it was not all.
    pub heard_text: Option<String>,
    /// When it was said.
    pub created_at: Micros,
}

/// A message that was left on a call.
#[derive(Debug, Clone, FromRow)]
pub struct LiveVoicemail {
    /// Twilio's id.
    pub recording_sid: String,
    /// Where Twilio keeps it.
    pub recording_url: String,
    /// Its length.
    pub duration_seconds: Option<i64>,
    /// Its words, when they were written down.
    pub transcript: Option<String>,
    /// When it was first heard of.
    pub created_at: Micros,
}

impl Db {
    /// Writes down a call that we placed. A webhook may have told of it before, but not whom we called and why.
    ///
    /// # Errors
    /// [`DbError::NoParent`] when the user was deleted.
    pub async fn record_placed_call(&self, new: NewPlacedCall) -> Result<(), DbError> {
        let rank = rank(&new.status);
        unit!(self, [new], |c| {
            sqlx::query(
                "INSERT INTO call_logs (user_id, call_sid, direction, from_number, to_number, status, status_rank, \
                 started_at, purpose, created_at) VALUES ($1, $2, 'outbound-api', $3, $4, $5, $6, $7, $8, $7) \
                 ON CONFLICT (call_sid) DO UPDATE SET user_id = excluded.user_id, purpose = excluded.purpose",
            )
            .bind(new.user_id)
            .bind(&new.call_sid)
            .bind(&new.from)
            .bind(&new.to)
            .bind(&new.status)
            .bind(rank)
            .bind(new.at)
            .bind(&new.purpose)
            .execute(&mut *c)
            .await?;
            Ok(())
        })
    }

    /// A call that we placed; `None` when it is not one, or is not written down yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn placed_call(&self, call_sid: &str) -> Result<Option<PlacedCall>, DbError> {
        let text = "SELECT user_id, purpose, answered_by FROM call_logs \
                    WHERE call_sid = $1 AND purpose IS NOT NULL AND user_id IS NOT NULL";
        read!(self, fetch_optional, text, call_sid)
    }

    /// Writes down who answered a call, in Twilio's words.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record_answered_by(&self, call_sid: &str, who: &str) -> Result<(), DbError> {
        let (call_sid, who) = (call_sid.to_owned(), who.to_owned());
        unit!(self, [call_sid, who], |c| {
            let query = sqlx::query("UPDATE call_logs SET answered_by = $2 WHERE call_sid = $1");
            query.bind(&call_sid).bind(&who).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// A call of the log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live_call(&self, call_sid: &str) -> Result<Option<LiveCall>, DbError> {
        let text = "SELECT id, user_id, call_sid, direction, from_number, to_number, status, purpose, answered_by, \
                    duration_seconds, started_at, ended_at, created_at, summary, requests \
                    FROM call_logs WHERE call_sid = $1";
        read!(self, fetch_optional, text, call_sid)
    }

    /// The turns of a call so far.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn turns_of(&self, call_sid: &str) -> Result<Vec<LiveTurn>, DbError> {
        let text = "SELECT turn, input_text, gpt_response, heard_text, created_at FROM conversation_logs \
                    WHERE call_sid = $1 AND turn IS NOT NULL ORDER BY turn";
        read!(self, fetch_all, text, call_sid)
    }

    /// The messages that were left on a call.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voicemails_of(&self, call_sid: &str) -> Result<Vec<LiveVoicemail>, DbError> {
        let text = "SELECT recording_sid, recording_url, duration_seconds, transcript, created_at FROM voicemails \
                    WHERE call_sid = $1 ORDER BY id";
        read!(self, fetch_all, text, call_sid)
    }
}
