//! Repeated trials of the same example: the chance that at least one of k passes, and that all k do.

use super::{Estimate, cluster::mean_cr2};

/// Chance that at least one of `k` trials passes, from `passes` of `trials` (Chen et al. 2021); unbiased. `None` when
/// `k` is 0 or more than the trials.
pub fn pass_at_k(trials: u64, passes: u64, k: u64) -> Option<f64> {
    pass_all(trials, trials.checked_sub(passes)?, k).map(|none| 1.0 - none)
}

/// Chance that all of `k` trials pass (Yao et al. 2024): `C(passes, k) / C(trials, k)`; unbiased, unlike the k-th power
/// of the pass rate.
pub fn pass_hat_k(trials: u64, passes: u64, k: u64) -> Option<f64> {
    (passes <= trials).then(|| pass_all(trials, passes, k)).flatten()
}

fn pass_all(trials: u64, passes: u64, k: u64) -> Option<f64> {
    if k == 0 || k > trials {
        return None;
    }
    // The product form neither overflows nor cancels.
    Some((0..k).map(|drawn| passes.saturating_sub(drawn) as f64 / (trials - drawn) as f64).product())
}

/// Repeats over a suite of examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeats {
    /// Mean chance that at least one of k passes.
    pub pass_at_k: Estimate,
    /// Mean chance that all k pass.
    pub pass_hat_k: Estimate,
    /// Mean pass rate of the same examples.
    pub pass_1: Option<f64>,
    /// Examples left out because they have fewer than k trials.
    pub excluded: u64,
}

impl Repeats {
    /// `pass^k / pass^1`: how much of the pass rate is repeatable; `None` when nothing passes.
    pub fn consistency(&self) -> Option<f64> {
        Some(self.pass_hat_k.estimate? / self.pass_1.filter(|rate| *rate > 0.0)?)
    }
}

/// Suite values over `(trials, passes)` per example, with intervals over clusters clipped to [0, 1].
pub fn repeats(counts: &[(u64, u64)], clusters: &[usize], k: u64, level: f64) -> Repeats {
    let kept: Vec<(u64, u64, usize)> = counts
        .iter()
        .zip(clusters)
        .filter(|((trials, passes), _)| k > 0 && *trials >= k && passes <= trials)
        .map(|((trials, passes), cluster)| (*trials, *passes, *cluster))
        .collect();
    let groups: Vec<usize> = kept.iter().map(|(_, _, cluster)| *cluster).collect();
    let excluded = (counts.len() - kept.len()) as u64;
    let over = |value: &dyn Fn(u64, u64) -> Option<f64>| {
        let values: Vec<f64> = kept.iter().filter_map(|(trials, passes, _)| value(*trials, *passes)).collect();
        let mut estimate = mean_cr2(&values, &groups, Some((0.0, 1.0)), level);
        if let Some(interval) = &mut estimate.interval {
            interval.lo = interval.lo.max(0.0);
            interval.hi = interval.hi.min(1.0);
        }
        estimate.n_dropped = excluded;
        estimate
    };
    Repeats {
        pass_at_k: over(&|trials, passes| pass_at_k(trials, passes, k)),
        pass_hat_k: over(&|trials, passes| pass_hat_k(trials, passes, k)),
        pass_1: over(&|trials, passes| Some(passes as f64 / trials as f64)).estimate,
        excluded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges() {
        assert_eq!(pass_at_k(3, 1, 4), None);
        assert_eq!(pass_hat_k(3, 2, 0), None);
        assert_eq!(pass_hat_k(4, 4, 4), Some(1.0));
        assert_eq!(pass_hat_k(4, 3, 4), Some(0.0));
        assert_eq!(pass_at_k(4, 0, 2), Some(0.0));
    }

    /// Slow definition: the share of all ways to draw k of the trials.
    #[test]
    fn product_form_counts_subsets() {
        for trials in 1..=9_u32 {
            for passes in 0..=trials {
                for k in 1..=trials {
                    let (mut all, mut any, mut total) = (0, 0, 0);
                    for subset in (0..1_u32 << trials).filter(|subset| subset.count_ones() == k) {
                        let passed = (subset & ((1 << passes) - 1)).count_ones();
                        total += 1;
                        all += i32::from(passed == k);
                        any += i32::from(passed > 0);
                    }
                    let share = |hits: i32| f64::from(hits) / f64::from(total);
                    let (n, c, k) = (trials.into(), passes.into(), k.into());
                    assert!((pass_hat_k(n, c, k).unwrap() - share(all)).abs() < 1e-12);
                    assert!((pass_at_k(n, c, k).unwrap() - share(any)).abs() < 1e-12);
                }
            }
        }
    }
}
