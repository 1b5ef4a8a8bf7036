//! What a comparison is explained from besides scores: traces and inputs, read from the store once per question.

use std::collections::BTreeMap;

use super::exit::Done;
use super::findings::{self, Loaded};
use crate::compare::{Breakdown, BreakdownFold, Comparison, FeatureFold, Features, Nearest, Side};
use crate::model::{Digest, ExampleId, TargetOutcome};
use crate::store::Store;

/// Most trials of a run whose traces enter the table of agents and tools.
const MOST_TRACES: usize = 2_000;
/// Most trials of a run whose outputs slices are made of. A run with more is sliced by its dimensions and its journal only:
/// slices of a part would be set against examples of which nothing is known.
const MOST_OUTPUTS: usize = 20_000;

/// What was read.
pub struct Evidence {
    /// What is known of the examples.
    pub features: Features,
    /// Agents and tools.
    pub breakdown: Vec<Breakdown>,
}

/// Reads examples and outputs of both runs.
pub async fn gather(store: &dyn Store, baseline: &Loaded, candidate: &Loaded) -> Done<Evidence> {
    let mut parts = BreakdownFold::default();
    let mut features = FeatureFold::new();
    let runs = [&candidate.results, &baseline.results];
    findings::each_example(store, &runs, |example| features.push_example(&example)).await?;
    let sides = [(Side::Baseline, baseline), (Side::Candidate, candidate)];
    let sliced = sides.iter().all(|(_, loaded)| outputs(loaded).count() <= MOST_OUTPUTS);
    for (side, loaded) in sides {
        for (place, (id, digest)) in outputs(loaded).enumerate() {
            if place >= MOST_TRACES && !sliced {
                break;
            }
            let output = findings::output(store, digest).await?;
            if sliced {
                features.push_output(side, id, &output);
            }
            match (&output.trace, side) {
                (Some(trace), Side::Baseline) if place < MOST_TRACES => parts.push_baseline(trace),
                (Some(trace), Side::Candidate) if place < MOST_TRACES => parts.push_candidate(trace),
                _ => {}
            }
        }
    }
    let features = features.finish(&baseline.results, &candidate.results);
    Ok(Evidence { features, breakdown: parts.finish() })
}

fn outputs(loaded: &Loaded) -> impl Iterator<Item = (&ExampleId, &Digest)> {
    loaded.results.examples.iter().flat_map(|(id, example)| {
        example.trials.values().filter_map(move |trial| match &trial.target {
            Some(TargetOutcome::Output { digest, .. }) => Some((id, digest)),
            _ => None,
        })
    })
}

/// Adds to each explanation the examples nearest to those that got worse.
pub async fn set_beside(
    store: &dyn Store,
    baseline: &Loaded,
    candidate: &Loaded,
    comparison: &mut Comparison,
) -> Done<()> {
    let mut nearest = Nearest::new(comparison, &comparison.explanations);
    if nearest.is_empty() {
        return Ok(());
    }
    let runs = [&candidate.results, &baseline.results];
    let worse = nearest.worse();
    findings::some_examples(store, &runs, &worse, |example| nearest.read(&example)).await?;
    findings::each_example(store, &runs, |example| nearest.look(&example)).await?;
    let mut found: BTreeMap<_, _> = nearest.finish();
    for explanation in &mut comparison.explanations {
        explanation.contrasting = found.remove(&explanation.metric).unwrap_or_default();
    }
    Ok(())
}
