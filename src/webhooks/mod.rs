//! What Twilio calls. A handler that names [`Signed`] in its arguments has passed the signature check; there is no
//! other way to a webhook's fields.

mod in_time;
pub mod machine;
mod manner;
mod on_call;
mod origin;
pub mod relay;
mod requests;
mod signed;
pub mod sms;
pub mod speech;
pub mod status;
mod telling;
mod transfer;
mod turns;
pub mod voice;
mod voicing;

use crate::app::App;
use crate::db::voice_answers::VoiceStep;
pub use origin::called_url;
use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};
pub use signed::Signed;

/// A TwiML document as an answer.
#[derive(Debug)]
pub struct Twiml(pub String);

impl IntoResponse for Twiml {
    fn into_response(self) -> Response {
        Response::builder()
            .status(StatusCode::OK)
            .header(header::CONTENT_TYPE, "text/xml; charset=utf-8")
            .header(header::CACHE_CONTROL, "no-store")
            .body(self.0)
    }
}

/// A path of ours as Twilio must be told it: below the public address's prefix.
fn link(app: &App, path: &str) -> String {
    let prefix = app.config.public_url.as_ref().map_or("", |url| url.path_prefix());
    format!("{prefix}{path}")
}

/// Where the next turn is heard.
fn next_turn(app: &App, step: &VoiceStep) -> String {
    link(app, &format!("/twilio/voice/turns/{}", step.turn + 1))
}
