//! Asking the model server: requests, retries, and asking again for an unusable answer.

use std::time::Duration;

use async_openai::Client;
use tokio::time::Instant;

use super::{
    Completion, Decision, LlmError, Prompt, Summary,
    answer::{self, Flaw},
    decide,
    dialect::{Asked, Dialect, Learned},
    endpoint::{Endpoint, SetupError, connect},
    form::Form,
    retry::{Failure, Policy},
    summarise,
    wire::{Messages, Raw, Reply, Request, StreamOptions},
};
use crate::config::{LlmConfig, SpeechConfig};

/// A model server and what is known of it.
pub struct Live {
    pub(super) client: Client<Endpoint>,
    pub(super) learned: Learned,
    pub(super) policy: Policy,
    /// The longest silence between two pieces of a streamed answer.
    pub(super) gap: Duration,
    pub(super) speech: SpeechConfig,
    model: String,
    max_tokens: u32,
    temperature: f32,
}

/// What the model is asked in one go.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub prompt: &'a Prompt,
    /// What the answer has to look like, besides words.
    pub form: Option<&'static Form>,
    /// What is added because of the last answer, or empty.
    pub nudge: &'static str,
}

impl<'a> Question<'a> {
    pub(super) fn new(prompt: &'a Prompt, form: Option<&'static Form>) -> Self {
        Self { prompt, form, nudge: "" }
    }

    /// Whole answers offer no tools: their callers could not run them.
    pub(super) fn asked(&self, stream: bool) -> Asked {
        Asked {
            form: self.form.is_some(),
            tools: stream && !self.prompt.tools.is_empty(),
            images: self.prompt.messages.iter().any(|message| !message.images.is_empty()),
        }
    }
}

impl Live {
    pub(super) fn new(config: &LlmConfig) -> Result<Self, SetupError> {
        Ok(Self {
            client: connect(config)?,
            learned: Learned::default(),
            policy: Policy { max_retries: config.max_retries, delay: config.retry_delay },
            gap: config.timeout,
            speech: config.speech.clone(),
            model: config.model.clone(),
            max_tokens: config.max_tokens,
            temperature: config.temperature,
        })
    }

    pub(super) async fn complete(&self, prompt: &Prompt, timeout: Duration) -> Result<Completion, LlmError> {
        let read = |raw: &Raw| answer::checked(raw).map(str::to_owned);
        let save = |raw: &Raw| answer::repaired(&raw.text).map(str::to_owned);
        let (text, cost) = self.settle(Question::new(prompt, None), timeout, read, save).await?;
        let Cost { input_tokens, output_tokens, model } = cost;
        Ok(Completion { text, input_tokens, output_tokens, model })
    }

    pub(super) async fn decide(&self, prompt: &Prompt, timeout: Duration) -> Result<Decision, LlmError> {
        let question = Question::new(prompt, Some(&decide::FORM));
        let (decided, cost) = self.settle(question, timeout, decide::read, decide::save).await?;
        let Cost { input_tokens, output_tokens, model } = cost;
        let decide::Decided { verdict, confidence, reason, reply_text } = decided;
        Ok(Decision { verdict, confidence, reason, reply_text, input_tokens, output_tokens, model })
    }

    pub(super) async fn summarise(&self, prompt: &Prompt, timeout: Duration) -> Result<Summary, LlmError> {
        let question = Question::new(prompt, Some(&summarise::FORM));
        let (summarised, cost) = self.settle(question, timeout, summarise::read, summarise::save).await?;
        let Cost { input_tokens, output_tokens, model } = cost;
        Ok(Summary { summary: summarised.summary, requests: summarised.requests, input_tokens, output_tokens, model })
    }

    /// Asks, and once more if what came cannot be used. `read` checks an answer; `save` makes what it can of one that
    /// was cut, and is tried when the second answer is no better or does not come at all.
    async fn settle<T>(
        &self,
        question: Question<'_>,
        timeout: Duration,
        read: impl Fn(&Raw) -> Result<T, Flaw>,
        save: impl Fn(&Raw) -> Option<T>,
    ) -> Result<(T, Cost), LlmError> {
        let deadline = Instant::now() + timeout;
        let ask = |question| self.policy.run(deadline, move || self.send(question));
        let first = ask(question).await?;
        let mut cost = Cost::of(&first, &self.model);
        let flaw = match read(&first) {
            Ok(good) => return Ok((good, cost)),
            Err(flaw) => flaw,
        };
        tracing::debug!(?flaw, "Asking the model once more");
        let saved = |raw: &Raw, flaw| if flaw == Flaw::Cut { save(raw) } else { None };
        let (settled, failure) = match ask(Question { nudge: flaw.nudge(), ..question }).await {
            Err(failure) => (None, failure),
            Ok(second) => {
                cost.add(&second);
                match read(&second) {
                    Ok(good) => (Some(good), LlmError::Unusable(flaw.reason())),
                    Err(flaw) => (saved(&second, flaw), LlmError::Unusable(flaw.reason())),
                }
            }
        };
        settled.or_else(|| saved(&first, flaw)).map(|good| (good, cost)).ok_or(failure)
    }

    /// One request for a whole answer; repeated at once, differently put, when the server refuses one of its fields.
    async fn send(&self, question: Question<'_>) -> Result<Raw, Failure> {
        let mut dialect = self.learned.dialect();
        loop {
            let request = self.request(question, dialect, false);
            match self.client.chat().create_byot::<_, Reply>(&request).await.map_err(Failure::from) {
                Ok(reply) => {
                    let mut raw = Raw::default();
                    raw.text = raw.absorb(reply)?.text;
                    self.learned.keep(dialect);
                    return Ok(raw);
                }
                // As good as an empty answer: it is asked for once more, not retried.
                Err(Failure::Unreadable) => return Ok(Raw::default()),
                Err(failure) => dialect = dialect.adapted(&failure, question.asked(false)).ok_or(failure)?,
            }
        }
    }

    pub(super) fn request<'a>(&'a self, question: Question<'a>, dialect: Dialect, stream: bool) -> Request<'a> {
        let (form, response_format) =
            question.form.map_or(("", None), |form| (form.instructions, form.response_format(dialect.format())));
        let offered = question.asked(stream).tools && dialect.tools();
        let (max_tokens, max_completion_tokens) = match dialect.completion_tokens() {
            true => (None, Some(self.max_tokens)),
            false => (Some(self.max_tokens), None),
        };
        Request {
            model: &self.model,
            messages: Messages { prompt: question.prompt, appended: [form, question.nudge], images: dialect.images() },
            max_tokens,
            max_completion_tokens,
            temperature: dialect.temperature().then_some(self.temperature),
            response_format,
            tools: if offered { &question.prompt.tools } else { &[] },
            stream,
            stream_options: (stream && dialect.stream_options()).then_some(StreamOptions { include_usage: true }),
        }
    }

    /// The model's name as the server gave it, else as configured.
    pub(super) fn model_named(&self, answered: String) -> String {
        if answered.is_empty() { self.model.clone() } else { answered }
    }
}

/// Tokens of all answers to one question, and who gave them.
struct Cost {
    input_tokens: u32,
    output_tokens: u32,
    model: String,
}

impl Cost {
    fn of(raw: &Raw, configured: &str) -> Self {
        let model = if raw.model.is_empty() { configured } else { &raw.model };
        Self { input_tokens: raw.input_tokens, output_tokens: raw.output_tokens, model: model.to_owned() }
    }

    fn add(&mut self, raw: &Raw) {
        self.input_tokens = self.input_tokens.saturating_add(raw.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(raw.output_tokens);
    }
}
