//! Summary rows of traces, from the narrow columns alone.
//!
//! Grouping in the engine is fast but sees neither duplicates in other parts nor spans in other days. Traces for
//! which that matters are few; they are told apart here and made from their whole spans by [`TraceRow::of`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use polars::error::PolarsError;
use polars::prelude::{
    BooleanChunked, ChunkedArray, Column, DataFrame, DataType, Expr, Field, Int64Type, IntoColumn, NamedFrom, Series,
    StringType, coalesce, col, len, lit,
};
use serde::{Deserialize, Serialize};

use crate::model::{SessionId, Span, SpanId, Trace, TraceFault, TraceId, Usage};

use super::parts::{Day, one_of, query};
use super::{LakeError, TraceFilter};

/// One trace as a list shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceRow {
    /// Id.
    pub trace_id: TraceId,
    /// Start of the first span, nanoseconds since 1970.
    pub start_ns: i64,
    /// Name of the root.
    pub name: String,
    /// Agent: of the root, else the first that is named.
    pub agent: Option<String>,
    /// Session.
    pub session_id: Option<SessionId>,
    /// Spans.
    pub spans: u64,
    /// Spans that say they failed.
    pub errors: u64,
    /// Milliseconds from the first start to the last end.
    pub duration_ms: Option<f64>,
    /// Input and output tokens, as [`Trace::usage`] counts them.
    pub usage: Usage,
    /// US dollars, as [`Trace::cost_usd`] counts them.
    pub cost_usd: Option<f64>,
}

impl TraceRow {
    /// The row of a whole trace; `None` without spans.
    pub fn of(trace: &Trace) -> Option<Self> {
        let root = trace.root()?;
        let usage = trace.usage();
        Some(Self {
            trace_id: trace.id.clone(),
            start_ns: trace.spans.first()?.start_ns,
            name: root.name.clone(),
            agent: trace.dimension("agent"),
            session_id: trace.session_id.clone(),
            spans: trace.spans.len() as u64,
            errors: trace.spans.iter().filter(|span| span.failed()).count() as u64,
            duration_ms: trace.duration_ms(),
            usage: Usage { input: usage.input, output: usage.output, ..Usage::default() },
            cost_usd: trace.cost_usd(),
        })
    }
}

/// A trace found in one day.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) row: TraceRow,
    pub(crate) key: i64,
    /// Bytes of JSON of its spans in that day.
    pub(crate) bytes: u64,
    /// Whether the row may differ from that of the whole trace: it was written in pieces, so that its root, or what
    /// lies below an evaluator, is told only by the whole.
    pub(crate) doubtful: bool,
    dimensions: BTreeMap<String, Option<String>>,
}

/// Dimensions that have a column; see [`Trace::dimension`].
pub(super) fn column_of(dimension: &str) -> Option<Expr> {
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

/// Whether the narrow columns can decide the filter.
pub(crate) fn decides(filter: &TraceFilter) -> bool {
    filter.attributes.keys().all(|key| key == "status" || column_of(key).is_some())
}

/// The traces of a day that fit the filter as far as the narrow columns tell, sorted by id. Those that are `split` over
/// days are always among them, since one day cannot tell.
pub(crate) fn candidates(
    day: &Day,
    filter: &TraceFilter,
    split: &HashMap<i64, Vec<PathBuf>>,
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
    let doubtful = repeated(day, &table).and_then(|keys| keys.map_err(unreadable))?;
    for candidate in &mut found {
        candidate.doubtful |= doubtful.contains(&candidate.key);
    }
    found.retain(|candidate| candidate.doubtful || split.contains_key(&candidate.key) || fits(candidate, filter));
    found.sort_by(|left, right| left.row.trace_id.cmp(&right.row.trace_id));
    Ok(found)
}

const NARROW: &[&str] = &[
    "trace_id",
    "trace_key",
    "span_id",
    "parent_id",
    "kind",
    "name",
    "start",
    "end",
    "status",
    "agent_name",
    "session_id",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "root",
    "counted",
    "span_bytes",
    "part",
];

fn blame(day: &Day, error: &PolarsError) -> LakeError {
    LakeError::unreadable(day.parts.first().map_or("?".as_ref(), |part| part.as_path()), error)
}

/// Of the root, else of the first span that has it: the rule of [`Trace::dimension`].
pub(super) fn dimension(column: &str) -> Expr {
    let within = |rows: Expr| col(column).filter(rows).drop_nulls().first();
    coalesce(&[true_root(column).first(), within(col("root")), col(column).drop_nulls().first()])
}

/// Values in rows without a parent; of the root alone when the trace was written at once.
fn true_root(column: &str) -> Expr {
    col(column).filter(col("root").and(col("parent_id").is_null())).drop_nulls()
}

fn aggregates(dimensions: usize) -> Vec<Expr> {
    let long = |name: &str| col(name).cast(DataType::Int64);
    let model = || col("counted").and(col("kind").eq(lit("model")));
    let paid = || col("counted").and(col("kind").eq(lit("model")).or(col("kind").eq(lit("tool"))));
    let tokens = |name: &str| col(name).filter(model());
    let counts = col("input_tokens").is_not_null().or(col("output_tokens").is_not_null());
    let unpriced = model().and(counts).and(col("cost_usd").is_null());
    let mut aggregates = vec![
        col("trace_key").first().alias("key"),
        long("start").min().alias("start_ns"),
        long("end").max().alias("end_ns"),
        coalesce(&[true_root("name").first(), col("name").filter(col("root")).first(), col("name").first()])
            .alias("title"),
        dimension("agent_name").alias("agent"),
        dimension("session_id").alias("session"),
        len().cast(DataType::Int64).alias("spans"),
        col("status").eq(lit("error")).cast(DataType::Int64).sum().alias("errors"),
        tokens("input_tokens").sum().alias("input"),
        tokens("input_tokens").count().cast(DataType::Int64).alias("inputs"),
        tokens("output_tokens").sum().alias("output"),
        tokens("output_tokens").count().cast(DataType::Int64).alias("outputs"),
        true_root("input_tokens").first().alias("root_input"),
        true_root("output_tokens").first().alias("root_output"),
        col("cost_usd").filter(paid()).sum().alias("cost"),
        col("cost_usd").filter(paid()).count().cast(DataType::Int64).alias("costs"),
        unpriced.cast(DataType::Int64).sum().alias("unpriced"),
        true_root("cost_usd").first().alias("root_cost"),
        col("span_bytes").sum().alias("bytes"),
        col("part").first().neq(col("part").last()).alias("several"),
        col("part").n_unique().cast(DataType::Int64).alias("pieces"),
    ];
    for index in 0..dimensions {
        aggregates.push(dimension(&format!("dimension_{index}")).alias(format!("value_{index}")));
    }
    aggregates
}

fn read(table: &DataFrame, dimensions: &[&String]) -> Result<Vec<Candidate>, PolarsError> {
    let long = |name: &str| table.column(name).and_then(|column| column.i64());
    let text = |name: &str| table.column(name).and_then(|column| column.str());
    let double = |name: &str| table.column(name).and_then(|column| column.f64());
    let (ids, keys, starts, ends) = (text("trace_id")?, long("key")?, long("start_ns")?, long("end_ns")?);
    let (titles, agents, sessions) = (text("title")?, text("agent")?, text("session")?);
    let (spans, errors, bytes) = (long("spans")?, long("errors")?, long("bytes")?);
    let pieces = long("pieces")?;
    let (input, inputs, root_input) = (long("input")?, long("inputs")?, long("root_input")?);
    let (output, outputs, root_output) = (long("output")?, long("outputs")?, long("root_output")?);
    let (cost, costs, unpriced, root_cost) = (double("cost")?, long("costs")?, long("unpriced")?, double("root_cost")?);
    let values: Vec<(&String, &ChunkedArray<StringType>)> = dimensions
        .iter()
        .enumerate()
        .map(|(index, key)| text(&format!("value_{index}")).map(|values| (*key, values)))
        .collect::<Result<_, _>>()?;
    let count = |column: &ChunkedArray<Int64Type>, at: usize| {
        column.get(at).and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
    };
    let owned = |column: &ChunkedArray<StringType>, at: usize| column.get(at).map(str::to_owned);
    let mut found = Vec::with_capacity(table.height());
    for at in 0..table.height() {
        let (Some(id), Some(start)) = (ids.get(at), starts.get(at)) else { continue };
        let some = |sum: &ChunkedArray<Int64Type>, known: &ChunkedArray<Int64Type>| {
            (count(known, at) > 0).then(|| count(sum, at))
        };
        let mut usage = Usage { input: some(input, inputs), output: some(output, outputs), ..Usage::default() };
        if usage.is_unknown() {
            let root = |column: &ChunkedArray<Int64Type>| column.get(at).and_then(|count| u64::try_from(count).ok());
            usage = Usage { input: root(root_input), output: root(root_output), ..Usage::default() };
        }
        let stated = if count(costs, at) > 0 { cost.get(at) } else { root_cost.get(at) };
        let nanos = ends.get(at).and_then(|end| end.checked_sub(start)).filter(|nanos| *nanos >= 0);
        found.push(Candidate {
            row: TraceRow {
                trace_id: TraceId::from(id),
                start_ns: start,
                name: owned(titles, at).unwrap_or_default(),
                agent: owned(agents, at),
                session_id: sessions.get(at).map(SessionId::from),
                spans: count(spans, at),
                errors: count(errors, at),
                duration_ms: nanos.map(|nanos| nanos as f64 / 1e6),
                usage,
                cost_usd: stated.filter(|_| count(unpriced, at) == 0),
            },
            key: keys.get(at).unwrap_or_default(),
            bytes: count(bytes, at),
            doubtful: count(pieces, at) > 1,
            dimensions: values.iter().map(|(key, values)| ((*key).clone(), owned(values, at))).collect(),
        });
    }
    Ok(found)
}

fn fits(candidate: &Candidate, filter: &TraceFilter) -> bool {
    let row = &candidate.row;
    let dimension = |key: &str, value: &str| match key {
        "status" => (if row.errors > 0 { "error" } else { "ok" }) == value,
        // One without a column was looked for in the spans themselves and is checked on the whole trace.
        _ => candidate.dimensions.get(key).is_none_or(|found| found.as_deref() == Some(value)),
    };
    filter.in_time(row.start_ns)
        && (!filter.only_errors || row.errors > 0)
        && filter.session.as_ref().is_none_or(|session| row.session_id.as_ref() == Some(session))
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

/// Keys of the traces in several parts that have a span more than once.
fn repeated(day: &Day, table: &DataFrame) -> Result<Result<HashSet<i64>, PolarsError>, LakeError> {
    let several = || -> Result<Vec<i64>, PolarsError> {
        let (keys, several) = (table.column("key")?.i64()?, table.column("several")?.bool()?);
        Ok(keys
            .iter()
            .zip(several.iter())
            .filter(|(_, several)| *several == Some(true))
            .filter_map(|(key, _)| key)
            .collect())
    };
    let several = match several() {
        Ok(several) if several.is_empty() => return Ok(Ok(HashSet::new())),
        Ok(several) => Series::new("keys".into(), several),
        Err(error) => return Ok(Err(error)),
    };
    let table = query(&day.parts, |scan| {
        scan.filter(one_of("trace_key", several))
            .select([col("trace_key"), col("trace_id"), col("span_id")])
            .group_by([col("trace_id")])
            .agg([col("trace_key").first(), col("span_id").n_unique().neq(len()).alias("repeated")])
            .filter(col("repeated"))
            .select([col("trace_key")])
    })?;
    Ok(long_column(&table, "trace_key"))
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
