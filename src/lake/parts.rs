//! The files of a lake: which days there are, which parts each has, and lazy scans over them.

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span as Period, Timestamp};
use polars::error::PolarsError;
use polars::prelude::{DataFrame, Expr, LazyFrame, PlRefPath, ScanArgsParquet, Series, col, lit};

use crate::sys::files;

use super::{Lake, LakeError, TraceFilter};

/// Spans that come this many days after or before their trace still go to its day; later ones are joined on read.
pub(crate) const NEAR_DAYS: i64 = 2;
const PREFIX: &str = "day=";

/// One day of a lake.
#[derive(Clone, Debug)]
pub(crate) struct Day {
    pub(crate) date: Date,
    pub(crate) parts: Vec<PathBuf>,
}

impl Lake {
    pub(crate) fn spans_folder(&self) -> PathBuf {
        self.root.join("spans")
    }

    pub(crate) fn day_folder(&self, date: Date) -> PathBuf {
        self.spans_folder().join(format!("{PREFIX}{date}"))
    }

    /// Days that have parts, in order of time.
    pub(crate) fn days(&self) -> Result<Vec<Day>, LakeError> {
        let mut days = Vec::new();
        for folder in files::list_folder(&self.spans_folder())? {
            let Some(date) = date_of(&folder) else { continue };
            let parts = parts_of(&folder)?;
            if !parts.is_empty() {
                days.push(Day { date, parts });
            }
        }
        days.sort_by_key(|day| day.date);
        Ok(days)
    }

    /// Days in which a trace that fits the filter can lie.
    pub(crate) fn days_for(&self, filter: &TraceFilter) -> Result<Vec<Day>, LakeError> {
        let date = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let first = filter.since.map(|since| shift(date(since), -NEAR_DAYS));
        let last = filter.until.map(|until| shift(date(until), NEAR_DAYS));
        let mut days = self.days()?;
        days.retain(|day| first.is_none_or(|first| first <= day.date) && last.is_none_or(|last| day.date <= last));
        Ok(days)
    }
}

/// The day of a time in nanoseconds since 1970, UTC.
pub(crate) fn date_of_nanos(nanos: i64) -> Date {
    let time = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC).date()
}

/// A date some days away; the end of the calendar is its own neighbor.
pub(crate) fn shift(date: Date, days: i64) -> Date {
    date.checked_add(Period::new().days(days)).unwrap_or(date)
}

fn date_of(folder: &Path) -> Option<Date> {
    folder.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse().ok()
}

/// Finished parts only: files being written have another ending.
fn parts_of(folder: &Path) -> Result<Vec<PathBuf>, LakeError> {
    let mut parts = files::list_folder(folder)?;
    parts.retain(|part| part.extension().is_some_and(|extension| extension == "parquet"));
    Ok(parts)
}

/// Runs a query over parts. `build` gets the scan and should select early: only the columns it names are read.
pub(crate) fn query(parts: &[PathBuf], build: impl FnOnce(LazyFrame) -> LazyFrame) -> Result<DataFrame, LakeError> {
    scan(parts).map(build).and_then(LazyFrame::collect).map_err(|error| blame(parts, &error))
}

fn scan(parts: &[PathBuf]) -> Result<LazyFrame, PolarsError> {
    let paths = parts.iter().map(|part| PlRefPath::try_from_path(part)).collect::<Result<Vec<_>, _>>()?;
    let arguments = ScanArgsParquet {
        glob: false,
        cache: false,
        include_file_paths: Some("part".into()),
        ..ScanArgsParquet::default()
    };
    LazyFrame::scan_parquet_files(paths.into_iter().collect(), arguments)
}

/// Finds the part a failed query over several parts failed at.
fn blame(parts: &[PathBuf], error: &PolarsError) -> LakeError {
    let fails = |part: &&PathBuf| {
        let rows = scan(std::slice::from_ref(*part)).map(|frame| frame.select([col("span_bytes").sum()]));
        rows.and_then(LazyFrame::collect).is_err()
    };
    let culprit = parts.iter().find(fails).or_else(|| parts.first());
    LakeError::unreadable(culprit.map_or(Path::new("?"), PathBuf::as_path), error)
}

/// Whether a column has one of several values.
pub(crate) fn one_of(column: &str, values: Series) -> Expr {
    col(column).is_in(lit(values).implode(true), false)
}
