//! Traces and spans of Opik: rows of its interface, and the files its command line writes (`{trace, spans}`).
//!
//! Opik's trace is itself a step with input and output: it becomes the root, and spans without a parent stand below it.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::{ScoreOrigin, SpanKind};

use super::admit::Gate;
use super::bodies::{put_input, put_output};
use super::error::{IngestError, Problem};
use super::json::{describe, need_text, take, take_list, take_object, take_text, take_words, words};
use super::open::{Head, Opened};
use super::platform::{Cache, Found, Ids, after_ms, count_tokens, moment, need_moment, score_of, state_cost, take_row};
use super::raw::RawSpan;
use super::shape::Shape;
use super::times::{self, Unit};
use super::{SourceInfo, rows};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "opik",
    summary: "Opik traces and spans: rows of the API, files of `opik export`",
    recognise,
    read,
    row: Some(row),
};

const LISTS: &[&str] = &["content", "traces", "data"];

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    // The spans come last and may lie behind the head.
    if ["spans", "trace.start_time"].iter().any(|beside| shape.rows_have(&[], &["trace.id", beside])) {
        return Some("JSON with `trace` of `id` and `start_time`".to_owned());
    }
    if shape.rows_have(LISTS, &["run_type"]) || shape.rows_have(LISTS, &["span_id"]) {
        return None;
    }
    let marks = [
        "feedback_scores",
        "total_estimated_cost",
        "span_feedback_scores",
        "llm_span_count",
        "error_info",
        "last_updated_at",
        "thread_id",
        "parent_span_id",
    ];
    let mark = marks.iter().find(|mark| shape.rows_have(LISTS, &["id", "start_time", mark]))?;
    Some(format!("JSON rows with `id`, `start_time` and `{mark}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each_in(opened, gate, LISTS, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    take_row(value, line, gate, |mut map, found| {
        if !map.get("trace").is_some_and(Value::is_object) {
            return one(map, None, found);
        }
        let project = take_words(&mut map, &["project_name"]);
        let trace = take_object(&mut map, &["trace"])?;
        for span in take_list(&mut map, &["spans"])? {
            let read = match span {
                Value::Object(mut span) => {
                    if let Some(id) = trace.get("id").filter(|_| !span.contains_key("trace_id")) {
                        span.insert("trace_id".to_owned(), id.clone());
                    }
                    one(span, project.clone(), found)
                }
                other => Err(Problem::new("`spans[]`", describe(&other), "an object")),
            };
            found.problems.extend(read.err());
        }
        one(trace, project, found)
    })
}

fn one(mut map: Map<String, Value>, project: Option<String>, found: &mut Found) -> Result<(), Problem> {
    let mut raw = begin(&mut map, project)?;
    raw.end_ns = moment(&mut map, &["end_time"])?;
    let duration = map.remove("duration");
    raw.end_ns = raw.end_ns.or_else(|| after_ms(raw.start_ns, duration.as_ref()));
    if let Some(error) = map.remove("error_info").filter(|error| !error.is_null()) {
        let said = |key: &str| error.get(key).and_then(words);
        raw.set("error.type", said("exception_type"));
        raw.fail(said("message").or_else(|| said("traceback")).or_else(|| words(&error)));
    }
    raw.set("session.id", take_words(&mut map, &["thread_id"]));
    raw.set("gen_ai.request.model", take_words(&mut map, &["model"]));
    raw.set("gen_ai.provider.name", take_words(&mut map, &["provider"]));
    if let Some(environment) = map.remove("environment").filter(|value| !value.is_null()) {
        Arc::make_mut(&mut raw.resource).insert("deployment.environment.name".to_owned(), environment);
    }
    put_input(&mut raw, map.remove("input"));
    // Stated counts come before those in a body.
    tokens(&mut raw, take_object(&mut map, &["usage"])?);
    put_output(&mut raw, map.remove("output"));
    state_cost(&mut raw, map.remove("total_estimated_cost").as_ref());
    raw.keep_below("metadata", map.remove("metadata"));
    raw.set("tags", map.remove("tags"));
    for score in take_list(&mut map, &["feedback_scores"])? {
        feedback(&raw, score, found);
    }
    let updated = moment(&mut map, &["last_updated_at"]).ok().flatten();
    raw.revise(updated);
    // Sums over the spans, and what was said above.
    for key in ["span_feedback_scores", "span_count", "llm_span_count", "project_id", "has_tool_spans"] {
        map.remove(key);
    }
    raw.keep_below("opik", Some(Value::Object(map)));
    found.spans.push(raw);
    Ok(())
}

fn begin(map: &mut Map<String, Value>, project: Option<String>) -> Result<RawSpan, Problem> {
    let id = need_text(map, &["id"], "the id of the trace or span")?;
    let trace = take_text(map, &["trace_id"])?;
    let parent = take_text(map, &["parent_span_id"])?.filter(|parent| !parent.trim().is_empty());
    let project = take_words(map, &["project_name"]).or(project);
    let project = project.or_else(|| map.get("project_id").and_then(words));
    let start = need_moment(map, &["start_time"])?;
    let kind = take_text(map, &["type"])?;
    let name = take_text(map, &["name"])?.or_else(|| kind.clone()).unwrap_or_else(|| "trace".to_owned());
    let Some(trace) = trace else {
        let ids = Ids { platform: "opik", trace: &id, span: &id, parent: None, project };
        let mut raw = ids.begin(name, start);
        raw.kind = Some(SpanKind::Step);
        // Scores of a trace are sent to the trace.
        raw.native.iter_mut().for_each(|native| native.span = None);
        return Ok(raw);
    };
    let parent = parent.as_deref().or(Some(&trace));
    let mut raw = Ids { platform: "opik", trace: &trace, span: &id, parent, project }.begin(name, start);
    raw.kind = match kind.as_deref() {
        Some("llm") => Some(SpanKind::Model),
        Some("tool") => Some(SpanKind::Tool),
        Some("guardrail") => Some(SpanKind::Guardrail),
        _ => Some(SpanKind::Step),
    };
    Ok(raw)
}

/// Beside three counts of its own Opik keeps what the provider said below `original_usage.`.
fn tokens(raw: &mut RawSpan, usage: Map<String, Value>) {
    let (mut counts, mut original) = (Map::new(), Map::new());
    for (key, value) in usage {
        match key.strip_prefix("original_usage.") {
            Some(key) => original.insert(key.to_owned(), value),
            None => counts.insert(key, value),
        };
    }
    for (key, value) in
        original.into_iter().filter(|(key, _)| !["input_tokens", "output_tokens"].contains(&key.as_str()))
    {
        counts.entry(key).or_insert(value);
    }
    count_tokens(raw, &counts, Cache::Unsaid);
}

fn feedback(raw: &RawSpan, score: Value, found: &mut Found) {
    let Value::Object(mut said) = score else { return found.ignore("scores that are no objects", 1) };
    let Some(name) = take_words(&mut said, &["name"]) else { return found.ignore("scores without a name", 1) };
    let mut score = score_of(raw, name, said.get("value").unwrap_or(&Value::Null));
    score.label = take_words(&mut said, &["category_name"]).or(score.label);
    score.comment = take_words(&mut said, &["reason"]);
    score.author = take_words(&mut said, &["author", "created_by"]);
    let at = take(&mut said, &["last_updated_at", "created_at"]);
    score.at_ns = times::read(at.as_ref(), "created_at", Unit::Unsaid).ok().flatten();
    score.origin = match take_words(&mut said, &["source"]).as_deref() {
        Some("ui") => ScoreOrigin::Annotator,
        Some("online_scoring") => ScoreOrigin::Evaluator,
        _ => ScoreOrigin::Unknown,
    };
    found.scores.push(score);
}
