//! `assize ingest`: traces from files, folders or stdin into the lake. One bad row never costs the good ones.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::exit::{Done, Failed};
use super::project::{Project, World};
use crate::ingest::{Assembler, FileSummary, LogEvent, ReadOptions, Rejected, Sink, SinkError, read_file, read_stream};
use crate::lake::Lake;
use crate::model::{Span, Trace, TraceFault};
use crate::sys::files;

/// Bytes of spans held before they are written; the bound of memory.
const WRITE_AT: usize = 128 << 20;
/// How many rejected rows are told on the terminal; all are kept in the file.
const TOLD: usize = 10;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Files, folders, `-`.
    pub sources: Vec<String>,
    /// Format, when not by content.
    pub format: Option<String>,
    /// Where rejected rows are kept; beside the lake when absent.
    pub rejected: Option<PathBuf>,
}

/// What an ingest did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IngestReport {
    /// What each file gave.
    pub files: Vec<FileSummary>,
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
}

/// Takes what the sources give.
struct Taker<'a> {
    assembler: Assembler,
    report: &'a mut IngestReport,
    rejected_to: PathBuf,
    lake: Option<&'a Lake>,
    kept: Vec<Trace>,
}

impl Taker<'_> {
    fn flush(&mut self) -> Result<(), SinkError> {
        let gathered = self.assembler.drain();
        self.report.traces += gathered.traces.len() as u64;
        self.report.duplicates += gathered.duplicates;
        for rejected in gathered.rejected {
            self.rejected(rejected)?;
        }
        for trace in &gathered.traces {
            count_trace(self.report, trace);
        }
        match self.lake {
            Some(lake) => {
                let written = lake.write(&gathered.traces)?;
                self.report.added += written.added;
                self.report.already_there += written.already_there;
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
    let unpriced = trace.spans.iter().filter(|span| {
        span.kind == crate::model::SpanKind::Model && !span.usage.is_unknown() && span.cost_usd.is_none()
    });
    report.unpriced_calls += unpriced.count() as u64;
}

/// Reads sources into the lake. When nothing at all could be used, that is an error; else what was bad is reported.
pub fn ingest(project: &Project, world: &World, ask: Ask) -> Done<IngestReport> {
    let lake = Lake::new(project.path(&project.config.lake));
    read(project, world, &ask, Some(&lake)).map(|(report, _)| report)
}

/// Reads sources into memory, for sampling from files.
pub fn read_traces(project: &Project, world: &World, sources: &[String]) -> Done<(IngestReport, Vec<Trace>)> {
    let ask = Ask { sources: sources.to_vec(), ..Ask::default() };
    read(project, world, &ask, None)
}

fn read(project: &Project, world: &World, ask: &Ask, lake: Option<&Lake>) -> Done<(IngestReport, Vec<Trace>)> {
    let sources = expand(world, &ask.sources)?;
    let prices = &project.config.prices;
    let price = |span: &Span| {
        let model = span.model.as_ref()?;
        [&model.response, &model.request].into_iter().flatten().find_map(|name| prices.cost(name, &span.usage))
    };
    let options = ReadOptions { price: Some(&price), ..ReadOptions::default() };
    let rejected_to = match &ask.rejected {
        Some(path) => world.here.join(path),
        None => project.path(&project.config.lake).join("rejected.jsonl"),
    };
    let mut report = IngestReport::default();
    let mut taker = Taker { assembler: Assembler::new(), report: &mut report, rejected_to, lake, kept: Vec::new() };
    let mut first_error = None;
    for source in &sources {
        let format = ask.format.as_deref();
        let summary = match source {
            Source::Stdin => read_stream("-", Box::new(BufReader::new(std::io::stdin())), format, &options, &mut taker),
            Source::File(path) => read_file(path, format, &options, &mut taker),
        };
        match summary {
            Ok(summary) => taker.report.files.push(summary),
            Err(error @ crate::ingest::IngestError::Sink { .. }) => return Err(Failed::instrument(error)),
            Err(error) => {
                taker.report.unusable.push(error.to_string());
                first_error = first_error.or(Some(error));
            }
        }
    }
    taker.flush().map_err(|error| Failed::instrument(anyhow!("{error}")))?;
    let kept = taker.kept;
    match first_error {
        Some(error) if report.files.is_empty() => Err(Failed::usage(error)),
        _ => Ok((report, kept)),
    }
}

enum Source {
    Stdin,
    File(PathBuf),
}

/// Files of all sources; folders are read recursively, hidden files left out.
fn expand(world: &World, sources: &[String]) -> Done<Vec<Source>> {
    let mut expanded = Vec::new();
    for source in sources {
        if source == "-" {
            expanded.push(Source::Stdin);
            continue;
        }
        let path = world.here.join(source);
        if path.is_dir() {
            let mut found = Vec::new();
            walk(&path, &mut found)?;
            if found.is_empty() {
                return Err(Failed::usage(anyhow!("folder `{}` holds no file", path.display())));
            }
            expanded.extend(found.into_iter().map(Source::File));
        } else {
            expanded.push(Source::File(path));
        }
    }
    Ok(expanded)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Done<()> {
    for path in files::list_folder(folder).map_err(Failed::usage)? {
        let hidden = path.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
