//! A planted change is found and named; without one, or with labels shuffled, nothing is. Ratios and ranks against
//! values from outside.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64;

use super::testing::{gate, output, pass, put, run};
use super::*;
use crate::model::{Change, ExampleId, GatePolicy, Scale};

const EXAMPLES: usize = 2_000;

fn id(index: usize) -> ExampleId {
    ExampleId::new(format!("e{index:04}"))
}

/// Examples with four dimensions; `intent` has five values, `tier` three.
fn metas(random: &mut Pcg64) -> Vec<ExampleMeta> {
    let mut word = |name: &str, values: u32| format!("{name}{}", random.random_range(0..values));
    (0..EXAMPLES)
        .map(|index| {
            let dimensions = [("intent", 5), ("tier", 3), ("channel", 4), ("region", 6)]
                .map(|(name, values)| (name.to_owned(), word(name, values)));
            ExampleMeta {
                id: id(index),
                cluster: id(index).to_string(),
                weight: 1.0,
                stratum: None,
                probability: None,
                diverse: false,
                dimensions: BTreeMap::from(dimensions),
            }
        })
        .collect()
}

/// Two runs that pass at 85 % and agree mostly; the candidate loses `drop` where `planted` holds.
fn runs(
    random: &mut Pcg64,
    metas: &[ExampleMeta],
    drop: f64,
    planted: impl Fn(&ExampleMeta) -> bool,
) -> (RunResults, RunResults) {
    let (mut baseline, mut candidate) = (run("a", &[("ok", Scale::Binary)]), run("b", &[("ok", Scale::Binary)]));
    for meta in metas {
        let before = random.random_bool(0.85);
        let redrawn = if random.random_bool(0.2) { random.random_bool(0.85) } else { before };
        let after = redrawn && !(planted(meta) && random.random_bool(drop / 0.85));
        put(&mut baseline, meta.id.as_str(), 0, "ok", pass(before));
        put(&mut candidate, meta.id.as_str(), 0, "ok", pass(after));
    }
    (baseline, candidate)
}

fn is(meta: &ExampleMeta, dimension: &str, value: &str) -> bool {
    meta.dimensions.get(dimension).is_some_and(|found| found == value)
}

fn explained(baseline: &RunResults, candidate: &RunResults, metas: &[ExampleMeta]) -> Explanation {
    let found = compare(baseline, candidate, metas, &gate(&["ok"], 0.02), &[]);
    found.explanations.into_iter().next().unwrap()
}

#[test]
fn a_planted_regression_is_named() {
    for seed in 0..5 {
        let mut random = Pcg64::seed_from_u64(seed);
        let metas = metas(&mut random);
        let (baseline, candidate) = runs(&mut random, &metas, 0.2, |meta| is(meta, "intent", "intent3"));
        let found = compare(&baseline, &candidate, &metas, &gate(&["ok"], 0.02), &[]);
        let explanation = &found.explanations[0];
        let names: Vec<&str> = explanation.named.iter().map(|slice| slice.words.as_str()).collect();
        assert_eq!(names, ["intent = intent3"], "seed {seed}: {}", explanation.sentence);
        assert!(found.headline.contains("mostly where intent = intent3"), "{}", found.headline);
        assert!(explanation.sentence.starts_with("Ok: the regression is in examples where intent = intent3, from "));
        let slice = &explanation.named[0];
        assert!(slice.share_of_change.unwrap() > 0.7 && slice.inside.estimate.unwrap() < -0.1);
        assert!(slice.outside.interval.as_ref().unwrap().hi > -0.01, "{:?}", slice.outside);
        // Parts of the named slice moved too, and are told to be parts of it.
        let part = explanation.slices.iter().find(|slice| slice.conditions.len() == 2).unwrap();
        assert_eq!(part.overlap.as_ref().map(|overlap| overlap.with.as_str()), Some("intent = intent3"));
    }
}

#[test]
fn two_conditions_are_named_together_and_two_slices_apart() {
    let mut random = Pcg64::seed_from_u64(40);
    let metas = metas(&mut random);
    let both = |meta: &ExampleMeta| is(meta, "intent", "intent1") && is(meta, "tier", "tier2");
    let (baseline, candidate) = runs(&mut random, &metas, 0.5, both);
    let found = explained(&baseline, &candidate, &metas);
    assert_eq!(found.named[0].words, "intent = intent1 and tier = tier2", "{}", found.sentence);
    let either = |meta: &ExampleMeta| is(meta, "intent", "intent0") || is(meta, "region", "region5");
    let (baseline, candidate) = runs(&mut random, &metas, 0.3, either);
    let found = explained(&baseline, &candidate, &metas);
    let mut names: Vec<&str> = found.named.iter().take(2).map(|slice| slice.words.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["intent = intent0", "region = region5"], "{}", found.sentence);
}

/// The whole candidate got worse: there is a regression, and no slice is to blame.
#[test]
fn a_change_everywhere_is_blamed_on_no_slice() {
    let mut named = 0;
    for seed in 0..20 {
        let mut random = Pcg64::seed_from_u64(100 + seed);
        let metas = metas(&mut random);
        let (baseline, candidate) = runs(&mut random, &metas, 0.15, |_| true);
        let found = explained(&baseline, &candidate, &metas);
        assert_eq!(found.change, Change::Regressed);
        named += usize::from(!found.named.is_empty());
        if found.named.is_empty() {
            assert!(found.sentence.contains("no slice stands apart"), "{}", found.sentence);
        }
    }
    assert!(named <= 3, "{named} of 20");
}

/// Two hundred tries with the labels of the runs swapped at random in each example, so that there is nothing to find, and a
/// hundred with the slices dealt out anew, so that what there is sits nowhere: something is named in at most a tenth.
#[test]
fn with_labels_permuted_nothing_is_named() {
    const TRIES: usize = 200;
    let mut random = Pcg64::seed_from_u64(7);
    let mut metas = metas(&mut random);
    let (baseline, candidate) = runs(&mut random, &metas, 0.2, |meta| is(meta, "intent", "intent3"));
    let policy = gate(&["ok"], 0.02);
    let found = compare(&baseline, &candidate, &metas, &policy, &[]).metrics;
    let features = Features::default();
    let (mut swapped, mut dealt) = (0, 0);
    for turn in 0..TRIES {
        let (mut left, mut right) = (baseline.clone(), candidate.clone());
        for (one, other) in left.examples.values_mut().zip(right.examples.values_mut()) {
            if random.random_bool(0.5) {
                std::mem::swap(one, other);
            }
        }
        let told = explain(&left, &right, &metas, &policy, &found, &features);
        swapped += usize::from(!told[0].named.is_empty());
        if turn % 2 == 1 {
            continue;
        }
        let mut deal: Vec<_> = metas.iter().map(|meta| meta.dimensions.clone()).collect();
        deal.shuffle(&mut random);
        metas.iter_mut().zip(deal).for_each(|(meta, dimensions)| meta.dimensions = dimensions);
        let told = explain(&baseline, &candidate, &metas, &policy, &found, &features);
        dealt += usize::from(!told[0].named.is_empty());
    }
    println!(
        "something named: {swapped} of {TRIES} with runs swapped, {dealt} of {} with slices dealt anew",
        TRIES / 2
    );
    assert!(swapped <= TRIES / 10 && dealt <= TRIES / 20, "{swapped} and {dealt} of {TRIES}");
}

/// A small slice with a large change by chance is drawn towards the change over all.
#[test]
fn small_slices_do_not_shout() {
    let mut random = Pcg64::seed_from_u64(77);
    let mut metas = metas(&mut random);
    for (index, meta) in metas.iter_mut().enumerate() {
        let size = if index < 25 { "rare" } else { "usual" };
        meta.dimensions.insert("size".to_owned(), size.to_owned());
    }
    let (baseline, candidate) = runs(&mut random, &metas, 0.2, |meta| is(meta, "size", "rare"));
    let found = explained(&baseline, &candidate, &metas);
    for slice in found.slices.iter().filter(|slice| slice.examples < 40) {
        let (raw, drawn) = (slice.inside.estimate.unwrap(), slice.shrunk.unwrap());
        assert!(drawn.abs() < raw.abs(), "{}: {raw} drawn to {drawn}", slice.words);
    }
    assert!(found.slices.iter().any(|slice| slice.examples < 40), "none to look at");
}

/// What only one run did is not in a feature, so that an unchanged system does not seem to change where a tool was called.
#[test]
fn slices_of_other_graders_never_explain_themselves() {
    let mut random = Pcg64::seed_from_u64(5);
    let metas = metas(&mut random);
    let (baseline, candidate) = runs(&mut random, &metas, 0.2, |meta| is(meta, "intent", "intent3"));
    let features = FeatureFold::new().finish(&baseline, &candidate);
    let found = compare_with(&baseline, &candidate, &metas, &gate(&["ok"], 0.02), &[], &features);
    let explanation = &found.explanations[0];
    assert_eq!(explanation.named[0].words, "intent = intent3");
    assert!(explanation.slices.iter().all(|slice| !slice.words.contains("score.ok")), "a metric explains itself");
}

#[test]
fn too_few_examples_have_no_explanation() {
    let few = |n: usize| testing::binary("a", (0..n).map(|index| index % 2 == 0));
    for n in [0, 1, 2, 39] {
        let found = compare(&few(n), &few(n), &[], &GatePolicy::default(), &[]);
        assert_eq!(found.explanations, [], "{n} examples");
    }
    let enough = compare(&few(80), &few(80), &[], &GatePolicy::default(), &[]);
    assert_eq!(enough.explanations[0].sentence, "Ok: no slice is large enough to be tested.");
}

/// Clusters, weights and missing scores: the split equals the slow definition.
#[test]
fn a_split_equals_its_definition() {
    use super::{
        board::{Board, Scratch},
        measure::Metric,
        pair::{self, Columns},
    };
    let mut random = Pcg64::seed_from_u64(9);
    let (mut baseline, mut candidate) = (run("a", &[("x", WIDE)]), run("b", &[("x", WIDE)]));
    let mut metas = Vec::new();
    for index in 0..120 {
        for side in [&mut baseline, &mut candidate] {
            put(side, id(index).as_str(), 0, "x", testing::number(random.random_range(0.0..1.0)));
        }
        metas.push(ExampleMeta {
            id: id(index),
            cluster: format!("c{}", index % 17),
            weight: random.random_range(0.5..3.0),
            stratum: None,
            probability: None,
            diverse: false,
            dimensions: BTreeMap::new(),
        });
    }
    let units = pair::roster(Some(&baseline), &candidate, &metas, &GatePolicy::default());
    let metric = Metric::of_grader(&candidate.header.graders[0], &GatePolicy::default());
    let columns = Columns::read_all(&units, std::slice::from_ref(&metric)).pop().unwrap();
    let board = Board::of(&units, &columns, 1.0, &vec![false; units.len()]);
    let members: Vec<u32> = (0..120_u32).filter(|index| index.is_multiple_of(3)).collect();
    let split = board.split(&members, 20, &mut Scratch::default()).unwrap();
    let row = |place: usize| {
        let change = columns.candidate.values[place].value.unwrap() - columns.baseline.values[place].value.unwrap();
        (change, units[place].weight, units[place].cluster, place.is_multiple_of(3))
    };
    let rows: Vec<(f64, f64, usize, bool)> = (0..120).map(row).collect();
    let mean = |inside: bool| {
        let of = || rows.iter().filter(move |row| row.3 == inside);
        of().map(|row| row.0 * row.1).sum::<f64>() / of().map(|row| row.1).sum::<f64>()
    };
    let weight = |inside: bool| rows.iter().filter(|row| row.3 == inside).map(|row| row.1).sum::<f64>();
    let influence = |inside: bool, cluster: usize| {
        let part = rows.iter().filter(|row| row.3 == inside && row.2 == cluster);
        part.map(|row| row.1 * (row.0 - mean(inside))).sum::<f64>() / weight(inside)
    };
    let variance = |inside: bool| (0..17).map(|c| influence(inside, c).powi(2)).sum::<f64>() * 17.0 / 16.0;
    let shared: f64 = (0..17).map(|c| influence(true, c) * influence(false, c)).sum();
    let all = variance(true) + variance(false) - 2.0 * shared;
    assert!((split.inside - mean(true)).abs() < 1e-12 && (split.outside - mean(false)).abs() < 1e-12);
    let center = rows.iter().map(|row| row.0 * row.1).sum::<f64>() / (weight(true) + weight(false));
    let spread = rows.iter().map(|row| row.1 * (row.0 - center).powi(2)).sum::<f64>() / (weight(true) + weight(false))
        * 120.0
        / 119.0;
    let squares = |inside: bool| rows.iter().filter(|row| row.3 == inside).map(|row| row.1 * row.1).sum::<f64>();
    let pooled = spread * (squares(true) / weight(true).powi(2) + squares(false) / weight(false).powi(2));
    let (v, u) = (variance(true), variance(false));
    let df = (v + u).powi(2) / (v * v / 16.0 + u * u / 16.0);
    let p = 2.0 * crate::stats::t_sf((mean(true) - mean(false)).abs() / all.max(pooled).sqrt(), df);
    assert!((split.p - p).abs() < 1e-9, "{} and {p}", split.p);
    assert!((split.gain - (mean(true) - mean(false)).powi(2) / pooled).abs() < 1e-9);
}

const WIDE: Scale = Scale::Number { min: None, max: None };

/// Values of numpy 2.4.6 and scipy 1.17.1: `log R = sum s ln mean(v)`, deviations `sum s (v/mean(v) - 1)`, their standard
/// error (ddof 1) and t quantile with n-1 degrees of freedom.
#[test]
fn cost_of_a_good_answer_equals_the_reference() {
    let spent = [[1.0, 2.0, 3.0, 4.0, 2.5, 1.5, 0.5, 2.25], [2.0, 2.5, 3.5, 3.0, 4.0, 1.5, 1.0, 2.75]];
    let good = [[1, 0, 1, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 0, 1, 1]];
    let make = |side: usize| {
        let mut results = run(if side == 0 { "a" } else { "b" }, &[("ok", Scale::Binary)]);
        for index in 0..8 {
            put(&mut results, id(index).as_str(), 0, "ok", pass(good[side][index] == 1));
            output(&mut results, id(index).as_str(), 0, 10.0, spent[side][index]);
        }
        results
    };
    let found = compare(&make(0), &make(1), &[], &gate(&["ok"], 0.05), &[]);
    let joined = found.frontier.iter().find(|one| one.spent == "cost_usd").unwrap();
    let equals = |estimate: &crate::stats::Estimate, wanted: (f64, f64, f64)| {
        let interval = estimate.interval.as_ref().unwrap();
        for (found, wanted) in
            [(estimate.estimate.unwrap(), wanted.0), (interval.lo, wanted.1), (interval.hi, wanted.2)]
        {
            assert!((found - wanted).abs() < 1e-9, "{found} and {wanted}");
        }
    };
    equals(&joined.baseline.per_good, (2.7916666666666665, 1.509630131206176, 5.16245841724883));
    equals(&joined.spent_ratio, (1.208955223880597, 0.9087074218655716, 1.608408491203454));
    equals(&joined.per_good_ratio, (1.208955223880597, 0.5834797161104831, 2.5049246666038907));
    // Both were good on examples 0, 2, 3, 6 and 7.
    let equal = joined.ratio_at_equal_quality.as_ref().unwrap();
    assert!((equal.estimate.unwrap() - 12.25 / 10.75).abs() < 1e-12 && equal.n == 5);
    assert!(joined.sentence.contains("a good answer costs $3.38 in place of $2.79"), "{}", joined.sentence);
    let none = testing::binary("none", [false, false, false]);
    let mut costly = none.clone();
    (0..3).for_each(|index| output(&mut costly, &format!("e{index:03}"), 0, 1.0, 1.0));
    let view = summarize(&costly, &[], &GatePolicy::default());
    let cost = view.cost_of_good.iter().find(|one| one.spent == "cost_usd").unwrap();
    assert_eq!((cost.per_good.status, cost.per_good.estimate), (crate::stats::Status::Undefined, None));
}

/// Four systems at 90, 88, 60 and 58 %: two groups that cannot be told apart inside and surely can be between.
#[test]
fn ranks_have_intervals_and_pairs_are_corrected() {
    let mut random = Pcg64::seed_from_u64(21);
    let rates = [0.58, 0.90, 0.60, 0.88];
    let runs: Vec<RunResults> = rates
        .iter()
        .enumerate()
        .map(|(place, rate)| {
            let mut results = run(&format!("s{place}"), &[("ok", Scale::Binary)]);
            for index in 0..400 {
                put(&mut results, id(index).as_str(), 0, "ok", pass(random.random_bool(*rate)));
            }
            results
        })
        .collect();
    let matrix = compare_many(&runs, &[], &gate(&["ok"], 0.02), &[]);
    let table = &matrix.metrics[0];
    assert_eq!((table.pairs.len(), matrix.differences.len(), matrix.comparable), (6, 3, true));
    let top: Vec<usize> = table.ranking.iter().map(|one| one.run).collect();
    assert!(top[..2].iter().all(|run| [1, 3].contains(run)) && top[2..].iter().all(|run| [0, 2].contains(run)));
    for (place, one) in table.ranking.iter().enumerate() {
        let wanted = if place < 2 { (1, 2) } else { (3, 4) };
        assert_eq!((one.rank, one.rank_all_at_once), (wanted, wanted), "place {place}");
    }
    for pair in &table.pairs {
        let (p, holm, q) = (pair.p.unwrap(), pair.p_holm.unwrap(), pair.q.unwrap());
        assert!(p <= q && q <= holm, "{p} {q} {holm}");
    }
    assert!(matrix.headline.contains("rank 1 to 2 of 4; 4 of 6 pairs differ"), "{}", matrix.headline);
    let alone = compare_many(&runs[..1], &[], &GatePolicy::default(), &[]);
    assert_eq!((alone.metrics[0].pairs.len(), alone.metrics[0].ranking[0].rank), (0, (1, 1)));
    assert_eq!(compare_many(&[], &[], &GatePolicy::default(), &[]).metrics, []);
}

#[test]
fn repeats_are_compared_by_example() {
    let (mut one, mut other) = (run("a", &[("ok", Scale::Binary)]), run("b", &[("ok", Scale::Binary)]));
    for index in 0..10 {
        for trial in 0..3 {
            put(&mut one, id(index).as_str(), trial, "ok", pass(trial < 2));
            put(&mut other, id(index).as_str(), trial, "ok", pass(index < 5 || trial < 1));
        }
    }
    let found = repeated_compared(&one, &other, &[], &GatePolicy::default());
    let all = |k: u64| found.iter().find(|one| one.k == k).unwrap().pass_hat_k.estimate.unwrap();
    // pass^2 is 1/3 of all before; after, 1 for five examples and 0 for the others.
    assert!((all(2) - (0.5 - 1.0 / 3.0)).abs() < 1e-12 && (all(3) - 0.5).abs() < 1e-12);
    assert_eq!((found.len(), repeated(&one, &[], &GatePolicy::default()).len()), (3, 3));
}
