//! OpenTelemetry in JSON: OTLP documents, the Collector's file exporter (one document per line), and bare spans as
//! SDKs dump them (a list, lines, or an object that holds lists of them).
//!
//! Logs are read for the events that carry a model's messages or a score; other logs and all metrics are counted and left.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::admit::{Gate, HALVES};
use super::dialect::flatten;
use super::error::{IngestError, Problem};
use super::ids::IdError;
use super::json::{
    describe, parse, quote_long_integers, replace_half_characters, take, take_list, take_object, take_text,
};
use super::log_records::{self, Said};
use super::open::{Head, Opened};
use super::otlp_values::{any_value, attributes};
use super::parallel::each_record;
use super::raw::{Attributes, Event, RawSpan};
use super::times::{self, Unit};
use super::{METRIC_POINTS, SourceInfo, otlp_typed, span_json};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "otlp_json",
    summary: "OpenTelemetry spans and logs as JSON: documents, lines, or lists of spans",
    recognise,
    read,
    row: None,
};

const SPANS: &[&str] = &["resourceSpans", "resource_spans", "batches"];
const LOGS: &[&str] = &["resourceLogs", "resource_logs"];
const METRICS: &[&str] = &["resourceMetrics", "resource_metrics"];
/// Lists inside lists or objects are looked into this deep.
const DEPTH: usize = 3;

fn recognise(head: &Head<'_>) -> Option<String> {
    if !matches!(head.trimmed().first(), Some(b'{' | b'[')) {
        return None;
    }
    let has = |key: &&&str| head.contains(&format!("\"{key}\""));
    if let Some(key) = SPANS.iter().chain(LOGS).chain(METRICS).find(has) {
        return Some(format!("JSON with `{key}`"));
    }
    let trace = ["traceId", "trace_id"].iter().find(has)?;
    let span = ["spanId", "span_id"].iter().find(has)?;
    Some(format!("JSON with `{trace}` and `{span}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    each_record(opened, gate, record)
}

/// Reads one JSON value that holds spans or logs in one of the forms above.
pub(super) fn record(bytes: &[u8], line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    if let Some(spans) = otlp_typed::spans(bytes) {
        return spans.into_iter().try_for_each(|span| gate.admit(span, line));
    }
    let mut batch = Batch::default();
    let parsed = match parse(bytes) {
        Ok(value) => Ok((Cow::Borrowed(bytes), value)),
        Err(problem) => match replace_half_characters(bytes) {
            (_, 0) => Err(problem),
            (whole, count) => {
                gate.ignore(HALVES, count);
                parse(&whole).map(|value| (Cow::Owned(whole), value))
            }
        },
    };
    let (text, value) = match parsed {
        Ok(parsed) => parsed,
        Err(problem) => return gate.reject(problem, line, bytes),
    };
    batch.value(value, 0);
    if batch.rounded {
        batch = Batch::default();
        match parse(&quote_long_integers(&text)) {
            Ok(value) => batch.value(value, 0),
            Err(problem) => return gate.reject(problem, line, bytes),
        }
    }
    for span in batch.spans {
        gate.admit(span, line)?;
    }
    for said in batch.said {
        said.admit(line, gate)?;
    }
    gate.ignore(log_records::OTHER, batch.other_logs);
    gate.ignore(METRIC_POINTS, batch.metrics);
    for problem in batch.problems {
        gate.reject(problem, line, bytes)?;
    }
    Ok(())
}

/// How many data points a metric holds: it has one list of them, in an object named for its kind.
fn points(metric: &Value) -> u64 {
    let kinds = metric.as_object().into_iter().flat_map(Map::values).filter_map(Value::as_object);
    let lists = kinds.flat_map(|kind| ["dataPoints", "data_points"].map(|key| kind.get(key).and_then(Value::as_array)));
    lists.flatten().map(|points| points.len() as u64).sum()
}

/// What one record holds. Collected before anything is handed out, so that a record can be read a second time.
#[derive(Default)]
struct Batch {
    spans: Vec<RawSpan>,
    said: Vec<Said>,
    problems: Vec<Problem>,
    other_logs: u64,
    metrics: u64,
    rounded: bool,
}

impl Batch {
    fn value(&mut self, value: Value, depth: usize) {
        match value {
            Value::Array(items) if depth < DEPTH => {
                for item in items {
                    self.value(item, depth + 1);
                }
            }
            Value::Object(map) => self.object(map, depth),
            other => self.problems.push(unknown(describe(&other))),
        }
    }

    fn object(&mut self, mut map: Map<String, Value>, depth: usize) {
        if span_json::is_span(&map) {
            return self.span(map, &Arc::default(), None, "");
        }
        let mut known = false;
        for (keys, read) in [
            (SPANS, Self::resource_spans as fn(&mut Self, Value, &str)),
            (LOGS, Self::resource_logs as fn(&mut Self, Value, &str)),
            (METRICS, Self::resource_metrics as fn(&mut Self, Value, &str)),
        ] {
            let Some(key) = keys.iter().find(|key| map.contains_key(**key)) else { continue };
            known = true;
            match map.remove(*key) {
                Some(Value::Array(items)) => {
                    for (index, item) in items.into_iter().enumerate() {
                        read(self, item, &format!("{key}[{index}]"));
                    }
                }
                Some(Value::Null) | None => {}
                Some(other) => self.problems.push(Problem::new(format!("`{key}`"), describe(&other), "a list")),
            }
        }
        // An empty export request is `{}`.
        if known || map.is_empty() {
            return;
        }
        let lists: Vec<Value> = map.values_mut().filter(|value| holds_spans(value)).map(Value::take).collect();
        if lists.is_empty() || depth >= DEPTH {
            self.problems.push(unknown(describe(&Value::Object(map))));
        }
        for list in lists {
            self.value(list, depth + 1);
        }
    }

    fn resource_spans(&mut self, value: Value, place: &str) {
        let Some((resource, mut map)) = self.resource(value, place) else { return };
        let keys = ["scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans"];
        for (scope, spans, place) in self.scopes(&mut map, &keys, &["spans"], place) {
            for (index, span) in spans.into_iter().enumerate() {
                let place = format!("{place}.spans[{index}]");
                match span {
                    Value::Object(span) => self.span(span, &resource, Some(&scope), &place),
                    other => self.problems.push(Problem::new(format!("`{place}`"), describe(&other), "an object")),
                }
            }
        }
    }

    fn resource_logs(&mut self, value: Value, place: &str) {
        let Some((_, mut map)) = self.resource(value, place) else { return };
        for (_, records, place) in
            self.scopes(&mut map, &["scopeLogs", "scope_logs"], &["logRecords", "log_records"], place)
        {
            for (index, record) in records.into_iter().enumerate() {
                match log_record(record) {
                    Ok(Some(said)) => self.said.push(said),
                    Ok(None) => self.other_logs += 1,
                    Err(error) => self.problem(error, &format!("{place}.logRecords[{index}]")),
                }
            }
        }
    }

    fn resource_metrics(&mut self, value: Value, place: &str) {
        let Some((_, mut map)) = self.resource(value, place) else { return };
        for (_, metrics, _) in self.scopes(&mut map, &["scopeMetrics", "scope_metrics"], &["metrics"], place) {
            self.metrics += metrics.iter().map(points).sum::<u64>();
        }
    }

    fn resource(&mut self, value: Value, place: &str) -> Option<(Arc<Attributes>, Map<String, Value>)> {
        let Value::Object(mut map) = value else {
            self.problems.push(Problem::new(format!("`{place}`"), describe(&value), "an object"));
            return None;
        };
        let read = take_object(&mut map, &["resource"])
            .and_then(|mut resource| attributes(take(&mut resource, &["attributes"]), "resource.attributes"));
        match read {
            Ok(resource) => Some((Arc::new(resource), map)),
            Err(problem) => {
                // The spans below are still good; only what the process said about itself is lost.
                self.problems.push(within(problem, place));
                Some((Arc::default(), map))
            }
        }
    }

    fn scopes(
        &mut self,
        map: &mut Map<String, Value>,
        keys: &[&str],
        rows: &[&str],
        place: &str,
    ) -> Vec<(Map<String, Value>, Vec<Value>, String)> {
        let scopes = take_list(map, keys).unwrap_or_else(|problem| {
            self.problems.push(within(problem, place));
            Vec::new()
        });
        let mut read = Vec::with_capacity(scopes.len());
        for (index, scope) in scopes.into_iter().enumerate() {
            let place = format!("{place}.{}[{index}]", keys.first().copied().unwrap_or_default());
            let Value::Object(mut map) = scope else {
                self.problems.push(Problem::new(format!("`{place}`"), describe(&scope), "an object"));
                continue;
            };
            let scope = take_object(&mut map, &["scope", "instrumentationLibrary"]).unwrap_or_default();
            match take_list(&mut map, rows) {
                Ok(rows) => read.push((scope, rows, place)),
                Err(problem) => self.problems.push(within(problem, &place)),
            }
        }
        read
    }

    fn span(
        &mut self,
        map: Map<String, Value>,
        resource: &Arc<Attributes>,
        scope: Option<&Map<String, Value>>,
        place: &str,
    ) {
        match span_json::read(map, resource) {
            Ok(mut raw) => {
                if let Some(scope) = scope {
                    span_json::keep_scope(&mut raw, scope);
                }
                self.spans.push(raw);
            }
            Err(error) => self.problem(error, place),
        }
    }

    fn problem(&mut self, error: IdError, place: &str) {
        match error {
            IdError::Rounded => self.rounded = true,
            IdError::Wrong(problem) => self.problems.push(within(problem, place)),
        }
    }
}

fn within(mut problem: Problem, place: &str) -> Problem {
    if !place.is_empty() {
        problem.field = format!("`{place}` {}", problem.field);
    }
    problem
}

fn unknown(found: String) -> Problem {
    Problem::new(
        "record",
        found,
        "`resourceSpans`, `resourceLogs`, a span with `traceId` and `spanId`, or a list of spans",
    )
}

fn holds_spans(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.first().is_some_and(|item| item.as_object().is_some_and(span_json::is_span)),
        Value::Object(map) => SPANS.iter().any(|key| map.contains_key(*key)),
        _ => false,
    }
}

/// What a log record says when it is about a model call.
fn log_record(value: Value) -> Result<Option<Said>, IdError> {
    let Value::Object(mut map) = value else {
        return Err(IdError::Wrong(Problem::new("log record", describe(&value), "an object")));
    };
    let wrong = IdError::Wrong;
    let mut attributes = flatten(attributes(take(&mut map, &["attributes"]), "attributes").map_err(wrong)?);
    let said = take_text(&mut map, &["eventName", "event_name"]).map_err(wrong)?;
    let Some(name) = log_records::name(said, &mut attributes) else { return Ok(None) };
    let (trace_id, span_id) = span_json::log_identity(&mut map)?;
    let time = take(&mut map, &["timeUnixNano", "time_unix_nano"]).filter(|time| time != "0" && time != 0);
    let time = time.or_else(|| take(&mut map, &["observedTimeUnixNano", "observed_time_unix_nano"]));
    let event = Event {
        name,
        time_ns: times::read(time.as_ref(), "timeUnixNano", Unit::Nanos).map_err(wrong)?,
        attributes,
        body: take(&mut map, &["body"]).map(any_value),
    };
    Ok(log_records::said(trace_id, span_id, event))
}

/// What the reader that takes every form makes of a record; for comparison.
#[cfg(test)]
pub(super) fn patient(bytes: &[u8]) -> Result<Vec<RawSpan>, Vec<Problem>> {
    let mut batch = Batch::default();
    batch.value(parse(bytes).map_err(|problem| vec![problem])?, 0);
    if batch.problems.is_empty() { Ok(batch.spans) } else { Err(batch.problems) }
}
