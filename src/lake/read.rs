//! Reading traces back: one by id, or all that fit a filter, a bounded number of bytes at a time.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;

use polars::error::PolarsError;
use polars::prelude::{DataFrame, NamedFrom, Series, col, lit};

use crate::model::{Span, SpanId, Trace, TraceId, assemble};

use super::columns::trace_key;
use super::parts::{Day, NEAR_DAYS, one_of, query, shift};
use super::select::{Candidate, TraceRow, candidates, decides, restore_duplicates};
use super::{Lake, LakeError, TraceFilter};

/// Bytes of JSON of spans that are unpacked at a time. The spans made of it take a few times that.
const BATCH_BYTES: u64 = 32 << 20;

impl Lake {
    /// The trace with this id, or the only one whose id begins so.
    ///
    /// # Errors
    /// When there is none or more than one, or a part cannot be read.
    pub fn trace(&self, wanted: &str) -> Result<Trace, LakeError> {
        let missing = || LakeError::NoSuchTrace { wanted: wanted.to_owned(), folder: self.root.clone() };
        let days = self.days()?;
        let parts: Vec<PathBuf> = days.iter().flat_map(|day| day.parts.iter().cloned()).collect();
        if wanted.is_empty() || parts.is_empty() {
            return Err(missing());
        }
        // A range, not a prefix test: ranges skip row groups by their statistics.
        let beyond = format!("{wanted}\u{10ffff}");
        let table = query(&parts, |scan| {
            let within = col("trace_id").gt_eq(lit(wanted)).and(col("trace_id").lt_eq(lit(beyond)));
            scan.filter(within).select([col("trace_id").unique().sort(Default::default())])
        })?;
        let ids = texts(&table, "trace_id").map_err(|error| unreadable(&parts, &error))?;
        let id = match ids.as_slice() {
            [] => return Err(missing()),
            [id] => id,
            several => match several.iter().find(|id| *id == wanted) {
                Some(id) => id,
                None => {
                    let found = several.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
                    return Err(LakeError::Ambiguous { wanted: wanted.to_owned(), found });
                }
            },
        };
        fetch(&parts, &[TraceId::from(id.as_str())])?.into_iter().next().ok_or_else(missing)
    }

    /// The traces with these ids, sorted by (start, id); ids that are not there are left out.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn traces_by_id(&self, ids: &[TraceId]) -> Result<Vec<Trace>, LakeError> {
        let parts: Vec<PathBuf> = self.days()?.into_iter().flat_map(|day| day.parts).collect();
        if ids.is_empty() || parts.is_empty() {
            return Ok(Vec::new());
        }
        fetch(&parts, ids)
    }

    /// All traces that fit, day by day and within a day by id. Memory is bounded by the largest trace and a constant.
    ///
    /// # Errors
    /// When the folder cannot be listed; each item when a part cannot be read.
    pub fn traces(&self, filter: &TraceFilter) -> Result<Traces, LakeError> {
        let days = self.days_for(filter)?;
        let elsewhere = self.split(&days)?;
        Ok(Traces {
            filter: filter.clone(),
            days: days.into(),
            elsewhere,
            done: HashSet::new(),
            parts: Vec::new(),
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
        })
    }

    /// Summary rows of the traces that fit, newest first, at most `limit`. Reads narrow columns only, and as few days
    /// as the limit allows.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn list(&self, filter: &TraceFilter, limit: usize) -> Result<Vec<TraceRow>, LakeError> {
        let days = self.days_for(filter)?;
        let elsewhere = self.split(&days)?;
        let mut rows: BTreeMap<TraceId, TraceRow> = BTreeMap::new();
        let mut full = None;
        for day in days.iter().rev() {
            // A trace may lie some days from its start, so a full list is only known to be whole a little later.
            if full.is_some_and(|full| day.date < shift(full, -2 * NEAR_DAYS)) {
                break;
            }
            let (mut whole, mut sure) = (Vec::new(), Vec::new());
            for candidate in candidates(day, filter, &elsewhere)? {
                let check = candidate.doubtful || elsewhere.contains_key(&candidate.key) || !decides(filter);
                if check { whole.push(candidate) } else { sure.push(candidate) }
            }
            rows.extend(sure.into_iter().map(|candidate| (candidate.row.trace_id.clone(), candidate.row)));
            whole.retain(|candidate| !rows.contains_key(&candidate.row.trace_id));
            for batch in batches(whole) {
                let traces = fetch(&parts_for(day, &batch, &elsewhere), &ids(&batch))?;
                let fitting = traces.iter().filter(|trace| filter.matches(trace)).filter_map(TraceRow::of);
                rows.extend(fitting.map(|row| (row.trace_id.clone(), row)));
            }
            if full.is_none() && rows.len() >= limit {
                full = Some(day.date);
            }
        }
        let mut rows: Vec<TraceRow> = rows.into_values().collect();
        rows.sort_by(|left, right| (right.start_ns, &left.trace_id).cmp(&(left.start_ns, &right.trace_id)));
        rows.truncate(limit);
        Ok(rows)
    }

    /// Keys of traces that lie in several days, with the parts of all of them. Reads one narrow column.
    pub(super) fn split(&self, days: &[Day]) -> Result<HashMap<i64, Vec<PathBuf>>, LakeError> {
        let all = self.days()?;
        let mut split = HashMap::new();
        if all.len() < 2 {
            return Ok(split);
        }
        let mut seen: Vec<(i64, usize)> = Vec::new();
        for (index, day) in all.iter().enumerate() {
            let table = query(&day.parts, |scan| scan.select([col("trace_key").unique()]))?;
            let keys =
                super::select::long_column(&table, "trace_key").map_err(|error| unreadable(&day.parts, &error))?;
            seen.extend(keys.into_iter().map(|key| (key, index)));
        }
        seen.sort_unstable();
        let wanted: HashSet<_> = days.iter().map(|day| day.date).collect();
        for same in seen.chunk_by(|left, right| left.0 == right.0).filter(|same| same.len() > 1) {
            let days = || same.iter().filter_map(|(_, index)| all.get(*index));
            if let (Some((key, _)), true) = (same.first(), days().any(|day| wanted.contains(&day.date))) {
                split.insert(*key, days().flat_map(|day| day.parts.iter().cloned()).collect());
            }
        }
        Ok(split)
    }
}

/// Traces as they are read; see [`Lake::traces`].
pub struct Traces {
    filter: TraceFilter,
    days: VecDeque<Day>,
    elsewhere: HashMap<i64, Vec<PathBuf>>,
    /// Traces of several days that were given out.
    done: HashSet<i64>,
    parts: Vec<Day>,
    waiting: VecDeque<Vec<Candidate>>,
    ready: VecDeque<Trace>,
}

impl Traces {
    /// Fills `ready` from the next batch; `false` when there is none.
    fn advance(&mut self) -> Result<bool, LakeError> {
        if let Some(batch) = self.waiting.pop_front() {
            let Some(day) = self.parts.first() else { return Ok(true) };
            let traces = fetch(&parts_for(day, &batch, &self.elsewhere), &ids(&batch))?;
            self.ready.extend(traces.into_iter().filter(|trace| self.filter.matches(trace)));
            return Ok(true);
        }
        let Some(day) = self.days.pop_front() else { return Ok(false) };
        let mut found = candidates(&day, &self.filter, &self.elsewhere)?;
        found.retain(|candidate| {
            let split = self.elsewhere.contains_key(&candidate.key);
            !split || self.done.insert(candidate.key)
        });
        self.waiting = batches(found).into();
        self.parts = vec![day];
        Ok(true)
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
    batch.iter().map(|candidate| candidate.row.trace_id.clone()).collect()
}

fn parts_for(day: &Day, batch: &[Candidate], elsewhere: &HashMap<i64, Vec<PathBuf>>) -> Vec<PathBuf> {
    let mut parts = day.parts.clone();
    parts.extend(batch.iter().filter_map(|candidate| elsewhere.get(&candidate.key)).flatten().cloned());
    parts.sort();
    parts.dedup();
    parts
}

/// Reads whole traces from parts.
fn fetch(parts: &[PathBuf], ids: &[TraceId]) -> Result<Vec<Trace>, LakeError> {
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
    let mut spans = Vec::with_capacity(table.height());
    let mut duplicates = Duplicates::new();
    for (text, duplicate) in texts.iter().zip(flags.iter()) {
        let span: Span = serde_json::from_str(text.unwrap_or_default()).map_err(|error| {
            PolarsError::ComputeError(
                format!("a span is not readable ({error}); a newer version may have written it").into(),
            )
        })?;
        if duplicate == Some(true) {
            duplicates.entry(span.trace_id.clone()).or_default().insert(span.span_id.clone());
        }
        spans.push(span);
    }
    Ok((spans, duplicates))
}

fn texts(table: &DataFrame, name: &str) -> Result<Vec<String>, PolarsError> {
    Ok(table.column(name)?.str()?.iter().flatten().map(str::to_owned).collect())
}

fn unreadable(parts: &[PathBuf], error: &PolarsError) -> LakeError {
    LakeError::unreadable(parts.first().map_or("?".as_ref(), PathBuf::as_path), error)
}
