//! `assize traces diagnose`: what detectors find in one trace of the lake, or in all that fit, by detector.

use std::collections::BTreeMap;

use serde::Serialize;

use super::dimensions::why_nothing_fits;
use super::exit::{Done, Exit, Failed};
use super::project::{Project, World};
use super::sample::opinions;
use super::traces::between;
use crate::dataset::{Filter, NEGATIVE_FEEDBACK};
use crate::diagnose::{Detector, Diagnosis, Rules, Severity, diagnose};
use crate::lake::TraceFilter;
use crate::model::{Trace, TraceId};
use crate::stats::{Interval, wilson};
use crate::sys::files;

/// Traces that are named for each kind of finding.
const NAMED: usize = 5;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// One trace, by its id or its first characters.
    pub trace: Option<String>,
    /// Filter, as typed.
    pub filter: Option<String>,
    /// Begin, as typed.
    pub since: Option<String>,
    /// End, as typed.
    pub until: Option<String>,
    /// File of rules (TOML), as typed.
    pub rules: Option<std::path::PathBuf>,
    /// Least severity that counts.
    pub severity: Severity,
    /// Fail where anything is found.
    pub fail: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Found {
    /// In one trace.
    One(Box<OneTrace>),
    /// In many.
    Many(Summary),
}

/// What was found in one trace.
#[derive(Debug, Serialize)]
pub struct OneTrace {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// The diagnosis; findings below the asked severity are left out.
    #[serde(flatten)]
    pub diagnosis: Diagnosis,
    /// The trace, for the names of its spans.
    pub trace: Trace,
}

/// What was found in many traces.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// Traces looked at.
    pub traces: u64,
    /// Traces with any finding that counts.
    pub affected: u64,
    /// Traces in which a detector could not say, by detector.
    pub unknown: BTreeMap<Detector, u64>,
    /// By detector and subtype, those of most traces first.
    pub kinds: Vec<Kind>,
}

/// One kind of finding.
#[derive(Debug, Serialize)]
pub struct Kind {
    /// Detector.
    pub detector: Detector,
    /// Which form of it.
    pub subtype: String,
    /// The worst of them.
    pub severity: Severity,
    /// Findings.
    pub findings: u64,
    /// Traces that have any.
    pub traces: u64,
    /// Share of the traces in which the detector can say; `None` where it can in none.
    pub share: Option<f64>,
    /// Wilson interval of the share at 95 %.
    pub interval: Option<Interval>,
    /// The first such traces.
    pub examples: Vec<TraceId>,
}

/// Looks at one trace, or at all that fit.
pub fn run(project: &Project, world: &World, ask: &Ask) -> Done<(Found, Exit)> {
    let rules = rules_of(world, ask)?;
    let lake = project.lake(&world.env)?;
    let look = |trace: &Trace| {
        let mut found = diagnose(trace, &rules);
        found.findings.retain(|finding| finding.severity >= ask.severity);
        found
    };
    let exit = |any: bool| if any && ask.fail { Exit::GateFailed } else { Exit::Pass };
    if let Some(wanted) = &ask.trace {
        let trace = lake.trace(wanted).map_err(Failed::usage)?;
        let diagnosis = look(&trace);
        let any = !diagnosis.findings.is_empty();
        return Ok((Found::One(Box::new(OneTrace { format: 1, diagnosis, trace })), exit(any)));
    }
    let filter = ask.filter.as_deref().map(Filter::parse).transpose().map_err(Failed::usage)?;
    let (since, until) = between(world, ask.since.as_deref(), ask.until.as_deref())?;
    let within = TraceFilter { since, until, ..TraceFilter::default() };
    let asked = filter.as_ref().is_some_and(|filter| filter.names().contains(&NEGATIVE_FEEDBACK));
    let opinions = opinions(&lake, asked)?;
    let mut sums = Sums::default();
    for trace in lake.traces(&within).map_err(Failed::instrument)? {
        let trace = trace.map_err(Failed::instrument)?;
        if filter.as_ref().is_none_or(|filter| filter.matches(|name| opinions.dimension(&trace, name))) {
            sums.add(&trace.id, &look(&trace));
        }
    }
    if sums.done.traces == 0 {
        return Err(why_nothing_fits(&lake, &within, filter.as_ref(), &opinions)?);
    }
    let summary = sums.finish();
    let any = summary.affected > 0;
    Ok((Found::Many(summary), exit(any)))
}

fn rules_of(world: &World, ask: &Ask) -> Done<Rules> {
    let Some(file) = &ask.rules else { return Ok(Rules::default()) };
    let path = world.here.join(file);
    let text = files::read_text(&path).map_err(Failed::usage)?;
    let wrong = |fault: String| Failed::usage(anyhow::anyhow!("`{}`: {fault}", path.display()));
    let rules: Rules = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    rules.check().map_err(wrong)?;
    Ok(rules)
}

/// Findings of one kind.
#[derive(Default)]
struct Tally {
    severity: Severity,
    findings: u64,
    traces: u64,
    /// The first traces; the last one is that which was seen last.
    examples: Vec<TraceId>,
}

/// Sums over traces.
#[derive(Default)]
struct Sums {
    done: Summary,
    kinds: BTreeMap<(Detector, String), Tally>,
}

impl Sums {
    fn add(&mut self, id: &TraceId, diagnosis: &Diagnosis) {
        self.done.traces += 1;
        self.done.affected += u64::from(!diagnosis.findings.is_empty());
        for detector in &diagnosis.unknown {
            *self.done.unknown.entry(*detector).or_default() += 1;
        }
        for finding in &diagnosis.findings {
            let key = (finding.detector, finding.subtype.to_string());
            let tally = self.kinds.entry(key).or_default();
            tally.severity = finding.severity.max(tally.severity);
            tally.findings += 1;
            if tally.examples.last() != Some(id) {
                tally.traces += 1;
                // One more than is shown, so that the last one seen is known.
                tally.examples.truncate(NAMED);
                tally.examples.push(id.clone());
            }
        }
    }

    fn finish(mut self) -> Summary {
        let (all, unknown) = (self.done.traces, &self.done.unknown);
        let kinds = self.kinds.into_iter().map(|((detector, subtype), mut tally)| {
            let able = all - unknown.get(&detector).copied().unwrap_or(0);
            tally.examples.truncate(NAMED);
            Kind {
                detector,
                subtype,
                severity: tally.severity,
                findings: tally.findings,
                traces: tally.traces,
                share: (able > 0).then(|| tally.traces as f64 / able as f64),
                interval: wilson(tally.traces.min(able), able, 0.95),
                examples: tally.examples,
            }
        });
        self.done.kinds = kinds.collect();
        self.done.kinds.sort_by_key(|kind| std::cmp::Reverse((kind.traces, kind.findings)));
        self.done.format = 1;
        self.done
    }
}
