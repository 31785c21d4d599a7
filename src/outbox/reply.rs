//! The way of one reply from the text to its sender. The job in the outbox is the permission to answer: whoever holds it
//! decides, and whoever deletes it owns the answer. The webhook that brought the text holds it first, and answers in time
//! if it can; what it cannot do in time goes on here and is sent through Twilio's REST API.

use super::claim::{Claims, Setback};
use super::pause::Pause;
use super::pictures::visible;
use crate::clock::{Clock, Micros, SECOND, to_utc};
use crate::config::{AccountSid, Config};
use crate::conversation::party::{Directory, Person};
use crate::conversation::service::AnswerError;
use crate::db::conversations::Except;
use crate::db::jobs::{Job, REPLY};
use crate::db::messages::{Message, TextDecision, reply_status};
use crate::db::replies::{Ended, Sent};
use crate::db::{Db, DbError};
use crate::quiet_hours::QuietHours;
use crate::sms::decision::{SmsService, Text};
use crate::sms::media::Attached;
use crate::sms::waiting::Waiting;
use crate::telemetry::SLOW_MS;
use crate::twilio::accounts::Accounts;
use crate::twilio::address::Address;
use crate::twilio::rest::{Outgoing, Rest, RestError, Sender};
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};
use tracing::{info, warn};

/// How much our clock may be ahead of Twilio's.
const CLOCKS_DIFFER: Micros = 60 * SECOND;
/// A reply that could not be sent in this time is given up.
pub(super) const GIVE_UP_AFTER: Micros = 24 * 3600 * SECOND;

/// Brings replies to their senders. Cheap to clone.
#[derive(Clone)]
pub struct Replier {
    /// Where texts, replies and jobs are.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// How jobs are held.
    pub claims: Claims,
    /// Who decides.
    pub sms: SmsService,
    /// Whose texts they are.
    pub directory: Directory,
    /// How replies are sent late.
    pub accounts: Accounts,
    /// Places for texts whose pictures are shown to the model, for they take memory; none when no pictures are shown.
    pub vision: Option<Arc<Semaphore>>,
    /// Wakes the outbox: the next job of a lane is due.
    pub wake: Arc<Notify>,
    /// When texts that nobody asked for wait.
    pub quiet_hours: Option<QuietHours>,
    /// Whose sending is paused.
    pub pause: Pause,
    /// Where Twilio reports a reply's progress; `None` when no address is known that it could reach.
    pub status_callback: Option<StatusCallback>,
}

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

    /// The URL for the reply that this job sends. Ours is called again, like all webhooks, when it finds the gateway restarting.
    fn url(&self, job: &Job) -> String {
        match self {
            Self::Named(url) => url.to_string(),
            Self::Ours(base) => format!("{base}/twilio/sms/status/{}#rc=2&rp=all", job.id),
        }
    }
}

/// A text whose reply is due, with the job that permits it.
pub struct Due {
    /// The claimed job.
    pub job: Job,
    /// Whose text it is.
    pub person: Arc<Person>,
    /// The other side.
    pub peer: String,
    /// The address of the sender, who gets the reply.
    pub from: String,
    /// Our address.
    pub to: String,
    /// The Twilio account, when it is known.
    pub account: Option<AccountSid>,
    /// The Messaging Service that the text came through or, if it answers none, is sent through; or none.
    pub service: Option<String>,
    /// Whether it answers none: then it is sent through the service, else from the address that was written to.
    pub is_outbound: bool,
    /// What the sender is called on WhatsApp or RCS.
    pub profile_name: Option<String>,
    /// What was written.
    pub text: String,
    /// The files that came with it, and with the texts that are answered with it.
    pub media: Vec<Attached>,
}

impl Replier {
    /// Answers a text that a webhook just brought, handing the reply to the webhook if it still waits.
    pub async fn answer(&self, due: Due, waiting: Waiting) {
        let decided = self.claims.held(&due.job, self.decide(&due)).await;
        let sendable = decided.as_ref().ok().and_then(TextDecision::sendable).map(str::to_owned);
        let outcome = match decided {
            Ok(decision) if sendable.is_some() && waiting.take() => {
                let now = self.clock.now();
                match self.db.settle_message(now, &due.job, Some(decision), reply_status::ANSWERED, None).await {
                    Ok(Ended::NotOurs) => return,
                    Ok(ended) => {
                        waiting.hand_over(sendable.unwrap_or_default());
                        if ended == Ended::NextWaits {
                            self.wake.notify_one();
                        }
                        return;
                    }
                    Err(error) => {
                        waiting.give_up();
                        Err(error.into())
                    }
                }
            }
            Ok(decision) => self.claims.held(&due.job, self.carry_out(&due, decision)).await,
            Err(setback) => Err(setback),
        };
        if let Err(setback) = outcome {
            self.claims.put_off(&due.job, GIVE_UP_AFTER, setback).await;
        }
        self.wake.notify_one();
    }

    /// Goes on with a reply from where its row says it is.
    pub(super) async fn go_on(&self, job: &Job) -> Result<(), Setback> {
        let Some(message) = self.db.message(job.subject_id).await? else {
            return Ok(self.db.drop_job(job).await?);
        };
        let Some(due) = self.due(job.clone(), &message).await? else {
            return Ok(self.db.drop_job(job).await?);
        };
        if let Some(sid) = message.reply_sid {
            // A report has told the outcome of a send.
            return self.sent(&due, sid, &message.reply_status.unwrap_or_default()).await;
        }
        if message.unsolicited && message.send_started_at.is_none() {
            // Preferences may have changed since it was queued.
            if let Some(end) = due.person.quiet_until(self.quiet_hours, self.clock.now()) {
                return Err(Setback::Paused("it waits for the end of the quiet hours".to_owned(), end));
            }
        }
        // Whether a send was begun decides, not the status, which a report may have changed since.
        match (message.reply_text, message.send_started_at) {
            (Some(reply), Some(started)) => self.send_again(&due, &reply, started).await,
            (Some(reply), None) => self.send(&due, &reply).await,
            (None, _) => {
                if self.is_canceled(&due).await? {
                    return Ok(());
                }
                let decision = self.decide(&due).await?;
                self.carry_out(&due, decision).await
            }
        }
    }

    /// `None` when the text is nobody's any more.
    async fn due(&self, job: Job, message: &Message) -> Result<Option<Due>, DbError> {
        let Some(user_id) = message.user_id else { return Ok(None) };
        let Some(person) = self.directory.person(user_id).await? else { return Ok(None) };
        let (peer_address, own_address) = match message.direction.as_str() {
            "outbound" => (&message.to_number, &message.from_number),
            _ => (&message.from_number, &message.to_number),
        };
        let mut texts = self.db.answered_with(message.id).await?;
        texts.push(message.clone());
        Ok(Some(Due {
            job,
            person: Arc::new(person),
            peer: message.peer.clone(),
            from: peer_address.clone().unwrap_or_default(),
            to: own_address.clone().unwrap_or_default(),
            account: message.account(),
            service: message.messaging_service_sid.clone(),
            is_outbound: message.direction == "outbound",
            profile_name: message.profile_name.clone(),
            media: texts.iter().filter_map(|text| Some(Attached::of(text.id, text.media.as_deref()?))).collect(),
            text: texts.into_iter().map(|text| text.incoming_text).collect::<Vec<_>>().join("\n"),
        }))
    }

    async fn decide(&self, due: &Due) -> Result<TextDecision, Setback> {
        let has_pictures = visible(&due.media).next().is_some();
        let place = match self.vision.as_ref().filter(|_| has_pictures) {
            Some(places) => places.acquire().await.ok(),
            None => None,
        };
        let images = if place.is_some() { self.pictures(due).await } else { Vec::new() };
        let text = Text {
            person: &due.person,
            peer: &due.peer,
            channel: Address::parse(&due.from).channel,
            profile_name: due.profile_name.as_deref(),
            text: &due.text,
            media: &due.media,
            images: &images,
            tries: due.job.attempts,
            except: Except::Text(due.job.subject_id),
        };
        let decided = self.sms.decide(text).await.map_err(|error| match error {
            AnswerError::Llm(error) => Setback::from(error),
            AnswerError::Db(error) => error.into(),
        })?;
        let (text_ms, message_id) = (decided.elapsed_ms.round(), due.job.subject_id);
        let decision = decided.decision;
        let (tokens_in, tokens_out) = (decision.input_tokens, decision.output_tokens);
        info!(message.id = message_id, text_ms, tokens_in, tokens_out, "Decided text {message_id} in {text_ms} ms");
        if decided.elapsed_ms > SLOW_MS {
            warn!(message.id = message_id, text_ms, "Deciding a text took longer than two seconds");
        }
        Ok(decision)
    }

    /// Sends the reply, or leaves it to a person: a draft was asked for, or the model is unsure.
    async fn carry_out(&self, due: &Due, decision: TextDecision) -> Result<(), Setback> {
        let now = self.clock.now();
        let Some(reply) = decision.sendable().filter(|_| due.job.kind == REPLY).map(str::to_owned) else {
            self.db.settle_message(now, &due.job, Some(decision), reply_status::DRAFT, None).await?;
            return Ok(());
        };
        if self.db.progress_message(now, &due.job, Some(decision), reply_status::PENDING).await? {
            self.send(due, &reply).await?;
        }
        Ok(())
    }

    /// Sends a reply whose last try ended without an answer: only if Twilio knows nothing of it.
    async fn send_again(&self, due: &Due, reply: &str, started: Micros) -> Result<(), Setback> {
        let rest = self.rest(due)?;
        let since = started - CLOCKS_DIFFER;
        // Twilio's filter knows days only.
        let day = to_utc(since).date().to_string();
        let found = self.answered(rest, rest.find_sent(&outgoing(due, reply, None), &day).await)?;
        for sent in found {
            let is_ours = sent.date_created.as_deref().is_none_or(|at| is_after(at, since));
            if is_ours && !self.db.is_reply_to_another(&sent.sid, due.job.subject_id).await? {
                return self.sent(due, sent.sid, &sent.status).await;
            }
        }
        self.send(due, reply).await
    }

    async fn send(&self, due: &Due, reply: &str) -> Result<(), Setback> {
        if self.is_canceled(due).await? {
            return Ok(());
        }
        let rest = self.rest(due)?;
        if !self.db.progress_message(self.clock.now(), &due.job, None, reply_status::SENDING).await? {
            return Ok(());
        }
        let callback = self.status_callback.as_ref().map(|callback| callback.url(&due.job));
        let answer = rest.send_message(&outgoing(due, reply, callback.as_deref())).await;
        if matches!(answer, Ok(_) | Err(RestError::Refused { .. } | RestError::NotTaken { .. })) {
            self.pause.end(rest.account_sid());
        }
        let sent = self.answered(rest, answer)?;
        self.sent(due, sent.sid, &sent.status).await
    }

    /// Whether the receiver told us to stop; then the job is ended.
    async fn is_canceled(&self, due: &Due) -> Result<bool, DbError> {
        let is_opted_out = self.db.is_opted_out(&due.from, &due.to, due.service.as_deref()).await?;
        if is_opted_out {
            self.db.settle_message(self.clock.now(), &due.job, None, reply_status::CANCELED, None).await?;
        }
        Ok(is_opted_out)
    }

    async fn sent(&self, due: &Due, sid: String, status: &str) -> Result<(), Setback> {
        let status = if status.is_empty() { "queued" } else { status };
        info!(message.id = due.job.subject_id, reply.sid = sid, "Sent the reply to text {}", due.job.subject_id);
        let sent = Sent { sid: Some(sid), error_code: None };
        self.db.settle_message(self.clock.now(), &due.job, None, status, Some(sent)).await?;
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

fn outgoing<'a>(due: &'a Due, body: &'a str, status_callback: Option<&'a str>) -> Outgoing<'a> {
    let service = due.service.as_deref().filter(|_| due.is_outbound);
    let from = service.map_or(Sender::Address(&due.to), Sender::Service);
    Outgoing { to: &due.from, from, body, status_callback }
}

/// Whether Twilio's time (RFC 2822, whole seconds) is not before `since`.
fn is_after(at: &str, since: Micros) -> bool {
    time::OffsetDateTime::parse(at, &time::format_description::well_known::Rfc2822)
        .map_or(true, |at| at.unix_timestamp() >= since / SECOND)
}
