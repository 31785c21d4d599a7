//! What a log line looks like. However long its parts are and whatever they hold, an entry is one line.

use std::fmt::Write;

use serde_json::Value;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use tracing::Level;
use tracing_subscriber::fmt::time::{FormatTime, UtcTime};

use super::layer::Fields;
use crate::config::LogFormat;

const TEXT_TIME: StaticFormatDescription = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const JSON_TIME: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// The time in UTC: to the second for people, RFC 3339 with microseconds for programs.
pub(super) fn clock(format: LogFormat) -> Box<dyn FormatTime + Send + Sync> {
    Box::new(UtcTime::new(match format {
        LogFormat::Text => TEXT_TIME,
        LogFormat::Json => JSON_TIME,
    }))
}

/// One event and what is known around it.
pub(super) struct Entry<'a> {
    pub time: &'a str,
    pub level: Level,
    pub target: &'a str,
    pub message: &'a str,
    pub fields: &'a Fields,
}

impl Entry<'_> {
    /// The entry as one line, its line break included.
    pub fn line(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Text => self.text(),
            LogFormat::Json => self.json(),
        }
    }

    /// `time - target - LEVEL - message (name=value, …)`
    fn text(&self) -> String {
        let mut line = format!("{} - {} - {} - ", self.time, self.target, level_name(self.level));
        push_visible(&mut line, self.message);
        for (index, (name, value)) in self.fields.iter().enumerate() {
            line.push_str(if index == 0 { " (" } else { ", " });
            line.push_str(name);
            line.push('=');
            push_value(&mut line, value);
        }
        if self.fields.iter().next().is_some() {
            line.push(')');
        }
        line.push('\n');
        line
    }

    /// `{"timestamp":…,"level":…,"target":…,"message":…,"name":value,…}`
    fn json(&self) -> String {
        const OWN: [&str; 4] = ["timestamp", "level", "target", "message"];
        let own = [self.time, level_name(self.level), self.target, self.message].map(Value::from);
        let mut line = String::new();
        for (name, value) in OWN.into_iter().zip(&own) {
            push_member(&mut line, name, value);
        }
        for (name, value) in self.fields.iter() {
            // No name may be there twice.
            if OWN.contains(&name) {
                push_member(&mut line, &format!("field.{name}"), value);
            } else {
                push_member(&mut line, name, value);
            }
        }
        line.push_str("}\n");
        line
    }
}

/// The names that Python's logging uses, which readers of the service's older logs know.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

fn push_member(line: &mut String, name: &str, value: &Value) {
    line.push(if line.is_empty() { '{' } else { ',' });
    // Writing to a string cannot fail.
    let _ = write!(line, "{}:{value}", Value::from(name));
}

/// A text is put between quotes where it could be taken for something else.
fn push_value(line: &mut String, value: &Value) {
    let Value::String(text) = value else {
        let _ = write!(line, "{value}");
        return;
    };
    if !text.is_empty() && !text.contains([' ', ',', '=', '(', ')', '"']) {
        return push_visible(line, text);
    }
    line.push('"');
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            line.push_str("\\\"");
        }
        push_visible(line, part);
    }
    line.push('"');
}

/// The text with everything escaped that would break the line, drive a terminal or turn the reading order round.
fn push_visible(line: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                line.extend(character.escape_unicode());
            }
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
}
