//! A pass rate set right by a judge's known sensitivity and specificity, for labels of another period or population.
//!
//! Assumes that both rates are the same there as here, which no data of this run can show. Labels that are a random
//! sample of the same population are better used by `ppi`.

use super::{Confusion, Interval, Status, dist::normal_quantile};

/// What a judge said of a population, and how it did where people had labelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JudgedCounts {
    /// Items that the judge passed, of [`Self::items`].
    pub passed: u64,
    /// Items judged.
    pub items: u64,
    /// The judge against people.
    pub calibration: Confusion,
}

/// A corrected pass rate; `None` where not defined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoganGladen {
    /// Judge uninformative when sensitivity and specificity add up to no more than 1; insufficient without items, or
    /// without labels of both kinds.
    pub status: Status,
    /// Share that the judge passed.
    pub naive: Option<f64>,
    /// Corrected share, within 0 and 1.
    pub estimate: Option<f64>,
    /// Corrected share before it is cut to what a share can be: far outside means that the rates do not hold here.
    pub unclipped: Option<f64>,
    /// Standard error by the delta method, with that of the calibration in it.
    pub se: Option<f64>,
    /// Interval of Lang and Reiczigel (2014).
    pub interval: Option<Interval>,
}

/// Rogan and Gladen's estimator (1978): `(p + specificity - 1) / (sensitivity + specificity - 1)`.
pub fn rogan_gladen(counts: JudgedCounts, level: f64) -> RoganGladen {
    let found = counts.calibration;
    let (pass, fail) = (found.true_pass + found.false_fail, found.true_fail + found.false_pass);
    if counts.items == 0 || counts.passed > counts.items {
        return RoganGladen { status: Status::Insufficient, ..RoganGladen::default() };
    }
    let naive = counts.passed as f64 / counts.items as f64;
    let base = RoganGladen { naive: Some(naive), ..RoganGladen::default() };
    let (Some(sensitivity), Some(specificity)) = (found.tpr(), found.tnr()) else {
        return RoganGladen { status: Status::Insufficient, ..base };
    };
    // In whole numbers, so that a judge exactly at chance is not called informative by rounding.
    let judge = u128::from(found.true_pass) * u128::from(fail) + u128::from(found.true_fail) * u128::from(pass);
    if judge <= u128::from(pass) * u128::from(fail) {
        return RoganGladen { status: Status::JudgeUninformative, ..base };
    }
    let rates = Rates {
        naive: (naive, counts.items as f64),
        sensitivity: (sensitivity, pass as f64),
        specificity: (specificity, fail as f64),
    };
    let unclipped = rates.corrected();
    RoganGladen {
        status: Status::Ok,
        estimate: Some(unclipped.clamp(0.0, 1.0)),
        unclipped: Some(unclipped),
        se: Some(rates.error()),
        interval: Some(lang_reiczigel(rates, level)),
        ..base
    }
}

/// Three rates, each with the number of items behind it.
#[derive(Clone, Copy)]
struct Rates {
    naive: (f64, f64),
    sensitivity: (f64, f64),
    specificity: (f64, f64),
}

impl Rates {
    fn youden(&self) -> f64 {
        self.sensitivity.0 + self.specificity.0 - 1.0
    }

    fn corrected(&self) -> f64 {
        (self.naive.0 + self.specificity.0 - 1.0) / self.youden()
    }

    fn error(&self) -> f64 {
        let part = |(rate, n): (f64, f64)| rate * (1.0 - rate) / n;
        let theta = self.corrected();
        let variance = part(self.naive)
            + (1.0 - theta) * (1.0 - theta) * part(self.specificity)
            + theta * theta * part(self.sensitivity);
        variance.max(0.0).sqrt() / self.youden()
    }
}

/// Counts get pseudo-counts (z² for the items, 2 for each kind of label) and the centre a shift, as Lee et al. (2025,
/// arXiv 2511.21140) use it for judges.
fn lang_reiczigel(rates: Rates, level: f64) -> Interval {
    const METHOD: &str = "lang_reiczigel";
    let z = normal_quantile(0.5 + 0.5 * level);
    let square = z * z;
    let more = |(rate, n): (f64, f64), extra: f64| ((n * rate + 0.5 * extra) / (n + extra), n + extra);
    let adjusted = Rates {
        naive: more(rates.naive, square),
        sensitivity: more(rates.sensitivity, 2.0),
        specificity: more(rates.specificity, 2.0),
    };
    // A handful of labels of one kind can turn an informative judge into none: then the data leave everything open.
    if adjusted.youden() <= 0.0 {
        return Interval::new(0.0, 1.0, level, METHOD);
    }
    let theta = adjusted.corrected();
    let part = |(rate, n): (f64, f64)| rate * (1.0 - rate) / n;
    let shift = 2.0 * square * (theta * part(adjusted.sensitivity) - (1.0 - theta) * part(adjusted.specificity));
    let (center, half) = (theta + shift, z * adjusted.error());
    Interval::new((center - half).clamp(0.0, 1.0), (center + half).clamp(0.0, 1.0), level, METHOD)
}

/// Of `labels` to be bought, how many should go to items that people will pass: `m / (1 + (1/p - 1) sqrt(k))` with
/// `k = (1 - specificity) / (1 - sensitivity)` (Lee et al. 2025). At least one of each kind.
///
/// `passing`: expected share of passes, strictly between 0 and 1. `None` for fewer than two labels or rates that are
/// none.
pub fn allocate_labels(labels: u64, passing: f64, sensitivity: f64, specificity: f64) -> Option<u64> {
    let is_rate = |rate: f64| (0.0..=1.0).contains(&rate);
    let open = passing > 0.0 && passing < 1.0;
    if labels < 2 || !open || !is_rate(sensitivity) || !is_rate(specificity) {
        return None;
    }
    let (miss, false_alarm) = (1.0 - sensitivity, 1.0 - specificity);
    // A judge without errors of a kind in few labels still makes some: neither kind is left without labels.
    let ratio = match (miss > 0.0, false_alarm > 0.0) {
        (true, true) => false_alarm / miss,
        (false, false) => 1.0,
        (false, true) => f64::INFINITY,
        (true, false) => 0.0,
    };
    let share = 1.0 / (1.0 + (1.0 / passing - 1.0) * ratio.sqrt());
    Some(((labels as f64 * share).round() as u64).clamp(1, labels - 1))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    fn counts(passed: u64, items: u64, sensitivity: (u64, u64), specificity: (u64, u64)) -> JudgedCounts {
        let calibration = Confusion {
            true_pass: sensitivity.0,
            false_fail: sensitivity.1 - sensitivity.0,
            true_fail: specificity.0,
            false_pass: specificity.1 - specificity.0,
        };
        JudgedCounts { passed, items, calibration }
    }

    #[test]
    fn statuses() {
        let status = |counts| rogan_gladen(counts, 0.95).status;
        assert_eq!(status(counts(0, 0, (9, 10), (9, 10))), Status::Insufficient);
        assert_eq!(status(counts(5, 10, (9, 10), (0, 0))), Status::Insufficient);
        assert_eq!(status(counts(5, 10, (7, 10), (3, 10))), Status::JudgeUninformative);
        assert_eq!(status(counts(5, 10, (7, 10), (4, 10))), Status::Ok);
    }

    /// A judge without fault changes nothing; whole numbers cross chance where sums of fractions would not.
    #[test]
    fn a_perfect_judge_changes_nothing() {
        let found = rogan_gladen(counts(37, 50, (10, 10), (10, 10)), 0.95);
        assert_eq!(found.estimate, Some(0.74));
        assert_eq!(rogan_gladen(counts(1, 2, (1, 3), (2, 3)), 0.95).status, Status::JudgeUninformative);
    }

    /// Slow definition: the true share theta makes the judge pass `theta se + (1 - theta) (1 - sp)` of all.
    #[test]
    fn the_estimate_solves_the_mixture() {
        for (passed, se, sp) in [(80, (45, 50), (40, 50)), (31, (70, 90), (21, 30))] {
            let found = rogan_gladen(counts(passed, 100, se, sp), 0.95);
            let (se, sp) = (se.0 as f64 / se.1 as f64, sp.0 as f64 / sp.1 as f64);
            let theta = found.unclipped.unwrap();
            assert!((theta * se + (1.0 - theta) * (1.0 - sp) - passed as f64 / 100.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_interval_covers_a_biased_judge() {
        let mut random = Pcg64::seed_from_u64(17);
        let mut draws = |n: u64, rate: f64| (0..n).filter(|_| random.random_range(0.0..1.0) < rate).count() as u64;
        let (truth, se, sp) = (0.8, 0.95, 0.6);
        let rate = truth * se + (1.0 - truth) * (1.0 - sp);
        let (mut covered, mut naive, rounds) = (0, 0, 400);
        for _ in 0..rounds {
            let found = rogan_gladen(counts(draws(500, rate), 500, (draws(80, se), 80), (draws(40, sp), 40)), 0.95);
            covered += i32::from(found.interval.is_some_and(|interval| interval.lo <= truth && truth <= interval.hi));
            naive += i32::from((found.naive.unwrap() - truth).abs() < 1.96 * (0.16_f64 / 500.0).sqrt());
        }
        assert!(covered >= 372, "{covered} of {rounds}");
        assert!(naive < 300, "{naive}: the uncorrected rate is off");
    }

    #[test]
    fn labels_go_where_the_judge_errs() {
        let even = allocate_labels(100, 0.5, 0.9, 0.9).unwrap();
        let lenient = allocate_labels(100, 0.5, 0.98, 0.6).unwrap();
        assert_eq!(even, 50);
        assert!(lenient < even, "{lenient}: failures need the labels");
        assert_eq!(allocate_labels(100, 0.5, 1.0, 0.8), Some(1));
        assert_eq!(allocate_labels(1, 0.5, 0.9, 0.9), None);
        assert_eq!(allocate_labels(10, 0.0, 0.9, 0.9), None);
    }
}
