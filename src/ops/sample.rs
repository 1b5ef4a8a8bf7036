//! `assize sample`: traces to a dataset version, by a design that is recorded with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::anyhow;
use jiff::Timestamp;
use serde::Serialize;

use super::exit::{Done, Failed};
use super::ingest::read_traces;
use super::project::{Project, World};
use crate::dataset::{
    Allocate, Filter, Provenance, SamplePlan, Selector, TraceMapping, Written, examples_from_traces, trace_dimension,
    write_version,
};
use crate::lake::{Lake, TraceFilter};
use crate::model::{DatasetHeader, Trace};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Name of the dataset.
    pub name: String,
    /// Files instead of the lake.
    pub from: Vec<String>,
    /// How many.
    pub count: Option<u64>,
    /// Share.
    pub rate: Option<f64>,
    /// Dimensions of the strata.
    pub stratify: Vec<String>,
    /// The same number for each stratum.
    pub equal: bool,
    /// Seed.
    pub seed: u64,
    /// Filter, as typed.
    pub filter: Option<String>,
    /// Begin, as typed.
    pub since: Option<String>,
    /// End, as typed.
    pub until: Option<String>,
    /// Dimension of the task.
    pub key: Option<String>,
    /// Dimension of the variant.
    pub variant: Option<String>,
    /// Dimension of the cluster.
    pub cluster: Option<String>,
    /// Dimensions to keep.
    pub dimensions: Vec<String>,
    /// Dimension of the reference.
    pub reference: Option<String>,
    /// What it is.
    pub description: Option<String>,
}

/// What a sampling did.
#[derive(Clone, Debug, Serialize)]
pub struct SampleReport {
    /// Head of the version that holds the examples now.
    pub header: DatasetHeader,
    /// Whether it was there already.
    pub unchanged: bool,
    /// Traces looked at.
    pub traces: u64,
    /// Traces left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// What a careful reader should know.
    pub warnings: Vec<String>,
}

/// Samples.
pub fn sample(project: &Project, world: &World, ask: Ask) -> Done<SampleReport> {
    let filter = ask.filter.as_deref().map(Filter::parse).transpose().map_err(Failed::usage)?;
    let window = window(ask.since.as_deref(), ask.until.as_deref())?;
    let mapping = mapping(&ask);
    let traces = Traces::open(project, world, &ask, window, filter)?;
    let plan = SamplePlan {
        seed: ask.seed,
        stratify_by: ask.stratify.clone(),
        rate: ask.rate,
        n: ask.count,
        allocate: if ask.equal { Allocate::Equal } else { Allocate::Proportional },
        ..SamplePlan::default()
    };
    let mut selector = Selector::new(plan).map_err(Failed::usage)?;
    let mut looked_at = 0;
    let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
    // Two passes: the first holds an id per example, the second opens only what was chosen.
    traces.each(|trace| {
        looked_at += 1;
        if let Ok(candidate) = mapping.candidate(&trace, &ask.stratify) {
            selector.offer(candidate);
        }
    })?;
    if looked_at == 0 {
        let from = if ask.from.is_empty() { "the lake; `assize ingest` fills it" } else { "these files" };
        return Err(Failed::usage(anyhow!("no trace fits in {from}")));
    }
    let mut selection = selector.finish().map_err(Failed::usage)?;
    selection.design.filter = ask.filter.clone();
    let mut chosen: Vec<Arc<Trace>> = Vec::new();
    traces.each(|trace| match mapping.key_of(&trace) {
        Ok(id) if selection.chosen.contains_key(id.as_str()) => chosen.push(Arc::new(trace)),
        Ok(_) => *left_out.entry("not chosen by the sampling design".to_owned()).or_default() += 1,
        Err(reason) => *left_out.entry(reason.as_str().to_owned()).or_default() += 1,
    })?;
    let made = examples_from_traces(chosen, &mapping, Some(&selection)).map_err(Failed::usage)?;
    let mut warnings = selection.warnings.clone();
    if made.other_inputs > 0 {
        warnings.push(format!("{} traces have another input than the first of their example", made.other_inputs));
    }
    for (dimension, count) in &made.mixed_dimensions {
        warnings.push(format!("{count} examples have traces that disagree on `{dimension}`; it was left out there"));
    }
    let sources = if ask.from.is_empty() { vec!["lake".to_owned()] } else { ask.from.clone() };
    let provenance = Provenance { description: ask.description, sources, design: Some(selection.design) };
    let root = project.path(&project.config.datasets);
    let written = write_version(&root, &ask.name, &made.examples, provenance, world.clock.as_ref());
    let written = written.map_err(Failed::usage)?;
    let unchanged = matches!(written, Written::Unchanged(_));
    Ok(SampleReport { header: written.header().clone(), unchanged, traces: looked_at, left_out, warnings })
}

fn mapping(ask: &Ask) -> TraceMapping {
    let mut dimensions = ask.stratify.clone();
    for dimension in &ask.dimensions {
        if !dimensions.contains(dimension) {
            dimensions.push(dimension.clone());
        }
    }
    TraceMapping {
        key: ask.key.clone(),
        variant: ask.variant.clone(),
        cluster: ask.cluster.clone(),
        reference: ask.reference.clone(),
        dimensions,
        output_metadata: Vec::new(),
    }
}

/// Traces to sample from: the lake read twice, or files held in memory.
enum Traces {
    Lake { lake: Lake, within: TraceFilter, filter: Option<Filter> },
    Memory(Vec<Trace>),
}

impl Traces {
    fn open(project: &Project, world: &World, ask: &Ask, window: Window, filter: Option<Filter>) -> Done<Self> {
        let within = TraceFilter { since: window.0, until: window.1, ..TraceFilter::default() };
        if ask.from.is_empty() {
            let lake = project.lake(&world.env)?;
            return Ok(Self::Lake { lake, within, filter });
        }
        let (_, mut traces) = read_traces(project, world, &ask.from)?;
        traces.retain(|trace| within.matches(trace) && fits(filter.as_ref(), trace));
        Ok(Self::Memory(traces))
    }

    fn each(&self, mut take: impl FnMut(Trace)) -> Done<()> {
        match self {
            Self::Memory(traces) => traces.iter().cloned().for_each(take),
            Self::Lake { lake, within, filter } => {
                for trace in lake.traces(within).map_err(Failed::instrument)? {
                    let trace = trace.map_err(Failed::instrument)?;
                    if fits(filter.as_ref(), &trace) {
                        take(trace);
                    }
                }
            }
        }
        Ok(())
    }
}

fn fits(filter: Option<&Filter>, trace: &Trace) -> bool {
    filter.is_none_or(|filter| filter.matches(|name| trace_dimension(trace, name)))
}

/// Begin and end of a stretch of time.
pub type Window = (Option<Timestamp>, Option<Timestamp>);

/// Reads `--since` and `--until`: a moment, or a date that means its first instant in UTC.
pub fn window(since: Option<&str>, until: Option<&str>) -> Done<Window> {
    let read = |name: &str, text: Option<&str>| match text {
        None => Ok(None),
        Some(text) => moment(text).map(Some).ok_or_else(|| {
            Failed::usage(anyhow!("expected `--{name}` as `2026-11-21` or `2026-11-21T10:00:00Z`, found `{text}`"))
        }),
    };
    Ok((read("since", since)?, read("until", until)?))
}

fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let date: jiff::civil::Date = text.parse().ok()?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
