//! Which of the optional request fields a server takes, learned from its refusals.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::retry::Failure;

const COMPLETION_TOKENS: u8 = 1;
const NO_TEMPERATURE: u8 = 2;
const NO_STREAM_OPTIONS: u8 = 4;
const NO_SCHEMA: u8 = 8;
const NO_JSON: u8 = 16;
const NO_TOOLS: u8 = 32;

/// How the form of an answer is asked for, besides in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `json_schema`, strict.
    Schema,
    /// `json_object`.
    Object,
    /// Not at all.
    Plain,
}

/// What is known of a server, shared by all requests to it.
#[derive(Debug, Default)]
pub(super) struct Learned(AtomicU8);

impl Learned {
    pub(super) fn dialect(&self) -> Dialect {
        Dialect { bits: self.0.load(Relaxed), changed: 0 }
    }

    /// Keeps what a request that succeeded found out. Of two at the same time the later wins; the other's finding is
    /// found again.
    pub(super) fn keep(&self, dialect: Dialect) {
        if dialect.changed != 0 {
            self.0.store(dialect.bits, Relaxed);
        }
    }
}

/// How one request speaks to the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    bits: u8,
    /// What this request has changed already: nothing is changed twice.
    changed: u8,
}

impl Dialect {
    fn has(self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    /// `max_completion_tokens` (newer OpenAI models know only that) in place of `max_tokens` (older servers only that).
    pub(super) fn completion_tokens(self) -> bool {
        self.has(COMPLETION_TOKENS)
    }

    pub(super) fn temperature(self) -> bool {
        !self.has(NO_TEMPERATURE)
    }

    pub(super) fn stream_options(self) -> bool {
        !self.has(NO_STREAM_OPTIONS)
    }

    pub(super) fn tools(self) -> bool {
        !self.has(NO_TOOLS)
    }

    pub(super) fn format(self) -> Format {
        if self.has(NO_JSON) {
            Format::Plain
        } else if self.has(NO_SCHEMA) {
            Format::Object
        } else {
            Format::Schema
        }
    }

    /// The dialect to try after this refusal, if it is about one of the fields that were `asked`, or that every request
    /// has.
    pub(super) fn adapted(self, failure: &Failure, asked: Asked) -> Option<Self> {
        let Failure::Status { status, body, .. } = failure else { return None };
        let body = body.to_ascii_lowercase();
        let names = |words: &[&str]| words.iter().any(|word| body.contains(word));
        let invalid = matches!(status, 400 | 422);
        let about_form = match status {
            501 => true,
            // 500: some servers fail over a form that they do not know.
            400 | 404 | 422 | 500 => names(&["response_format", "json_schema", "json_object"]),
            _ => false,
        };
        let about_tools = match status {
            400 | 404 | 422 | 501 => names(&["tool", "function"]),
            // A failure of another kind may name a function of the server's own.
            500 => names(&["tools", "tool_choice", "tool call"]),
            _ => false,
        };
        let change = match self.format() {
            Format::Schema if asked.form && about_form => NO_SCHEMA,
            Format::Object if asked.form && about_form => NO_JSON,
            _ if invalid && self.stream_options() && names(&["stream_options"]) => NO_STREAM_OPTIONS,
            _ if asked.tools && self.tools() && about_tools => NO_TOOLS,
            _ if invalid && self.temperature() && names(&["temperature"]) => NO_TEMPERATURE,
            _ if invalid && names(&["max_tokens", "max_completion_tokens"]) => COMPLETION_TOKENS,
            _ => return None,
        };
        (self.changed & change == 0).then_some(Self { bits: self.bits ^ change, changed: self.changed | change })
    }
}

/// What a request asks for that not every one does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// An answer of a certain form.
    pub form: bool,
    /// Tools may be called.
    pub tools: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Asked = Asked { form: false, tools: false };
    const FORM: Asked = Asked { form: true, tools: false };
    const TOOLS: Asked = Asked { form: false, tools: true };

    fn refused(status: u16, body: &str) -> Failure {
        Failure::Status { status, retry_after: None, body: body.into() }
    }

    #[test]
    fn token_field_is_switched_once_in_either_direction() {
        let learned = Learned::default();
        let newer = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.";
        let changed = learned.dialect().adapted(&refused(400, newer), PLAIN).unwrap();
        assert!(changed.completion_tokens());
        assert!(changed.adapted(&refused(400, "max_completion_tokens is too large"), PLAIN).is_none());
        learned.keep(changed);
        let older = refused(422, r#"{"detail":[{"loc":["body","max_completion_tokens"]}]}"#);
        assert!(!learned.dialect().adapted(&older, PLAIN).unwrap().completion_tokens());
    }

    #[test]
    fn the_form_steps_down_and_only_where_one_was_asked_for() {
        let body = refused(400, "'response_format' of type 'json_schema' is not supported");
        let fresh = Learned::default().dialect();
        assert!(fresh.adapted(&body, PLAIN).is_none());
        let object = fresh.adapted(&body, FORM).unwrap();
        assert_eq!(object.format(), Format::Object);
        let plain = object.adapted(&refused(501, ""), FORM).unwrap();
        assert_eq!(plain.format(), Format::Plain);
        assert!(plain.adapted(&body, FORM).is_none());
        assert!(fresh.adapted(&refused(404, "no such model"), FORM).is_none());
    }

    #[test]
    fn other_fields_are_left_out_when_named() {
        let fresh = Learned::default().dialect();
        assert!(!fresh.adapted(&refused(400, "'temperature' does not support 0.7"), PLAIN).unwrap().temperature());
        assert!(!fresh.adapted(&refused(422, "extra fields: stream_options"), PLAIN).unwrap().stream_options());
        assert!(fresh.adapted(&refused(401, "temperature"), PLAIN).is_none());
        assert!(fresh.adapted(&Failure::Connection, FORM).is_none());
    }

    #[test]
    fn tools_are_left_out_when_refused_and_only_where_some_were_offered() {
        let fresh = Learned::default().dialect();
        for (status, body) in [
            (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
            (400, r#""auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"#),
            (404, "No endpoints found that support tool use."),
            (422, r#"{"detail":[{"loc":["body","tools"],"msg":"Extra inputs are not permitted"}]}"#),
            (500, "tools param requires --jinja flag"),
            (501, "Function calling is not implemented"),
        ] {
            let without = fresh.adapted(&refused(status, body), TOOLS).expect(body);
            assert!(!without.tools());
            assert!(without.adapted(&refused(status, body), TOOLS).is_none());
            assert!(fresh.adapted(&refused(status, body), PLAIN).is_none());
        }
        for (status, body) in [(500, "function crashed"), (429, "tools"), (401, "tools"), (404, "no such model")] {
            assert!(fresh.adapted(&refused(status, body), TOOLS).is_none(), "{body}");
        }
    }
}
