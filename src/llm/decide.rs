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
        r#"Its key "confidence" is a number from 0 to 1 that says how sure you are of it. "#,
        r#"Its key "reason" says in one short sentence, for the people you work for, why you decided so. "#,
        r#"Its key "reply_text" is the message you send back, in your own words and never empty."#
    );
    let properties = json!({
        "confidence": {"type": "number"},
        "decision": {"type": "string", "enum": ["yes", "no", "unsure"]},
        "reason": {"type": "string"},
        "reply_text": {"type": "string"}
    });
    Form::new("decision", instructions, properties)
});

/// What is kept of a reason, in characters.
const REASON: usize = 300;

/// What the model decided.
#[derive(Debug, PartialEq)]
pub(super) struct Decided {
    pub verdict: Verdict,
    pub confidence: Option<f64>,
    pub reason: Option<String>,
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

/// A decision needs its verdict and reply; a model that tells neither how sure it is nor why has decided all the same.
fn take(fields: &Fields) -> Option<Decided> {
    let verdict = verdict(fields.get("decision")?)?;
    let confidence = fields.get("confidence").and_then(confidence);
    let reason = fields.get("reason").and_then(form::line).map(|reason| reason.chars().take(REASON).collect());
    let reply_text = form::words(fields.get("reply_text").or_else(|| fields.get("reply"))?)?;
    Some(Decided { verdict, confidence, reason, reply_text })
}

/// A number from 0 to 1, or from 0 to 100 with a percent sign, or the same without one where it can be nothing else.
fn confidence(value: &Value) -> Option<f64> {
    let (number, is_percent) = match value {
        Value::Number(number) => (number.as_f64()?, false),
        Value::String(text) => {
            let number = text.trim().trim_end_matches('%');
            (number.trim().parse().ok()?, number.len() < text.trim().len())
        }
        _ => return None,
    };
    let share = if is_percent || number > 1.0 { number / 100.0 } else { number };
    (0.0..=1.0).contains(&share).then_some(share)
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
    fn how_sure_the_model_is_and_why_are_read_however_written_and_may_be_missing() {
        for (written, read) in [
            ("0.8", Some(0.8)),
            ("1", Some(1.0)),
            ("85", Some(0.85)),
            (r#""0.5""#, Some(0.5)),
            (r#"" 90 % ""#, Some(0.9)),
            (r#""1%""#, Some(0.01)),
            (r#""high""#, None),
            (r#""NaN""#, None),
            ("-0.1", None),
            ("1000", None),
            ("null", None),
        ] {
            let text = format!(r#"{{"decision":"yes","confidence":{written},"reply_text":"Ok"}}"#);
            let confidence = super::read(&raw(&text, Finish::Whole)).map(|decided| decided.confidence);
            assert_eq!(confidence, Ok(read), "{text}");
        }
        let long = "a".repeat(400);
        for (written, read) in [
            (r#""She asks\n for  help.""#, Some("She asks for help.")),
            (r#"" ""#, None),
            ("7", None),
            (&format!("{long:?}"), Some(&long[..300])),
        ] {
            let text = format!(r#"{{"decision":"yes","reason":{written},"reply_text":"Ok"}}"#);
            let reason = super::read(&raw(&text, Finish::Whole)).map(|decided| decided.reason);
            assert_eq!(reason, Ok(read.map(str::to_owned)), "{text}");
        }
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
