//! Traces of MLflow: `Trace.to_json()` and the answers of its tracking server, version 2 and 3.
//!
//! Ids are base64 or hexadecimal, and every attribute is JSON in a text. A trace without its spans, as a search gives
//! it, has only its assessments to tell.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::{Native, ScoreOrigin, SpanId, TraceId};

use super::admit::Gate;
use super::bodies::{put_input, put_output};
use super::error::{IngestError, Problem};
use super::ids::{self, IdError};
use super::json::{at, describe, need_text, structured, take, take_list, take_object, take_words, words};
use super::open::{Head, Opened};
use super::platform::{Cache, Found, count_tokens, score, state_cost, take_row};
use super::raw::RawSpan;
use super::shape::Shape;
use super::times::{self, Unit};
use super::{SourceInfo, rows, span_json};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "mlflow",
    summary: "MLflow traces: Trace.to_json, answers of the tracking server",
    recognise,
    read,
    row: Some(row),
};

const LISTS: &[&str] = &["traces"];
const INFO: &[&str] = &["info", "trace_info"];

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    for info in INFO {
        let field = |name: &str| format!("{info}.{name}");
        let ids = ["trace_id", "request_id"].map(field);
        let about = ["trace_metadata", "trace_location", "experiment_id", "request_metadata"].map(field);
        let beside = about.into_iter().chain(["data.spans".to_owned(), "spans".to_owned()]);
        for mark in beside {
            if let Some(id) = ids.iter().find(|id| shape.rows_have(LISTS, &[*id, &mark])) {
                return Some(format!("JSON with `{id}` and `{mark}`"));
            }
        }
    }
    let infos = [["trace_id", "trace_location"], ["trace_id", "request_time"], ["request_id", "request_metadata"]];
    let [id, beside] = infos.iter().find(|pair| shape.rows_have(LISTS, *pair))?;
    Some(format!("JSON rows with `{id}` and `{beside}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each_in(opened, gate, LISTS, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    take_row(value, line, gate, trace)
}

fn trace(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    let mut info = match take(&mut map, INFO) {
        Some(Value::Object(info)) => info,
        Some(other) => return Err(Problem::new("`info`", describe(&other), "an object")),
        None => std::mem::take(&mut map),
    };
    let id = need_text(&mut info, &["trace_id", "request_id"], "the id of the trace")?;
    let project = ["trace_location.mlflow_experiment.experiment_id", "experiment_id"];
    let project = project.iter().find_map(|path| at(&info, path)).and_then(words);
    let native = Native { platform: "mlflow".to_owned(), trace: id, span: None, project };
    let data = match take(&mut map, &["data"]).map(structured) {
        Some(Value::Object(mut data)) => take(&mut data, &["spans"]),
        _ => take(&mut map, &["spans"]),
    };
    for assessment in take_list(&mut info, &["assessments"])? {
        assess(&native, assessment, found);
    }
    let spans = match data {
        Some(Value::Array(spans)) => spans,
        Some(other) => return Err(Problem::new("`data.spans`", describe(&other), "a list")),
        None => {
            found.ignore("traces of which only the summary is there, not the spans", 1);
            return Ok(());
        }
    };
    let about = About {
        metadata: pairs(take(&mut info, &["trace_metadata", "request_metadata"])),
        tags: pairs(info.remove("tags")),
        native,
    };
    for span in spans {
        found.push(about.span(span));
    }
    Ok(())
}

/// What is said of the trace.
struct About {
    metadata: Map<String, Value>,
    tags: Map<String, Value>,
    native: Native,
}

impl About {
    fn span(&self, span: Value) -> Result<RawSpan, Problem> {
        let Value::Object(mut span) = span else {
            return Err(Problem::new("`data.spans[]`", describe(&span), "an object"));
        };
        // The id of the trace is told once, above; a span of version 2 does not repeat it in a form of its own.
        span.insert("traceId".to_owned(), Value::from(trace_id(&self.native)));
        lift_context(&mut span);
        let mut raw = span_json::read(span, &Arc::default()).map_err(|error| match error {
            IdError::Wrong(problem) => problem,
            IdError::Rounded => Problem::new("`span_id`", "a number too long for JSON", "base64 or hexadecimal digits"),
        })?;
        raw.native = Some(Native { span: Some(raw.span_id.clone()), ..self.native.clone() });
        for value in raw.attributes.values_mut() {
            decode(value);
        }
        self.fill(&mut raw);
        Ok(raw)
    }

    fn fill(&self, raw: &mut RawSpan) {
        for key in ["mlflow.trace.session", "mlflow.trace.user"] {
            raw.set(key, self.metadata.get(key).and_then(words));
        }
        if let Some(Value::Object(usage)) = raw.attributes.remove("mlflow.chat.tokenUsage") {
            count_tokens(raw, &usage, Cache::Unsaid);
        }
        if let Some(Value::Object(cost)) = raw.attributes.remove("mlflow.llm.cost") {
            state_cost(raw, cost.get("total_cost"));
        }
        let (input, output) = (raw.attributes.remove("mlflow.spanInputs"), raw.attributes.remove("mlflow.spanOutputs"));
        put_input(raw, input);
        put_output(raw, output);
        raw.attributes.remove("mlflow.traceRequestId");
        if raw.parent_id.is_some() {
            return;
        }
        for (prefix, map) in [("metadata", &self.metadata), ("tags", &self.tags)] {
            let own = map.iter().filter(|(key, _)| !key.starts_with("mlflow."));
            let own = own.map(|(key, value)| (key.clone(), value.clone())).collect();
            raw.keep_below(prefix, Some(Value::Object(own)));
        }
    }
}

/// `tr-` and the digits, where MLflow made the id.
fn trace_id(native: &Native) -> String {
    ids::native_trace("mlflow", native.trace.strip_prefix("tr-").unwrap_or(&native.trace))
}

/// Version 2 keeps the ids of a span in `context`.
fn lift_context(span: &mut Map<String, Value>) {
    span.remove("trace_id");
    if let Some(Value::Object(mut context)) = span.remove("context")
        && let Some(id) = context.remove("span_id")
    {
        span.insert("spanId".to_owned(), id);
    }
}

/// Attributes are JSON in a text; a text that is none is itself.
fn decode(value: &mut Value) {
    if let Some(inner) = value.as_str().and_then(|text| serde_json::from_str(text).ok()) {
        *value = inner;
    }
}

/// A map, or the list of `{key, value}` it was before version 3.
fn pairs(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map,
        Some(Value::Array(items)) => items
            .into_iter()
            .filter_map(|mut item| Some((words(item.get("key")?)?, item.get_mut("value")?.take())))
            .collect(),
        _ => Map::new(),
    }
}

/// Takes the score an assessment holds. What was expected instead is no score.
fn assess(native: &Native, assessment: Value, found: &mut Found) {
    let Value::Object(mut said) = assessment else { return found.ignore("assessments that are no objects", 1) };
    if said.get("valid").and_then(Value::as_bool) == Some(false) {
        return found.ignore("assessments that were replaced", 1);
    }
    let Ok(feedback) = take_object(&mut said, &["feedback"]) else {
        return found.ignore("assessments of no known form", 1);
    };
    let Some(name) = take_words(&mut said, &["assessment_name", "name"]).filter(|_| !feedback.is_empty()) else {
        return found.ignore("assessments that are no scores", 1);
    };
    let value = feedback.get("value").cloned().map(structured).unwrap_or_default();
    let mut score = score(Some(native.clone()), name, &value);
    score.trace_id = Some(TraceId::new(trace_id(native)));
    score.span_id = ids::read(said.get("span_id"), "span_id", 8, true).ok().flatten().map(SpanId::new);
    score.comment = take_words(&mut said, &["rationale"]);
    let source = take_object(&mut said, &["source"]).unwrap_or_default();
    score.author = source.get("source_id").and_then(words);
    score.origin = match source.get("source_type").and_then(Value::as_str) {
        Some("HUMAN") => ScoreOrigin::Annotator,
        Some("LLM_JUDGE" | "AI_JUDGE" | "CODE") => ScoreOrigin::Evaluator,
        _ => ScoreOrigin::Unknown,
    };
    let at = take(&mut said, &["last_update_time", "create_time", "last_update_time_ms", "create_time_ms"]);
    score.at_ns = times::read(at.as_ref(), "create_time", Unit::Unsaid).ok().flatten();
    found.scores.push(score);
}
