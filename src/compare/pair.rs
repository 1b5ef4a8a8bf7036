//! From cells to one value per example, and from two runs to pairs.
//!
//! Draws are averaged into a trial, trials into an example: the example is the unit of inference (methods 1.0). An
//! unscored cell never becomes a number; where an example has no value at all, the pair is left out and counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    ExampleMeta, ExampleResult, Missing, Pairing, RunResults, TrialResult,
    measure::{Metric, Source},
};
use crate::{
    model::{ExampleId, Score, Unscored, UnscoredReason},
    stats::{Estimate, PairedCounts, is_singletons, mcnemar},
};

/// One example of either run.
#[derive(Clone, Debug)]
pub(super) struct Unit<'a> {
    /// Id.
    pub id: &'a ExampleId,
    /// Number of its cluster, in the order of the clusters' names.
    pub cluster: usize,
    /// Sampling weight, above 0.
    pub weight: f64,
    /// Whether it was chosen for diversity.
    pub diverse: bool,
    /// Dimensions; `None` when the dataset at hand does not know the example.
    pub dimensions: Option<&'a BTreeMap<String, String>>,
    /// What the baseline has of it.
    pub baseline: Option<&'a ExampleResult>,
    /// What the candidate has of it.
    pub candidate: Option<&'a ExampleResult>,
}

impl Unit<'_> {
    /// Whether both runs have it.
    pub fn is_paired(&self) -> bool {
        self.baseline.is_some() && self.candidate.is_some()
    }
}

/// All examples of one or two runs, by id.
pub(super) fn roster<'a>(
    baseline: Option<&'a RunResults>,
    candidate: &'a RunResults,
    metas: &'a [ExampleMeta],
) -> Vec<Unit<'a>> {
    let known: HashMap<&ExampleId, &ExampleMeta> = metas.iter().map(|meta| (&meta.id, meta)).collect();
    let ids: BTreeSet<&ExampleId> =
        baseline.iter().flat_map(|run| run.examples.keys()).chain(candidate.examples.keys()).collect();
    let cluster_of = |id: &'a ExampleId| known.get(id).map_or(id.as_str(), |meta| meta.cluster.as_str());
    let names: BTreeSet<&str> = ids.iter().map(|id| cluster_of(id)).collect();
    let numbers: HashMap<&str, usize> = names.into_iter().enumerate().map(|(number, name)| (name, number)).collect();
    ids.into_iter()
        .map(|id| Unit {
            id,
            cluster: numbers.get(cluster_of(id)).copied().unwrap_or_default(),
            weight: known.get(id).map(|meta| meta.weight).filter(|w| w.is_finite() && *w > 0.0).unwrap_or(1.0),
            diverse: known.get(id).is_some_and(|meta| meta.diverse),
            dimensions: known.get(id).map(|meta| &meta.dimensions),
            baseline: baseline.and_then(|run| run.examples.get(id)),
            candidate: candidate.examples.get(id),
        })
        .collect()
}

/// Says of an estimate over examples chosen for diversity what it is not.
pub(super) fn with_reach(estimate: Estimate, units: &[Unit<'_>]) -> Estimate {
    if estimate.estimate.is_some() && units.iter().any(|unit| unit.diverse) {
        return estimate.warn(
            "the examples were chosen for diversity and are not a probability sample: this is about them, not about \
             the population",
        );
    }
    estimate
}

/// Where the examples went.
pub(super) fn pairing(units: &[Unit<'_>]) -> Pairing {
    let count = |keep: fn(&Unit<'_>) -> bool| units.iter().filter(|unit| keep(unit)).count() as u64;
    Pairing {
        paired: count(|unit| unit.is_paired()),
        only_baseline: count(|unit| unit.candidate.is_none()),
        only_candidate: count(|unit| unit.baseline.is_none()),
    }
}

/// One example's value of one metric in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reduced {
    /// Mean over trials of means over draws; `None` without any value.
    pub value: Option<f64>,
    /// Trials that have a value; small numbers, because there is one of these per example and metric.
    pub trials: u16,
    /// Trials whose value is exactly 1.
    pub passed: u16,
    /// Trials whose value is exactly 0.
    pub failed: u16,
    /// Sum of squared distances of the trials from `value`.
    pub squares: f64,
    /// Whether a cell is unscored because the instrument failed.
    pub instrument_failed: bool,
}

impl Reduced {
    /// Whether trials of a yes-or-no metric disagree.
    pub fn flaky(&self) -> bool {
        self.trials > 1 && self.squares > 0.0
    }

    /// Whether there is one trial with a plain yes or no.
    pub fn is_plain(&self) -> bool {
        self.trials == 1 && self.passed + self.failed == 1
    }
}

/// One metric of one run over all units, with counts over its cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// By unit; empty values where the run lacks the unit.
    pub values: Vec<Reduced>,
    /// Cells (trials, for measures) with a value.
    pub scored: u64,
    /// Cells without, by reason; always empty for measures.
    pub reasons: BTreeMap<UnscoredReason, u64>,
}

impl Column {
    /// Reads all metrics of one side, each example once: examples lie scattered in memory, metrics of one do not.
    pub fn read_all<'a>(results: impl Iterator<Item = Option<&'a ExampleResult>>, metrics: &[Metric]) -> Vec<Self> {
        let mut columns = vec![Self::default(); metrics.len()];
        let mut values = Vec::new();
        for result in results {
            for (column, metric) in columns.iter_mut().zip(metrics) {
                let reduced = result.map_or_else(Reduced::default, |result| column.reduce(result, metric, &mut values));
                column.values.push(reduced);
            }
        }
        columns
    }

    /// Cells that the instrument left unscored.
    pub fn instrument_failures(&self) -> u64 {
        self.reasons.iter().filter(|(reason, _)| reason.is_instrument_failure()).map(|(_, count)| count).sum()
    }

    /// Share of the cells to be graded that the instrument left unscored; cells to which the grader does not apply
    /// and those of failed targets are not its doing and do not count. `None` without cells.
    pub fn failure_rate(&self) -> Option<f64> {
        let failures = self.instrument_failures();
        let graded = self.scored + failures;
        (graded > 0).then(|| failures as f64 / graded as f64)
    }

    /// Whether any example has a value.
    pub fn has_values(&self) -> bool {
        self.values.iter().any(|reduced| reduced.value.is_some())
    }

    /// `values` is scratch space, so that no example allocates.
    fn reduce(&mut self, example: &ExampleResult, metric: &Metric, values: &mut Vec<f64>) -> Reduced {
        let mut reduced = Reduced::default();
        values.clear();
        for trial in example.trials.values() {
            let value = match metric.source {
                Source::Grader => self.reduce_trial(trial, &metric.name, &mut reduced),
                Source::Measure(measure) => {
                    let value = trial.target.as_ref().and_then(measure.read);
                    self.scored += u64::from(value.is_some());
                    value
                }
            };
            values.extend(value);
        }
        if values.is_empty() {
            return reduced;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        reduced.value = Some(mean);
        let small = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        reduced.trials = small(values.len());
        reduced.passed = small(values.iter().filter(|value| **value == 1.0).count());
        reduced.failed = small(values.iter().filter(|value| **value == 0.0).count());
        reduced.squares = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        reduced
    }

    fn reduce_trial(&mut self, trial: &TrialResult, grader: &str, reduced: &mut Reduced) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0_u32);
        for scored in trial.scores.get(grader)?.values() {
            match scored {
                Ok(Score { value, .. }) => {
                    self.scored += 1;
                    // A label without a declared value is a score that enters no mean.
                    if let Some(number) = value.number() {
                        sum += number;
                        count += 1;
                    }
                }
                Err(Unscored { reason, .. }) => {
                    *self.reasons.entry(*reason).or_default() += 1;
                    reduced.instrument_failed |= reason.is_instrument_failure();
                }
            }
        }
        (count > 0).then(|| sum / f64::from(count))
    }
}

/// Both sides of one metric.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    /// The baseline's.
    pub baseline: Column,
    /// The candidate's.
    pub candidate: Column,
}

impl Columns {
    /// Reads all metrics of both runs.
    pub fn read_all(units: &[Unit<'_>], metrics: &[Metric]) -> Vec<Self> {
        let baseline = Column::read_all(units.iter().map(|unit| unit.baseline), metrics);
        let candidate = Column::read_all(units.iter().map(|unit| unit.candidate), metrics);
        baseline.into_iter().zip(candidate).map(|(baseline, candidate)| Self { baseline, candidate }).collect()
    }

    /// What had to be left out of the pairs, and whether the instrument failed more often on one side.
    pub fn missing(&self, units: &[Unit<'_>]) -> Missing {
        let mut missing = Missing {
            baseline_reasons: self.baseline.reasons.clone(),
            candidate_reasons: self.candidate.reasons.clone(),
            ..Missing::default()
        };
        let mut counts = PairedCounts::default();
        for ((unit, baseline), candidate) in units.iter().zip(&self.baseline.values).zip(&self.candidate.values) {
            if !unit.is_paired() {
                continue;
            }
            match (baseline.value, candidate.value) {
                (Some(_), Some(_)) => {}
                (None, Some(_)) => missing.no_baseline_score += 1,
                (Some(_), None) => missing.no_candidate_score += 1,
                (None, None) => missing.neither += 1,
            }
            counts.n += 1;
            counts.improved += u64::from(baseline.instrument_failed && !candidate.instrument_failed);
            counts.worsened += u64::from(!baseline.instrument_failed && candidate.instrument_failed);
        }
        let failures = self.baseline.instrument_failures() + self.candidate.instrument_failures();
        missing.differs_p = mcnemar(counts).filter(|_| failures > 0).map(|tests| tests.mid_p);
        missing
    }
}

/// Values of one run, ready for an estimate.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// One per example with a value.
    pub values: Vec<f64>,
    /// Cluster of each.
    pub clusters: Vec<usize>,
    /// Weight of each.
    pub weights: Vec<f64>,
    /// Whether each value is a single yes or no, clusters are singletons and weights equal: binomial inference fits.
    pub plain: bool,
}

impl Sample {
    /// The given examples of one side that have a value.
    pub fn of(units: &[Unit<'_>], column: &Column, members: impl Iterator<Item = usize>) -> Self {
        let mut sample = Self { plain: true, ..Self::default() };
        for index in members {
            let (Some(unit), Some(reduced)) = (units.get(index), column.values.get(index)) else { continue };
            let Some(value) = reduced.value else { continue };
            sample.values.push(value);
            sample.clusters.push(unit.cluster);
            sample.weights.push(unit.weight);
            sample.plain &= reduced.is_plain();
        }
        sample.plain &= is_singletons(&sample.clusters) && equal(&sample.weights);
        sample
    }

    /// How many values are 1; meant for plain samples.
    pub fn passes(&self) -> u64 {
        self.values.iter().filter(|value| **value == 1.0).count() as u64
    }
}

/// Pairs of one metric.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    /// The baseline's values.
    pub baseline: Sample,
    /// The candidate's, in the same order.
    pub candidate: Sample,
    /// Mean over pairs of the variance of a trial around its example, per side; `None` without repeats.
    pub within: (Option<f64>, Option<f64>),
    /// Most trials per example, per side.
    pub trials: (u32, u32),
}

impl Pairs {
    /// The pairs among the given units of which both sides have a value.
    pub fn of(units: &[Unit<'_>], columns: &Columns, members: impl Iterator<Item = usize>) -> Self {
        let mut pairs = Self::default();
        let mut plain = true;
        let (mut left, mut right) = (Within::default(), Within::default());
        for index in members {
            let (Some(unit), Some(a), Some(b)) =
                (units.get(index), columns.baseline.values.get(index), columns.candidate.values.get(index))
            else {
                continue;
            };
            let (Some(before), Some(after)) = (a.value, b.value) else { continue };
            plain &= a.is_plain() && b.is_plain();
            for (sample, value) in [(&mut pairs.baseline, before), (&mut pairs.candidate, after)] {
                sample.values.push(value);
                sample.clusters.push(unit.cluster);
                sample.weights.push(unit.weight);
            }
            left.add(a);
            right.add(b);
        }
        plain &= is_singletons(&pairs.baseline.clusters) && equal(&pairs.baseline.weights);
        pairs.baseline.plain = plain;
        pairs.candidate.plain = plain;
        pairs.within = (left.variance(), right.variance());
        pairs.trials = (left.most, right.most);
        pairs
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.baseline.values.len()
    }

    /// Whether both sides are single yes-or-no values of independent, equally weighted examples.
    pub fn is_plain(&self) -> bool {
        self.baseline.plain
    }

    /// Candidate minus baseline.
    pub fn differences(&self) -> Vec<f64> {
        self.baseline.values.iter().zip(&self.candidate.values).map(|(before, after)| after - before).collect()
    }

    /// Pairs that changed sides; meant for plain pairs.
    pub fn counts(&self) -> PairedCounts {
        let mut counts = PairedCounts { n: self.len() as u64, ..PairedCounts::default() };
        for (before, after) in self.baseline.values.iter().zip(&self.candidate.values) {
            counts.improved += u64::from(after > before);
            counts.worsened += u64::from(after < before);
        }
        counts
    }

    /// Kish's effective number of pairs, at most the number of clusters.
    pub fn effective_units(&self, clusters: u64) -> u64 {
        let weights = &self.baseline.weights;
        let (sum, squares) = weights.iter().fold((0.0, 0.0), |all, w| (all.0 + w, all.1 + w * w));
        if squares <= 0.0 { 0 } else { clusters.min((sum * sum / squares + 1e-9).floor() as u64) }
    }
}

/// Pools the variance of trials inside examples.
#[derive(Default)]
struct Within {
    squares: f64,
    freedom: f64,
    most: u32,
}

impl Within {
    fn add(&mut self, reduced: &Reduced) {
        self.squares += reduced.squares;
        self.freedom += f64::from(reduced.trials.saturating_sub(1));
        self.most = self.most.max(u32::from(reduced.trials));
    }

    fn variance(&self) -> Option<f64> {
        (self.freedom > 0.0).then(|| self.squares / self.freedom)
    }
}

fn equal(weights: &[f64]) -> bool {
    weights.windows(2).all(|pair| pair[0] == pair[1])
}
