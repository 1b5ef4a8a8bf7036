//! Candidates for sampling from the narrow columns alone: what is chosen by is read without opening a single span.
//!
//! Gives the same values as the whole trace. Traces for which the columns cannot tell (written in pieces, spread over
//! days) are few; they are opened.

use std::collections::{HashMap, HashSet};

use polars::error::PolarsError;
use polars::prelude::{DataFrame, DataType, Expr, col};

use crate::dataset::trace_dimension;
use crate::model::{Activity, Trace, TraceId};

use super::parts::{Day, query};
use super::select::{Candidate, candidates, column_of, dimension};
use super::{Lake, LakeError, TraceFilter};

/// Whole traces that are opened at a time, where the columns do not tell.
const OPENED: usize = 500;

/// Dimensions that the summary row of a trace holds; the others that are narrow have a column of their own.
const MEASURED: &[&str] =
    &["trace_id", "session", "name", "agent", "status", "cost", "cost_usd", "latency_ms", "tokens", "spans", "day"];
/// Dimensions of the summary row and those with a column.
const IN_COLUMNS: &[&str] = &["user", "agent_version", "model", "prompt_version"];

/// Whether narrow columns know a dimension.
pub fn narrow_dimension(name: &str) -> bool {
    MEASURED.contains(&name) || IN_COLUMNS.contains(&name)
}

/// A trace as far as narrow columns know it.
#[derive(Clone, Debug, PartialEq)]
pub struct NarrowTrace {
    /// Id.
    pub trace_id: TraceId,
    /// Start of the first span, nanoseconds since 1970.
    pub start_ns: i64,
    /// When it last grew, and whether its root has ended.
    pub activity: Activity,
    /// Values of the dimensions that were asked for; absent where unknown.
    values: HashMap<&'static str, String>,
}

impl NarrowTrace {
    /// The value of a dimension that was asked for, as [`trace_dimension`] gives it.
    pub fn dimension(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    fn of(trace: &Trace, names: &[&'static str]) -> Option<Self> {
        let value = |name: &&'static str| Some((*name, trace_dimension(trace, name)?));
        Some(Self {
            trace_id: trace.id.clone(),
            start_ns: trace.spans.first()?.start_ns,
            activity: trace.activity(),
            values: names.iter().filter_map(value).collect(),
        })
    }
}

/// What a second, equally narrow query adds to the summary row.
#[derive(Default)]
struct Extra {
    activity: Activity,
    values: HashMap<&'static str, String>,
}

impl Lake {
    /// All traces that fit, from narrow columns; names that [`narrow_dimension`] does not know are never found. The
    /// order is that of days, within a day any.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn narrow(
        &self,
        filter: &TraceFilter,
        names: &[String],
        mut take: impl FnMut(NarrowTrace),
    ) -> Result<(), LakeError> {
        let wanted = |known: &&&'static str| names.iter().any(|name| name == **known);
        let names: Vec<&'static str> = MEASURED.iter().chain(IN_COLUMNS).filter(wanted).copied().collect();
        let days = self.days_for(filter)?;
        let elsewhere = self.split(&days)?;
        let mut done: HashSet<i64> = HashSet::new();
        for day in &days {
            let mut extras = extras(day, &names)?;
            let mut whole = Vec::new();
            for candidate in candidates(day, filter, &elsewhere)? {
                let split = elsewhere.contains_key(&candidate.key);
                if split && !done.insert(candidate.key) {
                    continue;
                }
                if split || candidate.doubtful || !super::select::decides(filter) {
                    whole.push(candidate.row.trace_id);
                    continue;
                }
                let extra = extras.remove(&candidate.row.trace_id).unwrap_or_default();
                take(of_columns(candidate, extra, &names));
            }
            for ids in whole.chunks(OPENED) {
                let traces = self.traces_by_id(ids)?;
                traces
                    .iter()
                    .filter(|t| filter.matches(t))
                    .filter_map(|t| NarrowTrace::of(t, &names))
                    .for_each(&mut take);
            }
        }
        Ok(())
    }
}

fn of_columns(candidate: Candidate, extra: Extra, names: &[&'static str]) -> NarrowTrace {
    let row = candidate.row;
    let day = || {
        let moment = jiff::Timestamp::from_nanosecond(i128::from(row.start_ns)).ok()?;
        Some(moment.to_string().chars().take(10).collect())
    };
    let measured = |name: &str| match name {
        "trace_id" => Some(row.trace_id.to_string()),
        "session" => row.session_id.as_ref().map(ToString::to_string),
        "name" => Some(row.name.clone()),
        "agent" => row.agent.clone(),
        "status" => Some(if row.errors > 0 { "error" } else { "ok" }.to_owned()),
        "cost" | "cost_usd" => row.cost_usd.map(|cost| cost.to_string()),
        "latency_ms" => row.duration_ms.map(|duration| duration.to_string()),
        "tokens" => row.usage.total().map(|tokens| tokens.to_string()),
        "spans" => Some(row.spans.to_string()),
        "day" => day(),
        _ => None,
    };
    let mut values = extra.values;
    values.extend(names.iter().filter_map(|name| Some((*name, measured(name)?))));
    NarrowTrace { trace_id: row.trace_id.clone(), start_ns: row.start_ns, activity: extra.activity, values }
}

fn extras(day: &Day, names: &[&'static str]) -> Result<HashMap<TraceId, Extra>, LakeError> {
    let columns: Vec<(&'static str, Expr)> = names
        .iter()
        .filter(|name| IN_COLUMNS.contains(name))
        .filter_map(|name| Some((*name, column_of(name)?.alias(format!("dimension_{name}")))))
        .collect();
    let long = |name: &str| col(name).cast(DataType::Int64);
    let mut selected = vec![col("trace_id"), col("parent_id"), col("root"), col("start"), col("end")];
    selected.extend(columns.iter().map(|(_, column)| column.clone()));
    let mut aggregates = vec![
        long("end").max().alias("last_end"),
        long("start").max().alias("last_start"),
        col("end").filter(col("parent_id").is_null()).count().cast(DataType::Int64).alias("ended"),
    ];
    aggregates.extend(columns.iter().map(|(name, _)| dimension(&format!("dimension_{name}")).alias(*name)));
    let table = query(&day.parts, |scan| scan.select(selected).group_by([col("trace_id")]).agg(aggregates))?;
    read(&table, columns.iter().map(|(name, _)| *name).collect())
        .map_err(|error| LakeError::unreadable(day.parts.first().map_or("?".as_ref(), |part| part.as_path()), &error))
}

fn read(table: &DataFrame, names: Vec<&'static str>) -> Result<HashMap<TraceId, Extra>, PolarsError> {
    let (ids, ends) = (table.column("trace_id")?.str()?, table.column("last_end")?.i64()?);
    let (starts, ended) = (table.column("last_start")?.i64()?, table.column("ended")?.i64()?);
    let columns = names
        .iter()
        .map(|name| table.column(name)?.str().map(|column| (*name, column)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut found = HashMap::with_capacity(table.height());
    for at in 0..table.height() {
        let Some(id) = ids.get(at) else { continue };
        let latest = ends.get(at).into_iter().chain(starts.get(at)).max().unwrap_or_default();
        let activity = Activity { root_ended: ended.get(at).unwrap_or(0) > 0, latest_ns: latest };
        let values = columns.iter().filter_map(|(name, column)| Some((*name, column.get(at)?.to_owned()))).collect();
        found.insert(TraceId::from(id), Extra { activity, values });
    }
    Ok(found)
}

#[cfg(test)]
#[path = "narrow_tests.rs"]
mod tests;
