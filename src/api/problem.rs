//! What a client is told when something fails: RFC 9457 problems, `application/problem+json`.

use crate::conversation::service::AnswerError;
use crate::db::DbError;
use crate::llm::LlmError;
use poem::error::{
    MethodNotAllowedError, NotFoundError, ParsePathError, ReadBodyError, ResponseError, SizedLimitError,
};
use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem::{Body, Response};
use poem_openapi::Object;
use poem_openapi::error::AuthorizationError;
use poem_openapi::types::{Example, ToJSON};
use std::borrow::Cow;
use std::time::Duration;
use tracing::{error, warn};

/// The media type of problems.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// When a client may ask again, if nobody knows better.
const LATER: Duration = Duration::from_secs(5);

/// A failure, as the client is told it. Holds nothing internal.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A failure with this status; `detail` is a sentence for the person who sent the request.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), headers: Vec::new() }
    }

    /// 404.
    pub(super) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: what is named is not in a state for this.
    pub(super) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 422: these fields or parameters are not as they must be.
    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|error| format!("{} {}.", error.field, error.message)).collect::<Vec<_>>();
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail.join(" ")) }
    }

    /// 422 over one field.
    pub(super) fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, message)])
    }

    /// 503, with the time after which trying again may help.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: Option<Duration>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(retry_after.unwrap_or(LATER))
    }

    /// Tells the time after which trying again may help.
    pub(super) fn retry_after(self, time: Duration) -> Self {
        self.with(header::RETRY_AFTER, HeaderValue::from(time.as_secs_f64().ceil().max(1.0) as u64))
    }

    /// 405, with what would be allowed (RFC 9110 asks for it).
    pub fn method_not_allowed(allow: Option<HeaderValue>) -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "This address does not take that method.");
        allow.into_iter().fold(problem, |problem, allow| problem.with(header::ALLOW, allow))
    }

    fn unauthorized() -> Self {
        let detail = "Send the gateway's key in the header X-API-Key, or as Authorization: Bearer.";
        Self::new(StatusCode::UNAUTHORIZED, detail).with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong inside; the log tells more.")
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// How an error of the framework is told.
    fn of(error: &poem::Error) -> Self {
        let status = error.status();
        if error.is::<NotFoundError>() || error.is::<ParsePathError>() {
            Self::not_found("There is nothing at this address.")
        } else if error.is::<MethodNotAllowedError>() {
            // Only webhooks come here: the REST API names its methods itself.
            Self::method_not_allowed(Some(HeaderValue::from_static("POST")))
        } else if error.is::<AuthorizationError>() {
            Self::unauthorized()
        } else if let Some(ReadBodyError::Io(_)) = error.downcast_ref() {
            Self::new(status, "The body ended early.")
        } else if error.is::<SizedLimitError>() {
            Self::new(status, "The body may have at most 1 MB.")
        } else if status.is_client_error() {
            Self::new(status, error.to_string())
        } else {
            error!(%error, "A request failed");
            Self::internal()
        }
    }
}

impl Problem {
    /// The document that the client gets, as JSON.
    pub(super) fn document(&self) -> String {
        let document = ProblemDocument {
            status: self.status.as_u16(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            detail: self.detail.clone().into_owned(),
            errors: self.errors.clone(),
        };
        document.to_json_string()
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }

    fn as_response(&self) -> Response {
        let mut response =
            Response::builder().status(self.status).content_type(PROBLEM_JSON).body(Body::from(self.document()));
        response.headers_mut().extend(self.headers.iter().cloned());
        response
    }
}

/// The answer to a request that failed with `error`. An error that is a response of its own is passed through.
pub fn problem_response(error: poem::Error) -> Response {
    if error.is_from_response() || error.is::<Problem>() {
        return error.into_response();
    }
    Problem::of(&error).as_response()
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Taken { field } if field == "user_preferences.user_id" => {
                Self::new(StatusCode::BAD_REQUEST, "This user has preferences already; change those.")
            }
            DbError::Taken { field } => {
                let field = field.rsplit('.').next().unwrap_or_default();
                let errors = vec![FieldError::new(field, "is taken")];
                let detail = format!("The {} is taken by another user.", field.replace('_', " "));
                Self { errors, ..Self::new(StatusCode::BAD_REQUEST, detail) }
            }
            DbError::NoParent => Self::not_found("There is no such user."),
            DbError::OutOfReach(_) => {
                warn!(%error, "The database is out of reach");
                Self::unavailable("The database is out of reach right now.", None)
            }
            DbError::Failed(_) => {
                error!(%error, "The database failed");
                Self::internal()
            }
        }
    }
}

impl From<LlmError> for Problem {
    fn from(error: LlmError) -> Self {
        warn!(%error, "The model gave no answer");
        let detail = match error {
            LlmError::Timeout => "The model did not answer in time.",
            _ => "The model has no answer right now.",
        };
        Self::unavailable(detail, error.retry_after())
    }
}

impl From<AnswerError> for Problem {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Llm(error) => error.into(),
            AnswerError::Db(error) => error.into(),
        }
    }
}

/// What went wrong with a request (RFC 9457).
#[derive(Debug, Object)]
#[oai(rename = "Problem", example)]
pub(super) struct ProblemDocument {
    /// The HTTP status.
    #[oai(validator(minimum(value = "400"), maximum(value = "599")))]
    status: u16,
    /// The status in words.
    title: String,
    /// What is wrong, in a sentence or a few.
    detail: String,
    /// The fields or parameters that are wrong, where single ones are.
    #[oai(skip_serializing_if_is_empty, default)]
    errors: Vec<FieldError>,
}

impl Example for ProblemDocument {
    fn example() -> Self {
        let error = FieldError::new("phone_number", "must be a telephone number in E.164 form, such as +14155550123");
        Self {
            status: 422,
            title: "Unprocessable Entity".to_owned(),
            detail: format!("{} {}.", error.field, error.message),
            errors: vec![error],
        }
    }
}

/// What is wrong with one field or parameter.
#[derive(Debug, Clone, Object)]
pub(super) struct FieldError {
    /// Its name.
    field: String,
    /// What it must be.
    message: String,
}

impl FieldError {
    /// Says of `field` that it e.g. "must not be null".
    pub(super) fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into() }
    }
}
