//! Sums up a call that is over: what was said in a paragraph, and what the caller asked for as a list.

use super::claim::Setback;
use crate::clock::{Micros, SECOND};
use crate::conversation::party::{Directory, Person};
use crate::db::Db;
use crate::db::jobs::Job;
use crate::db::summaries::Spoken;
use crate::llm::{Llm, Message, Prompt};
use std::sync::Arc;
use std::time::Duration;
use tracing::info;

/// A call that could not be summed up in this time is given up.
pub(super) const GIVE_UP_AFTER: Micros = 4 * 3600 * SECOND;
/// The turns that are read, from the end of the call.
const MOST_TURNS: i64 = 200;

/// Sums up calls. Cheap to clone.
#[derive(Clone)]
pub struct Summariser {
    /// Where calls, turns and jobs are.
    pub db: Db,
    /// Whose calls they are.
    pub directory: Directory,
    /// Who sums up.
    pub llm: Arc<Llm>,
    /// How long that may take.
    pub timeout: Duration,
    /// Whether it is wanted; jobs from the time when it was are dropped.
    pub is_on: bool,
}

impl Summariser {
    pub(super) async fn go_on(&self, job: &Job) -> Result<(), Setback> {
        let call = self.db.call_to_sum_up(job.subject_id).await?;
        let Some(call) = call.filter(|call| self.is_on && !call.is_summed_up) else {
            return Ok(self.db.drop_job(job).await?);
        };
        if !call.is_over {
            return Err(Setback::Later("the call is not over".to_owned(), None));
        }
        let Some(person) = self.directory.person(call.user_id).await? else {
            return Ok(self.db.drop_job(job).await?);
        };
        let spoken = self.db.spoken_on(&call.call_sid, MOST_TURNS).await?;
        let messages = vec![Message::user(told(&spoken))];
        let prompt = Prompt { system: instructions(&person), messages, ..Prompt::default() };
        let made = self.llm.summarise(&prompt, self.timeout).await?;
        let (tokens_in, tokens_out) = (made.input_tokens, made.output_tokens);
        if self.db.end_summary(job, &call.call_sid, made.summary, &made.requests).await? {
            info!(call.sid = call.call_sid, tokens_in, tokens_out, "Summed up a call");
        }
        Ok(())
    }
}

fn instructions(person: &Person) -> String {
    format!(
        "You are given what was said on a telephone call between a caller and an assistant. Sum it up in one short paragraph \
         for somebody who was not there, and list what the caller asked for or wants to be done. Keep to what was said. \
         Write in {}.",
        person.language.name
    )
}

/// The call as the model is told it.
fn told(spoken: &[Spoken]) -> String {
    let mut lines = Vec::with_capacity(2 * spoken.len());
    for turn in spoken {
        lines.extend((!turn.said.is_empty()).then(|| format!("Caller: {}", turn.said)));
        lines.extend(turn.heard.iter().filter(|heard| !heard.is_empty()).map(|heard| format!("Assistant: {heard}")));
    }
    lines.join("\n")
}
