//! OpenAI's `evals`: its samples, and the records a run of them leaves behind.
//!
//! A record file holds one event per line; what belongs to one sample is gathered into one row before it is read.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::FormatInfo;
use super::shape;
use super::sketch::{Form, Sketch};
use crate::dataset::error::{DatasetError, Place, RowError};
use crate::dataset::rows::{FileFormat, Limits, OnRow, Row, read_rows};
use crate::model::{Example, Output, Recorded, Usage};

/// The row for samples.
pub(super) const SAMPLES: FormatInfo = FormatInfo {
    name: "openai_evals",
    summary: "samples of OpenAI evals: JSON lines of `input` messages and `ideal` answers",
    recognise: |sketch| {
        let fits = sketch.form == Form::Json && sketch.has(&["input", "ideal"]);
        fits.then(|| "rows with `input` and `ideal`".to_owned())
    },
    open: shape::rows,
    examples: sample,
    number_trials: false,
};

/// The row for records of a run.
pub(super) const LOG: FormatInfo = FormatInfo {
    name: "openai_evals_log",
    summary: "records of a run of OpenAI evals: JSON lines of events by sample",
    recognise: recognise_log,
    open: open_log,
    examples: logged,
    number_trials: true,
};

fn sample(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    let input = shape::need(&mut row, &["input"], place, "the messages of the sample")?;
    let id = shape::take(&mut row, &["id", "sample_id"]);
    let mut example = shape::example(id.as_ref(), input);
    // A list of ideals is a list of acceptable answers, which is what a list means in a reference too.
    example.reference = shape::take(&mut row, &["ideal"]);
    shape::keep_rest(&mut example, row);
    Ok(vec![example])
}

fn recognise_log(sketch: &Sketch) -> Option<String> {
    if sketch.form != Form::Json {
        return None;
    }
    if sketch.row().pointer("/spec/completion_fns").is_some() || sketch.row().pointer("/spec/eval_name").is_some() {
        return Some("a first line with the `spec` of a run".to_owned());
    }
    sketch
        .has(&["run_id", "event_id", "sample_id", "type", "data"])
        .then(|| "events with `event_id` and `sample_id`".to_owned())
}

fn open_log(path: &Path, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    let mut order: Vec<Row> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut variant = Value::Null;
    read_rows(path, Some(FileFormat::Jsonl), None, limits, &mut |row| {
        let mut row = match row {
            Ok(row) => row,
            Err(error) => return on_row(Err(error)),
        };
        if let Some(completions) = row.fields.pointer("/spec/completion_fns/0") {
            variant = completions.clone();
        }
        let Some(sample) = shape::take_text(&mut row.fields, &["sample_id"]) else { return Ok(()) };
        let slot = *places.entry(sample.clone()).or_insert_with(|| {
            order.push(Row { line: row.line, fields: json!({"id": sample, "events": []}), untyped: false });
            order.len() - 1
        });
        let events = order.get_mut(slot).and_then(|row| row.fields["events"].as_array_mut());
        events.into_iter().for_each(|events| events.push(row.fields.take()));
        Ok(())
    })?;
    for mut row in order {
        row.fields["variant"] = variant.clone();
        on_row(Ok(row))?;
    }
    Ok(())
}

fn logged(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    let events = match shape::take(&mut row, &["events"]) {
        Some(Value::Array(events)) => events,
        _ => Vec::new(),
    };
    let data = |kind: &str| {
        let found = events.iter().filter(|event| event["type"] == kind);
        found.filter_map(|event| event.get("data")).collect::<Vec<_>>()
    };
    let sampling = data("sampling");
    let matched = data("match");
    let raw = data("raw_sample");
    let input =
        raw.iter().find_map(|sample| sample.get("input")).or_else(|| sampling.iter().find_map(|s| s.get("prompt")));
    let input = input
        .ok_or_else(|| RowError::new(place, "events", "no `sampling` event", "a record of what the model was asked"))?;
    let id = shape::take(&mut row, &["id"]);
    let mut example = shape::example(id.as_ref(), input.clone());
    let ideal = raw.iter().find_map(|sample| sample.get("ideal"));
    let expected = ideal.or_else(|| matched.iter().find_map(|found| found.get("expected")));
    example.reference = expected.filter(|value| !shape::is_nothing(value)).cloned();
    let mut output = Output { value: answer(&sampling, &matched), usage: usage(&sampling), ..Output::default() };
    for found in matched.iter().chain(&data("metrics")) {
        let Some(map) = found.as_object() else { continue };
        let kept: Map<String, Value> = map
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "expected" | "sampled" | "prompt"))
            .map(pair)
            .collect();
        output.metadata.extend(kept);
    }
    let variant = shape::take_text(&mut row, &["variant"]);
    example.recorded.push(Recorded { variant, trial: 0, output });
    Ok(vec![example])
}

fn pair((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// The last sampled text: with several calls for one sample, the answer comes last.
fn answer(sampling: &[&Value], matched: &[&Value]) -> Value {
    let said = sampling.iter().rev().find_map(|data| data.get("sampled"));
    match said.or_else(|| matched.iter().rev().find_map(|data| data.get("sampled").or_else(|| data.get("picked")))) {
        Some(Value::Array(texts)) => texts.first().cloned().unwrap_or_default(),
        Some(value) => value.clone(),
        None => Value::Null,
    }
}

fn usage(sampling: &[&Value]) -> Usage {
    let count = |data: &Value, key: &str| data.pointer(&format!("/usage/{key}")).and_then(Value::as_u64);
    let each = sampling.iter().map(|data| Usage {
        input: count(data, "prompt_tokens"),
        output: count(data, "completion_tokens"),
        ..Usage::default()
    });
    each.fold(Usage::default(), |sum, usage| sum.plus(&usage))
}
