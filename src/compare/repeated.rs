//! Repeated trials of yes-or-no metrics: the chance that one of k passes, and that all k do, for one run and between two.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ExampleMeta, RunResults,
    contrast::LEVEL,
    measure::Metric,
    pair::{self, Column, Columns, Unit},
};
use crate::model::{GatePolicy, Scale};
use crate::stats::{Estimate, mean_weighted, pass_at_k, pass_hat_k};

/// Most trials that are drawn at once.
const MOST: u64 = 16;

/// One k of one metric of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepeatedTrials {
    /// Metric.
    pub metric: String,
    /// How many trials are drawn.
    pub k: u64,
    /// Chance that at least one passes.
    pub pass_at_k: Estimate,
    /// Chance that all pass.
    pub pass_hat_k: Estimate,
}

/// One k of one metric in two runs, paired by example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RepeatedCompared {
    /// Metric.
    pub metric: String,
    /// How many trials are drawn.
    pub k: u64,
    /// Change of the chance that at least one passes.
    pub pass_at_k: Estimate,
    /// Change of the chance that all pass.
    pub pass_hat_k: Estimate,
}

/// Per example, the chance by k, where it has as many trials and each is a plain yes or no.
type Chance = fn(u64, u64, u64) -> Option<f64>;

/// Series over k of every yes-or-no metric with more than one trial.
pub fn repeated(results: &RunResults, metas: &[ExampleMeta], policy: &GatePolicy) -> Vec<RepeatedTrials> {
    let units = pair::roster(None, results, metas, policy);
    let metrics = binary(results, policy);
    let columns = Column::read_all(units.iter().map(|unit| unit.candidate), &metrics);
    let mut found = Vec::new();
    for (metric, column) in metrics.iter().zip(&columns) {
        for k in 1..=most(column) {
            let mean = |chance: Chance| mean(&units, |place| value(column, place, k, chance), Some((0.0, 1.0)));
            found.push(RepeatedTrials {
                metric: metric.name.clone(),
                k,
                pass_at_k: mean(pass_at_k),
                pass_hat_k: mean(pass_hat_k),
            });
        }
    }
    found
}

/// The same between two runs, over examples with enough trials in both.
pub fn repeated_compared(
    baseline: &RunResults,
    candidate: &RunResults,
    metas: &[ExampleMeta],
    policy: &GatePolicy,
) -> Vec<RepeatedCompared> {
    repeated_of(&pair::roster(Some(baseline), candidate, metas, policy), candidate, policy)
}

/// The same over units that are made already.
pub(super) fn repeated_of(units: &[Unit<'_>], candidate: &RunResults, policy: &GatePolicy) -> Vec<RepeatedCompared> {
    let metrics = binary(candidate, policy);
    let columns = Columns::read_all(units, &metrics);
    let mut found = Vec::new();
    for (metric, columns) in metrics.iter().zip(&columns) {
        for k in 1..=most(&columns.baseline).min(most(&columns.candidate)) {
            let change = |chance: Chance| {
                let gap = |place: usize| {
                    Some(value(&columns.candidate, place, k, chance)? - value(&columns.baseline, place, k, chance)?)
                };
                mean(units, gap, Some((-1.0, 1.0)))
            };
            found.push(RepeatedCompared {
                metric: metric.name.clone(),
                k,
                pass_at_k: change(pass_at_k),
                pass_hat_k: change(pass_hat_k),
            });
        }
    }
    found
}

fn binary(results: &RunResults, policy: &GatePolicy) -> Vec<Metric> {
    let graders = results.header.graders.iter().filter(|grader| grader.scale == Scale::Binary);
    graders.map(|grader| Metric::of_grader(grader, policy)).collect()
}

/// Most trials of an example; 0 where none is repeated or a trial is neither passed nor failed (a split vote of draws).
fn most(column: &Column) -> u64 {
    let split = column.values.iter().any(|reduced| reduced.passed + reduced.failed != reduced.trials);
    let most = column.values.iter().map(|reduced| u64::from(reduced.trials)).max().unwrap_or(0);
    if split || most < 2 { 0 } else { most.min(MOST) }
}

fn value(column: &Column, place: usize, k: u64, chance: Chance) -> Option<f64> {
    let reduced = column.values.get(place)?;
    chance(u64::from(reduced.trials), u64::from(reduced.passed), k)
}

fn mean(units: &[Unit<'_>], value: impl Fn(usize) -> Option<f64>, range: Option<(f64, f64)>) -> Estimate {
    let (mut values, mut weights, mut clusters) = (Vec::new(), Vec::new(), Vec::new());
    for (place, unit) in units.iter().enumerate() {
        if let Some(value) = value(place) {
            values.push(value);
            weights.push(unit.weight);
            clusters.push(unit.cluster);
        }
    }
    let mut estimate = mean_weighted(&values, &weights, &clusters, range, LEVEL);
    estimate.n_dropped = (units.len() - values.len()) as u64;
    if let (Some(interval), Some((least, greatest))) = (&mut estimate.interval, range) {
        interval.lo = interval.lo.max(least);
        interval.hi = interval.hi.min(greatest);
    }
    estimate
}
