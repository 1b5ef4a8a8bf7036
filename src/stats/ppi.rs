//! Prediction-powered inference: a judge's scores of many, set right by people's labels of a few.
//!
//! PPI++ (Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453) with power tuning. Needs labels that are a random
//! sample of the same population, or one with known probabilities, whose inverses are the weights. Labels of another
//! population are `rogan_gladen`'s work.

use super::{
    Estimate, Interval, Status,
    dist::{normal_quantile, t_quantile},
    moments,
};

/// Fewest labels for which a corrected figure is shown; below, the raw one is called not calibrated (methods 1.11).
pub const FEWEST_LABELS: usize = 20;

/// Labels below which the corrected figure carries a warning.
pub const FEW_LABELS: usize = 100;

/// Labels of people beside what the judge said of the same items, and what it said of items without a label.
#[derive(Clone, Copy, Debug, Default)]
pub struct PpiSample<'a> {
    /// What people said.
    pub labels: &'a [f64],
    /// What the judge said of the same items.
    pub judged: &'a [f64],
    /// What the judge said of the items without a label.
    pub unlabelled: &'a [f64],
    /// Inverse probabilities of the labelled items; empty for equal ones.
    pub weights: &'a [f64],
    /// Inverse probabilities of the items without a label; empty for equal ones.
    pub unlabelled_weights: &'a [f64],
}

/// How much the judge is trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tuning {
    /// As much as makes the variance least, from 0 (labels alone) to 1.
    Least,
    /// A given share; 1 is classic PPI.
    Fixed(f64),
}

/// A mean that people's labels have set right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ppi {
    /// Share of the judge in the estimate.
    pub tuning: Option<f64>,
    /// With the normal interval of the paper, which is too narrow for few labels.
    pub normal: Estimate,
    /// With the delete-one-label jackknife and Student's t: the interval to show.
    pub jackknife: Estimate,
}

/// Mean over the population behind `sample`, with intervals at a two-sided `level`.
///
/// For the difference of two versions judged and labelled on the same examples, give the differences. Of independent
/// samples, each version has its own estimate: `independent_difference` of their jackknives is the rest. Insufficient
/// with fewer than two labels; undefined for values that are not finite, lists of unequal length or weights that are
/// not positive; zero variance where neither labels nor judge leave any spread.
pub fn ppi_mean(sample: PpiSample<'_>, tuning: Tuning, level: f64) -> Ppi {
    let absent = |status| {
        let n = sample.labels.len() as u64;
        let estimate = |method| Estimate::absent(status, n, n, method);
        Ppi { tuning: None, normal: estimate(NORMAL), jackknife: estimate(JACKKNIFE) }
    };
    if !readable(&sample) {
        return absent(Status::Undefined);
    }
    if sample.labels.len() < 2 {
        return absent(Status::Insufficient);
    }
    let center = Center::of(&sample);
    let (labelled, unlabelled) = (center.labelled(&sample), center.unlabelled(&sample));
    let whole: Labelled = labelled.iter().fold(Labelled::default(), |sum, item| sum.add(item, 1.0));
    let rest: Unlabelled = unlabelled.iter().fold(Unlabelled::default(), Unlabelled::add);
    let share = |labelled: &Labelled| match tuning {
        _ if rest.n == 0.0 => 0.0,
        Tuning::Fixed(share) => share,
        Tuning::Least if center.constant => 0.0,
        Tuning::Least => least(labelled, &rest),
    };
    let lambda = share(&whole);
    let point = whole.estimate(&rest, lambda);
    let left_out: Vec<f64> = labelled
        .iter()
        .map(|item| {
            let others = whole.add(item, -1.0);
            others.estimate(&rest, share(&others))
        })
        .collect();
    let (judge, labels) = (rest.variance(lambda), whole.variance(lambda));
    let n = whole.n;
    let spread = moments::mean(&left_out).map_or(0.0, |mean| (n - 1.0) / n * moments::squares(&left_out, mean));
    let base =
        Estimate { n: n as u64, clusters: n as u64, estimate: Some(point + center.label), ..Estimate::default() };
    let normal = Bounds { se: (judge + labels).sqrt(), reach: normal_quantile(0.5 + 0.5 * level), df: None };
    let reach = t_quantile(0.5 + 0.5 * level, n - 1.0);
    let jackknife = Bounds { se: (judge + spread).sqrt(), reach, df: Some(n - 1.0) };
    Ppi {
        tuning: Some(lambda),
        normal: normal.around(base.clone(), level, NORMAL),
        jackknife: jackknife.around(base, level, JACKKNIFE),
    }
}

const NORMAL: &str = "ppi_normal";
const JACKKNIFE: &str = "ppi_jackknife_t";

fn readable(sample: &PpiSample<'_>) -> bool {
    let fits = |values: &[f64], weights: &[f64]| {
        moments::all_finite(values)
            && (weights.is_empty() || weights.len() == values.len())
            && weights.iter().all(|weight| *weight > 0.0 && weight.is_finite())
    };
    sample.labels.len() == sample.judged.len()
        && moments::all_finite(sample.labels)
        && fits(sample.judged, sample.weights)
        && fits(sample.unlabelled, sample.unlabelled_weights)
}

/// Where values are moved to before they are squared, so that scores far from 0 keep their digits.
struct Center {
    label: f64,
    judge: f64,
    /// Whether the judge says the same of everything.
    constant: bool,
}

/// Weight, label, judge's score.
type Item = (f64, f64, f64);

impl Center {
    fn of(sample: &PpiSample<'_>) -> Self {
        let all: Vec<f64> = sample.judged.iter().chain(sample.unlabelled).copied().collect();
        Self {
            label: moments::mean(sample.labels).unwrap_or(0.0),
            judge: moments::mean(&all).unwrap_or(0.0),
            constant: moments::all_equal(&all),
        }
    }

    fn labelled(&self, sample: &PpiSample<'_>) -> Vec<Item> {
        let pairs = sample.labels.iter().zip(sample.judged).enumerate();
        pairs.map(|(i, (y, f))| (weight(sample.weights, i), y - self.label, f - self.judge)).collect()
    }

    fn unlabelled(&self, sample: &PpiSample<'_>) -> Vec<(f64, f64)> {
        let scores = sample.unlabelled.iter().enumerate();
        scores.map(|(i, f)| (weight(sample.unlabelled_weights, i), f - self.judge)).collect()
    }
}

fn weight(weights: &[f64], index: usize) -> f64 {
    weights.get(index).copied().unwrap_or(1.0)
}

/// Sums over labelled items, from which every moment follows: a label is left out by subtracting it.
#[derive(Clone, Copy, Default)]
struct Labelled {
    n: f64,
    weight: f64,
    label: f64,
    judge: f64,
    // Sums of squared weights times 1, label, score, and their products.
    one: f64,
    y: f64,
    f: f64,
    yy: f64,
    yf: f64,
    ff: f64,
}

impl Labelled {
    fn add(self, &(w, y, f): &Item, times: f64) -> Self {
        let square = times * w * w;
        Self {
            n: self.n + times,
            weight: self.weight + times * w,
            label: self.label + times * w * y,
            judge: self.judge + times * w * f,
            one: self.one + square,
            y: self.y + square * y,
            f: self.f + square * f,
            yy: self.yy + square * y * y,
            yf: self.yf + square * y * f,
            ff: self.ff + square * f * f,
        }
    }

    /// What turns the weights into weights of mean 1.
    fn scale(&self) -> f64 {
        self.n / self.weight
    }

    /// Linearised covariance of label and score, with n below.
    fn covariance(&self) -> f64 {
        let (label, judge) = (self.label / self.weight, self.judge / self.weight);
        let sum = self.yf - label * self.f - judge * self.y + label * judge * self.one;
        self.scale() * self.scale() * sum / self.n
    }

    fn estimate(&self, rest: &Unlabelled, lambda: f64) -> f64 {
        let judge = if lambda == 0.0 { 0.0 } else { lambda * (rest.judge / rest.weight) };
        judge + (self.label - lambda * self.judge) / self.weight
    }

    /// Variance of the mean of label minus `lambda` times the score.
    fn variance(&self, lambda: f64) -> f64 {
        let mean = (self.label - lambda * self.judge) / self.weight;
        let squares = self.yy - 2.0 * lambda * self.yf + lambda * lambda * self.ff;
        let sum = squares - 2.0 * mean * (self.y - lambda * self.f) + mean * mean * self.one;
        (sum / (self.weight * self.weight)).max(0.0)
    }
}

/// The same sums over items without a label.
#[derive(Clone, Copy, Default)]
struct Unlabelled {
    n: f64,
    weight: f64,
    judge: f64,
    one: f64,
    f: f64,
    ff: f64,
}

impl Unlabelled {
    fn add(self, &(w, f): &(f64, f64)) -> Self {
        let square = w * w;
        Self {
            n: self.n + 1.0,
            weight: self.weight + w,
            judge: self.judge + w * f,
            one: self.one + square,
            f: self.f + square * f,
            ff: self.ff + square * f * f,
        }
    }

    fn around(&self, center: f64) -> f64 {
        self.ff - 2.0 * center * self.f + center * center * self.one
    }

    /// Variance of `lambda` times the mean score.
    fn variance(&self, lambda: f64) -> f64 {
        if lambda == 0.0 {
            return 0.0;
        }
        let sum = self.around(self.judge / self.weight);
        lambda * lambda * (sum / (self.weight * self.weight)).max(0.0)
    }
}

/// The share that makes the variance least: `clip(cov / ((1 + n/N) var), 0, 1)`.
fn least(labelled: &Labelled, rest: &Unlabelled) -> f64 {
    let all = labelled.n + rest.n;
    let (left, right) = (labelled.scale(), rest.n / rest.weight);
    let mean = (left * labelled.judge + right * rest.judge) / all;
    let own = labelled.ff - 2.0 * mean * labelled.f + mean * mean * labelled.one;
    let variance = (left * left * own + right * right * rest.around(mean)) / (all - 1.0);
    let share = labelled.covariance() / ((1.0 + labelled.n / rest.n) * variance);
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}

struct Bounds {
    se: f64,
    reach: f64,
    df: Option<f64>,
}

impl Bounds {
    fn around(&self, base: Estimate, level: f64, method: &str) -> Estimate {
        let point = base.estimate.unwrap_or_default();
        let base = Estimate { method: method.to_owned(), ..base };
        // Centred sums leave rounding behind where nothing varies.
        if self.se <= 1e-9 * point.abs().max(1.0) {
            return Estimate { status: Status::ZeroVariance, ..base };
        }
        let half = self.reach * self.se;
        let few = (base.n as usize) < FEW_LABELS;
        let found = Estimate {
            status: Status::Ok,
            se: Some(self.se),
            df: self.df,
            interval: Some(Interval::new(point - half, point + half, level, method)),
            ..base
        };
        if few { found.warn(format!("fewer than {FEW_LABELS} labels stand behind the correction")) } else { found }
    }
}

#[cfg(test)]
#[path = "ppi_tests.rs"]
mod tests;
