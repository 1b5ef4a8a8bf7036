//! Candidates for sampling from the narrow columns alone: what is chosen by is read without opening a single span.
//!
//! Gives the same values as the whole trace. Traces for which the columns cannot tell (written in pieces, spread over
//! days) are few; they are opened.

use std::collections::HashMap;

use polars::prelude::{DataType, Expr, JoinArgs, JoinType, LazyFrame, PolarsResult, col, when};

use crate::dataset::{input_digest, trace_dimension};
use crate::model::{Activity, Digest, Trace, TraceId};

use super::list::{ROW, TraceRow, condition, rows_of};
use super::parts::blame;
use super::views::Views;
use super::{Lake, LakeError, TraceFilter};

/// Dimensions that the summary row of a trace holds; the others that are narrow have a column of their own.
const MEASURED: &[&str] =
    &["trace_id", "session", "name", "agent", "status", "cost", "cost_usd", "latency_ms", "tokens", "spans", "day"];
/// Dimensions of the summary row and those with a column.
const IN_COLUMNS: &[&str] = &["user", "agent_version", "model", "prompt_version"];

/// Traces that are opened at a time.
const OPENED: usize = 1_000;

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
    /// Digest of what was asked, as [`input_digest`] gives it, where that was wanted; absent where no span says it.
    pub input_digest: Option<Digest>,
    /// Values of the dimensions that were asked for; absent where unknown.
    values: HashMap<&'static str, String>,
}

impl NarrowTrace {
    /// The value of a dimension that was asked for, as [`trace_dimension`] gives it.
    pub fn dimension(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    fn of(trace: &Trace, names: &[&'static str], inputs: bool) -> Option<Self> {
        let value = |name: &&'static str| Some((*name, trace_dimension(trace, name)?));
        Some(Self {
            trace_id: trace.id.clone(),
            start_ns: trace.spans.first()?.start_ns,
            activity: trace.activity(),
            input_digest: if inputs { input_digest(trace) } else { None },
            values: names.iter().filter_map(value).collect(),
        })
    }
}

impl Lake {
    /// All traces that fit, from narrow columns, in any order; names that [`narrow_dimension`] does not know are never
    /// found. With `inputs` digests of what was asked are given, too; for the few traces that no column tells them of,
    /// whole traces are opened, as they are where the filter asks for an attribute without a column.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn narrow(
        &self,
        filter: &TraceFilter,
        names: &[String],
        inputs: bool,
        mut take: impl FnMut(NarrowTrace),
    ) -> Result<(), LakeError> {
        let wanted = |known: &&&'static str| names.iter().any(|name| name == **known);
        let names: Vec<&'static str> = MEASURED.iter().chain(IN_COLUMNS).filter(wanted).copied().collect();
        let Some(fits) = condition(filter) else {
            for trace in self.traces(filter)? {
                NarrowTrace::of(&trace?, &names, inputs).into_iter().for_each(&mut take);
            }
            return Ok(());
        };
        let mut found = self.retrying(|| {
            let views = self.views(filter)?;
            let read = || {
                let found = read(&views, &fits, &names)?;
                if inputs { with_inputs(&views, found) } else { Ok(found) }
            };
            read().map_err(|error| blame(&views.parts, &error))
        })?;
        if inputs {
            self.open_inputs(&mut found)?;
        }
        found.into_iter().for_each(take);
        Ok(())
    }
}

impl Lake {
    /// Opens the traces whose input no column tells.
    fn open_inputs(&self, found: &mut [NarrowTrace]) -> Result<(), LakeError> {
        let mut unknown: Vec<&mut NarrowTrace> =
            found.iter_mut().filter(|trace| trace.input_digest.is_none()).collect();
        unknown.sort_by(|left, right| left.trace_id.cmp(&right.trace_id));
        for some in unknown.chunks_mut(OPENED) {
            let ids: Vec<TraceId> = some.iter().map(|trace| trace.trace_id.clone()).collect();
            let traces = self.traces_by_id(&ids)?;
            let digests: HashMap<&TraceId, Option<Digest>> =
                traces.iter().map(|trace| (&trace.id, input_digest(trace))).collect();
            for trace in some {
                trace.input_digest = digests.get(&trace.trace_id).cloned().flatten();
            }
        }
        Ok(())
    }
}

/// With the digests that columns tell.
fn with_inputs(views: &Views, mut found: Vec<NarrowTrace>) -> PolarsResult<Vec<NarrowTrace>> {
    let table = views.inputs().collect()?;
    let (ids, digests) = (table.column("trace_id")?.str()?, table.column("input_digest")?.str()?);
    let known: HashMap<&str, &str> =
        ids.iter().zip(digests.iter()).filter_map(|(id, digest)| Some((id?, digest?))).collect();
    for trace in &mut found {
        trace.input_digest = known.get(trace.trace_id.as_str()).and_then(|digest| Digest::parse(digest));
    }
    Ok(found)
}

fn read(views: &Views, fits: &Expr, names: &[&'static str]) -> PolarsResult<Vec<NarrowTrace>> {
    let on = [col("trace_id")];
    let columns = ROW.iter().chain(&["user_id", "agent_version", "model", "prompt_version"]).map(|name| col(*name));
    let long = ["start", "latest"].map(|name| col(name).cast(DataType::Int64).alias(format!("{name}_ns")));
    let table = views
        .traces()?
        .filter(fits.clone())
        .join(views.each(activity)?, on.clone(), on, JoinArgs::new(JoinType::Inner))
        .select(columns.chain([col("root_ended")]).chain(long).collect::<Vec<_>>())
        .collect()?;
    let text = |name: &str| table.column(name).and_then(|column| column.str());
    let extras = [
        ("user", text("user_id")?),
        ("agent_version", text("agent_version")?),
        ("model", text("model")?),
        ("prompt_version", text("prompt_version")?),
    ];
    let (ended, latest) = (table.column("root_ended")?.bool()?, table.column("latest_ns")?.i64()?);
    let rows = rows_of(&table)?;
    let narrow = |(at, row): (usize, TraceRow)| {
        let root_ended = ended.get(at).unwrap_or(false);
        let activity = Activity { root_ended, latest_ns: latest.get(at).unwrap_or_default() };
        let extra = |name: &str| extras.iter().find(|(known, _)| *known == name).and_then(|(_, column)| column.get(at));
        let value =
            |name: &&'static str| Some((*name, measured(&row, name).or_else(|| Some(extra(name)?.to_owned()))?));
        NarrowTrace {
            trace_id: row.trace_id.clone(),
            start_ns: row.start_ns,
            activity,
            input_digest: None,
            values: names.iter().filter_map(value).collect(),
        }
    };
    Ok(rows.into_iter().enumerate().map(narrow).collect())
}

/// Spans to what tells whether their traces are final; see [`Activity`].
fn activity(spans: LazyFrame) -> LazyFrame {
    let ended = col("parent_id").is_null().and(col("end").is_not_null());
    let (begun, done) = (col("start").max(), col("end").max());
    // Where no span has ended there is nothing to compare with, and the start counts.
    let latest = when(done.clone().gt(begun.clone())).then(done).otherwise(begun);
    spans.group_by([col("trace_id")]).agg([ended.any(true).alias("root_ended"), latest.alias("latest")])
}

fn measured(row: &TraceRow, name: &str) -> Option<String> {
    match name {
        "trace_id" => Some(row.trace_id.to_string()),
        "session" => row.session_id.as_ref().map(ToString::to_string),
        "name" => Some(row.name.clone()),
        "agent" => row.agent.clone(),
        "status" => Some(if row.errors > 0 { "error" } else { "ok" }.to_owned()),
        "cost" | "cost_usd" => row.cost_usd.map(|cost| cost.to_string()),
        "latency_ms" => row.duration_ms.map(|duration| duration.to_string()),
        "tokens" => row.usage.total().map(|tokens| tokens.to_string()),
        "spans" => Some(row.spans.to_string()),
        "day" => {
            let moment = jiff::Timestamp::from_nanosecond(i128::from(row.start_ns)).ok()?;
            Some(moment.to_string().chars().take(10).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "narrow_tests.rs"]
mod tests;
