//! What was said, called and written.

use super::Tag;
use super::auth::Admin;
use super::history_entries::{Call, History, Sms, Turn};
use super::outcome::{NOT_FOUND, Outcome};
use super::problem::Problem;
use super::request::{InPath, InQuery};
use super::users::no_user;
use super::values::{Id, Whole};
use crate::app::App;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::payload::Json;
use std::sync::Arc;

/// Entries of a list.
pub(super) type Limit = Whole<1, 500>;

/// `/history/…`
#[derive(Clone, Copy)]
pub(super) struct HistoryApi;

#[OpenApi(prefix_path = "/history", tag = "Tag::History")]
impl HistoryApi {
    /// Get a user's history
    ///
    /// The latest turns, calls and texts, each newest first.
    #[oai(path = "/:user_id", method = "get", operation_id = "getHistory")]
    async fn all(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The user's id.
        user_id: InPath<Id>,
        /// How many entries each list has at most.
        #[oai(default = "fifty")]
        limit: InQuery<Limit>,
    ) -> Outcome<Json<History>, NOT_FOUND> {
        let page = Page::of(&app, user_id, None, limit).await?;
        let (conversations, calls, sms) = tokio::try_join!(page.conversations(), page.calls(), page.sms())?;
        Ok(Json(History { conversations, calls, sms }))
    }

    /// List a user's turns of conversation
    ///
    /// Newest first. The next page begins before the last id of this one.
    #[oai(path = "/:user_id/conversations", method = "get", operation_id = "listConversations")]
    async fn conversations(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The user's id.
        user_id: InPath<Id>,
        /// Only entries with a smaller id.
        before: InQuery<Option<Id>>,
        /// How many entries to answer at most.
        #[oai(default = "fifty")]
        limit: InQuery<Limit>,
    ) -> Outcome<Json<Vec<Turn>>, NOT_FOUND> {
        Ok(Json(Page::of(&app, user_id, before.0, limit).await?.conversations().await?))
    }

    /// List a user's calls
    ///
    /// Newest first. The next page begins before the last id of this one.
    #[oai(path = "/:user_id/calls", method = "get", operation_id = "listCalls")]
    async fn calls(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The user's id.
        user_id: InPath<Id>,
        /// Only entries with a smaller id.
        before: InQuery<Option<Id>>,
        /// How many entries to answer at most.
        #[oai(default = "fifty")]
        limit: InQuery<Limit>,
    ) -> Outcome<Json<Vec<Call>>, NOT_FOUND> {
        Ok(Json(Page::of(&app, user_id, before.0, limit).await?.calls().await?))
    }

    /// List a user's texts
    ///
    /// Newest first. The next page begins before the last id of this one.
    #[oai(path = "/:user_id/sms", method = "get", operation_id = "listSms")]
    async fn sms(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The user's id.
        user_id: InPath<Id>,
        /// Only entries with a smaller id.
        before: InQuery<Option<Id>>,
        /// How many entries to answer at most.
        #[oai(default = "fifty")]
        limit: InQuery<Limit>,
    ) -> Outcome<Json<Vec<Sms>>, NOT_FOUND> {
        Ok(Json(Page::of(&app, user_id, before.0, limit).await?.sms().await?))
    }
}

/// What a list answers at most when nothing else is asked for.
pub(super) fn fifty() -> Limit {
    Whole(50)
}

/// A stretch of a user's history.
struct Page<'a> {
    app: &'a App,
    user_id: i64,
    before: i64,
    limit: i64,
}

impl<'a> Page<'a> {
    async fn of(app: &'a App, user_id: InPath<Id>, before: Option<Id>, limit: InQuery<Limit>) -> Result<Self, Problem> {
        let user_id = user_id.0.0;
        app.db.user(user_id).await?.ok_or_else(|| no_user(user_id))?;
        Ok(Self { app, user_id, before: before.map_or(i64::MAX, |id| id.0), limit: limit.0.0 })
    }

    async fn conversations(&self) -> Result<Vec<Turn>, Problem> {
        let turns = self.app.db.conversations(self.user_id, self.before, self.limit).await?;
        Ok(turns.into_iter().map(Turn::from).collect())
    }

    async fn calls(&self) -> Result<Vec<Call>, Problem> {
        let calls = self.app.db.calls(self.user_id, self.before, self.limit).await?;
        Ok(Call::entries(&self.app.db, calls).await?)
    }

    async fn sms(&self) -> Result<Vec<Sms>, Problem> {
        let messages = self.app.db.messages(self.user_id, self.before, self.limit).await?;
        Ok(messages.into_iter().map(Sms::from).collect())
    }
}
