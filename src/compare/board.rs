//! The change inside a slice against the change outside it, for hundreds of slices of the same pairs.
//!
//! Sums over all pairs are taken once; a slice costs its own members. Decides nothing: points, variances and p-values.

use super::pair::{Columns, Unit};
use crate::stats::{Estimate, Interval, Status, t_quantile, t_sf};

/// Fewest clusters on either side of a split.
const CLUSTERS: f64 = 5.0;

/// Changes of one metric over all pairs, turned so that more is better.
pub(super) struct Board {
    /// By unit: change, weight, cluster; `None` where it is no pair or left out.
    pairs: Vec<Option<(f64, f64, u32)>>,
    /// By cluster: sum of weight times change, sum of weights.
    clusters: Vec<(f64, f64)>,
    squares: Squares,
    weight: f64,
    total: f64,
    /// Variance of the changes around their mean.
    spread: f64,
    /// Sum of squared weights.
    weights: f64,
    /// Pairs.
    pub count: usize,
}

/// Sums over clusters of products of their two sums.
#[derive(Clone, Copy, Debug, Default)]
struct Squares {
    aa: f64,
    ab: f64,
    bb: f64,
    count: f64,
}

impl Squares {
    fn add(&mut self, (a, b): (f64, f64), sign: f64) {
        self.aa += sign * a * a;
        self.ab += sign * a * b;
        self.bb += sign * b * b;
        self.count += sign;
    }

    /// Variance of a weighted mean by its clusters: `k/(k-1) sum (a - mean b)² / weight²`.
    fn variance(&self, mean: f64, weight: f64) -> f64 {
        let sum = (self.aa - 2.0 * mean * self.ab + mean * mean * self.bb).max(0.0);
        self.count / (self.count - 1.0) * sum / (weight * weight)
    }
}

/// One slice against the rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// Pairs inside.
    pub n: usize,
    /// Mean change inside, more is better.
    pub inside: f64,
    /// Mean change outside.
    pub outside: f64,
    /// Variance of the change inside, never below what its size allows.
    pub inside_variance: f64,
    /// Variance and clusters outside.
    outside_variance: f64,
    outside_clusters: f64,
    outside_n: usize,
    /// Weighted sum of the changes inside.
    pub sum: f64,
    /// Two-sided p of no difference between inside and outside.
    pub p: f64,
    /// How much the split explains: the squared difference in units of its variance were there none.
    pub gain: f64,
}

/// Scratch space for the clusters that a slice touches.
#[derive(Default)]
pub(super) struct Scratch {
    sums: Vec<(f64, f64)>,
    touched: Vec<u32>,
}

impl Board {
    /// The board of a metric; `out` marks units to leave out.
    pub fn of(units: &[Unit<'_>], columns: &Columns, sign: f64, out: &[bool]) -> Self {
        let clusters = units.iter().map(|unit| unit.cluster + 1).max().unwrap_or(0);
        let mut board = Self {
            pairs: Vec::with_capacity(units.len()),
            clusters: vec![(0.0, 0.0); clusters],
            squares: Squares::default(),
            weight: 0.0,
            total: 0.0,
            spread: 0.0,
            weights: 0.0,
            count: 0,
        };
        let sides = columns.baseline.values.iter().zip(&columns.candidate.values);
        for (place, (unit, (before, after))) in units.iter().zip(sides).enumerate() {
            let pair = before.value.zip(after.value).filter(|_| !out.get(place).copied().unwrap_or(false));
            board.push(unit, pair.map(|(before, after)| sign * (after - before)));
        }
        let mean = board.mean().unwrap_or(0.0);
        let spread: f64 = board.pairs.iter().flatten().map(|(d, w, _)| w * (d - mean) * (d - mean)).sum();
        let n = board.count as f64;
        board.spread = if n > 1.0 && board.weight > 0.0 { spread / board.weight * n / (n - 1.0) } else { 0.0 };
        for sums in board.clusters.iter().filter(|(_, weight)| *weight > 0.0) {
            board.squares.add(*sums, 1.0);
        }
        board
    }

    fn push(&mut self, unit: &Unit<'_>, change: Option<f64>) {
        let Some(change) = change.filter(|change| change.is_finite()) else {
            self.pairs.push(None);
            return;
        };
        let weight = unit.weight;
        self.pairs.push(Some((change, weight, unit.cluster as u32)));
        self.count += 1;
        self.weight += weight;
        self.total += weight * change;
        self.weights += weight * weight;
        if let Some(sums) = self.clusters.get_mut(unit.cluster) {
            sums.0 += weight * change;
            sums.1 += weight;
        }
    }

    /// Mean change over all.
    pub fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.total / self.weight)
    }

    /// Weighted sum of all changes.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// Whether the mean over all is farther from 0 than twice its standard error.
    pub fn is_clear(&self) -> bool {
        let Some(mean) = self.mean().filter(|_| self.squares.count > 1.0) else { return false };
        mean * mean > 4.0 * self.squares.variance(mean, self.weight)
    }

    /// The change of one unit.
    pub fn change(&self, place: u32) -> Option<f64> {
        self.pairs.get(place as usize).copied().flatten().map(|(change, ..)| change)
    }

    /// The split by a slice; `None` where either side has fewer than `least` pairs or too few clusters.
    pub fn split(&self, members: &[u32], least: usize, scratch: &mut Scratch) -> Option<Split> {
        let inside = members.iter().filter_map(|place| self.pairs.get(*place as usize).copied().flatten());
        scratch.sums.resize(self.clusters.len(), (0.0, 0.0));
        let (mut n, mut sum, mut weight, mut squared) = (0, 0.0, 0.0, 0.0);
        for (change, w, cluster) in inside {
            n += 1;
            sum += w * change;
            weight += w;
            squared += w * w;
            if let Some(sums) = scratch.sums.get_mut(cluster as usize) {
                if sums.1 == 0.0 {
                    scratch.touched.push(cluster);
                }
                sums.0 += w * change;
                sums.1 += w;
            }
        }
        let (left, rest) = (weight, self.weight - weight);
        let split = (n >= least && self.count - n >= least && left > 0.0 && rest > 0.0).then(|| {
            let sides = self.sides(scratch, (sum / left, left), ((self.total - sum) / rest, rest));
            self.test(sides, (n, sum, left, squared), rest)
        });
        for cluster in scratch.touched.drain(..) {
            if let Some(sums) = scratch.sums.get_mut(cluster as usize) {
                *sums = (0.0, 0.0);
            }
        }
        split.flatten()
    }

    /// Sums over clusters inside and outside, and the covariance of the two means.
    fn sides(&self, scratch: &Scratch, inside: (f64, f64), outside: (f64, f64)) -> (Squares, Squares, f64) {
        let (mut within, mut without, mut shared) = (Squares::default(), self.squares, 0.0);
        for cluster in &scratch.touched {
            let place = *cluster as usize;
            let (Some(part), Some(whole)) = (scratch.sums.get(place), self.clusters.get(place)) else { continue };
            within.add(*part, 1.0);
            without.add(*whole, -1.0);
            let rest = (whole.0 - part.0, whole.1 - part.1);
            if rest.1 > 1e-12 * whole.1 {
                without.add(rest, 1.0);
                shared += (part.0 - inside.0 * part.1) / inside.1 * (rest.0 - outside.0 * rest.1) / outside.1;
            }
        }
        (within, without, shared)
    }

    fn test(
        &self,
        (within, without, shared): (Squares, Squares, f64),
        (n, sum, left, squared): (usize, f64, f64, f64),
        rest: f64,
    ) -> Option<Split> {
        if within.count < CLUSTERS || without.count < CLUSTERS {
            return None;
        }
        let (inside, outside) = (sum / left, (self.total - sum) / rest);
        let (v, u) = (within.variance(inside, left), without.variance(outside, rest));
        // Were membership without effect, both sides would vary as all do. A slice in which nothing varied is not
        // certain, so the greater of the two variances counts.
        let (alone, others) = (self.spread * squared / (left * left), (self.weights - squared) / (rest * rest));
        let pooled = alone + self.spread * others;
        let variance = (v + u - 2.0 * shared).max(pooled);
        if variance <= 0.0 {
            return None;
        }
        let difference = inside - outside;
        let df = (v + u).powi(2) / (v * v / (within.count - 1.0) + u * u / (without.count - 1.0));
        let df = if df.is_finite() { df } else { within.count.min(without.count) - 1.0 };
        Some(Split {
            n,
            inside,
            outside,
            inside_variance: v.max(alone),
            outside_variance: u,
            outside_clusters: without.count,
            outside_n: self.count - n,
            sum,
            p: (2.0 * t_sf(difference.abs() / variance.sqrt(), df)).min(1.0),
            gain: difference * difference / pooled.max(f64::MIN_POSITIVE),
        })
    }
}

impl Split {
    /// The change outside as an estimate in the metric's own sign.
    pub fn outside_estimate(&self, sign: f64, level: f64) -> Estimate {
        let (se, df) = (self.outside_variance.sqrt(), self.outside_clusters - 1.0);
        let point = sign * self.outside;
        let known = se > 0.0;
        let half = t_quantile(0.5 + 0.5 * level, df) * se;
        Estimate {
            status: if known { Status::Ok } else { Status::ZeroVariance },
            n: self.outside_n as u64,
            clusters: self.outside_clusters as u64,
            estimate: Some(point),
            se: known.then_some(se),
            df: Some(df),
            interval: known.then(|| Interval::new(point - half, point + half, level, "linearised_t")),
            method: "linearised_t".to_owned(),
            ..Estimate::default()
        }
    }
}
