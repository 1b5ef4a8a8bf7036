//! Platforms whose traces are fetched one by one or in batches: MLflow, AgentOps.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Ask, COUNT, FIRST, KEY, Platform, Reply, call_id, cursor, limit, offset, page, root_id, time, trace_id};

/// What an MLflow server can do.
#[derive(Clone, Copy, PartialEq)]
pub enum MlFlowAge {
    /// Gives batches; spans of one trace are only in its file.
    Batches,
    /// Gives one trace at a time.
    Single,
    /// Has files only.
    Files,
}

pub struct MlFlow(pub MlFlowAge);

fn coded(hex: &str) -> String {
    let bytes: Vec<u8> =
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
    STANDARD.encode(bytes)
}

fn info(n: usize) -> Value {
    json!({"trace_id": format!("tr-{}", trace_id(n)), "trace_location": {"type": "MLFLOW_EXPERIMENT",
        "mlflow_experiment": {"experiment_id": "1"}}, "request_time": time(n, 0), "state": "OK",
        "request_preview": "hi", "response_preview": "hello", "execution_duration": "1s",
        "trace_metadata": {"mlflow.trace.session": "s1", "mlflow.trace.user": "u1"}, "tags": {"mlflow.traceName": "agent"},
        "assessments": []})
}

fn spans(n: usize) -> Value {
    let start = (FIRST + 60 * n as i64) * 1_000_000_000;
    let span = |id: String, parent: String, name: &str, kind: &str, from: i64, to: i64| {
        json!({"trace_id": coded(&trace_id(n)), "span_id": coded(&id), "parent_span_id": parent, "name": name,
            "start_time_unix_nano": start + from, "end_time_unix_nano": start + to, "events": [],
            "status": {"code": "STATUS_CODE_OK", "message": ""}, "attributes": {"mlflow.spanType": format!("\"{kind}\""),
            "mlflow.spanInputs": "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
            "mlflow.spanOutputs": "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"hello\"}}]}"}})
    };
    json!([
        span(root_id(n), String::new(), "agent", "AGENT", 0, 1_000_000_000),
        span(call_id(n), coded(&root_id(n)), "chat", "CHAT_MODEL", 100_000_000, 900_000_000)
    ])
}

fn known(id: &str) -> Option<usize> {
    (0..COUNT).find(|n| format!("tr-{}", trace_id(*n)) == id)
}

/// `attributes.timestamp_ms >= N` and `< N`, as written in a filter.
fn bound(filter: &str, operator: &str) -> Option<i64> {
    let head = format!("attributes.timestamp_ms {operator} ");
    filter.split_once(&head)?.1.split(' ').next()?.parse().ok()
}

impl MlFlow {
    fn reply(&self, ask: &Ask) -> Result<Reply, Reply> {
        let body = ask.body();
        let trace = |n: usize| json!({"trace_info": info(n), "spans": spans(n)});
        match ask.route() {
            (false, path) if path == ["api", "2.0", "mlflow", "experiments", "get-by-name"] => {
                let found = ask.query("experiment_name") == Some("support bot");
                if found {
                    Ok(Reply::json(json!({"experiment": {"experiment_id": "1"}})))
                } else {
                    Err(Reply::nowhere())
                }
            }
            (true, path) if path == ["api", "3.0", "mlflow", "traces", "search"] => {
                if body["locations"][0]["mlflow_experiment"]["experiment_id"] != "1" {
                    return Err(Reply::refuse(400, "experiment"));
                }
                let filter = body["filter"].as_str().unwrap_or_default();
                let (since, until) = (bound(filter, ">="), bound(filter, "<"));
                let inside = |n: &usize| {
                    let at = (FIRST + 60 * *n as i64) * 1000;
                    since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until)
                };
                let rows: Vec<Value> = (0..COUNT).filter(inside).map(info).collect();
                let at = offset(body["page_token"].as_str()).ok_or_else(|| Reply::refuse(400, "token"))?;
                let (rows, next) = page(&rows, at, limit(body["max_results"].as_u64(), 500, 100)?);
                // Protobuf leaves empty fields out.
                let mut reply = json!({});
                if !rows.is_empty() {
                    reply["traces"] = json!(rows);
                }
                if let Some(next) = next {
                    reply["next_page_token"] = json!(cursor(next));
                }
                Ok(Reply::json(reply))
            }
            (false, path) if path == ["api", "3.0", "mlflow", "traces", "batchGet"] && self.0 == MlFlowAge::Batches => {
                // Trace 2 is kept in a file.
                let found = ask.all("trace_ids").into_iter().filter_map(known).filter(|n| *n != 2).map(trace);
                Ok(Reply::json(json!({"traces": found.collect::<Vec<_>>()})))
            }
            (false, path) if path == ["api", "3.0", "mlflow", "traces", "get"] && self.0 == MlFlowAge::Single => {
                let n = ask.query("trace_id").and_then(known).ok_or_else(Reply::nowhere)?;
                Ok(Reply::json(json!({"trace": trace(n)})))
            }
            (false, path) if path == ["ajax-api", "2.0", "mlflow", "get-trace-artifact"] => {
                let n = ask.query("request_id").and_then(known).ok_or_else(Reply::nowhere)?;
                Ok(Reply::json(json!({"spans": spans(n)})))
            }
            _ => Err(Reply::nowhere()),
        }
    }
}

impl Platform for MlFlow {
    fn opens(&self, ask: &Ask) -> bool {
        ask.bearer(KEY)
    }

    fn answer(&self, ask: &Ask) -> Reply {
        self.reply(ask).unwrap_or_else(|refused| refused)
    }

    fn expected(&self) -> Vec<Value> {
        (0..COUNT).map(|n| json!({"info": info(n), "data": {"spans": spans(n)}})).collect()
    }

    fn options(&self) -> &'static str {
        "project = \"support bot\"\npage_size = 3"
    }
}

/// AgentOps: tokens are exchanged for the key and live for so many requests.
#[derive(Default)]
pub struct AgentOps {
    token_lives: Option<usize>,
    given: std::sync::atomic::AtomicUsize,
    used: std::sync::atomic::AtomicUsize,
}

fn agent_span(n: usize, call: bool) -> (Value, Value) {
    let (id, parent, name) =
        if call { (call_id(n), root_id(n), "chat") } else { (root_id(n), String::new(), "support") };
    let listed = json!({"span_id": id, "parent_span_id": parent, "span_name": name, "span_kind": "SPAN_KIND_CLIENT",
        "start_time": time(n, if call { 100 } else { 0 }), "end_time": time(n, 900), "duration": 800,
        "status_code": "STATUS_CODE_OK", "status_message": ""});
    let detail = json!({"span_id": id, "attributes": {"agentops.span.kind": if call { "llm" } else { "agent" }},
        "resource_attributes": {"service.name": "shop"}, "span_attributes": {}, "events": []});
    (listed, detail)
}

impl AgentOps {
    pub fn living(requests: usize) -> Self {
        Self { token_lives: Some(requests), ..Self::default() }
    }

    fn token(&self) -> String {
        format!("token-{:016}", self.given.load(std::sync::atomic::Ordering::SeqCst))
    }

    fn reply(&self, ask: &Ask) -> Result<Reply, Reply> {
        use std::sync::atomic::Ordering::SeqCst;
        match ask.route() {
            (true, path) if path == ["public", "v1", "auth", "access_token"] => {
                self.given.fetch_add(1, SeqCst);
                self.used.store(0, SeqCst);
                Ok(Reply::json(json!({"bearer": self.token()})))
            }
            (false, path) if path.len() == 4 && path[..3] == ["public", "v1", "traces"] => {
                let n = (0..COUNT).find(|n| trace_id(*n) == path[3]).ok_or_else(Reply::nowhere)?;
                Ok(Reply::json(json!({"trace_id": trace_id(n), "project_id": "p", "tags": ["prod"],
                    "spans": [agent_span(n, false).0, agent_span(n, true).0]})))
            }
            (false, path) if path.len() == 4 && path[..3] == ["public", "v1", "spans"] => {
                let details = (0..COUNT).flat_map(|n| [agent_span(n, false).1, agent_span(n, true).1]);
                details.into_iter().find(|span| span["span_id"] == path[3]).map(Reply::json).ok_or_else(Reply::nowhere)
            }
            _ => Err(Reply::nowhere()),
        }
    }
}

impl Platform for AgentOps {
    fn opens(&self, ask: &Ask) -> bool {
        if ask.post {
            return ask.body()["api_key"] == KEY;
        }
        let used = self.used.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        ask.bearer(&self.token()) && self.token_lives.is_none_or(|lives| used < lives)
    }

    fn answer(&self, ask: &Ask) -> Reply {
        self.reply(ask).unwrap_or_else(|refused| refused)
    }

    fn expected(&self) -> Vec<Value> {
        let whole = |n: usize, call: bool| {
            let (mut listed, detail) = agent_span(n, call);
            for (key, value) in detail.as_object().unwrap() {
                listed[key] = value.clone();
            }
            listed
        };
        (0..2)
            .map(|n| {
                json!({"trace_id": trace_id(n), "project_id": "p", "tags": ["prod"],
                "spans": [whole(n, false), whole(n, true)]})
            })
            .collect()
    }

    fn options(&self) -> &'static str {
        "trace_ids = [\"5b8efff798038103d269b633813f0000\", \"00000000000000000000000000000bad\", \
         \"5b8efff798038103d269b633813f0001\"]"
    }
}
