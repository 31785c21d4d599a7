//! `switchboard serve`: runs the gateway until it is told to stop.

use super::configuration;
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::process::ExitCode;
use switchboard::clock::Clock;
use switchboard::config::Config;
use switchboard::gateway::Gateway;
use switchboard::telemetry;
use tracing::{info, warn};

/// Runs the command.
pub async fn run() -> ExitCode {
    let (config, warnings) = match configuration() {
        Ok(read) => read,
        Err(status) => return status,
    };
    telemetry::init(&config.log);
    for warning in &warnings {
        warn!("{}", warning.0);
    }
    let mut stopping = match Stopping::listen() {
        Ok(stopping) => stopping,
        Err(error) => {
            eprintln!("Cannot listen for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let gateway = match Gateway::start(config, Clock::default()).await {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("Switchboard cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", welcome(&gateway.app().config, gateway.address()));
    info!(address = %gateway.address(), database = gateway.app().db.kind(), "Started");
    stopping.wait().await;
    info!("Stopping: the requests in flight are finished first");
    gateway.stop().await;
    info!("Stopped");
    ExitCode::SUCCESS
}

/// What the operator sees first: the addresses, a key that was made up, and what to do next.
fn welcome(config: &Config, address: SocketAddr) -> String {
    let local = format!("http://{address}");
    let public =
        config.public_url.as_ref().map_or_else(|| "https://<your public address>".to_owned(), |url| url.base());
    let mut text = format!(
        "{} {} listens on {local}\n\
         \x20 REST API   {local}/docs (Swagger UI), {local}/redoc, {local}/openapi.json\n\
         \x20 Health     {local}/health\n\
         \x20 Webhooks   {public}/twilio/voice and {public}/twilio/sms\n",
        config.app_name,
        env!("CARGO_PKG_VERSION"),
    );
    if config.admin_api_key_generated {
        let key = config.admin_api_key.expose_secret();
        text += &format!(
            "\nADMIN_API_KEY is not set. For this run it is:\n  {key}\nIt is shown this once; set your own to keep it.\n"
        );
    }
    let mut next = Vec::new();
    if config.auth_token_generated {
        next.push("Set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN: until then every webhook is refused.");
    }
    if config.public_url.is_none() {
        next.push("Set PUBLIC_BASE_URL to the https address under which Twilio reaches this gateway.");
    }
    if !config.llm.is_configured() {
        next.push(
            "Set OPENAI_API_KEY (or OPENAI_BASE_URL): until then a built-in stand-in answers, which is no model.",
        );
    }
    if !next.is_empty() {
        text += "\nNext (README.md tells how; settings go into .env):\n";
        for (number, step) in (1..).zip(&next) {
            text += &format!("  {number}. {step}\n");
        }
    }
    text + "\nTo see the whole job without Twilio or a model: switchboard demo. To stop: Ctrl-C."
}

/// The signals that end the gateway: SIGTERM and Ctrl-C.
struct Stopping {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stopping {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) {
        tokio::signal::ctrl_c().await.ok();
    }
}
