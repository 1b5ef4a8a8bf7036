//! Annotations for Phoenix, on the root span of a trace. Name, span and identifier make the same annotation.

use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Call, KeyInfo, bearer};
use super::{Entry, FeedOptions, Formed, Knows, Outcome, Outlet, SinkInfo, Stop, Wire, about, finding, span_of, told};
use crate::model::GraderKind;

pub(super) const SINK: SinkInfo = SinkInfo {
    name: "phoenix",
    summary: "Arize Phoenix: annotations of root spans",
    url: Some("http://localhost:6006"),
    keys: &[KeyInfo::key("PHOENIX_API_KEY").optional()],
    requests_per_minute: 1_200,
    batch: 100,
    knows: Knows::OwnAndOtel,
    scores: true,
    figures: false,
    takes: &["url", "key_env", "metrics", "batch"],
    requires: &[],
    sample: "url = \"http://localhost:6006\"\n",
    headers: |keys, _| bearer(&keys.key),
    new: |_: &FeedOptions| Ok(Box::new(Phoenix)),
};

struct Phoenix;

#[async_trait]
impl Outlet for Phoenix {
    fn form(&self, entry: &Entry, _: Uuid) -> Result<Value, String> {
        let found = finding(entry)?;
        if found.name == "note" {
            return Err("Phoenix keeps the name `note` for itself; give the grader another one".to_owned());
        }
        let word = found.pass.map(|pass| if pass { "pass" } else { "fail" });
        Ok(json!({
            "span_id": span_of(found)?,
            "name": found.name,
            "annotator_kind": if found.grader.kind == GraderKind::Judge { "LLM" } else { "CODE" },
            "result": {
                "label": found.label.as_deref().or(word),
                "score": found.value,
                "explanation": found.explanation.as_deref().map(told),
            },
            "metadata": about(found),
            "identifier": found.grader.series(),
        }))
    }

    /// `sync=true`: otherwise unknown spans are dropped in silence.
    async fn send(&self, wire: &mut Wire, batch: &[Formed]) -> Result<Vec<Outcome>, Stop> {
        let data: Vec<&Value> = batch.iter().map(|entry| &entry.body).collect();
        let call = Call::post("/v1/span_annotations?sync=true", json!({"data": data})).accepting(&[404]);
        let reply = wire.send(&call).await?;
        if reply.status != 404 {
            return Ok(super::all_taken(batch));
        }
        let said = reply.text();
        let names_one = batch.iter().filter_map(|entry| entry.body["span_id"].as_str()).any(|id| said.contains(id));
        if names_one || said.contains("do not exist") {
            return Err(Stop::Bad(format!("Phoenix does not know the span: {said}")));
        }
        let what = wire.what();
        Err(Stop::Refused(format!("{what} answered 404: {said}; check that `url` is a Phoenix server")))
    }
}
