//! Datadog: spans of LLM Observability from the export interface, by cursor.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, list, place_of, restore, text};
use super::{KEY, Keys, PlatformInfo, SECRET, header};

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "datadog",
    summary: "Datadog LLM Observability: spans",
    url: Some("https://api.datadoghq.com"),
    keys: &[KEY.named("DD_API_KEY"), SECRET.named("DD_APP_KEY")],
    requests_per_minute: 30,
    takes: &["key_env", "secret_env", "project", "filter"],
    requires: &[],
    sample: "url = \"https://api.datadoghq.eu\"\nproject = \"shop\"\n",
    headers: |keys: &Keys, _| {
        let mut headers = header("dd-api-key", &keys.key);
        headers.extend(header("dd-application-key", &keys.secret));
        headers
    },
    new,
};

/// How far back spans are kept at least; asking for more is no error.
const KEPT_DAYS: i64 = 90;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    cursor: Option<String>,
    done: bool,
}

struct Datadog {
    plan: Plan,
    filter: Option<String>,
    state: State,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let filter = plan.text_filter("@meta.model_name:gpt-x")?;
    Ok(Box::new(Datadog { plan: plan.clone(), filter, state: restore(place, State::default())? }))
}

impl Pager for Datadog {
    fn next(&self) -> Option<Request> {
        if self.state.done {
            return None;
        }
        let ask = Request::get("/api/v2/llm-obs/v1/spans/events");
        let ask = ask.query("filter[from]", self.plan.since_or(KEPT_DAYS)).query("filter[to]", self.plan.until);
        let ask = ask.query_opt("filter[ml_app]", self.plan.options.project.as_ref());
        let ask = ask.query_opt("filter[query]", self.filter.as_ref());
        let ask = ask.query("page[limit]", self.plan.page_size(500, 5000));
        Some(ask.query_opt("page[cursor]", self.state.cursor.as_ref()))
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        let mut body = answer.json()?;
        let rows = list(&mut body, "data")?;
        self.state.cursor = text(&body, "/meta/page/after");
        self.state.done = self.state.cursor.is_none() || rows.is_empty();
        Ok(Page::turned(rows))
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}
