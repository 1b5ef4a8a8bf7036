//! Signs and signed ranks of paired differences: the scale-free panel beside the mean of ordinal scores.
//!
//! Never the statistic of a gate: it tests symmetry, not the mean.

use super::{
    Status,
    dist::normal_sf,
    moments::{all_finite, ranks},
};

/// What to do with differences of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// Leave them out before ranking.
    Drop,
    /// Rank them, then leave their ranks out (Pratt 1959): they pull toward "no change".
    Pratt,
}

/// A signed-rank test by the normal approximation with correction for ties, without continuity correction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SignedRank {
    /// The lesser of the two rank sums; `None` when all differences are 0.
    pub statistic: Option<f64>,
    /// Two-sided p.
    pub p_two_sided: Option<f64>,
    /// One-sided p toward less than 0.
    pub p_less: Option<f64>,
}

/// Which way differences point.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signs {
    /// Empty, no information (all 0), or fine.
    pub status: Status,
    /// Differences other than 0.
    pub nonzero: u64,
    /// P(second > first) - P(second < first).
    pub net_sign: Option<f64>,
    /// `(net_sign + 1) / 2`.
    pub superiority: Option<f64>,
    /// Sum of ranks of positive differences, zeros dropped.
    pub w_plus: Option<f64>,
    /// Sum of ranks of negative differences.
    pub w_minus: Option<f64>,
    /// `(W+ - W-) / (W+ + W-)`; 0 when all differences are 0.
    pub rank_biserial: Option<f64>,
}

/// Signs and rank sums of differences.
pub fn signs(differences: &[f64]) -> Signs {
    if differences.is_empty() {
        return Signs::default();
    }
    if !all_finite(differences) {
        return Signs { status: Status::Undefined, ..Signs::default() };
    }
    let kept: Vec<f64> = differences.iter().copied().filter(|value| *value != 0.0).collect();
    let positive = kept.iter().filter(|value| **value > 0.0).count() as f64;
    let net = (2.0 * positive - kept.len() as f64) / differences.len() as f64;
    let found = Signs {
        status: if kept.is_empty() { Status::NoInformation } else { Status::Ok },
        nonzero: kept.len() as u64,
        net_sign: Some(net),
        superiority: Some(0.5 * (net + 1.0)),
        rank_biserial: Some(0.0),
        ..Signs::default()
    };
    if kept.is_empty() {
        return found;
    }
    let (plus, minus) = rank_sums(&kept, Zeros::Drop);
    Signs { w_plus: Some(plus), w_minus: Some(minus), rank_biserial: Some((plus - minus) / (plus + minus)), ..found }
}

/// The signed-rank test; all `None` without differences.
pub fn signed_rank(differences: &[f64], zeros: Zeros) -> SignedRank {
    let kept: Vec<f64> = match zeros {
        Zeros::Drop => differences.iter().copied().filter(|value| *value != 0.0).collect(),
        Zeros::Pratt => differences.to_vec(),
    };
    if differences.is_empty() || !all_finite(differences) {
        return SignedRank::default();
    }
    if kept.iter().all(|value| *value == 0.0) {
        return SignedRank { statistic: None, p_two_sided: Some(1.0), p_less: Some(1.0) };
    }
    let (plus, minus) = rank_sums(&kept, zeros);
    let magnitudes: Vec<f64> = kept.iter().map(|value| value.abs()).collect();
    let n = kept.len() as f64;
    let zero = kept.iter().filter(|value| **value == 0.0).count() as f64;
    let mean = (n * (n + 1.0) - zero * (zero + 1.0)) / 4.0;
    let mut variance = n * (n + 1.0) * (2.0 * n + 1.0) - zero * (zero + 1.0) * (2.0 * zero + 1.0);
    // Ties among magnitudes other than 0; zeros are already accounted for.
    let nonzero: Vec<f64> = magnitudes.into_iter().filter(|value| *value != 0.0).collect();
    for size in ranks(&nonzero).1 {
        let size = size as f64;
        variance -= 0.5 * (size * size * size - size);
    }
    let z = (plus - mean) / (variance / 24.0).sqrt();
    SignedRank {
        statistic: Some(plus.min(minus)),
        p_two_sided: Some((2.0 * normal_sf(z.abs())).min(1.0)),
        p_less: Some(normal_sf(-z)),
    }
}

/// Exact two-sided p and p toward less than 0; `None` with ties, zeros or more than 60 differences.
pub fn signed_rank_exact(differences: &[f64]) -> Option<(f64, f64)> {
    let magnitudes: Vec<f64> = differences.iter().map(|value| value.abs()).collect();
    let (_, groups) = ranks(&magnitudes);
    let tied = groups.iter().any(|size| *size > 1) || magnitudes.contains(&0.0);
    let n = differences.len();
    if n == 0 || n > 60 || tied || !all_finite(differences) {
        return None;
    }
    let (plus, minus) = rank_sums(differences, Zeros::Drop);
    // Ways to reach each sum of ranks, halved at every step so that they stay probabilities.
    let most = n * (n + 1) / 2;
    let mut ways = vec![0.0_f64; most + 1];
    ways[0] = 1.0;
    for rank in 1..=n {
        for total in (0..=most).rev() {
            let with = if total >= rank { ways[total - rank] } else { 0.0 };
            ways[total] = 0.5 * (ways[total] + with);
        }
    }
    let up_to = |total: f64| ways.iter().take(total as usize + 1).sum::<f64>();
    Some(((2.0 * up_to(plus.min(minus))).min(1.0), up_to(plus).min(1.0)))
}

fn rank_sums(values: &[f64], zeros: Zeros) -> (f64, f64) {
    let magnitudes: Vec<f64> = values.iter().map(|value| value.abs()).collect();
    let (ranks, _) = ranks(&magnitudes);
    let sum = |keep: &dyn Fn(f64) -> bool| {
        values.iter().zip(&ranks).filter(|(value, _)| keep(**value)).map(|(_, rank)| rank).sum::<f64>()
    };
    debug_assert!(zeros == Zeros::Pratt || !values.contains(&0.0));
    (sum(&|value| value > 0.0), sum(&|value| value < 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_zero_says_nothing() {
        let found = signs(&[0.0, 0.0]);
        assert_eq!((found.status, found.rank_biserial), (Status::NoInformation, Some(0.0)));
        assert_eq!(signed_rank(&[0.0], Zeros::Pratt).p_two_sided, Some(1.0));
        assert_eq!(signs(&[]).status, Status::Empty);
        assert_eq!(signed_rank_exact(&[1.0, -1.0]), None);
    }

    /// Slow definition: all 2^n sign patterns.
    #[test]
    fn exact_test_counts_sign_patterns() {
        let differences = [0.3, -0.1, 0.7, 1.2, -0.4, 0.9, 2.0, -1.1];
        let (two, less) = signed_rank_exact(&differences).unwrap();
        let magnitudes: Vec<f64> = differences.iter().map(|value: &f64| value.abs()).collect();
        let (ranks, _) = ranks(&magnitudes);
        let seen: f64 = differences.iter().zip(&ranks).filter(|(d, _)| **d > 0.0).map(|(_, r)| r).sum();
        let patterns = 1_u32 << differences.len();
        let below = (0..patterns)
            .filter(|pattern| {
                let plus: f64 =
                    ranks.iter().enumerate().filter(|(bit, _)| pattern >> bit & 1 == 1).map(|(_, r)| r).sum();
                plus <= seen
            })
            .count();
        assert!((less - below as f64 / f64::from(patterns)).abs() < 1e-12);
        assert!(two <= 1.0 && two >= 2.0 * (1.0 - less) - 1e-12);
    }
}
