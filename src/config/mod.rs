//! Typed settings, read once at start from the environment and the `.env` file.
//!
//! Every setting's meaning, unit, range and default for operators is in `.env.template`; a test keeps that file and
//! this module equal. Nothing else in the crate reads the environment.

mod account_sid;
mod accounts;
mod database_url;
mod dotenv;
mod env;
mod load;
mod network;
mod origins;
mod public_url;
mod sms;
#[cfg(test)]
mod tests;
mod values;
mod voice;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use tracing::level_filters::LevelFilter;

pub use account_sid::AccountSid;
pub use accounts::AccountConfig;
pub use database_url::DatabaseUrl;
pub use env::{ConfigError, Fault, Warning};
pub use network::Network;
pub use origins::CorsOrigins;
pub use public_url::PublicUrl;
pub use sms::SmsConfig;
pub use voice::{SpeechSource, Transport, VoiceConfig, VoiceTool};

/// All settings. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name people see at the start and in the API's documentation (`APP_NAME`).
    pub app_name: String,
    /// What is logged and how.
    pub log: LogConfig,
    /// The address to listen on (`HOST`).
    pub host: IpAddr,
    /// The port to listen on; 0 takes any free one (`PORT`).
    pub port: u16,
    /// Where the history is kept (`DATABASE_URL`).
    pub database: DatabaseUrl,
    /// The language model.
    pub llm: LlmConfig,
    /// How long one REST request may take (`REQUEST_TIMEOUT`).
    pub request_timeout: Duration,
    /// The web pages that may call the REST API (`CORS_ORIGINS`).
    pub cors_origins: CorsOrigins,
    /// The hosts that requests may name, in lower case and without port; empty allows any (`TRUSTED_HOSTS`).
    pub trusted_hosts: Vec<String>,
    /// The proxies whose `X-Forwarded-*` headers are believed (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<Network>,
    /// The Twilio account.
    pub twilio: TwilioConfig,
    /// The address Twilio calls; `None` derives it from each request (`PUBLIC_BASE_URL`).
    pub public_url: Option<PublicUrl>,
    /// The key that the REST API asks for (`ADMIN_API_KEY`).
    pub admin_api_key: SecretString,
    /// Whether `admin_api_key` was made up for this run and has to be shown.
    pub admin_api_key_generated: bool,
    /// Whether `twilio.auth_tokens` was made up for this run, so that no webhook of Twilio's can pass.
    pub auth_token_generated: bool,
    /// Calls.
    pub voice: VoiceConfig,
    /// Text messages.
    pub sms: SmsConfig,
    /// A folder of TwiML documents in place of the built-in ones; it existed at start (`TWIML_TEMPLATES_DIR`).
    pub twiml_templates_dir: Option<PathBuf>,
    /// What becomes of people who are in no user's row (`UNKNOWN_CALLERS`).
    pub unknown_callers: UnknownCallers,
    /// Whether texts of people without preferences are answered (`AUTO_REPLY_DEFAULT`).
    pub auto_reply_default: bool,
    /// The time zone of people without one of their own, by its IANA name (`DEFAULT_TIME_ZONE`).
    pub default_time_zone: String,
    /// What the operator tells the model before every conversation (`SYSTEM_PROMPT`).
    pub system_prompt: Option<String>,
}

/// What is logged and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level shown; `DEBUG=true` makes it at least as talkative as `DEBUG` (`LOG_LEVEL`).
    pub level: LevelFilter,
    /// The form of a line (`LOG_FORMAT`).
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-01-15 10:30:00 - switchboard::server - INFO - …`, for people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// The language model, reached through OpenAI's Chat Completions interface.
#[derive(Debug, Clone)]
pub struct LlmConfig {
    /// The key, when the server asks for one (`OPENAI_API_KEY`).
    pub api_key: Option<SecretString>,
    /// The server's address up to its version and without a slash at the end; `None` is OpenAI's (`OPENAI_BASE_URL`).
    pub base_url: Option<String>,
    /// The model's name (`OPENAI_MODEL`).
    pub model: String,
    /// The most tokens an answer may have, at least 1 (`OPENAI_MAX_TOKENS`).
    pub max_tokens: u32,
    /// 0 (always the likeliest word) to 2 (`OPENAI_TEMPERATURE`).
    pub temperature: f32,
    /// Whether pictures that come with texts are shown to the model (`OPENAI_VISION`).
    pub vision: bool,
    /// How long a whole answer may take; on calls the longest gap between its pieces (`OPENAI_TIMEOUT`).
    pub timeout: Duration,
    /// Spoken words, to and from text.
    pub speech: SpeechConfig,
    /// How often a failed request is sent again, 0 to 10 times (`MAX_RETRIES`).
    pub max_retries: u32,
    /// The pause before the first repetition; each further one doubles it (`RETRY_DELAY`).
    pub retry_delay: Duration,
}

/// Text to speech and speech to text, through the same server's audio endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeechConfig {
    /// The model that speaks (`OPENAI_TTS_MODEL`).
    pub tts_model: String,
    /// What it is asked to answer in (`OPENAI_TTS_FORMAT`).
    pub tts_format: TtsFormat,
    /// The model that writes down what was said; `None`: nothing is transcribed (`OPENAI_TRANSCRIBE_MODEL`).
    pub transcribe_model: Option<String>,
}

/// A kind of audio file that Twilio plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TtsFormat {
    /// `audio/mpeg`: small.
    Mp3,
    /// `audio/wav`: several times as large, and less work for the server.
    Wav,
}

impl LlmConfig {
    /// Whether a model is named at all; if not, the built-in stand-in answers.
    pub fn is_configured(&self) -> bool {
        self.api_key.is_some() || self.base_url.is_some()
    }
}

/// The Twilio accounts whose webhooks are served.
#[derive(Debug, Clone)]
pub struct TwilioConfig {
    /// The main account; when set, webhooks of accounts that are not configured are refused (`TWILIO_ACCOUNT_SID`).
    pub account_sid: Option<AccountSid>,
    /// The tokens a webhook may be signed with, never empty; the first one signs our own requests to Twilio
    /// (`TWILIO_AUTH_TOKEN`).
    pub auth_tokens: Vec<SecretString>,
    /// Our own numbers in E.164 form (`TWILIO_PHONE_NUMBERS`), and after them those of the other accounts.
    pub phone_numbers: Vec<String>,
    /// `MG…`: what the texts that we begin are sent through (`TWILIO_MESSAGING_SERVICE_SID`).
    pub messaging_service_sid: Option<String>,
    /// The accounts beside the main one (`TWILIO_ACCOUNTS`).
    pub accounts: Vec<AccountConfig>,
    /// Twilio's REST interface, without a slash at the end (`TWILIO_API_BASE_URL`).
    pub api_base_url: String,
}

/// What becomes of people whose number belongs to no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownCallers {
    /// They become a user.
    Create,
    /// They are politely refused.
    Refuse,
}

impl Config {
    /// Reads every setting through `lookup`, which answers a variable's value; an empty one counts as unset.
    ///
    /// # Errors
    /// All faults together, each naming its variable.
    pub fn load(lookup: impl Fn(&str) -> Option<String>) -> Result<(Self, Vec<Warning>), ConfigError> {
        load::load(&lookup)
    }

    /// Reads the process environment over the `.env` file in the working directory. A variable that the environment
    /// sets to nothing hides the file's.
    ///
    /// # Errors
    /// All faults together, those of the `.env` file's lines first.
    pub fn from_environment() -> Result<(Self, Vec<Warning>), ConfigError> {
        let (file, mut faults) = read_dotenv();
        let outcome = Self::load(|name| process_variable(name).or_else(|| file.get(name).cloned()));
        match outcome {
            Ok((config, mut warnings)) if faults.is_empty() => {
                warnings.extend(unknown_in_file(&file));
                Ok((config, warnings))
            }
            Ok(_) => Err(ConfigError(faults)),
            Err(ConfigError(more)) => {
                faults.extend(more);
                Err(ConfigError(faults))
            }
        }
    }

    /// The name of every variable that [`Config::load`] asks for, in order, gathered by watching it ask.
    pub fn variables() -> Vec<String> {
        let asked = RefCell::new(BTreeSet::new());
        // What comes out does not matter here: every setting is read whatever the others hold.
        let _ = Self::load(|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        });
        asked.into_inner().into_iter().collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn process_variable(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => None,
        Err(std::env::VarError::NotUnicode(value)) => Some(value.to_string_lossy().into_owned()),
    }
}

fn read_dotenv() -> (HashMap<String, String>, Vec<Fault>) {
    match std::fs::read_to_string(".env") {
        Ok(text) => dotenv::parse(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Default::default(),
        Err(error) => {
            let problem = format!("cannot be read: {error}");
            (HashMap::new(), vec![Fault { variable: ".env".to_owned(), problem }])
        }
    }
}

/// A misspelt name cannot be told in the environment, which others share, but in the `.env` file it can.
fn unknown_in_file(file: &HashMap<String, String>) -> Vec<Warning> {
    let known = Config::variables();
    let mut unknown: Vec<_> = file.keys().filter(|name| !known.contains(name)).collect();
    unknown.sort();
    unknown.iter().map(|name| Warning(format!("{name} in .env is not a setting and is passed over."))).collect()
}
