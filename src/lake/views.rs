//! The tables as lazy frames: each span once with its true marks, and traces, sessions and attributes made of them.
//!
//! Nothing is read until a query is run but what `settle` needs, and a query reads only the columns it names and the
//! row groups its filters leave. Parsing whole spans happens only for columns that need it.

use std::path::PathBuf;

use polars::error::PolarsError;
use polars::prelude::{
    AllowedOptimizations, Column, DataType, Expr, Field, IntoColumn, IntoLazy, JoinArgs, JoinType, LazyFrame,
    ListChunked, NULL, NamedFrom, PolarsResult, Series, StringChunked, TimeUnit, UnionArgs, coalesce, col, concat, len,
    lit, when,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::{Span, assemble};

use super::columns::frame;
use super::parts::{Day, JOIN_DAYS, NEAR_DAYS, Table, blame, one_of, scan, window};
use super::schema;
use super::settle::{MARKS, Settled};
use super::{Lake, LakeError, TraceFilter};

/// Parts whose spans are grouped together where a whole lake is looked through.
const PARTS_AT_A_TIME: usize = 8;

/// The days a filter reaches.
pub(super) struct Reach {
    /// Those that may hold a piece of a trace that fits.
    pub(super) all: Vec<Day>,
    /// Those that a trace that fits may lie in.
    pub(super) inside: Vec<Day>,
}

impl Reach {
    pub(super) fn parts(&self) -> Vec<PathBuf> {
        self.all.iter().flat_map(|day| day.parts.iter().cloned()).collect()
    }

    pub(super) fn blame(&self, error: &PolarsError) -> LakeError {
        blame(&self.parts(), error)
    }
}

/// The spans of some days, as frames that share what was settled.
pub(crate) struct Views {
    /// Traces that lie whole in one part.
    whole: LazyFrame,
    /// Open traces, settled and sorted; `None` when there are none.
    open: Option<LazyFrame>,
    within: TraceFilter,
    /// The files behind them.
    pub(crate) parts: Vec<PathBuf>,
}

impl Lake {
    /// The tables over the days a filter's bounds allow; its other conditions are not looked at.
    pub(crate) fn views(&self, within: &TraceFilter) -> Result<Views, LakeError> {
        let reach = self.reach_of(within)?;
        let settled = Settled::of(&reach.all)?;
        let (inside, parts) = (reach.inside.iter().flat_map(|day| day.parts.iter().cloned()), reach.parts());
        let whole = whole(&inside.collect::<Vec<_>>(), &settled).map_err(|error| reach.blame(&error))?;
        let open = open(&parts, &settled).map_err(|error| reach.blame(&error))?;
        Ok(Views { whole, open, within: within.clone(), parts })
    }

    /// The same, some parts at a time: a trace lies whole in one part, or it is open and comes with the last. Grouping
    /// the spans of a few parts takes a fraction of the memory that grouping those of a whole lake takes.
    pub(super) fn views_in_pieces(&self, within: &TraceFilter) -> Result<Vec<Views>, LakeError> {
        let reach = self.reach_of(within)?;
        let settled = Settled::of(&reach.all)?;
        let inside: Vec<PathBuf> = reach.inside.iter().flat_map(|day| day.parts.iter().cloned()).collect();
        let mut pieces = Vec::new();
        for parts in inside.chunks(PARTS_AT_A_TIME) {
            let whole = whole(parts, &settled).map_err(|error| reach.blame(&error))?;
            pieces.push(Views { whole, open: None, within: within.clone(), parts: parts.to_vec() });
        }
        if let Some(open) = open(&reach.parts(), &settled).map_err(|error| reach.blame(&error))? {
            let none = whole(&[], &settled).map_err(|error| reach.blame(&error))?;
            pieces.push(Views { whole: none, open: Some(open), within: within.clone(), parts: reach.parts() });
        }
        Ok(pieces)
    }

    /// The days that a filter's bounds allow. Pieces of a trace may lie far from its day: all days are looked through
    /// for them, or, in a bucket, a wider stretch of days.
    pub(super) fn reach_of(&self, within: &TraceFilter) -> Result<Reach, LakeError> {
        let (first, last) = if self.remote.is_some() { window(within, JOIN_DAYS) } else { (None, None) };
        let all = self.days_between(Table::Spans, first, last)?;
        let (first, last) = window(within, NEAR_DAYS);
        let fits = |day: &&Day| first.is_none_or(|first| first <= day.date) && last.is_none_or(|last| day.date <= last);
        Ok(Reach { inside: all.iter().filter(fits).cloned().collect(), all })
    }
}

/// Spans of the traces that lie whole in one of these parts.
pub(super) fn whole(parts: &[PathBuf], settled: &Settled) -> PolarsResult<LazyFrame> {
    let columns = names("spans").map(col).collect::<Vec<Expr>>();
    let spans = if parts.is_empty() { frame(&[])?.lazy() } else { scan(parts)?.select(columns) };
    Ok(if settled.keys.is_empty() { spans } else { spans.filter(one_of("trace_key", settled.series()).not()) })
}

/// Spans of the open traces, each once, with true marks, sorted within their trace.
pub(super) fn open(parts: &[PathBuf], settled: &Settled) -> PolarsResult<Option<LazyFrame>> {
    if settled.keys.is_empty() {
        return Ok(None);
    }
    let plain = names("spans").filter(|name| !MARKS.contains(name)).chain(["part"]).map(col).collect::<Vec<_>>();
    let on = [col("part"), col("digest")];
    let spans = scan(parts)?
        .filter(one_of("trace_key", settled.series()))
        .select(plain)
        .join(settled.frame()?.lazy(), on.clone(), on, JoinArgs::new(JoinType::Inner))
        .select(names("spans").map(col).collect::<Vec<Expr>>())
        .sort(["trace_id", "start", "span_id"], Default::default());
    Ok(Some(spans))
}

/// Rows that began between the bounds of a filter.
pub(super) fn started(rows: LazyFrame, within: &TraceFilter) -> LazyFrame {
    let nanos = |time: jiff::Timestamp| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
    let time = |nanos: i64| lit(nanos).cast(DataType::Datetime(TimeUnit::Nanoseconds, None));
    let mut rows = rows;
    if let Some(since) = within.since {
        rows = rows.filter(col("start").gt_eq(time(nanos(since))));
    }
    if let Some(until) = within.until {
        rows = rows.filter(col("start").lt(time(nanos(until))));
    }
    rows
}

impl Views {
    /// The spans that began between the bounds, each once.
    pub(crate) fn spans(&self) -> PolarsResult<LazyFrame> {
        Ok(started(self.each(|spans| spans)?, &self.within))
    }

    /// The traces that began between the bounds.
    pub(crate) fn traces(&self) -> PolarsResult<LazyFrame> {
        self.traces_and(&[])
    }

    /// The same with some more columns, made of the spans of each trace.
    pub(super) fn traces_and(&self, more: &[(&'static str, Expr)]) -> PolarsResult<LazyFrame> {
        Ok(started(self.each(|spans| traces_and(spans, more))?, &self.within))
    }

    /// The sessions, of the traces that began between the bounds.
    pub(crate) fn sessions(&self) -> PolarsResult<LazyFrame> {
        Ok(sessions(self.traces()?))
    }

    /// The attributes of the spans that began between the bounds.
    pub(crate) fn attributes(&self) -> PolarsResult<LazyFrame> {
        attributes(self.spans()?)
    }

    /// Digests of what was asked, of the traces that lie whole in one part; an open trace is not among them.
    pub(super) fn inputs(&self) -> LazyFrame {
        let known = col("root").and(col("input_digest").is_not_null());
        self.whole.clone().filter(known).select([col("trace_id"), col("input_digest")])
    }

    /// Open traces and whole ones are never of one trace, so each may be grouped alone.
    fn each(&self, make: impl Fn(LazyFrame) -> LazyFrame) -> PolarsResult<LazyFrame> {
        match &self.open {
            None => Ok(make(self.whole.clone())),
            Some(open) => {
                let both = concat([make(self.whole.clone()), make(open.clone())], UnionArgs::default())?;
                // The engine would count the rows of a union in a type that it was built without: a step between them
                // that does nothing keeps it from that, and lets filters and columns through.
                Ok(both.map(Ok, AllowedOptimizations::default(), None, Some("both")))
            }
        }
    }
}

pub(super) fn names(table: &str) -> impl Iterator<Item = &'static str> {
    schema::table(table).into_iter().flat_map(|table| table.columns).map(|column| column.name)
}

/// Spans, sorted within their trace, to traces.
pub(super) fn traces(spans: LazyFrame) -> LazyFrame {
    traces_and(spans, &[])
}

/// The same with some more columns, made of the spans of each trace.
fn traces_and(spans: LazyFrame, more: &[(&'static str, Expr)]) -> LazyFrame {
    let model = || col("counted").and(col("kind").eq(lit("model")));
    let tool = || col("counted").and(col("kind").eq(lit("tool")));
    let known = || col("input_tokens").is_not_null().or(col("output_tokens").is_not_null());
    let count = |rows: Expr| rows.cast(DataType::Int64).sum();
    // Of the root, else of the first span that has it: the rule of `Trace::dimension`.
    let said =
        |value: Expr| coalesce(&[value.clone().filter(col("root")).drop_nulls().first(), value.drop_nulls().first()]);
    let mut columns = vec![
        said(col("session_id")).alias("session_id"),
        said(col("user_id")).alias("user_id"),
        col("name").filter(col("root")).first().alias("name"),
        said(col("agent_name")).alias("agent_name"),
        said(col("agent_version")).alias("agent_version"),
        said(coalesce(&[col("model_response"), col("model_request")])).alias("model"),
        said(col("prompt_version")).alias("prompt_version"),
        said(col("service_name")).alias("service_name"),
        col("start").min().alias("start"),
        col("end").max().alias("end"),
        len().cast(DataType::Int64).alias("spans"),
        count(model()).alias("model_calls"),
        count(tool()).alias("tool_calls"),
        count(col("status").eq(lit("error"))).alias("errors"),
        count(model().and(known())).alias("known"),
        count(col("paid").and(col("cost_usd").is_null())).alias("unpriced"),
        total(col("cost_usd").filter(col("paid"))).alias("sum_cost"),
        col("cost_usd").filter(col("root")).first().alias("root_cost"),
        col("span").implode(true).alias("whole"),
    ];
    for name in TOKENS {
        columns.push(total(col(*name).filter(model())).alias(format!("sum_{name}")));
        columns.push(col(*name).filter(col("root")).first().alias(format!("root_{name}")));
    }
    let mut made = vec![
        duration(),
        when(col("errors").gt(lit(0))).then(lit("error")).otherwise(lit("ok")).alias("status"),
        only(col("unpriced").eq(lit(0)), coalesce(&[col("sum_cost"), col("root_cost")])).alias("cost_usd"),
        told("whole", Told::Input).alias("input"),
        told("whole", Told::Output).alias("output"),
    ];
    for name in TOKENS {
        let sum = when(col("known").gt(lit(0))).then(col(format!("sum_{name}")));
        made.push(sum.otherwise(col(format!("root_{name}"))).alias(*name));
    }
    columns.extend(more.iter().map(|(name, made)| made.clone().alias(*name)));
    let more = more.iter().map(|(name, _)| *name);
    spans
        .group_by([col("trace_id")])
        .agg(columns)
        .with_columns(made)
        .select(names("traces").chain(more).map(col).collect::<Vec<_>>())
}

const TOKENS: &[&str] =
    &["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"];

/// A sum that is empty when there is nothing to add.
fn total(values: Expr) -> Expr {
    only(values.clone().count().gt(lit(0)), values.sum())
}

/// A value where a condition holds, else nothing.
fn only(condition: Expr, value: Expr) -> Expr {
    when(condition).then(value).otherwise(lit(NULL))
}

/// As [`crate::model::Trace::duration_ms`], to the last bit: the engine would multiply by a rounded reciprocal.
fn duration() -> Expr {
    let millis = |nanos: Column| {
        let nanos = nanos.i64()?;
        let each = |nanos: Option<i64>| nanos.filter(|nanos| *nanos >= 0).map(|nanos| nanos as f64 / 1e6);
        let values: Vec<Option<f64>> = nanos.iter().map(each).collect();
        Ok(Series::new(nanos.name().clone(), values).into_column())
    };
    let nanos = col("end").cast(DataType::Int64) - col("start").cast(DataType::Int64);
    nanos.map(millis, |_, field| Ok(Field::new(field.name().clone(), DataType::Float64))).alias("duration_ms")
}

fn sessions(traces: LazyFrame) -> LazyFrame {
    let unpriced =
        col("input_tokens").is_not_null().or(col("output_tokens").is_not_null()).and(col("cost_usd").is_null());
    let columns = vec![
        col("user_id").drop_nulls().first().alias("user_id"),
        col("start").min().alias("start"),
        col("end").max().alias("end"),
        len().cast(DataType::Int64).alias("traces"),
        col("errors").gt(lit(0)).cast(DataType::Int64).sum().alias("failed_traces"),
        col("spans").sum().alias("spans"),
        col("model_calls").sum().alias("model_calls"),
        col("tool_calls").sum().alias("tool_calls"),
        col("errors").sum().alias("errors"),
        total(col("input_tokens")).alias("input_tokens"),
        total(col("output_tokens")).alias("output_tokens"),
        unpriced.cast(DataType::Int64).sum().alias("unpriced"),
        total(col("cost_usd")).alias("paid"),
    ];
    let made = vec![
        duration(),
        when(col("failed_traces").gt(lit(0))).then(lit("error")).otherwise(lit("ok")).alias("status"),
        only(col("unpriced").eq(lit(0)), col("paid")).alias("cost_usd"),
    ];
    traces
        .filter(col("session_id").is_not_null())
        .sort(["start", "trace_id"], Default::default())
        .group_by([col("session_id")])
        .agg(columns)
        .with_columns(made)
        .select(names("sessions").map(col).collect::<Vec<_>>())
}

/// What of a whole trace a column shows.
#[derive(Clone, Copy)]
enum Told {
    Input,
    Output,
}

/// A text of the trace whose spans a list column holds.
fn told(column: &str, what: Told) -> Expr {
    let read = move |lists: Column| {
        let lists = lists.list()?;
        let text = |list: Option<Series>| -> PolarsResult<Option<String>> {
            let Some(list) = list else { return Ok(None) };
            let spans = list.str()?.iter().flatten().filter_map(|text| serde_json::from_str::<Span>(text).ok());
            let traces = assemble(spans).traces;
            let value = traces.first().and_then(|trace| match what {
                Told::Input => trace.input(),
                Told::Output => trace.final_output(),
            });
            Ok(value.map(plain))
        };
        let texts =
            (0..lists.len()).map(|at| text(lists.get_as_series(at))).collect::<PolarsResult<Vec<Option<String>>>>()?;
        Ok(Series::new(lists.name().clone(), texts).into_column())
    };
    col(column).map(read, |_, field| Ok(Field::new(field.name().clone(), DataType::String)))
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The parts of a span that hold attributes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    attributes: Map<String, Value>,
    resource: Map<String, Value>,
}

#[derive(Clone, Copy)]
enum Pair {
    Key,
    Value,
    Resource,
}

fn attributes(spans: LazyFrame) -> PolarsResult<LazyFrame> {
    let part = |pair: Pair, name: &str| {
        let read = move |texts: Column| Ok(pairs(texts.str()?, pair).into_column());
        let list = |_: &polars::prelude::Schema, field: &Field| {
            Ok(Field::new(field.name().clone(), DataType::List(Box::new(DataType::String))))
        };
        col("span").map(read, list).alias(name)
    };
    let columns = [
        col("trace_id"),
        col("span_id"),
        part(Pair::Key, "key"),
        part(Pair::Value, "value"),
        part(Pair::Resource, "resource"),
    ];
    let options = polars::prelude::ExplodeOptions { empty_as_null: false, keep_nulls: false };
    Ok(spans
        .select(columns)
        .explode(polars::prelude::cols(["key", "value", "resource"]), options)
        .with_columns([col("resource").eq(lit("true"))]))
}

fn pairs(texts: &StringChunked, pair: Pair) -> ListChunked {
    let list = |text: Option<&str>| {
        let held: Attributes = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let own = held.attributes.into_iter().map(|pair| (pair, false));
        let pairs = own.chain(held.resource.into_iter().map(|pair| (pair, true)));
        let texts: Vec<String> = pairs
            .map(|((key, value), resource)| match pair {
                Pair::Key => key,
                Pair::Value => plain(value),
                Pair::Resource => resource.to_string(),
            })
            .collect();
        Some(Series::new("".into(), texts))
    };
    let mut lists: ListChunked = texts.iter().map(list).collect();
    lists.rename(texts.name().clone());
    lists
}
