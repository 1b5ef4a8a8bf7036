//! Helicone: requests by offset, with bodies fetched from the store they were put in.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, list, place_of, restore, text};
use super::{KEY, Keys, PlatformInfo, bearer};
use crate::ingest::json::describe;

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "helicone",
    summary: "Helicone: requests with their bodies and scores",
    url: Some("https://api.helicone.ai"),
    keys: &[KEY.named("HELICONE_API_KEY")],
    requests_per_minute: 60,
    takes: &["key_env", "filter"],
    requires: &[],
    sample: "since = \"30d\"\n",
    headers: |keys: &Keys, _| bearer(&keys.key),
    new,
};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    offset: u64,
    done: bool,
}

struct Helicone {
    plan: Plan,
    state: State,
    /// Rows of the page whose bodies are still to be fetched, the next one last. The place stays at the page's
    /// beginning until they are through.
    waiting: Vec<Value>,
    /// Rows of that page.
    turned: u64,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    if let Some(other) = plan.options.filter.as_ref().filter(|filter| !filter.is_object()) {
        return Err(format!("`filter` must be a table, a node of Helicone's filter tree, found {}", describe(other)));
    }
    let state = restore(place, State::default())?;
    Ok(Box::new(Helicone { plan: plan.clone(), state, waiting: Vec::new(), turned: 0 }))
}

fn created(operator: &str, at: jiff::Timestamp) -> Value {
    json!({"request_response_rmt": {"request_created_at": {operator: at}}})
}

fn both(left: &Value, right: &Value) -> Value {
    json!({"left": left, "operator": "and", "right": right})
}

/// Where the bodies of a row are, when they are not in it.
fn signed(row: &Value) -> Option<String> {
    let empty = |key: &str| match row.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        _ => false,
    };
    if empty("request_body") || empty("response_body") { text(row, "/signed_body_url") } else { None }
}

/// The row without the address: it opens the bodies to whoever has it, and differs each time it is asked for.
fn unsigned(mut row: Value) -> Value {
    if let Some(map) = row.as_object_mut() {
        map.remove("signed_body_url");
    }
    row
}

impl Helicone {
    fn settle(&mut self) {
        if self.waiting.is_empty() {
            self.state.offset += std::mem::take(&mut self.turned);
        }
    }
}

impl Pager for Helicone {
    fn next(&self) -> Option<Request> {
        if let Some(url) = self.waiting.last().and_then(signed) {
            let ask = Request { foreign: true, ..Request::get(url) };
            // Signatures expire and old bodies are deleted; the row is good without.
            return Some(ask.accepting(&[400, 401, 403, 404, 410]));
        }
        if self.state.done {
            return None;
        }
        let mut filter = created("lt", self.plan.until);
        if let Some(since) = self.plan.since {
            filter = both(&created("gte", since), &filter);
        }
        if let Some(wanted) = &self.plan.options.filter {
            filter = both(&filter, wanted);
        }
        let body = json!({"filter": filter, "offset": self.state.offset, "limit": self.plan.page_size(500, 1000),
            "sort": {"created_at": "asc"}, "isCached": false, "includeInputs": true, "isScored": false,
            "isPartOfExperiment": false});
        Some(Request::post("/v1/request/query-clickhouse", body))
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        if let Some(mut row) = self.waiting.pop() {
            if answer.is_success()
                && let Ok(mut bodies) = answer.json()
                && let Some(map) = row.as_object_mut()
            {
                for (from, to) in [("request", "request_body"), ("response", "response_body")] {
                    if let Some(body) = bodies.get_mut(from) {
                        map.insert(to.to_owned(), body.take());
                    }
                }
            }
            self.settle();
            return Ok(Page::detail(vec![unsigned(row)]));
        }
        let mut body = answer.json()?;
        if let Some(error) = text(&body, "/error") {
            return Err(Shape::new(format!("the error `{error}`"), "requests as `data`"));
        }
        let rows = list(&mut body, "data")?;
        self.state.done = rows.is_empty();
        self.turned = rows.len() as u64;
        let ids = rows.iter().map(|row| text(row, "/request_id").unwrap_or_else(|| row.to_string())).collect();
        let (mut waiting, ready): (Vec<Value>, Vec<Value>) = rows.into_iter().partition(|row| signed(row).is_some());
        waiting.reverse();
        self.waiting = waiting;
        self.settle();
        Ok(Page { ids, ..Page::turned(ready.into_iter().map(unsigned).collect()) })
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}
