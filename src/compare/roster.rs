//! Who takes part: the examples of one or two runs with cluster, weight and stratum, and how means over them are taken.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{ExampleMeta, ExampleResult, Pairing, RunResults};
use crate::{
    model::{Estimand, ExampleId, GatePolicy, RunDesign},
    stats::Estimate,
};

/// One example of either run.
#[derive(Clone, Debug)]
pub(super) struct Unit<'a> {
    /// Id.
    pub id: &'a ExampleId,
    /// Number of its cluster, in the order of the clusters' names.
    pub cluster: usize,
    /// Sampling weight; 0 where what is given is no weight, so that it counts only in the dataset as it is.
    pub weight: f64,
    /// Number of its stratum, in the order of the strata's names.
    pub stratum: usize,
    /// Share of its stratum that was chosen, or its own probability where each was drawn on its own; 0 where unknown.
    pub fraction: f64,
    /// Whether it was chosen for diversity.
    pub diverse: bool,
    /// Dimensions; `None` when the dataset at hand does not know the example.
    pub dimensions: Option<&'a BTreeMap<String, String>>,
    /// What the baseline has of it.
    pub baseline: Option<&'a ExampleResult>,
    /// What the candidate has of it.
    pub candidate: Option<&'a ExampleResult>,
}

impl Unit<'_> {
    /// Whether both runs have it.
    pub fn is_paired(&self) -> bool {
        self.baseline.is_some() && self.candidate.is_some()
    }
}

/// All examples of one or two runs, by id. Clusters are those of the policy's dimension where it names one; an example
/// without a value of it is a cluster of its own.
pub(super) fn roster<'a>(
    baseline: Option<&'a RunResults>,
    candidate: &'a RunResults,
    metas: &'a [ExampleMeta],
    policy: &GatePolicy,
) -> Vec<Unit<'a>> {
    let known: HashMap<&ExampleId, &ExampleMeta> = metas.iter().map(|meta| (&meta.id, meta)).collect();
    let ids: BTreeSet<&ExampleId> =
        baseline.iter().flat_map(|run| run.examples.keys()).chain(candidate.examples.keys()).collect();
    let cluster_of = |id: &'a ExampleId| -> (bool, &'a str) {
        let Some(meta) = known.get(id) else { return (false, id.as_str()) };
        match &policy.cluster_by {
            Some(dimension) => meta.dimensions.get(dimension).map_or((false, id.as_str()), |name| (true, name)),
            None => (true, meta.cluster.as_str()),
        }
    };
    let clusters = numbered(ids.iter().map(|id| cluster_of(id)));
    let stratum_of = |id: &ExampleId| known.get(id).and_then(|meta| meta.stratum.as_deref()).unwrap_or_default();
    let strata = numbered(ids.iter().map(|id| stratum_of(id)));
    let mut present: BTreeMap<&str, u64> = BTreeMap::new();
    for id in &ids {
        *present.entry(stratum_of(id)).or_default() += 1;
    }
    let design = candidate.header.design.as_ref();
    let weight_of = |id: &ExampleId| match known.get(id) {
        Some(meta) => Some(meta.weight).filter(|weight| weight.is_finite() && *weight > 0.0).unwrap_or(0.0),
        None => 1.0,
    };
    let unit = |id: &'a ExampleId| {
        let meta = known.get(id).copied();
        let stratum = stratum_of(id);
        Unit {
            id,
            cluster: clusters.get(&cluster_of(id)).copied().unwrap_or_default(),
            weight: weight_of(id),
            stratum: strata.get(stratum).copied().unwrap_or_default(),
            fraction: fraction(design, meta, stratum, present.get(stratum).copied().unwrap_or(0)),
            diverse: meta.is_some_and(|meta| meta.diverse),
            dimensions: meta.map(|meta| &meta.dimensions),
            baseline: baseline.and_then(|run| run.examples.get(id)),
            candidate: candidate.examples.get(id),
        }
    };
    ids.into_iter().map(unit).collect()
}

fn numbered<K: Ord>(names: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    names.collect::<BTreeSet<K>>().into_iter().enumerate().map(|(number, name)| (name, number)).collect()
}

/// Share of a population that was chosen: an example's own probability, or that of its stratum from the counts.
fn fraction(design: Option<&RunDesign>, meta: Option<&ExampleMeta>, stratum: &str, present: u64) -> f64 {
    match (design, meta) {
        (Some(design), Some(meta)) if design.independent => meta.probability.unwrap_or(0.0).clamp(0.0, 1.0),
        (Some(design), _) => match design.strata.get(stratum) {
            Some(population) if *population > 0 => (present as f64 / *population as f64).min(1.0),
            _ => 0.0,
        },
        _ => 0.0,
    }
}

/// How the means of a comparison are taken: by which weights, and what of the design enters the error.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taking {
    /// Which population is meant.
    pub estimand: Estimand,
    /// Whether units were drawn each on its own.
    pub independent: bool,
    /// Whether strata with a single unit are put together.
    pub collapse: bool,
}

impl Taking {
    /// As a policy and a run's design say.
    pub fn of(policy: &GatePolicy, run: &RunResults) -> Self {
        Self {
            estimand: policy.estimand,
            independent: run.header.design.as_ref().is_some_and(|design| design.independent),
            collapse: policy.collapse_strata,
        }
    }
}

/// Says of an estimate over examples chosen for diversity what it is not.
pub(super) fn with_reach(estimate: Estimate, units: &[Unit<'_>]) -> Estimate {
    if estimate.estimate.is_some() && units.iter().any(|unit| unit.diverse) {
        return estimate.warn(
            "the examples were chosen for diversity and are not a probability sample: this is about them, not about \
             the population",
        );
    }
    estimate
}

/// Where the examples went.
pub(super) fn pairing(units: &[Unit<'_>]) -> Pairing {
    let count = |keep: fn(&Unit<'_>) -> bool| units.iter().filter(|unit| keep(unit)).count() as u64;
    Pairing {
        paired: count(|unit| unit.is_paired()),
        only_baseline: count(|unit| unit.candidate.is_none()),
        only_candidate: count(|unit| unit.baseline.is_none()),
    }
}
