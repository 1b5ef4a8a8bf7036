//! The grid of scenarios, and what the comparison says of each over many replicates.

use serde::Serialize;

use super::synthetic::{Drawn, Grade, Kind, Scenario, draw};
use super::{Ask, seed_of, spread};
use crate::compare::{MetricComparison, compare};
use crate::model::Change;

/// Replicates that one thread takes at a time.
const BLOCK: u64 = 50;

/// True differences, in margins.
const DELTAS: [f64; 5] = [0.0, -0.5, -1.0, -2.0, 1.0];

/// What the comparison said of one scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Replicates.
    pub replicates: u64,
    /// Called regressed.
    pub regressed: u64,
    /// Called equivalent.
    pub equivalent: u64,
    /// Called improved.
    pub improved: u64,
    /// With an interval.
    pub intervals: u64,
    /// With the truth in it.
    pub covered: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.replicates += other.replicates;
        self.regressed += other.regressed;
        self.equivalent += other.equivalent;
        self.improved += other.improved;
        self.intervals += other.intervals;
        self.covered += other.covered;
    }
}

/// The scenarios of methods 1.17. Judges that err belong to yes and no with one trial of independent examples; the rest
/// is crossed whole.
pub fn scenarios(quick: bool) -> Vec<Scenario> {
    let sizes: &[u32] = if quick { &[20, 60] } else { &[20, 60, 200] };
    let deltas: &[f64] = if quick { &[0.0, -1.0, -2.0] } else { &DELTAS };
    let mut found = Vec::new();
    for kind in [Kind::Binary, Kind::Ordinal, Kind::ZeroInflated, Kind::Cost] {
        for &units in sizes {
            for &delta in deltas {
                for trials in [1, 3] {
                    for icc in [0.0, 0.3] {
                        for weighted in [false, true] {
                            // The quick grid turns one screw at a time.
                            let turned = u32::from(trials > 1) + u32::from(icc > 0.0) + u32::from(weighted);
                            let one_screw = turned == 0 || (turned == 1 && units == 60 && delta == 0.0);
                            if !quick || one_screw {
                                let grade = Grade::Perfect;
                                found.push(Scenario { units, trials, kind, icc, weighted, delta, grade });
                            }
                        }
                    }
                }
                for grade in [Grade::Noisy, Grade::Biased] {
                    if kind == Kind::Binary && (!quick || delta == 0.0) {
                        found.push(Scenario { units, trials: 1, kind, icc: 0.0, weighted: false, delta, grade });
                    }
                }
            }
        }
    }
    found
}

/// Runs every scenario.
pub fn run(scenarios: &[Scenario], ask: Ask) -> Vec<Tally> {
    let blocks = ask.replicates.div_ceil(BLOCK) as usize;
    let parts = spread(scenarios.len() * blocks, ask.threads, |place| {
        let (number, block) = (place / blocks, (place % blocks) as u64);
        let mut tally = Tally::default();
        for replicate in block * BLOCK..((block + 1) * BLOCK).min(ask.replicates) {
            if let Some(scenario) = scenarios.get(number) {
                tally.add(&one(scenario, seed_of(ask.seed, number as u64, replicate)));
            }
        }
        (number, tally)
    });
    let mut tallies = vec![Tally::default(); scenarios.len()];
    for (number, part) in parts {
        if let Some(tally) = tallies.get_mut(number) {
            tally.add(&part);
        }
    }
    tallies
}

/// One replicate: two runs drawn, compared as a user's are.
fn one(scenario: &Scenario, seed: u64) -> Tally {
    let Drawn { baseline, candidate, metas } = draw(scenario, seed, false);
    let found = compare(&baseline, &candidate, &metas, &scenario.policy(), &[]);
    let Some(metric) = metric_of(scenario, &found.metrics, &found.measures) else {
        return Tally { replicates: 1, ..Tally::default() };
    };
    let covered = covers(scenario, metric);
    let is = |change: Change| u64::from(metric.change == change);
    Tally {
        replicates: 1,
        regressed: is(Change::Regressed),
        equivalent: is(Change::Equivalent),
        improved: is(Change::Improved),
        intervals: u64::from(covered.is_some()),
        covered: u64::from(covered == Some(true)),
    }
}

/// The metric that a scenario is about.
pub fn metric_of<'a>(
    scenario: &Scenario,
    metrics: &'a [MetricComparison],
    measures: &'a [MetricComparison],
) -> Option<&'a MetricComparison> {
    if scenario.kind == Kind::Cost {
        return measures.iter().find(|measure| measure.name == "cost_usd");
    }
    metrics.first()
}

/// Whether the interval that is shown holds the truth; `None` without an interval.
fn covers(scenario: &Scenario, metric: &MetricComparison) -> Option<bool> {
    let (estimate, truth) = match scenario.kind {
        Kind::Cost => (metric.ratio.as_ref()?, (-scenario.truth()).exp()),
        _ => (&metric.difference, scenario.truth()),
    };
    estimate.interval.as_ref().map(|interval| interval.lo <= truth && truth <= interval.hi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_grid_is_crossed_and_the_quick_one_is_part_of_it() {
        let full = scenarios(false);
        assert_eq!(full.len(), 4 * 3 * 5 * 8 + 3 * 5 * 2);
        let quick = scenarios(true);
        assert!(quick.iter().all(|scenario| full.contains(scenario)), "{}", quick.len());
        assert!(quick.len() < 60, "{}", quick.len());
    }

    #[test]
    fn results_do_not_depend_on_the_threads() {
        let scenarios: Vec<Scenario> = scenarios(true).into_iter().take(3).collect();
        let run = |threads| run(&scenarios, Ask { quick: true, replicates: 7, seed: 3, threads });
        assert_eq!(run(1), run(4));
        assert!(run(1).iter().all(|tally| tally.replicates == 7));
    }
}
