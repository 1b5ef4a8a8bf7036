//! How much a lake holds.

use polars::error::PolarsError;
use polars::prelude::{DataFrame, DataType, PolarsResult, col, len, lit};
use serde::{Deserialize, Serialize};

use super::parts::{Table, blame};
use super::{Lake, LakeError, TraceFilter};

/// Totals of a lake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeStats {
    /// Days with spans.
    pub days: u64,
    /// Files.
    pub parts: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Spans, each once whatever versions of it there are.
    pub spans: u64,
    /// Traces.
    pub traces: u64,
    /// Spans that say they failed.
    pub errors: u64,
    /// Scores that others gave.
    pub scores: u64,
    /// Start of the first span, nanoseconds since 1970.
    pub first_ns: Option<i64>,
    /// Start of the last span, nanoseconds since 1970.
    pub last_ns: Option<i64>,
}

impl Lake {
    /// Counts what is there; reads a few narrow columns.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn stats(&self) -> Result<LakeStats, LakeError> {
        self.retrying(|| self.stats_once())
    }

    fn stats_once(&self) -> Result<LakeStats, LakeError> {
        let mut stats = LakeStats::default();
        for (table, days) in [Table::Spans, Table::Scores].map(|table| (table, self.days_between(table, None, None))) {
            let days = days?;
            stats.days += if table == Table::Spans { days.len() as u64 } else { 0 };
            let parts = || days.iter().flat_map(|day| &day.parts);
            stats.parts += parts().count() as u64;
            // A file that went away in between counts nothing.
            stats.bytes += parts().filter_map(|part| part.metadata().ok()).map(|meta| meta.len()).sum::<u64>();
        }
        let views = self.views(&TraceFilter::default())?;
        let long = |name: &str| col(name).cast(DataType::Int64);
        let count = || len().cast(DataType::Int64);
        let spans = views.spans().and_then(|spans| {
            let failed = col("status").eq(lit("error")).cast(DataType::Int64).sum();
            spans
                .select([
                    count().alias("spans"),
                    col("trace_key").n_unique().cast(DataType::Int64).alias("traces"),
                    failed.alias("errors"),
                    long("start").min().alias("first"),
                    long("start").max().alias("last"),
                ])
                .collect()
        });
        let (scores, parts) = self.scores_view(None, None)?;
        let scores = scores.select([count().alias("scores")]).collect();
        add(&mut stats, spans, scores)
            .map_err(|error| blame(if views.parts.is_empty() { &parts } else { &views.parts }, &error))?;
        Ok(stats)
    }
}

fn add(
    stats: &mut LakeStats,
    spans: PolarsResult<DataFrame>,
    scores: PolarsResult<DataFrame>,
) -> Result<(), PolarsError> {
    let (spans, scores) = (spans?, scores?);
    let total = |table: &DataFrame, name: &str| table.column(name).and_then(|column| Ok(column.i64()?.get(0)));
    let count = |table: &DataFrame, name: &str| {
        total(table, name).map(|count| count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    };
    stats.spans = count(&spans, "spans")?;
    stats.traces = if stats.spans == 0 { 0 } else { count(&spans, "traces")? };
    stats.errors = count(&spans, "errors")?;
    stats.scores = count(&scores, "scores")?;
    stats.first_ns = total(&spans, "first")?;
    stats.last_ns = total(&spans, "last")?;
    Ok(())
}
