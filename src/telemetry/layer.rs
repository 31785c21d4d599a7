//! Gathers what an event says, together with the fields of the spans around it.

use std::fmt;
use std::io::Write;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::format::{self, Entry};
use crate::config::LogFormat;

/// Writes each event as one line with one call of the writer, so that lines of several threads do not mix.
pub(super) struct LogLayer<W> {
    format: LogFormat,
    clock: Box<dyn FormatTime + Send + Sync>,
    writer: W,
}

impl<W> LogLayer<W> {
    pub fn new(format: LogFormat, writer: W) -> Self {
        Self { format, clock: format::clock(format), writer }
    }
}

/// Names with their values, in the order in which they were given; no name twice.
#[derive(Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(own, _)| *own == name) {
            Some((_, own)) => *own = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds what is not known yet: the event's own word, then the innermost span's, counts.
    fn add_missing(&mut self, others: &Self) {
        for (name, value) in others.iter() {
            if !self.0.iter().any(|(own, _)| *own == name) {
                self.0.push((name, value.clone()));
            }
        }
    }

    fn take_message(&mut self) -> String {
        let Some(index) = self.0.iter().position(|(name, _)| *name == "message") else { return String::new() };
        match self.0.remove(index).1 {
            Value::String(message) => message,
            other => other.to_string(),
        }
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), format!("{value:?}").into());
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.take_message();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.add_missing(of_span);
            }
        }
        let mut time = String::new();
        if self.clock.format_time(&mut Writer::new(&mut time)).is_err() {
            time.push_str("unknown time");
        }
        let metadata = event.metadata();
        let entry = Entry {
            time: &time,
            level: *metadata.level(),
            target: metadata.target(),
            message: &message,
            fields: &fields,
        };
        let line = entry.line(self.format);
        // Where standard error is gone there is nobody left to tell.
        let _ = self.writer.make_writer_for(metadata).write_all(line.as_bytes());
    }
}
