//! The candidates of a sampling: which traces are looked at, which are left out before anyone is chosen, and why.
//!
//! Reads the lake's narrow columns where the plan needs no more than they hold, else whole traces, once. Either way
//! only the chosen traces are opened afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use anyhow::anyhow;
use serde::Serialize;

use super::gate::{Gate, Looked};
use super::spec::SampleSpec;
use super::{Ask, opinions};
use crate::dataset::{self, Candidate, CandidateReader, Filter, LeftOut, Opinions, Seen, Selector};
use crate::lake::{Lake, NarrowTrace, TraceFilter, narrow_dimension};
use crate::model::{Checkpoint, Digest, Trace, TraceId};
use crate::ops::dimensions::{Asked, Census, why_none, why_nothing_fits};
use crate::ops::exit::{Done, Failed};
use crate::ops::ingest::{IngestReport, read_traces};
use crate::ops::project::{Project, World};
use crate::ops::traces::between;
use crate::sys::text::{one_line, thousands};

/// Most characters of a warning that quotes what was read.
const SAID: usize = 300;

/// A trace that never became a candidate.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOutTrace {
    /// The trace.
    pub trace: TraceId,
    /// Always false: for readers that look at candidates and traces alike.
    pub chosen: bool,
    /// Why.
    pub decision: String,
}

/// Where traces come from.
enum Source {
    Lake(Lake),
    Memory(Vec<Arc<Trace>>),
}

/// What was looked at.
pub struct Pool {
    source: Source,
    /// Keys of the candidates with each of their traces.
    traces: Vec<(String, TraceId)>,
    /// Traces looked at.
    pub looked_at: u64,
    /// Traces that never became candidates, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// The same one by one, where decisions are written.
    pub left_out_traces: Vec<LeftOutTrace>,
    /// What the next version can begin after; absent for files.
    pub checkpoint: Option<Checkpoint>,
    /// What a careful reader should know.
    pub warnings: Vec<String>,
    /// Whether narrow columns were enough.
    pub narrow: bool,
    /// What others said about the traces, where the plan asks for it.
    pub opinions: Opinions,
    /// Names that no trace which was looked at carries.
    pub census: Census,
    /// Begin and end of what was looked at.
    within: TraceFilter,
    filter: Option<Filter>,
}

/// Reads everything that could be chosen into the selector.
pub fn gather(project: &Project, world: &World, ask: &Ask, spec: &SampleSpec, selector: &mut Selector) -> Done<Pool> {
    let (since, until) = between(world, spec.since.as_deref(), spec.until.as_deref())?;
    let within = TraceFilter { since, until, ..TraceFilter::default() };
    let filter = spec.filter.as_deref().map(Filter::parse).transpose().map_err(Failed::usage)?;
    let mut pass = Pass {
        spec,
        census: Census::new(spec.asked(filter.as_ref())),
        filter,
        reader: CandidateReader::new(&spec.design).map_err(Failed::usage)?,
        gate: Gate::new(project, world, ask, spec)?,
        intake: Intake { each: ask.decisions.is_some().then(Vec::new), ..Intake::default() },
        opinions: Opinions::default(),
    };
    let mut warnings = Vec::new();
    let names = pass.narrow_names().filter(|_| ask.from.is_empty());
    let source = if ask.from.is_empty() {
        let lake = project.lake(&world.env)?;
        pass.opinions = opinions(&lake, spec.reads_opinions(&pass.filter))?;
        match &names {
            Some(names) => pass.narrow(&lake, &within, names)?,
            None => {
                for trace in lake.traces(&within).map_err(Failed::instrument)? {
                    pass.whole(&trace.map_err(Failed::instrument)?);
                }
            }
        }
        Source::Lake(lake)
    } else {
        let read = read_traces(project, world, &ask.from)?;
        warnings.extend(warnings_of(&read.report));
        pass.opinions = Opinions::new(read.scores);
        let mut traces = read.traces;
        traces.retain(|trace| within.matches(trace));
        traces.iter().for_each(|trace| pass.whole(trace));
        Source::Memory(traces.into_iter().map(Arc::new).collect())
    };
    let Pass { gate, mut intake, opinions, census, filter, .. } = pass;
    intake.keep_newest(spec.newest);
    let mut traces = Vec::with_capacity(intake.found.len());
    for (_, id, candidate) in intake.found {
        traces.push((candidate.id.clone(), id));
        selector.offer(candidate);
    }
    if gate.abandoned > 0 {
        let count = thousands(gate.abandoned);
        warnings.push(format!("{count} traces have no ended root and nothing came for long: taken as abandoned"));
    }
    Ok(Pool {
        source,
        traces,
        looked_at: intake.looked_at,
        left_out: intake.left_out,
        left_out_traces: intake.each.unwrap_or_default(),
        checkpoint: if ask.from.is_empty() { gate.checkpoint() } else { None },
        warnings,
        narrow: names.is_some(),
        opinions,
        census,
        within,
        filter,
    })
}

/// What a reader of the sample should know of how its files were read.
fn warnings_of(report: &IngestReport) -> Vec<String> {
    let mut warnings: Vec<String> =
        report.unusable.iter().map(|why| format!("left out whole: {}", one_line(why, SAID))).collect();
    if report.rejected > 0 {
        let rows = if report.rejected == 1 {
            "1 row was".to_owned()
        } else {
            format!("{} rows were", thousands(report.rejected))
        };
        let kept = report.rejected_file.as_ref().map(|file| format!("; see {}", file.display())).unwrap_or_default();
        let first = report.rejections.first().map(|first| format!(", the first for {}", one_line(first, SAID)));
        warnings.push(format!("{rows} turned away{}{kept}", first.unwrap_or_default()));
    }
    warnings.extend(report.warnings.iter().map(|warning| one_line(warning.trim_end_matches('.'), SAID)));
    warnings
}

/// One pass over traces, with all that is needed to make candidates of them.
struct Pass<'a> {
    spec: &'a SampleSpec,
    filter: Option<Filter>,
    reader: CandidateReader,
    gate: Gate<'a>,
    intake: Intake,
    opinions: Opinions,
    census: Census,
}

impl Pass<'_> {
    /// Takes a whole trace.
    fn whole(&mut self, trace: &Trace) {
        let Self { spec, filter, reader, gate, intake, opinions, census } = self;
        if filter.as_ref().is_some_and(|filter| !filter.matches(|name| opinions.dimension(trace, name))) {
            return;
        }
        census.see(|name| opinions.dimension(trace, name));
        let start_ns = trace.spans.iter().map(|span| span.start_ns).min().unwrap_or_default();
        let looked = Looked { id: trace.id.clone(), start_ns, activity: trace.activity() };
        let told = gate.judge(&looked, || Some(trace.content_digest()));
        intake.take(looked, told, || spec.traces.candidate(trace, reader, opinions).map_err(|reason| reason.as_str()));
    }

    /// Takes all traces of a lake from its narrow columns.
    fn narrow(&mut self, lake: &Lake, within: &TraceFilter, names: &[String]) -> Done<()> {
        let Self { spec, filter, reader, gate, intake, census, .. } = self;
        let key = spec.traces.key.as_deref();
        let digests = if spec.only_new { digests(lake, &gate.seen)? } else { HashMap::new() };
        let take = |trace: NarrowTrace| {
            let lookup = |name: &str| trace.dimension(name);
            if filter.as_ref().is_some_and(|filter| !filter.matches(lookup)) {
                return;
            }
            census.see(lookup);
            let looked = Looked { id: trace.trace_id.clone(), start_ns: trace.start_ns, activity: trace.activity };
            let told = gate.judge(&looked, || digests.get(&trace.trace_id).cloned());
            intake.take(looked, told, || {
                let id = match key {
                    Some(key) => trace.dimension(key).filter(|key| !key.trim().is_empty()).ok_or(LeftOut::NoKey),
                    None => trace.input_digest.as_ref().map(input_id).ok_or(LeftOut::NoInput),
                };
                Ok(reader.read(id.map_err(|why| why.as_str())?, lookup, || None))
            });
        };
        lake.narrow(within, names, key.is_none(), take).map_err(Failed::instrument)
    }

    /// The dimensions looked at, when narrow columns know all of them.
    fn narrow_names(&self) -> Option<Vec<String>> {
        let mut names = self.spec.design.dimensions();
        names.extend(self.filter.iter().flat_map(Filter::names).map(str::to_owned));
        names.extend(self.spec.traces.key.clone());
        let known = names.iter().all(|name| narrow_dimension(name));
        (known && !self.spec.design.reads_inputs()).then_some(names)
    }
}

/// The key of an example that no dimension names.
fn input_id(input: &Digest) -> String {
    dataset::id_of_input(input).as_str().to_owned()
}

/// What traces of earlier versions say now. They are few, so that opening them costs little.
fn digests(lake: &Lake, seen: &Seen) -> Done<HashMap<TraceId, Digest>> {
    let mut known: Vec<TraceId> = seen.keys().cloned().collect();
    known.sort();
    let mut digests = HashMap::with_capacity(known.len());
    for ids in known.chunks(1_000) {
        let traces = lake.traces_by_id(ids).map_err(Failed::instrument)?;
        digests.extend(traces.into_iter().map(|trace| (trace.id.clone(), trace.content_digest())));
    }
    Ok(digests)
}

/// What was found so far.
#[derive(Default)]
struct Intake {
    found: Vec<(i64, TraceId, Candidate)>,
    left_out: BTreeMap<String, u64>,
    each: Option<Vec<LeftOutTrace>>,
    looked_at: u64,
}

impl Intake {
    fn take(
        &mut self,
        looked: Looked,
        told: Option<&'static str>,
        candidate: impl FnOnce() -> Result<Candidate, &'static str>,
    ) {
        self.looked_at += 1;
        let made = match told {
            Some(why) => Err(why),
            None => candidate(),
        };
        match made {
            Ok(candidate) => self.found.push((looked.start_ns, looked.id, candidate)),
            Err(why) => self.leave(looked.id, why),
        }
    }

    fn leave(&mut self, id: TraceId, why: &str) {
        *self.left_out.entry(why.to_owned()).or_default() += 1;
        if let Some(each) = &mut self.each {
            each.push(LeftOutTrace { trace: id, chosen: false, decision: why.to_owned() });
        }
    }

    fn keep_newest(&mut self, newest: Option<u64>) {
        let Some(newest) = newest.and_then(|newest| usize::try_from(newest).ok()) else { return };
        self.found.sort_by(|left, right| (right.0, &left.1).cmp(&(left.0, &right.1)));
        for (_, id, _) in self.found.split_off(newest.min(self.found.len())) {
            self.leave(id, "older than the newest asked for");
        }
    }
}

impl Pool {
    /// Whether the names that were asked for mean anything. Says what a careful reader should know of those that only
    /// other traces carry, and refuses names that none carries: they would make another dataset than was meant.
    /// `chosen` are traces that were opened since; narrow columns do not know every name.
    pub fn check_names(&mut self, chosen: &[Arc<Trace>]) -> Done<()> {
        let mut census = std::mem::take(&mut self.census);
        for trace in chosen {
            census.see(|name| self.opinions.dimension(trace, name));
        }
        let absent = census.missing.clone();
        let known = match &self.source {
            Source::Memory(traces) => {
                census.search(traces.iter().map(|trace| Ok(Arc::clone(trace))), &self.opinions)?
            }
            Source::Lake(_) if absent.is_empty() => return Ok(()),
            Source::Lake(lake) => {
                let all = lake.traces(&TraceFilter::default()).map_err(Failed::instrument)?;
                census.search(all.map(|trace| trace.map_err(Failed::instrument)), &self.opinions)?
            }
        };
        let (fatal, idle): (Vec<Asked>, Vec<Asked>) = census.missing.into_iter().partition(|asked| asked.matters);
        if let Some(refusal) = known.refusal(&fatal) {
            return Err(refusal);
        }
        let looked = if chosen.is_empty() { "that fits" } else { "that was chosen" };
        for asked in absent {
            let (name, place) = (one_line(&asked.name, 80), asked.place);
            let whose = if idle.contains(&asked) { "at all" } else { looked };
            self.warnings.push(format!("no trace {whose} carries `{name}`, which {place} names"));
        }
        Ok(())
    }

    /// Why no trace was looked at.
    pub fn why_nothing(&self) -> Done<Failed> {
        let filter = self.filter.as_ref();
        match &self.source {
            Source::Lake(lake) => why_nothing_fits(lake, &self.within, filter, &self.opinions),
            Source::Memory(traces) => {
                let why = why_none(traces.iter().map(|trace| Ok(Arc::clone(trace))), filter, &self.opinions)?;
                Ok(why.unwrap_or_else(|| {
                    let more: String = self.warnings.iter().map(|warning| format!("; {warning}")).collect();
                    Failed::usage(anyhow!("these files hold no trace in the time that was asked for{more}"))
                }))
            }
        }
    }

    /// Opens the traces of some candidates.
    pub fn open<'a>(&self, keys: impl Iterator<Item = &'a String>) -> Done<Vec<Arc<Trace>>> {
        let keys: HashSet<&String> = keys.collect();
        let ids: HashSet<&TraceId> =
            self.traces.iter().filter(|(key, _)| keys.contains(key)).map(|(_, id)| id).collect();
        match &self.source {
            Source::Memory(traces) => Ok(traces.iter().filter(|trace| ids.contains(&trace.id)).cloned().collect()),
            Source::Lake(lake) => {
                let mut ids: Vec<TraceId> = ids.into_iter().cloned().collect();
                ids.sort();
                let traces = lake.traces_by_id(&ids).map_err(Failed::instrument)?;
                Ok(traces.into_iter().map(Arc::new).collect())
            }
        }
    }

    /// Traces of candidates that were not chosen.
    pub fn not_chosen(&self, opened: usize) -> u64 {
        self.traces.len().saturating_sub(opened) as u64
    }
}
