//! A TwiML document with `{{places}}`: read and checked once, rendered many times.
//!
//! Values can never become markup: a place may stand in text and in attribute values only, and what fills it is
//! escaped, without the characters that XML 1.0 forbids. White space at the start and end of an element is layout, and
//! so are line breaks between elements. An attribute that comes out empty is left out. An element whose whole text is
//! one place is written once for each of the place's values, so also not at all. An element without content is written
//! once, unless a place in its attributes has a list of values: then once for each of them.

mod parse;

use std::fmt;

/// A checked document.
#[derive(Debug)]
pub struct Template {
    pieces: Vec<Piece>,
    /// Length of the last document, roughly: what to reserve for the next.
    size: usize,
}

/// What fills the places, by name. A place that is not given is empty.
pub type Values<'v> = [(&'static str, Value<'v>)];

/// What fills one place.
#[derive(Debug, Clone, Copy)]
pub enum Value<'v> {
    /// One text.
    One(&'v str),
    /// A text for each repetition of the element whose text it is, or of the empty element in whose attributes it
    /// stands.
    Each(&'v [String]),
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    Text(usize),
    /// ` name="` and the value's parts.
    Attribute(String, Vec<Part>),
    /// An element that is written once for each value of the place that is its text.
    Each(usize, Vec<Piece>),
    /// An element without content, which is written once for each value of the places in its attributes.
    EachEmpty(Vec<usize>, Vec<Piece>),
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Place(usize),
}

/// Why a document is refused, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// From 1.
    pub line: usize,
    /// For the operator who wrote it.
    pub reason: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for TemplateError {}

/// The XML declaration that every document begins with.
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

/// All places any document may hold; a template's pieces refer to them by index.
pub const PLACES: &[&str] = &[
    "action",
    "callback",
    "caller_id",
    "greeting",
    "hints",
    "language",
    "max_length",
    "message",
    "number",
    "play",
    "provider",
    "recognition",
    "redirect",
    "relay_code",
    "relay_provider",
    "relay_voice",
    "say",
    "speech_model",
    "speech_timeout",
    "status_callback",
    "token",
    "url",
    "voice",
];

impl Template {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// When it is not well-formed, its root is not one `<Response>`, it holds an unknown element or place, a place
    /// stands outside text and attribute values, or it has a DOCTYPE, CDATA or processing instruction.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let pieces = parse::document(source)?;
        Ok(Self { pieces, size: source.len() })
    }

    /// The document with its places filled.
    pub fn render(&self, values: &Values<'_>) -> String {
        let mut out = String::with_capacity(self.size + 512);
        out.push_str(DECLARATION);
        let mut filled = [None; PLACES.len()];
        for (name, value) in values {
            if let Some(place) = PLACES.iter().position(|known| known == name) {
                filled[place] = Some(*value);
            }
        }
        write(&mut out, &self.pieces, &filled, 0);
        out
    }

    /// The names of the places in this document.
    pub fn places(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        collect(&self.pieces, &mut found);
        found.into_iter().map(|place| PLACES[place]).collect()
    }
}

fn collect(pieces: &[Piece], found: &mut Vec<usize>) {
    for piece in pieces {
        match piece {
            Piece::Literal(_) => {}
            Piece::Text(place) => found.push(*place),
            Piece::Attribute(_, parts) => found.extend(parts.iter().filter_map(|part| match part {
                Part::Place(place) => Some(*place),
                Part::Literal(_) => None,
            })),
            Piece::Each(_, inner) | Piece::EachEmpty(_, inner) => collect(inner, found),
        }
    }
}

type Filled<'v> = [Option<Value<'v>>; PLACES.len()];

fn write(out: &mut String, pieces: &[Piece], filled: &Filled<'_>, round: usize) {
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Text(place) => push_escaped(out, text_of(filled, *place, round), false),
            Piece::Attribute(opening, parts) => {
                let before = out.len();
                out.push_str(opening);
                let empty = out.len();
                for part in parts {
                    match part {
                        Part::Literal(text) => out.push_str(text),
                        Part::Place(place) => push_escaped(out, text_of(filled, *place, round), true),
                    }
                }
                if out.len() == empty {
                    out.truncate(before);
                } else {
                    out.push('"');
                }
            }
            Piece::Each(place, inner) => {
                let once = usize::from(!text_of(filled, *place, 0).is_empty());
                for round in 0..values_of(filled, *place).unwrap_or(once) {
                    write(out, inner, filled, round);
                }
            }
            Piece::EachEmpty(places, inner) => {
                let rounds = places.iter().find_map(|place| values_of(filled, *place));
                for round in 0..rounds.unwrap_or(1) {
                    write(out, inner, filled, round);
                }
            }
        }
    }
}

/// How many values a place has, if they are a list.
fn values_of(filled: &Filled<'_>, place: usize) -> Option<usize> {
    match filled[place] {
        Some(Value::Each(texts)) => Some(texts.len()),
        Some(Value::One(_)) | None => None,
    }
}

fn text_of<'v>(filled: &Filled<'v>, place: usize, round: usize) -> &'v str {
    match filled[place] {
        Some(Value::One(text)) => text,
        Some(Value::Each(texts)) => texts.get(round).map_or("", String::as_str),
        None => "",
    }
}

/// Whether no XML 1.0 document can hold the character.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Appends `text` as character data: markup escaped, characters that XML 1.0 forbids dropped, apostrophes left bare
/// (Twilio's own libraries do the same). In an attribute, line breaks are kept by reference.
fn push_escaped(out: &mut String, text: &str, in_attribute: bool) {
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let instead = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' if in_attribute => "&quot;",
            '\n' if in_attribute => "&#10;",
            '\t' if in_attribute => "&#9;",
            '\r' => "&#13;",
            '\t' | '\n' => continue,
            c if is_forbidden(c) => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        out.push_str(instead);
        plain = at + c.len_utf8();
    }
    out.push_str(&text[plain..]);
}
