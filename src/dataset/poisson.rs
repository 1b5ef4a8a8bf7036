//! Probabilities by size: each candidate by itself, with a chance in proportion to its score, scaled so that the wished
//! number is chosen on average. Numbers only; what the score is made of is `boost`'s.

use super::error::DatasetError;

/// Probabilities `min(1, max(floor, c·score))` with the one `c` for which they add up to `n`; exact but for rounding.
///
/// Without a floor it is a tenth of the mean probability. Scores are finite and not negative. Where all scores are 0 everyone has the same chance; where those above 0 are
/// fewer than `n`, they are certain and the rest shares what is left.
///
/// # Errors
/// [`DatasetError::Plan`] when the floor alone gives more than `n`.
pub(super) fn scaled(scores: &[f64], n: f64, floor: Option<f64>) -> Result<Vec<f64>, DatasetError> {
    let count = scores.len() as f64;
    let floor = floor.unwrap_or(0.1 * n / count.max(1.0));
    if n >= count {
        return Ok(vec![1.0; scores.len()]);
    }
    if floor * count > n {
        let cause = format!(
            "a floor of {floor} already chooses {:.1} of {count} candidates on average, more than the {n} asked for; \
             lower the floor or raise the count",
            floor * count
        );
        return Err(DatasetError::Plan { key: "risk.floor".to_owned(), cause });
    }
    let of = |scale: f64, score: f64| (scale * score).max(floor).min(1.0);
    let least = scores.iter().copied().filter(|score| *score > 0.0).fold(f64::INFINITY, f64::min);
    let above = scores.iter().filter(|score| **score > 0.0).count() as f64;
    if above + floor * (count - above) <= n {
        let rest = (n - above) / (count - above).max(1.0);
        return Ok(scores.iter().map(|score| if *score > 0.0 { 1.0 } else { rest }).collect());
    }
    // The sum grows with the scale: bisection finds who is at the floor and who is certain, then the scale is exact.
    let (mut low, mut high) = (0.0, 1.0 / least);
    for _ in 0..200 {
        if high - low <= 1e-12 * high {
            break;
        }
        let middle = 0.5 * (low + high);
        let sum: f64 = scores.iter().map(|score| of(middle, *score)).sum();
        if sum < n { low = middle } else { high = middle }
    }
    let (mut fixed, mut free) = (0.0, 0.0);
    for score in scores {
        let chance = high * score;
        if chance >= 1.0 {
            fixed += 1.0;
        } else if chance <= floor {
            fixed += floor;
        } else {
            free += score;
        }
    }
    let exact = if free > 0.0 { (n - fixed) / free } else { high };
    // Rounding of sums must not move anyone over the bounds that the bisection found.
    let scale = if (exact - high).abs() <= 1e-6 * high { exact } else { high };
    Ok(scores.iter().map(|score| of(scale, *score)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chances_go_by_size_between_floor_and_certainty() {
        let chances = scaled(&[1.0, 2.0, 3.0, 4.0], 2.0, Some(0.0)).unwrap();
        assert!(chances.iter().zip([0.2, 0.4, 0.6, 0.8]).all(|(a, b)| (a - b).abs() < 1e-12), "{chances:?}");
        let chances = scaled(&[1.0, 1.0, 100.0], 2.0, Some(0.0)).unwrap();
        assert!(chances.iter().zip([0.5, 0.5, 1.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{chances:?}");
        let chances = scaled(&[0.0, 0.0, 5.0, 5.0], 1.0, Some(0.1)).unwrap();
        assert!(chances.iter().zip([0.1, 0.1, 0.4, 0.4]).all(|(a, b)| (a - b).abs() < 1e-12), "{chances:?}");
        assert_eq!(scaled(&[0.0; 4], 1.0, Some(0.0)).unwrap(), [0.25; 4]);
        assert_eq!(scaled(&[0.0, 0.0, 9.0], 2.0, Some(0.0)).unwrap(), [0.5, 0.5, 1.0]);
        assert_eq!(scaled(&[3.0, 1.0], 5.0, Some(0.5)).unwrap(), [1.0, 1.0]);
        assert!(scaled(&[1.0; 10], 2.0, Some(0.5)).unwrap_err().to_string().contains("lower the floor"));
    }

    proptest! {
        #[test]
        fn chances_add_up_to_the_wished_number_and_grow_with_it(
            scores in proptest::collection::vec(prop_oneof![Just(0.0), 1e-6..1e6_f64, 0.5..2.0_f64], 1..60),
            share in 0.02..1.2_f64, floor in 0.0..0.02_f64,
        ) {
            let n = share * scores.len() as f64;
            let chances = scaled(&scores, n, Some(floor)).unwrap();
            let sum: f64 = chances.iter().sum();
            prop_assert!((sum - n.min(scores.len() as f64)).abs() < 1e-6 * n.max(1.0), "{} {}", sum, n);
            prop_assert!(chances.iter().all(|chance| (floor..=1.0).contains(chance)));
            let more = scaled(&scores, n * 1.1, Some(floor)).unwrap();
            prop_assert!(chances.iter().zip(&more).all(|(less, more)| *less <= more + 1e-9), "samples are nested");
        }
    }
}
