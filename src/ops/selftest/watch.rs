//! Looking again and again: runs that stop when decided, and alarms on a stream in which nothing happens.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::grid::metric_of;
use super::synthetic::{Drawn, Kind, Scenario, draw};
use super::{Ask, Check, most, seed_of, spread};
use crate::compare::compare;
use crate::model::Change;
use crate::stats::{Gather, e_detector, e_process};

/// One-sided error of the gate.
const ALPHA: f64 = 0.05;
/// Looks at a stream.
const LOOKS: usize = 1_000;
/// Values that an alarm must wait for on average while nothing changes.
const WAIT: f64 = 200.0;
/// Fewest streams whose waits are averaged: one wait varies as much as it is long.
const STREAMS: u64 = 1_000;
/// Share of good values in the stream, and the bet against a lower one.
const STREAM: (f64, f64) = (0.85, 0.9);

/// All checks, with the number of comparisons made.
pub fn checks(ask: Ask) -> (Vec<Check>, u64) {
    let mut found = Vec::new();
    let runs = runs(ask.quick);
    let mut comparisons = 0;
    for (number, scenario) in runs.iter().enumerate() {
        let seed = |replicate| seed_of(ask.seed, 1_000_000 + number as u64, replicate as u64);
        let verdicts = spread(ask.replicates as usize, ask.threads, |replicate| verdict(scenario, seed(replicate)));
        comparisons += ask.replicates;
        found.extend(ever(scenario, &verdicts, ask));
    }
    found.extend(alarms(ask));
    found.extend(waits(ask));
    (found, comparisons)
}

/// Runs that are looked at after every example: one comparison at the end says what was ever found, because the p-values
/// are the least that any look gave.
fn runs(quick: bool) -> Vec<Scenario> {
    let base = Scenario::plain(if quick { 100 } else { 1_000 });
    let mut found = vec![base, Scenario { delta: -1.0, ..base }, Scenario { kind: Kind::Cost, ..base }];
    if !quick {
        let clustered = Scenario { units: 300, icc: 0.3, weighted: true, trials: 3, ..base };
        found.extend([clustered, Scenario { delta: -1.0, ..clustered }, Scenario { kind: Kind::ZeroInflated, ..base }]);
    }
    found
}

/// What was ever found of a run that is looked at: regressed, equivalent.
fn verdict(scenario: &Scenario, seed: u64) -> (bool, bool) {
    let Drawn { baseline, candidate, metas } = draw(scenario, seed, true);
    let found = compare(&baseline, &candidate, &metas, &scenario.policy(), &[]);
    let metric = metric_of(scenario, &found.metrics, &found.measures);
    // A regression that a later example showed to be trifling would have ended the run all the same.
    let worse = metric.and_then(|metric| metric.p_worse).is_some_and(|p| p <= ALPHA);
    (worse, metric.is_some_and(|metric| metric.change == Change::Equivalent))
}

fn ever(scenario: &Scenario, verdicts: &[(bool, bool)], ask: Ask) -> Option<Check> {
    let n = verdicts.len().max(1) as f64;
    let (what, count) = if scenario.delta == 0.0 {
        ("ever regressed, a look per example", verdicts.iter().filter(|(regressed, _)| *regressed).count())
    } else {
        ("ever equivalent at the margin", verdicts.iter().filter(|(_, equivalent)| *equivalent).count())
    };
    let rate = count as f64 / n;
    let bound = most(ALPHA, ask.replicates);
    Check::of(what, scenario.kind.word().to_owned(), false, bound, rate, vec![(rate, scenario.name())])
}

/// How often an e-process against "no worse than it is" ever alarms.
fn alarms(ask: Ask) -> Option<Check> {
    let (rate, bet) = STREAM;
    let fired = spread(ask.replicates as usize, ask.threads, |replicate| {
        let values = stream(seed_of(ask.seed, 2_000_000, replicate as u64), LOOKS);
        e_process(&values, rate, &[0.3, bet, 2.0], 1.0 / ALPHA).is_some_and(|found| found.alarm.is_some())
    });
    let share = fired.iter().filter(|fired| **fired).count() as f64 / fired.len().max(1) as f64;
    let figures = vec![(share, format!("{LOOKS} looks at a stream of {rate}"))];
    let bound = most(ALPHA, ask.replicates);
    Check::of("e-process ever alarms", "stream".to_owned(), false, bound, share, figures)
}

/// How long e-detectors wait on average before they alarm for nothing. Waits are cut, which can only shorten their mean.
fn waits(ask: Ask) -> Option<Check> {
    let cut = 10 * WAIT as usize;
    let mut figures = Vec::new();
    for (gather, name) in [(Gather::Sum, "e-SR"), (Gather::Most, "e-CUSUM")] {
        let streams = ask.replicates.max(STREAMS) as usize;
        let waits = spread(streams, ask.threads, |replicate| {
            let values = stream(seed_of(ask.seed, 3_000_000, replicate as u64), cut);
            let found = e_detector(&values, STREAM.0, STREAM.1, gather, WAIT);
            found.and_then(|found| found.alarm).map_or(cut, |place| place + 1) as f64
        });
        let mean = waits.iter().sum::<f64>() / waits.len().max(1) as f64;
        figures.push((mean, format!("{name} at {WAIT}")));
    }
    let overall = figures.iter().map(|(mean, _)| *mean).sum::<f64>() / figures.len() as f64;
    Check::of("mean wait for a false alarm", "stream".to_owned(), true, WAIT, overall, figures)
}

fn stream(seed: u64, length: usize) -> Vec<f64> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    (0..length).map(|_| f64::from(random.random_bool(STREAM.0))).collect()
}
