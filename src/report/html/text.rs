//! Foreign values as blocks of text a person can read: conversations as turns, everything else as it is.

use serde::Serialize;
use serde_json::Value;

use crate::sys::text::shorten;

/// Characters of one block.
pub(super) const BLOCK_LIMIT: usize = 20_000;
/// Blocks of one value.
const BLOCKS_LIMIT: usize = 60;

/// One piece of text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Block {
    /// Who speaks, in a conversation.
    pub role: Option<String>,
    /// The text.
    pub text: String,
    /// Whether it is data rather than prose.
    pub mono: bool,
}

/// A value as blocks: a list of chat messages becomes turns, a text stays text, the rest is JSON.
pub(super) fn blocks(value: &Value) -> Vec<Block> {
    if let Some(turns) = turns(value) {
        return turns;
    }
    let (text, mono) = plain(value);
    vec![Block { role: None, text: shorten(&text, BLOCK_LIMIT), mono }]
}

/// A value as one text, and whether it is data rather than prose.
pub(super) fn plain(value: &Value) -> (String, bool) {
    match value {
        Value::Null => (String::new(), false),
        Value::String(text) => (text.clone(), false),
        other => (serde_json::to_string_pretty(other).unwrap_or_else(|_| other.to_string()), true),
    }
}

fn turns(value: &Value) -> Option<Vec<Block>> {
    let messages = match value {
        Value::Array(messages) => messages,
        Value::Object(map) if map.len() == 1 => map.get("messages")?.as_array()?,
        _ => return None,
    };
    if messages.is_empty() {
        return None;
    }
    let mut turns = Vec::new();
    for message in messages {
        let role = message.get("role")?.as_str()?;
        if turns.len() == BLOCKS_LIMIT {
            let text = format!("{} more messages left out", messages.len() - BLOCKS_LIMIT);
            turns.push(Block { role: None, text, mono: false });
            break;
        }
        let content = message.get("content").or_else(|| message.get("parts"))?;
        let (text, mono) = content_text(content);
        turns.push(Block { role: Some(shorten(role, 40)), text: shorten(&text, BLOCK_LIMIT), mono });
    }
    Some(turns)
}

/// Content that is a list of text parts reads as their text.
fn content_text(content: &Value) -> (String, bool) {
    let part_text =
        |part: &Value| part.get("text").or_else(|| part.get("content")).and_then(Value::as_str).map(str::to_owned);
    let parts = content.as_array().and_then(|parts| parts.iter().map(part_text).collect::<Option<Vec<_>>>());
    match parts {
        Some(parts) if !parts.is_empty() => (parts.join("\n"), false),
        _ => plain(content),
    }
}

/// The line that stands for a value in a list: the last user turn, or the beginning of the text.
pub(super) fn excerpt(value: &Value) -> String {
    let text = match turns(value) {
        Some(turns) => turns
            .iter()
            .rev()
            .find(|turn| turn.role.as_deref() == Some("user"))
            .or_else(|| turns.last())
            .map(|turn| turn.text.clone())
            .unwrap_or_default(),
        None => match value {
            Value::String(text) => text.clone(),
            Value::Object(map) => match map.values().find_map(Value::as_str) {
                Some(text) => text.to_owned(),
                None => value.to_string(),
            },
            other => other.to_string(),
        },
    };
    let head: String = text.chars().take(400).collect();
    let folded = head.split_whitespace().collect::<Vec<_>>().join(" ");
    match folded.char_indices().nth(140) {
        Some((end, _)) => format!("{}…", folded.get(..end).unwrap_or_default().trim_end()),
        None => folded,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conversations_read_as_turns() {
        let value = json!([
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [{"type": "text", "text": "where is\nmy order"}]},
            {"role": "assistant", "content": "on its way"},
        ]);
        let turns = blocks(&value);
        assert_eq!(turns.len(), 3);
        assert_eq!(turns[1].text, "where is\nmy order");
        assert_eq!(excerpt(&value), "where is my order");
    }

    #[test]
    fn other_values_stay_what_they_are() {
        assert!(blocks(&json!({"a": [1]}))[0].mono);
        assert_eq!(excerpt(&json!({"n": 1, "question": "why?"})), "why?");
        assert_eq!(excerpt(&json!([])), "[]");
        assert!(excerpt(&json!("x".repeat(1 << 20))).chars().count() <= 141);
    }
}
