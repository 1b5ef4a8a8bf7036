//! Fakes of the places that scores are sent to: each checks key, path and body as the platform documents them, keeps
//! what it took by the platform's own rule of sameness, and fails on purpose when told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::{Value, json};

/// The key that opens every fake, and the second where there are two.
pub const KEY: &str = "key-0123456789abcdef-public";
pub const SECRET: &str = "sec-fedcba9876543210-private";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub bytes: Vec<u8>,
}

impl Ask {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// This status, with a body that echoes the key.
    Status(u16),
    /// 429 with `Retry-After` in seconds.
    TooMany(f64),
    /// The right answer, after so many milliseconds; what was asked is done.
    Slow(u64),
    /// The connection is dropped before anything is done.
    Gone,
}

/// What a fake holds: the key by which the platform knows a score, and the score.
#[derive(Default)]
pub struct Held {
    pub scores: BTreeMap<String, Value>,
    pub asks: Vec<Ask>,
    faults: VecDeque<(usize, Fault)>,
    /// Writes that changed something.
    pub changes: usize,
}

impl Held {
    fn put(&mut self, key: String, value: Value) {
        if self.scores.get(&key) != Some(&value) {
            self.changes += 1;
            self.scores.insert(key, value);
        }
    }
}

/// A running fake; ends with the test.
pub struct Server {
    pub url: String,
    pub held: Arc<Mutex<Held>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

type Shared = (Arc<Mutex<Held>>, &'static str);

impl Server {
    /// Starts a fake of a kind; faults are due at the request of their number, from 0.
    pub fn start(kind: &'static str, faults: &[(usize, Fault)]) -> Self {
        let held = Arc::new(Mutex::new(Held { faults: faults.iter().copied().collect(), ..Held::default() }));
        let (ready, address) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let state: Shared = (held.clone(), kind);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                ready.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
                let app = Router::new().fallback(handle).with_state(state);
                tokio::select! {
                    served = async { axum::serve(listener, app).await } => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { url: address.recv().unwrap(), held, stop: Some(stop) }
    }

    pub fn asks(&self) -> Vec<Ask> {
        self.held.lock().unwrap().asks.clone()
    }

    pub fn scores(&self) -> BTreeMap<String, Value> {
        self.held.lock().unwrap().scores.clone()
    }

    pub fn changes(&self) -> usize {
        self.held.lock().unwrap().changes
    }

    /// Plans a fault for the next request.
    pub fn fail_next(&self, fault: Fault) {
        let mut held = self.held.lock().unwrap();
        let next = held.asks.len();
        held.faults.push_back((next, fault));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

type Answer = (u16, Value);

async fn handle(
    State((held, kind)): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let ask = Ask {
        method: method.to_string(),
        path: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned()))
            .collect(),
        bytes: body.to_vec(),
    };
    let fault = {
        let mut held = held.lock().unwrap();
        held.asks.push(ask.clone());
        let number = held.asks.len() - 1;
        let due = held.faults.front().is_some_and(|(at, _)| *at <= number);
        due.then(|| held.faults.pop_front().unwrap().1)
    };
    let echoed = format!("{} {}", ask.header("authorization"), ask.header("x-api-key"));
    let answer = match fault {
        Some(Fault::Status(status)) => (status, json!({"error": format!("on purpose {echoed} {}", ask.path)})),
        Some(Fault::TooMany(seconds)) => {
            let body = Body::from("slow down");
            return Response::builder().status(429).header("retry-after", seconds.to_string()).body(body).unwrap();
        }
        Some(Fault::Gone) => {
            // Longer than any client waits in these tests: nothing was done, and nothing is ever answered.
            tokio::time::sleep(Duration::from_secs(60)).await;
            (500, Value::Null)
        }
        Some(Fault::Slow(ms)) => {
            let answer = respond(kind, &ask, &mut held.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(ms)).await;
            answer
        }
        None => respond(kind, &ask, &mut held.lock().unwrap()),
    };
    let (status, body) = answer;
    let text = if status == 204 { String::new() } else { body.to_string() };
    Response::builder().status(status).header("content-type", "application/json").body(Body::from(text)).unwrap()
}

fn respond(kind: &str, ask: &Ask, held: &mut Held) -> Answer {
    if !opens(kind, ask) {
        return (401, json!({"error": "invalid key"}));
    }
    let answer = match kind {
        "langfuse" => langfuse(ask, held, true),
        "langfuse_v3" => langfuse(ask, held, false),
        "langsmith" => langsmith(ask, held),
        "phoenix" => phoenix(ask, held),
        "braintrust" => braintrust(ask, held),
        "opik" => opik(ask, held),
        "mlflow" => mlflow(ask, held),
        "weave" => weave(ask, held),
        "datadog" => datadog(ask, held),
        "helicone" => helicone(ask, held),
        "webhook" => webhook(ask, held),
        "taker" => Ok((200, json!({}))),
        other => panic!("no fake of {other}"),
    };
    answer.unwrap_or_else(|why| (400, json!({"error": why})))
}

fn opens(kind: &str, ask: &Ask) -> bool {
    use base64::Engine;
    let basic = |user: &str, password: &str| {
        let coded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        ask.header("authorization") == format!("Basic {coded}")
    };
    match kind {
        "langfuse" | "langfuse_v3" => ask.path.ends_with("/health") || basic(KEY, SECRET),
        "weave" => basic("api", KEY),
        "langsmith" => ask.header("x-api-key") == KEY,
        "datadog" => ask.header("dd-api-key") == KEY,
        "opik" => ask.header("authorization") == KEY,
        "taker" => true,
        _ => ask.header("authorization") == format!("Bearer {KEY}"),
    }
}

fn need(fits: bool, why: &str) -> Result<(), String> {
    if fits { Ok(()) } else { Err(why.to_owned()) }
}

fn langfuse(ask: &Ask, held: &mut Held, lists: bool) -> Result<Answer, String> {
    if ask.path == "/api/public/health" {
        let version = if lists { "4.2.0" } else { "3.139.0" };
        return Ok((200, json!({"status": "OK", "version": version})));
    }
    need(ask.method == "POST" && ask.path == "/api/public/scores", "no such path")?;
    let body = ask.json();
    need(body.is_array() == lists, if lists { "expected an array" } else { "expected an object" })?;
    let scores = body.as_array().cloned().unwrap_or_else(|| vec![body]);
    let mut errors = Vec::new();
    for score in &scores {
        let (kind, value) = (score["dataType"].as_str().unwrap_or_default(), &score["value"]);
        let fits = match kind {
            "NUMERIC" => value.is_number(),
            "BOOLEAN" => value == 0 || value == 1,
            "CATEGORICAL" => value.as_str().is_some_and(|text| (1..=500).contains(&text.len())),
            _ => false,
        };
        need(fits && score["traceId"].is_string() && score["name"].is_string(), "score does not fit")?;
        need(score["source"] == "API", "source EVAL is rejected")?;
        if score["comment"].as_str().is_some_and(|comment| comment.contains("poison")) {
            errors.push(json!({"id": score["id"], "error": "the trace is in a project that is read-only"}));
            continue;
        }
        // Same id and same time make the same score; anything else is one more.
        held.put(format!("{} {}", score["id"], score["timestamp"]), score.clone());
    }
    Ok(match (lists, errors.is_empty()) {
        (false, _) => (200, json!({"id": scores[0]["id"]})),
        (true, true) => (202, json!({"message": "Accepted"})),
        (true, false) => {
            (207, json!({"accepted": scores.len() - errors.len(), "rejected": errors.len(), "errors": errors}))
        }
    })
}

fn langsmith(ask: &Ask, held: &mut Held) -> Result<Answer, String> {
    let body = ask.json();
    match (ask.method.as_str(), ask.path.strip_prefix("/api/v1/feedback")) {
        ("POST", Some("")) => {
            for field in ["id", "run_id", "trace_id", "session_id", "key", "start_time"] {
                need(body[field].is_string(), &format!("{field} is required"))?;
            }
            need(matches!(body["feedback_source"]["type"].as_str(), Some("api" | "model" | "app")), "source")?;
            let id = body["id"].as_str().unwrap().to_owned();
            if held.scores.contains_key(&id) {
                return Ok((409, json!({"detail": "feedback exists"})));
            }
            held.put(id, body);
            Ok((200, json!({})))
        }
        ("PATCH", Some(id)) => match held.scores.get(id.trim_start_matches('/')).cloned() {
            None => Ok((404, json!({"detail": "not found"}))),
            Some(mut known) => {
                for (key, value) in body.as_object().ok_or("object")? {
                    known[key] = value.clone();
                }
                held.put(id.trim_start_matches('/').to_owned(), known);
                Ok((200, json!({})))
            }
        },
        _ => Ok((404, json!({"detail": "no such path"}))),
    }
}

fn phoenix(ask: &Ask, held: &mut Held) -> Result<Answer, String> {
    if ask.method != "POST" || ask.path != "/v1/span_annotations?sync=true" {
        return Ok((404, json!({"detail": "Not Found"})));
    }
    let data = ask.json()["data"].as_array().cloned().ok_or("data")?;
    let unknown: Vec<&str> =
        data.iter().filter_map(|row| row["span_id"].as_str()).filter(|id| id.starts_with("dead")).collect();
    if !unknown.is_empty() {
        return Ok((404, json!({"detail": format!("Spans with IDs {} do not exist.", unknown.join(", "))})));
    }
    for row in &data {
        need(matches!(row["annotator_kind"].as_str(), Some("LLM" | "CODE" | "HUMAN")), "annotator_kind")?;
        need(row["result"]["score"].is_number() || row["result"]["label"].is_string(), "result")?;
        held.put(format!("{} {} {}", row["name"], row["span_id"], row["identifier"]), row.clone());
    }
    Ok((200, json!({"data": data.iter().map(|_| json!({"id": "x"})).collect::<Vec<_>>()})))
}

fn braintrust(ask: &Ask, held: &mut Held) -> Result<Answer, String> {
    need(ask.method == "POST" && ask.path == "/v1/project_logs/project-1/feedback", "path")?;
    for row in ask.json()["feedback"].as_array().ok_or("feedback")? {
        need(row["source"] == "external", "source")?;
        for (name, score) in row["scores"].as_object().ok_or("scores")? {
            need(score.as_f64().is_some_and(|score| (0.0..=1.0).contains(&score)), "scores must be 0 to 1")?;
            held.put(format!("{} {name}", row["id"]), score.clone());
        }
    }
    Ok((200, json!({"status": "success"})))
}

fn opik(ask: &Ask, held: &mut Held) -> Result<Answer, String> {
    need(ask.method == "PUT" && ask.path == "/v1/private/traces/feedback-scores", "path")?;
    for score in ask.json()["scores"].as_array().ok_or("scores")? {
        let id = uuid::Uuid::parse_str(score["id"].as_str().ok_or("id")?).map_err(|error| error.to_string())?;
        need(id.get_version_num() == 7, "id must be a version 7 UUID")?;
        need(score["value"].is_number() && score["source"] == "sdk" && score["project_name"].is_string(), "score")?;
        held.put(format!("{id} {} {}", score["name"], score["author"]), score.clone());
    }
    Ok((204, Value::Null))
}

fn mlflow(ask: &Ask, held: &mut Held) -> Result<Answer, String> {
    let Some(rest) = ask.path.strip_prefix("/api/3.0/mlflow/traces/") else { return Ok((404, json!({}))) };
    let parts: Vec<&str> = rest.split('/').collect();
    let trace = parts[0];
    let body = ask.json();
    match (ask.method.as_str(), &parts[1..]) {
        ("GET", []) if trace.starts_with("tr-dead") => {
            Ok((404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Trace not found"})))
        }
        ("GET", []) => {
            let here = held.scores.values().filter(|known| known["trace_id"] == trace).cloned().collect::<Vec<_>>();
            Ok((200, json!({"trace": {"trace_info": {"trace_id": trace, "assessments": here}}})))
        }
        ("POST", ["assessments"]) => {
            let mut new = body["assessment"].clone();
            need(new["assessment_name"].is_string() && new["trace_id"] == trace, "assessment")?;
            let words = new["metadata"].as_object().is_some_and(|map| map.values().all(Value::is_string));
            need(words, "metadata holds texts only")?;
            // The server gives out ids: sent twice it is there twice.
            let id = format!("a-{}", held.scores.len());
            new["assessment_id"] = json!(id);
            held.put(id, new);
            Ok((200, json!({})))
        }
        ("PATCH", ["assessments", id]) => {
            let id = (*id).to_owned();
            let mut known = held.scores.get(&id).cloned().ok_or("no such assessment")?;
            need(body["update_mask"].is_string(), "update_mask")?;
            known["feedback"] = body["assessment"]["feedback"].clone();
            known["rationale"] = body["assessment"]["rationale"].clone();
            held.put(id, known);
            Ok((200, json!({})))
        }
        _ => Ok((404, json!({}))),
    }
}

fn weave(ask: &Ask, held: &mut Held) -> Result<Answer, String> {
    let body = ask.json();
    need(body["project_id"] == "entity/project", "project")?;
    match ask.path.as_str() {
        "/feedback/query" => {
            let both = body["query"]["$expr"]["$and"].as_array().ok_or("query")?;
            let wanted: Vec<(&str, &Value)> = both
                .iter()
                .map(|part| (part["$eq"][0]["$getField"].as_str().unwrap(), &part["$eq"][1]["$literal"]))
                .collect();
            let fits = |known: &&Value| wanted.iter().all(|(field, value)| &known[*field] == *value);
            let found: Vec<Value> = held.scores.values().filter(fits).cloned().collect();
            Ok((200, json!({"result": found})))
        }
        "/feedback/create" | "/feedback/replace" => {
            need(!body["feedback_type"].as_str().unwrap_or("wandb.").starts_with("wandb."), "references are missing")?;
            need(
                body["weave_ref"].as_str().is_some_and(|text| text.starts_with("weave:///entity/project/call/")),
                "ref",
            )?;
            let replaced = body["feedback_id"].as_str().map(str::to_owned);
            need(replaced.is_some() == ask.path.ends_with("replace"), "feedback_id")?;
            let id = replaced.unwrap_or_else(|| format!("f-{}", held.scores.len()));
            let mut new = body;
            new["id"] = json!(id);
            held.put(id, new);
            Ok((200, json!({})))
        }
        _ => Ok((404, json!({}))),
    }
}

fn datadog(ask: &Ask, held: &mut Held) -> Result<Answer, String> {
    need(ask.path == "/api/intake/llm-obs/v2/eval-metric", "path")?;
    for metric in ask.json()["data"]["attributes"]["metrics"].as_array().ok_or("metrics")? {
        let kind = metric["metric_type"].as_str().ok_or("metric_type")?;
        need(matches!(kind, "score" | "boolean" | "categorical"), "metric_type")?;
        need(!metric[format!("{kind}_value")].is_null() && metric["ml_app"].is_string(), "value")?;
        need(metric["join_on"]["span"]["span_id"].is_string(), "join_on")?;
        // Nothing tells one from another: each is one more.
        let number = held.scores.len();
        held.put(format!("{number:04}"), metric.clone());
    }
    Ok((202, json!({})))
}

fn helicone(ask: &Ask, held: &mut Held) -> Result<Answer, String> {
    let request = ask.path.strip_prefix("/v1/request/").and_then(|rest| rest.strip_suffix("/score")).ok_or("path")?;
    for (name, score) in ask.json()["scores"].as_object().ok_or("scores")? {
        need(score.is_boolean() || score.is_i64(), "scores are integers or booleans")?;
        held.put(format!("{request} {name}"), score.clone());
    }
    Ok((201, json!({"data": null, "error": null})))
}

fn webhook(ask: &Ask, held: &mut Held) -> Result<Answer, String> {
    need(!ask.header("idempotency-key").is_empty(), "idempotency-key")?;
    for entry in ask.json()["entries"].as_array().ok_or("entries")? {
        held.put(entry["id"].to_string(), entry.clone());
    }
    Ok((200, json!({})))
}
