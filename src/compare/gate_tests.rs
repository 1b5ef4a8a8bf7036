//! What a gate asks beside the mean: guards, waivers, quarantine, missing cells at their ends, weights, ratios.

use std::collections::BTreeMap;

use super::testing::{binary, fail, gate, metas, number, output, pass, put, run, unscored};
use super::*;
use crate::model::{
    Change, Digest, Estimand, ExampleId, FailOn, GatePolicy, Guard, OnMissing, RunDesign, Scale, UnscoredReason,
    Verdict, Waiver,
};
use crate::stats::Status;

fn edit(policy: &mut GatePolicy, change: impl FnOnce(&mut crate::model::MetricPolicy)) {
    change(policy.metrics.get_mut("ok").unwrap());
}

/// `n` examples that pass in the baseline; the candidate fails the first `worse` and passes `better` of failing ones.
fn moved(n: usize, worse: usize, better: usize) -> (RunResults, RunResults) {
    let before = binary("a", (0..n).map(|index| index < n - better));
    let after = binary("b", (0..n).map(|index| index >= worse));
    (before, after)
}

#[test]
fn a_guard_fails_for_one_severe_break_that_the_mean_hides() {
    let (before, after) = moved(300, 1, 1);
    let mut policy = gate(&["ok"], 0.05);
    assert_eq!(compare(&before, &after, &[], &policy, &[]).verdict, Verdict::Pass);
    edit(&mut policy, |metric| metric.guard = Some(Guard { drop: 1.0, allowed: 0, only: BTreeMap::new() }));
    let found = compare(&before, &after, &[], &policy, &[]);
    assert_eq!(found.verdict, Verdict::Fail);
    assert_eq!(
        found.headline,
        "Do not merge: ok: 1 example of 300 fell by 100.0 points or more (e000); at most 0 may; with one trial each, a \
         flaky example looks the same."
    );
    let broken = found.metrics[0].beside.broken.as_ref().unwrap();
    assert_eq!((broken.count, broken.of, broken.examples[0].1), (1, 300, 1.0));
    edit(&mut policy, |metric| metric.guard.as_mut().unwrap().allowed = 1);
    assert_eq!(compare(&before, &after, &[], &policy, &[]).verdict, Verdict::Pass);
    let only = BTreeMap::from([("severity".to_owned(), "critical".to_owned())]);
    edit(&mut policy, |metric| metric.guard = Some(Guard { drop: 1.0, allowed: 0, only }));
    let mild = metas(300, "severity", |_| "mild".to_owned());
    let critical = metas(300, "severity", |index| if index < 20 { "critical" } else { "mild" }.to_owned());
    assert_eq!(compare(&before, &after, &mild, &policy, &[]).verdict, Verdict::Pass);
    let found = compare(&before, &after, &critical, &policy, &[]);
    assert_eq!((found.verdict, found.metrics[0].beside.broken.as_ref().unwrap().of), (Verdict::Fail, 20));
}

#[test]
fn a_waiver_holds_until_its_last_day_and_heals_no_instrument() {
    let (before, after) = moved(120, 24, 0);
    let mut policy = gate(&["ok"], 0.05);
    let waiver = |until: &str| Waiver {
        metric: "ok".into(),
        reason: "the refund tool is being replaced".into(),
        until: until.parse().unwrap(),
        by: Some("Ann".into()),
    };
    policy.waivers = vec![waiver("2026-06-30")];
    assert_eq!(compare(&before, &after, &[], &policy, &[]).verdict, Verdict::Fail, "without a day none holds");
    policy.today = Some("2026-06-30".parse().unwrap());
    let found = compare(&before, &after, &[], &policy, &[]);
    assert_eq!((found.verdict, found.metrics[0].change), (Verdict::Pass, Change::Regressed));
    assert!(found.headline.contains("what did not hold is waived"), "{}", found.headline);
    assert!(found.headline.contains("(waived: ok until 2026-06-30)"), "{}", found.headline);
    assert!(found.reasons[0].contains("waived until 2026-06-30 by Ann: the refund tool"), "{:?}", found.reasons);
    assert_eq!(found.metrics[0].beside.waived.as_ref().unwrap().verdict, Verdict::Fail);
    policy.today = Some("2026-07-01".parse().unwrap());
    let late = compare(&before, &after, &[], &policy, &[]);
    assert_eq!(late.verdict, Verdict::Fail);
    assert!(late.reasons.iter().any(|reason| reason.contains("ended on 2026-06-30")), "{:?}", late.reasons);
    policy.waivers = vec![waiver("2026-12-31")];
    let idle = compare(&before, &before, &[], &policy, &[]);
    assert!(idle.reasons.iter().any(|reason| reason.contains("holds without its waiver")), "{:?}", idle.reasons);
    let mut other = after.clone();
    other.header.graders[0].digest = Digest::of(b"another rubric");
    assert_eq!(compare(&before, &other, &[], &policy, &[]).verdict, Verdict::Inconclusive);
}

#[test]
fn quarantine_leaves_examples_out_and_says_what_they_would_do() {
    let (before, after) = moved(200, 5, 0);
    let mut policy = gate(&["ok"], 0.05);
    assert_eq!(compare(&before, &after, &[], &policy, &[]).verdict, Verdict::Fail);
    policy.quarantine = (0..5).map(|n| (ExampleId::new(format!("e{n:03}")), "tool times out".to_owned())).collect();
    let found = compare(&before, &after, &[], &policy, &[]);
    assert_eq!((found.verdict, found.metrics[0].difference.n, found.pairing.paired), (Verdict::Pass, 195, 195));
    let away = found.quarantine.as_ref().unwrap();
    assert_eq!((away.verdict_with_all, away.examples.len(), away.share), (Verdict::Fail, 5, 0.025));
    assert_eq!((away.with_all[0].change, away.with_all[0].verdict), (Change::Regressed, Some(Verdict::Fail)));
    assert_eq!(found.examples.len(), 200, "they stay in the list");
    policy.max_quarantined = 0.02;
    let much = compare(&before, &after, &[], &policy, &[]);
    assert_eq!(much.verdict, Verdict::Inconclusive);
    assert!(much.headline.contains("2.5 % of the examples are in quarantine"), "{}", much.headline);
    policy.quarantine.clear();
    assert_eq!(compare(&before, &after, &[], &policy, &[]).quarantine, None);
}

/// Twelve of three hundred cells of the candidate are unscored.
fn with_gaps(policy_of: OnMissing) -> Comparison {
    let before = binary("a", vec![true; 300]);
    let mut after = run("b", &[("ok", Scale::Binary)]);
    for index in 0..300 {
        let scored = if index < 12 { unscored(UnscoredReason::ReplyUnreadable) } else { pass(true) };
        put(&mut after, &format!("e{index:03}"), 0, "ok", scored);
    }
    let mut policy = gate(&["ok"], 0.03);
    edit(&mut policy, |metric| metric.on_unscored = policy_of);
    compare(&before, &after, &[], &policy, &[])
}

#[test]
fn unscored_cells_are_left_out_counted_as_worst_or_bounded() {
    let left_out = with_gaps(OnMissing::Exclude);
    assert!(left_out.instrument_failed, "they differ between the runs");
    assert_eq!(left_out.metrics[0].beside.bounds, Some((-0.04, 0.0)));
    let cells = left_out.metrics[0].beside.cells.unwrap();
    assert_eq!((cells.1.planned, cells.1.scored, cells.1.instrument), (300, 288, 12));
    let worst = with_gaps(OnMissing::Fail);
    assert_eq!((worst.verdict, worst.instrument_failed, worst.metrics[0].difference.n), (Verdict::Fail, false, 300));
    assert!((worst.metrics[0].difference.estimate.unwrap() + 0.04).abs() < 1e-12);
    let both = with_gaps(OnMissing::Bounds);
    assert_eq!((both.verdict, both.instrument_failed), (Verdict::Inconclusive, false));
    assert_eq!(both.metrics[0].beside.at_ends, Some((Change::Regressed, Change::Equivalent)));
    assert!(both.headline.contains("regressed if all were at their worst"), "{}", both.headline);
}

#[test]
fn failed_targets_can_count_as_the_worst() {
    let before = binary("a", vec![true; 200]);
    let mut after = run("b", &[("ok", Scale::Binary)]);
    for index in 0..200 {
        let id = format!("e{index:03}");
        if index < 20 {
            put(&mut after, &id, 0, "ok", unscored(UnscoredReason::TargetFailed));
            fail(&mut after, &id, 0);
        } else {
            put(&mut after, &id, 0, "ok", pass(true));
            output(&mut after, &id, 0, 10.0, 0.01);
        }
    }
    let mut policy = gate(&["ok"], 0.05);
    let left_out = compare(&before, &after, &[], &policy, &[]);
    assert_eq!((left_out.metrics[0].difference.n, left_out.metrics[0].change), (180, Change::Equivalent));
    assert_eq!(left_out.metrics[0].beside.cells.unwrap().1.target_failed, 20);
    edit(&mut policy, |metric| metric.on_target_failure = OnMissing::Fail);
    let counted = compare(&before, &after, &[], &policy, &[]);
    assert_eq!((counted.metrics[0].difference.n, counted.verdict), (200, Verdict::Fail));
}

#[test]
fn cost_is_gated_by_ratio() {
    let (mut before, mut after) = moved(80, 0, 0);
    for index in 0..80 {
        let id = format!("e{index:03}");
        let base = 100.0 * 1.1_f64.powi(index % 20);
        output(&mut before, &id, 0, base, 0.01);
        output(&mut after, &id, 0, base * if index % 2 == 0 { 1.10 } else { 1.06 }, 0.01);
    }
    let mut policy = gate(&["latency_ms"], 0.05);
    let found = compare(&before, &after, &[], &policy, &[]);
    let latency = &found.measures[0];
    assert_eq!(
        (latency.change, latency.verdict, found.verdict),
        (Change::Regressed, Some(Verdict::Fail), Verdict::Fail)
    );
    assert!((latency.ratio.as_ref().unwrap().estimate.unwrap() - (1.10_f64 * 1.06).sqrt()).abs() < 1e-9);
    policy.metrics.get_mut("latency_ms").unwrap().margin = Some(0.2);
    let wide = compare(&before, &after, &[], &policy, &[]);
    assert_eq!((wide.measures[0].change, wide.verdict), (Change::Equivalent, Verdict::Pass));
}

/// Two strata: all of 40 rare traces, 80 of 8,000 common ones. The candidate breaks the rare ones.
fn sampled() -> (RunResults, RunResults, Vec<ExampleMeta>) {
    let before = binary("a", vec![true; 120]);
    let mut after = binary("b", (0..120).map(|index| index >= 30));
    after.header.design = Some(RunDesign {
        method: "stratified".into(),
        independent: false,
        strata: BTreeMap::from([("rare".into(), 40), ("common".into(), 8_000)]),
    });
    let mut before = before;
    before.header.design = after.header.design.clone();
    let mut all = metas(120, "kind", |_| "x".to_owned());
    for (index, meta) in all.iter_mut().enumerate() {
        let (stratum, chance) = if index < 40 { ("rare", 1.0) } else { ("common", 0.01) };
        (meta.stratum, meta.probability, meta.weight) = (Some(stratum.into()), Some(chance), 1.0 / chance);
    }
    (before, after, all)
}

#[test]
fn both_populations_stand_side_by_side_and_the_chosen_one_decides() {
    let (before, after, all) = sampled();
    let mut policy = gate(&["ok"], 0.05);
    let found = compare(&before, &after, &all, &policy, &[]);
    let both = found.metrics[0].beside.estimands.as_ref().unwrap();
    assert!((both.dataset.estimate.unwrap() + 0.25).abs() < 1e-12);
    assert!((both.production.estimate.unwrap() + 30.0 / 8_040.0).abs() < 1e-12);
    assert_eq!((both.decides, found.metrics[0].change), (Estimand::Production, Change::Equivalent));
    assert_eq!(found.metrics[0].difference.method, "hajek_stratified_t");
    assert!(found.metrics[0].expert.contains("on the dataset as it is −0.25"), "{}", found.metrics[0].expert);
    policy.estimand = Estimand::Dataset;
    let plain = compare(&before, &after, &all, &policy, &[]);
    assert_eq!((plain.metrics[0].change, plain.verdict), (Change::Regressed, Verdict::Fail));
    assert_eq!(plain.metrics[0].difference.method, "tango");
    assert!(plain.metrics[0].expert.contains("projected to production −0.00373"), "{}", plain.metrics[0].expert);
}

#[test]
fn a_stratum_of_one_is_refused_until_it_is_put_with_others() {
    let (before, after, mut all) = sampled();
    all[119].stratum = Some("lonely".into());
    let mut policy = gate(&["ok"], 0.05);
    let refused = compare(&before, &after, &all, &policy, &[]);
    assert_eq!(
        (refused.metrics[0].difference.status, refused.verdict),
        (Status::SingletonStratum, Verdict::Inconclusive)
    );
    assert!(refused.headline.contains("collapse_strata = true"), "{}", refused.headline);
    policy.collapse_strata = true;
    assert_eq!(compare(&before, &after, &all, &policy, &[]).metrics[0].difference.status, Status::Ok);
}

#[test]
fn weights_that_are_none_count_only_in_the_dataset() {
    let (before, after, mut all) = sampled();
    for (index, weight) in [(0, 0.0), (1, -3.0), (2, f64::NAN), (3, f64::INFINITY)] {
        all[index].weight = weight;
    }
    let found = compare(&before, &after, &all, &gate(&["ok"], 0.05), &[]);
    let both = found.metrics[0].beside.estimands.as_ref().unwrap();
    assert_eq!((both.dataset.n, both.production.n), (120, 116));
    assert!(found.metrics[0].expert.contains("4 examples without a usable weight"), "{}", found.metrics[0].expert);
}

#[test]
fn one_giant_weight_decides_nothing() {
    let (before, after, mut all) = sampled();
    all.iter_mut().for_each(|meta| (meta.weight, meta.stratum) = (1.0, None));
    all[50].weight = 1e9;
    let found = compare(&before, &after, &all, &gate(&["ok"], 0.05), &[]);
    assert_eq!((found.metrics[0].difference.status, found.verdict), (Status::Insufficient, Verdict::Inconclusive));
    assert!(found.headline.contains("effective sample of 1 example"), "{}", found.headline);
    let alone = summarize(&after, &all, &gate(&["ok"], 0.05));
    assert_eq!(alone.metrics[0].estimate.interval, None, "an interval of a point would read as certainty");
}

#[test]
fn any_dimension_can_name_the_independent_units() {
    let (before, after) = moved(60, 12, 0);
    let users = metas(60, "user", |index| format!("u{}", index / 12));
    let mut policy = gate(&["ok"], 0.05);
    assert_eq!(compare(&before, &after, &users, &policy, &[]).metrics[0].difference.clusters, 60);
    policy.cluster_by = Some("user".into());
    let found = compare(&before, &after, &users, &policy, &[]);
    assert_eq!((found.metrics[0].difference.clusters, found.metrics[0].difference.method.as_str()), (5, "cr2_t"));
    policy.cluster_by = Some("nobody".into());
    assert_eq!(compare(&before, &after, &users, &policy, &[]).metrics[0].difference.clusters, 60);
}

#[test]
fn what_would_decide_has_its_price() {
    let scale = [("ok", Scale::Binary)];
    let (mut before, mut after) = (run("a", &scale), run("b", &scale));
    for index in 0..40 {
        for trial in 0..2 {
            let id = format!("e{index:03}");
            // Trials of the same example disagree, so that more of them would help.
            put(&mut before, &id, trial, "ok", pass((index + trial as usize).is_multiple_of(2)));
            put(&mut after, &id, trial, "ok", pass((index / 2 + trial as usize).is_multiple_of(2) || index == 3));
        }
    }
    after.totals.trials_ok = 80;
    after.totals.target_spend.cost_usd = 0.80;
    let mut policy = gate(&["ok"], 0.005);
    policy.fail_on = FailOn::Regressed;
    let found = compare(&before, &after, &[], &policy, &[]);
    let ways = &found.metrics[0].beside.to_decide;
    let examples = ways.iter().find(|way| way.more == More::Examples).unwrap();
    // One cent a trial, two trials, two runs: four cents each further example.
    let price = 0.04 * (examples.count as f64 - 40.0);
    assert!((examples.price_usd.unwrap() - price).abs() < 1e-9, "{ways:?}");
    assert_eq!(found.metrics[0].examples_needed, Some(examples.count));
    assert!(found.headline.contains("(about $"), "{}", found.headline);
}

#[test]
fn every_open_gate_says_what_would_decide() {
    let (before, after) = moved(60, 2, 0);
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    assert_eq!(found.verdict, Verdict::Inconclusive);
    for metric in &found.metrics {
        let told = found.reasons.iter().find(|reason| reason.starts_with(&metric.name)).unwrap();
        assert!(told.contains("would decide it") || told.contains("choose another margin"), "{told}");
    }
}

#[test]
fn a_graded_scale_shows_its_levels_and_its_ceiling() {
    let scale = Scale::Number { min: Some(1.0), max: Some(5.0) };
    let (mut before, mut after) = (run("a", &[("ok", scale.clone())]), run("b", &[("ok", scale)]));
    for index in 0..60 {
        let id = format!("e{index:03}");
        put(&mut before, &id, 0, "ok", number(5.0));
        put(&mut after, &id, 0, "ok", number(if index < 6 { 4.0 } else { 5.0 }));
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.2), &[]);
    let panel = found.metrics[0].beside.ordinal.as_ref().unwrap();
    assert_eq!(panel.levels, [("4".to_owned(), 0, 6), ("5".to_owned(), 60, 54)]);
    assert_eq!((panel.ceiling, panel.conflict), ((1.0, 0.9), false));
    assert!((panel.net_sign.estimate.unwrap() + 0.1).abs() < 1e-12 && panel.wilcoxon_p.unwrap() < 0.05);
    assert!(found.metrics[0].expert.contains("make it yes or no"), "{}", found.metrics[0].expert);
}

#[test]
fn mean_and_signs_that_contradict_are_no_finding() {
    let scale = Scale::Number { min: Some(1.0), max: Some(10.0) };
    let (mut before, mut after) = (run("a", &[("ok", scale.clone())]), run("b", &[("ok", scale)]));
    for index in 0..100 {
        let id = format!("e{index:03}");
        // Seventy lose one level, thirty gain eight.
        put(&mut before, &id, 0, "ok", number(2.0));
        put(&mut after, &id, 0, "ok", number(if index < 70 { 1.0 } else { 10.0 }));
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.2), &[]);
    assert!(found.metrics[0].beside.ordinal.as_ref().unwrap().conflict);
    assert_eq!((found.metrics[0].change, found.verdict), (Change::Inconclusive, Verdict::Inconclusive));
    assert!(found.headline.contains("ordinal conflict"), "{}", found.headline);
}

#[test]
fn names_allow_classes_of_differences() {
    let (before, mut after) = moved(200, 0, 0);
    for results in [&before, &after] {
        assert_eq!(results.header.graders[0].kind, crate::model::GraderKind::Judge);
    }
    after.header.graders[0].model = Some("another".into());
    after.header.graders[0].digest = Digest::of(b"another model");
    let with =
        |allow: &str| compare(&before, &after, &[], &gate(&["ok"], 0.05), &[allow.to_owned()]).comparability.comparable;
    assert!(with("judge") && with("model") && with("grader") && with("grader:ok"));
    assert!(!with("rubric") && !with("scorer") && !with("grader:other") && !with("dataset"));
    assert!(is_allowance("judge") && is_allowance("grader:x") && !is_allowance("grader:") && !is_allowance("judgee"));
    after.header.design = Some(RunDesign::default());
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &["judge".to_owned()]);
    assert!(!found.comparability.comparable && found.headline.contains("--allow sampler"), "{}", found.headline);
}

#[test]
fn many_missing_pairs_bring_the_estimate_without_pairs() {
    let before = binary("a", vec![true; 100]);
    let mut after = binary("b", (0..60).map(|_| true));
    for index in 0..40 {
        put(&mut after, &format!("new{index:02}"), 0, "ok", pass(index % 2 == 0));
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    let metric = &found.metrics[0];
    assert_eq!((metric.difference.n, metric.difference.estimate), (60, Some(0.0)));
    let all = metric.beside.unpaired.as_ref().unwrap();
    assert!((all.estimate.unwrap() + 0.2).abs() < 1e-12);
    assert!(metric.expert.contains("without pairs, the difference is −0.2"), "{}", metric.expert);
}
