//! A TwiML answer as a test speaks of it, checked when it is read.

use super::twiml_schema::{Family, check};
pub use super::xml::Element;
use super::xml::{Content, parse};

/// A TwiML document that is well-formed, in Twilio's vocabulary and within Twilio's limits.
#[derive(Debug)]
pub struct Twiml {
    root: Element,
    /// What was told in the parts before.
    told: Vec<String>,
}

impl Twiml {
    /// Reads an answer to a call or to a text: one with a `<Message>` is taken for the latter.
    ///
    /// # Panics
    /// When the document is anything Twilio would stumble over; the message says what, and shows the document.
    #[track_caller]
    pub fn parse(body: &str) -> Self {
        if body.contains("<Message") { Self::messaging(body) } else { Self::voice(body) }
    }

    /// Reads an answer to a call. Panics like [`Twiml::parse`].
    #[track_caller]
    pub fn voice(body: &str) -> Self {
        Self::read(Family::Voice, body).unwrap_or_else(|fault| refuse(&fault, body))
    }

    /// Reads an answer to a text. Panics like [`Twiml::parse`].
    #[track_caller]
    pub fn messaging(body: &str) -> Self {
        Self::read(Family::Messaging, body).unwrap_or_else(|fault| refuse(&fault, body))
    }

    fn read(family: Family, body: &str) -> Result<Self, String> {
        if let Some(reference) = ["&apos;", "&#39;", "&#x27;"].into_iter().find(|reference| body.contains(reference)) {
            return Err(format!("an apostrophe is written {reference}, which integrators saw refused (13520)"));
        }
        let root = parse(body)?;
        check(family, body, &root)?;
        Ok(Self { root, told: Vec::new() })
    }

    /// This document at the end of an answer whose first parts told something already.
    pub fn after(mut self, told: Vec<String>) -> Self {
        self.told = told;
        self
    }

    /// The texts of all `<Say>`, those inside a `<Gather>` included, in order; after those of earlier parts.
    pub fn says(&self) -> Vec<String> {
        self.told.iter().cloned().chain(self.root.find_all("Say").into_iter().map(Element::text)).collect()
    }

    /// All that is said, joined by blanks.
    pub fn say(&self) -> String {
        self.says().join(" ")
    }

    /// The first `<Gather>`.
    pub fn gather(&self) -> Option<&Element> {
        self.find("Gather")
    }

    /// The `action` of the first verb that has one: the URL that Twilio calls when that verb is done.
    pub fn action(&self) -> Option<String> {
        self.root.descendants().into_iter().find_map(|verb| verb.attr("action")).map(str::to_owned)
    }

    /// Where the document's `<Redirect>` leads.
    pub fn redirect(&self) -> Option<String> {
        self.find("Redirect").map(|redirect| redirect.text().trim().to_owned())
    }

    /// Whether the call is ended by a `<Hangup>`.
    pub fn hangs_up(&self) -> bool {
        self.find("Hangup").is_some()
    }

    /// Whether the call is refused by a `<Reject>`.
    pub fn rejects(&self) -> bool {
        self.find("Reject").is_some()
    }

    /// The texts of all `<Message>`, in order.
    pub fn messages(&self) -> Vec<String> {
        let text = |message: &Element| message.find("Body").map_or_else(|| message.own_text(), Element::text);
        self.root.find_all("Message").into_iter().map(text).collect()
    }

    /// Whether the `<Response>` holds no verb.
    pub fn is_empty(&self) -> bool {
        self.root.children().next().is_none()
    }

    /// The first element of this name at any depth.
    pub fn find(&self, name: &str) -> Option<&Element> {
        self.root.find(name)
    }

    /// All elements of this name at any depth, in order.
    pub fn find_all(&self, name: &str) -> Vec<&Element> {
        self.root.find_all(name)
    }

    /// The verbs, in order, with what is inside them.
    pub fn into_verbs(self) -> Vec<Element> {
        let element = |content| match content {
            Content::Element(element) => Some(element),
            Content::Text(_) => None,
        };
        self.root.content.into_iter().filter_map(element).collect()
    }

    /// The names of the verbs, in order, those inside others left out.
    pub fn verbs(&self) -> Vec<&str> {
        self.root.children().map(|verb| verb.name.as_str()).collect()
    }
}

#[track_caller]
fn refuse(fault: &str, body: &str) -> ! {
    let shown: String = body.chars().take(3000).collect();
    panic!("this TwiML is wrong: {fault}\n--- the document, {} bytes ---\n{shown}", body.len())
}
