//! Who may call the REST API: whoever has the admin key.

use crate::app::App;
use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::{ApiKey, Bearer};
use secrecy::ExposeSecret;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Proof that the request came with the admin key, in either form. As an operation's first argument it is checked
/// before anything else of the request is looked at.
#[derive(SecurityScheme)]
pub(super) enum Admin {
    /// In a header of its own.
    Key(HeaderKey),
    /// As the Authorization header's token.
    Bearer(BearerKey),
}

/// The gateway's key (`ADMIN_API_KEY`).
#[derive(SecurityScheme)]
#[oai(ty = "api_key", rename = "ApiKey", key_name = "X-API-Key", key_in = "header", checker = "check_key")]
pub(super) struct HeaderKey(());

/// The gateway's key (`ADMIN_API_KEY`) as a bearer token.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", rename = "Bearer", checker = "check_token")]
pub(super) struct BearerKey(());

async fn check_key(request: &Request, given: ApiKey) -> Option<()> {
    is_admin_key(request, &given.key)
}

async fn check_token(request: &Request, given: Bearer) -> Option<()> {
    is_admin_key(request, &given.token)
}

/// Takes the same time whichever character is wrong.
fn is_admin_key(request: &Request, given: &str) -> Option<()> {
    let app = request.data::<Arc<App>>()?;
    let key = app.config.admin_api_key.expose_secret();
    bool::from(key.as_bytes().ct_eq(given.as_bytes())).then_some(())
}
