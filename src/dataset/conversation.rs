//! An input as the turns of a conversation: chat messages as a list, or below `messages`.
//!
//! For people, filters and exports; what a judge sees of a conversation is `rubric`'s.

use serde_json::Value;

/// One turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn<'a> {
    /// Who speaks; `user` when the message does not say.
    pub role: &'a str,
    /// The whole message.
    pub message: &'a Value,
}

impl Turn<'_> {
    /// What is said, as text: text parts joined, other parts and tool calls as JSON.
    pub fn text(&self) -> String {
        let mut lines: Vec<String> = match self.message.get("content") {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(parts)) => parts.iter().map(part_text).collect(),
            Some(Value::Null) | None => Vec::new(),
            Some(other) => vec![other.to_string()],
        };
        if let Some(calls) = self.message.get("tool_calls").filter(|calls| !calls.is_null()) {
            lines.push(format!("tool calls: {calls}"));
        }
        lines.join("\n")
    }
}

fn part_text(part: &Value) -> String {
    match part.get("text").or(part.get("content")).unwrap_or(part) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The turns of an input that is a conversation; `None` when it is none.
pub fn turns_of(input: &Value) -> Option<Vec<Turn<'_>>> {
    let items = match input {
        Value::Array(items) => items,
        Value::Object(map) => map.get("messages")?.as_array()?,
        _ => return None,
    };
    let is_message = |item: &Value| item.is_object() && (item.get("role").is_some() || item.get("content").is_some());
    if items.is_empty() || !items.iter().all(is_message) {
        return None;
    }
    Some(items.iter().map(|message| Turn { role: role_of(message), message }).collect())
}

fn role_of(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or("user")
}

/// An input for people: text as it is, a conversation turn by turn, anything else as JSON over several lines.
pub fn readable(value: &Value) -> String {
    if let Some(turns) = turns_of(value) {
        let lines: Vec<String> = turns.iter().map(|turn| format!("{}: {}", turn.role, turn.text())).collect();
        return lines.join("\n\n");
    }
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) => serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()),
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conversations_are_read_turn_by_turn() {
        let input = json!({"messages": [{"role": "system", "content": "be brief"},
            {"content": [{"type": "text", "text": "hi"}, {"type": "image_url"}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]}]});
        let text = readable(&input);
        assert_eq!(
            text,
            "system: be brief\n\nuser: hi\n{\"type\":\"image_url\"}\n\nassistant: tool calls: [{\"id\":\"1\"}]"
        );
        assert_eq!(turns_of(input.get("messages").unwrap()).unwrap().len(), 3);
    }

    #[test]
    fn other_inputs_are_none() {
        for input in
            [json!("q"), json!([]), json!([1]), json!({"a": 1}), json!([{"city": "Rome"}]), json!({"messages": 1})]
        {
            assert!(turns_of(&input).is_none(), "{input}");
        }
        assert_eq!(readable(&json!(3)), "3");
    }
}
