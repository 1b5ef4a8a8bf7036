//! The difference of two versions with its tests: chooses the method by the data (methods 1.3), decides nothing.

use super::pair::{Pairs, Sample};
use crate::stats::{
    Bounds, Estimate, Horizon, Interval, MarginTest, Plan, Status, anytime_difference, anytime_margin,
    equal_differences, equal_differences_p_below, estimate_margin, independent_difference, mean_weighted, newcombe,
    normal_quantile, proportion, t_quantile, tango, tango_margin, two_sided_p, units,
};

/// Two-sided level of every interval that is shown.
pub(super) const LEVEL: f64 = 0.95;
/// Power that planning aims at.
pub(super) const POWER: f64 = 0.8;

/// What a difference is tested against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// 1 where more is better, -1 where less is.
    pub sign: f64,
    /// Least and greatest value of the metric, where known.
    pub bounds: Option<(f64, f64)>,
    /// Smallest change that matters.
    pub margin: f64,
    /// One-sided error probability.
    pub alpha: f64,
    /// Present when the run was looked at while it went on: clusters are then numbered in the order of their trial.
    pub anytime: Option<Horizon>,
}

/// A difference with its tests.
#[derive(Clone, Debug)]
pub(super) struct Contrast {
    /// Candidate minus baseline, in the metric's own sign.
    pub estimate: Estimate,
    /// Tests of the difference turned so that more is better; `None` when the data allow none.
    pub test: Option<MarginTest>,
    /// One-sided p that the candidate is worse; also where the test has bounds only.
    pub p_worse: Option<f64>,
    /// One-sided p that it is better.
    pub p_better: Option<f64>,
    /// One-sided p that it is worse by more than the margin.
    pub p_material: Option<f64>,
    /// Standard error for planning; unlike the estimate's it is above 0 even where nothing varied.
    pub planning_se: Option<f64>,
    /// Where all differences are equal: how far apart two values can be.
    pub equal_reach: Option<f64>,
    /// Whether arms were compared without pairs.
    pub unpaired: bool,
}

impl Contrast {
    /// Two-sided p.
    pub fn p_two_sided(&self) -> Option<f64> {
        Some((2.0 * self.p_worse?.min(self.p_better?)).min(1.0))
    }

    /// Smallest true difference found in [`POWER`] of tries.
    pub fn detectable(&self, question: &Question) -> Option<f64> {
        let se = self.planning_se?;
        let plan = Plan { alpha: question.alpha, power: POWER, one_sided: true };
        let reach = match self.estimate.df {
            Some(df) => t_quantile(1.0 - question.alpha, df) + t_quantile(POWER, df),
            None => plan.reach(),
        };
        Some(reach * se).filter(|size| size.is_finite())
    }
}

/// The contrast of pairs; without pairs its status is empty.
pub(super) fn paired(pairs: &Pairs, question: &Question) -> Contrast {
    if pairs.len() == 0 {
        return without_test(Estimate::absent(Status::Empty, 0, 0, "none"));
    }
    if let Some(horizon) = question.anytime {
        return anytime(pairs, question, horizon);
    }
    if pairs.is_plain() && question.bounds == Some((0.0, 1.0)) {
        return plain(pairs, question);
    }
    let differences = pairs.differences();
    let reach = reach(pairs, question);
    let range = reach.map(|(reach, _)| (-reach, reach));
    let mut estimate = pairs.baseline.mean_of(&differences, range, LEVEL);
    if estimate.status == Status::ZeroVariance {
        return equal(estimate, pairs, reach, question);
    }
    let nonzero = differences.iter().filter(|difference| **difference != 0.0).count();
    if estimate.status == Status::Ok && nonzero < 4 && nonzero < differences.len() {
        estimate = estimate.warn(format!("the error is taken as if four examples differed, not {nonzero}"));
    }
    from_t(estimate, question)
}

/// The contrast of two runs that share no scored example.
pub(super) fn unpaired(baseline: &Sample, candidate: &Sample, question: &Question) -> Contrast {
    let arm = |sample: &Sample| sample.mean(question.bounds, LEVEL);
    let mut estimate = independent_difference(&arm(baseline), &arm(candidate), LEVEL);
    if baseline.plain && candidate.plain && question.bounds == Some((0.0, 1.0)) {
        let counts = |sample: &Sample| (sample.passes(), sample.values.len() as u64);
        if let Some(interval) = newcombe(counts(baseline), counts(candidate), LEVEL) {
            estimate.interval = Some(interval);
        }
    }
    if estimate.status == Status::Ok {
        estimate = estimate.warn("no example is scored in both runs: the runs were compared without pairs");
    }
    Contrast { unpaired: true, ..from_t(estimate, question) }
}

/// Mean of one side: Wilson for plain yes-or-no values, else the clustered or weighted mean, clipped to the scale.
pub(super) fn arm(sample: &Sample, bounds: Option<(f64, f64)>) -> Estimate {
    if sample.values.is_empty() {
        return Estimate::absent(Status::Empty, 0, 0, "none");
    }
    if sample.plain && bounds == Some((0.0, 1.0)) {
        return proportion(sample.passes(), sample.values.len() as u64, LEVEL);
    }
    let mut estimate = sample.mean(bounds, LEVEL);
    if let (Some(interval), Some((least, greatest))) = (&mut estimate.interval, bounds) {
        interval.lo = interval.lo.max(least);
        interval.hi = interval.hi.min(greatest);
    }
    estimate
}

/// Tango's score tests: independent pairs of single yes-or-no values.
fn plain(pairs: &Pairs, question: &Question) -> Contrast {
    let counts = pairs.counts();
    let estimate = tango(counts, LEVEL);
    let mut oriented = counts;
    if question.sign < 0.0 {
        std::mem::swap(&mut oriented.improved, &mut oriented.worsened);
    }
    let test = tango_margin(oriented, question.margin, question.alpha).filter(|_| counts.n > 1);
    // Half a pair in each of four cells keeps the planned error above 0 (Agresti and Min 2005).
    let (n, moved) = (counts.n as f64 + 2.0, counts.discordant() as f64 + 1.0);
    let net = counts.improved as f64 - counts.worsened as f64;
    let planning_se = (moved - net * net / n).max(0.0).sqrt() / n;
    Contrast { planning_se: Some(planning_se), ..with_test(estimate, test) }
}

/// Evidence that may be looked at after every example, in the order in which they were tried.
fn anytime(pairs: &Pairs, question: &Question, horizon: Horizon) -> Contrast {
    let (weights, clusters) = (&pairs.baseline.weights, &pairs.baseline.clusters);
    let differences = pairs.differences();
    let turned: Vec<f64> = differences.iter().map(|difference| question.sign * difference).collect();
    let units = units(&turned, weights, clusters);
    let range = question.bounds.map(|(least, greatest)| greatest - least);
    let plan = mean_weighted(&differences, weights, clusters, None, LEVEL);
    let looked = anytime_difference(&units, horizon, range, LEVEL);
    let turn = |interval: Interval| match question.sign < 0.0 {
        true => Interval { lo: -interval.hi, hi: -interval.lo, ..interval },
        false => interval,
    };
    // No standard error: nobody should make a fixed interval of it.
    let estimate = Estimate {
        n: plan.n,
        estimate: looked.estimate.map(|value| question.sign * value),
        interval: looked.interval.clone().map(turn),
        ..looked
    };
    let test = anytime_margin(&units, horizon, range, question.margin, question.alpha);
    Contrast { planning_se: plan.se, ..with_test(estimate, test) }
}

/// All differences equal: the t interval would be a point, so bounds come from how much `n` equal draws leave unseen.
fn equal(mut estimate: Estimate, pairs: &Pairs, reach: Option<(f64, bool)>, question: &Question) -> Contrast {
    let value = estimate.estimate.unwrap_or(0.0);
    let nothing = value.abs() <= 1e-12;
    if nothing {
        estimate.status = Status::NoInformation;
    }
    let Some((reach, declared)) = reach else {
        return without_test(
            estimate.warn("all differences are equal on a scale of unknown range; declare its bounds"),
        );
    };
    if !declared {
        estimate = estimate.warn("the scale has no declared bounds: the range of the scores seen stands in");
    }
    let units = pairs.effective_units(estimate.clusters);
    let turned = if nothing { 0.0 } else { question.sign * value };
    let test = equal_differences(turned, units, reach, question.margin, question.alpha);
    let below = |value: f64, limit: f64| equal_differences_p_below(value, units, reach, limit);
    // The share left unseen acts as a standard error: it shrinks with n, if faster than the usual root.
    let unseen = test.map(|test| 0.5 * (test.bounds.upper - test.bounds.lower));
    Contrast {
        p_worse: below(turned, 0.0),
        p_better: below(-turned, 0.0),
        p_material: below(turned, -question.margin),
        equal_reach: Some(reach),
        planning_se: unseen.map(|width| width / (normal_quantile(1.0 - question.alpha) + normal_quantile(POWER))),
        ..with_test(estimate, test)
    }
}

/// How far apart two values can be, and whether the scale declares it or the scores seen must stand in.
fn reach(pairs: &Pairs, question: &Question) -> Option<(f64, bool)> {
    if let Some((least, greatest)) = question.bounds {
        return Some((greatest - least, true));
    }
    let seen = pairs.baseline.values.iter().chain(&pairs.candidate.values);
    let (least, greatest) =
        seen.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    (greatest > least).then_some((greatest - least, false))
}

fn from_t(estimate: Estimate, question: &Question) -> Contrast {
    let test = estimate_margin(&estimate, question.sign, question.margin, question.alpha);
    Contrast { planning_se: estimate.se, ..with_test(estimate, test) }
}

fn with_test(estimate: Estimate, test: Option<MarginTest>) -> Contrast {
    Contrast {
        p_worse: test.and_then(|test| test.p_worse),
        p_better: test.and_then(|test| test.p_better),
        p_material: test.and_then(|test| test.p_material_worse),
        test,
        planning_se: None,
        equal_reach: None,
        unpaired: false,
        estimate,
    }
}

fn without_test(estimate: Estimate) -> Contrast {
    with_test(estimate, None)
}

/// One-sided bounds in the metric's own sign, as the interval that the finding rests on.
pub(super) fn decision_interval(test: &MarginTest, sign: f64) -> Interval {
    let Bounds { lower, upper } = test.bounds;
    let (lo, hi) = if sign < 0.0 { (-upper, -lower) } else { (lower, upper) };
    Interval::new(lo, hi, 1.0 - 2.0 * test.alpha, "one_sided_bounds")
}

/// Share of examples that rose minus share that fell, with its interval: the check of a mean that needs no distances
/// between levels (methods 1.4).
pub(super) fn net_sign(pairs: &Pairs) -> Estimate {
    let signs: Vec<f64> = pairs.differences().iter().map(|d| if *d == 0.0 { 0.0 } else { d.signum() }).collect();
    pairs.baseline.mean_of(&signs, Some((-1.0, 1.0)), LEVEL)
}

/// Whether an ordinal metric says two things at once: its mean moved one way and most examples the other, both credibly
/// (methods 1.4).
pub(super) fn signs_contradict(net: &Estimate, estimate: &Estimate) -> bool {
    let (Some(mean), Some(sign)) = (estimate.estimate, net.estimate) else { return false };
    let clear = |estimate: &Estimate| two_sided_p(estimate).is_some_and(|p| p <= 1.0 - LEVEL);
    mean * sign < 0.0 && clear(estimate) && clear(net)
}
