//! OTLP's JSON form of what is sent: ids in hexadecimal, long numbers as text, names in camel case.
//!
//! The library's own conversion is not compiled in, since it would carry a second form of every message that is read.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Value, json};

/// A request of log records.
pub(super) fn logs(request: &ExportLogsServiceRequest) -> Value {
    let scopes = |scope: &opentelemetry_proto::tonic::logs::v1::ScopeLogs| {
        let records: Vec<Value> = scope.log_records.iter().map(record).collect();
        json!({"scope": in_scope(scope.scope.as_ref()), "logRecords": records})
    };
    let resources = |logs: &opentelemetry_proto::tonic::logs::v1::ResourceLogs| {
        let scopes: Vec<Value> = logs.scope_logs.iter().map(scopes).collect();
        json!({"resource": resource(logs.resource.as_ref()), "scopeLogs": scopes})
    };
    let all: Vec<Value> = request.resource_logs.iter().map(resources).collect();
    json!({"resourceLogs": all})
}

/// A request of gauges.
pub(super) fn metrics(request: &ExportMetricsServiceRequest) -> Value {
    let scopes = |scope: &opentelemetry_proto::tonic::metrics::v1::ScopeMetrics| {
        let metrics: Vec<Value> = scope.metrics.iter().map(gauge).collect();
        json!({"scope": in_scope(scope.scope.as_ref()), "metrics": metrics})
    };
    let resources = |metrics: &opentelemetry_proto::tonic::metrics::v1::ResourceMetrics| {
        let scopes: Vec<Value> = metrics.scope_metrics.iter().map(scopes).collect();
        json!({"resource": resource(metrics.resource.as_ref()), "scopeMetrics": scopes})
    };
    let all: Vec<Value> = request.resource_metrics.iter().map(resources).collect();
    json!({"resourceMetrics": all})
}

fn resource(resource: Option<&Resource>) -> Value {
    json!({"attributes": attributes(resource.map_or(&[], |resource| &resource.attributes))})
}

fn in_scope(scope: Option<&InstrumentationScope>) -> Value {
    scope.map_or(Value::Null, |scope| json!({"name": scope.name, "version": scope.version}))
}

fn record(record: &LogRecord) -> Value {
    json!({
        "timeUnixNano": record.time_unix_nano.to_string(),
        "observedTimeUnixNano": record.observed_time_unix_nano.to_string(),
        "severityNumber": record.severity_number,
        "eventName": record.event_name,
        "traceId": hex(&record.trace_id),
        "spanId": hex(&record.span_id),
        "attributes": attributes(&record.attributes),
    })
}

fn gauge(metric: &Metric) -> Value {
    let points: Vec<Value> = match &metric.data {
        Some(metric::Data::Gauge(gauge)) => gauge.data_points.iter().map(point).collect(),
        // Nothing else is sent.
        _ => Vec::new(),
    };
    json!({
        "name": metric.name,
        "description": metric.description,
        "unit": metric.unit,
        "gauge": {"dataPoints": points},
    })
}

fn point(point: &NumberDataPoint) -> Value {
    let mut said = json!({
        "attributes": attributes(&point.attributes),
        "timeUnixNano": point.time_unix_nano.to_string(),
    });
    match &point.value {
        Some(number_data_point::Value::AsDouble(value)) => said["asDouble"] = json!(value),
        Some(number_data_point::Value::AsInt(value)) => said["asInt"] = json!(value.to_string()),
        None => {}
    }
    said
}

fn attributes(attributes: &[KeyValue]) -> Value {
    let value = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => json!({"stringValue": text}),
        Some(any_value::Value::DoubleValue(number)) => json!({"doubleValue": number}),
        Some(any_value::Value::BoolValue(flag)) => json!({"boolValue": flag}),
        Some(any_value::Value::IntValue(number)) => json!({"intValue": number.to_string()}),
        // Nothing else is sent.
        _ => json!({}),
    };
    attributes.iter().map(|pair| json!({"key": pair.key, "value": value(pair)})).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
