//! The files of a lake: which days there are, which parts each has, and lazy scans over them.
//!
//! A part may go away while it is read, because a compaction put a greater one in its place. Such a failure is told
//! from a damaged file, and [`Lake::retrying`] looks again at what is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span as Period, Timestamp};
use polars::error::PolarsError;
use polars::prelude::{DataFrame, Expr, LazyFrame, PlRefPath, ScanArgsParquet, Series, col, lit};

use crate::sys::files;

use super::schema::polars_schema;
use super::{Lake, LakeError, TraceFilter};

/// How often a reader looks again when parts went away under it.
const LOOKS: usize = 20;

/// Spans that come this many days after or before their trace still go to its day; later ones are joined on read.
pub(crate) const NEAR_DAYS: i64 = 2;
/// A lake in a bucket joins pieces of a trace this many days apart; one in a folder joins all.
pub(crate) const JOIN_DAYS: i64 = 14;
const PREFIX: &str = "day=";

/// The two tables of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Spans,
    Scores,
}

impl Table {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Scores => "scores",
        }
    }

    /// The table that a part lies in: `<table>/day=…/part-….parquet`.
    fn of(part: &Path) -> Self {
        let table = part.parent().and_then(Path::parent).and_then(Path::file_name);
        if table.is_some_and(|name| name == Self::Scores.name()) { Self::Scores } else { Self::Spans }
    }
}

/// One day of a table.
#[derive(Clone, Debug)]
pub(crate) struct Day {
    pub(crate) date: Date,
    pub(crate) parts: Vec<PathBuf>,
}

impl Day {
    /// Its folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.parts.first().and_then(|part| part.parent()).map_or_else(PathBuf::new, Path::to_owned)
    }
}

impl Lake {
    pub(crate) fn day_folder(&self, table: Table, date: Date) -> PathBuf {
        self.root.join(table.name()).join(format!("{PREFIX}{date}"))
    }

    /// Days that have spans, in order of time.
    pub(crate) fn days(&self) -> Result<Vec<Day>, LakeError> {
        self.days_between(Table::Spans, None, None)
    }

    /// Days of a table that have parts, both ends included, in order of time. Parts of a bucket are here afterwards.
    pub(crate) fn days_between(
        &self,
        table: Table,
        first: Option<Date>,
        last: Option<Date>,
    ) -> Result<Vec<Day>, LakeError> {
        self.pull(table, first, last)?;
        let within = |date: Date| first.is_none_or(|first| first <= date) && last.is_none_or(|last| date <= last);
        let mut days = Vec::new();
        for folder in files::list_folder(&self.root.join(table.name()))? {
            let Some(date) = date_of(&folder).filter(|date| within(*date)) else { continue };
            let parts = parts_of(&folder)?;
            if !parts.is_empty() {
                days.push(Day { date, parts });
            }
        }
        days.sort_by_key(|day| day.date);
        Ok(days)
    }

    /// Runs a reading again when parts went away under it.
    pub(crate) fn retrying<T>(&self, mut run: impl FnMut() -> Result<T, LakeError>) -> Result<T, LakeError> {
        for _ in 1..LOOKS {
            match run() {
                Err(LakeError::Moved { .. }) => {}
                done => return done,
            }
        }
        run()
    }
}

/// The days of a filter's bounds, widened by some days on both sides.
pub(crate) fn window(filter: &TraceFilter, by: i64) -> (Option<Date>, Option<Date>) {
    let date = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    (filter.since.map(|since| shift(date(since), -by)), filter.until.map(|until| shift(date(until), by)))
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

pub(crate) fn date_of(folder: &Path) -> Option<Date> {
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

/// A lazy scan of parts of one table; each row says in `part` which file it stands in. A column that a part was written
/// without is empty there.
pub(crate) fn scan(parts: &[PathBuf]) -> Result<LazyFrame, PolarsError> {
    let paths = parts.iter().map(|part| PlRefPath::try_from_path(part)).collect::<Result<Vec<_>, _>>()?;
    let table = parts.first().map_or(Table::Spans, |part| Table::of(part));
    let arguments = ScanArgsParquet {
        glob: false,
        cache: false,
        schema: Some(Arc::new(polars_schema(table.name()))),
        allow_missing_columns: true,
        include_file_paths: Some("part".into()),
        ..ScanArgsParquet::default()
    };
    LazyFrame::scan_parquet_files(paths.into_iter().collect(), arguments)
}

/// Finds the part a failed query over several parts failed at.
pub(crate) fn blame(parts: &[PathBuf], error: &PolarsError) -> LakeError {
    if let Some(gone) = parts.iter().find(|part| !part.exists()) {
        return LakeError::Moved { part: gone.clone() };
    }
    let fails = |part: &&PathBuf| {
        let rows = scan(std::slice::from_ref(*part)).map(|frame| frame.select([col("digest").count()]));
        rows.and_then(LazyFrame::collect).is_err()
    };
    let culprit = parts.iter().find(fails).or_else(|| parts.first());
    LakeError::unreadable(culprit.map_or(Path::new("?"), PathBuf::as_path), error)
}

/// Whether a column has one of several values.
pub(crate) fn one_of(column: &str, values: Series) -> Expr {
    col(column).is_in(lit(values).implode(true), false)
}
