//! One span or log record of OTLP's protobuf messages. Cutting files into messages is in `otlp_protobuf`.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Number, Value, json};

use crate::model::SpanStatus;

use super::error::Problem;
use super::ids;
use super::log_records::{self, Said};
use super::raw::{Attributes, Event, RawSpan};

/// What a log record says when it is about a model call.
pub(super) fn log_record(record: LogRecord) -> Result<Option<Said>, Problem> {
    let mut attributes = attributes(record.attributes);
    let Some(name) = log_records::name(Some(record.event_name), &mut attributes) else { return Ok(None) };
    let time = if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano };
    let event = Event {
        name,
        time_ns: i64::try_from(time).ok().filter(|time| *time != 0),
        attributes,
        body: record.body.map(any_value).filter(|body| !body.is_null()),
    };
    let trace_id = ids::of_bytes(&record.trace_id, "trace_id", 16)?;
    let span_id = ids::of_bytes(&record.span_id, "span_id", 8)?;
    Ok(log_records::said(trace_id, span_id, event))
}

pub(super) fn raw_span(span: Span, resource: &Arc<Attributes>) -> Result<RawSpan, Problem> {
    let missing = |field: &str| Problem::new(format!("`{field}`"), "missing or all zeros", "a valid id");
    let nanos = |time: u64, field: &str| {
        i64::try_from(time).map_err(|_| Problem::new(format!("`{field}`"), time.to_string(), "a time before 2262"))
    };
    let mut raw = RawSpan {
        trace_id: ids::of_bytes(&span.trace_id, "trace_id", 16)?.ok_or_else(|| missing("trace_id"))?,
        span_id: ids::of_bytes(&span.span_id, "span_id", 8)?.ok_or_else(|| missing("span_id"))?,
        parent_id: ids::of_bytes(&span.parent_span_id, "parent_span_id", 8)?,
        name: span.name,
        start_ns: nanos(span.start_time_unix_nano, "start_time_unix_nano")?,
        end_ns: Some(nanos(span.end_time_unix_nano, "end_time_unix_nano")?).filter(|end| *end != 0),
        attributes: attributes(span.attributes),
        resource: Arc::clone(resource),
        ..RawSpan::default()
    };
    if raw.start_ns == 0 {
        return Err(Problem::new("`start_time_unix_nano`", "missing or zero", "nanoseconds since 1970"));
    }
    if let Some(status) = span.status {
        raw.status = match StatusCode::try_from(status.code) {
            Ok(StatusCode::Ok) => SpanStatus::Ok,
            Ok(StatusCode::Error) => SpanStatus::Error,
            _ => SpanStatus::Unset,
        };
        raw.status_message = Some(status.message).filter(|message| !message.trim().is_empty());
    }
    for event in span.events {
        raw.events.push(Event {
            name: event.name,
            time_ns: i64::try_from(event.time_unix_nano).ok().filter(|time| *time != 0),
            attributes: attributes(event.attributes),
            body: None,
        });
    }
    let links: Vec<Value> = span
        .links
        .into_iter()
        .filter_map(|link| {
            let trace_id = ids::of_bytes(&link.trace_id, "trace_id", 16).ok()??;
            let span_id = ids::of_bytes(&link.span_id, "span_id", 8).ok()??;
            Some(json!({"traceId": trace_id, "spanId": span_id, "attributes": attributes(link.attributes)}))
        })
        .collect();
    raw.keep("otel.links", Value::from(links));
    raw.keep_trace_state(&span.trace_state);
    raw.keep("otel.dropped_attributes_count", Value::from(span.dropped_attributes_count));
    raw.keep("otel.dropped_events_count", Value::from(span.dropped_events_count));
    raw.keep("otel.dropped_links_count", Value::from(span.dropped_links_count));
    let kind = match SpanKind::try_from(span.kind) {
        Ok(SpanKind::Internal) => "internal",
        Ok(SpanKind::Server) => "server",
        Ok(SpanKind::Client) => "client",
        Ok(SpanKind::Producer) => "producer",
        Ok(SpanKind::Consumer) => "consumer",
        _ => "",
    };
    raw.keep("otel.span.kind", Value::from(kind));
    Ok(raw)
}

pub(super) fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, pair.value.map_or(Value::Null, any_value))).collect()
}

/// Depth is bounded by prost's recursion limit.
fn any_value(value: AnyValue) -> Value {
    match value.value {
        Some(ProtoValue::StringValue(text)) => Value::String(text),
        Some(ProtoValue::BoolValue(flag)) => Value::Bool(flag),
        Some(ProtoValue::IntValue(number)) => Value::from(number),
        Some(ProtoValue::DoubleValue(number)) => {
            Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
        }
        Some(ProtoValue::ArrayValue(list)) => list.values.into_iter().map(any_value).collect(),
        Some(ProtoValue::KvlistValue(list)) => {
            list.values.into_iter().map(|pair| (pair.key, pair.value.map_or(Value::Null, any_value))).collect()
        }
        Some(ProtoValue::BytesValue(bytes)) => Value::String(STANDARD.encode(bytes)),
        _ => Value::Null,
    }
}
