//! Whether the gateway is well; needs no key.

use super::Tag;
use super::outcome::{Outcome, UNREADY};
use super::problem::Problem;
use crate::app::App;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};
use std::sync::Arc;
use std::time::Duration;

/// How long the database may take for a sign of life.
const PATIENCE: Duration = Duration::from_secs(1);

/// The gateway's health.
#[derive(Object)]
#[oai(example)]
struct Health {
    /// The gateway itself, which answers.
    status: Status,
    /// The gateway's version.
    version: String,
    /// The database.
    database: Reach,
    /// Sending texts through Twilio.
    sending: Sending,
    /// Whole seconds since the gateway started.
    uptime_seconds: u64,
}

/// Of the gateway.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum Status {
    /// It answers.
    Ok,
}

/// Of the database.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum Reach {
    /// It answers.
    Ok,
    /// It does not answer within a second.
    Unreachable,
}

/// Of sending texts.
#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum Sending {
    /// Texts are sent.
    Ok,
    /// Twilio refuses the account's credentials: what is to be sent waits, and is tried now and then.
    Paused,
}

impl Example for Health {
    fn example() -> Self {
        Self {
            status: Status::Ok,
            version: "1.0.0".to_owned(),
            database: Reach::Ok,
            sending: Sending::Ok,
            uptime_seconds: 3600,
        }
    }
}

/// `/health`
#[derive(Clone, Copy)]
pub(super) struct HealthApi;

#[OpenApi(prefix_path = "/health", tag = "Tag::Health")]
impl HealthApi {
    /// Is the gateway running?
    ///
    /// Answers 200 as long as it is, also while the database is out of reach. Needs no key.
    #[oai(path = "/", method = "get", operation_id = "getHealth")]
    async fn health(&self, app: Data<&Arc<App>>) -> Json<Health> {
        Json(health(&app).await)
    }

    /// Can the gateway do its work?
    ///
    /// Answers 503 while the database is out of reach. Needs no key.
    #[oai(path = "/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, app: Data<&Arc<App>>) -> Outcome<Json<Health>, UNREADY> {
        match health(&app).await {
            Health { database: Reach::Unreachable, .. } => {
                Err(Problem::unavailable("The database is out of reach right now.", None).into())
            }
            well => Ok(Json(well)),
        }
    }
}

async fn health(app: &App) -> Health {
    let is_reached = matches!(tokio::time::timeout(PATIENCE, app.db.ping()).await, Ok(Ok(())));
    Health {
        status: Status::Ok,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database: if is_reached { Reach::Ok } else { Reach::Unreachable },
        sending: if app.outbox.replier().pause.is_on() { Sending::Paused } else { Sending::Ok },
        uptime_seconds: app.started.elapsed().as_secs(),
    }
}
