//! The candidates of a sampling: which traces are looked at, which are left out before anyone is chosen, and why.
//!
//! Reads the lake's narrow columns where the plan needs no more than they hold, else whole traces, once. Either way
//! only the chosen traces are opened afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use anyhow::anyhow;
use serde::Serialize;

use super::spec::{SampleSpec, window};
use super::{Ask, Scores};
use crate::dataset::{self, Candidate, CandidateReader, Filter, Seen, Selector, trace_dimension};
use crate::lake::{Lake, TraceFilter, narrow_dimension};
use crate::model::{Activity, Checkpoint, Digest, Finality, FinalityRule, Trace, TraceId};
use crate::ops::exit::{Done, Failed};
use crate::ops::ingest::read_traces;
use crate::ops::project::{Project, World};

/// Most open traces that a checkpoint names; with more, it stands before the first of them.
const MOST_OPEN: usize = 1_000;

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
    /// Traces of each candidate, by key.
    traces: HashMap<String, Vec<TraceId>>,
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
}

/// One trace as the rules here see it.
struct Looked {
    id: TraceId,
    start_ns: i64,
    activity: Activity,
}

/// Everything that decides whether a trace becomes a candidate.
struct Gate<'a> {
    spec: &'a SampleSpec,
    rule: FinalityRule,
    now_ns: i64,
    judges_finality: bool,
    after: Option<Checkpoint>,
    seen: Seen,
    open: Vec<(i64, TraceId)>,
    until_ns: Option<i64>,
    abandoned: u64,
}

impl Gate<'_> {
    /// Why a trace is left out; `digest` is only asked for when it decides.
    fn judge(&mut self, trace: &Looked, digest: impl FnOnce() -> Option<Digest>) -> Option<&'static str> {
        self.until_ns = Some(self.until_ns.map_or(trace.start_ns, |until| until.max(trace.start_ns)));
        if self.judges_finality {
            match trace.activity.judge(self.now_ns, self.rule) {
                Finality::Running => return self.wait(trace, "still running: its root has not ended"),
                Finality::Settling => return self.wait(trace, "still settling: spans came only just now"),
                Finality::Abandoned => self.abandoned += 1,
                Finality::Final => {}
            }
        }
        if let Some(after) = &self.after
            && trace.start_ns <= after.until_ns
            && !after.open.contains(&trace.id)
        {
            return Some("seen by the version before");
        }
        let known = self.seen.get(&trace.id).filter(|_| self.spec.only_new)?;
        digest().filter(|digest| known.contains(digest)).map(|_| "in an earlier version with the same content")
    }

    fn wait(&mut self, trace: &Looked, why: &'static str) -> Option<&'static str> {
        self.open.push((trace.start_ns, trace.id.clone()));
        (!self.spec.include_open).then_some(why)
    }

    /// What the next version can begin after.
    fn checkpoint(&self) -> Option<Checkpoint> {
        let mut until_ns = self.until_ns?;
        let mut open: Vec<TraceId> = Vec::new();
        if !self.spec.include_open {
            if self.open.len() > MOST_OPEN {
                until_ns = self.open.iter().map(|(start, _)| start.saturating_sub(1)).min()?;
            } else {
                open = self.open.iter().map(|(_, id)| id.clone()).collect();
                open.sort();
            }
        }
        // A checkpoint never goes back: what an earlier version saw stays seen.
        let before = self.after.as_ref().map_or(until_ns, |after| after.until_ns);
        Some(Checkpoint { until_ns: if self.open.len() > MOST_OPEN { until_ns } else { until_ns.max(before) }, open })
    }
}

/// Reads everything that could be chosen into the selector.
pub fn gather(
    project: &Project,
    world: &World,
    ask: &Ask,
    spec: &SampleSpec,
    selector: &mut Selector,
    scores: &Scores<'_>,
) -> Done<Pool> {
    let filter = spec.filter.as_deref().map(Filter::parse).transpose().map_err(Failed::usage)?;
    let (since, until) = window(spec.since.as_deref(), spec.until.as_deref())?;
    let within = TraceFilter { since, until, ..TraceFilter::default() };
    let reader = CandidateReader::new(&spec.design).map_err(Failed::usage)?;
    let mut gate = gate(project, world, ask, spec)?;
    let mut intake = Intake { found: Vec::new(), left_out: BTreeMap::new(), each: None, looked_at: 0 };
    intake.each = ask.decisions.is_some().then(Vec::new);
    let names = narrow_names(spec, filter.as_ref());
    let narrow = ask.from.is_empty() && names.is_some();
    let fits = |lookup: &dyn Fn(&str) -> Option<String>| filter.as_ref().is_none_or(|filter| filter.matches(lookup));
    let mut whole = |trace: &Trace| {
        if fits(&|name| trace_dimension(trace, name)) {
            let start_ns = trace.spans.iter().map(|span| span.start_ns).min().unwrap_or_default();
            let looked = Looked { id: trace.id.clone(), start_ns, activity: trace.activity() };
            let told = gate.judge(&looked, || Some(trace.content_digest()));
            intake.take(looked, told, || {
                spec.traces.candidate(trace, &reader, &scores(trace)).map_err(|reason| reason.as_str())
            });
        }
    };
    let source = if ask.from.is_empty() {
        let lake = Lake::new(project.path(&project.config.lake));
        match &names {
            Some(names) => narrow_pass(&lake, &within, names, spec, &reader, &fits, &mut gate, &mut intake)?,
            None => {
                for trace in lake.traces(&within).map_err(Failed::instrument)? {
                    whole(&trace.map_err(Failed::instrument)?);
                }
            }
        }
        Source::Lake(lake)
    } else {
        let (_, mut traces) = read_traces(project, world, &ask.from)?;
        traces.retain(|trace| within.matches(trace));
        traces.iter().for_each(whole);
        Source::Memory(traces.into_iter().map(Arc::new).collect())
    };
    let Intake { mut found, mut left_out, mut each, looked_at } = intake;
    keep_newest(spec.newest, &mut found, &mut left_out, &mut each);
    let mut traces: HashMap<String, Vec<TraceId>> = HashMap::new();
    for (_, id, candidate) in found {
        traces.entry(candidate.id.clone()).or_default().push(id);
        selector.offer(candidate);
    }
    let mut warnings = Vec::new();
    if gate.abandoned > 0 {
        let count = gate.abandoned;
        warnings.push(format!("{count} traces have no ended root and nothing came for long: taken as abandoned"));
    }
    let checkpoint = if ask.from.is_empty() { gate.checkpoint() } else { None };
    let left_out_traces = each.unwrap_or_default();
    Ok(Pool { source, traces, looked_at, left_out, left_out_traces, checkpoint, warnings, narrow })
}

type Fits<'a> = dyn Fn(&dyn Fn(&str) -> Option<String>) -> bool + 'a;

#[expect(clippy::too_many_arguments, reason = "one pass over everything the caller holds")]
fn narrow_pass(
    lake: &Lake,
    within: &TraceFilter,
    names: &[String],
    spec: &SampleSpec,
    reader: &CandidateReader,
    fits: &Fits<'_>,
    gate: &mut Gate<'_>,
    intake: &mut Intake,
) -> Done<()> {
    let key = spec.traces.key.as_deref().unwrap_or_default();
    // Few traces are in earlier versions: only those are opened to see whether they changed.
    let mut digests: HashMap<TraceId, Digest> = HashMap::new();
    if spec.only_new && !gate.seen.is_empty() {
        let mut known: Vec<TraceId> = gate.seen.keys().cloned().collect();
        known.sort();
        for ids in known.chunks(1_000) {
            let traces = lake.traces_by_id(ids).map_err(Failed::instrument)?;
            digests.extend(traces.into_iter().map(|trace| (trace.id.clone(), trace.content_digest())));
        }
    }
    let take = |trace: crate::lake::NarrowTrace| {
        let lookup = |name: &str| trace.dimension(name);
        if fits(&lookup) {
            let looked = Looked { id: trace.trace_id.clone(), start_ns: trace.start_ns, activity: trace.activity };
            let told = gate.judge(&looked, || digests.get(&trace.trace_id).cloned());
            intake.take(looked, told, || {
                let id = trace.dimension(key).filter(|key| !key.trim().is_empty());
                let id = id.ok_or(dataset::LeftOut::NoKey.as_str())?;
                Ok(reader.read(id, lookup, || None))
            });
        }
    };
    lake.narrow(within, names, take).map_err(Failed::instrument)
}

/// What was found so far.
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
            Err(why) => leave(&mut self.left_out, &mut self.each, looked.id, why),
        }
    }
}

fn leave(left_out: &mut BTreeMap<String, u64>, each: &mut Option<Vec<LeftOutTrace>>, id: TraceId, why: &str) {
    *left_out.entry(why.to_owned()).or_default() += 1;
    if let Some(each) = each {
        each.push(LeftOutTrace { trace: id, chosen: false, decision: why.to_owned() });
    }
}

fn keep_newest(
    newest: Option<u64>,
    found: &mut Vec<(i64, TraceId, Candidate)>,
    left_out: &mut BTreeMap<String, u64>,
    each: &mut Option<Vec<LeftOutTrace>>,
) {
    let Some(newest) = newest.and_then(|newest| usize::try_from(newest).ok()) else { return };
    found.sort_by(|left, right| (right.0, &left.1).cmp(&(left.0, &right.1)));
    for (_, id, _) in found.split_off(newest.min(found.len())) {
        leave(left_out, each, id, "older than the newest asked for");
    }
}

fn gate<'a>(project: &Project, world: &World, ask: &Ask, spec: &'a SampleSpec) -> Done<Gate<'a>> {
    let root = project.path(&project.config.datasets);
    let versions = dataset::versions(&root, &ask.name).map_err(Failed::usage)?;
    let mut seen = Seen::new();
    if spec.only_new {
        for version in &versions {
            dataset::seen_in(&root, &ask.name, *version, &mut seen).map_err(Failed::usage)?;
        }
    }
    let after = if spec.since_last { Some(last_checkpoint(&root, &ask.name, ask.from.is_empty())?) } else { None };
    let now = i64::try_from(world.clock.now().as_nanosecond()).unwrap_or(i64::MAX);
    Ok(Gate {
        spec,
        rule: spec.finality()?,
        now_ns: now,
        judges_finality: ask.from.is_empty(),
        after: after.flatten(),
        seen,
        open: Vec::new(),
        until_ns: None,
        abandoned: 0,
    })
}

/// Where the newest version ended; `None` when there is no version yet, and everything is new.
fn last_checkpoint(root: &std::path::Path, name: &str, from_lake: bool) -> Done<Option<Checkpoint>> {
    if !from_lake {
        return Err(Failed::usage(anyhow!("`--since-last` is about the lake; files have no checkpoint")));
    }
    if dataset::versions(root, name).map_err(Failed::usage)?.is_empty() {
        return Ok(None);
    }
    let newest = dataset::DatasetReader::open(root, name).map_err(Failed::usage)?;
    let header = newest.header();
    let checkpoint = header.design.as_ref().and_then(|design| design.checkpoint.clone());
    checkpoint.map(Some).ok_or_else(|| {
        let version = header.reference();
        Failed::usage(anyhow!("`{version}` was not sampled from the lake, so it has no checkpoint; give `--since`"))
    })
}

/// The dimensions a sampling looks at, when narrow columns know all of them.
fn narrow_names(spec: &SampleSpec, filter: Option<&Filter>) -> Option<Vec<String>> {
    let key = spec.traces.key.clone()?;
    let mut names = spec.design.dimensions();
    names.extend(filter.iter().flat_map(|filter| filter.names()).map(str::to_owned));
    names.push(key);
    (!spec.design.reads_inputs() && names.iter().all(|name| narrow_dimension(name))).then_some(names)
}

impl Pool {
    /// Opens the traces of some candidates.
    pub fn open<'a>(&self, keys: impl Iterator<Item = &'a String>) -> Done<Vec<Arc<Trace>>> {
        let ids: HashSet<&TraceId> = keys.filter_map(|key| self.traces.get(key)).flatten().collect();
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
        let all: usize = self.traces.values().map(Vec::len).sum();
        all.saturating_sub(opened) as u64
    }
}
