//! Who answers the calls that we place. A person goes on talking; an answering machine is left a message after its
//! beep, and a fax is hung up on.

use super::in_time::{Trouble, in_time};
use super::manner::{manner, refusal};
use super::on_call::on_call;
use super::requests::{AnsweredBy, CallRequest};
use super::status::out_of_reach;
use super::{Signed, Twiml};
use crate::app::App;
use crate::config::AccountSid;
use crate::conversation::call::OnCall;
use crate::conversation::speech::{says, spoken};
use crate::conversation::turns::Ending;
use crate::db::DbError;
use crate::db::news::News;
use crate::db::placed_calls::ChangeClaim;
use crate::db::voice_answers::{Told, VoiceAnswer, VoiceStep};
use crate::twilio::accounts::Account;
use crate::twilio::rest::{CallUpdate, RestError, retried};
use crate::twilio::twiml::say_and_go;
use poem::http::{StatusCode, header};
use poem::web::Data;
use poem::{Error, Response, Result, handler};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument, error, info, warn};

/// The pauses before Twilio is asked again. With Twilio's own ones the webhook stays in Twilio's time.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];
/// A call is changed within this time or not at all, so that what Twilio does with it is seen before another process
/// may try.
const LONGEST_CHANGE: Duration = Duration::from_secs(4);
/// How often it is looked whether another process has changed the call.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// `POST /twilio/voice/answered-by`: Twilio has found out who answered, while the call goes on.
#[handler]
pub async fn answered_by(Signed(report): Signed<AnsweredBy>, app: Data<&Arc<App>>) -> Result<StatusCode> {
    if let Some(who) = report.who {
        // In a task of its own: what was begun at Twilio is written down even when this webhook is dropped.
        let settle = settle(app.clone(), report.account, report.call_sid, who).in_current_span();
        match tokio::spawn(settle).await.unwrap_or_else(|_| Err(DbError::stopped().into())) {
            Ok(()) => {}
            Err(Unsettled::Db(cause)) => return Err(out_of_reach(cause)),
            Err(cause @ (Unsettled::Twilio(_) | Unsettled::Late(_))) => {
                error!(error = %cause, "A call that a machine answered could not be changed");
                let answer = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).header(header::RETRY_AFTER, 2);
                return Err(Error::from_response(answer.body("Twilio's REST API does not answer.")));
            }
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Why a report has to be delivered again.
#[derive(Debug, thiserror::Error)]
enum Unsettled {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Twilio(#[from] RestError),
    #[error("Twilio takes too long to change the call")]
    Late(#[from] Elapsed),
}

/// Does what is to be done with the call, and then writes down who answered it, unless another report of the same did.
/// What was not done is not written down, so that a redelivery does it, also when the process died in between.
async fn settle(
    app: Arc<App>,
    account: Option<AccountSid>,
    call_sid: String,
    who: String,
) -> std::result::Result<(), Unsettled> {
    let placed = app.db.placed_call(&call_sid).await?;
    let public = app.config.public_url.as_ref();
    let message_url = public.map(|url| retried(&format!("{}/twilio/voice/message", url.base())));
    // After the beep, a silence or other words of its own: `machine_end_beep`, `_silence`, `_other`.
    let listens = who.starts_with("machine_end_");
    let update = match &message_url {
        Some(url) if listens && placed.is_some() => Some(CallUpdate::Redirect(url)),
        // Nobody knows what to tell it.
        _ if listens || who == "fax" => Some(CallUpdate::Complete),
        // A person, perhaps; or a machine that still speaks.
        _ => None,
    };
    if let Some(update) = update
        && !(placed.is_some() && is_settled(&app, &call_sid, &who).await?)
    {
        timeout(LONGEST_CHANGE, change(app.accounts.claimed(account), &call_sid, update)).await??;
    }
    if app.db.record_answered_by(&call_sid, &who).await? {
        info!(call.sid = call_sid, call.answered_by = who, "A call of ours was answered by {who}");
    }
    Ok(())
}

/// Whether what is to be done because of `who` answered was done, by another process or by one that died since; else it
/// is for this one to do it. A call that is not written down cannot be claimed; to end it twice does no harm.
async fn is_settled(app: &App, call_sid: &str, who: &str) -> std::result::Result<bool, DbError> {
    loop {
        match app.db.claim_change(call_sid, who).await? {
            // A machine that has asked for its message needs no second one.
            ChangeClaim::Granted => return Ok(app.db.voice_answer(&VoiceStep::message(call_sid)).await?.is_some()),
            ChangeClaim::Settled => return Ok(true),
            ChangeClaim::Held => sleep(LOOK_EVERY).await,
        }
    }
}

/// Changes a call that may be over by now.
async fn change(account: &Account, call_sid: &str, update: CallUpdate<'_>) -> std::result::Result<(), RestError> {
    let Some(rest) = &account.rest else { return Ok(()) };
    let mut pauses = AGAIN_AFTER.into_iter();
    loop {
        match (rest.update_call(call_sid, update).await, pauses.next()) {
            (Ok(_), _) => return Ok(()),
            (Err(cause @ RestError::Refused { .. }), _) => {
                info!(call.sid = call_sid, error = %cause, "A call is over before it could be changed");
                return Ok(());
            }
            (Err(RestError::NotTaken { .. } | RestError::Unreachable(_)), Some(pause)) => sleep(pause).await,
            (Err(cause), _) => return Err(cause),
        }
    }
}

/// `POST /twilio/voice/message`: the machine listens.
#[handler]
pub async fn message(Signed(call): Signed<CallRequest>, app: Data<&Arc<App>>) -> Twiml {
    Twiml(match in_time(&app, || leave_message(&app, &call)).await {
        Ok(twiml) => twiml,
        Err(cause) => {
            warn!(call.sid = call.call_sid, error = %cause, "No message could be left");
            app.documents.goodbye.render(&[])
        }
    })
}

/// What a person would have been told first, if that is there, else another message; then the call is over.
async fn leave_message(app: &App, call: &CallRequest) -> std::result::Result<String, Trouble> {
    let step = VoiceStep::message(&call.call_sid);
    if let Some(stored) = app.db.voice_answer(&step).await? {
        return Ok(stored.twiml);
    }
    let Some(call) = on_call(app, call).await? else { return Ok(refusal(app)) };
    let deadline = Instant::now() + app.config.voice.reply_budget;
    let opening = app.turns.wait(&call, step.turn, usize::MAX, deadline).await?;
    // Nobody answers the machine's greeting.
    app.turns.hang_up(&step.call_sid);
    if let Err(cause) = app.db.tell(News::HungUp(step.call_sid.clone())).await {
        warn!(call.sid = step.call_sid, error = %cause, "Other gateways cannot be told that nobody waits for an answer");
    }
    let opening = opening.filter(|opening| matches!(opening.ending, Some(Ending::Whole(_))));
    let call = match &opening {
        Some(opening) => call.speaking(opening.language),
        None => call,
    };
    let (how, _) = manner(app, call.person());
    let (words, told) = match opening {
        Some(opening) if !opening.sentences.is_empty() => (says(&opening.sentences), Told::All),
        _ => (message_for(app, &call, deadline).await?.map_or_else(Vec::new, |text| spoken(&text)), Told::Nothing),
    };
    let twiml = say_and_go(&app.documents.goodbye, how, &words, "");
    let answer = VoiceAnswer { part: step.part, twiml, ..VoiceAnswer::default() };
    info!(call.sid = step.call_sid, "Left a message on a machine");
    Ok(app.db.keep_voice_answer(app.clock.now(), &step, call.person().user_id, answer, told).await?)
}

/// A message where the first words are not there, because the machine broke into them or the model is slow: what the
/// model answered last, else the purpose in its words, else the purpose as the operator wrote it.
async fn message_for(app: &App, call: &OnCall, deadline: Instant) -> std::result::Result<Option<String>, DbError> {
    let Some(purpose) = &call.purpose else { return Ok(None) };
    if let Some(answer) = app.db.last_whole_answer(&call.call_sid).await? {
        return Ok(Some(answer));
    }
    let time = deadline.saturating_duration_since(Instant::now());
    Ok(Some(app.conversation.message(call, purpose, time).await.unwrap_or_else(|cause| {
        warn!(call.sid = call.call_sid, error = %cause, "The model has no message for a machine");
        manner(app, call.person()).1.machine_message(purpose)
    })))
}
