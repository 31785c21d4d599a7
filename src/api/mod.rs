//! The REST API of the operator: users, preferences, voices, conversations, decisions, history and health, and the
//! documentation that is made of the same code.

mod auth;
mod call_details;
mod calls;
mod conversation;
mod docs;
mod drafts;
mod health;
mod history;
mod history_entries;
mod idempotency;
mod jobs;
mod opt_outs;
mod outcome;
mod paths;
mod preferences;
mod problem;
mod request;
mod sends;
mod sms;
mod text;
mod users;
mod values;
mod voices;

pub use paths::canonical_path;
pub use problem::problem_response;

use crate::app::App;
use crate::config::Config;
use outcome::Documented;
use poem::error::MethodNotAllowedError;
use poem::http::HeaderValue;
use poem::{Endpoint, EndpointExt, IntoEndpoint, PathPattern, Response};
use poem_openapi::{ContactObject, LicenseObject, OpenApiService, ServerObject, Tags};
use problem::Problem;
use std::sync::Arc;
use tokio::time::timeout;

/// The parts of the REST API.
#[derive(Tags)]
enum Tag {
    /// The people the gateway knows.
    Users,
    /// How users want to be spoken to.
    Preferences,
    /// The voices that preferences may name.
    Voices,
    /// Talking with the model.
    Conversation,
    /// Calling people, and calls as they go on.
    Calls,
    /// Deciding about texts, drafts, and texts to users.
    #[oai(rename = "SMS")]
    Sms,
    /// What was said, called and written.
    History,
    /// What is still to be done.
    Jobs,
    /// Whether the gateway is well.
    Health,
}

/// All operations.
type Operations = Documented<(
    users::UsersApi,
    preferences::PreferencesApi,
    voices::VoicesApi,
    conversation::ConversationApi,
    calls::CallsApi,
    sms::SmsApi,
    drafts::DraftsApi,
    sends::SendsApi,
    opt_outs::OptOutsApi,
    history::HistoryApi,
    jobs::JobsApi,
    health::HealthApi,
)>;

const OPERATIONS: Operations = Documented((
    users::UsersApi,
    preferences::PreferencesApi,
    voices::VoicesApi,
    conversation::ConversationApi,
    calls::CallsApi,
    sms::SmsApi,
    drafts::DraftsApi,
    sends::SendsApi,
    opt_outs::OptOutsApi,
    history::HistoryApi,
    jobs::JobsApi,
    health::HealthApi,
));

/// The REST API and its documentation.
pub fn routes(app: &Arc<App>) -> impl Endpoint<Output = Response> + use<> {
    let service = service(&app.config);
    let docs = docs::routes(&service);
    let limit = app.config.request_timeout;
    let operations = service.into_endpoint().around(move |operation, request| async move {
        match timeout(limit, operation.call(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Problem::unavailable("The answer took too long.", None).into()),
        }
    });
    let methods = paths::methods(OPERATIONS);
    let pages = HeaderValue::from_static("GET, HEAD");
    let all = docs.nest_no_strip("/", operations).data(app.clone());
    all.around(move |routes, request| {
        let (methods, pages) = (methods.clone(), pages.clone());
        async move {
            routes.call(request).await.map_err(|error| {
                if !error.is::<MethodNotAllowedError>() {
                    return error;
                }
                let allowed = error.data::<PathPattern>().and_then(|pattern| methods.get(&*pattern.0));
                Problem::method_not_allowed(Some(allowed.unwrap_or(&pages).clone())).into()
            })
        }
    })
}

fn service(config: &Config) -> OpenApiService<Operations, ()> {
    let service = OpenApiService::new(OPERATIONS, &config.app_name, env!("CARGO_PKG_VERSION"))
        .description(
            "A gateway between Twilio and a language model. Failures are problems (RFC 9457) of type \
             `application/problem+json`. Times are RFC 3339 in UTC. Paths answer with and without a slash at the end.",
        )
        .contact(ContactObject::new().name(&config.app_name))
        .license(LicenseObject::new("MIT").url("https://opensource.org/license/mit"))
        .server(ServerObject::new("/").description("Where this documentation comes from"));
    match &config.public_url {
        Some(url) => service.server(ServerObject::new(url.base()).description("The gateway's public address")),
        None => service,
    }
}
