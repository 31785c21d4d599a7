//! A call as the API shows it while it goes on.

use super::history_entries::Call;
use super::problem::Problem;
use super::values::{Nullable, Timestamp};
use crate::conversation::speech::joined;
use crate::db::Db;
use crate::db::live_calls::LiveTurn;
use poem_openapi::Object;
use poem_openapi::types::Example;

/// A call, and what was said on it so far.
#[derive(Object)]
#[oai(example)]
pub(super) struct CallDetails {
    /// The call, as the history has it.
    #[oai(flatten)]
    call: Call,
    /// What was said, oldest first.
    turns: Vec<CallTurn>,
}

/// A turn of a call.
#[derive(Object)]
struct CallTurn {
    /// Its number in the call.
    turn: i64,
    /// What was said; empty where the gateway had called and the assistant spoke first.
    input_text: String,
    /// What was answered, or is there of an answer that is being given, about a second late; null while there is
    /// nothing, and for good when the model failed.
    gpt_response: Nullable<String>,
    /// What of the answer was heard, when it was not all.
    heard_text: Nullable<String>,
    /// When it was said.
    created_at: Timestamp,
}

impl From<LiveTurn> for CallTurn {
    fn from(row: LiveTurn) -> Self {
        let so_far = || serde_json::from_str::<Vec<String>>(&row.sentences).ok().filter(|list| !list.is_empty());
        Self {
            turn: row.turn,
            input_text: row.input_text,
            gpt_response: row.gpt_response.or_else(|| so_far().map(|sentences| joined(&sentences))).into(),
            heard_text: row.heard_text.into(),
            created_at: Timestamp(row.created_at),
        }
    }
}

impl CallDetails {
    /// The call with this CallSid.
    ///
    /// # Errors
    /// 404 when the gateway knows no such call of a user's, and when the database fails.
    pub(super) async fn of(db: &Db, call_sid: &str) -> Result<Self, Problem> {
        let (call, turns) = tokio::try_join!(db.call(call_sid), db.turns_of(call_sid))?;
        let call = Call::entries(db, call.into_iter().collect()).await?.pop();
        let call = call.ok_or_else(|| Problem::not_found(format!("There is no call {call_sid}.")))?;
        Ok(Self { call, turns: turns.into_iter().map(CallTurn::from).collect() })
    }

    /// Whether the call is over.
    pub(super) fn is_over(&self) -> bool {
        self.call.is_over()
    }
}

impl Example for CallDetails {
    fn example() -> Self {
        let said = "Hello John, your bicycle is ready. When would you like to fetch it?";
        Self {
            call: Call::example(),
            turns: vec![CallTurn {
                turn: 1,
                input_text: String::new(),
                gpt_response: Some(said.to_owned()).into(),
                heard_text: None.into(),
                created_at: Timestamp::EXAMPLE,
            }],
        }
    }
}
