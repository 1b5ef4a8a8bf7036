//! How far a judge agrees with people: coefficients with their intervals, what people would reach among themselves, what
//! becomes of the figures when unscored examples count, and a threshold found on one half and checked on the other.
//!
//! Reads a finished calibration; asks nobody.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::judge::{CalibrationReport, Row, Tally};
use crate::model::{Digest, ScoreValue};
use crate::rubric::RubricScale;
use crate::stats::{
    Interval, Metric, Weighting, bootstrap_statistic, cohen_kappa, gwet_ac, kendall_tau_b, krippendorff_alpha, pearson,
    resamples, spearman, wilson,
};

/// Draws of the bootstrap; their seed is fixed, so that the same findings have the same interval.
const RESAMPLES: u32 = 1_000;
/// Pairs up to which coefficients that compare all pairs get an interval.
const PAIRS_FOR_INTERVALS: usize = 300;

/// A share with its interval.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// Hits.
    pub k: u64,
    /// Of how many.
    pub n: u64,
    /// Wilson interval at 95 %; `None` without any.
    pub interval: Option<Interval>,
}

impl Share {
    /// Of a count.
    pub fn of(tally: Tally) -> Self {
        Self { k: tally.k, n: tally.n, interval: wilson(tally.k, tally.n, 0.95) }
    }

    fn count(hits: impl Iterator<Item = bool>) -> Self {
        let mut tally = Tally::default();
        hits.for_each(|hit| add(&mut tally, hit));
        Self::of(tally)
    }
}

/// A coefficient with its interval.
#[derive(Clone, Debug, Serialize)]
pub struct Coefficient {
    /// `kappa`, `AC1`, `alpha`, `Spearman`, `Pearson` or `Kendall`.
    pub name: &'static str,
    /// The coefficient.
    pub estimate: f64,
    /// Bootstrap interval over the examples at 95 %; `None` where too few resamples have a coefficient, or there are too
    /// many examples to compare all pairs of them again and again.
    pub interval: Option<Interval>,
}

/// What people reach among themselves, beside what the judge reaches with one of them.
#[derive(Clone, Debug, Serialize)]
pub struct People {
    /// People, all examples together.
    pub people: u64,
    /// Examples with findings of several.
    pub examples: u64,
    /// Pairs of people who say the same, of all pairs on one example: the ceiling. No interval: pairs on one example
    /// hang together.
    pub agreement: Tally,
    /// Krippendorff's alpha among people.
    pub alpha: Option<f64>,
    /// Pairs of the judge and one person who say the same.
    pub with_judge: Tally,
}

/// The figures under one way to count examples without a score.
#[derive(Clone, Debug, Serialize)]
pub struct Policy {
    /// `left out`, `counted as wrong` or `a score of their own`.
    pub unscored: &'static str,
    /// Examples that count.
    pub n: u64,
    /// Share of agreement.
    pub accuracy: Option<f64>,
    /// Cohen's kappa; `None` for numbers and where unscored examples have no place in it.
    pub kappa: Option<f64>,
    /// Krippendorff's alpha of judge and people, likewise.
    pub alpha: Option<f64>,
}

/// A cut of a judge's numbers where people say yes or no.
#[derive(Clone, Debug, Serialize)]
pub struct Threshold {
    /// From this number on the judge's answer is a yes.
    pub at: f64,
    /// Examples it was chosen on, by the greatest sum of sensitivity and specificity.
    pub chosen_on: u64,
    /// Of the others that people say yes to, those at or above it.
    pub sensitivity: Share,
    /// Of the others that people say no to, those below it.
    pub specificity: Share,
    /// Agreement on the others.
    pub accuracy: Share,
}

/// All that could have been said, for chance depends on it.
fn menu(scale: &RubricScale) -> Vec<&str> {
    match scale {
        RubricScale::Binary { .. } => vec!["pass", "fail"],
        RubricScale::Labels(labels) => labels.iter().map(|label| label.label.as_str()).collect(),
        RubricScale::Number { .. } => Vec::new(),
    }
}

/// Agreement beyond chance: of labels kappa, AC1 and alpha, of numbers the correlations and alpha. What is not defined
/// (nothing varies) is left out.
pub fn beyond_chance(report: &CalibrationReport, scale: &RubricScale) -> Vec<Coefficient> {
    let names = menu(scale);
    let labels = confusion_pairs(report, &names);
    let values: Vec<f64> = (0..names.len()).map(|place| place as f64).collect();
    let kappa = |pairs: &[(usize, usize)]| cohen_kappa(pairs, names.len(), Weighting::None);
    let ac1 = |pairs: &[(usize, usize)]| gwet_ac(&items(pairs), names.len(), Weighting::None);
    let alpha = |pairs: &[(usize, usize)]| krippendorff_alpha(&items(pairs), &values, Metric::Nominal);
    // Labels with values are numbers, too; they are told as labels.
    let numbers: &[(f64, f64)] = if labels.is_empty() { &report.numbers.pairs } else { &[] };
    let few = numbers.len() <= PAIRS_FOR_INTERVALS;
    let all = [
        coefficient("kappa", &labels, true, kappa),
        coefficient("AC1", &labels, true, ac1),
        coefficient("alpha", &labels, true, alpha),
        coefficient("Spearman", numbers, true, spearman),
        coefficient("Pearson", numbers, true, pearson),
        coefficient("Kendall", numbers, few, kendall_tau_b),
        coefficient("alpha", numbers, true, interval_alpha),
    ];
    all.into_iter().flatten().collect()
}

fn confusion_pairs(report: &CalibrationReport, names: &[&str]) -> Vec<(usize, usize)> {
    let place = |name: &String| names.iter().position(|other| other == name);
    let counted = report.confusion.iter().filter_map(|((person, judge), n)| Some((place(person)?, place(judge)?, *n)));
    counted.flat_map(|(person, judge, n)| (0..n).map(move |_| (person, judge))).collect()
}

fn items(pairs: &[(usize, usize)]) -> Vec<Vec<usize>> {
    pairs.iter().map(|(one, other)| vec![*one, *other]).collect()
}

/// Krippendorff's alpha of two raters who give numbers, by squared distance. With two ratings to each item the matrix of
/// coincidences comes down to two sums: squares within the items, and squares around the mean of all ratings.
fn interval_alpha(pairs: &[(f64, f64)]) -> Option<f64> {
    let ratings = 2.0 * pairs.len() as f64;
    let mean = pairs.iter().map(|(one, other)| one + other).sum::<f64>() / ratings;
    let within: f64 = pairs.iter().map(|(one, other)| (one - other).powi(2)).sum();
    let around: f64 = pairs.iter().map(|(one, other)| (one - mean).powi(2) + (other - mean).powi(2)).sum();
    (around > 0.0).then(|| 1.0 - (ratings - 1.0) * within / (ratings * around))
}

fn coefficient<T: Copy>(
    name: &'static str,
    pairs: &[T],
    with_interval: bool,
    of: impl Fn(&[T]) -> Option<f64>,
) -> Option<Coefficient> {
    if !with_interval {
        return Some(Coefficient { name, estimate: of(pairs)?, interval: None });
    }
    let places: Vec<usize> = (0..pairs.len()).collect();
    let found = bootstrap_statistic(&places, resamples(pairs.len(), RESAMPLES, 0), 0.95, |items| {
        of(&items.iter().filter_map(|item| pairs.get(*item).copied()).collect::<Vec<T>>())
    });
    Some(Coefficient { name, estimate: found.estimate?, interval: found.percentile })
}

/// What several people reach; `None` where no example has findings of several.
pub fn people(report: &CalibrationReport, scale: &RubricScale) -> Option<People> {
    let rows: Vec<&Row> = report.rows.iter().filter(|row| row.people.len() > 1).collect();
    let mut who: Vec<&str> = rows.iter().flat_map(|row| row.people.iter().map(|(name, _)| name.as_str())).collect();
    who.sort_unstable();
    who.dedup();
    let (mut agreement, mut with_judge) = (Tally::default(), Tally::default());
    for row in &rows {
        for (place, (_, one)) in row.people.iter().enumerate() {
            for (_, other) in row.people.iter().skip(place + 1) {
                add(&mut agreement, report.same(one, other));
            }
            if let Some(found) = &row.found {
                add(&mut with_judge, report.same(one, found));
            }
        }
    }
    (!rows.is_empty()).then(|| People {
        people: who.len() as u64,
        examples: rows.len() as u64,
        agreement,
        alpha: alpha_of_people(&rows, scale),
        with_judge,
    })
}

fn add(tally: &mut Tally, hit: bool) {
    tally.k += u64::from(hit);
    tally.n += 1;
}

fn alpha_of_people(rows: &[&Row], scale: &RubricScale) -> Option<f64> {
    let names = menu(scale);
    if names.is_empty() {
        let mut values: Vec<f64> =
            rows.iter().flat_map(|row| row.people.iter()).filter_map(|(_, v)| v.number()).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let place = |value: &ScoreValue| {
            let number = value.number()?;
            values.binary_search_by(|other| other.total_cmp(&number)).ok()
        };
        let items: Vec<Vec<usize>> =
            rows.iter().map(|row| row.people.iter().filter_map(|(_, value)| place(value)).collect()).collect();
        return krippendorff_alpha(&items, &values, Metric::Interval);
    }
    let values: Vec<f64> = (0..names.len()).map(|place| place as f64).collect();
    let place = |value: &ScoreValue| names.iter().position(|name| *name == value.to_string());
    let items: Vec<Vec<usize>> =
        rows.iter().map(|row| row.people.iter().filter_map(|(_, value)| place(value)).collect()).collect();
    krippendorff_alpha(&items, &values, Metric::Nominal)
}

/// What becomes of the figures when examples without a score count; empty where every example has one.
pub fn policies(report: &CalibrationReport, scale: &RubricScale) -> Vec<Policy> {
    let without: Vec<&Row> = report.rows.iter().filter(|row| row.found.is_none()).collect();
    if without.is_empty() {
        return Vec::new();
    }
    let names = menu(scale);
    let pairs = confusion_pairs(report, &names);
    let (k, n) = (report.accuracy.k as f64, report.accuracy.n);
    let all = n + without.len() as u64;
    let share = |of: u64| (of > 0).then(|| k / of as f64);
    let figures = |pairs: &[(usize, usize)], categories: usize| {
        let values: Vec<f64> = (0..categories).map(|place| place as f64).collect();
        let kappa = cohen_kappa(pairs, categories, Weighting::None);
        (kappa, krippendorff_alpha(&items(pairs), &values, Metric::Nominal))
    };
    let mut found = Vec::new();
    let (kappa, alpha) = if names.is_empty() { (None, None) } else { figures(&pairs, names.len()) };
    found.push(Policy { unscored: "left out", n, accuracy: share(n), kappa, alpha });
    found.push(Policy { unscored: "counted as wrong", n: all, accuracy: share(all), kappa: None, alpha: None });
    if !names.is_empty() {
        let place = |row: &&Row| names.iter().position(|name| *name == row.expected.to_string());
        let mut with: Vec<(usize, usize)> = pairs;
        with.extend(without.iter().filter_map(|row| Some((place(row)?, names.len()))));
        let (kappa, alpha) = figures(&with, names.len() + 1);
        found.push(Policy { unscored: "a score of their own", n: all, accuracy: share(all), kappa, alpha });
    }
    found
}

/// A cut of the judge's numbers, where people's have two values only. It is chosen on half of the examples and checked on
/// the other, which half is which decided by their ids.
pub fn threshold(report: &CalibrationReport) -> Option<Threshold> {
    let mut dev: Vec<(bool, f64)> = Vec::new();
    let mut test: Vec<(bool, f64)> = Vec::new();
    let numbers = |row: &Row| match (&row.expected, &row.found) {
        (ScoreValue::Number { number: person }, Some(ScoreValue::Number { number: judge })) => {
            Some((person.get(), judge.get()))
        }
        _ => None,
    };
    let mut said: BTreeMap<u64, f64> = BTreeMap::new();
    for (person, _) in report.rows.iter().filter_map(numbers) {
        said.insert(person.to_bits(), person);
    }
    let [one, other] = said.values().copied().collect::<Vec<f64>>()[..] else { return None };
    for row in &report.rows {
        let Some((person, judge)) = numbers(row) else { continue };
        let half = if in_first_half(&row.example) { &mut dev } else { &mut test };
        half.push((person == one.max(other), judge));
    }
    let at = best_cut(&dev)?;
    let of =
        |wanted: bool| Share::count(test.iter().filter(|(yes, _)| *yes == wanted).map(|(yes, n)| (*n >= at) == *yes));
    Some(Threshold {
        at,
        chosen_on: dev.len() as u64,
        sensitivity: of(true),
        specificity: of(false),
        accuracy: Share::count(test.iter().map(|(yes, number)| (*number >= at) == *yes)),
    })
}

fn in_first_half(example: &str) -> bool {
    let digest = Digest::of(example.as_bytes());
    digest.as_str().bytes().last().is_some_and(|byte| byte % 2 == 0)
}

/// The number with the greatest sum of sensitivity and specificity; the lowest of equals. `None` where one side is empty.
fn best_cut(points: &[(bool, f64)]) -> Option<f64> {
    let mut sorted: Vec<(bool, f64)> = points.to_vec();
    sorted.sort_by(|left, right| right.1.total_cmp(&left.1));
    let yes = sorted.iter().filter(|(yes, _)| *yes).count() as f64;
    let no = sorted.len() as f64 - yes;
    if yes == 0.0 || no == 0.0 {
        return None;
    }
    let (mut hits, mut false_alarms, mut best) = (0.0, 0.0, (f64::NEG_INFINITY, None));
    for (place, (is_yes, number)) in sorted.iter().enumerate() {
        if *is_yes {
            hits += 1.0;
        } else {
            false_alarms += 1.0;
        }
        let last_of_its_number = sorted.get(place + 1).is_none_or(|(_, next)| next != number);
        let gain = hits / yes - false_alarms / no;
        if last_of_its_number && gain >= best.0 {
            best = (gain, Some(*number));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_where_both_sides_are_told_apart_best() {
        let points = [(true, 0.9), (true, 0.8), (false, 0.7), (true, 0.6), (false, 0.2), (false, 0.1)];
        // At 0.6: 3 of 3 and 1 of 3 false alarms; at 0.8: 2 of 3 and none. Both gain 2/3; the lower one holds.
        assert_eq!(best_cut(&points), Some(0.6));
        assert_eq!(best_cut(&[(true, 0.5), (false, 0.5)]), Some(0.5));
        assert_eq!(best_cut(&[(true, 0.5)]), None);
    }

    #[test]
    fn alpha_of_numbers_is_that_of_the_textbook() {
        // Krippendorff's formula by hand: observed 2 x (0.25 + 0 + 1) / 6, expected over the six values.
        let pairs = [(1.0, 1.5), (2.0, 2.0), (4.0, 3.0)];
        let values = [1.0, 1.5, 2.0, 2.0, 4.0, 3.0];
        let observed: f64 = 2.0 * (0.25 + 1.0) / 6.0;
        let squares: f64 = values.iter().flat_map(|a| values.iter().map(move |b| f64::powi(a - b, 2))).sum();
        let expected = squares / 30.0;
        assert!((interval_alpha(&pairs).unwrap() - (1.0 - observed / expected)).abs() < 1e-12);
    }
}
