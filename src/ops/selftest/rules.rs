//! What the grid must keep to: error rates, coverage, and the power that the planner promised.

use super::grid::Tally;
use super::synthetic::{Drawn, Grade, Kind, Scenario, draw};
use super::{Ask, Check, most, seed_of};
use crate::stats::{Plan, t_power};

/// One-sided error of the gate.
const ALPHA: f64 = 0.05;
/// Standard errors of the simulation that a figure may be off.
const ERRORS: f64 = 3.0;
/// Least coverage of a nominal 95 %.
const COVERAGE: f64 = 0.93;
/// Units from which coverage is promised (methods 1.17 asks for it from ten clusters).
const COVERED_FROM: u32 = 10;
/// Examples of the pilot that the planner gets.
const PILOT: u32 = 20_000;

/// All checks of the grid, group by group. Unequal weights stand apart: they leave fewer examples than there are.
pub fn checks(scenarios: &[Scenario], tallies: &[Tally], ask: Ask) -> Vec<Check> {
    let mut found = Vec::new();
    for kind in [Kind::Binary, Kind::Ordinal, Kind::ZeroInflated, Kind::Cost] {
        for weighted in [false, true] {
            let own = |scenario: &Scenario| scenario.kind == kind && scenario.weighted == weighted;
            let all: Vec<(&Scenario, &Tally)> =
                scenarios.iter().zip(tallies).filter(|(scenario, _)| own(scenario)).collect();
            let group = format!("{}{}", kind.word(), if weighted { ", weights 20:1" } else { "" });
            let at_margin = |s: &Scenario| s.delta.abs() == 1.0 && s.grade == Grade::Perfect;
            let none = "regressed where nothing changed";
            found.extend(share(none, &group, &all, ask, |s| s.delta == 0.0, |t| t.regressed));
            found.extend(share("equivalent at the margin", &group, &all, ask, at_margin, |t| t.equivalent));
            found.extend(share("improved where it got worse", &group, &all, ask, |s| s.delta < 0.0, |t| t.improved));
            found.extend(coverage(&group, &all, ask));
            found.extend(power(&group, &all, ask));
        }
    }
    found
}

/// A share that must not be above the error of the gate.
fn share(
    what: &'static str,
    group: &str,
    all: &[(&Scenario, &Tally)],
    ask: Ask,
    about: impl Fn(&Scenario) -> bool,
    count: fn(&Tally) -> u64,
) -> Option<Check> {
    let picked: Vec<&(&Scenario, &Tally)> = all.iter().filter(|(scenario, _)| about(scenario)).collect();
    let rate = |tally: &Tally| count(tally) as f64 / tally.replicates.max(1) as f64;
    let overall = mean(picked.iter().map(|(_, tally)| rate(tally)));
    let figures = picked.iter().map(|(scenario, tally)| (rate(tally), scenario.name())).collect();
    let bound = most(ALPHA, ask.replicates);
    Check::of(what, group.to_owned(), false, bound, overall, figures)
}

/// How often the shown interval holds the truth. A small simulation cannot tell 93 % from 95 %, so its bound is lower.
fn coverage(group: &str, all: &[(&Scenario, &Tally)], ask: Ask) -> Option<Check> {
    let picked: Vec<&(&Scenario, &Tally)> =
        all.iter().filter(|(scenario, tally)| scenario.units >= COVERED_FROM && tally.intervals > 0).collect();
    let rate = |tally: &Tally| tally.covered as f64 / tally.intervals as f64;
    let overall = mean(picked.iter().map(|(_, tally)| rate(tally)));
    let figures = picked.iter().map(|(scenario, tally)| (rate(tally), scenario.name())).collect();
    // A thousand tries and more can tell.
    let small = ask.replicates < 1_000;
    let bound = if small { COVERAGE.min(1.0 - most(1.0 - COVERAGE, ask.replicates)) } else { COVERAGE };
    Check::of("interval holds the truth", group.to_owned(), true, bound, overall, figures)
}

/// How far the share of regressions found is from what the planner said, in standard errors of the simulation.
fn power(group: &str, all: &[(&Scenario, &Tally)], ask: Ask) -> Option<Check> {
    let plain =
        |s: &Scenario| s.delta == -2.0 && s.icc == 0.0 && !s.weighted && s.grade == Grade::Perfect && s.units >= 60;
    let mut off = Vec::new();
    for (scenario, tally) in all.iter().filter(|(scenario, _)| plain(scenario)) {
        let promised = promised(scenario, ask.seed)?;
        let found = tally.regressed as f64 / tally.replicates.max(1) as f64;
        let name = format!("{}: {found:.3}, planned {promised:.3}", scenario.name());
        // On the scale of the arc sine a standard error is the same everywhere, also next to 1.
        let turned = |share: f64| share.sqrt().asin();
        // In errors of as many replicates as were asked for: a second draw is larger and must not be held to more.
        let root = (tally.replicates.min(ask.replicates).max(1) as f64).sqrt();
        off.push((2.0 * root * (turned(found) - turned(promised)).abs(), name));
    }
    let overall = mean(off.iter().map(|(off, _)| *off));
    Check::of("power off the plan, in errors", group.to_owned(), false, ERRORS, overall, off)
}

/// The planner's power from the spread of a large pilot.
fn promised(scenario: &Scenario, seed: u64) -> Option<f64> {
    let pilot = Scenario { units: PILOT, ..*scenario };
    let Drawn { baseline, candidate, .. } = draw(&pilot, seed_of(seed, u64::MAX, 0), false);
    let value = |example: &crate::compare::ExampleResult| {
        let values = example.trials.values().filter_map(|trial| match scenario.kind {
            Kind::Cost => match trial.target.as_ref()? {
                crate::model::TargetOutcome::Output { cost_usd, .. } => *cost_usd,
                crate::model::TargetOutcome::Failed { .. } => None,
            },
            _ => trial.scores.values().flat_map(|draws| draws.values()).next()?.as_ref().ok()?.value.number(),
        });
        let mean = mean(values);
        if scenario.kind == Kind::Cost { mean.ln() } else { mean }
    };
    let pairs = baseline.examples.values().zip(candidate.examples.values());
    let differences: Vec<f64> = pairs.map(|(before, after)| value(after) - value(before)).collect();
    let centre = mean(differences.iter().copied());
    let sd = mean(differences.iter().map(|d| (d - centre) * (d - centre))).sqrt();
    let plan = Plan { alpha: ALPHA, power: 0.8, one_sided: true };
    t_power(scenario.truth().abs() / sd, u64::from(scenario.units), plan)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}
