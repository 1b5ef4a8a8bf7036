//! Langfuse in every shape it exports: the JSON of one trace, pages of its interfaces (lists below `data`), and the
//! rows of blob-storage exports, in the current model (observations that know their trace) and in the older one
//! (traces and observations apart).
//!
//! Here a file is recognised, a row told by its fields, and what is known of a trace as a whole given to its spans.
//! What the fields of a row mean is in `langfuse_rows`.
//!
//! Older rows without a parent hang below a step that stands for the trace itself: it has an id that follows from the
//! trace's, so rows of `traces/` and of `observations/` meet in any order and from any file.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::json::describe;
use super::langfuse_rows::{self as rows_of, Fields, PLATFORM, Whole};
use super::open::{Head, Opened};
use super::raw::RawSpan;
use super::{SourceInfo, ids, rows};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "langfuse",
    summary: "Langfuse: traces, observations and scores as JSON, from its interfaces, its pages or blob storage",
    recognise,
    read,
    row: Some(row),
};

/// Fields that only Langfuse writes, and one that must stand beside them.
const SIGNS: &[(&str, &str)] = &[
    ("parentObservationId", "traceId"),
    ("parent_observation_id", "trace_id"),
    ("isRootObservation", "traceId"),
    ("usageDetails", "traceId"),
    ("usage_details", "trace_id"),
    ("observationId", "dataType"),
    ("observation_id", "data_type"),
    ("htmlPath", "timestamp"),
    ("bookmarked", "timestamp"),
];

fn recognise(head: &Head<'_>) -> Option<String> {
    if !matches!(head.trimmed().first(), Some(b'{' | b'[')) {
        return None;
    }
    let has = |key: &str| head.contains(&format!("\"{key}\""));
    if has("resourceSpans") || has("resourceLogs") {
        return None;
    }
    let (sign, beside) = SIGNS.iter().find(|(sign, beside)| has(sign) && has(beside))?;
    Some(format!("JSON with `{sign}` and `{beside}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each(opened, gate, row)
}

/// Reads one record: a page, a trace with what belongs to it, an observation, or a score.
fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let Value::Object(mut map) = value else {
        let problem = unknown(describe(&value));
        return gate.reject(problem, line, value.to_string().as_bytes());
    };
    if let Some(Value::Array(items)) = map.get_mut("data").map(Value::take) {
        return items.into_iter().try_for_each(|item| row(item, line, gate));
    }
    // Pages of scores hold a `trace` too, without observations.
    if map.contains_key("observations")
        && let Some(Value::Object(trace)) = map.get_mut("trace").map(Value::take)
    {
        return trace_download(map, trace, line, gate);
    }
    match shape(&map) {
        Some(Shape::Observation) => observation(map, line, gate),
        Some(Shape::Score) => score(map, line, gate),
        Some(Shape::Trace) => {
            let observations = list(&mut map, "observations");
            trace(map, observations, line, gate)
        }
        Some(Shape::Session) => {
            gate.ignore("sessions", 1);
            Ok(())
        }
        None => {
            let value = Value::Object(map);
            gate.reject(unknown(describe(&value)), line, value.to_string().as_bytes())
        }
    }
}

fn unknown(found: String) -> Problem {
    Problem::new("record", found, "a trace, an observation or a score of Langfuse, or a page of them below `data`")
}

enum Shape {
    Observation,
    Score,
    Trace,
    Session,
}

fn shape(map: &Map<String, Value>) -> Option<Shape> {
    let has = |keys: &[&str]| keys.iter().any(|key| map.contains_key(*key));
    let of_trace = has(&["traceId", "trace_id"]);
    if of_trace && has(&["startTime", "start_time"]) {
        Some(Shape::Observation)
    } else if has(&["dataType", "data_type", "stringValue", "string_value"])
        || map.contains_key("value") && has(&["source", "traceId", "trace_id"])
    {
        Some(Shape::Score)
    } else if has(&["id"]) && has(&["timestamp"]) {
        Some(Shape::Trace)
    } else if has(&["id"]) && has(&["createdAt", "created_at"]) && has(&["traces", "projectId", "project_id"]) {
        Some(Shape::Session)
    } else {
        None
    }
}

/// Takes a list of objects; lists of ids, as list pages hold them, give nothing.
fn list(map: &mut Map<String, Value>, key: &str) -> Vec<Map<String, Value>> {
    let items = match map.remove(key).map(super::json::structured) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let object = |item| if let Value::Object(map) = item { Some(map) } else { None };
    items.into_iter().filter_map(object).collect()
}

/// The page of one trace, as its "download" button writes it: content stands in the outer list only.
fn trace_download(
    mut map: Map<String, Value>,
    mut inner: Map<String, Value>,
    line: Option<u64>,
    gate: &mut Gate<'_>,
) -> Result<(), IngestError> {
    let without_content = list(&mut inner, "observations");
    let observations = list(&mut map, "observations");
    for given in list(&mut map, "scores") {
        score(given, line, gate)?;
    }
    trace(inner, if observations.is_empty() { without_content } else { observations }, line, gate)
}

fn observation(map: Map<String, Value>, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    // Rows of the older model say nothing about their trace; the row of the trace does, elsewhere.
    let own = ["isRootObservation", "is_root_observation", "traceName", "trace_name", "userId", "user_id", "sessionId"];
    let older = !own.iter().chain(&["session_id", "tags", "release"]).any(|key| map.contains_key(*key));
    let excerpt = rows_of::excerpt(&map);
    match rows_of::observation(Fields::new(map)) {
        Ok(mut raw) => {
            if older && raw.parent_id.is_none() {
                raw.parent_id = raw.native.as_ref().map(|native| trace_span(&native.trace));
            }
            gate.admit(raw, line)
        }
        Err(problem) => gate.reject(problem, line, excerpt.as_bytes()),
    }
}

fn score(map: Map<String, Value>, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let excerpt = rows_of::excerpt(&map);
    match rows_of::score(Fields::new(map)) {
        Ok(Some(score)) => gate.admit_score(score, line),
        Ok(None) => {
            gate.ignore("scores of experiments", 1);
            Ok(())
        }
        Err(problem) => gate.reject(problem, line, excerpt.as_bytes()),
    }
}

/// The id of the step that stands for a trace.
fn trace_span(trace: &str) -> String {
    ids::native_span(PLATFORM, trace, trace)
}

/// A trace with its observations, where they are there.
fn trace(
    mut map: Map<String, Value>,
    observations: Vec<Map<String, Value>>,
    line: Option<u64>,
    gate: &mut Gate<'_>,
) -> Result<(), IngestError> {
    for given in list(&mut map, "scores") {
        score(given, line, gate)?;
    }
    let excerpt = rows_of::excerpt(&map);
    let whole = match rows_of::whole(Fields::new(map)) {
        Ok(whole) => whole,
        Err(problem) => {
            gate.reject(problem, line, excerpt.as_bytes())?;
            // The observations are still good; they go in as rows of their own.
            return observations.into_iter().try_for_each(|row| observation(row, line, gate));
        }
    };
    let mut spans = Vec::with_capacity(observations.len());
    for row in observations {
        let excerpt = rows_of::excerpt(&row);
        match rows_of::observation(Fields::new(row)) {
            Ok(raw) => spans.push(raw),
            Err(problem) => gate.reject(problem, line, excerpt.as_bytes())?,
        }
    }
    for raw in with_root(whole, spans) {
        gate.admit(raw, line)?;
    }
    Ok(())
}

/// Gives the spans what the trace knows. One span at the top takes the trace's content too; else a step is made that
/// stands for the trace, since its input and output would have no place.
fn with_root(whole: Whole, mut spans: Vec<RawSpan>) -> Vec<RawSpan> {
    for span in &mut spans {
        whole.share(span);
    }
    let known: HashSet<String> = spans.iter().map(|span| span.span_id.clone()).collect();
    let at_top = |span: &RawSpan| span.parent_id.as_ref().is_none_or(|parent| !known.contains(parent));
    let tops = spans.iter().filter(|span| at_top(span)).count();
    if tops == 1 {
        if let Some(root) = spans.iter_mut().find(|span| at_top(span)) {
            whole.fill(root);
        }
        return spans;
    }
    let id = trace_span(whole.native_trace());
    for span in spans.iter_mut().filter(|span| span.parent_id.is_none()) {
        span.parent_id = Some(id.clone());
    }
    let step = whole.step(id, &spans);
    spans.insert(0, step);
    spans
}
