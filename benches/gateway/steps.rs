//! The pure steps of a webhook, timed in this process.

use crate::common::text::text;
use crate::common::{Failure, form};
use std::hint::black_box;
use std::time::{Duration, Instant};
use switchboard::twilio::form::Form;
use switchboard::twilio::signature::{Payload, Verifier};
use switchboard::twilio::twiml::{self, Documents, Speaking};
use switchboard::twilio::voices::Voice;

/// Rounds timed together, so that reading the clock does not count; few enough that the system rarely interrupts them.
const ROUNDS: u32 = 200;
/// Timings of which the median is taken.
const BATCHES: usize = 801;

/// One step's figure.
pub struct Step {
    /// In the table.
    pub name: &'static str,
    /// How long it takes.
    pub median: Duration,
    /// What it must stay under.
    pub bar: Option<Duration>,
}

/// Times them all.
pub fn measure() -> Result<Vec<Step>, Failure> {
    let url = "https://gateway.example.com/twilio/sms";
    let pairs = text(1);
    let (body, signature) = (form::encoded(&pairs), form::signature(url, &pairs));
    let verifier = Verifier::new([form::AUTH_TOKEN]);
    let accepts = |form: &Form<'_>| verifier.accepts(Some(black_box(signature.as_bytes())), url, &Payload::Form(form));
    let parsed = Form::parse(body.as_bytes());
    if parsed.pairs().len() != 20 || !accepts(&parsed) {
        return Err("the gateway's signature check refuses the bench's own form of 20 parameters".into());
    }

    let documents = Documents::load(None)?;
    let voice = Voice { name: "Polly.Ruth-Neural", language: "en-US" };
    let how = Speaking { voice, recognition: "en-US", speech_model: "", hints: "" };
    let say = ["Sure! Friday at half past twelve it is, at the café & bar.".to_owned(), "Anything else?".to_owned()];
    let answer = || twiml::say_and_gather(&documents.answer, how, &black_box(&say)[..], "/twilio/voice/turns/2");
    if !answer().contains("café &amp; bar") {
        return Err(format!("the answer does not hold what was to be said: {}", answer()).into());
    }

    let micros = |count| Some(Duration::from_micros(count));
    Ok(vec![
        Step {
            name: "signature check, form of 20 parameters",
            median: median(|| accepts(&Form::parse(black_box(body.as_bytes())))),
            bar: micros(5),
        },
        Step { name: "  of which without reading the form", median: median(|| accepts(black_box(&parsed))), bar: None },
        Step { name: "rendered answer", median: median(answer), bar: micros(3) },
    ])
}

/// How long one round of `step` takes in the median batch.
fn median<T>(step: impl Fn() -> T) -> Duration {
    let mut batches: Vec<Duration> = (0..BATCHES)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..ROUNDS {
                black_box(step());
            }
            started.elapsed()
        })
        .collect();
    batches.sort_unstable();
    batches[BATCHES / 2] / ROUNDS
}
