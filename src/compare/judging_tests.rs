//! Tests of `judging`: figures against hand-made cells, values from other programs, and a simulation of audits.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::super::testing::{put, run};
use super::*;
use crate::model::Finite;

fn pass(pass: bool) -> ScoreValue {
    ScoreValue::Pass { pass }
}

fn scored(value: ScoreValue, judged: &Judged) -> Scored {
    let mut score = Score::of(value, "");
    judged.put(&mut score);
    Ok(score)
}

fn only(results: &RunResults) -> JudgeFacts {
    let facts = judge_facts(results);
    assert_eq!(facts.len(), 1, "{facts:?}");
    facts[0].clone()
}

fn vote(member: &str, value: Option<bool>) -> Vote {
    Vote { member: member.into(), value: value.map(pass), unscored: None, weight: None, reasoning: None }
}

#[test]
fn a_plain_judge_has_nothing_to_tell() {
    let mut results = run("r", &[("j", Scale::Binary)]);
    put(&mut results, "e", 0, "j", scored(pass(true), &Judged::default()));
    assert_eq!(judge_facts(&results), []);
}

#[test]
fn agreement_of_a_panel_is_that_of_its_definitions() {
    let votes = [
        [Some(true), Some(true), Some(true)],
        [Some(true), Some(true), Some(false)],
        [Some(false), Some(false), Some(false)],
        [Some(true), Some(false), Some(true)],
        [Some(false), Some(true), None],
    ];
    let mut results = run("r", &[("j", Scale::Binary)]);
    for (index, row) in votes.iter().enumerate() {
        let votes = ["a", "b", "c"].iter().zip(row).map(|(member, value)| vote(member, *value)).collect();
        let judged = Judged { votes, ..Judged::default() };
        put(&mut results, &format!("e{index}"), 0, "j", scored(pass(row[0] == Some(true)), &judged));
    }
    let panel = only(&results).panel.unwrap();
    assert_eq!((panel.cells, panel.split), (5, 3));
    // Four cells with three votes have three pairs each, the last has one; two, two and one of them differ.
    assert!((panel.flip_rate.unwrap() - 5.0 / 13.0).abs() < 1e-12, "{panel:?}");
    // By definition: 14 votes, 8 for one score and 6 for the other. A cell with m votes adds its ordered pairs that
    // differ, over m - 1: 4/2, 4/2 and 2/1.
    let (observed, expected) = ((4.0 / 2.0 + 4.0 / 2.0 + 2.0) / 14.0, 2.0 * 8.0 * 6.0 / (14.0 * 13.0));
    assert!((panel.alpha.unwrap() - (1.0 - observed / expected)).abs() < 1e-12, "{panel:?}");
    assert_eq!((panel.members[2].votes, panel.members[2].failed), (4, 1));
    assert_eq!(panel.members[0].with_panel, Some(1.0));
    let first = &panel.pairs[0];
    // Three of five agree; three and three of five pass: chance is 0.52.
    assert!((first.kappa.unwrap() - (0.6 - 0.52) / 0.48).abs() < 1e-12, "{first:?}");
    let said = only(&results).sentences[0].clone();
    assert!(said.contains("differ on 3 of 5 cells") && said.contains("1 vote was lost"), "{said}");
}

fn label(place: usize) -> ScoreValue {
    let (label, number) = [("first", 1.0), ("tie", 0.5), ("second", 0.0)][place];
    ScoreValue::Label { label: label.into(), number: Finite::new(number) }
}

#[test]
fn a_judge_that_goes_by_the_place_is_found_out() {
    let labels = vec![("first".to_owned(), Some(1.0)), ("tie".to_owned(), Some(0.5)), ("second".to_owned(), Some(0.0))];
    let mut results = run("r", &[("j", Scale::Labels { labels })]);
    for index in 0..10 {
        // The piece that stands first wins both times, but for two pairs.
        let (declared, swapped) = if index < 2 { (0, 0) } else { (0, 2) };
        let orders = Orders { declared: Some(label(declared)), swapped: Some(label(swapped)), missing: None };
        let value = if declared == swapped { label(declared) } else { label(1) };
        put(
            &mut results,
            &format!("e{index}"),
            0,
            "j",
            scored(value, &Judged { orders: Some(orders), ..Judged::default() }),
        );
    }
    let orders = only(&results).orders.unwrap();
    assert_eq!((orders.both, orders.one, orders.steady), (10, 0, false));
    assert!((orders.consistency.unwrap() - 0.2).abs() < 1e-12);
    assert!((orders.first_pick.unwrap() - 18.0 / 20.0).abs() < 1e-12, "{orders:?}");
    // Eight of eight contradictions follow the place: 2 * 0.5^8.
    assert!((orders.position_bias_p.unwrap() - 2.0 * 0.5_f64.powi(8)).abs() < 1e-12, "{orders:?}");
    assert!((orders.win_rate.estimate.unwrap() - 0.6).abs() < 1e-12);
}

fn cascaded(why: Asked, cheap: bool, dear: Option<bool>) -> Judged {
    let cascade = Cascaded {
        why,
        cheap: Some(pass(cheap)),
        dear: dear.map(pass),
        sureness: String::new(),
        audit: Finite::new(0.5).unwrap(),
    };
    Judged { cascade: Some(cascade), ..Judged::default() }
}

#[test]
fn the_effect_of_a_cascade_is_the_audited_difference_times_the_sure_share() {
    let mut results = run("r", &[("j", Scale::Binary)]);
    let audited = [(true, false), (true, true), (false, false), (false, true), (true, false)];
    for (index, (cheap, dear)) in audited.into_iter().enumerate() {
        put(
            &mut results,
            &format!("a{index}"),
            0,
            "j",
            scored(pass(cheap), &cascaded(Asked::Audit, cheap, Some(dear))),
        );
    }
    for index in 0..5 {
        put(
            &mut results,
            &format!("u{index}"),
            0,
            "j",
            scored(pass(false), &cascaded(Asked::Unsure, true, Some(false))),
        );
    }
    let found = only(&results).cascade.unwrap();
    assert_eq!((found.cells, found.unsure, found.audited, found.differing), (10, 5, 5, 3));
    let effect = found.effect.unwrap();
    // Half of Student's t interval (4 degrees of freedom, 2.7764451) for the mean of 1, 0, 0, -1, 1.
    assert!((effect.estimate.unwrap() - 0.1).abs() < 1e-12);
    let interval = effect.interval.unwrap();
    assert!(
        (interval.lo + 0.419_425_316_8).abs() < 1e-9 && (interval.hi - 0.619_425_316_8).abs() < 1e-9,
        "{interval:?}"
    );
    put(&mut results, "last", 0, "j", scored(pass(true), &Judged::default()));
    assert!(only(&results).sentences[0].contains("+0.100 ["), "{:?}", only(&results).sentences);
}

/// The interval of the effect holds what the dear judge would have changed, for audits drawn again and again.
#[test]
fn audits_measure_what_a_cascade_does() {
    let mut random = Pcg64::seed_from_u64(5);
    let (mut held, mut told) = (0, 0);
    for _ in 0..400 {
        let mut results = run("r", &[("j", Scale::Binary)]);
        let mut truth = 0.0;
        for index in 0..300 {
            let sure = random.random_bool(0.7);
            let cheap = random.random_bool(0.6);
            let dear = if random.random_bool(0.15) { false } else { cheap };
            truth += if sure { f64::from(u8::from(cheap)) - f64::from(u8::from(dear)) } else { 0.0 };
            let why = match (sure, random.random_bool(0.25)) {
                (true, true) => Asked::Audit,
                (true, false) => Asked::Sure,
                (false, _) => Asked::Unsure,
            };
            let value = pass(if sure { cheap } else { dear });
            put(&mut results, &format!("e{index}"), 0, "j", scored(value, &cascaded(why, cheap, Some(dear))));
        }
        // Audits that agree on everything have no interval: counted as one that does not hold.
        let interval = only(&results).cascade.unwrap().effect.unwrap().interval;
        told += 1;
        let holds = interval.is_some_and(|found| found.lo <= truth / 300.0 && truth / 300.0 <= found.hi);
        held += i32::from(holds);
    }
    let coverage = f64::from(held) / f64::from(told);
    assert!(coverage > 0.92, "{coverage}");
}

#[test]
fn probabilities_draws_and_marks_are_counted() {
    let mut results = run("r", &[("j", Scale::Number { min: Some(0.0), max: Some(1.0) })]);
    results.header.graders[0].draws = 2;
    let number = |value: f64| ScoreValue::Number { number: Finite::new(value).unwrap() };
    let judged = |mass: Option<f64>| Judged {
        masses: Some(Masses {
            mass: mass.and_then(Finite::new),
            entropy: None,
            written: Finite::new(1.0),
            vote_instead: mass.is_none(),
        }),
        ..Judged::default()
    };
    put(&mut results, "a", 0, "j", scored(number(0.75), &judged(Some(0.9))));
    put(&mut results, "a", 0, "j", scored(number(1.0), &judged(None)));
    put(&mut results, "b", 0, "j", scored(number(0.75), &judged(Some(0.7))));
    put(&mut results, "b", 0, "j", scored(number(0.75), &judged(Some(0.8))));
    let facts = only(&results);
    assert_eq!(facts.flips, Some((1, 2)));
    let masses = facts.masses.unwrap();
    assert_eq!((masses.cells, masses.votes_instead, masses.least), (3, 1, Some(0.7)));
    assert!((masses.mean.unwrap() - 0.8).abs() < 1e-12);
}
