//! "Different" and "different enough to matter" for somebody who looks again and again: the tests of `margin` from
//! evidence that may be looked at after every unit.
//!
//! Units come in the order in which they were tried, drawn by chance before anything was known of them. Each is a cluster of
//! weight `w` with weighted difference `z`; the difference sought is `E z / E w`. Against a shift `m` what counts is the
//! sign of `E (z - m w)`, so that clusters and weights need no approximation on a bounded scale. One-sided p-values are the least
//! seen so far, bounds the tightest: what was once shown stays shown.

use super::{
    Bounds, Estimate, Interval, MarginTest, Status,
    sequence::{Bets, Spread, asymptotic_rho},
};

/// Units below which the asymptotic sequence says nothing (methods 1.14).
pub const ASYMPTOTIC_UNITS: u64 = 30;

/// What is known of the units before the first is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Horizon {
    /// Greatest weight of a unit.
    pub heaviest: f64,
    /// How many units there are at most; where the asymptotic sequence is tuned to.
    pub units: u64,
}

/// Weighted difference and weight of one unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// Sum of weights times differences, more being better.
    pub difference: f64,
    /// Sum of weights, above 0 and at most the heaviest.
    pub weight: f64,
}

/// The units in the order of `clusters`, whose numbers are the order in which they were tried.
pub fn units(differences: &[f64], weights: &[f64], clusters: &[usize]) -> Vec<Unit> {
    let mut found = std::collections::BTreeMap::new();
    for ((difference, weight), cluster) in differences.iter().zip(weights).zip(clusters) {
        let unit = found.entry(*cluster).or_insert(Unit { difference: 0.0, weight: 0.0 });
        unit.difference += weight * difference;
        unit.weight += weight;
    }
    found.into_values().collect()
}

/// Tests of the difference at one-sided error `alpha`, whenever it is looked at.
///
/// `range`: no single difference can exceed it in size; without one the asymptotic sequence is used. `None` without a
/// unit, with one heavier than the horizon allows, and from the asymptotic sequence for fewer than [`ASYMPTOTIC_UNITS`] or
/// while nothing varied.
pub fn anytime_margin(
    units: &[Unit],
    horizon: Horizon,
    range: Option<f64>,
    margin: f64,
    alpha: f64,
) -> Option<MarginTest> {
    let fits = |unit: &Unit| unit.weight > 0.0 && unit.weight <= horizon.heaviest * (1.0 + 1e-9);
    if units.is_empty() || !units.iter().all(fits) || !units.iter().all(|unit| unit.difference.is_finite()) {
        return None;
    }
    let against = |shift: f64| match range {
        Some(range) => Some(bounded(units, horizon.heaviest, range, shift, alpha)),
        None => asymptotic(units, horizon, shift, alpha),
    };
    let (zero, low, high) = (against(0.0)?, against(-margin)?, against(margin)?);
    let reach = range.unwrap_or_else(|| widest(units));
    let bounds = Bounds {
        lower: border(reach, alpha, |shift| against(shift).map(|seen| seen.above)),
        upper: -border(reach, alpha, |shift| against(-shift).map(|seen| seen.below)),
    };
    Some(MarginTest {
        bounds,
        p_worse: Some(zero.below),
        p_better: Some(zero.above),
        p_not_inferior: Some(low.above),
        p_not_superior: Some(high.below),
        p_material_worse: Some(low.below),
        p_material_better: Some(high.above),
        margin,
        alpha,
    })
}

/// The difference with its interval for somebody who looks again and again, at a two-sided level.
pub fn anytime_difference(units: &[Unit], horizon: Horizon, range: Option<f64>, level: f64) -> Estimate {
    let method = if range.is_some() { "anytime_empirical_bernstein" } else { "anytime_asymptotic" };
    let n = units.len() as u64;
    let weight: f64 = units.iter().map(|unit| unit.weight).sum();
    if weight.is_nan() || weight <= 0.0 {
        return Estimate::absent(Status::Empty, n, n, method);
    }
    let point = units.iter().map(|unit| unit.difference).sum::<f64>() / weight;
    let test = anytime_margin(units, horizon, range, 0.0, 0.5 * (1.0 - level));
    Estimate {
        status: if test.is_some() { Status::Ok } else { Status::Insufficient },
        n,
        clusters: n,
        estimate: Some(point).filter(|point| point.is_finite()),
        interval: test.map(|test| Interval::new(test.bounds.lower, test.bounds.upper, level, method)),
        method: method.to_owned(),
        ..Estimate::default()
    }
}

/// One-sided p-values of "the difference is not below / not above the shift".
#[derive(Clone, Copy)]
struct Seen {
    below: f64,
    above: f64,
}

impl Seen {
    const NOTHING: Self = Self { below: 1.0, above: 1.0 };
}

/// The empirical Bernstein bets on `(z - m w) / heaviest`, which lies in `[-(R + m), R - m]` because no part of a unit
/// can differ by more than R and none weighs more than the heaviest.
fn bounded(units: &[Unit], heaviest: f64, range: f64, shift: f64, alpha: f64) -> Seen {
    // Beyond the range nothing needs to be shown.
    if shift.abs() >= range {
        return if shift > 0.0 { Seen { below: 0.0, above: 1.0 } } else { Seen { below: 1.0, above: 0.0 } };
    }
    let (width, limit) = (2.0 * range, (range + shift) / (2.0 * range));
    let mut bets = Bets::new(2.0 * alpha);
    let (mut below, mut above) = (0.0_f64, 0.0_f64);
    for unit in units {
        let value = (unit.difference - shift * unit.weight) / heaviest;
        bets.push(((value + range + shift) / width).clamp(0.0, 1.0));
        below = below.max(bets.below(limit));
        above = above.max(bets.above(limit));
    }
    Seen { below: (-below).exp(), above: (-above).exp() }
}

/// The asymptotic sequence solved for its error.
fn asymptotic(units: &[Unit], horizon: Horizon, shift: f64, alpha: f64) -> Option<Seen> {
    let tuned = (0.5 * horizon.units as f64).max(ASYMPTOTIC_UNITS as f64);
    let square = asymptotic_rho(2.0 * alpha, tuned).powi(2);
    let mut spread = Spread::default();
    let mut seen = None;
    for unit in units {
        spread.push((unit.difference - shift * unit.weight) / horizon.heaviest);
        let (t, sd) = (spread.count(), spread.sd());
        if t < ASYMPTOTIC_UNITS as f64 || sd <= 0.0 {
            continue;
        }
        let grown = t.mul_add(square, 1.0);
        let z = spread.mean() / sd;
        let p = (0.5 * grown.sqrt() * (-z * z * t * t * square / (2.0 * grown)).exp()).min(1.0);
        let before = seen.unwrap_or(Seen::NOTHING);
        seen = Some(if z < 0.0 {
            Seen { below: before.below.min(p), ..before }
        } else {
            Seen { above: before.above.min(p), ..before }
        });
    }
    seen
}

/// The greatest shift that the difference is shown to be above, by halving; `-reach` when none is.
fn border(reach: f64, alpha: f64, p_above: impl Fn(f64) -> Option<f64>) -> f64 {
    let shown = |shift: f64| p_above(shift).is_some_and(|p| p <= alpha);
    let (mut low, mut high) = (-reach, reach);
    for _ in 0..44 {
        let middle = 0.5 * (low + high);
        if shown(middle) { low = middle } else { high = middle }
    }
    low
}

/// The greatest difference of a unit, and some room.
fn widest(units: &[Unit]) -> f64 {
    4.0 * units.iter().map(|unit| (unit.difference / unit.weight).abs()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;
    use crate::stats::{Finding, empirical_bernstein_sequence};

    fn plain(differences: &[f64]) -> Vec<Unit> {
        differences.iter().map(|difference| Unit { difference: *difference, weight: 1.0 }).collect()
    }

    const ONE: Horizon = Horizon { heaviest: 1.0, units: 500 };

    #[test]
    fn equal_units_give_the_confidence_sequence_itself() {
        let mut random = Pcg64Mcg::seed_from_u64(4);
        let differences: Vec<f64> = (0..300).map(|_| f64::from(random.random_range(-1..=1_i32)) * 0.7 + 0.2).collect();
        let scaled: Vec<f64> = differences.iter().map(|d| (d + 1.0) / 2.0).collect();
        let (lo, hi) = empirical_bernstein_sequence(&scaled, 0.1).intervals[299].unwrap();
        let test = anytime_margin(&plain(&differences), ONE, Some(1.0), 0.1, 0.05).unwrap();
        assert!((test.bounds.lower - (2.0 * lo - 1.0)).abs() < 1e-9, "{test:?}");
        assert!((test.bounds.upper - (2.0 * hi - 1.0)).abs() < 1e-9, "{test:?}");
        for (p, by_bound) in [
            (test.p_better, test.bounds.lower > 0.0),
            (test.p_worse, test.bounds.upper < 0.0),
            (test.p_not_inferior, test.bounds.lower > -0.1),
            (test.p_not_superior, test.bounds.upper < 0.1),
        ] {
            assert_eq!(p.unwrap() <= 0.05, by_bound);
        }
    }

    #[test]
    fn clusters_and_weights_keep_the_error_under_continuous_looking() {
        // Clusters of one to four examples that share an effect, weights one to five; no true difference.
        let tries = 300_u64;
        let found_worse = |seed: u64| {
            let mut random = Pcg64Mcg::seed_from_u64(seed);
            let (mut d, mut w, mut c) = (Vec::new(), Vec::new(), Vec::new());
            for cluster in 0..200 {
                let shared = f64::from(random.random_range(-1..=1_i32));
                for _ in 0..random.random_range(1..=4) {
                    let own = f64::from(random.random_range(-1..=1_i32));
                    d.push(if random.random_bool(0.5) { shared } else { own });
                    w.push(f64::from(random.random_range(1..=5_i32)));
                    c.push(cluster);
                }
            }
            let all = units(&d, &w, &c);
            let horizon = Horizon { heaviest: 20.0, units: 200 };
            anytime_margin(&all, horizon, Some(1.0), 0.0, 0.05).unwrap().p_worse.unwrap() <= 0.05
        };
        let rate = (0..tries).filter(|seed| found_worse(*seed)).count() as f64 / tries as f64;
        assert!(rate <= 0.05 + 3.0 * (0.05_f64 * 0.95 / tries as f64).sqrt(), "{rate}");
    }

    #[test]
    fn real_changes_are_found_and_small_ones_shown_small() {
        let worse: Vec<f64> = (0..400).map(|i| if i % 5 == 0 { -1.0 } else { 0.0 }).collect();
        assert_eq!(anytime_margin(&plain(&worse), ONE, Some(1.0), 0.05, 0.05).unwrap().finding(), Finding::Worse);
        let same: Vec<f64> =
            (0..1_500).map(|i| if i % 40 == 0 { f64::from(i % 80) / 20.0 - 1.0 } else { 0.0 }).collect();
        assert_eq!(anytime_margin(&plain(&same), ONE, Some(1.0), 0.05, 0.05).unwrap().finding(), Finding::Equivalent);
        let dearer: Vec<f64> = (0..200).map(|i| 0.3 + 0.1 * f64::from(i % 7)).collect();
        assert_eq!(anytime_margin(&plain(&dearer), ONE, None, 0.05, 0.05).unwrap().finding(), Finding::Better);
    }

    #[test]
    fn nothing_varied_is_no_certainty() {
        assert_eq!(anytime_margin(&[], ONE, Some(1.0), 0.05, 0.05), None);
        assert_eq!(anytime_margin(&plain(&[0.0; 300]), ONE, None, 0.05, 0.05), None);
        assert_eq!(anytime_margin(&plain(&[0.1, 0.3]), ONE, None, 0.05, 0.05), None);
        let heavy = [Unit { difference: 1.0, weight: 3.0 }];
        assert_eq!(anytime_margin(&heavy, ONE, Some(1.0), 0.05, 0.05), None);
        let few = anytime_margin(&plain(&[0.0; 10]), ONE, Some(1.0), 0.05, 0.05).unwrap();
        assert_eq!(few.finding(), Finding::Open);
        assert_eq!(anytime_difference(&[], ONE, Some(1.0), 0.95).status, Status::Empty);
        assert_eq!(anytime_difference(&plain(&[0.2; 3]), ONE, None, 0.95).status, Status::Insufficient);
    }
}
