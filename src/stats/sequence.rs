//! Confidence sequences: intervals that hold at every moment at once, so that looking after each value costs nothing.
//!
//! Values come in the order in which they were seen, and that order must not depend on them. `alpha` is two-sided: the
//! chance that the mean is ever outside. What to do with the intervals is decided elsewhere (`anytime`).

use super::moments;

/// Intervals after the first, second, ... value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// The parameter that says where the sequence is tightest; `None` where the method has none.
    pub rho: Option<f64>,
    /// One interval per value, lower and upper end; `None` where the method gives none yet.
    pub intervals: Vec<Option<(f64, f64)>>,
}

/// The two-sided normal mixture for values whose deviations are sub-Gaussian with scale `sigma` (1/2 on [0, 1]),
/// tightest where `values * sigma^2` is about `v_opt` (Howard, Ramdas, McAuliffe, Sekhon 2021).
pub fn normal_mixture(values: &[f64], sigma: f64, alpha: f64, v_opt: f64) -> Sequence {
    let reach = 2.0 * (1.0 / alpha).ln();
    let rho = v_opt / (reach + reach.ln_1p());
    let around = |(t, mean): (f64, f64)| {
        let v = t * sigma * sigma;
        let radius = ((v + rho) * ((v / rho).ln_1p() + reach)).sqrt() / t;
        Some((mean - radius, mean + radius))
    };
    Sequence { rho: Some(rho), intervals: running_means(values).map(around).collect() }
}

/// The asymptotic sequence for values of any range, tightest after about `t_star` of them (Waudby-Smith, Arbour,
/// Sinha, Kennedy, Ramdas). `None` for the first value. Where nothing has varied yet it is a point: nobody may stop
/// on that.
pub fn asymptotic(values: &[f64], alpha: f64, t_star: f64) -> Sequence {
    let rho = asymptotic_rho(alpha, t_star);
    let square = rho * rho;
    let mut spread = Spread::default();
    let around = |(&value, (t, mean)): (&f64, (f64, f64))| {
        spread.push(value);
        let grown = t.mul_add(square, 1.0);
        let radius = spread.sd() * (2.0 * grown / (t * t * square) * (grown.sqrt() / alpha).ln()).sqrt();
        (t > 1.0).then_some((mean - radius, mean + radius))
    };
    Sequence { rho: Some(rho), intervals: values.iter().zip(running_means(values)).map(around).collect() }
}

/// The mixture's parameter for [`asymptotic`].
pub(super) fn asymptotic_rho(alpha: f64, t_star: f64) -> f64 {
    let reach = -2.0 * alpha.ln();
    ((reach + reach.ln_1p()) / t_star).sqrt()
}

/// The predictable plug-in empirical Bernstein sequence for values in [0, 1], each interval inside the ones before
/// (Waudby-Smith and Ramdas 2024). `lo` may come to lie above `hi` when the mean moves: then no mean fits.
pub fn empirical_bernstein_sequence(values: &[f64], alpha: f64) -> Sequence {
    let mut bets = Bets::new(alpha);
    let (mut lo, mut hi) = (0.0_f64, 1.0_f64);
    let inside = |&value: &f64| {
        let (centre, radius) = bets.push(value);
        lo = lo.max(centre - radius);
        hi = hi.min(centre + radius);
        Some((lo, hi))
    };
    Sequence { rho: None, intervals: values.iter().map(inside).collect() }
}

/// The bets of the empirical Bernstein sequence: each is fixed before the value it is placed on.
#[derive(Clone, Debug)]
pub(super) struct Bets {
    reach: f64,
    t: f64,
    sum: f64,
    squares: f64,
    mean: f64,
    variance: f64,
    /// Sum of the bets.
    pub stake: f64,
    /// Sum of bets times values.
    pub weighted: f64,
    /// Sum of squared surprises times their price.
    pub price: f64,
}

impl Bets {
    /// Bets for a two-sided sequence at `alpha`.
    pub(super) fn new(alpha: f64) -> Self {
        Self {
            reach: (2.0 / alpha).ln(),
            t: 0.0,
            sum: 0.0,
            squares: 0.0,
            mean: 0.5,
            variance: 0.25,
            stake: 0.0,
            weighted: 0.0,
            price: 0.0,
        }
    }

    /// Takes a value in [0, 1]; gives centre and radius of the interval so far.
    pub(super) fn push(&mut self, value: f64) -> (f64, f64) {
        self.t += 1.0;
        let wish = 2.0 * self.reach / (self.variance * self.t * self.t.ln_1p());
        let bet = wish.sqrt().min(0.5);
        let psi = (-(-bet).ln_1p() - bet) / 4.0;
        let surprise = value - self.mean;
        self.stake += bet;
        self.weighted += bet * value;
        self.price += 4.0 * surprise * surprise * psi;
        self.sum += value;
        self.mean = (0.5 + self.sum) / (self.t + 1.0);
        let rest = value - self.mean;
        self.squares += rest * rest;
        self.variance = (0.25 + self.squares) / (self.t + 1.0);
        (self.weighted / self.stake, (self.reach + self.price) / self.stake)
    }

    /// Logarithm of the evidence that the mean is below `limit`: a nonnegative supermartingale when it is not.
    pub(super) fn below(&self, limit: f64) -> f64 {
        limit * self.stake - self.weighted - self.price
    }

    /// Logarithm of the evidence that the mean is above `limit`.
    pub(super) fn above(&self, limit: f64) -> f64 {
        self.weighted - limit * self.stake - self.price
    }
}

/// Number of values and their mean after each.
fn running_means(values: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    let (mut t, mut sum) = (0.0, 0.0);
    values.iter().map(move |value| {
        t += 1.0;
        sum += value;
        (t, sum / t)
    })
}

/// Welford's running variance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    t: f64,
    mean: f64,
    squares: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    pub(super) fn push(&mut self, value: f64) {
        (self.least, self.greatest) =
            if self.t == 0.0 { (value, value) } else { (self.least.min(value), self.greatest.max(value)) };
        self.t += 1.0;
        let step = value - self.mean;
        self.mean += step / self.t;
        self.squares += step * (value - self.mean);
    }

    /// Values so far.
    pub(super) fn count(&self) -> f64 {
        self.t
    }

    /// Their mean.
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// Standard deviation with n below; 0 where all values are equal up to rounding.
    pub(super) fn sd(&self) -> f64 {
        if moments::all_equal(&[self.least, self.greatest]) { 0.0 } else { (self.squares / self.t).max(0.0).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    /// How often the mean of 500 values is ever outside, over 400 seeds.
    fn ever_outside(mean: f64, sequence: impl Fn(&[f64]) -> Sequence, from: usize) -> f64 {
        let missed = (0..400).filter(|seed| {
            let mut random = Pcg64Mcg::seed_from_u64(*seed);
            let values: Vec<f64> = (0..500).map(|_| f64::from(random.random_bool(mean))).collect();
            let intervals = sequence(&values).intervals;
            intervals.iter().skip(from).flatten().any(|(lo, hi)| *lo > mean || *hi < mean)
        });
        missed.count() as f64 / 400.0
    }

    #[test]
    fn the_mean_is_hardly_ever_outside_at_any_moment() {
        let room = 0.05 + 3.0 * (0.05_f64 * 0.95 / 400.0).sqrt();
        assert!(ever_outside(0.8, |x| normal_mixture(x, 0.5, 0.05, 25.0), 0) <= room);
        assert!(ever_outside(0.8, |x| empirical_bernstein_sequence(x, 0.05), 0) <= room);
        // Promised for many values only; at 30 of a lopsided coin it is wrong more often.
        assert!(ever_outside(0.5, |x| asymptotic(x, 0.05, 200.0), 30) <= room);
    }

    #[test]
    fn the_textbook_sums_give_the_same_bernstein_sequence() {
        let values = [0.2, 0.9, 0.4, 0.4, 1.0, 0.0, 0.7];
        let found = empirical_bernstein_sequence(&values, 0.1).intervals;
        let mean = |n: usize| (0.5 + values[..n].iter().sum::<f64>()) / (n as f64 + 1.0);
        let (mut lo, mut hi) = (0.0_f64, 1.0_f64);
        for n in 1..=values.len() {
            let (mut stake, mut weighted, mut price) = (0.0, 0.0, 20.0_f64.ln());
            for t in 1..=n {
                let squares: f64 = (1..t).map(|i| (values[i - 1] - mean(i)).powi(2)).sum();
                let variance = (0.25 + squares) / t as f64;
                let bet = (2.0 * 20.0_f64.ln() / (variance * t as f64 * (t as f64 + 1.0).ln())).sqrt().min(0.5);
                stake += bet;
                weighted += bet * values[t - 1];
                price += 4.0 * (values[t - 1] - mean(t - 1)).powi(2) * (-(1.0 - bet).ln() - bet) / 4.0;
            }
            lo = lo.max((weighted - price) / stake);
            hi = hi.min((weighted + price) / stake);
            let (left, right) = found[n - 1].unwrap();
            assert!((left - lo).abs() < 1e-12 && (right - hi).abs() < 1e-12, "{n}: {left} {lo}, {right} {hi}");
        }
    }

    #[test]
    fn few_or_equal_values_are_no_certainty() {
        assert_eq!(normal_mixture(&[], 0.5, 0.05, 25.0).intervals, []);
        assert_eq!(asymptotic(&[0.3], 0.05, 50.0).intervals, [None]);
        assert_eq!(asymptotic(&[0.1; 3], 0.05, 50.0).intervals[2].map(|(lo, hi)| hi - lo), Some(0.0));
        let (lo, hi) = empirical_bernstein_sequence(&[1.0; 5], 0.05).intervals[4].unwrap();
        assert!(lo < 0.2 && hi == 1.0, "{lo} {hi}");
    }
}
