//! Rows of the table of spans that the OpenTelemetry Collector's ClickHouse exporter writes, as JSON lines
//! (`SELECT * FROM otel_traces FORMAT JSONEachRow`) or as `api::clickhouse` asks for them.
//!
//! A row is an OTLP span in other words, so it is brought to those and read as one.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::SourceInfo;
use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::ids::IdError;
use super::json::{describe, take, take_object};
use super::open::{Head, Opened};
use super::raw::{Attributes, RawSpan};
use super::times::{self, Unit};
use super::{rows, span_json};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "clickhouse",
    summary: "Rows of `otel_traces`, the table of the OpenTelemetry Collector's ClickHouse exporter",
    recognise,
    read,
    row: Some(row),
};

fn recognise(head: &Head<'_>) -> Option<String> {
    let object = matches!(head.trimmed().first(), Some(b'{' | b'['));
    let has = |key: &str| head.contains(&format!("\"{key}\""));
    let keys = ["TraceId", "SpanId", "SpanName", "SpanAttributes"];
    (object && keys.iter().all(|key| has(key))).then(|| "JSON with `SpanAttributes` beside `TraceId`".to_owned())
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each(opened, gate, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    match span(value.clone()) {
        Ok(span) => gate.admit(span, line),
        Err(problem) => gate.reject(problem, line, value.to_string().as_bytes()),
    }
}

fn span(value: Value) -> Result<RawSpan, Problem> {
    let Value::Object(mut map) = value else {
        return Err(Problem::new("row", describe(&value), "an object with the columns of `otel_traces`"));
    };
    let start = time(&mut map, "TimestampNanos", "Timestamp")?
        .ok_or_else(|| Problem::new("`Timestamp`", "missing", "the time the span began"))?;
    let duration = duration(take(&mut map, &["Duration"]))?;
    let mut resource = take_object(&mut map, &["ResourceAttributes"])?;
    if let Some(service) = take(&mut map, &["ServiceName"]).filter(|name| name.as_str() != Some("")) {
        resource.entry("service.name").or_insert(service);
    }
    let mut span = json!({
        "startTimeUnixNano": start,
        "endTimeUnixNano": duration.and_then(|duration| start.checked_add(duration)),
        "status": {"code": take(&mut map, &["StatusCode"]), "message": take(&mut map, &["StatusMessage"])},
        "scope": {"name": take(&mut map, &["ScopeName"]), "version": take(&mut map, &["ScopeVersion"])},
        "events": events(&mut map),
        "links": links(&mut map),
    });
    for (from, to) in [
        ("TraceId", "traceId"),
        ("SpanId", "spanId"),
        ("ParentSpanId", "parentSpanId"),
        ("SpanName", "name"),
        ("SpanKind", "kind"),
        ("TraceState", "traceState"),
        ("SpanAttributes", "attributes"),
    ] {
        span[to] = take(&mut map, &[from]).unwrap_or(Value::Null);
    }
    let Value::Object(span) = span else { return Err(Problem::new("row", "no object", "a span")) };
    let envelope: Arc<Attributes> = Arc::new(resource.into_iter().collect());
    span_json::read(span, &envelope).map_err(|error| match error {
        IdError::Wrong(problem) => problem,
        IdError::Rounded => Problem::new("`TraceId`", "a rounded number", "32 hexadecimal digits"),
    })
}

/// A time as nanoseconds, or in ClickHouse's own text, which has no zone: UTC, unless the server is set otherwise.
fn time(map: &mut Map<String, Value>, nanos: &str, text: &str) -> Result<Option<i64>, Problem> {
    match take(map, &[nanos]) {
        Some(value) => times::read(Some(&value), nanos, Unit::Nanos),
        None => times::read(take(map, &[text]).as_ref(), text, Unit::Unsaid),
    }
}

/// Nanoseconds; ClickHouse may put 64-bit numbers in quotes. A span without a duration has no known end.
fn duration(value: Option<Value>) -> Result<Option<i64>, Problem> {
    let read = match &value {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let wrong = || Problem::new("`Duration`", value.as_ref().map_or_else(String::new, describe), "nanoseconds");
    read.map(Some).ok_or_else(wrong)
}

/// Columns of a nested table: lists of the same length, one per column.
fn columns(map: &mut Map<String, Value>, names: &[&[&str]]) -> Vec<Vec<Value>> {
    let list = |names: &&[&str], map: &mut Map<String, Value>| match take(map, names) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    names.iter().map(|names| list(names, map)).collect()
}

fn at(column: Option<&Vec<Value>>, index: usize) -> Value {
    column.and_then(|items| items.get(index)).cloned().unwrap_or(Value::Null)
}

fn events(map: &mut Map<String, Value>) -> Vec<Value> {
    let names: &[&[&str]] = &[
        &["EventsName", "Events.Name"],
        &["EventsTimestampNanos"],
        &["Events.Timestamp"],
        &["EventsAttributes", "Events.Attributes"],
    ];
    let columns = columns(map, names);
    let count = columns.first().map_or(0, Vec::len);
    let event = |index: usize| {
        let nanos = at(columns.get(1), index);
        let mut event = json!({"name": at(columns.first(), index), "attributes": at(columns.get(3), index)});
        // Both forms of a time, whichever is there.
        event["timeUnixNano"] = nanos;
        event["timestamp"] = at(columns.get(2), index);
        event
    };
    (0..count).map(event).collect()
}

fn links(map: &mut Map<String, Value>) -> Vec<Value> {
    let names: &[&[&str]] = &[
        &["LinksTraceId", "Links.TraceId"],
        &["LinksSpanId", "Links.SpanId"],
        &["LinksTraceState", "Links.TraceState"],
        &["LinksAttributes", "Links.Attributes"],
    ];
    let columns = columns(map, names);
    let count = columns.first().map_or(0, Vec::len);
    let link = |index: usize| {
        json!({"traceId": at(columns.first(), index), "spanId": at(columns.get(1), index),
            "traceState": at(columns.get(2), index), "attributes": at(columns.get(3), index)})
    };
    (0..count).map(link).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::SpanStatus;

    fn exported() -> Value {
        json!({"Timestamp": "2026-11-21 08:00:00.100000000", "TraceId": "5b8efff798038103d269b633813fc60c",
            "SpanId": "b2b2b2b2b2b2b2b2", "ParentSpanId": "a1a1a1a1a1a1a1a1", "TraceState": "",
            "SpanName": "chat gpt-x", "SpanKind": "Client", "ServiceName": "shop",
            "ResourceAttributes": {"service.version": "1.4.2"}, "ScopeName": "x", "ScopeVersion": "",
            "SpanAttributes": {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": "120"},
            "Duration": "800000000", "StatusCode": "Error", "StatusMessage": "boom",
            "Events.Timestamp": ["2026-11-21 08:00:00.200000000"], "Events.Name": ["exception"],
            "Events.Attributes": [{"exception.type": "E"}],
            "Links.TraceId": ["11111111111111111111111111111111"], "Links.SpanId": ["2222222222222222"],
            "Links.TraceState": [""], "Links.Attributes": [{}]})
    }

    #[test]
    fn an_exported_row_and_an_asked_one_are_the_same_span() {
        let mut asked = exported();
        let map = asked.as_object_mut().unwrap();
        map.remove("Timestamp");
        map.insert("TimestampNanos".to_owned(), json!("1795248000100000000"));
        map.insert("Duration".to_owned(), json!(800_000_000));
        map.remove("Events.Timestamp");
        map.insert("EventsTimestampNanos".to_owned(), json!([1_795_248_000_200_000_000_i64]));
        for (from, to) in [("Events.Name", "EventsName"), ("Events.Attributes", "EventsAttributes")] {
            let column = map.remove(from).unwrap();
            map.insert(to.to_owned(), column);
        }
        let read = span(exported()).unwrap();
        assert_eq!(span(asked).unwrap(), read);
        assert_eq!((read.start_ns, read.end_ns), (1_795_248_000_100_000_000, Some(1_795_248_000_900_000_000)));
        assert_eq!((read.status, read.status_message.as_deref()), (SpanStatus::Error, Some("boom")));
        assert_eq!(read.resource.get("service.name"), Some(&json!("shop")));
        assert_eq!(read.events[0].time_ns, Some(1_795_248_000_200_000_000));
        assert_eq!(read.attributes["otel.span.kind"], json!("client"));
        assert_eq!(read.attributes["otel.links"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn what_is_wrong_with_a_row_is_named() {
        for (key, value, field) in [
            ("TraceId", json!(""), "`traceId`"),
            ("Timestamp", json!("soon"), "`Timestamp`"),
            ("Duration", json!("long"), "`Duration`"),
            ("SpanAttributes", json!(3), "`attributes`"),
            ("ResourceAttributes", json!([]), "`ResourceAttributes`"),
        ] {
            let mut row = exported();
            row[key] = value;
            assert_eq!(span(row).unwrap_err().field, field);
        }
        assert_eq!(span(json!(3)).unwrap_err().field, "row");
    }

    proptest! {
        #[test]
        fn any_value_in_any_column_is_read_or_refused(column in 0_usize..20, number in any::<i64>(), text in any::<String>()) {
            for value in [json!(number), json!(text), json!([text]), json!({"k": text}), Value::Null] {
                let mut row = exported();
                if let Some(key) = row.as_object().and_then(|map| map.keys().nth(column).cloned()) {
                    row[key.as_str()] = value;
                }
                let _ = span(row);
            }
        }
    }
}
