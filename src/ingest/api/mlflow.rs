//! MLflow: a search gives what is known about traces; their spans come in batches, one by one, or from the file the
//! server keeps, whichever of these the server has.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pager::{Answer, Page, Pager, Plan, Request, Shape, list, place_of, restore, text, texts};
use super::{KEY, Keys, PlatformInfo, SECRET, basic, bearer};
use crate::ingest::json::describe;

pub(super) const PLATFORM: PlatformInfo = PlatformInfo {
    name: "mlflow",
    summary: "MLflow: traces with their spans and assessments",
    url: Some("http://localhost:5000"),
    keys: &[KEY.named("MLFLOW_TRACKING_TOKEN").optional(), SECRET.named("MLFLOW_TRACKING_PASSWORD").optional()],
    requests_per_minute: 300,
    takes: &["key_env", "secret_env", "user", "project", "filter"],
    requires: &["project"],
    sample: "url = \"http://localhost:5000\"\nproject = \"1\"\n",
    headers: |keys: &Keys, options| match (&options.user, &keys.secret) {
        (Some(user), Some(password)) => {
            basic(&Keys { key: Some(user.as_str().into()), secret: Some(password.clone()) })
        }
        _ => bearer(&keys.key),
    },
    new,
};

/// Traces per batch, so that addresses stay short.
const IDS_AT_A_TIME: usize = 20;

/// How spans are got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    #[default]
    Batch,
    One,
    File,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    experiment: Option<String>,
    token: Option<String>,
    way: Way,
    done: bool,
}

struct MlFlow {
    plan: Plan,
    project: String,
    filter: Option<String>,
    state: State,
    /// What is known of the traces of this page whose spans are still to come, the next ones last.
    waiting: Vec<Value>,
    /// Of those, the ones that only the file may have.
    without: Vec<Value>,
    /// Where the next page begins, once this one is through.
    after: Option<(Option<String>, bool)>,
}

fn new(plan: &Plan, place: Option<Value>) -> Result<Box<dyn Pager>, String> {
    let project = plan.project("the name or number of an experiment")?;
    let number = project.bytes().all(|byte| byte.is_ascii_digit());
    let state = restore(place, State { experiment: number.then(|| project.clone()), ..State::default() })?;
    let filter = plan.text_filter("attributes.status = 'OK'")?;
    let plan = plan.clone();
    Ok(Box::new(MlFlow { plan, project, filter, state, waiting: Vec::new(), without: Vec::new(), after: None }))
}

fn id_of(info: &Value) -> Option<String> {
    text(info, "/trace_id").or_else(|| text(info, "/request_id"))
}

/// A trace in the form of MLflow's own files.
fn whole(info: Value, spans: Value) -> Value {
    json!({"info": info, "data": {"spans": spans}})
}

impl MlFlow {
    fn search(&self, experiment: &str) -> Request {
        let mut filter = format!("attributes.timestamp_ms < {}", self.plan.until.as_millisecond());
        if let Some(since) = self.plan.since {
            filter.push_str(&format!(" AND attributes.timestamp_ms >= {}", since.as_millisecond()));
        }
        if let Some(wanted) = &self.filter {
            filter.push_str(&format!(" AND {wanted}"));
        }
        let mut body = json!({
            "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}],
            "filter": filter, "max_results": self.plan.page_size(100, 500), "order_by": ["timestamp_ms ASC"],
        });
        if let Some(token) = &self.state.token {
            body["page_token"] = json!(token);
        }
        Request::post("/api/3.0/mlflow/traces/search", body)
    }

    fn details(&self) -> Option<Request> {
        if let Some(id) = self.without.last().and_then(id_of) {
            let ask = Request::get("/ajax-api/2.0/mlflow/get-trace-artifact").query("request_id", id);
            return Some(ask.accepting(&[400, 404, 500, 501]));
        }
        if self.waiting.is_empty() {
            return None;
        }
        let missing = &[404, 405, 501];
        Some(match self.state.way {
            Way::Batch => {
                let ids = texts(&self.batch(), "/trace_id");
                let ask = Request::get("/api/3.0/mlflow/traces/batchGet").accepting(missing);
                ids.iter().fold(ask, |ask, id| ask.query("trace_ids", id))
            }
            Way::One | Way::File => {
                let id = self.waiting.last().and_then(id_of).unwrap_or_default();
                Request::get("/api/3.0/mlflow/traces/get").query("trace_id", id).accepting(missing)
            }
        })
    }

    fn batch(&self) -> Vec<Value> {
        let from = self.waiting.len().saturating_sub(IDS_AT_A_TIME);
        self.waiting.get(from..).unwrap_or_default().to_vec()
    }

    fn took_page(&mut self, answer: &Answer) -> Result<Page, Shape> {
        let mut body = answer.json()?;
        let mut infos = list(&mut body, "traces")?;
        let token = text(&body, "/next_page_token");
        let ids: Vec<String> = infos.iter().filter_map(id_of).collect();
        infos.reverse();
        self.waiting = infos;
        self.after = Some((token.clone(), token.is_none()));
        self.settle();
        Ok(Page::named(ids))
    }

    fn took_details(&mut self, answer: &Answer) -> Result<Page, Shape> {
        if let Some(info) = self.without.pop() {
            let spans = answer
                .is_success()
                .then(|| answer.json())
                .transpose()?
                .and_then(|mut file| file.get_mut("spans").map(Value::take));
            self.settle();
            return Ok(Page::detail(vec![whole(info, spans.unwrap_or_else(|| json!([])))]));
        }
        if !answer.is_success() {
            match self.state.way {
                Way::Batch => self.state.way = Way::One,
                Way::One => self.state.way = Way::File,
                Way::File => {}
            }
            if self.state.way == Way::File {
                self.without.append(&mut self.waiting);
            }
            return Ok(Page::default());
        }
        let mut body = answer.json()?;
        let (asked, mut traces) = match self.state.way {
            Way::Batch => {
                let asked = self.batch();
                self.waiting.truncate(self.waiting.len() - asked.len());
                (asked, list(&mut body, "traces")?)
            }
            Way::One | Way::File => {
                let trace = body.get_mut("trace").map(Value::take);
                let trace = trace.ok_or_else(|| Shape::new(describe(&body), "an object with `trace`"))?;
                (self.waiting.pop().into_iter().collect(), vec![trace])
            }
        };
        let mut rows = Vec::new();
        for info in asked.into_iter().rev() {
            let id = id_of(&info);
            let found = traces.iter_mut().find(|trace| trace.get("trace_info").and_then(id_of) == id);
            match found.and_then(|trace| trace.get_mut("spans").map(Value::take)) {
                Some(Value::Array(spans)) if !spans.is_empty() => rows.push(whole(info, Value::Array(spans))),
                // Servers that keep spans in files give none in batches.
                _ => self.without.push(info),
            }
        }
        self.settle();
        Ok(Page::detail(rows))
    }

    fn settle(&mut self) {
        if self.waiting.is_empty()
            && self.without.is_empty()
            && let Some((token, done)) = self.after.take()
        {
            (self.state.token, self.state.done) = (token, done);
        }
    }
}

impl Pager for MlFlow {
    fn next(&self) -> Option<Request> {
        if let Some(ask) = self.details() {
            return Some(ask);
        }
        match &self.state.experiment {
            _ if self.state.done => None,
            Some(experiment) => Some(self.search(experiment)),
            None => {
                Some(Request::get("/api/2.0/mlflow/experiments/get-by-name").query("experiment_name", &self.project))
            }
        }
    }

    fn take(&mut self, answer: Answer) -> Result<Page, Shape> {
        if !self.waiting.is_empty() || !self.without.is_empty() {
            return self.took_details(&answer);
        }
        if self.state.experiment.is_some() {
            return self.took_page(&answer);
        }
        let found = answer.json()?;
        let id = text(&found, "/experiment/experiment_id");
        self.state.experiment = Some(id.ok_or_else(|| {
            Shape::new(describe(&found), format!("the experiment `{}`: check its name", self.project))
        })?);
        Ok(Page::default())
    }

    fn place(&self) -> Value {
        place_of(&self.state)
    }
}
