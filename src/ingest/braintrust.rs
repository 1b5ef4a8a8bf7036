//! Rows of Braintrust's logs and experiments, as its interface and its export jobs give them.
//!
//! A row is written again whenever it changes: the greatest `_xact_id` is the newest. Feedback goes to the row's `id`,
//! not to its `span_id`, so that is what is kept as the native span.

use serde_json::{Map, Value};

use crate::model::{ScoreOrigin, SpanId, SpanKind};

use super::admit::Gate;
use super::bodies::{put_input, put_output};
use super::error::{IngestError, Problem};
use super::json::{number, take, take_object, take_text, take_words, words};
use super::open::{Head, Opened};
use super::platform::{Cache, Found, Ids, count_tokens, moment, need_moment, score_of, state_cost, take_row};
use super::raw::RawSpan;
use super::shape::Shape;
use super::{SourceInfo, ids, rows};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "braintrust",
    summary: "Braintrust rows of logs and experiments",
    recognise,
    read,
    row: Some(row),
};

const LISTS: &[&str] = &["events", "data"];

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    let pairs = [["_xact_id", "id"], ["_xact_id", "span_id"], ["root_span_id", "span_attributes"]];
    let [first, second] = pairs.iter().find(|pair| shape.rows_have(LISTS, *pair))?;
    Some(format!("JSON rows with `{first}` and `{second}`"))
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each_in(opened, gate, LISTS, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    take_row(value, line, gate, span)
}

fn span(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    let logged =
        ["log_id", "experiment_id", "span_attributes"].iter().any(|key| !map.get(*key).is_none_or(Value::is_null));
    if !logged && map.contains_key("dataset_id") {
        found.ignore("rows of datasets", 1);
        return Ok(());
    }
    if map.get("_object_delete").and_then(Value::as_bool) == Some(true) {
        found.ignore("rows that were deleted", 1);
        return Ok(());
    }
    let mut metrics = take_object(&mut map, &["metrics"])?;
    let mut raw = begin(&mut map, &mut metrics)?;
    let error = take_words(&mut map, &["error"]);
    if error.is_some() {
        raw.fail(error);
    }
    describe_row(&mut raw, take_object(&mut map, &["metadata"])?);
    put_input(&mut raw, map.remove("input"));
    put_output(&mut raw, map.remove("output"));
    count_tokens(&mut raw, &metrics, Cache::Inside);
    state_cost(&mut raw, take(&mut metrics, &["estimated_cost", "cost"]).as_ref());
    for key in ["prompt_tokens", "completion_tokens", "tokens", "prompt_cached_tokens", "completion_reasoning_tokens"] {
        metrics.remove(key);
    }
    raw.keep_below("metrics", Some(Value::Object(metrics)));
    scores(&raw, take_object(&mut map, &["scores"])?, found);
    raw.set("tags", map.remove("tags"));
    for key in ["_pagination_key", "is_root", "root_span_id", "log_id"] {
        map.remove(key);
    }
    raw.keep_below("braintrust", Some(Value::Object(map)));
    found.spans.push(raw);
    Ok(())
}

fn begin(map: &mut Map<String, Value>, metrics: &mut Map<String, Value>) -> Result<RawSpan, Problem> {
    let row = take_text(map, &["id"])?;
    let span = take_text(map, &["span_id"])?.or_else(|| row.clone());
    let span = span.ok_or_else(|| Problem::new("`span_id`", "missing", "`span_id` or `id`"))?;
    let trace = take_text(map, &["root_span_id"])?.unwrap_or_else(|| span.clone());
    let parents = map.remove("span_parents");
    let parent = parents.as_ref().and_then(Value::as_array).and_then(|parents| words(parents.first()?));
    let start = match moment(metrics, &["start"])? {
        Some(start) => start,
        None => need_moment(map, &["created"])?,
    };
    let mut about = take_object(map, &["span_attributes"])?;
    let kind = take_text(&mut about, &["type"])?;
    let scorer = take_text(&mut about, &["purpose"])?.as_deref() == Some("scorer");
    let name = take_text(&mut about, &["name"])?.or_else(|| kind.clone()).unwrap_or_default();
    let project = take_words(map, &["project_id"]);
    let ids = Ids { platform: "braintrust", trace: &trace, span: &span, parent: parent.as_deref(), project };
    let mut raw = ids.begin(name, start);
    raw.end_ns = moment(metrics, &["end"])?;
    raw.kind = match kind.as_deref() {
        _ if scorer => Some(SpanKind::Evaluator),
        Some("score") => Some(SpanKind::Evaluator),
        Some("llm") => Some(SpanKind::Model),
        Some("tool") => Some(SpanKind::Tool),
        Some("task" | "eval" | "function" | "automation" | "preprocessor") => Some(SpanKind::Step),
        _ => None,
    };
    if let (Some(native), Some(row)) = (raw.native.as_mut(), row) {
        native.span = Some(row);
    }
    // Numbers that grow with every change of a row.
    raw.revise(take(map, &["_xact_id"]).as_ref().and_then(words).and_then(|id| id.parse().ok()));
    raw.keep_below("braintrust", Some(Value::Object(about)));
    Ok(raw)
}

fn describe_row(raw: &mut RawSpan, mut metadata: Map<String, Value>) {
    for (key, place) in [
        ("model", "gen_ai.request.model"),
        ("provider", "gen_ai.provider.name"),
        ("user_id", "user.id"),
        ("session_id", "session.id"),
        ("thread_id", "session.id"),
        ("conversation_id", "session.id"),
    ] {
        if !raw.attributes.contains_key(place)
            && let Some(value) = metadata.remove(key)
        {
            raw.set(place, words(&value));
        }
    }
    raw.keep_below("metadata", Some(Value::Object(metadata)));
}

/// Scores on a scorer's own row are about the row above it.
fn scores(raw: &RawSpan, scores: Map<String, Value>, found: &mut Found) {
    for (name, said) in scores.into_iter().filter(|(_, said)| number(said).is_some()) {
        let mut score = score_of(raw, name, &said);
        if raw.kind == Some(SpanKind::Evaluator) {
            score.origin = ScoreOrigin::Evaluator;
            score.author = Some(raw.name.clone());
            let root = raw.native.as_ref().map(|native| ids::native_span("braintrust", &native.trace, &native.trace));
            score.span_id = raw.parent_id.clone().filter(|parent| Some(parent) != root.as_ref()).map(SpanId::new);
        }
        found.scores.push(score);
    }
}
