//! Data that say little or nothing, through the binary: each has its status, its sentence, and no verdict that it does
//! not support.

use std::fmt::Write as _;

use serde_json::Value;

use crate::world::World;

/// Compares two systems over rows of `id,a,b,s` with `s` as cluster; gives the comparison.
#[track_caller]
fn compared(rows: &[(String, String, String)], options: &[&str], exit: i32) -> Value {
    let world = World::new();
    let mut text = "id,a,b,s\n".to_owned();
    for (place, (a, b, cluster)) in rows.iter().enumerate() {
        writeln!(text, "q{place},{a},{b},{cluster}").unwrap();
    }
    world.write("rows.csv", text);
    let given =
        ["outcomes", "rows.csv", "--id", "id", "--system", "a=a", "--system", "b=b", "--cluster", "s", "--json"];
    let arguments: Vec<&str> = given.iter().chain(options).copied().collect();
    world.run(&arguments).expect(exit).json()["comparison"].take()
}

fn rows(n: usize, of: impl Fn(usize) -> (f64, f64)) -> Vec<(String, String, String)> {
    (0..n).map(|place| (of(place).0.to_string(), of(place).1.to_string(), format!("s{place}"))).collect()
}

/// Status, change and words of the only metric; the headline.
#[track_caller]
fn told(found: &Value, status: &str, change: &str, sentence: &str, headline: &str) {
    let metric = &found["metrics"][0];
    assert_eq!(metric["difference"]["status"], status, "{metric:#}");
    assert_eq!(metric["change"], change, "{metric:#}");
    assert!(metric["sentence"].as_str().unwrap().contains(sentence), "{}", metric["sentence"]);
    assert!(found["headline"].as_str().unwrap().contains(headline), "{}", found["headline"]);
}

#[test]
fn no_example_one_and_two() {
    let world = World::new();
    world.write("rows.csv", "id,a,b\n");
    let none = world.run(&["outcomes", "rows.csv", "--id", "id", "--system", "a=a", "--system", "b=b"]).expect(2);
    assert!(none.stderr.contains("holds no rows; a dataset needs at least one"), "{}", none.stderr);
    for n in [1, 2] {
        let found = compared(&rows(n, |place| (1.0, if place == 0 { 0.0 } else { 1.0 })), &[], 4);
        told(&found, "ok", "inconclusive", "inconclusive", "the gate asks for 10");
    }
    let single = compared(&rows(1, |_| (0.4, 0.9)), &["--range", "score=0..1"], 4);
    told(&single, "insufficient", "inconclusive", "inconclusive", "the gate asks for 10");
}

#[test]
fn one_cluster_has_no_error() {
    let mut all = rows(40, |place| (1.0, f64::from(u8::from(place > 9))));
    all.iter_mut().for_each(|row| row.2 = "same".to_owned());
    let found = compared(&all, &[], 4);
    told(&found, "insufficient", "inconclusive", "inconclusive", "they are all of one cluster; add examples of others");
    assert_eq!(found["metrics"][0]["difference"]["interval"], Value::Null);
}

#[test]
fn all_equal_all_pass_and_no_pair_that_differs() {
    let margin = ["--range", "score=0..1", "--margin", "score=0.05"];
    let found = compared(&rows(100, |_| (0.5, 0.4)), &margin, 1);
    told(&found, "zero_variance", "regressed", "regressed", "Do not merge");
    let few = compared(&rows(12, |_| (0.5, 0.48)), &margin, 4);
    told(&few, "zero_variance", "inconclusive", "inconclusive", "Not decided");
    let same = compared(&rows(200, |_| (1.0, 1.0)), &[], 0);
    told(&same, "no_information", "equivalent", "equivalent", "Safe to merge");
    let interval = &same["metrics"][0]["difference"]["interval"];
    assert!(interval["lo"].as_f64().unwrap() < -0.01 && interval["hi"].as_f64().unwrap() > 0.01, "{interval}");
    let little = compared(&rows(20, |_| (1.0, 1.0)), &[], 4);
    told(&little, "no_information", "inconclusive", "inconclusive", "Not decided");
}

#[test]
fn an_arm_without_scores_is_counted() {
    let mut all = rows(40, |_| (1.0, 1.0));
    all.iter_mut().for_each(|row| row.1.clear());
    let found = compared(&all, &[], 4);
    told(&found, "empty", "inconclusive", "has no score with a value in the candidate", "the gate asks for 10");
    assert_eq!(found["metrics"][0]["missing"]["no_candidate_score"], 40);
}

#[test]
fn absurd_and_infinite_scores_decide_nothing() {
    let found = compared(&rows(40, |n| (1e308, if n % 2 == 0 { -1e308 } else { 1e308 })), &["--margin", "score=1"], 4);
    told(&found, "undefined", "inconclusive", "scores too large to be reckoned with", "too large to be added");
    let mut odd = rows(40, |place| (0.5, if place % 2 == 0 { 0.3 } else { 0.7 }));
    (odd[3].1, odd[4].1) = ("inf".to_owned(), "nan".to_owned());
    let found = compared(&odd, &["--range", "score=0..1"], 4);
    assert_eq!(found["metrics"][0]["missing"]["no_candidate_score"], 2, "neither is a number");
    assert_eq!(found["metrics"][0]["difference"]["n"], 38);
}

#[test]
fn margins_that_mean_nothing_are_refused() {
    let world = World::new();
    world.write("rows.csv", "id,a,b\nq0,1,0\nq1,0,1\n");
    let words = [
        ("-0.1", "less than the minimum"),
        ("1", "as wide as its scale"),
        ("7", "as wide as its scale"),
        ("nan", "expected `--margin NAME=NUMBER`"),
        ("inf", "expected `--margin NAME=NUMBER`"),
    ];
    for (margin, wanted) in words {
        let margin = format!("--margin={margin}");
        let ran = world.run(&["outcomes", "rows.csv", "--id", "id", "--system", "a=a", "--system", "b=b", &margin]);
        let ran = ran.expect(2);
        assert!(ran.stderr.contains(wanted), "{margin}: {}", ran.stderr);
    }
}

/// Three trials of forty examples of which two waver: the interval is not narrower than four changes would make it.
#[test]
fn few_changes_are_not_certainty() {
    let world = World::new();
    let mut text = "id,system,s\n".to_owned();
    for place in 0..40 {
        for trial in 0..3 {
            let after = u8::from(place > 1 || trial > 0);
            writeln!(text, "q{place},old,1\nq{place},new,{after}").unwrap();
        }
    }
    world.write("rows.csv", text);
    let done = world.run(&[
        "outcomes",
        "rows.csv",
        "--id",
        "id",
        "--system",
        "system",
        "--baseline",
        "old",
        "--score",
        "s",
        "--margin=0.04",
        "--json",
    ]);
    let metric = &done.expect(4).json()["comparison"]["metrics"][0];
    assert_eq!(metric["change"], "inconclusive", "{metric:#}");
    let expert = metric["expert"].as_str().unwrap();
    assert!(expert.contains("the error is taken as if four examples differed, not 2"), "{expert}");
    // Deviations of 0.3167 twice and 0.0167 else: 4 (sum d^4 / sum d^2 - sum d^2 / 40) / 40^2. The plain error, 0.0116,
    // would have called it equivalent.
    let se = metric["difference"]["se"].as_f64().unwrap();
    assert!((se - 0.015).abs() < 1e-9, "{se}");
}
