//! What would decide an open finding: how many examples, trials or draws in all, and what the addition costs.
//!
//! Forecasts from the spread that was seen, rounded up to two digits. Nothing here changes a finding.

use super::{
    More, Remedy, RunResults,
    contrast::{Contrast, POWER, Question},
    pair::Pairs,
};
use crate::stats::normal_quantile;

/// Most repeats that are proposed: beyond that, examples are the better buy.
const MOST_REPEATS: f64 = 50.0;

/// What one more of each cost in a run, in US dollars; `None` where nothing was paid or a price is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct UnitCosts {
    /// A trial of the target.
    pub trial: f64,
    /// All draws of all judges on one trial.
    pub judging: f64,
    /// One draw of one judge.
    pub draw: f64,
}

impl UnitCosts {
    /// From the money that a run spent.
    pub fn of(run: &RunResults) -> Option<Self> {
        let totals = &run.totals;
        let trials = totals.trials_ok + totals.trials_failed;
        let known = totals.target_spend.unpriced_calls + totals.judge_spend.unpriced_calls == 0;
        let (target, judges) = (totals.target_spend.cost_usd, totals.judge_spend.cost_usd);
        if trials == 0 || !known || target + judges <= 0.0 {
            return None;
        }
        let draws = totals.judge_spend.calls.max(1);
        Some(Self { trial: target / trials as f64, judging: judges / trials as f64, draw: judges / draws as f64 })
    }
}

/// Ways to decide, the cheapest first; those without a price after those with one, examples first.
pub(super) fn remedies(
    contrast: &Contrast,
    question: &Question,
    pairs: &Pairs,
    costs: Option<UnitCosts>,
) -> Vec<Remedy> {
    let n = pairs.len() as f64;
    let trials = f64::from(pairs.trials.0.max(pairs.trials.1).max(1));
    let priced = |price: fn(&UnitCosts, f64, f64, f64) -> f64, more: f64| {
        // Both runs take part in what is added.
        costs.map(|costs| 2.0 * price(&costs, more, n, trials)).filter(|price| *price > 0.0)
    };
    let mut found = Vec::new();
    if let Some(count) = examples_needed(contrast, question, pairs.len()) {
        let price_usd = priced(|c, more, _, trials| more * trials * (c.trial + c.judging), count as f64 - n);
        found.push(Remedy { more: More::Examples, count, price_usd });
    }
    if let Some(count) = trials_needed(contrast, question, pairs) {
        let price_usd = priced(|c, more, n, _| more * n * (c.trial + c.judging), f64::from(count) - trials);
        found.push(Remedy { more: More::Trials, count: u64::from(count), price_usd });
    }
    if let Some(count) = draws_needed(contrast, question, pairs) {
        let draws = f64::from(pairs.draws.0.max(pairs.draws.1).max(1));
        let price_usd = priced(|c, more, n, trials| more * n * trials * c.draw, f64::from(count) - draws);
        found.push(Remedy { more: More::Draws, count: u64::from(count), price_usd });
    }
    found.sort_by(|a, b| a.price_usd.unwrap_or(f64::MAX).total_cmp(&b.price_usd.unwrap_or(f64::MAX)));
    found
}

/// About how many examples would decide an open finding: enough to tell "no change" from "a change of the margin" both
/// ways in [`POWER`] of tries. Where the data are already enough for that, the truth seems to lie between 0 and the margin,
/// and the distance to the farther of the two sets the number. `None` where no number would do, or more than a thousandfold.
fn examples_needed(contrast: &Contrast, question: &Question, pairs: usize) -> Option<u64> {
    let n = contrast.estimate.n.max(pairs as u64) as f64;
    let (se, point) = (contrast.planning_se.filter(|se| *se > 0.0)?, contrast.estimate.estimate?);
    if n < 2.0 {
        return None;
    }
    if let Some(reach) = contrast.equal_reach.filter(|reach| point.abs() <= 1e-12 && *reach > question.margin) {
        let count = (question.alpha.ln() / (-question.margin / reach).ln_1p()).ceil();
        return (question.margin > 0.0 && count > n).then(|| rounded_up(count));
    }
    let z = normal_quantile(1.0 - question.alpha);
    let needed = |reach: f64, size: f64| n * (reach * se / size).powi(2);
    let mut count = if question.margin > 0.0 { needed(both_ways(question), question.margin) } else { 0.0 };
    if count <= n {
        let mut distance = point.abs();
        if question.margin > 0.0 {
            distance = distance.max((question.margin - point.abs()).abs());
        }
        count = needed(z + normal_quantile(POWER), distance);
    }
    (count.is_finite() && count > n && count < 1_000.0 * n).then(|| rounded_up(count))
}

/// Quantiles between which "no change" and "a change of the margin" are told apart both ways.
fn both_ways(question: &Question) -> f64 {
    normal_quantile(1.0 - question.alpha) + normal_quantile(0.5 * (1.0 + POWER))
}

/// Variance of the difference that `n` times its squared error says, and the one that the margin asks for.
fn variances(contrast: &Contrast, question: &Question, pairs: &Pairs) -> Option<(f64, f64)> {
    let (se, n) = (contrast.estimate.se?, pairs.len() as f64);
    Some((se * se * n, (question.margin / both_ways(question)).powi(2) * n))
}

/// Trials per example that would shrink the error to what the margin asks for, with the same examples. Needs repeated
/// trials; `None` where repeats cannot do it or more than fifty were needed.
fn trials_needed(contrast: &Contrast, question: &Question, pairs: &Pairs) -> Option<u32> {
    let (total, aim) = variances(contrast, question, pairs)?;
    let (before, after) = (pairs.within.0?, pairs.within.1?);
    let repeats = before / f64::from(pairs.trials.0) + after / f64::from(pairs.trials.1);
    let between = (total - repeats).max(0.0);
    let trials = ((before + after) / (aim - between)).ceil();
    let most = f64::from(pairs.trials.0.max(pairs.trials.1));
    (aim > between && trials > most && trials <= MOST_REPEATS).then_some(trials as u32)
}

/// Draws per trial that would do the same with the same trials. Needs repeated draws.
fn draws_needed(contrast: &Contrast, question: &Question, pairs: &Pairs) -> Option<u32> {
    let (total, aim) = variances(contrast, question, pairs)?;
    let (before, after) = (pairs.within_trial.0?, pairs.within_trial.1?);
    // Variance of an example's mean that one draw of each of its trials makes.
    let (before, after) = (before / f64::from(pairs.trials.0), after / f64::from(pairs.trials.1));
    let judging = before / f64::from(pairs.draws.0) + after / f64::from(pairs.draws.1);
    let rest = (total - judging).max(0.0);
    let draws = ((before + after) / (aim - rest)).ceil();
    let most = f64::from(pairs.draws.0.max(pairs.draws.1));
    (aim > rest && draws > most && draws <= MOST_REPEATS).then_some(draws as u32)
}

/// Rounds up to two significant digits: the figure is a forecast.
fn rounded_up(count: f64) -> u64 {
    let unit = 10.0_f64.powf((count.log10().floor() - 1.0).max(0.0));
    ((count / unit).ceil() * unit) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forecasts_have_two_digits() {
        assert_eq!((rounded_up(7.2), rounded_up(237.0), rounded_up(1_204.0)), (8, 240, 1_300));
    }
}
