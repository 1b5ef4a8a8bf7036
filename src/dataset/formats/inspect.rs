//! Samples of an Inspect AI log as examples: each epoch is a trial, each model a variant.
//!
//! Samples are numbered within their task, so the task stands before the number: `popularity/7`. Where a task puts
//! something else in another epoch (shuffled choices, say), that epoch is an example of its own: `popularity/7#2`.
//!
//! Scores become metadata of the output, for `recorded_value`; Inspect's letters become the numbers its own metrics
//! are made from (C 1, P 0.5, I and N 0). Opening logs is `inspect_log`'s.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::FormatInfo;
use super::inspect_log::{InspectLog, InspectSample, usage_of};
use super::shape;
use super::sketch::{Form, Sketch};
use crate::dataset::error::{DatasetError, Place, RowError, shown};
use crate::dataset::native::scalar_text;
use crate::dataset::rows::{Limits, OnRow, Row};
use crate::model::{Digest, Example, ExampleId, Output, Recorded, Usage, canonical_json};
use crate::sys::{files, text};

/// The row of this format.
pub(super) const FORMAT: FormatInfo = FormatInfo {
    name: "inspect",
    summary: "Inspect AI logs, `.eval` or JSON: samples with epochs as trials, outputs and scores",
    recognise,
    open,
    examples,
    number_trials: false,
};

fn recognise(sketch: &Sketch) -> Option<String> {
    if sketch.form == Form::Archive {
        let entry = sketch.any(&["header.json", "_journal/start.json"])?;
        return Some(format!("zip archive with `{entry}`"));
    }
    let run = sketch.value.get("eval")?;
    (run.get("task_id").is_some() && run.get("run_id").is_some())
        .then(|| "JSON with `eval.task_id` and `eval.run_id`".to_owned())
}

fn open(path: &Path, limits: Limits, on_row: &mut OnRow<'_>) -> Result<(), DatasetError> {
    let mut reader = files::open(path)?;
    let limit = limits.file_bytes.min(limits.row_bytes as u64 * 8);
    let mut log = InspectLog::open(&mut reader, limit).map_err(|cause| DatasetError::Format {
        file: path.to_owned(),
        format: "a log of Inspect",
        cause: text::one_line(&cause, 500),
    })?;
    let [variant, task] =
        ["/eval/model", "/eval/task"].map(|pointer| log.head.pointer(pointer).cloned().unwrap_or_default());
    let mut first_inputs: HashMap<String, Digest> = HashMap::new();
    let mut line = 0;
    while let Some((name, sample)) = log.next_sample() {
        line += 1;
        on_row(match sample {
            Ok(sample) => {
                let mut row = row_of(&sample);
                row.insert("variant".to_owned(), variant.clone());
                row.insert("task".to_owned(), task.clone());
                row.insert(SEPARATE.to_owned(), Value::Bool(is_separate(&row, &mut first_inputs)));
                Ok(Row { line, fields: Value::Object(row), untyped: false })
            }
            Err(cause) => Err(RowError::new(Place { file: path, line }, &name, &cause, "a whole sample")),
        })?;
    }
    Ok(())
}

/// Field of a row that says that the epoch is an example of its own.
const SEPARATE: &str = "epoch_is_separate";

/// Whether a sample asks something else than the first of its id that was met.
fn is_separate(row: &Map<String, Value>, first_inputs: &mut HashMap<String, Digest>) -> bool {
    let (Some(id), Some(input)) = (row.get("id").and_then(scalar_text), row.get("input")) else { return false };
    let input = Digest::of(canonical_json(input).as_bytes());
    first_inputs.entry(id).or_insert_with(|| input.clone()) != &input
}

/// What is wanted of a sample: nothing that is only about how it was run.
fn row_of(sample: &InspectSample) -> Map<String, Value> {
    let wanted = [
        "id",
        "epoch",
        "input",
        "target",
        "choices",
        "output",
        "scores",
        "score",
        "messages",
        "model_usage",
        "total_time",
        "error",
        "limit",
    ];
    let mut row: Map<String, Value> =
        wanted.iter().filter_map(|name| Some(((*name).to_owned(), sample.field(name)?))).collect();
    // A solver may change the metadata as it works; what the dataset said stands in the first event.
    let events = sample.fields.get("events").and_then(Value::as_array);
    let init = events.into_iter().flatten().find(|event| event["event"] == "sample_init");
    let metadata = match init {
        Some(event) => event.pointer("/sample/metadata").map(|metadata| sample.resolved(metadata)),
        None => sample.field("metadata"),
    };
    row.extend(metadata.map(|metadata| ("metadata".to_owned(), metadata)));
    row
}

fn examples(mut row: Value, place: Place<'_>) -> Result<Vec<Example>, RowError> {
    let id = shape::need(&mut row, &["id"], place, "the sample's id")?;
    let mut id = scalar_text(&id).ok_or_else(|| RowError::new(place, "id", &shown(&id), "text or a number"))?;
    let input = shape::need(&mut row, &["input"], place, "the sample's input")?;
    let task = shape::take_text(&mut row, &["task"]);
    if let Some(task) = &task {
        id = format!("{task}/{id}");
    }
    if shape::take(&mut row, &[SEPARATE]) == Some(Value::Bool(true)) {
        let epoch = shape::take(&mut row, &["epoch"]).and_then(|epoch| scalar_text(&epoch)).unwrap_or_default();
        id = format!("{id}#{epoch}");
    }
    let mut example = Example::new(ExampleId::new(id), messages(input));
    example.dimensions.extend(task.map(|task| ("task".to_owned(), task)));
    example.reference = shape::take(&mut row, &["target"]).filter(|target| !shape::is_nothing(target));
    example.metadata.extend(shape::take(&mut row, &["choices"]).map(|choices| ("choices".to_owned(), choices)));
    if let Some(Value::Object(metadata)) = shape::take(&mut row, &["metadata"]) {
        example.metadata.extend(metadata);
    }
    let recorded = recorded(&mut row, &example, place)?;
    example.recorded.push(recorded);
    Ok(vec![example])
}

fn recorded(row: &mut Value, example: &Example, place: Place<'_>) -> Result<Recorded, RowError> {
    let epoch = shape::take(row, &["epoch"]).and_then(|epoch| epoch.as_u64()).unwrap_or(1);
    let trial = u32::try_from(epoch.saturating_sub(1)).unwrap_or(u32::MAX);
    let variant = shape::take_text(row, &["variant"]);
    let mut output = Output {
        usage: model_usage(row.get("model_usage")),
        latency_ms: row.get("total_time").and_then(Value::as_f64).filter(|s| *s >= 0.0).map(|s| s * 1000.0),
        ..Output::default()
    };
    if let Some(said) = row.get("output") {
        output.value = completion(said);
        let stop = said.pointer("/choices/0/stop_reason").filter(|reason| !reason.is_null()).cloned();
        output.metadata.extend(stop.map(|reason| ("stop_reason".to_owned(), reason)));
    }
    for name in ["error", "limit"] {
        output.metadata.extend(shape::take(row, &[name]).map(|value| (name.to_owned(), value)));
    }
    scores(row, &mut output);
    let dialogue = row.get("messages").cloned().map(messages).filter(|messages| !shape::is_nothing(messages));
    if let Some(dialogue) = dialogue {
        shape::with_dialogue(&mut output, &dialogue, example, (variant.as_deref(), trial), "messages", place)?;
    }
    Ok(Recorded { variant, trial, output })
}

fn model_usage(said: Option<&Value>) -> Usage {
    let all = said.and_then(Value::as_object).into_iter().flatten();
    all.map(|(_, usage)| usage_of(usage)).fold(Usage::default(), |sum, usage| sum.plus(&usage))
}

/// The text of an output; logs before 2025 do not repeat it beside the choices.
fn completion(output: &Value) -> Value {
    if let Some(text) = output.get("completion").and_then(Value::as_str).filter(|text| !text.is_empty()) {
        return Value::String(text.to_owned());
    }
    match output.pointer("/choices/0/message/content") {
        Some(Value::String(text)) => Value::String(text.clone()),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
            Value::String(texts.join("\n"))
        }
        _ => Value::Null,
    }
}

fn scores(row: &mut Value, output: &mut Output) {
    let scores =
        match shape::take(row, &["scores"]).or_else(|| shape::take(row, &["score"]).map(|s| json!({"score": s}))) {
            Some(Value::Object(scores)) => scores,
            _ => return,
        };
    for (name, score) in scores {
        match score.get("value") {
            Some(Value::Object(parts)) => {
                let parts = parts.iter().map(|(part, value)| (format!("{name}.{part}"), number_of(value)));
                output.metadata.extend(parts);
            }
            Some(value) => drop(output.metadata.insert(name.clone(), number_of(value))),
            None => {}
        }
        for key in ["answer", "explanation"] {
            let said = score.get(key).filter(|value| !shape::is_nothing(value)).cloned();
            output.metadata.extend(said.map(|value| (format!("{name}.{key}"), value)));
        }
    }
}

fn number_of(value: &Value) -> Value {
    match value.as_str() {
        Some("C") => json!(1.0),
        Some("P") => json!(0.5),
        Some("I" | "N") => json!(0.0),
        _ => value.clone(),
    }
}

/// Messages in OpenAI's chat format: Inspect names the function of a call beside its arguments, and says an error of
/// a tool apart from its content. Anything that is not a list of messages stays as it is.
fn messages(value: Value) -> Value {
    let Value::Array(items) = value else { return value };
    items.into_iter().map(message).collect()
}

fn message(item: Value) -> Value {
    let Some(said) = item.as_object().filter(|map| map.contains_key("role")) else { return item };
    let mut map: Map<String, Value> =
        said.iter().filter(|(key, _)| matches!(key.as_str(), "role" | "content" | "tool_call_id")).map(pair).collect();
    if let Some(calls) = said.get("tool_calls").and_then(Value::as_array).filter(|calls| !calls.is_empty()) {
        let call = |call: &Value| {
            json!({"id": call["id"], "type": "function",
                "function": {"name": call["function"], "arguments": call["arguments"]}})
        };
        map.insert("tool_calls".to_owned(), calls.iter().map(call).collect());
    }
    if let Some(error) = said.get("error").filter(|error| !error.is_null())
        && map.get("content").is_none_or(shape::is_nothing)
    {
        let message = error.get("message").and_then(Value::as_str).unwrap_or("the tool failed");
        map.insert("content".to_owned(), Value::String(message.to_owned()));
    }
    Value::Object(map)
}

fn pair((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}
