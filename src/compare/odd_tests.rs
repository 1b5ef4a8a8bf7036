//! Bad input: each has its status, its sentence, and never a verdict it does not support.

use super::testing::{binary, gate, metas, number, put, run};
use super::*;
use crate::model::{Change, Finite, GatePolicy, Scale, Score, ScoreValue, Scored, Verdict};
use crate::stats::Status;

fn scored(value: f64) -> Scored {
    number(value)
}

fn pair_of(scale: &Scale, n: usize, value: impl Fn(usize) -> (f64, f64)) -> (RunResults, RunResults) {
    let (mut before, mut after) = (run("a", &[("ok", scale.clone())]), run("b", &[("ok", scale.clone())]));
    for index in 0..n {
        let (left, right) = value(index);
        put(&mut before, &format!("e{index:03}"), 0, "ok", scored(left));
        put(&mut after, &format!("e{index:03}"), 0, "ok", scored(right));
    }
    (before, after)
}

#[track_caller]
fn open_because(found: &Comparison, words: &str) {
    assert_eq!(found.verdict, Verdict::Inconclusive, "{}", found.headline);
    assert_eq!(found.metrics[0].change, Change::Inconclusive);
    assert!(found.headline.contains(words), "{}", found.headline);
}

#[test]
fn none_one_and_two() {
    for n in 0..3 {
        let (before, after) = pair_of(&Scale::Binary, n, |_| (1.0, 0.0));
        open_because(&compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]), "the gate asks for 10");
    }
}

#[test]
fn all_pass_and_no_pair_that_differs() {
    let (before, after) = pair_of(&Scale::Binary, 200, |_| (1.0, 1.0));
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    assert_eq!(
        (found.metrics[0].difference.status, found.metrics[0].change),
        (Status::NoInformation, Change::Equivalent)
    );
    let interval = found.metrics[0].difference.interval.as_ref().unwrap();
    assert!(interval.lo < -0.01 && interval.hi > 0.01, "no point interval: {interval:?}");
}

#[test]
fn all_differences_equal() {
    let scale = Scale::Number { min: Some(0.0), max: Some(10.0) };
    let (before, after) = pair_of(&scale, 100, |_| (5.0, 4.0));
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.5), &[]);
    assert_eq!(found.metrics[0].difference.status, Status::ZeroVariance);
    assert_eq!((found.metrics[0].change, found.verdict), (Change::Regressed, Verdict::Fail));
    let (before, after) = pair_of(&scale, 12, |_| (5.0, 4.9));
    let few = compare(&before, &after, &[], &gate(&["ok"], 0.5), &[]);
    assert_eq!(few.metrics[0].change, Change::Inconclusive, "a dozen equal differences prove little");
}

#[test]
fn one_cluster_says_which_examples_are_missing() {
    let (before, after) = pair_of(&Scale::Binary, 40, |index| (1.0, f64::from(u8::from(index > 9))));
    let mut all = metas(40, "x", |_| String::new());
    all.iter_mut().for_each(|meta| meta.cluster = "one session".into());
    open_because(
        &compare(&before, &after, &all, &gate(&["ok"], 0.05), &[]),
        "all of one cluster; add examples of others",
    );
}

#[test]
fn absurd_scores_are_not_added_up() {
    let scale = Scale::Number { min: None, max: None };
    let (before, after) = pair_of(&scale, 40, |index| (1e308, if index % 2 == 0 { -1e308 } else { 1e308 }));
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.5), &[]);
    open_because(&found, "too large to be added");
    let text = serde_json::to_string(&found).unwrap();
    let back: Comparison = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(back, found, "what is not known is absent, so that nothing is lost on the way");
    assert!(Score::number(f64::INFINITY, "").is_none() && Score::number(f64::NAN, "").is_none());
}

#[test]
fn scores_outside_the_declared_scale_are_the_graders_fault() {
    let scale = Scale::Number { min: Some(0.0), max: Some(1.0) };
    let (before, after) = pair_of(&scale, 60, |index| (0.5, if index == 7 { 40.0 } else { 0.5 }));
    open_because(&compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]), "1 score lies outside the scale");
}

#[test]
fn labels_without_a_value_are_counted_and_decide_nothing() {
    let labels = vec![("good".to_owned(), Some(1.0)), ("bad".to_owned(), Some(0.0))];
    let scale = Scale::Labels { labels };
    let label = |name: &str, value: Option<f64>| -> Scored {
        let number = value.and_then(Finite::new);
        let mut score = Score::pass(true, "");
        score.value = ScoreValue::Label { label: name.to_owned(), number };
        Ok(score)
    };
    let (mut before, mut after) = (run("a", &[("ok", scale.clone())]), run("b", &[("ok", scale)]));
    for index in 0..60 {
        let id = format!("e{index:03}");
        put(&mut before, &id, 0, "ok", label("good", Some(1.0)));
        put(&mut after, &id, 0, "ok", label("never seen", None));
    }
    let found = compare(&before, &after, &[], &gate(&["ok"], 0.05), &[]);
    open_because(&found, "the gate asks for 10");
    let cells = found.metrics[0].beside.cells.unwrap().1;
    assert_eq!((cells.planned, cells.scored, cells.without_value), (60, 0, 60));
    assert_eq!(found.metrics[0].missing.no_candidate_score, 60);
    assert!(found.metrics[0].expert.contains("60 with a label that has no value"), "{}", found.metrics[0].expert);
}

#[test]
fn margins_that_mean_nothing_are_refused() {
    let (before, after) = pair_of(&Scale::Binary, 200, |index| (1.0, f64::from(u8::from(index > 99))));
    let with = |margin: f64| compare(&before, &after, &[], &gate(&["ok"], margin), &[]);
    open_because(&with(-0.1), "its margin of -0.1 is negative");
    open_because(&with(1.0), "as wide as its scale, so that every candidate would count as equivalent");
    open_because(&with(7.0), "as wide as its scale");
    open_because(&with(f64::NAN), "is no number");
    open_because(&with(f64::INFINITY), "is no number");
    assert!(serde_json::to_string(&with(f64::NAN)).is_ok());
}

#[test]
fn a_dataset_of_nothing_but_missing_cells() {
    let empty = run("a", &[("ok", Scale::Binary)]);
    let full = binary("b", vec![true; 40]);
    for (before, after) in [(&empty, &full), (&full, &empty), (&empty, &empty)] {
        let found = compare(before, after, &[], &GatePolicy::default(), &[]);
        assert_eq!((found.verdict, found.metrics[0].difference.status), (Verdict::Inconclusive, Status::Empty));
        assert!(found.metrics[0].sentence.contains("has no score with a value"), "{}", found.metrics[0].sentence);
    }
}
