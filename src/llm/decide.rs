//! The form of a decision.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{
    Verdict,
    answer::{self, Flaw},
    form::{self, Fields, Form},
    wire::Raw,
};

pub(super) static FORM: LazyLock<Form> = LazyLock::new(|| {
    let instructions = concat!(
        "Answer with one JSON object and nothing else. ",
        r#"Its key "decision" is "yes", "no" or "unsure". "#,
        r#"Its key "reply_text" is the message you send back, in your own words and never empty."#
    );
    let properties = json!({
        "decision": {"type": "string", "enum": ["yes", "no", "unsure"]},
        "reply_text": {"type": "string"}
    });
    Form::new("decision", instructions, properties)
});

/// What the model decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub verdict: Verdict,
    pub reply_text: String,
}

/// The decision in an answer.
pub(super) fn read(raw: &Raw) -> Result<Decided, Flaw> {
    form::read(raw, take)
}

/// The decision in an answer that was cut within its reply: the reply up to its last complete sentence.
pub(super) fn save(raw: &Raw) -> Option<Decided> {
    let decided = form::save(raw, take)?;
    let reply_text = answer::repaired(&decided.reply_text)?.to_owned();
    Some(Decided { reply_text, ..decided })
}

fn take(fields: &Fields) -> Option<Decided> {
    let verdict = verdict(fields.get("decision")?)?;
    let reply_text = form::words(fields.get("reply_text").or_else(|| fields.get("reply"))?)?;
    Some(Decided { verdict, reply_text })
}

/// Yes and no in the forms models use.
fn verdict(value: &Value) -> Option<Verdict> {
    let text = match value {
        Value::Bool(true) => return Some(Verdict::Yes),
        Value::Bool(false) => return Some(Verdict::No),
        Value::Null => return Some(Verdict::Unsure),
        Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    };
    let word = text.split(|c: char| !c.is_alphanumeric()).find(|word| !word.is_empty())?;
    match word {
        "yes" | "y" | "true" | "1" | "sí" | "si" | "oui" | "ja" => Some(Verdict::Yes),
        "no" | "n" | "false" | "0" | "non" | "nein" => Some(Verdict::No),
        "unsure" | "maybe" | "unknown" | "unclear" | "uncertain" | "null" => Some(Verdict::Unsure),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Finish;

    fn raw(text: &str, finish: Finish) -> Raw {
        Raw { text: text.into(), finish: Some(finish), ..Raw::default() }
    }

    fn whole(text: &str) -> Result<(Verdict, String), Flaw> {
        read(&raw(text, Finish::Whole)).map(|d| (d.verdict, d.reply_text))
    }

    #[test]
    fn decisions_are_read_however_wrapped() {
        use Verdict::{No, Unsure, Yes};
        for (text, verdict) in [
            (r#"{"decision":"yes","reply_text":"Ok"}"#, Yes),
            (r#"{"decision":"yes","confidence":null,"reply_text":" Ok "}"#, Yes),
            ("```json\n{\"decision\": \"NO\", \"reply_text\": \"Ok\"}\n```", No),
            (r#"Sure! {"a":1} {"decision":"Y","reply_text":"Ok"} Bye {"#, Yes),
            (r#"{"Decision":true,"Reply_Text":"Ok"}"#, Yes),
            (r#"{"decision":"true.","reply":"Ok"}"#, Yes),
            (r#"{"decision":0,"reply_text":"Ok"}"#, No),
            (r#"[{"result":{"decision":"maybe","reply_text":"Ok"}}]"#, Unsure),
            (r#"{"decision":null,"reply_text":"Ok"}"#, Unsure),
            (r#"<think>{"decision":"no","reply_text":"Hm"}</think>{"decision":"Yes, I do","reply_text":"Ok"}"#, Yes),
        ] {
            assert_eq!(whole(text), Ok((verdict, "Ok".to_owned())), "{text}");
        }
        assert_eq!(whole("{\"decision\":\"yes\",\"reply_text\":\"a\nb\"}"), Ok((Yes, "a b".to_owned())));
    }

    #[test]
    fn broken_decisions_are_flaws() {
        for text in [
            "Sure! I would say it depends {decision: maybe",
            r#"{"decision":"yes"}"#,
            r#"{"decision":"yes","reply_text":" "}"#,
            r#"{"decision":"yes","reply_text":"?!"}"#,
            r#"{"decision":"banana","reply_text":"Ok"}"#,
            r#"{"reply_text":"Ok"}"#,
            r#"["yes"]"#,
            "{}",
        ] {
            assert_eq!(whole(text), Err(Flaw::Malformed), "{text}");
        }
        assert_eq!(whole(""), Err(Flaw::Empty));
        assert_eq!(read(&raw("I cannot", Finish::Refused)), Err(Flaw::Refused));
        assert_eq!(read(&raw(r#"{"decision":"yes","reply"#, Finish::Cut)), Err(Flaw::Cut));
    }

    #[test]
    fn cut_decisions_are_saved_up_to_a_sentence() {
        let saved = |text: &str| save(&raw(text, Finish::Cut)).map(|d| (d.verdict, d.reply_text));
        let cut = r#"{"decision":"no","reply_text":"Sorry, no. I will be"#;
        assert_eq!(saved(cut), Some((Verdict::No, "Sorry, no.".to_owned())));
        assert_eq!(saved(r#"{"decision":"no","reply_text":"Sorry. \"#), Some((Verdict::No, "Sorry.".to_owned())));
        assert_eq!(saved(r#"{"decision":"no","reply_text":"Sorry"#), None);
        assert_eq!(saved(r#"{"decision":"n"#), None);
        assert_eq!(saved("no"), None);
        let complete = r#"{"decision":"yes","reply_text":"Ok"} and then"#;
        assert!(read(&raw(complete, Finish::Cut)).is_ok());
    }
}
