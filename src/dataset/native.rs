//! Rows without a mapping: our own format, and the usual names of other tools for the same things.
//!
//! Names are compared without case, `_`, `-` and spaces, so that `expectedOutput` and `expected_output` are one.
//! What no rule knows is kept as metadata, of the recorded output where the row has one, else of the example.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::digest::content_id;
use super::error::{Place, RowError, shown};
use crate::model::{Attachment, Example, ExampleId, ExpectedCall, Label, Output, Recorded};

const ID: &[&str] =
    &["id", "exampleid", "taskid", "caseid", "sampleid", "questionid", "instanceid", "qid", "uid", "uuid", "idx"];
const INPUT: &[&str] =
    &["input", "inputs", "question", "prompt", "query", "userinput", "instruction", "problem", "messages"];
const REFERENCE: &[&str] = &[
    "reference",
    "expected",
    "expectedoutput",
    "referenceoutput",
    "referenceoutputs",
    "referenceanswer",
    "answer",
    "ideal",
    "target",
    "groundtruth",
    "gold",
];
const OUTPUT: &[&str] = &["output", "actualoutput", "response", "completion", "prediction", "generation"];
/// Fields that a flat file of ours may hold as JSON in a column of its own.
pub(super) const JSON_COLUMNS: &[&str] = &["id", "input", "reference", "cluster", "stratum"];
const CLUSTER: &[&str] = &["cluster", "clusterid"];
const VARIANT: &[&str] = &["variant"];
const TRIAL: &[&str] = &["trial"];
const COST: &[&str] = &["costusd", "cost"];
const LATENCY: &[&str] = &["latencyms"];

/// The id of a row by its usual names, if it has one.
pub fn id_of(row: &Value, place: Place<'_>) -> Result<Option<ExampleId>, RowError> {
    let Some((name, value)) = row.as_object().and_then(|map| first(map, ID)) else { return Ok(None) };
    match scalar_text(value) {
        Some(text) if !text.trim().is_empty() => Ok(Some(ExampleId::new(text))),
        _ => Err(RowError::new(place, name, &shown(value), "an id: text or a number that is not empty")),
    }
}

/// The input of a row by its usual names. `instruction` beside `input` (the Alpaca form) gives both as one object,
/// or the instruction alone where the input is empty.
pub fn input_of(row: &Value) -> Option<Value> {
    let map = row.as_object()?;
    if let Some(Ok(input)) = json_cell(map, "input") {
        return Some(input);
    }
    if let (Some((_, instruction)), Some(input)) = (first(map, &["instruction"]), member(map, "input")) {
        let empty = input.1.as_str() == Some("") || input.1.is_null();
        return Some(match empty {
            true => instruction.clone(),
            false => serde_json::json!({"instruction": instruction, "input": input.1}),
        });
    }
    first(map, INPUT).map(|(_, value)| value.clone())
}

/// Text, a number or a boolean as text; `None` for anything else.
pub fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// A finite number, also when it is written as text.
pub fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// A whole number from 0 up, also when it is written as text or as `3.0`.
pub fn whole_number(value: &Value) -> Option<u64> {
    if let Some(exact) = value.as_u64() {
        return Some(exact);
    }
    // Above 2^53 a float no longer says which whole number is meant.
    number(value).filter(|n| n.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(n)).map(|n| n as u64)
}

/// The example in a row that has no mapping.
///
/// # Errors
/// The row has no input, or a field of ours has the wrong form.
pub fn example_of(row: Value, place: Place<'_>) -> Result<Example, RowError> {
    let input = input_of(&row)
        .ok_or_else(|| RowError::new(place, "input", "nothing", "an input that is neither absent, empty nor null"))?;
    let mut cells = row.as_object().map(|map| json_cells(map, place)).transpose()?.unwrap_or_default();
    let id = match cells.get("id").and_then(scalar_text) {
        Some(id) => ExampleId::new(id),
        None => id_of(&row, place)?.unwrap_or_else(|| content_id(&input)),
    };
    let mut example = Example::new(id, input);
    let Value::Object(map) = row else { return Ok(example) };
    let used: Vec<String> = used_names(&map);
    example.reference = cells.remove("reference").or_else(|| first(&map, REFERENCE).map(|(_, value)| value.clone()));
    example.cluster = match cells.get("cluster").and_then(scalar_text) {
        Some(cluster) => Some(cluster),
        None => scalar_field(&map, CLUSTER, place)?,
    };
    example.stratum = cells.get("stratum").and_then(scalar_text);
    let has_output = first(&map, OUTPUT).is_some();
    let mut output = has_output.then(|| recorded_of(&map, place)).transpose()?;
    for (name, value) in map {
        if used.contains(&name) || value.is_null() {
            continue;
        }
        take_field(&mut example, &mut output, name, value, place)?;
    }
    example.recorded.extend(output);
    Ok(example)
}

/// What a column such as `input_json` holds, which our own flat files have for values that are not plain text. Only a
/// cell with text beside an empty plain one is meant; any other is somebody else's.
fn json_cell(map: &Map<String, Value>, name: &str) -> Option<Result<Value, serde_json::Error>> {
    let text = map.get(&format!("{name}_json"))?.as_str().filter(|text| !text.is_empty())?;
    let plain = map.get(name).is_some_and(|plain| !plain.is_null() && plain.as_str() != Some(""));
    (!plain).then(|| serde_json::from_str(text))
}

/// The values of such columns by the name of the plain one.
fn json_cells(map: &Map<String, Value>, place: Place<'_>) -> Result<BTreeMap<&'static str, Value>, RowError> {
    let mut cells = BTreeMap::new();
    for name in JSON_COLUMNS {
        match json_cell(map, name) {
            None => {}
            Some(Ok(value)) => drop(cells.insert(*name, value)),
            Some(Err(error)) => {
                return Err(RowError::new(place, &format!("{name}_json"), &format!("text ({error})"), "JSON"));
            }
        }
    }
    Ok(cells)
}

/// Fields that other rules read already.
fn used_names(map: &Map<String, Value>) -> Vec<String> {
    let mut lists = vec![ID, INPUT, REFERENCE, CLUSTER];
    if first(map, OUTPUT).is_some() {
        lists.extend([OUTPUT, VARIANT, TRIAL, COST, LATENCY]);
    }
    let mut used: Vec<String> = lists.iter().filter_map(|names| first(map, names)).map(|(n, _)| n.to_owned()).collect();
    for name in JSON_COLUMNS {
        let column = format!("{name}_json");
        if json_cell(map, name).is_some() {
            used.extend([(*name).to_owned(), column]);
        } else if map.get(&column).and_then(Value::as_str) == Some("") {
            used.push(column);
        }
    }
    if first(map, &["instruction"]).is_some() {
        used.extend(["instruction", "input"].iter().filter_map(|name| member(map, name)).map(|(n, _)| n.to_owned()));
    }
    used
}

fn take_field(
    example: &mut Example,
    output: &mut Option<Recorded>,
    name: String,
    value: Value,
    place: Place<'_>,
) -> Result<(), RowError> {
    match name.as_str() {
        // An empty cell of a flat file says nothing.
        "recorded"
        | "labels"
        | "lineage"
        | "metadata"
        | "dimensions"
        | "inclusion_probability"
        | "expected_calls"
        | "expected_tools"
        | "attachments"
        | "split"
        | "stratum"
        | "id"
        | "input"
        | "reference"
        | "cluster"
            if value.as_str() == Some("") => {}
        "dimensions" | "slices" => dimensions(example, &name, value, place)?,
        "tags" => tags(example, value, place)?,
        "metadata" => match opened(value) {
            Value::Object(entries) => example.metadata.extend(entries),
            other => return Err(RowError::new(place, "metadata", &shown(&other), "an object")),
        },
        "split" => example.split = scalar_text(&value),
        "expected_calls" | "expected_tools" => example.expected_calls = Some(expected_calls(&name, value, place)?),
        "attachments" if is_ours(&value) => {
            example.attachments = structured::<Vec<Attachment>>(&name, value, place)?;
        }
        "labels" => example.labels.extend(labels(value, place)?),
        "recorded" => example.recorded.extend(structured::<Vec<Recorded>>(&name, value, place)?),
        "lineage" => example.lineage = structured(&name, value, place)?,
        "stratum" => example.stratum = scalar_text(&value),
        "inclusion_probability" => match number(&value).filter(|p| *p > 0.0 && *p <= 1.0) {
            Some(probability) => example.inclusion_probability = Some(probability),
            None => return Err(RowError::new(place, &name, &shown(&value), "a number above 0 and at most 1")),
        },
        "represents" => match number(&value).filter(|n| *n >= 1.0 && n.fract() == 0.0) {
            Some(count) => example.represents = Some(count as u64),
            None => return Err(RowError::new(place, &name, &shown(&value), "a whole number from 1")),
        },
        _ => match (name.split_once('.'), output) {
            (Some(("dimensions", key)), _) => {
                let text = scalar_text(&value).filter(|text| !text.is_empty());
                example.dimensions.extend(text.map(|text| (key.to_owned(), text)));
            }
            (Some(("labels", key)), _) => example.labels.push(label(key, value)),
            (Some(("metadata", key)), _) => drop(example.metadata.insert(key.to_owned(), value)),
            (_, Some(recorded)) => drop(recorded.output.metadata.insert(name, value)),
            (_, None) => drop(example.metadata.insert(name, value)),
        },
    }
    Ok(())
}

/// The output of a row by its usual names, with what is known about it.
fn recorded_of(map: &Map<String, Value>, place: Place<'_>) -> Result<Recorded, RowError> {
    let value = first(map, OUTPUT).map_or(Value::Null, |(_, value)| value.clone());
    let read = |names, expected: &str| match first(map, names) {
        None => Ok(None),
        Some((name, value)) => match number(value).filter(|n| *n >= 0.0) {
            Some(number) => Ok(Some(number)),
            None => Err(RowError::new(place, name, &shown(value), expected)),
        },
    };
    let trial = match first(map, TRIAL) {
        None => 0,
        Some((name, value)) => whole_number(value)
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| RowError::new(place, name, &shown(value), "a whole number from 0 up"))?,
    };
    let output = Output {
        value,
        cost_usd: read(COST, "a number from 0 up")?,
        latency_ms: read(LATENCY, "a number from 0 up")?,
        ..Output::default()
    };
    Ok(Recorded { variant: scalar_field(map, VARIANT, place)?, trial, output })
}

fn dimensions(example: &mut Example, field: &str, value: Value, place: Place<'_>) -> Result<(), RowError> {
    let entries = match opened(value) {
        Value::Object(entries) => entries,
        other => return Err(RowError::new(place, field, &shown(&other), "an object of name and value")),
    };
    for (name, value) in entries {
        match scalar_text(&value) {
            Some(text) => drop(example.dimensions.insert(name, text)),
            None if value.is_null() => {}
            None => {
                let field = format!("{field}.{name}");
                return Err(RowError::new(place, &field, &shown(&value), "text, a number or a boolean"));
            }
        }
    }
    Ok(())
}

fn tags(example: &mut Example, value: Value, place: Place<'_>) -> Result<(), RowError> {
    let names: Vec<String> = match opened(value) {
        Value::String(text) => text.split(',').map(str::to_owned).collect(),
        Value::Array(items) => items.iter().filter_map(scalar_text).collect(),
        other @ Value::Object(_) => return dimensions(example, "tags", other, place),
        other => return Err(RowError::new(place, "tags", &shown(&other), "a list of names")),
    };
    example.tags.extend(names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).map(str::to_owned));
    Ok(())
}

/// Expected calls: names, or objects with a name and perhaps arguments, under the names the usual tools give them.
fn expected_calls(field: &str, value: Value, place: Place<'_>) -> Result<Vec<ExpectedCall>, RowError> {
    const FORM: &str = "a list of tool names, or of objects with `name` and perhaps `arguments`";
    let Value::Array(items) = opened(value.clone()) else {
        return Err(RowError::new(place, field, &shown(&value), FORM));
    };
    let read = |item: &Value| {
        let call = item.get("function").filter(|inner| inner.is_object()).unwrap_or(item);
        let name = match call {
            Value::String(name) => Some(name.as_str()),
            other => ["name", "tool", "tool_name"].iter().find_map(|key| other.get(*key).and_then(Value::as_str)),
        };
        let given = ["arguments", "args", "kwargs", "input_parameters", "parameters"].iter().find_map(|k| call.get(*k));
        let arguments = match given.map(|value| opened(value.clone())) {
            None | Some(Value::Null) => Some(None),
            Some(Value::Object(map)) => Some(Some(map)),
            Some(_) => None,
        };
        match (name.filter(|name| !name.is_empty()), arguments) {
            (Some(name), Some(arguments)) => Ok(ExpectedCall { name: name.to_owned(), arguments }),
            _ => Err(RowError::new(place, field, &shown(item), FORM)),
        }
    };
    items.iter().map(read).collect()
}

/// Whether a list of attachments has our form; one of another tool is kept as metadata.
fn is_ours(value: &Value) -> bool {
    match opened(value.clone()) {
        Value::Array(items) => !items.is_empty() && items.iter().all(|item| item.get("digest").is_some()),
        _ => false,
    }
}

fn labels(value: Value, place: Place<'_>) -> Result<Vec<Label>, RowError> {
    match opened(value) {
        Value::Object(entries) => Ok(entries.into_iter().map(|(name, value)| label(&name, value)).collect()),
        list => structured("labels", list, place),
    }
}

fn label(name: &str, value: Value) -> Label {
    Label { name: name.to_owned(), value, ..Label::default() }
}

fn structured<T: DeserializeOwned>(field: &str, value: Value, place: Place<'_>) -> Result<T, RowError> {
    serde_json::from_value(opened(value))
        .map_err(|error| RowError::new(place, field, &error.to_string(), format!("the form of `{field}` in a dataset")))
}

/// Objects and lists that a CSV cell holds as text, opened.
fn opened(value: Value) -> Value {
    match &value {
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

fn scalar_field(map: &Map<String, Value>, names: &[&str], place: Place<'_>) -> Result<Option<String>, RowError> {
    match first(map, names) {
        None => Ok(None),
        Some((name, value)) => {
            scalar_text(value).map(Some).ok_or_else(|| RowError::new(place, name, &shown(value), "text or a number"))
        }
    }
}

/// The first of the names, in their order, that the row has with a value that is neither null nor empty text.
fn first<'a>(map: &'a Map<String, Value>, names: &[&str]) -> Option<(&'a str, &'a Value)> {
    names.iter().find_map(|name| member(map, name).filter(|(_, value)| !value.is_null() && value.as_str() != Some("")))
}

/// A field whose name, folded, is the given one; the exact name wins.
fn member<'a>(map: &'a Map<String, Value>, name: &str) -> Option<(&'a str, &'a Value)> {
    let exact = map.get_key_value(name);
    exact.or_else(|| map.iter().find(|(key, _)| folds_to(key, name))).map(|(key, value)| (key.as_str(), value))
}

/// Compares in place: this runs for every name on every row.
fn folds_to(key: &str, name: &str) -> bool {
    let kept = key.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    kept.flat_map(char::to_lowercase).eq(name.chars())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(row: Value) -> Result<Example, RowError> {
        example_of(row, Place { file: Path::new("f"), line: 1 })
    }

    #[test]
    fn usual_names_are_recognised() {
        let example = read(json!({"Question": "q", "expectedOutput": "a", "actual_output": "o", "cost": "0.5",
            "variant": "v1", "trial": "2", "run": 7, "tags": ["x", "y"], "task_id": 12}))
        .unwrap();
        assert_eq!((example.id.as_str(), &example.input), ("12", &json!("q")));
        assert_eq!(example.reference, Some(json!("a")));
        assert!(example.tags.contains("x") && example.tags.contains("y"));
        let recorded = &example.recorded[0];
        assert_eq!((recorded.variant.as_deref(), recorded.trial), (Some("v1"), 2));
        assert_eq!((recorded.output.cost_usd, &recorded.output.metadata["run"]), (Some(0.5), &json!(7)));
        assert!(example.metadata.is_empty());
    }

    #[test]
    fn an_input_alone_is_enough_and_names_itself() {
        let example = read(json!({"prompt": {"a": 1}, "note": "n"})).unwrap();
        assert_eq!(example.id, content_id(&json!({"a": 1})));
        assert_eq!(example.metadata["note"], json!("n"));
    }

    #[test]
    fn instruction_and_input_belong_together() {
        let both = read(json!({"instruction": "i", "input": "x"})).unwrap();
        assert_eq!(both.input, json!({"instruction": "i", "input": "x"}));
        assert_eq!(read(json!({"instruction": "i", "input": ""})).unwrap().input, json!("i"));
    }

    #[test]
    fn expected_calls_are_read_in_the_forms_of_several_tools() {
        let calls = |row| read(row).unwrap().expected_calls.unwrap();
        let ours = calls(json!({"input": "q", "expected_calls": ["search", {"name": "book", "arguments": {"n": 1}}]}));
        assert_eq!((ours[0].name.as_str(), &ours[1].arguments.as_ref().unwrap()["n"]), ("search", &json!(1)));
        let other = calls(json!({"input": "q", "expected_tools": [{"name": "book", "input_parameters": {"n": 1}}]}));
        assert_eq!(other[0], ours[1]);
        let openai = json!([{"function": {"name": "book", "arguments": "{\"n\": 1}"}}]);
        assert_eq!(calls(json!({"input": "q", "expected_calls": openai}))[0], ours[1]);
        assert_eq!(calls(json!({"input": "q", "expected_calls": []})), []);
    }

    #[test]
    fn attachments_of_another_form_are_metadata() {
        let example = read(json!({"input": "q", "attachments": ["a.png"], "split": "dev"})).unwrap();
        assert_eq!((&example.metadata["attachments"], example.split.as_deref()), (&json!(["a.png"]), Some("dev")));
        assert!(read(json!({"input": "q", "attachments": [{"digest": 1}]})).is_err());
    }

    #[test]
    fn wrong_forms_name_the_field() {
        let field = |row| read(row).unwrap_err().field;
        assert_eq!(field(json!({"x": 1})), "input");
        assert_eq!(field(json!({"input": ""})), "input");
        assert_eq!(field(json!({"input": "q", "id": [1]})), "id");
        assert_eq!(field(json!({"input": "q", "dimensions": {"a": [1]}})), "dimensions.a");
        assert_eq!(field(json!({"input": "q", "inclusion_probability": 1.5})), "inclusion_probability");
        assert_eq!(field(json!({"input": "q", "recorded": [{"trial": 0}]})), "recorded");
        assert_eq!(field(json!({"input": "q", "output": "o", "trial": -1})), "trial");
        assert_eq!(field(json!({"input": "q", "expected_calls": [{"arguments": {}}]})), "expected_calls");
        assert_eq!(field(json!({"input": "q", "reference_json": "{"})), "reference_json");
    }

    #[test]
    fn whole_numbers_are_exact() {
        assert_eq!(whole_number(&json!(u64::MAX)), Some(u64::MAX));
        assert_eq!(whole_number(&json!(3.0)), Some(3));
        assert_eq!(whole_number(&json!(3.5)), None);
        assert_eq!(number(&json!("inf")), None);
    }

    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(|n| serde_json::Number::from_f64(n).map_or(Value::Null, Value::Number)),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            let key = prop_oneof![
                Just("id"),
                Just("input"),
                Just("output"),
                Just("recorded"),
                Just("labels"),
                Just("dimensions"),
                Just("tags"),
                Just("metadata"),
                Just("trial"),
                Just("lineage"),
                Just("messages"),
                Just("role"),
                Just("content"),
                Just("tool_calls"),
                Just("instruction"),
                Just("dimensions.x")
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..8).prop_map(|map| map
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect::<Map<_, _>>()
                    .into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_row_panics(row in any_json()) {
            let _ = read(row);
        }
    }
}
