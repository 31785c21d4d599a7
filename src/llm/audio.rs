//! Text to speech and speech to text, through the model server's audio endpoints.

use std::time::Duration;

use async_openai::types::{
    InputSource,
    audio::{AudioInput, CreateSpeechRequest, CreateTranscriptionRequest, SpeechModel, SpeechResponseFormat, Voice},
};
use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use super::{Audio, LlmError, NOT_CONFIGURED, client::Live, retry::Failure, wire::failure_inside};
use crate::config::TtsFormat;

/// The most characters a text may have that is to be spoken (OpenAI's limit).
const LONGEST_INPUT: usize = 4096;

impl Live {
    pub(super) async fn speak(&self, text: &str, voice: &str, timeout: Duration) -> Result<Audio, LlmError> {
        // Refused here as it would be there.
        if text.chars().count() > LONGEST_INPUT {
            return Err(LlmError::Rejected { status: 400 });
        }
        let request = CreateSpeechRequest {
            input: text.to_owned(),
            model: SpeechModel::Other(self.speech.tts_model.clone()),
            voice: Voice::Other(voice.to_owned()),
            response_format: Some(match self.speech.tts_format {
                TtsFormat::Mp3 => SpeechResponseFormat::Mp3,
                TtsFormat::Wav => SpeechResponseFormat::Wav,
            }),
            ..Default::default()
        };
        let deadline = Instant::now() + timeout;
        let synthesise =
            || async { Ok(self.client.audio().speech().create(request.clone()).await.map_err(Failure::from)?.bytes) };
        let bytes = self.policy.run(deadline, synthesise).await?;
        let content_type = content_type(&bytes).ok_or(LlmError::Unusable("it is no audio that a call can play"))?;
        Ok(Audio { bytes, content_type })
    }

    pub(super) async fn transcribe(
        &self,
        audio: Bytes,
        file_name: &str,
        language: Option<&str>,
        timeout: Duration,
    ) -> Result<String, LlmError> {
        let request = CreateTranscriptionRequest {
            file: AudioInput { source: InputSource::Bytes { filename: file_name.to_owned(), bytes: audio } },
            model: self.speech.transcribe_model.clone().ok_or(NOT_CONFIGURED)?,
            language: language.map(str::to_owned),
            ..Default::default()
        };
        let deadline = Instant::now() + timeout;
        let transcribe = || async {
            let audio = self.client.audio();
            transcript(&audio.transcription().create_raw(request.clone()).await.map_err(Failure::from)?)
        };
        self.policy.run(deadline, transcribe).await
    }
}

/// The type of the audio, told by its first bytes, for some servers send another one than they were asked for; None
/// for all that Twilio does not play.
fn content_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some("audio/wav"),
        // A tag before the first frame, or the frame's sync word, version and layer III.
        [b'I', b'D', b'3', ..] => Some("audio/mpeg"),
        [0xff, second, ..] if second & 0xe6 == 0xe2 => Some("audio/mpeg"),
        _ => None,
    }
}

/// The words in `{"text": …}` or in plain text; empty when nothing was said.
fn transcript(body: &[u8]) -> Result<String, Failure> {
    let text = match serde_json::from_slice(body) {
        Ok(Value::String(text)) => text,
        Ok(Value::Object(object)) => match (object.get("error"), object.get("text")) {
            (Some(error), _) if !error.is_null() => return Err(failure_inside(error)),
            (_, Some(Value::String(text))) => text.clone(),
            _ => return Err(Failure::Unreadable),
        },
        // Digits alone are plain text too.
        _ => String::from_utf8(body.to_vec()).map_err(|_| Failure::Unreadable)?,
    };
    let text = text.replace('\0', "").trim().to_owned();
    // A page of a proxy's, or JSON that was cut.
    if text.starts_with(['<', '{']) { Err(Failure::Unreadable) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_told_by_its_first_bytes() {
        for (bytes, expected) in [
            (&b"RIFF\xff\xff\xff\xffWAVEfmt "[..], Some("audio/wav")),
            (b"ID3\x04", Some("audio/mpeg")),
            (b"\xff\xfb\x90", Some("audio/mpeg")),
            (b"\xff\xf3\x84", Some("audio/mpeg")),
            // AAC, Opus in Ogg, FLAC, AVI, raw samples: not for a call.
            (b"\xff\xf1\x50", None),
            (b"OggS", None),
            (b"fLaC", None),
            (b"RIFF\0\0\0\0AVI ", None),
            (b"\0\0\0\0", None),
            (b"", None),
            (b"{\"error\":\"busy\"}", None),
            (b"<html>", None),
        ] {
            assert_eq!(content_type(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn transcripts_are_read_in_json_and_in_plain_text() {
        for (body, text) in [
            (r#"{"text":" Call me. ","usage":{"type":"tokens"}}"#, "Call me."),
            (r#"{"text":""}"#, ""),
            ("Call me.\n", "Call me."),
            (r#""Call me.""#, "Call me."),
            ("42", "42"),
            ("", ""),
            (r#"{"error":null,"text":"a\u0000b"}"#, "ab"),
        ] {
            assert_eq!(transcript(body.as_bytes()).unwrap(), text, "{body}");
        }
        for odd in [&b"<html>busy</html>"[..], b"{\"text\":7}", b"{}", b"{\"text\":\"Ca", b"\xff\xfb\x90"] {
            assert!(matches!(transcript(odd), Err(Failure::Unreadable)), "{odd:?}");
        }
        let inside = transcript(br#"{"error":{"code":429}}"#);
        assert!(matches!(inside, Err(Failure::Status { status: 429, .. })), "{inside:?}");
    }
}
