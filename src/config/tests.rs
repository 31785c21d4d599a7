use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

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

#[test]
fn every_bad_value_is_a_fault_that_names_its_variable() {
    for (name, values) in [
        ("APP_NAME", &["a\u{7}b"][..]),
        ("DEBUG", &["maybe", "2"]),
        ("LOG_LEVEL", &["LOUD"]),
        ("LOG_FORMAT", &["xml"]),
        ("HOST", &["example.com", "127.0.0.1:80"]),
        ("PORT", &["65536", "-1", "http"]),
        ("DATABASE_URL", &["mysql://x"]),
        ("OPENAI_API_KEY", &["two words", "schlüssel"]),
        ("OPENAI_MODEL", &["a\nb"]),
        ("OPENAI_BASE_URL", &["api.openai.com", "https://u:p@x", "https://x?y", "https://x/v1/chat/completions/"]),
        ("OPENAI_MAX_TOKENS", &["0", "-1", "1.5"]),
        ("OPENAI_TEMPERATURE", &["-0.1", "2.1", "NaN", "warm"]),
        ("OPENAI_VISION", &["y"]),
        ("OPENAI_TIMEOUT", &["0", "-1", "601", "NaN", "inf", "1e400", "1e-12", "20s"]),
        ("OPENAI_TTS_MODEL", &["a\nb"]),
        ("OPENAI_TTS_FORMAT", &["opus"]),
        ("OPENAI_TRANSCRIBE_MODEL", &["a\nb"]),
        ("MAX_RETRIES", &["11", "-1", "x"]),
        ("RETRY_DELAY", &["-1", "61", "NaN"]),
        ("REQUEST_TIMEOUT", &["0", "601"]),
        ("CORS_ORIGINS", &["*", "[1]"]),
        ("TRUSTED_HOSTS", &["a.example:80", "https://a.example", "*.a.example", "a.example, b c"]),
        ("TRUSTED_PROXIES", &["10.0.0.1/8", "proxy"]),
        ("TWILIO_ACCOUNT_SID", &["AC1", "SK0123456789abcdef0123456789abcdef"]),
        ("TWILIO_AUTH_TOKEN", &[",", "a b"]),
        ("TWILIO_PHONE_NUMBERS", &["4155550123", "+0155550123", "+1415555012345678"]),
        ("TWILIO_MESSAGING_SERVICE_SID", &["MG1", SID]),
        ("TWILIO_ACCOUNTS", &["no/such/file", "{}", "[1]", "[{}]"]),
        ("TWILIO_API_BASE_URL", &["ftp://x"]),
        ("PUBLIC_BASE_URL", &["https://", "https://x#y"]),
        ("ADMIN_API_KEY", &["too-short", "with a blank inside it"]),
        ("VOICE_REPLY_BUDGET", &["0", "10.1"]),
        ("SMS_REPLY_BUDGET", &["0", "12.5"]),
        ("SMS_QUIET_WINDOW", &["-1", "31"]),
        ("SMS_STATUS_CALLBACK", &["/reports", "example.com", "ftp://example.com/"]),
        ("VOICE_PATIENCE", &["1", "0", "301"]),
        ("VOICE_TRANSPORT", &["webhook"]),
        ("VOICE_MAX_MINUTES", &["0", "241", "1.5"]),
        ("TRANSFER_NUMBER", &["4155550123", "+0155550123", "+14155550123,+14155550124"]),
        ("SPEECH_MODEL", &["nova-3", "deepgram_", "deepgram_a b", "Phone_Call"]),
        ("SPEECH_HINTS", &[&"a".repeat(101), &"a,".repeat(501), &"words of a phrase,".repeat(400), "a\nb"]),
        ("SPEECH", &["google"]),
        ("CALL_SUMMARIES", &["y"]),
        ("VOICE_TOOLS", &["end_call,delete_everything"]),
        ("VOICEMAIL_MAX_SECONDS", &["0", "601"]),
        ("UNKNOWN_CALLERS", &["ignore"]),
        ("AUTO_REPLY_DEFAULT", &["y"]),
        ("TWIML_TEMPLATES_DIR", &["no/such/folder", "Cargo.toml"]),
        ("SYSTEM_PROMPT", &["\u{FFFD}"]),
    ] {
        for value in values {
            let printed = fault(&[(name, value)]);
            assert!(printed.starts_with(&format!("{name}: ")) && !printed.contains('\n'), "{printed}");
        }
    }
}

#[test]
fn nobody_is_transferred_to_a_number_of_ours() {
    let ours = ("TWILIO_PHONE_NUMBERS", "+14155550123,+14155550124");
    assert!(fault(&[ours, ("TRANSFER_NUMBER", "+14155550124")]).starts_with("TRANSFER_NUMBER: must not be one of"));
    assert!(config(&[ours, ("TRANSFER_NUMBER", "+14155550125")]).voice.transfer_number.is_some());
}

#[test]
fn a_quiet_window_needs_an_account_to_reply_with() {
    let window = ("SMS_QUIET_WINDOW", "3");
    assert!(fault(&[window]).starts_with("SMS_QUIET_WINDOW: needs TWILIO_ACCOUNT_SID"));
    assert!(!config(&[window, ("TWILIO_ACCOUNT_SID", SID)]).sms.quiet_window.is_zero());
}

#[test]
fn accounts_beside_the_main_one_share_nothing_with_it_and_show_no_token() {
    const OTHER: &str = "ACfedcba9876543210fedcba9876543210";
    let entry = |sid: &str, more: &str| format!(r#"{{"account_sid":"{sid}","auth_token":"{TOKEN}"{more}}}"#);
    let list = |entries: &[String]| format!("[{}]", entries.join(","));
    let load = |accounts: &str| {
        let main =
            [("TWILIO_ACCOUNT_SID", SID), ("TWILIO_AUTH_TOKEN", TOKEN), ("TWILIO_PHONE_NUMBERS", "+14155550123")];
        load(&[&main[..], &[("TWILIO_ACCOUNTS", accounts)]].concat())
    };
    let sound = list(&[entry(OTHER, r#","numbers":["+14155550124"]"#)]);
    let (config, warnings) = load(&sound).unwrap();
    assert_eq!((config.twilio.accounts[0].account_sid.to_string().as_str(), warnings.len()), (OTHER, 0));
    assert_eq!(config.twilio.phone_numbers, ["+14155550123", "+14155550124"]);
    assert!(!format!("{config:?}").contains(TOKEN));
    let path = std::env::temp_dir().join(format!("switchboard-accounts-{}", uuid::Uuid::now_v7()));
    std::fs::write(&path, &sound).unwrap();
    assert_eq!(load(path.to_str().unwrap()).unwrap().0.twilio.accounts.len(), 1);
    std::fs::remove_file(&path).unwrap();
    for (faulty, told) in [
        (list(&[entry(SID, "")]), "each account once"),
        (list(&[entry(OTHER, ""), entry(OTHER, "")]), "each account once"),
        (list(&[entry(OTHER, r#","numbers":["+14155550123"]"#)]), "a number that another one has"),
        (list(&[entry(OTHER, r#","numbers":["4155550124"]"#)]), "numbers must be in E.164 form"),
        (list(&[entry(OTHER, r#","messaging_service_sid":"MG1""#)]), "messaging_service_sid must be MG"),
        (
            list(&[entry(OTHER, ""), entry("AC2", "")]),
            "account_sid must be AC and 32 hexadecimal digits, as Twilio's console shows it (entry 2)",
        ),
        (list(&[entry(OTHER, r#","token":1"#)]), "line 1, column"),
        (entry(OTHER, ""), "must be a JSON list, or the path"),
    ] {
        let printed = load(&faulty).unwrap_err().to_string();
        assert!(printed.starts_with("TWILIO_ACCOUNTS: ") && printed.contains(told), "{printed}");
        assert!(!printed.contains(TOKEN), "{printed}");
    }
}

#[test]
fn all_faults_are_printed_together_and_no_secret_with_them() {
    let error = load(&[
        ("PORT", "eighty"),
        ("ADMIN_API_KEY", "hunter2"),
        ("TWILIO_AUTH_TOKEN", "hunter2 hunter2"),
        ("DATABASE_URL", "mysql://u:hunter2@x"),
        ("PUBLIC_BASE_URL", "https://u:hunter2@"),
        ("TWILIO_PHONE_NUMBERS", "+14155550123,hunter2"),
        ("OPENAI_API_KEY", "hunter2\u{e9}"),
    ])
    .unwrap_err();
    let printed = error.to_string();
    assert_eq!(printed.lines().count(), 7, "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains(r#"PORT: must be a number from 0 to 65535, but is "eighty""#), "{printed}");
    assert!(printed.contains("(entry 2 is not)"), "{printed}");
}

#[test]
fn secrets_are_read_from_files() {
    let path = std::env::temp_dir().join(format!("switchboard-secret-{}", uuid::Uuid::now_v7()));
    let file = path.to_str().unwrap();
    assert!(fault(&[("ADMIN_API_KEY_FILE", file)]).starts_with("ADMIN_API_KEY_FILE: cannot read the file"));
    std::fs::write(&path, "\n").unwrap();
    assert!(fault(&[("OPENAI_API_KEY_FILE", file)]).ends_with("is empty"));
    std::fs::write(&path, "too-short\n").unwrap();
    assert!(fault(&[("ADMIN_API_KEY_FILE", file)]).starts_with("ADMIN_API_KEY_FILE: the content must have"));
    std::fs::write(&path, format!("{TOKEN}\r\n")).unwrap();
    let read = config(&[("ADMIN_API_KEY_FILE", file), ("TWILIO_AUTH_TOKEN_FILE", file), ("OPENAI_API_KEY_FILE", file)]);
    assert_eq!(read.admin_api_key.expose_secret(), TOKEN);
    assert_eq!(read.twilio.auth_tokens[0].expose_secret(), TOKEN);
    assert!(read.llm.api_key.is_some_and(|key| key.expose_secret() == TOKEN));
    assert!(fault(&[("ADMIN_API_KEY_FILE", file), ("ADMIN_API_KEY", TOKEN)]).contains("given twice"));
    std::fs::write(&path, "postgresql://u:p@localhost/x\n").unwrap();
    assert!(matches!(config(&[("DATABASE_URL_FILE", file)]).database, DatabaseUrl::Postgres(_)));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_may_not_have_been_meant_is_a_warning() {
    for (variables, named) in [
        (&[("TWILIO_AUTH_TOKEN", TOKEN)][..], "TWILIO_ACCOUNT_SID is not set"),
        (&[("TWILIO_ACCOUNT_SID", SID)], "TWILIO_AUTH_TOKEN is not set"),
        (&[("TWILIO_ACCOUNT_SID", SID), ("TWILIO_AUTH_TOKEN", "changeme")], "TWILIO_AUTH_TOKEN is shorter"),
        (&[("PUBLIC_BASE_URL", "http://127.0.0.1:8000")], "PUBLIC_BASE_URL is not https"),
        (&[("PUBLIC_BASE_URL", "https://a.example"), ("TRUSTED_HOSTS", "b.example")], "TRUSTED_HOSTS leaves out"),
        (&[("HOST", "0.0.0.0")], "PUBLIC_BASE_URL is not set"),
        (&[("VOICE_TRANSPORT", "relay")], "PUBLIC_BASE_URL is not set beside VOICE_TRANSPORT"),
        (&[("SPEECH", "openai"), ("OPENAI_API_KEY", "sk-x")], "PUBLIC_BASE_URL is not set beside SPEECH"),
        (&[("SPEECH", "openai"), ("PUBLIC_BASE_URL", "https://a.example")], "SPEECH=openai needs"),
        (
            &[("OPENAI_TRANSCRIBE_MODEL", "whisper-1"), ("TWILIO_ACCOUNT_SID", SID), ("TWILIO_AUTH_TOKEN", TOKEN)],
            "OPENAI_TRANSCRIBE_MODEL needs OPENAI_API_KEY",
        ),
        (
            &[("OPENAI_TRANSCRIBE_MODEL", "whisper-1"), ("OPENAI_API_KEY", "sk-x")],
            "OPENAI_TRANSCRIBE_MODEL needs TWILIO_ACCOUNT_SID",
        ),
        (&[("VOICE_TOOLS", "end_call,transfer_to_human")], "TRANSFER_NUMBER is not set beside"),
        (&[("TRUSTED_PROXIES", "0.0.0.0/0")], "TRUSTED_PROXIES trusts every"),
        (&[("OPENAI_API_KEY", "sk-x"), ("OPENAI_TIMEOUT", "60")], "REQUEST_TIMEOUT is shorter"),
        (&[("DATABASE_URL", "sqlite:///app.db")], "DATABASE_URL names a file in the root"),
    ] {
        let (_, warnings) = load(variables).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].0.starts_with(named), "{warnings:?}");
    }
}
