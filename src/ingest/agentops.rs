//! Traces of AgentOps as its public interface gives them: a trace with its spans, or the details of one span.
//!
//! The attributes are OpenTelemetry and AgentOps' own, nested; `dialect` reads them once they are flat.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::SpanStatus;

use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::json::{is_empty, need_text, take_list, take_object, take_text, take_words, words};
use super::open::{Head, Opened};
use super::platform::{Found, Ids, after_ms, each_span, moment, need_moment, take_row};
use super::raw::{Attributes, Event};
use super::shape::Shape;
use super::{SourceInfo, rows};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "agentops",
    summary: "AgentOps traces and spans: answers of the public API",
    recognise,
    read,
    row: Some(row),
};

/// Nested attributes are flattened this deep.
const DEPTH: usize = 16;

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    if shape.has("trace_id") && shape.has("spans.span_id") && shape.has("spans.span_name") {
        return Some("JSON with `trace_id` and spans with `span_name`".to_owned());
    }
    let mark = ["span_name", "span_attributes"].into_iter().find(|mark| shape.rows_have(&[], &["span_id", mark]))?;
    Some(format!("JSON rows with `span_id` and `{mark}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each(opened, gate, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    take_row(value, line, gate, |mut map, found| {
        if !map.contains_key("spans") {
            return span(map, found);
        }
        each_span(&mut map, &["trace_id", "project_id", "tags"], found, span)
    })
}

fn span(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    let trace = need_text(&mut map, &["trace_id"], "the id of the trace")?;
    let id = need_text(&mut map, &["span_id"], "the id of the span")?;
    let parent = take_text(&mut map, &["parent_span_id", "parent_id"])?;
    let start = need_moment(&mut map, &["start_time"])?;
    let name = take_text(&mut map, &["span_name", "name"])?.unwrap_or_default();
    let project = take_words(&mut map, &["project_id"]);
    let ids = Ids { platform: "agentops", trace: &trace, span: &id, parent: parent.as_deref(), project };
    let mut raw = ids.begin(name, start);
    raw.end_ns = moment(&mut map, &["end_time"])?;
    let duration = map.remove("duration");
    raw.end_ns = raw.end_ns.or_else(|| after_ms(start, duration.as_ref()));
    let message = take_words(&mut map, &["status_message"]);
    match take_words(&mut map, &["status_code"]).unwrap_or_default().to_uppercase().as_str() {
        "ERROR" | "STATUS_CODE_ERROR" => raw.fail(message),
        "OK" | "STATUS_CODE_OK" => raw.status = SpanStatus::Ok,
        _ => {}
    }
    for key in ["attributes", "span_attributes"] {
        flatten("", Value::Object(take_object(&mut map, &[key])?), &mut raw.attributes, DEPTH);
    }
    flatten(
        "",
        Value::Object(take_object(&mut map, &["resource_attributes"])?),
        Arc::make_mut(&mut raw.resource),
        DEPTH,
    );
    for event in take_list(&mut map, &["events"])? {
        let Value::Object(mut event) = event else { continue };
        raw.events.push(Event {
            name: take_words(&mut event, &["name", "event_name"]).unwrap_or_default(),
            time_ns: moment(&mut event, &["timestamp", "time"]).ok().flatten(),
            attributes: take_object(&mut event, &["attributes"])?.into_iter().collect(),
            body: None,
        });
    }
    let kind = map.remove("span_kind").as_ref().and_then(words);
    raw.set("otel.span.kind", kind.map(|kind| kind.trim_start_matches("SPAN_KIND_").to_lowercase()));
    raw.set("tags", map.remove("tags"));
    raw.keep_below("agentops", Some(Value::Object(map)));
    found.spans.push(raw);
    Ok(())
}

/// Nested attributes to dotted keys, lists of objects by index, as the tracer wrote them.
fn flatten(key: &str, value: Value, flat: &mut Attributes, depth: usize) {
    let below = |inner: &str| if key.is_empty() { inner.to_owned() } else { format!("{key}.{inner}") };
    match value {
        Value::Object(map) if depth > 0 && (!map.is_empty() || key.is_empty()) => {
            for (inner, value) in map {
                flatten(&below(&inner), value, flat, depth - 1);
            }
        }
        Value::Array(items) if depth > 0 && items.first().is_some_and(Value::is_object) => {
            for (index, value) in items.into_iter().enumerate() {
                flatten(&below(&index.to_string()), value, flat, depth - 1);
            }
        }
        value if is_empty(&value) => {}
        value => {
            flat.insert(key.to_owned(), value);
        }
    }
}
