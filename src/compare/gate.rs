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
//!
//! A metric whose judge is no better than chance, or goes by the order of what it compares, decides nothing: neither its
//! mean, nor its floor, nor its guard.
//!
//! A guard on single examples fails beside the mean. A waiver turns what failed or stayed open into a pass that says so;
//! it heals neither a broken instrument nor runs that cannot be compared.

use super::{
    Broken, Comparability, RunResults, Waived,
    change::Assessed,
    contrast::arm,
    looking::{Looking, is_settled},
    measure::Metric,
    pair::{Column, Sample, Taking, Unit},
    words::{self, Form},
};
use crate::{
    model::{Change, Direction, ExampleId, FailOn, GatePolicy, MetricRole, OnMissing, RunStatus, Verdict, Waiver},
    stats::{
        Status, anytime_margin, clopper_pearson_lower, clopper_pearson_upper, equal_values, holm, one_sided, units,
    },
};

/// p below which the instrument is held to fail more often on one side (methods 1.0).
const DIFFERENTIAL_P: f64 = 0.01;
/// Failure rate of the worse side below which a difference between the sides cannot matter: it moves a mean by at most
/// this share of the scale.
const DIFFERENTIAL_RATE: f64 = 0.01;

/// Broken examples that are named.
const NAMED: usize = 20;

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
    assessed.iter_mut().for_each(distrusted);
    let mut failed = Vec::new();
    let mut open = Vec::new();
    let mut passed = Vec::new();
    for metric in assessed.iter_mut().filter(|metric| metric.metric.is_gated()) {
        let found = verdicts(metric, units, runs.1, policy, looking);
        let worst = found.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Verdict::Inconclusive);
        let waiver = waiver(&metric.metric.name, policy).filter(|_| worst != Verdict::Pass);
        for (verdict, reason) in found {
            match (verdict, waiver) {
                (Verdict::Pass, _) => passed.push(reason),
                (_, Some(waiver)) => passed.push(waived_text(&reason, waiver)),
                (Verdict::Fail, None) => failed.push(reason),
                (Verdict::Inconclusive, None) => open.push(reason),
            }
        }
        metric.comparison.beside.waived = waiver.map(|waiver| Waived {
            reason: waiver.reason.clone(),
            until: waiver.until,
            by: waiver.by.clone(),
            verdict: worst,
        });
        metric.comparison.verdict = Some(if waiver.is_some() { Verdict::Pass } else { worst });
    }
    passed.extend(spent_waivers(assessed, policy));
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
        faults.extend(instrument_faults(metric));
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

/// All that is asked of one metric: the comparison, the floor, the guard.
fn verdicts(
    metric: &mut Assessed,
    units: &[Unit<'_>],
    candidate: &RunResults,
    policy: &GatePolicy,
    looking: Option<&Looking>,
) -> Vec<(Verdict, String)> {
    metric.comparison.beside.broken = broken(metric, units);
    if let Some(distrust) = &metric.metric.distrust {
        let reason = format!("{}: {}", metric.comparison.name, distrust.sentence);
        return vec![(Verdict::Inconclusive, reason)];
    }
    let compared = match looking.filter(|looking| looking.is_incomplete() && !is_settled(metric, policy)) {
        Some(looking) => (Verdict::Inconclusive, unsettled(metric, looking)),
        None => at_both_ends(judge(metric, policy), metric, policy),
    };
    let taking = Taking::of(policy, candidate);
    let mut found = vec![compared];
    found.extend(check_floor(&metric.metric, units, &metric.columns.candidate, taking, policy, looking));
    found.extend(guard_verdict(metric));
    found
}

/// Says beside a finding that its judge cannot be believed, or may not be, gated or not.
fn distrusted(metric: &mut Assessed) {
    if let Some(distrust) = metric.metric.distrust.clone() {
        metric.note(distrust.sentence.clone());
        metric.comparison.beside.distrust = Some(distrust);
    } else if let Some(sentence) = metric.metric.doubt.clone() {
        metric.note(sentence.clone());
        metric.comparison.beside.doubt = Some(sentence);
    }
}

/// Under `bounds` a verdict must be the same with all missing cells at their worst and at their best.
fn at_both_ends(found: (Verdict, String), metric: &Assessed, policy: &GatePolicy) -> (Verdict, String) {
    let Some(ends) = metric.ends.as_ref() else { return found };
    let [worst, best] = [&ends.0, &ends.1].map(|end| judge(end, policy).0);
    if worst == found.0 && best == found.0 {
        return found;
    }
    let what = |end: &Assessed| end.comparison.change.as_str();
    let reason = format!(
        "{}: what the unscored cells hid would decide: {} if all were at their worst for the candidate, {} at their best",
        metric.comparison.name,
        what(&ends.0),
        what(&ends.1)
    );
    (Verdict::Inconclusive, reason)
}

/// Examples that fell by at least what the guard says, worst first; `None` without a guard.
fn broken(metric: &Assessed, units: &[Unit<'_>]) -> Option<Broken> {
    let guard = metric.metric.guard.as_ref()?;
    let sign = metric.metric.sign();
    let mut of = 0;
    let mut found: Vec<(ExampleId, f64)> = Vec::new();
    let sides = metric.columns.baseline.values.iter().zip(&metric.columns.candidate.values);
    for (unit, (before, after)) in units.iter().zip(sides) {
        let has = |(name, value): (&String, &String)| {
            unit.dimensions.is_some_and(|dimensions| dimensions.get(name) == Some(value))
        };
        if !guard.only.iter().all(has) {
            continue;
        }
        let (Some(before), Some(after)) = (before.value, after.value) else { continue };
        of += 1;
        let loss = sign * (before - after);
        // Means over trials and draws carry rounding.
        if loss > 0.0 && loss >= guard.drop - 1e-9 {
            found.push((unit.id.clone(), loss));
        }
    }
    let count = found.len() as u64;
    found.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    found.truncate(NAMED);
    Some(Broken { drop: guard.drop, allowed: guard.allowed, of, count, examples: found })
}

fn guard_verdict(metric: &Assessed) -> Option<(Verdict, String)> {
    let found = metric.comparison.beside.broken.as_ref()?;
    let (name, size) = (&metric.comparison.name, metric.form().size(found.drop));
    let head = format!("{name}: {} of {} fell by {size} or more", words::count(found.count, "example"), found.of);
    if found.count <= found.allowed {
        return Some((Verdict::Pass, format!("{head}; {} may", found.allowed)));
    }
    let named: Vec<String> = found.examples.iter().take(3).map(|(id, _)| words::quoted(id.as_str())).collect();
    let more = if found.count > 3 { ", ..." } else { "" };
    let once = if metric.trials == (1, 1) { "; with one trial each, a flaky example looks the same" } else { "" };
    let reason = format!("{head} ({}{more}); at most {} may{once}", named.join(", "), found.allowed);
    Some((Verdict::Fail, reason))
}

/// The waiver that holds for a metric on the policy's day.
fn waiver<'a>(metric: &str, policy: &'a GatePolicy) -> Option<&'a Waiver> {
    let today = policy.today?;
    policy.waivers.iter().find(|waiver| waiver.metric == metric && waiver.until >= today)
}

fn waived_text(reason: &str, waiver: &Waiver) -> String {
    let by = waiver.by.as_ref().map(|by| format!(" by {}", words::quoted(by))).unwrap_or_default();
    format!("{reason}; waived until {}{by}: {}", waiver.until, words::quoted(&waiver.reason))
}

/// Waivers that no longer hold, or that nothing needs.
fn spent_waivers(assessed: &[Assessed], policy: &GatePolicy) -> Vec<String> {
    let mut told = Vec::new();
    for waiver in &policy.waivers {
        let (name, until) = (&waiver.metric, waiver.until);
        let used =
            assessed.iter().any(|metric| metric.metric.name == *name && metric.comparison.beside.waived.is_some());
        if policy.today.is_some_and(|today| today > until) {
            told.push(format!("{name}: its waiver ended on {until} and no longer holds"));
        } else if !used {
            told.push(format!("{name}: the gate holds without its waiver (until {until}); take it out"));
        }
    }
    told
}

/// Verdict of one metric's comparison with its reason.
fn judge(metric: &Assessed, policy: &GatePolicy) -> (Verdict, String) {
    let found = &metric.comparison;
    let (name, form) = (&found.name, metric.form());
    if let Some(fault) = &metric.metric.fault {
        return (Verdict::Inconclusive, format!("{name}: {fault}"));
    }
    let pairs = if metric.unpaired { found.baseline.n.min(found.candidate.n) } else { found.difference.n };
    if let Some(too_few) = too_few(metric, pairs, policy) {
        return (Verdict::Inconclusive, too_few);
    }
    if found.p_worse.is_none() {
        return (Verdict::Inconclusive, format!("{name}: {}", untestable(metric)));
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
    (verdict, explain(metric, verdict, form, policy.alpha))
}

/// Why there are too few pairs for a verdict: fewer than asked for, or weights that leave fewer.
fn too_few(metric: &Assessed, pairs: u64, policy: &GatePolicy) -> Option<String> {
    let name = &metric.comparison.name;
    if pairs < policy.min_pairs {
        let have = if metric.unpaired {
            format!("{} with a score in one of the runs, and no pairs", words::count(pairs, "example"))
        } else {
            format!("{} with scores in both runs", words::count(pairs, "example"))
        };
        return Some(format!("{name}: only {have}; the gate asks for {}", policy.min_pairs));
    }
    (metric.effective < policy.min_pairs).then(|| {
        format!(
            "{name}: the weights leave an effective sample of {}; the gate asks for {}. Gate the dataset as it is \
             (`estimand = \"dataset\"`), or sample with less unequal probabilities",
            words::count(metric.effective, "example"),
            policy.min_pairs
        )
    })
}

/// Why a difference could not be tested, and what would mend it.
fn untestable(metric: &Assessed) -> &'static str {
    let found = &metric.comparison;
    match found.difference.status {
        Status::Insufficient if found.difference.clusters < 2 => {
            "the examples do not vary independently enough to estimate an error: they are all of one cluster; add \
             examples of others"
        }
        Status::Insufficient => {
            "the examples do not vary independently enough to estimate an error; add examples of other clusters"
        }
        Status::SingletonStratum => {
            "a stratum of the sample has a single unit, so that no error can be estimated; sample two of each stratum, \
             or put such strata together with `collapse_strata = true`"
        }
        Status::ZeroVariance | Status::NoInformation => {
            "all differences are equal and the scale has no declared bounds; declare its least and greatest value"
        }
        Status::Undefined => "its scores are too large to be added; mend the grader or its bounds",
        _ => "there is nothing to compare",
    }
}

fn explain(metric: &Assessed, verdict: Verdict, form: Form, alpha: f64) -> String {
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
        (_, Change::Inconclusive) if found.beside.ordinal.as_ref().is_some_and(|panel| panel.conflict) => format!(
            "{name}: ordinal conflict: the mean moved by {shift} and most examples the other way; gate a yes-or-no \
             metric made of it"
        ),
        (_, Change::Inconclusive) => format!("{name}: a change of {shift} stays open; {}", outlook(metric, alpha)),
        (_, change) => {
            let holm = found.p_worse_adjusted.filter(|_| change == Change::Regressed);
            let p = holm.map(|p| format!(" ({})", words::p_text(p))).unwrap_or_default();
            format!("{name}: {shift}, {}{p}", change.as_str())
        }
    }
}

/// What would decide an open finding.
fn outlook(metric: &Assessed, alpha: f64) -> String {
    let found = &metric.comparison;
    let lost_to_holm = found.p_worse.is_some_and(|p| p <= alpha) && found.p_worse_adjusted.is_some_and(|p| p > alpha);
    words::ways(&found.beside).unwrap_or_else(|| {
        if lost_to_holm {
            "it is worse by itself, but not for so many gated metrics: gate fewer, or add examples".to_owned()
        } else {
            "no number of examples that could be had would decide it: the change lies about as far from 0 as from the \
             margin; choose another margin"
                .to_owned()
        }
    })
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
    taking: Taking,
    policy: &GatePolicy,
    looking: Option<&Looking>,
) -> Option<(Verdict, String)> {
    let floor = metric.floor?;
    if let Some(distrust) = &metric.distrust {
        return Some((Verdict::Inconclusive, format!("{}: {}", metric.name, distrust.sentence)));
    }
    let (name, form) = (&metric.name, Form::of(metric));
    let demand = format!("{} {}", words::demand(metric.direction), form.level(floor));
    let sample = Sample::whole(units, column, taking);
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
    if let Some(bounds) = one_sided(&estimate, alpha) {
        return Some(bounds);
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
                "the runs are not comparable: {what} differs ({} against {}); allow `{what}` by name to compare anyway: \
                 `--allow {what}`",
                difference.baseline,
                difference.candidate,
                what = difference.what
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

/// Whether a metric's instrument failed too often in a run. Where such cells count as the worst value they are findings.
pub(super) fn unscored_fault(metric: &Metric, column: &Column, side: &str) -> Option<String> {
    let share = column.failure_rate()?;
    let name = &metric.name;
    (share > metric.max_unscored && metric.on_missing.0 != OnMissing::Fail).then(|| {
        let reasons =
            column.reasons.iter().filter(|(reason, _)| reason.is_instrument_failure()).map(|(r, n)| (*r, *n)).collect();
        format!(
            "{name}: the grader failed on {} of the {side}'s cells ({}); at most {} are allowed",
            words::percent(share),
            words::reasons_text(&reasons),
            words::percent(metric.max_unscored)
        )
    })
}

fn instrument_faults(metric: &Assessed) -> Vec<String> {
    let (name, columns) = (&metric.metric.name, &metric.columns);
    let mut faults: Vec<String> = [(&columns.baseline, "baseline"), (&columns.candidate, "candidate")]
        .into_iter()
        .filter_map(|(column, side)| unscored_fault(&metric.metric, column, side))
        .collect();
    let rates = (columns.baseline.failure_rate().unwrap_or(0.0), columns.candidate.failure_rate().unwrap_or(0.0));
    let p = metric.comparison.missing.differs_p.filter(|p| *p < DIFFERENTIAL_P);
    // Where missing cells have a value, or the gate must hold at both ends, what they hid cannot mislead.
    let open_to_doubt = metric.metric.on_missing.0 == OnMissing::Exclude;
    let p = p.filter(|_| open_to_doubt && faults.is_empty() && rates.0.max(rates.1) > DIFFERENTIAL_RATE);
    if let Some(p) = p {
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
