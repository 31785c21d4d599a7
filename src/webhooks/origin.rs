//! The address Twilio called, as it must be known to check the signature over it.

use crate::app::App;
use crate::config::PublicUrl;
use poem::http::HeaderMap;
use poem::web::Data;
use poem::{FromRequest, Request, RequestBody, Result};
use std::sync::Arc;

/// The address of a request, for handlers that name others of ours beside it.
pub struct CalledUrl(String);

impl<'r> FromRequest<'r> for CalledUrl {
    async fn from_request(request: &'r Request, _body: &mut RequestBody) -> Result<Self> {
        let app: Data<&Arc<App>> = Data::from_request_without_body(request).await?;
        Ok(Self(url_of(request, &app)))
    }
}

impl CalledUrl {
    /// The address of a WebSocket of ours, whose path is `link`. Twilio takes no other scheme than `wss`.
    pub fn socket(&self, link: &str) -> String {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        format!("wss://{authority}{link}")
    }
}

/// The URL of a request.
pub fn url_of(request: &Request, app: &App) -> String {
    let peer = request.remote_addr().as_socket_addr().map(|address| address.ip());
    let trusted = peer.is_some_and(|ip| app.config.trusted_proxies.iter().any(|net| net.contains(ip)));
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    called_url(request.headers(), target, app.config.public_url.as_ref(), trusted)
}

/// The URL of a request whose raw target (path and query, untouched) is `target`: below the `public` address if one is
/// configured; else put together from `Host`, and from what proxies tell in `Forwarded` or `X-Forwarded-*` if the peer
/// is `trusted`. Of a list the first entry counts: it is the one nearest to the client.
pub fn called_url(headers: &HeaderMap, target: &str, public: Option<&PublicUrl>, trusted: bool) -> String {
    if let Some(public) = public {
        return format!("{}{target}", public.base());
    }
    let told = if trusted { Forwarded::read(headers) } else { Forwarded::default() };
    let scheme = match told.scheme {
        Some("https" | "wss") => "https",
        _ => "http",
    };
    let host = told.host.or_else(|| text(headers, "host")).unwrap_or_default();
    match told.port {
        Some(port) if !host.ends_with(|c: char| c.is_ascii_digit()) || !host.contains(':') => {
            format!("{scheme}://{host}:{port}{target}")
        }
        _ => format!("{scheme}://{host}{target}"),
    }
}

/// What a proxy tells of the request it got.
#[derive(Default)]
struct Forwarded<'h> {
    scheme: Option<&'h str>,
    host: Option<&'h str>,
    port: Option<&'h str>,
}

impl<'h> Forwarded<'h> {
    fn read(headers: &'h HeaderMap) -> Self {
        let mut told = Self {
            scheme: first(headers, "x-forwarded-proto"),
            host: first(headers, "x-forwarded-host"),
            port: first(headers, "x-forwarded-port"),
        };
        // RFC 7239: `for=…;proto=https;host=…`, a comma between proxies.
        for pair in first(headers, "forwarded").unwrap_or_default().split(';') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "proto" => told.scheme = Some(value),
                "host" => told.host = Some(value),
                _ => {}
            }
        }
        told
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn first<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    text(headers, name)?.split(',').next().map(str::trim).filter(|value| !value.is_empty())
}
