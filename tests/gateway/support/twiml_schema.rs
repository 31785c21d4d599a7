//! Twilio's vocabulary and limits: what may stand in a TwiML document.
//!
//! The vocabulary is data (`tests/data/twiml-schema.json`, derived from Twilio's own client libraries). Its lists of
//! voices and languages are open ones, which Twilio extends; here they are taken as closed, since the gateway must
//! only choose what is known.

use std::sync::LazyLock;

use serde_json::Value;

use super::xml::Element;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/twiml-schema.json")).expect("the schema file is JSON")
});

/// Which of the two vocabularies a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Calls.
    Voice,
    /// Texts.
    Messaging,
}

impl Family {
    fn schema(self) -> &'static Value {
        match self {
            Family::Voice => &SCHEMA["voice"],
            Family::Messaging => &SCHEMA["messaging"],
        }
    }

    fn class(self, name: &str) -> &'static Value {
        &self.schema()["classes"][name]
    }
}

/// A limit of the schema's `meta.limits`.
fn limit(name: &str) -> usize {
    let limit = SCHEMA["meta"]["limits"][name].as_u64().and_then(|limit| limit.try_into().ok());
    limit.unwrap_or_else(|| panic!("the schema names no limit {name}"))
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Checks a whole document; the error names the element and what is wrong with it.
pub fn check(family: Family, body: &str, root: &Element) -> Result<(), String> {
    if body.len() > limit("document_bytes") {
        return Err(format!("{} bytes, more than Twilio reads (11750)", body.len()));
    }
    if root.name != "Response" {
        return Err(format!("the root is <{}>, not <Response> (12102)", root.name));
    }
    let class = family.schema()["root"].as_str().expect("the schema names its root class");
    check_element(family, class, root)?;
    match family {
        Family::Voice => check_order(root),
        Family::Messaging if root.find_all("Message").len() > limit("message_replies") => {
            Err("more replies than Twilio sends (14109)".to_owned())
        }
        Family::Messaging => Ok(()),
    }
}

fn check_element(family: Family, class_name: &str, element: &Element) -> Result<(), String> {
    let class = family.class(class_name);
    let name = &element.name;
    check_attributes(&class["attributes"], element)?;
    if class["text"] != true && !element.own_text().trim().is_empty() {
        return Err(format!("<{name}> holds text, which it may not: {:?}", element.own_text()));
    }
    for child in element.children() {
        let allowed = strings(&class["children"]);
        let child_class = allowed.into_iter().find(|allowed| family.class(allowed)["element"] == child.name.as_str());
        let Some(child_class) = child_class else {
            return Err(format!("<{}> may not stand in <{name}> (12200)", child.name));
        };
        check_element(family, child_class, child)?;
    }
    match name.as_str() {
        "Say" => check_say(element),
        "Message" => check_message(element),
        "Redirect" if element.text().trim().is_empty() => Err("<Redirect> leads nowhere".to_owned()),
        "Play" if element.text().trim().is_empty() && element.attr("digits").is_none() => {
            Err("<Play> has neither a URL nor digits (13420)".to_owned())
        }
        "Gather" if element.find_all("Play").iter().any(|play| play.attr("digits").is_some()) => {
            Err("<Play digits> may not stand in <Gather>".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_attributes(known: &Value, element: &Element) -> Result<(), String> {
    let name = &element.name;
    let known = known.as_object().expect("every class of the schema lists its attributes");
    for (attribute, value) in &element.attributes {
        let Some(kind) = known.get(attribute) else {
            let names: Vec<_> = known.keys().collect();
            return Err(format!("<{name}> has no attribute {attribute:?} (12200), only {names:?}"));
        };
        if !is_allowed(kind, value) {
            return Err(format!("<{name} {attribute}={value:?}> is not a value Twilio knows"));
        }
    }
    let missing = known.iter().find(|(key, kind)| kind["required"] == true && element.attr(key).is_none());
    missing.map_or(Ok(()), |(key, _)| Err(format!("<{name}> lacks its attribute {key:?}")))
}

fn is_allowed(kind: &Value, value: &str) -> bool {
    let listed = |value: &str| strings(&kind["values"]).any(|allowed| allowed == value);
    let is_integer = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u32>().is_ok();
    let right_type = match kind["type"].as_str() {
        None | Some("string") => true,
        Some("integer") => is_integer(value),
        Some("integer_or_auto") => value == "auto" || is_integer(value),
        Some("boolean") => matches!(value, "true" | "false"),
        Some("enum") => listed(value),
        Some("enum_ci") => strings(&kind["values"]).any(|allowed| allowed.eq_ignore_ascii_case(value)),
        Some("list") => {
            let separator = kind["separator"].as_str().expect("every list of the schema has its separator");
            value.split(separator).all(listed)
        }
        Some(other) => panic!("the schema holds the type {other:?}, which this check does not know"),
    };
    right_type && kind["pattern"].as_str().is_none_or(|pattern| matches_pattern(pattern, value))
}

/// The schema's few regular expressions, spelled out.
fn matches_pattern(pattern: &str, value: &str) -> bool {
    match pattern {
        "^wss://" => value.starts_with("wss://"),
        "^[0-9A-DwW#*]*$" => value.chars().all(|key| matches!(key, '0'..='9' | 'A'..='D' | 'w' | 'W' | '#' | '*')),
        "^[0-9#*]?$" => value.len() <= 1 && value.chars().all(|key| matches!(key, '0'..='9' | '#' | '*')),
        other => panic!("the schema holds the pattern {other:?}, which this check does not know"),
    }
}

/// Length (13521), something to say (13520), and a voice of the language it is to speak (13520).
fn check_say(say: &Element) -> Result<(), String> {
    let text = say.text();
    if text.trim().is_empty() {
        return Err("<Say> has nothing to say (13520)".to_owned());
    }
    let voice = say.attr("voice").unwrap_or_default();
    let most = limit(match voice.split_once('.') {
        Some(("Polly", _)) => "say_chars_polly",
        Some(("Google", _)) => "say_chars_google",
        _ => "say_chars",
    });
    let count = text.chars().count();
    if count > most {
        return Err(format!("<Say> holds {count} characters, more than the {most} of its voice (13521)"));
    }
    // Twilio's page on error 13521 names this limit beside those of the voices.
    const ENCODED: usize = 4500;
    let encoded: usize = form_urlencoded::byte_serialize(text.as_bytes()).map(str::len).sum();
    if encoded > ENCODED {
        return Err(format!("<Say> holds {encoded} bytes when URL-encoded, more than {ENCODED} (13521)"));
    }
    let main_tag = |tag: &str| tag.split('-').next().unwrap_or_default().to_owned();
    match (voice.strip_prefix("Google.").map(main_tag), say.attr("language").map(main_tag)) {
        (Some(voice_tag), Some(tag)) if voice_tag != tag => {
            Err(format!("<Say>: the voice {voice:?} does not speak the language {tag:?} (13520)"))
        }
        _ => Ok(()),
    }
}

fn check_message(message: &Element) -> Result<(), String> {
    let bodies = message.find_all("Body");
    let media = message.find_all("Media").len();
    let text = message.text();
    if bodies.len() > 1 || (bodies.len() == 1 && !message.own_text().trim().is_empty()) {
        return Err("<Message> has more than one text".to_owned());
    }
    if text.trim().is_empty() && media == 0 {
        return Err("<Message> is empty (14103)".to_owned());
    }
    let body = bodies.first().map_or_else(|| message.own_text(), |body| body.text());
    if body.chars().count() > limit("message_body_chars") {
        return Err(format!("<Message> holds {} characters, more than Twilio sends (14103)", body.chars().count()));
    }
    if media > limit("media_per_message") {
        return Err("<Message> has too many <Media>".to_owned());
    }
    Ok(())
}

/// Twilio never comes to a verb after one that hands the call on or ends it, and a `<Reject>` that is not first is
/// answered and billed.
fn check_order(root: &Element) -> Result<(), String> {
    let verbs: Vec<_> = root.children().map(|verb| verb.name.as_str()).collect();
    for (position, verb) in verbs.iter().enumerate() {
        if *verb == "Reject" && position > 0 {
            return Err("<Reject> is not the first verb".to_owned());
        }
        let leaves = matches!(*verb, "Redirect" | "Hangup" | "Reject");
        if let (true, Some(next)) = (leaves, verbs.get(position + 1)) {
            return Err(format!("<{next}> after <{verb}> is never reached"));
        }
    }
    Ok(())
}
