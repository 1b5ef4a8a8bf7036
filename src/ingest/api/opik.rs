//! Opik: traces, then spans, each streamed as JSON lines and paged by the last id.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, place_of, restore, text};
use super::{KEY, Keys, PlatformInfo, header};
use crate::ingest::json::describe;

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "opik",
    summary: "Opik (Comet): traces and spans with their feedback scores",
    url: Some("https://www.comet.com/opik/api"),
    keys: &[KEY.named("OPIK_API_KEY").optional()],
    requests_per_minute: 120,
    takes: &["key_env", "project", "workspace", "filter"],
    requires: &["project"],
    sample: "project = \"support\"\nworkspace = \"team\"\n",
    headers: |keys: &Keys, options| {
        let mut headers = header("authorization", &keys.key);
        headers.extend(options.workspace.iter().map(|name| ("comet-workspace", name.as_str().into())));
        headers
    },
    new,
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// Traces are through.
    spans: bool,
    last: Option<String>,
    done: bool,
}

struct Opik {
    plan: Plan,
    state: State,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    plan.project("the name of a project")?;
    if let Some(other) = plan.options.filter.as_ref().filter(|filter| !filter.is_array()) {
        return Err(format!("`filter` must be a list of `{{ field, operator, value }}`, found {}", describe(other)));
    }
    Ok(Box::new(Opik { plan: plan.clone(), state: restore(place, State::default())? }))
}

impl Pager for Opik {
    fn next(&self) -> Option<Request> {
        if self.state.done {
            return None;
        }
        let mut body = json!({"project_name": self.plan.options.project, "limit": self.plan.page_size(500, 2000),
            "truncate": false, "to_time": self.plan.until});
        if let Some(since) = self.plan.since {
            body["from_time"] = json!(since);
        }
        if let Some(last) = &self.state.last {
            body["last_retrieved_id"] = json!(last);
        }
        // A filter speaks of traces; their spans are found by the window alone.
        if let (false, Some(filter)) = (self.state.spans, &self.plan.options.filter) {
            body["filters"] = filter.clone();
        }
        let what = if self.state.spans { "spans" } else { "traces" };
        Some(Request::post(format!("/v1/private/{what}/search"), body))
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        let rows = answer.lines()?;
        let Some(last) = rows.last() else {
            (self.state.done, self.state.spans, self.state.last) = (self.state.spans, true, None);
            return Ok(Page::default());
        };
        let id = text(last, "/id").ok_or_else(|| Shape::new(describe(last), "rows with an `id`"))?;
        self.state.last = Some(id);
        Ok(Page::turned(rows))
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}
