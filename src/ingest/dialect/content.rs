//! Which attributes hold a span's messages, and in which order they are believed.
//!
//! | place | messages in | messages out |
//! |---|---|---|
//! | Langfuse, where it holds messages and the span is of a model, agent or step | `langfuse.observation.input` | `.output` |
//! | OpenTelemetry 1.37 and later | `gen_ai.system_instructions` + `gen_ai.input.messages` | `gen_ai.output.messages` |
//! | OpenInference | `llm.input_messages.N.*` | `llm.output_messages.N.*` |
//! | Traceloop, AgentOps | `gen_ai.prompt.N.*` | `gen_ai.completion.N.*` |
//! | Vercel | `ai.prompt.messages`, `ai.prompt` | `ai.response.{text,reasoning,toolCalls,object}` |
//! | Sentry | `gen_ai.request.messages` | `gen_ai.response.text` + `.tool_calls` |
//! | Pydantic AI | `pydantic_ai.all_messages`, `all_messages_events`, `events` | the same, from the last word of the model on |
//! | OpenTelemetry up to 1.27 | `gen_ai.prompt` | `gen_ai.completion` |
//! | raw input and output that look like messages, on model and agent spans | | |
//!
//! Events come after all of these: see `events`.

use serde_json::Value;

use crate::model::{Message, Part};

use super::super::json::structured;
use super::bag::Bag;
use super::messages;
use super::parts::{call, part};
use super::usual;

/// Takes the messages into the model out, system instructions first.
pub(super) fn messages_in(bag: &mut Bag, speaks: bool) -> Vec<Message> {
    let keys: &[&str] =
        if speaks { &["langfuse.observation.input", "gen_ai.input.messages"] } else { &["gen_ai.input.messages"] };
    let mut found = bag.take(keys, |value| messages::read(value, "user")).unwrap_or_default();
    for prefix in ["llm.input_messages.", "gen_ai.prompt.", "llm.prompts."] {
        if found.is_empty() {
            found = flattened(bag, prefix, "user");
        }
    }
    if found.is_empty() {
        let keys = ["ai.prompt.messages", "ai.prompt", "gen_ai.request.messages", "ai.input_messages", "gen_ai.prompt"];
        found = bag.take(&keys, |value| messages::read(value, "user")).unwrap_or_default();
    }
    if found.is_empty() && speaks {
        // Left in place: the answer is read from the same list.
        let said = PYDANTIC.iter().find_map(|key| messages::read(bag.get(key)?, "user"));
        found = said.map(|all| turn(all).0).unwrap_or_default();
    }
    if found.is_empty() {
        // A prompt that is nothing but text.
        found = bag.text(&["gen_ai.prompt"]).map(|text| vec![Message::text("user", text)]).unwrap_or_default();
    }
    if let Some(system) = bag.take(&["gen_ai.system_instructions"], system_instructions) {
        found.insert(0, system);
    }
    found
}

/// Takes the messages out of the model out, with the finish reasons they carry.
pub(super) fn messages_out(bag: &mut Bag, speaks: bool) -> (Vec<Message>, Vec<String>) {
    let keys: &[&str] =
        if speaks { &["langfuse.observation.output", "gen_ai.output.messages"] } else { &["gen_ai.output.messages"] };
    if let Some(found) = usual_answer(bag, keys) {
        return found;
    }
    let stated = keys.iter().filter_map(|key| bag.get(key)).map(messages::finish_reasons);
    let mut reasons = stated.into_iter().find(|reasons| !reasons.is_empty()).unwrap_or_default();
    let mut found = bag.take(keys, answer).unwrap_or_default();
    for prefix in ["llm.output_messages.", "gen_ai.completion.", "llm.choices."] {
        if found.is_empty() {
            reasons.extend(bag.nested(prefix).as_ref().map(messages::finish_reasons).unwrap_or_default());
            found = flattened(bag, prefix, "assistant");
        }
    }
    if found.is_empty() {
        found.extend(vercel_answer(bag));
    }
    if found.is_empty() {
        found.extend(sentry_answer(bag));
    }
    if found.is_empty() && speaks {
        let said = PYDANTIC.iter().find_map(|key| messages::read(bag.get(key)?, "assistant"));
        found = said.map(|all| turn(all).1).unwrap_or_default();
    }
    if found.is_empty() {
        let read = |value: &Value| {
            messages::read(value, "assistant").or_else(|| {
                value.as_str().filter(|text| !text.is_empty()).map(|text| vec![Message::text("assistant", text)])
            })
        };
        found = bag.take(&["gen_ai.completion"], read).unwrap_or_default();
    }
    (found, reasons)
}

/// Takes the answer where one key alone has it, in the usual form.
fn usual_answer(bag: &mut Bag, keys: &[&str]) -> Option<(Vec<Message>, Vec<String>)> {
    let mut there = keys.iter().filter(|key| bag.has(key));
    let (key, None) = (there.next()?, there.next()) else { return None };
    let found = bag.get(key).and_then(Value::as_str).and_then(usual::read)?;
    bag.remove(key);
    Some(found)
}

/// Whole conversations in one list, as Pydantic AI records them; the list stays an attribute.
const PYDANTIC: &[&str] = &["pydantic_ai.all_messages", "all_messages_events", "events"];

/// A conversation cut before the model's last words.
fn turn(mut all: Vec<Message>) -> (Vec<Message>, Vec<Message>) {
    let heard = all.iter().rposition(|message| message.role != "assistant").map_or(0, |at| at + 1);
    let said = all.split_off(heard);
    (all, said)
}

/// An answer: messages, or calls written without one.
fn answer(value: &Value) -> Option<Vec<Message>> {
    raw_answer(&structured(value.clone()))
}

fn flattened(bag: &mut Bag, prefix: &str, role: &str) -> Vec<Message> {
    let Some(found) = bag.nested(prefix).filter(Value::is_array).and_then(|value| messages::read(&value, role)) else {
        return Vec::new();
    };
    bag.drop_below(prefix);
    found
}

fn system_instructions(value: &Value) -> Option<Message> {
    let value = structured(value.clone());
    let parts: Vec<Part> = match &value {
        Value::String(text) if text.is_empty() => return None,
        Value::String(_) => vec![part(&value)],
        Value::Array(items) => items.iter().map(part).collect(),
        Value::Object(_) => vec![part(&value)],
        _ => return None,
    };
    (!parts.is_empty()).then(|| Message { role: "system".to_owned(), parts })
}

fn vercel_answer(bag: &mut Bag) -> Option<Message> {
    let mut parts = Vec::new();
    if let Some(content) = bag.text(&["ai.response.reasoning"]) {
        parts.push(Part::Reasoning { content });
    }
    if let Some(content) = bag.text(&["ai.response.text", "ai.response.object", "ai.result.text"]) {
        parts.push(Part::Text { content });
    }
    parts.extend(calls(bag, &["ai.response.toolCalls", "ai.result.toolCalls"]));
    (!parts.is_empty()).then(|| Message { role: "assistant".to_owned(), parts })
}

fn sentry_answer(bag: &mut Bag) -> Option<Message> {
    let mut parts = Vec::new();
    if let Some(content) = bag.text(&["gen_ai.response.text"]) {
        parts.push(Part::Text { content });
    }
    parts.extend(calls(bag, &["gen_ai.response.tool_calls"]));
    (!parts.is_empty()).then(|| Message { role: "assistant".to_owned(), parts })
}

fn calls(bag: &mut Bag, keys: &[&str]) -> Vec<Part> {
    let read = |value: &Value| match structured(value.clone()) {
        Value::Array(items) => {
            let message = serde_json::json!([{"role": "assistant", "tool_calls": items}]);
            messages::read(&message, "assistant").map(|all| all.into_iter().flat_map(|message| message.parts).collect())
        }
        _ => None,
    };
    bag.take(keys, read).unwrap_or_default()
}

/// Takes what any-agent records of a model's answer: calls, or the text itself even when that text is JSON.
pub(super) fn plain_answer(bag: &mut Bag) -> Vec<Message> {
    let Some(text) = bag.text(&["gen_ai.output"]) else { return Vec::new() };
    let structured = structured(Value::String(text.clone()));
    raw_answer(&structured).unwrap_or_else(|| vec![Message::text("assistant", text)])
}

/// Reads a raw output of a model span: messages, calls as any-agent writes them, or a text.
pub(super) fn raw_answer(value: &Value) -> Option<Vec<Message>> {
    if let Some(found) = messages::read(value, "assistant") {
        return Some(found);
    }
    if let Value::Array(items) = value {
        // any-agent and Vercel write calls alone.
        let parts: Option<Vec<Part>> = items.iter().map(call).collect();
        return parts
            .filter(|parts| !parts.is_empty())
            .map(|parts| vec![Message { role: "assistant".to_owned(), parts }]);
    }
    None
}
