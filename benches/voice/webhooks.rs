//! Answers told sentence by sentence over webhooks: many calls at once, and models that keep their callers waiting.

use crate::call::{Call, Step};
use crate::common::Failure;
use crate::common::server::Server;
use crate::report::Calls;
use crate::script::{Faults, Pace, Script};
use futures_util::future::try_join_all;
use std::time::Duration;
use tokio::time::sleep;

/// Calls at the same time.
pub const CALLS: usize = 200;
/// Sentences of an answer.
const SENTENCES: usize = 8;

/// [`CALLS`] calls of so many turns that begin evenly spread over `spread`. The caller breaks in as soon as the last
/// part of an answer begins; `first` is the number of the first call.
pub async fn speak(
    server: &Server,
    script: &Script,
    turns: usize,
    spread: Duration,
    first: usize,
) -> Result<Calls, Failure> {
    let pace = Pace::new(Duration::from_millis(500), 30);
    let one = async |place: usize| -> Result<Calls, Failure> {
        sleep(spread * u32::try_from(place)? / u32::try_from(CALLS)?).await;
        let mut call = Call::open(server, first + place).await?;
        let mut heard = Calls::default();
        for _ in 0..turns {
            let answer = script.answer(pace, SENTENCES);
            let steps = call.asks(&answer).await?;
            let told = steps.iter().find(|step| step.tells()).ok_or("an answer was not told at all")?;
            heard.first_words.push(told.answered.saturating_duration_since(answer.first_sentence()?));
            heard.turns.push(steps[0].wait());
            heard.parts.extend(steps[1..].iter().map(Step::wait));
            heard.pauses += steps.iter().filter(|step| !step.tells()).count();
            heard.faults = heard.faults.plus(faults(&steps, &answer));
        }
        call.hang_up().await?;
        Ok(heard)
    };
    let heard = try_join_all((0..CALLS).map(one)).await?;
    Ok(heard.into_iter().fold(Calls::default(), Calls::plus))
}

fn faults(steps: &[Step], answer: &crate::script::Answer) -> Faults {
    let heard: Vec<_> = steps.iter().map(|step| step.says.as_str()).collect();
    answer.faults(&heard.join(" "))
}

/// What came of a model that keeps its callers waiting.
pub struct Late {
    /// From the request to the model's first token.
    pub delay: Duration,
    /// The longest that a webhook waited for its answer.
    pub worst: Duration,
    /// Webhooks of all these calls.
    pub webhooks: usize,
    /// From the question to the first words of the answer, or to the apology.
    pub told_after: Duration,
    /// Whether the answer was told.
    pub told: bool,
}

/// Calls for each delay.
const EACH: usize = 5;

/// Calls whose model is silent at first, for 0 to 60 seconds, all at the same time.
pub async fn wait(server: &Server, script: &Script, first: usize) -> Result<Vec<Late>, Failure> {
    let delays = [0, 1, 2, 5, 10, 30, 60].map(Duration::from_secs);
    let one = async |place: usize| -> Result<Late, Failure> {
        let delay = delays[place / EACH];
        let answer = script.answer(Pace::new(delay, 30), SENTENCES);
        let mut call = Call::open(server, first + place).await?;
        let steps = call.asks(&answer).await?;
        call.hang_up().await?;
        let told = steps.iter().position(Step::tells);
        if told.is_some() && faults(&steps, &answer) != Faults::default() {
            return Err(format!("after a delay of {delay:?} the answer was not told as it was written").into());
        }
        let worst = steps.iter().map(Step::wait).max().unwrap_or_default();
        let telling = &steps[told.unwrap_or(steps.len() - 1)];
        let told_after = telling.answered - steps[0].sent;
        Ok(Late { delay, worst, webhooks: steps.len(), told_after, told: told.is_some() })
    };
    let calls = try_join_all((0..delays.len() * EACH).map(one)).await?;
    let of_delay = |calls: &[Late]| Late {
        delay: calls[0].delay,
        worst: calls.iter().map(|call| call.worst).max().unwrap_or_default(),
        webhooks: calls.iter().map(|call| call.webhooks).sum(),
        told_after: calls.iter().map(|call| call.told_after).max().unwrap_or_default(),
        told: calls.iter().all(|call| call.told),
    };
    Ok(calls.chunks(EACH).map(of_delay).collect())
}
