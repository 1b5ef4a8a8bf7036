//! Langfuse as servers of version 4 and of version 3 answer.

use serde_json::{Value, json};

use super::{
    Ask, COUNT, KEY, Platform, Reply, SECRET, call_id, cursor, limit, offset, page, root_id, time, trace_id, within,
};

/// A server of one version.
pub struct Langfuse {
    pub version: u32,
}

fn observation(n: usize, call: bool) -> Value {
    if call {
        json!({"id": call_id(n), "traceId": trace_id(n), "type": "GENERATION", "name": "chat",
            "parentObservationId": root_id(n), "isRootObservation": false, "startTime": time(n, 100),
            "endTime": time(n, 900), "providedModelName": "gpt-x", "input": "[{\"role\":\"user\",\"content\":\"hi\"}]",
            "output": "{\"role\":\"assistant\",\"content\":\"hello\"}", "usageDetails": {"input": 20,
            "input_cached_tokens": 100, "output": 20, "output_reasoning_tokens": 10, "total": 150},
            "totalCost": 0.0012, "promptName": "support-main", "promptVersion": 7, "sessionId": "s1", "userId": "u1",
            "level": "DEFAULT", "environment": "production", "tags": ["prod"]})
    } else {
        json!({"id": root_id(n), "traceId": trace_id(n), "type": "AGENT", "name": "support", "parentObservationId": null,
            "isRootObservation": true, "startTime": time(n, 0), "endTime": time(n, 1000), "input": "\"hi\"",
            "output": "\"hello\"", "sessionId": "s1", "userId": "u1", "level": "DEFAULT", "tags": ["prod"]})
    }
}

fn observations() -> Vec<Value> {
    (0..COUNT).flat_map(|n| [observation(n, false), observation(n, true)]).collect()
}

fn score(n: usize) -> Value {
    json!({"id": format!("score-{n}"), "projectId": "p", "name": "thumbs", "value": 1.0, "dataType": "NUMERIC",
        "source": "API", "timestamp": time(n, 2000), "environment": "production",
        "subject": {"kind": "observation", "id": call_id(n), "traceId": trace_id(n)}})
}

fn old_score(n: usize) -> Value {
    json!({"id": format!("score-{n}"), "traceId": trace_id(n), "observationId": null, "name": "thumbs", "value": 1.0,
        "dataType": "NUMERIC", "source": "API", "timestamp": time(n, 2000)})
}

fn trace(n: usize) -> Value {
    json!({"id": trace_id(n), "timestamp": time(n, 0), "name": "support", "input": "hi", "output": "hello",
        "sessionId": "s1", "userId": "u1", "metadata": {}, "tags": ["prod"], "public": false,
        "environment": "production", "htmlPath": "/p", "latency": 1.0, "totalCost": 0.0012,
        "observations": [observation(n, false), observation(n, true)], "scores": [old_score(n)]})
}

fn windowed(rows: Vec<Value>, field: &str, ask: &Ask, from: &str, to: &str) -> Vec<Value> {
    rows.into_iter().filter(|row| within(row[field].as_str().unwrap(), ask.query(from), ask.query(to))).collect()
}

fn number(ask: &Ask, name: &str) -> Option<u64> {
    ask.query(name).and_then(|text| text.parse().ok())
}

fn by_cursor(rows: &[Value], ask: &Ask, most: u64) -> Result<Reply, Reply> {
    let limit = limit(number(ask, "limit"), most, 50)?;
    let at = offset(ask.query("cursor")).ok_or_else(|| Reply::refuse(400, "bad cursor"))?;
    let (rows, next) = page(rows, at, limit);
    let meta = next.map_or(json!({}), |next| json!({"cursor": cursor(next)}));
    Ok(Reply::json(json!({"data": rows, "meta": meta})))
}

fn by_number(rows: &[Value], ask: &Ask) -> Result<Reply, Reply> {
    let limit = limit(number(ask, "limit"), 100, 50)?;
    let at = number(ask, "page").unwrap_or(1).max(1) as usize;
    let (found, _) = page(rows, (at - 1) * limit, limit);
    let pages = rows.len().div_ceil(limit);
    Ok(Reply::json(json!({"data": found,
        "meta": {"page": at, "limit": limit, "totalItems": rows.len(), "totalPages": pages}})))
}

impl Langfuse {
    fn reply(&self, ask: &Ask) -> Result<Reply, Reply> {
        let new = self.version >= 4;
        match ask.route() {
            (false, path) if path == ["api", "public", "health"] => {
                Ok(Reply::json(json!({"status": "OK", "version": format!("{}.14.1", self.version)})))
            }
            (false, path) if path == ["api", "public", "v2", "observations"] && new => {
                let fields = ask.query("fields").unwrap_or_default();
                let mut rows = windowed(observations(), "startTime", ask, "fromStartTime", "toStartTime");
                // What is not asked for is not there.
                for (group, keys) in [
                    ("io", &["input", "output"][..]),
                    ("usage", &["usageDetails"]),
                    ("prompt", &["promptName", "promptVersion"]),
                ] {
                    if !fields.split(',').any(|field| field == group) {
                        rows.iter_mut().for_each(|row| keys.iter().for_each(|key| row[*key] = Value::Null));
                    }
                }
                by_cursor(&rows, ask, 1000)
            }
            (false, path) if path == ["api", "public", "v3", "scores"] && new => {
                let fields = ask.query("fields").unwrap_or_default();
                let mut rows =
                    windowed((0..COUNT).map(score).collect(), "timestamp", ask, "fromTimestamp", "toTimestamp");
                if !fields.contains("subject") {
                    rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("subject")));
                }
                by_cursor(&rows, ask, 100)
            }
            (false, path) if path == ["api", "public", "traces"] => {
                let mut rows =
                    windowed((0..COUNT).map(trace).collect(), "timestamp", ask, "fromTimestamp", "toTimestamp");
                rows.iter_mut().for_each(|row| row["observations"] = json!([]));
                by_number(&rows, ask)
            }
            (false, path) if path.len() == 4 && path[..3] == ["api", "public", "traces"] => {
                let found = (0..COUNT).map(trace).find(|trace| trace["id"] == path[3]);
                found.map(Reply::json).ok_or_else(Reply::nowhere)
            }
            (false, path) if path == ["api", "public", "v2", "scores"] => {
                let rows =
                    windowed((0..COUNT).map(old_score).collect(), "timestamp", ask, "fromTimestamp", "toTimestamp");
                by_number(&rows, ask)
            }
            _ => Err(Reply::nowhere()),
        }
    }
}

impl Platform for Langfuse {
    fn opens(&self, ask: &Ask) -> bool {
        ask.basic(KEY, SECRET)
    }

    fn answer(&self, ask: &Ask) -> Reply {
        self.reply(ask).unwrap_or_else(|refused| refused)
    }

    fn expected(&self) -> Vec<Value> {
        if self.version >= 4 {
            let flat = |n| {
                let mut score = score(n);
                score["observationId"] = json!(call_id(n));
                score["traceId"] = json!(trace_id(n));
                score
            };
            return observations().into_iter().chain((0..COUNT).map(flat)).collect();
        }
        let without = |n| {
            let mut trace = trace(n);
            trace.as_object_mut().unwrap().remove("scores");
            trace
        };
        (0..COUNT).map(without).chain((0..COUNT).map(old_score)).collect()
    }

    fn options(&self) -> &'static str {
        "page_size = 3"
    }
}
