//! What the formats share: reading documents, and building examples, outputs and traces from foreign fields.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::dialogue::trace_of_messages;
use super::super::digest::content_id;
use super::super::error::{DatasetError, Place, RowError, shown};
use super::super::extract::trace_id;
use super::super::native::scalar_text;
use super::super::parquet::parquet_columns;
use super::super::rows::{FileFormat, Limits, OnRow, Row, read_rows, read_whole};
use crate::model::{Example, ExampleId, Output};

/// Names under which other tools keep the name of a tool, and its arguments.
const TOOL_NAMES: &[&str] = &["name", "tool_name", "tool", "function"];
const TOOL_ARGUMENTS: &[&str] =
    &["arguments", "args", "kwargs", "input_parameters", "inputParameters", "tool_input", "input", "parameters"];

/// Whether a file's name says YAML.
pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"))
}

/// Reads a file as one JSON or YAML document, by its name.
pub(super) fn document(path: &Path, limits: Limits) -> Result<Value, DatasetError> {
    let bytes = read_whole(path, limits, FileFormat::Json)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let fail = |format, cause| DatasetError::Format { file: path.to_owned(), format, cause };
    if is_yaml(path) {
        return serde_saphyr::from_slice(bytes).map_err(|error| fail("YAML", error.to_string()));
    }
    serde_json::from_slice(bytes).map_err(|error| fail("JSON", error.to_string()))
}

/// Reads the rows of a file of JSON lines, a JSON list, CSV or Parquet; what its name does not say is JSON.
pub(super) fn rows(path: &Path, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    let format = FileFormat::of_name(path).unwrap_or(FileFormat::Json);
    read_rows(path, Some(format), None, limits, &mut |row| {
        on_row(row.map(|row| if row.untyped { cells(row) } else { row }))
    })
}

/// Hands over the elements of a list inside a document as rows, numbered from 1.
pub(super) fn list_rows(path: &Path, items: Vec<Value>, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    for (index, item) in items.into_iter().enumerate() {
        let line = index as u64 + 1;
        on_row(match item {
            fields @ Value::Object(_) => Ok(Row { line, fields, untyped: false }),
            other => Err(RowError::new(Place { file: path, line }, "", &shown(&other), "an object")),
        })?;
    }
    Ok(())
}

/// The columns of a Parquet file as an object.
pub(super) fn columns(path: &Path, limits: Limits) -> Result<Value, DatasetError> {
    let names = parquet_columns(&read_whole(path, limits, FileFormat::Parquet)?);
    Ok(Value::Object(names.into_iter().map(|name| (name, Value::Null)).collect()))
}

/// The first row of a CSV file; `None` when there is none.
pub(super) fn first_row(path: &Path, limits: Limits) -> Option<Value> {
    let mut first = None;
    // The error that stops the reading after one row is of no interest, nor is any other: the import says it again.
    let stop = || DatasetError::Empty { file: path.to_owned() };
    let _ = read_rows(path, Some(FileFormat::Csv), None, limits, &mut |row| {
        first = row.ok().map(|row| row.fields);
        if first.is_some() { Err(stop()) } else { Ok(()) }
    });
    first
}

/// Objects and lists that cells of a CSV file hold as text, opened; empty cells left out.
fn cells(row: Row) -> Row {
    let Value::Object(map) = row.fields else { return row };
    let fields = map.into_iter().filter(|(_, cell)| cell.as_str() != Some("")).map(|(name, cell)| (name, opened(cell)));
    Row { line: row.line, fields: Value::Object(fields.collect()), untyped: false }
}

/// The JSON object or list that a text holds; anything else as it is.
pub(super) fn opened(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

/// Takes the first of several fields that is there and not null.
pub(super) fn take(row: &mut Value, names: &[&str]) -> Option<Value> {
    let map = row.as_object_mut()?;
    names.iter().find_map(|name| map.remove(*name).filter(|value| !value.is_null()))
}

/// Takes a field that must be there.
pub(super) fn need(row: &mut Value, names: &[&str], place: Place<'_>, expected: &str) -> Result<Value, RowError> {
    let name = names.first().copied().unwrap_or_default();
    take(row, names).ok_or_else(|| RowError::new(place, name, "nothing", expected))
}

/// Takes the first of several fields that is text, or a number as text, and not empty.
pub(super) fn take_text(row: &mut Value, names: &[&str]) -> Option<String> {
    let map = row.as_object_mut()?;
    names.iter().find_map(|name| map.remove(*name).as_ref().and_then(scalar_text).filter(|text| !text.is_empty()))
}

/// An example with the id a row gives, else a digest of its input.
pub(super) fn example(id: Option<&Value>, input: Value) -> Example {
    let id = id.and_then(scalar_text).filter(|id| !id.trim().is_empty());
    Example::new(id.map_or_else(|| content_id(&input), ExampleId::new), input)
}

/// Puts what is left of a row into the example's metadata; an object under `metadata` is spread.
pub(super) fn keep_rest(example: &mut Example, mut row: Value) {
    if let Some(metadata) = take(&mut row, &["metadata", "additional_metadata", "additionalMetadata"]).map(opened) {
        match metadata {
            Value::Object(entries) => example.metadata.extend(entries),
            other => drop(example.metadata.insert("metadata".to_owned(), other)),
        }
    }
    if let Value::Object(map) = row {
        let kept = map.into_iter().filter(|(_, value)| !is_nothing(value));
        example.metadata.extend(kept);
    }
}

/// Whether a field says nothing.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Tool calls in the form the scorers of tool calls read: a list of `{name, arguments}`. What has no name is kept.
pub(super) fn tool_calls(value: &Value) -> Value {
    let Value::Array(items) = value else { return value.clone() };
    items.iter().map(|item| tool_call(item).map_or_else(|| item.clone(), |(call, _)| call)).collect()
}

/// One tool call as `{name, arguments}`, and its result where it has one.
fn tool_call(item: &Value) -> Option<(Value, Option<Value>)> {
    let call = item.get("function").filter(|inner| inner.is_object()).unwrap_or(item);
    let name = match call {
        Value::String(name) => Some(name.as_str()),
        other => TOOL_NAMES.iter().find_map(|key| other.get(*key).and_then(Value::as_str)),
    }?;
    let arguments = TOOL_ARGUMENTS.iter().find_map(|key| call.get(*key)).filter(|value| !value.is_null());
    let mut map = Map::from_iter([("name".to_owned(), json!(name))]);
    map.extend(arguments.map(|arguments| ("arguments".to_owned(), opened(arguments.clone()))));
    let result = ["output", "result", "response"].iter().find_map(|key| call.get(*key)).filter(|v| !v.is_null());
    Some((Value::Object(map), result.cloned()))
}

/// A dialogue in OpenAI's chat format for an exchange of which only input, calls and output are known.
pub(super) fn dialogue_of_calls(input: &Value, calls: &Value, output: &Value) -> Value {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut messages = vec![json!({"role": "user", "content": text(input)})];
    let read: Vec<(Value, Option<Value>)> = calls.as_array().into_iter().flatten().filter_map(tool_call).collect();
    if !read.is_empty() {
        let called =
            read.iter().enumerate().map(|(index, (call, _))| json!({"id": format!("{index}"), "function": call}));
        messages.push(json!({"role": "assistant", "content": null, "tool_calls": called.collect::<Vec<_>>()}));
        for (index, (_, result)) in read.iter().enumerate() {
            if let Some(result) = result {
                messages.push(json!({"role": "tool", "tool_call_id": format!("{index}"), "content": text(result)}));
            }
        }
    }
    if !is_nothing(output) {
        messages.push(json!({"role": "assistant", "content": text(output)}));
    }
    Value::Array(messages)
}

/// Gives an output the trace of a dialogue.
pub(super) fn with_dialogue(
    output: &mut Output,
    dialogue: &Value,
    example: &Example,
    (variant, trial): (Option<&str>, u32),
    field: &str,
    place: Place<'_>,
) -> Result<(), RowError> {
    let id = trace_id(&example.id, variant, trial);
    let trace = trace_of_messages(dialogue, id)
        .map_err(|fault| RowError::new(place, &format!("{field}{}", fault.at), &fault.found, fault.expected))?;
    if output.value.is_null() {
        output.value = trace.final_output().unwrap_or_default();
    }
    output.trace = Some(trace.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_calls_of_each_tool_become_one_form() {
        let calls = json!([
            {"name": "f", "input_parameters": {"a": 1}, "output": "x"},
            {"tool_name": "g", "tool_input": {"b": 2}},
            {"function": {"name": "h", "arguments": "{\"c\": 3}"}},
            "k",
            {"unknown": true}
        ]);
        let expected = json!([
            {"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {"b": 2}},
            {"name": "h", "arguments": {"c": 3}}, {"name": "k"}, {"unknown": true}
        ]);
        assert_eq!(tool_calls(&calls), expected);
        let dialogue = dialogue_of_calls(&json!("in"), &calls, &json!("out"));
        assert_eq!(dialogue.as_array().unwrap().len(), 4);
        assert_eq!(dialogue[2], json!({"role": "tool", "tool_call_id": "0", "content": "x"}));
    }
}
