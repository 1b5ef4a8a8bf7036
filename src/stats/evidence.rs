//! Evidence that may be added up while it comes in: e-processes, e-detectors and the mixture sequential test.
//!
//! An e-process says how much a bettor would have made against a hypothesis. It may be looked at after every value; the
//! chance that it ever reaches A is at most 1/A while the hypothesis holds.

/// A path of evidence and where it first reached the threshold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// After each value.
    pub path: Vec<f64>,
    /// Place of the first value, from 0, at which the threshold was reached.
    pub alarm: Option<usize>,
}

/// The e-process against "the mean is at least `m0`" for values in [0, 1]: the mean over `bets` of
/// `prod(1 + bet (m0 - x))`. Bets are at least 0 and below `1 / (1 - m0)`; `None` when one is not, or there is none.
pub fn e_process(values: &[f64], m0: f64, bets: &[f64], threshold: f64) -> Option<Evidence> {
    if bets.is_empty() || !bets.iter().all(|bet| can_bet(*bet, m0)) {
        return None;
    }
    let mut wealth = vec![1.0; bets.len()];
    let step = |value: f64| {
        for (own, bet) in wealth.iter_mut().zip(bets) {
            *own *= 1.0 + bet * (m0 - value);
        }
        wealth.iter().sum::<f64>() / bets.len() as f64
    };
    Some(traced(values, step, threshold))
}

/// How a detector of an unknown moment of change gathers evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Shiryaev and Roberts: `M = (M + 1) L`, one bettor more before every value.
    Sum,
    /// Cumulative sum: `M = max(M, 1) L`, the best bettor starts again when he is broke.
    Most,
}

/// The e-detector of a mean that falls below `m0` at an unknown moment, for values in [0, 1]. An alarm at a threshold
/// A comes after at least A values on average while nothing changes (Shin, Ramdas, Rinaldo 2022).
///
/// `None` for a bet that could lose more than all.
pub fn e_detector(values: &[f64], m0: f64, bet: f64, gather: Gather, threshold: f64) -> Option<Evidence> {
    let against: Vec<(f64, f64)> = values.iter().map(|value| (*value, m0)).collect();
    if !can_bet(bet, m0) { None } else { e_detector_against(&against, bet, gather, threshold) }
}

/// The same where each value has its own least mean, known before the value: `(value, m0)`.
///
/// The promise is the same, because each factor alone is expected to be at most 1 while its mean is at least its m0.
pub fn e_detector_against(values: &[(f64, f64)], bet: f64, gather: Gather, threshold: f64) -> Option<Evidence> {
    if !values.iter().all(|(_, m0)| can_bet(bet, *m0)) {
        return None;
    }
    let mut gathered = 0.0_f64;
    let shortfalls: Vec<f64> = values.iter().map(|(value, m0)| m0 - value).collect();
    let step = |shortfall: f64| {
        let factor = 1.0 + bet * shortfall;
        gathered = factor
            * match gather {
                Gather::Sum => gathered + 1.0,
                Gather::Most => gathered.max(1.0),
            };
        gathered
    };
    Some(traced(&shortfalls, step, threshold))
}

/// p-values of the mixture sequential probability ratio test that the mean of normal values with standard deviation
/// `sigma` is `theta0`, the alternative spread around it by `tau` (Johari, Pekelis, Walsh 2017). Each is the least so
/// far: stopping on it at any moment keeps its level. Empty when a spread is not above 0.
pub fn mixture_sprt(values: &[f64], theta0: f64, sigma: f64, tau: f64) -> Vec<f64> {
    if !(sigma > 0.0 && tau > 0.0) {
        return Vec::new();
    }
    let (noise, signal) = (sigma * sigma, tau * tau);
    let (mut n, mut sum, mut least) = (0.0, 0.0, 1.0_f64);
    let step = |value: &f64| {
        n += 1.0;
        sum += value;
        let away = sum / n - theta0;
        let total = signal.mul_add(n, noise);
        // In logarithms: far from theta0 the ratio itself is beyond any number.
        let ratio = 0.5 * (noise / total).ln() + n * n * signal * away * away / (2.0 * noise * total);
        least = least.min((-ratio).exp());
        least
    };
    values.iter().map(step).collect()
}

fn can_bet(bet: f64, m0: f64) -> bool {
    (0.0..=1.0).contains(&m0) && bet >= 0.0 && bet * (1.0 - m0) < 1.0
}

fn traced(values: &[f64], mut step: impl FnMut(f64) -> f64, threshold: f64) -> Evidence {
    let path: Vec<f64> = values.iter().map(|value| step(*value)).collect();
    let alarm = path.iter().position(|evidence| *evidence >= threshold);
    Evidence { path, alarm }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    fn draws(seed: u64, rate: f64, n: usize) -> Vec<f64> {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        (0..n).map(|_| f64::from(random.random_bool(rate))).collect()
    }

    #[test]
    fn a_thousand_looks_alarm_at_most_as_often_as_promised() {
        let tries = 400;
        let alarmed = |rate: f64| {
            let fired = |seed: &u64| {
                let found = e_process(&draws(*seed, rate, 1_000), 0.8, &[0.3, 0.9, 2.0], 20.0);
                found.unwrap().alarm.is_some()
            };
            (0..tries).filter(fired).count() as f64 / tries as f64
        };
        assert!(alarmed(0.8) <= 0.05 + 3.0 * (0.05_f64 * 0.95 / tries as f64).sqrt(), "{}", alarmed(0.8));
        assert!(alarmed(0.65) > 0.95);
    }

    #[test]
    fn detectors_wait_as_long_as_promised_and_find_a_drop() {
        for gather in [Gather::Sum, Gather::Most] {
            // Waits are cut at 2,000, which can only shorten their mean.
            let wait = |seed| {
                let found = e_detector(&draws(seed, 0.85, 2_000), 0.85, 0.9, gather, 200.0).unwrap();
                found.alarm.map_or(2_000, |place| place + 1) as f64
            };
            let mean = (0..200).map(wait).sum::<f64>() / 200.0;
            assert!(mean >= 200.0, "{gather:?} {mean}");
            let found = e_detector(&draws(1, 0.6, 500), 0.83, 0.9, gather, 1_000.0).unwrap();
            assert!(found.alarm.is_some_and(|place| place < 150), "{gather:?} {:?}", found.alarm);
        }
    }

    #[test]
    fn bets_that_could_lose_all_are_refused() {
        assert_eq!(e_process(&[1.0], 0.7, &[4.0], 20.0), None);
        assert_eq!(e_process(&[1.0], 0.7, &[], 20.0), None);
        assert_eq!(e_detector(&[1.0], 0.7, -0.1, Gather::Sum, 20.0), None);
        assert_eq!(mixture_sprt(&[1.0], 0.0, 0.0, 1.0), Vec::<f64>::new());
        assert_eq!(mixture_sprt(&[1e8, 1e8], 0.0, 1.0, 1.0), [0.0, 0.0]);
    }
}
