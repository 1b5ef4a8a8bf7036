//! W&B Weave: calls streamed as JSON lines, by offset within a window that does not move.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, place_of, restore};
use super::{KEY, Keys, PlatformInfo, basic};
use crate::ingest::json::describe;

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "weave",
    summary: "W&B Weave: calls with costs and feedback",
    url: Some("https://trace.wandb.ai"),
    keys: &[KEY.named("WANDB_API_KEY")],
    requests_per_minute: 60,
    takes: &["key_env", "project", "filter", "scores"],
    requires: &["project"],
    sample: "project = \"entity/project\"\nsince = \"30d\"\n",
    headers: |keys: &Keys, _| basic(&Keys { key: Some("api".into()), secret: keys.key.clone() }),
    new,
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    offset: u64,
    done: bool,
}

struct Weave {
    plan: Plan,
    project: String,
    state: State,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let project = plan.project("`entity/project`")?;
    if project.split('/').filter(|part| !part.is_empty()).count() != 2 {
        return Err(format!("`project` must be `entity/project`, found `{project}`"));
    }
    if let Some(other) = plan.options.filter.as_ref().filter(|filter| !filter.is_object()) {
        return Err(format!(
            "`filter` must be a table, an expression such as `{{ \"$eq\" = [...] }}`, found {}",
            describe(other)
        ));
    }
    Ok(Box::new(Weave { plan: plan.clone(), project, state: restore(place, State::default())? }))
}

fn started_from(at: jiff::Timestamp) -> Value {
    json!({"$gte": [{"$getField": "started_at"}, {"$literal": at.as_microsecond() as f64 / 1e6}]})
}

impl Pager for Weave {
    fn next(&self) -> Option<Request> {
        if self.state.done {
            return None;
        }
        // The language has no "less than".
        let mut conditions = vec![json!({"$not": [started_from(self.plan.until)]})];
        conditions.extend(self.plan.since.map(started_from));
        conditions.extend(self.plan.options.filter.clone());
        let body = json!({
            "project_id": self.project, "query": {"$expr": {"$and": conditions}},
            "sort_by": [{"field": "started_at", "direction": "asc"}, {"field": "id", "direction": "asc"}],
            "limit": self.plan.page_size(500, 1000), "offset": self.state.offset, "include_costs": true,
            "include_feedback": self.plan.options.scores.unwrap_or(true),
        });
        Some(Request::post("/calls/stream_query", body))
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        let rows = answer.lines()?;
        self.state.done = rows.is_empty();
        self.state.offset += rows.len() as u64;
        Ok(Page::turned(rows))
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}
