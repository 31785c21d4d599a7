//! Twilio's request signature: `X-Twilio-Signature` is the base64 of an HMAC-SHA1 with the account's auth token over
//! the full URL and, for a form, every pair sorted by name. (twilio.com/docs/usage/security, "Validating requests".)
//!
//! Twilio signs the URL as it was configured, and what reaches us may differ from it in three documented ways, each of
//! which is tried: credentials are never signed, the port may be missing or be the scheme's own, and a WebSocket's URL
//! may have got or lost a trailing slash.

use super::form::Form;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// What is signed besides the URL.
pub enum Payload<'a> {
    /// A request without a body: GET, or a WebSocket handshake.
    Nothing,
    /// A form, with all its pairs.
    Form(&'a Form<'a>),
    /// Any other body. The URL must carry its lower-case hexadecimal SHA-256 as `bodySHA256`.
    Bytes(&'a [u8]),
}

/// Checks signatures against one or several auth tokens; several while a token is being replaced.
pub struct Verifier {
    keys: Vec<Hmac<Sha1>>,
}

impl Verifier {
    /// A verifier that takes a signature made with any of `tokens`.
    pub fn new<'t>(tokens: impl IntoIterator<Item = &'t str>) -> Self {
        let keyed = tokens.into_iter().filter_map(|token| Hmac::new_from_slice(token.as_bytes()).ok());
        Self { keys: keyed.collect() }
    }

    /// Whether `signature`, the header's value, is the one of this request. `url` is the address Twilio called, as
    /// exactly as it is known: scheme, authority, and the request target untouched.
    pub fn accepts(&self, signature: Option<&[u8]>, url: &str, payload: &Payload<'_>) -> bool {
        // Decoding is strict (alphabet, padding, length), so comparing bytes is comparing the header's exact text.
        let mut claimed = [0; 21];
        let Some(Ok(20)) = signature.map(|text| STANDARD.decode_slice(text, &mut claimed)) else { return false };
        let claimed = &claimed[..20];
        let Some(url) = Url::split(url) else { return false };
        let pairs = match payload {
            Payload::Nothing => Vec::new(),
            Payload::Form(form) => sorted(form),
            Payload::Bytes(body) if is_hash_right(url.target, body) => Vec::new(),
            Payload::Bytes(_) => return false,
        };
        if self.signed(claimed, &url, url.target, &pairs) {
            return true;
        }
        url.is_websocket() && matches!(payload, Payload::Nothing) && self.signed_as_websocket(claimed, &url)
    }

    fn signed_as_websocket(&self, claimed: &[u8], url: &Url<'_>) -> bool {
        let (path, query) = url.target.split_once('?').map_or((url.target, None), |(path, query)| (path, Some(query)));
        let slashed = match (path.strip_suffix('/'), query) {
            (Some(bare), None) => Cow::Borrowed(bare),
            (Some(bare), Some(query)) => Cow::Owned(format!("{bare}?{query}")),
            (None, None) => Cow::Owned(format!("{path}/")),
            (None, Some(query)) => Cow::Owned(format!("{path}/?{query}")),
        };
        if self.signed(claimed, url, &slashed, &[]) {
            return true;
        }
        // Twilio's own server kit signs a handshake's query like the fields of a form.
        let Some(query) = query else { return false };
        self.signed(claimed, url, path, &sorted(&Form::parse(query.as_bytes())))
    }

    fn signed(&self, claimed: &[u8], url: &Url<'_>, target: &str, pairs: &[(&str, &str)]) -> bool {
        self.keys.iter().any(|key| {
            url.ports().any(|port| {
                let mut mac = key.clone();
                for text in [url.scheme, "://", url.host, port, target] {
                    mac.update(text.as_bytes());
                }
                for (name, value) in pairs {
                    mac.update(name.as_bytes());
                    mac.update(value.as_bytes());
                }
                mac.verify_slice(claimed).is_ok()
            })
        })
    }
}

/// The signature Twilio would send with this form posted to `url`.
///
/// ```
/// # use switchboard::twilio::{form::Form, signature::sign};
/// let form = Form::parse(b"CallSid=CA1&From=%2B14155550100");
/// assert_eq!(sign("12345", "https://example.com/twilio/voice", &form).len(), 28);
/// ```
pub fn sign(token: &str, url: &str, form: &Form<'_>) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.as_bytes()) else { return String::new() };
    mac.update(url.as_bytes());
    for (name, value) in sorted(form) {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// The pairs as they are signed: by name in byte order; of a repeated name each distinct value once, in byte order too.
fn sorted<'f>(form: &'f Form<'_>) -> Vec<(&'f str, &'f str)> {
    let mut pairs: Vec<_> = form.pairs().iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Whether the URL carries the SHA-256 of `body`; without it a body that is no form is not signed at all.
fn is_hash_right(target: &str, body: &[u8]) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let mut hashes = query.split('&').filter_map(|pair| pair.strip_prefix("bodySHA256=")).peekable();
    let right: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    hashes.peek().is_some() && hashes.all(|hash| hash == right)
}

/// A URL in the pieces that matter to the signature, none of them changed.
struct Url<'a> {
    scheme: &'a str,
    host: &'a str,
    /// With its colon; empty when the URL has none.
    port: &'a str,
    /// Path and query.
    target: &'a str,
}

impl<'a> Url<'a> {
    fn split(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
        // The colons of an IPv6 address stand in brackets.
        let colon = authority.rfind(':').filter(|colon| authority.rfind(']').is_none_or(|bracket| bracket < *colon));
        let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
        (!host.is_empty()).then_some(Self { scheme, host, port, target })
    }

    fn is_websocket(&self) -> bool {
        matches!(self.scheme, "ws" | "wss")
    }

    /// The ports that may have been signed: the one we see, none, and the scheme's own.
    fn ports(&self) -> impl Iterator<Item = &'a str> {
        let own = match self.scheme {
            "https" | "wss" => ":443",
            _ => ":80",
        };
        let none = (!self.port.is_empty()).then_some("");
        let own = (self.port != own).then_some(own);
        [Some(self.port), none, own].into_iter().flatten()
    }
}
