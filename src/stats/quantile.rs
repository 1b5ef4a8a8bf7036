//! Quantiles with intervals that assume nothing of the shape: for latency, cost and counts.

use super::{
    Estimate, Interval, Status,
    dist::{binomial_cdf, binomial_pmf},
    moments,
};

/// A quantile of independent values and the ranks of its interval's ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantileInterval {
    /// Type-7 (linear) estimate.
    pub estimate: Option<f64>,
    /// Lower end and its one-based rank; `None` when no order statistic reaches the level.
    pub lower: Option<(f64, u64)>,
    /// Upper end and its rank.
    pub upper: Option<(f64, u64)>,
}

/// The type-7 quantile of ascending values; `None` without values or with `p` outside [0, 1].
pub fn quantile_sorted(sorted: &[f64], p: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&p) {
        return None;
    }
    let place = p * sorted.len().checked_sub(1)? as f64;
    let below = place.floor();
    let low = *sorted.get(below as usize)?;
    let high = sorted.get(below as usize + 1).copied().unwrap_or(low);
    Some(low + (place - below) * (high - low))
}

/// Quantile with its order-statistic interval at a two-sided level.
///
/// `lower` is the greatest order statistic whose chance of lying above the true quantile is at most half of what the
/// level leaves; `upper` mirrors it.
pub fn quantile(values: &[f64], p: f64, level: f64) -> QuantileInterval {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as u64;
    let alpha = 0.5 * (1.0 - level);
    let at = |rank: u64| sorted.get((rank as usize).checked_sub(1)?).map(|value| (*value, rank));
    QuantileInterval {
        estimate: quantile_sorted(&sorted, p),
        lower: lower_rank(n, p, alpha).and_then(at),
        upper: lower_rank(n, 1.0 - p, alpha).map(|rank| n + 1 - rank).and_then(at),
    }
}

/// The quantile as an estimate; the interval is present only when both ends are.
pub fn quantile_estimate(values: &[f64], p: f64, level: f64) -> Estimate {
    let found = quantile(values, p, level);
    let n = values.iter().filter(|value| value.is_finite()).count() as u64;
    Estimate {
        status: if found.estimate.is_some() { Status::Ok } else { Status::Empty },
        n,
        clusters: n,
        n_dropped: values.len() as u64 - n,
        estimate: found.estimate,
        interval: found
            .lower
            .zip(found.upper)
            .map(|((lo, _), (hi, _))| Interval::new(lo, hi, level, "order_statistics")),
        method: "quantile_type_7".to_owned(),
        ..Estimate::default()
    }
}

/// The greatest rank l with P(Bin(n, p) <= l - 1) <= alpha.
fn lower_rank(n: u64, p: f64, alpha: f64) -> Option<u64> {
    let (mut low, mut high) = (0, n);
    // The probability rises with l, so that halving finds the last that fits.
    while low < high {
        let middle = (low + high).div_ceil(2);
        if below(middle - 1, n, p) <= alpha { low = middle } else { high = middle - 1 }
    }
    (low > 0).then_some(low)
}

fn below(k: u64, n: u64, p: f64) -> f64 {
    if n <= 64 { moments::sum((0..=k).map(|x| binomial_pmf(x, n, p))) } else { binomial_cdf(k, n, p) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_samples_have_no_bound_for_the_tail() {
        let values: Vec<f64> = (0..40).map(f64::from).collect();
        let found = quantile(&values, 0.95, 0.90);
        assert!(found.lower.is_some() && found.upper.is_none(), "an upper bound needs 59 values");
        let values: Vec<f64> = (0..59).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.95, 0.90).upper, Some((58.0, 59)));
        assert_eq!(quantile_estimate(&[], 0.5, 0.95).status, Status::Empty);
    }
}
