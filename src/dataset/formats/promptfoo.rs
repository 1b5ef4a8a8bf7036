//! Results of promptfoo: each row is the output of one provider for one test, with its grades.
//!
//! A test is known by its variables and assertions, so that rows of several providers and repetitions meet in one
//! example. Test files are read by `promptfoo_tests`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::FormatInfo;
use super::promptfoo_tests::{expected_of, keep_asserts};
use super::shape;
use super::sketch::Sketch;
use crate::dataset::digest::content_id;
use crate::dataset::error::{DatasetError, Place, RowError};
use crate::dataset::rows::{Limits, OnRow};
use crate::model::{Example, Output, Recorded, Usage};

/// The row of this format.
pub(super) const FORMAT: FormatInfo = FormatInfo {
    name: "promptfoo",
    summary: "promptfoo results (`promptfoo eval -o results.json`): outputs of each provider with their grades",
    recognise,
    open,
    examples,
    number_trials: true,
};

fn recognise(sketch: &Sketch) -> Option<String> {
    let first = result_lists(&sketch.value)?.first()?;
    let fits = first.get("vars").is_some() && (first.get("provider").is_some() || first.get("promptIdx").is_some());
    fits.then(|| "JSON with `results.results` of `vars` and `provider`".to_owned())
}

/// `results.results` in files of `eval -o`, `results` in what the API gives.
fn result_lists(root: &Value) -> Option<&Vec<Value>> {
    let results = root.get("results")?;
    results.get("results").unwrap_or(results).as_array()
}

fn open(path: &Path, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    let mut root = shape::document(path, limits)?;
    let place = if root.pointer("/results/results").is_some() { "/results/results" } else { "/results" };
    match root.pointer_mut(place).map(Value::take) {
        Some(Value::Array(items)) => shape::list_rows(path, items, on_row),
        _ => Err(DatasetError::Format {
            file: path.to_owned(),
            format: "results of promptfoo",
            cause: "there is no list at `results.results`; write it with `promptfoo eval -o results.json`".to_owned(),
        }),
    }
}

fn examples(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    let mut test = shape::take(&mut row, &["testCase"]).unwrap_or_default();
    let vars = shape::take(&mut row, &["vars"])
        .or_else(|| shape::take(&mut test, &["vars"]))
        .filter(Value::is_object)
        .ok_or_else(|| RowError::new(place, "vars", "nothing", "the variables of the test"))?;
    let asserts = shape::take(&mut test, &["assert"]).unwrap_or(Value::Array(Vec::new()));
    let mut example = Example::new(content_id(&json!({"vars": &vars, "assert": &asserts})), vars);
    example.reference = expected_of(&asserts);
    keep_asserts(&mut example, asserts);
    example.metadata.extend(shape::take_text(&mut test, &["description"]).map(|d| ("description".into(), d.into())));
    if let Some(Value::Object(metadata)) = shape::take(&mut test, &["metadata"]) {
        example.metadata.extend(metadata);
    }
    example.recorded.push(recorded(&mut row));
    Ok(vec![example])
}

fn recorded(row: &mut Value) -> Recorded {
    let mut response = shape::take(row, &["response"]).unwrap_or_default();
    let tokens = shape::take(&mut response, &["tokenUsage"]).or_else(|| shape::take(row, &["tokenUsage"]));
    let amount = |value: Option<Value>| value.and_then(|value| value.as_f64()).filter(|n| n.is_finite() && *n >= 0.0);
    // A response from promptfoo's own cache says nothing about time or money.
    let cached = response.get("cached").and_then(Value::as_bool) == Some(true);
    let cost = amount(shape::take(row, &["cost"]).or_else(|| shape::take(&mut response, &["cost"])));
    let mut output = Output {
        value: shape::take(&mut response, &["output"]).unwrap_or_default(),
        usage: usage(tokens.as_ref()),
        // Zero is what it writes for a provider without a price as well.
        cost_usd: cost.filter(|cost| *cost > 0.0),
        latency_ms: amount(shape::take(row, &["latencyMs"])).filter(|_| !cached),
        ..Output::default()
    };
    if cached {
        output.metadata.insert("cached".to_owned(), Value::Bool(true));
    }
    for name in ["success", "score", "namedScores", "error", "failureReason"] {
        let said = shape::take(row, &[name]).filter(|value| !shape::is_nothing(value));
        output.metadata.extend(said.map(|value| (name.to_owned(), value)));
    }
    if let Some(mut grading) = shape::take(row, &["gradingResult"]) {
        for name in ["pass", "reason"] {
            output.metadata.extend(shape::take(&mut grading, &[name]).map(|value| (name.to_owned(), value)));
        }
        if let Some(Value::Array(parts)) = shape::take(&mut grading, &["componentResults"]) {
            output.metadata.insert("assertions".to_owned(), parts.iter().map(component).collect());
        }
    }
    Recorded { variant: variant(row), trial: 0, output }
}

fn component(part: &Value) -> Value {
    let mut map = Map::new();
    for (name, place) in [
        ("type", "/assertion/type"),
        ("value", "/assertion/value"),
        ("pass", "/pass"),
        ("score", "/score"),
        ("reason", "/reason"),
    ] {
        map.extend(part.pointer(place).filter(|value| !value.is_null()).map(|value| (name.to_owned(), value.clone())));
    }
    Value::Object(map)
}

fn usage(tokens: Option<&Value>) -> Usage {
    let count = |key: &str| tokens.and_then(|tokens| tokens.get(key)).and_then(Value::as_u64);
    // A cached response says only how many tokens it saved.
    Usage { input: count("prompt"), output: count("completion"), ..Usage::default() }
}

/// The provider, and the prompt where it has a label of its own.
fn variant(row: &mut Value) -> Option<String> {
    let mut provider = shape::take(row, &["provider"]).unwrap_or_default();
    let provider = match &provider {
        Value::String(id) => Some(id.clone()),
        _ => shape::take_text(&mut provider, &["label", "id"]),
    };
    let raw = row.pointer("/prompt/raw").and_then(Value::as_str).map(str::to_owned);
    let label = row.pointer("/prompt/label").and_then(Value::as_str).map(str::to_owned);
    let index = row.get("promptIdx").and_then(Value::as_u64);
    // Without a label of its own a prompt is called by its text.
    let label = label.filter(|label| Some(label) != raw.as_ref() && label.len() <= 80 && !label.contains('\n'));
    let prompt = label.or_else(|| index.map(|index| format!("prompt {index}")));
    match (provider, prompt) {
        (Some(provider), Some(prompt)) => Some(format!("{provider} | {prompt}")),
        (provider, prompt) => provider.or(prompt),
    }
}
