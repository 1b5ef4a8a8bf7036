//! Feedback scores for Opik, on traces. Trace, name and author make the same score.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Body, Call, KeyInfo, secret_header};
use super::{Entry, FeedOptions, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, finding, told};

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "opik",
    summary: "Opik (Comet): feedback scores of traces",
    url: Some("https://www.comet.com/opik/api"),
    keys: &[KeyInfo::key("OPIK_API_KEY").optional()],
    requests_per_minute: 600,
    batch: 500,
    knows: Knows::Own,
    scores: true,
    figures: false,
    takes: &["url", "key_env", "project", "workspace", "metrics", "batch"],
    requires: &["project"],
    sample: "project = \"support\"\nworkspace = \"team\"\n",
    headers: |keys, options| {
        let mut headers = secret_header("authorization", &keys.key);
        headers.extend(options.workspace.iter().map(|name| ("comet-workspace", name.as_str().into())));
        headers
    },
    new,
};

struct Opik {
    project: String,
}

fn new(options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
    Ok(Box::new(Opik { project: options.project("its name")?.to_owned() }))
}

#[async_trait]
impl Outlet for Opik {
    fn form(&self, entry: &Entry, _: Uuid) -> Result<Value, String> {
        let found = finding(entry)?;
        let value = found.value.ok_or("Opik takes numbers only, and the label has none")?;
        if Uuid::parse_str(&found.subject.trace).map(|id| id.get_version_num()) != Ok(7) {
            return Err("Opik knows traces by UUIDs of version 7, and its trace has another id".to_owned());
        }
        let word = found.pass.map(|pass| if pass { "pass" } else { "fail" });
        Ok(json!({
            "id": found.subject.trace,
            "project_name": self.project,
            "name": found.name,
            "category_name": found.label.as_deref().or(word),
            "value": value,
            "reason": found.explanation.as_deref().map(told),
            "source": "sdk",
            "author": found.grader.series(),
        }))
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        let scores: Vec<&Value> = batch.iter().map(|entry| &entry.body).collect();
        let body = Body::Json(json!({"scores": scores}));
        wire.send(&Call::new(Method::PUT, "/v1/private/traces/feedback-scores", body)).await?;
        Ok(super::all_taken(batch))
    }
}
