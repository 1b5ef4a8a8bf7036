//! Writing traces: one new part per day touched, whole or not at all, and nothing that is already there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use polars::prelude::{
    CompatLevel, DataFrame, DataType, FileWriteFormat, IntoLazy, LazyFrame, NamedFrom, ParquetWriteOptions, PlRefPath,
    Series, SinkDestination, SinkTarget, UnifiedSinkArgs, col,
};
use tempfile::NamedTempFile;

use crate::dataset::input_digest;
use crate::model::{Digest, Digester, Span, SpanId, Trace, TraceFault, TraceId};
use crate::sys::files;
use crate::sys::threads::map_pieces;

use super::columns::{Row, frame, trace_key};
use super::parts::{NEAR_DAYS, Table, date_of_nanos, one_of, query, shift};
use super::{Lake, LakeError, Written};

/// JSON bytes of spans per row group: what a reader that wants one trace has to unpack.
const GROUP_BYTES: usize = 16 << 20;

/// Bytes of a page, the least that is unpacked: a reader of some traces among many skips the pages between them.
const PAGE_BYTES: usize = 64 << 10;

/// What a lake holds of the traces being written.
#[derive(Default)]
struct Held {
    homes: HashMap<TraceId, Date>,
    digests: HashSet<String>,
    /// Ends of the spans of which other versions were met before and left out.
    settled: HashMap<(TraceId, SpanId), Option<i64>>,
}

impl Held {
    /// Whether a span is there, or an earlier version of one that is there and was chosen over others.
    fn has(&self, row: &Row<'_>) -> bool {
        let Span { trace_id, span_id, end_ns, .. } = row.span;
        self.digests.contains(&row.digest)
            || self.settled.get(&(trace_id.clone(), span_id.clone())).is_some_and(|kept| end_ns < kept)
    }
}

impl Lake {
    /// Adds the spans of traces that are not there yet; see the module for where they go.
    ///
    /// All spans of a trace known to one call land in one day. Callers with more than fits in memory call again;
    /// spans that belong to a trace written before join it, on disk if near in time, else when read.
    ///
    /// # Errors
    /// When a folder or file cannot be written, or a neighboring part cannot be read. Parts are written one after
    /// the other; those finished before an error stay, and writing the same traces again adds only the rest.
    pub fn write(&self, traces: &[Trace]) -> Result<Written, LakeError> {
        self.retrying(|| self.write_once(traces))
    }

    fn write_once(&self, traces: &[Trace]) -> Result<Written, LakeError> {
        let mut written = Written::default();
        if traces.iter().all(|trace| trace.spans.is_empty()) {
            return Ok(written);
        }
        let held = self.held(traces)?;
        let mut days: BTreeMap<Date, Vec<Row<'_>>> = BTreeMap::new();
        for (day, rows) in map_pieces(traces, |traces| new_rows(traces, &held)).into_iter().flatten() {
            written.already_there += rows.there;
            written.added += rows.new.len() as u64;
            days.entry(day).or_default().extend(rows.new);
        }
        days.retain(|_, rows| !rows.is_empty());
        for (day, rows) in days {
            written.parts.push(self.write_part(day, rows)?);
        }
        Ok(written)
    }

    /// Looks up which of the traces are there, and which of their spans, in the days around them.
    fn held(&self, traces: &[Trace]) -> Result<Held, LakeError> {
        let starts = traces.iter().flat_map(|trace| &trace.spans).map(|span| span.start_ns);
        let (first, last) = starts.fold((i64::MAX, i64::MIN), |(low, high), at| (low.min(at), high.max(at)));
        let (first, last) = (shift(date_of_nanos(first), -NEAR_DAYS), shift(date_of_nanos(last), NEAR_DAYS));
        let keys: BTreeSet<i64> = traces.iter().map(|trace| trace_key(&trace.id)).collect();
        let keys = Series::new("keys".into(), keys.into_iter().collect::<Vec<_>>());
        let mut held = Held::default();
        for day in self.days_between(Table::Spans, Some(first), Some(last))? {
            let columns = ["trace_id", "span_id", "digest", "duplicate", "end"].map(col);
            let found = query(&day.parts, |scan| scan.filter(one_of("trace_key", keys.clone())).select(columns))?;
            add_held(&found, day.date, &mut held).map_err(|error| LakeError::unreadable(&day.folder(), &error))?;
        }
        Ok(held)
    }

    fn write_part(&self, day: Date, mut rows: Vec<Row<'_>>) -> Result<PathBuf, LakeError> {
        // Sorted by trace, so that row groups cover narrow ranges of ids and a reader of one trace skips the rest.
        rows.sort_by(|left, right| {
            let (left, right) = (left.span, right.span);
            (&left.trace_id, left.start_ns, &left.span_id).cmp(&(&right.trace_id, right.start_ns, &right.span_id))
        });
        let mut digester = Digester::new();
        for row in &rows {
            add_row(&mut digester, &row.digest, [row.root, row.counted, row.paid, row.duplicate]);
        }
        let bytes: usize = rows.iter().map(|row| row.text.len()).sum();
        let per_group = per_group(bytes, rows.len());
        let mut table = frame(&rows).map_err(|error| LakeError::unwritable(self.root(), error))?;
        drop(rows);
        publish(self, &self.day_folder(Table::Spans, day), &digester.finish(), &mut table, Some(per_group))
    }
}

/// Adds a row to the digest that names its part: what the span says, and what the lake says of it.
pub(crate) fn add_row(digester: &mut Digester, digest: &str, flags: [bool; 4]) {
    digester.add("span", digest.as_bytes());
    digester.add("flags", &flags.map(u8::from));
}

/// Rows of a row group, so that unpacking one takes a bounded number of bytes.
pub(crate) fn per_group(bytes: usize, rows: usize) -> usize {
    (GROUP_BYTES / (bytes / rows.max(1)).max(1)).clamp(64, 1 << 17)
}

/// Writes a part under the name of its content, whole or not at all.
pub(crate) fn publish(
    lake: &Lake,
    folder: &Path,
    name: &Digest,
    table: &mut DataFrame,
    per_group: Option<usize>,
) -> Result<PathBuf, LakeError> {
    let path = folder.join(format!("part-{}.parquet", name.short()));
    files::create_folder(folder).map_err(|error| LakeError::unwritable(lake.root(), &error.cause))?;
    let unwritable = |error: String| LakeError::unwritable(lake.root(), error);
    let file = write_synced(folder, table, per_group).map_err(unwritable)?;
    lake.push(&path, file.path())?;
    file.persist(&path).map_err(|error| unwritable(error.error.to_string()))?;
    Ok(path)
}

/// Writes a frame into a temporary file beside its place and syncs it.
fn write_synced(folder: &Path, table: &mut DataFrame, per_group: Option<usize>) -> Result<NamedTempFile, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let temporary =
        tempfile::Builder::new().prefix(".part-").suffix(".tmp").tempfile_in(folder).map_err(|error| said(&error))?;
    // Texts in the form that every Arrow reads: the writer's own choice is one that pyarrow cannot filter.
    let options = ParquetWriteOptions {
        row_group_size: per_group,
        data_page_size: Some(PAGE_BYTES),
        compat_level: Some(CompatLevel::oldest()),
        ..ParquetWriteOptions::default()
    };
    let path = PlRefPath::try_from_path(temporary.path()).map_err(|error| said(&error))?;
    let target = SinkDestination::File { target: SinkTarget::Path(path) };
    let format = FileWriteFormat::Parquet(Arc::new(options));
    let sink = table.clone().lazy().sink(target, format, UnifiedSinkArgs::default());
    sink.and_then(LazyFrame::collect).map_err(|error| said(&error))?;
    let file: &File = temporary.as_file();
    file.sync_all().map_err(|error| said(&error))?;
    // A temporary file is private; a lake is shared with whoever may read the folder.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(|error| said(&error))?;
    }
    Ok(temporary)
}

fn add_held(found: &DataFrame, date: Date, held: &mut Held) -> Result<(), polars::error::PolarsError> {
    let (ids, spans, digests) =
        (found.column("trace_id")?.str()?, found.column("span_id")?.str()?, found.column("digest")?.str()?);
    let duplicates = found.column("duplicate")?.bool()?;
    let ends = found.column("end")?.cast(&DataType::Int64)?;
    let ends = ends.i64()?;
    for at in 0..found.height() {
        let (Some(id), Some(span), Some(digest)) = (ids.get(at), spans.get(at), digests.get(at)) else { continue };
        let id = TraceId::from(id);
        // Days come in order: the earliest stays.
        held.homes.entry(id.clone()).or_insert(date);
        held.digests.insert(digest.to_owned());
        if duplicates.get(at) == Some(true) {
            held.settled.insert((id, SpanId::from(span)), ends.get(at));
        }
    }
    Ok(())
}

/// Rows of a day.
#[derive(Default)]
struct Rows<'a> {
    new: Vec<Row<'a>>,
    /// How many more are there already.
    there: u64,
}

/// The rows of some traces by the day they go to.
fn new_rows<'a>(traces: &'a [Trace], held: &Held) -> BTreeMap<Date, Rows<'a>> {
    let mut days: BTreeMap<Date, Rows<'a>> = BTreeMap::new();
    for trace in traces {
        let Some(root) = trace.root() else { continue };
        let home = held.homes.get(&trace.id).copied();
        let rows = days.entry(home.unwrap_or_else(|| date_of_nanos(root.start_ns))).or_default();
        for row in rows_of(trace, home.is_some()) {
            if held.has(&row) {
                rows.there += 1;
            } else {
                rows.new.push(row);
            }
        }
    }
    days
}

/// The rows of one trace. In a trace that is there already, only a span without parent can be the root.
fn rows_of(trace: &Trace, known: bool) -> Vec<Row<'_>> {
    let root: Option<&SpanId> =
        trace.root().filter(|root| !known || root.parent_id.is_none()).map(|root| &root.span_id);
    let evaluators = trace.evaluator_spans();
    let (repeating, paid) = (trace.repeating_spans(), trace.paid_spans());
    // Of a trace that comes in pieces no piece tells what was asked.
    let mut input = if known { None } else { input_digest(trace).map(|digest| digest.to_string()) };
    let duplicates: HashSet<&SpanId> = trace
        .faults
        .iter()
        .filter_map(|fault| match fault {
            TraceFault::Duplicate { span } => Some(span),
            _ => None,
        })
        .collect();
    let row = |span| {
        let mut row = Row::new(span);
        row.root = Some(&row.span.span_id) == root;
        row.input_digest = if row.root { input.take() } else { None };
        row.counted = !evaluators.contains(&row.span.span_id) && !repeating.contains(&row.span.span_id);
        row.paid = paid.contains(&row.span.span_id);
        row.duplicate = duplicates.contains(&row.span.span_id);
        row
    };
    trace.spans.iter().map(row).collect()
}
