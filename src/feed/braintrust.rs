//! Feedback for Braintrust: scores from 0 to 1 on the root row of a trace, merged by row and name.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Call, KeyInfo, bearer, segment};
use super::{Entry, FeedOptions, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, about, finding, span_of, told};

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "braintrust",
    summary: "Braintrust: scores of a project's logs, from 0 to 1",
    url: Some("https://api.braintrust.dev"),
    keys: &[KeyInfo::key("BRAINTRUST_API_KEY")],
    requests_per_minute: 300,
    batch: 100,
    knows: Knows::Own,
    scores: true,
    figures: false,
    takes: &["url", "key_env", "project", "metrics", "batch"],
    requires: &[],
    sample: "project = \"5c0c1c9e-0d5e-4c4e-9d4e-000000000001\"\n",
    headers: |keys, _| bearer(&keys.key),
    new,
};

struct Braintrust {
    /// Id of the project, where the trace does not say it.
    project: Option<String>,
}

fn new(options: &FeedOptions) -> Result<Box<dyn Outlet>, String> {
    Ok(Box::new(Braintrust { project: options.project.clone() }))
}

#[async_trait]
impl Outlet for Braintrust {
    fn form(&self, entry: &Entry, _: Uuid) -> Result<Value, String> {
        let found = finding(entry)?;
        let value = found.value.ok_or("Braintrust takes numbers only, and the label has none")?;
        if !(0.0..=1.0).contains(&value) {
            return Err(format!("Braintrust takes scores from 0 to 1, and it is {value}"));
        }
        let project = found.subject.project.as_ref().or(self.project.as_ref());
        let project = project.ok_or("its project is not known; set `project` to the project's id")?;
        let mut about = about(found);
        if let (Some(label), Some(map)) = (&found.label, about.as_object_mut()) {
            map.insert("label".to_owned(), json!(label));
        }
        Ok(json!({"project": project, "row": {
            "id": span_of(found)?,
            "scores": {(found.name.as_str()): value},
            "comment": found.explanation.as_deref().map(told),
            "metadata": {"assize": {(found.name.as_str()): about}},
            "source": "external",
        }}))
    }

    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        let mut projects: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for entry in batch {
            projects.entry(entry.body["project"].as_str().unwrap_or_default()).or_default().push(&entry.body["row"]);
        }
        for (project, rows) in projects {
            let path = format!("/v1/project_logs/{}/feedback", segment(project));
            wire.send(&Call::post(path, json!({"feedback": rows}))).await?;
        }
        Ok(super::all_taken(batch))
    }
}
