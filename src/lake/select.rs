//! Which traces of a day fit a filter, as far as narrow columns tell.
//!
//! Grouping in the engine is fast but sees neither other versions of a span in other parts nor spans in other days.
//! Traces for which that matters are few; they are told apart here, read whole and asked again.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::civil::Date;
use polars::error::PolarsError;
use polars::prelude::{
    BooleanChunked, ChunkedArray, Column, DataFrame, DataType, Expr, Field, Int64Type, IntoColumn, NamedFrom, Series,
    StringType, coalesce, col, lit,
};

use crate::model::{SessionId, Span, SpanId, Trace, TraceFault, TraceId};

use super::parts::{Day, one_of, query};
use super::{LakeError, TraceFilter};

/// A trace found in one day.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: TraceId,
    pub(crate) key: i64,
    /// Bytes of JSON of its spans in that day.
    pub(crate) bytes: u64,
    /// Whether what is known here may differ from the whole trace, because it was written in pieces.
    doubtful: bool,
    start_ns: i64,
    errors: u64,
    session: Option<SessionId>,
    dimensions: BTreeMap<String, Option<String>>,
}

/// Dimensions that have a column; see [`Trace::dimension`].
fn column_of(dimension: &str) -> Option<Expr> {
    Some(match dimension {
        "session" => col("session_id"),
        "user" => col("user_id"),
        "name" => col("name"),
        "agent" => col("agent_name"),
        "agent_version" => col("agent_version"),
        "model" => coalesce(&[col("model_response"), col("model_request")]),
        "prompt_version" => col("prompt_version"),
        "trace_id" => col("trace_id"),
        _ => return None,
    })
}

/// The traces of a day that fit the filter as far as the narrow columns tell, sorted by id. Those that are `split` over
/// days are always among them, since one day cannot tell.
pub(crate) fn candidates(
    day: &Day,
    filter: &TraceFilter,
    split: &HashMap<i64, Vec<Date>>,
) -> Result<Vec<Candidate>, LakeError> {
    let wanted = holders(day, filter)?
        .map(|keys| Series::new("keys".into(), keys.into_iter().chain(split.keys().copied()).collect::<Vec<_>>()));
    let dimensions: Vec<&String> = filter.attributes.keys().filter(|key| column_of(key).is_some()).collect();
    let mut columns: Vec<Expr> = NARROW.iter().map(|name| col(*name)).collect();
    for (index, key) in dimensions.iter().enumerate() {
        columns.extend(column_of(key).map(|column| column.alias(format!("dimension_{index}"))));
    }
    let aggregates = aggregates(dimensions.len());
    let table = query(&day.parts, |scan| {
        let scan = match wanted {
            Some(wanted) => scan.filter(one_of("trace_key", wanted)),
            None => scan,
        };
        scan.select(columns).group_by([col("trace_id")]).agg(aggregates)
    })?;
    let unreadable = |error: PolarsError| blame(day, &error);
    let mut found = read(&table, &dimensions).map_err(unreadable)?;
    found.retain(|candidate| candidate.doubtful || split.contains_key(&candidate.key) || fits(candidate, filter));
    found.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(found)
}

const NARROW: &[&str] =
    &["trace_id", "trace_key", "parent_id", "name", "start", "status", "session_id", "root", "span_bytes", "part"];

fn blame(day: &Day, error: &PolarsError) -> LakeError {
    LakeError::unreadable(day.parts.first().map_or("?".as_ref(), |part| part.as_path()), error)
}

/// Of the root, else of the first span that has it: the rule of [`Trace::dimension`].
fn dimension(column: &str) -> Expr {
    let within = |rows: Expr| col(column).filter(rows).drop_nulls().first();
    coalesce(&[true_root(column).first(), within(col("root")), col(column).drop_nulls().first()])
}

/// Values in rows without a parent; of the root alone when the trace was written at once.
fn true_root(column: &str) -> Expr {
    col(column).filter(col("root").and(col("parent_id").is_null())).drop_nulls()
}

fn aggregates(dimensions: usize) -> Vec<Expr> {
    let mut aggregates = vec![
        col("trace_key").first().alias("key"),
        col("start").cast(DataType::Int64).min().alias("start_ns"),
        dimension("session_id").alias("session"),
        col("status").eq(lit("error")).cast(DataType::Int64).sum().alias("errors"),
        col("span_bytes").sum().alias("bytes"),
        col("part").first().neq(col("part").last()).alias("several"),
    ];
    for index in 0..dimensions {
        aggregates.push(dimension(&format!("dimension_{index}")).alias(format!("value_{index}")));
    }
    aggregates
}

fn read(table: &DataFrame, dimensions: &[&String]) -> Result<Vec<Candidate>, PolarsError> {
    let long = |name: &str| table.column(name).and_then(|column| column.i64());
    let text = |name: &str| table.column(name).and_then(|column| column.str());
    let (ids, keys, starts, sessions) = (text("trace_id")?, long("key")?, long("start_ns")?, text("session")?);
    let (errors, bytes, several) = (long("errors")?, long("bytes")?, table.column("several")?.bool()?);
    let values: Vec<(&String, &ChunkedArray<StringType>)> = dimensions
        .iter()
        .enumerate()
        .map(|(index, key)| text(&format!("value_{index}")).map(|values| (*key, values)))
        .collect::<Result<_, _>>()?;
    let count = |column: &ChunkedArray<Int64Type>, at: usize| {
        column.get(at).and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
    };
    let row = |at: usize| {
        Some(Candidate {
            id: TraceId::from(ids.get(at)?),
            key: keys.get(at).unwrap_or_default(),
            bytes: count(bytes, at),
            doubtful: several.get(at) == Some(true),
            start_ns: starts.get(at)?,
            errors: count(errors, at),
            session: sessions.get(at).map(SessionId::from),
            dimensions: values
                .iter()
                .map(|(key, values)| ((*key).clone(), values.get(at).map(str::to_owned)))
                .collect(),
        })
    };
    Ok((0..table.height()).filter_map(row).collect())
}

fn fits(candidate: &Candidate, filter: &TraceFilter) -> bool {
    let dimension = |key: &str, value: &str| match key {
        "status" => (if candidate.errors > 0 { "error" } else { "ok" }) == value,
        // One without a column was looked for in the spans themselves and is checked on the whole trace.
        _ => candidate.dimensions.get(key).is_none_or(|found| found.as_deref() == Some(value)),
    };
    filter.in_time(candidate.start_ns)
        && (!filter.only_errors || candidate.errors > 0)
        && filter.session.as_ref().is_none_or(|session| candidate.session.as_ref() == Some(session))
        && filter.attributes.iter().all(|(key, value)| dimension(key, value))
}

/// Keys of traces that have a span in which each attribute without a column may have its value; `None` when there
/// is no such attribute. A cheap look at the text, wrong only in letting too many through.
fn holders(day: &Day, filter: &TraceFilter) -> Result<Option<HashSet<i64>>, LakeError> {
    let mut keys: Option<HashSet<i64>> = None;
    for (key, value) in filter.attributes.iter().filter(|(key, _)| *key != "status" && column_of(key).is_none()) {
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let bare = quoted(value);
        let bare = bare.get(1..bare.len().saturating_sub(1)).unwrap_or_default().to_owned();
        // Lists and objects are compared by their text, which stands in the span as it is.
        let value = if value.starts_with(['{', '[']) { value.clone() } else { bare };
        let table = query(&day.parts, |scan| {
            scan.filter(contains("span", [quoted(key), value])).select([col("trace_key").unique()])
        })?;
        let found = long_column(&table, "trace_key").map_err(|error| blame(day, &error))?;
        keys = Some(match keys {
            Some(keys) => keys.intersection(&found).copied().collect(),
            None => found,
        });
    }
    Ok(keys)
}

/// Whether a text column contains all of some texts.
fn contains(column: &str, texts: [String; 2]) -> Expr {
    let holds = move |values: Column| {
        let held = values.str()?.iter().map(|value| value.map(|value| texts.iter().all(|text| value.contains(text))));
        Ok(held.collect::<BooleanChunked>().with_name(values.name().clone()).into_column())
    };
    col(column).map(holds, |_, field| Ok(Field::new(field.name().clone(), DataType::Boolean)))
}

pub(crate) fn long_column(table: &DataFrame, name: &str) -> Result<HashSet<i64>, PolarsError> {
    Ok(table.column(name)?.i64()?.iter().flatten().collect())
}

/// Whether a span was kept of several versions, for the memory of that which the kept one does not have.
pub(crate) fn restore_duplicates(trace: &mut Trace, spans: &HashSet<SpanId>) {
    let there = |id: &SpanId| trace.spans.iter().any(|span: &Span| span.span_id == *id);
    let mut found: Vec<TraceFault> = spans
        .iter()
        .filter(|id| there(id))
        .map(|id| TraceFault::Duplicate { span: id.clone() })
        .filter(|fault| !trace.faults.contains(fault))
        .collect();
    trace.faults.append(&mut found);
    trace.faults.sort();
}
