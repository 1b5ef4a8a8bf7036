//! Paired comparison of numbers: the t interval of differences, shown beside what it would be unpaired.
//!
//! Comparisons use `cluster` on differences; this is the textbook form for one cluster per pair.

use super::{
    Interval, Status,
    dist::{t_cdf, t_quantile, t_sf},
    moments,
};

/// A paired t comparison, second minus first; `None` where not defined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairedT {
    /// Whether the test is defined.
    pub status: Status,
    /// Complete pairs.
    pub n: u64,
    /// Pairs left out because a side is missing.
    pub n_dropped: u64,
    /// Mean difference.
    pub delta: Option<f64>,
    /// Standard error of the mean difference; 0 when all differences are equal.
    pub se: Option<f64>,
    /// What the standard error would be without pairing.
    pub se_unpaired: Option<f64>,
    /// Correlation of the two sides; `None` when a side does not vary.
    pub correlation: Option<f64>,
    /// Degrees of freedom.
    pub df: Option<f64>,
    /// Statistic.
    pub t: Option<f64>,
    /// Two-sided p.
    pub p_two_sided: Option<f64>,
    /// One-sided p that the second is less.
    pub p_less: Option<f64>,
    /// Interval; `None` when all differences are equal.
    pub interval: Option<Interval>,
}

/// Paired t over pairs of which both sides are there.
pub fn paired_t(first: &[Option<f64>], second: &[Option<f64>], level: f64) -> PairedT {
    let total = first.len().min(second.len());
    let (a, b): (Vec<f64>, Vec<f64>) = first.iter().zip(second).filter_map(|(a, b)| a.zip(*b)).unzip();
    let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b - a).collect();
    let n = differences.len();
    let base = PairedT { n: n as u64, n_dropped: (total - n) as u64, ..PairedT::default() };
    let Some(delta) = moments::mean(&differences) else {
        return base;
    };
    let (Some(var_a), Some(var_b), Some(var_d)) =
        (moments::variance(&a), moments::variance(&b), moments::variance(&differences))
    else {
        return PairedT { status: Status::Insufficient, delta: Some(delta), ..base };
    };
    let count = n as f64;
    let covariance = 0.5 * (var_a + var_b - var_d);
    let equal = moments::all_equal(&differences);
    let varies = !moments::all_equal(&a) && !moments::all_equal(&b);
    let df = count - 1.0;
    let found = PairedT {
        status: if equal { Status::ZeroVariance } else { Status::Ok },
        delta: Some(delta),
        se: Some(if equal { 0.0 } else { (var_d / count).sqrt() }),
        se_unpaired: Some(((var_a + var_b) / count).sqrt()),
        correlation: varies.then(|| (covariance / (var_a * var_b).sqrt()).clamp(-1.0, 1.0)),
        df: Some(df),
        ..base
    };
    let Some(se) = found.se.filter(|se| *se > 0.0) else {
        return found;
    };
    let t = delta / se;
    let half = t_quantile(0.5 + 0.5 * level, df) * se;
    PairedT {
        t: Some(t),
        p_two_sided: Some((2.0 * t_sf(t.abs(), df)).min(1.0)),
        p_less: Some(t_cdf(t, df)),
        interval: Some(Interval::new(delta - half, delta + half, level, "student_t")),
        ..found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_sides_are_counted() {
        let found = paired_t(&[Some(0.1), None, Some(0.5), Some(0.2)], &[Some(0.3), Some(1.0), None, Some(0.6)], 0.95);
        assert_eq!((found.n, found.n_dropped, found.status), (2, 2, Status::Ok));
        assert_eq!(paired_t(&[None], &[Some(1.0)], 0.95).status, Status::Empty);
    }
}
