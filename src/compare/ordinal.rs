//! A graded scale beside its mean: levels, net sign, ranks, ceiling (methods 1.4). No finding is made here.

use std::collections::BTreeMap;

use super::{
    Ordinal, RunResults,
    contrast::{net_sign, signs_contradict},
    distribution::distribution,
    measure::{Metric, Source},
    pair::Pairs,
    words,
};
use crate::{
    model::Scale,
    stats::{Estimate, Status, Zeros, signed_rank},
};

/// Most levels of a scale that is graded and not a measure.
const LEVELS: f64 = 20.0;

/// The panel of a graded metric: labels with at least three values, or whole numbers on a short scale. `None` for all
/// others.
pub(super) fn ordinal(
    metric: &Metric,
    pairs: &Pairs,
    deciding: &Estimate,
    runs: (&RunResults, &RunResults),
) -> Option<Ordinal> {
    if pairs.len() == 0 || !is_graded(metric, runs) {
        return None;
    }
    let net = net_sign(pairs);
    let ranks = signed_rank(&pairs.differences(), Zeros::Pratt);
    Some(Ordinal {
        superiority: net.estimate.map(|net| 0.5 * (net + 1.0)),
        conflict: net.status == Status::Ok && signs_contradict(&net, deciding),
        wilcoxon_p: ranks.p_two_sided,
        levels: levels(metric, runs),
        ceiling: (ceiling(metric, runs.0), ceiling(metric, runs.1)),
        net_sign: net,
    })
}

/// All values that the cells of a run have.
fn values<'a>(metric: &'a Metric, run: &'a RunResults) -> impl Iterator<Item = f64> + 'a {
    let trials = run.examples.values().flat_map(|example| example.trials.values());
    let cells =
        trials.filter_map(|trial| trial.scores.get(metric.name.as_str())).flat_map(|draws| draws.values().flatten());
    cells.filter_map(|score| score.value.number())
}

fn is_graded(metric: &Metric, runs: (&RunResults, &RunResults)) -> bool {
    if !matches!(metric.source, Source::Grader) {
        return false;
    }
    match &metric.scale {
        Scale::Binary => false,
        Scale::Labels { labels } => labels.iter().filter(|(_, value)| value.is_some()).count() > 2,
        Scale::Number { .. } => {
            metric.width().is_some_and(|width| width > 1.0 && width <= LEVELS)
                && values(metric, runs.0).chain(values(metric, runs.1)).all(|value| value.fract() == 0.0)
        }
    }
}

/// Cells per level in both runs, in the order of the scale.
fn levels(metric: &Metric, runs: (&RunResults, &RunResults)) -> Vec<(String, u64, u64)> {
    if let Scale::Number { .. } = metric.scale {
        let mut counts: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        values(metric, runs.0).for_each(|value| counts.entry(value as i64).or_default().0 += 1);
        values(metric, runs.1).for_each(|value| counts.entry(value as i64).or_default().1 += 1);
        return counts.into_iter().map(|(level, (a, b))| (words::plain(level as f64), a, b)).collect();
    }
    let mut found: Vec<(String, u64, u64)> = Vec::new();
    for (label, cells) in distribution(metric, runs.0) {
        found.push((label, cells, 0));
    }
    for (label, cells) in distribution(metric, runs.1) {
        match found.iter_mut().find(|row| row.0 == label) {
            Some(row) => row.2 = cells,
            None => found.push((label, 0, cells)),
        }
    }
    found
}

/// Share of the cells with a value that have the best one there is.
fn ceiling(metric: &Metric, run: &RunResults) -> f64 {
    let Some((worst, best)) = metric.ends() else { return 0.0 };
    let near = 1e-9 * (best - worst).abs();
    let (mut top, mut all) = (0_u64, 0_u64);
    for value in values(metric, run) {
        all += 1;
        top += u64::from(metric.sign() * (value - best) >= -near);
    }
    if all > 0 { top as f64 / all as f64 } else { 0.0 }
}
