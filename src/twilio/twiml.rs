//! The documents the gateway answers with, one for each situation: built in, or from the operator's folder.

use super::template::{Template, TemplateError, Value};
use std::path::{Path, PathBuf};

/// All documents, read and checked.
#[derive(Debug)]
pub struct Documents {
    /// The greeting of a call, and the first Gather.
    pub incoming: Template,
    /// An answer inside the Gather that hears the next turn.
    pub answer: Template,
    /// The sentences of an answer that are there so far, then a Redirect to ask for the next.
    pub part: Template,
    /// A short wait while the answer is being written, then a Redirect to ask for it.
    pub hold: Template,
    /// Something went wrong; the call goes on.
    pub apology: Template,
    /// The last words of a call.
    pub goodbye: Template,
    /// A call that is not taken.
    pub reject: Template,
    /// A reply to a text.
    pub message: Template,
    /// Nothing to say: no reply to a text.
    pub empty: Template,
}

/// How something is said: the voice and its language, and the language to listen for.
#[derive(Debug, Clone, Copy)]
pub struct Speaking<'a> {
    /// `Say voice`.
    pub voice: &'a str,
    /// `Say language`.
    pub language: &'a str,
    /// `Gather language`.
    pub recognition: &'a str,
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

/// The places that [`say_and_gather`] fills.
const GATHER: &[&str] = &["voice", "language", "recognition", "say", "action"];
/// The places that [`say_and_go`] fills.
const GO: &[&str] = &["voice", "language", "say", "redirect"];

macro_rules! built_in {
    ($name:literal) => {
        ($name, include_str!(concat!("../../twiml-templates/", $name)))
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
            incoming: load(built_in!("incoming.xml"), GATHER, &["say", "action"])?,
            answer: load(built_in!("answer.xml"), GATHER, &["say", "action"])?,
            part: load(built_in!("part.xml"), GO, &["say", "redirect"])?,
            hold: load(built_in!("hold.xml"), GO, &["redirect"])?,
            apology: load(built_in!("apology.xml"), GATHER, &["say", "action"])?,
            goodbye: load(built_in!("goodbye.xml"), GO, &["say"])?,
            reject: load(built_in!("reject.xml"), &[], &[])?,
            message: load(built_in!("message.xml"), &["message"], &["message"])?,
            empty: load(built_in!("empty.xml"), &[], &[])?,
        })
    }
}

/// Says something and hears the next turn, whose webhook is `action`.
pub fn say_and_gather(document: &Template, how: Speaking<'_>, say: &[String], action: &str) -> String {
    document.render(&[
        ("voice", Value::One(how.voice)),
        ("language", Value::One(how.language)),
        ("recognition", Value::One(how.recognition)),
        ("say", Value::Each(say)),
        ("action", Value::One(action)),
    ])
}

/// Says something, then asks `redirect` what comes next, or without it ends the call.
pub fn say_and_go(document: &Template, how: Speaking<'_>, say: &[String], redirect: &str) -> String {
    document.render(&[
        ("voice", Value::One(how.voice)),
        ("language", Value::One(how.language)),
        ("say", Value::Each(say)),
        ("redirect", Value::One(redirect)),
    ])
}

/// Replies to a text with one message or several.
pub fn message(document: &Template, messages: &[String]) -> String {
    document.render(&[("message", Value::Each(messages))])
}
