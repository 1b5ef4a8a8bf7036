//! Feedback for Weave, of a type of our own, on the root call. What is there already is replaced: it is asked for first.

use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Call, KeyInfo, basic};
use super::{Entry, FeedOptions, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, about, finding, span_of, told};

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "weave",
    summary: "W&B Weave: feedback on calls",
    url: Some("https://trace.wandb.ai"),
    keys: &[KeyInfo::key("WANDB_API_KEY")],
    requests_per_minute: 300,
    batch: 20,
    knows: Knows::Own,
    scores: true,
    figures: false,
    takes: &["url", "key_env", "project", "metrics", "batch"],
    requires: &["project"],
    sample: "project = \"entity/project\"\n",
    headers: |keys, _| basic(Some(&"api".into()), keys.key.as_ref()),
    new,
};

struct Weave {
    project: String,
}

fn new(options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
    let project = options.project("write it as `entity/project`")?;
    if project.split('/').filter(|part| !part.is_empty()).count() != 2 {
        return Err(format!("`project` must be `entity/project`, found `{project}`"));
    }
    Ok(Box::new(Weave { project: project.to_owned() }))
}

#[async_trait]
impl Outlet for Weave {
    fn form(&self, entry: &Entry, id: Uuid) -> Result<Value, String> {
        let found = finding(entry)?;
        // Types of Weave's own (`wandb.…`) need references that only Weave can give.
        let kind = format!("assize.{}", found.name);
        Ok(json!({
            "id": id,
            "project_id": self.project,
            "weave_ref": format!("weave:///{}/call/{}", self.project, span_of(found)?),
            "feedback_type": kind,
            "payload": {
                "value": found.value,
                "pass": found.pass,
                "label": found.label,
                "explanation": found.explanation.as_deref().map(told),
                "series": found.grader.series(),
                "about": about(found),
            },
            "creator": "assize",
        }))
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        for entry in batch {
            one(wire, entry, &self.project).await?;
        }
        Ok(super::all_taken(batch))
    }
}

async fn one(wire: &mut Wire, entry: &Formed, project: &str) -> Result<(), Stop> {
    let is = |field: &str| json!({"$eq": [{"$getField": field}, {"$literal": entry.body[field]}]});
    let query = json!({"$expr": {"$and": [is("weave_ref"), is("feedback_type")]}});
    let ask = json!({"project_id": project, "query": query, "fields": ["id", "payload", "creator"], "limit": 100});
    let found = wire.send(&Call::post("/feedback/query", ask)).await?.json();
    let mut known = found["result"].as_array().into_iter().flatten();
    let ours = known.find(|known| known["payload"]["series"] == entry.body["payload"]["series"]).cloned();
    match ours {
        Some(known) if known["payload"] == entry.body["payload"] => {}
        Some(known) => {
            let mut body = entry.body.clone();
            body["feedback_id"] = known["id"].clone();
            wire.send(&Call::post("/feedback/replace", body)).await?;
        }
        // Not tried again by itself where it may have been taken: the next push asks first.
        None => drop(wire.send(&Call::post("/feedback/create", entry.body.clone()).once()).await?),
    }
    Ok(())
}
