//! What can go wrong with one request, and whether and when it is sent again.

use std::{future::Future, time::Duration};

use async_openai::error::OpenAIError;
use backon::{ExponentialBuilder, Retryable};
use tokio::time::{Instant, timeout, timeout_at};

use super::LlmError;
use crate::retry_after::retry_after;

/// The longest pause between two attempts, when the server names none.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How much of a refusal is looked at, and how long we wait for it: enough to see which parameter it is about.
const REFUSAL_BYTES: usize = 4096;
const REFUSAL_WAIT: Duration = Duration::from_secs(2);
/// How much of a refusal the debug log shows.
const LOGGED_CHARS: usize = 300;

/// Why one request brought no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// An error status, whatever the form of its body (plain text, `{"detail": …}`, `{"error": "text"}`,
    /// `{"error": {"code": 400}}`): the body is only searched for parameter names.
    #[error("the model server answered {status}")]
    Status { status: u16, retry_after: Option<Duration>, body: String },
    /// Refused, or broken before the answer was whole.
    #[error("the connection to the model server failed")]
    Connection,
    /// Closed before the answer began: nearly always a kept connection that the server gave up in that moment.
    #[error("the model server closed the connection")]
    Dropped,
    #[error("the connection to the model server could not be made in time")]
    Timeout,
    /// A successful status with something that is not JSON, or with tool calls without end.
    #[error("the model server answered something unreadable")]
    Unreadable,
}

impl Failure {
    /// Status, `Retry-After` and the beginning of the body of a refused request; `key` is blotted out of the body.
    pub(super) async fn read(mut response: reqwest::Response, key: &str) -> Self {
        let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
        let mut bytes = Vec::new();
        let reading = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                bytes.extend_from_slice(&chunk);
                if bytes.len() >= REFUSAL_BYTES {
                    break;
                }
            }
        };
        // A body that does not come changes nothing: the status alone decides then.
        let _ = timeout(REFUSAL_WAIT, reading).await;
        bytes.truncate(REFUSAL_BYTES);
        let mut body = String::from_utf8_lossy(&bytes).into_owned();
        if !key.is_empty() {
            body = body.replace(key, "[key]");
        }
        let shown: String = body.chars().take(LOGGED_CHARS).collect();
        tracing::debug!(status, body = shown, "The model server refused a request");
        Self::Status { status, retry_after, body }
    }

    /// Whether the same request may succeed a little later. Time-outs are not among them: the time is used up.
    fn is_passing(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Connection | Self::Dropped => true,
            Self::Timeout | Self::Unreadable => false,
        }
    }

    fn hint(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<OpenAIError> for Failure {
    fn from(error: OpenAIError) -> Self {
        match error {
            OpenAIError::Boxed(inner) => inner.downcast().map_or(Self::Unreadable, |failure| *failure),
            OpenAIError::Reqwest(error) if error.is_timeout() => Self::Timeout,
            OpenAIError::Reqwest(error) if error.is_request() && !error.is_connect() => Self::Dropped,
            OpenAIError::Reqwest(_) | OpenAIError::StreamError(_) => Self::Connection,
            _ => Self::Unreadable,
        }
    }
}

impl From<Failure> for LlmError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Status { retry_after, .. } if failure.is_passing() => Self::Unavailable { retry_after },
            Failure::Status { status, .. } => Self::Rejected { status },
            Failure::Connection | Failure::Dropped => Self::Unavailable { retry_after: None },
            Failure::Timeout => Self::Timeout,
            Failure::Unreadable => Self::Unusable("it is not JSON"),
        }
    }
}

/// How often and how far apart a failed request is sent again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// Attempts after the first one.
    pub max_retries: u32,
    /// The pause before the first of them, on the long side; it doubles each time.
    pub delay: Duration,
}

impl Policy {
    /// The pauses: the n-th is between half and all of `delay * 2^n`, at most [`LONGEST_PAUSE`], so that clients which
    /// failed together do not come back together.
    fn pauses(self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay((self.delay / 2).min(LONGEST_PAUSE / 2))
            .with_max_delay(LONGEST_PAUSE / 2)
            .with_factor(2.0)
            .with_jitter()
            .with_max_times(self.max_retries as usize)
    }

    /// Repeats `attempt` while it fails in a passing way, a pause is left, and that pause ends before the deadline. The
    /// first dropped connection is replaced without a pause: the server itself is well then. With no time left nothing
    /// is sent, for the answer could not be used.
    pub(super) async fn run<T, F>(self, deadline: Instant, attempt: impl FnMut() -> F) -> Result<T, LlmError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        if Instant::now() >= deadline {
            return Err(LlmError::Timeout);
        }
        let mut dropped = false;
        let attempts = attempt
            .retry(self.pauses())
            .when(Failure::is_passing)
            .adjust(|failure: &Failure, pause| {
                if matches!(failure, Failure::Dropped) && !std::mem::replace(&mut dropped, true) {
                    return pause.map(|_| Duration::ZERO);
                }
                next_pause(failure.hint(), pause?, deadline.saturating_duration_since(Instant::now()))
            })
            .notify(|failure, pause| {
                let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(pause_ms, "{failure}; asking again");
            });
        timeout_at(deadline, attempts).await.map_or(Err(LlmError::Timeout), |done| done.map_err(Into::into))
    }
}

/// The pause before the next attempt: the server's hint or the planned one, whichever is longer; none if the caller's
/// time ends first.
fn next_pause(hint: Option<Duration>, planned: Duration, left: Duration) -> Option<Duration> {
    let pause = hint.map_or(planned, |hint| hint.max(planned));
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use backon::BackoffBuilder;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_with_jitter_up_to_the_cap() {
        for _ in 0..200 {
            let pauses: Vec<_> = Policy { max_retries: 8, delay: SECOND }.pauses().build().collect();
            assert_eq!(pauses.len(), 8);
            for (n, pause) in pauses.iter().enumerate() {
                let full = (SECOND * 2_u32.pow(n as u32)).min(LONGEST_PAUSE);
                assert!(*pause >= full / 2 && *pause <= full, "{n}: {pause:?}");
            }
        }
        assert_eq!(Policy { max_retries: 0, delay: SECOND }.pauses().build().count(), 0);
    }

    #[test]
    fn a_pause_must_fit_into_the_time_left() {
        assert_eq!(next_pause(None, SECOND, SECOND * 2), Some(SECOND));
        assert_eq!(next_pause(None, SECOND, SECOND), None);
        assert_eq!(next_pause(Some(SECOND * 3), SECOND, SECOND * 5), Some(SECOND * 3));
        assert_eq!(next_pause(Some(SECOND * 7), SECOND, SECOND * 5), None);
        assert_eq!(next_pause(Some(Duration::ZERO), SECOND, SECOND * 5), Some(SECOND));
    }
}
