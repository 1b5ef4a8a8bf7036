//! Effect sizes: for display beside the difference in the metric's own unit, never instead of it.

use super::moments;

/// Sizes of the difference between two samples, second minus first; `None` where not defined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EffectSizes {
    /// Mean difference over the pooled standard deviation.
    pub cohen_d: Option<f64>,
    /// Cohen's d with the correction for small samples.
    pub hedges_g: Option<f64>,
    /// Mean of paired differences over their standard deviation; only for samples of equal length.
    pub cohen_dz: Option<f64>,
    /// P(second > first) - P(second < first) over all cross pairs.
    pub cliffs_delta: Option<f64>,
}

impl EffectSizes {
    /// Vargha and Delaney's A: the chance that the second is greater, ties counted half.
    pub fn a12(&self) -> Option<f64> {
        self.cliffs_delta.map(|delta| 0.5 * (delta + 1.0))
    }

    /// The customary word for Cliff's delta (Romano et al. 2006).
    pub fn magnitude(&self) -> Option<&'static str> {
        let size = self.cliffs_delta?.abs();
        Some(match size {
            _ if size < 0.147 => "negligible",
            _ if size < 0.33 => "small",
            _ if size < 0.474 => "medium",
            _ => "large",
        })
    }
}

/// Sizes of the difference between two rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateEffects {
    /// Second minus first.
    pub risk_difference: f64,
    /// `2 asin sqrt(p2) - 2 asin sqrt(p1)`.
    pub cohen_h: f64,
    /// Odds ratio with a half added to each cell.
    pub odds_ratio: f64,
}

/// Effect sizes of two samples; all `None` when one is empty.
pub fn effect_sizes(first: &[f64], second: &[f64]) -> EffectSizes {
    let (Some(mean_a), Some(mean_b)) = (moments::mean(first), moments::mean(second)) else {
        return EffectSizes::default();
    };
    let (n, m) = (first.len() as f64, second.len() as f64);
    let squares = moments::squares(first, mean_a) + moments::squares(second, mean_b);
    let pooled = (n + m > 2.0).then(|| (squares / (n + m - 2.0)).sqrt());
    let flat = moments::all_equal(first) && moments::all_equal(second);
    let cohen_d =
        pooled.filter(|_| n > 1.0 && m > 1.0 && !flat).filter(|sd| *sd > 0.0).map(|sd| (mean_b - mean_a) / sd);
    EffectSizes {
        cohen_d,
        hedges_g: cohen_d.map(|d| d * (1.0 - 3.0 / (4.0 * (n + m) - 9.0))),
        cohen_dz: paired(first, second),
        cliffs_delta: Some(cliffs_delta(first, second)),
    }
}

fn paired(first: &[f64], second: &[f64]) -> Option<f64> {
    if first.len() != second.len() {
        return None;
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| b - a).collect();
    if moments::all_equal(&differences) {
        return None;
    }
    Some(moments::mean(&differences)? / moments::variance(&differences)?.sqrt())
}

/// Counts cross pairs by binary search: n log n, not n².
fn cliffs_delta(first: &[f64], second: &[f64]) -> f64 {
    let mut sorted = first.to_vec();
    sorted.sort_by(f64::total_cmp);
    let net: f64 = second
        .iter()
        .map(|value| {
            let below = sorted.partition_point(|other| other < value);
            let not_above = sorted.partition_point(|other| other <= value);
            below as f64 - (sorted.len() - not_above) as f64
        })
        .sum();
    net / (first.len() as f64 * second.len() as f64)
}

/// Effect sizes of two rates given as passes of trials; `None` when an arm is empty.
pub fn rate_effects(first: (u64, u64), second: (u64, u64)) -> Option<RateEffects> {
    if first.1 == 0 || second.1 == 0 || first.0 > first.1 || second.0 > second.1 {
        return None;
    }
    let rate = |arm: (u64, u64)| arm.0 as f64 / arm.1 as f64;
    let odds = |arm: (u64, u64)| (arm.0 as f64 + 0.5) / ((arm.1 - arm.0) as f64 + 0.5);
    Some(RateEffects {
        risk_difference: rate(second) - rate(first),
        cohen_h: 2.0 * rate(second).sqrt().asin() - 2.0 * rate(first).sqrt().asin(),
        odds_ratio: odds(second) / odds(first),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_defined_without_spread_or_values() {
        assert_eq!(effect_sizes(&[], &[1.0]), EffectSizes::default());
        let flat = effect_sizes(&[1.0, 1.0], &[2.0, 2.0]);
        assert_eq!((flat.cohen_d, flat.cohen_dz, flat.cliffs_delta), (None, None, Some(1.0)));
        assert_eq!(rate_effects((0, 0), (1, 2)), None);
    }
}
