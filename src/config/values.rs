//! Readers of single values: text in, the value or what it must be out.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use tracing::level_filters::LevelFilter;

use super::AccountSid;
use super::env::Read;
use crate::quiet_hours::{self, QuietHours};

/// A number within `range`.
pub(super) fn number<T>(text: &str, range: RangeInclusive<T>) -> Read<T>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
}

/// A span of more than 0 and at most `most` seconds, fractions allowed.
pub(super) fn seconds(text: &str, most: u32) -> Read<Duration> {
    seconds_or_zero(text, most)
        .ok()
        .filter(|span| !span.is_zero())
        .ok_or_else(|| format!("must be a number of seconds, more than 0 and at most {most}"))
}

/// A span of 0 to `most` seconds, fractions allowed.
pub(super) fn seconds_or_zero(text: &str, most: u32) -> Read<Duration> {
    let span = text.parse().ok().filter(|seconds: &f64| *seconds <= f64::from(most));
    let span = span.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.ok_or_else(|| format!("must be a number of seconds from 0 to {most}"))
}

pub(super) fn boolean(text: &str) -> Read<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// One of the words `choices` names, in any case.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Read<T> {
    let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        format!("must be one of {}", words.join(", "))
    })
}

/// The levels by the names that Python's logging gives them, and by tracing's. Nothing here is worse than an error, so
/// `CRITICAL` shows errors.
pub(super) fn log_level(text: &str) -> Read<LevelFilter> {
    const LEVELS: [(&str, LevelFilter); 7] = [
        ("DEBUG", LevelFilter::DEBUG),
        ("INFO", LevelFilter::INFO),
        ("WARNING", LevelFilter::WARN),
        ("ERROR", LevelFilter::ERROR),
        ("CRITICAL", LevelFilter::ERROR),
        ("WARN", LevelFilter::WARN),
        ("TRACE", LevelFilter::TRACE),
    ];
    choice(text, &LEVELS)
}

/// Text that fits on one line.
pub(super) fn line(text: &str) -> Read<String> {
    if text.contains(char::is_control) { Err("must be one line of text".into()) } else { Ok(text.to_owned()) }
}

pub(super) fn address(text: &str) -> Read<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::from([127, 0, 0, 1]));
    }
    text.parse().map_err(|_| "must be an IP address, such as 127.0.0.1, or 0.0.0.0 for every interface".into())
}

pub(super) fn directory(text: &str) -> Read<PathBuf> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("must be a folder that exists".into()) }
}

/// A comma-separated list, blanks around and empty entries left out; a fault tells which entry it is about.
pub(super) fn list<T>(text: &str, read: impl Fn(&str) -> Read<T>) -> Read<Vec<T>> {
    let entries = text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
    entries
        .map(|(index, entry)| read(entry).map_err(|problem| format!("{problem} (entry {} is not)", index + 1)))
        .collect()
}

/// A phone number in E.164 form: `+`, a digit from 1 to 9 and up to 14 more (ITU-T E.164).
pub(super) fn phone_number(text: &str) -> Read<String> {
    let digits = text.strip_prefix('+').unwrap_or_default();
    let sound = (2..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    if sound { Ok(text.to_owned()) } else { Err("must be in E.164 form, such as +14155550123".into()) }
}

/// Two times of day, such as `21:00-08:00`.
pub(super) fn quiet_hours(text: &str) -> Read<QuietHours> {
    QuietHours::parse(text).ok_or_else(|| "must be two times of day from 00:00 to 23:59, such as 21:00-08:00".into())
}

/// The name of a time zone, as IANA writes it.
pub(super) fn time_zone(text: &str) -> Read<String> {
    quiet_hours::time_zone_name(text)
        .ok_or_else(|| "must be the IANA name of a time zone, such as Europe/Berlin".into())
}

/// A value of `<Gather speechModel>`: a generic one, one of Google's, or any of Deepgram's behind its prefix.
pub(super) fn speech_model(text: &str) -> Read<String> {
    const LISTED: [&str; 9] = [
        "default",
        "numbers_and_commands",
        "phone_call",
        "experimental_conversations",
        "experimental_utterances",
        "googlev2_long",
        "googlev2_short",
        "googlev2_telephony",
        "googlev2_telephony_short",
    ];
    let is_deepgrams = text.strip_prefix("deepgram_").is_some_and(|model| {
        !model.is_empty() && model.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    if is_deepgrams || LISTED.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be one of {}, or a model of Deepgram's such as deepgram_nova-3", LISTED.join(", ")))
    }
}

/// A comma-separated list of at most 500 words and phrases of at most 100 characters each, as `<Gather hints>` takes
/// it. In all they leave room for the answer in a document, which may have 64 kB.
pub(super) fn speech_hints(text: &str) -> Read<String> {
    let hints = list(text, |hint| match hint.chars().count() {
        ..=100 => line(hint),
        _ => Err("must be words and phrases of at most 100 characters".into()),
    })?;
    let joined = hints.join(",");
    if hints.len() <= 500 && joined.len() <= 6_000 {
        Ok(joined)
    } else {
        Err("must be at most 500 words and phrases, and 6000 bytes in all".into())
    }
}

/// A host name or address as a `Host` header gives it, in lower case and without its port.
pub(super) fn host_name(text: &str) -> Read<String> {
    let expected = "must be host names without scheme and port, such as gateway.example.com";
    let authority: http::uri::Authority = text.parse().map_err(|_| expected)?;
    if authority.host() != text || text.contains('*') {
        return Err(expected.into());
    }
    Ok(text.to_ascii_lowercase())
}

/// `AC` and 32 hexadecimal digits.
pub(super) fn account_sid(text: &str) -> Read<AccountSid> {
    AccountSid::parse(text)
        .ok_or_else(|| "must be AC and 32 hexadecimal digits, as Twilio's console shows it".to_owned())
}

/// `MG` and 32 hexadecimal digits.
pub(super) fn messaging_service_sid(text: &str) -> Read<String> {
    let digits = text.strip_prefix("MG").unwrap_or_default();
    if digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        Ok(text.to_owned())
    } else {
        Err("must be MG and 32 hexadecimal digits, as Twilio's console shows it".into())
    }
}

/// One auth token, or several separated by commas.
pub(super) fn auth_tokens(text: &str) -> Read<Vec<SecretString>> {
    let tokens = list(text, |token| key(token, 1))?;
    if tokens.is_empty() { Err("must hold a token".into()) } else { Ok(tokens) }
}

/// A key of at least `shortest` characters that fits into an HTTP header.
pub(super) fn key(text: &str, shortest: usize) -> Read<SecretString> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must consist of printable ASCII characters without blanks".into());
    }
    if text.len() < shortest {
        return Err(format!("must have at least {shortest} characters"));
    }
    Ok(SecretString::from(text))
}

/// An absolute address that Twilio calls, kept as it is written.
pub(super) fn web_address(text: &str) -> Read<String> {
    let uri: Option<http::Uri> = text.parse().ok();
    let is_web = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some());
    if is_web { Ok(text.to_owned()) } else { Err("must be an address such as https://example.com/reports".into()) }
}

/// The address of an OpenAI-compatible server up to its version.
pub(super) fn model_base_url(text: &str) -> Read<String> {
    let base = super::PublicUrl::parse_service(text)?;
    if base.ends_with("/chat/completions") {
        return Err("must be the address before /chat/completions, such as https://api.openai.com/v1".into());
    }
    Ok(base)
}
