//! How well failures are placed: spans and categories (as TRAIL counts them), agents and steps (as Who&When does).
//!
//! Names are compared to the letter; making them canonical is done before. A finding that is missing or cannot be read
//! is an empty one, never left out.

use std::collections::{BTreeMap, BTreeSet};

use super::moments;

/// Failures of one trace: pairs of span and category.
pub type Marks<'a> = Vec<(&'a str, &'a str)>;

/// Placement of failures over traces; `None` without traces it is defined on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpanAttribution {
    /// Share of true spans that were found, averaged over traces that have any.
    pub location: Option<f64>,
    /// The same of pairs of span and category.
    pub joint: Option<f64>,
    /// F1 of the categories of a trace, averaged over all traces.
    pub category_f1: Option<f64>,
    /// F1 of each category over the traces, averaged by how many traces truly have it.
    pub weighted_f1: Option<f64>,
}

/// Compares true and found failures, trace by trace.
pub fn span_attribution(traces: &[(Marks<'_>, Marks<'_>)]) -> SpanAttribution {
    let recalled = |of: &dyn Fn(&Marks<'_>) -> BTreeSet<String>| {
        let shares: Vec<f64> = traces.iter().filter_map(|(truth, found)| recall(&of(truth), &of(found))).collect();
        moments::mean(&shares)
    };
    let categories: Vec<(BTreeSet<&str>, BTreeSet<&str>)> = traces
        .iter()
        .map(|(truth, found)| {
            (truth.iter().map(|(_, name)| *name).collect(), found.iter().map(|(_, name)| *name).collect())
        })
        .collect();
    let each: Vec<f64> = categories
        .iter()
        .map(|(truth, found)| f1(truth.intersection(found).count(), truth.len(), found.len()))
        .collect();
    SpanAttribution {
        location: recalled(&|marks| marks.iter().map(|(span, _)| (*span).to_owned()).collect()),
        joint: recalled(&|marks| marks.iter().map(|mark| format!("{mark:?}")).collect()),
        category_f1: moments::mean(&each),
        weighted_f1: (!traces.is_empty()).then(|| weighted(&categories)),
    }
}

fn recall(truth: &BTreeSet<String>, found: &BTreeSet<String>) -> Option<f64> {
    (!truth.is_empty()).then(|| truth.intersection(found).count() as f64 / truth.len() as f64)
}

/// 0 where nothing is hit, also when there was nothing to hit.
fn f1(hits: usize, truth: usize, found: usize) -> f64 {
    if hits == 0 { 0.0 } else { 2.0 * hits as f64 / (truth + found) as f64 }
}

fn weighted(traces: &[(BTreeSet<&str>, BTreeSet<&str>)]) -> f64 {
    // Hits, true and found traces by category.
    let mut counts: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for (truth, found) in traces {
        for name in truth.union(found) {
            let count = counts.entry(name).or_default();
            count.0 += usize::from(truth.contains(name) && found.contains(name));
            count.1 += usize::from(truth.contains(name));
            count.2 += usize::from(found.contains(name));
        }
    }
    let support: usize = counts.values().map(|(_, truth, _)| truth).sum();
    if support == 0 {
        return 0.0;
    }
    let sum: f64 = counts.values().map(|(hits, truth, found)| *truth as f64 * f1(*hits, *truth, *found)).sum();
    sum / support as f64
}

/// Who failed, and at which step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit<'a> {
    /// Name of the agent.
    pub agent: &'a str,
    /// Number of the step.
    pub step: i64,
}

/// Placement of one failure per trace; `None` without traces.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepAttribution {
    /// Share of traces with the right agent.
    pub agent: Option<f64>,
    /// Share with the right step.
    pub step: Option<f64>,
    /// Share with both.
    pub joint: Option<f64>,
}

/// Compares true and found culprits; no finding counts as wrong.
pub fn step_attribution(items: &[(Culprit<'_>, Option<Culprit<'_>>)]) -> StepAttribution {
    StepAttribution {
        agent: hits(items, |truth, found| truth.agent == found.agent),
        step: hits(items, |truth, found| truth.step == found.step),
        joint: hits(items, |truth, found| truth == found),
    }
}

/// Share of findings no more than `steps` from the true step.
pub fn steps_within(items: &[(Culprit<'_>, Option<Culprit<'_>>)], steps: u64) -> Option<f64> {
    hits(items, |truth, found| truth.step.abs_diff(found.step) <= steps)
}

fn hits<'a>(
    items: &[(Culprit<'a>, Option<Culprit<'a>>)],
    is_hit: impl Fn(&Culprit<'a>, &Culprit<'a>) -> bool,
) -> Option<f64> {
    let hits = items.iter().filter(|(truth, found)| found.as_ref().is_some_and(|found| is_hit(truth, found))).count();
    (!items.is_empty()).then(|| hits as f64 / items.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_place_and_nothing_found() {
        assert_eq!(span_attribution(&[]), SpanAttribution::default());
        let invented = span_attribution(&[(vec![], vec![("s1", "loop")])]);
        assert_eq!((invented.location, invented.category_f1, invented.weighted_f1), (None, Some(0.0), Some(0.0)));
        let missed = span_attribution(&[(vec![("s1", "loop")], vec![])]);
        assert_eq!((missed.location, missed.joint), (Some(0.0), Some(0.0)));
        assert_eq!(step_attribution(&[]), StepAttribution::default());
    }

    #[test]
    fn marks_count_once_and_names_to_the_letter() {
        let truth = vec![("s1", "loop"), ("s2", "loop"), ("s2", "Goal")];
        let found = vec![("s1", "loop"), ("s1", "loop"), ("s2", "goal")];
        let one = span_attribution(&[(truth, found)]);
        assert_eq!((one.location, one.joint), (Some(1.0), Some(1.0 / 3.0)));
        assert_eq!((one.category_f1, one.weighted_f1), (Some(0.5), Some(0.5)));
    }

    /// 12 is not 1, and a missing finding is wrong.
    #[test]
    fn steps_are_numbers() {
        let at = |agent, step| Culprit { agent, step };
        let items = [(at("a", 1), Some(at("a", 12))), (at("b", 4), Some(at("A", 4))), (at("c", i64::MIN), None)];
        let found = step_attribution(&items);
        assert_eq!((found.agent, found.step, found.joint), (Some(1.0 / 3.0), Some(1.0 / 3.0), Some(0.0)));
        assert_eq!((steps_within(&items, 10), steps_within(&items, 11)), (Some(1.0 / 3.0), Some(2.0 / 3.0)));
    }
}
