//! Answers of a certain form, one JSON object: how it is asked for and how it is read, however the model wraps it.

use serde_json::{Map, Value, json};

use super::{
    answer::{self, Flaw},
    dialect::Format,
    wire::Raw,
};

/// How many opening braces of an answer are tried as the beginning of the object.
const BRACES: usize = 32;

/// A form, in words and as a schema.
pub(super) struct Form {
    /// Appended to the system message: `json_object` requires that the word JSON appears, and a server that takes no
    /// form at all needs it in words. No example object: small models copy its values.
    pub instructions: &'static str,
    schema: Value,
    object: Value,
}

impl Form {
    /// The form of an object with these properties, all of them required.
    pub fn new(name: &str, instructions: &'static str, properties: Value) -> Self {
        let required: Vec<_> = properties.as_object().into_iter().flat_map(Map::keys).collect();
        let schema = json!({
            "type": "json_schema",
            "json_schema": {
                "name": name,
                "strict": true,
                "schema": {
                    "type": "object",
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false
                }
            }
        });
        Self { instructions, schema, object: json!({"type": "json_object"}) }
    }

    /// The request field for it.
    pub fn response_format(&self, format: Format) -> Option<&Value> {
        match format {
            Format::Schema => Some(&self.schema),
            Format::Object => Some(&self.object),
            Format::Plain => None,
        }
    }
}

/// What `take` makes of the object in an answer. One that is complete counts even if what follows it was cut.
pub(super) fn read<T>(raw: &Raw, take: impl Fn(&Fields) -> Option<T>) -> Result<T, Flaw> {
    let flaw = match answer::checked(raw) {
        Err(flaw @ (Flaw::Refused | Flaw::Empty)) => return Err(flaw),
        Err(Flaw::Cut) => Flaw::Cut,
        _ => Flaw::Malformed,
    };
    let text = answer::spoken(&raw.text).unwrap_or_default();
    find(text, &take).or_else(|| find(&unbroken(text), &take)).ok_or(flaw)
}

/// What `take` makes of the object in an answer that was cut within it: of all that is there, or else of all before the
/// field or entry that was cut.
pub(super) fn save<T>(raw: &Raw, take: impl Fn(&Fields) -> Option<T>) -> Option<T> {
    let text = answer::spoken(&raw.text)?;
    let open = unbroken(&text[text.find('{')?..]);
    let (comma, closed) = close(&open);
    find(&closed, &take).or_else(|| find(&close(&open[..comma?]).1, &take))
}

/// An object with its closing marks added, and where its last comma between values is.
fn close(open: &str) -> (Option<usize>, String) {
    let (mut comma, mut ends, mut quoted, mut escaped) = (None, Vec::new(), false, false);
    for (at, c) in open.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' => ends.push('}'),
            '[' => ends.push(']'),
            '}' | ']' => drop(ends.pop()),
            ',' => comma = Some(at),
            _ => {}
        }
    }
    // A cut escape sequence would swallow the quotation mark.
    let text = if escaped { &open[..open.len() - 1] } else { open };
    let quote = if quoted { "\"" } else { "" };
    (comma, format!("{text}{quote}{}", ends.iter().rev().collect::<String>()))
}

/// Small models write line breaks into their strings, which JSON forbids; elsewhere white space does not matter.
fn unbroken(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// What is taken of the first object that holds it, in code fences, between sentences, or inside another object.
fn find<T>(text: &str, take: impl Fn(&Fields) -> Option<T>) -> Option<T> {
    text.match_indices('{').take(BRACES).find_map(|(at, _)| {
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Map<String, Value>>();
        take(&Fields(values.next()?.ok()?))
    })
}

/// The fields of an object, whose names may be in any case.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A text of the model's that may be passed on: trimmed, with at least one letter or digit.
pub(super) fn words(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    answer::has_words(text).then(|| text.replace('\0', ""))
}

/// Such a text on one line.
pub(super) fn line(value: &Value) -> Option<String> {
    words(value).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Finish;

    #[test]
    fn forms_step_down() {
        let form = Form::new("x", "", json!({"a": {"type": "string"}, "b": {"type": "string"}}));
        let schema = &form.response_format(Format::Schema).unwrap()["json_schema"];
        assert_eq!((&schema["name"], &schema["strict"]), (&json!("x"), &json!(true)));
        assert_eq!(schema["schema"]["required"], json!(["a", "b"]));
        assert_eq!(form.response_format(Format::Object).unwrap()["type"], "json_object");
        assert!(form.response_format(Format::Plain).is_none());
    }

    #[test]
    fn cut_objects_are_closed_where_they_stop_or_before_what_cannot_be_closed() {
        let saved = |text: &str| {
            let raw = Raw { text: text.into(), finish: Some(Finish::Cut), ..Raw::default() };
            save(&raw, |fields| Some(Value::Object(fields.0.clone())))
        };
        for (cut, saved_as) in [
            (r#"{"a":"x y"#, json!({"a": "x y"})),
            (r#"Well: {"a":"x \"#, json!({"a": "x "})),
            (r#"{"a":"x","b":["#, json!({"a": "x", "b": []})),
            (r#"{"a":"x, \"y\"","b":["p","q"#, json!({"a": "x, \"y\"", "b": ["p", "q"]})),
            (r#"{"a":"x","b":["p","#, json!({"a": "x", "b": ["p"]})),
            (r#"{"a":"x","b":"#, json!({"a": "x"})),
            (r#"{"a":"x","#, json!({"a": "x"})),
            (r#"{"a":"x"#, json!({"a": "x"})),
        ] {
            assert_eq!(saved(cut), Some(saved_as), "{cut}");
        }
        assert_eq!(saved(r#"{"a"#), None);
        assert_eq!(saved("no object"), None);
    }
}
