//! "Different" and "different enough to matter": two one-sided tests against a margin.
//!
//! Differences arrive oriented so that more is better. What a finding means for a gate is decided elsewhere.

use super::{
    Estimate,
    careful::{self, Spread},
    mean::unseen_share,
};

/// One-sided bounds, each at the error probability of the test: together a `1 - 2 alpha` interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The difference is above this.
    pub lower: f64,
    /// The difference is below this.
    pub upper: f64,
}

/// Which of four findings the data support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Credibly above 0.
    Better,
    /// Credibly below 0.
    Worse,
    /// Credibly inside the margin.
    Equivalent,
    /// None of these.
    Open,
}

/// The tests of one difference against 0 and against a margin. Each p is one-sided; `None` where only bounds exist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarginTest {
    /// One-sided bounds of the difference.
    pub bounds: Bounds,
    /// Against "not below 0".
    pub p_worse: Option<f64>,
    /// Against "not above 0".
    pub p_better: Option<f64>,
    /// Against "at or below minus the margin".
    pub p_not_inferior: Option<f64>,
    /// Against "at or above the margin".
    pub p_not_superior: Option<f64>,
    /// Against "not below minus the margin".
    pub p_material_worse: Option<f64>,
    /// Against "not above the margin".
    pub p_material_better: Option<f64>,
    /// Smallest difference that matters; 0 turns equivalence off.
    pub margin: f64,
    /// One-sided error probability.
    pub alpha: f64,
}

impl MarginTest {
    /// Schuirmann's p (1987): the greater of the two against the margin.
    pub fn p_equivalent(&self) -> Option<f64> {
        Some(self.p_not_inferior?.max(self.p_not_superior?))
    }

    /// Credibly not worse than the margin.
    pub fn non_inferior(&self) -> bool {
        self.reject(self.p_not_inferior, self.bounds.lower > -self.margin)
    }

    /// Credibly worse by more than the margin.
    pub fn material_regression(&self) -> bool {
        self.reject(self.p_material_worse, self.bounds.upper < -self.margin)
    }

    /// Credibly better by more than the margin.
    pub fn material_improvement(&self) -> bool {
        self.reject(self.p_material_better, self.bounds.lower > self.margin)
    }

    /// The finding, in the order of methods 1.7: equivalence first, so that a real but trifling change is not
    /// called a regression.
    pub fn finding(&self) -> Finding {
        let inside = self.bounds.lower > -self.margin && self.bounds.upper < self.margin;
        if self.margin > 0.0 && self.reject(self.p_equivalent(), inside) {
            Finding::Equivalent
        } else if self.reject(self.p_worse, self.bounds.upper < 0.0) {
            Finding::Worse
        } else if self.reject(self.p_better, self.bounds.lower > 0.0) {
            Finding::Better
        } else {
            Finding::Open
        }
    }

    fn reject(&self, p: Option<f64>, by_bounds: bool) -> bool {
        p.map_or(by_bounds, |p| p <= self.alpha)
    }
}

/// Tests from an estimate with standard error and degrees of freedom; `None` when the error is not positive.
pub fn t_margin(estimate: f64, se: f64, df: f64, margin: f64, alpha: f64) -> Option<MarginTest> {
    skewed_margin(estimate, Spread { se, df, skew: 0.0 }, margin, alpha)
}

/// Tests of an estimate times `sign`, with its skew; `None` where it has no error or degrees of freedom.
pub fn estimate_margin(estimate: &Estimate, sign: f64, margin: f64, alpha: f64) -> Option<MarginTest> {
    let (point, spread) = spread_of(estimate)?;
    skewed_margin(sign * point, Spread { skew: sign * spread.skew, ..spread }, margin, alpha)
}

/// Lower and upper bound of an estimate, each at error probability `alpha`; `None` where it has no error.
pub fn one_sided(estimate: &Estimate, alpha: f64) -> Option<(f64, f64)> {
    let (point, spread) = spread_of(estimate)?;
    Some(careful::bounds(point, spread, alpha))
}

fn spread_of(estimate: &Estimate) -> Option<(f64, Spread)> {
    let spread = Spread { se: estimate.se?, df: estimate.df?, skew: estimate.skew.unwrap_or(0.0) };
    Some((estimate.estimate?, spread))
}

fn skewed_margin(estimate: f64, spread: Spread, margin: f64, alpha: f64) -> Option<MarginTest> {
    if !(spread.se > 0.0 && spread.df > 0.0 && estimate.is_finite()) {
        return None;
    }
    let (lower, upper) = careful::bounds(estimate, spread, alpha);
    let below = |limit: f64| Some(careful::p_below(estimate, spread, limit));
    let above = |limit: f64| Some(careful::p_above(estimate, spread, limit));
    Some(MarginTest {
        bounds: Bounds { lower, upper },
        p_worse: below(0.0),
        p_better: above(0.0),
        p_not_inferior: above(-margin),
        p_not_superior: below(margin),
        p_material_worse: below(-margin),
        p_material_better: above(margin),
        margin,
        alpha,
    })
}

/// Tests when all differences of `units` independent units equal `value`, on a scale where no difference can exceed
/// `range` in size: `L = c - q(R+c)`, `U = c + q(R-c)`, `q = 1 - alpha^(1/n)` (methods 1.7).
///
/// `None` for fewer than two units or a range that cannot be.
pub fn equal_differences(value: f64, units: u64, range: f64, margin: f64, alpha: f64) -> Option<MarginTest> {
    if units < 2 || range <= 0.0 || value.abs() > range {
        return None;
    }
    let unseen = unseen_share(units as f64, alpha);
    Some(MarginTest {
        bounds: Bounds { lower: value - unseen * (range + value), upper: value + unseen * (range - value) },
        p_worse: None,
        p_better: None,
        p_not_inferior: None,
        p_not_superior: None,
        p_material_worse: None,
        p_material_better: None,
        margin,
        alpha,
    })
}

/// The smallest error at which [`equal_differences`] puts its upper bound below `limit`: solves
/// `U(alpha) = limit` as `((R-limit)/(R-c))^n`, so that equal differences can join a family of tests.
pub fn equal_differences_p_below(value: f64, units: u64, range: f64, limit: f64) -> Option<f64> {
    if units < 2 || range <= 0.0 || value.abs() > range {
        return None;
    }
    if value >= limit || range - value <= 0.0 {
        return Some(1.0);
    }
    Some(((range - limit) / (range - value)).powf(units as f64).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_differences_decide_only_with_enough_units() {
        assert_eq!(equal_differences(0.0, 1, 1.0, 0.05, 0.05), None);
        assert_eq!(equal_differences(0.0, 20, 1.0, 0.05, 0.05).unwrap().finding(), Finding::Open);
        assert_eq!(equal_differences(0.0, 100, 1.0, 0.05, 0.05).unwrap().finding(), Finding::Equivalent);
        assert_eq!(equal_differences(-1.0, 30, 4.0, 0.5, 0.05).unwrap().finding(), Finding::Worse);
    }

    #[test]
    fn the_p_of_equal_differences_meets_its_bound() {
        for (value, units, range) in [(-1.0, 30, 4.0), (-0.2, 9, 1.0), (-1.0, 5, 1.0)] {
            let p = equal_differences_p_below(value, units, range, 0.0).unwrap();
            let test = equal_differences(value, units, range, 0.0, p).unwrap();
            assert!(test.bounds.upper.abs() < 1e-9, "{test:?}");
        }
        assert_eq!(equal_differences_p_below(0.0, 30, 1.0, 0.0), Some(1.0));
    }

    #[test]
    fn trifling_but_real_is_equivalent() {
        let test = t_margin(-0.01, 0.003, 500.0, 0.05, 0.05).unwrap();
        assert_eq!(test.finding(), Finding::Equivalent);
        assert!(test.p_worse.unwrap() < 0.01);
        assert_eq!(t_margin(0.1, 0.0, 9.0, 0.05, 0.05), None);
    }
}
