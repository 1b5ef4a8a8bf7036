//! Which explanations a short report tells, so that terminal and Markdown choose alike.

use super::number::{self, Unit};
use super::words;
use crate::compare::{Comparison, CostOfGood, Explanation, Frontier, JudgeFacts, RunView, SliceEffect};
use crate::model::{Change, MetricRole};

/// Most sentences about quality and cost.
const FRONTIERS: usize = 3;

/// Explanations that say something: a slice is named, or a metric regressed and none is.
pub(super) fn told(view: &Comparison) -> Vec<&Explanation> {
    let says = |one: &&Explanation| !one.named.is_empty() || (one.change == Change::Regressed && one.tested > 0);
    view.explanations.iter().filter(says).collect()
}

/// Slices of an explanation that moved apart from the rest.
pub(super) fn moved(explanation: &Explanation) -> Vec<&SliceEffect> {
    explanation.slices.iter().filter(|slice| matches!(slice.change, Change::Regressed | Change::Improved)).collect()
}

/// Quality against money (time where no money is known), of gated metrics, or of the first where none is gated.
pub(super) fn frontiers(view: &Comparison) -> Vec<&Frontier> {
    let spent = |name: &str| view.frontier.iter().filter(|one| one.spent == name).collect::<Vec<_>>();
    let money = spent("cost_usd");
    let known = if money.is_empty() { spent("latency_ms") } else { money };
    let gated = |one: &&Frontier| {
        view.metrics.iter().any(|metric| metric.name == one.metric && metric.role == MetricRole::Gate)
    };
    let any = known.iter().any(&gated);
    let wanted = known.into_iter().filter(|one| !any || gated(one));
    wanted.take(if any { FRONTIERS } else { 1 }).collect()
}

/// Chances over repeated trials of one run, a line per metric: `reward: at least one of k passes 42.0 %, 56.7 %, ...; all of
/// k pass 42.0 %, 27.3 %, ... (k = 1 to 4)`.
pub(super) fn repeated(view: &RunView) -> Vec<String> {
    let mut metrics: Vec<&str> = view.repeated.iter().map(|one| one.metric.as_str()).collect();
    metrics.dedup();
    let percent = |estimate: Option<f64>| {
        estimate.map_or_else(|| number::ABSENT.to_owned(), |share| format!("{} %", number::decimal(100.0 * share, 1)))
    };
    let line = |metric: &str| {
        let of = || view.repeated.iter().filter(move |one| one.metric == metric);
        let any: Vec<String> = of().map(|one| percent(one.pass_at_k.estimate)).collect();
        let all: Vec<String> = of().map(|one| percent(one.pass_hat_k.estimate)).collect();
        format!(
            "{metric}, k = 1 to {}: at least one of k passes {} (pass@k); all of k pass {} (pass^k)",
            all.len(),
            any.join(", "),
            all.join(", ")
        )
    };
    metrics.into_iter().map(line).collect()
}

/// How the judges of one run worked, a line for each thing worth telling.
pub(super) fn judges(facts: &[JudgeFacts]) -> Vec<String> {
    let lines =
        |one: &JudgeFacts| one.sentences.iter().map(|said| format!("{}: {said}", one.metric)).collect::<Vec<_>>();
    facts.iter().flat_map(lines).collect()
}

/// The same of both runs; what is alike in both is told once.
pub(super) fn both_judges(view: &Comparison) -> Vec<String> {
    let (before, after) = (judges(&view.baseline_judges), judges(&view.candidate_judges));
    if before == after {
        return after;
    }
    let told =
        |run: &str, lines: Vec<String>| lines.into_iter().map(|line| format!("{run}, {line}")).collect::<Vec<_>>();
    [told("baseline", before), told("candidate", after)].concat()
}

/// What a good answer costs in one run, a line per gated metric, or for the first: in money, else in time.
pub(super) fn costs(view: &RunView) -> Vec<String> {
    let spent = |name: &str| view.cost_of_good.iter().filter(|one| one.spent == name).collect::<Vec<_>>();
    let money = spent("cost_usd");
    let known = if money.is_empty() { spent("latency_ms") } else { money };
    let gated = |one: &&CostOfGood| {
        view.metrics.iter().any(|metric| metric.name == one.metric && metric.role == MetricRole::Gate)
    };
    let any = known.iter().any(&gated);
    let line = |one: &CostOfGood| {
        let scale = crate::model::Scale::Number { min: Some(0.0), max: None };
        let (point, interval) = number::mean(Unit::of(&one.spent, &scale), &one.per_good);
        let what = words::measure_title(&one.spent).to_lowercase();
        format!("{}: {what} of a good answer {point} {interval}", one.metric)
    };
    let wanted = known.into_iter().filter(|one| (!any || gated(one)) && one.per_good.estimate.is_some());
    wanted.take(if any { FRONTIERS } else { 1 }).map(line).collect()
}
