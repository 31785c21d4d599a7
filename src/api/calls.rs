//! Calls that the gateway places, and all calls as they go on.

use super::Tag;
use super::auth::Admin;
use super::call_details::CallDetails;
use super::idempotency::{Kept, Once, keyed};
use super::outcome::{CONFLICT, NOT_FOUND, Outcome, REFUSED};
use super::problem::Problem;
use super::request::{InHeader, InPath, JsonBody};
use super::text::{CallSid, IdempotencyKey, PhoneNumber, Purpose, Text};
use super::users::no_user;
use super::values::Id;
use crate::app::App;
use crate::config::AccountSid;
use crate::conversation::party::Person;
use crate::db::calls::CallEvent;
use crate::twilio::accounts::Account;
use crate::twilio::rest::{CallUpdate, NewCall, RestError, retried};
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, ToJSON};
use poem_openapi::{Object, OpenApi};
use std::sync::Arc;
use tracing::{info, warn};

/// How long a telephone rings, in seconds.
const RINGS_SECONDS: u64 = 30;

/// A call to be placed.
#[derive(Object)]
#[oai(example)]
struct CallOrder {
    /// The user who is called.
    user_id: Id,
    /// The number that is called: the user's own `phone_number` or `forward_number`, never one of the gateway's. Left
    /// out, it is the user's `phone_number`, or `forward_number` when that one is missing or is the gateway's.
    #[oai(nullable)]
    to: Option<Text<PhoneNumber>>,
    /// Why the user is called, in words for the model; an answering machine may be told them.
    purpose: Text<Purpose>,
}

impl Example for CallOrder {
    fn example() -> Self {
        Self { user_id: super::values::Whole(1), to: None, purpose: Text::example() }
    }
}

/// `/calls`
#[derive(Clone, Copy)]
pub(super) struct CallsApi;

#[OpenApi(prefix_path = "/calls", tag = "Tag::Calls")]
impl CallsApi {
    /// Call a user
    ///
    /// The assistant speaks first, with the purpose in mind. An answering machine is told the same after its beep, and
    /// a fax is hung up on. The answer comes as soon as Twilio has taken the call; see `GET /calls/{call_sid}` for what
    /// becomes of it. Calls are no texts: people who want no texts may be called. When it is unknown whether Twilio
    /// took the call (503 that says so), look before you try again: with the same key no second call is placed.
    #[oai(path = "/", method = "post", operation_id = "placeCall")]
    async fn place(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// The client's own name for this request, kept for 24 hours. Its repetition, with the same key and body, gets
        /// the first answer again and places no second call: also when the answer was that the outcome is unknown. A
        /// request that came to nothing may be repeated. Another body is 422; while the first request is in flight, or
        /// when it was interrupted, 409.
        #[oai(name = "Idempotency-Key")]
        key: InHeader<Option<Text<IdempotencyKey>>>,
        body: JsonBody<CallOrder>,
    ) -> Outcome<Once<CallDetails>, { NOT_FOUND | CONFLICT | REFUSED }> {
        let (shared, order) = (app.0.clone(), body.0);
        let request = keyed("POST /calls", key.0, order.user_id.0, &order);
        let work = async move { place(&shared, &order).await };
        Ok(Once::of(app.0, request, work).await?)
    }

    /// Get a call
    ///
    /// Any call of the log, those that came in too, with its turns so far.
    #[oai(path = "/:call_sid", method = "get", operation_id = "getCall")]
    async fn get(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// Twilio's CallSid.
        call_sid: InPath<Text<CallSid>>,
    ) -> Outcome<Json<CallDetails>, NOT_FOUND> {
        Ok(Json(CallDetails::of(&app.db, &call_sid.0.into_inner()).await?))
    }

    /// Hang up
    ///
    /// Ends a call that is under way or still rings. Twilio reports its end a moment later.
    #[oai(path = "/:call_sid/hangup", method = "post", operation_id = "hangUpCall")]
    async fn hang_up(
        &self,
        _admin: Admin,
        app: Data<&Arc<App>>,
        /// Twilio's CallSid.
        call_sid: InPath<Text<CallSid>>,
    ) -> Outcome<Json<CallDetails>, { NOT_FOUND | CONFLICT | REFUSED }> {
        let call_sid = call_sid.0.into_inner();
        let is_over = || Problem::conflict("This call is over already.");
        if CallDetails::of(&app.db, &call_sid).await?.is_over() {
            return Err(is_over().into());
        }
        let sid = app.db.call(&call_sid).await?.and_then(|call| AccountSid::parse(&call.account_sid?));
        let account = app.accounts.claimed(sid);
        let rest = account.rest.as_ref().ok_or_else(|| missing_settings(missing_credentials(&app, account)))?;
        match rest.update_call(&call_sid, CallUpdate::Complete).await {
            Ok(_) => info!(call.sid = call_sid, "Hung up as an administrator wished"),
            Err(RestError::Refused { code: Some(NOT_IN_PROGRESS), .. }) => return Err(is_over().into()),
            Err(RestError::Refused { status: 404, .. }) => {
                return Err(Problem::not_found("Twilio knows no such call.").into());
            }
            Err(RestError::Unknown(_)) => {
                let detail =
                    "Twilio did not answer, so it is unknown whether the call is over. Trying again does no harm.";
                return Err(Problem::unavailable(detail, None).into());
            }
            Err(error) => return Err(nothing_done(&error).into()),
        }
        Ok(Json(CallDetails::of(&app.db, &call_sid).await?))
    }
}

/// Twilio's error code for changing a call that is over.
const NOT_IN_PROGRESS: i64 = 21220;

/// Places a call. `Err` when none was placed.
async fn place(app: &App, order: &CallOrder) -> Result<Kept, Problem> {
    let user_id = order.user_id.0;
    let person = app.directory.person(user_id).await?.ok_or_else(|| no_user(user_id))?;
    if !person.is_active {
        return Err(Problem::conflict(format!("The user {user_id} is inactive.")));
    }
    let to = number_to_call(app, &person, order.to.as_ref().map(Text::as_str))?;
    let own = person.phone_number.as_deref().filter(|number| app.directory.is_own(number));
    let from = own.or(app.config.twilio.phone_numbers.first().map(String::as_str));
    let account = app.accounts.of_number(from.unwrap_or_default());
    let (Some(rest), Some(public), Some(from)) = (&account.rest, &app.config.public_url, from) else {
        let needed = [("PUBLIC_BASE_URL", app.config.public_url.is_some()), ("TWILIO_PHONE_NUMBERS", from.is_some())];
        let missing = needed.into_iter().filter(|(_, is_there)| !is_there).map(|(name, _)| name);
        return Err(missing_settings(missing_credentials(app, account).into_iter().chain(missing).collect()));
    };
    let public = public.base();
    let at = app.clock.now();
    // Written down first: when Twilio's answer is lost, the call is known by its URL.
    let id = app.db.order_call(user_id, order.purpose.as_str(), at).await?;
    let new = NewCall {
        to,
        from,
        url: &retried(&format!("{public}/twilio/voice/placed/{id}")),
        status_callback: &retried(&format!("{public}/twilio/voice/status")),
        machine_detection: true,
        async_amd_callback: Some(&retried(&format!("{public}/twilio/voice/answered-by"))),
        time_limit_seconds: app.config.voice.longest_call.as_secs(),
        timeout_seconds: RINGS_SECONDS,
    };
    let placed = match rest.place_call(&new).await {
        Ok(placed) => placed,
        Err(RestError::Unknown(cause)) => {
            warn!(user.id = user_id, cause, "It is unknown whether a call was placed");
            let detail = "Twilio did not answer in time: it is unknown whether the call was placed, so it is not placed \
                          again. Look at Twilio's list of calls before you try again.";
            return Ok(Kept::failed(&Problem::unavailable(detail, None)));
        }
        Err(error) => return Err(nothing_done(&error)),
    };
    info!(call.sid = placed.sid, user.id = user_id, "Placed a call");
    let call = CallEvent {
        account_sid: account.sid,
        call_sid: placed.sid.clone(),
        direction: "outbound-api".to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        status: placed.status,
        duration_seconds: None,
        at,
    };
    let written = async {
        app.db.record_placed_call(id, call).await?;
        CallDetails::of(&app.db, &placed.sid).await
    };
    Ok(match written.await {
        Ok(call) => Kept::created(call.to_json_string()),
        Err(cause) => {
            warn!(call.sid = placed.sid, error = %cause, "A call that was placed could not be written down");
            let detail = format!("The call {} was placed, but could not be written down: {cause}", placed.sid);
            Kept::failed(&Problem::unavailable(detail, None))
        }
    })
}

/// The number at which a person is called: only ever one of the person's own, and never one of ours, which would call
/// ourselves.
fn number_to_call<'a>(app: &App, person: &'a Person, to: Option<&str>) -> Result<&'a str, Problem> {
    let numbers = [&person.phone_number, &person.forward_number].into_iter().flatten();
    let mut callable = numbers.map(String::as_str).filter(|number| !app.directory.is_own(number));
    let Some(to) = to else {
        return callable.next().ok_or_else(|| {
            let message =
                "is missing, and the user has neither a phone_number that is not the gateway's nor a forward_number";
            Problem::invalid_field("to", message)
        });
    };
    callable.find(|number| *number == to).ok_or_else(|| {
        let message = "must be the user's own phone_number or forward_number, and no number of the gateway";
        Problem::invalid_field("to", message)
    })
}

/// What of an account is not configured, so that Twilio's REST API cannot be asked.
fn missing_credentials(app: &App, account: &Account) -> Vec<&'static str> {
    let needed = [
        ("TWILIO_ACCOUNT_SID", account.sid.is_some()),
        ("TWILIO_AUTH_TOKEN", account.rest.is_some() || !app.config.auth_token_generated),
    ];
    needed.into_iter().filter(|(_, is_there)| !is_there).map(|(name, _)| name).collect()
}

/// 503 over settings.
fn missing_settings(names: Vec<&str>) -> Problem {
    let detail = format!("Not configured, and needed to place or change calls: {}.", names.join(", "));
    Problem::unavailable(detail, None)
}

/// How a failure is told after which nothing was done at Twilio.
fn nothing_done(error: &RestError) -> Problem {
    warn!(%error, "Twilio did not do what it was asked");
    match error {
        RestError::NotTaken { retry_after, .. } => {
            Problem::unavailable("Twilio takes no more requests right now; nothing was done.", *retry_after)
        }
        RestError::Unreachable(_) | RestError::Unknown(_) => {
            Problem::unavailable("Twilio cannot be reached right now; nothing was done.", None)
        }
        RestError::Credentials(_) => {
            let detail = "Twilio does not accept TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN.";
            Problem::new(StatusCode::BAD_GATEWAY, detail)
        }
        RestError::Refused { status, code } => {
            let reason = match code {
                Some(code) => format!("error {code}: {}", meaning(*code)),
                None => format!("status {status}"),
            };
            Problem::new(StatusCode::BAD_GATEWAY, format!("Twilio refuses it ({reason})."))
        }
        RestError::Unusable(reason) => {
            Problem::new(StatusCode::BAD_GATEWAY, format!("Twilio cannot be asked: {reason}."))
        }
    }
}

/// Twilio's error codes for calls, in words.
fn meaning(code: i64) -> &'static str {
    match code {
        20003 => "the account's credentials are wrong",
        20404 => "there is no such call",
        21210 | 21212 | 21213 => "the calling number is not a verified number of the account",
        21201 | 21211 | 21217 | 21421 => "the called number is not a valid one",
        21214 => "the called number cannot be reached",
        21215 => "the account has no permission to call that country",
        21216 => "calls to that number are blocked",
        21219 => "a trial account may only call verified numbers",
        21220 => "the call is over",
        _ => "see twilio.com/docs/api/errors",
    }
}
