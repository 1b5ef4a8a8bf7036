//! Spans of Datadog's LLM Observability: rows of its export interface, and the events its SDK sends.
//!
//! The interface gives the fields of `meta` at the top and times in milliseconds; the SDK's events have `meta` and
//! nanoseconds. A root's parent is the word `undefined`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::{ScoreOrigin, SpanKind, SpanStatus};

use super::admit::Gate;
use super::bodies::{put_input, put_output};
use super::error::{IngestError, Problem};
use super::json::{is_empty, need_text, number, take, take_object, take_text, take_words, words};
use super::open::{Head, Opened};
use super::platform::{Cache, Found, Ids, count_tokens, each_span, need_moment, score_of, state_cost, take_row};
use super::raw::RawSpan;
use super::shape::Shape;
use super::times::{self, Unit};
use super::{SourceInfo, rows};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "datadog",
    summary: "Datadog LLM Observability spans: rows of the export API, events of the SDK",
    recognise,
    read,
    row: Some(row),
};

const LISTS: &[&str] = &["data", "spans"];
const DEEP: &[&str] = &["data.attributes", "attributes", "spans", "data", "data.attributes.spans"];
/// Roots are said to stand below this.
const NO_PARENT: &[&str] = &["undefined", "0", ""];

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    let marks = [["start_ns", "meta"], ["start_ms", "ml_app"], ["start_ms", "span_kind"], ["start_ns", "ml_app"]];
    let [time, mark] = marks.iter().find(|pair| {
        let [time, mark] = **pair;
        shape.rows_have(DEEP, &["trace_id", "span_id", time, mark])
    })?;
    Some(format!("JSON rows with `{time}` and `{mark}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each_in(opened, gate, LISTS, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    take_row(value, line, gate, unwrap)
}

/// An answer of the interface wraps each span in `attributes`; what an SDK sends wraps a list of them, with what they
/// have in common beside it.
fn unwrap(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    if map.contains_key("span_id") {
        return span(map, found);
    }
    for key in ["data", "attributes"] {
        if let Some(Value::Object(inner)) = map.get_mut(key) {
            let inner = std::mem::take(inner);
            return unwrap(inner, found);
        }
    }
    if !map.get("spans").is_some_and(Value::is_array) {
        return span(map, found);
    }
    each_span(&mut map, &["ml_app", "session_id", "tags"], found, span)
}

fn span(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    let mut meta = take_object(&mut map, &["meta"])?;
    for key in ["input", "output", "metadata", "model_name", "model_provider", "span_kind", "error"] {
        if let Some(value) = take(&mut map, &[key]) {
            meta.entry(key).or_insert(value);
        }
    }
    let tags = tags(map.remove("tags"));
    let mut raw = begin(&mut map, &mut meta, &tags)?;
    describe_span(&mut raw, &mut map, tags);
    outcome(&mut raw, &mut map, &mut meta)?;
    let tagged = raw.attributes.remove("tags.session_id").as_ref().and_then(words);
    raw.set("session.id", take_words(&mut map, &["session_id"]).or(tagged));
    raw.set("gen_ai.request.model", take_words(&mut meta, &["model_name"]));
    raw.set("gen_ai.provider.name", take_words(&mut meta, &["model_provider"]));
    let mut metrics = take_object(&mut map, &["metrics"])?;
    count_tokens(&mut raw, &metrics, Cache::Inside);
    let cost = take(&mut metrics, &["total_cost", "estimated_total_cost"]);
    state_cost(&mut raw, cost.as_ref());
    metrics.retain(|key, _| !key.contains("tokens"));
    raw.keep_below("metrics", Some(Value::Object(metrics)));
    let dropped = map.get("collection_errors").is_some_and(|errors| errors.to_string().contains("dropped_io"));
    for side in ["input", "output"] {
        let said = side_of(take(&mut meta, &[side]));
        if dropped && said.is_some() {
            raw.shortened_before(side);
        } else if side == "input" {
            put_input(&mut raw, said);
        } else {
            put_output(&mut raw, said);
        }
    }
    for (name, said) in take_object(&mut map, &["evaluation"])? {
        evaluation(&raw, name, said, found);
    }
    raw.keep_below("metadata", meta.remove("metadata"));
    raw.keep_below("datadog", Some(Value::Object(meta)));
    raw.keep_below("datadog", Some(Value::Object(map)));
    found.spans.push(raw);
    Ok(())
}

fn begin(
    map: &mut Map<String, Value>,
    meta: &mut Map<String, Value>,
    tags: &Map<String, Value>,
) -> Result<RawSpan, Problem> {
    let trace = need_text(map, &["trace_id"], "the id of the trace")?;
    let id = need_text(map, &["span_id"], "the id of the span")?;
    let parent = take_text(map, &["parent_id"])?.filter(|parent| !NO_PARENT.contains(&parent.trim()));
    let start = match take(map, &["start_ns"]) {
        Some(nanos) => times::read(Some(&nanos), "start_ns", Unit::Nanos)?
            .ok_or_else(|| Problem::new("`start_ns`", "zero", "nanoseconds since 1970"))?,
        None => need_moment(map, &["start_ms", "start"])?,
    };
    // The interface gives both in the unit of the start: nanoseconds.
    let nanos = take(map, &["duration"]).as_ref().and_then(number).filter(|nanos| (0.0..9e18).contains(nanos));
    let project = take_words(map, &["ml_app"]).or_else(|| tags.get("ml_app").and_then(words));
    let ids = Ids { platform: "datadog", trace: &trace, span: &id, parent: parent.as_deref(), project };
    let kind = take(meta, &["span.kind", "kind", "span_kind"]);
    let kind = kind.or_else(|| take(&mut take_object(meta, &["span"]).ok()?, &["kind"])).as_ref().and_then(words);
    let name = take_text(map, &["name"])?.or_else(|| kind.clone()).unwrap_or_default();
    let mut raw = ids.begin(name, start);
    raw.end_ns = nanos.and_then(|nanos| start.checked_add(nanos as i64));
    raw.kind = match kind.as_deref() {
        Some("llm") => Some(SpanKind::Model),
        Some("agent") => Some(SpanKind::Agent),
        Some("tool") => Some(SpanKind::Tool),
        Some("embedding" | "retrieval") => Some(SpanKind::Retrieval),
        Some("workflow" | "task") => Some(SpanKind::Step),
        _ => None,
    };
    if raw.kind == Some(SpanKind::Agent) {
        raw.set("gen_ai.agent.name", Some(raw.name.clone()));
    }
    Ok(raw)
}

/// Tags are `key:value`; the first of a key counts.
fn tags(value: Option<Value>) -> Map<String, Value> {
    let mut tags = Map::new();
    for tag in value.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        let (key, value) = tag.split_once(':').unwrap_or((tag, "true"));
        tags.entry(key).or_insert_with(|| Value::from(value));
    }
    tags
}

fn describe_span(raw: &mut RawSpan, map: &mut Map<String, Value>, mut tags: Map<String, Value>) {
    if let Some(service) = take(map, &["service"]) {
        tags.insert("service".to_owned(), service);
    }
    for (tag, place) in
        [("service", "service.name"), ("version", "service.version"), ("env", "deployment.environment.name")]
    {
        if let Some(value) = tags.remove(tag).filter(|value| !is_empty(value)) {
            Arc::make_mut(&mut raw.resource).insert(place.to_owned(), value);
        }
    }
    tags.remove("ml_app");
    for key in ["user_id", "usr.id"] {
        raw.set("user.id", tags.remove(key));
    }
    raw.keep_below("tags", Some(Value::Object(tags)));
}

fn outcome(raw: &mut RawSpan, map: &mut Map<String, Value>, meta: &mut Map<String, Value>) -> Result<(), Problem> {
    let mut error = match take(meta, &["error"]) {
        Some(Value::Object(error)) => error,
        _ => Map::new(),
    };
    let mut said = |key: &str| take_words(meta, &[&format!("error.{key}")]).or_else(|| take_words(&mut error, &[key]));
    let (kind, message, stack) = (said("type"), said("message"), said("stack"));
    let message = take_words(map, &["status_message"]).or(message);
    match take_text(map, &["status"])?.as_deref() {
        Some("ok") => raw.status = SpanStatus::Ok,
        Some("error") => raw.fail(message),
        _ => {}
    }
    raw.set("error.type", kind);
    raw.set("exception.stacktrace", stack);
    Ok(())
}

/// Evaluations come by name; whether one passed stands beside its value.
fn evaluation(raw: &RawSpan, name: String, said: Value, found: &mut Found) {
    let Value::Object(mut said) = said else { return found.ignore("evaluations that are no objects", 1) };
    let value = take(&mut said, &["value"]).unwrap_or_default();
    let mut score = score_of(raw, name, &value);
    score.label = score.label.or_else(|| take_words(&mut said, &["assessment"]));
    score.comment = take_words(&mut said, &["reasoning"]);
    score.origin = ScoreOrigin::Evaluator;
    found.scores.push(score);
}

/// Messages, documents, or a value, whichever there is; other fields of the side stay with it.
fn side_of(side: Option<Value>) -> Option<Value> {
    let Value::Object(mut side) = side? else { return None };
    if let Some(Value::Array(messages)) = side.get_mut("messages") {
        messages.iter_mut().for_each(message);
        return Some(Value::Object(side));
    }
    let only = |side: &mut Map<String, Value>, key: &str| side.remove(key).filter(|value| !is_empty(value));
    only(&mut side, "value").or_else(|| only(&mut side, "documents")).or_else(|| {
        let rest = Value::Object(side);
        (!is_empty(&rest)).then_some(rest)
    })
}

/// Datadog calls the id of a tool's call `tool_id`, and puts results beside the content.
fn message(message: &mut Value) {
    let Value::Object(map) = message else { return };
    if let Some(Value::Array(calls)) = map.get_mut("tool_calls") {
        for call in calls.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(id) = call.remove("tool_id") {
                call.entry("id").or_insert(id);
            }
        }
    }
    let Some(Value::Array(results)) = map.remove("tool_results") else { return };
    let mut parts: Vec<Value> = Vec::new();
    if let Some(content) = map.remove("content").as_ref().and_then(words) {
        parts.push(json!({"type": "text", "text": content}));
    }
    parts.extend(results.iter().map(|result| {
        let id = result.get("tool_id").or_else(|| result.get("id"));
        json!({"type": "tool_result", "id": id, "result": result.get("result").or_else(|| result.get("content"))})
    }));
    map.insert("content".to_owned(), Value::Array(parts));
}
