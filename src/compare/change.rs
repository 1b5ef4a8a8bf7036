//! One metric in both runs: pairs, difference, finding, power, and the words for it.

use super::{
    Discordance, MetricComparison,
    contrast::{self, Contrast, LEVEL, POWER, Question, decision_interval},
    measure::Metric,
    pair::{self, Columns, Pairs, Sample, Unit},
    words::{self, Form},
};
use crate::{
    model::{Change, Scale},
    stats::{Estimate, Finding, Horizon, Interval, MarginTest, Status, mcnemar, normal_quantile, sign_flip},
};

/// Share of the baseline's mean that counts as a change of a measure when the user names no margin.
const MEASURE_MARGIN: f64 = 0.05;
/// Share of a bounded scale's width that counts as a change when the user names no margin (methods 1.7).
const SCALE_MARGIN: f64 = 0.05;
/// Share of pairs left out from which the unpaired difference is shown beside the paired one (methods 1.0).
const MANY_MISSING: f64 = 0.1;
/// Clusters below which the sign-flip test is shown beside the interval (methods 1.3).
const FEW_CLUSTERS: u64 = 30;
/// Share of unscored cells from which the bounds of what they could change are shown (methods 1.0).
const SHOWN_FAILURES: f64 = 0.01;

/// A metric compared, with what the gate and the slices need besides what is shown.
#[derive(Clone, Debug)]
pub(super) struct Assessed {
    /// The metric.
    pub metric: Metric,
    /// Both sides over all units.
    pub columns: Columns,
    /// The finding so far; words are made by [`Assessed::put_into_words`].
    pub comparison: MetricComparison,
    /// One-sided p of "worse by more than the margin".
    pub p_material: Option<f64>,
    /// Trials per example that would decide an open finding with the same examples.
    pub trials_needed: Option<u32>,
    /// Whether the runs were compared without pairs.
    pub unpaired: bool,
    /// The contrast that decides: of differences, or of log ratios for measures.
    deciding: Estimate,
    decision: Option<Interval>,
    notes: Vec<String>,
}

impl Assessed {
    /// How its values are written.
    pub fn form(&self) -> Form {
        Form::of(&self.metric)
    }

    /// Adds a remark to the expert's line.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Writes sentence and expert line; last, because the gate may still have changed the finding.
    pub fn put_into_words(&mut self) {
        let form = self.form();
        self.comparison.sentence = words::sentence(&self.comparison, form, self.decision.as_ref());
        self.comparison.expert = words::expert(&self.comparison, self.decision.as_ref(), &self.deciding, &self.notes);
    }
}

/// Compares one metric at one-sided error `alpha`. `seed` is for the sign-flip test where it draws; `anytime` is present
/// where the run was looked at while it went on.
pub(super) fn assess(
    metric: Metric,
    columns: Columns,
    units: &[Unit<'_>],
    alpha: f64,
    seed: u64,
    anytime: Option<Horizon>,
) -> Assessed {
    let pairs = Pairs::of(units, &columns, 0..units.len());
    let baseline_mean = contrast::arm(&pairs.baseline, metric.bounds()).estimate;
    let margin = margin_of(&metric, baseline_mean);
    let question = Question { sign: metric.sign(), bounds: metric.bounds(), margin, alpha, anytime };
    let (found, arms) = if pairs.len() > 0 {
        let arms = (pairs.baseline.clone(), pairs.candidate.clone());
        (contrast::paired(&pairs, &question), arms)
    } else {
        let arms = (
            Sample::of(units, &columns.baseline, 0..units.len()),
            Sample::of(units, &columns.candidate, 0..units.len()),
        );
        (contrast::unpaired(&arms.0, &arms.1, &question), arms)
    };
    let mut difference = pair::with_reach(found.estimate.clone(), units);
    let missing = columns.missing(units);
    difference.n_dropped = missing.no_baseline_score + missing.no_candidate_score + missing.neither;
    let ratio = if metric.is_measure() { log_ratio(&pairs, &question, baseline_mean) } else { None };
    let by_ratio = ratio.is_some() && metric.margin.is_none_or(|margin| margin == 0.0);
    let (deciding, question_asked) = match &ratio {
        Some((log, asked)) if by_ratio => (log.clone(), *asked),
        _ => (found.clone(), question),
    };
    let change = deciding.test.as_ref().map_or(Change::Inconclusive, |test| change_of(test.finding()));
    let flagged = |flag: fn(&MarginTest) -> bool| deciding.test.as_ref().is_some_and(flag);
    // A change seen on the log scale is told in the metric's own unit, at the baseline's mean.
    let own_unit = |size: f64| if by_ratio { baseline_mean.map(|mean| mean * size.exp_m1()) } else { Some(size) };
    let comparison = MetricComparison {
        name: metric.name.clone(),
        role: metric.role,
        direction: metric.direction,
        scale: metric.scale.clone(),
        baseline: contrast::arm(&arms.0, metric.bounds()),
        candidate: contrast::arm(&arms.1, metric.bounds()),
        difference,
        ratio: ratio.as_ref().map(|(log, _)| exponentiated(&log.estimate)),
        margin,
        change,
        p_worse: deciding.p_worse,
        p_better: deciding.p_better,
        p_worse_adjusted: None,
        non_inferior: flagged(MarginTest::non_inferior),
        material_regression: flagged(MarginTest::material_regression),
        // Its tests take the number of pairs for fixed.
        discordance: discordance(&pairs, &metric).filter(|_| anytime.is_none()),
        missing,
        detectable: deciding.detectable(&question_asked).and_then(own_unit),
        examples_needed: None,
        verdict: None,
        sentence: String::new(),
        expert: String::new(),
    };
    let mut decision = deciding.test.as_ref().map(|test| decision_interval(test, question.sign));
    let mut deciding_estimate = pair::with_reach(deciding.estimate.clone(), units);
    if by_ratio {
        decision = decision.map(|bounds| Interval { lo: bounds.lo.exp(), hi: bounds.hi.exp(), ..bounds });
        deciding_estimate.method = if anytime.is_some() { "log_ratio_anytime" } else { "log_ratio_t" }.to_owned();
    }
    let mut assessed = Assessed {
        p_material: deciding.p_material,
        trials_needed: None,
        unpaired: found.unpaired,
        deciding: deciding_estimate,
        decision,
        notes: Vec::new(),
        metric,
        columns,
        comparison,
    };
    check(&mut assessed, units, &pairs, &question, seed);
    // Forecasts are for a fixed number of examples; somebody who looks all the time needs more.
    if assessed.comparison.change == Change::Inconclusive && anytime.is_none() {
        assessed.comparison.examples_needed = examples_needed(&deciding, &question_asked, pairs.len());
        assessed.trials_needed = trials_needed(&deciding, &question_asked, &pairs);
    }
    assessed
}

/// The user's margin, or a twentieth of the scale, or of the baseline's mean for measures; 0 where neither is known.
fn margin_of(metric: &Metric, baseline_mean: Option<f64>) -> f64 {
    if metric.is_measure() {
        let own = metric.margin.filter(|margin| *margin > 0.0);
        return own.or_else(|| baseline_mean.map(|mean| MEASURE_MARGIN * mean.abs())).unwrap_or(0.0);
    }
    let of_scale = || metric.bounds().map(|(least, greatest)| SCALE_MARGIN * (greatest - least));
    metric.margin.or_else(of_scale).unwrap_or(0.0)
}

/// The change that a finding says.
pub(super) fn change_of(finding: Finding) -> Change {
    match finding {
        Finding::Better => Change::Improved,
        Finding::Worse => Change::Regressed,
        Finding::Equivalent => Change::Equivalent,
        Finding::Open => Change::Inconclusive,
    }
}

/// The contrast of logarithms, and what it is tested against; `None` unless every pair is above 0 on both sides.
fn log_ratio(pairs: &Pairs, question: &Question, baseline_mean: Option<f64>) -> Option<(Contrast, Question)> {
    let logs = |sample: &Sample| Sample {
        values: sample.values.iter().map(|value| value.ln()).collect(),
        plain: false,
        ..sample.clone()
    };
    let positive = |sample: &Sample| sample.values.iter().all(|value| *value > 0.0);
    if pairs.len() == 0 || !positive(&pairs.baseline) || !positive(&pairs.candidate) {
        return None;
    }
    let share = baseline_mean.filter(|mean| *mean > 0.0).map_or(MEASURE_MARGIN, |mean| question.margin / mean);
    let asked = Question { bounds: None, margin: share.ln_1p(), ..*question };
    let pairs = Pairs { baseline: logs(&pairs.baseline), candidate: logs(&pairs.candidate), ..pairs.clone() };
    Some((contrast::paired(&pairs, &asked), asked))
}

/// A mean of log ratios as a ratio of geometric means.
fn exponentiated(log: &Estimate) -> Estimate {
    Estimate {
        estimate: log.estimate.map(f64::exp),
        se: None,
        interval: log.interval.as_ref().map(|i| Interval::new(i.lo.exp(), i.hi.exp(), i.level, "log_ratio_t")),
        method: "log_ratio_t".to_owned(),
        ..log.clone()
    }
}

fn discordance(pairs: &Pairs, metric: &Metric) -> Option<Discordance> {
    if metric.scale != Scale::Binary || pairs.trials != (1, 1) || !pairs.is_plain() {
        return None;
    }
    let mut counts = pairs.counts();
    let tests = mcnemar(counts)?;
    if metric.sign() < 0.0 {
        std::mem::swap(&mut counts.improved, &mut counts.worsened);
    }
    Some(Discordance { improved: counts.improved, worsened: counts.worsened, exact_p: tests.exact, mid_p: tests.mid_p })
}

/// Second looks that can open a finding or belong beside it.
fn check(assessed: &mut Assessed, units: &[Unit<'_>], pairs: &Pairs, question: &Question, seed: u64) {
    let graded = !assessed.metric.is_measure();
    let decided = assessed.comparison.change != Change::Inconclusive;
    if graded
        && assessed.metric.scale != Scale::Binary
        && decided
        && contrast::signs_contradict(pairs, &assessed.deciding)
    {
        assessed.comparison.change = Change::Inconclusive;
        assessed
            .note("the mean moved one way and most examples the other, both credibly: no finding (ordinal conflict)");
    }
    let status = assessed.deciding.status;
    let fixed = question.anytime.is_none();
    if fixed
        && status == Status::Ok
        && !pairs.is_plain()
        && pairs.len() > 0
        && assessed.deciding.clusters < FEW_CLUSTERS
    {
        let flips = sign_flip(&pairs.differences(), &pairs.baseline.clusters, 0.0, 9_999, seed);
        if let Some(p) = flips.two_sided {
            let least = 2.0_f64.powi(1 - flips.informative.min(60) as i32);
            let floor = if flips.exact { format!(" (least possible {})", words::plain(least)) } else { String::new() };
            assessed.note(format!("sign-flip two-sided {}{floor}", words::p_text(p)));
        }
    }
    let dropped = assessed.comparison.difference.n_dropped as f64;
    if pairs.len() > 0 && dropped > MANY_MISSING * (dropped + pairs.len() as f64) {
        note_unpaired(assessed, units, question);
    }
    if graded {
        note_bounds(assessed, units, question);
    }
}

fn note_unpaired(assessed: &mut Assessed, units: &[Unit<'_>], question: &Question) {
    let side = |column| Sample::of(units, column, 0..units.len());
    let arms = (side(&assessed.columns.baseline), side(&assessed.columns.candidate));
    let all = contrast::unpaired(&arms.0, &arms.1, question);
    let shown = all.estimate.estimate.zip(all.estimate.interval);
    if let Some((point, interval)) = shown {
        assessed.note(format!(
            "more than {} of the pairs are left out; over all scored examples, without pairs, the difference is {} \
             ({} interval {} to {})",
            words::percent(MANY_MISSING),
            words::plain(point),
            words::percent(LEVEL),
            words::plain(interval.lo),
            words::plain(interval.hi)
        ));
    }
}

/// How far the difference could lie if every example that the instrument left without a value had the worst or the
/// best one; on bounded scales only.
fn note_bounds(assessed: &mut Assessed, units: &[Unit<'_>], question: &Question) {
    let columns = &assessed.columns;
    let rate = |column: &pair::Column| column.failure_rate().unwrap_or(0.0);
    let worst_rate = rate(&columns.baseline).max(rate(&columns.candidate));
    let Some((least, greatest)) = question.bounds.filter(|_| worst_rate > SHOWN_FAILURES) else { return };
    let (mut weight, mut low, mut high) = (0.0, 0.0, 0.0);
    for ((unit, before), after) in units.iter().zip(&columns.baseline.values).zip(&columns.candidate.values) {
        let range = |reduced: &pair::Reduced| match reduced.value {
            Some(value) => Some((value, value)),
            None if reduced.instrument_failed => Some((least, greatest)),
            None => None,
        };
        if let (Some(before), Some(after)) = (range(before), range(after)) {
            weight += unit.weight;
            low += unit.weight * (after.0 - before.1);
            high += unit.weight * (after.1 - before.0);
        }
    }
    if weight > 0.0 {
        let note = format!(
            "whatever the unscored cells hid, the difference lies between {} and {}",
            words::plain(low / weight),
            words::plain(high / weight)
        );
        assessed.note(note);
    }
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
    let both_ways = z + normal_quantile(0.5 * (1.0 + POWER));
    let mut count = if question.margin > 0.0 { needed(both_ways, question.margin) } else { 0.0 };
    if count <= n {
        let mut distance = point.abs();
        if question.margin > 0.0 {
            distance = distance.max((question.margin - point.abs()).abs());
        }
        count = needed(z + normal_quantile(POWER), distance);
    }
    (count.is_finite() && count > n && count < 1_000.0 * n).then(|| rounded_up(count))
}

/// Trials per example that would shrink the error to what the margin asks for, with the same examples. Needs repeated
/// trials; `None` where repeats cannot do it or more than 50 were needed.
fn trials_needed(contrast: &Contrast, question: &Question, pairs: &Pairs) -> Option<u32> {
    let (se, n) = (contrast.estimate.se?, pairs.len() as f64);
    let (before, after) = (pairs.within.0?, pairs.within.1?);
    let reach = normal_quantile(1.0 - question.alpha) + normal_quantile(0.5 * (1.0 + POWER));
    let aim = (question.margin / reach).powi(2) * n;
    let total = se * se * n;
    let repeats = before / f64::from(pairs.trials.0) + after / f64::from(pairs.trials.1);
    let between = (total - repeats).max(0.0);
    let trials = ((before + after) / (aim - between)).ceil();
    let most = f64::from(pairs.trials.0.max(pairs.trials.1));
    (aim > between && trials > most && trials <= 50.0).then_some(trials as u32)
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
