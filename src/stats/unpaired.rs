//! Difference of two independent samples: the fallback when two runs share no example.

use super::{
    Estimate, Interval, Status,
    dist::{t_quantile, t_sf},
    moments,
    proportion::wilson,
};

/// Welch's comparison, second minus first. Empty when an arm has no value, insufficient when one has a single
/// value, without interval when neither varies.
pub fn welch(first: &[f64], second: &[f64], level: f64) -> Estimate {
    const METHOD: &str = "welch_t";
    let n = (first.len() + second.len()) as u64;
    let (Some(mean_a), Some(mean_b)) = (moments::mean(first), moments::mean(second)) else {
        return Estimate::absent(Status::Empty, n, n, METHOD);
    };
    let base =
        Estimate { n, clusters: n, estimate: Some(mean_b - mean_a), method: METHOD.to_owned(), ..Estimate::default() };
    let (Some(var_a), Some(var_b)) = (moments::variance(first), moments::variance(second)) else {
        return Estimate { status: Status::Insufficient, ..base };
    };
    if !moments::all_finite(first) || !moments::all_finite(second) {
        return Estimate { status: Status::Undefined, estimate: None, ..base };
    }
    if moments::all_equal(first) && moments::all_equal(second) {
        return Estimate { status: Status::ZeroVariance, ..base };
    }
    let (a, b) = (var_a / first.len() as f64, var_b / second.len() as f64);
    let se = (a + b).sqrt();
    let df = (a + b) * (a + b) / (a * a / (first.len() as f64 - 1.0) + b * b / (second.len() as f64 - 1.0));
    let half = t_quantile(0.5 + 0.5 * level, df) * se;
    let point = mean_b - mean_a;
    Estimate {
        status: Status::Ok,
        se: Some(se),
        df: Some(df),
        interval: Some(Interval::new(point - half, point + half, level, METHOD)),
        ..base
    }
}

/// Difference of two independent estimates, second minus first, with Satterthwaite's degrees of freedom. For plain
/// means it is Welch's; for clustered or weighted ones it carries their standard errors.
pub fn independent_difference(first: &Estimate, second: &Estimate, level: f64) -> Estimate {
    const METHOD: &str = "independent_t";
    let (n, clusters) = (first.n + second.n, first.clusters + second.clusters);
    let (Some(a), Some(b)) = (first.estimate, second.estimate) else {
        return Estimate::absent(Status::Empty, n, clusters, METHOD);
    };
    let point = b - a;
    let base = Estimate { n, clusters, estimate: Some(point), method: METHOD.to_owned(), ..Estimate::default() };
    // An arm without spread adds none; with neither there is nothing to reckon with.
    let part = |arm: &Estimate| match (arm.se.zip(arm.df), arm.status) {
        (Some((se, df)), _) => Some((se * se, df)),
        (None, Status::ZeroVariance) => Some((0.0, 1.0)),
        (None, _) => None,
    };
    let (Some((va, da)), Some((vb, db))) = (part(first), part(second)) else {
        return Estimate { status: Status::Insufficient, ..base };
    };
    let variance = va + vb;
    if variance <= 0.0 {
        return Estimate { status: Status::ZeroVariance, ..base };
    }
    let df = variance * variance / (va * va / da + vb * vb / db);
    let se = variance.sqrt();
    let half = t_quantile(0.5 + 0.5 * level, df) * se;
    Estimate {
        status: Status::Ok,
        se: Some(se),
        df: Some(df),
        interval: Some(Interval::new(point - half, point + half, level, METHOD)),
        ..base
    }
}

/// Two-sided p of an estimate with standard error and degrees of freedom; `None` where they are not defined.
pub fn two_sided_p(estimate: &Estimate) -> Option<f64> {
    let (point, se, df) = (estimate.estimate?, estimate.se.filter(|se| *se > 0.0)?, estimate.df?);
    Some((2.0 * t_sf((point / se).abs(), df)).min(1.0))
}

/// Newcombe's hybrid score interval (1998) for a difference of rates, second minus first; `None` when an arm is empty.
pub fn newcombe(first: (u64, u64), second: (u64, u64), level: f64) -> Option<Interval> {
    let (a, b) = (wilson(first.0, first.1, level)?, wilson(second.0, second.1, level)?);
    let (rate_a, rate_b) = (first.0 as f64 / first.1 as f64, second.0 as f64 / second.1 as f64);
    let point = rate_b - rate_a;
    let lo = point - ((rate_b - b.lo).powi(2) + (a.hi - rate_a).powi(2)).sqrt();
    let hi = point + ((b.hi - rate_b).powi(2) + (rate_a - a.lo).powi(2)).sqrt();
    Some(Interval::new(lo, hi, level, "newcombe"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::mean_t;

    #[test]
    fn plain_means_give_welch() {
        let (a, b) = ([0.1, 0.9, 0.4, 0.3], [0.8, 0.7, 1.0, 0.2, 0.9]);
        let arms = (mean_t(&a, None, 0.95), mean_t(&b, None, 0.95));
        let (found, expected) = (independent_difference(&arms.0, &arms.1, 0.95), welch(&a, &b, 0.95));
        assert!((found.df.unwrap() - expected.df.unwrap()).abs() < 1e-9);
        assert!((found.interval.unwrap().lo - expected.interval.unwrap().lo).abs() < 1e-9);
    }

    #[test]
    fn arms_too_small_have_no_interval() {
        assert_eq!(welch(&[], &[1.0], 0.95).status, Status::Empty);
        assert_eq!(welch(&[1.0], &[1.0, 2.0], 0.95).status, Status::Insufficient);
        assert_eq!(welch(&[1.0, 1.0], &[2.0, 2.0], 0.95).status, Status::ZeroVariance);
        assert!(newcombe((0, 0), (1, 1), 0.95).is_none());
        assert!(newcombe((5, 5), (5, 5), 0.95).is_some_and(|interval| interval.lo < -0.3));
    }
}
