//! Paired yes-or-no values: McNemar's tests and Tango's score interval for the difference of rates.
//!
//! One value per pair, independent pairs of equal weight. Repeated trials, clusters or weights go through `cluster`.

use super::{
    Estimate, Interval, Status,
    dist::{binomial_cdf, binomial_pmf, normal_quantile, normal_sf},
    margin::{Bounds, MarginTest},
};

/// How pairs moved between two versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairedCounts {
    /// Failed first, passed second.
    pub improved: u64,
    /// Passed first, failed second.
    pub worsened: u64,
    /// All pairs, unchanged ones included.
    pub n: u64,
}

/// McNemar's tests of "as many improved as worsened".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// Exact two-sided p.
    pub exact: f64,
    /// Two-sided mid-p (Fagerland, Lydersen and Laake 2013): closer to its level than the exact test.
    pub mid_p: f64,
    /// One-sided mid-p that the second is worse.
    pub mid_p_worse: f64,
    /// Chi-squared statistic with continuity correction; `None` without discordant pairs.
    pub chi2_corrected: Option<f64>,
}

impl PairedCounts {
    /// Pairs that changed sides.
    pub fn discordant(&self) -> u64 {
        self.improved + self.worsened
    }

    /// Difference of rates, second minus first; `None` without pairs.
    pub fn difference(&self) -> Option<f64> {
        (self.n > 0).then(|| (self.improved as f64 - self.worsened as f64) / self.n as f64)
    }
}

/// McNemar's tests; `None` without pairs. Without discordant pairs every two-sided p is 1.
pub fn mcnemar(counts: PairedCounts) -> Option<McNemar> {
    let discordant = counts.discordant();
    if counts.n == 0 || discordant > counts.n {
        return None;
    }
    if discordant == 0 {
        return Some(McNemar { exact: 1.0, mid_p: 1.0, mid_p_worse: 1.0, chi2_corrected: None });
    }
    let least = counts.improved.min(counts.worsened);
    let below = |k: u64| if k == 0 { 0.0 } else { binomial_cdf(k - 1, discordant, 0.5) };
    let at = |k: u64| binomial_pmf(k, discordant, 0.5);
    let distance = counts.improved.abs_diff(counts.worsened) as f64 - 1.0;
    // At a tie both two-sided tests are 1: nothing points either way.
    let tie = counts.improved == counts.worsened;
    Some(McNemar {
        exact: (2.0 * binomial_cdf(least, discordant, 0.5)).min(1.0),
        mid_p: if tie { 1.0 } else { (2.0 * below(least) + at(least)).min(1.0) },
        mid_p_worse: below(counts.improved) + 0.5 * at(counts.improved),
        chi2_corrected: Some(distance * distance / discordant as f64),
    })
}

/// Tango's score statistic (1998) for "the difference of rates is `delta`"; positive when the data lie above it.
///
/// Infinite at impossible differences. `None` without pairs.
pub fn tango_z(counts: PairedCounts, delta: f64) -> Option<f64> {
    if counts.n == 0 {
        return None;
    }
    let (x, y, n) = (counts.improved as f64, counts.worsened as f64, counts.n as f64);
    let distance = x - y - n * delta;
    let a = 2.0 * n;
    let b = -x - y + (2.0 * n - x + y) * delta;
    let c = -y * delta * (1.0 - delta);
    // The root is taken without cancellation whichever sign b has.
    let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
    let worsened = if b <= 0.0 { (root - b) / (2.0 * a) } else { -2.0 * c / (root + b) };
    let variance = n * (2.0 * worsened + delta * (1.0 - delta));
    if variance <= 0.0 {
        return Some(if distance == 0.0 { 0.0 } else { distance.signum() * f64::INFINITY });
    }
    Some(distance / variance.sqrt())
}

/// Tango's score interval for the difference of rates, second minus first. Informative without a discordant pair.
pub fn tango_interval(counts: PairedCounts, level: f64) -> Option<Interval> {
    let z = normal_quantile(0.5 + 0.5 * level);
    let point = counts.difference()?;
    let lo = solve(counts, z, -1.0, point);
    let hi = solve(counts, -z, point, 1.0);
    Some(Interval::new(lo, hi, level, "tango"))
}

/// The delta in [low, high] at which the statistic, which falls with delta, reaches `target`.
fn solve(counts: PairedCounts, target: f64, low: f64, high: f64) -> f64 {
    let (mut low, mut high) = (low, high);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if tango_z(counts, middle).is_some_and(|z| z > target) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Difference of rates with Tango's interval. The standard error is Wald's and only for display; it is absent
/// without discordant pairs.
pub fn tango(counts: PairedCounts, level: f64) -> Estimate {
    let (Some(point), Some(interval)) = (counts.difference(), tango_interval(counts, level)) else {
        return Estimate::absent(Status::Empty, 0, 0, "tango");
    };
    let n = counts.n as f64;
    let variance = (counts.discordant() as f64 / n - point * point) / n;
    Estimate {
        status: if counts.discordant() == 0 { Status::NoInformation } else { Status::Ok },
        n: counts.n,
        clusters: counts.n,
        estimate: Some(point),
        se: (variance > 0.0).then(|| variance.sqrt()),
        interval: Some(interval),
        method: "tango".to_owned(),
        ..Estimate::default()
    }
}

/// The tests of a gate on a difference of rates, by score statistics (higher is better).
pub fn tango_margin(counts: PairedCounts, margin: f64, alpha: f64) -> Option<MarginTest> {
    let z = |delta: f64| tango_z(counts, delta);
    let interval = tango_interval(counts, 1.0 - 2.0 * alpha)?;
    Some(MarginTest {
        bounds: Bounds { lower: interval.lo, upper: interval.hi },
        p_worse: Some(normal_sf(-z(0.0)?)),
        p_better: Some(normal_sf(z(0.0)?)),
        p_not_inferior: Some(normal_sf(z(-margin)?)),
        p_not_superior: Some(normal_sf(-z(margin)?)),
        p_material_worse: Some(normal_sf(-z(-margin)?)),
        p_material_better: Some(normal_sf(z(margin)?)),
        margin,
        alpha,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pairs_and_no_discordance() {
        assert_eq!(mcnemar(PairedCounts::default()), None);
        assert_eq!(tango(PairedCounts::default(), 0.95).status, Status::Empty);
        let same = tango(PairedCounts { improved: 0, worsened: 0, n: 30 }, 0.95);
        assert_eq!(same.status, Status::NoInformation);
        let interval = same.interval.unwrap();
        assert!((interval.hi - 0.1135).abs() < 1e-3 && (interval.lo + interval.hi).abs() < 1e-9);
    }

    #[test]
    fn one_pair_is_nearly_everything() {
        let one = tango(PairedCounts { improved: 0, worsened: 1, n: 1 }, 0.95).interval.unwrap();
        assert!(one.lo < -0.99 && one.hi > 0.5);
    }

    /// Textbook definition of the exact test: doubled sum of binomial probabilities.
    #[test]
    fn exact_is_the_doubled_tail() {
        for (improved, worsened) in [(54_u64, 28_u64), (3, 9), (0, 6)] {
            let n = improved + worsened;
            let mut term = 0.5_f64.powi(i32::try_from(n).unwrap());
            let mut tail = 0.0;
            for k in 0..=improved.min(worsened) {
                tail += term;
                term *= (n - k) as f64 / (k + 1) as f64;
            }
            let found = mcnemar(PairedCounts { improved, worsened, n: 500 }).unwrap();
            assert!((found.exact - 2.0 * tail).abs() < 1e-12);
        }
    }

    /// One-sided error of the score test over all outcomes at 12 % discordance, by enumeration (appendix A.1).
    #[test]
    fn the_score_test_keeps_its_level() {
        let n = 100_u64;
        let mut error = 0.0;
        for discordant in 0..=40 {
            for improved in 0..=discordant {
                let counts = PairedCounts { improved, worsened: discordant - improved, n };
                let p = normal_sf(-tango_z(counts, 0.0).unwrap());
                if p <= 0.05 {
                    error += binomial_pmf(discordant, n, 0.12) * binomial_pmf(improved, discordant, 0.5);
                }
            }
        }
        assert!(error > 0.03 && error < 0.06, "{error}");
    }
}
