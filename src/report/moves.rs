//! What moved in one example: the rows of the list read for people, the same way in every report.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use super::{Subject, number};
use crate::compare::{Details, ExampleDetail, ExampleRow, TrialDetail};
use crate::model::{Direction, ExampleId, MetricRole, Scale, ScoreValue};

/// What is known of a metric beyond its numbers.
#[derive(Clone, Debug)]
pub(super) struct MetricFacts {
    /// Place in the suite's order.
    pub place: usize,
    /// Which way is better.
    pub direction: Direction,
    /// Gate or inform.
    pub role: MetricRole,
    /// Unit.
    pub unit: number::Unit,
    /// Scale.
    pub scale: Scale,
}

/// Facts of all metrics of a subject, by name.
pub(super) fn facts(subject: &Subject<'_>) -> HashMap<String, MetricFacts> {
    let fact = |(place, (name, direction, role, scale)): (usize, (&String, Direction, MetricRole, &Scale))| {
        let unit = number::Unit::of(name, scale);
        (name.clone(), MetricFacts { place, direction, role, unit, scale: scale.clone() })
    };
    match subject {
        Subject::Run(view) => {
            let all = view.metrics.iter().chain(&view.measures);
            all.map(|m| (&m.name, m.direction, m.role, &m.scale)).enumerate().map(fact).collect()
        }
        Subject::Comparison(view) => {
            let all = view.metrics.iter().chain(&view.measures);
            all.map(|m| (&m.name, m.direction, m.role, &m.scale)).enumerate().map(fact).collect()
        }
    }
}

/// One metric of one example, on one side or both.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Move {
    /// Metric.
    pub metric: String,
    /// Value of the baseline as text; `None` in a run's own report.
    pub baseline: Option<String>,
    /// Value of the candidate as text.
    pub candidate: String,
    /// `better`, `worse`, `same`, or `open` where a side is unscored.
    pub tone: &'static str,
    /// Whether the metric can fail the gate.
    pub gate: bool,
}

impl Move {
    /// `pass → fail`, or only the value in a run's own report.
    pub(super) fn text(&self) -> String {
        match &self.baseline {
            Some(baseline) if self.tone != "same" => format!("{baseline} → {}", self.candidate),
            _ => self.candidate.clone(),
        }
    }

    /// A sign that says the tone without color.
    pub(super) fn sign(&self) -> &'static str {
        sign(self.tone)
    }
}

/// The sign of a tone.
pub(super) fn sign(tone: &str) -> &'static str {
    match tone {
        "better" => "▲",
        "worse" => "▼",
        "open" => "∅",
        _ => "",
    }
}

/// The metrics of a row: worse first, then better, then unscored, then unmoved; gates before others, then the
/// suite's order.
pub(super) fn moves(row: &ExampleRow, facts: &HashMap<String, MetricFacts>, compared: bool) -> Vec<Move> {
    let mut names: Vec<&String> = row.candidate.keys().chain(row.baseline.keys()).collect();
    names.sort_by_key(|name| (facts.get(*name).map_or(usize::MAX, |fact| fact.place), *name));
    names.dedup();
    let mut moves: Vec<Move> = names
        .into_iter()
        .map(|name| {
            let of = |side: &BTreeMap<String, Option<f64>>| side.get(name).copied().flatten();
            one_move(name, compared.then(|| of(&row.baseline)), of(&row.candidate), facts.get(name))
        })
        .collect();
    let rank = |tone: &str| ["worse", "better", "open", "same"].iter().position(|t| *t == tone);
    moves.sort_by_key(|one| (rank(one.tone), !one.gate));
    moves
}

fn one_move(name: &str, baseline: Option<Option<f64>>, candidate: Option<f64>, fact: Option<&MetricFacts>) -> Move {
    let better_up = fact.is_none_or(|fact| fact.direction == Direction::Higher);
    let tone = match (baseline, candidate) {
        (None, Some(value)) => absolute_tone(value, fact),
        (None, None) | (Some(None), _) | (Some(_), None) => "open",
        (Some(Some(before)), Some(after)) => match after.partial_cmp(&before) {
            Some(Ordering::Greater) if better_up => "better",
            Some(Ordering::Less) if better_up => "worse",
            Some(Ordering::Greater) => "worse",
            Some(Ordering::Less) => "better",
            _ => "same",
        },
    };
    let text = |value: Option<f64>| value.map_or_else(|| "unscored".to_owned(), |value| reduced(value, fact));
    Move {
        metric: name.to_owned(),
        baseline: baseline.map(text),
        candidate: text(candidate),
        tone,
        gate: fact.is_some_and(|fact| fact.role == MetricRole::Gate),
    }
}

/// A run's own rows have nothing to move from; only the ends of a yes-or-no scale are told apart.
fn absolute_tone(value: f64, fact: Option<&MetricFacts>) -> &'static str {
    match fact {
        Some(fact) if fact.scale == Scale::Binary => {
            let good = if fact.direction == Direction::Higher { 1.0 } else { 0.0 };
            if value == good { "same" } else { "worse" }
        }
        _ => "same",
    }
}

fn reduced(value: f64, fact: Option<&MetricFacts>) -> String {
    match fact.map(|fact| (&fact.scale, fact.unit)) {
        Some((Scale::Binary, _)) if value == 1.0 || value == 0.0 => {
            yes_no(value == 1.0, fact.is_some_and(|fact| fact.direction == Direction::Lower)).to_owned()
        }
        Some((Scale::Labels { labels }, _)) => labels
            .iter()
            .find(|(_, number)| *number == Some(value))
            .map_or_else(|| number::plain(value), |(label, _)| label.clone()),
        Some((_, unit @ (number::Unit::Milliseconds | number::Unit::Dollars | number::Unit::Tokens))) => {
            unit.value(value)
        }
        _ => number::plain(value),
    }
}

/// A yes-or-no value in words. Where less is better, `pass` would be the bad answer, so it is plainly yes or no.
pub(super) fn yes_no(yes: bool, lower: bool) -> &'static str {
    match (yes, lower) {
        (true, false) => "pass",
        (false, false) => "fail",
        (true, true) => "yes",
        (false, true) => "no",
    }
}

/// Details by example id.
pub(super) fn by_id(details: &Details) -> HashMap<&ExampleId, &ExampleDetail> {
    details.iter().map(|detail| (&detail.id, detail)).collect()
}

/// What the grader of a metric said of the candidate: the first explanation of a score that did not pass, else the
/// first at all, else why there is no score.
pub(super) fn explanation<'a>(detail: &'a ExampleDetail, metric: &str) -> Option<&'a str> {
    if let Some(failure) = detail.candidate.iter().find_map(|trial| trial.failure.as_ref()) {
        return Some(&failure.message);
    }
    let scores = detail.candidate.iter().flat_map(|trial: &TrialDetail| &trial.scores);
    let found: Vec<_> = scores.filter(|score| score.grader == metric).map(|score| &score.scored).collect();
    let passed = |value: &ScoreValue| matches!(value, ScoreValue::Pass { pass: true });
    let of = |want_failed: bool| {
        found.iter().find_map(move |scored| match scored {
            Ok(score) if !want_failed || !passed(&score.value) => score.explanation.as_deref(),
            Err(unscored) => Some(unscored.detail.as_str()),
            Ok(_) => None,
        })
    };
    of(true).or_else(|| of(false)).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(direction: Direction) -> MetricFacts {
        let unit = number::Unit::Plain(3);
        MetricFacts { place: 0, direction, role: MetricRole::Gate, unit, scale: Scale::Binary }
    }

    #[test]
    fn direction_decides_what_is_better() {
        let higher = binary(Direction::Higher);
        let lower = binary(Direction::Lower);
        assert_eq!(one_move("m", Some(Some(1.0)), Some(0.0), Some(&higher)).tone, "worse");
        assert_eq!(one_move("m", Some(Some(1.0)), Some(0.0), Some(&lower)).tone, "better");
        assert_eq!(one_move("m", Some(Some(1.0)), Some(0.0), Some(&higher)).text(), "pass → fail");
        assert_eq!(one_move("m", Some(Some(0.0)), Some(1.0), Some(&lower)).text(), "no → yes");
    }

    #[test]
    fn unscored_is_open_not_worse() {
        let moved = one_move("m", Some(Some(1.0)), None, Some(&binary(Direction::Higher)));
        assert_eq!((moved.tone, moved.text().as_str()), ("open", "pass → unscored"));
    }
}
