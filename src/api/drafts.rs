//! Drafts: replies that wait for a person.

use super::Tag;
use super::auth::Admin;
use super::history::{Limit, fifty};
use super::history_entries::Sms;
use super::outcome::{CONFLICT, NOT_FOUND, Outcome};
use super::problem::Problem;
use super::request::{InPath, InQuery, JsonBody};
use super::text::{SmsBody, Text};
use super::users::no_user;
use super::values::Id;
use crate::app::App;
use crate::db::drafts::{NewWords, NoDraft};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use std::sync::Arc;
use tracing::info;

/// How a draft is sent.
#[derive(Object)]
#[oai(example)]
struct DraftOrder {
    /// What is sent in place of the draft's own words; left out, they are sent as they are. A draft without words needs
    /// some.
    #[oai(nullable)]
    text: Option<Text<SmsBody>>,
}

impl Example for DraftOrder {
    fn example() -> Self {
        Self { text: Some(Text::example()) }
    }
}

/// `/sms/drafts`, `/sms/{id}/…`
#[derive(Clone, Copy)]
pub(super) struct DraftsApi;

#[OpenApi(prefix_path = "/sms", tag = "Tag::Sms")]
impl DraftsApi {
    /// List a user's drafts
    ///
    /// The texts whose replies wait for a person: of a user with `auto_reply_enabled` false, and those of which the
    /// model was unsure; one it gave no usable answer to has no words. Newest first. The next page begins before the
    /// last id of this one.
    #[oai(path = "/drafts", method = "get", operation_id = "listDrafts")]
    async fn list(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// Whose they are.
        user_id: InQuery<Id>,
        /// Only drafts with a smaller id.
        before: InQuery<Option<Id>>,
        /// How many drafts to answer at most.
        #[oai(default = "fifty")]
        limit: InQuery<Limit>,
    ) -> Outcome<Json<Vec<Sms>>, NOT_FOUND> {
        let user_id = user_id.0.0;
        app.db.user(user_id).await?.ok_or_else(|| no_user(user_id))?;
        let before = before.0.map_or(i64::MAX, |id| id.0);
        let drafts = app.db.drafts(user_id, before, limit.0.0).await?;
        Ok(Json(drafts.into_iter().map(Sms::from).collect()))
    }

    /// Send a draft
    ///
    /// Queues the draft as the reply to its text, from the number that was written to; in several numbered messages, if
    /// one does not hold it. It is sent once: a second wish to send it is 409, as is one to send what was discarded, or
    /// to write to somebody who does not want it, or whose last WhatsApp message is over 24 hours old: the draft is
    /// kept until they write again.
    #[oai(path = "/:id/send", method = "post", operation_id = "sendDraft")]
    async fn send(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The id of the text.
        id: InPath<Id>,
        body: JsonBody<DraftOrder>,
    ) -> Outcome<Json<Sms>, { NOT_FOUND | CONFLICT }> {
        let id = id.0.0;
        let words = match body.0.text {
            Some(text) => {
                let message = app.db.message(id).await?.ok_or_else(|| not_done(id, NoDraft::Unknown))?;
                Some(new_words(&app, text.into_inner(), &message.channel))
            }
            None => None,
        };
        let sent = app.db.send_draft(app.clock.now(), id, words).await?.map_err(|why| not_done(id, why))?;
        app.outbox.wake();
        info!(message.id = id, "A draft is sent as an administrator wished");
        Ok(Json(sent.into()))
    }

    /// Discard a draft
    ///
    /// Leaves its text unanswered.
    #[oai(path = "/:id/discard", method = "post", operation_id = "discardDraft")]
    async fn discard(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The id of the text.
        id: InPath<Id>,
    ) -> Outcome<Json<Sms>, { NOT_FOUND | CONFLICT }> {
        let id = id.0.0;
        let discarded = app.db.discard_draft(id).await?.map_err(|why| not_done(id, why))?;
        Ok(Json(discarded.into()))
    }
}

fn new_words(app: &App, text: String, channel: &str) -> NewWords {
    let size = app.sms.size(&text, channel);
    NewWords { text, segments: size.segments, encoding: size.encoding, cost_estimate: size.cost_estimate }
}

fn not_done(id: i64, why: NoDraft) -> Problem {
    match why {
        NoDraft::Unknown => Problem::not_found(format!("There is no text {id}.")),
        NoDraft::Gone => Problem::conflict(format!("The text {id} has no draft, or none any more.")),
        NoDraft::Wordless => {
            Problem::conflict(format!("The draft of the text {id} has no words yet: send it with a text."))
        }
        NoDraft::OptedOut => Problem::conflict("Its receiver does not want to be written to."),
        NoDraft::WindowClosed => Problem::conflict(
            "Its receiver's last WhatsApp message is over 24 hours old: WhatsApp takes no free text until they write again.",
        ),
    }
}
