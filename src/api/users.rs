//! Users: the people the gateway knows.

use super::Tag;
use super::auth::Admin;
use super::outcome::{Created, Deleted, NOT_FOUND, Outcome, TAKEN};
use super::problem::Problem;
use super::request::{InPath, InQuery, JsonBody};
use super::text::{self, Email, PhoneNumber, Text, Username};
use super::values::{Id, LARGEST, Nullable, Timestamp, Whole};
use crate::app::App;
use crate::conversation::party::WITHHELD;
use crate::db::users::{self, UserChange};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{Object, OpenApi};
use std::sync::Arc;

/// A person the gateway knows.
#[derive(Object)]
#[oai(example)]
pub(super) struct User {
    /// Never used again, even after the user is deleted.
    id: i64,
    /// What the user is called; unique.
    username: String,
    /// Unique.
    email: Nullable<String>,
    /// In E.164 form, unique. Calls and texts from this number, or to it if it is one of ours, are this user's.
    phone_number: Nullable<String>,
    /// The calls of an inactive user are rejected and the texts left unanswered; requests to this API are served.
    is_active: bool,
    /// When the user was made.
    created_at: Timestamp,
    /// When the user was last changed.
    updated_at: Timestamp,
}

impl From<users::User> for User {
    fn from(user: users::User) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email.into(),
            phone_number: user.phone_number.into(),
            is_active: user.is_active,
            created_at: Timestamp(user.created_at),
            updated_at: Timestamp(user.updated_at),
        }
    }
}

impl Example for User {
    fn example() -> Self {
        Self {
            id: 1,
            username: Text::<Username>::example().into_inner(),
            email: Some(Text::<Email>::example().into_inner()).into(),
            phone_number: Some(Text::<PhoneNumber>::example().into_inner()).into(),
            is_active: true,
            created_at: Timestamp::EXAMPLE,
            updated_at: Timestamp::EXAMPLE,
        }
    }
}

/// A user to be made.
#[derive(Object)]
#[oai(example)]
struct NewUser {
    /// What the user is called; unique.
    username: Text<Username>,
    /// Unique.
    #[oai(nullable)]
    email: Option<Text<Email>>,
    /// In E.164 form, unique.
    #[oai(nullable)]
    phone_number: Option<Text<PhoneNumber>>,
}

impl Example for NewUser {
    fn example() -> Self {
        Self { username: Text::example(), email: Some(Text::example()), phone_number: Some(Text::example()) }
    }
}

/// What to change of a user. What is left out stays as it is.
#[derive(Object)]
#[oai(example)]
struct UserUpdate {
    /// A new name; unique.
    username: Option<Text<Username>>,
    /// A new address; null takes it away.
    #[oai(nullable)]
    email: MaybeUndefined<Text<Email>>,
    /// A new number in E.164 form; null takes it away.
    #[oai(nullable)]
    phone_number: MaybeUndefined<Text<PhoneNumber>>,
    /// Whether calls and texts are served.
    is_active: Option<bool>,
}

impl Example for UserUpdate {
    fn example() -> Self {
        Self {
            username: Some(Text::example()),
            email: MaybeUndefined::Value(Text::example()),
            phone_number: MaybeUndefined::Null,
            is_active: Some(true),
        }
    }
}

/// A name that is not the gateway's own: everybody without a number would become the user who takes that one.
fn free(username: Text<Username>) -> Result<String, Problem> {
    let username = username.into_inner();
    match username == WITHHELD {
        true => Err(Problem::invalid_field("username", "is a name of the gateway itself")),
        false => Ok(username),
    }
}

/// `/users`
#[derive(Clone, Copy)]
pub(super) struct UsersApi;

#[OpenApi(prefix_path = "/users", tag = "Tag::Users")]
impl UsersApi {
    /// Create a user
    ///
    /// Username, email and phone number must not be another user's.
    #[oai(path = "/", method = "post", operation_id = "createUser")]
    async fn create(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        body: JsonBody<NewUser>,
    ) -> Outcome<Created<User>, TAKEN> {
        let NewUser { username, email, phone_number } = body.0;
        let (email, phone_number) = (email.map(Text::into_inner), phone_number.map(Text::into_inner));
        let user = app.db.create_user(app.clock.now(), free(username)?, email, phone_number).await?;
        app.directory.forget().await;
        Ok(Created::Created(Json(user.into())))
    }

    /// List users
    ///
    /// In the order in which they were made.
    #[oai(path = "/", method = "get", operation_id = "listUsers")]
    async fn list(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// How many users to pass over.
        #[oai(default = "no_users")]
        skip: InQuery<Whole<0, LARGEST>>,
        /// How many users to answer at most.
        #[oai(default = "ten_users")]
        limit: InQuery<Whole<1, 100>>,
    ) -> Outcome<Json<Vec<User>>> {
        let users = app.db.users(skip.0.0, limit.0.0).await?;
        Ok(Json(users.into_iter().map(User::from).collect()))
    }

    /// Get a user
    ///
    /// Answers the user with this id.
    #[oai(path = "/:user_id", method = "get", operation_id = "getUser")]
    async fn get(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The user's id.
        user_id: InPath<Id>,
    ) -> Outcome<Json<User>, NOT_FOUND> {
        let user = app.db.user(user_id.0.0).await?.ok_or_else(|| no_user(user_id.0.0))?;
        Ok(Json(user.into()))
    }

    /// Change a user
    ///
    /// What the body leaves out stays as it is.
    #[oai(path = "/:user_id", method = "put", operation_id = "updateUser")]
    async fn update(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The user's id.
        user_id: InPath<Id>,
        body: JsonBody<UserUpdate>,
    ) -> Outcome<Json<User>, { NOT_FOUND | TAKEN }> {
        let UserUpdate { username, email, phone_number, is_active } = body.0;
        let change = UserChange {
            username: username.map(free).transpose()?,
            email: text::update(email),
            phone_number: text::update(phone_number),
            is_active,
        };
        let changed = app.db.update_user(app.clock.now(), user_id.0.0, change).await?;
        app.directory.forget().await;
        Ok(Json(changed.ok_or_else(|| no_user(user_id.0.0))?.into()))
    }

    /// Delete a user
    ///
    /// Erases the person: the user, the preferences, the whole history and what is still to be done about it.
    #[oai(path = "/:user_id", method = "delete", operation_id = "deleteUser")]
    async fn delete(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The user's id.
        user_id: InPath<Id>,
    ) -> Outcome<Deleted, NOT_FOUND> {
        let was_there = app.db.delete_user(user_id.0.0).await?;
        app.directory.forget().await;
        // The next texts of the same numbers wait no longer.
        app.outbox.wake();
        if was_there { Ok(Deleted::Deleted) } else { Err(no_user(user_id.0.0).into()) }
    }
}

fn no_users() -> Whole<0, LARGEST> {
    Whole(0)
}

fn ten_users() -> Whole<1, 100> {
    Whole(10)
}

/// 404 over a user.
pub(super) fn no_user(id: i64) -> Problem {
    Problem::not_found(format!("There is no user {id}."))
}
