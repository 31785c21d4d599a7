//! `POST /twilio/sms`: a text comes in. It is written down with its reply job before anything else; then the reply goes
//! out as `<Message>` if it is there in time, else later through Twilio's REST API.

mod keywords;

use super::requests::IncomingText;
use super::status::{before_twilio_gives_up, out_of_reach};
use super::{Signed, Twiml, link};
use crate::app::App;
use crate::clock::micros;
use crate::conversation::party::Party;
use crate::db::DbError;
use crate::db::jobs::{DRAFT, REPLY};
use crate::db::messages::{LOOP_WINDOW, reason, reply_status};
use crate::db::new_message::{NewMessage, Unasked};
use crate::outbox::claim::LEASE;
use crate::outbox::reply::Due;
use crate::sms::machines::nobody;
use crate::sms::media::Attached;
use crate::sms::waiting::waiting;
use crate::twilio::address::Address;
use crate::twilio::rest::retried;
use crate::twilio::twiml;
use crate::twilio::voices;
use keywords::{answer_keyword, keyword_of};
use poem::web::Data;
use poem::{Result, handler};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot::error::RecvError;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How long a reply that is on its way may take to be stored, once the budget is over.
const STORING: Duration = Duration::from_secs(2);
/// How often a text that is being answered elsewhere is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// `POST /twilio/sms`
#[handler]
pub async fn incoming(Signed(text): Signed<IncomingText>, app: Data<&Arc<App>>) -> Result<Twiml> {
    let deadline = Instant::now() + app.config.sms.reply_budget;
    let reply = before_twilio_gives_up(reply_to(&app, text, deadline)).await.map_err(out_of_reach)?;
    Ok(Twiml(match reply {
        Some(Reply { text, job_id }) => {
            let callback = job_id.map(|job_id| status_callback(&app, job_id)).unwrap_or_default();
            twiml::message(&app.documents.message, &[text], &callback)
        }
        None => app.documents.empty.render(&[]),
    }))
}

/// A reply that goes out with the answer to the webhook.
struct Reply {
    text: String,
    /// The job that wrote it; none for a fixed sentence.
    job_id: Option<i64>,
}

/// Where Twilio reports the progress of this job's reply.
fn status_callback(app: &App, job_id: i64) -> String {
    let named = app.config.sms.status_callback.clone();
    named.unwrap_or_else(|| retried(&link(app, &format!("/twilio/sms/status/{job_id}"))))
}

/// The reply that goes out with the answer to the webhook, if any.
async fn reply_to(app: &Arc<App>, text: IncomingText, deadline: Instant) -> Result<Option<Reply>, DbError> {
    match accept(app, &text, deadline).await {
        // The user was deleted a moment ago: find out anew whose text it is.
        Err(DbError::NoParent) => {
            app.directory.forget().await;
            accept(app, &text, deadline).await
        }
        other => other,
    }
}

async fn accept(app: &Arc<App>, text: &IncomingText, deadline: Instant) -> Result<Option<Reply>, DbError> {
    if text.is_receipt {
        debug!(message.sid = text.message_sid, "A report came to the address of texts");
        return Ok(None);
    }
    let (from, to) = (Address::parse(&text.from), Address::parse(&text.to));
    if from.number.is_some_and(|number| app.directory.is_own(number)) {
        // Answering ourselves would go on for ever.
        let party = app.directory.known_party(&from, &to, &text.message_sid).await?;
        let new = new_message(app, text, party.as_ref(), from.channel);
        app.db.log_message(new, Unasked::Ignored(reason::OWN_NUMBER)).await?;
        info!(message.sid = text.message_sid, "Left a text from one of our own numbers unanswered");
        return Ok(None);
    }
    let party = app.directory.party(&from, &to, &text.message_sid).await?;
    let new = new_message(app, text, party.as_ref(), from.channel);
    let words = app.phrases.of(party.as_ref().map_or(&voices::languages()[0], |party| party.person.language));
    if let Some(asked) = keyword_of(app, text, (&from, &to), words).await? {
        return answer_keyword(app, text, new, asked, words, deadline).await;
    }
    let why = if text.is_reaction { Some(reason::REACTION) } else { nobody(&from, &text.text) };
    if let Some(why) = why {
        app.db.log_message(new, Unasked::Ignored(why)).await?;
        info!(message.sid = text.message_sid, "Left a text unanswered: {why}");
        return Ok(None);
    }
    let Some(party) = party else {
        let unasked = if is_opted_out(app, text).await? {
            Unasked::Ignored(reason::OPTED_OUT)
        } else if is_in_loop(app, &new).await? {
            Unasked::Ignored(reason::LOOP)
        } else {
            Unasked::Answered(words.text_refused.clone())
        };
        match &unasked {
            Unasked::Ignored(why) => info!(message.sid = text.message_sid, "Left a text unanswered: {why}"),
            _ => info!(message.sid = text.message_sid, "Refused the text of an unknown sender"),
        }
        app.db.log_message(new, unasked).await?;
        return stored_reply(app, text, deadline).await;
    };
    if !party.person.is_active {
        app.db.log_message(new, Unasked::Ignored(reason::INACTIVE)).await?;
        info!(message.sid = text.message_sid, user.id = party.person.user_id, "Left a text unanswered");
        return Ok(None);
    }
    let now = new.at;
    // Without automatic replies the worker decides and writes a draft.
    let kind = if party.person.auto_reply { REPLY } else { DRAFT };
    let window = app.config.sms.quiet_window;
    if !window.is_zero() {
        if !app.db.accept_in_quiet_window(new, kind, now + micros(window)).await? {
            return stored_reply(app, text, Instant::now()).await;
        }
        app.outbox.wake();
        return Ok(None);
    }
    if kind == DRAFT {
        app.db.accept_message(new, DRAFT, None).await?;
        app.outbox.wake();
        return Ok(None);
    }
    let place = app.outbox.place(deadline).await;
    let lease = place.is_some().then_some(LEASE);
    let Some(job) = app.db.accept_message(new, REPLY, lease).await? else {
        return stored_reply(app, text, deadline).await;
    };
    if job.attempts == 0 {
        debug!(message.sid = text.message_sid, "A text waits, for the ones before it or because very many do");
        app.outbox.wake();
        return Ok(None);
    }
    let job_id = job.id;
    let due = Due {
        media: text.media.iter().map(|list| Attached::of(job.subject_id, list)).collect(),
        job,
        account: text.account,
        person: party.person,
        peer: party.peer,
        from: text.from.clone(),
        to: text.to.clone(),
        service: text.messaging_service_sid.clone(),
        is_outbound: false,
        is_unsolicited: false,
        profile_name: text.profile_name.clone(),
        text: text.text.clone(),
    };
    let (waiting, mut hearing) = waiting();
    let replier = app.outbox.replier().clone();
    app.outbox.spawn(async move {
        replier.answer(due, waiting).await;
        drop(place);
    });
    if let Ok(heard) = tokio::time::timeout_at(deadline, &mut hearing.answer).await {
        return outcome(heard, job_id);
    }
    if hearing.stop() {
        debug!(message.sid = text.message_sid, "A reply will be sent later");
        return Ok(None);
    }
    // It is being stored as this webhook's answer right now. If that is not known in time, the redelivery finds it out.
    match tokio::time::timeout(STORING, &mut hearing.answer).await {
        Ok(heard) => outcome(heard, job_id),
        Err(_) => Err(DbError::stopped()),
    }
}

/// What came of waiting for a reply: the reply; nothing, when it goes its own way; or nobody knows whether it was
/// stored.
fn outcome(heard: Result<Option<String>, RecvError>, job_id: i64) -> Result<Option<Reply>, DbError> {
    match heard {
        Ok(Some(text)) => Ok(Some(Reply { text, job_id: Some(job_id) })),
        Ok(None) => Err(DbError::stopped()),
        Err(_) => Ok(None),
    }
}

/// What a text that was here before was answered, unless its sender opted out meanwhile; while that is still open, this
/// webhook waits like the first one.
async fn stored_reply(app: &App, text: &IncomingText, deadline: Instant) -> Result<Option<Reply>, DbError> {
    let reply = told_before(app, text, deadline).await?;
    Ok(if reply.is_some() && is_opted_out(app, text).await? { None } else { reply })
}

/// What a text was answered, as soon as that is known. No account hears what was answered to another.
async fn told_before(app: &App, text: &IncomingText, deadline: Instant) -> Result<Option<Reply>, DbError> {
    loop {
        let Some(message) = app.db.message_by_sid(&text.message_sid).await? else { return Ok(None) };
        if message.account().is_some_and(|account| Some(account) != text.account) {
            return Ok(None);
        }
        match message.reply_status.as_deref() {
            Some(reply_status::ANSWERED | reply_status::CONFIRMED) => {
                return Ok(message.reply_text.map(|text| Reply { text, job_id: message.job_id }));
            }
            Some(_) => {
                if message.reason.as_deref() == Some(reason::LOOP) {
                    tell_of_loop();
                }
                return Ok(None);
            }
            None if message.answered_with.is_some() => return Ok(None),
            None if Instant::now() + LOOK_EVERY > deadline => return Ok(None),
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Whether the sender of a text, which no model is asked about, got as many replies as one may for now.
async fn is_in_loop(app: &App, new: &NewMessage) -> Result<bool, DbError> {
    let replies = app.db.replies_since(new.user_id, &new.peer, new.at - LOOP_WINDOW).await?;
    if replies >= new.loop_limit {
        tell_of_loop();
    }
    Ok(replies >= new.loop_limit)
}

fn tell_of_loop() {
    warn!("A peer got as many replies as SMS_LOOP_LIMIT allows: its texts are left unanswered for some minutes");
}

async fn is_opted_out(app: &App, text: &IncomingText) -> Result<bool, DbError> {
    app.db.is_opted_out(&text.from, &text.to, text.messaging_service_sid.as_deref()).await
}

fn new_message(app: &App, text: &IncomingText, party: Option<&Party>, channel: &'static str) -> NewMessage {
    NewMessage {
        account_sid: text.account,
        user_id: party.map(|party| party.person.user_id),
        peer: party.map_or_else(|| text.from.clone(), |party| party.peer.clone()),
        message_sid: text.message_sid.clone(),
        channel,
        from: text.from.clone(),
        to: text.to.clone(),
        messaging_service_sid: text.messaging_service_sid.clone(),
        profile_name: text.profile_name.clone(),
        text: text.text.clone(),
        media: text.media.clone(),
        at: app.clock.now(),
        loop_limit: app.config.sms.loop_limit,
    }
}
