//! A span as a wire format gives it, before any vocabulary is applied: what sources hand to `dialect`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::{Native, Source, SpanId, SpanKind, SpanStatus, TraceId, Usage};

/// Attributes by key.
pub type Attributes = BTreeMap<String, Value>;

/// Something that happened at a moment within a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Name.
    pub name: String,
    /// When, nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ns: Option<i64>,
    /// Attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
    /// Body, for events that came as log records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// An event that came as a log record, apart from the span it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEvent {
    /// Trace of the span.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// The event.
    pub event: Event,
    /// Where it was read.
    pub source: Source,
}

/// A span without meaning yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawSpan {
    /// Thirty-two lower-case hexadecimal digits.
    pub(crate) trace_id: String,
    /// Sixteen of them.
    pub(crate) span_id: String,
    pub(crate) parent_id: Option<String>,
    pub(crate) name: String,
    pub(crate) start_ns: i64,
    pub(crate) end_ns: Option<i64>,
    pub(crate) status: SpanStatus,
    pub(crate) status_message: Option<String>,
    pub(crate) attributes: Attributes,
    pub(crate) events: Vec<Event>,
    /// Shared by the spans of one process.
    pub(crate) resource: Arc<Attributes>,
    /// Kind in the words of a platform's own format; without it the attributes decide.
    pub(crate) kind: Option<SpanKind>,
    /// Tokens where the format has fields for them, already in subset semantics; without it the attributes decide.
    pub(crate) usage: Option<Usage>,
    /// Money where the format has a field for it.
    pub(crate) cost_usd: Option<f64>,
    /// What the platform calls the span.
    pub(crate) native: Option<Native>,
}

impl RawSpan {
    /// Keeps something that has no field and no attribute of its own, under the names OpenTelemetry gives such
    /// things in formats other than its own.
    pub(crate) fn keep(&mut self, key: &str, value: Value) {
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Number(number) => number.as_u64() == Some(0),
            _ => false,
        };
        if !empty {
            self.attributes.entry(key.to_owned()).or_insert(value);
        }
    }

    /// Keeps the trace state, and the probability it tells where it tells one.
    pub(crate) fn keep_trace_state(&mut self, trace_state: &str) {
        self.keep("otel.trace_state", Value::from(trace_state));
        if let Some(probability) = upstream_probability(trace_state) {
            self.keep(UPSTREAM_KEY, Value::from(probability));
        }
    }
}

/// The attribute for the probability with which a sampler before this program kept the trace, above 0 and at most 1.
pub(crate) const UPSTREAM_KEY: &str = "assize.upstream_probability";

/// The probability that a trace state tells: `ot=th:T` keeps traces whose randomness is at least the threshold `T`,
/// up to 14 hexadecimal digits with zeros at the end left out (OpenTelemetry, "TraceState: Probability Sampling").
fn upstream_probability(trace_state: &str) -> Option<f64> {
    let ours = trace_state.split(',').find_map(|member| member.trim().strip_prefix("ot="))?;
    let threshold = ours.split(';').find_map(|pair| pair.trim().strip_prefix("th:"))?;
    if threshold.is_empty() || threshold.len() > 14 || !threshold.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let rejected = u64::from_str_radix(&format!("{threshold:0<14}"), 16).ok()?;
    let all = 1_u64 << 56;
    Some((all - rejected) as f64 / all as f64)
}

/// The attribute that keeps events no field was made from.
pub(crate) const EVENTS_KEY: &str = "otel.events";

/// Events as the value of an attribute.
pub(crate) fn events_value(events: &[Event]) -> Value {
    events.iter().map(|event| serde_json::to_value(event).unwrap_or_else(|_| json!({"name": event.name}))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_tell_probabilities() {
        for (state, expected) in [
            ("ot=th:0", Some(1.0)),
            ("ot=th:8", Some(0.5)),
            ("vendor=x, ot=rv:6e6d1a75832a2f;th:c", Some(0.25)),
            ("ot=th:fd70a3d70a3d71", Some(0.01)),
            ("ot=th:", None),
            ("ot=th:xyz", None),
            ("ot=th:123456789012345", None),
            ("other=th:8", None),
            ("", None),
        ] {
            let found = upstream_probability(state);
            let close = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
            let equal = found.zip(expected).map_or(found == expected, |(found, expected)| close(found, expected));
            assert!(equal, "{state}: {found:?}");
        }
    }
}
