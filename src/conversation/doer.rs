//! Does what the model asks for during an answer, and goes on after: another language, a text message.

use super::call::OnCall;
use crate::clock::Clock;
use crate::config::VoiceTool;
use crate::db::outbound::OutboundText;
use crate::db::{Db, DbError};
use crate::twilio::address::Address;
use crate::twilio::voices::Language;
use std::sync::Arc;
use tokio::sync::Notify;
use tracing::warn;

/// Does what the model asks for in one turn.
pub(super) struct Doer {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) call: Arc<OnCall>,
    /// The turn's row, which names what its tools do.
    pub(super) turn_id: i64,
    pub(super) offered: Vec<VoiceTool>,
    /// Tells the outbox that a job is due.
    pub(super) wake: Arc<Notify>,
}

impl Doer {
    /// Whether the caller has had an apology in place of this answer, and the call has gone on.
    pub(super) async fn is_late(&self) -> bool {
        self.db.is_turn_late(self.turn_id).await.unwrap_or(false)
    }

    /// Goes on in another language; what the model is told of that.
    pub(super) async fn switch(&self, language: &'static Language) -> String {
        if let Err(error) = self.db.switch_call(&self.call.call_sid, language.tag).await {
            warn!(call.sid = self.call.call_sid, %error, "The language of a call could not be switched");
            return "The language cannot be switched right now.".to_owned();
        }
        format!("The call goes on in {}. Answer in it.", language.name)
    }

    /// Sends the caller a text; what the model is told of that.
    pub(super) async fn send(&self, text: String) -> String {
        let call = &self.call;
        // Only ever to the person on the telephone.
        let (Some(to), Some(from)) = (Address::parse(&call.caller).number, Address::parse(&call.ours).number) else {
            return "The caller cannot receive text messages.".to_owned();
        };
        match self.db.is_opted_out(to, from, call.messaging_service_sid.as_deref()).await {
            Ok(false) => {}
            Ok(true) => {
                return "The caller told this number to send no more texts. Only the caller's text START ends that."
                    .to_owned();
            }
            Err(error) => return not_now(call, &error),
        }
        let now = self.clock.now();
        let text = OutboundText {
            account_sid: call.account_sid,
            messaging_service_sid: call.messaging_service_sid.clone(),
            user_id: call.person().user_id,
            peer: call.party.peer.clone(),
            from: from.to_owned(),
            to: to.to_owned(),
            text,
            occasion: format!("turn {}", self.turn_id),
            at: now,
            is_unsolicited: false,
            due_at: now,
        };
        match self.db.queue_text(text).await {
            Ok(true) => {
                self.wake.notify_one();
                "The message is on its way.".to_owned()
            }
            Ok(false) => "A message is on its way already; there is one for each answer.".to_owned(),
            Err(error) => not_now(call, &error),
        }
    }
}

fn not_now(call: &OnCall, error: &DbError) -> String {
    warn!(call.sid = call.call_sid, %error, "A text for a caller could not be queued");
    "The message cannot be sent right now.".to_owned()
}
