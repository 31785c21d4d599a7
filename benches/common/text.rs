//! A text message as Twilio tells of it.

use super::form::{self, Pairs};

/// A text: 20 pairs. `number` makes it one of its kind.
pub fn text(number: usize) -> Pairs {
    let sid = format!("SM{number:032x}");
    let mut pairs = form::pairs(&[
        ("ToCountry", "US"),
        ("ToState", "CA"),
        ("NumMedia", "0"),
        ("ToCity", "SAN FRANCISCO"),
        ("FromZip", "94612"),
        ("FromState", "CA"),
        ("SmsStatus", "received"),
        ("FromCity", "OAKLAND"),
        ("Body", "Hi! Are you free for lunch on Friday at 12:30? It’s the café & bar again 🙂"),
        ("FromCountry", "US"),
        ("To", form::OWNER),
        ("MessagingServiceSid", "MG0123456789abcdef0123456789abcdef"),
        ("ToZip", "94105"),
        ("NumSegments", "2"),
        ("AccountSid", form::ACCOUNT_SID),
        ("ApiVersion", "2010-04-01"),
    ]);
    pairs.push(("From", form::sender(number)));
    pairs.extend(["MessageSid", "SmsSid", "SmsMessageSid"].map(|name| (name, sid.clone())));
    pairs
}
