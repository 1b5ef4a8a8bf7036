//! Messages in all the shapes they are recorded in, brought to the one of the model.
//!
//! Read: OpenTelemetry's `{role, parts}` with `response` or `result`; OpenAI's `{role, content, tool_calls}`;
//! Anthropic's content blocks; Vercel's `tool-call` parts; OpenInference's `message.*` wrappers; LangChain's `type`.
//! A part of a kind not known is kept verbatim. A message's `name` and provider extras are not kept.

use serde_json::{Map, Value};

use crate::model::{Message, Part};

use super::super::json::{container, structured};

/// Lists inside lists are looked into this deep.
const DEPTH: usize = 4;

/// Reads messages; `None` when the value does not look like messages. `role` is that of messages that name none.
pub(crate) fn read(value: &Value, role: &str) -> Option<Vec<Message>> {
    read_at(value, role, 0).filter(|messages| !messages.is_empty())
}

fn read_at(value: &Value, role: &str, depth: usize) -> Option<Vec<Message>> {
    match value {
        Value::String(text) => container(text).and_then(|value| read_at(&value, role, depth + 1)),
        Value::Array(items) if depth < DEPTH => {
            if !items.is_empty() && items.iter().all(is_part) {
                return Some(vec![Message { role: role.to_owned(), parts: items.iter().map(part).collect() }]);
            }
            items.iter().map(|item| read_at(item, role, depth + 1)).collect::<Option<Vec<_>>>().map(|all| all.concat())
        }
        Value::Object(map) if depth < DEPTH => object(map, role, depth),
        _ => None,
    }
}

fn object(map: &Map<String, Value>, role: &str, depth: usize) -> Option<Vec<Message>> {
    // OpenInference wraps each message; an OpenAI response wraps each choice.
    if let Some(message) = map.get("message").filter(|message| message.is_object()) {
        return read_at(message, role, depth + 1);
    }
    if is_message(map) {
        return Some(vec![message(map, role)]);
    }
    let list = ["messages", "choices"].iter().find_map(|key| map.get(*key));
    let mut all = Vec::new();
    if let Some(system) = map.get("system").filter(|_| list.is_some() || map.contains_key("prompt")) {
        all.extend(text_or_messages(system, "system", depth));
    }
    match (list, map.get("prompt")) {
        (Some(list), _) => all.extend(read_at(list, role, depth + 1)?),
        (None, Some(prompt)) => all.extend(text_or_messages(prompt, "user", depth)),
        (None, None) => return None,
    }
    Some(all)
}

fn text_or_messages(value: &Value, role: &str, depth: usize) -> Vec<Message> {
    read_at(value, role, depth + 1)
        .or_else(|| value.as_str().filter(|text| !text.is_empty()).map(|text| vec![Message::text(role, text)]))
        .unwrap_or_default()
}

fn is_message(map: &Map<String, Value>) -> bool {
    if map.contains_key("role") {
        return true;
    }
    let body = ["parts", "content", "contents", "tool_calls"].iter().any(|key| map.contains_key(*key));
    body && (langchain_role(map).is_some() || !map.contains_key("type"))
}

/// LangChain names the speaker by `type`.
fn langchain_role(map: &Map<String, Value>) -> Option<&str> {
    let kind = map.get("type").and_then(Value::as_str)?;
    ["human", "ai", "AIMessageChunk", "system", "tool"].contains(&kind).then_some(kind)
}

/// Roles under the names the model knows; unknown ones as they are.
fn known_role(role: &str) -> &str {
    match role {
        "human" => "user",
        "ai" | "AIMessageChunk" | "model" => "assistant",
        "developer" => "system",
        "function" => "tool",
        other => other,
    }
}

fn message(map: &Map<String, Value>, default_role: &str) -> Message {
    let text = |key: &str| map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let role = known_role(text("role").or_else(|| langchain_role(map)).unwrap_or(default_role)).to_owned();
    let call_id = ["tool_call_id", "toolCallId", "id"].iter().find_map(|key| text(key));
    let mut parts = Vec::new();
    if let Some(thought) = ["reasoning_content", "thinking"].iter().find_map(|key| text(key)) {
        parts.push(Part::Reasoning { content: thought.to_owned() });
    }
    for key in ["parts", "contents", "content"] {
        let Some(body) = map.get(key) else { continue };
        parts.extend(content(body, &role, call_id));
    }
    let calls = ["tool_calls", "toolCalls"].iter().find_map(|key| map.get(*key));
    let calls = calls.map(|calls| structured(calls.clone()));
    if let Some(Value::Array(calls)) = calls {
        // Several recorders write a call both as a part and in the list.
        let known = |id: Option<&str>| {
            id.is_some()
                && parts.iter().any(|part| matches!(part, Part::ToolCall { id: seen, .. } if seen.as_deref() == id))
        };
        let new: Vec<Part> = calls
            .iter()
            .filter_map(tool_call)
            .filter(|call| match call {
                Part::ToolCall { id, .. } => !known(id.as_deref()),
                _ => true,
            })
            .collect();
        parts.extend(new);
    }
    Message { role, parts }
}

fn content(body: &Value, role: &str, call_id: Option<&str>) -> Vec<Part> {
    match body {
        Value::Null => Vec::new(),
        Value::String(text) => {
            if role == "tool" {
                return vec![Part::ToolResult { id: call_id.map(str::to_owned), result: structured(body.clone()) }];
            }
            // Content parts that were written into a text attribute.
            match container(text) {
                Some(Value::Array(items)) if !items.is_empty() && items.iter().all(is_part) => {
                    items.iter().map(part).collect()
                }
                _ if text.is_empty() => Vec::new(),
                _ => vec![Part::Text { content: text.clone() }],
            }
        }
        Value::Array(items) => items.iter().map(part).collect(),
        Value::Object(_) if role == "tool" => {
            vec![Part::ToolResult { id: call_id.map(str::to_owned), result: body.clone() }]
        }
        other => vec![part(other)],
    }
}

fn is_part(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|map| map.contains_key("type") && !map.contains_key("role") && langchain_role(map).is_none())
}

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
    let text = |keys: &[&str]| keys.iter().find_map(|key| map.get(*key).and_then(Value::as_str)).map(str::to_owned);
    let kind = map.get("type").and_then(Value::as_str).unwrap_or("text");
    let read = match kind {
        "text" | "input_text" | "output_text" => text(&["content", "text"]).map(|content| Part::Text { content }),
        "reasoning" | "thinking" => {
            text(&["content", "text", "thinking", "reasoning"]).map(|content| Part::Reasoning { content })
        }
        "tool_call" | "tool-call" | "tool_use" | "function" | "function_call" => tool_call(value),
        "tool_call_response" | "tool-result" | "tool_result" | "function_call_output" => {
            let result = ["response", "result", "output", "content"].iter().find_map(|key| map.get(*key));
            result.map(|result| Part::ToolResult {
                id: text(&["id", "tool_call_id", "toolCallId", "tool_use_id", "call_id"]),
                result: tool_output(result),
            })
        }
        _ => None,
    };
    read.unwrap_or_else(other)
}

/// Vercel wraps results as `{type: "text" | "json", value}`.
fn tool_output(result: &Value) -> Value {
    let wrapped = result.as_object().filter(|map| map.len() == 2 && map.contains_key("type"));
    structured(wrapped.and_then(|map| map.get("value")).unwrap_or(result).clone())
}

fn tool_call(value: &Value) -> Option<Part> {
    let outer = value.as_object()?;
    let call = outer.get("tool_call").and_then(Value::as_object).unwrap_or(outer);
    let function = call.get("function").and_then(Value::as_object).unwrap_or(call);
    let text = |map: &Map<String, Value>, keys: &[&str]| {
        keys.iter().find_map(|key| map.get(*key).and_then(Value::as_str)).map(str::to_owned)
    };
    let name = text(function, &["name", "toolName", "tool_name"])?;
    let arguments = ["arguments", "args", "input"].iter().find_map(|key| function.get(*key));
    Some(Part::ToolCall {
        id: text(call, &["id", "toolCallId", "tool_call_id", "call_id"]),
        name,
        arguments: arguments.map(|arguments| structured(arguments.clone())).unwrap_or_default(),
    })
}

/// The finish reasons that messages or choices carry, in order.
pub(crate) fn finish_reasons(value: &Value) -> Vec<String> {
    let parsed;
    let value = match value {
        Value::String(text) => match container(text) {
            Some(inner) => {
                parsed = inner;
                &parsed
            }
            None => return Vec::new(),
        },
        other => other,
    };
    let items = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => match map.get("choices") {
            Some(Value::Array(items)) => items.iter().collect(),
            _ => vec![value],
        },
        _ => Vec::new(),
    };
    items
        .into_iter()
        .filter_map(|item| item.get("finish_reason").or_else(|| item.get("message")?.get("finish_reason")))
        .filter_map(|reason| reason.as_str().filter(|reason| !reason.is_empty()).map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown(value: Value) -> Value {
        serde_json::to_value(read(&value, "user")).unwrap()
    }

    fn conversation() -> Value {
        json!([
            {"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]},
            {"role": "assistant", "parts": [
                {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Paris"}}]},
            {"role": "tool", "parts": [{"type": "tool_result", "id": "c1", "result": "rainy"}]},
        ])
    }

    #[test]
    fn every_shape_gives_the_same_conversation() {
        let otel = |key: &str| {
            json!([
                {"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]},
                {"role": "assistant", "parts": [
                    {"type": "tool_call", "id": "c1", "name": "weather", "arguments": "{\"city\":\"Paris\"}"}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", key: "rainy"}]},
            ])
        };
        let openai = json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "Weather in Paris?"}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Paris\"}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "rainy"},
        ]});
        let openinference = json!([
            {"message": {"role": "user", "contents": [
                {"message_content": {"type": "text", "text": "Weather in Paris?"}}]}},
            {"message": {"role": "assistant", "tool_calls": [
                {"tool_call": {"id": "c1", "function": {"name": "weather", "arguments": "{\"city\": \"Paris\"}"}}}]}},
            {"message": {"role": "tool", "tool_call_id": "c1", "content": "rainy"}},
        ]);
        let vercel = json!([
            {"role": "user", "content": [{"type": "text", "text": "Weather in Paris?"}]},
            {"role": "assistant", "content": [
                {"type": "tool-call", "toolCallId": "c1", "toolName": "weather", "input": {"city": "Paris"}}]},
            {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "c1", "toolName": "weather",
                "output": {"type": "text", "value": "rainy"}}]},
        ]);
        let langchain = json!([[
            {"type": "human", "content": "Weather in Paris?"},
            {"type": "ai", "content": "", "tool_calls": [{"id": "c1", "name": "weather", "args": {"city": "Paris"}}]},
            {"type": "tool", "tool_call_id": "c1", "content": "rainy"},
        ]]);
        for shape in [otel("response"), otel("result"), openai, openinference, vercel, langchain] {
            assert_eq!(shown(shape.clone()), conversation(), "{shape}");
            assert_eq!(shown(Value::String(shape.to_string())), conversation());
        }
    }

    #[test]
    fn what_is_no_message_is_left_alone() {
        for other in
            [json!("hello"), json!({"city": "Paris"}), json!([1, 2]), json!([]), json!(null), json!([{"a": 1}])]
        {
            assert_eq!(read(&other, "user"), None, "{other}");
        }
    }

    #[test]
    fn unknown_parts_are_kept_and_prompts_are_read() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:"}});
        let read = read(&json!([{"role": "user", "content": [image]}]), "user").unwrap();
        assert_eq!(read[0].parts, [Part::Other { value: image }]);
        let prompt = json!({"system": "Be brief.", "prompt": "Hi"});
        let expected = [Message::text("system", "Be brief."), Message::text("user", "Hi")];
        assert_eq!(super::read(&prompt, "user").unwrap(), expected);
    }

    #[test]
    fn finish_reasons_are_found_in_messages_and_choices() {
        assert_eq!(
            finish_reasons(&json!([{"finish_reason": "stop"}, {"message": {"finish_reason": "length"}}])),
            ["stop", "length"]
        );
        assert_eq!(finish_reasons(&json!("{\"choices\":[{\"finish_reason\":\"stop\"}]}")), ["stop"]);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            "role",
            "content",
            "parts",
            "type",
            "message",
            "tool_calls",
            "function",
            "name",
            "messages",
            "prompt",
            "text",
            "choices"
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            prop_oneof!["user", "text", "tool_call", "tool", "ai", "[\\[{}\\]\"]{0,6}"].prop_map(Value::from),
        ];
        leaf.prop_recursive(7, 60, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_left(value in any_json()) {
            read(&value, "user");
            part(&value);
            finish_reasons(&value);
        }
    }
}
