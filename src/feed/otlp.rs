//! OpenTelemetry: a `gen_ai.evaluation.result` event for each score, tied to the judged span, and gauges for each run.
//!
//! Events are log records as the GenAI conventions say; what those have no word for yet is under `assize.`. Sent over
//! HTTP in protobuf or JSON. Tried again only on the statuses that OTLP names; a partial success never is.

use async_trait::async_trait;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::otlp_json;
use super::wire::{Body, Call, KeyInfo, Reply, bearer};
use super::{
    Entry, FeedOptions, Figures, Finding, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, all_taken, told,
    turned_away,
};
use crate::model::{Direction, GraderKind};

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "otlp",
    summary: "OpenTelemetry: evaluation events on the judged spans, metrics of runs",
    url: Some("http://localhost:4318"),
    keys: &[KeyInfo::key("ASSIZE_OTLP_TOKEN").optional()],
    requests_per_minute: 6_000,
    batch: 500,
    knows: Knows::Any,
    scores: true,
    figures: true,
    takes: &["url", "key_env", "format", "metrics", "labels", "batch"],
    requires: &[],
    sample: "url = \"http://localhost:4318\"\nformat = \"protobuf\"\n",
    headers: |keys, _| bearer(&keys.key),
    new,
};

/// Name of the event.
const EVENT: &str = "gen_ai.evaluation.result";
/// `INFO`.
const SEVERITY: i32 = 9;
/// Statuses that OTLP allows to be tried again.
const AGAIN: &[u16] = &[429, 502, 503, 504];

struct Otlp {
    json: bool,
    labels: Vec<(String, String)>,
}

fn new(options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
    let json = match options.format.as_deref() {
        None | Some("protobuf") => false,
        Some("json") => true,
        Some(other) => return Err(format!("`format` must be `protobuf` or `json`, found `{other}`")),
    };
    let labels = options.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(Box::new(Otlp { json, labels }))
}

#[async_trait]
impl Outlet for Otlp {
    fn form(&self, entry: &Entry, _: Uuid) -> Result<Value, String> {
        serde_json::to_value(entry).map_err(|error| error.to_string())
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        let (mut logs, mut metrics) = (Vec::new(), Vec::new());
        for formed in batch {
            match serde_json::from_value(formed.body.clone()) {
                Ok(Entry::Score(found)) => logs.push(record(&found)),
                Ok(Entry::Figures(figures)) => metrics.extend(gauges(&figures)),
                Err(error) => return Err(Stop::Bad(format!("stored entry cannot be read: {error}"))),
            }
        }
        let count = logs.len();
        if count > 0 {
            let request = ExportLogsServiceRequest {
                resource_logs: vec![ResourceLogs {
                    resource: Some(self.resource()),
                    scope_logs: vec![ScopeLogs { scope: Some(scope()), log_records: logs, ..ScopeLogs::default() }],
                    ..ResourceLogs::default()
                }],
            };
            let body = if self.json {
                Body::Json(otlp_json::logs(&request))
            } else {
                Body::Bytes("application/x-protobuf", request.encode_to_vec())
            };
            let reply = send(wire, "/v1/logs", body).await?;
            let (rejected, why) = self.rejected(&reply, "rejectedLogRecords", |body| {
                let said = ExportLogsServiceResponse::decode(body).ok()?.partial_success?;
                Some((said.rejected_log_records, said.error_message))
            });
            if rejected > 0 {
                return Ok(turned_away(rejected, batch.len(), &why));
            }
        }
        if !metrics.is_empty() {
            let request = ExportMetricsServiceRequest {
                resource_metrics: vec![ResourceMetrics {
                    resource: Some(self.resource()),
                    scope_metrics: vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }],
                    ..ResourceMetrics::default()
                }],
            };
            let body = if self.json {
                Body::Json(otlp_json::metrics(&request))
            } else {
                Body::Bytes("application/x-protobuf", request.encode_to_vec())
            };
            let reply = send(wire, "/v1/metrics", body).await?;
            let (rejected, why) = self.rejected(&reply, "rejectedDataPoints", |body| {
                let said = ExportMetricsServiceResponse::decode(body).ok()?.partial_success?;
                Some((said.rejected_data_points, said.error_message))
            });
            if rejected > 0 {
                return Ok(only_figures_turned_away(batch, rejected, &why));
            }
        }
        Ok(all_taken(batch))
    }
}

/// Events were taken before the measurements were turned away.
fn only_figures_turned_away(batch: &[Formed], rejected: u64, why: &str) -> Vec<Outcome> {
    let outcome = |formed: &Formed| match formed.body["entry"].as_str() {
        Some("figures") => Outcome::Rejected(format!("{rejected} data points were turned away: {why}")),
        _ => Outcome::Taken,
    };
    batch.iter().map(outcome).collect()
}

impl Otlp {
    fn resource(&self) -> Resource {
        let mut attributes = vec![text("service.name", "assize"), text("service.version", env!("CARGO_PKG_VERSION"))];
        attributes.extend(self.labels.iter().map(|(name, value)| text(name, value)));
        Resource { attributes, ..Resource::default() }
    }

    /// How many of what was sent the receiver turned away, and why.
    fn rejected(&self, reply: &Reply, key: &str, decode: impl Fn(&[u8]) -> Option<(i64, String)>) -> (u64, String) {
        let said = if self.json {
            let body = reply.json();
            let partial = &body["partialSuccess"];
            // Numbers of 64 bits are texts in OTLP's JSON.
            let count = partial[key].as_i64().or_else(|| partial[key].as_str()?.parse().ok());
            count.map(|count| (count, partial["errorMessage"].as_str().unwrap_or_default().to_owned()))
        } else {
            decode(&reply.body)
        };
        let (count, why) = said.unwrap_or_default();
        (u64::try_from(count).unwrap_or(0), crate::sys::text::one_line(&why, 300))
    }
}

async fn send(wire: &mut Wire, path: &str, body: Body) -> Result<Reply, Stop> {
    let mut call = Call::new(Method::POST, path, body);
    call.again = Some(AGAIN);
    wire.send(&call).await
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "assize".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: f64) -> KeyValue {
    attribute(key, any_value::Value::DoubleValue(value))
}

/// The event of one score.
fn record(found: &Finding) -> LogRecord {
    let nanos = u64::try_from(found.run.at.as_nanosecond()).unwrap_or(0);
    let word = found.pass.map(|pass| if pass { "pass" } else { "fail" });
    let kind = if found.grader.kind == GraderKind::Judge { "llm_judge" } else { "deterministic" };
    let direction = if found.direction == Direction::Higher { "higher" } else { "lower" };
    let mut attributes = vec![
        text("gen_ai.evaluation.name", &found.name),
        text("gen_ai.evaluation.evaluator.id", &found.grader.component),
        text("gen_ai.evaluation.evaluator.version", &found.grader.digest),
        text("gen_ai.evaluation.evaluator.type", kind),
        text("assize.scope", "trace"),
        text("assize.score.direction", direction),
        text("assize.run.id", &found.run.id),
        text("assize.suite", &found.run.suite),
        text("assize.target", &found.run.target),
        text("assize.dataset", &found.run.dataset),
        text("assize.example.id", &found.example),
    ];
    attributes.extend(found.value.map(|value| number("gen_ai.evaluation.score.value", value)));
    let label = found.label.as_deref().or(word);
    attributes.extend(label.map(|label| text("gen_ai.evaluation.score.label", label)));
    attributes.extend(found.explanation.as_deref().map(|why| text("gen_ai.evaluation.explanation", &told(why))));
    attributes.extend(found.grader.model.as_deref().map(|model| text("assize.judge.model", model)));
    if let Some((min, max)) = found.bounds {
        attributes.extend([number("assize.score.min", min), number("assize.score.max", max)]);
    }
    attributes.extend(found.inclusion_probability.map(|chance| number("assize.inclusion_probability", chance)));
    let subject = &found.subject;
    if let Some(platform) = &subject.platform {
        attributes.extend([text("assize.platform", platform), text("assize.platform.trace.id", &subject.trace)]);
    }
    LogRecord {
        time_unix_nano: nanos,
        observed_time_unix_nano: nanos,
        severity_number: SEVERITY,
        event_name: EVENT.to_owned(),
        trace_id: bytes(&subject.trace_id, 16),
        span_id: bytes(&subject.span_id, 8),
        attributes,
        ..LogRecord::default()
    }
}

/// The gauges of one run: a metric for each name, a point for each set of labels.
fn gauges(figures: &Figures) -> Vec<Metric> {
    let nanos = u64::try_from(figures.run.at.as_nanosecond()).unwrap_or(0);
    let mut metrics: Vec<(String, Metric, Gauge)> = Vec::new();
    for figure in &figures.figures {
        let (name, unit) = named(&figure.name);
        let point = NumberDataPoint {
            attributes: figure.labels.iter().map(|(key, value)| text(&format!("assize.{key}"), value)).collect(),
            time_unix_nano: nanos,
            value: Some(number_data_point::Value::AsDouble(figure.value)),
            ..NumberDataPoint::default()
        };
        match metrics.iter_mut().find(|(known, ..)| *known == figure.name) {
            Some((_, _, gauge)) => gauge.data_points.push(point),
            None => {
                let metric =
                    Metric { name, description: figure.help.clone(), unit: unit.to_owned(), ..Metric::default() };
                metrics.push((figure.name.clone(), metric, Gauge { data_points: vec![point] }));
            }
        }
    }
    let whole = |(_, mut metric, gauge): (String, Metric, Gauge)| {
        metric.data = Some(metric::Data::Gauge(gauge));
        metric
    };
    metrics.into_iter().map(whole).collect()
}

/// Name and unit in OpenTelemetry of a metric with its Prometheus name: translated back it has the same name again.
fn named(prometheus: &str) -> (String, &'static str) {
    let (stem, unit) = match (prometheus.strip_suffix("_seconds"), prometheus.strip_suffix("_usd")) {
        (Some(stem), _) => (stem, "s"),
        (_, Some(stem)) => (stem, "USD"),
        _ => (prometheus, ""),
    };
    (stem.replacen('_', ".", 2), unit)
}

/// The bytes of an id in hexadecimal; nothing for an id of another form.
fn bytes(hex: &str, count: usize) -> Vec<u8> {
    if hex.len() != count * 2 || !hex.is_ascii() {
        return Vec::new();
    }
    let pair = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..count).map(|place| pair(place * 2)).collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::entry::samples::{figures, finding};
    use super::*;

    #[test]
    fn an_event_is_tied_to_the_judged_span() {
        let record = record(&finding());
        assert_eq!(record.event_name, "gen_ai.evaluation.result");
        assert_eq!((record.trace_id.len(), record.span_id.as_slice()), (16, [0xa1; 8].as_slice()));
        let has = |key: &str| record.attributes.iter().filter(|found| found.key == key).count();
        for key in ["gen_ai.evaluation.name", "gen_ai.evaluation.score.value", "gen_ai.evaluation.explanation"] {
            assert_eq!(has(key), 1, "{key}");
        }
        assert_eq!(has("gen_ai.evaluation.score.label"), 0);
    }

    #[test]
    fn names_come_back_from_opentelemetry_as_prometheus_has_them() {
        for (name, dotted, unit) in [
            ("assize_score_mean", "assize.score.mean", ""),
            ("assize_score_ci_lower", "assize.score.ci_lower", ""),
            ("assize_latency_seconds", "assize.latency", "s"),
            ("assize_run_cost_usd", "assize.run.cost", "USD"),
        ] {
            assert_eq!(named(name), (dotted.to_owned(), unit));
        }
        let Entry::Figures(all) = figures() else { panic!("figures") };
        assert_eq!(gauges(&all).len(), 2);
    }

    #[test]
    fn ids_of_another_form_are_left_out() {
        assert_eq!(bytes("a1a1a1a1a1a1a1a1", 8), [0xa1; 8]);
        assert_eq!(bytes("run-1", 8), Vec::<u8>::new());
        assert_eq!(bytes("zza1a1a1a1a1a1a1", 8), Vec::<u8>::new());
        assert_eq!(bytes("ääääääää", 8), Vec::<u8>::new());
    }
}
