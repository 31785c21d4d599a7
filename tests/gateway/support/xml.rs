//! A document as a tree, and no document that is not well-formed XML 1.0.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// An element with its attributes and content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Element {
    /// Its name as written.
    pub name: String,
    /// Its attributes in the order of the document, entities resolved.
    pub attributes: Vec<(String, String)>,
    /// What stands between its tags.
    pub content: Vec<Content>,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A child.
    Element(Element),
    /// Text, entities resolved, neighbouring pieces joined.
    Text(String),
}

impl Element {
    /// The value of an attribute.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The child elements.
    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.content.iter().filter_map(|content| match content {
            Content::Element(element) => Some(element),
            Content::Text(_) => None,
        })
    }

    /// The element's text with that of all elements inside it.
    pub fn text(&self) -> String {
        let piece = |content: &Content| match content {
            Content::Element(element) => element.text(),
            Content::Text(text) => text.clone(),
        };
        self.content.iter().map(piece).collect()
    }

    /// The element's own text, without that of the elements inside it.
    pub fn own_text(&self) -> String {
        let texts = self.content.iter().filter_map(|content| match content {
            Content::Text(text) => Some(text.as_str()),
            Content::Element(_) => None,
        });
        texts.collect()
    }

    /// All elements inside this one, in document order.
    pub fn descendants(&self) -> Vec<&Element> {
        self.children().flat_map(|child| [vec![child], child.descendants()].concat()).collect()
    }

    /// The first element of this name inside this one, at any depth, in document order.
    pub fn find(&self, name: &str) -> Option<&Element> {
        self.find_all(name).into_iter().next()
    }

    /// All elements of this name inside this one, at any depth, in document order.
    pub fn find_all(&self, name: &str) -> Vec<&Element> {
        self.descendants().into_iter().filter(|element| element.name == name).collect()
    }

    fn push_text(&mut self, more: &str) {
        match self.content.last_mut() {
            Some(Content::Text(text)) => text.push_str(more),
            _ => self.content.push(Content::Text(more.to_owned())),
        }
    }
}

/// Reads a document; the error says what is wrong with it.
pub fn parse(document: &str) -> Result<Element, String> {
    if let Some(forbidden) = document.chars().find(|&char| !is_xml_char(char)) {
        return Err(format!("the character {forbidden:?} is forbidden in XML"));
    }
    let mut reader = Reader::from_str(document);
    reader.config_mut().check_comments = true;
    // The bottom of the stack stands for the document itself: it must end up with one element.
    let mut open = vec![Element::default()];
    loop {
        let at_start = reader.buffer_position() == 0;
        let event = reader.read_event().map_err(|error| format!("not well-formed: {error}"))?;
        let innermost = open.last_mut().expect("the document itself is never closed");
        match event {
            Event::Start(tag) => open.push(element(&tag)?),
            Event::Empty(tag) => innermost.content.push(Content::Element(element(&tag)?)),
            Event::End(_) => {
                let closed = open.pop().expect("the reader knows which element ends here");
                let parent = open.last_mut().ok_or("an end tag without a start tag")?;
                parent.content.push(Content::Element(closed));
            }
            Event::Text(text) => {
                let text = text.xml10_content();
                if text.contains("]]>") {
                    return Err("`]]>` stands in text".to_owned());
                }
                innermost.push_text(&text);
            }
            Event::CData(text) => innermost.push_text(&text.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|error| error.to_string())? {
                Some(char) if is_xml_char(char) => innermost.push_text(&char.to_string()),
                Some(char) => return Err(format!("a reference to {char:?}, which is forbidden in XML")),
                None => {
                    let name = reference.xml10_content();
                    let text = resolve_predefined_entity(&name).ok_or(format!("unknown entity &{name};"))?;
                    innermost.push_text(text);
                }
            },
            Event::Decl(declaration) => {
                if !at_start {
                    return Err("an XML declaration that is not at the very start".to_owned());
                }
                if declaration.version().map_err(|error| error.to_string())? != "1.0" {
                    return Err("the XML version is not 1.0".to_owned());
                }
                let encoding = declaration.encoding().transpose().map_err(|error| error.to_string())?;
                if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("utf-8")) {
                    return Err("the encoding is not UTF-8".to_owned());
                }
            }
            Event::Comment(_) => {}
            Event::PI(_) => return Err("a processing instruction".to_owned()),
            Event::DocType(_) => return Err("a document type declaration".to_owned()),
            Event::Eof => break,
        }
    }
    let document = open.pop().expect("the document itself is never closed");
    if !open.is_empty() {
        return Err(format!("<{}> is not closed", document.name));
    }
    if !document.own_text().trim().is_empty() {
        return Err(format!("text outside the root element: {:?}", document.own_text().trim()));
    }
    let mut roots = document.children().cloned();
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root),
        (None, _) => Err("no root element".to_owned()),
        (Some(_), Some(second)) => Err(format!("a second root element <{}>", second.name)),
    }
}

fn element(tag: &BytesStart<'_>) -> Result<Element, String> {
    let name = tag.name().as_ref().to_owned();
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| format!("<{name}>: {error}"))?;
        let key = attribute.key.as_ref().to_owned();
        if attribute.value.contains('<') {
            return Err(format!("<{name} {key}>: a bare `<` in an attribute"));
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        let value = value.map_err(|error| format!("<{name} {key}>: {error}"))?.into_owned();
        if let Some(forbidden) = value.chars().find(|&char| !is_xml_char(char)) {
            return Err(format!("<{name} {key}>: a reference to {forbidden:?}, which is forbidden in XML"));
        }
        attributes.push((key, value));
    }
    Ok(Element { name, attributes, content: Vec::new() })
}

/// The Char production of XML 1.0 (surrogates cannot occur in a `char`).
fn is_xml_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}
