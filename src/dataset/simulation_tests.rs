//! Every design, drawn again and again from one skewed population: stored probabilities are the true ones, the
//! weighted mean is unbiased, and the interval that comparisons use covers the truth.
//!
//! The population: examples of users, in tiers of different means, with costs of a lognormal kind that what is measured
//! goes along with, errors among the dear ones, and inputs of which a third are near-copies of each other.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;
use crate::dataset::CandidateReader;
use crate::stats::mean_weighted;

/// Resamples of one design.
const DRAWS: u64 = 2_000;

struct One {
    user: usize,
    tier: &'static str,
    cost: f64,
    failed: bool,
    value: f64,
    text: String,
}

fn population(users: usize, each: usize) -> Vec<One> {
    let mut random = Pcg64::seed_from_u64(20_261_121);
    let normal = |random: &mut Pcg64| (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0;
    let mut all = Vec::new();
    for user in 0..users {
        let shared = 0.35 * normal(&mut random);
        for _ in 0..each {
            let draw: f64 = random.random_range(0.0..1.0);
            let (tier, level) = if draw < 0.6 {
                ("free", 0.0)
            } else if draw < 0.9 {
                ("pro", 0.4)
            } else {
                ("team", 1.0)
            };
            let size = 0.7 * normal(&mut random) + level;
            let cost = 0.01 * size.exp();
            let failed = random.random_range(0.0..1.0) < if size > 0.8 { 0.3 } else { 0.03 };
            let value = (0.45 * size + shared + 0.2 * normal(&mut random)).exp() + if failed { 1.0 } else { 0.0 };
            // Neighbours share a text, apart from its last letter.
            let group = if all.len() % 3 == 0 { all.len() } else { all.len() / 6 * 6 };
            let text = format!("{:x} please help with this {:x} request", group * 7_919 + 13, group * 104_729 + 7);
            all.push(One { user, tier, cost, failed, value, text });
        }
    }
    all
}

fn frame(plan: &SamplePlan, population: &[One]) -> Frame {
    let reader = CandidateReader::new(plan).unwrap();
    let mut selector = Selector::new(plan.clone()).unwrap();
    for (index, one) in population.iter().enumerate() {
        let lookup = |name: &str| match name {
            "tier" => Some(one.tier.to_owned()),
            "cost" => Some(one.cost.to_string()),
            "user" => Some(format!("u{}", one.user)),
            "status" => Some(if one.failed { "error" } else { "ok" }.to_owned()),
            _ => None,
        };
        selector.offer(reader.read(format!("t{index}"), lookup, || Some(serde_json::json!(one.text))));
    }
    selector.frame().unwrap()
}

/// What came of all draws.
struct Tally {
    bias: f64,
    /// Standard error of the bias.
    error: f64,
    /// Bias of Horvitz and Thompson's total in its own standard errors: exactly unbiased at any size.
    total: f64,
    coverage: f64,
    size: f64,
    /// Mean squared distance of each example's mean weight from 1, in its own standard errors; about 1 when right.
    spread: f64,
    /// Greatest such distance.
    worst: f64,
}

fn simulate(plan: &str, draws: u64, population: &[One]) -> Tally {
    let plan: SamplePlan = toml::from_str(plan).unwrap();
    let frame = frame(&plan, population);
    let truth = population.iter().map(|one| one.value).sum::<f64>() / population.len() as f64;
    let clustered = plan.cluster_by.is_some();
    let place = |id: &str| id[1..].parse::<usize>().unwrap();
    let (mut sum, mut squares, mut covered, mut sizes) = (0.0, 0.0, 0.0, 0.0);
    let (mut totals, mut total_squares) = (0.0, 0.0);
    let mut weighed = vec![(0.0, 0.0); population.len()];
    for seed in 0..draws {
        let selection = frame.choose(seed, false).unwrap();
        let (mut values, mut weights, mut clusters) = (Vec::new(), Vec::new(), Vec::new());
        for (id, chosen) in &selection.chosen {
            let (at, weight) = (place(id), 1.0 / chosen.probability.unwrap());
            values.push(population[at].value);
            weights.push(weight);
            clusters.push(if clustered { population[at].user } else { at });
            weighed[at].0 += weight;
            weighed[at].1 += weight * weight;
        }
        let total = values.iter().zip(&weights).map(|(value, weight)| value * weight).sum::<f64>()
            / population.len() as f64
            - truth;
        totals += total;
        total_squares += total * total;
        let found = mean_weighted(&values, &weights, &clusters, None, 0.95);
        let estimate = found.estimate.unwrap();
        sum += estimate - truth;
        squares += (estimate - truth).powi(2);
        covered += f64::from(found.interval.is_some_and(|i| i.lo <= truth && truth <= i.hi));
        sizes += values.len() as f64;
    }
    let count = draws as f64;
    let bias = sum / count;
    // The mean weight of an example is 1 exactly when what is stored is its true probability.
    let distances: Vec<f64> = weighed
        .iter()
        .map(|(sum, squares)| {
            let mean = sum / count;
            let variance = (squares / count - mean * mean).max(0.0);
            if variance > 0.0 { (mean - 1.0) / (variance / count).sqrt() } else { mean - 1.0 }
        })
        .collect();
    let total = totals / count;
    Tally {
        total: total / ((total_squares / count - total * total) / count).sqrt(),
        bias: bias / truth,
        error: ((squares / count - bias * bias) / count).sqrt() / truth,
        coverage: covered / count,
        size: sizes / count,
        spread: distances.iter().map(|d| d * d).sum::<f64>() / distances.len() as f64,
        worst: distances.iter().fold(0.0, |worst: f64, d| worst.max(d.abs())),
    }
}

#[track_caller]
fn holds(name: &str, users: usize, plan: &str) {
    let found = simulate(plan, DRAWS, &population(users, 6));
    println!(
        "| {name:<34} | {:>+8.4} % | {:>7.4} % | {:>5.1} % | {:>6.1} | {:>+5.2} | {:>5.2} | {:>5.2} |",
        100.0 * found.bias,
        100.0 * found.error,
        100.0 * found.coverage,
        found.size,
        found.total,
        found.spread,
        found.worst
    );
    assert!(found.bias.abs() < 3.0 * found.error, "{name}: bias {} ± {}", found.bias, found.error);
    assert!(found.total.abs() < 3.5, "{name}: the total is off by {} standard errors", found.total);
    assert!(found.coverage >= 0.93, "{name}: coverage {}", found.coverage);
    assert!(found.spread < 1.35 && found.worst < 6.0, "{name}: weights {} {}", found.spread, found.worst);
}

macro_rules! designs {
    ($($name:ident: $users:literal, $plan:expr;)*) => {
        $(#[test] fn $name() { holds(stringify!($name), $users, $plan); })*

        /// The same with more draws of a larger population.
        #[test]
        #[ignore = "heavy: the same claims, ten times as sharp"]
        fn every_design_in_large() {
            for (name, plan) in [$((stringify!($name), $plan)),*] {
                let found = simulate(plan, 20_000, &population(200, 6));
                println!("{name}: {:+.5} ± {:.5}, {:.4}", found.bias, found.error, found.coverage);
                assert!(found.coverage >= 0.93, "{name}");
            }
        }
    };
}

// Hájek's mean is a ratio: its bias falls with the number of examples, its standard error with the root of it. With
// chances by size that go along with what is measured it takes some hundred examples for the bias to vanish.
designs! {
    uniform_rate: 80, "rate = 0.3";
    uniform_number: 80, "n = 140";
    stratified_proportional: 80, "n = 140\nstratify_by = ['tier']";
    stratified_equal: 80, "n = 120\nstratify_by = ['tier']\nallocate = 'equal'";
    stratified_neyman: 80, "n = 140\nstratify_by = ['tier']\nallocate = 'neyman'\nneyman_by = 'cost'";
    stratified_rates: 80, "rate = 0.2\nstratify_by = ['tier']\nrates = { team = 0.9 }";
    stratified_counts: 80, "stratify_by = ['tier']\ncounts = { free = 60, pro = 40, team = 30 }";
    boosted_by_the_greatest: 80, "rate = 0.2\nboost = [{ when = 'errors', rate = 1.0 }, { when = 'top 10% of cost', rate = 0.6 }]";
    boosted_as_if_each_drew: 80, "rate = 0.2\ncombine = 'union'\nboost = [{ when = 'errors', rate = 0.7 }, { when = 'top 10% of cost', rate = 0.5 }]";
    poisson_by_risk: 200, "n = 420\nrisk = { by = { cost = 1.0 } }";
    poisson_within_strata: 200, "n = 420\nstratify_by = ['tier']\nrisk = { by = { cost = 1.0 }, floor = 0.1 }";
    poisson_with_a_rule: 200, "n = 360\nrisk = { by = { cost = 1.0 } }\nboost = [{ when = 'errors', rate = 0.8 }]";
    clusters_by_number: 80, "n = 32\ncluster_by = 'user'";
    clusters_by_rate: 80, "rate = 0.4\ncluster_by = 'user'";
    clusters_in_two_stages: 80, "n = 45\ncluster_by = 'user'\nper_cluster = 3";
    clusters_with_a_rule: 80, "rate = 0.3\ncluster_by = 'user'\nboost = [{ when = 'top 5% of cost', rate = 0.8 }]";
    near_duplicates_merged: 80, "n = 130\nnear_duplicates = { threshold = 0.85 }";
    near_duplicates_and_rules: 80, "rate = 0.3\nnear_duplicates = { threshold = 0.85 }\nboost = [{ when = 'errors', rate = 1.0 }]";
    near_duplicates_in_strata: 80, "n = 130\nstratify_by = ['tier']\nallocate = 'equal'\nnear_duplicates = { threshold = 0.85 }";
}

#[test]
fn the_population_has_near_duplicates_to_merge() {
    let plan: SamplePlan = toml::from_str("near_duplicates = { threshold = 0.85 }").unwrap();
    let found = frame(&plan, &population(80, 6)).choose(0, false).unwrap().design.near_duplicates.unwrap();
    assert!(found.groups > 50 && found.merged > 100, "{found:?}");
}
