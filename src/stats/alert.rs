//! Conditions that may wake somebody: a window of live traces against a threshold or a baseline.
//!
//! Each condition warns when the point estimate is beyond the threshold (and, against a baseline, credibly worse than
//! it), and is critical when the confidence bound is beyond it. Too little data is unknown, never fine and never
//! firing. When to tell somebody is decided by `alarm`. `alpha` is one-sided.

use super::{
    dist::{normal_quantile, t_cdf, t_quantile},
    moments,
    quantile::{quantile, quantile_sorted},
    unpaired::welch,
};

/// What a condition says of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Too little data.
    #[default]
    Unknown,
    /// Within bounds.
    Ok,
    /// The estimate is beyond the threshold.
    Warn,
    /// So is its confidence bound.
    Critical,
}

impl Level {
    fn of(warn: bool, critical: bool) -> Self {
        match (warn, critical) {
            (_, true) => Self::Critical,
            (true, false) => Self::Warn,
            (false, false) => Self::Ok,
        }
    }

    /// Whether it warns at least; `None` while unknown.
    pub fn warns(self) -> Option<bool> {
        (self != Self::Unknown).then_some(self >= Self::Warn)
    }

    /// Whether it is critical; `None` while unknown.
    pub fn is_critical(self) -> Option<bool> {
        (self != Self::Unknown).then_some(self == Self::Critical)
    }
}

/// What a condition found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Condition {
    /// What it says.
    pub level: Level,
    /// The estimate, in the condition's unit.
    pub estimate: Option<f64>,
    /// One-sided lower bound of it.
    pub lower: Option<f64>,
    /// What it was held against.
    pub threshold: f64,
    /// Standard error of the estimate, where the condition has one.
    pub se: Option<f64>,
    /// One-sided p against "not worse than the baseline", where the condition tests it.
    pub p: Option<f64>,
}

/// Quality fell by at least `points` hundredths of the scale, scores in [0, 1], both windows independent (Welch).
/// Estimate and bound are the drop in points. Unknown while a window has fewer than `least` values.
pub fn quality_drop(baseline: &[f64], current: &[f64], points: f64, least: usize, alpha: f64) -> Condition {
    let unknown = Condition { threshold: points, ..Condition::default() };
    if baseline.len().min(current.len()) < least.max(2) {
        return unknown;
    }
    let change = welch(baseline, current, 1.0 - 2.0 * alpha);
    let Some(point) = change.estimate else { return unknown };
    let drop = -100.0 * point;
    let tested = change.se.zip(change.df);
    let p = tested.map(|(se, df)| t_cdf(point / se, df));
    // Windows that do not vary have no error to reckon with: the drop is its own bound.
    let lower = tested.map_or(drop, |(se, df)| drop - 100.0 * t_quantile(1.0 - alpha, df) * se);
    let level = Level::of(drop >= points && p.is_none_or(|p| p <= alpha), lower >= points);
    Condition { level, estimate: Some(drop), lower: Some(lower), threshold: points, se: change.se, p }
}

/// The 95th percentile is above `threshold`; the bound is an order statistic. Unknown below `least` values.
pub fn p95_above(values: &[f64], threshold: f64, least: usize, alpha: f64) -> Condition {
    let found = quantile(values, 0.95, 1.0 - 2.0 * alpha);
    let lower = found.lower.map(|(value, _)| value);
    let above = |value: Option<f64>| value.is_some_and(|value| value > threshold);
    let known = values.len() >= least && found.estimate.is_some();
    let level = if known { Level::of(above(found.estimate), above(lower)) } else { Level::Unknown };
    Condition { level, estimate: found.estimate, lower, threshold, ..Condition::default() }
}

/// The 95th percentile is above `ratio` times the baseline's, which counts as at least `floor`. `None` without a
/// baseline.
pub fn p95_ratio(
    baseline: &[f64],
    current: &[f64],
    (ratio, floor): (f64, f64),
    least: usize,
    alpha: f64,
) -> Option<Condition> {
    let mut sorted: Vec<f64> = baseline.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let threshold = ratio * quantile_sorted(&sorted, 0.95)?.max(floor);
    Some(p95_above(current, threshold, least, alpha))
}

/// The share of failed calls is above `threshold`: a ratio of sums with the trace as the independent unit. Each trace
/// is its errors and its calls. Unknown below `least` traces or calls; without any call there is no estimate.
pub fn error_rate(traces: &[(f64, f64)], threshold: f64, (least, calls): (usize, f64), alpha: f64) -> Condition {
    let errors = moments::sum(traces.iter().map(|(errors, _)| *errors));
    let all = moments::sum(traces.iter().map(|(_, calls)| *calls));
    let unknown = Condition { threshold, ..Condition::default() };
    if all.is_nan() || all <= 0.0 {
        return unknown;
    }
    let (k, rate) = (traces.len() as f64, errors / all);
    let squares = moments::sum(traces.iter().map(|(errors, calls)| (errors - rate * calls).powi(2)));
    let se = (k > 1.0).then(|| (k / (k - 1.0) * squares).sqrt() / all);
    let lower = se.map(|se| rate - t_quantile(1.0 - alpha, k - 1.0) * se);
    let known = traces.len() >= least && all >= calls && se.is_some();
    let critical = lower.is_some_and(|lower| lower > threshold);
    let level = if known { Level::of(rate > threshold, critical) } else { Level::Unknown };
    Condition { level, estimate: Some(rate), lower, threshold, se, p: None }
}

/// The mean cost is above `ratio` times the baseline's, by the delta method on the logarithm of the ratio. Fine while
/// the window cost less than `min_spend`; unknown below `least` values in a window.
pub fn cost_ratio(
    baseline: &[f64],
    current: &[f64],
    (ratio, min_spend): (f64, f64),
    least: usize,
    alpha: f64,
) -> Condition {
    let mut found = Condition { threshold: ratio, ..Condition::default() };
    let part = |values: &[f64]| {
        let mean = moments::mean(values).filter(|mean| *mean > 0.0)?;
        Some((mean, moments::variance(values)? / values.len() as f64 / (mean * mean)))
    };
    let (Some((before, noise)), Some((after, own_noise))) = (part(baseline), part(current)) else { return found };
    let estimate = after / before;
    let lower = (estimate.ln() - normal_quantile(1.0 - alpha) * (noise + own_noise).sqrt()).exp();
    (found.estimate, found.lower) = (Some(estimate), Some(lower));
    if baseline.len().min(current.len()) >= least {
        let small = is_small_spend(current, min_spend);
        found.level = Level::of(!small && estimate > ratio && lower > 1.0, !small && lower > ratio);
    }
    found
}

/// Whether a window cost too little to matter.
pub fn is_small_spend(current: &[f64], min_spend: f64) -> bool {
    moments::sum(current.iter().copied()) < min_spend
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_data_is_unknown() {
        assert_eq!(quality_drop(&[1.0; 100], &[0.0; 29], 10.0, 30, 0.01).level, Level::Unknown);
        assert_eq!(p95_above(&[9.0; 19], 1.0, 20, 0.01).level, Level::Unknown);
        assert_eq!(p95_above(&[], 1.0, 0, 0.01).level, Level::Unknown);
        assert_eq!(p95_ratio(&[], &[9.0; 40], (3.0, 1.0), 20, 0.01), None);
        assert_eq!(error_rate(&[], 0.15, (0, 0.0), 0.01).level, Level::Unknown);
        assert_eq!(error_rate(&[(5.0, 30.0)], 0.15, (1, 20.0), 0.01).level, Level::Unknown);
        assert_eq!(cost_ratio(&[0.0; 40], &[1.0; 40], (2.0, 1.0), 20, 0.01).level, Level::Unknown);
        assert_eq!(Level::Unknown.warns(), None);
    }

    #[test]
    fn windows_that_do_not_vary_are_held_against_the_threshold_itself() {
        assert_eq!(quality_drop(&[1.0; 40], &[0.0; 40], 10.0, 30, 0.01).level, Level::Critical);
        assert_eq!(quality_drop(&[1.0; 40], &[1.0; 40], 10.0, 30, 0.01).level, Level::Ok);
    }

    #[test]
    fn a_small_spend_wakes_nobody() {
        let (cheap, dear) = ([0.001; 60], [0.01, 0.012].repeat(30));
        assert_eq!(cost_ratio(&cheap, &dear, (2.0, 1.0), 20, 0.01).level, Level::Ok);
        assert_eq!(cost_ratio(&cheap, &dear, (2.0, 0.1), 20, 0.01).level, Level::Critical);
    }
}
