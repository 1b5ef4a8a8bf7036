//! Binomial rates: Wilson for display, Clopper-Pearson for floors.
//!
//! Only for independent yes-or-no values of equal weight, one per unit. Anything clustered, repeated or weighted
//! goes through `cluster`.

use super::{
    Estimate, Interval, Status,
    dist::{beta_quantile, normal_quantile},
};

/// Wilson's score interval for `k` of `n` at a two-sided `level`; `None` when `n` is 0 or `k > n`.
///
/// Never narrower than the data allow: at k = n the upper end is 1 and the lower end stays informative.
pub fn wilson(k: u64, n: u64, level: f64) -> Option<Interval> {
    if n == 0 || k > n {
        return None;
    }
    let z = normal_quantile(0.5 + 0.5 * level);
    let (count, rate, square) = (n as f64, k as f64 / n as f64, z * z);
    let scale = 1.0 + square / count;
    let center = (rate + square / (2.0 * count)) / scale;
    let half = z * (rate * (1.0 - rate) / count + square / (4.0 * count * count)).sqrt() / scale;
    let lo = if k == 0 { 0.0 } else { center - half };
    let hi = if k == n { 1.0 } else { center + half };
    Some(Interval::new(lo.max(0.0), hi.min(1.0), level, "wilson"))
}

/// Clopper and Pearson's exact two-sided interval; `None` when `n` is 0 or `k > n`.
pub fn clopper_pearson(k: u64, n: u64, level: f64) -> Option<Interval> {
    let alpha = 0.5 * (1.0 - level);
    let lo = clopper_pearson_lower(k, n, alpha)?;
    let hi = clopper_pearson_upper(k, n, alpha)?;
    Some(Interval::new(lo, hi, level, "clopper_pearson"))
}

/// The one-sided exact lower bound: the rate below which `k` or more of `n` has probability `alpha`.
pub fn clopper_pearson_lower(k: u64, n: u64, alpha: f64) -> Option<f64> {
    (n > 0 && k <= n).then(|| if k == 0 { 0.0 } else { beta_quantile(alpha, k as f64, (n - k) as f64 + 1.0) })
}

/// The one-sided exact upper bound.
pub fn clopper_pearson_upper(k: u64, n: u64, alpha: f64) -> Option<f64> {
    // By symmetry, so that a rate near 1 keeps its distance from 1.
    clopper_pearson_lower(n.checked_sub(k)?, n, alpha).map(|lower| 1.0 - lower)
}

/// A pass rate with Wilson's interval and the binomial standard error.
pub fn proportion(k: u64, n: u64, level: f64) -> Estimate {
    let Some(interval) = wilson(k, n, level) else {
        return Estimate::absent(Status::Empty, 0, 0, "wilson");
    };
    let rate = k as f64 / n as f64;
    Estimate {
        status: Status::Ok,
        n,
        clusters: n,
        estimate: Some(rate),
        // Of no use at 0 or 1, where it would read as certainty.
        se: (k > 0 && k < n).then(|| (rate * (1.0 - rate) / n as f64).sqrt()),
        interval: Some(interval),
        method: "wilson".to_owned(),
        ..Estimate::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::dist::binomial_pmf;

    #[test]
    fn no_trials_give_no_interval() {
        assert_eq!(wilson(0, 0, 0.95), None);
        assert_eq!(wilson(3, 2, 0.95), None);
        assert_eq!(proportion(0, 0, 0.95).status, Status::Empty);
    }

    #[test]
    fn all_pass_is_not_certainty() {
        let all = proportion(20, 20, 0.95);
        let interval = all.interval.unwrap();
        assert_eq!(interval.hi, 1.0);
        assert!(interval.lo > 0.8 && interval.lo < 0.85);
        assert_eq!(all.se, None);
        let exact = clopper_pearson_lower(20, 20, 0.05).unwrap();
        assert!((exact - 0.05_f64.powf(0.05)).abs() < 1e-12);
    }

    /// Textbook definition: the rate at which P(X >= k) is alpha, found by bisection over sums of probabilities.
    #[test]
    fn clopper_pearson_inverts_the_binomial_tail() {
        for (k, n) in [(1, 7), (5, 9), (40, 41), (100, 260)] {
            let (mut low, mut high) = (0.0, 1.0);
            for _ in 0..200 {
                let middle = 0.5 * (low + high);
                let tail: f64 = (k..=n).map(|x| binomial_pmf(x, n, middle)).sum();
                if tail < 0.05 { low = middle } else { high = middle }
            }
            assert!((clopper_pearson_lower(k, n, 0.05).unwrap() - low).abs() < 1e-10, "{k} of {n}");
        }
    }

    /// Exact coverage over the binomial distribution, not a simulation (methods appendix A.4).
    #[test]
    fn wilson_covers_where_wald_does_not() {
        for (n, p) in [(20_u64, 0.99), (100, 0.95), (50, 0.5)] {
            let covered: f64 = (0..=n)
                .filter(|&k| wilson(k, n, 0.95).is_some_and(|interval| interval.lo <= p && p <= interval.hi))
                .map(|k| binomial_pmf(k, n, p))
                .sum();
            assert!(covered > 0.93, "n = {n}, p = {p}: {covered}");
        }
    }
}
