//! The audio endpoints of the scripted model server: text to speech and speech to text.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::fake_llm::{FakeLlm, error, lock};
use super::llm_replies::error_body;
use super::scripted_server::{Gate, Request, Step, json_response, response};

/// A recording as it was sent to be transcribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    pub model: String,
    pub language: Option<String>,
    pub file_name: String,
    pub audio: Vec<u8>,
}

/// Both endpoints. Answers are queued and given in order; with the queue empty the standing answer is given.
#[derive(Default)]
pub(super) struct Audio {
    speech: Endpoint<Value>,
    transcription: Endpoint<Recording>,
    tells_words: bool,
}

struct Endpoint<R> {
    queue: VecDeque<Vec<u8>>,
    before_next: Vec<Step>,
    requests: Vec<R>,
}

impl<R> Default for Endpoint<R> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), before_next: Vec::new(), requests: Vec::new() }
    }
}

impl<R> Endpoint<R> {
    fn answer(&mut self, request: R, standing: impl FnOnce(&R) -> Vec<u8>) -> Vec<Step> {
        let answer = self.queue.pop_front().unwrap_or_else(|| standing(&request));
        self.requests.push(request);
        std::mem::take(&mut self.before_next).into_iter().chain([Step::Write(answer)]).collect()
    }
}

impl FakeLlm {
    /// Queues an answer of the speech endpoint: these bytes, of which the gateway takes what begins as an mp3 (`ID3`,
    /// or a frame) or a WAV file does.
    pub fn synthesises(&self, bytes: &[u8]) {
        lock(&self.state).audio.speech.queue.push_back(audio(bytes));
    }

    /// Gives [`sound_of`] voice and words whenever the queue is empty, so that a test knows who said what.
    pub fn speech_tells_words(&self) {
        lock(&self.state).audio.tells_words = true;
    }

    /// Queues an error of the speech endpoint.
    pub fn speech_fails(&self, status: u16) {
        lock(&self.state).audio.speech.queue.push_back(failure(status));
    }

    /// Holds the answer to the next speech request, whichever answer that is, until the gate is opened.
    pub fn speech_waits(&self) -> Gate {
        let gate = Gate::closed();
        lock(&self.state).audio.speech.before_next.push(Step::Hold(gate.clone()));
        gate
    }

    /// The bodies of all speech requests so far.
    pub fn speech_requests(&self) -> Vec<Value> {
        lock(&self.state).audio.speech.requests.clone()
    }

    /// Queues a transcript.
    pub fn transcribes(&self, text: &str) {
        lock(&self.state).audio.transcription.queue.push_back(transcript(text));
    }

    /// Queues an error of the transcription endpoint.
    pub fn transcription_fails(&self, status: u16) {
        lock(&self.state).audio.transcription.queue.push_back(failure(status));
    }

    /// All recordings that were sent to be transcribed so far.
    pub fn transcription_requests(&self) -> Vec<Recording> {
        lock(&self.state).audio.transcription.requests.clone()
    }
}

impl Audio {
    /// Answers a speech request; the standing answer is [`mp3`] or [`wav`], as asked for.
    pub(super) fn speak(&mut self, request: &Request) -> Vec<Step> {
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return error(400, "the body is not JSON");
        };
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let length = text("input").chars().count();
        if text("model").is_empty() || text("voice").is_empty() || !(1..=4096).contains(&length) {
            return error(400, "a speech needs a model, a voice, and an input of 1 to 4096 characters");
        }
        let tells_words = self.tells_words;
        self.speech.answer(body, |body| {
            let text = |name: &str| body[name].as_str().unwrap_or_default();
            if tells_words {
                return audio(&sound_of(text("voice"), text("input")));
            }
            audio(&if body["response_format"] == "wav" { wav() } else { mp3() })
        })
    }

    /// Answers a transcription request; the standing answer is "This is a scripted transcript."
    pub(super) fn transcribe(&mut self, request: &Request) -> Vec<Step> {
        let Some(recording) = recording(request) else {
            return error(400, "a transcription is a form with a file and a model");
        };
        self.transcription.answer(recording, |_| transcript("This is a scripted transcript."))
    }
}

fn audio(bytes: &[u8]) -> Vec<u8> {
    let kind = if bytes.starts_with(b"RIFF") { "audio/wav" } else { "audio/mpeg" };
    response(200, &[("Content-Type", kind)], bytes)
}

fn transcript(text: &str) -> Vec<u8> {
    json_response(200, &[], &json!({ "text": text, "usage": { "type": "duration", "seconds": 3 } }))
}

fn failure(status: u16) -> Vec<u8> {
    json_response(status, &[], &error_body("the scripted model server fails", "server_error"))
}

/// What is no sound, but begins as an mp3 does, and tells who says what.
pub fn sound_of(voice: &str, words: &str) -> Vec<u8> {
    format!("ID3 {voice}: {words}").into_bytes()
}

/// Two silent frames: MPEG-1 layer III, 32 kbit/s, 44.1 kHz, mono, 104 bytes each.
pub fn mp3() -> Vec<u8> {
    let mut frame = vec![0xff, 0xfb, 0x10, 0xc4];
    frame.resize(104, 0);
    frame.repeat(2)
}

/// A hundredth of a second of silence: 8 kHz, mono, 16 bits.
pub fn wav() -> Vec<u8> {
    const SAMPLES: [u8; 160] = [0; 160];
    let size = SAMPLES.len() as u32;
    let fields = [&16_u32.to_le_bytes()[..], &[1, 0, 1, 0], &8000_u32.to_le_bytes(), &16000_u32.to_le_bytes()].concat();
    let parts: [&[u8]; 8] = [
        b"RIFF",
        &(36 + size).to_le_bytes(),
        b"WAVEfmt ",
        &fields,
        &[2, 0, 16, 0],
        b"data",
        &size.to_le_bytes(),
        &SAMPLES,
    ];
    parts.concat()
}

/// The form's parts (RFC 7578).
fn recording(request: &Request) -> Option<Recording> {
    let boundary = request.header("content-type")?.strip_prefix("multipart/form-data; boundary=")?;
    let (mut model, mut language, mut file) = (None, None, None);
    let mut rest = after(&request.body, format!("--{boundary}\r\n").as_bytes())?;
    let end = format!("\r\n--{boundary}");
    loop {
        let (head, body) = split(rest, b"\r\n\r\n")?;
        let (content, next) = split(body, end.as_bytes())?;
        let head = std::str::from_utf8(head).ok()?;
        let parameter = |name: &str| Some(head.split_once(&format!("; {name}=\""))?.1.split('"').next()?.to_owned());
        match parameter("name")?.as_str() {
            "model" => model = String::from_utf8(content.to_vec()).ok(),
            "language" => language = String::from_utf8(content.to_vec()).ok(),
            "file" => file = Some((parameter("filename")?, content.to_vec())),
            _ => {}
        }
        match next.strip_prefix(b"\r\n") {
            Some(more) => rest = more,
            None => break,
        }
    }
    let (file_name, audio) = file?;
    Some(Recording { model: model?, language, file_name, audio })
}

fn after<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    split(bytes, mark).map(|(_, after)| after)
}

fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}
