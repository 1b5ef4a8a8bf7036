//! Two runs to one comparison: the order of the steps and the sentence on top.

use super::{
    Comparison, ExampleMeta, Explanation, Features, MetricComparison, RunCard, RunResults,
    change::{self, Assessed},
    comparable::comparability,
    explain::explain_units,
    frontier::frontier_of,
    gate::{self, Ruling},
    measure::{MEASURES, Metric},
    pair::{self, Columns},
    repeated::repeated_of,
    rows, slices, words,
};
use crate::model::{Change, FailOn, GatePolicy, Verdict};

/// Compares a candidate with a baseline under a policy.
///
/// `metas`: what is known of the dataset's examples; one that is missing is its own cluster, weighs 1 and has no
/// dimensions. `allow`: differences that do not forbid the comparison (`dataset`, `grader:NAME`, `trials`, `prices`).
/// The breakdown stays empty: traces are not in a journal (see [`super::BreakdownFold`]). Work grows with examples
/// times metrics times dimensions; the same inputs give the same answer on every machine.
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
    let comparability = comparability(baseline, candidate, policy, allow);
    let units = pair::roster(Some(baseline), candidate, metas);
    let seed = candidate.header.seed;
    let shared = |metric: &Metric| baseline.header.graders.iter().any(|grader| grader.name == metric.name);
    let mut metrics: Vec<Metric> =
        candidate.header.graders.iter().map(|grader| Metric::of_grader(grader, policy)).filter(shared).collect();
    let count = metrics.len();
    metrics.extend(MEASURES.iter().map(|measure| Metric::of_measure(*measure, policy)));
    let columns = Columns::read_all(&units, &metrics);
    let mut assessed: Vec<Assessed> = metrics
        .into_iter()
        .zip(columns)
        .filter(|(metric, columns)| {
            !metric.is_measure() || columns.baseline.has_values() || columns.candidate.has_values()
        })
        .map(|(metric, columns)| change::assess(metric, columns, &units, policy.alpha, seed))
        .collect();
    let ruling = gate::rule(&mut assessed, &units, (baseline, candidate), &comparability, policy);
    for metric in &mut assessed {
        metric.put_into_words();
    }
    let graded = assessed.get(..count).unwrap_or_default();
    let slices = slices::compare_slices(&units, graded, policy.alpha);
    let found: Vec<MetricComparison> = graded.iter().map(|metric| metric.comparison.clone()).collect();
    let explanations = explain_units(&units, candidate, policy, &found, features);
    let headline = headline(&ruling, &assessed, &explanations, policy);
    let examples = rows::compare_rows(&units, graded);
    let mut metrics = assessed.into_iter().map(|metric| metric.comparison);
    Comparison {
        format: 1,
        baseline: RunCard::of(&baseline.header, &baseline.totals, baseline.status),
        candidate: RunCard::of(&candidate.header, &candidate.totals, candidate.status),
        comparability,
        pairing: pair::pairing(&units),
        verdict: ruling.verdict,
        instrument_failed: ruling.instrument_failed,
        headline,
        reasons: ruling.reasons,
        metrics: metrics.by_ref().take(count).collect(),
        measures: metrics.collect(),
        slices,
        explanations,
        frontier: frontier_of(&units, candidate, policy, &found),
        repeated: repeated_of(&units, candidate, policy),
        breakdown: Vec::new(),
        examples,
    }
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
            format!("Safe to merge: {word}; {}{}.", overview(assessed), ungated(assessed))
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
