//! The error of a mean that few values carry: bias-reduced variance with weights, degrees of freedom of the weights, a
//! floor under variances that too little was seen for, and bounds that follow the skew.
//!
//! A quarter of the examples weighing twenty times as much leaves five of twenty. Where those five happen not to
//! change, the plain error is near 0 whatever the truth. Three textbook remedies work together. CR2 with the degrees of
//! freedom of Bell and McCaffrey (2002), here for unequal weights: each unit's squared part is scaled so that the sum is
//! unbiased were all values alike, which for units of one value is CR2 to the letter and for equal weights its closed
//! form. A floor: no variance below the one of [`FEW`] effective units that changed as strongly as those that did,
//! which is where Wilson's and Tango's intervals stop, too. Hall's transformation (1992) for skewed sums: a bound on
//! the long side moves out by it. None moves in, because a skew is estimated from the same few values.

use super::{
    dist::{t_cdf, t_quantile, t_sf},
    moments,
};

/// Effective units whose change a variance takes for granted: the square of the normal quantile at 95 %, rounded up.
const FEW: f64 = 4.0;

/// One independent unit of a weighted mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// `sum p (y - m)` over its values, with weights `p` that sum to 1 over all.
    pub total: f64,
    /// `sum p`.
    pub share: f64,
    /// `sum p²`.
    pub own: f64,
    /// Share of its variance that stays after finite population correction.
    pub kept: f64,
}

/// What an interval rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    /// Standard error.
    pub se: f64,
    /// Degrees of freedom.
    pub df: f64,
    /// Skewness of the mean itself.
    pub skew: f64,
}

/// Spread of a mean of units from one population. `None` where a unit carries all, or nothing varies.
pub(super) fn of_units(parts: &[Part]) -> Option<Spread> {
    let own = moments::sum(parts.iter().map(|part| part.own));
    let (mut variance, mut cubes) = (0.0, 0.0);
    let (mut trace, mut diagonal, mut shares, mut owns, mut mixed) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for part in parts {
        // Variance of the unit's part and its covariance with others, were all values alike.
        let alone = part.own - 2.0 * part.share * part.own + part.share * part.share * own;
        if alone <= 1e-12 * own {
            return None;
        }
        let scale = part.kept * part.own / alone;
        variance += scale * part.total * part.total;
        cubes += scale * scale.sqrt() * part.total.powi(3);
        // tr(A²) in sums over units, so that no matrix of units is formed.
        let crossed = 2.0 * part.share * part.own - part.share * part.share * own;
        trace += part.kept * part.own;
        diagonal += (part.kept * part.own).powi(2) - (scale * crossed).powi(2);
        shares += scale * part.share * part.share;
        owns += scale * part.own * part.own;
        mixed += scale * part.share * part.own;
    }
    let square =
        diagonal + 2.0 * shares * owns + (shares * own).powi(2) + 2.0 * mixed * mixed - 4.0 * own * shares * mixed;
    let df = trace * trace / square;
    finished(variance.max(floor(parts)), df, cubes)
}

/// Spread of a mean of units from several strata: the variance inside strata, and degrees of freedom by Satterthwaite
/// over strata whose own ones are Kish's effective units less one.
pub(super) fn of_strata(strata: &[Vec<Part>]) -> Option<Spread> {
    let (mut variance, mut cubes, mut expected, mut squares) = (0.0, 0.0, 0.0, 0.0);
    let mut centred: Vec<Part> = Vec::new();
    for parts in strata {
        let count = parts.len() as f64;
        let mean = moments::mean(&parts.iter().map(|part| part.total).collect::<Vec<_>>())?;
        let kept = parts.iter().map(|part| part.kept).fold(0.0, f64::max);
        let share = moments::sum(parts.iter().map(|part| part.share));
        let own = moments::sum(parts.iter().map(|part| part.share * part.share));
        let total = moments::sum(parts.iter().map(|part| part.total));
        let scale = kept * count / (count - 1.0);
        variance += scale * moments::sum(parts.iter().map(|part| (part.total - mean).powi(2)));
        cubes += scale * scale.sqrt() * moments::sum(parts.iter().map(|part| (part.total - mean).powi(3)));
        let freedom = (share * share / own - 1.0).min(count - 1.0);
        if freedom.is_nan() || freedom <= 1e-9 {
            return None;
        }
        expected += kept * own;
        squares += (kept * own).powi(2) / freedom;
        let from_own_mean = |part: &Part| Part { kept, total: part.total - part.share * total / share, ..*part };
        centred.extend(parts.iter().map(from_own_mean));
    }
    finished(variance.max(floor(&centred)), expected * expected / squares, cubes)
}

/// `None` where nothing varies; sums too large to be squared show as a spread that is not finite.
fn finished(variance: f64, df: f64, cubes: f64) -> Option<Spread> {
    let some = variance > 0.0 || variance.is_nan();
    (some && df > 0.0 && df.is_finite()).then(|| Spread { se: variance.sqrt(), df, skew: cubes / variance.powf(1.5) })
}

impl Spread {
    /// Whether all of it can be reckoned with.
    pub fn is_finite(&self) -> bool {
        self.se.is_finite() && self.skew.is_finite()
    }
}

/// The variance of a mean if [`FEW`] effective units had changed: by how much is seen in those that did. The size is
/// `sum d⁴ / sum d²` less the variance, so that it is that of the few where few change, and small where all vary alike.
fn floor(parts: &[Part]) -> f64 {
    let (mut squares, mut fourths, mut reach) = (0.0, 0.0, 0.0);
    for part in parts {
        let square = (part.total / part.share).powi(2);
        squares += square;
        fourths += square * square;
        reach += part.kept * part.share * part.share;
    }
    let size = if squares > 0.0 { fourths / squares - squares / parts.len() as f64 } else { 0.0 };
    FEW * size.max(0.0) * reach * reach
}

/// Bounds of a mean, each with error probability `alpha`.
pub(super) fn bounds(point: f64, spread: Spread, alpha: f64) -> (f64, f64) {
    let reach = t_quantile(1.0 - alpha, spread.df);
    let (low, high) = (unturned(reach, spread.skew).max(reach), unturned(-reach, spread.skew).min(-reach));
    (point - low * spread.se, point - high * spread.se)
}

/// One-sided p that the mean is not below `limit`.
pub(super) fn p_below(point: f64, spread: Spread, limit: f64) -> f64 {
    let t = (point - limit) / spread.se;
    t_cdf(t.max(turned(t, spread.skew)), spread.df)
}

/// One-sided p that the mean is not above `limit`.
pub(super) fn p_above(point: f64, spread: Spread, limit: f64) -> f64 {
    let t = (point - limit) / spread.se;
    t_sf(t.min(turned(t, spread.skew)), spread.df)
}

/// Hall's transformation of a studentized mean with skewness `a`: `((1 + a t / 3)³ - 1) / a + a / 6`.
fn turned(t: f64, a: f64) -> f64 {
    t + a * t * t / 3.0 + a * a * t.powi(3) / 27.0 + a / 6.0
}

/// Its inverse.
fn unturned(q: f64, a: f64) -> f64 {
    if a.abs() < 1e-6 {
        // The first terms: the closed form would cancel.
        return q - a * (q * q / 3.0 + 1.0 / 6.0);
    }
    3.0 / a * ((1.0 + a * (q - a / 6.0)).cbrt() - 1.0)
}

#[cfg(test)]
#[path = "careful_tests.rs"]
mod tests;
