//! Tool calls, put together from the pieces in which servers send them.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use uuid::Uuid;

use super::{Tool, ToolCall, wire::lenient};

/// Names and arguments of all calls of an answer together; no tool of ours needs so much.
const MOST_BYTES: usize = 16 * 1024;

/// One entry of `tool_calls`: the beginning of a call, more of its arguments, or a whole call.
#[derive(Deserialize)]
pub(super) struct CallPart {
    #[serde(default, deserialize_with = "lenient")]
    index: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    function: Option<Function>,
}

#[derive(Default, Deserialize)]
struct Function {
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    /// JSON text; some servers send the object itself.
    #[serde(default)]
    arguments: Option<Value>,
}

/// The calls of an answer so far.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug)]
struct Call {
    index: Option<u32>,
    /// Empty where the server gives none.
    id: String,
    name: String,
    arguments: String,
}

impl Call {
    fn is_of(&self, offered: &[Tool]) -> bool {
        offered.iter().any(|tool| tool.name == self.name)
    }

    /// Whether a part that names a function, and would go on with this call, begins another one: servers that send
    /// whole calls may give all of them the index 0, or no index and no id.
    fn is_other(&self, id: &str, name: &str) -> bool {
        match (name, id) {
            ("", _) => false,
            (_, "") => name != self.name || is_json(&self.arguments),
            _ => id != self.id,
        }
    }
}

impl Calls {
    /// Takes a part over. It goes on with the call of its index, else of its id, else with the newest one, unless it
    /// is the beginning of another call.
    pub fn add(&mut self, part: CallPart) {
        let Function { name, arguments } = part.function.unwrap_or_default();
        let (id, name) = (part.id.unwrap_or_default(), name.unwrap_or_default());
        let calls = &self.0;
        let at = match part.index {
            Some(_) => calls.iter().rposition(|call| call.index == part.index),
            None => calls.iter().rposition(|call| !id.is_empty() && call.id == id).or(calls.len().checked_sub(1)),
        };
        let at = at.filter(|&at| calls[at].name.is_empty() || !calls[at].is_other(&id, &name)).unwrap_or_else(|| {
            self.0.push(Call { index: part.index, id: String::new(), name: String::new(), arguments: String::new() });
            self.0.len() - 1
        });
        let call = &mut self.0[at];
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        match arguments {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => call.arguments.push_str(&text),
            Some(object) => call.arguments.push_str(&object.to_string()),
        }
    }

    /// Whether they have grown beyond what any tool needs.
    pub fn too_long(&self) -> bool {
        self.0.iter().map(|call| 1 + call.id.len() + call.name.len() + call.arguments.len()).sum::<usize>() > MOST_BYTES
    }

    /// Whether one of the offered tools is called.
    pub fn any(&self, offered: &[Tool]) -> bool {
        self.0.iter().any(|call| call.is_of(offered))
    }

    /// Whether the newest call has all its arguments, as far as can be seen; None when there is none.
    pub fn look_whole(&self) -> Option<bool> {
        self.0.last().map(|call| call.arguments.trim().is_empty() || is_json(&call.arguments))
    }

    /// The calls of offered tools in order; those of others are left out, and one without an id is given one.
    pub fn finished(self, offered: &[Tool]) -> impl Iterator<Item = ToolCall> {
        self.0.into_iter().filter(|call| call.is_of(offered)).map(|Call { mut id, name, mut arguments, .. }| {
            if id.is_empty() {
                id = format!("call_{}", Uuid::new_v4().simple());
            }
            if arguments.trim().is_empty() {
                arguments = "{}".to_owned();
            }
            ToolCall { id, name, arguments }
        })
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn offered() -> [Tool; 4] {
        ["f", "g", "h", "i"].map(|name| Tool { name, description: String::new(), parameters: json!({}) })
    }

    /// The id (a made-up one as `*`), name and arguments of the calls in these parts.
    fn calls(parts: Value) -> Vec<[String; 3]> {
        let mut calls = Calls::default();
        for part in serde_json::from_value::<Vec<CallPart>>(parts).unwrap() {
            calls.add(part);
        }
        calls
            .finished(&offered())
            .map(|ToolCall { id, name, arguments }| {
                [if id.starts_with("call_") { "*".to_owned() } else { id }, name, arguments]
            })
            .collect()
    }

    fn whole(id: Value, index: Value, name: &str, arguments: Value) -> Value {
        json!({ "id": id, "index": index, "type": "function", "function": { "name": name, "arguments": arguments } })
    }

    #[test]
    fn pieces_are_put_together_by_index() {
        let more = |index: u32, text: &str| json!({ "index": index, "function": { "arguments": text } });
        let parts = json!([
            whole(json!("a"), json!(0), "f", json!("")),
            more(0, "{\"x\""),
            whole(json!("b"), json!(1), "f", json!(null)),
            more(1, "{}"),
            more(0, ":1}"),
        ]);
        assert_eq!(calls(parts), [["a", "f", "{\"x\":1}"], ["b", "f", "{}"]]);
    }

    #[test]
    fn ids_and_names_may_be_repeated_and_ids_may_change_without_a_name() {
        let parts = json!([
            whole(json!("a"), json!(0), "f", json!("{\"x\"")),
            whole(json!("a"), json!(0), "f", json!(":")),
            whole(json!(""), json!(0), "f", json!("1")),
            { "index": 0, "id": "random", "function": { "name": "", "arguments": "}" } },
        ]);
        assert_eq!(calls(parts), [["a", "f", "{\"x\":1}"]]);
    }

    #[test]
    fn whole_calls_need_neither_index_nor_id() {
        let nothing = || json!(null);
        let parts = json!([
            whole(nothing(), nothing(), "f", json!("{\"x\":1}")),
            whole(nothing(), nothing(), "f", json!({ "x": 2 })),
            whole(nothing(), nothing(), "g", nothing()),
            whole(json!(7), nothing(), "h", json!(" ")),
        ]);
        assert_eq!(
            calls(parts),
            [["*", "f", "{\"x\":1}"], ["*", "f", "{\"x\":2}"], ["*", "g", "{}"], ["*", "h", "{}"]]
        );
        let ids = json!([whole(nothing(), nothing(), "f", json!("{}")), whole(nothing(), nothing(), "f", json!("{}"))]);
        let mut made_up = Calls::default();
        serde_json::from_value::<Vec<CallPart>>(ids).unwrap().into_iter().for_each(|part| made_up.add(part));
        let made_up: Vec<_> = made_up.finished(&offered()).map(|call| call.id).collect();
        assert_ne!(made_up[0], made_up[1]);
    }

    #[test]
    fn several_whole_calls_may_share_an_index() {
        let parts = json!([
            whole(json!("a"), json!(0), "f", json!("{}")),
            whole(json!("b"), json!(0), "f", json!("{}")),
            whole(json!(""), json!(0), "g", json!("{}")),
        ]);
        assert_eq!(calls(parts), [["a", "f", "{}"], ["b", "f", "{}"], ["*", "g", "{}"]]);
    }

    #[test]
    fn without_an_index_the_id_or_else_the_newest_call_goes_on() {
        let parts = json!([
            whole(json!("a"), json!(null), "f", json!("{\"x\":")),
            whole(json!("b"), json!(null), "g", json!("{\"y\":")),
            { "id": "a", "function": { "arguments": "1}" } },
            { "function": { "arguments": "2}" } },
        ]);
        assert_eq!(calls(parts), [["a", "f", "{\"x\":1}"], ["b", "g", "{\"y\":2}"]]);
    }

    #[test]
    fn what_names_no_offered_tool_is_no_call() {
        assert!(calls(json!([{ "index": 0, "function": { "arguments": "{}" } }, {}, { "function": 1 }])).is_empty());
        assert!(calls(json!([whole(json!("a"), json!(0), "rm", json!("{}"))])).is_empty());
    }

    #[test]
    fn arguments_without_end_are_too_long() {
        let mut calls = Calls::default();
        for _ in 0..16 {
            assert!(!calls.too_long());
            let part = whole(json!("a"), json!(0), "f", json!("a".repeat(1024)));
            calls.add(serde_json::from_value(part).unwrap());
        }
        assert!(calls.too_long());
    }

    #[test]
    fn arguments_that_stop_short_do_not_look_whole() {
        let looks_whole = |arguments: &str| {
            let mut calls = Calls::default();
            calls.add(serde_json::from_value(whole(json!("a"), json!(0), "f", json!(arguments))).unwrap());
            calls.look_whole().unwrap()
        };
        assert!(looks_whole("") && looks_whole("{\"x\":1}"));
        assert!(!looks_whole("{\"x\":"));
    }
}
