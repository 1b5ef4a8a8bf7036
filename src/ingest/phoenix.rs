//! Spans of Phoenix: rows of its interface, dumps of its data frames (`context.span_id`, `attributes.llm.…`), and the
//! annotations people and evaluators gave, in a span or as rows of their own.
//!
//! The attributes are OpenInference, which `dialect` reads. Phoenix' OTLP endpoint is read by `otlp_json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::{Native, ScoreOrigin, SessionId, SpanId, TraceId, TraceScore};

use super::admit::Gate;
use super::error::{IngestError, Problem};
use super::ids::{self, IdError};
use super::json::{is_empty, take, take_list, take_object, take_words, words};
use super::open::{Head, Opened};
use super::platform::{Found, score, take_row};
use super::raw::RawSpan;
use super::shape::Shape;
use super::times::{self, Unit};
use super::{SourceInfo, rows, span_json};

/// The row of this source.
pub(super) const SOURCE: SourceInfo = SourceInfo {
    name: "phoenix",
    summary: "Phoenix spans and annotations: rows of the API, dumps of data frames",
    recognise,
    read,
    row: Some(row),
};

const LISTS: &[&str] = &["data"];
/// Prefixes of the attributes that hold annotations, and of the fields within one.
const INLINE: [(&str, &str); 2] = [("annotations.", "annotation."), ("evaluations.", "evaluation.")];
const SCOPES: [&str; 3] = ["", "trace.", "session."];

fn recognise(head: &Head<'_>) -> Option<String> {
    let shape = Shape::of(head);
    if shape.rows_have(LISTS, &["annotator_kind", "result", "name"]) {
        return Some("JSON rows with `annotator_kind` and `result`".to_owned());
    }
    let rows = shape.rows_have(LISTS, &["context.span_id", "span_kind", "status_code"]);
    rows.then(|| "JSON rows with `context.span_id`, `span_kind` and `status_code`".to_owned())
}

fn read(opened: Opened, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    rows::each_in(opened, gate, LISTS, row)
}

fn row(value: Value, line: Option<u64>, gate: &mut Gate<'_>) -> Result<(), IngestError> {
    take_row(value, line, gate, |map, found| {
        if map.contains_key("annotator_kind") && !map.contains_key("span_kind") {
            found.scores.push(annotation(map)?);
            return Ok(());
        }
        span(map, found)
    })
}

fn span(mut map: Map<String, Value>, found: &mut Found) -> Result<(), Problem> {
    unframe(&mut map);
    let annotations = take_list(&mut map, &["annotations", "span_annotations"])?;
    map.retain(|_, value| !value.is_null());
    let mut raw = span_json::read(map, &Arc::default()).map_err(|error| match error {
        IdError::Wrong(problem) => problem,
        IdError::Rounded => Problem::new("`context.trace_id`", "a number too long for JSON", "32 hexadecimal digits"),
    })?;
    raw.native = Some(Native {
        platform: "phoenix".to_owned(),
        trace: raw.trace_id.clone(),
        span: Some(raw.span_id.clone()),
        project: raw.attributes.get("openinference.project.name").and_then(words),
    });
    inline(&mut raw, found);
    for said in annotations {
        let Value::Object(mut said) = said else {
            found.ignore("annotations that are no objects", 1);
            continue;
        };
        said.entry("span_id").or_insert_with(|| Value::from(raw.span_id.clone()));
        said.insert("trace_id".to_owned(), Value::from(raw.trace_id.clone()));
        match annotation(said) {
            Ok(score) => found.scores.push(score),
            Err(problem) => found.problems.push(problem),
        }
    }
    found.spans.push(raw);
    Ok(())
}

/// Brings the dotted columns of a data frame to the fields of a row.
fn unframe(map: &mut Map<String, Value>) {
    for part in ["context", "attributes"] {
        let prefix = format!("{part}.");
        let columns: Vec<String> = map.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
        if columns.is_empty() {
            continue;
        }
        let mut inner = match map.remove(part) {
            Some(Value::Object(inner)) => inner,
            _ => Map::new(),
        };
        for column in columns {
            // An empty cell of a data frame says that another row has this attribute.
            if let Some(value) = map.remove(&column).filter(|value| !value.is_null()) {
                inner.insert(column.trim_start_matches(&prefix).to_owned(), value);
            }
        }
        map.insert(part.to_owned(), Value::Object(inner));
    }
}

/// Takes annotations out of the attributes they are exported as: `trace.annotations.0.annotation.score`.
fn inline(raw: &mut RawSpan, found: &mut Found) {
    let mut groups: BTreeMap<(&str, &str, String), Map<String, Value>> = BTreeMap::new();
    for scope in SCOPES {
        for (list, within) in INLINE {
            let prefix = format!("{scope}{list}");
            let keys: Vec<String> = raw.attributes.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
            for key in keys {
                let place = key.get(prefix.len()..).and_then(|rest| rest.split_once('.'));
                let Some((index, field)) = place.and_then(|(index, rest)| Some((index, rest.strip_prefix(within)?)))
                else {
                    continue;
                };
                let group = groups.entry((scope, list, index.to_owned())).or_default();
                if let Some(value) = raw.attributes.get(&key) {
                    group.insert(field.to_owned(), value.clone());
                }
                raw.attributes.remove(&key);
            }
        }
    }
    for ((scope, ..), mut said) in groups {
        let target = match scope {
            "session." => ("session_id", raw.attributes.get("session.id").and_then(words)),
            "trace." => ("trace_id", Some(raw.trace_id.clone())),
            _ => ("span_id", Some(raw.span_id.clone())),
        };
        if scope != "session." {
            said.insert("trace_id".to_owned(), Value::from(raw.trace_id.clone()));
        }
        said.insert(target.0.to_owned(), target.1.into());
        match annotation(said) {
            Ok(score) => found.scores.push(score),
            Err(_) => found.ignore("annotations that do not say of what they are", 1),
        }
    }
}

/// Reads an annotation of a span, a trace or a session.
fn annotation(mut map: Map<String, Value>) -> Result<TraceScore, Problem> {
    let name = take_words(&mut map, &["name"]);
    let name = name.ok_or_else(|| Problem::new("`name`", "missing", "the name of the annotation"))?;
    let id = |key: &str, bytes: usize| {
        ids::read(map.get(key), key, bytes, true).map_err(|error| match error {
            IdError::Wrong(problem) => problem,
            IdError::Rounded => Problem::new(format!("`{key}`"), "a number too long for JSON", "hexadecimal digits"),
        })
    };
    let (trace, span) = (id("trace_id", 16)?, id("span_id", 8)?);
    let session = take_words(&mut map, &["session_id"]);
    if trace.is_none() && span.is_none() && session.is_none() {
        return Err(Problem::new("`span_id`", "missing", "`span_id`, `trace_id` or `session_id`"));
    }
    let mut result = take_object(&mut map, &["result"])?;
    let mut said =
        |key: &str| take(&mut result, &[key]).or_else(|| take(&mut map, &[key])).filter(|value| !is_empty(value));
    let (value, label, comment) = (said("score"), said("label"), said("explanation"));
    let mut score = score(None, name, &value.unwrap_or_default());
    score.label = label.as_ref().and_then(words).or(score.label);
    score.comment = comment.as_ref().and_then(words);
    score.origin = match take_words(&mut map, &["annotator_kind"]).unwrap_or_default().to_uppercase().as_str() {
        "HUMAN" => ScoreOrigin::Annotator,
        "LLM" | "CODE" => ScoreOrigin::Evaluator,
        _ => ScoreOrigin::Unknown,
    };
    score.author = take_words(&mut map, &["identifier"]);
    let at = take(&mut map, &["updated_at", "created_at"]);
    score.at_ns = times::read(at.as_ref(), "created_at", Unit::Unsaid).ok().flatten();
    score.source.native =
        trace.clone().map(|trace| Native { platform: "phoenix".to_owned(), trace, span: span.clone(), project: None });
    score.session_id = if trace.is_none() { session.map(SessionId::new) } else { None };
    score.trace_id = trace.map(TraceId::new);
    score.span_id = span.map(SpanId::new);
    Ok(score)
}
