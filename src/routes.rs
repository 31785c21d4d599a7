//! Every URL, and what happens to each request on its way to one.

use crate::api;
use crate::app::App;
use crate::config::CorsOrigins;
use crate::webhooks::{machine, relay, sms, speech, status, voice};
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use poem::middleware::{CatchPanic, Cors};
use poem::{Endpoint, EndpointExt, Error, Request, Response, Result, Route, get, post};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::{Instrument, Level, debug, enabled, error, info_span};

/// All URLs of the gateway.
fn urls(app: &Arc<App>) -> Route {
    Route::new()
        .at("/twilio/voice", post(voice::incoming))
        .at("/twilio/voice/placed/:order", post(voice::placed))
        .at("/twilio/voice/status", post(status::call))
        .at("/twilio/voice/answered-by", post(machine::answered_by))
        .at("/twilio/voice/message", post(machine::message))
        .at("/twilio/voice/recording", post(status::recording))
        .at("/twilio/voice/turns/:n", post(voice::turn))
        .at("/twilio/voice/turns/:n/parts/:k", post(voice::part))
        .at("/twilio/voice/turns/:n/transferred", post(voice::transferred))
        .at("/twilio/voice/turns/:n/offer", post(voice::offer))
        .at("/twilio/voice/turns/:n/recorded", post(voice::recorded))
        .at("/twilio/relay", get(relay::open))
        // Twilio may put a slash at the end of a WebSocket's URL, and signs it with it.
        .at("/twilio/relay/", get(relay::open))
        .at("/twilio/relay/ended", post(relay::ended::session_ended))
        .at("/twilio/sms", post(sms::incoming))
        .at("/twilio/sms/status", post(status::message))
        .at("/twilio/sms/status/:job", post(status::message_of_job))
        .at("/twilio/sms/status/:job/:position", post(status::part_of_job))
        .at("/speech/:token", get(speech::sound))
        .nest_no_strip("/", api::routes(app))
}

/// The gateway as the server serves it: every request passes `Front` first.
pub fn gateway(app: Arc<App>) -> impl Endpoint<Output = Response> + 'static {
    let urls: Arc<BoxEndpoint<'static>> = Arc::new(
        urls(&app)
            .data(app.clone())
            .with(CatchPanic::new().with_handler(|panic: Box<dyn std::any::Any + Send>| {
                let reason = panic.downcast_ref::<String>().map(String::as_str);
                let reason = reason.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
                error!(reason, "A handler panicked");
                api::problem_response(Error::from_status(StatusCode::INTERNAL_SERVER_ERROR))
            }))
            .boxed(),
    );
    let cors = urls.clone().with(cors(&app)).boxed();
    let process = uuid::Uuid::new_v4().as_u64_pair().0;
    Front { app, urls, cors, process, requests: AtomicU64::new(1) }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The pages under `/docs` and `/redoc` bring their scripts and styles inside; nothing may load anything from
/// elsewhere.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const NO_PAGE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// What every request passes: the host is one of ours, the path is brought to its canonical form, foreign origins to
/// CORS, failures to their JSON form, and the answer gets its headers and its log line.
struct Front {
    app: Arc<App>,
    urls: Arc<BoxEndpoint<'static>>,
    cors: BoxEndpoint<'static>,
    /// Tells this process's request ids from another one's.
    process: u64,
    requests: AtomicU64,
}

impl Endpoint for Front {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let id = self.request_id();
        let span = info_span!("request", request.id = id);
        let started = std::time::Instant::now();
        let told = enabled!(Level::DEBUG).then(|| format!("{} {}", request.method(), request.uri().path()));
        let is_page = matches!(request.uri().path().trim_end_matches('/'), "/docs" | "/redoc");
        let outcome = async {
            self.check_host(&request)?;
            self.set_path(&mut request)?;
            let own_or_none = request.header(header::ORIGIN).is_none_or(|origin| self.is_own(origin, &request));
            if own_or_none { self.urls.call(request).await } else { self.cors.call(request).await }
        };
        let mut response = outcome.instrument(span.clone()).await.unwrap_or_else(api::problem_response);
        let _in_span = span.enter();
        if let Some(told) = told {
            let request_ms = started.elapsed().as_millis();
            debug!(http.status = response.status().as_u16(), request_ms, "Answered {told}");
        }
        self.set_headers(response.headers_mut(), &id, is_page);
        Ok(response)
    }
}

impl Front {
    fn request_id(&self) -> String {
        format!("{:016x}-{:x}", self.process, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// A request must name one of our hosts, if they are configured.
    fn check_host(&self, request: &Request) -> Result<()> {
        let trusted = &self.app.config.trusted_hosts;
        if trusted.is_empty() {
            return Ok(());
        }
        let authority = request.header(header::HOST).or_else(|| request.uri().host()).unwrap_or_default();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
            _ => authority,
        };
        match trusted.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            true => Ok(()),
            false => Err(Error::from_string("This host is not served here.", StatusCode::BAD_REQUEST)),
        }
    }

    /// Takes the public address's prefix off, if the proxy in front has left it on, and brings the paths of the REST
    /// API to the one of their two spellings that is routed. Webhooks' paths are signed and stay as they are.
    fn set_path(&self, request: &mut Request) -> Result<()> {
        let prefix = self.app.config.public_url.as_ref().map_or("", |url| url.path_prefix());
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let stripped = target.strip_prefix(prefix).filter(|rest| !prefix.is_empty() && rest.starts_with(['/', '?']));
        let target = stripped.unwrap_or(target);
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let canonical = api::canonical_path(path);
        if stripped.is_none() && canonical == path {
            return Ok(());
        }
        let target = query.map_or_else(|| canonical.to_string(), |query| format!("{canonical}?{query}"));
        let uri: Uri = target.parse().map_err(|_| Error::from_status(StatusCode::BAD_REQUEST))?;
        *request.uri_mut() = uri;
        Ok(())
    }

    /// Whether a page of ours asks: those need no permission, whichever origins are configured.
    fn is_own(&self, origin: &str, request: &Request) -> bool {
        let public = self.app.config.public_url.as_ref();
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && (host == request.header(header::HOST) || host == public.map(|url| url.authority()))
    }

    fn set_headers(&self, headers: &mut HeaderMap, id: &str, is_page: bool) {
        let policy = if is_page { PAGE_POLICY } else { NO_PAGE_POLICY };
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, id);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if self.app.config.public_url.as_ref().is_some_and(|url| url.is_https()) {
            let year = HeaderValue::from_static("max-age=31536000");
            headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
        }
    }
}

/// CORS as configured: never with credentials. An origin that is not listed gets 403.
fn cors(app: &App) -> Cors {
    let cors = Cors::new()
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            HeaderName::from_static("x-api-key"),
            IDEMPOTENCY_KEY,
        ])
        .expose_headers([REQUEST_ID, IDEMPOTENCY_REPLAYED])
        .max_age(i32::try_from(Duration::from_secs(3600).as_secs()).unwrap_or(i32::MAX));
    match &app.config.cors_origins {
        CorsOrigins::Any => cors.allow_origins_fn(|_| true),
        CorsOrigins::List(origins) => {
            let origins = origins.clone();
            cors.allow_origins_fn(move |origin| origins.iter().any(|listed| listed == origin))
        }
    }
}
