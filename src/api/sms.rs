//! The decision about a text, over REST.

use super::Tag;
use super::auth::Admin;
use super::conversation::Said;
use super::outcome::{NOT_FOUND, Outcome};
use super::request::JsonBody;
use super::users::no_user;
use super::values::{Nullable, Timestamp};
use crate::app::App;
use crate::db::conversations::Except;
use crate::db::messages::{Message, UNSURE};
use crate::sms::decision::Text;
use crate::telemetry::SLOW_MS;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use std::sync::Arc;
use tracing::{info, warn};

/// Yes or no.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum YesOrNo {
    /// What the text asks or proposes is agreed to.
    Yes,
    /// It is not.
    No,
}

/// What was decided about a text.
#[derive(Object)]
#[oai(example)]
struct SmsDecision {
    /// The text in the history.
    id: i64,
    /// Whose text it is.
    user_id: i64,
    /// What was written.
    incoming_text: String,
    /// Whether what it asks or proposes is agreed to.
    decision: YesOrNo,
    /// Whether the model could not tell, so that a person should look at it; `decision` is `no` then, and `unsure` in
    /// the history.
    needs_human: bool,
    /// How sure the model is of it, from 0 to 1; null when it did not say.
    confidence: Nullable<f64>,
    /// Why it was decided so, in the model's words on one line; null when it did not say.
    reason: Nullable<String>,
    /// The reply to it, which is not sent; empty when the model, asked twice, gave nothing that may be.
    reply_text: String,
    /// When it was written.
    created_at: Timestamp,
}

impl From<Message> for SmsDecision {
    fn from(message: Message) -> Self {
        let decision = message.decision.as_deref();
        Self {
            id: message.id,
            user_id: message.user_id.unwrap_or_default(),
            incoming_text: message.incoming_text,
            decision: if decision == Some("yes") { YesOrNo::Yes } else { YesOrNo::No },
            needs_human: decision == Some(UNSURE),
            confidence: message.confidence.into(),
            reason: message.reason.into(),
            reply_text: message.reply_text.unwrap_or_default(),
            created_at: Timestamp(message.created_at),
        }
    }
}

impl Example for SmsDecision {
    fn example() -> Self {
        Self {
            id: 1,
            user_id: 1,
            incoming_text: "Can you help me tomorrow?".to_owned(),
            decision: YesOrNo::Yes,
            needs_human: false,
            confidence: Some(0.9).into(),
            reason: Some("The user is free tomorrow.".to_owned()).into(),
            reply_text: "Yes, I can help you tomorrow.".to_owned(),
            created_at: Timestamp::EXAMPLE,
        }
    }
}

/// `/sms/…`
#[derive(Clone, Copy)]
pub(super) struct SmsApi;

#[OpenApi(prefix_path = "/sms", tag = "Tag::Sms")]
impl SmsApi {
    /// Decide about a text
    ///
    /// Decides yes or no and writes a reply, as for a text that came by telephone. Both are kept in the history;
    /// nothing is sent. Inactive users are served too.
    #[oai(path = "/decision", method = "post", operation_id = "decideSms")]
    async fn decide(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        body: JsonBody<Said>,
    ) -> Outcome<Json<SmsDecision>, NOT_FOUND> {
        let (user_id, text) = (body.0.user_id.0, body.0.text.into_inner());
        let person = app.directory.person(user_id).await?.ok_or_else(|| no_user(user_id))?;
        let asked_at = app.clock.now();
        let asked = Text {
            person: &person,
            peer: "",
            channel: "sms",
            profile_name: None,
            text: &text,
            media: &[],
            images: &[],
            tries: 0,
            except: Except::Nothing,
        };
        let decided = app.sms.decide(asked).await?;
        let (text_ms, decision) = (decided.elapsed_ms.round(), decided.decision);
        let (tokens_in, tokens_out) = (decision.input_tokens, decision.output_tokens);
        let message = app.db.add_decision(asked_at, app.clock.now(), user_id, text, decision).await?;
        info!(user.id = user_id, text_ms, tokens_in, tokens_out, "Decided for user {user_id} in {text_ms} ms");
        if text_ms > SLOW_MS {
            warn!(user.id = user_id, text_ms, "Deciding for a user took longer than two seconds");
        }
        Ok(Json(message.into()))
    }
}
