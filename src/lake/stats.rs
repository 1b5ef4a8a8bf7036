//! How much a lake holds.

use std::collections::HashSet;

use polars::error::PolarsError;
use polars::prelude::{DataFrame, DataType, col, lit};
use serde::{Deserialize, Serialize};

use super::parts::{Day, query};
use super::{Lake, LakeError};

/// Totals of a lake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeStats {
    /// Days with spans.
    pub days: u64,
    /// Files.
    pub parts: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Rows: spans, differing versions of one counted each.
    pub spans: u64,
    /// Traces.
    pub traces: u64,
    /// Spans that say they failed.
    pub errors: u64,
    /// Start of the first span, nanoseconds since 1970.
    pub first_ns: Option<i64>,
    /// Start of the last span, nanoseconds since 1970.
    pub last_ns: Option<i64>,
}

impl Lake {
    /// Counts what is there; reads three narrow columns.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn stats(&self) -> Result<LakeStats, LakeError> {
        let mut stats = LakeStats::default();
        let mut traces: HashSet<i64> = HashSet::new();
        for day in self.days()? {
            stats.days += 1;
            stats.parts += day.parts.len() as u64;
            // A file that went away in between counts nothing.
            stats.bytes += day.parts.iter().filter_map(|part| part.metadata().ok()).map(|meta| meta.len()).sum::<u64>();
            let keys = query(&day.parts, |scan| scan.select([col("trace_key").unique()]))?;
            let totals = query(&day.parts, |scan| {
                let long = |name: &str| col(name).cast(DataType::Int64);
                let failed = col("status").eq(lit("error")).cast(DataType::Int64).sum();
                scan.select([
                    col("status").count().cast(DataType::Int64).alias("spans"),
                    failed.alias("errors"),
                    long("start").min().alias("first"),
                    long("start").max().alias("last"),
                ])
            })?;
            add(&mut stats, &mut traces, &keys, &totals).map_err(|error| blame(&day, &error))?;
        }
        stats.traces = traces.len() as u64;
        Ok(stats)
    }
}

fn add(
    stats: &mut LakeStats,
    traces: &mut HashSet<i64>,
    keys: &DataFrame,
    totals: &DataFrame,
) -> Result<(), PolarsError> {
    traces.extend(super::select::long_column(keys, "trace_key")?);
    let total = |name: &str| totals.column(name).and_then(|column| Ok(column.i64()?.get(0)));
    stats.spans += total("spans")?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    stats.errors += total("errors")?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    let (first, last) = (total("first")?, total("last")?);
    stats.first_ns = stats.first_ns.into_iter().chain(first).min();
    stats.last_ns = stats.last_ns.into_iter().chain(last).max();
    Ok(())
}

fn blame(day: &Day, error: &PolarsError) -> LakeError {
    LakeError::unreadable(day.parts.first().map_or("?".as_ref(), |part| part.as_path()), error)
}
