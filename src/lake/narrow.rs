//! Candidates for sampling from the narrow columns alone: what is chosen by is read without opening a single span.
//!
//! Gives the same values as the whole trace. Traces for which the columns cannot tell (written in pieces, spread over
//! days) are few; they are opened.

use std::collections::HashMap;

use polars::prelude::{DataFrame, DataType, Expr, Int64Chunked, PolarsResult, col, lit, when};

use crate::dataset::{input_digest, trace_dimension};
use crate::model::{Activity, Digest, Trace, TraceId, Usage};

use super::list::condition;
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

/// The dimension that every trace has.
const ID: &str = "trace_id";

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
    /// Values of the dimensions that were asked for, but for the id; absent where unknown.
    values: Vec<(&'static str, String)>,
}

impl NarrowTrace {
    /// The value of a dimension that was asked for, as [`trace_dimension`] gives it.
    pub fn dimension(&self, name: &str) -> Option<String> {
        if name == ID {
            return Some(self.trace_id.to_string());
        }
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
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
        let names: Vec<&'static str> =
            MEASURED.iter().chain(IN_COLUMNS).filter(wanted).copied().filter(|name| *name != ID).collect();
        let Some(fits) = condition(filter) else {
            for trace in self.traces(filter)? {
                NarrowTrace::of(&trace?, &names, inputs).into_iter().for_each(&mut take);
            }
            return Ok(());
        };
        let mut found = self.retrying(|| {
            let mut found = Vec::new();
            for views in self.views_in_pieces(filter)? {
                let read = || {
                    let found = read(&views, &fits, &names)?;
                    if inputs { with_inputs(&views, found) } else { Ok(found) }
                };
                found.extend(read().map_err(|error| blame(&views.parts, &error))?);
            }
            Ok(found)
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

/// Reads no column but those that the asked dimensions are told from: there may be millions of traces.
fn read(views: &Views, fits: &Expr, names: &[&'static str]) -> PolarsResult<Vec<NarrowTrace>> {
    let mut columns: Vec<&str> = names.iter().flat_map(|name| columns_of(name)).copied().collect();
    columns.extend([ID, "root_ended"]);
    columns.sort_unstable();
    columns.dedup();
    let long = ["start", "latest"].map(|name| col(name).cast(DataType::Int64).alias(format!("{name}_ns")));
    let table = views
        .traces_and(&activity())?
        .filter(fits.clone())
        .select(columns.into_iter().map(col).chain(long).collect::<Vec<_>>())
        .collect()?;
    let values = names.iter().map(|name| Ok((*name, value_of(&table, name)?))).collect::<PolarsResult<Vec<_>>>()?;
    let (ids, starts) = (table.column(ID)?.str()?, table.column("start_ns")?.i64()?);
    let (ended, latest) = (table.column("root_ended")?.bool()?, table.column("latest_ns")?.i64()?);
    let narrow = |at: usize| {
        let root_ended = ended.get(at).unwrap_or(false);
        Some(NarrowTrace {
            trace_id: TraceId::from(ids.get(at)?),
            start_ns: starts.get(at)?,
            activity: Activity { root_ended, latest_ns: latest.get(at).unwrap_or_default() },
            input_digest: None,
            values: values.iter().filter_map(|(name, read)| Some((*name, read(at)?))).collect(),
        })
    };
    Ok((0..table.height()).filter_map(narrow).collect())
}

/// What tells whether a trace is final, from its spans; see [`Activity`].
fn activity() -> [(&'static str, Expr); 2] {
    let ended = col("parent_id").is_null().and(col("end").is_not_null());
    let (begun, done) = (col("start").max(), col("end").max());
    // Where no span has ended there is nothing to compare with, and the start counts.
    let latest = when(done.clone().gt(begun.clone())).then(done).otherwise(begun);
    [("root_ended", ended.cast(DataType::Int64).sum().gt(lit(0))), ("latest", latest)]
}

/// The columns of the table of traces that a dimension is told from.
fn columns_of(name: &str) -> &'static [&'static str] {
    match name {
        "session" => &["session_id"],
        "name" => &["name"],
        "agent" => &["agent_name"],
        "status" => &["errors"],
        "cost" | "cost_usd" => &["cost_usd"],
        "latency_ms" => &["duration_ms"],
        "tokens" => &["input_tokens", "output_tokens"],
        "spans" => &["spans"],
        "user" => &["user_id"],
        "agent_version" => &["agent_version"],
        "model" => &["model"],
        "prompt_version" => &["prompt_version"],
        _ => &[],
    }
}

type Value<'a> = Box<dyn Fn(usize) -> Option<String> + 'a>;

/// Reads a dimension of the row at a place.
fn value_of<'a>(table: &'a DataFrame, name: &str) -> PolarsResult<Value<'a>> {
    let long = |name: &str| table.column(name).and_then(|column| column.i64());
    let double = |name: &str| table.column(name).and_then(|column| column.f64());
    let count = |column: &Int64Chunked, at| column.get(at).and_then(|count| u64::try_from(count).ok());
    Ok(match name {
        "status" => {
            let errors = long("errors")?;
            Box::new(move |at| Some(if count(errors, at) > Some(0) { "error" } else { "ok" }.to_owned()))
        }
        "tokens" => {
            let (input, output) = (long("input_tokens")?, long("output_tokens")?);
            let usage = move |at| Usage { input: count(input, at), output: count(output, at), ..Usage::default() };
            Box::new(move |at| usage(at).total().map(|tokens| tokens.to_string()))
        }
        "spans" => {
            let spans = long("spans")?;
            Box::new(move |at| Some(count(spans, at).unwrap_or(0).to_string()))
        }
        "day" => {
            let starts = long("start_ns")?;
            Box::new(move |at| {
                let moment = jiff::Timestamp::from_nanosecond(i128::from(starts.get(at)?)).ok()?;
                Some(moment.to_string().chars().take(10).collect())
            })
        }
        "cost" | "cost_usd" | "latency_ms" => {
            let numbers = double(columns_of(name).first().copied().unwrap_or_default())?;
            Box::new(move |at| numbers.get(at).map(|number| number.to_string()))
        }
        text => {
            let texts = table.column(columns_of(text).first().copied().unwrap_or_default())?.str()?;
            // A name that is not known is an empty one.
            let absent = (text == "name").then(String::new);
            Box::new(move |at| texts.get(at).map(str::to_owned).or_else(|| absent.clone()))
        }
    })
}

#[cfg(test)]
#[path = "narrow_tests.rs"]
mod tests;
