//! Users, and whose a call or text is.

use super::{Db, DbError, read, unit};
use crate::clock::Micros;
use futures_util::future::BoxFuture;
use sqlx::{FromRow, SqliteConnection};

/// A person the gateway knows.
#[derive(Debug, Clone, FromRow)]
pub struct User {
    /// Never used again, even after the user is deleted.
    pub id: i64,
    /// Unique.
    pub username: String,
    /// Unique.
    pub email: Option<String>,
    /// E.164, unique. Calls and texts from or to it are this user's.
    pub phone_number: Option<String>,
    /// The calls of an inactive user are rejected, the texts left unanswered.
    pub is_active: bool,
    /// When the user was made.
    pub created_at: Micros,
    /// When the user was last changed.
    pub updated_at: Micros,
}

/// What a partial update sets; `None` leaves the field, `Some(None)` empties it.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// A new name.
    pub username: Option<String>,
    /// A new address, or none.
    pub email: Option<Option<String>>,
    /// A new number, or none.
    pub phone_number: Option<Option<String>>,
    /// On or off.
    pub is_active: Option<bool>,
}

/// A user with the preferences that a webhook needs. Without a preferences row those columns are empty and the defaults
/// of the configuration count.
#[derive(Debug, Clone, FromRow)]
pub struct Profile {
    /// The user.
    pub user_id: i64,
    /// See [`User::phone_number`]; by it the user is found.
    pub phone_number: Option<String>,
    /// See [`User::is_active`].
    pub is_active: bool,
    /// BCP 47.
    pub language: Option<String>,
    /// An OpenAI or Twilio voice name.
    pub tts_voice: Option<String>,
    /// Whether texts are answered, or only drafted.
    pub auto_reply_enabled: Option<bool>,
    /// Seconds after which a pause starts a new conversation.
    pub conversation_timeout: Option<i64>,
    /// Whether the user wants to be told of what happened.
    pub notifications_enabled: Option<bool>,
    /// E.164; where the owner of one of our numbers is reached.
    pub forward_number: Option<String>,
    /// How calls are carried, a [`crate::config::Transport`]'s name.
    pub voice_transport: Option<String>,
    /// An IANA name.
    pub time_zone: Option<String>,
}

macro_rules! profile {
    ($where:literal) => {
        concat!(
            "SELECT u.id AS user_id, u.phone_number, u.is_active, p.language, p.tts_voice, p.auto_reply_enabled, \
             p.conversation_timeout, p.notifications_enabled, p.forward_number, p.voice_transport, \
             p.time_zone FROM users u LEFT JOIN user_preferences p ON p.user_id = u.id WHERE ",
            $where
        )
    };
}

impl Db {
    /// Adds a user.
    ///
    /// # Errors
    /// [`DbError::Taken`] when the name, address or number is another user's.
    pub async fn create_user(
        &self,
        now: Micros,
        username: String,
        email: Option<String>,
        phone_number: Option<String>,
    ) -> Result<User, DbError> {
        unit!(self, [username, email, phone_number], |c| {
            Ok(sqlx::query_as(
                "INSERT INTO users (username, email, phone_number, is_active, created_at, updated_at) \
                 VALUES ($1, $2, $3, TRUE, $4, $4) RETURNING *",
            )
            .bind(&username)
            .bind(&email)
            .bind(&phone_number)
            .bind(now)
            .fetch_one(&mut *c)
            .await?)
        })
    }

    /// The user with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user(&self, id: i64) -> Result<Option<User>, DbError> {
        read!(self, fetch_optional, "SELECT * FROM users WHERE id = $1", id)
    }

    /// `limit` users in the order of their ids, after the first `skip`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn users(&self, skip: i64, limit: i64) -> Result<Vec<User>, DbError> {
        let text = "SELECT * FROM users ORDER BY id LIMIT $1 OFFSET $2";
        read!(self, fetch_all, text, limit, skip)
    }

    /// Changes a user; `None` when there is no such user.
    ///
    /// # Errors
    /// [`DbError::Taken`] when the name, address or number is another user's.
    pub async fn update_user(&self, now: Micros, id: i64, change: UserChange) -> Result<Option<User>, DbError> {
        unit!(self, [change], |c| {
            Ok(sqlx::query_as(
                "UPDATE users SET username = COALESCE($2, username), is_active = COALESCE($3, is_active), \
                 email = CASE WHEN $4 THEN $5 ELSE email END, \
                 phone_number = CASE WHEN $6 THEN $7 ELSE phone_number END, updated_at = $8 \
                 WHERE id = $1 RETURNING *",
            )
            .bind(id)
            .bind(&change.username)
            .bind(change.is_active)
            .bind(change.email.is_some())
            .bind(change.email.flatten())
            .bind(change.phone_number.is_some())
            .bind(change.phone_number.flatten())
            .bind(now)
            .fetch_optional(&mut *c)
            .await?)
        })
    }

    /// Erases a user with preferences, history, and what is to be done about it; false when there is no such user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_user(&self, id: i64) -> Result<bool, DbError> {
        // What is being written down of the user is waited for, so that its job is seen. SQLite has one writer.
        let lock = self.text("SELECT id FROM users WHERE id = $1", "SELECT id FROM users WHERE id = $1 FOR UPDATE");
        unit!(self, [], |c| {
            sqlx::query(lock).bind(id).execute(&mut *c).await?;
            for jobs in [
                "DELETE FROM jobs WHERE kind IN ('reply', 'draft', 'send', 'answer') \
                 AND subject_id IN (SELECT id FROM sms_logs WHERE user_id = $1)",
                "DELETE FROM jobs WHERE kind = 'voicemail' \
                 AND subject_id IN (SELECT id FROM voicemails WHERE user_id = $1)",
                "DELETE FROM jobs WHERE kind = 'summary' \
                 AND subject_id IN (SELECT id FROM conversation_logs WHERE user_id = $1)",
            ] {
                sqlx::query(jobs).bind(id).execute(&mut *c).await?;
            }
            Ok(sqlx::query("DELETE FROM users WHERE id = $1").bind(id).execute(&mut *c).await?.rows_affected() > 0)
        })
    }

    /// The profile of one user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn profile(&self, user_id: i64) -> Result<Option<Profile>, DbError> {
        let text = profile!("u.id = $1");
        read!(self, fetch_optional, text, user_id)
    }

    /// The user to whom a call or text between two numbers belongs: the one whose number is the `caller`'s, else the
    /// one whose number was `called`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn profile_between(
        &self,
        caller: Option<&str>,
        called: Option<&str>,
    ) -> Result<Option<Profile>, DbError> {
        let profiles = match self {
            Self::Sqlite { reader, .. } => {
                let numbers = (caller.map(str::to_owned), called.map(str::to_owned));
                reader.gather("profile", profiles_between, numbers).await?
            }
            Self::Postgres(pool) => {
                let text = profile!("u.phone_number IN ($1, $2)");
                super::in_time(sqlx::query_as(text).bind(caller).bind(called).fetch_all(pool)).await?
            }
        };
        Ok(profiles.into_iter().min_by_key(|profile| profile.phone_number.as_deref() != caller))
    }

    /// Makes the user of a caller nobody knows yet. `name` becomes the username; if somebody has it already, `spare`
    /// does. Does nothing when the user is there by now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_caller(
        &self,
        now: Micros,
        name: &str,
        spare: &str,
        phone: Option<&str>,
    ) -> Result<(), DbError> {
        let names = [name.to_owned(), spare.to_owned()];
        let phone = phone.map(str::to_owned);
        unit!(self, [names, phone], |c| {
            for name in &names {
                let made = sqlx::query(
                    "INSERT INTO users (username, phone_number, is_active, created_at, updated_at) \
                     SELECT $1, $2, TRUE, $3, $3 \
                     WHERE $2 IS NULL OR NOT EXISTS (SELECT 1 FROM users WHERE phone_number = $2) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(name)
                .bind(&phone)
                .bind(now)
                .execute(&mut *c)
                .await?
                .rows_affected();
                if made > 0 || phone.is_none() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The profile of the user with this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn profile_by_name(&self, username: &str) -> Result<Option<Profile>, DbError> {
        let text = profile!("u.username = $1");
        read!(self, fetch_optional, text, username)
    }
}

type Numbers = (Option<String>, Option<String>);

/// The profiles by either number of each pair.
fn profiles_between<'c>(
    c: &'c mut SqliteConnection,
    pairs: Vec<&'c Numbers>,
) -> BoxFuture<'c, Result<Vec<Vec<Profile>>, DbError>> {
    const PROFILES: &str = profile!(
        "u.phone_number IN (SELECT number.value FROM jsonb_each($1) AS pair, jsonb_each(pair.value) AS number)"
    );
    Box::pin(async move {
        let found: Vec<Profile> = sqlx::query_as(PROFILES).bind(super::json_list(&pairs)).fetch_all(c).await?;
        let of = |number: &Option<String>| {
            found.iter().find(|profile| number.is_some() && profile.phone_number == *number).cloned()
        };
        Ok(pairs.into_iter().map(|(caller, called)| of(caller).into_iter().chain(of(called)).collect()).collect())
    })
}
