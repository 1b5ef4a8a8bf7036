//! One span object in JSON, as OTLP or as one of the SDKs dumps it.
//!
//! Spellings accepted: OTLP's lowerCamelCase and its snake_case; the Python SDK's `context`, `parent_id`,
//! `start_time`; the JavaScript SDK's `spanContext`, `[seconds, nanoseconds]`; Phoenix' `span_kind`, `status_code`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::SpanStatus;

use super::dialect::flatten;
use super::error::Problem;
use super::ids::{self, IdError};
use super::json::{describe, take, take_list, take_object, take_text};
use super::otlp_values::attributes;
use super::raw::{Attributes, Event, RawSpan};
use super::times::{self, Unit};

const TRACE_ID: &[&str] = &["traceId", "trace_id"];
const SPAN_ID: &[&str] = &["spanId", "span_id"];
const PARENT_ID: &[&str] = &["parentSpanId", "parent_span_id", "parentId", "parent_id"];
const CONTEXT: &[&str] = &["context", "spanContext", "span_context"];
const PARENT: &[&str] = &["parent", "parentSpanContext", "parent_span_context"];

/// Whether an object looks like a span: it names its trace and itself.
pub(crate) fn is_span(map: &Map<String, Value>) -> bool {
    let has = |map: &Map<String, Value>| {
        TRACE_ID.iter().any(|key| map.contains_key(*key)) && SPAN_ID.iter().any(|key| map.contains_key(*key))
    };
    has(map) || CONTEXT.iter().any(|key| map.get(*key).and_then(Value::as_object).is_some_and(has))
}

/// Reads one span. `envelope` is the resource that the envelope states, if there is one.
pub(crate) fn read(mut map: Map<String, Value>, envelope: &Arc<Attributes>) -> Result<RawSpan, IdError> {
    let said = take(&mut map, &["attributes"]);
    let own = attributes(said, "attributes").map_err(IdError::Wrong)?;
    let (trace_id, span_id, parent_id) = identity(&mut map)?;
    let resource = Arc::clone(envelope);
    let mut raw = RawSpan { trace_id, span_id, parent_id, resource, ..RawSpan::default() };
    raw.attributes = flatten(own);
    body(&mut map, &mut raw).map_err(IdError::Wrong)?;
    Ok(raw)
}

/// Takes `(trace_id, span_id)` out of a log record, where it has them.
pub(crate) fn log_identity(map: &mut Map<String, Value>) -> Result<(Option<String>, Option<String>), IdError> {
    let trace = ids::read(take(map, TRACE_ID).as_ref(), "traceId", 16, true)?;
    let span = ids::read(take(map, SPAN_ID).as_ref(), "spanId", 8, true)?;
    Ok((trace, span))
}

fn identity(map: &mut Map<String, Value>) -> Result<(String, String, Option<String>), IdError> {
    let mut context = take_object(map, CONTEXT).map_err(IdError::Wrong)?;
    let trace = take(map, TRACE_ID).or_else(|| take(&mut context, TRACE_ID));
    let span = take(map, SPAN_ID).or_else(|| take(&mut context, SPAN_ID));
    let parent = match take(map, PARENT_ID) {
        Some(parent) => Some(parent),
        None => match take(map, PARENT) {
            Some(Value::Object(mut parent)) => take(&mut parent, SPAN_ID),
            other => other,
        },
    };
    let missing = |field: &str, bytes: usize| {
        let expected = format!("{} hexadecimal digits, not all zero", bytes * 2);
        IdError::Wrong(Problem::new(format!("`{field}`"), "missing", expected))
    };
    let trace = ids::read(trace.as_ref(), "traceId", 16, false)?.ok_or_else(|| missing("traceId", 16))?;
    let span = ids::read(span.as_ref(), "spanId", 8, false)?.ok_or_else(|| missing("spanId", 8))?;
    let parent = ids::read(parent.as_ref(), "parentSpanId", 8, true)?;
    Ok((trace, span, parent))
}

fn body(map: &mut Map<String, Value>, raw: &mut RawSpan) -> Result<(), Problem> {
    raw.name = take_text(map, &["name"])?.unwrap_or_default();
    raw.start_ns = time(map, &["startTimeUnixNano", "start_time_unix_nano"], &["startTime", "start_time"])?
        .ok_or_else(|| Problem::new("`startTimeUnixNano`", "missing or zero", "nanoseconds since 1970"))?;
    raw.end_ns = time(map, &["endTimeUnixNano", "end_time_unix_nano"], &["endTime", "end_time"])?;
    match take(map, &["resource"]) {
        Some(Value::Object(mut resource)) => {
            let own = attributes(take(&mut resource, &["attributes", "_attributes"]), "resource.attributes")?;
            Arc::make_mut(&mut raw.resource).extend(own);
        }
        Some(Value::Null) | None => {}
        Some(other) => return Err(Problem::new("`resource`", describe(&other), "an object")),
    }
    status(map, raw)?;
    rest(map, raw)
}

/// Reads what few spans have: events, links, and what is kept as attributes.
pub(crate) fn rest(map: &mut Map<String, Value>, raw: &mut RawSpan) -> Result<(), Problem> {
    if map.is_empty() {
        return Ok(());
    }
    raw.events = take_list(map, &["events"])?.into_iter().map(event).collect::<Result<_, _>>()?;
    for link in take_list(map, &["links"])? {
        keep_link(raw, link);
    }
    // Phoenix keeps OpenInference's kind beside the attributes.
    if let Some(Value::String(kind)) = take(map, &["span_kind"]) {
        raw.keep("openinference.span.kind", Value::String(kind));
    }
    keep_kind(raw, take(map, &["kind"]).as_ref());
    let scope = take(map, &["instrumentationScope", "instrumentation_scope", "instrumentationLibrary", "scope"]);
    if let Some(Value::Object(scope)) = scope {
        keep_scope(raw, &scope);
    }
    if let Ok(Some(state)) = take_text(map, &["traceState", "trace_state"]) {
        raw.keep_trace_state(&state);
    }
    for (keys, name) in [
        (["droppedAttributesCount", "dropped_attributes_count"], "otel.dropped_attributes_count"),
        (["droppedEventsCount", "dropped_events_count"], "otel.dropped_events_count"),
        (["droppedLinksCount", "dropped_links_count"], "otel.dropped_links_count"),
    ] {
        raw.keep(name, take(map, &keys).into());
    }
    Ok(())
}

/// Keeps OpenTelemetry's kind, which is no kind of ours, as an attribute.
pub(crate) fn keep_kind(raw: &mut RawSpan, kind: Option<&Value>) {
    if let Some(kind) = kind.and_then(span_kind) {
        raw.keep("otel.span.kind", Value::from(kind));
    }
}

/// Keeps name and version of an instrumentation scope as attributes.
pub(crate) fn keep_scope(raw: &mut RawSpan, scope: &Map<String, Value>) {
    raw.keep("otel.scope.name", scope.get("name").cloned().into());
    raw.keep("otel.scope.version", scope.get("version").cloned().into());
}

fn keep_link(raw: &mut RawSpan, link: Value) {
    let entry = raw.attributes.entry("otel.links".to_owned()).or_insert_with(|| json!([]));
    if let (Value::Array(links), Value::Object(mut link)) = (entry, link) {
        let kept = link.remove("attributes").and_then(|value| attributes(Some(value), "").ok());
        if let Some(kept) = kept.filter(|kept| !kept.is_empty()) {
            link.insert("attributes".to_owned(), kept.into_iter().collect());
        }
        links.push(Value::Object(link));
    }
}

fn time(map: &mut Map<String, Value>, nanos: &[&str], other: &[&str]) -> Result<Option<i64>, Problem> {
    let said = |keys: &[&str]| keys.first().copied().unwrap_or_default().to_owned();
    if let Some(value) = take(map, nanos) {
        return times::read(Some(&value), &said(nanos), Unit::Nanos);
    }
    times::read(take(map, other).as_ref(), &said(other), Unit::Unsaid)
}

fn status(map: &mut Map<String, Value>, raw: &mut RawSpan) -> Result<(), Problem> {
    let (code, message) = match take(map, &["status"]) {
        Some(Value::Object(mut status)) => (
            take(&mut status, &["code", "status_code", "statusCode"]),
            take_text(&mut status, &["message", "description"])?,
        ),
        Some(code @ (Value::String(_) | Value::Number(_))) => (Some(code), None),
        Some(other) => {
            return Err(Problem::new("`status`", describe(&other), "`{\"code\": 0|1|2, \"message\": text}`"));
        }
        None => (None, None),
    };
    let code = code.or_else(|| take(map, &["status_code", "statusCode"]));
    raw.status = code.as_ref().map_or(SpanStatus::Unset, status_code);
    raw.status_message = match message {
        Some(message) => Some(message),
        None => take_text(map, &["status_message", "statusMessage"])?,
    }
    .filter(|message| !message.trim().is_empty());
    Ok(())
}

pub(crate) fn status_code(code: &Value) -> SpanStatus {
    let text = match code {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.to_ascii_uppercase(),
        _ => return SpanStatus::Unset,
    };
    // Python's enum prints as `StatusCode.OK`, proto's as `STATUS_CODE_OK`.
    match text.rsplit(['.', '_']).next().unwrap_or_default() {
        "1" | "OK" => SpanStatus::Ok,
        "2" | "ERROR" => SpanStatus::Error,
        _ => SpanStatus::Unset,
    }
}

fn span_kind(kind: &Value) -> Option<&'static str> {
    let text = match kind {
        Value::Number(number) => match number.as_u64() {
            Some(3) => return Some("client"),
            Some(1) => return Some("internal"),
            _ => number.to_string(),
        },
        Value::String(text) => text.to_ascii_uppercase(),
        _ => return None,
    };
    match text.rsplit(['.', '_']).next().unwrap_or_default() {
        "1" | "INTERNAL" => Some("internal"),
        "2" | "SERVER" => Some("server"),
        "3" | "CLIENT" => Some("client"),
        "4" | "PRODUCER" => Some("producer"),
        "5" | "CONSUMER" => Some("consumer"),
        _ => None,
    }
}

fn event(value: Value) -> Result<Event, Problem> {
    let Value::Object(mut map) = value else {
        return Err(Problem::new("`events[]`", describe(&value), "an object"));
    };
    let time_ns = time(&mut map, &["timeUnixNano", "time_unix_nano"], &["timestamp", "time"])?;
    let name = take_text(&mut map, &["name"])?.unwrap_or_default();
    Ok(Event {
        name,
        time_ns,
        attributes: attributes(take(&mut map, &["attributes"]), "events[].attributes")?,
        body: None,
    })
}
