//! Comparisons and summaries end to end, on runs small enough to reckon by hand.

use super::testing::{binary, fail, gate, metas, number, output, pass, put, run, unscored};
use super::*;
use crate::{
    model::{Change, Direction, FailOn, GatePolicy, MetricRole, RunStatus, Scale, UnscoredReason, Verdict},
    stats::Status,
};

/// `n` examples of which the baseline passes all and the candidate fails the first `worse`.
fn drop_of(n: usize, worse: usize) -> (RunResults, RunResults) {
    (binary("a", vec![true; n]), binary("b", (0..n).map(|index| index >= worse)))
}

#[test]
fn a_clear_drop_fails_and_says_where() {
    let (before, after) = drop_of(120, 24);
    let metas = metas(120, "intent", |index| if index < 40 { "refund" } else { "order" }.to_owned());
    let found = compare(&before, &after, &metas, &gate(&["ok"], 0.05), &[]);
    assert_eq!((found.verdict, found.instrument_failed), (Verdict::Fail, false));
    assert_eq!(found.headline, "Do not merge: ok regressed by 20.0 points, mostly where intent = refund.");
    let metric = &found.metrics[0];
    assert_eq!((metric.change, metric.material_regression), (Change::Regressed, true));
    assert_eq!(metric.difference.method, "tango");
    let moved = metric.discordance.as_ref().unwrap();
    assert_eq!((moved.improved, moved.worsened), (0, 24));
    assert!((moved.exact_p - 2.0_f64.powi(-23)).abs() < 1e-15);
    assert!(metric.sentence.starts_with("Ok fell from 100.0 % to 80.0 % (−20.0 points; 95 % interval"));
    let slice = &found.slices[0];
    assert_eq!((slice.value.as_str(), slice.change), ("refund", Change::Regressed));
    assert_eq!(found.examples[0].shift, -1.0);
    assert_eq!(found.examples.len(), 120);
}

#[test]
fn the_same_run_twice_is_equivalent_when_large_enough() {
    let (before, after) = drop_of(200, 0);
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    assert_eq!((found.verdict, found.metrics[0].change), (Verdict::Pass, Change::Equivalent));
    assert_eq!(found.metrics[0].difference.status, Status::NoInformation);
    assert_eq!(found.headline, "Safe to merge: nothing got credibly worse; it is equivalent to the baseline.");
}

#[test]
fn too_small_to_tell_is_open_and_says_what_would_do() {
    let (before, after) = drop_of(20, 0);
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    assert_eq!((found.verdict, found.metrics[0].change), (Verdict::Inconclusive, Change::Inconclusive));
    let needed = found.metrics[0].examples_needed.unwrap();
    assert!(needed > 50 && needed < 300, "{needed}");
    assert!(found.headline.contains(&format!("about {needed} examples would decide it")), "{}", found.headline);
}

#[test]
fn no_one_or_two_examples() {
    for n in 0..=2 {
        let (before, after) = drop_of(n, n);
        let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
        assert_eq!(found.verdict, Verdict::Inconclusive, "n = {n}");
        let metric = &found.metrics[0];
        assert_eq!(metric.change, Change::Inconclusive);
        assert_eq!(metric.difference.status, if n == 0 { Status::Empty } else { Status::Ok });
        assert!(!metric.sentence.is_empty() && !found.reasons.is_empty());
        let alone = summarize(&after, &[], &gate(&["ok"], 0.05));
        let status = if n == 0 { Status::Empty } else { Status::Ok };
        assert_eq!(alone.metrics[0].estimate.status, status);
        assert_eq!(alone.verdict, if n == 0 { Some(Verdict::Inconclusive) } else { None });
    }
}

#[test]
fn one_cluster_gives_no_finding() {
    let mut metas = metas(40, "x", |_| String::new());
    metas.iter_mut().for_each(|meta| meta.cluster = "s".into());
    let (before, after) = drop_of(40, 10);
    let found = compare(&before, &after, &metas, &gate(&["ok"], 0.05), &[]);
    assert_eq!(found.metrics[0].difference.status, Status::Insufficient);
    assert_eq!((found.metrics[0].change, found.verdict), (Change::Inconclusive, Verdict::Inconclusive));
    assert!(found.reasons[0].contains("do not vary independently"), "{:?}", found.reasons);
}

#[test]
fn all_missing_in_one_arm_never_passes() {
    let before = binary("a", vec![true; 40]);
    let mut after = run("b", &[("ok", Scale::Binary)]);
    for index in 0..40 {
        put(&mut after, &format!("e{index:03}"), 0, "ok", unscored(UnscoredReason::Timeout));
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    assert_eq!((found.verdict, found.instrument_failed), (Verdict::Inconclusive, true));
    assert_eq!(found.metrics[0].missing.no_candidate_score, 40);
    let expected =
        "No verdict: ok: the grader failed on 100 % of the candidate's cells (40 timeout); at most 5 % are allowed.";
    assert_eq!(found.headline, expected);
    assert!(found.metrics[0].sentence.contains("no score with a value in the candidate"));
    let inform = compare(&before, &after, &[], &GatePolicy::default(), &[]);
    assert_eq!(inform.verdict, Verdict::Inconclusive);
}

#[test]
fn failures_on_one_side_only_are_an_instrument_fault() {
    let before = binary("a", vec![true; 300]);
    let mut after = run("b", &[("ok", Scale::Binary)]);
    for index in 0..300 {
        let scored = if index < 12 { unscored(UnscoredReason::ReplyUnreadable) } else { pass(true) };
        put(&mut after, &format!("e{index:03}"), 0, "ok", scored);
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    assert!(found.metrics[0].missing.differs_p.unwrap() < 0.001);
    assert!(found.instrument_failed && found.headline.contains("may be what changed"), "{}", found.headline);
    assert!(found.metrics[0].expert.contains("between −0.04 and 0"), "{}", found.metrics[0].expert);
}

#[test]
fn failed_targets_are_not_the_candidate_being_worse() {
    let (before, mut after) = drop_of(40, 0);
    for index in 0..40 {
        let id = format!("e{index:03}");
        if index < 10 { fail(&mut after, &id, 0) } else { output(&mut after, &id, 0, 10.0, 0.1) }
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    assert!(found.instrument_failed);
    assert!(found.headline.contains("failed in 25 % of the candidate's trials (10 of 40)"), "{}", found.headline);
}

#[test]
fn repeats_are_not_more_examples() {
    let scale = [("ok", Scale::Binary)];
    let (mut before, mut after) = (run("a", &scale), run("b", &scale));
    for index in 0..30 {
        for trial in 0..5 {
            let id = format!("e{index:03}");
            put(&mut before, &id, trial, "ok", pass(index % 2 == 0));
            put(&mut after, &id, trial, "ok", pass(index % 2 == 0 && index != 4));
        }
    }
    for results in [&mut before, &mut after] {
        results.header.trials = 5;
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    let difference = &found.metrics[0].difference;
    assert_eq!((difference.n, difference.method.as_str()), (30, "student_t"));
    assert!(found.metrics[0].discordance.is_none());
    let view = summarize(&after, &[], &gate(&["ok"], 0.05));
    assert!(view.metrics[0].sentence.contains("all of 5 trials pass on 46.7 %"), "{}", view.metrics[0].sentence);
}

#[test]
fn less_is_better_turns_the_finding() {
    let scale = Scale::Number { min: Some(0.0), max: Some(10.0) };
    let (mut before, mut after) = (run("a", &[("errors", scale.clone())]), run("b", &[("errors", scale)]));
    for results in [&mut before, &mut after] {
        results.header.graders[0].direction = Direction::Lower;
    }
    for index in 0..40 {
        let id = format!("e{index:03}");
        put(&mut before, &id, 0, "errors", number(3.0 + f64::from(index % 3)));
        put(&mut after, &id, 0, "errors", number(5.0 + f64::from(index % 4)));
    }
    let found = compare(&before, &after, &[], &gate(&["errors"], 0.5), &[]);
    assert_eq!((found.metrics[0].change, found.verdict), (Change::Regressed, Verdict::Fail));
    assert!(found.metrics[0].difference.estimate.unwrap() > 2.0, "the difference keeps its own sign");
    assert!(found.examples[0].shift < 0.0, "worse is below 0 whatever the direction");
}

#[test]
fn equal_shifts_on_an_open_scale_ask_for_bounds() {
    let scale = Scale::Number { min: None, max: None };
    let (mut before, mut after) = (run("a", &[("depth", scale.clone())]), run("b", &[("depth", scale)]));
    for index in 0..40 {
        let id = format!("e{index:03}");
        put(&mut before, &id, 0, "depth", number(2.0));
        put(&mut after, &id, 0, "depth", number(2.0));
    }
    let found = compare(&before, &after, &[], &gate(&["depth"], 0.5), &[]);
    assert_eq!((found.verdict, found.metrics[0].difference.interval.clone()), (Verdict::Inconclusive, None));
    assert!(found.reasons[0].contains("declare"), "{:?}", found.reasons);
}

#[test]
fn holm_counts_the_gated_metrics() {
    let names = ["m0", "m1", "m2", "m3"];
    let scales: Vec<(&str, Scale)> = names.iter().map(|name| (*name, Scale::Binary)).collect();
    let (mut before, mut after) = (run("a", &scales), run("b", &scales));
    for index in 0..60 {
        let id = format!("e{index:03}");
        for name in names {
            put(&mut before, &id, 0, name, pass(index > 0));
            // One metric: four worse, none better: one-sided p = 0.023, times four above 0.05.
            put(&mut after, &id, 0, name, pass(index > 0 && !(name == "m0" && index < 5)));
        }
    }
    let alone = compare(&before, &after, &[], &gate(&["m0"], 0.05), &[]);
    assert_eq!((alone.verdict, alone.metrics[0].change), (Verdict::Fail, Change::Regressed));
    let family = compare(&before, &after, &[], &gate(&names, 0.05), &[]);
    let first = &family.metrics[0];
    assert!(first.p_worse.unwrap() < 0.05 && first.p_worse_adjusted.unwrap() > 0.05);
    assert_eq!((first.change, family.verdict), (Change::Inconclusive, Verdict::Inconclusive));
    assert!(first.expert.contains("not after Holm's correction"));
}

#[test]
fn policies_differ_on_what_stays_open() {
    let (before, after) = drop_of(60, 2);
    let mut policy = gate(&["ok"], 0.05);
    let mut verdict = |fail_on, margin| {
        policy.fail_on = fail_on;
        policy.metrics.get_mut("ok").unwrap().margin = Some(margin);
        compare(&before, &after, &[], &policy, &[]).verdict
    };
    assert_eq!(verdict(FailOn::Regressed, 0.05), Verdict::Inconclusive);
    assert_eq!(verdict(FailOn::Regressed, 0.0), Verdict::Pass);
    assert_eq!(verdict(FailOn::Strict, 0.05), Verdict::Fail);
    assert_eq!(verdict(FailOn::NotNonInferior, 0.05), Verdict::Fail);
    assert_eq!(verdict(FailOn::MaterialRegression, 0.05), Verdict::Pass);
    assert_eq!(verdict(FailOn::NotNonInferior, 0.2), Verdict::Pass);
}

#[test]
fn nothing_gated_is_a_decision_only_when_somebody_said_so() {
    let (before, after) = drop_of(60, 30);
    let forgotten = compare(&before, &after, &[], &GatePolicy::default(), &[]);
    assert_eq!(forgotten.verdict, Verdict::Inconclusive);
    assert!(forgotten.headline.contains("no metric is gated"), "{}", forgotten.headline);
    let mut policy = gate(&["ok"], 0.05);
    policy.metrics.get_mut("ok").unwrap().role = MetricRole::Inform;
    let chosen = compare(&before, &after, &[], &policy, &[]);
    assert_eq!((chosen.verdict, chosen.metrics[0].verdict), (Verdict::Pass, None));
    assert_eq!(chosen.headline, "Nothing is gated: ok regressed by 50.0 points.");
}

#[test]
fn a_misspelled_gate_never_passes() {
    let (before, after) = drop_of(200, 0);
    let found = compare(&before, &after, &[], &gate(&["ok", "okk"], 0.05), &[]);
    assert_eq!(found.verdict, Verdict::Inconclusive);
    assert!(found.headline.contains("okk"), "{}", found.headline);
    assert_eq!(summarize(&after, &[], &gate(&["okk"], 0.05)).verdict, Some(Verdict::Inconclusive));
}

#[test]
fn an_unfinished_run_never_passes() {
    let (before, mut after) = drop_of(200, 0);
    after.status = RunStatus::Stopped;
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    assert_eq!(found.verdict, Verdict::Inconclusive);
    assert!(found.headline.contains("was stopped before its end"), "{}", found.headline);
}

#[test]
fn floors_hold_by_their_bound() {
    let results = binary("a", (0..100).map(|index| index >= 3));
    let mut policy = gate(&["ok"], 0.05);
    let mut verdict = |floor| {
        policy.metrics.get_mut("ok").unwrap().floor = Some(floor);
        let view = summarize(&results, &[], &policy);
        assert_eq!(view.metrics[0].floor, view.verdict.map(|verdict| (floor, verdict)));
        (view.verdict, compare(&results, &results, &[], &policy, &[]).metrics[0].verdict)
    };
    // 97 of 100: the one-sided bounds of Clopper and Pearson are 0.924 and 0.992.
    assert_eq!(verdict(0.90), (Some(Verdict::Pass), Some(Verdict::Pass)));
    assert_eq!(verdict(0.95), (Some(Verdict::Inconclusive), Some(Verdict::Inconclusive)));
    assert_eq!(verdict(0.995), (Some(Verdict::Fail), Some(Verdict::Fail)));
}

#[test]
fn another_grader_or_dataset_forbids_unless_allowed() {
    let (before, mut after) = drop_of(200, 0);
    after.header.graders[0].digest = crate::model::Digest::of(b"another rubric");
    after.header.dataset_digest = crate::model::Digest::of(b"another set");
    let refused = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    assert_eq!((refused.verdict, refused.comparability.comparable), (Verdict::Inconclusive, false));
    assert!(refused.instrument_failed && refused.headline.contains("allow `dataset` by name"), "{}", refused.headline);
    let half = compare(&before, &after, &[], &gate(&["ok"], 0.05), &["dataset".into()]);
    assert!(!half.comparability.comparable);
    let both = compare(&before, &after, &[], &gate(&["ok"], 0.05), &["dataset".into(), "grader:ok".into()]);
    assert_eq!((both.verdict, both.comparability.comparable), (Verdict::Pass, true));
    let listed: Vec<&str> = both.comparability.differences.iter().map(|difference| difference.what.as_str()).collect();
    assert_eq!(listed, ["dataset", "grader:ok", "target.name", "target.digest", "target.model"]);
}

#[test]
fn disjoint_runs_are_compared_without_pairs() {
    let before = binary("a", (0..80).map(|index| index % 10 != 0));
    let mut after = run("b", &[("ok", Scale::Binary)]);
    for index in 0..80 {
        put(&mut after, &format!("other{index:03}"), 0, "ok", pass(index % 2 == 0));
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    let difference = &found.metrics[0].difference;
    assert_eq!(found.pairing, Pairing { paired: 0, only_baseline: 80, only_candidate: 80 });
    assert_eq!(
        (difference.method.as_str(), difference.interval.as_ref().unwrap().method.as_str()),
        ("independent_t", "newcombe")
    );
    assert_eq!((found.metrics[0].change, found.verdict), (Change::Regressed, Verdict::Fail));
}

#[test]
fn measures_are_compared_by_ratio() {
    let (mut before, mut after) = drop_of(60, 0);
    for index in 0..60 {
        let id = format!("e{index:03}");
        let base = 200.0 * 1.1_f64.powi(index % 20);
        output(&mut before, &id, 0, base, 0.01);
        output(&mut after, &id, 0, base * if index % 2 == 0 { 1.45 } else { 1.55 }, 0.01);
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.1), &[]);
    let latency = &found.measures[0];
    let ratio = latency.ratio.as_ref().unwrap();
    assert!((ratio.estimate.unwrap() - (1.45_f64 * 1.55).sqrt()).abs() < 1e-9);
    assert_eq!((latency.name.as_str(), latency.change), ("latency_ms", Change::Regressed));
    assert_eq!((latency.direction, latency.verdict), (Direction::Lower, None));
    assert!(latency.sentence.contains("×1.50 for a typical example"), "{}", latency.sentence);
    assert_eq!(found.verdict, Verdict::Pass, "measures inform unless they are gated");
    assert!(found.headline.contains("(not gated: latency_ms regressed by"), "{}", found.headline);
    let view = summarize(&after, &[], &GatePolicy::default());
    assert!(view.measures[0].p95.unwrap() > view.measures[0].p50.unwrap());
}

#[test]
fn ordinal_conflict_is_no_finding() {
    let scale = Scale::Number { min: Some(1.0), max: Some(5.0) };
    let (mut before, mut after) = (run("a", &[("style", scale.clone())]), run("b", &[("style", scale)]));
    for index in 0..100 {
        let id = format!("e{index:03}");
        let (old, new) = if index < 30 { (5.0, 1.0) } else { (3.0, 4.0) };
        put(&mut before, &id, 0, "style", number(old));
        put(&mut after, &id, 0, "style", number(new));
    }
    let found = compare(&before, &after, &[], &gate(&["style"], 0.1), &[]);
    assert_eq!(found.metrics[0].change, Change::Inconclusive);
    assert!(found.metrics[0].expert.contains("ordinal conflict"), "{}", found.metrics[0].expert);
}

#[test]
fn weights_decide_which_population_is_meant() {
    let (before, after) = drop_of(100, 20);
    let mut metas = metas(100, "x", |_| String::new());
    for meta in metas.iter_mut().take(20) {
        meta.weight = 0.1;
    }
    let found = compare(&before, &after, &metas, &gate(&["ok"], 0.05), &[]);
    let difference = &found.metrics[0].difference;
    assert_eq!(difference.method, "hajek_t");
    assert!((difference.estimate.unwrap() + 2.0 / 82.0).abs() < 1e-12);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let (before, after) = drop_of(50, 7);
    let metas = metas(50, "k", |index| format!("v{}", index % 4));
    let once = serde_json::to_string(&compare(&before, &after, &metas, &gate(&["ok"], 0.05), &[])).unwrap();
    let mut turned = metas.clone();
    turned.reverse();
    let again = serde_json::to_string(&compare(&before, &after, &turned, &gate(&["ok"], 0.05), &[])).unwrap();
    assert_eq!(once, again);
    assert!(!once.contains("NaN") && !once.contains("null,\"se\""));
}

#[test]
fn labels_without_values_show_their_distribution_only() {
    let labels = vec![("billing".to_owned(), None), ("refund".to_owned(), None)];
    let mut results = run("a", &[("topic", Scale::Labels { labels })]);
    for index in 0..12 {
        let label = if index < 9 { "refund" } else { "billing" }.to_owned();
        let value = crate::model::ScoreValue::Label { label, number: None };
        put(&mut results, &format!("e{index:03}"), 0, "topic", Ok(crate::model::Score::of(value, "")));
    }
    let view = summarize(&results, &[], &GatePolicy::default());
    assert_eq!(view.metrics[0].distribution, [("billing".to_owned(), 3), ("refund".to_owned(), 9)]);
    assert!(view.metrics[0].sentence.contains("no declared values"), "{}", view.metrics[0].sentence);
    let found = compare(&results, &results, &[], &gate(&["topic"], 0.05), &[]);
    assert_eq!(found.verdict, Verdict::Inconclusive);
}

/// Under no change the gate must not cry regression more often than it says (methods 1.17), whatever the method.
#[test]
fn an_unchanged_agent_is_rarely_called_worse() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_pcg::Pcg64::seed_from_u64(5);
    let (mut regressed, mut equivalent, tries) = (0_u32, 0_u32, 300);
    for _ in 0..tries {
        let mut side = |ease: &[f64]| {
            let mut results = run("x", &[("ok", Scale::Binary)]);
            for (index, ease) in ease.iter().enumerate() {
                for trial in 0..3 {
                    put(&mut results, &format!("e{index:03}"), trial, "ok", pass(random.random_bool(*ease)));
                }
            }
            results
        };
        let ease: Vec<f64> = (0..60).map(|index| 0.3 + 0.7 * f64::from(index) / 60.0).collect();
        let worse: Vec<f64> = ease.iter().map(|ease| ease - 0.05).collect();
        let (before, same, lower) = (side(&ease), side(&ease), side(&worse));
        let policy = gate(&["ok"], 0.05);
        let change = |after: &RunResults| compare(&before, after, &[], &policy, &[]).metrics[0].change;
        regressed += u32::from(change(&same) == Change::Regressed);
        equivalent += u32::from(change(&lower) == Change::Equivalent);
    }
    let limit = 0.05 + 3.0 * (0.05_f64 * 0.95 / f64::from(tries)).sqrt();
    assert!(f64::from(regressed) / f64::from(tries) < limit, "{regressed} of {tries}");
    assert!(f64::from(equivalent) / f64::from(tries) < limit, "{equivalent} of {tries}");
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    fn scored() -> impl Strategy<Value = crate::model::Scored> {
        prop_oneof![
            4 => any::<bool>().prop_map(pass),
            2 => (-1e3..1e3f64).prop_map(number),
            1 => Just(unscored(UnscoredReason::Timeout)),
            1 => Just(unscored(UnscoredReason::NotApplicable)),
        ]
    }

    fn results(name: &'static str) -> impl Strategy<Value = RunResults> {
        proptest::collection::vec((0usize..15, 0u32..3, scored()), 0..40).prop_map(move |cells| {
            let mut results = run(name, &[("ok", Scale::Binary)]);
            for (example, trial, scored) in cells {
                put(&mut results, &format!("e{example:03}"), trial, "ok", scored);
            }
            results
        })
    }

    proptest! {
        /// Whatever was journaled: no panic, every finding has words, and a pass rests on pairs.
        #[test]
        fn any_two_runs_get_an_answer(before in results("a"), after in results("b"), margin in 0.0..0.3f64) {
            let policy = gate(&["ok"], margin);
            let metas = metas(15, "dim\n\u{202e}", |index| format!("{}", index % 2));
            let found = compare(&before, &after, &metas, &policy, &[]);
            let metric = &found.metrics[0];
            prop_assert!(!found.headline.is_empty() && !metric.sentence.is_empty());
            if found.verdict == Verdict::Pass {
                prop_assert!(metric.difference.n >= policy.min_pairs && metric.p_worse.is_some());
            }
            for p in [metric.p_worse, metric.p_better, metric.p_worse_adjusted].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&p));
            }
            // A NaN would be written as null and not be read again as an interval's end.
            let text = serde_json::to_string(&found).unwrap();
            prop_assert!(serde_json::from_str::<Comparison>(&text).is_ok());
            summarize(&after, &metas, &policy);
        }
    }
}
