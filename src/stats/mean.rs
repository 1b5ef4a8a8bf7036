//! Means of independent values: Student's t, and intervals for bounded values that need no variance.
//!
//! Clusters and weights are `cluster`'s work.

use super::{Estimate, Interval, Status, dist::t_quantile, moments};

/// Mean with Student's t interval; values must be independent.
///
/// When all values are equal the t interval would be a point; with a known `range` (least, greatest possible
/// value) the interval of [`equal_values`] stands in, without one there is no interval.
pub fn mean_t(values: &[f64], range: Option<(f64, f64)>, level: f64) -> Estimate {
    const METHOD: &str = "student_t";
    let n = values.len() as u64;
    let Some(center) = moments::mean(values) else {
        return Estimate::absent(Status::Empty, 0, 0, METHOD);
    };
    if !moments::all_finite(values) {
        return Estimate::absent(Status::Undefined, n, n, METHOD);
    }
    let base = Estimate { n, clusters: n, estimate: Some(center), method: METHOD.to_owned(), ..Estimate::default() };
    if n == 1 {
        return Estimate { status: Status::Insufficient, ..base };
    }
    if moments::all_equal(values) {
        let interval = range.and_then(|range| equal_values(center, n, range, level));
        return Estimate { status: Status::ZeroVariance, interval, ..base };
    }
    let se = (moments::squares(values, center) / (n as f64 - 1.0) / n as f64).sqrt();
    let df = n as f64 - 1.0;
    let half = t_quantile(0.5 + 0.5 * level, df) * se;
    Estimate {
        status: Status::Ok,
        se: Some(se),
        df: Some(df),
        interval: Some(Interval::new(center - half, center + half, level, METHOD)),
        ..base
    }
}

/// Interval for a mean when all `n` independent values equal `value` on a known range.
///
/// If more than `q = 1 - (alpha/2)^(1/n)` of the population differed from the value, `n` equal draws would have
/// probability below `alpha/2`; the rest may sit at either end of the range (methods 1.7). For yes-or-no values
/// that all pass it is Clopper and Pearson's interval. `None` when the value lies outside the range or the range is
/// empty.
pub fn equal_values(value: f64, n: u64, range: (f64, f64), level: f64) -> Option<Interval> {
    let (least, greatest) = range;
    if n == 0 || least >= greatest || value < least || value > greatest {
        return None;
    }
    let unseen = unseen_share(n as f64, 0.5 * (1.0 - level));
    Some(Interval::new(value - unseen * (value - least), value + unseen * (greatest - value), level, "equal_values"))
}

/// `1 - alpha^(1/n)`: the share of a population that `n` equal draws leave room for.
pub(super) fn unseen_share(n: f64, alpha: f64) -> f64 {
    -(alpha.ln() / n).exp_m1()
}

/// Hoeffding's interval for a mean of values in a range; valid for any n >= 1.
pub fn hoeffding(values: &[f64], range: (f64, f64), level: f64) -> Option<Interval> {
    let center = moments::mean(values)?;
    let width = range.1 - range.0;
    if width <= 0.0 || !moments::all_finite(values) {
        return None;
    }
    let half = width * ((2.0 / (1.0 - level)).ln() / (2.0 * values.len() as f64)).sqrt();
    Some(clipped(center, half, range, level, "hoeffding"))
}

/// Maurer and Pontil's empirical Bernstein interval (2009) for a mean of values in a range; needs two values.
pub fn empirical_bernstein(values: &[f64], range: (f64, f64), level: f64) -> Option<Interval> {
    let center = moments::mean(values)?;
    let width = range.1 - range.0;
    if width <= 0.0 || !moments::all_finite(values) {
        return None;
    }
    let n = values.len() as f64;
    let variance = moments::variance(values)? / (width * width);
    let log = (4.0 / (1.0 - level)).ln();
    let half = width * ((2.0 * variance * log / n).sqrt() + 7.0 * log / (3.0 * (n - 1.0)));
    Some(clipped(center, half, range, level, "empirical_bernstein"))
}

fn clipped(center: f64, half: f64, range: (f64, f64), level: f64, method: &str) -> Interval {
    Interval::new((center - half).max(range.0), (center + half).min(range.1), level, method)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::clopper_pearson;

    #[test]
    fn few_values_have_a_status_and_no_interval() {
        assert_eq!(mean_t(&[], None, 0.95).status, Status::Empty);
        let one = mean_t(&[0.4], Some((0.0, 1.0)), 0.95);
        assert_eq!((one.status, one.estimate, one.interval), (Status::Insufficient, Some(0.4), None));
        assert_eq!(mean_t(&[1.0, f64::NAN], None, 0.95).status, Status::Undefined);
    }

    #[test]
    fn equal_values_are_no_point() {
        let equal = mean_t(&[1.0; 30], Some((0.0, 1.0)), 0.95);
        assert_eq!(equal.status, Status::ZeroVariance);
        let (interval, exact) = (equal.interval.unwrap(), clopper_pearson(30, 30, 0.95).unwrap());
        assert!((interval.lo - exact.lo).abs() < 1e-12 && interval.hi == 1.0);
        assert_eq!(mean_t(&[3.0; 30], None, 0.95).interval, None);
    }
}
