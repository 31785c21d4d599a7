//! What the model is told, and the tools it may call.

use super::image::Image;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

/// What the model is told: instructions, the conversation so far, and last (role user or tool) what is to be answered.
///
/// What people say is only ever [`Role::User`], earlier answers [`Role::Assistant`]; neither ever enters `system`.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// Our instructions; none of it comes from the people who talk to the model. Empty: no system message is sent.
    pub system: String,
    /// Oldest first; the last one is what is to be answered.
    pub messages: Vec<Message>,
    /// What the model may call. Offered in streamed answers only, and only to servers that take tools.
    pub tools: Vec<Tool>,
}

impl Prompt {
    /// What was said now: the newest message of the user, or nothing.
    pub(super) fn last_said(&self) -> &str {
        self.messages.iter().rfind(|m| m.role == Role::User).map_or("", |m| m.content.as_str())
    }
}

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said, unchanged. Empty where the model called tools without a word.
    pub content: String,
    /// Pictures that go with it, for servers that take them.
    pub images: Vec<Image>,
    /// The tools that the model called in this message.
    pub calls: Vec<ToolCall>,
    /// The id of the call that this is the result of; set in [`Role::Tool`] messages, and only there.
    pub call_id: Option<String>,
}

impl Message {
    /// What a person said.
    pub fn user(text: impl Into<String>) -> Self {
        Self::of(Role::User, text)
    }

    /// What the model answered.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::of(Role::Assistant, text)
    }

    /// What the model said, maybe nothing, and the tools it called then. The results follow, one message for each call.
    pub fn calls(text: impl Into<String>, calls: Vec<ToolCall>) -> Self {
        Self { calls, ..Self::assistant(text) }
    }

    /// What came of the call with this id.
    pub fn result(call_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { call_id: Some(call_id.into()), ..Self::of(Role::Tool, text) }
    }

    fn of(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: text.into(), images: Vec::new(), calls: Vec::new(), call_id: None }
    }
}

/// As Chat Completions wants it: `content` is null beside calls without words, and absent fields are left out.
impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", &self.role)?;
        let wordless = self.content.is_empty() && !self.calls.is_empty();
        map.serialize_entry("content", &(!wordless).then_some(&self.content))?;
        if !self.calls.is_empty() {
            map.serialize_entry("tool_calls", &self.calls)?;
        }
        if let Some(call_id) = &self.call_id {
            map.serialize_entry("tool_call_id", call_id)?;
        }
        map.end()
    }
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person.
    User,
    /// The model, earlier.
    Assistant,
    /// A tool that the model called.
    Tool,
}

/// Something that the model may have done for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Letters, digits, `_` and `-`, at most 64 of them.
    pub name: &'static str,
    /// When to call it, in words for the model.
    pub description: String,
    /// The JSON schema of its arguments, an object's.
    pub parameters: Value,
}

impl Serialize for Tool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { name, description, parameters } = self;
        let function = json!({ "name": name, "description": description, "parameters": parameters });
        json!({ "type": "function", "function": function }).serialize(serializer)
    }
}

/// A tool called by the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Names the call to the model, in [`Message::result`].
    pub id: String,
    /// The name of one of the prompt's tools.
    pub name: String,
    /// JSON text as the model wrote it, `{}` when it wrote none: to be checked by whoever runs the tool.
    pub arguments: String,
}

impl Serialize for ToolCall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let function = json!({ "name": self.name, "arguments": self.arguments });
        json!({ "id": self.id, "type": "function", "function": function }).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_form_that_chat_completions_wants() {
        let call = ToolCall { id: "c1".into(), name: "end_call".into(), arguments: r#"{"a":1}"#.into() };
        let function = json!({ "name": "end_call", "arguments": "{\"a\":1}" });
        let sent = json!([{ "id": "c1", "type": "function", "function": function }]);
        for (message, json) in [
            (Message::user("Hi"), json!({ "role": "user", "content": "Hi" })),
            (Message::assistant(""), json!({ "role": "assistant", "content": "" })),
            (
                Message::calls("", vec![call.clone()]),
                json!({ "role": "assistant", "content": null, "tool_calls": sent }),
            ),
            (Message::calls("Bye.", vec![call]), json!({ "role": "assistant", "content": "Bye.", "tool_calls": sent })),
            (Message::result("c1", "Done."), json!({ "role": "tool", "content": "Done.", "tool_call_id": "c1" })),
        ] {
            assert_eq!(serde_json::to_value(&message).unwrap(), json, "{message:?}");
        }
    }
}
