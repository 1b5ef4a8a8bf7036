//! Eval sets of Google's Agent Development Kit: conversations with final responses and tool uses, and the older list
//! of queries with expected tool uses.
//!
//! What was recorded in an eval set is what is expected: the final response is the reference, the tool uses are the
//! expected tools. A conversation of several turns is one example whose input is the list of what the user said.

use std::path::Path;

use serde_json::{Value, json};

use super::FormatInfo;
use super::shape;
use super::sketch::Sketch;
use crate::dataset::error::{DatasetError, Place, RowError};
use crate::dataset::rows::{Limits, OnRow};
use crate::model::Example;

/// The row of this format.
pub(super) const FORMAT: FormatInfo = FormatInfo {
    name: "adk",
    summary: "eval sets of Google ADK: conversations with final responses and expected tool uses",
    recognise,
    open,
    examples,
    number_trials: false,
};

fn recognise(sketch: &Sketch) -> Option<String> {
    let case = sketch.value.pointer("/eval_cases/0").or_else(|| sketch.value.pointer("/evalCases/0"));
    if case.is_some_and(|case| case.get("conversation").is_some()) {
        return Some("`eval_cases` with `conversation`".to_owned());
    }
    let fits = |turn: &Value| turn.get("query").is_some() && turn.get("expected_tool_use").is_some();
    if sketch.row().pointer("/data/0").is_some_and(fits) || fits(sketch.row()) {
        return Some("`query` with `expected_tool_use`".to_owned());
    }
    None
}

fn open(path: &Path, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    let mut root = shape::document(path, limits)?;
    let items = match shape::take(&mut root, &["eval_cases", "evalCases"]).unwrap_or(root) {
        Value::Array(items) => items,
        one => vec![one],
    };
    // The oldest form has no sessions: the file is one list of turns.
    if items.first().is_some_and(|item| item.get("query").is_some()) {
        return shape::list_rows(path, vec![json!({"data": items})], on_row);
    }
    shape::list_rows(path, items, on_row)
}

fn examples(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    let id = shape::take(&mut row, &["eval_id", "evalId", "name"]);
    let turns = shape::take(&mut row, &["conversation", "data"]);
    let turns: Vec<Turn> = turns.as_ref().and_then(Value::as_array).into_iter().flatten().map(turn).collect();
    let asked: Vec<Value> = turns.iter().filter_map(|turn| turn.asked.clone()).collect();
    if asked.is_empty() {
        return Err(RowError::new(place, "conversation", "no text of a user", "at least one turn with a user's text"));
    }
    let one = |mut values: Vec<Value>| if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
    let mut example = shape::example(id.as_ref(), one(asked));
    let answers: Vec<Value> = turns.iter().filter_map(|turn| turn.answered.clone()).collect();
    // The last answer is what the conversation was for; the ones before stay beside it.
    example.reference = answers.last().cloned();
    if answers.len() > 1 {
        example.metadata.insert("expected_responses".to_owned(), Value::Array(answers));
    }
    let tools: Vec<Value> = turns.into_iter().flat_map(|turn| turn.tools).collect();
    if !tools.is_empty() {
        example.metadata.insert("expected_tools".to_owned(), Value::Array(tools));
    }
    shape::keep_rest(&mut example, row);
    Ok(vec![example])
}

struct Turn {
    asked: Option<Value>,
    answered: Option<Value>,
    tools: Vec<Value>,
}

fn turn(said: &Value) -> Turn {
    let either = |names: &[&str]| names.iter().find_map(|name| said.get(*name)).filter(|value| !value.is_null());
    let plain = |value: Option<&Value>| value.and_then(Value::as_str).map(|text| Value::String(text.to_owned()));
    let data = either(&["intermediate_data", "intermediateData"]);
    let uses = data.and_then(|data| data.get("tool_uses").or_else(|| data.get("toolUses")));
    let uses = uses.or_else(|| either(&["expected_tool_use"]));
    let tools = match uses.map(shape::tool_calls) {
        Some(Value::Array(tools)) => tools,
        _ => Vec::new(),
    };
    Turn {
        asked: text_of(either(&["user_content", "userContent"])).or_else(|| plain(either(&["query"]))),
        answered: text_of(either(&["final_response", "finalResponse"])).or_else(|| plain(either(&["reference"]))),
        tools,
    }
}

fn text_of(content: Option<&Value>) -> Option<Value> {
    let parts = content?.get("parts")?.as_array()?;
    let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
    (!texts.is_empty()).then(|| Value::String(texts.join("\n")))
}
