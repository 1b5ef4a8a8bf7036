//! Sign-flip permutation test of paired differences: the check beside the t interval when clusters are few.
//!
//! Assumes that under no change each cluster's sum of differences is as likely to have either sign.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::{Status, cluster::group, moments};

/// Clusters up to which all sign patterns are enumerated.
pub const EXACT_CLUSTERS: usize = 16;

/// Share of sign patterns at least as extreme as what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SignFlip {
    /// Whether the test is defined.
    pub status: Status,
    /// Two-sided p.
    pub two_sided: Option<f64>,
    /// Toward less than 0.
    pub less: Option<f64>,
    /// Toward more than 0.
    pub greater: Option<f64>,
    /// Two-sided p of the studentised statistic; only by enumeration.
    pub studentized: Option<f64>,
    /// Clusters whose sum is not 0. The least two-sided p by enumeration is `2^(1 - this)`.
    pub informative: u64,
    /// Whether all patterns were enumerated.
    pub exact: bool,
}

/// Tests that differences minus `shift` are symmetric about 0.
///
/// Exact while at most [`EXACT_CLUSTERS`] clusters have a sum other than 0 (flipping a 0 changes nothing); else
/// `draws` random patterns from `seed`, with `(1 + extreme) / (1 + draws)`.
pub fn sign_flip(differences: &[f64], clusters: &[usize], shift: f64, draws: u32, seed: u64) -> SignFlip {
    if differences.is_empty() {
        return SignFlip { status: Status::Empty, ..SignFlip::default() };
    }
    if !moments::all_finite(differences) {
        return SignFlip { status: Status::Undefined, ..SignFlip::default() };
    }
    let all: Vec<f64> =
        group(differences.iter().map(|value| value - shift), clusters).into_iter().map(|(_, sum)| sum).collect();
    let scale = moments::sum(all.iter().map(|sum| sum.abs()));
    let sums: Vec<f64> = all.iter().copied().filter(|sum| sum.abs() > 1e-12 * scale).collect();
    if sums.is_empty() {
        let one = Some(1.0);
        return SignFlip {
            status: Status::NoInformation,
            two_sided: one,
            less: one,
            greater: one,
            studentized: None,
            informative: 0,
            exact: true,
        };
    }
    let mut found =
        if sums.len() <= EXACT_CLUSTERS { enumerate(&sums, all.len(), scale) } else { draw(&sums, scale, draws, seed) };
    found.informative = sums.len() as u64;
    found
}

fn enumerate(sums: &[f64], clusters: usize, scale: f64) -> SignFlip {
    let observed = moments::sum(sums.iter().copied());
    let squares = moments::sum(sums.iter().map(|sum| sum * sum));
    let count = clusters as f64;
    // T²/(k s²) with s² from the flipped sums; monotone in |T| because flipping leaves the sum of squares alone.
    let student = |total: f64| total.abs() / ((squares - total * total / count).max(0.0)).sqrt();
    let tolerance = 1e-12 * scale;
    let patterns = 1_u32 << sums.len();
    let (mut two, mut less, mut greater, mut studentized) = (0_u32, 0_u32, 0_u32, 0_u32);
    for pattern in 0..patterns {
        let total: f64 =
            sums.iter().enumerate().map(|(bit, sum)| if pattern >> bit & 1 == 1 { -sum } else { *sum }).sum();
        two += u32::from(total.abs() >= observed.abs() - tolerance);
        less += u32::from(total <= observed + tolerance);
        greater += u32::from(total >= observed - tolerance);
        let (seen, reached) = (student(observed), student(total));
        studentized += u32::from(reached >= seen * (1.0 - 1e-9) || total.abs() >= observed.abs() - tolerance);
    }
    let share = |hits: u32| Some(f64::from(hits) / f64::from(patterns));
    SignFlip {
        status: Status::Ok,
        two_sided: share(two),
        less: share(less),
        greater: share(greater),
        studentized: share(studentized).filter(|_| clusters > 1),
        informative: 0,
        exact: true,
    }
}

fn draw(sums: &[f64], scale: f64, draws: u32, seed: u64) -> SignFlip {
    let observed = moments::sum(sums.iter().copied());
    let tolerance = 1e-12 * scale;
    let mut random = Pcg64::seed_from_u64(seed);
    let (mut two, mut less, mut greater) = (1_u32, 1_u32, 1_u32);
    for _ in 0..draws {
        let mut total = 0.0;
        for chunk in sums.chunks(64) {
            let mut bits: u64 = random.random();
            for sum in chunk {
                total += if bits & 1 == 1 { -sum } else { *sum };
                bits >>= 1;
            }
        }
        two += u32::from(total.abs() >= observed.abs() - tolerance);
        less += u32::from(total <= observed + tolerance);
        greater += u32::from(total >= observed - tolerance);
    }
    let share = |hits: u32| Some(f64::from(hits) / (f64::from(draws) + 1.0));
    SignFlip {
        status: Status::Ok,
        two_sided: share(two),
        less: share(less),
        greater: share(greater),
        studentized: None,
        informative: 0,
        exact: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_equal_signs_cannot_go_below_one_in_sixteen() {
        let clusters: Vec<usize> = (0..5).collect();
        let found = sign_flip(&[1.0; 5], &clusters, 0.0, 0, 0);
        assert_eq!((found.two_sided, found.greater, found.exact), (Some(0.0625), Some(0.03125), true));
    }

    #[test]
    fn zeros_do_not_cost_exactness() {
        let mut differences = vec![0.0; 500];
        differences[..4].fill(-1.0);
        let clusters: Vec<usize> = (0..500).collect();
        let found = sign_flip(&differences, &clusters, 0.0, 0, 0);
        assert_eq!((found.exact, found.informative, found.less), (true, 4, Some(0.0625)));
    }

    #[test]
    fn random_patterns_come_near_the_enumeration() {
        let values: Vec<f64> = (0..16).map(|i| f64::from(i) * 0.1 - 0.5).collect();
        let clusters: Vec<usize> = (0..16).collect();
        let exact = sign_flip(&values, &clusters, 0.0, 0, 1);
        let scale = values.iter().map(|value| value.abs()).sum();
        let drawn = draw(&values, scale, 20_000, 9);
        assert!((exact.two_sided.unwrap() - drawn.two_sided.unwrap()).abs() < 0.01);
        assert_eq!(drawn, draw(&values, scale, 20_000, 9), "a seed fixes the answer");
    }
}
