//! One part of a message in all the shapes it is recorded in, brought to the one of the model.
//!
//! Read: OpenTelemetry's parts (those of server tools as plain calls and results); content blocks of OpenAI's two
//! interfaces and of Anthropic; Gemini's parts, which have no `type`; Vercel's `tool-call`; any-agent's calls.
//! Images, files and every kind not known are kept verbatim.

use serde_json::{Map, Value};

use crate::model::Part;

use super::super::json::structured;

/// Reads one part; one that cannot be read is kept verbatim.
pub(crate) fn part(value: &Value) -> Part {
    let other = || Part::Other { value: value.clone() };
    let map = match value {
        Value::String(text) => return Part::Text { content: text.clone() },
        Value::Object(map) => map,
        _ => return other(),
    };
    if let Some(wrapped) = map.get("message_content") {
        return part(wrapped);
    }
    let read = match map.get("type").and_then(Value::as_str) {
        None => gemini(map).or_else(|| text_of(map, &["content", "text"]).map(|content| Part::Text { content })),
        Some(kind) => typed(map, kind, value),
    };
    read.unwrap_or_else(other)
}

fn typed(map: &Map<String, Value>, kind: &str, value: &Value) -> Option<Part> {
    match kind {
        "text" | "input_text" | "output_text" => {
            text_of(map, &["content", "text"]).map(|content| Part::Text { content })
        }
        "reasoning" | "thinking" => text_of(map, &["content", "text", "thinking", "reasoning"])
            .or_else(|| summary(map))
            .map(|content| Part::Reasoning { content }),
        "tool_call" | "tool-call" | "tool_use" | "function" | "function_call" | "server_tool_use" => call(value),
        "server_tool_call" => Some(Part::ToolCall {
            id: text_of(map, &["id"]),
            name: text_of(map, &["name"])?,
            arguments: map.get("server_tool_call").cloned().unwrap_or_default(),
        }),
        "tool_call_response" | "tool-result" | "tool_result" | "function_call_output" | "server_tool_call_response" => {
            let keys = ["response", "result", "output", "server_tool_call_response", "content"];
            keys.iter().find_map(|key| map.get(*key)).map(|result| Part::ToolResult {
                id: text_of(map, &["id", "tool_call_id", "toolCallId", "tool_use_id", "call_id"]),
                result: tool_output(result.clone()),
            })
        }
        _ => None,
    }
}

/// Gemini's parts say what they are by the key that holds it.
fn gemini(map: &Map<String, Value>) -> Option<Part> {
    let object = |keys: &[&str]| keys.iter().find_map(|key| map.get(*key).and_then(Value::as_object));
    if let Some(called) = object(&["function_call", "functionCall"]) {
        return Some(Part::ToolCall {
            id: text_of(called, &["id"]),
            name: text_of(called, &["name"])?,
            arguments: called.get("args").cloned().unwrap_or_default(),
        });
    }
    if let Some(answered) = object(&["function_response", "functionResponse"]) {
        return Some(Part::ToolResult {
            id: text_of(answered, &["id"]),
            result: answered.get("response").cloned().unwrap_or_default(),
        });
    }
    let thought = map.get("thought").and_then(Value::as_bool).unwrap_or(false);
    text_of(map, &["text"]).filter(|_| thought).map(|content| Part::Reasoning { content })
}

/// OpenAI's responses summarise reasoning in a list of texts; an empty list says nothing.
fn summary(map: &Map<String, Value>) -> Option<String> {
    let texts: Vec<&str> =
        map.get("summary")?.as_array()?.iter().filter_map(|item| item.get("text")?.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

fn text_of(map: &Map<String, Value>, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| map.get(*key).and_then(Value::as_str)).map(str::to_owned)
}

/// Whether a value names its kind and is neither a message nor a speaker or serialised object of LangChain's.
pub(super) fn is_part(value: &Value) -> bool {
    let said =
        |map: &Map<String, Value>| map.contains_key("type") && !map.contains_key("role") && !map.contains_key("lc");
    value.as_object().is_some_and(|map| said(map) && super::messages::langchain_role(map).is_none())
}

/// Vercel wraps results as `{type: "text" | "json", value}`.
pub(super) fn tool_output(result: Value) -> Value {
    let wrapped = result.as_object().filter(|map| map.len() == 2 && map.contains_key("type"));
    match wrapped.and_then(|map| map.get("value")).cloned() {
        Some(inner) => structured(inner),
        None => structured(result),
    }
}

/// Reads a tool call; `None` when it names no tool.
pub(super) fn call(value: &Value) -> Option<Part> {
    let outer = value.as_object()?;
    let call = outer.get("tool_call").and_then(Value::as_object).unwrap_or(outer);
    let function = call.get("function").and_then(Value::as_object).unwrap_or(call);
    let name = text_of(function, &["name", "toolName", "tool_name", "tool.name"])?;
    let arguments = ["arguments", "args", "input", "tool.args"].iter().find_map(|key| function.get(*key));
    Some(Part::ToolCall {
        // In OpenAI's responses `id` is that of the item; the result refers to `call_id`.
        id: text_of(call, &["call_id", "id", "toolCallId", "tool_call_id"]),
        name,
        arguments: arguments.map(|arguments| structured(arguments.clone())).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(value: Value) -> Value {
        serde_json::to_value(part(&value)).unwrap()
    }

    #[test]
    fn every_part_of_opentelemetry_is_read_or_kept() {
        let text = json!({"type": "text", "content": "hi"});
        assert_eq!(shown(text.clone()), text);
        let reasoning = json!({"type": "reasoning", "content": "hm"});
        assert_eq!(shown(reasoning.clone()), reasoning);
        let call = json!({"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": 1}});
        assert_eq!(shown(call.clone()), call);
        for key in ["response", "result"] {
            let answer = json!({"type": "tool_call_response", "id": "c", key: "rainy"});
            assert_eq!(shown(answer), json!({"type": "tool_result", "id": "c", "result": "rainy"}));
        }
        let server =
            json!({"type": "server_tool_call", "id": "s", "name": "search", "server_tool_call": {"type": "web"}});
        let expected = json!({"type": "tool_call", "id": "s", "name": "search", "arguments": {"type": "web"}});
        assert_eq!(shown(server), expected);
        let answer =
            json!({"type": "server_tool_call_response", "id": "s", "server_tool_call_response": {"type": "web"}});
        assert_eq!(shown(answer), json!({"type": "tool_result", "id": "s", "result": {"type": "web"}}));
        for kept in [
            json!({"type": "uri", "modality": "image", "uri": "https://example.com/a.png"}),
            json!({"type": "file", "modality": "document", "file_id": "f1"}),
            json!({"type": "blob", "modality": "audio", "content": "AAE="}),
            json!({"type": "compaction", "content": "earlier"}),
            json!({"type": "made_up", "x": 1}),
        ] {
            assert_eq!(part(&kept), Part::Other { value: kept });
        }
    }

    #[test]
    fn parts_of_gemini_say_what_they_are_by_key() {
        let call = json!({"function_call": {"name": "greet", "args": {}}});
        assert_eq!(shown(call), json!({"type": "tool_call", "name": "greet", "arguments": {}}));
        let answer = json!({"functionResponse": {"name": "greet", "response": {"a": 1}}});
        assert_eq!(shown(answer), json!({"type": "tool_result", "result": {"a": 1}}));
        assert_eq!(shown(json!({"text": "hm", "thought": true})), json!({"type": "reasoning", "content": "hm"}));
        assert_eq!(shown(json!({"text": "hi"})), json!({"type": "text", "content": "hi"}));
        let data = json!({"inline_data": {"mime_type": "image/png", "data": "AAE="}});
        assert_eq!(part(&data), Part::Other { value: data });
    }
}
