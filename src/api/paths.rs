//! The two spellings of a path, and the methods that each path takes.

use poem::http::{HeaderValue, Method};
use poem_openapi::OpenApi;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The declared spelling of a path, which has no slash at its end: each may be asked for with one too. The paths of
/// webhooks are signed and stay as they are.
pub fn canonical_path(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some(bare) if !bare.is_empty() && !bare.ends_with('/') && !bare.starts_with("/twilio/") => bare,
        _ => path,
    }
}

/// The methods of every path of `api`, as the `Allow` header lists them, under the path's pattern in poem's router.
pub(super) fn methods(api: impl OpenApi) -> Arc<HashMap<String, HeaderValue>> {
    let mut routes = HashMap::new();
    api.add_routes(&mut routes);
    let allow = routes.into_iter().filter_map(|(pattern, operations)| {
        let mut methods: BTreeSet<String> = operations.keys().map(Method::to_string).collect();
        if operations.contains_key(&Method::GET) {
            methods.insert(Method::HEAD.to_string());
        }
        let methods: Vec<String> = methods.into_iter().collect();
        Some((pattern, HeaderValue::from_str(&methods.join(", ")).ok()?))
    });
    Arc::new(allow.collect())
}

#[cfg(test)]
mod tests {
    use super::super::OPERATIONS;
    use super::*;

    #[test]
    fn every_declared_path_is_found_in_both_spellings() {
        for pattern in methods(OPERATIONS).keys() {
            assert_eq!(canonical_path(pattern), pattern);
            assert_eq!(canonical_path(&format!("{pattern}/")), pattern);
        }
    }

    #[test]
    fn webhooks_and_odd_paths_stay_as_they_are() {
        for path in ["/", "//", "/users//", "/twilio/sms/", "/twilio/voice/turns/1/", "", "*"] {
            assert_eq!(canonical_path(path), path);
        }
        assert_eq!(canonical_path("/docs/"), "/docs");
        assert_eq!(canonical_path("/unknown/"), "/unknown");
    }

    #[test]
    fn methods_are_listed_with_the_head_that_every_get_brings() {
        assert_eq!(methods(OPERATIONS)["/users/:param0"], "DELETE, GET, HEAD, PUT");
    }
}
