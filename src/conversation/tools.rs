//! What a model may do on a call besides speaking. Each tool is offered only where the operator configured it, and what
//! the model asks for is checked before anything happens.

use crate::config::VoiceTool;
use crate::llm;
use crate::twilio::voices::{self, Language};
use serde_json::{Value, json};

/// The longest text the model may have sent; the same as for a reply.
const LONGEST_TEXT: usize = 1600;

/// What the model asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// End the call after what was said.
    EndCall,
    /// Connect the caller to a person.
    Transfer,
    /// Go on in this language.
    SwitchLanguage(&'static Language),
    /// Send the caller this text.
    SendText(String),
}

/// A tool as the model is offered it.
pub fn offered(tool: VoiceTool) -> llm::Tool {
    let (description, argument) = match tool {
        VoiceTool::EndCall => ("Ends the call. Say goodbye first.", None),
        VoiceTool::TransferToHuman => {
            ("Connects the caller to a person. For callers who ask for one, or whom you cannot help.", None)
        }
        VoiceTool::SwitchLanguage => {
            let tags: Vec<_> = voices::languages().iter().map(|language| language.tag).collect();
            let language = json!({ "type": "string", "enum": tags, "description": "A BCP 47 tag." });
            let description = "Goes on in another language, when the caller speaks it or asks for it.";
            (description, Some(("language", language)))
        }
        VoiceTool::SendTextToCaller => {
            let text = json!({ "type": "string", "description": "The message, at most 1600 characters." });
            ("Sends the caller a text message, for what is better read than heard.", Some(("text", text)))
        }
    };
    let required: Vec<_> = argument.iter().map(|(name, _)| *name).collect();
    let properties: serde_json::Map<_, _> =
        argument.clone().map(|(name, schema)| (name.to_owned(), schema)).into_iter().collect();
    let parameters =
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    llm::Tool { name: tool.name(), description: description.to_owned(), parameters }
}

/// What a call of one of the `offered` tools asks for, or what the model is told is wrong with it.
pub fn action(offered: &[VoiceTool], call: &llm::ToolCall) -> Result<Action, String> {
    let tool = offered.iter().find(|tool| tool.name() == call.name);
    let tool = tool.ok_or_else(|| format!("There is no tool {}.", call.name))?;
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or(Value::Null);
    let text = |name: &str| {
        // No database text can hold NUL.
        let text = arguments.get(name)?.as_str()?.replace('\0', "");
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    match tool {
        VoiceTool::EndCall => Ok(Action::EndCall),
        VoiceTool::TransferToHuman => Ok(Action::Transfer),
        VoiceTool::SwitchLanguage => {
            let language = text("language").and_then(|tag| voices::language(&tag));
            language.map(Action::SwitchLanguage).ok_or_else(|| "This language is not spoken here.".to_owned())
        }
        VoiceTool::SendTextToCaller => {
            let text = text("text").ok_or("The text is missing.")?;
            if text.encode_utf16().count() > LONGEST_TEXT {
                return Err(format!("The text is longer than {LONGEST_TEXT} characters."));
            }
            Ok(Action::SendText(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, arguments: &str) -> Result<Action, String> {
        let call = llm::ToolCall { id: "1".to_owned(), name: name.to_owned(), arguments: arguments.to_owned() };
        action(&VoiceTool::ALL, &call)
    }

    #[test]
    fn arguments_are_checked_before_anything_happens() {
        assert_eq!(asked("end_call", ""), Ok(Action::EndCall));
        assert_eq!(
            asked("transfer_to_human", r#"{"number":"+15550001111"}"#),
            Ok(Action::Transfer),
            "no number counts"
        );
        let german = voices::language("de").unwrap();
        assert_eq!(asked("switch_language", r#"{"language":"de"}"#), Ok(Action::SwitchLanguage(german)));
        for wrong in [r#"{"language":"tlh"}"#, r#"{"language":7}"#, "{}", "no json"] {
            assert!(asked("switch_language", wrong).is_err(), "{wrong}");
        }
        assert_eq!(asked("send_text_to_caller", r#"{"text":" Hi "}"#), Ok(Action::SendText("Hi".to_owned())));
        assert!(asked("send_text_to_caller", r#"{"text":" "}"#).is_err());
        assert!(asked("send_text_to_caller", &json!({ "text": "a".repeat(1601) }).to_string()).is_err());
        assert!(asked("launch_rocket", "{}").is_err());
    }

    #[test]
    fn what_is_not_offered_cannot_be_called() {
        let call = llm::ToolCall { id: "1".to_owned(), name: "end_call".to_owned(), arguments: String::new() };
        assert!(action(&[VoiceTool::TransferToHuman], &call).is_err());
    }
}
