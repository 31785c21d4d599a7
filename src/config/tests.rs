use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

mod faults;

type Loaded = Result<(Config, Vec<Warning>), ConfigError>;

fn load(variables: &[(&str, &str)]) -> Loaded {
    Config::load(|name| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned()))
}

fn config(variables: &[(&str, &str)]) -> Config {
    load(variables).unwrap().0
}

/// The one fault that the variables have, as it is printed.
fn fault(variables: &[(&str, &str)]) -> String {
    let error = load(variables).expect_err(&format!("{variables:?}"));
    assert_eq!(error.0.len(), 1, "{error}");
    error.to_string()
}

fn template() -> HashMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.template");
    let (variables, faults) = dotenv::parse(&std::fs::read_to_string(path).unwrap());
    assert_eq!(faults, []);
    variables
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const SID: &str = "ACf123456789abcdef0123456789ABCDEF";

#[test]
fn the_template_names_every_variable_and_no_other() {
    let mut named: Vec<_> = template().into_keys().collect();
    named.sort();
    assert_eq!(named, Config::variables());
}

#[test]
fn the_template_holds_the_defaults() {
    let template = template();
    let (of_template, warnings) = Config::load(|name| template.get(name).cloned()).unwrap();
    assert_eq!(format!("{of_template:#?}"), format!("{:#?}", config(&[])));
    assert_eq!(warnings, []);
    let lists =
        ["SPEECH_HINTS", "TRUSTED_HOSTS", "TRUSTED_PROXIES", "TWILIO_ACCOUNTS", "TWILIO_PHONE_NUMBERS", "VOICE_TOOLS"];
    for (name, value) in template.iter().filter(|(_, value)| value.is_empty()) {
        let optional = name.ends_with("_FILE") || template.contains_key(&format!("{name}_FILE"));
        let optional = optional || lists.contains(&name.as_str());
        let without_default = [
            "OPENAI_BASE_URL",
            "OPENAI_TRANSCRIBE_MODEL",
            "PUBLIC_BASE_URL",
            "SMS_QUIET_HOURS",
            "SMS_SEGMENT_PRICE",
            "SMS_STATUS_CALLBACK",
            "SPEECH_MODEL",
            "SYSTEM_PROMPT",
            "TRANSFER_NUMBER",
            "TWILIO_ACCOUNT_SID",
            "TWILIO_MESSAGING_SERVICE_SID",
            "TWIML_TEMPLATES_DIR",
        ];
        assert!(optional || without_default.contains(&name.as_str()), "{name}={value} hides its default");
    }
}

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let (config, warnings) = load(&[("PORT", " "), ("OPENAI_API_KEY", ""), ("ADMIN_API_KEY_FILE", "")]).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.app_name, "Switchboard");
    assert_eq!(config.log, LogConfig { level: LevelFilter::INFO, format: LogFormat::Text });
    assert_eq!((config.host.to_string().as_str(), config.port), ("127.0.0.1", 8000));
    assert!(matches!(&config.database, DatabaseUrl::Sqlite(path) if path == Path::new("./switchboard.db")));
    let llm = &config.llm;
    assert!(!llm.is_configured());
    assert_eq!((llm.model.as_str(), llm.max_tokens, llm.temperature), ("gpt-3.5-turbo", 500, 0.7));
    assert_eq!((llm.timeout, llm.max_retries), (Duration::from_secs(20), 3));
    assert_eq!(llm.retry_delay, Duration::from_secs(1));
    let speech =
        SpeechConfig { tts_model: "gpt-4o-mini-tts".to_owned(), tts_format: TtsFormat::Mp3, transcribe_model: None };
    assert_eq!(llm.speech, speech);
    assert_eq!(config.request_timeout, Duration::from_secs(30));
    assert_eq!(config.cors_origins, CorsOrigins::Any);
    assert!(config.trusted_hosts.is_empty() && config.trusted_proxies.is_empty());
    assert_eq!(config.twilio.api_base_url, "https://api.twilio.com");
    assert!(config.twilio.account_sid.is_none() && config.twilio.phone_numbers.is_empty());
    assert!(config.public_url.is_none() && config.system_prompt.is_none() && config.twiml_templates_dir.is_none());
    let voice = VoiceConfig {
        reply_budget: Duration::from_secs(2),
        patience: Duration::from_secs(25),
        transport: Transport::Gather,
        longest_call: Duration::from_secs(1800),
        transfer_number: None,
        speech_model: None,
        speech_hints: String::new(),
        speech: SpeechSource::Twilio,
        summaries: true,
        tools: Vec::new(),
        longest_voicemail: Duration::from_secs(120),
    };
    assert_eq!(config.voice, voice);
    let sms = SmsConfig {
        reply_budget: Duration::from_secs(10),
        waiting: 1200,
        max_segments: 4,
        smart_encoding: true,
        segment_price: None,
        keyword_replies: false,
        quiet_hours: None,
        loop_limit: 30,
        quiet_window: Duration::ZERO,
        status_callback: None,
    };
    assert_eq!(config.sms, sms);
    assert_eq!(config.unknown_callers, UnknownCallers::Create);
    assert!(config.auto_reply_default);
    assert_eq!(config.default_time_zone, "UTC");
}

#[test]
fn missing_keys_are_made_up_afresh() {
    let (one, other) = (config(&[]), config(&[]));
    assert!(one.admin_api_key_generated && one.auth_token_generated);
    let keys = [&one.admin_api_key, &one.twilio.auth_tokens[0], &other.admin_api_key, &other.twilio.auth_tokens[0]];
    let distinct: BTreeSet<_> = keys.iter().map(|key| key.expose_secret()).collect();
    assert_eq!(distinct.len(), 4);
    assert!(distinct.iter().all(|key| key.len() == 32));
    let given = config(&[("ADMIN_API_KEY", "sixteen-letters!"), ("TWILIO_AUTH_TOKEN", TOKEN)]);
    assert!(!given.admin_api_key_generated && !given.auth_token_generated);
}

#[test]
fn values_are_taken() {
    let tokens = format!("{TOKEN}, {TOKEN},");
    let config = config(&[
        ("DEBUG", "Yes"),
        ("LOG_LEVEL", "warning"),
        ("LOG_FORMAT", "JSON"),
        ("HOST", "::1"),
        ("PORT", "0"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1/"),
        ("OPENAI_TEMPERATURE", "2"),
        ("RETRY_DELAY", "0"),
        ("OPENAI_TTS_MODEL", "tts-1"),
        ("OPENAI_TTS_FORMAT", "WAV"),
        ("OPENAI_TRANSCRIBE_MODEL", "whisper-1"),
        ("OPENAI_TIMEOUT", "1.5"),
        ("CORS_ORIGINS", r#"["https://a.example"]"#),
        ("TRUSTED_HOSTS", "A.example, [::1]"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::1"),
        ("TWILIO_ACCOUNT_SID", SID),
        ("TWILIO_AUTH_TOKEN", &tokens),
        ("TWILIO_PHONE_NUMBERS", "+14155550123, +442071838750"),
        ("UNKNOWN_CALLERS", "Refuse"),
        ("AUTO_REPLY_DEFAULT", "off"),
        ("SYSTEM_PROMPT", "Be brief.\nBe kind."),
        ("TWIML_TEMPLATES_DIR", "src"),
        ("PUBLIC_BASE_URL", "https://a.example/gw/"),
        ("TWILIO_API_BASE_URL", "http://127.0.0.1:1/"),
        ("VOICE_TRANSPORT", "RELAY"),
        ("VOICE_MAX_MINUTES", "240"),
        ("TRANSFER_NUMBER", "+14155550199"),
        ("SPEECH_MODEL", "deepgram_nova-2-phonecall"),
        ("SPEECH_HINTS", " Switchboard, Ann Öhlund ,,opening hours"),
        ("SPEECH", "openai"),
        ("CALL_SUMMARIES", "no"),
        ("VOICE_TOOLS", "switch_language,END_CALL, end_call"),
        ("VOICEMAIL_MAX_SECONDS", "1"),
    ]);
    let voice = &config.voice;
    assert_eq!((voice.transport, voice.speech, voice.summaries), (Transport::Relay, SpeechSource::OpenAi, false));
    assert_eq!((voice.longest_call, voice.longest_voicemail), (Duration::from_secs(14_400), Duration::from_secs(1)));
    assert_eq!(voice.transfer_number.as_deref(), Some("+14155550199"));
    assert_eq!(voice.speech_model.as_deref(), Some("deepgram_nova-2-phonecall"));
    assert_eq!(voice.speech_hints, "Switchboard,Ann Öhlund,opening hours");
    assert_eq!(voice.tools, [VoiceTool::EndCall, VoiceTool::SwitchLanguage]);
    assert_eq!(config.log, LogConfig { level: LevelFilter::DEBUG, format: LogFormat::Json });
    assert!(config.llm.is_configured() && config.host.is_loopback() && config.port == 0);
    assert_eq!(config.llm.base_url.as_deref(), Some("http://127.0.0.1:11434/v1"));
    assert_eq!((config.llm.timeout, config.llm.retry_delay), (Duration::from_millis(1500), Duration::ZERO));
    let speech = SpeechConfig {
        tts_model: "tts-1".to_owned(),
        tts_format: TtsFormat::Wav,
        transcribe_model: Some("whisper-1".to_owned()),
    };
    assert_eq!(config.llm.speech, speech);
    assert_eq!(config.trusted_hosts, ["a.example", "[::1]"]);
    assert!(config.trusted_proxies[0].contains(IpAddr::from([10, 1, 2, 3])));
    assert_eq!(config.twilio.auth_tokens.len(), 2);
    assert_eq!(config.twilio.account_sid, AccountSid::parse(SID));
    assert_eq!(config.twilio.phone_numbers, ["+14155550123", "+442071838750"]);
    assert_eq!(config.twilio.api_base_url, "http://127.0.0.1:1");
    assert_eq!(config.public_url.as_ref().map(PublicUrl::path_prefix), Some("/gw"));
    assert_eq!((config.unknown_callers, config.auto_reply_default), (UnknownCallers::Refuse, false));
    assert_eq!(config.system_prompt.as_deref(), Some("Be brief.\nBe kind."));
    assert!(!format!("{config:?}").contains(TOKEN));
}

#[test]
fn debug_never_hides_more_than_asked_for() {
    for (level, expected) in [
        ("DEBUG", LevelFilter::DEBUG),
        ("info", LevelFilter::INFO),
        ("Warning", LevelFilter::WARN),
        ("WARN", LevelFilter::WARN),
        ("ERROR", LevelFilter::ERROR),
        ("CRITICAL", LevelFilter::ERROR),
        ("trace", LevelFilter::TRACE),
    ] {
        assert_eq!(config(&[("LOG_LEVEL", level), ("DEBUG", "false")]).log.level, expected, "{level}");
        assert_eq!(config(&[("LOG_LEVEL", level), ("DEBUG", "1")]).log.level, expected.max(LevelFilter::DEBUG));
    }
}
