//! Lists of traces: summary rows from narrow columns, newest first, reading as few days as the limit allows.

use polars::error::PolarsError;
use polars::prelude::{DataFrame, DataType, Expr, LazyFrame, PolarsResult, col, lit};
use serde::{Deserialize, Serialize};

use crate::model::{SessionId, Trace, TraceId, Usage};

use super::parts::{NEAR_DAYS, date_of_nanos, shift};
use super::settle::Settled;
use super::views::{open, started, traces, whole};
use super::{Lake, LakeError, TraceFilter};

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

impl Lake {
    /// Summary rows of the traces that fit, newest first, at most `limit`. Reads narrow columns only, but for a
    /// condition on an attribute that has no column.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn list(&self, filter: &TraceFilter, limit: usize) -> Result<Vec<TraceRow>, LakeError> {
        let mut rows = match condition(filter) {
            Some(fits) => self.retrying(|| self.rows(filter, &fits, limit))?,
            None => {
                let traces = self.traces(filter)?;
                let rows = traces.filter_map(|trace| trace.map(|trace| TraceRow::of(&trace)).transpose());
                rows.collect::<Result<_, _>>()?
            }
        };
        rows.sort_by(|left, right| (right.start_ns, &left.trace_id).cmp(&(left.start_ns, &right.trace_id)));
        rows.truncate(limit);
        Ok(rows)
    }

    fn rows(&self, filter: &TraceFilter, fits: &Expr, limit: usize) -> Result<Vec<TraceRow>, LakeError> {
        let reach = self.reach_of(filter)?;
        let settled = Settled::of(&reach.all)?;
        let mut rows = Vec::new();
        if let Some(spans) = open(&reach.parts(), &settled).map_err(|error| reach.blame(&error))? {
            rows = read(traces(spans), filter, fits).map_err(|error| reach.blame(&error))?;
        }
        let mut full = None;
        for day in reach.inside.iter().rev() {
            // A trace may lie some days from its start, so a full list is only known to be whole a little later.
            if full.is_some_and(|full| day.date < shift(full, -2 * NEAR_DAYS)) {
                break;
            }
            let found = whole(&day.parts, &settled).and_then(|spans| read(traces(spans), filter, fits));
            rows.extend(found.map_err(|error| super::parts::blame(&day.parts, &error))?);
            let newer = rows.iter().filter(|row| date_of_nanos(row.start_ns) >= day.date).count();
            if full.is_none() && newer >= limit {
                full = Some(day.date);
            }
        }
        Ok(rows)
    }
}

/// The filter as a condition on the table of traces; `None` when an attribute has no column there.
pub(super) fn condition(filter: &TraceFilter) -> Option<Expr> {
    let mut fits = lit(true);
    for (dimension, value) in &filter.attributes {
        fits = fits.and(col(column_of(dimension)?).eq(lit(value.as_str())));
    }
    if filter.only_errors {
        fits = fits.and(col("errors").gt(lit(0)));
    }
    if let Some(session) = &filter.session {
        fits = fits.and(col("session_id").eq(lit(session.as_str())));
    }
    Some(fits)
}

/// The column of the table of traces that holds a dimension; see [`Trace::dimension`].
fn column_of(dimension: &str) -> Option<&'static str> {
    Some(match dimension {
        "session" => "session_id",
        "user" => "user_id",
        "name" => "name",
        "agent" => "agent_name",
        "agent_version" => "agent_version",
        "model" => "model",
        "prompt_version" => "prompt_version",
        "trace_id" => "trace_id",
        "status" => "status",
        _ => return None,
    })
}

fn read(traces: LazyFrame, filter: &TraceFilter, fits: &Expr) -> PolarsResult<Vec<TraceRow>> {
    let start = col("start").cast(DataType::Int64).alias("start_ns");
    let table = started(traces, filter)
        .filter(fits.clone())
        .select(ROW.iter().map(|name| col(*name)).chain([start]).collect::<Vec<_>>())
        .collect()?;
    rows_of(&table)
}

/// Columns of the table of traces that [`rows_of`] needs, beside `start_ns`.
const ROW: &[&str] = &[
    "trace_id",
    "name",
    "agent_name",
    "session_id",
    "spans",
    "errors",
    "duration_ms",
    "input_tokens",
    "output_tokens",
    "cost_usd",
];

fn rows_of(table: &DataFrame) -> Result<Vec<TraceRow>, PolarsError> {
    let text = |name: &str| table.column(name).and_then(|column| column.str());
    let long = |name: &str| table.column(name).and_then(|column| column.i64());
    let double = |name: &str| table.column(name).and_then(|column| column.f64());
    let (ids, names, agents, sessions) = (text("trace_id")?, text("name")?, text("agent_name")?, text("session_id")?);
    let (starts, spans, errors) = (long("start_ns")?, long("spans")?, long("errors")?);
    let (input, output) = (long("input_tokens")?, long("output_tokens")?);
    let (durations, costs) = (double("duration_ms")?, double("cost_usd")?);
    let count = |found: Option<i64>| found.and_then(|count| u64::try_from(count).ok());
    let row = |at: usize| {
        Some(TraceRow {
            trace_id: TraceId::from(ids.get(at)?),
            start_ns: starts.get(at)?,
            name: names.get(at).unwrap_or_default().to_owned(),
            agent: agents.get(at).map(str::to_owned),
            session_id: sessions.get(at).map(SessionId::from),
            spans: count(spans.get(at)).unwrap_or(0),
            errors: count(errors.get(at)).unwrap_or(0),
            duration_ms: durations.get(at),
            usage: Usage { input: count(input.get(at)), output: count(output.get(at)), ..Usage::default() },
            cost_usd: costs.get(at),
        })
    };
    Ok((0..table.height()).filter_map(row).collect())
}
