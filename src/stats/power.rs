//! How much data a comparison needs, and what it can see: stated before money is spent.

use super::dist::{binomial_cdf, binomial_pmf, noncentral_t_cdf, normal_quantile, t_quantile};

/// What drives the variance of a paired comparison (Miller 2024, section 5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variances {
    /// Variance over examples of the true difference.
    pub between: f64,
    /// Variance of one trial around its example's mean, baseline.
    pub within_baseline: f64,
    /// The same of the candidate.
    pub within_candidate: f64,
    /// Trials per example, baseline.
    pub trials_baseline: u32,
    /// Trials per example, candidate.
    pub trials_candidate: u32,
    /// Design effect of clusters: 1 without.
    pub design_effect: f64,
}

impl Variances {
    /// Variance that one example contributes.
    pub fn per_example(&self) -> f64 {
        let share = |within: f64, trials: u32| within / f64::from(trials.max(1));
        self.design_effect
            * (self.between
                + share(self.within_baseline, self.trials_baseline)
                + share(self.within_candidate, self.trials_candidate))
    }
}

/// Level and power of a planned test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Error probability; of one side when `one_sided`.
    pub alpha: f64,
    /// Probability of finding what is there.
    pub power: f64,
    /// Whether only one direction counts.
    pub one_sided: bool,
}

impl Plan {
    /// `z_alpha + z_power`.
    pub fn reach(&self) -> f64 {
        let alpha = if self.one_sided { self.alpha } else { 0.5 * self.alpha };
        normal_quantile(1.0 - alpha) + normal_quantile(self.power)
    }
}

/// Examples needed to find a true difference `delta`; `None` when delta is 0.
pub fn examples_needed(variance_per_example: f64, delta: f64, plan: Plan) -> Option<u64> {
    if delta == 0.0 || !delta.is_finite() || !variance_per_example.is_finite() {
        return None;
    }
    let count = plan.reach().powi(2) * variance_per_example / (delta * delta);
    (count < 1e15).then(|| count.ceil() as u64)
}

/// Smallest true difference that `n` examples find with the planned power; `None` when n is 0.
pub fn detectable(variance_per_example: f64, n: u64, plan: Plan) -> Option<f64> {
    (n > 0).then(|| plan.reach() * (variance_per_example / n as f64).sqrt())
}

/// Exact power of a paired t test at a standardised effect (mean difference over its standard deviation).
pub fn t_power(effect: f64, n: u64, plan: Plan) -> Option<f64> {
    if n < 2 {
        return None;
    }
    let df = n as f64 - 1.0;
    let shift = effect * (n as f64).sqrt();
    if plan.one_sided {
        return Some(1.0 - noncentral_t_cdf(t_quantile(1.0 - plan.alpha, df), df, shift));
    }
    let critical = t_quantile(1.0 - 0.5 * plan.alpha, df);
    Some((1.0 - noncentral_t_cdf(critical, df, shift) + noncentral_t_cdf(-critical, df, shift)).clamp(0.0, 1.0))
}

/// Power of the exact two-sided McNemar test, by summing over all outcomes. Work grows with n²: meant for n up to a
/// few thousand.
pub fn mcnemar_power(improved: f64, worsened: f64, n: u64, alpha: f64) -> f64 {
    let discordance = improved + worsened;
    if discordance <= 0.0 {
        return 0.0;
    }
    let rate = (improved / discordance).min(1.0);
    (1..=n)
        .map(|discordant| {
            let weight = binomial_pmf(discordant, n, discordance.min(1.0));
            if weight < 1e-18 {
                return 0.0;
            }
            // Rejected outcomes are both tails up to the greatest k with 2 P(X <= k) <= alpha.
            let mut reach = None;
            for k in 0..=discordant / 2 {
                if 2.0 * binomial_cdf(k, discordant, 0.5) > alpha * (1.0 + 1e-12) {
                    break;
                }
                reach = Some(k);
            }
            let Some(reach) = reach else { return 0.0 };
            let low = binomial_cdf(reach, discordant, rate);
            let high = binomial_cdf(reach, discordant, 1.0 - rate);
            weight * (low + high).min(1.0)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_planned_for_no_difference() {
        let plan = Plan { alpha: 0.05, power: 0.8, one_sided: true };
        assert_eq!(examples_needed(0.1, 0.0, plan), None);
        assert_eq!(detectable(0.1, 0, plan), None);
        assert_eq!(t_power(0.3, 1, plan), None);
        assert_eq!(mcnemar_power(0.0, 0.0, 50, 0.05), 0.0);
    }

    /// The planner's figures of methods 1.8: paired binary, one-sided 5 %, 80 % power, discordant share q.
    #[test]
    fn planner_agrees_with_the_published_table() {
        let plan = Plan { alpha: 0.05, power: 0.8, one_sided: true };
        for (share, delta, expected) in [(0.12, 0.05, 291), (0.20, 0.05, 489), (0.30, 0.10, 180), (0.06, 0.02, 922)] {
            let found = examples_needed(share - delta * delta, delta, plan).unwrap();
            assert!(found.abs_diff(expected) <= 1, "{share} {delta}: {found}, expected {expected}");
        }
    }
}
