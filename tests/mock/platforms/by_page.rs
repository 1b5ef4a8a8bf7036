//! Platforms that list what they have: LangSmith, Phoenix, Braintrust, Helicone, Opik, Sentry, Datadog, Weave.

use serde_json::{Value, json};

use super::{
    Ask, COUNT, KEY, Platform, Reply, SECRET, call_id, cursor, limit, offset, page, root_id, time, trace_id, uuid,
    within,
};

const PROJECT: &str = "0190a000-0000-7000-8000-00000000abcd";

/// A platform made of functions.
pub struct Listed {
    opens: fn(&Ask) -> bool,
    answer: fn(&Ask) -> Result<Reply, Reply>,
    expected: fn() -> Vec<Value>,
    options: &'static str,
}

impl Platform for Listed {
    fn opens(&self, ask: &Ask) -> bool {
        (self.opens)(ask)
    }

    fn answer(&self, ask: &Ask) -> Reply {
        (self.answer)(ask).unwrap_or_else(|refused| refused)
    }

    fn expected(&self) -> Vec<Value> {
        (self.expected)()
    }

    fn options(&self) -> &'static str {
        self.options
    }
}

fn both(row: fn(usize, bool) -> Value) -> Vec<Value> {
    (0..COUNT).flat_map(|n| [row(n, false), row(n, true)]).collect()
}

fn kept(rows: Vec<Value>, field: &str, since: Option<&str>, until: Option<&str>) -> Vec<Value> {
    rows.into_iter().filter(|row| within(row.pointer(field).unwrap().as_str().unwrap(), since, until)).collect()
}

fn bad(why: &str) -> Reply {
    Reply::refuse(400, why)
}

// LangSmith.

fn run(n: usize, call: bool) -> Value {
    let (root, id) = (uuid(n, 0xa1), uuid(n, 0xb2));
    if call {
        json!({"id": id, "name": "ChatOpenAI", "run_type": "LLM", "status": "SUCCESS", "start_time": time(n, 100),
            "end_time": time(n, 900), "trace_id": root, "parent_run_ids": [root], "is_root": false,
            "dotted_order": format!("20250301T08{n:02}00000000Z{root}.20250301T08{n:02}00100000Z{id}"),
            "thread_id": "s1", "project_id": PROJECT, "inputs": {"messages": [[{"type": "human", "content": "hi"}]]},
            "outputs": {"generations": [[{"text": "hello", "message": {"lc": 1, "kwargs": {"content": "hello",
            "usage_metadata": {"input_tokens": 120, "output_tokens": 30, "total_tokens": 150,
            "input_token_details": {"cache_read": 100}, "output_token_details": {"reasoning": 10}}}}}]]},
            "prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150,
            "extra": {"metadata": {"ls_model_name": "gpt-x", "ls_provider": "openai"}}, "feedback_stats": {}})
    } else {
        json!({"id": root, "name": "support", "run_type": "CHAIN", "status": "SUCCESS", "start_time": time(n, 0),
            "end_time": time(n, 1000), "trace_id": root, "parent_run_ids": [], "is_root": true,
            "dotted_order": format!("20250301T08{n:02}00000000Z{root}"), "thread_id": "s1", "project_id": PROJECT,
            "inputs": {"q": "hi"}, "outputs": {"a": "hello"}, "extra": {}, "feedback_stats": {}})
    }
}

fn old_run(n: usize, call: bool) -> Value {
    let mut run = run(n, call);
    let map = run.as_object_mut().unwrap();
    let parent = map.remove("parent_run_ids").unwrap().as_array().unwrap().last().cloned().unwrap_or(Value::Null);
    map.remove("is_root");
    map.insert("parent_run_id".to_owned(), parent);
    map.insert("session_id".to_owned(), json!(PROJECT));
    for key in ["run_type", "status"] {
        map[key] = json!(map[key].as_str().unwrap().to_lowercase());
    }
    run
}

fn langsmith(ask: &Ask, new: bool) -> Result<Reply, Reply> {
    let body = ask.body();
    match ask.route() {
        (false, path) if path == ["api", "v1", "sessions"] => {
            let found = ask.query("name") == Some("support");
            Ok(Reply::json(if found { json!([{"id": PROJECT, "name": "support"}]) } else { json!([]) }))
        }
        (true, path) if path == ["api", "v2", "runs", "query"] && new => {
            if body["project_ids"] != json!([PROJECT]) {
                return Err(bad("project_ids"));
            }
            let limit = limit(body["page_size"].as_u64(), 1000, 100)?;
            // Without a beginning: one day.
            let since = body["min_start_time"].as_str().ok_or_else(|| bad("would give the last day only"))?;
            let mut rows = kept(both(run), "/start_time", Some(since), body["max_start_time"].as_str());
            let selects: Vec<String> = body["selects"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|field| field.as_str().map(str::to_lowercase))
                .collect();
            for row in &mut rows {
                row.as_object_mut().unwrap().retain(|key, _| key == "id" || selects.contains(key));
            }
            let at = offset(body["cursor"].as_str()).ok_or_else(|| bad("cursor"))?;
            let (rows, next) = page(&rows, at, limit);
            Ok(Reply::json(json!({"items": rows, "next_cursor": next.map(cursor)})))
        }
        (true, path) if path == ["api", "v1", "runs", "query"] => {
            let limit = limit(body["limit"].as_u64(), 100, 100)?;
            if body["session"] != json!([PROJECT]) {
                return Err(bad("session"));
            }
            let rows = kept(both(old_run), "/start_time", body["start_time"].as_str(), body["end_time"].as_str());
            let at = offset(body["cursor"].as_str()).ok_or_else(|| bad("cursor"))?;
            let (rows, next) = page(&rows, at, limit);
            Ok(Reply::json(json!({"runs": rows, "cursors": {"next": next.map(cursor)}})))
        }
        _ => Err(Reply::nowhere()),
    }
}

/// LangSmith; servers before 0.16 have only the first version.
pub fn langsmith_of(new: bool) -> Listed {
    Listed {
        opens: |ask| ask.header("x-api-key") == KEY,
        answer: if new { |ask| langsmith(ask, true) } else { |ask| langsmith(ask, false) },
        expected: if new { || both(run) } else { || both(old_run) },
        options: "project = \"support\"\npage_size = 3",
    }
}

// Phoenix.

fn phoenix_span(n: usize, call: bool) -> Value {
    let (id, parent, name, kind) = if call {
        (call_id(n), json!(root_id(n)), "ChatCompletion", "LLM")
    } else {
        (root_id(n), Value::Null, "support", "AGENT")
    };
    let attributes = if call {
        json!({"llm.model_name": "gpt-x", "llm.token_count.prompt": 120, "llm.token_count.completion": 30,
            "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "hi",
            "session.id": "s1"})
    } else {
        json!({"input.value": "hi", "output.value": "hello", "session.id": "s1"})
    };
    json!({"id": format!("U3Bhbj{n}{call}"), "name": name, "context": {"trace_id": trace_id(n), "span_id": id},
        "span_kind": kind, "parent_id": parent, "start_time": time(n, if call { 100 } else { 0 }),
        "end_time": time(n, 900), "status_code": "OK", "status_message": "", "attributes": attributes, "events": []})
}

fn phoenix_note(n: usize) -> Value {
    json!({"id": format!("note-{n}"), "span_id": call_id(n), "name": "correctness", "annotator_kind": "HUMAN",
        "result": {"label": "pass", "score": 1.0, "explanation": "why"}, "metadata": {}, "identifier": "",
        "source": "API", "created_at": time(n, 3000), "updated_at": time(n, 3000), "user_id": null})
}

fn phoenix(ask: &Ask) -> Result<Reply, Reply> {
    let number = |name: &str| ask.query(name).and_then(|text| text.parse().ok());
    let rows = match ask.route() {
        (false, path) if path == ["v1", "projects", "my%20project", "spans"] => {
            if ask.query("sort") != Some("start_time") || ask.query("order") != Some("asc") {
                return Err(bad("order"));
            }
            kept(both(phoenix_span), "/start_time", ask.query("start_time"), ask.query("end_time"))
        }
        (false, path) if path == ["v1", "projects", "my%20project", "span_annotations"] => {
            let ids = ask.all("span_ids");
            let notes: Vec<Value> =
                (0..COUNT).filter(|n| ids.contains(&call_id(*n).as_str())).map(phoenix_note).collect();
            if notes.is_empty() {
                return Err(Reply::nowhere());
            }
            notes
        }
        _ => return Err(Reply::nowhere()),
    };
    let limit = limit(number("limit"), 1000, 100)?;
    let at = offset(ask.query("cursor")).ok_or_else(|| bad("cursor"))?;
    let (rows, next) = page(&rows, at, limit);
    Ok(Reply::json(json!({"data": rows, "next_cursor": next.map(cursor)})))
}

pub fn phoenix_fake() -> Listed {
    Listed {
        opens: |ask| ask.bearer(KEY),
        answer: phoenix,
        expected: || both(phoenix_span).into_iter().chain((0..COUNT).map(phoenix_note)).collect(),
        options: "project = \"my project\"\npage_size = 3",
    }
}

// Braintrust.

fn braintrust_row(n: usize, call: bool) -> Value {
    let at = super::FIRST as f64 + 60.0 * n as f64;
    if call {
        json!({"id": format!("row-b2-{n}"), "_xact_id": format!("{}", 1_000_100 + n), "created": time(n, 900),
            "project_id": PROJECT, "log_id": "g", "root_span_id": uuid(n, 0xa1), "span_id": uuid(n, 0xb2),
            "span_parents": [uuid(n, 0xa1)], "is_root": false, "span_attributes": {"name": "chat", "type": "llm"},
            "input": [{"role": "user", "content": "hi"}], "output": [{"role": "assistant", "content": "hello"}],
            "metadata": {"model": "gpt-x"}, "metrics": {"start": at + 0.1, "end": at + 0.9, "prompt_tokens": 120,
            "prompt_cached_tokens": 100, "completion_tokens": 30, "completion_reasoning_tokens": 10, "tokens": 150},
            "scores": null, "tags": null})
    } else {
        json!({"id": format!("row-a1-{n}"), "_xact_id": format!("{}", 1_000_100 + n), "created": time(n, 0),
            "project_id": PROJECT, "log_id": "g", "root_span_id": uuid(n, 0xa1), "span_id": uuid(n, 0xa1),
            "span_parents": [], "is_root": true, "span_attributes": {"name": "support", "type": "task"},
            "input": "hi", "output": "hello", "metadata": {}, "metrics": {"start": at, "end": at + 1.0},
            "scores": {"helpful": 1.0}, "tags": null})
    }
}

/// Newest transaction first, with an earlier state of one row further back.
fn braintrust_rows() -> Vec<Value> {
    let mut rows: Vec<Value> = both(braintrust_row).into_iter().rev().collect();
    let mut earlier = rows[0].clone();
    earlier["_xact_id"] = json!("1000001");
    earlier["output"] = json!("not yet");
    rows.push(earlier);
    rows
}

fn quoted_after<'a>(text: &'a str, head: &str) -> Option<&'a str> {
    text.split_once(head)?.1.split('\'').next()
}

fn braintrust(ask: &Ask) -> Result<Reply, Reply> {
    let body = ask.body();
    match ask.route() {
        (false, path) if path == ["v1", "project"] => {
            let found = ask.query("project_name") == Some("support");
            Ok(Reply::json(
                json!({"objects": if found { json!([{"id": PROJECT, "name": "support"}]) } else { json!([]) }}),
            ))
        }
        (true, path) if path == ["btql"] => {
            let query = body["query"].as_str().unwrap_or_default();
            if !query.starts_with(&format!("select: * | from: project_logs('{PROJECT}') spans | filter: ")) {
                return Err(bad(query));
            }
            let rows = kept(
                braintrust_rows(),
                "/created",
                quoted_after(query, "created >= '"),
                quoted_after(query, "created < '"),
            );
            let asked =
                query.split("limit: ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|n| n.parse().ok());
            let at = offset(quoted_after(query, "cursor: '")).ok_or_else(|| bad("cursor"))?;
            let (rows, next) = page(&rows, at, limit(asked, 1000, 1000)?);
            Ok(Reply::json(json!({"data": rows, "schema": {}, "cursor": next.map(cursor)})))
        }
        (true, path) if path == ["v1", "project_logs", PROJECT, "fetch"] => {
            let at = offset(body["cursor"].as_str()).ok_or_else(|| bad("cursor"))?;
            let (rows, next) = page(&braintrust_rows(), at, limit(body["limit"].as_u64(), 1000, 100)?);
            Ok(Reply::json(json!({"events": rows, "cursor": next.map(cursor)})))
        }
        _ => Err(Reply::nowhere()),
    }
}

pub fn braintrust_fake(options: &'static str) -> Listed {
    Listed { opens: |ask| ask.bearer(KEY), answer: braintrust, expected: || both(braintrust_row), options }
}

// Helicone.

fn helicone_row(n: usize, host: Option<&str>) -> Value {
    let (request, response) = helicone_bodies();
    let mut row = json!({"request_id": uuid(n, 1), "request_created_at": time(n, 100), "response_created_at": time(n, 900),
        "request_model": "gpt-x", "provider": "OPENAI", "response_status": 200, "delay_ms": 800, "prompt_tokens": 120,
        "completion_tokens": 30, "total_tokens": 150, "prompt_cache_read_tokens": 100, "request_user_id": "u1",
        "properties": {"Helicone-Session-Id": "s1", "Helicone-Session-Path": "/support/chat",
        "Helicone-Session-Name": "support"}, "request_body": request, "response_body": response, "scores": {}});
    // Every second row has its bodies in a store elsewhere.
    if let (Some(host), 1) = (host, n % 2) {
        row["request_body"] = json!({});
        row["response_body"] = json!({});
        row["signed_body_url"] = json!(format!("{host}/store/{}?signature=abc", uuid(n, 1)));
    }
    row
}

fn helicone_bodies() -> (Value, Value) {
    (
        json!({"model": "gpt-x", "messages": [{"role": "user", "content": "hi"}]}),
        json!({"choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]}),
    )
}

fn helicone_window(filter: &Value, since: &mut Option<String>, until: &mut Option<String>) {
    if let Some(at) = filter.pointer("/request_response_rmt/request_created_at/gte") {
        *since = at.as_str().map(str::to_owned);
    }
    if let Some(at) = filter.pointer("/request_response_rmt/request_created_at/lt") {
        *until = at.as_str().map(str::to_owned);
    }
    for side in ["left", "right"] {
        if let Some(inner) = filter.get(side) {
            helicone_window(inner, since, until);
        }
    }
}

fn helicone(ask: &Ask) -> Result<Reply, Reply> {
    let body = ask.body();
    match ask.route() {
        (true, path) if path == ["v1", "request", "query-clickhouse"] => {
            let (mut since, mut until) = (None, None);
            helicone_window(&body["filter"], &mut since, &mut until);
            let rows = (0..COUNT).map(|n| helicone_row(n, Some(&ask.host))).collect();
            let rows = kept(rows, "/request_created_at", since.as_deref(), until.as_deref());
            let at = body["offset"].as_u64().unwrap_or(0) as usize;
            let (rows, _) = page(&rows, at, limit(body["limit"].as_u64(), 1000, 10)?);
            Ok(Reply::json(json!({"data": rows, "error": null})))
        }
        (false, path) if path.first() == Some(&"store") => {
            if !ask.header("authorization").is_empty() {
                return Err(bad("the store must not see the key"));
            }
            let (request, response) = helicone_bodies();
            Ok(Reply::json(json!({"request": request, "response": response})))
        }
        _ => Err(Reply::nowhere()),
    }
}

pub fn helicone_fake() -> Listed {
    Listed {
        opens: |ask| ask.bearer(KEY) || ask.path.starts_with("/store/"),
        answer: helicone,
        expected: || (0..COUNT).map(|n| helicone_row(n, None)).collect(),
        options: "page_size = 3",
    }
}

// Opik.

fn opik_trace(n: usize, _: bool) -> Value {
    json!({"id": uuid(n, 0xa1), "project_id": PROJECT, "name": "support", "start_time": time(n, 0),
        "end_time": time(n, 1000), "input": {"q": "hi"}, "output": {"a": "hello"}, "metadata": {}, "tags": ["prod"],
        "thread_id": "s1", "feedback_scores": [{"name": "helpful", "value": 1.0, "source": "ui"}], "span_count": 1,
        "created_at": time(n, 1500)})
}

fn opik_span(n: usize, _: bool) -> Value {
    json!({"id": uuid(n, 0xb2), "trace_id": uuid(n, 0xa1), "parent_span_id": null, "project_id": PROJECT, "name": "chat",
        "type": "llm", "model": "gpt-x", "provider": "openai", "start_time": time(n, 100), "end_time": time(n, 900),
        "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
        "input": {"messages": [{"role": "user", "content": "hi"}]},
        "output": {"choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]},
        "total_estimated_cost": 0.0012})
}

fn opik(ask: &Ask) -> Result<Reply, Reply> {
    let body = ask.body();
    if body["project_name"] != "support" || body["truncate"] != json!(false) {
        return Err(bad("project or truncate"));
    }
    let rows: Vec<Value> = match ask.route() {
        (true, path) if path == ["v1", "private", "traces", "search"] => {
            (0..COUNT).map(|n| opik_trace(n, false)).collect()
        }
        (true, path) if path == ["v1", "private", "spans", "search"] => {
            (0..COUNT).map(|n| opik_span(n, true)).collect()
        }
        _ => return Err(Reply::nowhere()),
    };
    let mut rows = kept(rows, "/start_time", body["from_time"].as_str(), body["to_time"].as_str());
    rows.reverse();
    // Newest first; what comes after the last id is older.
    let last = body["last_retrieved_id"].as_str();
    let rest: Vec<Value> =
        rows.into_iter().filter(|row| last.is_none_or(|last| row["id"].as_str().unwrap() < last)).collect();
    let limit = limit(body["limit"].as_u64(), 2000, 500)?;
    Ok(Reply::lines(&rest[..rest.len().min(limit)]))
}

pub fn opik_fake() -> Listed {
    Listed {
        opens: |ask| ask.header("authorization") == KEY && ask.header("comet-workspace") == "team",
        answer: opik,
        expected: || (0..COUNT).flat_map(|n| [opik_trace(n, false), opik_span(n, true)]).collect(),
        options: "project = \"support\"\nworkspace = \"team\"\npage_size = 3",
    }
}

// Sentry.

fn sentry_row(n: usize, call: bool) -> Value {
    let at = super::FIRST as f64 + 60.0 * n as f64;
    if call {
        json!({"id": call_id(n), "trace": trace_id(n), "parent_span": root_id(n), "span.op": "gen_ai.chat",
            "span.duration": 800, "timestamp": time(n, 100), "precise.start_ts": at + 0.1, "precise.finish_ts": at + 0.9,
            "gen_ai.request.model": "gpt-x", "gen_ai.request.messages": "[{\"role\":\"user\",\"content\":\"hi\"}]",
            "gen_ai.response.text": "hello", "gen_ai.usage.input_tokens": 120, "gen_ai.usage.input_tokens.cached": 100,
            "gen_ai.usage.output_tokens": 30, "gen_ai.usage.output_tokens.reasoning": 10,
            "gen_ai.agent.name": "support", "gen_ai.conversation.id": "s1"})
    } else {
        json!({"id": root_id(n), "trace": trace_id(n), "span.op": "gen_ai.invoke_agent", "span.duration": 1000,
            "timestamp": time(n, 0), "precise.start_ts": at, "precise.finish_ts": at + 1.0,
            "gen_ai.agent.name": "support", "gen_ai.conversation.id": "s1"})
    }
}

fn sentry(ask: &Ask) -> Result<Reply, Reply> {
    if ask.route() != (false, vec!["api", "0", "organizations", "acme", "events"]) || !ask.path.ends_with('/') {
        return Err(Reply::nowhere());
    }
    if ask.query("dataset") != Some("spans") || ask.query("query") != Some("span.op:gen_ai.* project:shop") {
        return Err(bad("dataset or query"));
    }
    let fields = ask.all("field");
    let mut rows = kept(both(sentry_row), "/timestamp", ask.query("start"), ask.query("end"));
    rows.iter_mut().for_each(|row| row.as_object_mut().unwrap().retain(|key, _| fields.contains(&key.as_str())));
    let at: usize = ask
        .query("cursor")
        .map_or(Some(0), |text| text.split(':').nth(1)?.parse().ok())
        .ok_or_else(|| bad("cursor"))?;
    let (rows, next) = page(&rows, at, limit(ask.query("per_page").and_then(|n| n.parse().ok()), 100, 50)?);
    let mut reply = Reply::json(json!({"data": rows, "meta": {}}));
    let more = next.is_some();
    let next = format!("0:{}:0", next.unwrap_or(at));
    reply.headers.push((
        "link",
        format!(
            "<{0}/x/?cursor=0:0:1>; rel=\"previous\"; results=\"false\"; cursor=\"0:0:1\", \
         <{0}/x/?cursor={next}>; rel=\"next\"; results=\"{more}\"; cursor=\"{next}\"",
            ask.host
        ),
    ));
    Ok(reply)
}

pub fn sentry_fake() -> Listed {
    Listed {
        opens: |ask| ask.bearer(KEY),
        answer: sentry,
        expected: || both(sentry_row),
        options: "workspace = \"acme\"\nproject = \"shop\"\nsince = \"2025-01-01\"\npage_size = 3",
    }
}

// Datadog.

fn datadog_row(n: usize, call: bool) -> Value {
    let start = (super::FIRST + 60 * n as i64) * 1_000_000_000;
    let attributes = if call {
        json!({"trace_id": trace_id(n), "span_id": format!("{}", 200 + n), "parent_id": format!("{}", 100 + n), "name": "chat",
            "start_ns": start + 100_000_000, "duration": 800_000_000, "status": "ok",
            "tags": ["ml_app:shop", "env:prod", "session_id:s1"], "meta": {"span.kind": "llm", "model_name": "gpt-x",
            "model_provider": "openai", "input": {"messages": [{"role": "user", "content": "hi"}]},
            "output": {"messages": [{"role": "assistant", "content": "hello"}]}}, "metrics": {"input_tokens": 120,
            "cache_read_input_tokens": 100, "output_tokens": 30, "reasoning_output_tokens": 10, "total_tokens": 150}})
    } else {
        json!({"trace_id": trace_id(n), "span_id": format!("{}", 100 + n), "parent_id": "undefined", "name": "support",
            "start_ns": start, "duration": 1_000_000_000, "status": "ok", "tags": ["ml_app:shop"],
            "meta": {"span.kind": "agent", "input": {"value": "hi"}, "output": {"value": "hello"}}, "metrics": {}})
    };
    json!({"id": format!("ev-{n}-{call}"), "type": "span", "attributes": attributes})
}

fn datadog(ask: &Ask) -> Result<Reply, Reply> {
    if ask.route() != (false, vec!["api", "v2", "llm-obs", "v1", "spans", "events"]) {
        return Err(Reply::nowhere());
    }
    if ask.query("filter[ml_app]") != Some("shop") {
        return Err(bad("ml_app"));
    }
    let inside = |row: &Value| {
        let at = jiff::Timestamp::from_nanosecond(row["attributes"]["start_ns"].as_i64().unwrap().into()).unwrap();
        within(&at.to_string(), ask.query("filter[from]"), ask.query("filter[to]"))
    };
    let rows: Vec<Value> = both(datadog_row).into_iter().filter(inside).collect();
    let at = offset(ask.query("page[cursor]")).ok_or_else(|| bad("cursor"))?;
    let (rows, next) = page(&rows, at, limit(ask.query("page[limit]").and_then(|n| n.parse().ok()), 5000, 10)?);
    let after = next.map_or(json!({}), |next| json!({"after": cursor(next)}));
    Ok(Reply::json(json!({"data": rows, "meta": {"page": after, "status": "done"}})))
}

pub fn datadog_fake() -> Listed {
    Listed {
        opens: |ask| ask.header("dd-api-key") == KEY && ask.header("dd-application-key") == SECRET,
        answer: datadog,
        expected: || both(datadog_row),
        options: "project = \"shop\"\nsince = \"2025-01-01\"\npage_size = 3",
    }
}

// Weave.

fn weave_row(n: usize, call: bool) -> Value {
    if call {
        json!({"id": uuid(n, 0xb2), "project_id": "e/p", "op_name": "weave:///e/p/op/openai.chat.completions.create:abc",
            "trace_id": uuid(n, 0), "parent_id": uuid(n, 0xa1), "thread_id": "s1", "started_at": time(n, 100),
            "ended_at": time(n, 900), "attributes": {}, "inputs": {"messages": [{"role": "user", "content": "hi"}],
            "model": "gpt-x"}, "output": {"choices": [{"message": {"role": "assistant", "content": "hello"},
            "finish_reason": "stop"}]}, "summary": {"usage": {"gpt-x": {"prompt_tokens": 120, "completion_tokens": 30,
            "total_tokens": 150, "requests": 1}}, "weave": {"status": "success", "latency_ms": 800}}})
    } else {
        json!({"id": uuid(n, 0xa1), "project_id": "e/p", "op_name": "weave:///e/p/op/support:abc", "trace_id": uuid(n, 0),
            "parent_id": null, "thread_id": "s1", "started_at": time(n, 0), "ended_at": time(n, 1000), "attributes": {},
            "inputs": {"q": "hi"}, "output": "hello", "summary": {"weave": {"status": "success", "latency_ms": 1000}}})
    }
}

/// Evaluates the part of the language that is used.
fn weave_holds(expression: &Value, row: &Value) -> Result<bool, Reply> {
    let number = |operand: &Value| -> Option<f64> {
        if let Some(literal) = operand.get("$literal") {
            return literal.as_f64();
        }
        let field = operand.get("$getField")?.as_str()?;
        let at: jiff::Timestamp = row[field].as_str()?.parse().ok()?;
        Some(at.as_microsecond() as f64 / 1e6)
    };
    let operands = |name: &str| expression.get(name).and_then(Value::as_array);
    if let Some(all) = operands("$and") {
        return all.iter().try_fold(true, |so_far, part| Ok(so_far && weave_holds(part, row)?));
    }
    if let Some([inner]) = operands("$not").map(Vec::as_slice) {
        return weave_holds(inner, row).map(|holds| !holds);
    }
    if let Some([left, right]) = operands("$gte").map(Vec::as_slice) {
        return number(left).zip(number(right)).map(|(left, right)| left >= right).ok_or_else(|| bad("operands"));
    }
    Err(bad(&format!("unknown expression {expression}")))
}

fn weave(ask: &Ask) -> Result<Reply, Reply> {
    if ask.route() != (true, vec!["calls", "stream_query"]) {
        return Err(Reply::nowhere());
    }
    let body = ask.body();
    if body["project_id"] != "e/p" || body["sort_by"][0]["field"] != "started_at" {
        return Err(bad("project_id or sort_by"));
    }
    let mut rows = Vec::new();
    for row in both(weave_row) {
        if weave_holds(&body["query"]["$expr"], &row)? {
            rows.push(row);
        }
    }
    let at = body["offset"].as_u64().unwrap_or(0) as usize;
    Ok(Reply::lines(&page(&rows, at, limit(body["limit"].as_u64(), 1000, 100)?).0))
}

pub fn weave_fake() -> Listed {
    Listed {
        opens: |ask| ask.basic("api", KEY),
        answer: weave,
        expected: || both(weave_row),
        options: "project = \"e/p\"\npage_size = 3",
    }
}
