//! Names in URLs and parameters of ours that nobody can make up: what is named, until when, and a seal over both. Any
//! gateway with the same auth token can read them, so they work whichever instance is asked.

use crate::clock::Micros;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Length of a seal in bytes: 128 bits of the HMAC are as hard to guess as a random key.
const SEAL: usize = 16;

/// Makes and reads tokens.
pub struct Sealer {
    /// One of each auth token; the first one seals.
    keys: Vec<Hmac<Sha256>>,
}

impl Sealer {
    /// A sealer whose keys are derived from the account's auth tokens, of which there must be one: it seals with the
    /// first and opens what was sealed with any, so that instances understand each other while the token is changed.
    pub fn new(auth_tokens: &[SecretString]) -> Self {
        Self { keys: auth_tokens.iter().map(derive).collect() }
    }

    /// A token of letters, digits, `-`, `_` and `.` that names `content` for this `purpose` until `expires`.
    pub fn seal(&self, purpose: &str, content: &str, expires: Micros) -> String {
        let body = format!("{expires} {content}");
        let seal = mac(&self.keys[0], purpose, &body).finalize().into_bytes();
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&body), URL_SAFE_NO_PAD.encode(&seal[..SEAL]))
    }

    /// What a token names; `None` when it was made for another purpose or by somebody else, or its time is over.
    pub fn open(&self, purpose: &str, token: &str, now: Micros) -> Option<String> {
        let (body, seal) = token.split_once('.')?;
        let body = String::from_utf8(URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok().filter(|seal| seal.len() == SEAL)?;
        // Compares in constant time.
        self.keys.iter().find(|key| mac(key, purpose, &body).verify_truncated_left(&seal).is_ok())?;
        let (expires, content) = body.split_once(' ')?;
        (expires.parse::<Micros>().ok()? > now).then(|| content.to_owned())
    }
}

fn derive(auth_token: &SecretString) -> Hmac<Sha256> {
    // HMAC takes keys of any length; an empty one cannot be configured.
    let root = Hmac::<Sha256>::new_from_slice(auth_token.expose_secret().as_bytes());
    let mut root = root.expect("HMAC takes a key of any length");
    // Not the auth token itself: what is sealed here must never pass for a signature of Twilio's.
    root.update(b"switchboard tokens, version 1");
    Hmac::new_from_slice(&root.finalize().into_bytes()).expect("HMAC takes a key of any length")
}

fn mac(key: &Hmac<Sha256>, purpose: &str, body: &str) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(purpose.as_bytes());
    mac.update(b"\n");
    mac.update(body.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(token: &str) -> Sealer {
        Sealer::new(&[token.to_owned().into()])
    }

    #[test]
    fn tokens_are_read_while_the_auth_token_is_changed() {
        let both = Sealer::new(&["new".to_owned().into(), "old".to_owned().into()]);
        let (by_old, by_both) = (sealer("old").seal("speech", "turn 1 2", 100), both.seal("speech", "turn 1 2", 100));
        assert_eq!(both.open("speech", &by_old, 99).as_deref(), Some("turn 1 2"));
        assert_eq!(sealer("new").open("speech", &by_both, 99).as_deref(), Some("turn 1 2"));
        assert_eq!(sealer("old").open("speech", &by_both, 99), None);
        assert_eq!(both.open("speech", &sealer("other").seal("speech", "turn 1 2", 100), 99), None);
    }

    #[test]
    fn a_token_names_what_it_was_made_for_until_its_time_is_over() {
        let token = sealer("secret").seal("speech", "turn 1 2", 100);
        assert_eq!(sealer("secret").open("speech", &token, 99).as_deref(), Some("turn 1 2"), "any instance reads it");
        assert_eq!(sealer("secret").open("speech", &token, 100), None, "expired");
        assert_eq!(sealer("secret").open("relay", &token, 99), None, "another purpose");
        assert_eq!(sealer("other").open("speech", &token, 99), None, "another key");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{token}");
    }

    #[test]
    fn no_part_of_a_token_can_be_changed() {
        let sealer = sealer("secret");
        let token = sealer.seal("speech", "turn 1 2", 100);
        let (body, seal) = token.split_once('.').unwrap();
        let later = URL_SAFE_NO_PAD.encode("900 turn 1 2");
        for forged in [format!("{later}.{seal}"), format!("{body}."), format!("{body}.{}", &seal[..8]), body.to_owned()]
        {
            assert_eq!(sealer.open("speech", &forged, 99), None, "{forged}");
        }
    }
}
