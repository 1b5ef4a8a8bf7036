//! Quality joined to cost: what a good answer costs, and who stands where on the frontier of the two.
//!
//! Ratios of means over the same examples, with intervals from the linearised log ratio over independent units. An
//! example enters where its quality and its cost are both known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ExampleMeta, MetricComparison, RunResults,
    contrast::LEVEL,
    measure::{MEASURES, Metric},
    pair::{self, Column, Unit},
    words::{self, Form},
};
use crate::model::{Change, Direction, GatePolicy, Scale};
use crate::stats::{Estimate, Interval, Status, mean_weighted, t_quantile};

/// What good answers cost in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CostOfGood {
    /// Metric of quality.
    pub metric: String,
    /// What is spent: `cost_usd`, `latency_ms` or `tokens`.
    pub spent: String,
    /// Share of good answers, or the mean as a share of its scale.
    pub quality: Estimate,
    /// Mean spent per example.
    pub mean: Estimate,
    /// Spent per good answer: all that was spent over all that was good.
    pub per_good: Estimate,
}

/// Quality and cost of two runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Frontier {
    /// Metric of quality.
    pub metric: String,
    /// What is spent.
    pub spent: String,
    /// The baseline.
    pub baseline: CostOfGood,
    /// The candidate.
    pub candidate: CostOfGood,
    /// How the quality moved; the finding of the metric.
    pub quality: Change,
    /// Mean spent, candidate over baseline.
    pub spent_ratio: Estimate,
    /// Spent per good answer, candidate over baseline.
    pub per_good_ratio: Estimate,
    /// Mean spent, candidate over baseline, on the examples that both answered equally well and well: the ratio at equal
    /// quality, example by example. Absent where quality is not yes or no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_at_equal_quality: Option<Estimate>,
    /// What each further good answer costs, where the candidate is credibly better and dearer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_further_good: Option<f64>,
    /// The finding in words.
    pub sentence: String,
}

/// One example: quality on [0, 1], spent, weight, cluster.
#[derive(Clone, Copy, Debug)]
struct Row {
    quality: f64,
    spent: f64,
}

/// Rows of both runs over the same examples.
#[derive(Default)]
struct Rows {
    baseline: Vec<Row>,
    candidate: Vec<Row>,
    weights: Vec<f64>,
    clusters: Vec<usize>,
}

/// Joins every metric that has a share of good to everything that is spent, over the examples of both runs.
pub fn frontier(
    baseline: &RunResults,
    candidate: &RunResults,
    metas: &[ExampleMeta],
    policy: &GatePolicy,
    found: &[MetricComparison],
) -> Vec<Frontier> {
    frontier_of(&pair::roster(Some(baseline), candidate, metas, policy), candidate, policy, found)
}

/// The same over units that are made already.
pub(super) fn frontier_of(
    units: &[Unit<'_>],
    candidate: &RunResults,
    policy: &GatePolicy,
    found: &[MetricComparison],
) -> Vec<Frontier> {
    let sides = [true, false].map(|first| {
        let results = units.iter().map(|unit| if first { unit.baseline } else { unit.candidate });
        let metrics = subjects(candidate, policy);
        (Column::read_all(results, &metrics), metrics)
    });
    let [(before, metrics), (after, _)] = sides;
    let count = candidate.header.graders.len();
    let mut frontiers = Vec::new();
    for (place, metric) in metrics.iter().enumerate().take(count) {
        let Some(finding) = found.iter().find(|found| found.name == metric.name) else { continue };
        let Some(range) = share_range(metric) else { continue };
        for (measure, spent) in metrics.iter().enumerate().skip(count) {
            let columns = [&before, &after].map(|side| side.get(place).zip(side.get(measure)));
            let [Some(left), Some(right)] = columns else { continue };
            let rows = Rows::of(units, left, right, range);
            frontiers.extend(rows.frontier(metric, spent, finding.change));
        }
    }
    frontiers
}

/// What good answers cost in one run, for every metric that has a share of good.
pub fn cost_of_good(results: &RunResults, metas: &[ExampleMeta], policy: &GatePolicy) -> Vec<CostOfGood> {
    let units = pair::roster(None, results, metas, policy);
    let metrics = subjects(results, policy);
    let columns = Column::read_all(units.iter().map(|unit| unit.candidate), &metrics);
    let count = results.header.graders.len();
    let mut found = Vec::new();
    for (metric, quality) in metrics.iter().zip(&columns).take(count) {
        let Some(range) = share_range(metric) else { continue };
        for (spent, column) in metrics.iter().zip(&columns).skip(count) {
            let rows = Rows::of(&units, (quality, column), (quality, column), range);
            if !rows.weights.is_empty() {
                found.push(rows.side(&rows.candidate, metric, spent));
            }
        }
    }
    found
}

fn subjects(results: &RunResults, policy: &GatePolicy) -> Vec<Metric> {
    let graders = results.header.graders.iter().map(|grader| Metric::of_grader(grader, policy));
    graders.chain(MEASURES.iter().map(|measure| Metric::of_measure(*measure, policy))).collect()
}

/// The ends of a scale that mean nothing good and all good; only for scales on which more is better.
fn share_range(metric: &Metric) -> Option<(f64, f64)> {
    metric.bounds().filter(|_| metric.direction == Direction::Higher)
}

impl Rows {
    fn of(
        units: &[Unit<'_>],
        (quality, spent): (&Column, &Column),
        (quality_after, spent_after): (&Column, &Column),
        (least, greatest): (f64, f64),
    ) -> Self {
        let mut rows = Self::default();
        let row = |place: usize, quality: &Column, spent: &Column| {
            let share = (quality.values.get(place)?.value? - least) / (greatest - least);
            Some(Row { quality: share, spent: spent.values.get(place)?.value? })
        };
        for (place, unit) in units.iter().enumerate() {
            let sides = (row(place, quality, spent), row(place, quality_after, spent_after));
            if let (Some(before), Some(after)) = sides {
                rows.baseline.push(before);
                rows.candidate.push(after);
                rows.weights.push(unit.weight);
                rows.clusters.push(unit.cluster);
            }
        }
        rows
    }

    fn mean(&self, values: impl Iterator<Item = f64>) -> Estimate {
        mean_weighted(&values.collect::<Vec<_>>(), &self.weights, &self.clusters, None, LEVEL)
    }

    fn side(&self, rows: &[Row], metric: &Metric, spent: &Metric) -> CostOfGood {
        CostOfGood {
            metric: metric.name.clone(),
            spent: spent.name.clone(),
            quality: self.mean(rows.iter().map(|row| row.quality)),
            mean: self.mean(rows.iter().map(|row| row.spent)),
            per_good: self.ratio(rows.iter().map(|row| row.spent), rows.iter().map(|row| row.quality)),
        }
    }

    /// A ratio of two means over the same examples.
    fn ratio(&self, above: impl Iterator<Item = f64> + Clone, below: impl Iterator<Item = f64> + Clone) -> Estimate {
        self.of_logs(&[(above.collect(), 1.0), (below.collect(), -1.0)])
    }

    /// `exp(sum sign * ln mean)` with the interval of its linearised logarithm. Not defined where a mean is not above 0.
    fn of_logs(&self, parts: &[(Vec<f64>, f64)]) -> Estimate {
        const METHOD: &str = "log_ratio_of_means_t";
        let n = self.weights.len();
        let total: f64 = self.weights.iter().sum();
        let absent = |status| Estimate::absent(status, n as u64, 0, METHOD);
        if n == 0 {
            return absent(Status::Empty);
        }
        let (mut log, mut deviations) = (0.0, vec![0.0; n]);
        for (values, sign) in parts {
            let mean = values.iter().zip(&self.weights).map(|(value, weight)| value * weight).sum::<f64>() / total;
            if !(mean.is_finite() && mean > 0.0) {
                return absent(Status::Undefined);
            }
            log += sign * mean.ln();
            for (deviation, value) in deviations.iter_mut().zip(values) {
                *deviation += sign * (value / mean - 1.0);
            }
        }
        let spread = mean_weighted(&deviations, &self.weights, &self.clusters, None, LEVEL);
        let interval = spread.se.zip(spread.df).map(|(se, df)| {
            let half = t_quantile(0.5 + 0.5 * LEVEL, df) * se;
            Interval::new((log - half).exp(), (log + half).exp(), LEVEL, METHOD)
        });
        Estimate { estimate: Some(log.exp()), se: None, interval, method: METHOD.to_owned(), ..spread }
    }

    fn frontier(&self, metric: &Metric, spent: &Metric, quality: Change) -> Option<Frontier> {
        if self.weights.is_empty() {
            return None;
        }
        let of = |rows: &[Row], read: fn(&Row) -> f64| rows.iter().map(read).collect::<Vec<f64>>();
        let good: fn(&Row) -> f64 = |row| row.quality;
        let paid: fn(&Row) -> f64 = |row| row.spent;
        let (before, after) = (self.side(&self.baseline, metric, spent), self.side(&self.candidate, metric, spent));
        let spent_ratio = self.of_logs(&[(of(&self.candidate, paid), 1.0), (of(&self.baseline, paid), -1.0)]);
        let per_good_ratio = self.of_logs(&[
            (of(&self.candidate, paid), 1.0),
            (of(&self.candidate, good), -1.0),
            (of(&self.baseline, paid), -1.0),
            (of(&self.baseline, good), 1.0),
        ]);
        let dearer = moved(&spent_ratio) == Some(true);
        let further = (quality == Change::Improved && dearer).then(|| {
            let gap = |of: &dyn Fn(&CostOfGood) -> Option<f64>| Some(of(&after)? - of(&before)?);
            Some(gap(&|side| side.mean.estimate)? / gap(&|side| side.quality.estimate)?)
        });
        let mut frontier = Frontier {
            metric: metric.name.clone(),
            spent: spent.name.clone(),
            baseline: before,
            candidate: after,
            quality,
            spent_ratio,
            per_good_ratio,
            ratio_at_equal_quality: (metric.scale == Scale::Binary).then(|| self.both_good()),
            per_further_good: further.flatten().filter(|cost| cost.is_finite() && *cost > 0.0),
            sentence: String::new(),
        };
        frontier.sentence = sentence(&frontier, metric, spent);
        Some(frontier)
    }

    /// The ratio over the examples on which every trial of both was good.
    fn both_good(&self) -> Estimate {
        let mut kept = Self::default();
        for place in 0..self.weights.len() {
            let (Some(before), Some(after)) = (self.baseline.get(place), self.candidate.get(place)) else { continue };
            if before.quality == 1.0 && after.quality == 1.0 {
                kept.baseline.push(*before);
                kept.candidate.push(*after);
                kept.weights.extend(self.weights.get(place));
                kept.clusters.extend(self.clusters.get(place));
            }
        }
        let paid = |rows: &[Row]| rows.iter().map(|row| row.spent).collect::<Vec<f64>>();
        kept.of_logs(&[(paid(&kept.candidate), 1.0), (paid(&kept.baseline), -1.0)])
    }
}

/// Whether a ratio is credibly above 1; `None` where neither above nor below is credible.
fn moved(ratio: &Estimate) -> Option<bool> {
    let interval = ratio.interval.as_ref()?;
    if interval.lo > 1.0 {
        return Some(true);
    }
    (interval.hi < 1.0).then_some(false)
}

/// `Ok and cost: cheaper at equal quality; a good answer costs $0.041 in place of $0.120 (×0.34; 95 % interval ...)`.
fn sentence(found: &Frontier, metric: &Metric, spent: &Metric) -> String {
    let form = Form::of(spent);
    let (more, less) = match spent.name.as_str() {
        "latency_ms" => ("slower", "faster"),
        "tokens" => ("longer", "shorter"),
        _ => ("dearer", "cheaper"),
    };
    let standing = match (found.quality, moved(&found.spent_ratio)) {
        (Change::Improved, Some(true)) => format!("better and {more}"),
        (Change::Improved, Some(false)) => format!("better and {less}"),
        (Change::Improved, None) => "better for as much".to_owned(),
        (Change::Regressed, Some(true)) => format!("worse and {more}"),
        (Change::Regressed, Some(false)) => format!("{less} but worse"),
        (Change::Regressed, None) => "worse for as much".to_owned(),
        (Change::Equivalent, Some(true)) => format!("{more} at equal quality"),
        (Change::Equivalent, Some(false)) => format!("{less} at equal quality"),
        (Change::Equivalent, None) => "equal in both".to_owned(),
        (Change::Inconclusive, Some(true)) => format!("{more}, and the quality is not decided"),
        (Change::Inconclusive, Some(false)) => format!("{less}, and the quality is not decided"),
        (Change::Inconclusive, None) => "neither is decided".to_owned(),
    };
    let head = format!("{} and {}: {standing}", words::title(&metric.name), words::title(&spent.name).to_lowercase());
    let level = |estimate: &Estimate| estimate.estimate.map(|value| form.level(value));
    let (Some(before), Some(after)) = (level(&found.baseline.per_good), level(&found.candidate.per_good)) else {
        return format!("{head}; one of them has no good answer.");
    };
    let thing = if metric.scale == Scale::Binary { "a good answer" } else { "an answer of full marks" };
    let verb = if spent.name == "cost_usd" { "costs" } else { "takes" };
    let ratio = found.per_good_ratio.estimate.map(|ratio| format!("×{ratio:.2}")).unwrap_or_default();
    let span = found.per_good_ratio.interval.as_ref().map_or_else(String::new, |interval| {
        format!("; {} interval ×{:.2} to ×{:.2}", words::level_text(interval.level), interval.lo, interval.hi)
    });
    let further = found
        .per_further_good
        .map_or_else(String::new, |cost| format!("; each further one {verb} {}", form.level(cost)));
    format!("{head}; {thing} {verb} {after} in place of {before} ({ratio}{span}){further}.")
}
