//! Reading a document: what it may hold, and where its places may stand.

use super::{PLACES, Part, Piece, TemplateError};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

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
