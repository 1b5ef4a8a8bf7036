//! Which explanations a short report tells, so that terminal and Markdown choose alike.

use crate::compare::{Comparison, Explanation, Frontier, SliceEffect};
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
