//! Messages in all the shapes they are recorded in, brought to the one of the model.
//!
//! Read: OpenTelemetry's `{role, parts}`; OpenAI's `{role, content, tool_calls}` and the items of its responses;
//! Anthropic's content blocks; Gemini's `contents` and `candidates`; Vercel's calls; OpenInference's `message.*`
//! wrappers; LangChain's `type`, its serialised objects and `generations`. Parts are read in `parts`. A message's `name`
//! and provider extras are not kept.

use serde_json::{Map, Value};

use crate::model::{Message, Part};

use super::super::json::{container, structured};
use super::parts::{call, is_part, part};
use super::usual;

/// Lists inside lists are looked into this deep.
const DEPTH: usize = 8;

/// Reads messages; `None` when the value does not look like messages. `role` is that of messages that name none.
pub(crate) fn read(value: &Value, role: &str) -> Option<Vec<Message>> {
    if let Some((messages, _)) = value.as_str().and_then(usual::read) {
        return Some(messages);
    }
    read_at(value, role, 0).filter(|messages| !messages.is_empty())
}

fn read_at(value: &Value, role: &str, depth: usize) -> Option<Vec<Message>> {
    match value {
        Value::String(text) => container(text).and_then(|value| read_at(&value, role, depth + 1)),
        Value::Array(items) if depth < DEPTH => {
            if !items.is_empty() && items.iter().all(is_part) {
                return Some(vec![Message { role: role.to_owned(), parts: items.iter().map(part).collect() }]);
            }
            items
                .iter()
                .map(|item| read_at(item, role, depth + 1).or_else(|| response_item(item)))
                .collect::<Option<Vec<_>>>()
                .map(|all| all.concat())
        }
        Value::Object(map) if depth < DEPTH => object(map, role, depth),
        _ => None,
    }
}

fn object(map: &Map<String, Value>, role: &str, depth: usize) -> Option<Vec<Message>> {
    // OpenInference wraps each message, an OpenAI response each choice, Google's agents what the user said.
    let wrapped = ["message", "new_message"].iter().find_map(|key| map.get(*key).filter(|inner| inner.is_object()));
    if let Some(message) = wrapped {
        return read_at(message, role, depth + 1);
    }
    if let Some(content) = map.get("content").filter(|content| content.get("parts").is_some()) {
        return read_at(content, role, depth + 1);
    }
    if let Some(constructed) = constructed(map) {
        return read_at(&constructed, role, depth + 1);
    }
    if let Some(request) = gemini_request(map, depth) {
        return Some(request);
    }
    if is_message(map) {
        return Some(vec![message(map, role)]);
    }
    let list = ["messages", "choices", "candidates", "generations"].iter().find_map(|key| map.get(*key));
    let list = list.or_else(|| map.get("output").filter(|_| map.get("object") == Some(&Value::from("response"))));
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

/// An item of OpenAI's responses that is no message but stands among messages: what it says, said by whom.
fn response_item(item: &Value) -> Option<Vec<Message>> {
    let kind = item.as_object().filter(|map| !map.contains_key("role"))?.get("type")?.as_str()?;
    let role = match kind {
        "function_call_output" => "tool",
        "function_call" | "reasoning" => "assistant",
        _ if kind.ends_with("_call") => "assistant",
        _ => return None,
    };
    Some(vec![Message { role: role.to_owned(), parts: vec![part(item)] }])
}

/// What a message of LangChain's was made from: `{"lc": 1, "id": [..., "HumanMessage"], "kwargs": {...}}`.
fn constructed(map: &Map<String, Value>) -> Option<Value> {
    let mut inner = map.get("kwargs").filter(|_| map.contains_key("lc"))?.as_object()?.clone();
    let class = map.get("id").and_then(Value::as_array).and_then(|path| path.last()).and_then(Value::as_str);
    let speaker = match class.map(|class| class.trim_end_matches("Chunk")) {
        Some("HumanMessage") => "human",
        Some("AIMessage") => "ai",
        Some("SystemMessage") => "system",
        Some("ToolMessage") => "tool",
        _ => return Some(Value::Object(inner)),
    };
    inner.insert("type".to_owned(), Value::from(speaker));
    Some(Value::Object(inner))
}

/// Gemini's request: `{contents, config: {system_instruction}}`, where contents may be a plain text.
fn gemini_request(map: &Map<String, Value>, depth: usize) -> Option<Vec<Message>> {
    let contents = map.get("contents").filter(|_| !map.contains_key("role"))?;
    let listed = |items: &Vec<Value>| items.iter().all(|item| item.get("parts").is_some());
    if !(contents.is_string() && map.contains_key("model") || contents.as_array().is_some_and(listed)) {
        return None;
    }
    let config = map.get("config").and_then(Value::as_object).unwrap_or(map);
    let system = ["system_instruction", "systemInstruction"].iter().find_map(|key| config.get(*key));
    let mut all = match system {
        Some(parts) if parts.get("parts").is_some() => {
            let parts = content(parts.get("parts").unwrap_or(&Value::Null), "system", None);
            vec![Message { role: "system".to_owned(), parts }]
        }
        Some(text) => text_or_messages(text, "system", depth),
        None => Vec::new(),
    };
    all.extend(text_or_messages(contents, "user", depth));
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
pub(super) fn langchain_role(map: &Map<String, Value>) -> Option<&str> {
    let kind = map.get("type").and_then(Value::as_str)?;
    ["human", "ai", "AIMessageChunk", "system", "tool"].contains(&kind).then_some(kind)
}

/// Roles under the names the model knows; unknown ones as they are.
pub(super) fn known_role(role: &str) -> &str {
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
    // Before there were several calls there was one.
    parts.extend(map.get("function_call").and_then(call));
    let said = |map: &Map<String, Value>| ["tool_calls", "toolCalls"].iter().find_map(|key| map.get(*key).cloned());
    let calls = said(map).or_else(|| said(map.get("additional_kwargs")?.as_object()?));
    let calls = calls.map(structured);
    if let Some(Value::Array(calls)) = calls {
        // Several recorders write a call both as a part and in the list.
        let known = |id: Option<&str>| {
            id.is_some()
                && parts.iter().any(|part| matches!(part, Part::ToolCall { id: seen, .. } if seen.as_deref() == id))
        };
        let new: Vec<Part> = calls
            .iter()
            .filter_map(call)
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

/// Why the model stopped, as interfaces spell it.
const FINISH: &[&str] = &["finish_reason", "stop_reason", "finishReason"];

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
        Value::Object(map) => match map.get("choices").or_else(|| map.get("candidates")) {
            Some(Value::Array(items)) => items.iter().collect(),
            _ => vec![value],
        },
        _ => Vec::new(),
    };
    items
        .into_iter()
        .filter_map(|item| {
            let said = |item: &'_ Value| FINISH.iter().find_map(|key| item.get(*key).cloned());
            said(item).or_else(|| said(item.get("message")?))
        })
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
