//! Braintrust: logs of a project by BTQL, or by the older `fetch`, both by cursor.
//!
//! Pages run from the newest transaction back, and a later page may hold an earlier state of a row: the first one
//! met of each id is the one that holds.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, is_uuid, list, place_of, restore, segment, text};
use super::{KEY, Keys, PlatformInfo, bearer};
use crate::ingest::json::describe;

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "braintrust",
    summary: "Braintrust: spans of a project's logs, with their scores",
    url: Some("https://api.braintrust.dev"),
    keys: &[KEY.named("BRAINTRUST_API_KEY")],
    requests_per_minute: 60,
    takes: &["key_env", "project", "api", "filter"],
    requires: &["project"],
    sample: "project = \"support\"\nsince = \"30d\"\n",
    headers: |keys: &Keys, _| bearer(&keys.key),
    new,
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    project: Option<String>,
    cursor: Option<String>,
    done: bool,
}

struct Braintrust {
    plan: Plan,
    project: String,
    fetch: bool,
    filter: Option<String>,
    state: State,
    /// Rows met in this pull. Not part of the place: after an interruption a row may come in two states.
    met: HashSet<u64>,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let project = plan.project("the name or id of a project")?;
    let fetch = match plan.options.api.as_deref() {
        None | Some("btql") => false,
        Some("fetch") => true,
        Some(other) => return Err(format!("`api` must be `btql` or `fetch`, found `{other}`")),
    };
    let filter = plan.text_filter("metadata.tier = 'gold'")?;
    if fetch && filter.is_some() {
        return Err("`filter` needs `api = \"btql\"`: `fetch` takes none".to_owned());
    }
    let id = is_uuid(&project).then(|| project.clone());
    let state = restore(place, State { project: id, ..State::default() })?;
    Ok(Box::new(Braintrust { plan: plan.clone(), project, fetch, filter, state, met: HashSet::new() }))
}

impl Braintrust {
    fn query(&self, project: &str) -> String {
        let mut conditions = vec![format!("created < {}", quoted(&self.plan.until.to_string()))];
        conditions.extend(self.plan.since.map(|since| format!("created >= {}", quoted(&since.to_string()))));
        conditions.extend(self.filter.iter().map(|filter| format!("({filter})")));
        let mut query = format!(
            "select: * | from: project_logs({}) spans | filter: {} | limit: {}",
            quoted(project),
            conditions.join(" and "),
            self.plan.page_size(1000, 1000)
        );
        if let Some(cursor) = &self.state.cursor {
            query.push_str(&format!(" | cursor: {}", quoted(cursor)));
        }
        query
    }

    /// `fetch` knows no window: what lies outside is left out here.
    fn wanted(&self, row: &Value) -> bool {
        let created = text(row, "/created").and_then(|text| text.parse::<Timestamp>().ok());
        created.is_none_or(|at| self.plan.since.is_none_or(|since| at >= since) && at < self.plan.until)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

impl Pager for Braintrust {
    fn next(&self) -> Option<Request> {
        let Some(project) = &self.state.project else {
            return Some(Request::get("/v1/project").query("project_name", &self.project).query("limit", 1));
        };
        if self.state.done {
            return None;
        }
        Some(if self.fetch {
            let body = json!({"limit": self.plan.page_size(1000, 1000), "cursor": self.state.cursor});
            Request::post(format!("/v1/project_logs/{}/fetch", segment(project)), body)
        } else {
            Request::post("/btql", json!({"query": self.query(project), "fmt": "json", "brainstore_realtime": true}))
        })
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        let mut body = answer.json()?;
        if self.state.project.is_none() {
            let id = text(&body, "/objects/0/id").ok_or_else(|| {
                Shape::new(describe(&body), format!("`objects` with the project `{}`: check its name", self.project))
            })?;
            self.state.project = Some(id);
            return Ok(Page::default());
        }
        let rows = list(&mut body, if self.fetch { "events" } else { "data" })?;
        let ids: Vec<String> =
            rows.iter().map(|row| format!("{:?} {:?}", text(row, "/id"), text(row, "/_xact_id"))).collect();
        self.state.cursor = text(&body, "/cursor");
        // Newest first: a page that lies wholly before the window is the last one of interest.
        let past = self.fetch && !rows.is_empty() && !rows.iter().any(|row| self.wanted(row));
        let past =
            past && rows.iter().all(|row| text(row, "/created") < self.plan.since.map(|since| since.to_string()));
        self.state.done = self.state.cursor.is_none() || rows.is_empty() || past;
        let mut kept = Vec::new();
        for row in rows {
            let known = text(&row, "/id").is_some_and(|id| !self.met.insert(super::driver::fingerprint(id.as_bytes())));
            if !known && (!self.fetch || self.wanted(&row)) {
                kept.push(row);
            }
        }
        Ok(Page { ids, ..Page::turned(kept) })
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}
