//! A conversation with the model, over REST.

use super::Tag;
use super::auth::Admin;
use super::outcome::{NOT_FOUND, Outcome};
use super::request::JsonBody;
use super::text::{Text, Words};
use super::users::no_user;
use super::values::{Id, Timestamp, Whole};
use crate::app::App;
use crate::conversation::Asked;
use crate::conversation::party::Person;
use crate::db::conversations::{Conversation, Except};
use crate::telemetry::SLOW_MS;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use std::sync::Arc;
use tracing::{info, warn};

/// A user, and what the user says or writes.
#[derive(Object)]
#[oai(rename = "Said", example)]
pub(super) struct Said {
    /// Whose words they are.
    pub(super) user_id: Id,
    /// The words.
    pub(super) text: Text<Words>,
}

impl Example for Said {
    fn example() -> Self {
        Self { user_id: Whole(1), text: Text::example() }
    }
}

/// The model's answer.
#[derive(Object)]
#[oai(rename = "Reply", example)]
struct Reply {
    /// The turn in the history.
    id: i64,
    /// Whose conversation it is.
    user_id: i64,
    /// What was said.
    input_text: String,
    /// What the model answered.
    gpt_response: String,
    /// Tokens of the prompt; 0 when the model's server does not count.
    input_tokens: i64,
    /// Tokens of the answer; 0 when the model's server does not count.
    output_tokens: i64,
    /// From the question to the answer.
    processing_time_ms: f64,
    /// The model, as its server names it.
    model_used: String,
    /// When it was said.
    created_at: Timestamp,
    /// How to speak the answer.
    tts: Tts,
}

/// How to speak an answer.
#[derive(Object)]
struct Tts {
    /// The language, as in the user's preferences.
    language: String,
    /// The voice, as in the user's preferences.
    tts_voice: String,
    /// The voice of Twilio's that comes nearest, for `<Say voice>`.
    twilio_voice: String,
}

impl Reply {
    fn new(turn: Conversation, person: Person) -> Self {
        Self {
            id: turn.id,
            user_id: turn.user_id,
            input_text: turn.input_text,
            gpt_response: turn.gpt_response.unwrap_or_default(),
            input_tokens: turn.input_tokens,
            output_tokens: turn.output_tokens,
            processing_time_ms: turn.processing_time_ms,
            model_used: turn.model_used,
            created_at: Timestamp(turn.created_at),
            tts: Tts {
                language: person.language.tag.to_owned(),
                tts_voice: person.tts_voice,
                twilio_voice: person.voice.name.to_owned(),
            },
        }
    }
}

impl Example for Reply {
    fn example() -> Self {
        Self {
            id: 1,
            user_id: 1,
            input_text: "What is the capital of France?".to_owned(),
            gpt_response: "The capital of France is Paris.".to_owned(),
            input_tokens: 10,
            output_tokens: 8,
            processing_time_ms: 1250.5,
            model_used: "gpt-3.5-turbo".to_owned(),
            created_at: Timestamp::EXAMPLE,
            tts: Tts {
                language: "en".to_owned(),
                tts_voice: "nova".to_owned(),
                twilio_voice: "Polly.Ruth-Neural".to_owned(),
            },
        }
    }
}

/// `/conversation`
#[derive(Clone, Copy)]
pub(super) struct ConversationApi;

#[OpenApi(prefix_path = "/conversation", tag = "Tag::Conversation")]
impl ConversationApi {
    /// Say something to the model
    ///
    /// The model is told of the user's earlier turns and texts, back to the first pause longer than
    /// `conversation_timeout`. The turn is kept in the history. Inactive users are answered too.
    #[oai(path = "/", method = "post", operation_id = "converse")]
    async fn converse(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        body: JsonBody<Said>,
    ) -> Outcome<Json<Reply>, NOT_FOUND> {
        let (user_id, text) = (body.0.user_id.0, body.0.text.into_inner());
        let person = app.directory.person(user_id).await?.ok_or_else(|| no_user(user_id))?;
        let said_at = app.clock.now();
        let asked = Asked { person: &person, peer: "", text: &text, except: Except::Nothing };
        let answer = app.conversation.answer(asked).await?;
        let turn = app.db.add_conversation(said_at, app.clock.now(), user_id, text, answer).await?;
        let (turn_ms, tokens_in, tokens_out) = (turn.processing_time_ms.round(), turn.input_tokens, turn.output_tokens);
        info!(user.id = user_id, turn_ms, tokens_in, tokens_out, "Answered user {user_id} in {turn_ms} ms");
        if turn_ms > SLOW_MS {
            warn!(user.id = user_id, turn_ms, "Answering a user took longer than two seconds");
        }
        Ok(Json(Reply::new(turn, person)))
    }
}
