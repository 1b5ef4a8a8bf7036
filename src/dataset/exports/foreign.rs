//! What the forms of other tools share: an input as chat messages or variables, and what is known as metadata.

use serde_json::{Map, Value, json};

use crate::dataset::conversation::turns_of;
use crate::dataset::error::DatasetError;
use crate::model::Example;

/// The input as chat messages: a conversation as it is, anything else as what a user said.
pub(super) fn messages(input: &Value) -> Value {
    match turns_of(input) {
        Some(turns) => turns.iter().map(|turn| turn.message.clone()).collect(),
        None => {
            let content = match input {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            json!([{ "role": "user", "content": content }])
        }
    }
}

/// A value as an object: an object as it is, anything else below `key`.
pub(super) fn object(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(_) => value.clone(),
        Value::Array(_) if turns_of(value).is_some() => json!({ "messages": value }),
        other => json!({ key: other }),
    }
}

/// Everything known about an example that these tools have no place for: its metadata as it is, its dimensions, and the
/// rest under names of their own. What a name of ours would hide is kept.
pub(super) fn metadata(example: &Example) -> Map<String, Value> {
    let mut known: Map<String, Value> =
        example.dimensions.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut add = |name: &str, value: Value| drop(known.insert(name.to_owned(), value));
    add("id", json!(example.id));
    if let Some(cluster) = &example.cluster {
        add("cluster", json!(cluster));
    }
    if let Some(split) = &example.split {
        add("split", json!(split));
    }
    if !example.tags.is_empty() {
        add("tags", json!(example.tags));
    }
    if let Some(calls) = &example.expected_calls {
        add("expected_calls", json!(calls));
    }
    if !example.attachments.is_empty() {
        add("attachments", json!(example.attachments));
    }
    known.extend(example.metadata.iter().map(|(name, value)| (name.clone(), value.clone())));
    known
}

/// A JSON document with a line break at its end.
pub(super) fn document(value: &Value) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| DatasetError::Format {
        file: "export.json".into(),
        format: "JSON",
        cause: error.to_string(),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}
