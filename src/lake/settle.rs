//! What one part alone cannot tell: which version of a span counts, which span is the root, what lies below an
//! evaluator.
//!
//! A trace that was written at once is whole in its part, and its marks are right. One that was written in pieces, or
//! lost a piece, is *open*: its marks are reckoned again here, from narrow columns, by the rules of the model. Whole
//! spans are read only where versions of a span cannot be told apart otherwise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use polars::error::PolarsError;
use polars::prelude::{DataFrame, DataType, Expr, IntoColumn, NamedFrom, PolarsResult, Series, col, lit};

use crate::model::{Span, SpanId, SpanKind, Trace, TraceId, assemble};

use super::LakeError;
use super::parts::{Day, one_of, query};

/// What the lake says of a row beside what its span says.
pub(super) const MARKS: &[&str] = &["root", "counted", "paid", "duplicate"];

/// The open traces of some days, settled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settled {
    /// Keys of open traces.
    pub(crate) keys: HashSet<i64>,
    /// The rows of open traces that count.
    pub(crate) rows: Vec<Kept>,
}

/// A row that counts, with its true marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) part: String,
    pub(crate) digest: String,
    pub(crate) root: bool,
    pub(crate) counted: bool,
    pub(crate) paid: bool,
    pub(crate) duplicate: bool,
}

/// One row of an open trace.
#[derive(Clone, Debug)]
struct Piece {
    span: Span,
    part: String,
    digest: String,
    duplicate: bool,
}

impl Settled {
    /// Settles the open traces of all these days.
    pub(crate) fn of(days: &[Day]) -> Result<Self, LakeError> {
        let parts: Vec<PathBuf> = days.iter().flat_map(|day| day.parts.iter().cloned()).collect();
        if parts.is_empty() {
            return Ok(Self::default());
        }
        let keys = open_traces(&parts)?;
        if keys.is_empty() {
            return Ok(Self::default());
        }
        let unreadable =
            |error: PolarsError| LakeError::unreadable(parts.first().map_or("?".as_ref(), |part| part), &error);
        let wanted = Series::new("keys".into(), keys.iter().copied().collect::<Vec<i64>>());
        let columns = [
            "trace_id",
            "span_id",
            "parent_id",
            "kind",
            "start",
            "end",
            "input_tokens",
            "output_tokens",
            "cost_usd",
            "digest",
            "duplicate",
            "part",
        ];
        let table = query(&parts, |scan| scan.filter(one_of("trace_key", wanted)).select(columns.map(col)))?;
        let pieces = pieces(&table).map_err(unreadable)?;
        let mut traces: BTreeMap<TraceId, BTreeMap<SpanId, Vec<Piece>>> = BTreeMap::new();
        for piece in pieces {
            let spans = traces.entry(piece.span.trace_id.clone()).or_default();
            spans.entry(piece.span.span_id.clone()).or_default().push(piece);
        }
        let mut rows = Vec::new();
        let mut tied = HashMap::new();
        let ties = traces.iter().flat_map(|(trace, spans)| spans.values().map(move |versions| (trace, versions)));
        let ties: HashSet<&TraceId> = ties.filter(|(_, versions)| is_tied(versions)).map(|(trace, _)| trace).collect();
        if !ties.is_empty() {
            tied = whole(&parts, &ties)?;
        }
        for (trace, spans) in traces {
            let chosen = spans.into_values().filter_map(|versions| choose(versions, &tied)).collect();
            rows.extend(marks(trace, chosen));
        }
        Ok(Self { keys, rows })
    }

    /// The keys as a column to look in.
    pub(crate) fn series(&self) -> Series {
        Series::new("keys".into(), self.keys.iter().copied().collect::<Vec<i64>>())
    }

    /// The rows as a table to join with.
    pub(crate) fn frame(&self) -> PolarsResult<DataFrame> {
        let flag = |name: &str, read: fn(&Kept) -> bool| {
            Series::new(name.into(), self.rows.iter().map(read).collect::<Vec<bool>>()).into_column()
        };
        let parts: Vec<&str> = self.rows.iter().map(|row| row.part.as_str()).collect();
        let digests: Vec<&str> = self.rows.iter().map(|row| row.digest.as_str()).collect();
        let columns = vec![
            Series::new("part".into(), parts).into_column(),
            Series::new("digest".into(), digests).into_column(),
            flag("root", |row| row.root),
            flag("counted", |row| row.counted),
            flag("paid", |row| row.paid),
            flag("duplicate", |row| row.duplicate),
        ];
        DataFrame::new(self.rows.len(), columns)
    }
}

/// Keys of the traces that lie in several parts, have not exactly one root, or were written before all marks were.
/// Narrow columns of every row of the lake are read for it: rows of a trace stand together in a part, and a key is
/// looked up once for all of them.
fn open_traces(parts: &[PathBuf]) -> Result<HashSet<i64>, LakeError> {
    let mut met: HashMap<i64, Met> = HashMap::new();
    for (at, part) in parts.iter().enumerate() {
        let table = query(std::slice::from_ref(part), |scan| {
            scan.select([col("trace_key"), col("root"), unmarked().alias("unmarked")])
        })?;
        meet(&table, at, &mut met).map_err(|error| LakeError::unreadable(part, &error))?;
    }
    Ok(met.into_iter().filter(|(_, met)| met.open || met.roots != 1).map(|(key, _)| key).collect())
}

/// What was met of a trace.
struct Met {
    /// The first part it lies in.
    part: usize,
    /// Whether it lies in several, or a row of it lacks a mark.
    open: bool,
    roots: u64,
}

/// Rows of one trace that stand together.
struct Stretch {
    key: i64,
    roots: u64,
    unmarked: bool,
}

fn meet(table: &DataFrame, part: usize, met: &mut HashMap<i64, Met>) -> PolarsResult<()> {
    let (keys, roots) = (table.column("trace_key")?.i64()?, table.column("root")?.bool()?);
    let unmarked = table.column("unmarked")?.bool()?;
    let mut add = |stretch: Stretch| {
        let met = met.entry(stretch.key).or_insert(Met { part, open: false, roots: 0 });
        met.open |= met.part != part || stretch.unmarked;
        met.roots += stretch.roots;
    };
    let mut last: Option<Stretch> = None;
    for ((key, root), unmarked) in keys.iter().zip(roots.iter()).zip(unmarked.iter()) {
        let Some(key) = key else { continue };
        let (root, unmarked) = (u64::from(root == Some(true)), unmarked != Some(false));
        match &mut last {
            Some(same) if same.key == key => {
                same.roots += root;
                same.unmarked |= unmarked;
            }
            other => other.replace(Stretch { key, roots: root, unmarked }).into_iter().for_each(&mut add),
        }
    }
    last.into_iter().for_each(add);
    Ok(())
}

/// Whether a row was written before all marks were there.
pub(super) fn unmarked() -> Expr {
    MARKS.iter().map(|mark| col(*mark).is_null()).reduce(Expr::or).unwrap_or_else(|| lit(false))
}

fn pieces(table: &DataFrame) -> PolarsResult<Vec<Piece>> {
    let text = |name: &str| table.column(name).and_then(|column| column.str());
    let (traces, spans, parents, kinds) = (text("trace_id")?, text("span_id")?, text("parent_id")?, text("kind")?);
    let (digests, parts) = (text("digest")?, text("part")?);
    let (costs, duplicates) = (table.column("cost_usd")?.f64()?, table.column("duplicate")?.bool()?);
    let tokens = (table.column("input_tokens")?.i64()?, table.column("output_tokens")?.i64()?);
    let (starts, ends) = (table.column("start")?.cast(&DataType::Int64)?, table.column("end")?.cast(&DataType::Int64)?);
    let (starts, ends) = (starts.i64()?, ends.i64()?);
    let piece = |at: usize| {
        // Only what the rules for roots, tokens and money look at; the name is never shown.
        let known = [SpanKind::Evaluator, SpanKind::Model, SpanKind::Tool];
        let kind = known.into_iter().find(|kind| kinds.get(at) == Some(kind.as_str())).unwrap_or(SpanKind::Step);
        let (trace, id) = (TraceId::from(traces.get(at)?), SpanId::from(spans.get(at)?));
        let mut span = Span::new(trace, id, kind, "", starts.get(at)?);
        span.parent_id = parents.get(at).map(SpanId::from);
        span.end_ns = ends.get(at);
        span.usage.input = tokens.0.get(at).and_then(|count| u64::try_from(count).ok());
        span.usage.output = tokens.1.get(at).and_then(|count| u64::try_from(count).ok());
        span.cost_usd = costs.get(at);
        let digest = digests.get(at)?.to_owned();
        Some(Piece { span, part: parts.get(at)?.to_owned(), digest, duplicate: duplicates.get(at) == Some(true) })
    };
    Ok((0..table.height()).filter_map(piece).collect())
}

/// Whether versions differ, so that only whole spans can say which one counts.
fn is_tied(versions: &[Piece]) -> bool {
    let mut versions = versions.iter();
    let Some(first) = versions.next() else { return false };
    let mut others = versions;
    others.any(|other| other.digest != first.digest || other.span.cost_usd != first.span.cost_usd)
}

/// Whole spans of the traces with ties, by the row they stand in.
fn whole(parts: &[PathBuf], traces: &HashSet<&TraceId>) -> Result<HashMap<(String, String), Span>, LakeError> {
    let keys: Vec<i64> = traces.iter().map(|id| super::columns::trace_key(id)).collect();
    let keys = Series::new("keys".into(), keys);
    let table =
        query(parts, |scan| scan.filter(one_of("trace_key", keys)).select([col("part"), col("digest"), col("span")]))?;
    let read = || -> PolarsResult<HashMap<(String, String), Span>> {
        let text = |name: &str| table.column(name).and_then(|column| column.str());
        let (parts, digests, texts) = (text("part")?, text("digest")?, text("span")?);
        let row = |at: usize| {
            let span: Span = serde_json::from_str(texts.get(at)?).ok()?;
            Some(((parts.get(at)?.to_owned(), digests.get(at)?.to_owned()), span))
        };
        Ok((0..table.height()).filter_map(row).collect())
    };
    read().map_err(|error| LakeError::unreadable(parts.first().map_or("?".as_ref(), |part| part), &error))
}

/// The version that assembling would keep, by the same rule.
fn choose(versions: Vec<Piece>, whole: &HashMap<(String, String), Span>) -> Option<Piece> {
    let mut duplicate = versions.iter().any(|piece| piece.duplicate);
    // Of equal rows in several parts, the first stands for all.
    let mut chosen = Some(0);
    if is_tied(&versions) {
        let span = |piece: &Piece| whole.get(&(piece.part.clone(), piece.digest.clone())).cloned();
        let traces = assemble(versions.iter().filter_map(span)).traces;
        let kept = traces.first().and_then(|trace| trace.spans.first());
        duplicate |= traces.first().is_some_and(|trace| {
            trace.faults.iter().any(|fault| matches!(fault, crate::model::TraceFault::Duplicate { .. }))
        });
        chosen = versions.iter().position(|piece| {
            span(piece).zip(kept).is_some_and(|(span, kept)| Span { source: kept.source.clone(), ..span } == *kept)
        });
    }
    let chosen = versions.into_iter().nth(chosen.unwrap_or(0))?;
    Some(Piece { duplicate, ..chosen })
}

/// The marks of a whole trace's rows, by the rules of the model.
fn marks(id: TraceId, mut pieces: Vec<Piece>) -> Vec<Kept> {
    pieces.sort_by(|left, right| {
        (left.span.start_ns, &left.span.span_id).cmp(&(right.span.start_ns, &right.span.span_id))
    });
    let spans = pieces.iter().map(|piece| piece.span.clone()).collect();
    let trace = Trace { id, session_id: None, spans, faults: Vec::new() };
    let root = trace.root().map(|root| root.span_id.clone());
    let (evaluators, repeating, paid) = (trace.evaluator_spans(), trace.repeating_spans(), trace.paid_spans());
    let kept = |piece: Piece| Kept {
        root: Some(&piece.span.span_id) == root.as_ref(),
        counted: !evaluators.contains(&piece.span.span_id) && !repeating.contains(&piece.span.span_id),
        paid: paid.contains(&piece.span.span_id),
        part: piece.part,
        digest: piece.digest,
        duplicate: piece.duplicate,
    };
    pieces.into_iter().map(kept).collect()
}
