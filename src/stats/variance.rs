//! Where variance comes from: examples, trials, draws; and how to spend repeats on it.

use super::{Status, moments};

/// One-way components: examples and trials inside them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OneWay {
    /// Insufficient with fewer than two examples or no repeated trial.
    pub status: Status,
    /// Mean square between examples.
    pub ms_between: Option<f64>,
    /// Mean square inside examples; absent without replication.
    pub ms_within: Option<f64>,
    /// Average trials per example, corrected for imbalance.
    pub n0: Option<f64>,
    /// Variance of examples, at least 0.
    pub between: Option<f64>,
    /// Variance of trials inside an example.
    pub within: Option<f64>,
    /// Whether the estimate between was negative and set to 0.
    pub truncated: bool,
}

impl OneWay {
    /// Intraclass correlation; `None` when nothing varies.
    pub fn icc(&self) -> Option<f64> {
        let total = self.between? + self.within?;
        (total > 0.0).then(|| self.between.unwrap_or(0.0) / total)
    }
}

/// Analysis of variance over examples with their trials; empty examples are left out.
pub fn one_way(examples: &[Vec<f64>]) -> OneWay {
    let groups: Vec<&Vec<f64>> = examples.iter().filter(|trials| !trials.is_empty()).collect();
    let values: Vec<f64> = groups.iter().flat_map(|trials| trials.iter().copied()).collect();
    let Some(grand) = moments::mean(&values) else {
        return OneWay::default();
    };
    let (count, total) = (groups.len() as f64, values.len() as f64);
    if groups.len() < 2 {
        return OneWay { status: Status::Insufficient, ..OneWay::default() };
    }
    let (mut between, mut within, mut sizes) = (0.0, 0.0, 0.0);
    for trials in &groups {
        let size = trials.len() as f64;
        let center = moments::mean(trials).unwrap_or(grand);
        between += size * (center - grand) * (center - grand);
        within += moments::squares(trials, center);
        sizes += size * size;
    }
    let ms_between = between / (count - 1.0);
    let n0 = (total - sizes / total) / (count - 1.0);
    let found = OneWay { ms_between: Some(ms_between), n0: Some(n0), ..OneWay::default() };
    if values.len() == groups.len() {
        return OneWay { status: Status::Insufficient, n0: None, ..found };
    }
    let ms_within = within / (total - count);
    let component = (ms_between - ms_within) / n0;
    OneWay {
        status: if moments::all_equal(&values) { Status::ZeroVariance } else { Status::Ok },
        ms_within: Some(ms_within),
        between: Some(component.max(0.0)),
        within: Some(ms_within),
        truncated: component < 0.0,
        ..found
    }
}

/// Nested components: examples, trials inside them, draws inside those.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Nested {
    /// Insufficient with fewer than two examples, trials or draws; undefined when not balanced. With a single draw
    /// `trial` holds trials and draws together, and the status is insufficient.
    pub status: Status,
    /// Mean square of examples.
    pub ms_example: Option<f64>,
    /// Mean square of trials.
    pub ms_trial: Option<f64>,
    /// Variance of examples, at least 0.
    pub example: Option<f64>,
    /// Variance of trials, at least 0.
    pub trial: Option<f64>,
    /// Variance of draws.
    pub draw: Option<f64>,
    /// Variance of the grand mean that these predict.
    pub of_mean: Option<f64>,
}

/// Balanced analysis of `scores[example][trial][draw]`.
pub fn nested(scores: &[Vec<Vec<f64>>]) -> Nested {
    let (n, k) = (scores.len(), scores.first().map_or(0, Vec::len));
    let j = scores.first().and_then(|trials| trials.first()).map_or(0, Vec::len);
    if n == 0 || k == 0 || j == 0 {
        return Nested::default();
    }
    if scores.iter().any(|trials| trials.len() != k || trials.iter().any(|draws| draws.len() != j)) {
        return Nested { status: Status::Undefined, ..Nested::default() };
    }
    if n < 2 || k < 2 {
        return Nested { status: Status::Insufficient, ..Nested::default() };
    }
    let of = |values: &[f64]| moments::mean(values).unwrap_or(0.0);
    let trial_means: Vec<Vec<f64>> =
        scores.iter().map(|trials| trials.iter().map(|draws| of(draws)).collect()).collect();
    let example_means: Vec<f64> = trial_means.iter().map(|means| of(means)).collect();
    let grand = of(&example_means);
    let (count, trials, draws) = (n as f64, k as f64, j as f64);
    let ms_example = trials * draws * moments::squares(&example_means, grand) / (count - 1.0);
    let trial_squares: f64 =
        trial_means.iter().zip(&example_means).map(|(means, center)| moments::squares(means, *center)).sum();
    let ms_trial = draws * trial_squares / (count * (trials - 1.0));
    if j == 1 {
        return Nested {
            status: Status::Insufficient,
            ms_example: Some(ms_example),
            ms_trial: Some(ms_trial),
            trial: Some(ms_trial),
            example: Some(((ms_example - ms_trial) / trials).max(0.0)),
            ..Nested::default()
        };
    }
    let draw_squares: f64 = scores
        .iter()
        .flatten()
        .zip(trial_means.iter().flatten())
        .map(|(values, center)| moments::squares(values, *center))
        .sum();
    let draw = draw_squares / (count * trials * (draws - 1.0));
    let trial = ((ms_trial - draw) / draws).max(0.0);
    let example = ((ms_example - ms_trial) / (trials * draws)).max(0.0);
    Nested {
        status: Status::Ok,
        ms_example: Some(ms_example),
        ms_trial: Some(ms_trial),
        example: Some(example),
        trial: Some(trial),
        draw: Some(draw),
        of_mean: Some(example / count + trial / (count * trials) + draw / (count * trials * draws)),
    }
}

/// What one more of each costs, and how much each varies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Variances of example, trial, draw.
    pub variance: (f64, f64, f64),
    /// Cost of an example, a trial, a draw.
    pub cost: (f64, f64, f64),
}

/// Trials per example and draws per trial that give the least variance for the money.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allocation {
    /// Best draws before rounding; `None` when the trials do not vary or a draw costs nothing.
    pub draws_exact: Option<f64>,
    /// Best trials before rounding; `None` when examples do not vary or repeats cost nothing.
    pub trials_exact: Option<f64>,
    /// Draws, at least 1; 1 where the best is not defined.
    pub draws: u32,
    /// Trials, at least 1.
    pub trials: Option<u32>,
}

/// Optimal repeats (methods 1.8): `J* = sqrt(vj/vt ct/cj)`, `K* = sqrt((vt + vj/J)/ve ce/(ct + J cj))`.
pub fn allocate(budget: Budget) -> Allocation {
    let (example, trial, draw) = budget.variance;
    let (cost_example, cost_trial, cost_draw) = budget.cost;
    let whole = |value: f64| value.round_ties_even().clamp(1.0, 1e6) as u32;
    let draws_exact = (trial > 0.0 && cost_draw > 0.0).then(|| (draw / trial * cost_trial / cost_draw).sqrt());
    let draws = draws_exact.map_or(1, whole);
    let each = f64::from(draws);
    let repeat = cost_trial + each * cost_draw;
    let trials_exact =
        (example > 0.0 && repeat > 0.0).then(|| ((trial + draw / each) / example * cost_example / repeat).sqrt());
    Allocation { draws_exact, trials_exact, draws, trials: trials_exact.map(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(one_way(&[]).status, Status::Empty);
        assert_eq!(one_way(&[vec![1.0, 0.0]]).status, Status::Insufficient);
        let single = one_way(&[vec![1.0], vec![0.0]]);
        assert_eq!((single.status, single.within), (Status::Insufficient, None));
        assert!(one_way(&[vec![1.0, 0.0], vec![0.0, 1.0]]).truncated);
        assert_eq!(nested(&[vec![vec![1.0]]]).status, Status::Insufficient);
    }
}
