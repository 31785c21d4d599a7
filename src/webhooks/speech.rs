//! `GET /speech/{token}`: words as sound, fetched by `<Play>`. The token is the permission, since Twilio fetches sound
//! without a signature. It names the words and does not tell them, because URLs end up in the logs of proxies; any
//! instance can look them up and have them spoken.

use super::link;
use crate::app::App;
use crate::clock::{Micros, SECOND};
use crate::conversation::sentences::Sentences;
use crate::db::DbError;
use crate::twilio::voices::{self, Language};
use poem::error::NotFoundError;
use poem::http::{StatusCode, header};
use poem::web::headers::{ETag, IfNoneMatch};
use poem::web::{Data, Path, TypedHeader};
use poem::{Error, Response, Result, handler};
use std::fmt;
use std::sync::Arc;
use tracing::error;

/// What the tokens are sealed for.
const PURPOSE: &str = "speech";
/// A URL serves for one to two of these. All made in one of them are the same, so Twilio may fetch a fixed sentence
/// once.
const PERIOD: Micros = 15 * 60 * SECOND;
/// A fixed sentence stays what it is. What an answer's sentence is changes where a lost session has it begin anew, so
/// Twilio is to ask whether it is still the same.
const CACHE_FIXED: &str = "private, max-age=900";
const CACHE_ANSWER: &str = "private, no-cache";

/// Words that are spoken, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spoken {
    /// A sentence of a turn's answer, counted from 0.
    Sentence { call_sid: String, turn: i64, index: usize },
    /// A sentence of the answer that was the last one before a turn, in this language.
    Again { call_sid: String, before: i64, language: &'static Language, index: usize },
    /// A fixed sentence.
    Phrase { language: &'static Language, name: String },
}

impl Spoken {
    /// Where Twilio fetches these words, said by one of OpenAI's voices.
    pub(super) fn url(&self, app: &App, voice: &'static str) -> String {
        let expires = (app.clock.now() / PERIOD + 2) * PERIOD;
        link(app, &format!("/speech/{}", app.tokens.seal(PURPOSE, &format!("{voice} {self}"), expires)))
    }

    /// The voice and the words' name.
    fn parse(content: &str) -> Option<(&'static str, Self)> {
        let parts: Vec<&str> = content.split(' ').collect();
        let spoken = match parts.as_slice() {
            [_, "sentence", call_sid, turn, index] => Self::Sentence {
                call_sid: (*call_sid).to_owned(),
                turn: turn.parse().ok()?,
                index: index.parse().ok()?,
            },
            [_, "again", call_sid, before, language, index] => Self::Again {
                call_sid: (*call_sid).to_owned(),
                before: before.parse().ok()?,
                language: voices::language(language)?,
                index: index.parse().ok()?,
            },
            [_, "phrase", language, name] => {
                Self::Phrase { language: voices::language(language)?, name: (*name).to_owned() }
            }
            _ => return None,
        };
        Some((voices::openai_voice(parts[0])?, spoken))
    }

    /// The words; `None` when there are none any more.
    async fn words(&self, app: &App) -> Result<Option<String>, DbError> {
        match self {
            Self::Sentence { call_sid, turn, index } => {
                let turn = app.db.turn(call_sid, *turn).await?;
                Ok(turn.and_then(|turn| turn.sentences.into_iter().nth(*index)))
            }
            Self::Again { call_sid, before, language, index } => {
                let answer = app.db.last_answer(call_sid, *before).await?;
                Ok(answer.and_then(|answer| sentences_of(&answer, language).into_iter().nth(*index)))
            }
            Self::Phrase { language, name } => Ok(app.phrases.of(language).named(name).map(str::to_owned)),
        }
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sentence { call_sid, turn, index } => write!(f, "sentence {call_sid} {turn} {index}"),
            Self::Again { call_sid, before, language, index } => {
                write!(f, "again {call_sid} {before} {} {index}", language.tag)
            }
            Self::Phrase { language, name } => write!(f, "phrase {} {name}", language.tag),
        }
    }
}

/// A whole answer, cut as it was when it was told first.
pub(super) fn sentences_of(answer: &str, language: &Language) -> Vec<String> {
    let mut cut = Sentences::new(language);
    let mut sentences = cut.push(answer);
    sentences.extend(cut.finish());
    sentences
}

/// `GET /speech/{token}`: the sound; 404 for a token that is forged or too old, or whose words are gone; 503 when they
/// cannot be spoken in time.
#[handler]
pub async fn sound(
    Path(token): Path<String>,
    known: Option<TypedHeader<IfNoneMatch>>,
    app: Data<&Arc<App>>,
) -> Result<Response> {
    let synthesiser = app.synthesiser.as_ref().ok_or(NotFoundError)?;
    let content = app.tokens.open(PURPOSE, &token, app.clock.now()).ok_or(NotFoundError)?;
    let (voice, spoken) = Spoken::parse(&content).ok_or(NotFoundError)?;
    let words = spoken.words(&app).await.map_err(|cause| {
        error!(error = %cause, "Words that a call asks for cannot be looked up");
        unavailable()
    })?;
    let sound = synthesiser.sound(&words.ok_or(NotFoundError)?, voice).await.ok_or_else(unavailable)?;
    let etag = format!("\"{}\"", sound.digest);
    let cache = if matches!(spoken, Spoken::Phrase { .. }) { CACHE_FIXED } else { CACHE_ANSWER };
    let answer = Response::builder().header(header::ETAG, &etag).header(header::CACHE_CONTROL, cache);
    let is_known = match (known, etag.parse::<ETag>()) {
        (Some(TypedHeader(known)), Ok(etag)) => !known.precondition_passes(&etag),
        _ => false,
    };
    if is_known {
        return Ok(answer.status(StatusCode::NOT_MODIFIED).finish());
    }
    Ok(answer.header(header::CONTENT_TYPE, sound.content_type).body(sound.bytes))
}

fn unavailable() -> Error {
    Error::from_response(Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_again_by_their_name() {
        let language = voices::language("es-MX").unwrap();
        for spoken in [
            Spoken::Sentence { call_sid: "CA1".to_owned(), turn: 3, index: 7 },
            Spoken::Again { call_sid: "CA1".to_owned(), before: 4, language, index: 0 },
            Spoken::Phrase { language, name: "one_moment.2".to_owned() },
        ] {
            assert_eq!(Spoken::parse(&format!("nova {spoken}")), Some(("nova", spoken)));
        }
    }

    #[test]
    fn what_names_no_words_is_refused() {
        for content in [
            "",
            "nova",
            "nova sentence CA1 3",
            "nova sentence CA1 3 7 9",
            "nova sentence CA1 three 7",
            "nova sentence CA1 3 -1",
            "nova sentence CA1 99999999999999999999 1",
            "nova again CA1 3 tlh 0",
            "nova phrase en",
            "nova phrase tlh greeting",
            "Polly.Amy phrase en greeting",
            "phrase en greeting",
            "nova song en greeting",
        ] {
            assert_eq!(Spoken::parse(content), None, "{content}");
        }
    }
}
