//! Reading traces back: one by id, or all that fit a filter, a bounded number of bytes at a time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::PathBuf;

use jiff::civil::Date;
use polars::error::PolarsError;
use polars::prelude::{DataFrame, NamedFrom, Series, col, lit};

use crate::model::{Span, SpanId, Trace, TraceId, assemble};
use crate::sys::threads::map_pieces;

use super::columns::trace_key;
use super::parts::{Day, NEAR_DAYS, Table, date_of_nanos, one_of, query, shift};
use super::select::{Candidate, candidates, restore_duplicates};
use super::views::Reach;
use super::{Lake, LakeError, TraceFilter};

/// Bytes of JSON of spans that are unpacked at a time. The spans made of it take a few times that.
const BATCH_BYTES: u64 = 32 << 20;

impl Lake {
    /// The trace with this id, or the only one whose id begins so.
    ///
    /// # Errors
    /// When there is none or more than one, or a part cannot be read.
    pub fn trace(&self, wanted: &str) -> Result<Trace, LakeError> {
        self.retrying(|| self.trace_once(wanted))
    }

    fn trace_once(&self, wanted: &str) -> Result<Trace, LakeError> {
        let parts: Vec<PathBuf> = self.days()?.into_iter().flat_map(|day| day.parts).collect();
        let id = self.named(&parts, wanted)?;
        fetch(&parts, &[id])?.into_iter().next().ok_or_else(|| self.no_such(wanted))
    }

    /// The whole id of the trace with this id, or of the only one whose id begins so.
    ///
    /// # Errors
    /// As [`Lake::trace`].
    pub fn trace_id(&self, wanted: &str) -> Result<TraceId, LakeError> {
        self.retrying(|| {
            let parts: Vec<PathBuf> = self.days()?.into_iter().flat_map(|day| day.parts).collect();
            self.named(&parts, wanted)
        })
    }

    fn no_such(&self, wanted: &str) -> LakeError {
        LakeError::NoSuchTrace { wanted: wanted.to_owned(), folder: self.root.clone() }
    }

    fn named(&self, parts: &[PathBuf], wanted: &str) -> Result<TraceId, LakeError> {
        if wanted.is_empty() || parts.is_empty() {
            return Err(self.no_such(wanted));
        }
        // A range, not a prefix test: ranges skip row groups by their statistics.
        let beyond = format!("{wanted}\u{10ffff}");
        let table = query(parts, |scan| {
            let within = col("trace_id").gt_eq(lit(wanted)).and(col("trace_id").lt_eq(lit(beyond)));
            scan.filter(within).select([col("trace_id").unique().sort(Default::default())])
        })?;
        let ids = texts(&table, "trace_id").map_err(|error| unreadable(parts, &error))?;
        match ids.as_slice() {
            [] => Err(self.no_such(wanted)),
            [id] => Ok(TraceId::from(id.as_str())),
            several if several.iter().any(|id| id == wanted) => Ok(TraceId::from(wanted)),
            several => {
                let found = several.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
                Err(LakeError::Ambiguous { wanted: wanted.to_owned(), found })
            }
        }
    }

    /// The traces with these ids, sorted by (start, id); ids that are not there are left out.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn traces_by_id(&self, ids: &[TraceId]) -> Result<Vec<Trace>, LakeError> {
        self.traces_between(ids, None, None)
    }

    /// As [`Lake::traces_by_id`], but looks only near these moments, nanoseconds since 1970: a day's parts are not
    /// read for traces that cannot lie there.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn traces_near(&self, ids: &[TraceId], moments: (i64, i64)) -> Result<Vec<Trace>, LakeError> {
        let day = |nanos: i64, by: i64| Some(shift(date_of_nanos(nanos), by));
        self.traces_between(ids, day(moments.0, -NEAR_DAYS), day(moments.1, NEAR_DAYS))
    }

    fn traces_between(
        &self,
        ids: &[TraceId],
        first: Option<Date>,
        last: Option<Date>,
    ) -> Result<Vec<Trace>, LakeError> {
        self.retrying(|| {
            let days = self.days_between(Table::Spans, first, last)?;
            let parts: Vec<PathBuf> = days.into_iter().flat_map(|day| day.parts).collect();
            if ids.is_empty() || parts.is_empty() {
                return Ok(Vec::new());
            }
            fetch(&parts, ids)
        })
    }

    /// All traces that fit, day by day and within a day by id. Memory is bounded by the largest trace and a constant.
    ///
    /// # Errors
    /// When the folder cannot be listed; each item when a part cannot be read.
    pub fn traces(&self, filter: &TraceFilter) -> Result<Traces, LakeError> {
        let (days, elsewhere) = self.retrying(|| {
            let reach = self.reach_of(filter)?;
            Ok((reach.inside.iter().map(|day| day.date).collect(), split(&reach)?))
        })?;
        Ok(Traces {
            lake: self.clone(),
            filter: filter.clone(),
            days,
            elsewhere,
            done: HashSet::new(),
            day: None,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
        })
    }

    fn day(&self, date: Date) -> Result<Option<Day>, LakeError> {
        Ok(self.days_between(Table::Spans, Some(date), Some(date))?.pop())
    }
}

/// Keys of traces that lie in several days, with all of them. Reads one narrow column.
fn split(reach: &Reach) -> Result<HashMap<i64, Vec<Date>>, LakeError> {
    let mut split = HashMap::new();
    if reach.all.len() < 2 {
        return Ok(split);
    }
    let mut seen: Vec<(i64, Date)> = Vec::new();
    for day in &reach.all {
        let table = query(&day.parts, |scan| scan.select([col("trace_key").unique()]))?;
        let keys = super::select::long_column(&table, "trace_key").map_err(|error| unreadable(&day.parts, &error))?;
        seen.extend(keys.into_iter().map(|key| (key, day.date)));
    }
    seen.sort_unstable();
    let wanted: HashSet<Date> = reach.inside.iter().map(|day| day.date).collect();
    for same in seen.chunk_by(|left, right| left.0 == right.0).filter(|same| same.len() > 1) {
        if let (Some((key, _)), true) = (same.first(), same.iter().any(|(_, date)| wanted.contains(date))) {
            split.insert(*key, same.iter().map(|(_, date)| *date).collect());
        }
    }
    Ok(split)
}

/// Traces as they are read; see [`Lake::traces`]. Holds days, not files, since a compaction may replace these.
pub struct Traces {
    lake: Lake,
    filter: TraceFilter,
    days: VecDeque<Date>,
    elsewhere: HashMap<i64, Vec<Date>>,
    /// Traces of several days that were given out.
    done: HashSet<i64>,
    /// The day that the waiting batches lie in.
    day: Option<Date>,
    waiting: VecDeque<Vec<Candidate>>,
    ready: VecDeque<Trace>,
}

impl Traces {
    /// Fills `ready` from the next batch; `false` when there is none.
    fn advance(&mut self) -> Result<bool, LakeError> {
        if let (Some(date), Some(batch)) = (self.day, self.waiting.pop_front()) {
            let traces = self.lake.retrying(|| fetch(&self.parts_for(date, &batch)?, &ids(&batch)))?;
            self.ready.extend(traces.into_iter().filter(|trace| self.filter.matches(trace)));
            return Ok(true);
        }
        let Some(date) = self.days.pop_front() else { return Ok(false) };
        let mut found = self.lake.retrying(|| match self.lake.day(date)? {
            Some(day) => candidates(&day, &self.filter, &self.elsewhere),
            None => Ok(Vec::new()),
        })?;
        found.retain(|candidate| {
            let split = self.elsewhere.contains_key(&candidate.key);
            !split || self.done.insert(candidate.key)
        });
        self.waiting = batches(found).into();
        self.day = Some(date);
        Ok(true)
    }

    /// The parts of a day, and of the other days that traces of a batch lie in.
    fn parts_for(&self, date: Date, batch: &[Candidate]) -> Result<Vec<PathBuf>, LakeError> {
        let elsewhere = batch.iter().filter_map(|candidate| self.elsewhere.get(&candidate.key)).flatten().copied();
        let dates: BTreeSet<Date> = elsewhere.chain([date]).collect();
        let days = dates.into_iter().map(|date| self.lake.day(date)).collect::<Result<Vec<_>, _>>()?;
        Ok(days.into_iter().flatten().flat_map(|day| day.parts).collect())
    }
}

impl Iterator for Traces {
    type Item = Result<Trace, LakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(trace) = self.ready.pop_front() {
                return Some(Ok(trace));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    // What could not be read once will not be read by asking again.
                    self.days.clear();
                    self.waiting.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Groups candidates so that each group unpacks a bounded number of bytes; a group is a contiguous range of ids.
fn batches(candidates: Vec<Candidate>) -> Vec<Vec<Candidate>> {
    let mut batches: Vec<Vec<Candidate>> = Vec::new();
    let mut bytes = u64::MAX;
    for candidate in candidates {
        bytes = bytes.saturating_add(candidate.bytes);
        if bytes > BATCH_BYTES {
            bytes = candidate.bytes;
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(candidate);
        }
    }
    batches
}

fn ids(batch: &[Candidate]) -> Vec<TraceId> {
    batch.iter().map(|candidate| candidate.id.clone()).collect()
}

/// Reads whole traces from parts.
fn fetch(parts: &[PathBuf], ids: &[TraceId]) -> Result<Vec<Trace>, LakeError> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(Vec::new()) };
    let keys: Vec<i64> = ids.iter().map(trace_key).collect();
    let table = query(parts, |scan| {
        // The range skips row groups; the keys drop what else lies in the range before its JSON is unpacked.
        let range = col("trace_id").gt_eq(lit(first.as_str())).and(col("trace_id").lt_eq(lit(last.as_str())));
        scan.filter(range.and(one_of("trace_key", Series::new("keys".into(), keys))))
            .select([col("duplicate"), col("span")])
    })?;
    let wanted: HashSet<&TraceId> = ids.iter().collect();
    let (spans, duplicates) = spans(&table).map_err(|error| unreadable(parts, &error))?;
    let mut traces = assemble(spans.into_iter().filter(|span| wanted.contains(&span.trace_id))).traces;
    for trace in &mut traces {
        if let Some(spans) = duplicates.get(&trace.id) {
            restore_duplicates(trace, spans);
        }
    }
    Ok(traces)
}

type Duplicates = HashMap<TraceId, HashSet<SpanId>>;

fn spans(table: &DataFrame) -> Result<(Vec<Span>, Duplicates), PolarsError> {
    let (texts, flags) = (table.column("span")?.str()?, table.column("duplicate")?.bool()?);
    let texts: Vec<&str> = texts.iter().map(Option::unwrap_or_default).collect();
    let parsed = map_pieces(&texts, |texts| {
        texts.iter().map(|text| serde_json::from_str::<Span>(text)).collect::<Result<Vec<_>, _>>()
    });
    let mut spans: Vec<Span> = Vec::with_capacity(table.height());
    for piece in parsed {
        spans.extend(piece.map_err(|error| {
            PolarsError::ComputeError(
                format!("a span is not readable ({error}); a newer version may have written it").into(),
            )
        })?);
    }
    let mut duplicates = Duplicates::new();
    for (span, _) in spans.iter().zip(flags.iter()).filter(|(_, flag)| *flag == Some(true)) {
        duplicates.entry(span.trace_id.clone()).or_default().insert(span.span_id.clone());
    }
    Ok((spans, duplicates))
}

fn texts(table: &DataFrame, name: &str) -> Result<Vec<String>, PolarsError> {
    Ok(table.column(name)?.str()?.iter().flatten().map(str::to_owned).collect())
}

fn unreadable(parts: &[PathBuf], error: &PolarsError) -> LakeError {
    LakeError::unreadable(parts.first().map_or("?".as_ref(), PathBuf::as_path), error)
}
