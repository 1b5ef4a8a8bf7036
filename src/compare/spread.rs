//! Where the variance of a difference comes from: estimated from one or two stored runs, or assumed (methods 1.8).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ExampleMeta, RunResults,
    measure::Metric,
    pair::{self, Column, Columns, Pairs, Sample, Taking},
    words,
};
use crate::{
    model::{GatePolicy, Scale},
    stats::clustered_mean,
};

/// Where the variance of a difference comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Metric.
    pub metric: String,
    /// Examples it was estimated from; 0 when assumed.
    pub examples: u64,
    /// Trials and draws of the pilot.
    pub repeats: (u32, u32),
    /// Variance over examples of the true difference between two versions.
    pub between: f64,
    /// Variance over examples of the true score of one version.
    pub example: f64,
    /// Variance of one trial around its example; `None` where trials were not repeated.
    pub trial: Option<f64>,
    /// Variance of one draw around its trial; `None` where draws were not repeated.
    pub draw: Option<f64>,
    /// What clusters multiply the variance with; 1 without.
    pub design_effect: f64,
    /// Whether it is a yes-or-no metric.
    pub binary: bool,
    /// What a careful reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Spread {
    /// Variance that one example contributes to a difference with so many trials and draws.
    pub fn per_example(&self, trials: u32, draws: u32) -> f64 {
        let (trial, draw) = (self.trial.unwrap_or(0.0), self.draw.unwrap_or(0.0));
        let (trials, draws) = (f64::from(trials.max(1)), f64::from(draws.max(1)));
        self.design_effect * (self.between + 2.0 * (trial + draw / draws) / trials)
    }

    /// A yes-or-no metric of which a share of the examples is expected to change sides, `noise` of it by chance alone.
    pub fn of_discordance(metric: &str, discordant: f64, noise: f64) -> Self {
        Self {
            metric: metric.to_owned(),
            repeats: (1, 1),
            between: discordant * (1.0 - noise),
            trial: Some(0.5 * discordant * noise),
            example: discordant,
            design_effect: 1.0,
            binary: true,
            notes: vec![format!(
                "assumed: {} of the examples change sides, {} of them by chance alone",
                words::percent(discordant),
                words::percent(noise)
            )],
            ..Self::default()
        }
    }

    /// A number with a spread over examples and a correlation between versions; repeats change nothing.
    pub fn of_deviation(metric: &str, deviation: f64, correlation: f64) -> Self {
        Self {
            metric: metric.to_owned(),
            repeats: (1, 1),
            between: 2.0 * deviation * deviation * (1.0 - correlation),
            example: deviation * deviation,
            design_effect: 1.0,
            notes: vec![format!(
                "assumed: standard deviation {} over examples, correlation {correlation} between versions",
                words::plain(deviation)
            )],
            ..Self::default()
        }
    }
}

/// Spreads of all graded metrics from stored runs: from a pair of runs, or from one and an assumed `correlation` of the
/// true scores of two versions.
pub fn spreads(
    baseline: Option<&RunResults>,
    candidate: &RunResults,
    metas: &[ExampleMeta],
    policy: &GatePolicy,
    correlation: f64,
) -> Vec<Spread> {
    let units = pair::roster(baseline, candidate, metas, policy);
    let metrics: Vec<Metric> =
        candidate.header.graders.iter().map(|grader| Metric::of_grader(grader, policy)).collect();
    let made: Vec<Spread> = match baseline {
        Some(_) => {
            let columns = Columns::read_all(&units, &metrics);
            metrics
                .iter()
                .zip(columns)
                .map(|(metric, columns)| of_pairs(metric, &Pairs::of(&units, &columns, 0..units.len())))
                .collect()
        }
        None => {
            let columns = Column::read_all(units.iter().map(|unit| unit.candidate), &metrics);
            metrics
                .iter()
                .zip(columns)
                .map(|(metric, column)| {
                    // A run paired with itself pools its own repeats.
                    let columns = Columns { baseline: column.clone(), candidate: column.clone() };
                    let pairs = Pairs::of(&units, &columns, 0..units.len());
                    of_one(metric, &pairs, &Sample::whole(&units, &column, Taking::default()), correlation)
                })
                .collect()
        }
    };
    made.into_iter().filter(|spread| spread.examples > 1).collect()
}

/// Variance of a trial without that of its draws, and that of a draw; each the mean of both sides.
fn repeats(pairs: &Pairs) -> (Option<f64>, Option<f64>) {
    let mean = |(a, b): (Option<f64>, Option<f64>)| match (a, b) {
        (Some(a), Some(b)) => Some(0.5 * (a + b)),
        (one, other) => one.or(other),
    };
    let draw = mean(pairs.within_trial);
    let draws = f64::from(pairs.draws.0.max(1));
    let trial = mean(pairs.within).map(|trial| (trial - draw.unwrap_or(0.0) / draws).max(0.0));
    (trial, draw)
}

fn of_pairs(metric: &Metric, pairs: &Pairs) -> Spread {
    let differences = pairs.differences();
    let (trial, draw) = repeats(pairs);
    let (total, design_effect) = spread_of(&differences, &pairs.baseline.clusters);
    let noise = |within: Option<f64>, trials: u32| within.unwrap_or(0.0) / f64::from(trials.max(1));
    let repeats = noise(pairs.within.0, pairs.trials.0) + noise(pairs.within.1, pairs.trials.1);
    let mut notes = vec![format!("from {}", words::count(pairs.len() as u64, "pair"))];
    notes.extend(unsplit(trial, draw));
    Spread {
        metric: metric.name.clone(),
        examples: pairs.len() as u64,
        repeats: (pairs.trials.0, pairs.draws.0),
        between: (total - repeats).max(0.0),
        example: (spread_of(&pairs.baseline.values, &pairs.baseline.clusters).0
            - noise(pairs.within.0, pairs.trials.0))
        .max(0.0),
        trial,
        draw,
        design_effect,
        binary: metric.scale == Scale::Binary,
        notes,
    }
}

fn of_one(metric: &Metric, pairs: &Pairs, sample: &Sample, correlation: f64) -> Spread {
    let (trial, draw) = repeats(pairs);
    let (total, design_effect) = spread_of(&sample.values, &sample.clusters);
    let example = (total - pairs.within.0.unwrap_or(0.0) / f64::from(pairs.trials.0.max(1))).max(0.0);
    let mut notes = vec![format!(
        "from one run: the true scores of two versions are assumed to correlate at {correlation}; a pilot of two runs \
         would tell"
    )];
    notes.extend(unsplit(trial, draw));
    Spread {
        metric: metric.name.clone(),
        examples: sample.values.len() as u64,
        repeats: (pairs.trials.0, pairs.draws.0),
        between: 2.0 * example * (1.0 - correlation),
        example,
        trial,
        draw,
        design_effect,
        binary: metric.scale == Scale::Binary,
        notes,
    }
}

/// What the pilot could not tell apart.
fn unsplit(trial: Option<f64>, draw: Option<f64>) -> Option<String> {
    match (trial, draw) {
        (None, _) => Some(
            "the pilot has one trial of each example, so that chance and change cannot be told apart: more trials are \
             not planned; repeat the pilot with `--trials 3`"
                .to_owned(),
        ),
        (Some(_), None) => {
            Some("the pilot has one draw of each trial, so that trial and judge count as one".to_owned())
        }
        _ => None,
    }
}

/// Variance of values, and what clusters multiply that of their mean with; at least 1, because a pilot that seems to gain
/// by clusters has been lucky.
fn spread_of(values: &[f64], clusters: &[usize]) -> (f64, f64) {
    let found = clustered_mean(values, clusters);
    let variance = found.se_naive.map_or(0.0, |se| se * se * values.len() as f64);
    (variance, found.design_effect().unwrap_or(1.0).max(1.0))
}
