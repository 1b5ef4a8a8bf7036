//! Charts for people: cumulative sums, moving averages, and the one moment at which a series changed most.
//!
//! They assume independent points while nothing changes: use them on means of hours or runs, with the spread taken
//! from the steps between them. What may wake somebody is decided by `evidence` and `alert`, not by these.

use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64;

use super::moments;

/// Both arms of a cumulative sum chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cusum {
    /// Evidence of a rise.
    pub high: Vec<f64>,
    /// Evidence of a fall.
    pub low: Vec<f64>,
    /// First place, from 0, at which an arm is above the decision limit.
    pub alarm: Option<usize>,
}

/// Page's tabular chart (1954) of `(x - mean) / sd` with slack `k` and decision limit `h`, both in standard deviations.
/// `None` when `sd` is not above 0.
pub fn cusum(values: &[f64], mean: f64, sd: f64, k: f64, h: f64) -> Option<Cusum> {
    let mut found = Cusum::default();
    let (mut high, mut low) = (0.0_f64, 0.0_f64);
    for (place, value) in values.iter().enumerate().filter(|_| sd > 0.0) {
        let z = (value - mean) / sd;
        high = (high + z - k).max(0.0);
        low = (low - z - k).max(0.0);
        found.high.push(high);
        found.low.push(low);
        if found.alarm.is_none() && high.max(low) > h {
            found.alarm = Some(place);
        }
    }
    (sd > 0.0).then_some(found)
}

/// An exponentially weighted moving average with its limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ewma {
    /// The average after each value.
    pub path: Vec<f64>,
    /// Lower and upper limit at each.
    pub limits: Vec<(f64, f64)>,
    /// First place, from 0, outside its limits.
    pub alarm: Option<usize>,
}

/// Roberts' chart (1959) with the exact variance of each point. `share` in (0, 1] is the weight of the newest value,
/// `width` the distance of the limits in standard deviations. `None` for a share or spread that cannot be.
pub fn ewma(values: &[f64], mean: f64, sd: f64, share: f64, width: f64) -> Option<Ewma> {
    if !(sd > 0.0 && share > 0.0 && share <= 1.0) {
        return None;
    }
    let mut found = Ewma::default();
    let mut average = mean;
    let mut forgotten = 1.0;
    for (place, value) in values.iter().enumerate() {
        average = share * value + (1.0 - share) * average;
        forgotten *= (1.0 - share) * (1.0 - share);
        let half = width * sd * (share / (2.0 - share) * (1.0 - forgotten)).sqrt();
        found.path.push(average);
        found.limits.push((mean - half, mean + half));
        if found.alarm.is_none() && (average - mean).abs() > half {
            found.alarm = Some(place);
        }
    }
    Some(found)
}

/// Standard deviation of single points from the mean step between neighbours, which a slow drift does not inflate.
/// `None` for fewer than two values or where none moved.
pub fn sd_of_steps(values: &[f64]) -> Option<f64> {
    let steps: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    // The mean distance of two standard normal values is 2 / sqrt(pi).
    moments::mean(&steps).map(|step| step * std::f64::consts::PI.sqrt() / 2.0).filter(|sd| *sd > 0.0)
}

/// The split of a series that separates two means best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// Values on the left.
    pub split: usize,
    /// Pooled t of right against left; `None` where neither side varies and they differ.
    pub t: Option<f64>,
    /// Mean on the left.
    pub left: f64,
    /// Mean on the right.
    pub right: f64,
}

/// The change point with at least two values on each side; the earliest of equal ones. `None` for fewer than four
/// values or one that is not finite.
pub fn change_point(values: &[f64]) -> Option<ChangePoint> {
    if values.len() < 4 || !moments::all_finite(values) {
        return None;
    }
    let mut best: Option<(f64, ChangePoint)> = None;
    for split in 2..=values.len() - 2 {
        let found = split_at(values, split)?;
        let size = found.t.map_or(f64::INFINITY, f64::abs);
        // Mirror images differ by rounding only: the earlier one stays.
        if best.as_ref().is_none_or(|(most, _)| size > most * (1.0 + 1e-12)) {
            best = Some((size, found));
        }
    }
    best.map(|(_, found)| found)
}

/// The chance of a split as clear as the best one if the order meant nothing: `(1 + as clear) / (1 + draws)` over
/// random orders from `seed`.
pub fn change_point_p(values: &[f64], draws: u32, seed: u64) -> Option<f64> {
    let size = |values: &[f64]| change_point(values).map(|found| found.t.map_or(f64::INFINITY, f64::abs));
    let seen = size(values)?;
    let mut random = Pcg64::seed_from_u64(seed);
    let mut shuffled = values.to_vec();
    let mut as_clear = 0_u32;
    for _ in 0..draws {
        shuffled.shuffle(&mut random);
        as_clear += u32::from(size(&shuffled)? >= seen * (1.0 - 1e-12));
    }
    Some(f64::from(1 + as_clear) / f64::from(1 + draws))
}

fn split_at(values: &[f64], split: usize) -> Option<ChangePoint> {
    let (before, after) = values.split_at_checked(split)?;
    let (left, right) = (moments::mean(before)?, moments::mean(after)?);
    let flat = moments::all_equal(before) && moments::all_equal(after);
    let pooled = (moments::squares(before, left) + moments::squares(after, right)) / (values.len() as f64 - 2.0);
    let se = (pooled * (1.0 / before.len() as f64 + 1.0 / after.len() as f64)).sqrt();
    let t = match (flat, moments::all_equal(&[left, right])) {
        (true, true) => Some(0.0),
        (true, false) => None,
        (false, _) => Some((right - left) / se),
    };
    Some(ChangePoint { split, t, left, right })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_refuse_what_does_not_vary() {
        assert_eq!(cusum(&[1.0, 2.0], 1.0, 0.0, 0.5, 5.0), None);
        assert_eq!(ewma(&[1.0], 1.0, 1.0, 0.0, 3.0), None);
        assert_eq!(sd_of_steps(&[1.0, 1.0, 1.0]), None);
        assert_eq!(sd_of_steps(&[1.0]), None);
    }

    #[test]
    fn steps_give_the_spread_of_independent_points() {
        use rand::RngExt;
        let mut random = Pcg64::seed_from_u64(3);
        let normal = |random: &mut Pcg64| (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let values: Vec<f64> = (0..4_000).map(|hour| normal(&mut random) + f64::from(hour) / 2_000.0).collect();
        let found = sd_of_steps(&values).unwrap();
        assert!((found - 1.0).abs() < 0.05, "{found}");
    }

    #[test]
    fn a_planted_change_is_dated_and_noise_is_not_believed() {
        let values: Vec<f64> = (0..40).map(|i| f64::from(i % 5) + if i < 25 { 0.0 } else { 6.0 }).collect();
        assert_eq!(change_point(&values).unwrap().split, 25);
        assert!(change_point_p(&values, 199, 1).unwrap() <= 0.01);
        let noise: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 5)).collect();
        assert!(change_point_p(&noise, 199, 1).unwrap() > 0.1);
        assert_eq!(change_point(&[1.0, f64::NAN, 2.0, 3.0]), None);
    }
}
