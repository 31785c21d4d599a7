//! Requests that must not be carried out twice: with the header `Idempotency-Key` a repetition gets the first answer
//! again.
//!
//! Only answers to what was done, or may have been done, are kept. A request that came to nothing is forgotten, so that
//! it may be tried again with the same key; one whose end is unknown is never tried again.

use super::outcome::Created;
use super::problem::{PROBLEM_JSON, Problem};
use super::text::{IdempotencyKey, Text};
use crate::app::App;
use crate::clock::micros;
use crate::db::idempotency::{KeyClaim, KeyedRequest};
use poem::error::ResponseError;
use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaResponses, Registry};
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};
use sha2::{Digest, Sha256};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{Instrument, error};

/// The name of the header, for fields of problems.
pub(super) const HEADER: &str = "Idempotency-Key";
/// Tells that an answer is an earlier one.
const REPLAYED: &str = "Idempotency-Replayed";
/// When the answer to a request in flight may be there.
const SOON: Duration = Duration::from_secs(2);
/// How long after `REQUEST_TIMEOUT` a request without an answer counts as lost with its process.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// An answer that is kept for repetitions.
pub(super) struct Kept {
    status: StatusCode,
    body: String,
}

impl Kept {
    /// 201 with what was made, as JSON.
    pub(super) fn created(body: String) -> Self {
        Self { status: StatusCode::CREATED, body }
    }

    /// A failure after something was done, or may have been done.
    pub(super) fn failed(problem: &Problem) -> Self {
        Self { status: problem.status(), body: problem.document() }
    }
}

/// The answer of an operation that makes a `T` at most once: a new one, or the first one again.
pub(super) struct Once<T> {
    kept: Kept,
    replayed: bool,
    made: PhantomData<fn() -> T>,
}

impl<T> Once<T> {
    /// Carries `work` out, at most once for each key. The work goes on when the client hangs up. Its `Err` says
    /// that nothing was done.
    ///
    /// # Errors
    /// 409 while the first request is in flight or when nobody knows how it ended, 422 when the key is another body's,
    /// and whatever `work` fails with.
    pub(super) async fn of(
        app: &Arc<App>,
        request: Option<KeyedRequest>,
        work: impl Future<Output = Result<Kept, Problem>> + Send + 'static,
    ) -> Result<Self, Problem> {
        let (done, answer) = oneshot::channel();
        let shared = app.clone();
        let task = async move {
            let outcome = match request {
                Some(request) => carry_out(&shared, &request, work).await,
                None => work.await.map(|kept| (kept, false)),
            };
            // Nobody may be left to hear it.
            done.send(outcome).ok();
        };
        app.outbox.spawn(task.in_current_span());
        let lost =
            || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong inside; the log tells more.");
        let (kept, replayed) = answer.await.map_err(|_| lost())??;
        Ok(Self { kept, replayed, made: PhantomData })
    }

    /// The answer to work that was done just now, and kept by the unit that did it.
    pub(super) fn now(kept: Kept) -> Self {
        Self { kept, replayed: false, made: PhantomData }
    }

    /// The answer to a request of which this is known.
    ///
    /// # Errors
    /// Those of [`Once::of`].
    pub(super) fn before(app: &App, known: KeyClaim) -> Result<Self, Problem> {
        Ok(Self { kept: earlier(app, known)?, replayed: true, made: PhantomData })
    }
}

/// A request with a key, if it has one; its answer is erased with the user it tells of.
pub(super) fn keyed(
    route: &'static str,
    key: Option<Text<IdempotencyKey>>,
    user_id: i64,
    body: &impl ToJSON,
) -> Option<KeyedRequest> {
    key.map(|key| KeyedRequest { route, key: key.into_inner(), fingerprint: fingerprint(body), user_id })
}

/// SHA-256 of a body as it was understood: neither blanks nor unknown fields make another one.
fn fingerprint(body: &impl ToJSON) -> String {
    Sha256::digest(body.to_json_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answer to a request with a key, and whether it is an earlier one.
async fn carry_out(
    app: &App,
    request: &KeyedRequest,
    work: impl Future<Output = Result<Kept, Problem>>,
) -> Result<(Kept, bool), Problem> {
    match app.db.claim_request(app.clock.now(), request).await? {
        KeyClaim::New => {}
        known => return Ok((earlier(app, known)?, true)),
    }
    let outcome = work.await;
    // Without this the key stays in flight, and a repetition is told so: nothing is done twice.
    let noted = match &outcome {
        Ok(kept) => app.db.keep_response(request, kept.status.as_u16(), &kept.body).await,
        Err(_) => app.db.release_request(request).await,
    };
    if let Err(cause) = noted {
        error!(route = request.route, error = %cause, "The answer to a request with an Idempotency-Key could not be kept");
    }
    outcome.map(|kept| (kept, false))
}

/// The answer to an earlier request with the same key.
fn earlier(app: &App, known: KeyClaim) -> Result<Kept, Problem> {
    let is_lost = |since| app.clock.now() - since > micros(app.config.request_timeout + LOST_AFTER);
    match known {
        KeyClaim::Answered { status, body } => {
            Ok(Kept { status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body })
        }
        KeyClaim::Other => Err(Problem::invalid_field(HEADER, "was used before, with another body")),
        KeyClaim::InFlight { since } if is_lost(since) => {
            let detail = "An earlier request with this Idempotency-Key was interrupted: nobody knows whether it was carried \
                          out. Look before you send it again with another key.";
            Err(Problem::conflict(detail))
        }
        KeyClaim::InFlight { .. } | KeyClaim::New => {
            let detail = "A request with this Idempotency-Key is still being carried out.";
            Err(Problem::conflict(detail).retry_after(SOON))
        }
    }
}

impl<T: Send> IntoResponse for Once<T> {
    fn into_response(self) -> Response {
        let is_problem = self.kept.status.is_client_error() || self.kept.status.is_server_error();
        let mut response = Response::builder().status(self.kept.status).content_type(if is_problem {
            PROBLEM_JSON
        } else {
            "application/json; charset=utf-8"
        });
        if self.replayed {
            response = response.header(REPLAYED, "true");
        }
        if self.kept.status == StatusCode::SERVICE_UNAVAILABLE {
            response = response.header(header::RETRY_AFTER, SOON.as_secs());
        }
        response.body(self.kept.body)
    }
}

impl<T: ParseFromJSON + ToJSON> ApiResponse for Once<T> {
    fn meta() -> MetaResponses {
        let mut meta = Created::<T>::meta();
        for response in &mut meta.responses {
            response.headers.push(MetaHeader {
                name: REPLAYED.to_owned(),
                description: Some("`true` when this is the answer to an earlier request with the same key.".to_owned()),
                required: false,
                deprecated: false,
                schema: bool::schema_ref(),
            });
        }
        meta
    }

    fn register(registry: &mut Registry) {
        Created::<T>::register(registry);
    }
}
