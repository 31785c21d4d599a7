//! How a person wants to be spoken to.

use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use sqlx::FromRow;

/// The preferences of one user; a user has one row or none.
#[derive(Debug, Clone, FromRow)]
pub struct Preferences {
    /// The row's id, by which it is changed and deleted.
    pub id: i64,
    /// Whose they are.
    pub user_id: i64,
    /// BCP 47.
    pub language: String,
    /// An OpenAI or Twilio voice name that speaks `language`.
    pub tts_voice: String,
    /// Whether texts are answered, or only drafted.
    pub auto_reply_enabled: bool,
    /// Seconds after which a pause starts a new conversation.
    pub conversation_timeout: i64,
    /// Whether the user wants to be told of what happened.
    pub notifications_enabled: bool,
    /// E.164; where the owner of one of our numbers is reached.
    pub forward_number: Option<String>,
    /// How calls are carried, a [`crate::config::Transport`]'s name; without one the setting counts.
    pub voice_transport: Option<String>,
    /// An IANA name; without one the setting counts.
    pub time_zone: Option<String>,
    /// When they were made.
    pub created_at: Micros,
    /// When they were last changed.
    pub updated_at: Micros,
}

/// New preferences, or with `None` as "leave it" a change of some.
#[derive(Debug, Clone, Default)]
pub struct PreferencesChange {
    /// See [`Preferences::language`].
    pub language: Option<String>,
    /// See [`Preferences::tts_voice`].
    pub tts_voice: Option<String>,
    /// See [`Preferences::auto_reply_enabled`].
    pub auto_reply_enabled: Option<bool>,
    /// See [`Preferences::conversation_timeout`].
    pub conversation_timeout: Option<i64>,
    /// See [`Preferences::notifications_enabled`].
    pub notifications_enabled: Option<bool>,
    /// `Some(None)` empties it.
    pub forward_number: Option<Option<String>>,
    /// `Some(None)` empties it.
    pub voice_transport: Option<Option<String>>,
    /// `Some(None)` empties it.
    pub time_zone: Option<Option<String>>,
}

impl Db {
    /// Adds the preferences of a user; what `given` leaves out is taken from `default`.
    ///
    /// # Errors
    /// [`DbError::Taken`] when the user has some already, [`DbError::NoParent`] when there is no such user.
    pub async fn create_preferences(
        &self,
        now: Micros,
        user_id: i64,
        given: PreferencesChange,
        default: PreferencesChange,
    ) -> Result<Preferences, DbError> {
        unit!(self, [given, default], |c| {
            Ok(sqlx::query_as(
                "INSERT INTO user_preferences (user_id, language, tts_voice, auto_reply_enabled, conversation_timeout, \
                 notifications_enabled, forward_number, voice_transport, time_zone, created_at, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) RETURNING *",
            )
            .bind(user_id)
            .bind(given.language.or(default.language))
            .bind(given.tts_voice.or(default.tts_voice))
            .bind(given.auto_reply_enabled.or(default.auto_reply_enabled))
            .bind(given.conversation_timeout.or(default.conversation_timeout))
            .bind(given.notifications_enabled.or(default.notifications_enabled))
            .bind(given.forward_number.or(default.forward_number).flatten())
            .bind(given.voice_transport.or(default.voice_transport).flatten())
            .bind(given.time_zone.or(default.time_zone).flatten())
            .bind(now)
            .fetch_one(&mut *c)
            .await?)
        })
    }

    /// The preferences of a user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn preferences_of(&self, user_id: i64) -> Result<Option<Preferences>, DbError> {
        read!(self, fetch_optional, "SELECT * FROM user_preferences WHERE user_id = $1", user_id)
    }

    /// The preferences with this id of their own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn preferences(&self, id: i64) -> Result<Option<Preferences>, DbError> {
        read!(self, fetch_optional, "SELECT * FROM user_preferences WHERE id = $1", id)
    }

    /// Changes preferences, if they are still as the caller checked them to be: `checked` holds the language and the
    /// voice that were looked at together. `None` when the row is gone or was changed meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_preferences(
        &self,
        now: Micros,
        id: i64,
        change: PreferencesChange,
        checked: (String, String),
    ) -> Result<Option<Preferences>, DbError> {
        unit!(self, [change, checked], |c| {
            Ok(sqlx::query_as(
                "UPDATE user_preferences SET language = COALESCE($2, language), tts_voice = COALESCE($3, tts_voice), \
                 auto_reply_enabled = COALESCE($4, auto_reply_enabled), \
                 conversation_timeout = COALESCE($5, conversation_timeout), \
                 notifications_enabled = COALESCE($6, notifications_enabled), \
                 forward_number = CASE WHEN $7 THEN $8 ELSE forward_number END, \
                 voice_transport = CASE WHEN $9 THEN $10 ELSE voice_transport END, \
                 time_zone = CASE WHEN $11 THEN $12 ELSE time_zone END, updated_at = $13 \
                 WHERE id = $1 AND language = $14 AND tts_voice = $15 RETURNING *",
            )
            .bind(id)
            .bind(&change.language)
            .bind(&change.tts_voice)
            .bind(change.auto_reply_enabled)
            .bind(change.conversation_timeout)
            .bind(change.notifications_enabled)
            .bind(change.forward_number.is_some())
            .bind(change.forward_number.flatten())
            .bind(change.voice_transport.is_some())
            .bind(change.voice_transport.flatten())
            .bind(change.time_zone.is_some())
            .bind(change.time_zone.flatten())
            .bind(now)
            .bind(&checked.0)
            .bind(&checked.1)
            .fetch_optional(&mut *c)
            .await?)
        })
    }

    /// Deletes preferences and tells whose they were; `None` when there are none with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_preferences(&self, id: i64) -> Result<Option<i64>, DbError> {
        unit!(self, [], |c| {
            let gone: Option<(i64,)> = sqlx::query_as("DELETE FROM user_preferences WHERE id = $1 RETURNING user_id")
                .bind(id)
                .fetch_optional(&mut *c)
                .await?;
            Ok(gone.map(|(user_id,)| user_id))
        })
    }
}
