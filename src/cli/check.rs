//! `switchboard check`: looks at everything a start needs, changes nothing.

use super::configuration;
use secrecy::ExposeSecret;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use switchboard::config::{Config, DatabaseUrl};
use switchboard::conversation::phrases::PhraseBook;
use switchboard::db::{Db, Probe};
use switchboard::llm::Llm;
use switchboard::twilio::twiml::Documents;

/// Prints a line; a reader who has seen enough is no fault.
macro_rules! say {
    ($($line:tt)*) => { drop(writeln!(std::io::stdout(), $($line)*)) };
}

/// Runs the command: 0 when the gateway can start, 1 when a part cannot be used, 2 when the configuration is faulty.
pub async fn run() -> ExitCode {
    let (config, warnings) = match configuration() {
        Ok(read) => read,
        Err(status) => return status,
    };
    say!("settings     ok");
    for warning in &warnings {
        say!("             warning: {}", warning.0);
    }
    let dir = config.twiml_templates_dir.as_deref();
    let results = [
        report("documents", Documents::load(dir).map(|_| "all are well-formed")),
        report("sentences", PhraseBook::load(dir).map(|_| "all languages are complete")),
        report(
            "model",
            Llm::new(&config.llm)
                .map(|_| if config.llm.is_configured() { "configured (not asked)" } else { "built-in stand-in" }),
        ),
        report("database", database(&config).await),
    ];
    if results.iter().all(|ok| *ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn database(config: &Config) -> Result<&'static str, switchboard::db::OpenError> {
    let probe = match &config.database {
        DatabaseUrl::Sqlite(path) => Db::probe_sqlite(path).await?,
        DatabaseUrl::Postgres(url) => Db::probe_postgres(url.expose_secret()).await?,
    };
    Ok(match probe {
        Probe::Answers => "answers",
        Probe::InUse => "in use by a running gateway",
        Probe::WillBeMade => "will be made at the first start",
    })
}

fn report(part: &str, result: Result<&'static str, impl Display>) -> bool {
    match &result {
        Ok(text) => say!("{part:<12} ok: {text}"),
        Err(error) => say!("{part:<12} FAULTY: {error}"),
    }
    result.is_ok()
}
