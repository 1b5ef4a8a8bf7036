//! Runs of LangSmith: rows of its interface (v2 and v1), dumps of `client.list_runs`, and the bodies by which its SDKs
//! send runs, where a run comes in halves (`post`, `patch`).
//!
//! `session_id` of a row is the project, never a conversation; conversations stand in `thread_id` or the metadata.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::model::{Native, ScoreOrigin, SpanId, SpanKind, SpanStatus, TraceId, TraceScore};

use super::admit::Gate;
use super::bodies::{flat, put_input, put_output};
use super::error::{IngestError, Problem};
use super::ids::{native_span, native_trace};
use super::json::{
    at, field, is_empty, need_text, number, python_container, structured, take, take_list, take_object, take_text,
    take_words, words,
};
use super::open::{Head, Opened};
use super::platform::{
    Cache, Found, Ids, after_ms, count_tokens, has_tokens, moment, score, score_of, state_cost, take_row,
};
use super::raw::RawSpan;
use super::shape::Shape;
use super::times::{self, Unit};
use super::{SourceInfo, rows};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "langsmith",
    summary: "LangSmith runs: rows of the API, dumps of list_runs, bodies of the SDKs",
    recognise,
    read,
    row: Some(row),
};

const LISTS: &[&str] = &["items", "runs"];
const HALVES: [&str; 2] = ["post", "patch"];
const RUN_TYPES: &[(&str, SpanKind)] = &[
    ("LLM", SpanKind::Model),
    ("TOOL", SpanKind::Tool),
    ("RETRIEVER", SpanKind::Retrieval),
    ("EMBEDDING", SpanKind::Retrieval),
    ("CHAIN", SpanKind::Step),
    ("PROMPT", SpanKind::Step),
    ("PARSER", SpanKind::Step),
];

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    if !shape.has("dotted_order") && HALVES.iter().any(|half| shape.has(&format!("{half}.dotted_order"))) {
        return Some("JSON with `post` and `patch` of runs".to_owned());
    }
    if shape.rows_have(LISTS, &["run_id", "key", "feedback_source"]) {
        return Some("JSON rows with `run_id` and `feedback_source`".to_owned());
    }
    let beside = ["dotted_order", "trace_id", "parent_run_ids", "parent_run_id", "session_id", "start_time"];
    let found = beside.iter().find(|field| shape.rows_have(LISTS, &["run_type", field]))?;
    Some(format!("JSON rows with `run_type` and `{found}`"))
}

/// Halves are held until all have been read, since the two of a run may stand anywhere.
fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    let mut halves = Halves::default();
    rows::each_with(opened, gate, LISTS, &mut |value, line, gate| match value {
        Value::Object(body) if is_body(&body) => halves.add(body, line, gate),
        value => row(value, line, gate),
    })?;
    halves.finish(gate)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    match value {
        Value::Object(body) if is_body(&body) => {
            let mut halves = Halves::default();
            halves.add(body, line, gate)?;
            halves.finish(gate)
        }
        value => take_row(value, line, gate, |map, found| {
            if map.contains_key("feedback_source") && !map.contains_key("run_type") {
                found.scores.push(voice(map)?);
                return Ok(());
            }
            run(map, found)
        }),
    }
}

fn is_body(map: &Map<String, Value>) -> bool {
    !map.contains_key("run_type") && HALVES.iter().any(|half| map.get(*half).is_some_and(Value::is_array))
}

/// Halves of runs by the run's id.
#[derive(Default)]
struct Halves {
    runs: BTreeMap<String, Vec<Half>>,
}

/// One half: whether it is a patch, its end and text for a fixed order among equals, its line, its fields.
type Half = (bool, Option<i64>, String, Option<u64>, Map<String, Value>);

impl Halves {
    fn add(&mut self, mut body: Map<String, Value>, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
        for name in HALVES {
            let halves = match take_list(&mut body, &[name]) {
                Ok(halves) => halves,
                Err(problem) => {
                    gate.reject(problem, line, b"")?;
                    continue;
                }
            };
            for half in halves {
                let id = half.as_object().and_then(id_of);
                match (half, id) {
                    (Value::Object(half), Some(id)) => {
                        let end = times::read(half.get("end_time"), "end_time", Unit::Unsaid).ok().flatten();
                        let text = Value::Object(half.clone()).to_string();
                        self.runs.entry(id).or_default().push((name == "patch", end, text, line, half));
                    }
                    (other, _) => {
                        let problem =
                            Problem::new(format!("`{name}[].id`"), "missing", "a run with `id` or `dotted_order`");
                        gate.reject(problem, line, other.to_string().as_bytes())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts the halves of each run together: what a later one says replaces what an earlier one said.
    fn finish(self, gate: &mut Gate<'_>) -> Result<(), IngestError> {
        for (id, mut halves) in self.runs {
            halves.sort_by(|left, right| (left.0, left.1, &left.2).cmp(&(right.0, right.1, &right.2)));
            let line = halves.iter().filter_map(|half| half.3).min();
            let mut whole = Map::new();
            for (.., half) in halves {
                whole.extend(half.into_iter().filter(|(_, value)| !is_empty(value)));
            }
            whole.insert("id".to_owned(), Value::from(id));
            take_row(Value::Object(whole), line, gate, run)?;
        }
        Ok(())
    }
}

/// A run's own id, said or at the end of its `dotted_order`.
fn id_of(run: &Map<String, Value>) -> Option<String> {
    let said = ["id", "run_id"].iter().find_map(|key| run.get(*key).and_then(words));
    said.or_else(|| Some(path(run.get("dotted_order")?.as_str()?).last()?.1.to_owned()))
}

/// The runs on the way to this one, as (time, id), out of `20261121T080000000000Z<uuid>.…`.
fn path(dotted: &str) -> Vec<(&str, &str)> {
    let part = |part: &'_ str| part.len().checked_sub(36).filter(|at| part.is_char_boundary(*at));
    dotted.split('.').filter_map(|segment| Some(segment.split_at(part(segment)?))).collect()
}

/// The time in front of an id of the path.
fn path_time(time: &str) -> Option<i64> {
    let cut = |from: usize, to: usize| time.get(from..to);
    let (year, month, day) = (cut(0, 4)?, cut(4, 6)?, cut(6, 8)?);
    let (hour, minute, second, micros) = (cut(9, 11)?, cut(11, 13)?, cut(13, 15)?, cut(15, 21)?);
    let iso = json!(format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{micros}Z"));
    times::read(Some(&iso), "dotted_order", Unit::Unsaid).ok().flatten()
}

fn run(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    // The Parquet of bulk exports, and what is made of it, holds these as JSON in texts.
    for key in ["extra", "metadata", "feedback_stats", "events", "parent_run_ids", "tags", "child_runs"] {
        if let Some(value) = map.get_mut(key) {
            *value = structured(value.take());
        }
    }
    for child in take_list(&mut map, &["child_runs"])? {
        let inner = if let Value::Object(child) = child { run(child, found) } else { Ok(()) };
        found.problems.extend(inner.err());
    }
    let mut raw = begin(&mut map)?;
    raw.end_ns = moment(&mut map, &["end_time"])?;
    let seconds = take(&mut map, &["latency_seconds", "latency"]).as_ref().and_then(number);
    raw.end_ns = raw.end_ns.or_else(|| after_ms(raw.start_ns, Some(&json!(seconds? * 1e3))));
    let said = take_text(&mut map, &["status"])?.unwrap_or_default().to_uppercase();
    raw.status = if said == "SUCCESS" { SpanStatus::Ok } else { SpanStatus::Unset };
    let error = take_words(&mut map, &["error"]);
    if said == "ERROR" || error.is_some() {
        raw.fail(error);
    }
    let mut extra = take_object(&mut map, &["extra"])?;
    let mut metadata = take_object(&mut extra, &["metadata"])?;
    metadata.extend(take_object(&mut map, &["metadata"])?);
    raw.set("session.id", take_words(&mut map, &["thread_id"]));
    describe_run(&mut raw, metadata);
    content(&mut raw, &mut map);
    let tokens = ["prompt_tokens", "completion_tokens", "prompt_token_details", "completion_token_details"];
    let counts: Map<String, Value> =
        tokens.iter().filter_map(|key| Some(((*key).to_owned(), map.remove(*key)?))).collect();
    if !has_tokens(&raw) {
        count_tokens(&mut raw, &counts, Cache::Inside);
    }
    state_cost(&mut raw, map.remove("total_cost").as_ref());
    let stats = take_object(&mut map, &["feedback_stats"])?;
    found.scores.extend(stats.into_iter().filter_map(|(key, stats)| feedback(&raw, key, &stats)));
    let events = take_list(&mut map, &["events"])?;
    found.ignore("progress events of runs", events.len() as u64);
    raw.keep_below("langsmith", Some(Value::Object(extra)));
    raw.set("tags", map.remove("tags"));
    // The code's own constructors, and what follows from other fields.
    for key in ["serialized", "manifest", "total_tokens", "is_root", "parent_run_ids", "child_run_ids", "trace_id"] {
        map.remove(key);
    }
    raw.keep_below("langsmith", Some(Value::Object(map)));
    found.spans.push(raw);
    Ok(())
}

fn begin(map: &mut Map<String, Value>) -> Result<RawSpan, Problem> {
    let dotted = take_text(map, &["dotted_order"])?.unwrap_or_default();
    let above = path(&dotted);
    let own = above.last().map(|(_, id)| (*id).to_owned());
    let id = take_text(map, &["id", "run_id"])?.filter(|id| !id.trim().is_empty()).or(own);
    let id = id.ok_or_else(|| Problem::new("`id`", "missing", "the id of the run"))?;
    let parents: Vec<String> = take_list(map, &["parent_run_ids"])?.iter().filter_map(words).collect();
    let parent = take_text(map, &["parent_run_id"])?
        .or_else(|| parents.last().cloned())
        .or_else(|| above.iter().rev().nth(1).map(|(_, id)| (*id).to_owned()));
    let trace = take_text(map, &["trace_id"])?
        .or_else(|| above.first().map(|(_, id)| (*id).to_owned()))
        .or_else(|| parents.first().cloned())
        .or_else(|| parent.is_none().then(|| id.clone()))
        .ok_or_else(|| Problem::new("`trace_id`", "missing", "the trace; select TRACE_ID or DOTTED_ORDER"))?;
    let start = moment(map, &["start_time"])?.or_else(|| path_time(above.last()?.0));
    let start = start.ok_or_else(|| Problem::new(field(&["start_time"]), "missing", "a time; select START_TIME"))?;
    let project = ["project_id", "session_id", "session_name"];
    let project = project.iter().filter_map(|key| take_words(map, &[key])).collect::<Vec<_>>();
    let kind = take_text(map, &["run_type"])?.unwrap_or_default().to_uppercase();
    let name = take_text(map, &["name"])?.unwrap_or_else(|| kind.to_lowercase());
    let ids = Ids {
        platform: "langsmith",
        trace: &trace,
        span: &id,
        parent: parent.as_deref(),
        project: project.into_iter().next(),
    };
    let mut raw = ids.begin(name, start);
    raw.kind = RUN_TYPES.iter().find(|(known, _)| *known == kind).map(|(_, kind)| *kind);
    Ok(raw)
}

/// What the metadata says that has a place of its own; the rest is kept.
fn describe_run(raw: &mut RawSpan, mut metadata: Map<String, Value>) {
    for key in ["session_id", "thread_id", "conversation_id"] {
        let session = metadata.remove(key).as_ref().and_then(words);
        if !raw.attributes.contains_key("session.id") {
            raw.set("session.id", session);
        }
    }
    let agent = ["lc_agent_name", "agent_name"].iter().find_map(|key| metadata.get(*key)).and_then(words);
    let agent_itself = agent.as_ref() == Some(&raw.name) || ["AgentExecutor", "LangGraph"].contains(&raw.name.as_str());
    if raw.kind == Some(SpanKind::Step) && agent_itself {
        raw.kind = Some(SpanKind::Agent);
    }
    raw.set("gen_ai.agent.name", agent);
    if !matches!(raw.kind, Some(SpanKind::Step | SpanKind::Agent | SpanKind::Tool)) {
        for (key, place) in [("ls_model_name", "gen_ai.request.model"), ("ls_provider", "gen_ai.provider.name")] {
            raw.set(place, metadata.remove(key).as_ref().and_then(words));
        }
    }
    for (key, place) in [
        ("user_id", "user.id"),
        ("lc_hub_repo", "gen_ai.prompt.name"),
        ("lc_hub_commit_hash", "gen_ai.prompt.version"),
        ("revision_id", "gen_ai.agent.version"),
    ] {
        raw.set(place, metadata.remove(key).as_ref().and_then(words));
    }
    raw.keep_below("metadata", Some(Value::Object(metadata)));
}

fn content(raw: &mut RawSpan, map: &mut Map<String, Value>) {
    let mut outputs = side(map, "outputs", "output");
    count_usage(raw, &outputs);
    outputs.remove("usage_metadata");
    let model = at(&outputs, "llm_output.model_name").and_then(words);
    raw.set("gen_ai.response.model", model);
    let inputs = unwrapped(side(map, "inputs", "input"), "input");
    let outputs = unwrapped(outputs, "output");
    if raw.kind == Some(SpanKind::Tool) {
        // A tool's result is what LangChain's message about it holds.
        let kept = outputs.as_object().and_then(|map| at(map, "kwargs").and_then(Value::as_object).or(Some(map)));
        let call = kept.and_then(|map| map.get("tool_call_id")).and_then(words);
        let result = call.as_ref().and_then(|_| kept?.get("content").cloned());
        raw.set("gen_ai.tool.call.id", call);
        let printed = inputs.as_str().and_then(python_container);
        raw.set("input.value", printed.or(Some(inputs)));
        raw.set("output.value", result.or(Some(outputs)));
    } else {
        put_input(raw, Some(inputs));
        put_output(raw, Some(outputs));
    }
    for (side, key) in [("input", "inputs_preview"), ("output", "outputs_preview")] {
        let preview = take_words(map, &[key]);
        if preview.is_some() && !raw.attributes.contains_key(&format!("{side}.value")) {
            raw.set(&format!("{side}.value"), preview);
            raw.shortened_before(side);
        }
    }
}

/// One side of a run. What is no object, though it should be, is wrapped as LangSmith wraps it.
fn side(map: &mut Map<String, Value>, key: &str, single: &str) -> Map<String, Value> {
    match take(map, &[key]).map(structured) {
        Some(Value::Object(side)) => side,
        Some(other) => Map::from_iter([(single.to_owned(), other)]),
        None => Map::new(),
    }
}

/// What is no object comes wrapped into one of a single field.
fn unwrapped(mut map: Map<String, Value>, key: &str) -> Value {
    if map.len() == 1
        && let Some(value) = map.remove(key)
    {
        return value;
    }
    Value::Object(map)
}

/// Tokens where LangSmith's own exporter looks for them, in its order.
fn count_usage(raw: &mut RawSpan, outputs: &Map<String, Value>) {
    let generations = flat(outputs.get("generations").and_then(Value::as_array).map_or(&[], Vec::as_slice));
    let inside = outputs.values().filter_map(Value::as_object).flat_map(|map| {
        let whole = map.contains_key("lc");
        [at(map, "usage_metadata"), at(map, "kwargs.usage_metadata").filter(|_| whole)]
    });
    let generated = generations
        .filter_map(Value::as_object)
        .flat_map(|map| [at(map, "message.kwargs.usage_metadata"), at(map, "message.usage_metadata")]);
    let places = std::iter::once(at(outputs, "usage_metadata")).chain(inside).chain(generated);
    let places = places.chain([at(outputs, "llm_output.token_usage"), at(outputs, "llm_output.usage")]);
    for usage in places.flatten().filter_map(Value::as_object) {
        if count_tokens(raw, usage, Cache::Inside) {
            return;
        }
    }
}

/// One row of feedback, which names its run.
fn voice(mut map: Map<String, Value>) -> Result<TraceScore, Problem> {
    let trace = need_text(&mut map, &["trace_id"], "the trace; feedback on a run alone cannot be placed")?;
    let run = take_text(&mut map, &["run_id"])?.filter(|run| *run != trace);
    let name = need_text(&mut map, &["key"], "the name of the score")?;
    let project = take_words(&mut map, &["session_id"]);
    let native = Native { platform: "langsmith".to_owned(), trace: trace.clone(), span: run.clone(), project };
    let said = take(&mut map, &["score"]).or_else(|| take(&mut map, &["value"])).unwrap_or_default();
    let mut score = score(Some(native), name, &said);
    score.trace_id = Some(TraceId::new(native_trace("langsmith", &trace)));
    score.span_id = run.map(|run| SpanId::new(native_span("langsmith", &trace, &run)));
    score.label = score.label.or_else(|| take_words(&mut map, &["value"]));
    score.comment = take_words(&mut map, &["comment"]);
    let mut source = take_object(&mut map, &["feedback_source"])?;
    score.origin = origin(take_words(&mut source, &["type"]).as_deref());
    score.author = take_words(&mut source, &["user_name", "user_id"]);
    score.at_ns = moment(&mut map, &["modified_at", "created_at"])?;
    Ok(score)
}

/// `api` may be anyone: a user's thumb as well as a judge elsewhere.
fn origin(source: Option<&str>) -> ScoreOrigin {
    match source {
        Some("model" | "auto_eval") => ScoreOrigin::Evaluator,
        Some("app") => ScoreOrigin::Annotator,
        _ => ScoreOrigin::Unknown,
    }
}

/// Feedback comes summed up per key: one voice is itself, several are their mean.
fn feedback(raw: &RawSpan, key: String, stats: &Value) -> Option<TraceScore> {
    let stats = stats.as_object()?;
    let mut score = score_of(raw, key, stats.get("avg").unwrap_or(&Value::Null));
    let labels = stats.get("values").and_then(Value::as_object);
    score.label = labels.filter(|labels| labels.len() == 1).and_then(|labels| labels.keys().next().cloned());
    let count = stats.get("n").and_then(number).unwrap_or(1.0);
    let said = stats.get("comments").and_then(Value::as_array).and_then(|all| words(all.first()?));
    score.comment = if count > 1.0 { Some(format!("mean of {count}")) } else { said };
    let sources = stats.get("sources").and_then(Value::as_array).into_iter().flatten();
    let kind = |source: &Value| {
        let source = structured(source.clone());
        source.get("type").and_then(words).or_else(|| words(&source))
    };
    let kinds: BTreeSet<Option<String>> = sources.map(kind).collect();
    // Where kinds are mixed, nobody can say who gave the mean.
    score.origin = match kinds.first() {
        Some(only) if kinds.len() == 1 => origin(only.as_deref()),
        _ => ScoreOrigin::Unknown,
    };
    Some(score)
}
