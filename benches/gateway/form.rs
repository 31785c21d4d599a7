//! The forms Twilio sends, signed by a signer of the bench's own: written from Twilio's description, not from the gateway's
//! code.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The auth token that signs.
pub const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// The account that calls.
pub const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";

/// The pairs of a form, in Twilio's order.
pub type Pairs = Vec<(&'static str, String)>;

/// A text: 20 pairs. `number` makes it one of its kind.
pub fn text(number: usize, to: &str) -> Pairs {
    let sid = format!("SM{number:032x}");
    let mut pairs = pairs(&[
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
        ("To", to),
        ("MessagingServiceSid", "MG0123456789abcdef0123456789abcdef"),
        ("ToZip", "94105"),
        ("NumSegments", "2"),
        ("AccountSid", ACCOUNT_SID),
        ("ApiVersion", "2010-04-01"),
    ]);
    pairs.push(("From", sender(number)));
    pairs.extend(["MessageSid", "SmsSid", "SmsMessageSid"].map(|name| (name, sid.clone())));
    pairs
}

/// A call's webhook with what `more` tells of it.
pub fn call(number: usize, to: &str, more: &[(&'static str, &str)]) -> Pairs {
    let mut pairs = pairs(&[
        ("AccountSid", ACCOUNT_SID),
        ("ApiVersion", "2010-04-01"),
        ("Called", to),
        ("CalledCity", "SAN FRANCISCO"),
        ("CalledCountry", "US"),
        ("CalledState", "CA"),
        ("CalledZip", "94105"),
        ("CallerCity", "OAKLAND"),
        ("CallerCountry", "US"),
        ("CallerState", "CA"),
        ("CallerZip", "94612"),
        ("Direction", "inbound"),
        ("FromCity", "OAKLAND"),
        ("FromCountry", "US"),
        ("FromState", "CA"),
        ("FromZip", "94612"),
        ("To", to),
        ("ToCity", "SAN FRANCISCO"),
        ("ToCountry", "US"),
        ("ToState", "CA"),
        ("ToZip", "94105"),
    ]);
    pairs.extend(["From", "Caller"].map(|name| (name, sender(number))));
    pairs.push(("CallSid", format!("CA{number:032x}")));
    pairs.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    pairs
}

fn pairs(fixed: &[(&'static str, &str)]) -> Pairs {
    fixed.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// A number of its own for each person who calls or writes.
fn sender(number: usize) -> String {
    format!("+1{:010}", 2_010_000_000 + number)
}

/// The body that carries `pairs`.
pub fn encoded(pairs: &Pairs) -> String {
    form_urlencoded::Serializer::new(String::with_capacity(1024)).extend_pairs(pairs).finish()
}

/// `X-Twilio-Signature` for `pairs` sent to `url`.
pub fn signature(url: &str, pairs: &Pairs) -> String {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort();
    let signed = sorted.into_iter().fold(url.to_owned(), |signed, (name, value)| signed + name + value);
    let mut mac = Hmac::<Sha1>::new_from_slice(AUTH_TOKEN.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
