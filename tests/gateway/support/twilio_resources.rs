//! Messages, calls and errors as Twilio's REST API (2010-04-01) writes them in JSON.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// A message that the fake accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// `SM` and 32 hexadecimal digits.
    pub sid: String,
    /// The field `To`.
    pub to: String,
    /// The field `From`, or the Messaging Service's SID where that was given instead.
    pub from: String,
    /// The field `Body`.
    pub body: String,
    /// The field `StatusCallback`.
    pub status_callback: Option<String>,
    /// The account in the request's path.
    pub account: String,
    /// `outbound-api`, or `outbound-reply` for a `<Message>`.
    pub direction: &'static str,
    /// When it was accepted.
    pub created: OffsetDateTime,
}

impl SentMessage {
    /// The resource, as an answer to its creation and in lists.
    pub fn resource(&self) -> Value {
        let uri = format!("/2010-04-01/Accounts/{}/Messages/{}", self.account, self.sid);
        let date = self.created.format(&Rfc2822).expect("a date of our time has an RFC 2822 form");
        let by_service = self.from.starts_with("MG");
        json!({
            "account_sid": self.account,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": date,
            "date_sent": date,
            "date_updated": date,
            "direction": self.direction,
            "error_code": null,
            "error_message": null,
            "from": if by_service { Value::Null } else { json!(self.from) },
            "messaging_service_sid": if by_service { json!(self.from) } else { Value::Null },
            "num_media": "0",
            "num_segments": segments(&self.body).to_string(),
            "price": null,
            "price_unit": null,
            "sid": self.sid,
            "status": "queued",
            "subresource_uris": { "media": format!("{uri}/Media.json") },
            "to": self.to,
            "uri": format!("{uri}.json"),
        })
    }
}

/// Whether a list filtered by a date (`DateSent`, `StartTime`: `relation` is `=`, `<` or `>`) shows what was made at
/// `created`; `<` and `>` include the date itself. None when the date is neither a day nor a time of RFC 3339.
pub fn is_within(created: OffsetDateTime, relation: char, date: &str) -> Option<bool> {
    let (from, to) = match OffsetDateTime::parse(date, &Rfc3339) {
        Ok(time) => (time, time),
        Err(_) => {
            let midnight = OffsetDateTime::parse(&format!("{date}T00:00:00Z"), &Rfc3339).ok()?;
            (midnight, midnight + time::Duration::DAY - time::Duration::NANOSECOND)
        }
    };
    Some(match relation {
        '<' => created <= to,
        '>' => created >= from,
        _ => (from..=to).contains(&created),
    })
}

/// A rough count: ASCII is taken for the GSM-7 alphabet, all else for UCS-2.
fn segments(body: &str) -> usize {
    let (length, single, joined) =
        if body.is_ascii() { (body.len(), 160, 153) } else { (body.encode_utf16().count(), 70, 67) };
    if length <= single { 1 } else { length.div_ceil(joined) }
}

/// A call that the fake was asked to place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedCall {
    /// `CA` and 32 hexadecimal digits.
    pub sid: String,
    /// The field `To`.
    pub to: String,
    /// The field `From`.
    pub from: String,
    /// The account in the request's path.
    pub account: String,
    /// All form fields, in their order.
    pub fields: Vec<(String, String)>,
    /// When it was accepted.
    pub created: OffsetDateTime,
    /// `queued` at first.
    pub status: String,
}

impl PlacedCall {
    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        first(&self.fields, name)
    }

    /// The resource, as an answer to its creation, to a look at it, and in lists.
    pub fn resource(&self) -> Value {
        let date = self.created.format(&Rfc2822).expect("a date of our time has an RFC 2822 form");
        json!({
            "account_sid": self.account,
            "answered_by": null,
            "api_version": "2010-04-01",
            "date_created": date,
            "date_updated": date,
            "direction": "outbound-api",
            "duration": null,
            "from": self.from,
            "sid": self.sid,
            "start_time": null,
            "status": self.status,
            "to": self.to,
            "uri": format!("/2010-04-01/Accounts/{}/Calls/{}.json", self.account, self.sid),
        })
    }
}

fn first<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A change to a call in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallUpdate {
    /// The call's SID, from the path.
    pub sid: String,
    /// The account in the request's path.
    pub account: String,
    /// The form fields, in their order.
    pub fields: Vec<(String, String)>,
}

impl CallUpdate {
    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        first(&self.fields, name)
    }

    /// What Twilio would object to: nothing to change, both `Url` and `Twiml`, or a `Twiml` of over 4000 characters.
    pub fn fault(&self) -> Option<(u32, &'static str)> {
        let has = |name| self.field(name).is_some();
        match self.field("Twiml") {
            Some(_) if has("Url") => Some((21218, "Url and Twiml exclude each other")),
            Some(twiml) if twiml.chars().count() > 4000 => Some((32018, "Twiml is longer than 4000 characters")),
            None if !["Url", "Status", "StatusCallback", "TimeLimit"].into_iter().any(has) => {
                Some((20001, "nothing to change"))
            }
            _ => None,
        }
    }

    /// The call's resource after the change, as far as the gateway may look at it.
    pub fn resource(&self) -> Value {
        json!({
            "account_sid": self.account,
            "api_version": "2010-04-01",
            "direction": "inbound",
            "sid": self.sid,
            "status": self.field("Status").unwrap_or("in-progress"),
            "uri": format!("/2010-04-01/Accounts/{}/Calls/{}.json", self.account, self.sid),
        })
    }
}

/// Twilio's error object.
pub fn error_body(status: u16, code: u32, message: &str) -> Value {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    json!({ "code": code, "message": message, "more_info": more_info, "status": status })
}

/// Whether `To` is a number in E.164 form, with or without a channel before it (`whatsapp:+…`).
pub fn is_address(to: &str) -> bool {
    let number = to.split_once(':').map_or(to, |(_, number)| number);
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
