//! What operations answer, and how the documentation tells of their failures.

use super::problem::{PROBLEM_JSON, Problem, ProblemDocument};
use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::payload::Json;
use poem_openapi::registry::{
    MetaApi, MetaHeader, MetaMediaType, MetaOperation, MetaResponse, MetaResponses, Registry,
};
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};
use poem_openapi::{ApiResponse, OpenApi};
use std::collections::HashMap;

/// The answer of an operation, or a failure. `FAILURES` are the documented ones ([`NOT_FOUND`] …); those that
/// follow from an operation's form (a key, parameters, a body) are added by [`Documented`].
pub(super) type Outcome<T, const FAILURES: u8 = 0> = Result<T, Failure<FAILURES>>;

/// The operation answers 404 when what it names does not exist.
pub(super) const NOT_FOUND: u8 = 1;
/// The operation answers 400 when a value must be unique and is taken.
pub(super) const TAKEN: u8 = 2;
/// The operation answers 503 when the gateway cannot do its work.
pub(super) const UNREADY: u8 = 4;
/// The operation answers 409 when what it names is not in a state for it.
pub(super) const CONFLICT: u8 = 8;
/// The operation answers 502 when Twilio refuses what it is asked.
pub(super) const REFUSED: u8 = 16;

/// A [`Problem`] of an operation that is documented to have such.
pub(super) struct Failure<const FAILURES: u8>(Problem);

impl<const FAILURES: u8, E: Into<Problem>> From<E> for Failure<FAILURES> {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl<const FAILURES: u8> From<Failure<FAILURES>> for poem::Error {
    fn from(failure: Failure<FAILURES>) -> Self {
        failure.0.into()
    }
}

impl<const FAILURES: u8> ApiResponse for Failure<FAILURES> {
    fn meta() -> MetaResponses {
        let mut responses = Vec::new();
        if FAILURES & NOT_FOUND != 0 {
            responses.push(failure(404));
        }
        if FAILURES & TAKEN != 0 {
            let description = "A value that must be unique is taken, or this host is not served here.";
            responses.push(MetaResponse { description, ..failure(400) });
        }
        if FAILURES & CONFLICT != 0 {
            responses.push(failure(409));
        }
        if FAILURES & REFUSED != 0 {
            responses.push(failure(502));
        }
        if FAILURES & UNREADY != 0 {
            responses.push(failure(503));
        }
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        ProblemDocument::register(registry);
    }
}

/// 201 with what was made.
#[derive(ApiResponse)]
pub(super) enum Created<T: ParseFromJSON + ToJSON> {
    /// It was made.
    #[oai(status = 201)]
    Created(Json<T>),
}

/// 204.
#[derive(ApiResponse)]
pub(super) enum Deleted {
    /// It is gone.
    #[oai(status = 204)]
    Deleted,
}

/// Operations whose documentation tells all their failures.
#[derive(Clone, Copy)]
pub(super) struct Documented<T>(pub(super) T);

impl<T: OpenApi> OpenApi for Documented<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        let paths = apis.iter_mut().flat_map(|api| &mut api.paths);
        paths.flat_map(|path| &mut path.operations).for_each(complete);
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
        ProblemDocument::register(registry);
    }

    fn add_routes(self, routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        self.0.add_routes(routes);
    }
}

/// Adds the failures that follow from the operation's form. Every operation that asks for a key works on the database;
/// one that asks for none says so.
fn complete(operation: &mut MetaOperation) {
    let asks_for_key = !operation.security.is_empty();
    let has_body = operation.request.is_some();
    let is_checked = has_body || !operation.params.is_empty();
    let responses = &mut operation.responses.responses;
    let follow: [(bool, &[u16]); 4] =
        [(true, &[400, 403]), (asks_for_key, &[401, 500, 503]), (has_body, &[408, 413, 415]), (is_checked, &[422])];
    for (applies, statuses) in follow {
        for status in statuses.iter().filter(|_| applies) {
            if responses.iter().all(|response| response.status != Some(*status)) {
                responses.push(failure(*status));
            }
        }
    }
    responses.sort_by_key(|response| response.status);
    if !asks_for_key {
        operation.security.push(HashMap::new());
    }
    for response in responses {
        if response.description.is_empty() {
            response.description = "As asked.";
        }
        for content in &mut response.content {
            // UTF-8 is JSON's only encoding (RFC 8259), so the documentation leaves the charset out.
            content.content_type = content.content_type.strip_suffix("; charset=utf-8").unwrap_or(content.content_type);
        }
    }
}

/// The documentation of one failure.
fn failure(status: u16) -> MetaResponse {
    let (description, header) = match status {
        400 => ("This host is not served here (`TRUSTED_HOSTS`).", None),
        401 => ("The key is missing or wrong.", Some(("WWW-AUTHENTICATE", "How to send the key."))),
        403 => ("Pages of this origin may not call this API (`CORS_ORIGINS`).", None),
        404 => ("What is named does not exist.", None),
        408 => ("The body did not come in time.", None),
        409 => ("What is named is not in a state for this, or the same request is still being carried out.", None),
        413 => ("The body is larger than 1 MB.", None),
        415 => ("The body is not declared as JSON.", None),
        422 => ("Fields or parameters are not as they must be; `errors` tells of each.", None),
        502 => ("Twilio refuses it.", None),
        503 => (
            "The database, the model or Twilio cannot answer right now, or a setting is missing; `detail` tells which.",
            Some(("RETRY-AFTER", "Seconds after which trying again may help.")),
        ),
        _ => ("Something went wrong inside; the log tells more.", None),
    };
    let headers = header.map(|(name, description)| MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: true,
        deprecated: false,
        schema: if status == 503 { u32::schema_ref() } else { String::schema_ref() },
    });
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: PROBLEM_JSON, schema: ProblemDocument::schema_ref() }],
        headers: headers.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Operations;
    use super::*;

    #[test]
    fn every_operation_is_described_and_asks_for_a_key_unless_it_is_about_health() {
        for api in Operations::meta() {
            for path in api.paths {
                for operation in path.operations {
                    let no_key = operation.security.iter().any(HashMap::is_empty);
                    assert_eq!(no_key, path.path.starts_with("/health"), "{}", path.path);
                    assert!(operation.operation_id.is_some() && operation.description.is_some(), "{}", path.path);
                }
            }
        }
    }
}
