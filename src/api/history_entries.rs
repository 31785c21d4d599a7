//! The entries of a history.

mod calls;
mod texts;

use super::values::{Nullable, Timestamp};
use crate::db::conversations;
pub(super) use calls::Call;
use poem_openapi::Object;
use poem_openapi::types::Example;
pub(super) use texts::Sms;

/// A user's history, each list newest first.
#[derive(Object)]
#[oai(example)]
pub(super) struct History {
    /// Turns of conversation, on calls and over this API.
    pub(super) conversations: Vec<Turn>,
    /// Calls.
    pub(super) calls: Vec<Call>,
    /// Texts.
    pub(super) sms: Vec<Sms>,
}

impl Example for History {
    fn example() -> Self {
        Self { conversations: vec![Turn::example()], calls: vec![Call::example()], sms: vec![Sms::example()] }
    }
}

/// A turn of conversation: what was said, and the answer.
#[derive(Object)]
#[oai(rename = "ConversationEntry", example)]
pub(super) struct Turn {
    /// The entry's id, by which lists are paged.
    id: i64,
    /// Whose conversation it is.
    user_id: i64,
    /// `voice` for a turn on a call, `api` for one over this API.
    channel: String,
    /// The call's CallSid.
    call_sid: Nullable<String>,
    /// The turn's number in the call.
    turn: Nullable<i64>,
    /// What was said; empty where the gateway had called and the assistant spoke first.
    input_text: String,
    /// What was answered; null while there is no answer, and for good when the model failed.
    gpt_response: Nullable<String>,
    /// What of the answer reached the caller, when it was not all: the caller hung up or broke in, or the answer came
    /// too late. Only this is told to the model later. Null when all was heard.
    heard_text: Nullable<String>,
    /// Tokens of the prompt.
    input_tokens: i64,
    /// Tokens of the answer.
    output_tokens: i64,
    /// From the request to the whole answer.
    processing_time_ms: f64,
    /// The model, as its server names it; empty while there is no answer.
    model_used: String,
    /// When it was said.
    created_at: Timestamp,
}

impl From<conversations::Conversation> for Turn {
    fn from(row: conversations::Conversation) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            channel: row.channel,
            call_sid: row.call_sid.into(),
            turn: row.turn.into(),
            input_text: row.input_text,
            gpt_response: row.gpt_response.into(),
            heard_text: row.heard_text.into(),
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            processing_time_ms: row.processing_time_ms,
            model_used: row.model_used,
            created_at: Timestamp(row.created_at),
        }
    }
}

impl Example for Turn {
    fn example() -> Self {
        Self {
            id: 7,
            user_id: 1,
            channel: "voice".to_owned(),
            call_sid: Some("CA00000000000000000000000000000000".to_owned()).into(),
            turn: Some(1).into(),
            input_text: "What is the capital of France?".to_owned(),
            gpt_response: Some("The capital of France is Paris.".to_owned()).into(),
            heard_text: None.into(),
            input_tokens: 10,
            output_tokens: 8,
            processing_time_ms: 1250.5,
            model_used: "gpt-3.5-turbo".to_owned(),
            created_at: Timestamp::EXAMPLE,
        }
    }
}
