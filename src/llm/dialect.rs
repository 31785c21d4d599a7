//! Which of the optional request fields a server takes, learned from its refusals.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::retry::Failure;

const COMPLETION_TOKENS: u8 = 1;
const NO_TEMPERATURE: u8 = 2;
const NO_STREAM_OPTIONS: u8 = 4;
const NO_SCHEMA: u8 = 8;
const NO_JSON: u8 = 16;
const NO_TOOLS: u8 = 32;
const NO_IMAGES: u8 = 64;

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
        Dialect { bits: self.0.load(Relaxed), changed: 0, once: 0 }
    }

    /// Keeps what a request that succeeded found out. Of two at the same time the later wins; the other's finding is
    /// found again.
    pub(super) fn keep(&self, dialect: Dialect) {
        if dialect.changed & !dialect.once != 0 {
            self.0.store(dialect.bits & !dialect.once, Relaxed);
        }
    }
}

/// How one request speaks to the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    bits: u8,
    /// What this request has changed already: nothing is changed twice.
    changed: u8,
    /// What is left out of this request alone.
    once: u8,
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

    pub(super) fn images(self) -> bool {
        !self.has(NO_IMAGES)
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
        // It may be that the model sees no pictures, or only that something is wrong with these.
        let shown = asked.images && self.images() && matches!(status, 400 | 404 | 413 | 415 | 422 | 500 | 501);
        let about_images = shown && names(&["image", "multimodal", "mmproj", "vision"]);
        let sees_none = about_images
            && !names(&["unsupported image"])
            && names(&[
                "not support",
                "only supported",
                "support image",
                "unknown variant",
                "not a multimodal",
                "mmproj",
                "at most 0",
                "missing data required",
            ]);
        let change = match self.format() {
            Format::Schema if asked.form && about_form => NO_SCHEMA,
            Format::Object if asked.form && about_form => NO_JSON,
            _ if about_images => NO_IMAGES,
            _ if invalid && self.stream_options() && names(&["stream_options"]) => NO_STREAM_OPTIONS,
            _ if asked.tools && self.tools() && about_tools => NO_TOOLS,
            _ if invalid && self.temperature() && names(&["temperature"]) => NO_TEMPERATURE,
            _ if invalid && names(&["max_tokens", "max_completion_tokens"]) => COMPLETION_TOKENS,
            _ if shown && !matches!(status, 404 | 500 | 501) => NO_IMAGES,
            _ => return None,
        };
        let once = if change == NO_IMAGES && !sees_none { NO_IMAGES } else { 0 };
        (self.changed & change == 0).then_some(Self {
            bits: self.bits ^ change,
            changed: self.changed | change,
            once: self.once | once,
        })
    }
}

/// What a request asks for that not every one does.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// An answer of a certain form.
    pub form: bool,
    /// Tools may be called.
    pub tools: bool,
    /// Pictures are shown.
    pub images: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Asked = Asked { form: false, tools: false, images: false };
    const FORM: Asked = Asked { form: true, ..PLAIN };
    const TOOLS: Asked = Asked { tools: true, ..PLAIN };
    const IMAGES: Asked = Asked { images: true, ..FORM };

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
    fn pictures_are_left_out_for_good_only_when_the_model_sees_none() {
        for (status, body, for_good) in [
            (400, "Invalid content type. image_url is only supported by certain models.", true),
            (404, "No endpoints found that support image input", true),
            (400, "llama3 is not a multimodal model", true),
            (500, "image input is not supported - hint: you may need to provide the mmproj", true),
            (422, "messages[1]: unknown variant `image_url`, expected `text`", true),
            (400, "You uploaded an unsupported image. Please make sure your image is valid.", false),
            (413, "Request Entity Too Large", false),
            (422, "Input should be a valid string", false),
        ] {
            let learned = Learned::default();
            let without = learned.dialect().adapted(&refused(status, body), IMAGES).expect(body);
            assert!(!without.images() && without.adapted(&refused(status, body), IMAGES).is_none());
            assert!(learned.dialect().adapted(&refused(status, body), FORM).is_none(), "{body}");
            learned.keep(without);
            assert_eq!(learned.dialect().images(), !for_good, "{body}");
        }
        for (status, body) in [(500, "function crashed"), (429, "image"), (401, "image"), (404, "no such model")] {
            assert!(Learned::default().dialect().adapted(&refused(status, body), IMAGES).is_none(), "{body}");
        }
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
