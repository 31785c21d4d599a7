//! The way of one reply from the text to its sender. The job in the outbox is the permission to answer: whoever holds
//! it decides, and whoever deletes it owns the answer. The webhook that brought the text holds it first, and answers in
//! time if it can; what it cannot do in time goes on here and is sent through Twilio's REST API.

use super::claim::{Claims, Setback};
use super::pause::Pause;
use super::pictures::visible;
use super::sending::StatusCallback;
use crate::clock::{Clock, Micros, SECOND};
use crate::config::AccountSid;
use crate::conversation::party::{Directory, Person};
use crate::conversation::service::AnswerError;
use crate::db::conversations::Except;
use crate::db::jobs::{DRAFT, Job, REPLY};
use crate::db::messages::{Message, TextDecision, reply_status};
use crate::db::replies::Ended;
use crate::db::{Db, DbError};
use crate::quiet_hours::QuietHours;
use crate::sms::decision::{SmsService, Text};
use crate::sms::length::numbered;
use crate::sms::media::Attached;
use crate::sms::waiting::Waiting;
use crate::telemetry::SLOW_MS;
use crate::twilio::accounts::Accounts;
use crate::twilio::address::Address;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};
use tracing::{info, warn};

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
    /// Whether its receiver did not ask for it, so that quiet hours hold it back.
    pub is_unsolicited: bool,
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
        // Several messages go one after the other, which a webhook's answer cannot see to.
        let answer = sendable.filter(|reply| numbered(reply).len() == 1);
        let outcome = match decided {
            Ok(decision) if answer.is_some() && waiting.take() => {
                let now = self.clock.now();
                match self.db.settle_message(now, &due.job, Some(decision), reply_status::ANSWERED, None).await {
                    Ok(Ended::NotOurs) => return,
                    Ok(Ended::Canceled) => {
                        self.wake.notify_one();
                        return;
                    }
                    Ok(ended) => {
                        waiting.hand_over(answer.unwrap_or_default());
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
            Ok(decision) => {
                drop(waiting);
                self.claims.held(&due.job, self.carry_out(&due, decision)).await
            }
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
            return self.sent(&due, sid, message.reply_status.unwrap_or_default()).await;
        }
        match message.reply_text {
            // Written, and none of it sent.
            Some(_) if is_draft(&due) && message.reply_status.as_deref() == Some(reply_status::PENDING) => {
                self.db.settle_message(self.clock.now(), &due.job, None, reply_status::DRAFT, None).await?;
                Ok(())
            }
            Some(reply) => self.send(&due, &reply, message.send_started_at).await,
            None => {
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
            is_unsolicited: message.unsolicited,
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
        let Some(reply) = decision.sendable().filter(|_| !is_draft(due)).map(str::to_owned) else {
            self.db.settle_message(now, &due.job, Some(decision), reply_status::DRAFT, None).await?;
            return Ok(());
        };
        if self.db.keep_decision(now, &due.job, decision).await? {
            self.send(due, &reply, None).await?;
        }
        Ok(())
    }
}

/// Whether a text's reply is left to a person: that is asked for, perhaps since the text came in. What a person sends
/// is sent.
fn is_draft(due: &Due) -> bool {
    due.job.kind == DRAFT || (due.job.kind == REPLY && !due.person.auto_reply)
}
