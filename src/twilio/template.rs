//! A TwiML document with `{{places}}`: read and checked once, rendered many times.
//!
//! Values can never become markup: a place may stand in text and in attribute values only, and what fills it is escaped,
//! without the characters that XML 1.0 forbids. An attribute that comes out empty is left out. An element whose whole text is
//! one place is written once for each of the place's values, so also not at all.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
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
    /// A text for each repetition of the element whose text it is.
    Each(&'v [String]),
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    Text(usize),
    /// ` name="` and the value's parts.
    Attribute(String, Vec<Part>),
    /// An element that is written once for each value of a place.
    Each(usize, Vec<Piece>),
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

/// The elements a document may hold: TwiML's verbs and nouns, and the markup of speech inside `Say`.
const ELEMENTS: &[&str] = &[
    "Response",
    "Say",
    "Play",
    "Pause",
    "Gather",
    "Redirect",
    "Hangup",
    "Reject",
    "Record",
    "Dial",
    "Number",
    "Sip",
    "Client",
    "Conference",
    "Queue",
    "Enqueue",
    "Task",
    "Leave",
    "Connect",
    "ConversationRelay",
    "Language",
    "Parameter",
    "Stream",
    "Start",
    "Stop",
    "Recording",
    "Transcription",
    "Message",
    "Body",
    "Media",
    "break",
    "emphasis",
    "lang",
    "p",
    "phoneme",
    "prosody",
    "s",
    "say-as",
    "sub",
    "w",
];

/// The XML declaration that every document begins with.
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

/// All places any document may hold; a template's pieces refer to them by index.
pub const PLACES: &[&str] = &["action", "language", "message", "recognition", "redirect", "say", "voice"];

impl Template {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// When it is not well-formed, its root is not one `<Response>`, it holds an unknown element or place, a place stands
    /// outside text and attribute values, or it has a DOCTYPE, CDATA or processing instruction.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Parser { reader: Reader::from_str(source), source }.document()
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
            Piece::Each(_, inner) => collect(inner, found),
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
                let rounds = match filled[*place] {
                    Some(Value::Each(texts)) => texts.len(),
                    Some(Value::One(text)) => usize::from(!text.is_empty()),
                    None => 0,
                };
                for round in 0..rounds {
                    write(out, inner, filled, round);
                }
            }
        }
    }
}

fn text_of<'v>(filled: &Filled<'v>, place: usize, round: usize) -> &'v str {
    match filled[place] {
        Some(Value::One(text)) => text,
        Some(Value::Each(texts)) => texts.get(round).map_or("", String::as_str),
        None => "",
    }
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
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        out.push_str(instead);
        plain = at + c.len_utf8();
    }
    out.push_str(&text[plain..]);
}

struct Parser<'s> {
    reader: Reader<&'s [u8]>,
    source: &'s str,
}

impl Parser<'_> {
    fn document(mut self) -> Result<Template, TemplateError> {
        let mut pieces = Vec::new();
        let mut seen_root = false;
        loop {
            match self.next()? {
                Event::Decl(_) if !seen_root => {}
                Event::Comment(_) => {}
                Event::Text(text) if text.trim_ascii().is_empty() => {}
                Event::Start(start) if !seen_root && start.name().as_ref() == "Response" => {
                    seen_root = true;
                    let start = start.into_owned();
                    self.element(&start, &mut pieces)?;
                }
                Event::Empty(start) if !seen_root && start.name().as_ref() == "Response" => {
                    seen_root = true;
                    self.opening(&start.into_owned(), &mut pieces, true)?;
                }
                Event::Eof if seen_root => break,
                Event::Start(_) | Event::Empty(_) | Event::Eof => {
                    return Err(self.fault("the document must be one <Response>"));
                }
                _ => return Err(self.fault("only the XML declaration and comments may stand outside <Response>")),
            }
        }
        let pieces = merged(pieces);
        Ok(Template { pieces, size: self.source.len() })
    }

    /// An element whose start tag was just read, up to its end tag.
    fn element(&mut self, start: &BytesStart<'_>, out: &mut Vec<Piece>) -> Result<(), TemplateError> {
        let mut own = Vec::new();
        self.opening(start, &mut own, false)?;
        let inside = own.len();
        loop {
            match self.next()? {
                Event::Start(child) => {
                    let child = child.into_owned();
                    self.element(&child, &mut own)?;
                }
                Event::Empty(child) => self.opening(&child.into_owned(), &mut own, true)?,
                Event::Text(text) => {
                    let text = text.into_inner();
                    if !text.trim().is_empty() {
                        self.text(&text, &mut own)?;
                    }
                }
                Event::GeneralRef(reference) => own.push(Piece::Literal(format!("&{};", reference.into_inner()))),
                Event::Comment(_) => {}
                Event::End(_) => break,
                Event::Eof => return Err(self.fault("an element is not closed")),
                Event::CData(_) => return Err(self.fault("CDATA is not allowed: write the text as it is")),
                _ => return Err(self.fault("only elements, text and comments may stand in a document")),
            }
        }
        let sole = match &own[inside..] {
            [Piece::Text(place)] => Some(*place),
            _ => None,
        };
        own.push(Piece::Literal(format!("</{}>", start.name().as_ref())));
        match sole {
            Some(place) => out.push(Piece::Each(place, merged(own))),
            None => out.extend(own),
        }
        Ok(())
    }

    fn opening(&self, start: &BytesStart<'_>, out: &mut Vec<Piece>, empty: bool) -> Result<(), TemplateError> {
        let name = start.name();
        let name = name.as_ref();
        if !ELEMENTS.contains(&name) {
            return Err(self.fault(&format!("<{name}> is no TwiML element")));
        }
        out.push(Piece::Literal(format!("<{name}")));
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| self.fault(&error.to_string()))?;
            let key = attribute.key.as_ref();
            let value: &str = &attribute.value;
            if key.contains("{{") {
                return Err(self.fault("a place may stand in text and in attribute values only"));
            }
            if value.contains('<') {
                return Err(self.fault(&format!("'<' must be written &lt; in the attribute {key}")));
            }
            let value = value.replace('"', "&quot;");
            let parts = self.parts(&value)?;
            out.push(match parts.iter().any(|part| matches!(part, Part::Place(_))) {
                true => Piece::Attribute(format!(" {key}=\""), parts),
                false => Piece::Literal(format!(" {key}=\"{value}\"")),
            });
        }
        out.push(Piece::Literal(if empty { "/>" } else { ">" }.to_owned()));
        Ok(())
    }

    /// Text between elements: white space around it is layout, inside it is kept.
    fn text(&self, text: &str, out: &mut Vec<Piece>) -> Result<(), TemplateError> {
        out.extend(self.parts(text.trim())?.into_iter().map(|part| match part {
            Part::Literal(text) => Piece::Literal(text),
            Part::Place(place) => Piece::Text(place),
        }));
        Ok(())
    }

    fn parts(&self, text: &str) -> Result<Vec<Part>, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or_else(|| self.fault("a place is not closed with }}"))?;
            let name = name.trim();
            let Some(place) = PLACES.iter().position(|known| *known == name) else {
                return Err(self.fault(&format!("{{{{{name}}}}} is no place; there are {}", PLACES.join(", "))));
            };
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            parts.push(Part::Place(place));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(parts)
    }

    fn next(&mut self) -> Result<Event<'static>, TemplateError> {
        match self.reader.read_event() {
            Ok(event) => Ok(event.into_owned()),
            Err(error) => {
                let at = usize::try_from(self.reader.error_position()).unwrap_or(0);
                Err(TemplateError { line: self.line(at), reason: error.to_string() })
            }
        }
    }

    fn fault(&self, reason: &str) -> TemplateError {
        let at = usize::try_from(self.reader.buffer_position()).unwrap_or(0);
        TemplateError { line: self.line(at), reason: reason.to_owned() }
    }

    fn line(&self, at: usize) -> usize {
        1 + self.source.as_bytes()[..at.min(self.source.len())].iter().filter(|byte| **byte == b'\n').count()
    }
}

/// Neighbouring literals as one, so that rendering copies few and long pieces.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (out.last_mut(), piece) {
            (Some(Piece::Literal(before)), Piece::Literal(text)) => before.push_str(&text),
            (_, piece) => out.push(piece),
        }
    }
    out
}
