//! Tests of prediction-powered means: statuses, the slow definition, coverage.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::*;
use crate::stats::independent_difference;

fn plain<'a>(labels: &'a [f64], judged: &'a [f64], unlabelled: &'a [f64]) -> PpiSample<'a> {
    PpiSample { labels, judged, unlabelled, ..PpiSample::default() }
}

#[test]
fn statuses() {
    let status = |sample| ppi_mean(sample, Tuning::Least, 0.95).jackknife.status;
    assert_eq!(status(plain(&[], &[], &[1.0])), Status::Insufficient);
    assert_eq!(status(plain(&[1.0], &[1.0], &[1.0])), Status::Insufficient);
    assert_eq!(status(plain(&[1.0, 0.0], &[1.0], &[1.0])), Status::Undefined);
    assert_eq!(status(plain(&[1.0, f64::NAN], &[1.0, 1.0], &[1.0])), Status::Undefined);
    assert_eq!(status(plain(&[1.0, 1.0], &[1.0, 1.0], &[1.0])), Status::ZeroVariance);
    let negative = PpiSample { weights: &[1.0, -1.0], ..plain(&[1.0, 0.0], &[1.0, 1.0], &[0.0]) };
    assert_eq!(status(negative), Status::Undefined);
}

#[test]
fn a_judge_of_no_use_is_left_out() {
    let labels = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0];
    let anti = [0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
    for (judged, unlabelled) in [(anti, vec![1.0, 0.0, 0.0]), ([0.5; 6], vec![0.5; 9]), (labels, Vec::new())] {
        let found = ppi_mean(plain(&labels, &judged, &unlabelled), Tuning::Least, 0.95);
        assert_eq!(found.tuning, Some(0.0));
        assert!((found.jackknife.estimate.unwrap() - 4.0 / 6.0).abs() < 1e-12);
    }
}

/// Slow definition: every moment from its own pass, every label left out in turn; weights of mean 1 in each.
fn slow(sample: PpiSample<'_>) -> (f64, f64, f64, f64) {
    let mean_one = |weights: &[f64], n: usize| -> Vec<f64> {
        let given: Vec<f64> = if weights.is_empty() { vec![1.0; n] } else { weights.to_vec() };
        given.iter().map(|w| w * n as f64 / given.iter().sum::<f64>()).collect()
    };
    let mean = |values: &[f64], weights: &[f64]| -> f64 {
        values.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() / values.len() as f64
    };
    let lambda = |y: &[f64], f: &[f64], w: &[f64]| -> f64 {
        let u = mean_one(sample.unlabelled_weights, sample.unlabelled.len());
        let (n, all) = (y.len() as f64, (y.len() + u.len()) as f64);
        let (my, mf) = (mean(y, w), mean(f, w));
        let cov = (0..y.len()).map(|i| w[i] * w[i] * (y[i] - my) * (f[i] - mf)).sum::<f64>() / n;
        let both: Vec<(f64, f64)> =
            f.iter().zip(w).chain(sample.unlabelled.iter().zip(&u)).map(|(f, w)| (*f, *w)).collect();
        let center = both.iter().map(|(f, w)| f * w).sum::<f64>() / all;
        let var = both.iter().map(|(f, w)| w * w * (f - center).powi(2)).sum::<f64>() / (all - 1.0);
        (cov / ((1.0 + n / u.len() as f64) * var)).clamp(0.0, 1.0)
    };
    let estimate = |keep: &dyn Fn(usize) -> bool| -> (f64, f64, f64) {
        let kept: Vec<usize> = (0..sample.labels.len()).filter(|i| keep(*i)).collect();
        let of = |values: &[f64]| -> Vec<f64> { kept.iter().map(|i| values[*i]).collect() };
        let (y, f) = (of(sample.labels), of(sample.judged));
        let given = if sample.weights.is_empty() { Vec::new() } else { of(sample.weights) };
        let w = mean_one(&given, y.len());
        let u = mean_one(sample.unlabelled_weights, sample.unlabelled.len());
        let lam = lambda(&y, &f, &w);
        let rectified: Vec<f64> = y.iter().zip(&f).map(|(y, f)| y - lam * f).collect();
        let around = |values: &[f64], w: &[f64]| -> f64 {
            let center = mean(values, w);
            let n = values.len() as f64;
            values.iter().zip(w).map(|(x, w)| (w * (x - center)).powi(2)).sum::<f64>() / (n * n)
        };
        let judge = lam * lam * around(sample.unlabelled, &u);
        (lam * mean(sample.unlabelled, &u) + mean(&rectified, &w), judge + around(&rectified, &w), judge)
    };
    let (point, variance, judge) = estimate(&|_| true);
    let n = sample.labels.len();
    let each: Vec<f64> = (0..n).map(|out| estimate(&|i| i != out).0).collect();
    let center = each.iter().sum::<f64>() / n as f64;
    let spread = (n as f64 - 1.0) / n as f64 * each.iter().map(|e| (e - center).powi(2)).sum::<f64>();
    (point, variance.sqrt(), (spread + judge).sqrt(), estimate(&|_| true).0)
}

#[test]
fn running_sums_equal_the_slow_definition() {
    let mut random = Pcg64::seed_from_u64(3);
    for round in 0..20 {
        let draw =
            |n: usize, random: &mut Pcg64| -> Vec<f64> { (0..n).map(|_| random.random_range(3.0..5.0)).collect() };
        let (n, rest) = (random.random_range(3..12), random.random_range(2..30));
        let labels = draw(n, &mut random);
        let judged: Vec<f64> = labels.iter().map(|y| 0.7 * y + random.random_range(0.0..1.0)).collect();
        let unlabelled = draw(rest, &mut random);
        let (weights, others) = (draw(n, &mut random), draw(rest, &mut random));
        let mut sample = plain(&labels, &judged, &unlabelled);
        if round % 2 == 1 {
            sample = PpiSample { weights: &weights, unlabelled_weights: &others, ..sample };
        }
        let found = ppi_mean(sample, Tuning::Least, 0.95);
        let (point, se, jackknife, _) = slow(sample);
        let near = |left: Option<f64>, right: f64| (left.unwrap() - right).abs() < 1e-10;
        assert!(near(found.normal.estimate, point) && near(found.normal.se, se), "{found:?} {point} {se}");
        assert!(near(found.jackknife.se, jackknife), "{found:?} {jackknife}");
    }
}

/// A judge that passes too much, 30 labels, 300 items: the raw rate is off by 0.1, the corrected one covers the truth.
#[test]
fn the_corrected_interval_covers_where_the_raw_rate_does_not() {
    let mut random = Pcg64::seed_from_u64(11);
    let (mut covered, mut raw_far, rounds) = (0, 0, 400);
    for _ in 0..rounds {
        let mut item = || {
            let pass = random.random_range(0.0..1.0) < 0.7;
            let judged = if pass { random.random_range(0.0..1.0) < 0.97 } else { random.random_range(0.0..1.0) < 0.4 };
            (f64::from(u8::from(pass)), f64::from(u8::from(judged)))
        };
        let (labels, judged): (Vec<f64>, Vec<f64>) = (0..30).map(|_| item()).unzip();
        let unlabelled: Vec<f64> = (0..300).map(|_| item().1).collect();
        let found = ppi_mean(plain(&labels, &judged, &unlabelled), Tuning::Least, 0.95).jackknife;
        covered += i32::from(found.interval.is_some_and(|interval| interval.lo <= 0.7 && 0.7 <= interval.hi));
        raw_far += i32::from(moments::mean(&unlabelled).unwrap() > 0.75);
    }
    assert!(f64::from(covered) / f64::from(rounds) > 0.92, "{covered} of {rounds}");
    assert!(raw_far > 300, "{raw_far}: the judge is lenient");
}

/// Items chosen with unequal probability: only the weighted correction meets the mean of the population.
#[test]
fn weights_undo_the_choice() {
    let mut random = Pcg64::seed_from_u64(5);
    let (mut labels, mut judged, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    let (mut unlabelled, mut rest) = (Vec::new(), Vec::new());
    for index in 0..40_000 {
        let pass = random.random_range(0.0..1.0) < 0.6;
        let said = if random.random_range(0.0..1.0) < 0.85 { pass } else { !pass };
        // What the judge fails is looked at ten times as often.
        let chance = if said { 0.02 } else { 0.2 };
        if random.random_range(0.0..1.0) > chance {
            continue;
        }
        let value = |pass: bool| f64::from(u8::from(pass));
        if index % 5 == 0 {
            labels.push(value(pass));
            judged.push(value(said));
            weights.push(1.0 / chance);
        } else {
            unlabelled.push(value(said));
            rest.push(1.0 / chance);
        }
    }
    let sample = PpiSample { weights: &weights, unlabelled_weights: &rest, ..plain(&labels, &judged, &unlabelled) };
    let weighted = ppi_mean(sample, Tuning::Least, 0.99).jackknife.interval.unwrap();
    let naive = ppi_mean(plain(&labels, &judged, &unlabelled), Tuning::Least, 0.99).jackknife.interval.unwrap();
    assert!(weighted.lo < 0.6 && 0.6 < weighted.hi, "{weighted:?}");
    assert!(naive.hi < 0.6, "{naive:?}");
}

#[test]
fn differences_of_two_versions() {
    let (labels, judged) = ([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
    let other = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    let rest: Vec<f64> = (0..50).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
    let one = ppi_mean(plain(&labels, &judged, &rest), Tuning::Least, 0.95).jackknife;
    let two = ppi_mean(plain(&other, &judged, &rest), Tuning::Least, 0.95).jackknife;
    let apart = independent_difference(&one, &two, 0.95);
    assert!((apart.estimate.unwrap() - (two.estimate.unwrap() - one.estimate.unwrap())).abs() < 1e-15);
    let se = (one.se.unwrap().powi(2) + two.se.unwrap().powi(2)).sqrt();
    assert!((apart.se.unwrap() - se).abs() < 1e-15);
}
