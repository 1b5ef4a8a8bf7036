//! The gate: what a policy demands of the findings, and the verdict with its reasons.
//!
//! What each policy does with a finding (`F` fails, `?` stays open, `P` passes):
//!
//! | finding                          | regressed | strict | not_non_inferior | material_regression |
//! |----------------------------------|-----------|--------|------------------|---------------------|
//! | regressed, beyond the margin     | F         | F      | F                | F                   |
//! | regressed, within or about it    | F         | F      | F                | P                   |
//! | inconclusive, but non-inferior   | P         | P      | P                | P                   |
//! | inconclusive, with a margin      | ?         | F      | F                | P                   |
//! | inconclusive, margin 0           | P         | F      | F                | P                   |
//! | equivalent, improved             | P         | P      | P                | P                   |
//! | no test possible, too few pairs  | ?         | ?      | ?                | ?                   |
//!
//! With margin 0 nothing can ever be shown to be "no worse", so that the default policy then only looks for credible
//! regressions. Nothing passes on missing evidence: no score, too few pairs, an unfinished run and a failed instrument
//! all leave the gate open. A policy that names metrics but gates none passes, because that was somebody's decision; a
//! policy that names nothing leaves the gate open, because a gate that was forgotten should not look like one that held.

use super::{
    Comparability, RunResults,
    change::Assessed,
    contrast::arm,
    looking::{Looking, is_settled},
    measure::Metric,
    pair::{Column, Sample, Unit},
    words::{self, Form},
};
use crate::{
    model::{Change, Direction, FailOn, GatePolicy, MetricRole, RunStatus, Verdict},
    stats::{
        Status, anytime_margin, clopper_pearson_lower, clopper_pearson_upper, equal_values, holm, t_quantile, units,
    },
};

/// p below which the instrument is held to fail more often on one side (methods 1.0).
const DIFFERENTIAL_P: f64 = 0.01;
/// Failure rate of the worse side below which a difference between the sides cannot matter: it moves a mean by at most
/// this share of the scale.
const DIFFERENTIAL_RATE: f64 = 0.01;

/// The verdict and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ruling {
    /// The answer.
    pub verdict: Verdict,
    /// Whether the instrument failed or the runs are not comparable.
    pub instrument_failed: bool,
    /// Whether anything is gated.
    pub gated: bool,
    /// Why: failures first, then what stayed open, then what passed.
    pub reasons: Vec<String>,
}

/// Corrects the gated findings for their number, sets each metric's verdict, and answers for the whole.
pub(super) fn rule(
    assessed: &mut [Assessed],
    units: &[Unit<'_>],
    runs: (&RunResults, &RunResults),
    comparability: &Comparability,
    policy: &GatePolicy,
    looking: Option<&Looking>,
) -> Ruling {
    correct(assessed, policy);
    let mut failed = Vec::new();
    let mut open = Vec::new();
    let mut passed = Vec::new();
    for metric in assessed.iter_mut().filter(|metric| metric.metric.is_gated()) {
        let (verdict, reason) = match looking.filter(|looking| looking.is_incomplete() && !is_settled(metric, policy)) {
            Some(looking) => (Verdict::Inconclusive, unsettled(metric, looking)),
            None => judge(metric, policy),
        };
        let floor = check_floor(&metric.metric, units, &metric.columns.candidate, policy, looking);
        for (verdict, reason) in std::iter::once((verdict, reason)).chain(floor.clone()) {
            match verdict {
                Verdict::Fail => failed.push(reason),
                Verdict::Inconclusive => open.push(reason),
                Verdict::Pass => passed.push(reason),
            }
        }
        metric.comparison.verdict = Some(floor.map_or(verdict, |(of_floor, _)| verdict.max(of_floor)));
    }
    open.extend(absent(assessed, policy));
    // A run that is looked at may end at any time: what is not settled yet has been said above.
    let fixed = |run: &&RunResults| looking.is_none() || run.header.until_decided.is_none();
    open.extend(Some(runs.0).filter(fixed).and_then(|run| unfinished(run, "baseline")));
    open.extend(Some(runs.1).filter(fixed).and_then(|run| unfinished(run, "candidate")));
    let gated = policy.metrics.values().any(|demanded| demanded.role == MetricRole::Gate);
    if !gated {
        let reason = if policy.metrics.is_empty() {
            "no metric is gated: name one in the gate to get a verdict"
        } else {
            "all metrics inform and none is gated, so nothing can fail"
        };
        if policy.metrics.is_empty() { open.push(reason.to_owned()) } else { passed.push(reason.to_owned()) }
    }
    if !assessed.iter().any(|metric| metric.columns.candidate.has_values()) {
        open.push("the candidate has no score with a value".to_owned());
    }
    let mut faults = not_comparable(comparability);
    faults.extend(target_failures(runs.0, "baseline", policy));
    faults.extend(target_failures(runs.1, "candidate", policy));
    for metric in assessed.iter().filter(|metric| metric.metric.is_gated()) {
        faults.extend(instrument_faults(metric, policy));
    }
    let verdict = match (failed.is_empty(), open.is_empty()) {
        _ if !faults.is_empty() => Verdict::Inconclusive,
        (false, _) => Verdict::Fail,
        (true, false) => Verdict::Inconclusive,
        (true, true) => Verdict::Pass,
    };
    let instrument_failed = !faults.is_empty();
    let reasons = faults.into_iter().chain(failed).chain(open).chain(passed).collect();
    Ruling { verdict, instrument_failed, gated, reasons }
}

/// Holm over the gated metrics: "did any get worse" keeps its error whatever their number (methods 1.6). A regression
/// that does not survive is no finding. Equivalence needs no correction: all must hold at once.
fn correct(assessed: &mut [Assessed], policy: &GatePolicy) {
    let gated: Vec<bool> = assessed.iter().map(|metric| metric.metric.is_gated()).collect();
    let family = |p: fn(&Assessed) -> Option<f64>| -> Vec<Option<f64>> {
        let values: Vec<Option<f64>> =
            assessed.iter().zip(&gated).map(|(metric, gated)| p(metric).filter(|_| *gated)).collect();
        holm(&values)
    };
    let worse = family(|metric| metric.comparison.p_worse);
    let material = family(|metric| metric.p_material);
    for (((metric, gated), worse), material) in assessed.iter_mut().zip(gated).zip(worse).zip(material) {
        if !gated {
            continue;
        }
        metric.comparison.p_worse_adjusted = worse;
        metric.comparison.material_regression &= material.is_none_or(|p| p <= policy.alpha);
        if metric.comparison.change == Change::Regressed && worse.is_some_and(|p| p > policy.alpha) {
            metric.comparison.change = Change::Inconclusive;
            metric.note("worse by itself, but not after Holm's correction for the number of gated metrics");
        }
    }
}

/// Verdict of one metric's comparison with its reason.
fn judge(metric: &Assessed, policy: &GatePolicy) -> (Verdict, String) {
    let found = &metric.comparison;
    let (name, form) = (&found.name, metric.form());
    let pairs = if metric.unpaired { found.baseline.n.min(found.candidate.n) } else { found.difference.n };
    let testable = found.p_worse.is_some();
    if pairs < policy.min_pairs {
        let have = if metric.unpaired {
            format!("{} with a score in one of the runs, and no pairs", words::count(pairs, "example"))
        } else {
            format!("{} with scores in both runs", words::count(pairs, "example"))
        };
        let reason = format!("{name}: only {have}; the gate asks for {}", policy.min_pairs);
        return (Verdict::Inconclusive, reason);
    }
    if !testable {
        let why = match found.difference.status {
            Status::Insufficient => "the examples do not vary independently enough to estimate an error",
            Status::ZeroVariance | Status::NoInformation => {
                "all differences are equal and the scale has no declared bounds; declare its least and greatest value"
            }
            _ => "there is nothing to compare",
        };
        return (Verdict::Inconclusive, format!("{name}: {why}"));
    }
    let open = found.change == Change::Inconclusive && !found.non_inferior;
    let verdict = match policy.fail_on {
        FailOn::MaterialRegression if found.material_regression => Verdict::Fail,
        FailOn::MaterialRegression => Verdict::Pass,
        FailOn::NotNonInferior if found.non_inferior || found.change == Change::Improved => Verdict::Pass,
        FailOn::NotNonInferior => Verdict::Fail,
        _ if found.change == Change::Regressed => Verdict::Fail,
        FailOn::Strict if open => Verdict::Fail,
        FailOn::Regressed if open && found.margin > 0.0 => Verdict::Inconclusive,
        FailOn::Strict | FailOn::Regressed => Verdict::Pass,
    };
    (verdict, explain(metric, verdict, form))
}

fn explain(metric: &Assessed, verdict: Verdict, form: Form) -> String {
    let found = &metric.comparison;
    let shift = found.difference.estimate.map_or_else(String::new, |change| form.shift(change));
    let name = &found.name;
    match (verdict, found.change) {
        (Verdict::Pass, Change::Inconclusive) if found.non_inferior => {
            format!("{name}: {shift}; not worse than the margin of {}", form.size(found.margin))
        }
        (Verdict::Pass, Change::Inconclusive) => {
            let seen = found
                .detectable
                .map(|size| format!("; a change of {} would have been found in 80 % of tries", form.size(size)))
                .unwrap_or_default();
            format!("{name}: {shift}; no credible regression{seen}")
        }
        (_, Change::Inconclusive) => format!("{name}: a change of {shift} stays open{}", outlook(metric)),
        (_, change) => {
            let holm = found.p_worse_adjusted.filter(|_| change == Change::Regressed);
            let p = holm.map(|p| format!(" ({})", words::p_text(p))).unwrap_or_default();
            format!("{name}: {shift}, {}{p}", change.as_str())
        }
    }
}

/// What would decide an open finding.
fn outlook(metric: &Assessed) -> String {
    match (metric.comparison.examples_needed, metric.trials_needed) {
        (Some(examples), Some(trials)) => {
            format!("; about {examples} examples would decide it, or {trials} trials of each")
        }
        (Some(examples), None) => format!("; about {examples} examples would decide it"),
        (None, Some(trials)) => format!("; about {trials} trials of each example would decide it"),
        (None, None) => String::new(),
    }
}

/// What is said of a metric that more examples could still decide.
fn unsettled(metric: &Assessed, looking: &Looking) -> String {
    let shift = metric.comparison.difference.estimate.map_or_else(String::new, |change| metric.form().shift(change));
    let name = &metric.comparison.name;
    format!("{name}: a change of {shift} is not settled after {} of {} examples", looking.used, looking.planned)
}

/// Whether a run meets the acceptable value of a metric by its one-sided bound: pass when the bound does, fail when even
/// the other bound does not, open in between. `None` without a floor. Under policies that fail what is not shown, open
/// is fail, once there are no more examples to come.
pub(super) fn check_floor(
    metric: &Metric,
    units: &[Unit<'_>],
    column: &Column,
    policy: &GatePolicy,
    looking: Option<&Looking>,
) -> Option<(Verdict, String)> {
    let floor = metric.floor?;
    let (name, form) = (&metric.name, Form::of(metric));
    let demand = format!("{} {}", words::demand(metric.direction), form.level(floor));
    let sample = Sample::of(units, column, 0..units.len());
    let Some((lower, upper)) = (match looking {
        Some(looking) => bounds_at_any_time(metric, &sample, floor, looking, policy.alpha),
        None => one_sided_bounds(metric, &sample, policy.alpha),
    }) else {
        return Some((Verdict::Inconclusive, format!("{name}: too few scores to say whether it is {demand}")));
    };
    let (met, missed, bound) = match metric.direction {
        Direction::Higher => (lower >= floor, upper < floor, lower),
        Direction::Lower => (upper <= floor, lower > floor, upper),
    };
    let point = arm(&sample, metric.bounds()).estimate.map_or_else(String::new, |value| form.level(value));
    let confidence = words::percent(1.0 - policy.alpha);
    let over = !looking.is_some_and(Looking::is_incomplete);
    let strict = over && matches!(policy.fail_on, FailOn::Strict | FailOn::NotNonInferior);
    let verdict = match (met, missed || strict) {
        (true, _) => Verdict::Pass,
        (false, true) => Verdict::Fail,
        (false, false) => Verdict::Inconclusive,
    };
    let reason = match verdict {
        Verdict::Pass => format!("{name}: {point} is {demand}, as asked, with {confidence} confidence"),
        _ if missed => format!("{name}: {point} is not {demand}, with {confidence} confidence"),
        _ => format!("{name}: {point} is not shown to be {demand}: its {confidence} bound is {}", form.level(bound)),
    };
    Some((verdict, reason))
}

/// One-sided bounds of a mean: Clopper and Pearson for plain yes-or-no values, else the t bounds of the clustered or
/// weighted mean, else those of equal values on a bounded scale.
fn one_sided_bounds(metric: &Metric, sample: &Sample, alpha: f64) -> Option<(f64, f64)> {
    let n = sample.values.len() as u64;
    if sample.plain && metric.bounds() == Some((0.0, 1.0)) {
        let passes = sample.passes();
        return clopper_pearson_lower(passes, n, alpha).zip(clopper_pearson_upper(passes, n, alpha));
    }
    let estimate = arm(sample, metric.bounds());
    if let (Some(point), Some(se), Some(df)) = (estimate.estimate, estimate.se, estimate.df) {
        let half = t_quantile(1.0 - alpha, df) * se;
        return Some((point - half, point + half));
    }
    if estimate.status == Status::ZeroVariance && estimate.clusters > 1 {
        let interval = equal_values(estimate.estimate?, estimate.clusters, metric.bounds()?, 1.0 - 2.0 * alpha)?;
        return Some((interval.lo, interval.hi));
    }
    None
}

/// One-sided bounds of a mean that was looked at while its values came in, from its distance to the floor.
fn bounds_at_any_time(
    metric: &Metric,
    sample: &Sample,
    floor: f64,
    looking: &Looking,
    alpha: f64,
) -> Option<(f64, f64)> {
    let distances: Vec<f64> = sample.values.iter().map(|value| value - floor).collect();
    let range = metric.bounds().map(|(least, greatest)| (floor - least).abs().max((greatest - floor).abs()));
    let units = units(&distances, &sample.weights, &sample.clusters);
    let test = anytime_margin(&units, looking.horizon, range, 0.0, alpha)?;
    Some((floor + test.bounds.lower, floor + test.bounds.upper))
}

/// Gated metrics that a run does not have: a misspelled name must not pass.
fn absent(assessed: &[Assessed], policy: &GatePolicy) -> Vec<String> {
    policy
        .metrics
        .iter()
        .filter(|(name, demanded)| {
            demanded.role == MetricRole::Gate && !assessed.iter().any(|metric| metric.metric.name == **name)
        })
        .map(|(name, _)| format!("{name}: it is gated, but no grader or measure of both runs has that name"))
        .collect()
}

fn unfinished(run: &RunResults, side: &str) -> Option<String> {
    let standing = match run.status {
        RunStatus::Complete => return None,
        RunStatus::Open => "is still open",
        RunStatus::Stopped => "was stopped before its end",
    };
    let totals = &run.totals;
    Some(format!("the {side} {standing}: {} of {} cells are done", totals.cells_done(), totals.cells_planned))
}

fn not_comparable(comparability: &Comparability) -> Vec<String> {
    comparability
        .differences
        .iter()
        .filter(|difference| difference.blocking && !difference.allowed)
        .map(|difference| {
            format!(
                "the runs are not comparable: {} differs ({} against {}); allow `{}` by name to compare anyway",
                difference.what, difference.baseline, difference.candidate, difference.what
            )
        })
        .collect()
}

/// Whether too many targets of a run failed.
pub(super) fn target_failures(run: &RunResults, side: &str, policy: &GatePolicy) -> Option<String> {
    let (mut ended, mut failed) = (0_u64, 0_u64);
    for outcome in run.examples.values().flat_map(|example| example.trials.values()).filter_map(|t| t.target.as_ref()) {
        ended += 1;
        failed += u64::from(matches!(outcome, crate::model::TargetOutcome::Failed { .. }));
    }
    let share = if ended > 0 { failed as f64 / ended as f64 } else { 0.0 };
    (share > policy.max_target_failures).then(|| {
        format!(
            "the target failed in {} of the {side}'s trials ({failed} of {ended}); at most {} are allowed",
            words::percent(share),
            words::percent(policy.max_target_failures)
        )
    })
}

/// Whether a metric's instrument failed too often in a run.
pub(super) fn unscored_fault(name: &str, column: &Column, side: &str, policy: &GatePolicy) -> Option<String> {
    let share = column.failure_rate()?;
    (share > policy.max_unscored).then(|| {
        let reasons =
            column.reasons.iter().filter(|(reason, _)| reason.is_instrument_failure()).map(|(r, n)| (*r, *n)).collect();
        format!(
            "{name}: the grader failed on {} of the {side}'s cells ({}); at most {} are allowed",
            words::percent(share),
            words::reasons_text(&reasons),
            words::percent(policy.max_unscored)
        )
    })
}

fn instrument_faults(metric: &Assessed, policy: &GatePolicy) -> Vec<String> {
    let (name, columns) = (&metric.metric.name, &metric.columns);
    let mut faults: Vec<String> = [(&columns.baseline, "baseline"), (&columns.candidate, "candidate")]
        .into_iter()
        .filter_map(|(column, side)| unscored_fault(name, column, side, policy))
        .collect();
    let rates = (columns.baseline.failure_rate().unwrap_or(0.0), columns.candidate.failure_rate().unwrap_or(0.0));
    let p = metric.comparison.missing.differs_p.filter(|p| *p < DIFFERENTIAL_P);
    if let Some(p) = p.filter(|_| faults.is_empty() && rates.0.max(rates.1) > DIFFERENTIAL_RATE) {
        faults.push(format!(
            "{name}: the grader failed on {} of the baseline's cells and {} of the candidate's ({}); what it left out \
             may be what changed",
            words::percent(rates.0),
            words::percent(rates.1),
            words::p_text(p)
        ));
    }
    faults
}
