//! Arize Phoenix: spans by cursor, and after each page the annotations of its spans.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, list, place_of, restore, segment, text, texts};
use super::{KEY, Keys, PlatformInfo, bearer};

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "phoenix",
    summary: "Arize Phoenix: spans and their annotations",
    url: Some("http://localhost:6006"),
    keys: &[KEY.named("PHOENIX_API_KEY").optional()],
    requests_per_minute: 600,
    takes: &["key_env", "project", "scores"],
    requires: &[],
    sample: "project = \"default\"\n",
    headers: |keys: &Keys, _| bearer(&keys.key),
    new,
};

/// Ids per question, so that addresses stay short.
const IDS_AT_A_TIME: usize = 50;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    cursor: Option<String>,
    /// Spans whose annotations are still to be asked for.
    queue: Vec<String>,
    notes_cursor: Option<String>,
    ended: bool,
    /// The server has no annotations.
    without: bool,
}

struct Phoenix {
    plan: Plan,
    state: State,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let without = !plan.options.scores.unwrap_or(true);
    let state = restore(place, State { without, ..State::default() })?;
    Ok(Box::new(Phoenix { plan: plan.clone(), state }))
}

impl Phoenix {
    fn path(&self, what: &str) -> String {
        format!("/v1/projects/{}/{what}", segment(self.plan.options.project.as_deref().unwrap_or("default")))
    }
}

impl Pager for Phoenix {
    fn next(&self) -> Option<Request> {
        if !self.state.queue.is_empty() {
            let ids = self.state.queue.iter().take(IDS_AT_A_TIME);
            let ask = ids.fold(Request::get(self.path("span_annotations")), |ask, id| ask.query("span_ids", id));
            return Some(
                ask.query("limit", 1000).query_opt("cursor", self.state.notes_cursor.as_ref()).accepting(&[404]),
            );
        }
        if self.state.ended {
            return None;
        }
        let ask = Request::get(self.path("spans")).query("limit", self.plan.page_size(500, 1000));
        let ask = ask.query("sort", "start_time").query("order", "asc");
        let ask = ask.query_opt("start_time", self.plan.since).query("end_time", self.plan.until);
        Some(ask.query_opt("cursor", self.state.cursor.as_ref()))
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        let annotations = !self.state.queue.is_empty();
        if annotations && !answer.is_success() {
            // None of these spans has any, or the server is too old to have them.
            self.state.queue.drain(..self.state.queue.len().min(IDS_AT_A_TIME));
            self.state.notes_cursor = None;
            return Ok(Page::default());
        }
        let mut body = answer.json()?;
        let rows = list(&mut body, "data")?;
        let next = text(&body, "/next_cursor");
        if annotations {
            if next.is_none() {
                self.state.queue.drain(..self.state.queue.len().min(IDS_AT_A_TIME));
            }
            self.state.notes_cursor = next;
            return Ok(Page::turned(rows));
        }
        if !self.state.without {
            self.state.queue = texts(&rows, "/context/span_id");
        }
        self.state.ended = next.is_none();
        self.state.cursor = next;
        Ok(Page::turned(rows))
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}
