//! The user's own data with the labels permuted: whatever is found then is found by chance.
//!
//! Of two runs each example's findings change sides by a coin; of one run its trials are dealt to two sides. Sizes,
//! clusters, weights, missing scores and the spread stay what they are.

use std::collections::BTreeMap;

use anyhow::anyhow;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use super::{Ask, most, seed_of, spread};
use crate::compare::{self, ExampleMeta, ExampleResult, RunResults};
use crate::model::{Change, GatePolicy, MetricPolicy, MetricRole, RunId, RunStatus, Verdict};
use crate::ops::compare::policy_of;
use crate::ops::decide::metas_of;
use crate::ops::exit::{Done, Failed};
use crate::ops::findings;
use crate::ops::project::{Project, World};
use crate::ops::refs::find_run;

/// What was found over all permutations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shuffled {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// Runs whose labels were permuted: one, or two.
    pub runs: Vec<RunId>,
    /// Examples that could change sides.
    pub examples: u64,
    /// Permutations.
    pub replicates: u64,
    /// Seed.
    pub seed: u64,
    /// One-sided error of each test.
    pub alpha: f64,
    /// What a rate of regressions must not exceed: alpha and three errors of the simulation.
    pub bound: f64,
    /// Share of permutations in which the gate failed.
    pub gate_failed: f64,
    /// By metric.
    pub metrics: Vec<MetricRates>,
    /// Whether every metric keeps to the bound.
    pub pass: bool,
}

/// What was found of one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricRates {
    /// Name.
    pub name: String,
    /// Whether the suite gates it.
    pub gated: bool,
    /// Share called regressed.
    pub regressed: f64,
    /// Share called improved.
    pub improved: f64,
    /// Share called equivalent.
    pub equivalent: f64,
    /// Whether the share called regressed keeps to the bound.
    pub pass: bool,
}

/// One run, or two.
enum Material {
    One(Box<RunResults>),
    Two(Box<(RunResults, RunResults)>),
}

/// What one permutation gave: whether the gate failed, and the change of each metric.
type Outcome = (bool, Vec<(String, Change)>);

/// Permutes and compares, as often as asked.
pub async fn permute(project: &Project, world: &World, subject: &str, ask: Ask) -> Done<Shuffled> {
    let store = project.store(&world.env).await?;
    let names: Vec<&str> = subject.split("..").collect();
    let mut loaded = Vec::new();
    for name in names.iter().take(2) {
        let id = find_run(project, store.as_ref(), name, None).await?;
        loaded.push(findings::load(store.as_ref(), &id).await?);
    }
    let (material, metas, suite) = match loaded.as_slice() {
        [one] => (Material::one(&one.results)?, one.metas.clone(), one.results.header.suite.clone()),
        [one, other] => {
            let suite = other.results.header.suite.clone();
            (Material::two(&one.results, &other.results)?, metas_of(one, other), suite)
        }
        _ => return Err(Failed::usage(anyhow!("`{subject}` names no run; give one, or two as `BASE..CANDIDATE`"))),
    };
    let runs = loaded.iter().map(|run| run.results.header.id.clone()).collect();
    let policy = gated(policy_of(project, world, &suite)?, &material);
    let outcomes = spread(ask.replicates as usize, ask.threads, |replicate| {
        outcome(&material, &metas, &policy, seed_of(ask.seed, 0, replicate as u64))
    });
    let done = summed(&outcomes, &policy);
    Ok(Shuffled { runs, examples: material.examples(), seed: ask.seed, ..done })
}

/// The suite's demands; where it gates nothing, every metric as if it were gated at its usual margin.
fn gated(mut policy: GatePolicy, material: &Material) -> GatePolicy {
    if !policy.metrics.values().any(|demanded| demanded.role == MetricRole::Gate) {
        for grader in &material.header().graders {
            let width = grader.scale.bounds().map_or(0.0, |(least, greatest)| greatest - least);
            let demanded =
                MetricPolicy { role: MetricRole::Gate, margin: Some(0.05 * width), ..MetricPolicy::default() };
            policy.metrics.insert(grader.name.clone(), demanded);
        }
    }
    // A floor is about the level, which no permutation of two unlike runs keeps.
    policy.metrics.values_mut().for_each(|demanded| demanded.floor = None);
    policy
}

fn outcome(material: &Material, metas: &[ExampleMeta], policy: &GatePolicy, seed: u64) -> Outcome {
    let (baseline, candidate) = material.permuted(seed);
    let found = compare::compare(&baseline, &candidate, metas, policy, &["dataset".to_owned()]);
    let changes = found.metrics.into_iter().chain(found.measures).map(|metric| (metric.name, metric.change));
    (found.verdict == Verdict::Fail, changes.collect())
}

fn summed(outcomes: &[Outcome], policy: &GatePolicy) -> Shuffled {
    let n = outcomes.len().max(1) as f64;
    let bound = most(policy.alpha, outcomes.len() as u64);
    let mut counts: BTreeMap<&str, BTreeMap<Change, u64>> = BTreeMap::new();
    for (name, change) in outcomes.iter().flat_map(|(_, changes)| changes) {
        *counts.entry(name).or_default().entry(*change).or_default() += 1;
    }
    let metrics: Vec<MetricRates> = counts
        .into_iter()
        .map(|(name, changes)| {
            let share = |change: Change| changes.get(&change).copied().unwrap_or_default() as f64 / n;
            let regressed = share(Change::Regressed);
            MetricRates {
                name: name.to_owned(),
                gated: policy.metrics.get(name).is_some_and(|demanded| demanded.role == MetricRole::Gate),
                regressed,
                improved: share(Change::Improved),
                equivalent: share(Change::Equivalent),
                pass: regressed <= bound,
            }
        })
        .collect();
    Shuffled {
        format: 1,
        runs: Vec::new(),
        examples: 0,
        replicates: outcomes.len() as u64,
        seed: 0,
        alpha: policy.alpha,
        bound,
        gate_failed: outcomes.iter().filter(|(failed, _)| *failed).count() as f64 / n,
        pass: metrics.iter().all(|metric| metric.pass),
        metrics,
    }
}

impl Material {
    fn one(run: &RunResults) -> Done<Self> {
        let run = whole(run);
        if run.header.trials < 2 {
            return Err(Failed::usage(anyhow!(
                "run `{}` has one trial of each example, and one cannot be dealt to two sides; give two runs as \
                 `BASE..CANDIDATE`, or a run with `--trials 2` or more",
                run.header.id
            )));
        }
        Ok(Self::One(Box::new(run)))
    }

    fn two(baseline: &RunResults, candidate: &RunResults) -> Done<Self> {
        let (baseline, mut candidate) = (whole(baseline), whole(candidate));
        // Each side holds findings of both: what they differ in is no difference of the sides.
        candidate.header.graders.clone_from(&baseline.header.graders);
        candidate.header.trials = baseline.header.trials;
        candidate.header.price_digest = baseline.header.price_digest.clone();
        let shared = baseline.examples.keys().filter(|id| candidate.examples.contains_key(*id)).count();
        if shared == 0 {
            return Err(Failed::usage(anyhow!("the two runs share no example, so no label can be permuted")));
        }
        Ok(Self::Two(Box::new((baseline, candidate))))
    }

    fn header(&self) -> &crate::model::RunHeader {
        match self {
            Self::One(run) => &run.header,
            Self::Two(runs) => &runs.0.header,
        }
    }

    fn examples(&self) -> u64 {
        match self {
            Self::One(run) => run.examples.len() as u64,
            Self::Two(runs) => runs.0.examples.keys().filter(|id| runs.1.examples.contains_key(*id)).count() as u64,
        }
    }

    /// Two sides between which nothing but chance decides.
    fn permuted(&self, seed: u64) -> (RunResults, RunResults) {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        match self {
            Self::One(run) => dealt(run, &mut random),
            Self::Two(runs) => {
                let (mut left, mut right) = (**runs).clone();
                for (id, example) in &mut left.examples {
                    // Examples of one run only stay where they are: they pair with nothing.
                    if let Some(other) = right.examples.get_mut(id)
                        && random.random_bool(0.5)
                    {
                        std::mem::swap(example, other);
                    }
                }
                (left, right)
            }
        }
    }
}

/// A run as if it had been planned as far as it went, and for no look before its end.
fn whole(run: &RunResults) -> RunResults {
    let mut whole = run.clone();
    whole.header.until_decided = None;
    whole.status = RunStatus::Complete;
    whole
}

/// The trials of each example dealt to two sides of equal size; of an odd number one is left out.
fn dealt(run: &RunResults, random: &mut Pcg64Mcg) -> (RunResults, RunResults) {
    let side = || RunResults { examples: BTreeMap::new(), ..run.clone() };
    let (mut left, mut right) = (side(), side());
    for run in [&mut left, &mut right] {
        run.header.trials /= 2;
    }
    for (id, example) in &run.examples {
        let mut trials: Vec<_> = example.trials.values().collect();
        trials.shuffle(random);
        let half = trials.len() / 2;
        for (run, from) in [(&mut left, 0), (&mut right, half)] {
            let own = trials.iter().skip(from).take(half).enumerate();
            let trials = own.map(|(number, trial)| (number as u32, (*trial).clone())).collect();
            run.examples.insert(id.clone(), ExampleResult { trials });
        }
    }
    (left, right)
}
