//! How often each label or level occurred over the cells of a run.

use std::collections::BTreeMap;

use super::{
    RunResults,
    measure::{Metric, Source},
    summarize::trial_values,
    words,
};
use crate::model::{Scale, ScoreValue};

/// Most rows of a distribution.
const ROWS: usize = 12;
/// Ranges that numbers with more levels than rows are put into.
const BINS: usize = 10;

/// Labels best first, numbers ascending, at most [`ROWS`]; more distinct numbers are put into [`BINS`] equal ranges and
/// rarer labels into `other`.
pub(super) fn distribution(metric: &Metric, results: &RunResults) -> Vec<(String, u64)> {
    if let Source::Measure(_) = metric.source {
        return numbers(trial_values(metric, results));
    }
    let mut labels: BTreeMap<&str, u64> = BTreeMap::new();
    let mut values = Vec::new();
    let cells = results
        .examples
        .values()
        .flat_map(|example| example.trials.values())
        .filter_map(|trial| trial.scores.get(metric.name.as_str()))
        .flat_map(|draws| draws.values().flatten());
    for score in cells {
        match &score.value {
            ScoreValue::Pass { pass: true } => *labels.entry("pass").or_default() += 1,
            ScoreValue::Pass { pass: false } => *labels.entry("fail").or_default() += 1,
            ScoreValue::Label { label, .. } => *labels.entry(label).or_default() += 1,
            ScoreValue::Number { number } => values.push(number.get()),
        }
    }
    values.sort_by(f64::total_cmp);
    let mut rows = ordered(&metric.scale, labels);
    rows.extend(numbers(values));
    rows.truncate(ROWS);
    rows
}

fn ordered(scale: &Scale, mut labels: BTreeMap<&str, u64>) -> Vec<(String, u64)> {
    let mut rows: Vec<(String, u64)> = match scale {
        Scale::Labels { labels: declared } => declared
            .iter()
            .map(|(label, _)| (words::quoted(label), labels.remove(label.as_str()).unwrap_or(0)))
            .collect(),
        Scale::Binary if !labels.is_empty() => {
            ["pass", "fail"].map(|label| (label.to_owned(), labels.remove(label).unwrap_or(0))).to_vec()
        }
        _ => Vec::new(),
    };
    let mut rest: Vec<(String, u64)> = labels.into_iter().map(|(label, cells)| (words::quoted(label), cells)).collect();
    rest.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    rows.extend(rest);
    if rows.len() > ROWS {
        let others: u64 = rows.iter().skip(ROWS - 1).map(|(_, cells)| cells).sum();
        rows.truncate(ROWS - 1);
        rows.push(("other".to_owned(), others));
    }
    rows
}

/// Counts of ascending numbers, by value or by range.
fn numbers(values: Vec<f64>) -> Vec<(String, u64)> {
    let (Some(least), Some(greatest)) = (values.first().copied(), values.last().copied()) else { return Vec::new() };
    let mut levels: Vec<(f64, u64)> = Vec::new();
    for value in &values {
        match levels.last_mut() {
            Some((level, cells)) if level == value => *cells += 1,
            _ => levels.push((*value, 1)),
        }
    }
    if levels.len() <= ROWS {
        return levels.into_iter().map(|(level, cells)| (words::plain(level), cells)).collect();
    }
    let width = (greatest - least) / BINS as f64;
    let mut bins = [0_u64; BINS];
    for value in &values {
        let place = (((value - least) / width) as usize).min(BINS - 1);
        if let Some(cells) = bins.get_mut(place) {
            *cells += 1;
        }
    }
    let edge = |bin: usize| words::plain(least + width * bin as f64);
    bins.into_iter().enumerate().map(|(bin, cells)| (format!("{} to {}", edge(bin), edge(bin + 1)), cells)).collect()
}
