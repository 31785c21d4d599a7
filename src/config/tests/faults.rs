//! Settings that cannot be used, or that may not have been meant.

use super::*;

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
