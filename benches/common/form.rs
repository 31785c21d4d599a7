//! The forms Twilio sends, signed by a signer of the bench's own: written from Twilio's description, not from the
//! gateway's code.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::net::SocketAddr;

/// The auth token that signs.
pub const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// The account that calls.
pub const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";

/// The called and texted number; it belongs to a user.
pub const OWNER: &str = "+15550009999";

/// The pairs of a form, in Twilio's order.
pub type Pairs = Vec<(&'static str, String)>;

/// A call's webhook with what `more` tells of it.
pub fn call(number: usize, more: &[(&'static str, &str)]) -> Pairs {
    let mut pairs = pairs(&[
        ("AccountSid", ACCOUNT_SID),
        ("ApiVersion", "2010-04-01"),
        ("Called", OWNER),
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
        ("To", OWNER),
        ("ToCity", "SAN FRANCISCO"),
        ("ToCountry", "US"),
        ("ToState", "CA"),
        ("ToZip", "94105"),
    ]);
    pairs.extend(["From", "Caller"].map(|name| (name, sender(number))));
    pairs.push(("CallSid", call_sid(number)));
    pairs.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    pairs
}

/// Pairs whose values are fixed.
pub fn pairs(fixed: &[(&'static str, &str)]) -> Pairs {
    fixed.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// A name of its own for each call.
pub fn call_sid(number: usize) -> String {
    format!("CA{number:032x}")
}

/// A number of its own for each person who calls or writes.
pub fn sender(number: usize) -> String {
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

/// A webhook as it goes over the wire: `pairs` for `path` of the gateway at `host`, with a signature for `signed_url`.
pub fn webhook(host: SocketAddr, path: &str, signed_url: &str, pairs: &Pairs) -> Vec<u8> {
    let body = encoded(pairs);
    let signature = signature(signed_url, pairs);
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n\
         Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nX-Twilio-Signature: {signature}\r\n\
         Content-Length: {length}\r\n\r\n{body}",
    );
    request.into_bytes()
}
