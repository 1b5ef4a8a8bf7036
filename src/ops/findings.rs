//! From the store to findings: fold journals, read the examples kept with a run, open the outputs a report shows.
//!
//! Everything a report needs comes from the store, so that it can be made again on a machine that has neither the
//! dataset nor the configuration.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use anyhow::anyhow;
use futures::{StreamExt, stream};
use serde::Deserialize;

use super::exit::{Done, Failed};
use crate::compare::{
    Details, ExampleDetail, ExampleMeta, ExampleRow, Fold, RunResults, ScoreDetail, TrialDetail, TrialResult,
};
use crate::model::{Digest, Example, ExampleId, Output, RunId, TargetOutcome, Usage};
use crate::store::Store;

/// How many journal entries are read at once.
const PAGE: u32 = 5_000;
/// How many pages are read at once.
const AHEAD: usize = 3;
/// How many examples stand in one blob.
pub const EXAMPLES_PER_BLOB: usize = 256;
/// Most examples that a report opens; the rest stay in the table without their texts.
pub const MOST_DETAILS: usize = 2_500;

/// A run with what pairing needs to know of its examples.
pub struct Loaded {
    /// The folded journal.
    pub results: RunResults,
    /// Examples of the run, in dataset order; shared by runs that keep the same.
    pub metas: Arc<Vec<ExampleMeta>>,
}

/// Reads a run.
pub async fn load(store: &dyn Store, run: &RunId) -> Done<Loaded> {
    let results = folded(store, run).await?;
    let metas = metas(store, &results).await?;
    Ok(Loaded { results, metas })
}

/// Reads two runs, both journals at once; examples that both keep are read once.
pub async fn load_both(store: &dyn Store, first: &RunId, second: &RunId) -> Done<(Loaded, Loaded)> {
    let (left, right) = futures::try_join!(folded(store, first), folded(store, second))?;
    let of_left = metas(store, &left).await?;
    let same = left.header.example_blobs == right.header.example_blobs;
    let of_right = if same { of_left.clone() } else { metas(store, &right).await? };
    Ok((Loaded { results: left, metas: of_left }, Loaded { results: right, metas: of_right }))
}

async fn folded(store: &dyn Store, run: &RunId) -> Done<RunResults> {
    let mut fold = Fold::new();
    replay(store, run, &mut fold).await?;
    fold.finish().map_err(Failed::instrument)
}

async fn metas(store: &dyn Store, results: &RunResults) -> Done<Arc<Vec<ExampleMeta>>> {
    let mut metas = Vec::with_capacity(results.examples.len());
    each_example(store, &[results], |example| metas.push(ExampleMeta::of(&example))).await?;
    Ok(Arc::new(metas))
}

/// Folds a run's journal from its first entry.
pub async fn replay(store: &dyn Store, run: &RunId, fold: &mut Fold) -> Done<()> {
    // Numbers have no gaps: where a page begins is known before the one ahead of it is read.
    let starts = (0_u64..).step_by(PAGE as usize);
    let mut pages = stream::iter(starts).map(|start| store.replay(run, start, PAGE)).buffered(AHEAD);
    while let Some(page) = pages.next().await {
        let page = page.map_err(Failed::instrument)?;
        let last = page.len() < PAGE as usize;
        for entry in page {
            fold.push(entry).map_err(Failed::instrument)?;
        }
        if last {
            break;
        }
    }
    Ok(())
}

/// Walks the examples kept with some runs, in dataset order; what several keep comes once.
pub(super) async fn each_example(store: &dyn Store, runs: &[&RunResults], take: impl FnMut(Example)) -> Done<()> {
    each_line(store, runs, |line| serde_json::from_slice(line).map(Some), take).await
}

/// Walks those of the examples that are wanted. Of the others no more than the id is read.
pub(super) async fn some_examples(
    store: &dyn Store,
    runs: &[&RunResults],
    wanted: &BTreeSet<&ExampleId>,
    take: impl FnMut(Example),
) -> Done<()> {
    #[derive(Deserialize)]
    struct Named {
        id: ExampleId,
    }
    let wanted: Arc<HashSet<ExampleId>> = Arc::new(wanted.iter().map(|id| (*id).clone()).collect());
    let read = move |line: &[u8]| {
        let named: Named = serde_json::from_slice(line)?;
        wanted.contains(&named.id).then(|| serde_json::from_slice(line)).transpose()
    };
    each_line(store, runs, read, take).await
}

async fn each_line<F>(store: &dyn Store, runs: &[&RunResults], read: F, mut take: impl FnMut(Example)) -> Done<()>
where
    F: Fn(&[u8]) -> serde_json::Result<Option<Example>> + Clone + Send + 'static,
{
    let mut seen = HashSet::new();
    let digests = runs.iter().flat_map(|results| &results.header.example_blobs).filter(|digest| seen.insert(*digest));
    // Of its own, as what is asked of several blobs at once must not borrow from this walk.
    let digests: Vec<Digest> = digests.cloned().collect();
    let mut pieces = stream::iter(digests).map(|digest| piece(store, digest, read.clone())).buffered(AHEAD);
    while let Some(piece) = pieces.next().await {
        piece?.into_iter().for_each(&mut take);
    }
    Ok(())
}

/// One blob of examples. Reading JSON is work: other blobs are fetched meanwhile.
async fn piece<F>(store: &dyn Store, digest: Digest, read: F) -> Done<Vec<Example>>
where
    F: Fn(&[u8]) -> serde_json::Result<Option<Example>> + Send + 'static,
{
    let bytes = blob(store, &digest, "examples").await?;
    let lines = move || {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter_map(|line| read(line).transpose()).collect::<serde_json::Result<Vec<_>>>()
    };
    let found = tokio::task::spawn_blocking(lines).await.map_err(Failed::instrument)?;
    found.map_err(|error| Failed::instrument(anyhow!("stored examples `{digest}` cannot be read: {error}")))
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
    let runs: Vec<&RunResults> = [Some(candidate), baseline].into_iter().flatten().collect();
    some_examples(store, &runs, &wanted, |example| {
        texts.entry(example.id.clone()).or_insert(example);
    })
    .await?;
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
    for (number, trial) in results.examples.get(id).into_iter().flat_map(|example| example.trials.iter()) {
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
    for (grader, draws) in trial.scores.iter() {
        for (draw, scored) in draws.iter() {
            detail.scores.push(ScoreDetail { grader: grader.to_string(), draw: *draw, scored: scored.clone() });
        }
    }
    Ok(detail)
}
