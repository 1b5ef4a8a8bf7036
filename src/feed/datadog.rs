//! Evaluations for Datadog, joined to the root span. Datadog adds and never replaces: the outbox alone keeps a score
//! from being sent twice, and a changed score is one more.

use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Call, KeyInfo, secret_header};
use super::{Entry, FeedOptions, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, about, finding, span_of, told};

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "datadog",
    summary: "Datadog LLM Observability: evaluations of spans",
    url: Some("https://api.datadoghq.com"),
    keys: &[KeyInfo::key("DD_API_KEY")],
    requests_per_minute: 300,
    batch: 100,
    knows: Knows::OwnAndOtel,
    scores: true,
    figures: false,
    takes: &["url", "key_env", "project", "metrics", "batch"],
    requires: &["project"],
    sample: "url = \"https://api.datadoghq.eu\"\nproject = \"shop\"\n",
    headers: |keys, _| secret_header("dd-api-key", &keys.key),
    new,
};

/// Longest label.
const LONGEST_LABEL: usize = 200;

struct Datadog {
    ml_app: String,
}

fn new(options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
    Ok(Box::new(Datadog { ml_app: options.project("the name of the application (`ml_app`)")?.to_owned() }))
}

#[async_trait]
impl Outlet for Datadog {
    fn form(&self, entry: &Entry, _: Uuid) -> Result<Value, String> {
        let found = finding(entry)?;
        let label = found.name.as_str();
        if !label.starts_with(|c: char| c.is_ascii_alphabetic())
            || label.contains('.')
            || label.chars().count() > LONGEST_LABEL
        {
            let rule = "begins with a letter, has no `.` and at most 200 characters";
            return Err(format!("Datadog takes names that {rule}, and it is `{label}`"));
        }
        let mut metric = json!({
            "join_on": {"span": {"span_id": span_of(found)?, "trace_id": found.subject.trace}},
            "event_kind": "evaluation",
            "label": label,
            "ml_app": self.ml_app,
            "timestamp_ms": found.subject.began.as_millisecond(),
            "tags": ["evaluator:assize"],
            "eval_scope": "trace",
            "reasoning": found.explanation.as_deref().map(told),
            "metadata": about(found),
        });
        let (kind, value) = match (&found.label, found.pass, found.value) {
            (Some(label), _, _) => ("categorical", json!(label)),
            (None, Some(pass), _) => ("boolean", json!(pass)),
            (None, None, value) => ("score", json!(value.ok_or("it has no value")?)),
        };
        metric["metric_type"] = json!(kind);
        metric[format!("{kind}_value")] = value;
        if let Some(pass) = found.pass {
            metric["assessment"] = json!(if pass { "pass" } else { "fail" });
        }
        if found.subject.platform.is_none() {
            metric["tags"] = json!(["evaluator:assize", "source:otel"]);
        }
        Ok(metric)
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        let metrics: Vec<&Value> = batch.iter().map(|entry| &entry.body).collect();
        let body = json!({"data": {"type": "evaluation_metric", "attributes": {"metrics": metrics}}});
        wire.send(&Call::post("/api/intake/llm-obs/v2/eval-metric", body).once()).await?;
        Ok(super::all_taken(batch))
    }
}
