//! Means of values that a sampling design chose: Hájek's ratio with the variance of that design (methods 1.10).
//!
//! Strata with finite population correction, units drawn each on its own (Poisson), clusters as units. The plain Hájek
//! of `cluster` is this with one stratum from an endless population.

use super::{
    Estimate, Interval, Status,
    careful::{self, Part, Spread},
    mean::equal_values,
    moments,
};

/// Kish's effective sample size below which one unit carries the mean and its error cannot be told.
const LEAST_EFFECTIVE: f64 = 2.0;
/// Units below which an interval carries a warning.
const FEW_UNITS: u64 = 10;

/// How the values came to be chosen. Slices are as long as the values, or empty where nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Design<'a> {
    /// Inverse inclusion probabilities, up to a factor; 0 leaves a value out.
    pub weights: &'a [f64],
    /// Independent unit of each value.
    pub clusters: &'a [usize],
    /// Stratum of each value; empty for one stratum.
    pub strata: &'a [usize],
    /// Share of the population that was chosen: of each value's stratum, or its own probability where units were drawn
    /// each on its own. Empty or 0 where unknown: then there is no finite population correction.
    pub fractions: &'a [f64],
    /// Whether each unit was drawn on its own, so that the number of the chosen is chance too.
    pub independent: bool,
    /// Share of the variance, 0 to 1, that lies in which units were chosen and would be gone if all were. The rest is
    /// noise of measuring, which no correction takes away. 0 is the safe value.
    pub fixed: f64,
    /// Whether strata with a single unit are put together.
    pub collapse: bool,
}

/// A mean under a design and what its standard error rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Designed {
    /// `sum w y / sum w`; `None` when the weights sum to 0 or cannot be added.
    pub mean: Option<f64>,
    /// Standard error; `None` when a stratum has a single unit.
    pub se: Option<f64>,
    /// Units minus strata; with independent draws, units minus 1.
    pub df: Option<f64>,
    /// Kish's effective sample size.
    pub effective: f64,
    /// Greatest share of the weight that one value carries.
    pub greatest: f64,
    /// Values with a weight above 0.
    pub n: u64,
    /// Units over all strata.
    pub units: u64,
    /// Strata with a single unit, after any collapse.
    pub singletons: u64,
    /// Strata that were put together.
    pub collapsed: u64,
    /// Whether a cluster lies in several strata, so that strata were not used.
    pub straddled: bool,
}

/// A stratum and a unit in it; `fraction` is the share of its population that was chosen.
#[derive(Clone, Copy)]
struct Unit {
    stratum: usize,
    cluster: usize,
    part: Part,
    fraction: f64,
}

/// Hájek's mean with the variance of the design: `sum_h (1 - f_h) k/(k-1) sum_c (z_c - zbar)²` over units of strata,
/// or `sum_c (1 - pi_c) z_c²` where units were drawn each on its own.
pub fn designed(values: &[f64], design: &Design<'_>) -> Designed {
    reckoned(values, design).0
}

/// The textbook's figures, and the spread that intervals rest on.
fn reckoned(values: &[f64], design: &Design<'_>) -> (Designed, Option<Spread>) {
    let kept: Vec<(usize, f64, f64)> = values
        .iter()
        .zip(design.weights)
        .enumerate()
        .filter(|(_, (_, weight))| **weight > 0.0)
        .map(|(index, (value, weight))| (index, *value, *weight))
        .collect();
    let total = moments::sum(kept.iter().map(|(_, _, weight)| *weight));
    if kept.is_empty() || !total.is_finite() || total <= 0.0 {
        return (Designed::default(), None);
    }
    let mean = moments::sum(kept.iter().map(|(_, value, weight)| value * (weight / total)));
    let cluster = |index: usize| design.clusters.get(index).copied().unwrap_or(index);
    let straddled = straddles(design, kept.iter().map(|(index, _, _)| (cluster(*index), *index)));
    let stratum = |index: usize| if straddled { 0 } else { design.strata.get(index).copied().unwrap_or(0) };
    let single = |(index, value, weight): &(usize, f64, f64)| {
        let share = weight / total;
        let part = Part { total: share * (value - mean), share, own: share * share, kept: 1.0 };
        let fraction = design.fractions.get(*index).copied().unwrap_or(0.0).clamp(0.0, 1.0);
        Unit { stratum: stratum(*index), cluster: cluster(*index), part, fraction }
    };
    let units = merged(kept.iter().map(single).collect());
    let greatest = kept.iter().map(|(_, _, weight)| weight / total).fold(0.0, f64::max);
    let found = Designed {
        mean: Some(mean),
        effective: 1.0 / moments::sum(kept.iter().map(|(_, _, weight)| (weight / total).powi(2))),
        greatest,
        n: kept.len() as u64,
        units: units.len() as u64,
        straddled,
        ..Designed::default()
    };
    with_error(found, units, design)
}

/// Values of one cluster in one stratum as one unit.
fn merged(mut singles: Vec<Unit>) -> Vec<Unit> {
    // Stable, so that sums add up in the order of the values on every machine.
    singles.sort_by_key(|unit| (unit.stratum, unit.cluster));
    let mut units: Vec<Unit> = Vec::with_capacity(singles.len());
    for single in singles {
        match units.last_mut().filter(|unit| (unit.stratum, unit.cluster) == (single.stratum, single.cluster)) {
            Some(unit) => {
                unit.part.total += single.part.total;
                unit.part.share += single.part.share;
                unit.part.own += single.part.own;
                unit.fraction = unit.fraction.min(single.fraction);
            }
            None => units.push(single),
        }
    }
    units
}

/// Whether a cluster has values in several strata.
fn straddles(design: &Design<'_>, places: impl Iterator<Item = (usize, usize)>) -> bool {
    if design.strata.is_empty() {
        return false;
    }
    let home = |(cluster, index): (usize, usize)| Some((cluster, *design.strata.get(index)?));
    let Some(mut homes) = places.map(home).collect::<Option<Vec<_>>>() else { return false };
    homes.sort_unstable();
    homes.windows(2).any(|pair| matches!(pair, [a, b] if a.0 == b.0 && a.1 != b.1))
}

fn with_error(found: Designed, units: Vec<Unit>, design: &Design<'_>) -> (Designed, Option<Spread>) {
    let kept =
        |unit: &Unit, corrected: bool| if corrected { 1.0 - unit.fraction * design.fixed.clamp(0.0, 1.0) } else { 1.0 };
    let parts = |units: &[Unit], corrected: bool| -> Vec<Part> {
        units.iter().map(|unit| Part { kept: kept(unit, corrected), ..unit.part }).collect()
    };
    // Where correction leaves nothing, because all were chosen, the error without it stands: 0 would read as certainty
    // about traffic to come.
    if design.independent {
        let of =
            |corrected: bool| moments::sum(units.iter().map(|unit| kept(unit, corrected) * unit.part.total.powi(2)));
        let se = positive(of(true), || of(false));
        let df = (units.len() > 1).then_some(units.len() as f64 - 1.0);
        let spread = || careful::of_units(&parts(&units, true)).or_else(|| careful::of_units(&parts(&units, false)));
        return (Designed { se: df.and(Some(se)), df, ..found }, df.and_then(|_| spread()));
    }
    let mut strata: Vec<Vec<Unit>> = units.chunk_by(|a, b| a.stratum == b.stratum).map(<[Unit]>::to_vec).collect();
    let collapsed = if design.collapse { collapse(&mut strata) } else { 0 };
    let singletons = strata.iter().filter(|units| units.len() < 2).count() as u64;
    let found = Designed { singletons, collapsed, ..found };
    if singletons > 0 {
        return (found, None);
    }
    let variance = |corrected: bool| {
        moments::sum(strata.iter().map(|units| {
            let totals: Vec<f64> = units.iter().map(|unit| unit.part.total).collect();
            let share = units.iter().map(|unit| kept(unit, corrected)).fold(0.0, f64::max);
            share * totals.len() as f64 * moments::variance(&totals).unwrap_or(0.0)
        }))
    };
    let spread = |corrected: bool| match strata.as_slice() {
        [one] => careful::of_units(&parts(one, corrected)),
        several => careful::of_strata(&several.iter().map(|units| parts(units, corrected)).collect::<Vec<_>>()),
    };
    let count: usize = strata.iter().map(Vec::len).sum();
    let se = positive(variance(true), || variance(false));
    let careful = spread(true).or_else(|| spread(false));
    (Designed { se: Some(se), df: Some((count - strata.len()) as f64), ..found }, careful)
}

/// The error with correction; where that leaves nothing, the one without.
fn positive(corrected: f64, plain: impl Fn() -> f64) -> f64 {
    if corrected > 0.0 { corrected.sqrt() } else { plain().max(0.0).sqrt() }
}

/// Puts strata with a single unit together; a lone one joins the smallest other. Gives how many were put together.
fn collapse(strata: &mut Vec<Vec<Unit>>) -> u64 {
    let (single, mut rest): (Vec<Vec<Unit>>, Vec<Vec<Unit>>) = strata.drain(..).partition(|units| units.len() < 2);
    let count = single.len() as u64;
    let mut together: Vec<Unit> = single.into_iter().flatten().collect();
    if together.len() == 1
        && let Some(smallest) = rest.iter_mut().min_by_key(|units| units.len())
    {
        smallest.append(&mut together);
    }
    if !together.is_empty() {
        rest.push(together);
    }
    *strata = rest;
    count
}

/// Mean under a design with its t interval at a two-sided `level`, and what a careful reader should know.
///
/// `range`: least and greatest possible value, where known; used only when all values are equal. A single unit in a
/// stratum is [`Status::SingletonStratum`]; weights that leave less than two effective values are
/// [`Status::Insufficient`], because the residual of the one that carries the mean is 0 whatever its error.
pub fn mean_designed(values: &[f64], design: &Design<'_>, range: Option<(f64, f64)>, level: f64) -> Estimate {
    let (found, spread) = reckoned(values, design);
    let base = Estimate {
        n: found.n,
        clusters: found.units,
        estimate: found.mean,
        method: method(design, &found).to_owned(),
        ..Estimate::default()
    };
    let Some(mean) = found.mean else {
        return Estimate { status: Status::Empty, ..base };
    };
    if !mean.is_finite() || !moments::all_finite(values) {
        return Estimate { status: Status::Undefined, estimate: None, ..base };
    }
    let base = warned(base, &found);
    if found.effective < LEAST_EFFECTIVE || found.units < 2 {
        return Estimate { status: Status::Insufficient, ..base };
    }
    let kept: Vec<f64> =
        values.iter().zip(design.weights).filter(|(_, w)| **w > 0.0).map(|(value, _)| *value).collect();
    if moments::all_equal(&kept) {
        let whole = found.effective.min(found.units as f64);
        let interval = range.and_then(|range| equal_values(mean, (whole + 1e-9).floor() as u64, range, level));
        return Estimate { status: Status::ZeroVariance, interval, ..base };
    }
    if found.singletons > 0 {
        return Estimate { status: Status::SingletonStratum, ..base };
    }
    let scale = values.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
    let Some(spread) = spread.filter(|spread| !spread.is_finite() || spread.se > 1e-12 * scale) else {
        return Estimate { status: Status::Insufficient, ..base }
            .warn("all cluster means are equal, so that their spread cannot be estimated");
    };
    let (lo, hi) = careful::bounds(mean, spread, 0.5 * (1.0 - level));
    if !(spread.is_finite() && lo.is_finite() && hi.is_finite()) {
        return Estimate { status: Status::Undefined, estimate: None, ..base }
            .warn("values are too large to be squared");
    }
    let interval = Some(Interval::new(lo, hi, level, &base.method));
    let (se, df, skew) = (Some(spread.se), Some(spread.df), Some(spread.skew));
    let estimate = Estimate { status: Status::Ok, se, df, skew, interval, ..base };
    if found.units < FEW_UNITS {
        return estimate.warn("fewer than 10 independent units: the interval leans on the normal shape");
    }
    estimate
}

fn method(design: &Design<'_>, found: &Designed) -> &'static str {
    let several = design.strata.windows(2).any(|pair| pair[0] != pair[1]);
    let equal = || moments::all_equal(design.weights);
    match (design.independent, several && !found.straddled) {
        (true, _) => "hajek_poisson_t",
        (false, true) => "hajek_stratified_t",
        (false, false) if !equal() => "hajek_t",
        (false, false) if found.n == found.units => "student_t",
        (false, false) => "cr2_t",
    }
}

fn warned(mut base: Estimate, found: &Designed) -> Estimate {
    let weighted = found.effective < found.n as f64 * (1.0 - 1e-9);
    if weighted && found.effective < 30.0 {
        base = base.warn(format!("the weights leave an effective sample of {:.1} examples", found.effective));
    }
    if weighted && found.greatest > 0.1 && found.n > 10 {
        base = base.warn(format!("one example carries {:.0} % of the weight", 100.0 * found.greatest));
    }
    if found.straddled {
        base = base.warn("clusters lie in several strata, so that the strata were not used for the error");
    }
    if found.collapsed > 0 {
        base = base.warn(format!("{} strata with a single unit were put together", found.collapsed));
    }
    base
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::stats::{Strata, hajek, poisson_sample};

    fn plain<'a>(weights: &'a [f64], clusters: &'a [usize]) -> Design<'a> {
        Design { weights, clusters, ..Design::default() }
    }

    #[test]
    fn statuses_of_odd_weights() {
        let of = |values: &[f64], weights: &[f64]| {
            let clusters: Vec<usize> = (0..values.len()).collect();
            mean_designed(values, &plain(weights, &clusters), Some((0.0, 1.0)), 0.95)
        };
        assert_eq!(of(&[], &[]).status, Status::Empty);
        assert_eq!(of(&[0.2, 0.9], &[0.0, 0.0]).status, Status::Empty);
        assert_eq!(of(&[0.2, 0.9], &[-1.0, 1.0]).n, 1, "a negative weight is none");
        assert_eq!(of(&[0.2, 0.9], &[f64::INFINITY, 1.0]).status, Status::Empty);
        assert_eq!(of(&[0.2], &[3.0]).status, Status::Insufficient);
        assert_eq!(of(&[1.0; 8], &[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]).status, Status::ZeroVariance);
        assert_eq!(of(&[1e308, 1e308, -1e308], &[1.0, 2.0, 3.0]).se, None, "absurd values give no error");
        let mut values = vec![0.0; 40];
        values[0] = 1.0;
        let mut weights = vec![1.0; 40];
        weights[0] = 1e6;
        let giant = of(&values, &weights);
        assert_eq!((giant.status, giant.se, giant.interval), (Status::Insufficient, None, None));
        assert!(giant.warnings.iter().any(|text| text.contains("100 % of the weight")), "{:?}", giant.warnings);
    }

    #[test]
    fn a_stratum_of_one_gives_no_error_until_it_is_put_with_others() {
        let (values, weights) = ([0.1, 0.4, 0.2, 0.9, 0.7], [1.0, 1.0, 5.0, 3.0, 3.0]);
        let clusters = [0, 1, 2, 3, 4];
        let design = Design { strata: &[0, 0, 1, 2, 2], ..plain(&weights, &clusters) };
        let refused = mean_designed(&values, &design, None, 0.95);
        assert_eq!((refused.status, refused.se), (Status::SingletonStratum, None));
        assert!(refused.estimate.is_some(), "the mean is there all the same");
        let together = mean_designed(&values, &Design { collapse: true, ..design }, None, 0.95);
        assert_eq!(together.status, Status::Ok);
        let df = together.df.unwrap();
        assert!(1.0 < df && df < 3.0, "the weights inside leave fewer than units less strata: {df}");
        assert!(together.warnings.iter().any(|text| text.contains("put together")));
    }

    #[test]
    fn a_cluster_in_two_strata_is_one_unit() {
        let (values, weights, clusters) = ([0.1, 0.4, 0.2, 0.9], [1.0, 2.0, 1.0, 2.0], [0, 1, 0, 1]);
        let design = Design { strata: &[0, 0, 1, 1], ..plain(&weights, &clusters) };
        let found = designed(&values, &design);
        assert!(found.straddled);
        assert_eq!(found.units, 2);
    }

    /// numpy 2.4.6, w=[2,2,2,5,5,5,5], y=[1,0,1,3,2,5,4], h=[0,0,0,1,1,1,1]: m=(w*y).sum()/w.sum(), z=w*(y-m)/w.sum(),
    /// sum((1-f)*k/(k-1)*((z[h==s]-z[h==s].mean())**2).sum())**.5 over strata with f=.5,.2 is 0.4474340606824396.
    #[test]
    fn strata_with_correction_against_reckoning_by_hand() {
        let (values, weights) = ([1.0, 0.0, 1.0, 3.0, 2.0, 5.0, 4.0], [2.0, 2.0, 2.0, 5.0, 5.0, 5.0, 5.0]);
        let (strata, clusters) = ([0, 0, 0, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6]);
        let fractions = [0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.2];
        let design = Design { strata: &strata, fractions: &fractions, fixed: 1.0, ..plain(&weights, &clusters) };
        let found = designed(&values, &design);
        let mean = 74.0 / 26.0;
        // Within a stratum z - zbar = w (y - ybar_h) / W.
        let low = 0.5 * 1.5 * (2.0_f64 / 26.0).powi(2) * (2.0 * (1.0_f64 / 3.0).powi(2) + (2.0_f64 / 3.0).powi(2));
        let high = 0.8 * 4.0 / 3.0 * (5.0_f64 / 26.0).powi(2) * 5.0;
        assert!((found.mean.unwrap() - mean).abs() < 1e-12);
        assert!((found.se.unwrap() - (low + high).sqrt()).abs() < 1e-12);
        assert!((found.se.unwrap() - 0.447_434_060_682_439_6).abs() < 1e-12);
        assert_eq!(found.df, Some(5.0));
        let half = designed(&values, &Design { fixed: 0.5, ..design });
        let none = designed(&values, &Design { fixed: 0.0, ..design });
        assert!(found.se < half.se && half.se < none.se, "noise is not corrected away");
    }

    proptest! {
        #[test]
        fn agrees_with_the_textbook_forms(
            rows in proptest::collection::vec((-3.0_f64..3.0, 0.05_f64..1.0, 0_usize..3), 6..40),
        ) {
            let values: Vec<f64> = rows.iter().map(|row| row.0).collect();
            let weights: Vec<f64> = rows.iter().map(|row| 1.0 / row.1).collect();
            let chances: Vec<f64> = rows.iter().map(|row| row.1).collect();
            let strata: Vec<usize> = rows.iter().map(|row| row.2).collect();
            let clusters: Vec<usize> = (0..rows.len()).collect();
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-10 * (1.0 + a.abs());
            let design = Design { fractions: &chances, independent: true, fixed: 1.0, ..plain(&weights, &clusters) };
            let found = designed(&values, &design);
            let textbook = poisson_sample(&values, &chances).mean.unwrap();
            prop_assert!(close(found.mean.unwrap(), textbook.0) && close(found.se.unwrap(), textbook.1));
            let fractions: BTreeMap<usize, f64> = [(0, 0.1), (1, 0.5), (2, 0.0)].into();
            let shares: Vec<f64> = strata.iter().map(|stratum| fractions[stratum]).collect();
            let design = Design { strata: &strata, fractions: &shares, fixed: 1.0, ..plain(&weights, &clusters) };
            let by_strata = hajek(&values, &weights, &clusters, &Strata { of: &strata, fraction: Some(&fractions) });
            let found = designed(&values, &design);
            prop_assert_eq!(found.se.is_some(), by_strata.se.is_some());
            if let (Some(a), Some(b)) = (found.se, by_strata.se) {
                prop_assert!(close(a, b), "{} against {}", a, b);
            }
        }

        #[test]
        fn the_order_of_values_does_not_matter(
            rows in proptest::collection::vec((-3.0_f64..3.0, 0.5_f64..9.0, 0_usize..3), 2..30), seed in 0_u64..99,
        ) {
            let of = |rows: &[(f64, f64, usize)], names: &[usize]| {
                let values: Vec<f64> = rows.iter().map(|row| row.0).collect();
                let weights: Vec<f64> = rows.iter().map(|row| row.1).collect();
                let strata: Vec<usize> = rows.iter().map(|row| row.2).collect();
                designed(&values, &Design { strata: &strata, ..plain(&weights, names) })
            };
            let mut order: Vec<usize> = (0..rows.len()).collect();
            let mut random = Pcg64::seed_from_u64(seed);
            for last in (1..order.len()).rev() {
                order.swap(last, random.random_range(0..=last));
            }
            let moved: Vec<_> = order.iter().map(|index| rows[*index]).collect();
            let (a, b) = (of(&rows, &(0..rows.len()).collect::<Vec<_>>()), of(&moved, &order));
            prop_assert_eq!((a.units, a.singletons, a.df), (b.units, b.singletons, b.df));
            prop_assert!((a.mean.unwrap() - b.mean.unwrap()).abs() < 1e-9);
            prop_assert!((a.se.unwrap_or(0.0) - b.se.unwrap_or(0.0)).abs() < 1e-9);
        }
    }

    /// All of the rare stratum and a tenth of the common one, fixed outcomes: the corrected interval covers the mean of
    /// the finite population about as often as it says, and is shorter than the one without correction.
    #[test]
    fn the_corrected_interval_covers_the_finite_population() {
        let mut random = Pcg64::seed_from_u64(11);
        let population: Vec<(usize, f64)> = (0..900)
            .map(|index| {
                let stratum = usize::from(index < 100);
                let rate = if stratum == 1 { 0.3 } else { 0.9 };
                (stratum, f64::from(u8::from(random.random::<f64>() < rate)))
            })
            .collect();
        let truth = population.iter().map(|(_, value)| value).sum::<f64>() / 900.0;
        let (mut covered, mut shorter) = (0, 0);
        for _ in 0..400 {
            let mut common: Vec<usize> = (100..900).collect();
            for place in 0..80 {
                let other = random.random_range(place..common.len());
                common.swap(place, other);
            }
            let chosen: Vec<usize> = (0..100).chain(common[..80].iter().copied()).collect();
            let values: Vec<f64> = chosen.iter().map(|index| population[*index].1).collect();
            let strata: Vec<usize> = chosen.iter().map(|index| population[*index].0).collect();
            let shares: Vec<f64> = strata.iter().map(|stratum| if *stratum == 1 { 1.0 } else { 0.1 }).collect();
            let weights: Vec<f64> = shares.iter().map(|share| 1.0 / share).collect();
            let clusters: Vec<usize> = (0..chosen.len()).collect();
            let design = Design { strata: &strata, fractions: &shares, fixed: 1.0, ..plain(&weights, &clusters) };
            let found = mean_designed(&values, &design, None, 0.95);
            let wide = mean_designed(&values, &Design { fixed: 0.0, ..design }, None, 0.95);
            let interval = found.interval.unwrap();
            covered += u32::from(interval.lo <= truth && truth <= interval.hi);
            shorter += u32::from(found.se < wide.se);
        }
        assert!((365..=396).contains(&covered), "covered {covered} of 400");
        assert_eq!(shorter, 400);
    }
}
