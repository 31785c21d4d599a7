//! The few calls of Twilio's REST API that the gateway makes (api.twilio.com/2010-04-01, form in, JSON out).

mod calls;
mod hosts;
mod lookup;
#[cfg(test)]
mod tests;

use crate::config::AccountSid;
use crate::retry_after::retry_after;
use hosts::{recording_url, redirects, twilios};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::time::Duration;
use tracing::debug;

pub use calls::{CallUpdate, NewCall, PlacedCall};
pub use lookup::{IN_TWIML, ListedMessage, OVER_REST, Sought};

/// A whole exchange must be done in this time; under a job's lease.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Fetching a recording may take longer.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest recording that is fetched, in bytes: ten minutes of MP3 are about 5 MB.
const LARGEST_RECORDING: usize = 20_000_000;
/// The largest file of a text that is fetched, in bytes: Twilio takes MMS up to this size.
const LARGEST_MEDIA: usize = 5_000_000;

/// A client for one account. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    http: reqwest::Client,
    base_url: String,
    account_url: String,
    account_sid: AccountSid,
    auth_token: SecretString,
}

/// What a message is sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender<'a> {
    /// An address of ours.
    Address(&'a str),
    /// A Messaging Service (`MG…`), which chooses one of its own.
    Service(&'a str),
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// The receiver's address, with its channel's prefix.
    pub to: &'a str,
    /// Who sends it.
    pub from: Sender<'a>,
    /// At most 1,600 characters.
    pub body: &'a str,
    /// Where Twilio reports its progress.
    pub status_callback: Option<&'a str>,
}

/// A message as Twilio describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct SentMessage {
    /// SM… or MM…
    pub sid: String,
    /// `queued`, `sent` …
    #[serde(default)]
    pub status: String,
    /// Why it failed, if it did.
    #[serde(default)]
    pub error_code: Option<i64>,
}

/// A URL of ours as Twilio is told it for reports: it is asked twice more whatever went wrong, where the default is
/// once and only when no connection could be made. The fragment is neither sent nor signed
/// (usage/webhooks/webhooks-connection-overrides).
pub fn retried(url: &str) -> String {
    format!("{url}#rc=2&rp=all")
}

/// Why a call of the REST API failed, by what may be done next.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// Twilio did not take the request; it may be sent again, after this time if one is given.
    #[error("Twilio did not take the request (status {status})")]
    NotTaken {
        /// The HTTP status.
        status: u16,
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The connection could not be made: nothing was sent.
    #[error("Twilio cannot be reached: {0}")]
    Unreachable(String),
    /// Nobody knows whether Twilio took it: look before sending it again.
    #[error("it is unknown whether Twilio took the request: {0}")]
    Unknown(String),
    /// Twilio refuses it for good, with its error code (twilio.com/docs/api/errors).
    #[error("Twilio refuses the request (status {status}, error {})", code.unwrap_or_default())]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Twilio's error code.
        code: Option<i64>,
    },
    /// The account's credentials are wrong: no request will pass until they are mended.
    #[error("Twilio does not accept the account's credentials (status {0})")]
    Credentials(u16),
    /// What was asked for cannot be had, now or later.
    #[error("{0}")]
    Unusable(&'static str),
}

impl RestError {
    /// Whether Twilio surely did not take the request.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}

#[derive(Deserialize, Default)]
struct Fault {
    code: Option<i64>,
    message: Option<String>,
}

impl Rest {
    /// The connections that the clients of all accounts share.
    ///
    /// # Errors
    /// When the system offers no TLS.
    pub fn client() -> Result<reqwest::Client, reqwest::Error> {
        reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(4))
            .redirect(redirects())
            .build()
    }

    /// A client for the account at `base_url` (Twilio's, or a stand-in's).
    pub fn new(http: reqwest::Client, base_url: &str, account_sid: AccountSid, auth_token: &SecretString) -> Self {
        Self {
            http,
            base_url: base_url.to_owned(),
            account_url: format!("{}/2010-04-01/Accounts/{account_sid}", base_url.trim_end_matches('/')),
            account_sid,
            auth_token: auth_token.clone(),
        }
    }

    /// The account.
    pub fn account_sid(&self) -> AccountSid {
        self.account_sid
    }

    /// Sends a message.
    ///
    /// # Errors
    /// See [`RestError`]; on [`RestError::Unknown`] ask [`Rest::messages`] before sending again.
    pub async fn send_message(&self, message: &Outgoing<'_>) -> Result<SentMessage, RestError> {
        let from = match message.from {
            Sender::Address(address) => ("From", address),
            Sender::Service(sid) => ("MessagingServiceSid", sid),
        };
        let mut form = vec![("To", message.to), from, ("Body", message.body)];
        form.extend(message.status_callback.map(|url| ("StatusCallback", url)));
        self.post("Messages.json", &form).await
    }

    /// The MP3 of a recording, by the `RecordingUrl` of a webhook. The account's credentials go to Twilio alone:
    /// another host's URL is not asked, and a redirect is followed only to where Twilio stores files, without them.
    ///
    /// # Errors
    /// See [`RestError`]; [`RestError::Unusable`] when it is not Twilio's or more than 20 MB long.
    pub async fn fetch_recording(&self, url: &str) -> Result<Vec<u8>, RestError> {
        let url = recording_url(url, &self.base_url).ok_or(RestError::Unusable("this is no recording of Twilio's"))?;
        self.fetch(url, RECORDING_TIMEOUT, LARGEST_RECORDING).await
    }

    /// A file that came with a text, by the `MediaUrl` of its webhook. What holds for a recording holds here too.
    ///
    /// # Errors
    /// See [`RestError`]; [`RestError::Unusable`] when it is not Twilio's or more than 5 MB long.
    pub async fn fetch_media(&self, url: &str) -> Result<Vec<u8>, RestError> {
        let url = twilios(url, &self.base_url).ok_or(RestError::Unusable("this is no file of Twilio's"))?;
        self.fetch(url, TIMEOUT, LARGEST_MEDIA).await
    }

    async fn fetch(&self, url: Url, timeout: Duration, largest: usize) -> Result<Vec<u8>, RestError> {
        let request = self.authorised(self.http.get(url)).timeout(timeout);
        let response = request.send().await.map_err(|error| RestError::Unreachable(error.without_url().to_string()))?;
        let mut response = sound(response).await?;
        let mut file = Vec::new();
        let lost = |error: reqwest::Error| RestError::Unreachable(error.without_url().to_string());
        while let Some(piece) = response.chunk().await.map_err(lost)? {
            if file.len() + piece.len() > largest {
                return Err(RestError::Unusable("the file is too large"));
            }
            file.extend_from_slice(&piece);
        }
        Ok(file)
    }

    /// Posts a form to a resource of the account.
    async fn post<T: serde::de::DeserializeOwned>(&self, path: &str, form: &[(&str, &str)]) -> Result<T, RestError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .http
            .post(format!("{}/{path}", self.account_url))
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        let response = self.authorised(request).send().await.map_err(|error| {
            // Only a failed connection is sure not to have delivered the request.
            let sure = error.is_connect();
            let reason = error.without_url().to_string();
            if sure { RestError::Unreachable(reason) } else { RestError::Unknown(reason) }
        });
        read(response?).await
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request.basic_auth(self.account_sid, Some(self.auth_token.expose_secret()))
    }
}

/// A successful answer's document, or what the failure means.
async fn read<T: serde::de::DeserializeOwned>(response: reqwest::Response) -> Result<T, RestError> {
    let response = sound(response).await?;
    response.json().await.map_err(|error| RestError::Unknown(error.without_url().to_string()))
}

/// A successful answer, or what the failure means.
async fn sound(response: reqwest::Response) -> Result<reqwest::Response, RestError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Err(RestError::NotTaken { status: 429, retry_after: retry_after(response.headers()) })
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RestError::Credentials(status.as_u16())),
        _ if status.is_server_error() => Err(RestError::Unknown(format!("status {}", status.as_u16()))),
        _ => {
            let fault: Fault = response.json().await.unwrap_or_default();
            // Its words may quote a whole number, and errors are logged.
            debug!(message = fault.message.unwrap_or_default(), "Twilio refused a request");
            Err(RestError::Refused { status: status.as_u16(), code: fault.code })
        }
    }
}
