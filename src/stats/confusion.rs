//! A judge's yes or no against a person's: the four counts and what follows from them. Positive means pass.

use serde::{Deserialize, Serialize};

use super::{Interval, proportion::wilson};

/// Counts of judge against person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Person pass, judge pass.
    pub true_pass: u64,
    /// Person pass, judge fail.
    pub false_fail: u64,
    /// Person fail, judge fail.
    pub true_fail: u64,
    /// Person fail, judge pass.
    pub false_pass: u64,
}

impl Confusion {
    /// Counts pairs of `(person, judge)`.
    pub fn of(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self::default();
        for pair in pairs {
            match pair {
                (true, true) => counts.true_pass += 1,
                (true, false) => counts.false_fail += 1,
                (false, false) => counts.true_fail += 1,
                (false, true) => counts.false_pass += 1,
            }
        }
        counts
    }

    /// All pairs.
    pub fn n(&self) -> u64 {
        self.true_pass + self.false_fail + self.true_fail + self.false_pass
    }

    /// Share of the person's passes that the judge passes.
    pub fn tpr(&self) -> Option<f64> {
        ratio(self.true_pass, self.true_pass + self.false_fail)
    }

    /// Share of the person's fails that the judge fails.
    pub fn tnr(&self) -> Option<f64> {
        ratio(self.true_fail, self.true_fail + self.false_pass)
    }

    /// Wilson interval of [`Confusion::tpr`].
    pub fn tpr_interval(&self, level: f64) -> Option<Interval> {
        wilson(self.true_pass, self.true_pass + self.false_fail, level)
    }

    /// Wilson interval of [`Confusion::tnr`].
    pub fn tnr_interval(&self, level: f64) -> Option<Interval> {
        wilson(self.true_fail, self.true_fail + self.false_pass, level)
    }

    /// Share of the judge's passes that are the person's.
    pub fn ppv(&self) -> Option<f64> {
        ratio(self.true_pass, self.true_pass + self.false_pass)
    }

    /// Share of the judge's fails that are the person's.
    pub fn npv(&self) -> Option<f64> {
        ratio(self.true_fail, self.true_fail + self.false_fail)
    }

    /// Share of agreement.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.true_pass + self.true_fail, self.n())
    }

    /// Mean of both rates.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some(0.5 * (self.tpr()? + self.tnr()?))
    }

    /// Youden's J: 0 or less means that the judge says nothing.
    pub fn youden(&self) -> Option<f64> {
        Some(self.tpr()? + self.tnr()? - 1.0)
    }

    /// F1 with pass as the positive class.
    pub fn f1(&self) -> Option<f64> {
        ratio(2 * self.true_pass, 2 * self.true_pass + self.false_fail + self.false_pass)
    }

    /// F1 with fail as the positive class: what matters where most outputs pass.
    pub fn f1_fail(&self) -> Option<f64> {
        ratio(2 * self.true_fail, 2 * self.true_fail + self.false_fail + self.false_pass)
    }

    /// Matthews' correlation; `None` when a margin is empty.
    pub fn mcc(&self) -> Option<f64> {
        let (tp, fne, tn, fp) = self.numbers();
        let below = (tp + fp) * (tp + fne) * (tn + fp) * (tn + fne);
        (below > 0.0).then(|| (tp * tn - fp * fne) / below.sqrt())
    }

    /// Cohen's kappa; `None` when agreement by chance is certain.
    pub fn kappa(&self) -> Option<f64> {
        let (tp, fne, tn, fp) = self.numbers();
        let n = tp + fne + tn + fp;
        if n == 0.0 {
            return None;
        }
        let expected = ((tp + fne) * (tp + fp) + (tn + fp) * (tn + fne)) / (n * n);
        (expected < 1.0).then(|| ((tp + tn) / n - expected) / (1.0 - expected))
    }

    fn numbers(&self) -> (f64, f64, f64, f64) {
        (self.true_pass as f64, self.false_fail as f64, self.true_fail as f64, self.false_pass as f64)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_margins_are_absent() {
        let none = Confusion::default();
        assert_eq!((none.tpr(), none.accuracy(), none.mcc(), none.kappa()), (None, None, None, None));
        let one_sided = Confusion::of([(true, true), (true, false)]);
        assert_eq!((one_sided.tpr(), one_sided.tnr(), one_sided.youden()), (Some(0.5), None, None));
    }
}
