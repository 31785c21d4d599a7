//! placeholder
use crate::app::App;
use std::borrow::Cow;
use std::sync::Arc;
/// x
pub fn routes(_: &Arc<App>) -> poem::Route {
    poem::Route::new()
}
/// x
pub fn canonical_path(path: &str) -> Cow<'_, str> {
    Cow::Borrowed(path)
}
/// x
pub fn problem_response(error: poem::Error) -> poem::Response {
    error.into_response()
}
