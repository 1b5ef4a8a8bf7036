//! Tests of promptfoo: the `tests` of a configuration in YAML or JSON, a list of tests, or a CSV file of tests.
//!
//! The variables are the input. An assertion that names an answer gives the reference; all assertions are kept as
//! metadata. Files that a test refers to are not opened.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::FormatInfo;
use super::shape;
use super::sketch::{Form, Sketch};
use crate::dataset::digest::content_id;
use crate::dataset::error::{DatasetError, Place, RowError, shown};
use crate::dataset::rows::{Limits, OnRow};
use crate::model::Example;

/// The row of this format.
pub(super) const FORMAT: FormatInfo = FormatInfo {
    name: "promptfoo_tests",
    summary: "promptfoo tests: a configuration or list in YAML or JSON, or CSV with `__expected`",
    recognise,
    open,
    examples,
    number_trials: false,
};

/// Assertions that name an answer, the most exact first.
const ANSWERS: &[&str] = &[
    "equals",
    "factuality",
    "model-graded-factuality",
    "similar",
    "levenshtein",
    "rouge-n",
    "bleu",
    "gleu",
    "meteor",
    "contains",
    "icontains",
    "starts-with",
    "contains-any",
    "contains-all",
    "icontains-any",
    "icontains-all",
];
/// Tests that one test with lists of values may stand for.
const MOST_VARIANTS: usize = 10_000;

fn recognise(sketch: &Sketch) -> Option<String> {
    if sketch.form == Form::Table {
        let column = sketch.row().as_object()?.keys().find(|name| name.starts_with("__expected"))?;
        return Some(format!("table with a column `{column}`"));
    }
    let is_test = |test: &Value| test.get("vars").is_some();
    if sketch.row().get("tests").and_then(Value::as_array).and_then(|tests| tests.first()).is_some_and(is_test) {
        return Some("`tests` with `vars`".to_owned());
    }
    (is_test(sketch.row()) && sketch.any(&["assert"]).is_some()).then(|| "tests with `vars` and `assert`".to_owned())
}

fn open(path: &Path, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    use crate::dataset::rows::FileFormat;
    if matches!(FileFormat::of_name(path), Some(FileFormat::Csv | FileFormat::Parquet | FileFormat::Jsonl)) {
        return shape::rows(path, limits, on_row);
    }
    let mut root = shape::document(path, limits)?;
    let default = shape::take(&mut root, &["defaultTest"]).unwrap_or_default();
    let tests = match root {
        Value::Array(tests) => Some(tests),
        mut other => match shape::take(&mut other, &["tests"]) {
            Some(Value::Array(tests)) => Some(tests),
            _ => None,
        },
    };
    let tests = tests.ok_or_else(|| DatasetError::Format {
        file: path.to_owned(),
        format: "tests of promptfoo",
        cause: "there is no list of tests; import the file that `tests` names".to_owned(),
    })?;
    let tests = tests.into_iter().map(|test| with_default(test, &default)).collect();
    shape::list_rows(path, tests, on_row)
}

/// A test with what `defaultTest` says for all.
fn with_default(mut test: Value, default: &Value) -> Value {
    let Value::Object(map) = &mut test else { return test };
    if let Some(Value::Object(vars)) = default.get("vars") {
        let own = map.entry("vars").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(own) = own {
            for (name, value) in vars {
                own.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    if let Some(Value::Array(more)) = default.get("assert")
        && let Value::Array(own) = map.entry("assert").or_insert_with(|| Value::Array(Vec::new()))
    {
        own.extend(more.iter().cloned());
    }
    test
}

fn examples(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    if row.as_object().is_some_and(|map| map.keys().any(|name| name.starts_with("__expected"))) {
        row = of_table(row);
    }
    let vars = match shape::take(&mut row, &["vars"]) {
        Some(Value::Object(vars)) => vars,
        other => {
            let found = other.as_ref().map_or("nothing".to_owned(), shown);
            return Err(RowError::new(
                place,
                "vars",
                &found,
                "an object of variables; import files that it names apart",
            ));
        }
    };
    let asserts = shape::take(&mut row, &["assert"]).unwrap_or(Value::Array(Vec::new()));
    let variants = variants(&vars).ok_or_else(|| {
        RowError::new(place, "vars", "lists of values", format!("at most {MOST_VARIANTS} tests of them"))
    })?;
    let kept: Vec<(String, Value)> = ["description", "metadata", "threshold", "options"]
        .into_iter()
        .filter_map(|name| shape::take(&mut row, &[name]).map(|value| (name.to_owned(), value)))
        .collect();
    Ok(variants
        .into_iter()
        .map(|vars| {
            let vars = Value::Object(vars);
            let mut example = Example::new(content_id(&json!({"vars": &vars, "assert": &asserts})), vars);
            example.reference = expected_of(&asserts);
            keep_asserts(&mut example, asserts.clone());
            for (name, value) in &kept {
                match value {
                    Value::Object(metadata) if name == "metadata" => {
                        example.metadata.extend(metadata.iter().map(|(key, value)| (key.clone(), value.clone())));
                    }
                    other => drop(example.metadata.insert(name.clone(), other.clone())),
                }
            }
            example
        })
        .collect())
}

/// A variable with a list of values stands for one test per value.
fn variants(vars: &Map<String, Value>) -> Option<Vec<Map<String, Value>>> {
    let mut all = vec![Map::new()];
    for (name, value) in vars {
        let choices = match value {
            Value::Array(items) if !items.is_empty() && items.iter().all(|item| !item.is_object()) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        if all.len().saturating_mul(choices.len()) > MOST_VARIANTS {
            return None;
        }
        let with = |map: &Map<String, Value>, choice: &Value| {
            let mut map = map.clone();
            map.insert(name.clone(), choice.clone());
            map
        };
        all = all.iter().flat_map(|map| choices.iter().map(|choice| with(map, choice))).collect();
    }
    Some(all)
}

/// A row of a CSV file of tests: `__expected` columns hold assertions as `type:value`, others are variables.
fn of_table(row: Value) -> Value {
    let Value::Object(columns) = row else { return row };
    let (mut vars, mut asserts, mut test) = (Map::new(), Vec::new(), Map::new());
    for (name, value) in columns {
        if name.starts_with("__expected") {
            asserts.extend(value.as_str().filter(|text| !text.is_empty()).map(assertion));
        } else if name == "__description" {
            test.insert("description".to_owned(), value);
        } else if let Some(key) = name.strip_prefix("__metadata:") {
            let metadata = test.entry("metadata").or_insert_with(|| json!({}));
            metadata.as_object_mut().map(|map| map.insert(key.to_owned(), value));
        } else if !name.starts_with("__") {
            vars.insert(name, value);
        }
    }
    test.insert("vars".to_owned(), Value::Object(vars));
    test.insert("assert".to_owned(), Value::Array(asserts));
    Value::Object(test)
}

/// `type: value`, `type(threshold): value`; a text without a type is the answer itself.
fn assertion(text: &str) -> Value {
    let plain = || json!({"type": "equals", "value": text});
    let Some((kind, value)) = text.split_once(':') else { return plain() };
    let kind = kind.trim();
    let name: String = kind.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
    let threshold =
        kind.get(name.len()..).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')')?.parse::<f64>().ok());
    if name.is_empty() || (name.len() != kind.len() && threshold.is_none()) {
        return plain();
    }
    let mut map = Map::from_iter([("type".to_owned(), json!(name)), ("value".to_owned(), json!(value.trim()))]);
    map.extend(threshold.map(|threshold| ("threshold".to_owned(), json!(threshold))));
    Value::Object(map)
}

/// The answer that the assertions name, if one does.
pub(super) fn expected_of(asserts: &Value) -> Option<Value> {
    let asserts = asserts.as_array()?;
    let named = |kind: &str| {
        let found = asserts.iter().find(|assert| assert["type"] == kind)?;
        let value = found.get("value").filter(|value| !shape::is_nothing(value))?;
        let code = value.as_str().is_some_and(|text| text.starts_with("file://"));
        (!code).then(|| value.clone())
    };
    ANSWERS.iter().find_map(|kind| named(kind))
}

/// Keeps the assertions as metadata.
pub(super) fn keep_asserts(example: &mut Example, asserts: Value) {
    if !shape::is_nothing(&asserts) {
        example.metadata.insert("assert".to_owned(), asserts);
    }
}
