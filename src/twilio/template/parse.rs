//! Reading a document: what it may hold, and where its places may stand.

use super::{PLACES, Part, Piece, TemplateError, collect, is_forbidden, push_escaped};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

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

const FORBIDDEN: &str = "there is a character that XML forbids";

/// The pieces of a document.
pub(super) fn document(source: &str) -> Result<Vec<Piece>, TemplateError> {
    Parser { reader: Reader::from_str(source), source }.document()
}

struct Parser<'s> {
    reader: Reader<&'s [u8]>,
    source: &'s str,
}

impl Parser<'_> {
    fn document(mut self) -> Result<Vec<Piece>, TemplateError> {
        if let Some(at) = self.source.find(is_forbidden) {
            return Err(TemplateError { line: self.line(at), reason: FORBIDDEN.to_owned() });
        }
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
                    self.empty(&start.into_owned(), &mut pieces)?;
                }
                Event::Eof if seen_root => break,
                Event::Start(_) | Event::Empty(_) | Event::Eof => {
                    return Err(self.fault("the document must be one <Response>"));
                }
                _ => return Err(self.fault("only the XML declaration and comments may stand outside <Response>")),
            }
        }
        Ok(merged(pieces))
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
                Event::Empty(child) => self.empty(&child.into_owned(), &mut own)?,
                Event::Text(text) => {
                    let text = text.into_inner();
                    let text = if own.len() == inside { text.trim_start() } else { &text };
                    // Between elements a line break is layout.
                    if !text.trim().is_empty() || !text.contains('\n') {
                        self.text(text, &mut own)?;
                    }
                }
                Event::GeneralRef(reference) => own.push(Piece::Literal(self.referred(&reference)?)),
                Event::Comment(_) => {}
                Event::End(_) => break,
                Event::Eof => return Err(self.fault("an element is not closed")),
                Event::CData(_) => return Err(self.fault("CDATA is not allowed: write the text as it is")),
                _ => return Err(self.fault("only elements, text and comments may stand in a document")),
            }
        }
        if let Some(Piece::Literal(last)) = own[inside..].last_mut() {
            last.truncate(last.trim_end().len());
            if last.is_empty() {
                own.pop();
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

    /// An element that consists of its tag.
    fn empty(&self, tag: &BytesStart<'_>, out: &mut Vec<Piece>) -> Result<(), TemplateError> {
        let (mut own, mut places) = (Vec::new(), Vec::new());
        self.opening(tag, &mut own, true)?;
        collect(&own, &mut places);
        match places.is_empty() {
            true => out.extend(own),
            false => out.push(Piece::EachEmpty(places, merged(own))),
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
            if key.contains("{{") {
                return Err(self.fault("a place may stand in text and in attribute values only"));
            }
            if !key.starts_with(|c: char| c.is_ascii_alphabetic()) || key.contains(|c: char| !is_of_name(c)) {
                return Err(self.fault(&format!("{key:?} is no attribute's name")));
            }
            if attribute.value.contains('<') {
                return Err(self.fault(&format!("'<' must be written &lt; in the attribute {key}")));
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|error| self.fault(&format!("in the attribute {key}: {error}")))?;
            if value.contains(is_forbidden) {
                return Err(self.fault(FORBIDDEN));
            }
            let parts = self.parts(&value, true)?;
            out.push(match parts.iter().any(|part| matches!(part, Part::Place(_))) {
                true => Piece::Attribute(format!(" {key}=\""), parts),
                false => Piece::Literal(format!(" {key}=\"{}\"", escaped(&value, true))),
            });
        }
        out.push(Piece::Literal(if empty { "/>" } else { ">" }.to_owned()));
        Ok(())
    }

    /// A piece of text between elements and references.
    fn text(&self, text: &str, out: &mut Vec<Piece>) -> Result<(), TemplateError> {
        out.extend(self.parts(text, false)?.into_iter().map(|part| match part {
            Part::Literal(text) => Piece::Literal(text),
            Part::Place(place) => Piece::Text(place),
        }));
        Ok(())
    }

    /// What `&amp;`, `&#8211;` and the like stand for, as it is written into the document.
    fn referred(&self, reference: &BytesRef<'_>) -> Result<String, TemplateError> {
        let character = reference.resolve_char_ref().map_err(|error| self.fault(&error.to_string()))?;
        match (character, reference.xml10_content()) {
            (Some(c), _) if !is_forbidden(c) => Ok(escaped(c.encode_utf8(&mut [0; 4]), false)),
            (None, name) if let Some(text) = resolve_predefined_entity(&name) => Ok(escaped(text, false)),
            (_, name) => Err(self.fault(&format!("&{name}; is no character that XML knows"))),
        }
    }

    /// The literal parts come out escaped.
    fn parts(&self, text: &str, in_attribute: bool) -> Result<Vec<Part>, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or_else(|| self.fault("a place is not closed with }}"))?;
            let name = name.trim();
            let Some(place) = PLACES.iter().position(|known| *known == name) else {
                return Err(self.fault(&format!("{{{{{name}}}}} is no place; there are {}", PLACES.join(", "))));
            };
            if !before.is_empty() {
                parts.push(Part::Literal(escaped(before, in_attribute)));
            }
            parts.push(Part::Place(place));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(escaped(rest, in_attribute)));
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

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')
}

fn escaped(text: &str, in_attribute: bool) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text, in_attribute);
    out
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
