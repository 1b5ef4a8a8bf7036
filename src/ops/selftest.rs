//! `assize selftest`: whether the statistics keep their promises: on synthetic runs whose truth is known, on the user's
//! own run with its labels permuted, and on reference cases.
//!
//! Every verdict here is `compare`'s, reached by the functions that a user's verdict takes.

mod cases;
mod grid;
mod planted;
mod rules;
mod shuffle;
mod synthetic;
mod watch;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::Serialize;

use super::exit::{Done, Exit};
use super::project::{Project, World};
pub use cases::{CasesDone, MethodCases};
pub use grid::Tally;
pub use shuffle::{MetricRates, Shuffled};
pub use synthetic::Scenario;

/// Replicates of the full simulation (methods 1.17).
pub const FULL: u64 = 2_000;
/// Replicates of the quick one.
pub const QUICK: u64 = 100;

/// Replicates of the second draw for each of the first.
const AGAIN: u64 = 20;

/// What is asked of the simulation.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The small grid.
    pub quick: bool,
    /// Replicates of each scenario.
    pub replicates: u64,
    /// Seed of everything that draws.
    pub seed: u64,
    /// Threads; results do not depend on them.
    pub threads: usize,
}

/// One promise, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What is promised.
    pub what: &'static str,
    /// For which scenarios.
    pub group: String,
    /// Scenarios in the group.
    pub scenarios: u64,
    /// The figure over all of them.
    pub overall: f64,
    /// The figure of the scenario that does worst.
    pub worst: f64,
    /// That scenario.
    pub worst_scenario: String,
    /// What the worst must keep to.
    pub bound: f64,
    /// Whether the figure must be at least the bound; else at most.
    pub at_least: bool,
    /// Whether it does; by the second draw, where there was one.
    pub pass: bool,
    /// The second draw of the scenarios that were beyond the bound in the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
    /// Scenarios beyond the bound, by name.
    #[serde(skip)]
    beyond: Vec<String>,
}

/// Scenarios drawn a second time, with other seeds and more often. Hundreds of promises are looked at, so that some are
/// beyond three standard errors by chance; only what is so again is broken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Again {
    /// Replicates of each.
    pub replicates: u64,
    /// The figure of the one that does worst.
    pub worst: f64,
    /// That scenario.
    pub worst_scenario: String,
    /// What it must keep to: the line that methods 1.17 draws for 2,000 replicates.
    pub bound: f64,
}

impl Check {
    /// A check of figures with their scenarios' names; `None` without any.
    fn of(
        what: &'static str,
        group: String,
        at_least: bool,
        bound: f64,
        overall: f64,
        figures: Vec<(f64, String)>,
    ) -> Option<Self> {
        let scenarios = figures.len() as u64;
        // A share that is exactly at its bound keeps it, whatever the rounding.
        let keeps = |figure: f64| if at_least { figure >= bound - 1e-12 } else { figure <= bound + 1e-12 };
        let beyond = figures.iter().filter(|(figure, _)| !keeps(*figure)).map(|(_, name)| name.clone()).collect();
        let (worst, worst_scenario) = figures.into_iter().reduce(|left, right| {
            let right_is_worse = if at_least { right.0 < left.0 } else { right.0 > left.0 };
            if right_is_worse { right } else { left }
        })?;
        let pass = keeps(worst);
        let again = None;
        Some(Self { what, group, scenarios, overall, worst, worst_scenario, bound, at_least, pass, again, beyond })
    }
}

/// What the simulation found.
#[derive(Clone, Debug, Serialize)]
pub struct Simulated {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// Replicates of each scenario.
    pub replicates: u64,
    /// Seed.
    pub seed: u64,
    /// Scenarios.
    pub scenarios: u64,
    /// Comparisons made.
    pub comparisons: u64,
    /// The promises.
    pub checks: Vec<Check>,
    /// Every scenario of the grid with what was found.
    pub grid: Vec<Found>,
    /// Promises kept.
    pub passed: u64,
    /// Promises broken.
    pub failed: u64,
}

/// One scenario with what was found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The scenario.
    pub scenario: Scenario,
    /// What the comparison said of it.
    pub tally: Tally,
}

/// Runs the simulation; fails as a gate does when a promise is broken.
pub fn simulate(ask: Ask) -> (Simulated, Exit) {
    let scenarios = grid::scenarios(ask.quick);
    let tallies = grid::run(&scenarios, ask);
    let mut checks = rules::checks(&scenarios, &tallies, ask);
    let drawn_again = draw_again(&mut checks, &scenarios, ask);
    let (watched, comparisons) = watch::checks(ask);
    checks.extend(watched);
    let (explained, tries) = planted::checks(ask);
    checks.extend(explained);
    let failed = checks.iter().filter(|check| !check.pass).count() as u64;
    let done = Simulated {
        format: 1,
        replicates: ask.replicates,
        seed: ask.seed,
        scenarios: scenarios.len() as u64,
        comparisons: comparisons + tries + drawn_again + scenarios.len() as u64 * ask.replicates,
        passed: checks.len() as u64 - failed,
        failed,
        checks,
        grid: scenarios.into_iter().zip(tallies).map(|(scenario, tally)| Found { scenario, tally }).collect(),
    };
    let exit = if failed == 0 { Exit::Pass } else { Exit::GateFailed };
    (done, exit)
}

/// Draws what is beyond its bound a second time, which decides; gives the comparisons made.
fn draw_again(checks: &mut [Check], scenarios: &[Scenario], ask: Ask) -> u64 {
    let beyond: Vec<&String> = checks.iter().flat_map(|check| &check.beyond).collect();
    let is_beyond = |scenario: &&Scenario| beyond.iter().any(|name| name.starts_with(&scenario.name()));
    let picked: Vec<Scenario> = scenarios.iter().filter(is_beyond).copied().collect();
    let replicates = (AGAIN * ask.replicates).clamp(AGAIN * QUICK, AGAIN * FULL);
    let second = Ask { replicates, seed: seed_of(ask.seed, u64::MAX, 1), ..ask };
    let tallies = grid::run(&picked, second);
    let found = rules::checks(&picked, &tallies, Ask { replicates: FULL, ..second });
    for check in checks.iter_mut().filter(|check| !check.pass) {
        let same = |other: &&Check| other.what == check.what && other.group == check.group;
        if let Some(other) = found.iter().find(same) {
            check.pass = other.pass;
            let worst_scenario = other.worst_scenario.clone();
            check.again = Some(Again { replicates, worst: other.worst, worst_scenario, bound: other.bound });
        }
    }
    picked.len() as u64 * replicates
}

/// Permutes the labels of a stored run, or of two as `BASE..CANDIDATE`.
pub async fn permute(project: &Project, world: &World, subject: &str, ask: Ask) -> Done<(Shuffled, Exit)> {
    let done = shuffle::permute(project, world, subject, ask).await?;
    let exit = if done.pass { Exit::Pass } else { Exit::GateFailed };
    Ok((done, exit))
}

/// Runs a folder of reference cases; fails as a gate does when one disagrees or cannot be read. A method that nothing
/// answers is a fault of the call.
pub fn run_cases(world: &World, folder: &std::path::Path) -> Done<(CasesDone, Exit)> {
    let done = cases::run(&world.here.join(folder))?;
    let exit = match (done.unknown.is_empty(), done.disagree + done.unread) {
        (false, _) => Exit::Usage,
        (true, 0) => Exit::Pass,
        (true, _) => Exit::GateFailed,
    };
    Ok((done, exit))
}

/// Threads of this machine.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` for 0, 1, ..., `count` - 1 on some threads; answers stand in that order, whatever the threads.
fn spread<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= count {
                        return;
                    }
                    let answer = work(place);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((place, answer));
                }
            });
        }
    });
    let mut answers = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// The seed of one replicate of one scenario: neighbours share nothing.
fn seed_of(seed: u64, scenario: u64, replicate: u64) -> u64 {
    // SplitMix64's finalizer.
    let mut mixed = seed
        .wrapping_add(scenario.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(replicate.wrapping_mul(0xD1B5_4A32_D192_ED03));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The greatest share of `n` tries that is still no sign of a true share above `share`: three standard errors (methods
/// 1.17), and below a thousand tries, where the normal curve says too little, the same tail of the binomial.
fn most(share: f64, n: u64) -> f64 {
    const TAIL: f64 = 0.001_35;
    if n >= 1_000 {
        return share + 3.0 * (share * (1.0 - share) / n as f64).sqrt();
    }
    let mut chance = (1.0 - share).powf(n as f64);
    let (mut below, mut count) = (chance, 0_u64);
    while below < 1.0 - TAIL && count < n {
        chance *= (n - count) as f64 / (count + 1) as f64 * share / (1.0 - share);
        below += chance;
        count += 1;
    }
    count as f64 / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scenario that was beyond its bound in a thousand draws, and the bound that the second draw has.
    #[test]
    fn what_is_beyond_its_bound_by_chance_is_drawn_again() {
        let named = |scenario: &&Scenario| scenario.name().starts_with("binary, n 20, K 1, ICC 0, ");
        let picked: Vec<Scenario> = grid::scenarios(true).iter().filter(named).copied().collect();
        let ask = Ask { quick: true, replicates: 100, seed: 4, threads: 2 };
        let mut checks = rules::checks(&picked, &grid::run(&picked, ask), ask);
        assert!(checks.iter().all(|check| check.pass && check.beyond.is_empty()), "{checks:#?}");
        let check = &mut checks[0];
        let unlucky =
            Check::of(check.what, check.group.clone(), false, 0.1, 0.2, vec![(0.2, picked[0].name())]).unwrap();
        assert!(!unlucky.pass);
        let mut checks = vec![unlucky];
        assert_eq!(draw_again(&mut checks, &picked, ask), 2_000);
        let again = checks[0].again.as_ref().unwrap();
        assert!(checks[0].pass && again.worst < again.bound && again.replicates == 2_000, "{again:?}");
        assert!((again.bound - 0.0646).abs() < 1e-4);
    }

    #[test]
    fn bounds_leave_room_for_chance_and_no_more() {
        // scipy.stats.binom.ppf(1 - 0.00135, n, 0.05) for n = 20, 100, 500.
        assert_eq!([20, 100, 500].map(|n| (most(0.05, n) * n as f64).round()), [5.0, 13.0, 41.0]);
        assert!((most(0.05, 2_000) - 0.0646).abs() < 1e-4);
    }
}
