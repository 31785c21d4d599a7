//! The few calls of Twilio's REST API that the gateway makes (api.twilio.com/2010-04-01, form in, JSON out).

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::time::Duration;
use tracing::debug;

/// A whole exchange must be done in this time; well under a job's lease.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client for one account. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    http: reqwest::Client,
    account_url: String,
    account_sid: String,
    auth_token: SecretString,
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// The receiver's address, with its channel's prefix.
    pub to: &'a str,
    /// Our address.
    pub from: &'a str,
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
    /// The text as it was sent.
    #[serde(default)]
    pub body: Option<String>,
    /// RFC 2822.
    #[serde(default)]
    pub date_created: Option<String>,
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
}

#[derive(Deserialize, Default)]
struct Fault {
    code: Option<i64>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    messages: Vec<SentMessage>,
}

impl Rest {
    /// A client for the account at `base_url` (Twilio's, or a stand-in's).
    ///
    /// # Errors
    /// When the system offers no TLS.
    pub fn new(base_url: &str, account_sid: &str, auth_token: &SecretString) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(Duration::from_secs(4)).build()?;
        Ok(Self {
            http,
            account_url: format!("{}/2010-04-01/Accounts/{account_sid}", base_url.trim_end_matches('/')),
            account_sid: account_sid.to_owned(),
            auth_token: auth_token.clone(),
        })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// See [`RestError`]; on [`RestError::Unknown`] ask [`Rest::find_sent`] before sending again.
    pub async fn send_message(&self, message: &Outgoing<'_>) -> Result<SentMessage, RestError> {
        let mut form = vec![("To", message.to), ("From", message.from), ("Body", message.body)];
        form.extend(message.status_callback.map(|url| ("StatusCallback", url)));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .http
            .post(format!("{}/Messages.json", self.account_url))
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

    /// The message that was sent with this text between these addresses at or after `since` (RFC 3339 date of the day), newest
    /// first: how an unknown outcome is settled.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn find_sent(&self, message: &Outgoing<'_>, since: &str) -> Result<Vec<SentMessage>, RestError> {
        let query = [("To", message.to), ("From", message.from), ("DateSent>", since), ("PageSize", "50")];
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let request = self.http.get(format!("{}/Messages.json?{query}", self.account_url));
        let response =
            self.authorised(request).send().await.map_err(|e| RestError::Unreachable(e.without_url().to_string()))?;
        let list: List = read(response).await?;
        Ok(list.messages.into_iter().filter(|sent| sent.body.as_deref() == Some(message.body)).collect())
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request.basic_auth(&self.account_sid, Some(self.auth_token.expose_secret()))
    }
}

/// A successful answer's document, or what the failure means.
async fn read<T: serde::de::DeserializeOwned>(response: reqwest::Response) -> Result<T, RestError> {
    let status = response.status();
    if status.is_success() {
        return response.json().await.map_err(|error| RestError::Unknown(error.without_url().to_string()));
    }
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Err(RestError::NotTaken { status: 429, retry_after: retry_after.map(Duration::from_secs) })
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
