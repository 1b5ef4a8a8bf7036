//! LangSmith: runs by cursor, from the second version of the interface where the server has it, else the first.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, is_uuid, list, place_of, restore, text};
use super::{KEY, Keys, PlatformInfo, header};
use crate::ingest::json::describe;

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "langsmith",
    summary: "LangSmith: runs, with the statistics of their feedback",
    url: Some("https://api.smith.langchain.com"),
    keys: &[KEY.named("LANGSMITH_API_KEY")],
    requests_per_minute: 120,
    takes: &["key_env", "project", "workspace", "api", "filter"],
    requires: &["project"],
    sample: "project = \"support\"\nsince = \"30d\"\n",
    headers: |keys: &Keys, options| {
        let mut headers = header("x-api-key", &keys.key);
        headers.extend(options.workspace.iter().map(|tenant| ("x-tenant-id", tenant.as_str().into())));
        headers
    },
    new,
};

/// Everything a run can say; what is not selected is left out.
const SELECTS: &[&str] = &[
    "ID",
    "NAME",
    "RUN_TYPE",
    "STATUS",
    "START_TIME",
    "END_TIME",
    "FIRST_TOKEN_TIME",
    "ERROR",
    "INPUTS",
    "OUTPUTS",
    "EVENTS",
    "EXTRA",
    "METADATA",
    "TAGS",
    "TRACE_ID",
    "PARENT_RUN_IDS",
    "DOTTED_ORDER",
    "THREAD_ID",
    "PROJECT_ID",
    "IS_ROOT",
    "PROMPT_TOKENS",
    "COMPLETION_TOKENS",
    "TOTAL_TOKENS",
    "PROMPT_TOKEN_DETAILS",
    "COMPLETION_TOKEN_DETAILS",
    "PROMPT_COST",
    "COMPLETION_COST",
    "TOTAL_COST",
    "FEEDBACK_STATS",
    "REFERENCE_EXAMPLE_ID",
];

#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    /// Id of the project, once it is known.
    project: Option<String>,
    /// The first version, because the second is not there or was not wanted.
    old: bool,
    cursor: Option<String>,
    done: bool,
}

struct LangSmith {
    plan: Plan,
    project: String,
    filter: Option<String>,
    state: State,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let project = plan.project("the name or id of a tracing project")?;
    let old = match plan.options.api.as_deref() {
        None | Some("v2") => false,
        Some("v1") => true,
        Some(other) => return Err(format!("`api` must be `v2` or `v1`, found `{other}`")),
    };
    let id = is_uuid(&project).then(|| project.clone());
    let state = restore(place, State { project: id, old, cursor: None, done: false })?;
    let filter = plan.text_filter("eq(status, \"success\")")?;
    Ok(Box::new(LangSmith { filter, project, state, plan: plan.clone() }))
}

impl LangSmith {
    fn runs(&self, project: &str) -> Request {
        // Without a beginning the second version gives the last day only.
        let since = self.plan.since_or(3650);
        let (path, mut body) = if self.state.old {
            let body = json!({"session": [project], "start_time": since, "end_time": self.plan.until,
                "limit": self.plan.page_size(100, 100)});
            ("/api/v1/runs/query", body)
        } else {
            let body = json!({"project_ids": [project], "selects": SELECTS, "min_start_time": since,
                "max_start_time": self.plan.until, "page_size": self.plan.page_size(100, 1000)});
            ("/api/v2/runs/query", body)
        };
        for (key, value) in [("filter", &self.filter), ("cursor", &self.state.cursor)] {
            if let Some(value) = value {
                body[key] = json!(value);
            }
        }
        let request = Request::post(path, body);
        if self.may_fall_back() { request.accepting(&[404, 405, 501]) } else { request }
    }

    /// Self-hosted servers before 0.16 know the first version only.
    fn may_fall_back(&self) -> bool {
        !self.state.old && self.state.cursor.is_none() && self.plan.options.api.is_none()
    }
}

impl Pager for LangSmith {
    fn next(&self) -> Option<Request> {
        match &self.state.project {
            _ if self.state.done => None,
            Some(project) => Some(self.runs(project)),
            None => Some(Request::get("/api/v1/sessions").query("name", &self.project).query("limit", 1)),
        }
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        if self.state.project.is_none() {
            let found = answer.json()?;
            let id = text(&found, "/0/id").ok_or_else(|| {
                Shape::new(describe(&found), format!("a list with the project `{}`: check its name", self.project))
            })?;
            self.state.project = Some(id);
            return Ok(Page::default());
        }
        if !answer.is_success() {
            self.state.old = true;
            return Ok(Page::default());
        }
        let mut body = answer.json()?;
        let (key, next) = if self.state.old { ("runs", "/cursors/next") } else { ("items", "/next_cursor") };
        let rows = list(&mut body, key)?;
        self.state.cursor = text(&body, next);
        self.state.done = self.state.cursor.is_none();
        Ok(Page::turned(rows))
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}
