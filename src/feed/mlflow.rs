//! Assessments for MLflow. The server gives out the ids and knows no key of ours: each trace is read first, and an
//! assessment of the same name and source is changed instead of added.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::wire::{Body, Call, KeyInfo, basic, bearer, segment};
use super::{Entry, FeedOptions, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, about, finding, told};
use crate::model::GraderKind;

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "mlflow",
    summary: "MLflow: assessments of traces",
    url: Some("http://localhost:5000"),
    keys: &[KeyInfo::key("MLFLOW_TRACKING_TOKEN").optional(), KeyInfo::secret("MLFLOW_TRACKING_PASSWORD").optional()],
    requests_per_minute: 600,
    batch: 20,
    knows: Knows::OwnAndOtel,
    scores: true,
    figures: false,
    takes: &["url", "key_env", "secret_env", "user", "metrics", "batch"],
    requires: &[],
    sample: "url = \"http://localhost:5000\"\n",
    headers: |keys, options| match (&options.user, &keys.secret) {
        (Some(user), Some(password)) => basic(Some(&user.as_str().into()), Some(password)),
        _ => bearer(&keys.key),
    },
    new: |_: &FeedOptions| Ok(Box::new(MlFlow)),
};

struct MlFlow;

#[async_trait]
impl Outlet for MlFlow {
    fn form(&self, entry: &Entry, _: Uuid) -> Result<Value, String> {
        let found = finding(entry)?;
        let subject = &found.subject;
        // MLflow calls the traces of OpenTelemetry by their digits behind `tr-`.
        let trace = if subject.platform.is_some() { subject.trace.clone() } else { format!("tr-{}", subject.trace) };
        let value = match (&found.label, found.pass, found.value) {
            (Some(label), _, _) => json!(label),
            (None, Some(pass), _) => json!(pass),
            (None, None, value) => json!(value.ok_or("it has no value")?),
        };
        let words = |value: Value| match value {
            Value::String(text) => Some(text),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let about = about(found);
        let metadata: Map<String, Value> = about
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), Value::from(words(value.clone())?))))
            .collect();
        let kind = if found.grader.kind == GraderKind::Judge { "LLM_JUDGE" } else { "CODE" };
        Ok(json!({"assessment": {
            "assessment_name": found.name,
            "trace_id": trace,
            "source": {"source_type": kind, "source_id": found.grader.series()},
            "create_time": subject.began,
            "last_update_time": subject.began,
            "feedback": {"value": value},
            "rationale": found.explanation.as_deref().map(told),
            "metadata": metadata,
        }}))
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for entry in batch {
            outcomes.push(one(wire, entry).await?);
        }
        Ok(outcomes)
    }
}

async fn one(wire: &mut Wire, entry: &Formed) -> Result<Outcome, Stop> {
    let wanted = &entry.body["assessment"];
    let trace = format!("/api/3.0/mlflow/traces/{}", segment(wanted["trace_id"].as_str().unwrap_or_default()));
    let there = wire.send(&Call::get(trace.clone()).accepting(&[404])).await?;
    if there.status == 404 {
        let said = there.text();
        if said.contains("RESOURCE_DOES_NOT_EXIST") {
            return Ok(Outcome::Rejected(format!("MLflow does not know the trace: {said}")));
        }
        let what = wire.what();
        return Err(Stop::Refused(format!("{what} answered 404: {said}; check that `url` is an MLflow 3 server")));
    }
    let body = there.json();
    let lists =
        ["/trace/trace_info/assessments", "/trace/info/assessments", "/trace_info/assessments", "/info/assessments"];
    let known = lists.iter().find_map(|path| body.pointer(path)?.as_array()).into_iter().flatten();
    let same = |known: &&Value| {
        known["assessment_name"] == wanted["assessment_name"]
            && known["source"]["source_id"] == wanted["source"]["source_id"]
            && known["valid"] != false
    };
    let assessments = format!("{trace}/assessments");
    match known.into_iter().find(same) {
        Some(known)
            if known["feedback"]["value"] == wanted["feedback"]["value"]
                && known["rationale"] == wanted["rationale"] => {}
        Some(known) => {
            let path = format!("{assessments}/{}", segment(known["assessment_id"].as_str().unwrap_or_default()));
            let change = json!({"assessment": wanted, "update_mask": "feedback,rationale,metadata"});
            wire.send(&Call::new(Method::PATCH, path, Body::Json(change))).await?;
        }
        // Not tried again by itself where it may have been taken: the next push reads first.
        None => drop(wire.send(&Call::post(assessments, entry.body.clone()).once()).await?),
    }
    Ok(Outcome::Taken)
}
