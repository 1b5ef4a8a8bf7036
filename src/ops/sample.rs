//! `assize sample`: traces to a dataset version, by a design that is recorded with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;

use super::dataset_edit::changed;
use super::exit::{Done, Failed};
use super::project::{Project, World};
use crate::dataset::{
    self, Allocate, Combine, DatasetReader, Decided, Diverse, FromTraces, Opinions, Provenance, Seen, Selector,
    Written, examples_from_traces, write_change,
};
use crate::lake::Lake;
use crate::model::{DatasetHeader, Example, SampleDesign};
use crate::sys::files;
use crate::sys::text::thousands;

mod embed;
mod gate;
mod pool;
mod spec;

pub use spec::SampleSpec;

/// What is asked. What is left out is taken from the plan's file or the configuration.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Name of the dataset.
    pub name: String,
    /// Files instead of the lake.
    pub from: Vec<String>,
    /// File of the plan; `[samples.NAME]` of the configuration when absent.
    pub plan: Option<PathBuf>,
    /// How many.
    pub count: Option<u64>,
    /// Share.
    pub rate: Option<f64>,
    /// Dimensions of the strata.
    pub stratify: Vec<String>,
    /// How a number is shared among strata.
    pub allocate: Option<Allocate>,
    /// Dimension of the spread.
    pub neyman_by: Option<String>,
    /// Rules, as typed.
    pub boost: Vec<String>,
    /// How rules meet.
    pub combine: Option<Combine>,
    /// Dimensions of the risk score, as typed.
    pub risk: Vec<String>,
    /// Least probability by risk.
    pub risk_floor: Option<f64>,
    /// Dimension of the clusters to draw.
    pub cluster_by: Option<String>,
    /// Most examples of a cluster.
    pub per_cluster: Option<u64>,
    /// Threshold of near-duplicates, as typed.
    pub near_duplicates: Option<String>,
    /// Whether numbers are the same in near-duplicates.
    pub ignore_numbers: bool,
    /// Choice for diversity.
    pub diverse: Option<Diverse>,
    /// Model that embeds.
    pub embedder: Option<String>,
    /// Seed.
    pub seed: Option<u64>,
    /// Filter, as typed.
    pub filter: Option<String>,
    /// Begin, as typed.
    pub since: Option<String>,
    /// End, as typed.
    pub until: Option<String>,
    /// Only the last traces.
    pub newest: Option<u64>,
    /// Only what the newest version has not seen.
    pub since_last: bool,
    /// Only what no version holds.
    pub only_new: bool,
    /// Idle time, as typed.
    pub idle: Option<String>,
    /// Time to give a trace up, as typed.
    pub max_age: Option<String>,
    /// Take open traces, too.
    pub include_open: bool,
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
    /// Choose, and write nothing.
    pub dry_run: bool,
    /// Why the frozen holdout may change.
    pub thaw: Option<String>,
    /// File for the decision on every candidate.
    pub decisions: Option<PathBuf>,
}

/// What a sampling did.
#[derive(Clone, Debug, Serialize)]
pub struct SampleReport {
    /// Head of the version that holds the examples now; version 0 where nothing was written.
    pub header: DatasetHeader,
    /// Whether it was there already.
    pub unchanged: bool,
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// The design as it was carried out now; that of the header when the version is new.
    pub design: SampleDesign,
    /// Traces looked at.
    pub traces: u64,
    /// Whether the lake's narrow columns were enough to choose by.
    pub narrow: bool,
    /// Traces left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// What a careful reader should know.
    pub warnings: Vec<String>,
    /// Where the decisions were written.
    pub decisions: Option<PathBuf>,
}

/// What others said about the traces of a lake; nothing where nobody asks, for there may be millions of scores.
pub(super) fn opinions(lake: &Lake, asked: bool) -> Done<Opinions> {
    if !asked {
        return Ok(Opinions::default());
    }
    Ok(Opinions::new(lake.scores().map_err(Failed::instrument)?))
}

/// Samples.
pub async fn sample(project: &Project, world: &World, ask: Ask) -> Done<SampleReport> {
    let spec = SampleSpec::of(project, world, &ask)?;
    let root = project.path(&project.config.datasets);
    let mut selector = Selector::new(spec.design.clone()).map_err(Failed::usage)?;
    let mut pool = pool::gather(project, world, &ask, &spec, &mut selector)?;
    if pool.looked_at == 0 {
        return Err(pool.why_nothing()?);
    }
    // Narrow columns know few names; the others are looked for when the chosen are open.
    if !pool.narrow || selector.is_empty() {
        pool.check_names(&[])?;
    }
    if selector.is_empty() {
        return Err(nothing(&pool));
    }
    let mut frame = selector.frame().map_err(Failed::usage)?;
    if spec.design.diverse == Some(Diverse::Embeddings) {
        let vectors = embed::embed(project, world, spec.embedder.as_deref(), &frame).await?;
        frame = frame.with_vectors(vectors);
    }
    let selection = frame.choose(spec.design.seed, ask.decisions.is_some()).map_err(Failed::usage)?;
    drop(frame);
    let opened = pool.open(selection.chosen.keys())?;
    pool.check_names(&opened)?;
    let not_chosen = pool.not_chosen(opened.len());
    let made = examples_from_traces(opened, &spec.traces, Some(&selection), &pool.opinions).map_err(Failed::usage)?;
    let mut warnings = [selection.warnings.clone(), pool.warnings.clone()].concat();
    warnings.extend(warnings_of(&made));
    let mut design = selection.design;
    design.filter = spec.filter.clone();
    design.left_out = pool.left_out.clone();
    design.checkpoint = pool.checkpoint.clone();
    design.reopened = reopened(&root, &ask.name, &made.examples)?;
    if design.reopened > 0 {
        let count = thousands(design.reopened);
        warnings.push(format!("{count} traces changed since an earlier version held them: late spans came"));
    }
    if let Some(path) = &ask.decisions {
        write_decisions(&world.here.join(path), &selection.decided, &pool)?;
    }
    let left_out = left_out(&pool, &made, not_chosen);
    let (header, unchanged) = write(&root, world, &ask, &spec, made, &design)?;
    Ok(SampleReport {
        header,
        unchanged,
        dry_run: ask.dry_run,
        design,
        traces: pool.looked_at,
        narrow: pool.narrow,
        left_out,
        warnings,
        decisions: ask.decisions,
    })
}

/// Traces that are in no example, by reason.
fn left_out(pool: &pool::Pool, made: &FromTraces, not_chosen: u64) -> BTreeMap<String, u64> {
    let mut left_out = pool.left_out.clone();
    for (reason, count) in &made.left_out {
        *left_out.entry(reason.as_str().to_owned()).or_default() += count;
    }
    if not_chosen > 0 {
        *left_out.entry(dataset::LeftOut::NotChosen.as_str().to_owned()).or_default() += not_chosen;
    }
    left_out
}

/// Why none of the traces that were looked at can be chosen.
fn nothing(pool: &pool::Pool) -> Failed {
    let reasons: Vec<String> =
        pool.left_out.iter().map(|(why, count)| format!("{}: {why}", thousands(*count))).collect();
    Failed::usage(anyhow!(
        "nothing selected: none of {} traces is a candidate ({})",
        thousands(pool.looked_at),
        reasons.join("; ")
    ))
}

fn write(
    root: &Path,
    world: &World,
    ask: &Ask,
    spec: &SampleSpec,
    made: FromTraces,
    design: &SampleDesign,
) -> Done<(DatasetHeader, bool)> {
    let sources = if ask.from.is_empty() { vec!["lake".to_owned()] } else { ask.from.clone() };
    if ask.dry_run {
        let reader = DatasetReader::of_examples(&ask.name, made.examples, world.clock.as_ref());
        let mut header = reader.map_err(Failed::usage)?.header().clone();
        (header.description, header.sources) = (spec.description.clone(), sources);
        header.design = Some(design.clone());
        return Ok((header, false));
    }
    let provenance = Provenance { description: spec.description.clone(), sources, design: Some(design.clone()) };
    let change = changed(root, &ask.name, "sample", ask.thaw.as_deref())?;
    let written = write_change(root, &ask.name, made.examples, provenance, change, world.clock.as_ref());
    let written = written.map_err(Failed::usage)?;
    Ok((written.header().clone(), matches!(written, Written::Unchanged(_))))
}

fn warnings_of(made: &FromTraces) -> Vec<String> {
    let mut warnings = Vec::new();
    if made.other_inputs > 0 {
        warnings.push(format!(
            "{} traces have another input than the first of their example",
            thousands(made.other_inputs)
        ));
    }
    for (dimension, count) in &made.mixed_dimensions {
        let count = thousands(*count);
        warnings.push(format!("{count} examples have traces that disagree on `{dimension}`; it was left out there"));
    }
    warnings
}

/// Traces that earlier versions hold, and all with other content.
fn reopened(root: &Path, name: &str, examples: &[Example]) -> Done<u64> {
    let mut seen = Seen::new();
    for version in dataset::versions(root, name).map_err(Failed::usage)? {
        dataset::seen_in(root, name, version, &mut seen).map_err(Failed::usage)?;
    }
    let pairs = examples.iter().flat_map(|example| example.lineage.traces.iter().zip(&example.lineage.digests));
    let changed = pairs
        .filter(|(trace, digest)| seen.get(*trace).is_some_and(|known| !known.is_empty() && !known.contains(*digest)));
    Ok(changed.count() as u64)
}

/// One line of JSON for every candidate, then for every trace that never was one.
fn write_decisions(path: &Path, decided: &[Decided], pool: &pool::Pool) -> Done<()> {
    let mut lines = Vec::new();
    let rows = decided.iter().map(serde_json::to_value).chain(pool.left_out_traces.iter().map(serde_json::to_value));
    for row in rows {
        serde_json::to_writer(&mut lines, &row.map_err(Failed::instrument)?).map_err(Failed::instrument)?;
        lines.push(b'\n');
    }
    files::write_atomic(path, &lines).map_err(Failed::usage)
}
