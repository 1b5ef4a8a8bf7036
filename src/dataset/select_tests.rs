//! The promises of selection: order does not matter, sizes are exact, weights are right.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::dataset::stratum_name;

fn select(plan: &str, candidates: impl IntoIterator<Item = Candidate>) -> Result<Selection, DatasetError> {
    let mut selector = Selector::new(toml::from_str(plan).unwrap())?;
    candidates.into_iter().for_each(|candidate| selector.offer(candidate));
    selector.finish()
}

/// `count` candidates; every tenth is an error.
fn candidates(count: u64) -> Vec<Candidate> {
    (0..count)
        .map(|i| Candidate {
            id: format!("t{i}"),
            stratum: format!("status={}", if i % 10 == 0 { "error" } else { "ok" }),
            ..Candidate::default()
        })
        .collect()
}

fn one_stratum(count: u64) -> Vec<Candidate> {
    candidates(count).into_iter().map(|c| Candidate { stratum: "all".into(), ..c }).collect()
}

fn ids(selection: &Selection) -> BTreeSet<&str> {
    selection.chosen.keys().map(String::as_str).collect()
}

#[test]
fn sizes_are_exact_and_probabilities_recorded() {
    let selection = select("n = 100\nseed = 7", one_stratum(1_000)).unwrap();
    assert_eq!(selection.chosen.len(), 100);
    assert!(selection.chosen.values().all(|chosen| chosen.probability == Some(0.1) && chosen.stratum == "all"));
    assert_eq!((selection.design.method.as_str(), selection.design.seed), ("uniform", 7));
    let stratum = &selection.design.strata[0];
    assert_eq!((stratum.name.as_str(), stratum.population, stratum.rate, stratum.chosen), ("all", 1_000, 0.1, 100));
    let weights = &selection.design.weights;
    assert!((weights.weight.unwrap() - 1_000.0).abs() < 1e-6 && (weights.effective.unwrap() - 100.0).abs() < 1e-6);
    assert_eq!(select("n = 5000", one_stratum(30)).unwrap().chosen.len(), 30);
    assert!(select("", one_stratum(30)).unwrap().chosen.values().all(|chosen| chosen.probability == Some(1.0)));
}

#[test]
fn strata_are_drawn_by_share_by_number_and_by_rate() {
    let counts = |plan: &str| -> Vec<u64> {
        select(plan, candidates(1_000)).unwrap().design.strata.iter().map(|stratum| stratum.chosen).collect()
    };
    let by = "stratify_by = ['status']\n";
    assert_eq!(counts(&format!("{by}n = 50")), [5, 45]);
    assert_eq!(counts(&format!("{by}n = 50\nallocate = 'equal'")), [25, 25]);
    assert_eq!(counts(&format!("{by}counts = {{ error = 30, ok = 7 }}")), [30, 7]);
    let rates = counts(&format!("{by}rate = 0.05\nrates = {{ 'status=error' = 1.0 }}"));
    assert_eq!(rates[0], 100);
    assert!((20..75).contains(&rates[1]), "{rates:?}");
    let selection = select(&format!("{by}rates = {{ error = 1.0 }}"), candidates(100)).unwrap();
    assert_eq!(selection.design.strata[1].rate, 0.0);
    assert!(selection.warnings[0].contains("`status=ok`"), "{:?}", selection.warnings);
}

#[test]
fn a_stratum_that_is_not_there_is_said_with_a_suggestion() {
    let plan = "stratify_by = ['status']\nrate = 0.9\nrates = { eror = 1.0 }";
    let selection = select(plan, candidates(100)).unwrap();
    assert!(selection.warnings[0].contains("`eror`; did you mean `error`?"), "{:?}", selection.warnings);
}

#[test]
fn nothing_to_choose_from_is_an_error() {
    assert!(select("n = 5", []).unwrap_err().to_string().starts_with("nothing selected"));
    let none = select("rate = 0.0000001", one_stratum(3)).unwrap_err().to_string();
    assert!(none.contains("none of 3 candidates"), "{none}");
}

#[test]
fn an_id_met_twice_is_one_candidate() {
    let mut doubled = one_stratum(10);
    doubled.extend(one_stratum(10));
    assert_eq!(select("", doubled).unwrap().design.strata[0].population, 10);
    let of = |stratum: &str| Candidate { id: "x".into(), stratum: stratum.into(), ..Candidate::default() };
    for order in [[of("b"), of("a")], [of("a"), of("b")]] {
        let selection = select("stratify_by = ['s']", order).unwrap();
        assert_eq!(selection.chosen["x"].stratum, "a");
        assert!(selection.warnings[0].contains("1 traces"));
    }
}

#[test]
fn estimates_with_the_recorded_weights_are_unbiased() {
    // Horvitz-Thompson totals over many seeds against the true total, for each way of drawing.
    let value = |id: &str| id.trim_start_matches('t').parse::<f64>().unwrap();
    let population = candidates(200);
    let truth: f64 = population.iter().map(|candidate| value(&candidate.id)).sum();
    let plans = [
        "rate = 0.2",
        "n = 40",
        "n = 40\nstratify_by = ['status']\nallocate = 'equal'",
        "stratify_by = ['status']\nrate = 0.1\nrates = { error = 0.8 }",
    ];
    for plan in plans {
        let seeds = 600;
        let totals: Vec<f64> = (0..seeds)
            .map(|seed| {
                let mut pool = population.clone();
                if !plan.contains("stratify_by") {
                    pool.iter_mut().for_each(|candidate| candidate.stratum = "all".into());
                }
                let selection = select(&format!("seed = {seed}\n{plan}"), pool).unwrap();
                selection.chosen.iter().map(|(id, chosen)| value(id) / chosen.probability.unwrap()).sum()
            })
            .collect();
        let mean = totals.iter().sum::<f64>() / f64::from(seeds);
        let variance = totals.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / f64::from(seeds - 1);
        let standard_error = (variance / f64::from(seeds)).sqrt();
        assert!((mean - truth).abs() < 4.0 * standard_error, "{plan}: {mean} against {truth} ± {standard_error}");
    }
}

#[test]
fn a_place_on_the_unit_interval_is_uniform_enough() {
    let places: Vec<f64> = (0..20_000).map(|i| hash_unit(1, &i.to_string())).collect();
    assert!(places.iter().all(|place| (0.0..1.0).contains(place)));
    let mean = places.iter().sum::<f64>() / 20_000.0;
    assert!((mean - 0.5).abs() < 0.01, "{mean}");
}

#[test]
fn the_choice_is_pinned() {
    // A changed hash would silently change every recorded design.
    let selection = select("n = 5\nseed = 42", one_stratum(100)).unwrap();
    let chosen: Vec<&str> = selection.chosen.keys().map(String::as_str).collect();
    assert_eq!(chosen, ["t15", "t2", "t22", "t4", "t60"]);
}

#[test]
fn names_of_strata_tell_absent_values() {
    let lookup = |name: &str| (name == "tier").then(|| "free".to_owned());
    assert_eq!(stratum_name(&["tier".into(), "x".into()], lookup), "tier=free,x=(none)");
    assert_eq!(stratum_name(&[], lookup), "all");
}

/// Candidates with all that a plan can look at, read from facts that depend on the number alone.
fn rich(plan: &SamplePlan, count: u64) -> Vec<Candidate> {
    let reader = crate::dataset::CandidateReader::new(plan).unwrap();
    let lookup = |i: u64| {
        move |name: &str| match name {
            "status" => Some(if i.is_multiple_of(10) { "error" } else { "ok" }.to_owned()),
            "cost" => (!i.is_multiple_of(7)).then(|| ((i * 37 % 101) as f64 * 0.01).to_string()),
            "session" => (!i.is_multiple_of(9)).then(|| format!("s{}", i / 4)),
            _ => None,
        }
    };
    let text = |i: u64| Some(serde_json::json!(format!("please help me with problem number {} today", i / 3)));
    (0..count).map(|i| reader.read(format!("t{i}"), lookup(i), || text(i))).collect()
}

fn of_rich(plan: &str, count: u64) -> Selection {
    let plan: SamplePlan = toml::from_str(plan).unwrap();
    let mut selector = Selector::new(plan.clone()).unwrap();
    rich(&plan, count).into_iter().for_each(|candidate| selector.offer(candidate));
    selector.frame().unwrap().choose(plan.seed, true).unwrap()
}

#[test]
fn rules_raise_chances_by_the_greatest_or_as_if_each_drew() {
    let rules = "boost = [{ when = 'errors', rate = 0.5 }, { when = 'top 10% of cost', rate = 0.4 }]";
    for (combine, both) in [("max", 0.5), ("union", 1.0 - 0.9 * 0.5 * 0.6)] {
        let selection = of_rich(&format!("rate = 0.1\ncombine = '{combine}'\n{rules}"), 1_000);
        let chance = |rules: &[&str]| -> f64 {
            let found = selection.decided.iter().find(|row| row.rules == rules).unwrap();
            found.probability.unwrap()
        };
        assert_eq!(chance(&[]), 0.1);
        assert!((chance(&["errors", "top 10% of cost"]) - both).abs() < 1e-12, "{combine}");
        let rules = &selection.design.rules;
        assert_eq!((rules[0].population, rules[0].threshold), (100, None));
        assert!(
            (86..=100).contains(&rules[1].population) && (0.89..0.92).contains(&rules[1].threshold.unwrap()),
            "{rules:?}"
        );
        assert!(selection.decided.iter().any(|row| row.decision == Decision::Rule));
        assert_eq!(selection.design.method, "boosted");
    }
}

#[test]
fn clusters_are_taken_whole_or_some_of_each() {
    let selection = of_rich("n = 40\ncluster_by = 'session'", 400);
    let clusters = selection.design.clusters.unwrap();
    assert_eq!(clusters.chosen, 40);
    let chance = 40.0 / clusters.population as f64;
    assert!(selection.chosen.values().all(|chosen| (chosen.probability.unwrap() - chance).abs() < 1e-12));
    let taken = |name: &str| selection.chosen.values().filter(|c| c.cluster.as_deref() == Some(name)).count();
    let whole = |name: &str| (0..400).filter(|i| i % 9 != 0 && format!("s{}", i / 4) == name).count();
    for chosen in selection.chosen.values().filter_map(|chosen| chosen.cluster.as_deref()) {
        assert_eq!(taken(chosen), whole(chosen), "{chosen}");
    }
    let some = of_rich("n = 40\ncluster_by = 'session'\nper_cluster = 2", 400);
    for (id, chosen) in &some.chosen {
        let size = chosen.cluster.as_deref().map_or(1, whole) as f64;
        assert!((chosen.probability.unwrap() - chance * (2.0 / size).min(1.0)).abs() < 1e-12, "{id}");
    }
    assert!(some.decided.iter().any(|row| row.decision == Decision::ClusterFull));
}

#[test]
fn near_duplicates_have_one_that_stands_for_them_with_all_their_weight() {
    let selection = of_rich("rate = 0.5\nseed = 3\nnear_duplicates = { threshold = 0.99 }", 300);
    let near = selection.design.near_duplicates.clone().unwrap();
    assert_eq!((near.groups, near.merged, near.largest), (100, 200, 3));
    assert_eq!((selection.design.weights.population, selection.design.weights.drawable), (300, 100));
    for chosen in selection.chosen.values() {
        assert_eq!((chosen.represents, chosen.merged.len(), chosen.probability), (3, 2, Some(0.5 / 3.0)));
    }
    // An error is never merged into a success.
    let apart =
        of_rich("rate = 0.5\nboost = [{ when = 'errors', rate = 1.0 }]\nnear_duplicates = { threshold = 0.99 }", 300);
    assert!(apart.decided.iter().filter(|row| row.rules == ["errors"]).all(|row| row.chosen));
    let merged = selection.decided.iter().find(|row| row.decision == Decision::NearDuplicate).unwrap();
    assert!(merged.near_duplicate_of.is_some() && merged.represents == 0 && merged.probability.is_none());
}

#[test]
fn a_choice_for_diversity_has_no_probability() {
    let selection = of_rich("n = 12\ndiverse = 'inputs'", 60);
    assert_eq!(selection.chosen.len(), 12);
    assert!(selection.chosen.values().all(|chosen| chosen.probability.is_none()));
    assert!(!selection.design.probability_sample && selection.design.weights.weight.is_none());
    assert!(selection.warnings.iter().any(|warning| warning.contains("not a probability sample")));
}

#[test]
fn a_number_nobody_has_is_refused_by_name() {
    let plan: SamplePlan = toml::from_str("n = 5\nrisk = { by = { wisdom = 1 } }").unwrap();
    let mut selector = Selector::new(plan.clone()).unwrap();
    rich(&plan, 20).into_iter().for_each(|candidate| selector.offer(candidate));
    assert!(selector.frame().unwrap_err().to_string().contains("`wisdom`"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_design_the_order_of_arrival_does_not_matter(seed in 0_u64..1 << 60, shuffle in any::<u64>(), plan in 0_usize..7) {
        let plan = [
            "n = 40\nallocate = 'neyman'\nneyman_by = 'cost'\nstratify_by = ['status']",
            "rate = 0.1\nboost = [{ when = 'errors', rate = 0.9 }, { when = 'top 10% of cost', rate = 0.7 }]",
            "n = 30\nrisk = { by = { cost = 1.0 }, floor = 0.05 }",
            "n = 30\nstratify_by = ['status']\nrisk = { by = { cost = 1.0 } }",
            "n = 20\ncluster_by = 'session'\nper_cluster = 2",
            "rate = 0.4\nnear_duplicates = { threshold = 0.9 }",
            "n = 10\ndiverse = 'inputs'",
        ][plan];
        let plan: SamplePlan = toml::from_str(&format!("seed = {seed}\n{plan}")).unwrap();
        let choose = |pool: Vec<Candidate>| {
            let mut selector = Selector::new(plan.clone()).unwrap();
            pool.into_iter().for_each(|candidate| selector.offer(candidate));
            selector.frame().unwrap().choose(seed, true).unwrap()
        };
        let mut pool = rich(&plan, 120);
        let before = choose(pool.clone());
        // Traces of the same example may come again.
        pool.extend(rich(&plan, 30));
        pool.sort_by_key(|candidate| hash(shuffle, &candidate.id));
        let after = choose(pool);
        prop_assert_eq!(&before, &after);
        // What is stored is what was decided, and adds up.
        let (mut weight, mut expected) = (0.0, 0.0);
        for row in &before.decided {
            prop_assert_eq!(row.chosen, before.chosen.contains_key(&row.id));
            expected += row.probability.unwrap_or(0.0) * row.represents as f64;
            weight += if row.chosen { row.probability.map_or(0.0, |p| 1.0 / p) } else { 0.0 };
        }
        if before.design.probability_sample {
            prop_assert!((expected - before.design.weights.expected.unwrap()).abs() < 1e-6);
            prop_assert!((weight - before.design.weights.weight.unwrap()).abs() < 1e-6);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_arrival_does_not_matter(seed in any::<u64>(), shuffle in any::<u64>(), plan in 0_usize..4) {
        let plan = ["n = 17", "rate = 0.3", "n = 17\nallocate = 'equal'", "counts = { error = 3, ok = 9 }"][plan];
        let plan = format!("seed = {}\nstratify_by = ['status']\n{plan}", seed >> 1);
        let mut pool = candidates(120);
        let before = select(&plan, pool.clone());
        pool.sort_by_key(|candidate| hash(shuffle, &candidate.id));
        let after = select(&plan, pool);
        match (before, after) {
            (Ok(before), Ok(after)) => prop_assert_eq!(before, after),
            (before, after) => prop_assert!(before.is_err() && after.is_err()),
        }
    }

    #[test]
    fn another_seed_chooses_others(seed in 0_u64..1_000_000) {
        let of = |seed| select(&format!("n = 50\nseed = {seed}"), one_stratum(1_000)).unwrap();
        let (left, right) = (of(seed), of(seed + 1));
        prop_assert_ne!(ids(&left), ids(&right));
    }

    #[test]
    fn a_higher_rate_or_number_contains_the_lower(seed in 0_u64..1_000_000, low in 1_u64..50, more in 0_u64..50) {
        let rate = |r: u64| select(&format!("seed = {seed}\nrate = {}", r as f64 / 100.0), one_stratum(400));
        if let (Ok(few), Ok(many)) = (rate(low), rate(low + more)) {
            prop_assert!(ids(&few).is_subset(&ids(&many)));
        }
        let number = |n: u64| select(&format!("seed = {seed}\nn = {n}"), one_stratum(400)).unwrap();
        let (few, many) = (number(low), number(low + more));
        prop_assert!(ids(&few).is_subset(&ids(&many)));
        prop_assert_eq!(many.chosen.len() as u64, low + more);
    }
}
