//! Feedback for LangSmith, one run at a time. The id is ours, so that the same feedback sent twice is one; feedback that
//! is there already is changed.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Body, Call, KeyInfo, secret_header};
use super::{Entry, FeedOptions, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, about, finding, told};
use crate::model::GraderKind;

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "langsmith",
    summary: "LangSmith: feedback on runs",
    url: Some("https://api.smith.langchain.com"),
    keys: &[KeyInfo::key("LANGSMITH_API_KEY")],
    requests_per_minute: 1_000,
    batch: 20,
    knows: Knows::Own,
    scores: true,
    figures: false,
    takes: &["url", "key_env", "project", "workspace", "metrics", "batch"],
    requires: &[],
    sample: "project = \"5c0c1c9e-0d5e-4c4e-9d4e-000000000001\"\n",
    headers: |keys, options| {
        let mut headers = secret_header("x-api-key", &keys.key);
        headers.extend(options.workspace.iter().map(|tenant| ("x-tenant-id", tenant.as_str().into())));
        headers
    },
    new,
};

const PATH: &str = "/api/v1/feedback";

struct LangSmith {
    /// Id of the project, where the trace does not say it.
    project: Option<String>,
}

fn new(options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
    Ok(Box::new(LangSmith { project: options.project.clone() }))
}

#[async_trait]
impl Outlet for LangSmith {
    fn form(&self, entry: &Entry, id: Uuid) -> Result<Value, String> {
        let found = finding(entry)?;
        let subject = &found.subject;
        if found.value.is_none() && found.label.is_none() {
            return Err("it has no value".to_owned());
        }
        let kind = if found.grader.kind == GraderKind::Judge { "model" } else { "api" };
        let config = found.bounds.map(|(min, max)| json!({"type": "continuous", "min": min, "max": max}));
        let score = found.pass.map_or_else(|| json!(found.value), |pass| json!(pass));
        Ok(json!({
            "id": id,
            // The root run has the id of its trace.
            "run_id": subject.span.as_ref().unwrap_or(&subject.trace),
            "trace_id": subject.trace,
            "session_id": subject.project.as_ref().or(self.project.as_ref()),
            "key": found.name,
            "score": score,
            "value": found.label,
            "comment": found.explanation.as_deref().map(told),
            "feedback_source": {"type": kind, "metadata": about(found)},
            "feedback_config": config.filter(|_| found.label.is_none() && found.pass.is_none()),
            "start_time": subject.began,
        }))
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        for entry in batch {
            if !entry.again {
                let reply = wire.send(&Call::post(PATH, entry.body.clone()).accepting(&[409])).await?;
                if reply.status != 409 {
                    continue;
                }
            }
            let part = ["score", "value", "comment"].map(|key| (key.to_owned(), entry.body[key].clone()));
            let path = format!("{PATH}/{}", entry.id);
            let change = Call::new(Method::PATCH, path, Body::Json(Value::Object(part.into_iter().collect())));
            if wire.send(&change.accepting(&[404])).await?.status == 404 {
                // Somebody deleted it there: it is new again.
                wire.send(&Call::post(PATH, entry.body.clone())).await?;
            }
        }
        Ok(super::all_taken(batch))
    }
}
