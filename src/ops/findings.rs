//! From the store to findings: fold journals, read the examples kept with a run, open the outputs a report shows.
//!
//! Everything a report needs comes from the store, so that it can be made again on a machine that has neither the
//! dataset nor the configuration.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;

use super::exit::{Done, Failed};
use crate::compare::{
    Details, ExampleDetail, ExampleMeta, ExampleRow, Fold, RunResults, ScoreDetail, TrialDetail, TrialResult,
};
use crate::model::{Digest, Example, ExampleId, Output, RunId, TargetOutcome, Usage};
use crate::store::Store;

/// How many journal entries are read at once.
const PAGE: u32 = 5_000;
/// How many examples stand in one blob.
pub const EXAMPLES_PER_BLOB: usize = 256;
/// Most examples that a report opens; the rest stay in the table without their texts.
pub const MOST_DETAILS: usize = 2_500;

/// A run with what pairing needs to know of its examples.
pub struct Loaded {
    /// The folded journal.
    pub results: RunResults,
    /// Examples of the run, in dataset order.
    pub metas: Vec<ExampleMeta>,
}

/// Reads a run.
pub async fn load(store: &dyn Store, run: &RunId) -> Done<Loaded> {
    let mut fold = Fold::new();
    replay(store, run, &mut fold).await?;
    let results = fold.finish().map_err(Failed::instrument)?;
    let mut metas = Vec::new();
    each_example(store, &results, |example| metas.push(ExampleMeta::of(&example))).await?;
    Ok(Loaded { results, metas })
}

/// Folds a run's journal from its first entry.
pub async fn replay(store: &dyn Store, run: &RunId, fold: &mut Fold) -> Done<()> {
    let mut next = 0;
    loop {
        let page = store.replay(run, next, PAGE).await.map_err(Failed::instrument)?;
        let Some(last) = page.last() else { return Ok(()) };
        next = last.seq + 1;
        for entry in page {
            fold.push(entry).map_err(Failed::instrument)?;
        }
    }
}

/// Walks the examples kept with a run, in dataset order.
pub(super) async fn each_example(store: &dyn Store, results: &RunResults, mut take: impl FnMut(Example)) -> Done<()> {
    for digest in &results.header.example_blobs {
        let bytes = blob(store, digest, "examples").await?;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let example = serde_json::from_slice(line)
                .map_err(|error| Failed::instrument(anyhow!("stored examples `{digest}` cannot be read: {error}")))?;
            take(example);
        }
    }
    Ok(())
}

async fn blob(store: &dyn Store, digest: &Digest, what: &str) -> Done<Vec<u8>> {
    let found = store.get_blob(digest).await.map_err(Failed::instrument)?;
    found.ok_or_else(|| Failed::instrument(anyhow!("store lacks the {what} `{digest}` that a run refers to")))
}

/// One stored output.
pub async fn output(store: &dyn Store, digest: &Digest) -> Done<Output> {
    let bytes = blob(store, digest, "output").await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failed::instrument(anyhow!("stored output `{digest}` cannot be read: {error}")))
}

/// Opens the examples of the first rows, at most [`MOST_DETAILS`].
pub async fn details(
    store: &dyn Store,
    baseline: Option<&RunResults>,
    candidate: &RunResults,
    rows: &[ExampleRow],
) -> Done<Details> {
    let wanted: BTreeSet<&ExampleId> = rows.iter().take(MOST_DETAILS).map(|row| &row.id).collect();
    let mut texts: BTreeMap<ExampleId, Example> = BTreeMap::new();
    for results in [Some(candidate), baseline].into_iter().flatten() {
        each_example(store, results, |example| {
            if wanted.contains(&example.id) {
                texts.entry(example.id.clone()).or_insert(example);
            }
        })
        .await?;
    }
    let mut details = Vec::new();
    for row in rows.iter().take(MOST_DETAILS) {
        let Some(example) = texts.remove(&row.id) else { continue };
        let baseline = match baseline {
            Some(results) => trials(store, results, &row.id).await?,
            None => Vec::new(),
        };
        let candidate = trials(store, candidate, &row.id).await?;
        details.push(ExampleDetail {
            id: example.id,
            input: example.input,
            reference: example.reference,
            baseline,
            candidate,
        });
    }
    Ok(details)
}

async fn trials(store: &dyn Store, results: &RunResults, id: &ExampleId) -> Done<Vec<TrialDetail>> {
    let mut details = Vec::new();
    for (number, trial) in results.examples.get(id).map(|example| &example.trials).into_iter().flatten() {
        details.push(trial_detail(store, *number, trial).await?);
    }
    Ok(details)
}

async fn trial_detail(store: &dyn Store, number: u32, trial: &TrialResult) -> Done<TrialDetail> {
    let mut detail = TrialDetail {
        trial: number,
        output: None,
        failure: None,
        trace: None,
        latency_ms: None,
        cost_usd: None,
        usage: Usage::default(),
        scores: Vec::new(),
    };
    match &trial.target {
        Some(TargetOutcome::Output { digest, .. }) => {
            let output = output(store, digest).await?;
            detail.trace = output.trace;
            detail.latency_ms = output.latency_ms;
            detail.cost_usd = output.cost_usd;
            detail.usage = output.usage;
            detail.output = Some(output.value);
        }
        Some(TargetOutcome::Failed { failure }) => detail.failure = Some(failure.clone()),
        None => {}
    }
    for (grader, draws) in &trial.scores {
        for (draw, scored) in draws {
            detail.scores.push(ScoreDetail { grader: grader.clone(), draw: *draw, scored: scored.clone() });
        }
    }
    Ok(detail)
}
