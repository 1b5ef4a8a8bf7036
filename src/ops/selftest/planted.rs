//! A regression planted in one slice, and the same runs with their labels permuted: what is named, and how often.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::synthetic::{Drawn, Scenario, empty, example};
use super::{Ask, Check, most, seed_of, spread};
use crate::compare::{ExampleMeta, compare};
use crate::model::ExampleId;

/// Tries of the full simulation: each compares thousands of examples over hundreds of slices.
const TRIES: u64 = 200;
/// Tries of the quick one.
const QUICK_TRIES: u64 = 10;
/// Pass rate before, and how many of its examples the candidate loses in the planted slice.
const RATES: (f64, f64) = (0.85, 0.2);
/// The planted slice.
const PLANTED: (&str, u32) = ("intent", 3);
/// Share of tries in which the slice must be named, and in which anything may be with labels permuted.
const PROMISED: (f64, f64) = (0.95, 0.1);
/// False discovery rate at which slices are named.
const NAMED_RATE: f64 = 0.05;

/// Both checks, with the number of comparisons made.
pub fn checks(ask: Ask) -> (Vec<Check>, u64) {
    let tries = ask.replicates.min(if ask.quick { QUICK_TRIES } else { TRIES });
    let examples = if ask.quick { 1_000 } else { 2_000 };
    let told = spread(tries as usize, ask.threads, |replicate| {
        let seed = seed_of(ask.seed, 4_000_000, replicate as u64);
        (names(examples, seed, false), names(examples, seed, true))
    });
    let share = |count: usize| count as f64 / told.len().max(1) as f64;
    let wanted = format!("{} = {}", PLANTED.0, value(PLANTED));
    let found = share(told.iter().filter(|(named, _)| named.first() == Some(&wanted)).count());
    let chance = share(told.iter().filter(|(_, named)| !named.is_empty()).count());
    let whole = tries >= TRIES;
    let least = if whole { PROMISED.0 } else { 1.0 - most(1.0 - PROMISED.0, tries) };
    let greatest = if whole { PROMISED.1 } else { most(NAMED_RATE, tries) };
    let group = || format!("slices of {examples}");
    let of = |text: &str| format!("{text}, {tries} tries");
    let checks = [
        Check::of("planted slice is named first", group(), true, least, found, vec![(found, of("one slice worse"))]),
        Check::of(
            "a slice is named by chance",
            group(),
            false,
            greatest,
            chance,
            vec![(chance, of("labels permuted"))],
        ),
    ];
    (checks.into_iter().flatten().collect(), 2 * tries)
}

fn value((dimension, number): (&str, u32)) -> String {
    format!("{dimension}{number}")
}

/// The slices that a comparison names, the first first.
fn names(examples: u32, seed: u64, permuted: bool) -> Vec<String> {
    let scenario = Scenario::plain(examples);
    let Drawn { baseline, candidate, metas } = draw(&scenario, seed, permuted);
    let found = compare(&baseline, &candidate, &metas, &scenario.policy(), &[]);
    found.explanations.into_iter().flat_map(|one| one.named).map(|slice| slice.words).collect()
}

/// Two runs that mostly agree; the candidate is worse in one slice. `permuted`: each example changes sides by a coin.
fn draw(scenario: &Scenario, seed: u64, permuted: bool) -> Drawn {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let (mut baseline, mut candidate) =
        (empty("baseline", scenario, seed, false), empty("candidate", scenario, seed, false));
    let mut metas = Vec::new();
    for place in 0..scenario.units {
        let id = ExampleId::new(format!("e{place:04}"));
        let dimensions: BTreeMap<String, String> = [("intent", 5), ("tier", 3), ("channel", 4), ("region", 6)]
            .map(|(name, values)| (name.to_owned(), value((name, random.random_range(0..values)))))
            .into();
        let planted = dimensions.get(PLANTED.0).is_some_and(|found| *found == value(PLANTED));
        let before = random.random_bool(RATES.0);
        let again = if random.random_bool(0.2) { random.random_bool(RATES.0) } else { before };
        let after = again && !(planted && random.random_bool(RATES.1 / RATES.0));
        let sides = if permuted && random.random_bool(0.5) { (after, before) } else { (before, after) };
        for (run, passes) in [(&mut baseline, sides.0), (&mut candidate, sides.1)] {
            run.examples.insert(id.clone(), example(scenario.kind, &[f64::from(u8::from(passes))]));
        }
        metas.push(ExampleMeta {
            cluster: id.to_string(),
            id,
            weight: 1.0,
            stratum: None,
            probability: None,
            diverse: false,
            dimensions,
        });
    }
    for run in [&mut baseline, &mut candidate] {
        run.header.examples = u64::from(scenario.units);
    }
    Drawn { baseline, candidate, metas }
}
