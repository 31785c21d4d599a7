//! How ConversationRelay sessions end.

use super::{BadField, CallRequest, Webhook, sid};
use crate::conversation::reply::After;
use crate::conversation::wishes::Wish;
use crate::twilio::form::Form;
use serde::Deserialize;

/// How a ConversationRelay session ended.
#[derive(Debug)]
pub struct RelayEnd {
    /// The call.
    pub call: CallRequest,
    /// The session; empty when it is not told.
    pub session_id: String,
    /// Whether the call is over, too. A session that failed can be followed by another, whatever the call's status
    /// says.
    pub is_over: bool,
    /// What we handed over with the session's end.
    pub handoff: Option<Handoff>,
}

/// What comes after a ConversationRelay session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handoff {
    /// Goodbye was said: the call ends.
    Goodbye,
    /// The model ended the call.
    EndCall,
    /// The call has lasted as long as one may.
    TimeOver,
    /// The caller is connected to a person.
    Transfer,
    /// The caller leaves a message.
    Voicemail,
}

impl Handoff {
    const ALL: [Self; 5] = [Self::Goodbye, Self::EndCall, Self::TimeOver, Self::Transfer, Self::Voicemail];

    /// What follows an answer, if it is not the caller's next turn.
    pub fn after(answer: After) -> Option<Self> {
        match answer {
            After::Listen => None,
            After::EndCall => Some(Self::EndCall),
            After::Transfer => Some(Self::Transfer),
            After::Voicemail => Some(Self::Voicemail),
        }
    }

    /// What follows a wish that was granted in a session.
    pub fn after_wish(wish: Wish<'_>) -> Option<Self> {
        match wish {
            Wish::Goodbye => Some(Self::Goodbye),
            Wish::TimeOver => Some(Self::TimeOver),
            Wish::Person(_) => Some(Self::Transfer),
            Wish::Voicemail => Some(Self::Voicemail),
            Wish::Nobody => None,
        }
    }

    /// Whether the call is to end, its last words being said.
    pub fn ends_call(self) -> bool {
        matches!(self, Self::Goodbye | Self::EndCall | Self::TimeOver)
    }

    /// Its name in `handoffData` and in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::EndCall => "end_call",
            Self::TimeOver => "time_over",
            Self::Transfer => "transfer",
            Self::Voicemail => "voicemail",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|handoff| handoff.name() == name)
    }

    /// As `handoffData`.
    pub fn to_json(self) -> String {
        format!(r#"{{"reason":"{}"}}"#, self.name())
    }
}

/// What Twilio brings back of `handoffData`.
#[derive(Deserialize)]
struct HandoffData {
    reason: String,
}

impl Webhook for RelayEnd {
    fn read(form: &Form<'_>) -> Result<Self, BadField> {
        let handoff = form.get("HandoffData").and_then(|data| serde_json::from_str(data).ok());
        let handoff = handoff.and_then(|HandoffData { reason }| Handoff::of(&reason));
        let call = CallRequest::read(form)?;
        let is_over = form.get("SessionStatus") == Some("completed") || call.is_over_for_sure();
        Ok(Self { call, session_id: sid(form, "SessionId").unwrap_or_default(), is_over, handoff })
    }
}
