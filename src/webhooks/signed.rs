//! The extractor that lets only Twilio's requests through.

use super::origin::url_of;
use super::requests::Webhook;
use crate::app::App;
use crate::body;
use crate::config::AccountSid;
use crate::twilio::form::Form;
use crate::twilio::signature::Payload;
use poem::http::{StatusCode, header};
use poem::web::Data;
use poem::{Error, FromRequest, Request, RequestBody, Response, Result};
use std::sync::Arc;
use tracing::warn;

/// Twilio sends a few dozen; sorting very many to check a signature would be work for nothing.
const MOST_PAIRS: usize = 10_000;

/// The fields of a webhook that Twilio signed.
///
/// 403 without a word: unsigned, signed with another token, of another account, or about another account's call. 415:
/// signed, but no form. 400: without the id it is about.
pub struct Signed<T>(pub T);

impl<'r, T: Webhook> FromRequest<'r> for Signed<T> {
    async fn from_request(request: &'r Request, sent: &mut RequestBody) -> Result<Self> {
        let app: Data<&Arc<App>> = Data::from_request_without_body(request).await?;
        let Some(signature) = request.headers().get("x-twilio-signature").map(|value| value.as_bytes()) else {
            if let Some(untold) = app.refusals.pass() {
                warn!(untold, "Refused a webhook without a signature");
            }
            return Err(forbidden());
        };
        let raw = body::read(sent.take()?).await?;
        let content_type = request.header(header::CONTENT_TYPE).unwrap_or_default();
        let is_form = content_type
            .split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
        // An empty body is an empty form, whatever it is called.
        let is_bytes = !is_form && !raw.is_empty();
        let form = if is_bytes { Form::default() } else { Form::parse(&raw) };
        let payload = if is_bytes { Payload::Bytes(&raw) } else { Payload::Form(&form) };

        let named = form.get("AccountSid").and_then(AccountSid::parse);
        let account = app.accounts.claimed(named);
        let url = url_of(request, &app);
        if form.pairs().len() > MOST_PAIRS || !account.verifier.accepts(Some(signature), &url, &payload) {
            if let Some(untold) = app.refusals.pass() {
                // The URL is what operators get wrong, so it is told; it holds no secret.
                warn!(webhook.url = url, untold, "Refused a webhook: its signature does not fit");
            }
            return Err(forbidden());
        }
        if !is_form {
            return Err(Error::from_string("A webhook must be a form.", StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        if !account.is(named) {
            warn!("Refused a webhook of another account");
            return Err(forbidden());
        }
        if is_anothers(&app, &form, named).await {
            warn!("Refused a webhook that names the call of another account");
            return Err(forbidden());
        }
        match T::read(&form) {
            Ok(webhook) => Ok(Self(webhook)),
            Err(reason) => Err(Error::from_string(reason.to_string(), StatusCode::BAD_REQUEST)),
        }
    }
}

/// Whether a webhook names the call of another of our accounts. A database that cannot tell has nothing of the call to
/// give out either.
async fn is_anothers(app: &App, form: &Form<'_>, named: Option<AccountSid>) -> bool {
    let Some(call_sid) = form.get("CallSid").filter(|sid| app.accounts.are_several() && !sid.contains('\0')) else {
        return false;
    };
    let known = app.db.account_of_call(call_sid).await.ok().flatten();
    known.as_deref().and_then(AccountSid::parse).is_some_and(|account| Some(account) != named)
}

pub(super) fn forbidden() -> Error {
    Error::from_response(Response::builder().status(StatusCode::FORBIDDEN).finish())
}
