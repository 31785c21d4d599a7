use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tracing::{debug, error, info, info_span, warn};

use super::*;
use crate::config::LogFormat;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Captured {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

fn logged(level: LevelFilter, format: LogFormat, events: impl FnOnce()) -> Vec<String> {
    let captured = Captured::default();
    tracing::subscriber::with_default(subscriber(&LogConfig { level, format }, captured.clone()), events);
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn text(events: impl FnOnce()) -> Vec<String> {
    logged(LevelFilter::INFO, LogFormat::Text, events)
}

/// Checks that the line starts with a time of the pattern's shape (0 stands for a digit) and gives what follows.
fn after_time<'a>(line: &'a str, pattern: &str) -> &'a str {
    let (time, rest) = line.split_at(pattern.len());
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, pattern);
    rest
}

#[test]
fn a_text_line_reads_as_documented() {
    let lines = text(|| {
        let _request = info_span!("request", request.id = "r-1", call.sid = tracing::field::Empty).entered();
        tracing::Span::current().record("call.sid", "CA1");
        info!(target: "switchboard::webhooks::voice", turn_ms = 412, "Answered turn {}", 3);
        warn!(target: "switchboard::llm", error = %"no route, yet", request.id = "r-2", "Failed");
    });
    let rests: Vec<_> = lines.iter().map(|line| after_time(line, "0000-00-00 00:00:00")).collect();
    assert_eq!(
        rests,
        [
            " - switchboard::webhooks::voice - INFO - Answered turn 3 (turn_ms=412, request.id=r-1, call.sid=CA1)",
            " - switchboard::llm - WARNING - Failed (error=\"no route, yet\", request.id=r-2, call.sid=CA1)",
        ]
    );
}

#[test]
fn a_json_line_is_one_flat_object() {
    let lines = logged(LevelFilter::INFO, LogFormat::Json, || {
        let _outer = info_span!("request", request.id = "r-1", attempt = 1).entered();
        let _inner = info_span!("turn", attempt = 2).entered();
        warn!(target: "switchboard::llm", turn_ms = 412, ratio = 0.5, ok = true, level = "odd", "Slow\n\"answer\"");
    });
    assert_eq!(lines.len(), 1);
    after_time(&lines[0], "{\"timestamp\":\"0000-00-00T00:00:00.000000Z\"");
    let mut object: Value = serde_json::from_str(&lines[0]).unwrap();
    object.as_object_mut().unwrap().remove("timestamp");
    let expected = json!({
        "level": "WARNING", "target": "switchboard::llm", "message": "Slow\n\"answer\"", "turn_ms": 412, "ratio": 0.5,
        "ok": true, "field.level": "odd", "attempt": 2, "request.id": "r-1",
    });
    assert_eq!(object, expected);
}

#[test]
fn an_entry_stays_one_line_and_cannot_be_forged() {
    let forged = "x\n2026-01-15 10:30:00 - switchboard - INFO - forged\r\u{1b}[31m\u{2028}\u{202e}";
    for format in [LogFormat::Text, LogFormat::Json] {
        let lines = logged(LevelFilter::INFO, format, || info!(path = forged, quoted = "a\"b", empty = "", "{forged}"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(!lines[0].contains(char::is_control));
    }
    let line = text(|| info!(quoted = "a\"b", empty = "", "{forged}")).remove(0);
    assert!(line.ends_with(r#"forged\r\u{1b}[31m\u{2028}\u{202e} (quoted="a\"b", empty="")"#), "{line}");
}

#[test]
fn levels_and_other_crates_are_filtered() {
    let everything = || {
        error!(target: "switchboard", "1");
        warn!(target: "switchboard::db", "2");
        info!(target: "switchboard::db", "3");
        debug!(target: "switchboard::db", "4");
        error!(target: "async_openai::client", "5");
        warn!(target: "sqlx::query", "6");
        info!(target: "hyper", "7");
    };
    for (level, expected) in [
        (LevelFilter::ERROR, "1"),
        (LevelFilter::WARN, "126"),
        (LevelFilter::INFO, "1236"),
        (LevelFilter::DEBUG, "12346"),
        (LevelFilter::TRACE, "12346"),
    ] {
        let lines = logged(level, LogFormat::Text, everything);
        let messages: String = lines.iter().filter_map(|line| line.chars().last()).collect();
        assert_eq!(messages, expected, "{level}");
    }
}

#[test]
fn the_request_id_is_shown_at_every_level() {
    let lines = logged(LevelFilter::ERROR, LogFormat::Text, || {
        let _request = info_span!(target: "switchboard::routes", "request", request.id = "r-1").entered();
        info!(target: "switchboard", "hidden");
        error!(target: "switchboard", "shown");
    });
    assert_eq!(lines.len(), 1);
    assert!(lines[0].ends_with("shown (request.id=r-1)"), "{lines:?}");
}
