//! Whether a trace becomes a candidate at all: it is final, it was not seen before, it is not in a version already.

use std::collections::HashSet;
use std::path::Path;

use anyhow::anyhow;

use super::Ask;
use super::spec::SampleSpec;
use crate::dataset::{self, Seen};
use crate::model::{Activity, Checkpoint, Digest, Finality, FinalityRule, TraceId};
use crate::ops::exit::{Done, Failed};
use crate::ops::project::{Project, World};

/// Most open traces that a checkpoint names; with more, it stands before the first of them.
const MOST_OPEN: usize = 1_000;

/// One trace as the rules here see it.
pub struct Looked {
    /// Id.
    pub id: TraceId,
    /// Start, nanoseconds since 1970.
    pub start_ns: i64,
    /// When it last grew.
    pub activity: Activity,
}

/// Everything that decides whether a trace becomes a candidate.
pub struct Gate<'a> {
    spec: &'a SampleSpec,
    rule: FinalityRule,
    now_ns: i64,
    judges_finality: bool,
    after: Option<Checkpoint>,
    /// Those of the checkpoint that were open.
    reopen: HashSet<TraceId>,
    /// What earlier versions hold; empty unless only new traces are wanted.
    pub seen: Seen,
    open: Vec<(i64, TraceId)>,
    until_ns: Option<i64>,
    /// Traces that were given up and taken as they are.
    pub abandoned: u64,
}

impl<'a> Gate<'a> {
    /// The gate of a sampling; reads what earlier versions saw, where that matters.
    pub fn new(project: &Project, world: &World, ask: &Ask, spec: &'a SampleSpec) -> Done<Self> {
        let root = project.path(&project.config.datasets);
        let versions = dataset::versions(&root, &ask.name).map_err(Failed::usage)?;
        let mut seen = Seen::new();
        if spec.only_new {
            for version in &versions {
                dataset::seen_in(&root, &ask.name, *version, &mut seen).map_err(Failed::usage)?;
            }
        }
        let after = if spec.since_last { last_checkpoint(&root, &ask.name, ask.from.is_empty())? } else { None };
        let reopen = after.iter().flat_map(|after| after.open.iter().cloned()).collect();
        let now = i64::try_from(world.clock.now().as_nanosecond()).unwrap_or(i64::MAX);
        Ok(Self {
            spec,
            rule: spec.finality()?,
            now_ns: now,
            judges_finality: ask.from.is_empty(),
            after,
            reopen,
            seen,
            open: Vec::new(),
            until_ns: None,
            abandoned: 0,
        })
    }

    /// Why a trace is left out; `digest` is only asked for when it decides.
    pub fn judge(&mut self, trace: &Looked, digest: impl FnOnce() -> Option<Digest>) -> Option<&'static str> {
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
            && !self.reopen.contains(&trace.id)
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
    pub fn checkpoint(&self) -> Option<Checkpoint> {
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

/// Where the newest version ended; `None` when there is no version yet, and everything is new.
fn last_checkpoint(root: &Path, name: &str, from_lake: bool) -> Done<Option<Checkpoint>> {
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
