//! Plans against the formula, against simulation, and against every design tried.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::super::spreads;
use super::super::testing::{gate, pass, put, run};
use super::*;
use crate::model::{GatePolicy, Scale};
use crate::stats::Finding;
use crate::stats::t_margin;

fn wish(margin: f64, examples: u64, trials: u32) -> Wish {
    Wish {
        margin,
        alpha: 0.05,
        power: 0.8,
        examples,
        most: None,
        trials,
        draws: 1,
        cost: (0.0, 0.0, 0.0),
        budget: None,
    }
}

/// Miller 2024, section 5: n = (1.645 + 0.842)² · 0.12 / 0.05² = 296.8 for one side; scipy 1.17:
/// `((norm.ppf(.95)+norm.ppf(.8))**2*.12/.05**2)` = 296.76, `norm.ppf(.9)` for "no change" both ways: 411.06.
#[test]
fn sizes_follow_the_formula() {
    let spread = Spread::of_discordance("ok", 0.12, 0.0);
    let made = forecast(spread.clone(), &wish(0.05, 297, 1));
    assert!((made.now.unwrap().detectable - 0.049_98).abs() < 1e-4, "{:?}", made.now);
    assert_eq!(made.examples_needed, Some(412));
    assert_eq!(made.trials_needed, None, "chance alone changes nothing here, so repeats do not help");
    let noisy = forecast(Spread::of_discordance("ok", 0.12, 1.0), &wish(0.05, 297, 1));
    assert_eq!(noisy.trials_needed, Some(2));
    let power = made.exact_power.unwrap();
    assert!((0.74..0.85).contains(&power), "{power}");
}

#[test]
fn out_of_reach_says_so() {
    let made = forecast(Spread::of_discordance("ok", 0.2, 0.5), &wish(0.0, 100, 1));
    assert_eq!((made.examples_needed, made.trials_needed, made.cheapest), (None, None, None));
    assert!(made.sentence.contains("out of reach"), "{}", made.sentence);
    let empty = forecast(Spread::of_discordance("ok", 0.2, 0.5), &wish(0.05, 1, 1));
    assert!(empty.now.is_none() && empty.sentence.contains("at least two examples"), "{}", empty.sentence);
    let few = Wish { most: Some(50), ..wish(0.02, 50, 1) };
    assert_eq!(forecast(Spread::of_discordance("ok", 0.2, 0.0), &few).examples_needed, None);
}

/// Searle's optimum by trying every design: K* = sqrt(0.24 / 0.02 · 1.0 / 0.2) = 7.7, as `optimal` says.
#[test]
fn the_cheapest_design_is_near_the_closed_form() {
    let spread = Spread { between: 0.02, trial: Some(0.12), design_effect: 1.0, binary: true, ..Spread::default() };
    let wish = Wish { cost: (1.0, 0.1, 0.0), ..wish(0.05, 0, 1) };
    let made = forecast(spread, &wish);
    let (trials, _) = made.optimal.unwrap();
    assert!((trials - (0.24_f64 / 0.02 / 0.2).sqrt()).abs() < 1e-12);
    let cheapest = made.cheapest.unwrap();
    assert!((6..=10).contains(&cheapest.trials), "{cheapest:?}");
    let budget = Wish { budget: Some(300.0), ..wish };
    let bought = forecast(made.spread, &budget).best_for_budget.unwrap();
    assert!(bought.price_usd.unwrap() <= 300.0 && (6..=10).contains(&bought.trials), "{bought:?}");
}

#[test]
fn a_pilot_tells_trials_from_change() {
    let scale = [("ok", Scale::Binary)];
    let (mut before, mut after) = (run("a", &scale), run("b", &scale));
    let mut random = Pcg64::seed_from_u64(5);
    for index in 0..400 {
        // Half of the examples are coins, half are sure; the candidate breaks 10 % of the sure ones.
        let coin = index % 2 == 0;
        let broken = index % 20 == 1;
        for trial in 0..4 {
            let id = format!("e{index:03}");
            let flip = random.random::<bool>();
            put(&mut before, &id, trial, "ok", pass(if coin { flip } else { true }));
            let flip = random.random::<bool>();
            put(&mut after, &id, trial, "ok", pass(if coin { flip } else { !broken }));
        }
    }
    let found = &spreads(Some(&before), &after, &[], &gate(&["ok"], 0.05), 0.9)[0];
    assert!((found.trial.unwrap() - 0.125).abs() < 0.01, "{found:?}");
    // 5 % of all examples fall by 1: variance 0.05 · 0.95.
    assert!((found.between - 0.0475).abs() < 0.02, "{found:?}");
    let alone = &spreads(None, &before, &[], &GatePolicy::default(), 0.9)[0];
    // Means of coins and of sure ones: 0.5 and 1.
    assert!((alone.example - 0.0625).abs() < 0.02 && (alone.between - 0.2 * alone.example).abs() < 1e-12, "{alone:?}");
    assert!(alone.notes[0].contains("assumed to correlate"));
}

/// The planned number finds "no change" within the margin about as often as planned.
#[test]
fn the_planned_power_is_met() {
    let spread = Spread { between: 0.04, trial: Some(0.1), design_effect: 1.0, ..Spread::default() };
    let wish = wish(0.08, 100, 3);
    let n = forecast(spread.clone(), &wish).examples_needed.unwrap();
    let mut random = Pcg64::seed_from_u64(9);
    let mut normal = || {
        let sum: f64 = (0..12).map(|_| random.random::<f64>()).sum();
        sum - 6.0
    };
    let sd = spread.per_example(3, 1).sqrt();
    let mut shown = 0;
    for _ in 0..600 {
        let values: Vec<f64> = (0..n).map(|_| sd * normal()).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n as f64 - 1.0);
        let test = t_margin(mean, (variance / n as f64).sqrt(), n as f64 - 1.0, 0.08, 0.05).unwrap();
        shown += u32::from(test.finding() == Finding::Equivalent);
    }
    // 80 % of 600 within three standard errors of a simulation.
    assert!((450..=510).contains(&shown), "{shown} of 600 with n = {n}");
}

proptest! {
    #[test]
    fn more_of_anything_never_sees_less(
        between in 0.0_f64..0.3, trial in 0.0_f64..0.3, n in 10_u64..500, trials in 1_u32..8,
    ) {
        let spread = Spread { between, trial: Some(trial), design_effect: 1.0, ..Spread::default() };
        let wish = wish(0.05, n, trials);
        let at = |n, k| point(&spread, &wish, n, k, 1).unwrap();
        prop_assert!(at(n + 50, trials).detectable <= at(n, trials).detectable + 1e-12);
        prop_assert!(at(n, trials + 1).provable <= at(n, trials).provable + 1e-12);
        let made = forecast(spread.clone(), &wish);
        if let Some(needed) = made.examples_needed {
            prop_assert!(at(needed, trials).provable <= 0.05 + 1e-12);
        }
        for pair in made.curve.windows(2) {
            prop_assert!(!pair[1].efficient || pair[1].detectable < pair[0].detectable || !pair[0].efficient);
        }
    }
}
