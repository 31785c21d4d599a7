//! The documentation: the OpenAPI document, and two pages that show it without loading anything from elsewhere.

use super::Operations;
use hyper::body::Bytes;
use poem::endpoint::make_sync;
use poem::{Body, Endpoint, Response, Route, get};
use poem_openapi::OpenApiService;
use std::sync::LazyLock;

/// The one thing that ReDoc's page would load from elsewhere.
const FONTS: &str = concat!(
    r#"<link href="https://fonts.googleapis.com/css?family=Montserrat:300,400,700|Roboto:300,400,700" "#,
    r#"rel="stylesheet">"#
);

/// `/openapi.json`, `/docs` and `/redoc`.
pub(super) fn routes(service: &OpenApiService<Operations, ()>) -> Route {
    let (document, swagger, redoc) = (service.clone(), service.clone(), service.clone());
    Route::new()
        .at("/openapi.json", get(page("application/json", move || document.spec())))
        .at("/docs", get(page("text/html; charset=utf-8", move || safe(&swagger.swagger_ui_html(), &swagger.spec()))))
        .at(
            "/redoc",
            get(page("text/html; charset=utf-8", move || safe(&redoc.redoc_html().replace(FONTS, ""), &redoc.spec()))),
        )
}

/// A page that is made when it is first asked for: few ask, and the pages are large.
fn page(content_type: &'static str, make: impl FnOnce() -> String + Send + 'static) -> impl Endpoint {
    let page = LazyLock::new(move || Bytes::from(make()));
    make_sync(move |_| Response::builder().content_type(content_type).body(Body::from_bytes(Bytes::clone(&page))))
}

/// The page with its embedded document written so that nothing in it can be taken for markup.
fn safe(page: &str, document: &str) -> String {
    page.replace(document, &document.replace('<', "\\u003c"))
}
