//! Twilio's requests to the gateway: signed over the public address, sent to where the gateway listens, and kept.

use super::super::app::{Answer, TOKEN, TestApp};
use super::super::signing::{encode_form, sign};
use super::super::twiml::Twiml;
use super::super::wait::PATIENCE;
use std::time::{Duration, Instant};

/// Twilio waits this long for an answer to a webhook.
const TWILIO_PATIENCE: Duration = Duration::from_secs(15);

/// A request of Twilio's and what came of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The whole URL, as it was signed.
    pub url: String,
    /// The form's fields, in their order.
    pub fields: Vec<(String, String)>,
    /// What the gateway answered.
    pub answer: Answer,
    /// How long the answer took.
    pub took: Duration,
}

impl Exchange {
    /// The URL's path, with its query if there is one.
    pub fn path(&self) -> &str {
        target(&self.url)
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The answer as TwiML; panics when it is none.
    pub fn twiml(&self) -> Twiml {
        self.answer.voice()
    }
}

/// The way to one gateway.
#[derive(Clone)]
pub(super) struct Line {
    http: reqwest::Client,
    /// Where it listens.
    base: String,
    /// Its `PUBLIC_BASE_URL`, which Twilio calls and signs.
    public: Option<String>,
}

impl Line {
    pub fn to(app: &TestApp) -> Self {
        Self { http: app.http.clone(), base: app.base.clone(), public: app.public_url.clone() }
    }

    /// The way to a scripted server.
    pub fn to_address(base: &str) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE * 2).build().expect("a client can be built");
        Self { http, base: base.to_owned(), public: None }
    }

    /// The URL of a path of the gateway, as a number of ours is configured with it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.called())
    }

    /// `url` as it is meant in the document that came from `document`.
    pub fn resolve(&self, document: &str, url: &str) -> String {
        if url.contains("://") {
            return url.to_owned();
        }
        let base: reqwest::Url = document.parse().unwrap_or_else(|error| {
            panic!("{url:?} is relative, in a document without a URL of its own ({error}): Twilio refuses it (15004)")
        });
        base.join(url).unwrap_or_else(|error| panic!("{url:?}: {error}")).into()
    }

    pub async fn post(&self, url: &str, fields: &[(String, String)]) -> Exchange {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or(pair));
        assert!(names.is_sorted(), "Twilio may sort the query of {url} on the wire and sign it as it is");
        // Connection overrides are neither sent nor signed.
        let url = url.split('#').next().unwrap_or(url);
        let pairs: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = self.http.post(self.local(url)).header("host", authority(url));
        let request = request.header("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
        let request = request.header("x-twilio-signature", sign(TOKEN, url, &pairs)).body(encode_form(&pairs));
        let started = Instant::now();
        let answer = Answer::of(request).await;
        let took = started.elapsed();
        assert!(took < TWILIO_PATIENCE, "{url} took {took:?}: Twilio would have given up");
        Exchange { url: url.to_owned(), fields: fields.to_vec(), answer, took }
    }

    /// The handshake of a WebSocket at `url`, signed or not, as a plain request; the status it gets.
    pub async fn handshake_status(&self, url: &str, signature: Option<&str>) -> u16 {
        let mut request = self.http.get(self.local(url)).header("host", authority(url));
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            request = request.header(name, value);
        }
        if let Some(signature) = signature {
            request = request.header("x-twilio-signature", signature);
        }
        request.send().await.expect("an answer to the handshake").status().as_u16()
    }

    /// The URL that Twilio signs for a WebSocket at `url`: `url` itself. A gateway that knows no public address takes
    /// the plain connection of a test for what it is, `ws`.
    pub fn signed_socket_url(&self, url: &str) -> String {
        match self.public {
            Some(_) => url.to_owned(),
            None => url.replacen("wss://", "ws://", 1),
        }
    }

    /// A URL of the gateway that `other` leads to, as one of the gateway that this leads to.
    pub fn instead_of(&self, other: &Line, url: &str) -> String {
        url.replacen(other.called(), self.called(), 1)
    }

    /// Where `url`, one of the gateway's own, is reached from here.
    pub fn local(&self, url: &str) -> String {
        assert_eq!(authority(url), authority(self.called()), "{url} is not the gateway's");
        format!("{}{}", self.base, target(url))
    }

    fn called(&self) -> &str {
        self.public.as_deref().unwrap_or(&self.base)
    }
}

/// Host and port of a URL.
pub(super) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]
}

/// Path and query of a URL.
fn target(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find(['/', '?']).map_or("/", |start| &rest[start..])
}
