//! Calls that we placed, and the turns of any call as it goes on.

use super::calls::rank;
use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use crate::config::AccountSid;
use sqlx::FromRow;

/// A call that Twilio has just taken from us.
#[derive(Debug, Clone)]
pub struct NewPlacedCall {
    /// The Twilio account that places it.
    pub account_sid: Option<AccountSid>,
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

/// A turn of a call.
#[derive(Debug, Clone, FromRow)]
pub struct LiveTurn {
    /// Its number in the call.
    pub turn: i64,
    /// What was said.
    pub input_text: String,
    /// What was answered; none while it is being written, or when the model failed.
    pub gpt_response: Option<String>,
    /// The sentences that are there of an answer over webhooks: a JSON list.
    pub sentences: String,
    /// What of the answer reached the person, when it was not all.
    pub heard_text: Option<String>,
    /// When it was said.
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
                 started_at, purpose, created_at, account_sid) VALUES ($1, $2, 'outbound-api', $3, $4, $5, $6, $7, $8, $7, $9) \
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
            .bind(new.account_sid.map(|sid| sid.to_string()))
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

    /// Writes down who answered a call, in Twilio's words; whether that is news, which is so for one of several equal reports.
    /// A fax, or a machine that has spoken to its end, stays what it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_answered_by(&self, call_sid: &str, who: &str) -> Result<bool, DbError> {
        let (call_sid, who) = (call_sid.to_owned(), who.to_owned());
        unit!(self, [call_sid, who], |c| {
            let text = "UPDATE call_logs SET answered_by = $2 WHERE call_sid = $1 AND COALESCE(answered_by, '') \
                        NOT IN ($2, 'fax', 'machine_end_beep', 'machine_end_silence', 'machine_end_other')";
            Ok(sqlx::query(text).bind(&call_sid).bind(&who).execute(&mut *c).await?.rows_affected() > 0)
        })
    }

    /// Takes back that `who` answered: what it needed was not done, and another report may do it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_answered_by(&self, call_sid: &str, who: &str, before: Option<&str>) -> Result<(), DbError> {
        let (call_sid, who, before) = (call_sid.to_owned(), who.to_owned(), before.map(str::to_owned));
        unit!(self, [call_sid, who, before], |c| {
            let text = "UPDATE call_logs SET answered_by = $3 WHERE call_sid = $1 AND answered_by = $2";
            sqlx::query(text).bind(&call_sid).bind(&who).bind(&before).execute(&mut *c).await?;
            Ok(())
        })
    }

    /// The turns of a call so far.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn turns_of(&self, call_sid: &str) -> Result<Vec<LiveTurn>, DbError> {
        let text = "SELECT turn, input_text, gpt_response, sentences, heard_text, created_at FROM conversation_logs \
                    WHERE call_sid = $1 AND turn IS NOT NULL ORDER BY turn";
        read!(self, fetch_all, text, call_sid)
    }
}
