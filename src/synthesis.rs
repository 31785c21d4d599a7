//! Words spoken by the model's voices: made once, shared by all who ask for them at the same time, and kept for a
//! while. A voice that fails is left alone for some time.

use crate::llm::{Llm, LlmError};
use bytes::Bytes;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, warn};

/// How long the model may take for one sentence, all retries included.
const LONGEST: Duration = Duration::from_secs(8);
/// How long a caller waits for a sentence at most; a voice that needs longer is too slow.
pub const LONGEST_WAIT: Duration = Duration::from_millis(1500);
/// A voice that failed is left alone for this time, for twice as long after each further failure in a row …
const FIRST_REST: Duration = Duration::from_secs(1);
/// … and at most for this.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// What is kept in all: some 1,500 sentences as mp3, 300 as wav.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// Spoken words.
#[derive(Debug, Clone)]
pub struct Sound {
    /// The whole file.
    pub bytes: Bytes,
    /// `audio/mpeg` or `audio/wav`.
    pub content_type: &'static str,
    /// Tells these bytes from all others: 32 hexadecimal digits.
    pub digest: Arc<str>,
}

/// The words and the voice.
type Key = (String, &'static str);

/// Has words spoken. Cheap to clone.
#[derive(Clone)]
pub struct Synthesiser(Arc<Inner>);

struct Inner {
    llm: Arc<Llm>,
    sounds: Cache<Key, Sound>,
    failures: Mutex<HashMap<&'static str, Failures>>,
}

/// What went wrong with a voice since it last spoke in time.
#[derive(Clone, Copy)]
struct Failures {
    in_a_row: u32,
    last: Instant,
}

impl Synthesiser {
    /// Has words spoken by `llm`.
    pub fn new(llm: Arc<Llm>) -> Self {
        let weight = |(text, _): &Key, sound: &Sound| u32::try_from(text.len() + sound.bytes.len()).unwrap_or(u32::MAX);
        // The newest are kept, since a call is about to ask for them, rather than the most wanted.
        let newest = EvictionPolicy::lru();
        let sounds = Cache::builder().max_capacity(KEPT_BYTES).weigher(weight).eviction_policy(newest).build();
        Self(Arc::new(Inner { llm, sounds, failures: Mutex::default() }))
    }

    /// Whether the words are there; if they are not, they are being made from now on, unless the voice rests.
    pub fn prepare(&self, text: &str, voice: &'static str) -> bool {
        let is_there = self.0.sounds.contains_key(&(text.to_owned(), voice));
        if !is_there && !self.rests(voice) {
            // The task goes on without its handle.
            drop(self.make(text, voice));
        }
        is_there
    }

    /// Whether the words are there, waiting for them no longer than `patience`.
    pub async fn ready(&self, text: &str, voice: &'static str, patience: Duration) -> bool {
        if self.0.sounds.contains_key(&(text.to_owned(), voice)) {
            return true;
        }
        if self.rests(voice) {
            return false;
        }
        match timeout(patience, self.make(text, voice)).await {
            Ok(made) => matches!(made, Ok(Ok(_))),
            Err(_) => {
                // Who is in a hurry does not tell whether the voice is slow.
                if patience >= LONGEST_WAIT {
                    self.failed(voice);
                }
                false
            }
        }
    }

    /// The words as sound, at the latest after 8 seconds; even of a voice that rests, for a call needs them now. `None`
    /// when they cannot be had.
    pub async fn sound(&self, text: &str, voice: &'static str) -> Option<Sound> {
        timeout(LONGEST, self.make(text, voice)).await.ok()?.ok()?.ok()
    }

    /// Makes the words or joins those who wait for them, in a task of its own: nobody's leaving stops what others wait
    /// for.
    fn make(&self, text: &str, voice: &'static str) -> JoinHandle<Result<Sound, Arc<LlmError>>> {
        let (this, text) = (self.clone(), text.to_owned());
        let task = async move {
            let make = this.speak(text.clone(), voice);
            this.0.sounds.try_get_with((text, voice), make).await
        };
        tokio::spawn(task.in_current_span())
    }

    async fn speak(&self, text: String, voice: &'static str) -> Result<Sound, LlmError> {
        let started = Instant::now();
        match self.0.llm.speak(&text, voice, LONGEST).await {
            Ok(audio) => {
                if started.elapsed() < LONGEST_WAIT {
                    self.failures().remove(voice);
                }
                let digest = Sha256::digest(&audio.bytes);
                let digest = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into();
                Ok(Sound { bytes: audio.bytes, content_type: audio.content_type, digest })
            }
            Err(cause) => {
                warn!(voice, error = %cause, "Words could not be spoken by the model's voice; Twilio reads them");
                self.failed(voice);
                Err(cause)
            }
        }
    }

    fn rests(&self, voice: &str) -> bool {
        let rest = |in_a_row: u32| FIRST_REST.saturating_mul(1 << in_a_row.saturating_sub(1).min(5)).min(LONGEST_REST);
        self.failures().get(voice).is_some_and(|failures| failures.last.elapsed() < rest(failures.in_a_row))
    }

    fn failed(&self, voice: &'static str) {
        let now = Instant::now();
        let mut failures = self.failures();
        let failures = failures.entry(voice).or_insert(Failures { in_a_row: 0, last: now });
        *failures = Failures { in_a_row: failures.in_a_row.saturating_add(1), last: now };
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<&'static str, Failures>> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
