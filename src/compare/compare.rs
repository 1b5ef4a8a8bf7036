//! Two runs to one comparison: the order of the steps and the sentence on top.

use super::{
    Comparison, ExampleMeta, Explanation, Features, MetricComparison, Quarantine, RunCard, RunResults, WithAll,
    abreast::abreast,
    change::{self, Assessed, Setting},
    comparable::comparability,
    explain::explain_units,
    frontier::frontier_of,
    gate::{self, Ruling},
    judge_facts,
    judging_words::doubting,
    looking::{self, Looking},
    measure::{MEASURES, Metric},
    pair::{self, Column, Columns, Unit},
    repeated::repeated_of,
    rows, slices, words,
};
use crate::model::{Change, FailOn, GatePolicy, Verdict};

/// Compares a candidate with a baseline under a policy.
///
/// `metas`: what is known of the dataset's examples; one that is missing is its own cluster, weighs 1 and has no
/// dimensions. `allow`: differences that do not forbid the comparison (see [`super::is_allowance`]). The breakdown stays
/// empty: traces are not in a journal (see [`super::BreakdownFold`]). Examples in quarantine stand in the list of rows
/// and nowhere else; what the gate would say with them is told beside its verdict. Work grows with examples times
/// metrics times dimensions; the same inputs give the same answer on every machine.
pub fn compare(
    baseline: &RunResults,
    candidate: &RunResults,
    metas: &[ExampleMeta],
    policy: &GatePolicy,
    allow: &[String],
) -> Comparison {
    compare_with(baseline, candidate, metas, policy, allow, &Features::default())
}

/// The same, where more is known of the examples than their dimensions: a change is looked for in that, too.
pub fn compare_with(
    baseline: &RunResults,
    candidate: &RunResults,
    metas: &[ExampleMeta],
    policy: &GatePolicy,
    allow: &[String],
    features: &Features,
) -> Comparison {
    let (baseline_judges, candidate_judges) = (judge_facts(baseline), judge_facts(candidate));
    let policy = &doubting(policy, baseline_judges.iter().chain(&candidate_judges));
    let everyone = pair::roster(Some(baseline), candidate, metas, policy);
    let (everyone, looking) = looking::arrange(everyone, (baseline, candidate), metas);
    let kept: Vec<Unit<'_>> =
        everyone.iter().filter(|unit| !policy.quarantine.contains_key(unit.id)).cloned().collect();
    let comparability = comparability(baseline, candidate, policy, allow);
    let runs = (baseline, candidate);
    let (mut assessed, ruling) = judge(&kept, runs, &comparability, policy, looking);
    let count = graded_metrics(runs, policy).len();
    let left_out = everyone.len() - kept.len();
    let all = (left_out > 0).then(|| judge(&everyone, runs, &comparability, policy, looking));
    let mut ruling = limit_quarantine(ruling, (left_out, everyone.len()), policy);
    ruling.reasons.extend(looking.as_ref().map(looking::remark));
    ruling.reasons.extend(assessed.iter().filter(|metric| metric.metric.is_gated()).filter_map(doubt));
    for metric in &mut assessed {
        metric.put_into_words();
    }
    let graded = assessed.get(..count).unwrap_or_default();
    let slices = slices::compare_slices(&kept, graded, policy);
    let found: Vec<MetricComparison> = graded.iter().map(|metric| metric.comparison.clone()).collect();
    let explanations = explain_units(&kept, candidate, policy, &found, features);
    let headline = headline(&ruling, &assessed, &explanations, policy);
    let examples = match &all {
        Some((assessed, _)) => rows::compare_rows(&everyone, assessed.get(..count).unwrap_or_default()),
        None => rows::compare_rows(&everyone, graded),
    };
    let quarantine = all.map(|(assessed, ruling)| quarantined(&everyone, &assessed, ruling.verdict, policy));
    let mut metrics = assessed.into_iter().map(|metric| metric.comparison);
    Comparison {
        format: 1,
        baseline: RunCard::of(&baseline.header, &baseline.totals, baseline.status),
        candidate: RunCard::of(&candidate.header, &candidate.totals, candidate.status),
        comparability,
        pairing: pair::pairing(&kept),
        verdict: ruling.verdict,
        instrument_failed: ruling.instrument_failed,
        headline,
        reasons: ruling.reasons,
        metrics: metrics.by_ref().take(count).collect(),
        measures: metrics.collect(),
        slices,
        explanations,
        frontier: frontier_of(&kept, candidate, policy, &found),
        repeated: repeated_of(&kept, candidate, policy),
        breakdown: Vec::new(),
        baseline_judges,
        candidate_judges,
        examples,
        quarantine,
    }
}

/// Metrics of graders that both runs have, in the candidate's order.
fn graded_metrics((baseline, candidate): (&RunResults, &RunResults), policy: &GatePolicy) -> Vec<Metric> {
    let shared = |metric: &Metric| baseline.header.graders.iter().any(|grader| grader.name == metric.name);
    candidate.header.graders.iter().map(|grader| Metric::of_grader(grader, policy)).filter(shared).collect()
}

/// All metrics over some units, graded ones first, and the answer of the gate.
fn judge(
    units: &[Unit<'_>],
    runs: (&RunResults, &RunResults),
    comparability: &super::Comparability,
    policy: &GatePolicy,
    looking: Option<Looking>,
) -> (Vec<Assessed>, Ruling) {
    let setting = Setting::of(units, runs, policy, looking);
    let mut metrics = graded_metrics(runs, policy);
    metrics.extend(MEASURES.iter().map(|measure| Metric::of_measure(*measure, policy)));
    let columns = Columns::read_all(units, &metrics);
    let kept = |(metric, columns): &(Metric, Columns)| {
        !metric.is_measure() || columns.baseline.has_values() || columns.candidate.has_values()
    };
    let subjects: Vec<(Metric, Columns)> = metrics.into_iter().zip(columns).filter(kept).collect();
    let mut assessed =
        abreast(&subjects, |(metric, columns)| change::assess(metric.clone(), columns.clone(), &setting));
    for metric in assessed.iter_mut().filter(|metric| metric.metric.wants_bounds() && metric.metric.ends().is_some()) {
        let ends =
            [false, true].map(|best| change::assess(metric.metric.clone(), at_end(metric, best, units), &setting));
        let [worst, best] = ends;
        metric.comparison.beside.at_ends = Some((worst.comparison.change, best.comparison.change));
        metric.ends = Some(Box::new((worst, best)));
    }
    let ruling = gate::rule(&mut assessed, units, runs, comparability, policy, looking.as_ref());
    (assessed, ruling)
}

/// Both sides with missing cells at one end: the best for the candidate is the worst for the baseline.
fn at_end(metric: &Assessed, best: bool, units: &[Unit<'_>]) -> Columns {
    let read = |metric: Metric, side: Vec<_>| {
        Column::read_all(side.into_iter(), std::slice::from_ref(&metric)).pop().unwrap_or_default()
    };
    Columns {
        baseline: read(metric.metric.at_end(!best), units.iter().map(|unit| unit.baseline).collect()),
        candidate: read(metric.metric.at_end(best), units.iter().map(|unit| unit.candidate).collect()),
    }
}

/// A gate that leaves out too much decides nothing.
fn limit_quarantine(mut ruling: Ruling, (left_out, all): (usize, usize), policy: &GatePolicy) -> Ruling {
    let share = left_out as f64 / all.max(1) as f64;
    if share > policy.max_quarantined {
        ruling.reasons.insert(
            0,
            format!(
                "{} of the examples are in quarantine as flaky; at most {} may be: mend them or take them out",
                words::percent(share),
                words::percent(policy.max_quarantined)
            ),
        );
        ruling.verdict = ruling.verdict.max(Verdict::Inconclusive);
    }
    ruling
}

fn quarantined(everyone: &[Unit<'_>], assessed: &[Assessed], verdict: Verdict, policy: &GatePolicy) -> Quarantine {
    let of = |unit: &Unit<'_>| policy.quarantine.get(unit.id).map(|reason| (unit.id.clone(), reason.clone()));
    let examples: Vec<_> = everyone.iter().filter_map(of).collect();
    let with_all = assessed.iter().filter(|metric| metric.metric.is_gated()).map(|metric| WithAll {
        metric: metric.metric.name.clone(),
        difference: metric.comparison.difference.estimate,
        change: metric.comparison.change,
        verdict: metric.comparison.verdict,
    });
    Quarantine {
        share: examples.len() as f64 / everyone.len().max(1) as f64,
        examples,
        verdict_with_all: verdict,
        with_all: with_all.collect(),
    }
}

/// That a gated metric rests on a judge of whom too little is known.
fn doubt(metric: &Assessed) -> Option<String> {
    metric.comparison.beside.doubt.as_ref().map(|sentence| format!("{}: {sentence}", metric.metric.name))
}

/// The sentence that is read first.
fn headline(ruling: &Ruling, assessed: &[Assessed], explanations: &[Explanation], policy: &GatePolicy) -> String {
    let first = ruling.reasons.first().map_or("", String::as_str);
    if ruling.instrument_failed {
        return format!("No verdict: {first}.");
    }
    match ruling.verdict {
        Verdict::Fail => {
            let worst = assessed
                .iter()
                .filter(|metric| metric.comparison.verdict == Some(Verdict::Fail))
                .min_by(|left, right| severity(left).total_cmp(&severity(right)));
            let Some(worst) = worst.filter(|metric| metric.comparison.change == Change::Regressed) else {
                return format!("Do not merge: {first}.");
            };
            let others = assessed.iter().filter(|m| m.comparison.verdict == Some(Verdict::Fail)).count() - 1;
            let more = if others > 0 { format!("; {others} more failed") } else { String::new() };
            let explained = explanations.iter().find(|explanation| explanation.metric == worst.metric.name);
            let named = explained.and_then(|explanation| explanation.named.first());
            let place = named
                .filter(|slice| slice.change == Change::Regressed)
                .map(|slice| format!(", mostly where {}", slice.words))
                .unwrap_or_default();
            format!("Do not merge: {}{place}{more}.", words::moved(&worst.comparison, worst.form()))
        }
        Verdict::Inconclusive => format!("Not decided: {first}."),
        Verdict::Pass if !ruling.gated => format!("Nothing is gated: {}.", overview(assessed)),
        Verdict::Pass => {
            let word = match policy.fail_on {
                FailOn::MaterialRegression => "nothing got worse by more than its margin",
                _ => "nothing got credibly worse",
            };
            let waived = waived(assessed);
            let word = if waived.is_empty() { word } else { "what did not hold is waived" };
            format!("Safe to merge: {word}; {}{}{waived}.", overview(assessed), ungated(assessed))
        }
    }
}

/// What got credibly worse among the metrics that only inform: no reason to fail, but no secret either.
fn ungated(assessed: &[Assessed]) -> String {
    let told: Vec<String> = assessed
        .iter()
        .filter(|metric| !metric.metric.is_gated() && metric.comparison.change == Change::Regressed)
        .map(|metric| words::moved(&metric.comparison, metric.form()))
        .collect();
    if told.is_empty() { String::new() } else { format!(" (not gated: {})", told.join(", ")) }
}

/// Gates that did not hold and that somebody accepted.
fn waived(assessed: &[Assessed]) -> String {
    let told: Vec<String> = assessed
        .iter()
        .filter_map(|metric| metric.comparison.beside.waived.as_ref().map(|waived| (metric, waived)))
        .map(|(metric, waived)| format!("{} until {}", metric.metric.name, waived.until))
        .collect();
    if told.is_empty() { String::new() } else { format!(" (waived: {})", told.join(", ")) }
}

/// How bad a failing metric is: its one-sided p, then the size of its change.
fn severity(metric: &Assessed) -> f64 {
    let regressed = metric.comparison.change == Change::Regressed;
    metric.comparison.p_worse.unwrap_or(1.0) + if regressed { 0.0 } else { 2.0 }
}

/// What moved, in few words: gated metrics, or all where none is gated.
fn overview(assessed: &[Assessed]) -> String {
    let any = assessed.iter().any(|metric| metric.metric.is_gated());
    let of_interest = || assessed.iter().filter(|metric| metric.metric.is_gated() || !any);
    let told: Vec<String> = of_interest()
        .filter(|metric| matches!(metric.comparison.change, Change::Improved | Change::Regressed))
        .map(|metric| words::moved(&metric.comparison, metric.form()))
        .collect();
    if !told.is_empty() {
        return told.join(", ");
    }
    let same = of_interest().filter(|metric| metric.comparison.change == Change::Equivalent).count();
    match (same, of_interest().count()) {
        (_, 0) => "no metric was compared".to_owned(),
        (same, all) if same == all => {
            format!("{} equivalent to the baseline", if all == 1 { "it is" } else { "all are" })
        }
        (same, all) => format!("{same} of {all} metrics are equivalent, the rest did not move credibly"),
    }
}
