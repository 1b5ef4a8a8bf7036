//! Calls of W&B Weave, as its trace server streams them and its clients dump them.
//!
//! Weave sums usage and costs up the tree, so that a call with usage need not be one of a model.

use serde_json::{Map, Value};

use crate::model::{ScoreOrigin, SpanKind, SpanStatus};

use super::admit::Gate;
use super::bodies::{count_body_tokens, put_input, put_output};
use super::error::{IngestError, Problem};
use super::json::{at, need_text, number, take, take_object, take_text, take_words, words};
use super::open::{Head, Opened};
use super::platform::{Found, Ids, moment, need_moment, score_of, state_cost, take_row};
use super::raw::RawSpan;
use super::shape::Shape;
use super::times::{self, Unit};
use super::{SourceInfo, rows};

/// The row of this source.
pub(super) const SOURCE: SourceInfo =
    SourceInfo { name: "weave", summary: "W&B Weave calls: rows of the trace server", recognise, read, row: Some(row) };

const LISTS: &[&str] = &["calls"];
/// What the names of calls to models contain, in the clients Weave patches.
const MODEL_CALLS: &[&str] = &[
    "chat.completions",
    "completions.create",
    "completions.parse",
    "responses.create",
    "responses.parse",
    "messages.create",
    "anthropic.messages",
    "anthropic.asyncmessages",
    "generate_content",
    "litellm.completion",
    "litellm.acompletion",
    "chat.complete",
    "chatopenai",
    "chatanthropic",
];

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    let mark = ["started_at", "trace_id"].into_iter().find(|mark| shape.rows_have(LISTS, &["op_name", mark]))?;
    Some(format!("JSON rows with `op_name` and `{mark}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each_in(opened, gate, LISTS, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    take_row(value, line, gate, call)
}

fn call(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    if map.get("deleted_at").is_some_and(|at| !at.is_null()) {
        found.ignore("calls that were deleted", 1);
        return Ok(());
    }
    let id = need_text(&mut map, &["id"], "the id of the call")?;
    let trace = need_text(&mut map, &["trace_id"], "the id of the trace")?;
    let parent = take_text(&mut map, &["parent_id"])?;
    let start = need_moment(&mut map, &["started_at"])?;
    let op = take_text(&mut map, &["op_name"])?.unwrap_or_default();
    let op = op_name(&op).to_owned();
    let name = take_words(&mut map, &["display_name"]).unwrap_or_else(|| op.clone());
    let project = take_words(&mut map, &["project_id"]);
    let ids = Ids { platform: "weave", trace: &trace, span: &id, parent: parent.as_deref(), project };
    let mut raw = ids.begin(name, start);
    raw.end_ns = moment(&mut map, &["ended_at"])?;
    let attributes = take_object(&mut map, &["attributes"])?;
    raw.kind = kind(&op, &attributes, map.get("output"));
    let mut summary = take_object(&mut map, &["summary"])?;
    let mut own = take_object(&mut summary, &["weave"])?;
    let failure = take_words(&mut map, &["exception"]);
    match take_words(&mut own, &["status"]).as_deref() {
        _ if failure.is_some() => raw.fail(failure),
        Some("error") => raw.fail(None),
        Some("success") => raw.status = SpanStatus::Ok,
        _ => {}
    }
    raw.set("session.id", take_words(&mut map, &["thread_id"]));
    raw.set("user.id", at(&attributes, "user_id").and_then(words));
    usage(&mut raw, take_object(&mut summary, &["usage"])?);
    costs(&mut raw, take_object(&mut own, &["costs"])?);
    put_input(&mut raw, map.remove("inputs"));
    put_output(&mut raw, map.remove("output"));
    feedback(&raw, take(&mut own, &["feedback"]), found);
    raw.set("weave.op", Some(op));
    for (prefix, rest) in [("metadata", attributes), ("weave.summary", summary), ("weave", map)] {
        raw.keep_below(prefix, Some(Value::Object(rest)));
    }
    found.spans.push(raw);
    Ok(())
}

/// The name in `weave:///entity/project/op/NAME:digest`.
fn op_name(op: &str) -> &str {
    let name = op.rsplit_once("/op/").map_or(op, |(_, name)| name);
    if op.starts_with("weave:") { name.rsplit_once(':').map_or(name, |(name, _)| name) } else { name }
}

fn kind(op: &str, attributes: &Map<String, Value>, output: Option<&Value>) -> Option<SpanKind> {
    let said = ["weave.kind", "kind"].iter().find_map(|path| at(attributes, path)?.as_str());
    let said = match said {
        Some("llm") => Some(SpanKind::Model),
        Some("agent") => Some(SpanKind::Agent),
        Some("tool") => Some(SpanKind::Tool),
        Some("search" | "retrieval" | "embedding") => Some(SpanKind::Retrieval),
        Some("scorer") => Some(SpanKind::Evaluator),
        Some("guardrail") => Some(SpanKind::Guardrail),
        _ => None,
    };
    let lower = op.to_lowercase();
    let answered = output.and_then(Value::as_object).is_some_and(|output| output.contains_key("choices"));
    said.or_else(|| match () {
        () if lower.contains("embeddings") => Some(SpanKind::Retrieval),
        () if answered || MODEL_CALLS.iter().any(|call| lower.contains(call)) => Some(SpanKind::Model),
        () if lower.ends_with(".score") || at(attributes, "_weave_eval_meta.score").is_some() => {
            Some(SpanKind::Evaluator)
        }
        () => Some(SpanKind::Step),
    })
}

/// Usage comes by model; one name is the model that answered.
fn usage(raw: &mut RawSpan, by_model: Map<String, Value>) {
    let mut sum: Map<String, Value> = Map::new();
    let single = by_model.len() == 1;
    for (model, counts) in by_model {
        let Value::Object(counts) = counts else { continue };
        if single {
            if raw.kind == Some(SpanKind::Model) {
                raw.set("gen_ai.response.model", Some(model));
            }
            count_body_tokens(raw, &counts);
            return;
        }
        for (key, value) in counts {
            let Some(count) = number(&value) else { continue };
            let before = sum.get(&key).and_then(number).unwrap_or(0.0);
            sum.insert(key, Value::from(before + count));
        }
    }
    count_body_tokens(raw, &sum);
}

fn costs(raw: &mut RawSpan, by_model: Map<String, Value>) {
    let halves = ["prompt_tokens_total_cost", "completion_tokens_total_cost"];
    let whole: Option<Vec<f64>> =
        by_model.values().flat_map(|costs| halves.map(|half| costs.get(half).and_then(number))).collect();
    let whole = whole.filter(|costs| !costs.is_empty()).map(|costs| Value::from(costs.iter().sum::<f64>()));
    state_cost(raw, whole.as_ref());
}

/// Feedback is named by its type: `wandb.runnable.NAME` of scorers, `wandb.annotation.NAME` of people.
fn feedback(raw: &RawSpan, list: Option<Value>, found: &mut Found) {
    let Some(Value::Array(list)) = list else { return };
    for one in list {
        let Value::Object(mut one) = one else { continue };
        let kind = take_words(&mut one, &["feedback_type"]).unwrap_or_default();
        let payload = match take(&mut one, &["payload"]) {
            Some(Value::Object(payload)) => payload,
            _ => Map::new(),
        };
        let (name, origin, keys): (&str, _, &[&str]) = match kind.as_str() {
            "wandb.note.1" => {
                found.ignore("notes", 1);
                continue;
            }
            "wandb.reaction.1" => ("reaction", ScoreOrigin::Annotator, &["alias", "emoji"]),
            kind => match (kind.strip_prefix("wandb.runnable."), kind.strip_prefix("wandb.annotation.")) {
                (Some(name), _) => {
                    (name, ScoreOrigin::Evaluator, &["output.score", "output.value", "output.passed", "output"])
                }
                (_, Some(name)) => (name, ScoreOrigin::Annotator, &["value"]),
                _ => (kind, ScoreOrigin::Unknown, &["score", "value", "label"]),
            },
        };
        let said = keys.iter().find_map(|path| at(&payload, path)).cloned().unwrap_or_default();
        let mut score = score_of(raw, name, &said);
        score.origin = origin;
        score.author = take_words(&mut one, &["creator", "wb_user_id"]);
        let at = take(&mut one, &["created_at"]);
        score.at_ns = times::read(at.as_ref(), "created_at", Unit::Unsaid).ok().flatten();
        found.scores.push(score);
    }
}
