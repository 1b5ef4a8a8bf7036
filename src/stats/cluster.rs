//! Means of values that come in clusters, with or without weights: the one path that most comparisons take.
//!
//! Equal weights: CR2 with the degrees of freedom of Bell and McCaffrey (2002), in closed form for a mean. With every
//! cluster of size one it is the ordinary t interval, so clustered and unclustered values need no branch. Unequal
//! weights: Hájek's ratio with linearised variance over clusters (Särndal, Swensson and Wretman 1992).

use std::collections::BTreeMap;

use super::{Design, Estimate, Interval, Status, design::mean_designed, dist::t_quantile, mean::equal_values, moments};

/// All that is known of a clustered mean; `None` where it is not defined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusteredMean {
    /// Values.
    pub n: u64,
    /// Distinct clusters.
    pub clusters: u64,
    /// Mean over values (not over clusters).
    pub mean: Option<f64>,
    /// Standard error as if values were independent; needs two values.
    pub se_naive: Option<f64>,
    /// Miller's clustered standard error (2024), without correction for few clusters.
    pub se_cr0: Option<f64>,
    /// CR0 times `sqrt(C/(C-1))`.
    pub se_cr1: Option<f64>,
    /// Bias-reduced standard error.
    pub se_cr2: Option<f64>,
    /// Satterthwaite degrees of freedom of CR2 under independence.
    pub df: Option<f64>,
    /// Whether all values are equal, so that every standard error above is 0 and says nothing.
    pub all_equal: bool,
}

impl ClusteredMean {
    /// How much clustering inflates the variance: (CR2 / naive)².
    pub fn design_effect(&self) -> Option<f64> {
        let ratio = self.se_cr2? / self.se_naive.filter(|se| *se > 0.0)?;
        (!self.all_equal).then_some(ratio * ratio)
    }
}

/// Standard errors of a mean over `values`, where `clusters[i]` names the cluster of `values[i]`.
///
/// Excess entries of the longer slice are ignored.
pub fn clustered_mean(values: &[f64], clusters: &[usize]) -> ClusteredMean {
    let values = values.get(..clusters.len()).unwrap_or(values);
    let Some(mean) = moments::mean(values) else {
        return ClusteredMean::default();
    };
    let n = values.len() as f64;
    let groups = group(values.iter().map(|value| value - mean), clusters);
    let se_naive = moments::variance(values).map(|variance| (variance / n).sqrt());
    let found = ClusteredMean {
        n: values.len() as u64,
        clusters: groups.len() as u64,
        mean: Some(mean),
        se_naive,
        all_equal: moments::all_equal(values),
        ..ClusteredMean::default()
    };
    if groups.len() < 2 {
        return found;
    }
    let count = groups.len() as f64;
    let cr0 = moments::sum(groups.iter().map(|(_, sum)| sum * sum)).sqrt() / n;
    let cr2 = moments::sum(groups.iter().map(|(size, sum)| sum * sum / (1.0 - size / n))).sqrt() / n;
    // tr(A) = n and tr(A²) = n² (Σp² + (Σg)² - Σg²) with g = p²/(1-p), so no C x C matrix is formed.
    let shares = groups.iter().map(|(size, _)| size / n);
    let (mut squares, mut linear, mut quadratic) = (0.0, 0.0, 0.0);
    for share in shares {
        let term = share * share / (1.0 - share);
        squares += share * share;
        linear += term;
        quadratic += term * term;
    }
    let df = 1.0 / (squares + linear * linear - quadratic);
    ClusteredMean {
        se_cr0: Some(cr0),
        se_cr1: Some(cr0 * (count / (count - 1.0)).sqrt()),
        se_cr2: Some(cr2),
        df: Some(df),
        ..found
    }
}

/// Mean with CR2 standard error and Bell-McCaffrey t interval at a two-sided `level`.
///
/// `range`: least and greatest possible value, where known; used only when all values are equal.
pub fn mean_cr2(values: &[f64], clusters: &[usize], range: Option<(f64, f64)>, level: f64) -> Estimate {
    let method = if is_singletons(clusters) { "student_t" } else { "cr2_t" };
    let found = clustered_mean(values, clusters);
    let base = Estimate {
        n: found.n,
        clusters: found.clusters,
        estimate: found.mean,
        method: method.to_owned(),
        ..Estimate::default()
    };
    finish(base, values, found.se_cr2.zip(found.df), range, level)
}

/// Weighted mean of a sample by Hájek, with the careful spread of [`mean_designed`].
///
/// `weights[i]` is the inverse of the probability with which value i was chosen. Clusters are the units whose totals
/// vary.
pub fn mean_hajek(
    values: &[f64],
    weights: &[f64],
    clusters: &[usize],
    range: Option<(f64, f64)>,
    level: f64,
) -> Estimate {
    mean_designed(values, &Design { weights, clusters, ..Design::default() }, range, level)
}

/// Mean by [`mean_cr2`] when all weights are equal, else by [`mean_hajek`].
pub fn mean_weighted(
    values: &[f64],
    weights: &[f64],
    clusters: &[usize],
    range: Option<(f64, f64)>,
    level: f64,
) -> Estimate {
    if moments::all_equal(weights) {
        mean_cr2(values, clusters, range, level)
    } else {
        mean_hajek(values, weights, clusters, range, level)
    }
}

/// Strata of a sampling design; the default is one stratum chosen from an endless population.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strata<'a> {
    /// Stratum of each value; empty for one stratum.
    pub of: &'a [usize],
    /// Share of each stratum's population that was chosen, by stratum; 0 where absent.
    pub fraction: Option<&'a BTreeMap<usize, f64>>,
}

/// A weighted mean and what its standard error rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hajek {
    /// `sum w y / sum w`; `None` when the weights sum to 0.
    pub mean: Option<f64>,
    /// Linearised standard error; `None` when a stratum has a single unit.
    pub se: Option<f64>,
    /// Units minus strata.
    pub df: Option<f64>,
    /// Kish's effective sample size `(sum w)² / sum w²`.
    pub effective: Option<f64>,
    /// Independent units (clusters) over all strata.
    pub units: u64,
    /// Whether a stratum (of several) has a single unit.
    pub singleton_stratum: bool,
}

/// Hájek's estimator with the variance `sum_h (1-f_h) k/(k-1) sum_c (z_c - zbar)²` over cluster totals of
/// `z = w (y - m) / sum w`.
pub fn hajek(values: &[f64], weights: &[f64], clusters: &[usize], strata: &Strata<'_>) -> Hajek {
    let total = moments::sum(weights.iter().copied());
    if values.is_empty() || total <= 0.0 || !total.is_finite() {
        return Hajek::default();
    }
    let mean = moments::sum(values.iter().zip(weights).map(|(value, weight)| value * weight)) / total;
    let effective = total * total / moments::sum(weights.iter().map(|weight| weight * weight));
    let mut units: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for (index, ((value, weight), cluster)) in values.iter().zip(weights).zip(clusters).enumerate() {
        let stratum = strata.of.get(index).copied().unwrap_or(0);
        *units.entry((stratum, *cluster)).or_default() += weight * (value - mean) / total;
    }
    let mut totals: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for ((stratum, _), total) in &units {
        totals.entry(*stratum).or_default().push(*total);
    }
    let found = Hajek {
        mean: Some(mean),
        effective: Some(effective),
        units: units.len() as u64,
        singleton_stratum: totals.len() > 1 && totals.values().any(|units| units.len() < 2),
        ..Hajek::default()
    };
    if totals.values().any(|units| units.len() < 2) {
        return found;
    }
    let variance: f64 = totals
        .iter()
        .map(|(stratum, units)| {
            let fraction = strata.fraction.and_then(|fractions| fractions.get(stratum)).copied().unwrap_or(0.0);
            (1.0 - fraction) * units.len() as f64 * moments::variance(units).unwrap_or(0.0)
        })
        .sum();
    Hajek { se: Some(variance.max(0.0).sqrt()), df: Some((units.len() - totals.len()) as f64), ..found }
}

/// Horvitz-Thompson and Hájek under independent inclusion with known probabilities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoissonSample {
    /// `sum y/pi` and its standard error.
    pub total: Option<(f64, f64)>,
    /// `sum 1/pi`: the estimated size of the population.
    pub size: Option<f64>,
    /// Hájek's mean and its standard error.
    pub mean: Option<(f64, f64)>,
}

/// Estimates from a Poisson sample; all `None` without values or with a probability outside (0, 1].
pub fn poisson_sample(values: &[f64], probabilities: &[f64]) -> PoissonSample {
    if values.is_empty() || probabilities.iter().any(|pi| !(*pi > 0.0 && *pi <= 1.0)) {
        return PoissonSample::default();
    }
    let pairs = || values.iter().copied().zip(probabilities.iter().copied());
    let error = |center: f64| {
        moments::sum(pairs().map(|(y, pi)| (1.0 - pi) / (pi * pi) * (y - center) * (y - center))).max(0.0).sqrt()
    };
    let total = moments::sum(pairs().map(|(y, pi)| y / pi));
    let size = moments::sum(probabilities.iter().map(|pi| 1.0 / pi));
    let mean = total / size;
    PoissonSample { total: Some((total, error(0.0))), size: Some(size), mean: Some((mean, error(mean) / size)) }
}

/// Whether no two values share a cluster.
pub fn is_singletons(clusters: &[usize]) -> bool {
    let mut sorted = clusters.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

/// Sums of `values` by cluster, in the order of the cluster names, with sizes.
pub(super) fn group(values: impl IntoIterator<Item = f64>, clusters: &[usize]) -> Vec<(f64, f64)> {
    let mut order: Vec<(usize, f64)> = clusters.iter().copied().zip(values).collect();
    // Stable, so that sums add up in the order of the values on every machine.
    order.sort_by_key(|(cluster, _)| *cluster);
    let mut groups: Vec<(f64, f64)> = Vec::new();
    let mut last = None;
    for (cluster, value) in order {
        if last == Some(cluster) {
            if let Some((size, sum)) = groups.last_mut() {
                *size += 1.0;
                *sum += value;
            }
        } else {
            groups.push((1.0, value));
            last = Some(cluster);
        }
    }
    groups
}

/// Turns a point and its spread into an estimate with a status; the only place that decides between them.
fn finish(
    base: Estimate,
    values: &[f64],
    spread: Option<(f64, f64)>,
    range: Option<(f64, f64)>,
    level: f64,
) -> Estimate {
    let Some(point) = base.estimate else {
        return Estimate { status: Status::Empty, ..base };
    };
    if !point.is_finite() || !moments::all_finite(values) {
        return Estimate { status: Status::Undefined, estimate: None, ..base };
    }
    let Some((se, df)) = spread else {
        return Estimate { status: Status::Insufficient, ..base };
    };
    if moments::all_equal(values) {
        let interval = range.and_then(|range| equal_values(point, base.clusters, range, level));
        return Estimate { status: Status::ZeroVariance, interval, ..base };
    }
    // Cluster means may coincide while the values inside differ; a standard error of 0 would read as certainty.
    let scale = values.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
    if se <= 1e-12 * scale {
        return Estimate { status: Status::Insufficient, ..base }
            .warn("all cluster means are equal, so that their spread cannot be estimated");
    }
    let half = t_quantile(0.5 + 0.5 * level, df) * se;
    if !half.is_finite() {
        return Estimate { status: Status::Undefined, estimate: None, ..base }
            .warn("values are too large to be squared");
    }
    let few = base.clusters < 10;
    let method = base.method.clone();
    let found = Estimate {
        status: Status::Ok,
        se: Some(se),
        df: Some(df),
        interval: Some(Interval::new(point - half, point + half, level, &method)),
        ..base
    };
    if few { found.warn("fewer than 10 independent units: the interval leans on the normal shape") } else { found }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::stats::mean_t;

    #[test]
    fn statuses_of_small_samples() {
        assert_eq!(mean_cr2(&[], &[], None, 0.95).status, Status::Empty);
        assert_eq!(mean_cr2(&[0.3], &[0], None, 0.95).status, Status::Insufficient);
        assert_eq!(mean_cr2(&[0.3, 0.9], &[4, 4], None, 0.95).status, Status::Insufficient);
        assert_eq!(mean_cr2(&[0.3, 0.9], &[4, 7], None, 0.95).status, Status::Ok);
        assert_eq!(mean_hajek(&[0.3, 0.9], &[0.0, 0.0], &[0, 1], None, 0.95).status, Status::Empty);
        let equal = mean_cr2(&[1.0; 12], &[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], Some((0.0, 1.0)), 0.95);
        assert_eq!((equal.status, equal.se), (Status::ZeroVariance, None));
        let six = equal_values(1.0, 6, (0.0, 1.0), 0.95);
        assert_eq!(equal.interval, six, "clusters count, not values");
    }

    #[test]
    fn equal_cluster_means_are_not_certainty() {
        let found = mean_cr2(&[0.0, 1.0, 1.0, 0.0], &[0, 0, 1, 1], None, 0.95);
        assert_eq!((found.status, found.interval), (Status::Insufficient, None));
    }

    #[test]
    fn singletons_are_the_t_interval() {
        let values = [0.1, 0.4, 0.35, 0.9, 0.2, 0.77];
        let (clustered, plain) = (mean_cr2(&values, &[5, 4, 3, 2, 1, 0], None, 0.9), mean_t(&values, None, 0.9));
        let (left, right) = (clustered.interval.unwrap(), plain.interval.unwrap());
        assert!((left.lo - right.lo).abs() < 1e-12 && (left.hi - right.hi).abs() < 1e-12);
    }

    /// Slow definition: V = sum_c S_c² / (1-p_c) / n² and df from the C x C matrix of Bell and McCaffrey.
    #[test]
    fn closed_form_equals_the_matrix() {
        let mut random = Pcg64::seed_from_u64(7);
        for _ in 0..20 {
            let sizes: Vec<usize> = (0..random.random_range(2..9)).map(|_| random.random_range(1..7)).collect();
            let clusters: Vec<usize> = sizes.iter().enumerate().flat_map(|(c, &size)| vec![c; size]).collect();
            let values: Vec<f64> = clusters.iter().map(|_| random.random_range(0.0..1.0)).collect();
            let n = values.len() as f64;
            let a = |c: usize, d: usize| {
                let (p, q) = (sizes[c] as f64 / n, sizes[d] as f64 / n);
                let m = if c == d { sizes[c] as f64 } else { 0.0 } - sizes[c] as f64 * sizes[d] as f64 / n;
                m / ((1.0 - p) * (1.0 - q)).sqrt()
            };
            let trace: f64 = (0..sizes.len()).map(|c| a(c, c)).sum();
            let square: f64 = (0..sizes.len())
                .flat_map(|c| (0..sizes.len()).map(move |d| (c, d)))
                .map(|(c, d)| a(c, d) * a(d, c))
                .sum();
            let found = clustered_mean(&values, &clusters);
            assert!((found.df.unwrap() - trace * trace / square).abs() < 1e-9);
        }
    }

    /// Coverage of the nominal 95 % interval with 8 unequal clusters and strong correlation inside (appendix A.3).
    #[test]
    fn covers_with_few_clusters() {
        let mut random = Pcg64::seed_from_u64(11);
        let normal = |random: &mut Pcg64| (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0;
        let (mut cr2, mut naive) = (0, 0);
        let tries = 1_500;
        for _ in 0..tries {
            let (mut values, mut clusters) = (Vec::new(), Vec::new());
            for (cluster, size) in [2, 3, 3, 4, 6, 8, 10, 12].into_iter().enumerate() {
                let shared = 0.65 * normal(&mut random);
                for _ in 0..size {
                    values.push(shared + normal(&mut random));
                    clusters.push(cluster);
                }
            }
            let hit = |estimate: Estimate| estimate.interval.is_some_and(|i| i.lo <= 0.0 && 0.0 <= i.hi);
            cr2 += u32::from(hit(mean_cr2(&values, &clusters, None, 0.95)));
            naive += u32::from(hit(mean_t(&values, None, 0.95)));
        }
        let share = |hits: u32| f64::from(hits) / f64::from(tries);
        assert!(share(cr2) > 0.93, "{}", share(cr2));
        assert!(share(naive) < 0.85, "{}", share(naive));
    }

    /// A sample that keeps all failures and a tenth of the passes: the plain mean is far off, the weighted one is not.
    #[test]
    fn weights_undo_the_sampling() {
        let mut random = Pcg64::seed_from_u64(3);
        let (mut covered, tries) = (0, 400);
        for _ in 0..tries {
            let (mut values, mut weights) = (Vec::new(), Vec::new());
            for _ in 0..2_000 {
                let pass = random.random_bool(0.9);
                if !pass || random.random_bool(0.1) {
                    values.push(f64::from(u8::from(pass)));
                    weights.push(if pass { 10.0 } else { 1.0 });
                }
            }
            let clusters: Vec<usize> = (0..values.len()).collect();
            let interval = mean_hajek(&values, &weights, &clusters, None, 0.95).interval.unwrap();
            covered += u32::from(interval.lo <= 0.9 && 0.9 <= interval.hi);
        }
        assert!(f64::from(covered) / f64::from(tries) > 0.93, "{covered} of {tries}");
    }

    proptest! {
        /// What is defined is a finite number inside its own interval; what is not is absent.
        #[test]
        fn never_nan_and_never_a_point(
            rows in proptest::collection::vec((-1e6..1e6f64, 0.01..50.0f64, 0usize..6), 0..40),
            equal in any::<bool>(),
        ) {
            let values: Vec<f64> = rows.iter().map(|row| if equal { 3.0 } else { row.0 }).collect();
            let weights: Vec<f64> = rows.iter().map(|row| row.1).collect();
            let clusters: Vec<usize> = rows.iter().map(|row| row.2).collect();
            for found in [
                mean_cr2(&values, &clusters, Some((-1e6, 1e6)), 0.95),
                mean_hajek(&values, &weights, &clusters, None, 0.95),
            ] {
                prop_assert_eq!(found.estimate.is_none(), values.is_empty());
                prop_assert!(found.se.is_none_or(|se| se.is_finite() && se > 0.0));
                prop_assert!(found.df.is_none_or(|df| df.is_finite() && df > 0.0));
                if let (Some(interval), Some(point)) = (found.interval, found.estimate) {
                    prop_assert!(interval.lo.is_finite() && interval.hi.is_finite());
                    prop_assert!(interval.lo < interval.hi && interval.lo <= point && point <= interval.hi);
                }
            }
        }
    }
}
