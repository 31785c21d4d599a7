//! The form of a call's summary.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{
    answer::{self, Flaw},
    form::{self, Fields, Form},
    wire::Raw,
};

pub(super) static FORM: LazyLock<Form> = LazyLock::new(|| {
    let instructions = concat!(
        "Answer with one JSON object and nothing else. ",
        r#"Its key "summary" is one short paragraph of plain text that sums up what was said. "#,
        r#"Its key "requests" is the list of what the caller asked for, each in a few words of its own; "#,
        "it is empty when the caller asked for nothing."
    );
    let properties = json!({
        "summary": {"type": "string"},
        "requests": {"type": "array", "items": {"type": "string"}}
    });
    Form::new("summary", instructions, properties)
});

/// What the model made of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summarised {
    pub summary: String,
    pub requests: Vec<String>,
}

/// The summary in an answer.
pub(super) fn read(raw: &Raw) -> Result<Summarised, Flaw> {
    form::read(raw, take)
}

/// The summary in an answer that was cut: without its last request if it was cut within them, for that may be a broken
/// one, else up to its last complete sentence. Which comes first depends on the server.
pub(super) fn save(raw: &Raw) -> Option<Summarised> {
    let Summarised { mut summary, mut requests } = form::save(raw, take)?;
    if raw.text.rfind(r#""requests""#) > raw.text.rfind(r#""summary""#) {
        requests.pop();
    } else {
        summary = answer::repaired(&summary)?.to_owned();
    }
    Some(Summarised { summary, requests })
}

fn take(fields: &Fields) -> Option<Summarised> {
    let summary = form::line(fields.get("summary")?)?;
    let requests = match fields.get("requests") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(requests)) => requests.iter().filter_map(form::line).collect(),
        Some(request) => form::line(request).into_iter().collect(),
    };
    Some(Summarised { summary, requests })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Finish;

    fn raw(text: &str, finish: Finish) -> Raw {
        Raw { text: text.into(), finish: Some(finish), ..Raw::default() }
    }

    fn summarised(summary: &str, requests: &[&str]) -> Summarised {
        Summarised { summary: summary.into(), requests: requests.iter().map(|&request| request.into()).collect() }
    }

    #[test]
    fn summaries_are_read_however_wrapped() {
        for (text, requests) in [
            (r#"{"summary":"They met.","requests":["A call.","A key."]}"#, &["A call.", "A key."][..]),
            (r#"Here: {"Summary":" They\n\nmet. ","Requests":[" A  call. ","",null,7]} Bye."#, &["A call."]),
            (r#"{"summary":"They met.","requests":"A call."}"#, &["A call."]),
            (r#"{"summary":"They met.","requests":null}"#, &[]),
            (r#"{"summary":"They met."}"#, &[]),
            ("{\"summary\":\"They\nmet.\",\"requests\":[]}", &[]),
        ] {
            assert_eq!(read(&raw(text, Finish::Whole)), Ok(summarised("They met.", requests)), "{text}");
        }
    }

    #[test]
    fn broken_summaries_are_flaws() {
        for text in ["They met.", r#"{"requests":["A call."]}"#, r#"{"summary":" ","requests":[]}"#, r#"{"summary":7}"#]
        {
            assert_eq!(read(&raw(text, Finish::Whole)), Err(Flaw::Malformed), "{text}");
        }
        assert_eq!(read(&raw(r#"{"summary":"They"#, Finish::Cut)), Err(Flaw::Cut));
        assert_eq!(read(&raw("", Finish::Whole)), Err(Flaw::Empty));
    }

    #[test]
    fn cut_summaries_lose_what_was_cut() {
        for (cut, saved) in [
            (r#"{"summary":"They met. Then th"#, Some(summarised("They met.", &[]))),
            (r#"{"summary":"They met.","#, Some(summarised("They met.", &[]))),
            (r#"{"summary":"They met.","requests":["A call.","A k"#, Some(summarised("They met.", &["A call."]))),
            (r#"{"summary":"They met.","requests":["A c"#, Some(summarised("They met.", &[]))),
            (r#"{"requests":["A call."],"summary":"They met. Th"#, Some(summarised("They met.", &["A call."]))),
            (r#"{"requests":["A call."],"#, None),
            (r#"{"summary":"They m"#, None),
            (r#"{"sum"#, None),
        ] {
            assert_eq!(save(&raw(cut, Finish::Cut)), saved, "{cut}");
        }
    }
}
