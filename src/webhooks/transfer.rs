//! Callers who want a person: connected to the one number that is configured for them, or, when nobody takes the call,
//! back to the assistant or to a voicemail. What is answered here is stored before it is sent, so that a redelivery
//! hears the same, whatever sound is there by then.

use super::in_time::Trouble;
use super::link;
use super::manner::{manner, refusal};
use super::on_call::in_its_language;
use super::requests::{CallerInput, DialEnd, Recorded, SpeechTurn};
use super::turns::{keep, take_turn};
use super::voicing::{Voiced, phrase};
use crate::app::App;
use crate::conversation::call::OnCall;
use crate::db::voice_answers::VoiceStep;
use crate::twilio::address::Address;
use crate::twilio::twiml::{self, Transfer, Voicemail, say_and_gather, say_and_go};
use std::sync::Arc;
use tracing::info;

/// The document that connects the caller, saying `words` first.
pub(super) fn connect(app: &App, call: &OnCall, number: &str, turn: i64, words: &Voiced) -> String {
    let (how, _) = manner(app, call.person());
    let action = link(app, &format!("/twilio/voice/turns/{turn}/transferred"));
    info!(call.sid = call.call_sid, turn, "A caller is connected to a person");
    // Without a number of its own the call shows the caller's, which is what the person wants to see. A caller who has
    // none that can be shown (withheld, SIP, a browser) cannot be passed on under it, so there the number is ours.
    let caller_id = match Address::parse(&call.caller).number {
        Some(_) => "",
        None => Address::parse(&call.ours).number.unwrap_or_default(),
    };
    twiml::transfer(&app.documents.transfer, how, words, Transfer { number, caller_id, action: &action })
}

/// The document that takes a message.
pub(super) fn voicemail(app: &App, call: &OnCall, turn: i64) -> String {
    let (how, phrases) = manner(app, call.person());
    let action = link(app, &format!("/twilio/voice/turns/{turn}/recorded"));
    let callback = link(app, "/twilio/voice/recording");
    let max_length = app.config.voice.longest_voicemail.as_secs();
    let left = Voicemail { max_length, action: &action, callback: &callback };
    twiml::voicemail(&app.documents.voicemail, how, &phrase(app, call.person(), &phrases.voicemail), left)
}

/// `POST /twilio/voice/turns/{n}/transferred`
pub(super) async fn transferred(app: &App, end: &DialEnd, step: &VoiceStep) -> Result<String, Trouble> {
    let Some(call) = in_its_language(app, &end.call).await? else { return Ok(refusal(app)) };
    let (how, phrases) = manner(app, call.person());
    info!(call.sid = step.call_sid, answered = end.answered, "A transfer is over");
    let twiml = if end.answered {
        say_and_go(&app.documents.goodbye, how, &phrase(app, call.person(), &phrases.transfer_over), "")
    } else {
        let action = link(app, &format!("/twilio/voice/turns/{}/offer", step.turn));
        say_and_gather(&app.documents.answer, how, &phrase(app, call.person(), &phrases.transfer_failed), &action)
    };
    keep(app, &call, &step.transferred(), twiml).await
}

/// `POST /twilio/voice/turns/{n}/offer`: a message, or else whatever was said is the next turn.
pub(super) async fn offered(app: &Arc<App>, said: &SpeechTurn, step: &VoiceStep) -> Result<String, Trouble> {
    let Some(call) = in_its_language(app, &said.call).await? else { return Ok(refusal(app)) };
    let wants_voicemail = match said.input() {
        // Who says nothing to that has nothing to ask the assistant either.
        CallerInput::Silence => true,
        CallerInput::Again => false,
        CallerInput::Words(words) => {
            said.pressed("1") || app.phrases.of(call.person().language).wants_voicemail(&words)
        }
    };
    if wants_voicemail {
        return keep(app, &call, &step.offered(), voicemail(app, &call, step.turn)).await;
    }
    take_turn(app, said, &VoiceStep { turn: step.turn + 1, ..step.clone() }).await
}

/// `POST /twilio/voice/turns/{n}/recorded`
pub(super) async fn recorded(app: &App, left: &Recorded, step: &VoiceStep) -> Result<String, Trouble> {
    let Some(call) = in_its_language(app, &left.call).await? else { return Ok(refusal(app)) };
    let (how, phrases) = manner(app, call.person());
    let words = if left.is_message { &phrases.voicemail_thanks } else { &phrases.voicemail_empty };
    let twiml = say_and_go(&app.documents.goodbye, how, &phrase(app, call.person(), words), "");
    keep(app, &call, &step.recorded(), twiml).await
}
