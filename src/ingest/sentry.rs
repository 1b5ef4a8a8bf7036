//! Spans of Sentry as its events interface lists them: one flat object of the fields that were asked for.
//!
//! Sentry's field names are attributes `dialect` knows. When a span began is only there when it was asked for.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::{SpanKind, SpanStatus};

use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::json::{need_text, take, take_text, take_words};
use super::open::{Head, Opened};
use super::platform::{Found, Ids, after_ms, moment, take_row};
use super::shape::Shape;
use super::{SourceInfo, rows};

/// The row of this source.
pub(super) const SOURCE: SourceInfo =
    SourceInfo { name: "sentry", summary: "Sentry spans: rows of the events API", recognise, read, row: Some(row) };

const LISTS: &[&str] = &["data"];

/// Sentry's own words for what a span does, where its operation does not say.
const KINDS: &[(&str, SpanKind)] = &[
    ("ai_client", SpanKind::Model),
    ("agent", SpanKind::Agent),
    ("tool", SpanKind::Tool),
    ("handoff", SpanKind::Handoff),
];

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    let marks = ["span.op", "span.description", "span.duration", "span.name"];
    let mark = marks.iter().find(|mark| shape.rows_have(LISTS, &["trace", mark]))?;
    Some(format!("JSON rows with `trace` and `{mark}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each_in(opened, gate, LISTS, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    take_row(value, line, gate, span)
}

fn span(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    let trace = need_text(&mut map, &["trace", "trace_id"], "the trace; ask for `field=trace`")?;
    let id = need_text(&mut map, &["id", "span_id"], "the id of the span; ask for `field=id`")?;
    let parent = take_text(&mut map, &["parent_span", "span.parent", "parent_span_id", "span.parent_id"])?;
    let start = moment(&mut map, &["precise.start_ts", "start_timestamp", "timestamp"])?;
    let expected = "when the span began; ask for `field=timestamp`";
    let start = start.ok_or_else(|| Problem::new("`timestamp`", "missing", expected))?;
    let op = take_text(&mut map, &["span.op", "op"])?;
    let name = take_words(&mut map, &["span.description", "description", "span.name"]).or_else(|| op.clone());
    let project = take_words(&mut map, &["project", "project.name", "project.id"]);
    let ids = Ids { platform: "sentry", trace: &trace, span: &id, parent: parent.as_deref(), project };
    let mut raw = ids.begin(name.unwrap_or_default(), start);
    if !op.as_deref().is_some_and(|op| op.starts_with("gen_ai.")) {
        let kind = map.get("gen_ai.operation.type").and_then(Value::as_str);
        raw.kind = kind.and_then(|kind| KINDS.iter().find(|(known, _)| *known == kind)).map(|(_, kind)| *kind);
    }
    raw.set("sentry.op", op);
    if !map.contains_key("gen_ai.response.text") {
        raw.set("gen_ai.response.text", map.remove("gen_ai.response.object"));
    }
    raw.end_ns = moment(&mut map, &["precise.finish_ts", "end_timestamp"])?;
    let duration = take(&mut map, &["span.duration", "duration"]);
    raw.end_ns = raw.end_ns.or_else(|| after_ms(start, duration.as_ref()));
    match take_words(&mut map, &["span.status", "status", "trace.status"]).as_deref() {
        None | Some("unknown") => {}
        Some("ok") => raw.status = SpanStatus::Ok,
        Some(other) => {
            raw.set("error.type", Some(other));
            raw.fail(None);
        }
    }
    for (key, place) in [("release", "service.version"), ("environment", "deployment.environment.name")] {
        if let Some(value) = take(&mut map, &[key]) {
            Arc::make_mut(&mut raw.resource).insert(place.to_owned(), value);
        }
    }
    raw.attributes.extend(map.into_iter().filter(|(_, value)| !super::json::is_empty(value)));
    found.spans.push(raw);
    Ok(())
}
