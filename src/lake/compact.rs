//! Compaction: the many small parts of a day become few sorted ones, without superseded versions of spans.
//!
//! New parts are published before old ones are removed. In between, and after a crash, rows stand twice and count once:
//! readers and `settle` see to that. A reader that loses a part looks again. Two tidyings never run at once, because
//! one could bring back what the other deleted.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use jiff::civil::Date;
use polars::prelude::{BooleanChunked, DataFrame, IntoColumn, NamedFrom, PolarsResult, Series, col, lit};
use serde::{Deserialize, Serialize};

use crate::model::Digester;

use super::parts::{Day, Table, one_of, query};
use super::settle::{Kept, Settled, unmarked};
use super::write::{add_row, per_group, publish};
use super::{Lake, LakeError};

/// JSON bytes of spans in one compacted part; the bound of memory of a compaction.
const PART_BYTES: i64 = 256 << 20;

/// What a compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Days looked at.
    pub days: u64,
    /// Days rewritten.
    pub rewritten: u64,
    /// Files before.
    pub parts_before: u64,
    /// Files after.
    pub parts_after: u64,
    /// Rows left out because another version of the span counts, or the same row stood twice.
    pub superseded: u64,
    /// Whether it was done, not only counted.
    pub done: bool,
}

impl Lake {
    /// Compacts one day, or all of them, of spans and scores. Days that are as they should be are left alone. With
    /// `really` false it only counts.
    ///
    /// # Errors
    /// When another tidying runs, or a part cannot be read or written. Nothing is lost then.
    pub fn compact(&self, only: Option<Date>, really: bool) -> Result<Compacted, LakeError> {
        let _alone = self.alone()?;
        self.retrying(|| self.compact_once(only, really))
    }

    fn compact_once(&self, only: Option<Date>, really: bool) -> Result<Compacted, LakeError> {
        let mut done = Compacted { done: really, ..Compacted::default() };
        let days = self.days()?;
        let settled = Settled::of(&days)?;
        let kept: HashMap<(&str, &str), &Kept> =
            settled.rows.iter().map(|row| ((row.part.as_str(), row.digest.as_str()), row)).collect();
        let wanted = |day: &&Day| only.is_none_or(|only| only == day.date);
        for day in days.iter().filter(wanted) {
            let Some(plan) = plan(day, &settled, &kept)? else {
                done.add(day, None);
                continue;
            };
            done.superseded += plan.superseded as u64;
            let parts = if really { self.compact_spans(day, plan, &settled, &kept)? } else { plan.ranges.len() };
            done.add(day, Some(parts));
        }
        for day in self.days_between(Table::Scores, None, None)?.iter().filter(wanted) {
            let parts = match day.parts.len() {
                0 | 1 => None,
                _ if really => Some(self.compact_scores(day)?),
                _ => Some(1),
            };
            done.add(day, parts);
        }
        Ok(done)
    }

    /// Rewrites a day's spans; answers how many parts there are then.
    fn compact_spans(
        &self,
        day: &Day,
        plan: Plan,
        settled: &Settled,
        kept: &HashMap<(&str, &str), &Kept>,
    ) -> Result<usize, LakeError> {
        let mut written = HashSet::new();
        for (first, last) in plan.ranges {
            let mut rows = query(&day.parts, |scan| {
                scan.filter(col("trace_id").gt_eq(lit(first)).and(col("trace_id").lt_eq(lit(last))))
            })?;
            rows = settle(&rows, settled, kept).map_err(|error| LakeError::unreadable(&day.folder(), &error))?;
            written.extend(self.write_rows(Table::Spans, day.date, rows)?);
        }
        self.replace(day, &written)?;
        Ok(written.len())
    }

    fn compact_scores(&self, day: &Day) -> Result<usize, LakeError> {
        let rows = query(&day.parts, |scan| scan)?;
        let once = || -> PolarsResult<DataFrame> {
            let mut seen = HashSet::new();
            let first =
                rows.column("digest")?.str()?.iter().map(|digest| seen.insert(digest)).collect::<BooleanChunked>();
            rows.filter(&first)
        };
        let rows = once().map_err(|error| LakeError::unreadable(&day.folder(), &error))?;
        let written = self.write_rows(Table::Scores, day.date, rows)?.into_iter().collect();
        self.replace(day, &written)?;
        Ok(written.len())
    }

    /// Writes rows that came from parts as a new part; `None` when there are none.
    pub(super) fn write_rows(&self, table: Table, date: Date, rows: DataFrame) -> Result<Option<PathBuf>, LakeError> {
        if rows.height() == 0 {
            return Ok(None);
        }
        let unreadable = |error| LakeError::unreadable(&self.day_folder(table, date), &error);
        let (mut rows, name, group) = arranged(table, rows).map_err(unreadable)?;
        publish(self, &self.day_folder(table, date), &name, &mut rows, group).map(Some)
    }

    /// Removes the parts of a day that others stand for now.
    fn replace(&self, day: &Day, by: &HashSet<PathBuf>) -> Result<(), LakeError> {
        day.parts.iter().filter(|part| !by.contains(*part)).try_for_each(|part| self.retire(part))
    }
}

impl Compacted {
    /// Adds a day that has so many parts afterwards; `None` when it is left alone.
    fn add(&mut self, day: &Day, parts: Option<usize>) {
        self.days += 1;
        self.rewritten += u64::from(parts.is_some());
        self.parts_before += day.parts.len() as u64;
        self.parts_after += parts.unwrap_or(day.parts.len()) as u64;
    }
}

/// What is to be done with a day of spans.
struct Plan {
    ranges: Vec<(String, String)>,
    superseded: usize,
}

/// `None` when a day is as it should be.
fn plan(day: &Day, settled: &Settled, kept: &HashMap<(&str, &str), &Kept>) -> Result<Option<Plan>, LakeError> {
    let plan = Plan { ranges: ranges(day)?, superseded: superseded(day, settled, kept)? };
    let needed = day.parts.len() > plan.ranges.len() || plan.superseded > 0 || outdated(day)?;
    Ok(needed.then_some(plan))
}

/// Whether a part was written before all columns were there.
fn outdated(day: &Day) -> Result<bool, LakeError> {
    let table = query(&day.parts, |scan| scan.select([unmarked().any(true).alias("any")]))?;
    let any = table.column("any").and_then(|column| Ok(column.bool()?.get(0)));
    Ok(any.map_err(|error| LakeError::unreadable(&day.folder(), &error))? == Some(true))
}

/// Ranges of trace ids that hold a bounded number of bytes each, whole traces only.
fn ranges(day: &Day) -> Result<Vec<(String, String)>, LakeError> {
    let table = query(&day.parts, |scan| {
        scan.select([col("trace_id"), col("span_bytes")])
            .group_by([col("trace_id")])
            .agg([col("span_bytes").sum()])
            .sort(["trace_id"], Default::default())
    })?;
    let columns = || PolarsResult::Ok((table.column("trace_id")?.str()?, table.column("span_bytes")?.i64()?));
    let (ids, bytes) = columns().map_err(|error| LakeError::unreadable(&day.folder(), &error))?;
    let mut ranges: Vec<(String, String)> = Vec::new();
    let mut held = i64::MAX;
    for (id, bytes) in ids.iter().zip(bytes.iter()) {
        let (Some(id), Some(bytes)) = (id, bytes) else { continue };
        held = held.saturating_add(bytes);
        match ranges.last_mut().filter(|_| held <= PART_BYTES) {
            Some(range) => id.clone_into(&mut range.1),
            None => {
                held = bytes;
                ranges.push((id.to_owned(), id.to_owned()));
            }
        }
    }
    Ok(ranges)
}

/// How many rows of a day could be left out.
fn superseded(day: &Day, settled: &Settled, kept: &HashMap<(&str, &str), &Kept>) -> Result<usize, LakeError> {
    if settled.keys.is_empty() {
        return Ok(0);
    }
    let columns = ["trace_key", "trace_id", "span_id", "digest", "part"].map(col);
    let table = query(&day.parts, |scan| scan.filter(one_of("trace_key", settled.series())).select(columns))?;
    let stays = fates(&table, settled, kept).map_err(|error| LakeError::unreadable(&day.folder(), &error))?;
    Ok(stays.iter().filter(|fate| matches!(fate, Fate::Superseded)).count())
}

/// What becomes of a row.
enum Fate<'a> {
    /// Of a trace that is whole in its part.
    Whole,
    /// It counts, with these marks.
    Counts(&'a Kept),
    /// Another row among these counts for its span.
    Superseded,
    /// A row of another day counts for its span: it stays, since that one may go first.
    Elsewhere,
}

fn fates<'a>(
    rows: &DataFrame,
    settled: &Settled,
    kept: &HashMap<(&str, &str), &'a Kept>,
) -> PolarsResult<Vec<Fate<'a>>> {
    let text = |name: &str| rows.column(name).and_then(|column| column.str());
    let (traces, spans, digests, parts) = (text("trace_id")?, text("span_id")?, text("digest")?, text("part")?);
    let keys = rows.column("trace_key")?.i64()?;
    let mark = |at: usize| kept.get(&(parts.get(at)?, digests.get(at)?)).copied();
    let open = |at: usize| keys.get(at).is_some_and(|key| settled.keys.contains(&key));
    let here: HashSet<(Option<&str>, Option<&str>)> = (0..rows.height())
        .filter(|at| open(*at) && mark(*at).is_some())
        .map(|at| (traces.get(at), spans.get(at)))
        .collect();
    let fate = |at: usize| match mark(at) {
        _ if !open(at) => Fate::Whole,
        Some(mark) => Fate::Counts(mark),
        None if here.contains(&(traces.get(at), spans.get(at))) => Fate::Superseded,
        None => Fate::Elsewhere,
    };
    Ok((0..rows.height()).map(fate).collect())
}

/// Rows with their true marks, without those that are superseded.
fn settle(rows: &DataFrame, settled: &Settled, kept: &HashMap<(&str, &str), &Kept>) -> PolarsResult<DataFrame> {
    let fates = fates(rows, settled, kept)?;
    let mut rows = rows.clone();
    type Read = fn(&Kept) -> bool;
    let marks: [(&str, Read); 4] = [
        ("root", |row| row.root),
        ("counted", |row| row.counted),
        ("paid", |row| row.paid),
        ("duplicate", |row| row.duplicate),
    ];
    for (name, read) in marks {
        let was = rows.column(name)?.bool()?.clone();
        let is = fates.iter().zip(was.iter()).map(|(fate, was)| match fate {
            Fate::Counts(mark) => Some(read(mark)),
            // One that was written before the mark was there and does not count.
            _ => was.or(Some(false)),
        });
        let is: Vec<Option<bool>> = is.collect();
        rows.with_column(Series::new(name.into(), is).into_column())?;
    }
    // What was asked can be another thing now that the trace is whole; who needs it opens the trace.
    let inputs = fates.iter().zip(rows.column("input_digest")?.str()?.iter());
    let inputs = inputs.map(|(fate, was)| if matches!(fate, Fate::Whole) { was } else { None });
    let inputs: Vec<Option<String>> = inputs.map(|was| was.map(str::to_owned)).collect();
    rows.with_column(Series::new("input_digest".into(), inputs).into_column())?;
    let stays: BooleanChunked = fates.iter().map(|fate| !matches!(fate, Fate::Superseded)).collect();
    rows.filter(&stays)
}

/// Rows in the order of a part, with the digest that names it and the size of its row groups.
fn arranged(table: Table, mut rows: DataFrame) -> PolarsResult<(DataFrame, crate::model::Digest, Option<usize>)> {
    // What a scan adds: the file a row stands in, and the day of its folder.
    rows = rows.drop_many(["part", "day"]);
    let mut digester = Digester::new();
    if table == Table::Scores {
        rows = rows.sort(["digest"], Default::default())?;
        rows.column("digest")?.str()?.iter().flatten().for_each(|digest| digester.add("score", digest.as_bytes()));
        return Ok((rows, digester.finish(), None));
    }
    rows = rows.sort(["trace_id", "start", "span_id"], Default::default())?;
    let flag = |name: &str| rows.column(name).and_then(|column| column.bool());
    let (roots, counted) = (flag("root")?, flag("counted")?);
    let (paid, duplicates) = (flag("paid")?, flag("duplicate")?);
    for (at, digest) in rows.column("digest")?.str()?.iter().enumerate() {
        let flags = [roots.get(at), counted.get(at), paid.get(at), duplicates.get(at)].map(|flag| flag == Some(true));
        add_row(&mut digester, digest.unwrap_or_default(), flags);
    }
    let bytes: i64 = rows.column("span_bytes")?.i64()?.iter().flatten().sum();
    let group = per_group(usize::try_from(bytes).unwrap_or(0), rows.height());
    Ok((rows, digester.finish(), Some(group)))
}
