//! Texts that an administrator sends to users.

use super::Tag;
use super::auth::Admin;
use super::history_entries::Sms;
use super::idempotency::{Kept, Once, keyed};
use super::outcome::{CONFLICT, NOT_FOUND, Outcome};
use super::problem::Problem;
use super::request::{InHeader, JsonBody};
use super::text::{IdempotencyKey, SmsBody, Text};
use super::users::no_user;
use super::values::{Id, Whole};
use crate::app::App;
use crate::conversation::party::Person;
use crate::db::DbError;
use crate::db::idempotency::KeyedRequest;
use crate::db::outbound::{OutboundText, Queued};
use poem::web::Data;
use poem_openapi::types::{Example, ToJSON};
use poem_openapi::{Object, OpenApi};
use std::sync::Arc;
use tracing::{info, warn};

/// A text to be sent.
#[derive(Object)]
#[oai(example)]
struct TextOrder {
    /// The user who gets it, at `phone_number`, or at `forward_number` when that one is missing or is the gateway's.
    user_id: Id,
    /// What is sent.
    text: Text<SmsBody>,
}

impl Example for TextOrder {
    fn example() -> Self {
        Self { user_id: Whole(1), text: Text::example() }
    }
}

/// `/sms/send`
#[derive(Clone, Copy)]
pub(super) struct SendsApi;

#[OpenApi(prefix_path = "/sms", tag = "Tag::Sms")]
impl SendsApi {
    /// Send a user a text
    ///
    /// Queues a text from the first of `TWILIO_PHONE_NUMBERS` (without any, of those in `TWILIO_ACCOUNTS`), or through
    /// the Messaging Service of its account; in several numbered messages, if one does not hold it. In quiet hours
    /// (`SMS_QUIET_HOURS`, by the user's time zone) it waits for their end. The history tells what becomes of it.
    /// Nothing is sent to inactive users and to people who want no texts (409). When it is unknown whether the text was
    /// queued (503 that says so), repeat the request with the same key: no second one is.
    #[oai(path = "/send", method = "post", operation_id = "sendSms")]
    async fn send(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The client's own name for this request, kept for 24 hours. Its repetition, with the same key and body, gets
        /// the first answer again and sends no second text, whatever became of the first one. Another body is 422.
        #[oai(name = "Idempotency-Key")]
        key: InHeader<Option<Text<IdempotencyKey>>>,
        body: JsonBody<TextOrder>,
    ) -> Outcome<Once<Sms>, { NOT_FOUND | CONFLICT }> {
        let (app, order) = (app.0, body.0);
        let request = keyed("POST /sms/send", key.0, order.user_id.0, &order);
        if let Some(request) = &request
            && let Some(known) = app.db.known_request(app.clock.now(), request).await?
        {
            return Ok(Once::before(app, known)?);
        }
        Ok(queue(app, &order, request).await?)
    }
}

/// Queues a text, unless a request with the same key has done so.
async fn queue(app: &App, order: &TextOrder, request: Option<KeyedRequest>) -> Result<Once<Sms>, Problem> {
    let user_id = order.user_id.0;
    let person = app.directory.person(user_id).await?.ok_or_else(|| no_user(user_id))?;
    if !person.is_active {
        return Err(Problem::conflict(format!("The user {user_id} is inactive.")));
    }
    let to = number_to_write_to(app, &person)?;
    let from = app.config.twilio.phone_numbers.first().ok_or_else(|| missing("TWILIO_PHONE_NUMBERS"))?;
    let account = app.accounts.of_number(from);
    if account.rest.is_none() {
        return Err(missing("TWILIO_ACCOUNT_SID or TWILIO_AUTH_TOKEN"));
    }
    let now = app.clock.now();
    let text = OutboundText {
        account_sid: account.sid,
        messaging_service_sid: account.messaging_service_sid.clone(),
        user_id,
        peer: String::new(),
        from: from.clone(),
        to: to.to_owned(),
        text: order.text.as_str().to_owned(),
        occasion: format!("send {}", uuid::Uuid::now_v7()),
        at: now,
        is_unsolicited: true,
        due_at: person.quiet_until(app.config.sms.quiet_hours, now).unwrap_or(now),
    };
    match app.db.queue_for_request(text, request, |queued| Sms::from(queued).to_json_string()).await {
        Ok(Queued::Now { id, answer }) => {
            app.outbox.wake();
            info!(message.id = id, user.id = user_id, "Queued a text for a user");
            Ok(Once::now(Kept::created(answer)))
        }
        Ok(Queued::Before(known)) => Once::before(app, known),
        Ok(Queued::OptedOut) => Err(Problem::conflict(format!("The user {user_id} does not want to be written to."))),
        Err(DbError::OutOfReach(cause)) => {
            warn!(user.id = user_id, %cause, "It is unknown whether a text was queued");
            let detail = "The database did not answer in time: it is unknown whether the text was queued. With the same \
                          Idempotency-Key the request may be repeated; without one look at the user's history before.";
            Err(Problem::unavailable(detail, None))
        }
        Err(error) => Err(error.into()),
    }
}

/// The number at which a person is written to: only ever one of the person's own, and never one of ours.
fn number_to_write_to<'a>(app: &App, person: &'a Person) -> Result<&'a str, Problem> {
    let numbers = [&person.phone_number, &person.forward_number].into_iter().flatten();
    let mut writable = numbers.map(String::as_str).filter(|number| !app.directory.is_own(number));
    writable.next().ok_or_else(|| {
        let message = "has neither a phone_number that is not the gateway's nor a forward_number";
        Problem::invalid_field("user_id", message)
    })
}

/// 503 over a setting.
fn missing(setting: &str) -> Problem {
    Problem::unavailable(format!("The setting {setting} is missing, without which no text can be sent."), None)
}
