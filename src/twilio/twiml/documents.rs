//! The documents, one for each situation: built in, or from the operator's folder.

use crate::twilio::template::{Template, TemplateError};
use std::path::{Path, PathBuf};

/// All documents, read and checked.
#[derive(Debug)]
pub struct Documents {
    /// The greeting of a call, and the first Gather.
    pub incoming: Template,
    /// An answer, or its last part, inside the Gather that hears the next turn.
    pub answer: Template,
    /// A part of an answer, then a Redirect to ask for the next.
    pub part: Template,
    /// A few words or none while the answer is being written, then a Redirect to ask for it.
    pub hold: Template,
    /// Something went wrong; the call goes on.
    pub apology: Template,
    /// The last words of a call.
    pub goodbye: Template,
    /// The caller is put through to a person.
    pub transfer: Template,
    /// The caller is asked to leave a message.
    pub voicemail: Template,
    /// The call is carried over a WebSocket.
    pub relay: Template,
    /// A call that is not taken.
    pub reject: Template,
    /// A reply to a text.
    pub message: Template,
    /// Nothing to say: no reply to a text.
    pub empty: Template,
}

/// Why the documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// A document is faulty.
    #[error("{}, {error}", file.display())]
    Faulty {
        /// The file.
        file: PathBuf,
        /// Line and reason.
        error: TemplateError,
    },
    /// A document cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A document has a place that nothing fills in its situation.
    #[error("{}: the place {{{{{place}}}}} has no value in this document", file.display())]
    Unfilled {
        /// The file.
        file: PathBuf,
        /// The place.
        place: &'static str,
    },
    /// A document lacks a place without which it cannot do its work.
    #[error("{}: the place {{{{{place}}}}} is missing", file.display())]
    Incomplete {
        /// The file.
        file: PathBuf,
        /// The place.
        place: &'static str,
    },
}

/// The places that [`super::say_and_gather`] fills.
const GATHER: &[&str] =
    &["voice", "language", "say", "play", "action", "recognition", "speech_model", "hints", "speech_timeout"];
/// The places that [`super::say_and_go`] fills.
const GO: &[&str] = &["voice", "language", "say", "play", "redirect"];
/// The places that [`super::transfer`] fills.
const TRANSFER: &[&str] = &["voice", "language", "say", "play", "action", "number", "caller_id"];
/// The places that [`super::voicemail`] fills.
const VOICEMAIL: &[&str] = &["voice", "language", "say", "play", "action", "max_length", "callback"];
/// The places that [`super::relay`] fills.
const RELAY: &[&str] = &[
    "voice",
    "language",
    "provider",
    "greeting",
    "recognition",
    "hints",
    "url",
    "action",
    "relay_code",
    "relay_provider",
    "relay_voice",
    "token",
];

macro_rules! built_in {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../twiml-templates/", $name)))
    };
}

impl Documents {
    /// The documents of the operator's folder `dir`, or the built-in one where the folder has none of that name.
    ///
    /// # Errors
    /// The first document that cannot be read or is faulty, with its file, line and reason.
    pub fn load(dir: Option<&Path>) -> Result<Self, DocumentsError> {
        let load = |(name, built_in): (&str, &'static str), given: &[&'static str], needed: &[&'static str]| {
            let file = dir.map_or_else(|| PathBuf::from(name), |dir| dir.join(name));
            let source = match dir.map(|_| std::fs::read_to_string(&file)) {
                Some(Ok(source)) => source,
                Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(DocumentsError::Unreadable { file, error });
                }
                Some(Err(_)) | None => built_in.to_owned(),
            };
            let template =
                Template::parse(&source).map_err(|error| DocumentsError::Faulty { file: file.clone(), error })?;
            let places = template.places();
            if let Some(place) = places.iter().find(|place| !given.contains(place)) {
                return Err(DocumentsError::Unfilled { file, place });
            }
            match needed.iter().find(|place| !places.contains(place)) {
                Some(place) => Err(DocumentsError::Incomplete { file, place }),
                None => Ok(template),
            }
        };
        Ok(Self {
            incoming: load(built_in!("incoming.xml"), GATHER, &["say", "play", "action"])?,
            answer: load(built_in!("answer.xml"), GATHER, &["say", "play", "action"])?,
            part: load(built_in!("part.xml"), GO, &["say", "play", "redirect"])?,
            hold: load(built_in!("hold.xml"), GO, &["redirect"])?,
            apology: load(built_in!("apology.xml"), GATHER, &["say", "play", "action"])?,
            goodbye: load(built_in!("goodbye.xml"), GO, &["say", "play"])?,
            transfer: load(built_in!("transfer.xml"), TRANSFER, &["action", "number"])?,
            voicemail: load(built_in!("voicemail.xml"), VOICEMAIL, &["action", "callback"])?,
            relay: load(built_in!("relay.xml"), RELAY, &["url", "action", "token"])?,
            reject: load(built_in!("reject.xml"), &[], &[])?,
            message: load(built_in!("message.xml"), &["message", "status_callback"], &["message"])?,
            empty: load(built_in!("empty.xml"), &[], &[])?,
        })
    }
}
