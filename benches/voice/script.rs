//! What the model says: every word is one of its kind, so that a lost, doubled or strayed one is seen, and the time at
//! which each token was written is kept.

use crate::common::Failure;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tokens of a sentence: 15 words and a full stop, 93 characters or six seconds of speech.
const SENTENCE: usize = 16;
/// Stands before the number of an answer in what a caller asks.
const MARK: &str = "matter number ";

/// How fast the model speaks.
#[derive(Clone, Copy)]
pub struct Pace {
    /// From the request to the first token.
    pub first: Duration,
    /// From each token to the next.
    pub every: Duration,
}

impl Pace {
    /// `first` until the first token, then so many tokens a second.
    pub fn new(first: Duration, tokens_per_second: u32) -> Self {
        Self { first, every: Duration::from_secs(1) / tokens_per_second }
    }
}

/// One answer.
pub struct Answer {
    number: usize,
    /// How it is spoken.
    pub pace: Pace,
    /// Its text in pieces.
    pub tokens: Vec<String>,
    /// When each token was written, in microseconds after `epoch`; 0 until then.
    written: Vec<AtomicU64>,
    epoch: Instant,
}

impl Answer {
    fn new(number: usize, pace: Pace, sentences: usize, epoch: Instant) -> Self {
        let tokens: Vec<_> = (0..sentences * SENTENCE)
            .map(|place| match (place / SENTENCE, place % SENTENCE) {
                (0, 0) => format!("Q{number:04}S00"),
                (sentence, 0) => format!(" Q{number:04}S{sentence:02}"),
                (_, word) if word == SENTENCE - 1 => ".".to_owned(),
                _ => format!(" w{place:04}"),
            })
            .collect();
        let written = tokens.iter().map(|_| AtomicU64::new(0)).collect();
        Self { number, pace, tokens, written, epoch }
    }

    /// What a caller says to get it.
    pub fn question(&self) -> String {
        format!("What do you know about {MARK}{}?", self.number)
    }

    /// Notes that a token is being written.
    pub fn write(&self, token: usize) {
        let now = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.written[token].store(now, Ordering::Release);
    }

    /// When a token was written.
    pub fn written(&self, token: usize) -> Result<Instant, Failure> {
        match self.written[token].load(Ordering::Acquire) {
            0 => Err(format!("token {token} of answer {} was heard before it was written", self.number).into()),
            micros => Ok(self.epoch + Duration::from_micros(micros)),
        }
    }

    /// When the first sentence was complete.
    pub fn first_sentence(&self) -> Result<Instant, Failure> {
        self.written(SENTENCE - 1)
    }

    /// What is wrong with what was heard of it.
    pub fn faults(&self, heard: &str) -> Faults {
        let places: HashMap<_, _> =
            words(&self.tokens.concat()).enumerate().map(|(place, word)| (word, place)).collect();
        let (mut seen, mut last, mut faults) = (vec![false; places.len()], None, Faults::default());
        for word in words(heard) {
            match places.get(&word).copied() {
                None => faults.strayed += 1,
                Some(place) if seen[place] => faults.doubled += 1,
                Some(place) => {
                    seen[place] = true;
                    faults.reordered += usize::from(last > Some(place));
                    last = last.max(Some(place));
                }
            }
        }
        faults.lost = seen.iter().filter(|seen| !**seen).count();
        faults
    }
}

/// The words of answers in a text that may hold other words, too.
fn words(text: &str) -> impl Iterator<Item = String> {
    let is_ours = |word: &&str| word.starts_with(['Q', 'w']) && word[1..].starts_with(|c: char| c.is_ascii_digit());
    text.split([' ', '.', '\n']).filter(is_ours).map(str::to_owned)
}

/// Whether a text holds words of any answer.
pub fn tells(text: &str) -> bool {
    words(text).next().is_some()
}

/// Words that are not as they must be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Not heard.
    pub lost: usize,
    /// Heard again.
    pub doubled: usize,
    /// Heard after a later one.
    pub reordered: usize,
    /// Of another answer.
    pub strayed: usize,
}

impl Faults {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            reordered: self.reordered + other.reordered,
            strayed: self.strayed + other.strayed,
        }
    }
}

/// All answers that may be asked for.
pub struct Script {
    answers: Mutex<Vec<Arc<Answer>>>,
    epoch: Instant,
}

impl Script {
    /// None yet.
    pub fn new() -> Self {
        Self { answers: Mutex::default(), epoch: Instant::now() }
    }

    /// One more answer, of so many sentences.
    pub fn answer(&self, pace: Pace, sentences: usize) -> Arc<Answer> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = Arc::new(Answer::new(answers.len(), pace, sentences, self.epoch));
        answers.push(answer.clone());
        answer
    }

    /// The answer that a request to the model asks for last.
    pub fn asked_for(&self, request: &str) -> Option<Arc<Answer>> {
        let asked = &request[request.rfind(MARK)? + MARK.len()..];
        let number: usize = asked[..asked.find(|c: char| !c.is_ascii_digit())?].parse().ok()?;
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(number).cloned()
    }
}
