//! From cells to one value per example, and from two runs to pairs.
//!
//! Draws are averaged into a trial, trials into an example: the example is the unit of inference (methods 1.0). An
//! unscored cell never becomes a number; where an example has no value at all, the pair is left out and counted.

use std::collections::BTreeMap;

pub(super) use super::roster::{Taking, Unit, pairing, roster, with_reach};
use super::{
    Cells, ExampleResult, Missing, TrialResult,
    measure::{Metric, Source},
};
use crate::{
    model::{Estimand, Score, TargetOutcome, Unscored, UnscoredReason},
    stats::{Design, Estimate, PairedCounts, is_singletons, mcnemar, mean_designed},
};

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
    /// Most draws of a trial.
    pub draws: u16,
    /// Draws beyond the first of each trial.
    pub draw_freedom: u16,
    /// Sum of squared distances of the trials from `value`.
    pub squares: f64,
    /// Sum of squared distances of the draws from their trial.
    pub draw_squares: f64,
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
    /// Cells with a label that has no declared value.
    pub valueless: u64,
    /// Cells whose value lies outside the declared bounds.
    pub outside: u64,
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

    /// Where the cells of a run went. `planned`: examples times trials times draws.
    pub fn cells(&self, planned: u64) -> Cells {
        let of = |keep: fn(UnscoredReason) -> bool| {
            self.reasons.iter().filter(|(reason, _)| keep(**reason)).map(|(_, count)| count).sum::<u64>()
        };
        let target_failed = of(|reason| reason == UnscoredReason::TargetFailed);
        let instrument = of(UnscoredReason::is_instrument_failure);
        let unscored = of(|_| true);
        Cells {
            planned: planned.max(self.scored + unscored),
            scored: self.scored - self.valueless,
            without_value: self.valueless,
            instrument,
            target_failed,
            not_applicable: unscored - instrument - target_failed,
            not_run: planned.saturating_sub(self.scored + unscored),
        }
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
                Source::Grader => self.reduce_trial(trial, metric, &mut reduced),
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

    fn reduce_trial(&mut self, trial: &TrialResult, metric: &Metric, reduced: &mut Reduced) -> Option<f64> {
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0_u16);
        let mut add = |number: f64| {
            sum += number;
            squares += number * number;
            count = count.saturating_add(1);
        };
        let Some(draws) = trial.scores.get(metric.name.as_str()) else {
            // A target that failed may leave no cells at all.
            let failed = matches!(trial.target, Some(TargetOutcome::Failed { .. }));
            return metric.fill.target_failed.filter(|_| failed);
        };
        for scored in draws.values() {
            match scored {
                Ok(Score { value, .. }) => {
                    self.scored += 1;
                    // A label without a declared value is a score that enters no mean.
                    match value.number() {
                        Some(number) => {
                            self.outside += u64::from(metric.is_outside(number));
                            add(number);
                        }
                        None => self.valueless += 1,
                    }
                }
                Err(Unscored { reason, .. }) => {
                    *self.reasons.entry(*reason).or_default() += 1;
                    reduced.instrument_failed |= reason.is_instrument_failure();
                    metric.fill.of(*reason).into_iter().for_each(&mut add);
                }
            }
        }
        if count == 0 {
            return None;
        }
        let mean = sum / f64::from(count);
        reduced.draws = reduced.draws.max(count);
        reduced.draw_freedom = reduced.draw_freedom.saturating_add(count - 1);
        reduced.draw_squares += (squares - f64::from(count) * mean * mean).max(0.0);
        Some(mean)
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
    /// Stratum of each; empty where strata are not used.
    pub strata: Vec<usize>,
    /// Share of its population that was chosen, of each; empty where not used.
    pub fractions: Vec<f64>,
    /// How the mean is taken.
    pub taking: Taking,
    /// Share of the variance that lies in the choice of examples: see [`Design::fixed`].
    pub fixed: f64,
    /// Whether each value is a single yes or no and clusters are singletons.
    pub bare: bool,
    /// Whether weights are equal besides: binomial inference fits.
    pub plain: bool,
}

impl Sample {
    /// The given examples of one side that have a value. Strata are not used: of a slice, some strata have one example.
    pub fn of(units: &[Unit<'_>], column: &Column, members: impl Iterator<Item = usize>) -> Self {
        let mut sample = Self { bare: true, ..Self::default() };
        for index in members {
            let (Some(unit), Some(reduced)) = (units.get(index), column.values.get(index)) else { continue };
            let Some(value) = reduced.value else { continue };
            sample.push(unit, value);
            sample.bare &= reduced.is_plain();
        }
        sample.settle();
        sample
    }

    /// All examples of one side that have a value, with the sampling design.
    pub fn whole(units: &[Unit<'_>], column: &Column, taking: Taking) -> Self {
        let mut sample = Self::of(units, column, 0..units.len());
        let with_value = || units.iter().zip(&column.values).filter(|(_, reduced)| reduced.value.is_some());
        sample.design(with_value().map(|(unit, _)| unit), taking);
        sample
    }

    fn push(&mut self, unit: &Unit<'_>, value: f64) {
        self.values.push(value);
        self.clusters.push(unit.cluster);
        self.weights.push(unit.weight);
    }

    fn settle(&mut self) {
        self.bare = self.bare && is_singletons(&self.clusters);
        self.plain = self.bare && equal(&self.weights);
    }

    fn design<'a>(&mut self, units: impl Iterator<Item = &'a Unit<'a>>, taking: Taking) {
        (self.strata, self.fractions) = units.map(|unit| (unit.stratum, unit.fraction)).unzip();
        self.taking = taking;
        if taking.estimand == Estimand::Dataset {
            self.weights.fill(1.0);
        }
        self.plain = self.bare && equal(&self.weights);
    }

    /// The same values, each counting once.
    pub fn as_it_is(&self) -> Self {
        let weights = vec![1.0; self.values.len()];
        let taking = Taking { estimand: Estimand::Dataset, ..self.taking };
        Self { weights, taking, plain: self.bare, ..self.clone() }
    }

    /// Whether weights differ, so that the dataset is not the population in small.
    pub fn is_weighted(&self) -> bool {
        !equal(&self.weights)
    }

    /// How many values are 1; meant for plain samples.
    pub fn passes(&self) -> u64 {
        self.values.iter().filter(|value| **value == 1.0).count() as u64
    }

    /// The mean of other values of the same examples: CR2 with equal weights, else Hájek under the design.
    pub fn mean_of(&self, values: &[f64], range: Option<(f64, f64)>, level: f64) -> Estimate {
        let drawn = Design { weights: &self.weights, clusters: &self.clusters, ..Design::default() };
        if equal(&self.weights) {
            return mean_designed(values, &drawn, range, level);
        }
        let design = Design {
            strata: &self.strata,
            fractions: &self.fractions,
            independent: self.taking.independent,
            fixed: self.fixed,
            collapse: self.taking.collapse,
            ..drawn
        };
        mean_designed(values, &design, range, level)
    }

    /// The mean of its own values.
    pub fn mean(&self, range: Option<(f64, f64)>, level: f64) -> Estimate {
        self.mean_of(&self.values, range, level)
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
    /// Mean over trials of the variance of a draw around its trial, per side; `None` without repeats.
    pub within_trial: (Option<f64>, Option<f64>),
    /// Most trials per example, per side.
    pub trials: (u32, u32),
    /// Most draws per trial, per side.
    pub draws: (u32, u32),
}

impl Pairs {
    /// The pairs among the given units of which both sides have a value. Strata are not used: see [`Sample::of`].
    pub fn of(units: &[Unit<'_>], columns: &Columns, members: impl Iterator<Item = usize>) -> Self {
        let mut pairs = Self::default();
        let mut bare = true;
        let (mut left, mut right) = (Within::default(), Within::default());
        for index in members {
            let (Some(unit), Some(a), Some(b)) =
                (units.get(index), columns.baseline.values.get(index), columns.candidate.values.get(index))
            else {
                continue;
            };
            let (Some(before), Some(after)) = (a.value, b.value) else { continue };
            bare &= a.is_plain() && b.is_plain();
            pairs.baseline.push(unit, before);
            pairs.candidate.push(unit, after);
            left.add(a);
            right.add(b);
        }
        for sample in [&mut pairs.baseline, &mut pairs.candidate] {
            sample.bare = bare;
            sample.settle();
        }
        pairs.within = (left.variance(), right.variance());
        pairs.within_trial = (left.draw_variance(), right.draw_variance());
        pairs.trials = (left.most, right.most);
        pairs.draws = (left.most_draws, right.most_draws);
        pairs
    }

    /// All pairs, with the sampling design. `fixed_outcomes`: measuring the same examples again gives the same values.
    pub fn whole(units: &[Unit<'_>], columns: &Columns, taking: Taking, fixed_outcomes: bool) -> Self {
        let mut pairs = Self::of(units, columns, 0..units.len());
        let both = || {
            let sides = columns.baseline.values.iter().zip(&columns.candidate.values);
            units.iter().zip(sides).filter(|(_, (a, b))| a.value.is_some() && b.value.is_some()).map(|(unit, _)| unit)
        };
        let fixed = if fixed_outcomes { 1.0 } else { 1.0 - pairs.noise().unwrap_or(1.0) };
        for sample in [&mut pairs.baseline, &mut pairs.candidate] {
            sample.design(both(), taking);
            sample.fixed = fixed;
        }
        pairs
    }

    /// Share of the variance of the differences that trials alone make; `None` without repeats on both sides.
    fn noise(&self) -> Option<f64> {
        let repeats = self.within.0? / f64::from(self.trials.0) + self.within.1? / f64::from(self.trials.1);
        let differences = self.differences();
        let count = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / count;
        let spread = differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (spread > 0.0).then(|| (repeats / spread).clamp(0.0, 1.0))
    }

    /// The same pairs, each counting once.
    pub fn as_they_are(&self) -> Self {
        Self { baseline: self.baseline.as_it_is(), candidate: self.candidate.as_it_is(), ..self.clone() }
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
        clusters.min(effective(&self.baseline.weights))
    }
}

/// Kish's effective number of examples with these weights, as a whole number.
pub(super) fn effective(weights: &[f64]) -> u64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |all, w| (all.0 + w, all.1 + w * w));
    if squares <= 0.0 { 0 } else { (sum * sum / squares + 1e-9).floor() as u64 }
}

/// Pools the variance of trials inside examples, and of draws inside trials.
#[derive(Default)]
struct Within {
    squares: f64,
    freedom: f64,
    most: u32,
    draw_squares: f64,
    draw_freedom: f64,
    most_draws: u32,
}

impl Within {
    fn add(&mut self, reduced: &Reduced) {
        self.squares += reduced.squares;
        self.freedom += f64::from(reduced.trials.saturating_sub(1));
        self.most = self.most.max(u32::from(reduced.trials));
        self.draw_squares += reduced.draw_squares;
        self.draw_freedom += f64::from(reduced.draw_freedom);
        self.most_draws = self.most_draws.max(u32::from(reduced.draws));
    }

    fn variance(&self) -> Option<f64> {
        (self.freedom > 0.0).then(|| self.squares / self.freedom)
    }

    fn draw_variance(&self) -> Option<f64> {
        (self.draw_freedom > 0.0).then(|| self.draw_squares / self.draw_freedom)
    }
}

fn equal(weights: &[f64]) -> bool {
    weights.windows(2).all(|pair| pair[0] == pair[1])
}
