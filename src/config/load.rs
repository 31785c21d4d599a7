//! Reads every setting, and checks those that must fit together.
//!
//! Every variable is asked for whatever the others hold: so all faults are found in one go, and so the list of
//! variables can be gathered by watching.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tracing::level_filters::LevelFilter;

use super::accounts;
use super::env::{Env, Read};
use super::values::{self, boolean, choice, key, line, list, number, seconds};
use super::{
    Config, ConfigError, CorsOrigins, DatabaseUrl, LlmConfig, LogConfig, LogFormat, PublicUrl, SmsConfig, SpeechConfig,
    SpeechSource, Transport, TtsFormat, TwilioConfig, UnknownCallers, VoiceConfig, VoiceTool, Warning,
};

const DEFAULT_DATABASE: &str = "./switchboard.db";

pub(super) fn load(lookup: &dyn Fn(&str) -> Option<String>) -> Result<(Config, Vec<Warning>), ConfigError> {
    let mut env = Env::new(lookup);
    let config = read(&mut env);
    check_together(&mut env, &config);
    if env.faults.is_empty() { Ok((config, env.warnings)) } else { Err(ConfigError(env.faults)) }
}

/// A faulty setting comes out as its default here; the faults then keep the whole from being used.
fn read(env: &mut Env) -> Config {
    let app_name = env.or("APP_NAME", "Switchboard".to_owned(), line);
    let log = log(env);
    let host = env.or("HOST", IpAddr::V4(Ipv4Addr::LOCALHOST), values::address);
    let port = env.or("PORT", 8000, |text| number(text, 0..=u16::MAX));
    let database = env.secret("DATABASE_URL", DatabaseUrl::parse);
    let llm = llm(env);
    let request_timeout = env.or("REQUEST_TIMEOUT", Duration::from_secs(30), |text| seconds(text, 600));
    let cors_origins = env.or("CORS_ORIGINS", CorsOrigins::Any, CorsOrigins::parse);
    let trusted_hosts = env.or("TRUSTED_HOSTS", Vec::new(), |text| list(text, values::host_name));
    let trusted_proxies = env.or("TRUSTED_PROXIES", Vec::new(), |text| list(text, str::parse));
    let (twilio, auth_token_generated) = twilio(env);
    let public_url = env.private("PUBLIC_BASE_URL", PublicUrl::parse);
    let admin_api_key = env.secret("ADMIN_API_KEY", |text| key(text, 16));
    let admin_api_key_generated = admin_api_key.is_none();
    Config {
        app_name,
        log,
        host,
        port,
        database: database.unwrap_or_else(|| DatabaseUrl::Sqlite(DEFAULT_DATABASE.into())),
        llm,
        request_timeout,
        cors_origins,
        trusted_hosts,
        trusted_proxies,
        twilio,
        public_url,
        admin_api_key: admin_api_key.unwrap_or_else(|| random_key(env, "ADMIN_API_KEY")),
        admin_api_key_generated,
        auth_token_generated,
        voice: voice(env),
        sms: sms(env),
        twiml_templates_dir: env.optional("TWIML_TEMPLATES_DIR", values::directory),
        unknown_callers: env.or("UNKNOWN_CALLERS", UnknownCallers::Create, |text| {
            choice(text, &[("create", UnknownCallers::Create), ("refuse", UnknownCallers::Refuse)])
        }),
        default_time_zone: env.or("DEFAULT_TIME_ZONE", "UTC".to_owned(), values::time_zone),
        auto_reply_default: env.or("AUTO_REPLY_DEFAULT", true, boolean),
        system_prompt: env.optional("SYSTEM_PROMPT", |text| Ok(text.to_owned())),
    }
}

fn log(env: &mut Env) -> LogConfig {
    let level = env.or("LOG_LEVEL", LevelFilter::INFO, values::log_level);
    let debug = env.or("DEBUG", false, boolean);
    let format = env.or("LOG_FORMAT", LogFormat::Text, |text| {
        choice(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
    });
    // Of two level filters the more talkative one is the greater.
    LogConfig { level: if debug { level.max(LevelFilter::DEBUG) } else { level }, format }
}

fn llm(env: &mut Env) -> LlmConfig {
    LlmConfig {
        api_key: env.secret("OPENAI_API_KEY", |text| key(text, 1)),
        base_url: env.private("OPENAI_BASE_URL", values::model_base_url),
        model: env.or("OPENAI_MODEL", "gpt-3.5-turbo".to_owned(), line),
        max_tokens: env.or("OPENAI_MAX_TOKENS", 500, |text| number(text, 1..=1_000_000)),
        temperature: env.or("OPENAI_TEMPERATURE", 0.7, |text| number(text, 0.0..=2.0)),
        vision: env.or("OPENAI_VISION", false, boolean),
        timeout: env.or("OPENAI_TIMEOUT", Duration::from_secs(20), |text| seconds(text, 600)),
        speech: SpeechConfig {
            tts_model: env.or("OPENAI_TTS_MODEL", "gpt-4o-mini-tts".to_owned(), line),
            tts_format: env.or("OPENAI_TTS_FORMAT", TtsFormat::Mp3, |text| {
                choice(text, &[("mp3", TtsFormat::Mp3), ("wav", TtsFormat::Wav)])
            }),
            transcribe_model: env.optional("OPENAI_TRANSCRIBE_MODEL", line),
        },
        max_retries: env.or("MAX_RETRIES", 3, |text| number(text, 0..=10)),
        retry_delay: env.or("RETRY_DELAY", Duration::from_secs(1), |text| values::seconds_or_zero(text, 60)),
    }
}

fn twilio(env: &mut Env) -> (TwilioConfig, bool) {
    let account_sid = env.private("TWILIO_ACCOUNT_SID", values::account_sid);
    let auth_tokens = env.secret("TWILIO_AUTH_TOKEN", values::auth_tokens);
    let phone_numbers = env.private("TWILIO_PHONE_NUMBERS", |text| list(text, values::phone_number));
    let mut phone_numbers = phone_numbers.unwrap_or_default();
    let messaging_service_sid = env.private("TWILIO_MESSAGING_SERVICE_SID", values::messaging_service_sid);
    let accounts = env.private("TWILIO_ACCOUNTS", accounts::read).unwrap_or_default();
    if let Some(problem) = accounts::contradiction(account_sid, &phone_numbers, &accounts) {
        env.fault("TWILIO_ACCOUNTS", problem);
    }
    phone_numbers.extend(accounts.iter().flat_map(|account| account.numbers.iter().cloned()));
    let api_base_url = env.private("TWILIO_API_BASE_URL", PublicUrl::parse_service);
    let generated = auth_tokens.is_none();
    let twilio = TwilioConfig {
        account_sid,
        auth_tokens: auth_tokens.unwrap_or_else(|| vec![random_key(env, "TWILIO_AUTH_TOKEN")]),
        phone_numbers,
        messaging_service_sid,
        accounts,
        api_base_url: api_base_url.unwrap_or_else(|| "https://api.twilio.com".to_owned()),
    };
    (twilio, generated)
}

fn voice(env: &mut Env) -> VoiceConfig {
    let max_minutes = env.or("VOICE_MAX_MINUTES", 30, |text| number(text, 1..=240));
    let voicemail_max_seconds = env.or("VOICEMAIL_MAX_SECONDS", 120, |text| number(text, 1..=600));
    VoiceConfig {
        reply_budget: env.or("VOICE_REPLY_BUDGET", Duration::from_secs(2), |text| seconds(text, 10)),
        patience: env.or("VOICE_PATIENCE", Duration::from_secs(25), |text| seconds(text, 300)),
        transport: env.or("VOICE_TRANSPORT", Transport::Gather, |text| {
            choice(text, &Transport::ALL.map(|transport| (transport.name(), transport)))
        }),
        longest_call: Duration::from_secs(60 * max_minutes),
        transfer_number: env.private("TRANSFER_NUMBER", values::phone_number),
        speech_model: env.optional("SPEECH_MODEL", values::speech_model),
        speech_hints: env.or("SPEECH_HINTS", String::new(), values::speech_hints),
        speech: env.or("SPEECH", SpeechSource::Twilio, |text| {
            choice(text, &[("twilio", SpeechSource::Twilio), ("openai", SpeechSource::OpenAi)])
        }),
        summaries: env.or("CALL_SUMMARIES", true, boolean),
        tools: env.or("VOICE_TOOLS", Vec::new(), voice_tools),
        longest_voicemail: Duration::from_secs(voicemail_max_seconds),
    }
}

fn sms(env: &mut Env) -> SmsConfig {
    SmsConfig {
        reply_budget: env.or("SMS_REPLY_BUDGET", Duration::from_secs(10), |text| seconds(text, 12)),
        waiting: env.or("SMS_WAITING", 1200, |text| number(text, 1..=1500)),
        max_segments: env.or("SMS_MAX_SEGMENTS", 4, |text| number(text, 1..=100)),
        smart_encoding: env.or("SMS_SMART_ENCODING", true, boolean),
        segment_price: env.optional("SMS_SEGMENT_PRICE", |text| number(text, 0.0..=100.0)),
        keyword_replies: env.or("SMS_KEYWORD_REPLIES", false, boolean),
        quiet_hours: env.optional("SMS_QUIET_HOURS", values::quiet_hours),
        loop_limit: env.or("SMS_LOOP_LIMIT", 30, |text| number(text, 1..=10_000)),
        quiet_window: env.or("SMS_QUIET_WINDOW", Duration::ZERO, |text| values::seconds_or_zero(text, 30)),
        status_callback: env.private("SMS_STATUS_CALLBACK", values::web_address),
    }
}

/// Tools by their names, each kept once.
fn voice_tools(text: &str) -> Read<Vec<VoiceTool>> {
    let named = VoiceTool::ALL.map(|tool| (tool.name(), tool));
    let given = list(text, |name| choice(name, &named))?;
    Ok(VoiceTool::ALL.into_iter().filter(|tool| given.contains(tool)).collect())
}

/// 128 random bits in 32 hexadecimal digits, in place of a key that was not given: nothing is left open.
fn random_key(env: &mut Env, variable: &str) -> SecretString {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        env.fault(variable, format!("must be set: the system has no random numbers to make one up ({error})"));
    }
    SecretString::from(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// What single values cannot tell: settings that contradict each other, and what an operator may not have meant.
fn check_together(env: &mut Env, config: &Config) {
    let Config { voice, twilio, .. } = config;
    if voice.patience < voice.reply_budget {
        let budget = voice.reply_budget.as_secs_f64();
        env.fault("VOICE_PATIENCE", format!("must be at least VOICE_REPLY_BUDGET, which is {budget} seconds"));
    }
    if voice.transfer_number.as_ref().is_some_and(|number| twilio.phone_numbers.contains(number)) {
        env.fault("TRANSFER_NUMBER", "must not be one of TWILIO_PHONE_NUMBERS: a transferred call would come back");
    }
    if config.llm.is_configured() && config.request_timeout < config.llm.timeout {
        env.warn(
            "REQUEST_TIMEOUT is shorter than OPENAI_TIMEOUT: it cuts the model's slow answers to REST requests off.",
        );
    }
    if let DatabaseUrl::Sqlite(path) = &config.database
        && path.parent() == Some(Path::new("/"))
    {
        env.warn("DATABASE_URL names a file in the root folder; for the working directory write ./ before its name.");
    }
    if !config.sms.quiet_window.is_zero() && twilio.account_sid.is_none() && twilio.accounts.is_empty() {
        env.fault(
            "SMS_QUIET_WINDOW",
            "needs TWILIO_ACCOUNT_SID: replies after a quiet window are sent through its REST API",
        );
    }
    match (&twilio.account_sid, config.auth_token_generated) {
        (None, false) => env.warn(
            "TWILIO_ACCOUNT_SID is not set beside TWILIO_AUTH_TOKEN: texts cannot be sent later than their webhook, and \
            webhooks of any account that the token signs are taken.",
        ),
        (Some(_), true) => env.warn(
            "TWILIO_AUTH_TOKEN is not set beside TWILIO_ACCOUNT_SID: all of Twilio's webhooks will be refused.",
        ),
        _ => {}
    }
    // Twilio's tokens have 32 characters; a shorter one is a placeholder that strangers may guess and sign with.
    let is_short = |token: &SecretString| token.expose_secret().len() < 32;
    if twilio.auth_tokens.iter().any(is_short) {
        env.warn("TWILIO_AUTH_TOKEN is shorter than the 32 characters of Twilio's tokens.");
    }
    if twilio.accounts.iter().any(|account| account.auth_tokens.iter().any(is_short)) {
        env.warn("TWILIO_ACCOUNTS holds an auth_token shorter than the 32 characters of Twilio's tokens.");
    }
    if config.trusted_proxies.iter().any(super::Network::is_everything) {
        env.warn("TRUSTED_PROXIES trusts every address: anybody may say under which address a webhook was called.");
    }
    check_voice(env, config);
    check_public_address(env, config);
}

fn check_voice(env: &mut Env, config: &Config) {
    let Config { voice, twilio, llm, .. } = config;
    let transcribes = llm.speech.transcribe_model.is_some();
    if voice.speech == SpeechSource::OpenAi && !llm.is_configured() {
        env.warn("SPEECH=openai needs OPENAI_API_KEY or OPENAI_BASE_URL: without a model Twilio reads aloud.");
    }
    if transcribes && !llm.is_configured() {
        env.warn("OPENAI_TRANSCRIBE_MODEL needs OPENAI_API_KEY or OPENAI_BASE_URL: voicemails are not transcribed.");
    }
    if transcribes && twilio.account_sid.is_none() {
        env.warn("OPENAI_TRANSCRIBE_MODEL needs TWILIO_ACCOUNT_SID: without it voicemails cannot be fetched.");
    }
    if voice.tools.contains(&VoiceTool::TransferToHuman) && voice.transfer_number.is_none() {
        env.warn(
            "TRANSFER_NUMBER is not set beside the tool transfer_to_human: only callers of users with a forward_number can \
            be connected.",
        );
    }
}

fn check_public_address(env: &mut Env, config: &Config) {
    match &config.public_url {
        Some(url) => {
            if !url.is_https() {
                env.warn(
                    "PUBLIC_BASE_URL is not https: calls and texts pass the network in the clear; for local use only.",
                );
            }
            let host = url.host().to_ascii_lowercase();
            if !config.trusted_hosts.is_empty() && !config.trusted_hosts.contains(&host) {
                env.warn(
                    "TRUSTED_HOSTS leaves out the host of PUBLIC_BASE_URL: Twilio's webhooks are answered with 400.",
                );
            }
        }
        None => {
            if config.voice.transport == Transport::Relay {
                env.warn(
                    "PUBLIC_BASE_URL is not set beside VOICE_TRANSPORT=relay: Twilio must be able to reach the gateway at \
                    the address that a call's webhook names, by wss.",
                );
            }
            if config.voice.speech == SpeechSource::OpenAi {
                env.warn(
                    "PUBLIC_BASE_URL is not set beside SPEECH=openai: Twilio must be able to fetch what is spoken from the \
                    address that a call's webhook names.",
                );
            }
            if !config.host.is_loopback() && config.trusted_proxies.is_empty() {
                env.warn(
                    "PUBLIC_BASE_URL is not set while HOST is open to the network: signatures are checked against the \
                    Host header, which must be the host that Twilio calls.",
                );
            }
        }
    }
}
