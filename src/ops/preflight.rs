//! Before money is spent: gates that can never pass with the examples of this run are refused.

use std::collections::BTreeSet;

use anyhow::anyhow;

use super::build::Parts;
use super::examples::Chosen;
use super::exit::{Done, Failed};
use super::findings;
use crate::compare::{self, DEFAULT_POWER, Wish, hopeless};
use crate::config::{OnInconclusive, Suite};
use crate::model::{GraderInfo, MetricRole, RunHeader, RunStatus};
use crate::runner::Examples;
use crate::store::Store;

/// Looks at the gates of a suite and gives what is worth a note.
///
/// `compared`: whether a comparison follows; `anyway`: nothing is refused.
///
/// # Errors
/// A gate can never pass, and an open one does not pass either.
pub fn check(
    suite: &Suite,
    parts: &Parts,
    examples: &Chosen,
    trials: u32,
    (compared, anyway): (bool, bool),
) -> Done<Vec<String>> {
    if suite.gate.metrics.is_empty() {
        return Ok(Vec::new());
    }
    let graders: Vec<GraderInfo> = parts.graders.iter().map(|grader| grader.info.clone()).collect();
    let units = independent(suite, examples)?;
    let found = hopeless(&suite.gate, &graders, (units, trials), compared);
    let told = |metric: &str, reason: &str| format!("{metric}: {reason}");
    let certain: Vec<String> =
        found.iter().filter(|one| one.certain).map(|one| told(&one.metric, &one.reason)).collect();
    if certain.is_empty() || anyway || suite.on_inconclusive == OnInconclusive::Pass {
        return Ok(found.iter().map(|one| told(&one.metric, &one.reason)).collect());
    }
    Err(Failed::usage(anyhow!(
        "a gate of suite `{}` can never pass, so nothing was run:\n  {}\nmend `[suites.{}.gate]`, or run with `--anyway`",
        suite.name,
        certain.join("\n  "),
        suite.name
    )))
}

/// What the comparison to come will see, from the blessed run and the newest other one over the same task; nothing where
/// there is no such pair. One sentence per gated metric.
pub async fn forecasts(store: &dyn Store, suite: &Suite, header: &RunHeader) -> Done<Vec<String>> {
    let Some(blessed) = store.baseline(&suite.name).await.map_err(Failed::instrument)? else { return Ok(Vec::new()) };
    let listed = store.runs(Some(&suite.name), 20).await.map_err(Failed::instrument)?;
    let alike = listed.iter().find(|run| {
        let same = run.header.dataset_digest == header.dataset_digest && run.header.id != header.id;
        run.status == RunStatus::Complete && same && run.header.id != blessed.run
    });
    let Some(other) = alike else { return Ok(Vec::new()) };
    let baseline = findings::load(store, &blessed.run).await?;
    let candidate = findings::load(store, &other.header.id).await?;
    if baseline.results.header.dataset_digest != header.dataset_digest {
        return Ok(Vec::new());
    }
    let spreads = compare::spreads(Some(&baseline.results), &candidate.results, &candidate.metas, &suite.gate, 0.0);
    let told = spreads.into_iter().filter_map(|spread| {
        let policy = suite.gate.metrics.get(&spread.metric).filter(|metric| metric.role == MetricRole::Gate)?;
        let grader = header.graders.iter().find(|grader| grader.name == spread.metric)?;
        let width = grader.scale.bounds().map_or(1.0, |(least, greatest)| greatest - least);
        let wish = Wish {
            margin: policy.margin.unwrap_or(0.05 * width),
            alpha: suite.gate.alpha,
            power: DEFAULT_POWER,
            examples: header.examples,
            most: None,
            trials: header.trials,
            draws: grader.draws,
            cost: (0.0, 0.0, 0.0),
            budget: None,
        };
        Some(compare::forecast(spread, &wish).sentence)
    });
    Ok(told.collect())
}

/// How many examples do not share a cluster.
fn independent(suite: &Suite, examples: &Chosen) -> Done<u64> {
    let mut clusters = BTreeSet::new();
    for index in 0..examples.len() {
        let example = examples.load(index).map_err(|error| Failed::usage(anyhow!(error)))?;
        let named = match &suite.gate.cluster_by {
            Some(dimension) => example.slice_dimensions().remove(dimension),
            None => example.cluster.clone(),
        };
        // An example's own id cannot be that of a cluster.
        clusters.insert(named.map_or_else(|| (false, example.id.as_str().to_owned()), |name| (true, name)));
    }
    Ok(clusters.len() as u64)
}
