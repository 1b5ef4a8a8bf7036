//! A run that was looked at while it went on: which examples count, in which order, and how many there might have been.
//!
//! What counts is the longest beginning of the seeded order of which nothing is missing. Examples that ended out of turn
//! do not count, because which of them were quick may say how they went.

use std::collections::{BTreeMap, HashMap};

use super::{ExampleMeta, RunResults, change::Assessed, pair::Unit};
use crate::{
    model::{Change, ExampleId, FailOn, GatePolicy, RunStatus, trial_place},
    stats::Horizon,
};

/// How far a run that is looked at has got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Looking {
    /// What was known of the units before the first was tried.
    pub horizon: Horizon,
    /// Examples that count.
    pub used: u64,
    /// Examples there are.
    pub planned: u64,
}

impl Looking {
    /// Whether examples are left.
    pub fn is_incomplete(&self) -> bool {
        self.used < self.planned
    }
}

/// Keeps the units that count and numbers their clusters in the order in which they were tried. Without a run that is
/// looked at the units stay as they are.
pub(super) fn arrange<'a>(
    units: Vec<Unit<'a>>,
    (baseline, candidate): (&RunResults, &RunResults),
    metas: &[ExampleMeta],
) -> (Vec<Unit<'a>>, Option<Looking>) {
    let watched: Vec<&RunResults> =
        [candidate, baseline].into_iter().filter(|run| run.header.until_decided.is_some()).collect();
    let Some(first) = watched.first() else { return (units, None) };
    let mut clusters: BTreeMap<&str, (f64, Vec<&ExampleId>)> = BTreeMap::new();
    for meta in metas {
        let weight = Some(meta.weight).filter(|weight| weight.is_finite() && *weight > 0.0).unwrap_or(1.0);
        let (sum, members) = clusters.entry(&meta.cluster).or_default();
        *sum += weight;
        members.push(&meta.id);
    }
    let mut order: Vec<&str> = clusters.keys().copied().collect();
    order.sort_by_cached_key(|cluster| trial_place(first.header.seed, cluster));
    let whole = |cluster: &&str| {
        let members = clusters.get(*cluster).map(|(_, members)| members.as_slice()).unwrap_or_default();
        members.iter().all(|id| watched.iter().all(|run| is_whole(run, id)))
    };
    let counted: Vec<&str> = order.into_iter().take_while(whole).collect();
    let place: HashMap<&str, usize> = counted.iter().enumerate().map(|(place, cluster)| (*cluster, place)).collect();
    let cluster_of: HashMap<&ExampleId, &str> = metas.iter().map(|meta| (&meta.id, meta.cluster.as_str())).collect();
    let keep = |mut unit: Unit<'a>| {
        unit.cluster = *place.get(cluster_of.get(unit.id)?)?;
        Some(unit)
    };
    let units: Vec<Unit<'a>> = units.into_iter().filter_map(keep).collect();
    let used = counted.iter().filter_map(|cluster| clusters.get(cluster)).map(|(_, members)| members.len() as u64);
    let looking = Looking {
        horizon: Horizon {
            heaviest: clusters.values().map(|(weight, _)| *weight).fold(0.0, f64::max),
            units: clusters.len() as u64,
        },
        used: used.sum(),
        planned: metas.len() as u64,
    };
    (units, Some(looking))
}

/// Whether every planned cell of an example has an outcome.
fn is_whole(run: &RunResults, id: &ExampleId) -> bool {
    if run.status == RunStatus::Complete {
        return true;
    }
    let Some(example) = run.examples.get(id) else { return false };
    example.trials.len() == run.header.trials as usize
        && example.trials.values().all(|trial| {
            let graded = |grader: &crate::model::GraderInfo| {
                trial.scores.get(grader.name.as_str()).is_some_and(|draws| draws.len() == grader.draws as usize)
            };
            trial.target.is_some() && run.header.graders.iter().all(graded)
        })
}

/// Whether what is found of a gated metric is enough to stop. A metric that only passes because nothing was found yet is not
/// settled. What was shown stays shown; only a regression may yet turn out to be within the margin.
pub(super) fn is_settled(metric: &Assessed, policy: &GatePolicy) -> bool {
    let found = &metric.comparison;
    match policy.fail_on {
        FailOn::MaterialRegression | FailOn::NotNonInferior => found.material_regression || found.non_inferior,
        FailOn::Regressed | FailOn::Strict => {
            found.non_inferior || matches!(found.change, Change::Regressed | Change::Improved)
        }
    }
}

/// What a reader of a comparison must know of it.
pub(super) fn remark(looking: &Looking) -> String {
    format!(
        "looked at while it went on: {} of {} examples count, in their seeded order; the intervals and p-values of the \
         differences hold whenever one looks, those of single runs and slices do not",
        looking.used, looking.planned
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::{
            compare,
            testing::{binary, gate, metas},
        },
        model::{RunId, UntilDecided, Verdict},
    };

    /// A candidate that got as far as `done` in its order, and the baseline.
    fn looked_at(n: usize, worse: impl Fn(usize) -> bool, done: usize) -> (RunResults, RunResults, Vec<ExampleMeta>) {
        let metas = metas(n, "kind", |_| "any".to_owned());
        let mut order: Vec<&ExampleMeta> = metas.iter().collect();
        order.sort_by_cached_key(|meta| trial_place(7, &meta.cluster));
        let baseline = with_targets(binary("a", (0..n).map(|_| true)));
        let mut candidate = with_targets(binary("b", (0..n).map(|index| !worse(index))));
        for meta in order.iter().skip(done) {
            candidate.examples.remove(&meta.id);
        }
        let rule = UntilDecided::RULE.to_owned();
        candidate.header.until_decided = Some(UntilDecided { baseline: RunId::new("a"), rule });
        candidate.status = if done < n { RunStatus::Stopped } else { RunStatus::Complete };
        (baseline, candidate, metas)
    }

    fn with_targets(mut run: RunResults) -> RunResults {
        let ids: Vec<String> = run.examples.keys().map(ToString::to_string).collect();
        ids.iter().for_each(|id| crate::compare::testing::output(&mut run, id, 0, 1.0, 0.0));
        run
    }

    #[test]
    fn only_the_beginning_without_a_gap_counts() {
        let (baseline, mut candidate, metas) = looked_at(200, |_| false, 120);
        let mut order: Vec<&ExampleMeta> = metas.iter().collect();
        order.sort_by_cached_key(|meta| trial_place(7, &meta.cluster));
        candidate.examples.get_mut(&order[50].id).unwrap().trials.get_mut(&0).unwrap().scores.clear();
        let units = crate::compare::pair::roster(Some(&baseline), &candidate, &metas, &GatePolicy::default());
        let (units, looking) = arrange(units, (&baseline, &candidate), &metas);
        let looking = looking.unwrap();
        assert_eq!((looking.used, looking.planned, units.len()), (50, 200, 50));
        assert!(looking.is_incomplete() && looking.horizon == Horizon { heaviest: 1.0, units: 200 });
        let first: Vec<usize> = units.iter().filter(|unit| *unit.id == order[0].id).map(|unit| unit.cluster).collect();
        assert_eq!(first, [0]);
    }

    #[test]
    fn what_is_settled_stays_settled() {
        let policy = gate(&["ok"], 0.05);
        let mut settled = None;
        for done in (10..=400).step_by(10) {
            let (baseline, candidate, metas) = looked_at(400, |index| index % 5 == 0, done);
            let found = compare(&baseline, &candidate, &metas, &policy, &[]);
            assert_ne!(found.verdict, Verdict::Pass, "after {done}: {:?}", found.reasons);
            assert!(settled.is_none() || found.verdict == Verdict::Fail, "after {done}: {:?}", found.reasons);
            settled = settled.or((found.verdict == Verdict::Fail).then_some(done));
        }
        assert!(settled.is_some_and(|done| done < 200), "{settled:?}");
    }

    #[test]
    fn a_policy_that_passes_what_is_open_waits_for_the_end() {
        let mut policy = gate(&["ok"], 0.05);
        policy.fail_on = FailOn::MaterialRegression;
        let verdict = |done: usize| {
            let (baseline, candidate, metas) = looked_at(60, |index| index == 3, done);
            compare(&baseline, &candidate, &metas, &policy, &[]).verdict
        };
        assert_eq!((verdict(30), verdict(60)), (Verdict::Inconclusive, Verdict::Pass));
        policy.fail_on = FailOn::Strict;
        let (baseline, candidate, metas) = looked_at(60, |index| index == 3, 30);
        assert_eq!(compare(&baseline, &candidate, &metas, &policy, &[]).verdict, Verdict::Inconclusive);
    }
}
