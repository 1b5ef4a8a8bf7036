//! Taking in what sources read: assembling, writing to the lake in bounded pieces, counting, keeping what was turned
//! away. Shared by everything that brings traces in: files, platforms, the receiver.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::pricing;
use super::project::Project;
use crate::ingest::api::PullSummary;
use crate::ingest::{Assembler, FileSummary, LogEvent, Rejected, Sink, SinkError};
use crate::lake::Lake;
use crate::model::{Redactions, Span, SpanKind, Trace, TraceFault, TraceScore};
use crate::sys::{files, text};

/// Bytes of spans held before they are written; the bound of memory.
const WRITE_AT: usize = 128 << 20;
/// Scores held before they are written.
const SCORES_AT: usize = 200_000;
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
    /// Log records that name a span which was not met, so what they say is in no trace.
    pub unjoined: u64,
    /// Scores met that someone else gave.
    pub scores: u64,
    /// Scores new to the lake.
    pub scores_added: u64,
    /// Scores the lake had already.
    pub scores_already_there: u64,
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
        self.pulls.extend(other.pulls);
        self.scores += other.scores;
        self.scores_added += other.scores_added;
        self.scores_already_there += other.scores_already_there;
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

/// Takes what the sources give.
pub(super) struct Taker<'a> {
    assembler: Assembler,
    pub(super) report: IngestReport,
    rejected_to: PathBuf,
    lake: Option<&'a Lake>,
    /// The traces, where there is no lake to write them to.
    pub(super) kept: Vec<Trace>,
    scores: Vec<TraceScore>,
}

impl<'a> Taker<'a> {
    /// An empty one. Rejected rows go to the file, traces to the lake where there is one, else they are kept.
    pub(super) fn new(rejected_to: PathBuf, lake: Option<&'a Lake>) -> Self {
        let report = IngestReport::default();
        Self { assembler: Assembler::new(), report, rejected_to, lake, kept: Vec::new(), scores: Vec::new() }
    }

    /// Takes out the log records whose span was not met.
    pub(super) fn waiting(&mut self) -> Vec<LogEvent> {
        self.assembler.waiting()
    }

    /// Writes what is held.
    pub(super) fn flush(&mut self) -> Result<(), SinkError> {
        let gathered = self.assembler.drain();
        self.report.traces += gathered.traces.len() as u64;
        self.report.duplicates += gathered.duplicates;
        // They wait over flushes: the last count is the one that holds.
        self.report.unjoined = gathered.unjoined;
        for rejected in gathered.rejected {
            self.rejected(rejected)?;
        }
        for trace in &gathered.traces {
            count_trace(&mut self.report, trace);
        }
        match self.lake {
            Some(lake) => {
                let written = lake.write(&gathered.traces)?;
                self.report.added += written.added;
                self.report.already_there += written.already_there;
                let written = lake.write_scores(&std::mem::take(&mut self.scores))?;
                self.report.scores_added += written.added;
                self.report.scores_already_there += written.already_there;
            }
            None => self.kept.extend(gathered.traces),
        }
        Ok(())
    }
}

impl Sink for Taker<'_> {
    fn span(&mut self, span: Span) -> Result<(), SinkError> {
        self.report.spans += 1;
        self.assembler.add(span);
        if self.lake.is_some() && self.assembler.weight() > WRITE_AT { self.flush() } else { Ok(()) }
    }

    fn log_event(&mut self, event: LogEvent) -> Result<(), SinkError> {
        self.assembler.add_event(event);
        Ok(())
    }

    fn score(&mut self, score: TraceScore) -> Result<(), SinkError> {
        self.report.scores += 1;
        self.scores.push(score);
        if self.lake.is_some() && self.scores.len() > SCORES_AT { self.flush() } else { Ok(()) }
    }

    fn keep(&mut self) -> Result<(), SinkError> {
        // Without a lake nothing is durable: what came is kept in memory to the end.
        if self.lake.is_some() { self.flush() } else { Ok(()) }
    }

    fn rejected(&mut self, rejected: Rejected) -> Result<(), SinkError> {
        self.report.rejected += 1;
        if self.report.rejections.len() < TOLD {
            self.report.rejections.push(rejected.to_string());
        }
        files::append_line(&self.rejected_to, &serde_json::to_string(&rejected)?)?;
        self.report.rejected_file = Some(self.rejected_to.clone());
        Ok(())
    }
}

fn count_trace(report: &mut IngestReport, trace: &Trace) {
    for fault in &trace.faults {
        let kind = match fault {
            TraceFault::MissingParent { .. } => "missing parent",
            TraceFault::SeveralRoots { .. } => "several roots",
            TraceFault::Cycle { .. } => "cycle of parents",
            TraceFault::EndBeforeStart { .. } => "end before start",
            TraceFault::Duplicate { .. } => "span id used twice",
        };
        *report.faults.entry(kind.to_owned()).or_default() += 1;
    }
    let unpriced = trace
        .spans
        .iter()
        .filter(|span| span.kind == SpanKind::Model && !span.usage.is_unknown() && span.cost_usd.is_none());
    for span in unpriced {
        report.unpriced_calls += 1;
        let model = text::one_line(&pricing::unpriced_name(span), 80);
        let told = report.unpriced_models.len() < MODELS_TOLD || report.unpriced_models.contains_key(&model);
        let name = if told { model } else { "other models".to_owned() };
        *report.unpriced_models.entry(name).or_default() += 1;
    }
}

/// Where rejected rows are kept when nothing else is said.
pub(super) fn rejected_file(project: &Project) -> PathBuf {
    project.lake_folder().join("rejected.jsonl")
}
