//! Twilio's list of messages, by which the unknown outcome of a send is settled.

use super::{Rest, RestError, Sender, SentMessage, read};
use crate::clock::{Micros, SECOND};
use reqwest::Url;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The direction of messages that were sent over REST.
pub const OVER_REST: &str = "outbound-api";
/// The direction of those that went out as `<Message>` in answer to a text.
pub const IN_TWIML: &str = "outbound-reply";

/// Messages on a page.
const PAGE: &str = "50";
/// Pages that are read at the most.
const MOST_PAGES: usize = 20;

/// Which messages are looked for.
#[derive(Debug, Clone)]
pub struct Sought<'a> {
    /// The receiver's address.
    pub to: &'a str,
    /// Who sent them.
    pub from: Sender<'a>,
    /// When the oldest of them may have been made, by Twilio's clock.
    pub since: Micros,
}

/// A message in Twilio's list.
#[derive(Debug, Clone, Deserialize)]
pub struct ListedMessage {
    /// Its id and status.
    #[serde(flatten)]
    pub sent: SentMessage,
    /// [`OVER_REST`], [`IN_TWIML`] …
    #[serde(default)]
    pub direction: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    date_created: Option<String>,
    #[serde(default)]
    messaging_service_sid: Option<String>,
}

impl ListedMessage {
    /// Whether these are its words, once both are `read`: Twilio may have written them otherwise. A trial account's
    /// messages have words of Twilio's before them.
    pub fn says(&self, words: &str, read: impl Fn(&str) -> String) -> bool {
        let Some(body) = self.body.as_deref().map(&read) else { return false };
        let before = body.strip_suffix(&read(words));
        before.is_some_and(|before| before.is_empty() || before.contains("Twilio trial account"))
    }

    /// When it was made, by Twilio's clock, in whole seconds.
    pub fn created(&self) -> Option<Micros> {
        let at = OffsetDateTime::parse(self.date_created.as_deref()?, &Rfc2822).ok()?;
        Some(at.unix_timestamp() * SECOND)
    }

    fn is_before(&self, since: Micros) -> bool {
        // Whole seconds: it may be younger than it says, by nearly one.
        self.created().is_some_and(|at| at + SECOND <= since)
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    messages: Vec<ListedMessage>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

impl Rest {
    /// The messages to a receiver from a sender, newest first. Twilio's filter by date is no use, for a message that is
    /// still queued has no `DateSent`: pages are read until one ends with a message that is too old. A filter by
    /// Messaging Service there is not, and which of its numbers a service chose is not known.
    ///
    /// # Errors
    /// See [`RestError`]; [`RestError::Unknown`], too, when no end is found.
    pub async fn messages(&self, sought: &Sought<'_>) -> Result<Vec<ListedMessage>, RestError> {
        let mut query = vec![("To", sought.to), ("PageSize", PAGE)];
        let service = match sought.from {
            Sender::Address(address) => {
                query.push(("From", address));
                None
            }
            Sender::Service(sid) => Some(sid),
        };
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let mut url = format!("{}/Messages.json?{query}", self.account_url);
        let mut found = Vec::new();
        for _ in 0..MOST_PAGES {
            let request = self.authorised(self.http.get(url));
            let response =
                request.send().await.map_err(|error| RestError::Unreachable(error.without_url().to_string()))?;
            let page: Page = read(response).await?;
            let is_last = page.messages.last().is_none_or(|oldest| oldest.is_before(sought.since));
            let is_it = |message: &ListedMessage| {
                !message.is_before(sought.since)
                    && (service.is_none() || message.messaging_service_sid.as_deref() == service)
            };
            found.extend(page.messages.into_iter().filter(is_it));
            let Some(next) = page.next_page_uri.filter(|_| !is_last) else { return Ok(found) };
            url = next_page(&self.base_url, &next)?;
        }
        Err(RestError::Unknown("Twilio's list of messages is too long".to_owned()))
    }
}

/// Where the list goes on: at Twilio, and nowhere else, for the account's credentials go there.
pub(super) fn next_page(base_url: &str, uri: &str) -> Result<String, RestError> {
    let next = if uri.starts_with('/') { format!("{}{uri}", base_url.trim_end_matches('/')) } else { uri.to_owned() };
    let origin = |url: &str| Url::parse(url).ok().filter(|url| url.username().is_empty()).map(|url| url.origin());
    match origin(&next) {
        Some(at) if Some(&at) == origin(base_url).as_ref() => Ok(next),
        _ => Err(RestError::Unknown("Twilio's list of messages goes on elsewhere".to_owned())),
    }
}
