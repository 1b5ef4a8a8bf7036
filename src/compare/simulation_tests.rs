//! The whole way from cells to verdict, many times over seeded worlds: how often it is wrong, and that order does not
//! matter.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::testing::{gate, pass, put, run, unscored};
use super::*;
use crate::model::{
    Change, Event, ExampleId, JournalEntry, RunDesign, RunHeader, Scale, Scored, TrialKey, UnscoredReason,
};

/// How a world is made.
#[derive(Clone, Copy)]
struct World {
    n: usize,
    trials: u32,
    /// Examples per cluster.
    cluster: usize,
    /// Drop of the candidate's pass rate.
    drop: f64,
}

/// Examples with pass rates of their own, shared in part within a cluster; the candidate's lie `drop` lower.
fn world(shape: World, random: &mut impl Rng) -> (RunResults, RunResults, Vec<ExampleMeta>) {
    let scale = [("ok", Scale::Binary)];
    let (mut before, mut after) = (run("a", &scale), run("b", &scale));
    let mut metas = Vec::new();
    let mut shared = 0.0;
    for index in 0..shape.n {
        let id = format!("e{index:04}");
        if index % shape.cluster == 0 {
            shared = random.random_range(0.3..0.95);
        }
        let own: f64 = random.random_range(0.3..0.95);
        let rate = 0.5 * (shared + own);
        // What changes between the versions is shared within a cluster, too.
        let shift = if shape.cluster > 1 { 0.3 * (shared - 0.625) } else { 0.0 };
        for trial in 0..shape.trials {
            put(&mut before, &id, trial, "ok", pass(random.random::<f64>() < rate));
            put(&mut after, &id, trial, "ok", pass(random.random::<f64>() < rate - shape.drop + shift));
        }
        metas.push(ExampleMeta {
            id: ExampleId::new(id),
            cluster: format!("c{}", index / shape.cluster),
            weight: 1.0,
            stratum: None,
            probability: None,
            diverse: false,
            dimensions: BTreeMap::new(),
        });
    }
    (before, after, metas)
}

struct Seen {
    regressed: u32,
    equivalent: u32,
    covered: u32,
}

fn simulate(shape: World, tries: u32, seed: u64) -> Seen {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut seen = Seen { regressed: 0, equivalent: 0, covered: 0 };
    for _ in 0..tries {
        let (before, after, metas) = world(shape, &mut random);
        let found = compare(&before, &after, &metas, &gate(&["ok"], 0.05), &[]);
        let metric = &found.metrics[0];
        seen.regressed += u32::from(metric.change == Change::Regressed);
        seen.equivalent += u32::from(metric.change == Change::Equivalent);
        let interval = metric.difference.interval.as_ref().unwrap();
        seen.covered += u32::from(interval.lo <= -shape.drop && -shape.drop <= interval.hi);
    }
    seen
}

/// 5 % of 400 tries and three standard errors of a simulation: 20 + 13.
const MOST_FALSE: u32 = 33;
/// 93 % of 400 tries less three standard errors.
const LEAST_COVERED: u32 = 357;

#[test]
fn an_unchanged_candidate_seldom_regresses_and_is_covered() {
    let shapes = [(60, 1, 1, 1), (60, 3, 1, 2), (80, 1, 4, 3), (80, 3, 4, 4)];
    for (n, trials, cluster, seed) in shapes {
        let seen = simulate(World { n, trials, cluster, drop: 0.0 }, 400, seed);
        assert!(seen.regressed <= MOST_FALSE, "n {n}, {trials} trials, clusters of {cluster}: {}", seen.regressed);
        assert!(seen.covered >= LEAST_COVERED, "n {n}, {trials} trials, clusters of {cluster}: {}", seen.covered);
    }
}

#[test]
fn a_drop_of_the_margin_is_seldom_called_equivalent_and_a_large_one_found() {
    let at_margin = simulate(World { n: 200, trials: 3, cluster: 1, drop: 0.05 }, 400, 5);
    assert!(at_margin.equivalent <= MOST_FALSE, "{}", at_margin.equivalent);
    assert!(at_margin.covered >= LEAST_COVERED, "{}", at_margin.covered);
    let large = simulate(World { n: 200, trials: 3, cluster: 1, drop: 0.15 }, 100, 6);
    assert!(large.regressed >= 95, "{}", large.regressed);
}

/// A tenth of the common examples and all of the rare ones, trials that waver: the finite population correction must
/// not make the noise of trials look like knowledge.
#[test]
fn a_sample_with_a_whole_stratum_keeps_its_error() {
    let mut random = Pcg64::seed_from_u64(7);
    for (trials, seed) in [(1, 8), (3, 9)] {
        let mut regressed = 0;
        let mut noise = Pcg64::seed_from_u64(seed);
        for _ in 0..400 {
            let shape = World { n: 120, trials, cluster: 1, drop: 0.0 };
            let (mut before, mut after, mut metas) = world(shape, &mut noise);
            for results in [&mut before, &mut after] {
                results.header.target.kind = "command".to_owned();
                results.header.design = Some(RunDesign {
                    method: "stratified".into(),
                    independent: random.random::<bool>(),
                    strata: BTreeMap::from([("rare".into(), 60), ("common".into(), 600)]),
                });
            }
            after.header.design = before.header.design.clone();
            for (index, meta) in metas.iter_mut().enumerate() {
                let (stratum, chance) = if index < 60 { ("rare", 1.0) } else { ("common", 0.1) };
                (meta.stratum, meta.probability, meta.weight) = (Some(stratum.into()), Some(chance), 1.0 / chance);
            }
            let found = compare(&before, &after, &metas, &gate(&["ok"], 0.05), &[]);
            regressed += u32::from(found.metrics[0].change == Change::Regressed);
        }
        assert!(regressed <= MOST_FALSE, "{trials} trials: {regressed}");
    }
}

/// Cells of two runs as events in a given order.
fn folded(header: &RunHeader, cells: &[(usize, u32, Scored)]) -> RunResults {
    let mut fold = Fold::new();
    let mut seq = 0;
    let mut push = |event: Event| {
        fold.push(JournalEntry { seq, at: jiff::Timestamp::UNIX_EPOCH, event }).unwrap();
        seq += 1;
    };
    push(Event::RunStarted { header: Box::new(header.clone()) });
    for (example, trial, scored) in cells {
        let cell = crate::model::CellKey {
            trial: TrialKey { example: ExampleId::new(format!("e{example:03}")), trial: *trial },
            grader: "ok".into(),
            draw: 0,
        };
        push(Event::ScoreFinished {
            cell,
            scored: scored.clone(),
            spend: crate::model::Spend::default(),
            cached: false,
            took_ms: 0,
        });
    }
    push(Event::RunFinished { complete: true, totals: crate::model::RunTotals::default() });
    fold.finish().unwrap()
}

fn cell() -> impl Strategy<Value = Scored> {
    prop_oneof![
        6 => any::<bool>().prop_map(pass),
        1 => Just(unscored(UnscoredReason::Timeout)),
        1 => Just(unscored(UnscoredReason::NotApplicable)),
        1 => Just(unscored(UnscoredReason::TargetFailed)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The order in which cells came in changes nothing, and every cell and every example is accounted for.
    #[test]
    fn order_does_not_matter_and_nothing_is_lost(
        left in proptest::collection::btree_map((0_usize..30, 0_u32..3), cell(), 0..60),
        right in proptest::collection::btree_map((0_usize..30, 0_u32..3), cell(), 0..60),
        seed in 0_u64..1_000,
    ) {
        let mut header = run("a", &[("ok", Scale::Binary)]).header;
        (header.trials, header.examples) = (3, 30);
        let cells = |map: &BTreeMap<(usize, u32), Scored>| -> Vec<(usize, u32, Scored)> {
            map.iter().map(|((example, trial), scored)| (*example, *trial, scored.clone())).collect()
        };
        let shuffled = |mut cells: Vec<(usize, u32, Scored)>| {
            let mut random = Pcg64::seed_from_u64(seed);
            for last in (1..cells.len()).rev() {
                cells.swap(last, random.random_range(0..=last));
            }
            cells
        };
        let policy = gate(&["ok"], 0.05);
        let one = compare(&folded(&header, &cells(&left)), &folded(&header, &cells(&right)), &[], &policy, &[]);
        let two = compare(
            &folded(&header, &shuffled(cells(&left))),
            &folded(&header, &shuffled(cells(&right))),
            &[],
            &policy,
            &[],
        );
        prop_assert_eq!(&one, &two);
        let metric = &one.metrics[0];
        for (map, cells) in [(&left, metric.beside.cells.unwrap().0), (&right, metric.beside.cells.unwrap().1)] {
            let parts = cells.scored + cells.without_value + cells.instrument + cells.target_failed + cells.not_applicable;
            prop_assert_eq!(parts, map.len() as u64);
            prop_assert_eq!(parts + cells.not_run, cells.planned);
            prop_assert_eq!(cells.planned, 90);
        }
        let examples: std::collections::BTreeSet<usize> = left.keys().chain(right.keys()).map(|(id, _)| *id).collect();
        let pairing = &one.pairing;
        prop_assert_eq!(pairing.paired + pairing.only_baseline + pairing.only_candidate, examples.len() as u64);
        let missing = &metric.missing;
        if pairing.paired > 0 && metric.difference.n > 0 {
            let scored = missing.no_baseline_score + missing.no_candidate_score + missing.neither;
            prop_assert!(metric.difference.n + scored == pairing.paired || metric.difference.method == "independent_t");
        }
    }

    /// Exchanging the runs turns the difference and the finding round.
    #[test]
    fn exchanging_the_runs_turns_the_finding(
        values in proptest::collection::vec((any::<bool>(), any::<bool>()), 12..80),
    ) {
        let scale = [("ok", Scale::Binary)];
        let (mut one, mut two) = (run("a", &scale), run("a", &scale));
        for (index, (left, right)) in values.iter().enumerate() {
            put(&mut one, &format!("e{index:03}"), 0, "ok", pass(*left));
            put(&mut two, &format!("e{index:03}"), 0, "ok", pass(*right));
        }
        let policy = gate(&["ok"], 0.1);
        let there = compare(&one, &two, &[], &policy, &[]);
        let back = compare(&two, &one, &[], &policy, &[]);
        let turned = match there.metrics[0].change {
            Change::Improved => Change::Regressed,
            Change::Regressed => Change::Improved,
            same => same,
        };
        prop_assert_eq!(back.metrics[0].change, turned);
        let (a, b) = (there.metrics[0].difference.estimate.unwrap(), back.metrics[0].difference.estimate.unwrap());
        prop_assert!((a + b).abs() < 1e-12);
    }
}
