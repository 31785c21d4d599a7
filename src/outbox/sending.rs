//! How a reply leaves by Twilio's REST API: message by message, each with its intent recorded first. One whose outcome
//! is unknown is looked up before it is sent again.

use super::claim::Setback;
use super::reply::{Due, GIVE_UP_AFTER, Replier};
use crate::clock::{Micros, SECOND};
use crate::config::Config;
use crate::db::DbError;
use crate::db::jobs::{ANSWER, Job};
use crate::db::messages::reason;
use crate::db::replies::Sent;
use crate::db::reply_reports::ReplyReport;
use crate::db::sending::{Part, WHATSAPP_WINDOW, WHOLE};
use crate::sms::length::numbered;
use crate::sms::segments::bare_words;
use crate::twilio::address::Address;
use crate::twilio::rest::{
    IN_TWIML, ListedMessage, OVER_REST, Outgoing, Rest, RestError, Sender, SentMessage, Sought, retried,
};
use std::sync::Arc;
use std::time::Duration;
use tracing::info;

/// A reply in TwiML that Twilio has reported nothing of for so long is looked for.
const UNREPORTED_AFTER: Micros = 300 * SECOND;
/// In this time after it was stored Twilio has made a message of a reply in TwiML, by its own clock.
const IN_TWIML_WITHIN: Micros = 120 * SECOND;
/// By then Twilio's list shows a message that it took: what is not in it before may still come.
const LISTED_WITHIN: Micros = 30 * SECOND;
/// How much our clock may be ahead of Twilio's.
const CLOCKS_DIFFER: Micros = 60 * SECOND;

/// Twilio's error code for a free text on WhatsApp to somebody who has not written for a day.
const OUTSIDE_WINDOW: i64 = 63016;

/// Where Twilio reports the progress of replies that are sent by REST.
#[derive(Clone)]
pub enum StatusCallback {
    /// The address that the operator names.
    Named(Arc<str>),
    /// The gateway itself, at this public address.
    Ours(Arc<str>),
}

impl StatusCallback {
    /// As configured.
    pub fn of(config: &Config) -> Option<Self> {
        match (&config.sms.status_callback, &config.public_url) {
            (Some(named), _) => Some(Self::Named(named.as_str().into())),
            (None, Some(public)) => Some(Self::Ours(public.base().into())),
            (None, None) => None,
        }
    }

    /// The URL for a message of the reply that this job sends. Ours is called again, like all webhooks, when it finds
    /// the gateway restarting.
    fn url(&self, job: &Job, position: i64) -> String {
        match self {
            Self::Named(url) => url.to_string(),
            Self::Ours(base) if position == WHOLE => retried(&format!("{base}/twilio/sms/status/{}", job.id)),
            Self::Ours(base) => retried(&format!("{base}/twilio/sms/status/{}/{position}", job.id)),
        }
    }
}

impl Replier {
    /// Sends what of a reply is not sent yet, and ends its job. If a send was begun (`begun`) its outcome is unknown:
    /// that decides, not the reply's status, which a report may have changed since.
    pub(super) async fn send(&self, due: &Due, reply: &str, begun: Option<Micros>) -> Result<(), Setback> {
        let messages = numbered(reply);
        if due.is_outbound && begun.is_none() {
            // Nobody has counted it: it was written elsewhere.
            self.db.note_size(&due.job, self.sms.size(reply, Address::parse(&due.from).channel)).await?;
        }
        if let [only] = messages.as_slice() {
            return match self.deliver(due, WHOLE, only, begun).await? {
                Some(sent) => self.sent(due, sent.sid, sent.status).await,
                None => Ok(()),
            };
        }
        let parts = self.db.split_reply(&due.job, messages).await?;
        let mut begun = begun;
        for Part { position, body, .. } in parts.iter().filter(|part| part.sid.is_none()) {
            let Some(sent) = self.deliver(due, *position, body, begun.take()).await? else { return Ok(()) };
            let text_id = due.job.subject_id;
            info!(message.id = text_id, reply.sid = sent.sid, position, "Sent a part of the reply to text {text_id}");
            if !self.is_recorded(due, *position, &sent).await? {
                return Err(Setback::Later("another message has its sid".to_owned(), None));
            }
        }
        Ok(self.db.drop_job(&due.job).await?)
    }

    /// Sends one message of a reply; `None` when it must not be sent any more. One that was begun before is sent only
    /// if Twilio knows nothing of it.
    async fn deliver(
        &self,
        due: &Due,
        position: i64,
        body: &str,
        begun: Option<Micros>,
    ) -> Result<Option<SentMessage>, Setback> {
        if let Some(begun) = begun {
            if let Some(found) = self.find(due, position, body, begun).await? {
                return Ok(Some(found));
            }
            if self.clock.now() < begun + LISTED_WITHIN {
                return Err(Setback::NotYet("Twilio has nothing of it yet".to_owned(), begun + LISTED_WITHIN));
            }
        }
        if self.is_canceled(due).await? {
            return Ok(None);
        }
        let now = self.clock.now();
        if due.is_unsolicited
            // Preferences may have changed since it was queued.
            && let Some(end) = due.person.quiet_until(self.quiet_hours, now)
        {
            return Err(Setback::Paused("it waits for the end of the quiet hours".to_owned(), end));
        }
        if Address::parse(&due.from).channel == "whatsapp"
            && !self.db.wrote_on_whatsapp(&due.from, &due.to, now - WHATSAPP_WINDOW).await?
        {
            let reason = "the receiver's last WhatsApp message is over 24 hours old";
            return Err(Setback::Final(reason.to_owned(), Some(OUTSIDE_WINDOW)));
        }
        let rest = self.rest(due)?;
        if !self.db.begin_send(now, &due.job, position).await? {
            return Ok(None);
        }
        let callback = self.status_callback.as_ref().map(|callback| callback.url(&due.job, position));
        let answer = rest.send_message(&outgoing(due, body, callback.as_deref())).await;
        if matches!(answer, Ok(_) | Err(RestError::Refused { .. } | RestError::NotTaken { .. })) {
            self.pause.end(rest.account_sid());
        }
        // One whose outcome was unknown before may still turn up.
        if begun.is_none() && answer.as_ref().is_err_and(RestError::is_certain) {
            // If this fails, it is looked for in vain.
            self.db.take_back_send(&due.job, position).await.ok();
        }
        match answer {
            Err(unknown @ RestError::Unknown(_)) => {
                // Its list does not tell sooner.
                let after = Duration::from_micros(LISTED_WITHIN.unsigned_abs());
                Err(Setback::Later(unknown.to_string(), Some(after)))
            }
            answer => Ok(Some(known(self.answered(rest, answer)?))),
        }
    }

    /// The message whose sending was begun then, if Twilio has it.
    async fn find(&self, due: &Due, position: i64, body: &str, begun: Micros) -> Result<Option<SentMessage>, Setback> {
        let rest = self.rest(due)?;
        let sought = Sought { to: &due.from, from: sender(due), since: begun - CLOCKS_DIFFER };
        let listed = rest.messages(&sought).await.map_err(|error| match error {
            // It is the look-up that is refused: what became of the message is still unknown.
            refused @ RestError::Refused { .. } => RestError::Unknown(refused.to_string()),
            other => other,
        });
        let listed = self.answered(rest, listed)?;
        let is_it = |message: &ListedMessage| {
            let is_of_its_way = match message.direction.as_str() {
                OVER_REST => true,
                IN_TWIML => due.job.kind == ANSWER && message.created().is_some_and(|at| at <= begun + IN_TWIML_WITHIN),
                _ => false,
            };
            is_of_its_way && message.says(body, bare_words)
        };
        // The oldest first: a newer one with the same words may be the only one that the next reply is looked for
        // among.
        for sent in listed.into_iter().rev().filter(is_it).map(|message| known(message.sent)) {
            if self.is_recorded(due, position, &sent).await? {
                return Ok(Some(sent));
            }
        }
        Ok(None)
    }

    /// Writes down what Twilio tells of a message, which is a report like any other and may have come before. False
    /// when the sid is another message's.
    async fn is_recorded(&self, due: &Due, position: i64, sent: &SentMessage) -> Result<bool, DbError> {
        let report = ReplyReport {
            account_sid: due.account,
            reply_sid: sent.sid.clone(),
            from: due.to.clone(),
            to: due.from.clone(),
            status: sent.status.clone(),
            error_code: sent.error_code,
            job: Some((due.job.id, position)),
        };
        let about = self.db.record_reply_status(self.clock.now(), report).await?;
        Ok(about == Some((due.job.subject_id, position)))
    }

    /// Takes up the replies in TwiML of which Twilio reports nothing, where it is this gateway that it reports to and
    /// may be asked. How many there were.
    pub(super) async fn take_up_unreported(&self, now: Micros) -> Result<usize, DbError> {
        let asked = self.accounts.all().filter_map(|account| account.rest.as_ref()?.account_sid().to_string().into());
        let asked = asked.collect::<Vec<String>>().join(",");
        if asked.is_empty() || matches!(self.status_callback, Some(StatusCallback::Named(_))) {
            return Ok(0);
        }
        self.db.take_up_unreported(now, now - GIVE_UP_AFTER, now - UNREPORTED_AFTER, asked).await
    }

    /// Whether the receiver told us to stop, or was made inactive before a text that nobody asked for; then the job is
    /// ended.
    pub(super) async fn is_canceled(&self, due: &Due) -> Result<bool, DbError> {
        let why = if due.is_unsolicited && !due.person.is_active {
            reason::INACTIVE
        } else if self.db.is_opted_out(&due.from, &due.to, due.service.as_deref()).await? {
            reason::OPTED_OUT
        } else {
            return Ok(false);
        };
        self.db.cancel_reply(&due.job, why).await?;
        Ok(true)
    }

    /// Ends the job of a reply whose only message was sent.
    pub(super) async fn sent(&self, due: &Due, sid: String, status: String) -> Result<(), Setback> {
        info!(message.id = due.job.subject_id, reply.sid = sid, "Sent the reply to text {}", due.job.subject_id);
        let sent = Sent { sid: Some(sid), error_code: None };
        self.db.settle_message(self.clock.now(), &due.job, None, &status, Some(sent)).await?;
        Ok(())
    }

    /// What Twilio answered; a refusal of the credentials pauses all sending of their account.
    fn answered<T>(&self, rest: &Rest, answer: Result<T, RestError>) -> Result<T, Setback> {
        answer.map_err(|error| match error {
            RestError::Credentials(_) => {
                let reason = error.to_string();
                let until = self.pause.begin(rest.account_sid(), &reason);
                Setback::Paused(reason, until)
            }
            other => other.into(),
        })
    }

    /// The REST API of a text's account, unless its sending is paused.
    fn rest(&self, due: &Due) -> Result<&Rest, Setback> {
        let never = |reason: &str| Setback::Final(reason.to_owned(), None);
        let account = self.accounts.of(due.account, &due.to);
        let account = account.ok_or_else(|| never("the text's account is in the settings no longer"))?;
        let missing = "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are needed to send a reply late";
        let rest = account.rest.as_ref().ok_or_else(|| never(missing))?;
        match self.pause.until(rest.account_sid()) {
            Some(until) => {
                let reason = "sending is paused: Twilio refuses the account's credentials";
                Err(Setback::Paused(reason.to_owned(), until))
            }
            None => Ok(rest),
        }
    }
}

/// A message that Twilio has, with a status in any case.
fn known(mut sent: SentMessage) -> SentMessage {
    if sent.status.is_empty() {
        "queued".clone_into(&mut sent.status);
    }
    sent
}

fn outgoing<'a>(due: &'a Due, body: &'a str, status_callback: Option<&'a str>) -> Outgoing<'a> {
    Outgoing { to: &due.from, from: sender(due), body, status_callback }
}

fn sender(due: &Due) -> Sender<'_> {
    let service = due.service.as_deref().filter(|_| due.is_outbound);
    service.map_or(Sender::Address(&due.to), Sender::Service)
}
