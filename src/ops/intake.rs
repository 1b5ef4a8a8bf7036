//! Taking in what sources read: assembling, writing to the lake in bounded pieces, counting, keeping what was turned
//! away. Shared by everything that brings traces in: files, platforms, the receiver.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::project::Project;
use super::writing::{Outcome, Piece, Told, Writing, fault_name};
use crate::ingest::api::PullSummary;
use crate::ingest::{Assembler, FileSummary, LogEvent, Rejected, Sink, SinkError, join_late};
use crate::lake::Lake;
use crate::model::{Redactions, Span, Trace, TraceId, TraceScore, assemble};
use crate::sys::files;

/// Bytes of spans held before they are written. As much is being written meanwhile, in several forms: the bound of
/// memory is some eight times this.
const WRITE_AT: usize = 64 << 20;
/// Longest time before they are written: what an interruption costs.
const WRITE_AFTER: Duration = Duration::from_secs(10);
/// Spans between two looks at the clock.
const CLOCK_AT: u64 = 512;
/// Traces that are read again at a time.
const CUT_AT_A_TIME: usize = 500;
/// Scores held before they are written.
const SCORES_AT: usize = 200_000;
/// Bytes of rejected rows held before they are written.
const REJECTED_AT: usize = 64 << 10;
/// How many rejected rows are told on the terminal; all are kept in the file.
const TOLD: usize = 10;
/// Senders told apart.
const SENDERS: usize = 100;
/// Models told apart; their names are foreign.
const MODELS_TOLD: usize = 100;

/// What an ingest did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IngestReport {
    /// What each file gave.
    pub files: Vec<FileSummary>,
    /// What was pulled from platforms.
    pub pulls: Vec<PullSummary>,
    /// Files that could not be used at all, with the reason.
    pub unusable: Vec<String>,
    /// Traces met.
    pub traces: u64,
    /// Spans met.
    pub spans: u64,
    /// Spans new to the lake.
    pub added: u64,
    /// Spans the lake had already.
    pub already_there: u64,
    /// Spans met twice in these files.
    pub duplicates: u64,
    /// Log records that name a span which is neither among these nor in the lake, so what they say is in no trace.
    pub unjoined: u64,
    /// Log records that joined spans the lake held already.
    #[serde(skip_serializing_if = "is_zero")]
    pub joined_late: u64,
    /// Scores met that someone else gave.
    pub scores: u64,
    /// Scores new to the lake.
    pub scores_added: u64,
    /// Scores the lake had already.
    pub scores_already_there: u64,
    /// Files of no known format that stood in a folder; they were left alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<String>,
    /// Files that break off: what came before is in the lake.
    pub cut_off: u64,
    /// Whether it was interrupted: what was read so far is in the lake.
    pub interrupted: bool,
    /// Rows turned away.
    pub rejected: u64,
    /// The first of them, in words.
    pub rejections: Vec<String>,
    /// Where all of them are kept.
    pub rejected_file: Option<PathBuf>,
    /// Faults of structure, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Model calls without a known price.
    pub unpriced_calls: u64,
    /// Those calls by the name of their model.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unpriced_models: BTreeMap<String, u64>,
    /// What was taken out before anything was written, by rule and by field.
    #[serde(skip_serializing_if = "Redactions::is_empty")]
    pub redacted: Redactions,
    /// What the user should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Whether nothing is to be told.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl IngestReport {
    /// Adds what one request of a sender gave; all of a sender count as one file.
    pub(super) fn add_request(&mut self, summary: &FileSummary) {
        self.redacted.merge(&summary.redacted);
        let others = self.files.len() >= SENDERS;
        let name = if others { "otlp://others" } else { summary.file.as_str() };
        let at = self.files.iter().position(|file| file.file == summary.file || file.file == name);
        match at.and_then(|at| self.files.get_mut(at)) {
            Some(known) => known.add(summary.clone()),
            None => self.files.push(FileSummary { file: name.to_owned(), ..summary.clone() }),
        }
    }

    /// Adds what one file gave.
    pub(super) fn add_file(&mut self, summary: FileSummary) {
        self.redacted.merge(&summary.redacted);
        self.files.push(summary);
    }
}

impl IngestReport {
    /// Adds the counts of another report.
    pub(super) fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.unusable.extend(other.unusable);
        self.traces += other.traces;
        self.spans += other.spans;
        self.added += other.added;
        self.already_there += other.already_there;
        self.duplicates += other.duplicates;
        self.unjoined += other.unjoined;
        self.joined_late += other.joined_late;
        self.pulls.extend(other.pulls);
        self.scores += other.scores;
        self.scores_added += other.scores_added;
        self.scores_already_there += other.scores_already_there;
        self.left_alone.extend(other.left_alone);
        self.cut_off += other.cut_off;
        self.interrupted |= other.interrupted;
        self.rejected += other.rejected;
        let room = TOLD.saturating_sub(self.rejections.len());
        self.rejections.extend(other.rejections.into_iter().take(room));
        self.rejected_file = self.rejected_file.take().or(other.rejected_file);
        for (to, from) in [(&mut self.faults, other.faults), (&mut self.unpriced_models, other.unpriced_models)] {
            for (name, count) in from {
                *to.entry(name).or_default() += count;
            }
        }
        self.unpriced_calls += other.unpriced_calls;
        self.redacted.merge(&other.redacted);
        self.warnings.extend(other.warnings);
    }
}

/// Tells a reading that it is to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks it to stop.
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    pub(super) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Traces by what is told of them. A large export is written in pieces, and a trace may be cut by their bounds: it is
/// one trace, and its faults are those of the whole.
#[derive(Default)]
struct Met {
    /// Hashes of the ids.
    traces: HashSet<u64>,
    faults: HashMap<u64, Vec<&'static str>>,
    cut: BTreeSet<TraceId>,
}

/// Takes what the sources give.
pub(super) struct Taker<'a> {
    assembler: Assembler,
    met: Met,
    written: Instant,
    stop: Stop,
    pub(super) report: IngestReport,
    rejected: RejectedFile,
    lake: Option<&'a Lake>,
    writing: Writing,
    /// The traces, where there is no lake to write them to.
    pub(super) kept: Vec<Trace>,
    /// The scores that are not written yet; all of them where there is no lake.
    pub(super) scores: Vec<TraceScore>,
}

impl<'a> Taker<'a> {
    /// An empty one. Rejected rows go to the file, traces to the lake where there is one, else they are kept.
    pub(super) fn new(rejected_to: PathBuf, lake: Option<&'a Lake>) -> Self {
        let report = IngestReport::default();
        let (assembler, met, stop, written) = (Assembler::new(), Met::default(), Stop::default(), Instant::now());
        let rejected = RejectedFile { path: rejected_to, lines: String::new() };
        let writing = Writing::default();
        Self { assembler, met, written, stop, report, rejected, lake, writing, kept: Vec::new(), scores: Vec::new() }
    }

    /// What stops the reading: the next span is refused then.
    pub(super) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Takes out the log records whose span was not met.
    pub(super) fn waiting(&mut self) -> Vec<LogEvent> {
        self.assembler.waiting()
    }

    /// Writes what is held; it is on disk afterwards.
    pub(super) fn flush(&mut self) -> Result<(), SinkError> {
        self.hand_over()?;
        self.wait()?;
        self.rejected.write()
    }

    /// Begins to write what is held, once what was begun before is written.
    fn hand_over(&mut self) -> Result<(), SinkError> {
        self.wait()?;
        self.written = Instant::now();
        let taken = self.assembler.take();
        // They wait over pieces: the last count is the one that holds.
        self.report.unjoined = taken.unjoined;
        for rejected in taken.rejected {
            self.rejected(rejected)?;
        }
        match self.lake {
            Some(lake) => {
                self.writing.begin(lake, Piece { spans: taken.spans, scores: std::mem::take(&mut self.scores) });
            }
            None => {
                let assembled = assemble(taken.spans);
                let traces = assembled.traces.iter().map(Told::of).collect();
                self.count(Outcome { traces, duplicates: assembled.duplicates, ..Outcome::default() });
                self.kept.extend(assembled.traces);
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), SinkError> {
        if let Some(outcome) = self.writing.wait()? {
            self.count(outcome);
        }
        Ok(())
    }

    /// Joins log records to spans that the lake holds already; gives back those whose span is not there.
    pub(super) fn join_late(&mut self, events: Vec<LogEvent>) -> Result<Vec<LogEvent>, SinkError> {
        let Some(lake) = self.lake.filter(|_| !events.is_empty()) else { return Ok(events) };
        let mut by_trace: BTreeMap<TraceId, Vec<LogEvent>> = BTreeMap::new();
        for event in events {
            by_trace.entry(event.trace_id.clone()).or_default().push(event);
        }
        let ids: Vec<TraceId> = by_trace.keys().cloned().collect();
        let mut waiting = Vec::new();
        for ids in ids.chunks(CUT_AT_A_TIME) {
            let times = || ids.iter().filter_map(|id| by_trace.get(id)).flatten().map(|event| event.event.time_ns);
            let near = times().collect::<Option<BTreeSet<i64>>>();
            let mut traces = match near.as_ref().and_then(|near| near.first().copied().zip(near.last().copied())) {
                Some(near) => lake.traces_near(ids, near)?,
                None => lake.traces_by_id(ids)?,
            };
            traces.retain_mut(|trace| {
                let (left, joined) = join_late(trace, by_trace.remove(&trace.id).unwrap_or_default());
                waiting.extend(left);
                self.report.joined_late += joined as u64;
                joined > 0
            });
            lake.write(&traces)?;
        }
        waiting.extend(by_trace.into_values().flatten());
        Ok(waiting)
    }

    /// Writes what is held, and counts the faults of traces that were written in pieces.
    pub(super) fn end(&mut self) -> Result<(), SinkError> {
        self.flush()?;
        let waiting = self.waiting();
        self.report.unjoined = self.join_late(waiting)?.len() as u64;
        let cut: Vec<TraceId> = std::mem::take(&mut self.met.cut).into_iter().collect();
        for ids in cut.chunks(CUT_AT_A_TIME) {
            let whole = self.lake.map(|lake| lake.traces_by_id(ids)).transpose()?.unwrap_or_default();
            for fault in whole.iter().flat_map(|trace| &trace.faults) {
                *self.report.faults.entry(fault_name(fault).to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    fn count(&mut self, outcome: Outcome) {
        self.report.duplicates += outcome.duplicates;
        self.report.added += outcome.spans.added;
        self.report.already_there += outcome.spans.already_there;
        self.report.scores_added += outcome.scores.added;
        self.report.scores_already_there += outcome.scores.already_there;
        for told in outcome.traces {
            self.count_trace(told);
        }
    }

    fn count_trace(&mut self, told: Told) {
        let mut hasher = DefaultHasher::new();
        told.id.hash(&mut hasher);
        let key = hasher.finish();
        count_prices(&mut self.report, told.unpriced);
        if !self.met.traces.insert(key) {
            for fault in self.met.faults.remove(&key).into_iter().flatten() {
                if let Some(count) = self.report.faults.get_mut(fault) {
                    *count = count.saturating_sub(1);
                }
            }
            self.report.faults.retain(|_, count| *count > 0);
            self.met.cut.insert(told.id);
            return;
        }
        self.report.traces += 1;
        for fault in &told.faults {
            *self.report.faults.entry((*fault).to_owned()).or_default() += 1;
        }
        if !told.faults.is_empty() {
            self.met.faults.insert(key, told.faults);
        }
    }
}

/// The file of the rows that were turned away. A file may hold millions of bad rows: they are not synced one by one.
struct RejectedFile {
    path: PathBuf,
    /// Those that are not written yet.
    lines: String,
}

impl RejectedFile {
    fn add(&mut self, rejected: &Rejected) -> Result<(), SinkError> {
        if !self.lines.is_empty() {
            self.lines.push('\n');
        }
        self.lines.push_str(&serde_json::to_string(rejected)?);
        if self.lines.len() > REJECTED_AT { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() { Ok(()) } else { Ok(files::append_line(&self.path, &lines)?) }
    }
}

/// A reading that fails tells no more than its error, but what it turned away is kept.
impl Drop for RejectedFile {
    fn drop(&mut self) {
        let _ = self.write();
    }
}

impl Sink for Taker<'_> {
    fn span(&mut self, span: Span) -> Result<(), SinkError> {
        if self.stop.asked() {
            return Err("interrupted".into());
        }
        self.report.spans += 1;
        self.assembler.add(span);
        let late = self.report.spans.is_multiple_of(CLOCK_AT) && self.written.elapsed() > WRITE_AFTER;
        if self.lake.is_some() && (late || self.assembler.weight() > WRITE_AT) { self.hand_over() } else { Ok(()) }
    }

    fn log_event(&mut self, event: LogEvent) -> Result<(), SinkError> {
        self.assembler.add_event(event);
        Ok(())
    }

    fn score(&mut self, score: TraceScore) -> Result<(), SinkError> {
        self.report.scores += 1;
        self.scores.push(score);
        if self.lake.is_some() && self.scores.len() > SCORES_AT { self.hand_over() } else { Ok(()) }
    }

    fn keep(&mut self) -> Result<(), SinkError> {
        // Without a lake nothing is durable: what came is kept in memory to the end.
        if self.lake.is_some() { self.flush() } else { Ok(()) }
    }

    fn rejected(&mut self, rejected: Rejected) -> Result<(), SinkError> {
        self.report.rejected += 1;
        self.report.cut_off += u64::from(rejected.is_cut());
        if self.report.rejections.len() < TOLD {
            self.report.rejections.push(rejected.to_string());
        }
        if self.report.rejected_file.is_none() {
            self.report.rejected_file = Some(self.rejected.path.clone());
        }
        self.rejected.add(&rejected)
    }
}

fn count_prices(report: &mut IngestReport, unpriced: Vec<String>) {
    for model in unpriced {
        report.unpriced_calls += 1;
        let told = report.unpriced_models.len() < MODELS_TOLD || report.unpriced_models.contains_key(&model);
        let name = if told { model } else { "other models".to_owned() };
        *report.unpriced_models.entry(name).or_default() += 1;
    }
}

/// Where rejected rows are kept when nothing else is said.
pub(super) fn rejected_file(project: &Project) -> PathBuf {
    project.state_folder().join("rejected.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SpanId, SpanKind, TraceId};

    fn span(trace: &str, id: &str, parent: Option<&str>) -> Span {
        let mut span = Span::new(TraceId::from(trace), SpanId::from(id), SpanKind::Step, id, 1_795_248_000_000_000_000);
        span.parent_id = parent.map(SpanId::from);
        span
    }

    #[test]
    fn a_trace_cut_by_pieces_is_one_and_has_the_faults_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::new(folder.path());
        let mut taker = Taker::new(folder.path().join("rejected.jsonl"), Some(&lake));
        taker.span(span("a", "child", Some("root"))).unwrap();
        taker.span(span("b", "child", Some("gone"))).unwrap();
        taker.flush().unwrap();
        assert_eq!((taker.report.traces, taker.report.faults["missing parent"]), (2, 2));
        taker.span(span("a", "root", None)).unwrap();
        taker.span(span("b", "other", Some("child"))).unwrap();
        taker.end().unwrap();
        let report = taker.report;
        assert_eq!((report.traces, report.spans, report.added), (2, 4, 4));
        assert_eq!(report.faults.into_iter().collect::<Vec<_>>(), [("missing parent".to_owned(), 1)]);
    }

    fn bad(line: u64) -> Rejected {
        Rejected {
            file: "f".to_owned(),
            line: Some(line),
            field: "record".to_owned(),
            found: "x".repeat(500),
            expected: "y".to_owned(),
            excerpt: String::new(),
        }
    }

    #[test]
    fn all_rejected_rows_are_in_the_file_however_the_reading_ends() {
        let folder = tempfile::tempdir().unwrap();
        for (name, ends) in [("ended", true), ("broken", false)] {
            let path = folder.path().join(name);
            let mut taker = Taker::new(path.clone(), None);
            (0..1_000).for_each(|line| taker.rejected(bad(line)).unwrap());
            assert!(std::fs::metadata(&path).unwrap().len() > 100_000, "not all are held in memory");
            if ends {
                taker.end().unwrap();
            }
            assert_eq!(taker.report.rejected_file.as_ref(), Some(&path));
            let report = std::mem::take(&mut taker.report);
            drop(taker);
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<Rejected> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!((report.rejected, lines.len()), (1_000, 1_000));
            assert!(lines.iter().zip(0..).all(|(row, line)| row.line == Some(line)));
        }
    }

    #[test]
    fn a_reading_that_is_asked_to_stop_refuses_the_next_span() {
        let mut taker = Taker::new(PathBuf::from("unused"), None);
        taker.span(span("a", "1", None)).unwrap();
        taker.stop().ask();
        assert!(taker.span(span("a", "2", None)).is_err());
        taker.end().unwrap();
        assert_eq!(taker.kept.len(), 1);
    }
}
