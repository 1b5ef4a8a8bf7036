//! Bootstrap intervals of a mean from explicit resamples, so that a seed or a list fixes every digit.
//!
//! For display of skewed costs and latencies with at least 50 examples; on differences that are mostly 0 it covers
//! worse than the t interval (methods 1.3), so no comparison rests on it.

use rand::{RngExt, SeedableRng};
use rand_pcg::{Pcg64, Pcg64Mcg};

use super::{
    Interval, cluster,
    dist::{normal_cdf, normal_quantile},
    moments,
    quantile::quantile_sorted,
};

/// Bootstrap of a mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// Mean of the sample.
    pub estimate: f64,
    /// Standard deviation of the resampled means; `None` for a single resample.
    pub se: Option<f64>,
    /// Quantiles of the resampled means.
    pub percentile: Interval,
    /// Those quantiles mirrored at the estimate.
    pub basic: Interval,
    /// Bias correction: the normal quantile of the share of resampled means below the estimate; `None` when infinite.
    pub bias: Option<f64>,
    /// Acceleration from the delete-one jackknife; `None` when it does not vary.
    pub acceleration: Option<f64>,
    /// Efron's BCa interval (1987); `None` when bias or acceleration is.
    pub bca: Option<Interval>,
}

/// Bootstrap of the mean of `values` by `resamples`, each a list of indices of clusters in ascending order of their
/// names (of values, when every value is its own cluster). `None` without values or resamples, or with an index that
/// does not exist.
pub fn bootstrap_mean(
    values: &[f64],
    clusters: &[usize],
    resamples: impl IntoIterator<Item = impl AsRef<[usize]>>,
    level: f64,
) -> Option<Bootstrap> {
    let groups = cluster::group(values.iter().copied(), clusters);
    let mut means = Vec::new();
    for resample in resamples {
        means.push(pooled(&groups, resample.as_ref().iter().copied())?);
    }
    of_means(&groups, means, level).filter(|_| moments::all_finite(values))
}

/// What [`bootstrap_mean_drawn`] draws.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    /// Resamples.
    pub count: u32,
    /// Fixes every digit.
    pub seed: u64,
    /// Threads that share the work; results do not depend on them.
    pub threads: usize,
}

/// Bootstrap of the mean of `values` by resamples of clusters drawn here. Nothing is kept of a resample but its mean, so
/// that work is one look at a cluster for each draw. `None` without values or resamples.
pub fn bootstrap_mean_drawn(values: &[f64], clusters: &[usize], draws: Draws, level: f64) -> Option<Bootstrap> {
    let groups = cluster::group(values.iter().copied(), clusters);
    if groups.is_empty() || !moments::all_finite(values) || u32::try_from(groups.len()).is_err() {
        return None;
    }
    let count = draws.count as usize;
    let share = count.div_ceil(draws.threads.clamp(1, count.max(1)));
    let mut means = vec![0.0; count];
    let table = Table::of(&groups);
    std::thread::scope(|scope| {
        for (part, means) in means.chunks_mut(share.max(1)).enumerate() {
            let table = &table;
            scope.spawn(move || {
                for (place, mean) in means.iter_mut().enumerate() {
                    *mean = table.mean(draws.seed, (part * share + place) as u64);
                }
            });
        }
    });
    of_means(&groups, means, level)
}

/// What one resample looks up.
enum Table {
    /// Totals of clusters of one size: half the memory, and the size of a resample is known.
    Equal(Vec<f64>, f64),
    /// Size and total of each cluster.
    Sized(Vec<(f64, f64)>),
}

impl Table {
    fn of(groups: &[(f64, f64)]) -> Self {
        let sizes = groups.iter().map(|(members, _)| *members);
        match groups.first() {
            Some((first, _)) if sizes.clone().all(|members| members == *first) => {
                Self::Equal(groups.iter().map(|(_, total)| *total).collect(), sizes.sum())
            }
            _ => Self::Sized(groups.to_vec()),
        }
    }

    /// The mean of one resample: its number and the seed fix what is drawn.
    fn mean(&self, seed: u64, number: u64) -> f64 {
        // Four sums each: none waits for the addition before it.
        match self {
            Self::Equal(totals, size) => {
                let mut sums = [0.0; 4];
                draw(totals, seed, number, |found| sums.iter_mut().zip(found).for_each(|(sum, total)| *sum += total));
                (sums[0] + sums[1] + sums[2] + sums[3]) / size
            }
            Self::Sized(groups) => {
                let mut sums = [(0.0, 0.0); 4];
                draw(groups, seed, number, |found| {
                    for (sum, (members, total)) in sums.iter_mut().zip(found) {
                        sum.0 += members;
                        sum.1 += total;
                    }
                });
                let (size, total) = sums.iter().fold((0.0, 0.0), |all, sum| (all.0 + sum.0, all.1 + sum.1));
                total / size
            }
        }
    }
}

/// Draws as many entries as a table has, four at a time; the last four are filled up with defaults.
fn draw<T: Copy + Default>(table: &[T], seed: u64, number: u64, mut take: impl FnMut([T; 4])) {
    // Two generators: neither waits for the other's multiplication.
    let start = |stream: u64| Pcg64Mcg::seed_from_u64(seed ^ (2 * number + stream).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (mut left, mut right) = (start(0), start(1));
    let bound = table.len() as u64;
    // Lemire's multiplication (2019) with its rejection, so that every entry has the same chance to the last bit. All
    // four are thrown away together: a branch for each costs more than the few draws lost.
    let least = (1_u64 << 32) % bound;
    let mut remaining = table.len();
    while remaining > 0 {
        let (a, b) = (left.random::<u64>(), right.random::<u64>());
        let products = [a >> 32, b >> 32, a & 0xFFFF_FFFF, b & 0xFFFF_FFFF].map(|half| half * bound);
        if products.iter().any(|product| product & 0xFFFF_FFFF < least) {
            continue;
        }
        let mut found = products.map(|product| table.get((product >> 32) as usize).copied().unwrap_or_default());
        found.iter_mut().skip(remaining).for_each(|surplus| *surplus = T::default());
        take(found);
        remaining = remaining.saturating_sub(4);
    }
}

fn of_means(groups: &[(f64, f64)], mut means: Vec<f64>, level: f64) -> Option<Bootstrap> {
    // Summed like the resamples, so that a resample of the same values ties with it to the last bit.
    let estimate = pooled(groups, 0..groups.len())?;
    if means.is_empty() {
        return None;
    }
    means.sort_by(f64::total_cmp);
    let alpha = 0.5 * (1.0 - level);
    let at = |p: f64| quantile_sorted(&means, p);
    let (low, high) = (at(alpha)?, at(1.0 - alpha)?);
    let bias = if moments::all_equal(&means) { None } else { bias(&means, estimate) };
    let acceleration = acceleration(groups);
    let bca = bias.zip(acceleration).and_then(|(bias, acceleration)| {
        let adjusted = |p: f64| {
            let shifted = bias + normal_quantile(p);
            normal_cdf(bias + shifted / (1.0 - acceleration * shifted))
        };
        Some(Interval::new(at(adjusted(alpha))?, at(adjusted(1.0 - alpha))?, level, "bootstrap_bca"))
    });
    Some(Bootstrap {
        estimate,
        se: moments::variance(&means).map(f64::sqrt),
        percentile: Interval::new(low, high, level, "bootstrap_percentile"),
        basic: Interval::new(2.0 * estimate - high, 2.0 * estimate - low, level, "bootstrap_basic"),
        bias,
        acceleration,
        bca,
    })
}

/// Bootstrap of any statistic over clusters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatisticBootstrap {
    /// The statistic of all items.
    pub estimate: Option<f64>,
    /// Standard deviation over the resamples.
    pub se: Option<f64>,
    /// Quantiles over the resamples; `None` when half of them or more have no statistic.
    pub percentile: Option<Interval>,
    /// Resamples in which the statistic is not defined, such as a kappa of raters who never differ.
    pub undefined: u32,
}

/// Bootstrap of `statistic` by `resamples` of clusters, where `clusters[i]` names the cluster of item i. The statistic
/// is given the places of the items, each as often as its cluster was drawn. Indices of clusters are as in
/// [`bootstrap_mean`]; one that does not exist counts as a resample without a statistic.
pub fn bootstrap_statistic(
    clusters: &[usize],
    resamples: impl IntoIterator<Item = impl AsRef<[usize]>>,
    level: f64,
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> StatisticBootstrap {
    let mut members: std::collections::BTreeMap<usize, Vec<usize>> = std::collections::BTreeMap::new();
    for (item, cluster) in clusters.iter().enumerate() {
        members.entry(*cluster).or_default().push(item);
    }
    let members: Vec<Vec<usize>> = members.into_values().collect();
    let all: Vec<usize> = (0..clusters.len()).collect();
    let (mut values, mut undefined) = (Vec::new(), 0);
    for resample in resamples {
        let drawn: Option<Vec<&Vec<usize>>> = resample.as_ref().iter().map(|index| members.get(*index)).collect();
        let items: Option<Vec<usize>> = drawn.map(|drawn| drawn.into_iter().flatten().copied().collect());
        match items.and_then(|items| statistic(&items)).filter(|value| value.is_finite()) {
            Some(value) => values.push(value),
            None => undefined += 1,
        }
    }
    values.sort_by(f64::total_cmp);
    let alpha = 0.5 * (1.0 - level);
    let ends = quantile_sorted(&values, alpha).zip(quantile_sorted(&values, 1.0 - alpha));
    let enough = values.len() > undefined as usize;
    StatisticBootstrap {
        estimate: statistic(&all),
        se: moments::variance(&values).map(f64::sqrt),
        percentile: ends.filter(|_| enough).map(|(lo, hi)| Interval::new(lo, hi, level, "bootstrap_percentile")),
        undefined,
    }
}

/// Random resamples of `units` clusters from a seed.
pub fn resamples(units: usize, count: u32, seed: u64) -> impl Iterator<Item = Vec<usize>> {
    let mut random = Pcg64::seed_from_u64(seed);
    (0..count).map(move |_| (0..units).map(|_| random.random_range(0..units)).collect())
}

fn pooled(groups: &[(f64, f64)], indices: impl Iterator<Item = usize>) -> Option<f64> {
    let (mut size, mut sum) = (0.0, 0.0);
    for index in indices {
        let (members, total) = groups.get(index)?;
        size += members;
        sum += total;
    }
    (size > 0.0).then(|| sum / size)
}

fn bias(means: &[f64], estimate: f64) -> Option<f64> {
    let below = means.partition_point(|mean| *mean < estimate) as f64;
    let equal = means.partition_point(|mean| *mean <= estimate) as f64 - below;
    let z = normal_quantile((below + 0.5 * equal) / means.len() as f64);
    z.is_finite().then_some(z)
}

fn acceleration(groups: &[(f64, f64)]) -> Option<f64> {
    let (size, sum) = groups.iter().fold((0.0, 0.0), |all, group| (all.0 + group.0, all.1 + group.1));
    if groups.len() < 2 {
        return None;
    }
    let left_out: Vec<f64> = groups.iter().map(|(members, total)| (sum - total) / (size - members)).collect();
    if moments::all_equal(&left_out) {
        return None;
    }
    let center = moments::mean(&left_out)?;
    let cubes = moments::sum(left_out.iter().map(|value| (center - value).powi(3)));
    let squares = moments::squares(&left_out, center);
    Some(cubes / (6.0 * squares.powf(1.5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_resamples() {
        let first: Vec<Vec<usize>> = resamples(5, 3, 42).collect();
        assert_eq!(first, resamples(5, 3, 42).collect::<Vec<_>>());
        assert!(first.iter().flatten().all(|index| *index < 5));
    }

    /// Slow definition: the same numbers, each resample on its own; and the spread of the textbook.
    #[test]
    fn drawn_here_is_drawn_fairly_whatever_the_threads() {
        let mut random = Pcg64::seed_from_u64(3);
        let values: Vec<f64> = (0..300).map(|_| random.random_range(0.0_f64..1.0).powi(3)).collect();
        let clusters: Vec<usize> = (0..300).map(|item| item / 3).collect();
        let of = |threads: usize| {
            bootstrap_mean_drawn(&values, &clusters, Draws { count: 4_000, seed: 5, threads }, 0.95).unwrap()
        };
        let (one, three) = (of(1), of(3));
        assert_eq!(one, three);
        let listed = bootstrap_mean(&values, &clusters, resamples(100, 4_000, 9), 0.95).unwrap();
        let se = listed.se.unwrap();
        assert!((one.se.unwrap() / se - 1.0).abs() < 0.05, "{one:?} {listed:?}");
        assert!((one.percentile.lo - listed.percentile.lo).abs() < 0.15 * se, "{one:?} {listed:?}");
        assert!((one.bca.unwrap().hi - listed.bca.unwrap().hi).abs() < 0.15 * se);
        let draws = Draws { count: 10, seed: 1, threads: 2 };
        assert!(bootstrap_mean_drawn(&[], &[], draws, 0.95).is_none());
        assert!(bootstrap_mean_drawn(&[f64::NAN], &[0], draws, 0.95).is_none());
        assert!(bootstrap_mean_drawn(&[1.0, 2.0], &[0, 1], Draws { count: 0, ..draws }, 0.95).is_none());
        assert_eq!(bootstrap_mean_drawn(&[1.0; 4], &[0, 1, 2, 3], draws, 0.95).unwrap().se, Some(0.0));
    }

    /// Every cluster is drawn as often as any other: chi square of 84,000 draws over 7 clusters. Of one size or not, the
    /// same clusters are drawn.
    #[test]
    fn every_cluster_has_the_same_chance() {
        let mut counts = [0.0_f64; 7];
        for (place, count) in counts.iter_mut().enumerate() {
            let groups: Vec<(f64, f64)> = (0..7).map(|item| (1.0, f64::from(u8::from(item == place)))).collect();
            let (equal, sized) = (Table::of(&groups), Table::Sized(groups));
            assert!(matches!(equal, Table::Equal(_, 7.0)));
            assert!((0..50).all(|number| (equal.mean(8, number) - sized.mean(8, number)).abs() < 1e-15));
            *count = (0..12_000).map(|number| 7.0 * equal.mean(8, number)).sum();
        }
        let (total, expected) = (counts.iter().sum::<f64>(), 12_000.0);
        let chi: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        assert!((total - 84_000.0).abs() < 1e-6 && chi < 22.5, "{counts:?} {chi}");
    }

    /// Slow definition: a mean is a statistic, too.
    #[test]
    fn any_statistic_over_clusters() {
        let values = [0.3, 0.9, 0.1, 0.4, 0.8, 0.2, 0.7];
        let clusters = [2, 2, 0, 5, 5, 5, 9];
        let mean = |items: &[usize]| moments::mean(&items.iter().map(|item| values[*item]).collect::<Vec<_>>());
        let found = bootstrap_statistic(&clusters, resamples(4, 500, 3), 0.9, mean);
        let expected = bootstrap_mean(&values, &clusters, resamples(4, 500, 3), 0.9).unwrap();
        let interval = found.percentile.unwrap();
        assert!((found.estimate.unwrap() - expected.estimate).abs() < 1e-12 && found.undefined == 0);
        assert!((interval.lo - expected.percentile.lo).abs() < 1e-12);
        assert!((interval.hi - expected.percentile.hi).abs() < 1e-12);
        let none = bootstrap_statistic(&clusters, [vec![7], vec![0]], 0.9, mean);
        assert_eq!((none.undefined, none.percentile), (1, None));
    }

    /// Kappa of 30 sessions of two items: the interval over sessions covers, the one over items does not keep its word.
    #[test]
    fn agreement_of_clusters_is_covered() {
        use crate::stats::{Weighting, cohen_kappa};
        let (mut random, mut covered, rounds) = (Pcg64::seed_from_u64(12), 0, 100);
        for round in 0..rounds {
            let mut pairs = Vec::new();
            for _ in 0..60 {
                let truth = random.random_range(0..2_usize);
                let same = random.random_range(0.0..1.0) < 0.8;
                pairs.extend([(truth, if same { truth } else { 1 - truth }); 2]);
            }
            let clusters: Vec<usize> = (0..pairs.len()).map(|item| item / 2).collect();
            let kappa = |items: &[usize]| {
                let drawn: Vec<(usize, usize)> = items.iter().map(|item| pairs[*item]).collect();
                cohen_kappa(&drawn, 2, Weighting::None)
            };
            let found = bootstrap_statistic(&clusters, resamples(60, 200, round), 0.95, kappa);
            covered += i32::from(found.percentile.is_some_and(|interval| interval.lo <= 0.6 && 0.6 <= interval.hi));
        }
        assert!(covered >= 88, "{covered} of {rounds}");
    }

    #[test]
    fn not_defined_without_spread() {
        let clusters = [0, 1, 2];
        let found = bootstrap_mean(&[1.0; 3], &clusters, resamples(3, 50, 1), 0.95).unwrap();
        assert_eq!((found.bca, found.acceleration), (None, None));
        assert!(bootstrap_mean(&[1.0; 3], &clusters, [vec![9]], 0.95).is_none());
        assert!(bootstrap_mean(&[], &[], [vec![0]], 0.95).is_none());
    }
}
