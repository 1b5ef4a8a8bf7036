//! Examples that got worse beside the ones most like them that did not: what a person looks at after the sentence.
//!
//! Likeness is made of the words of the inputs and of shared dimensions. Two passes over the examples, because the texts
//! of all need not fit in memory: first those that got worse, then everything else against them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Comparison, Condition, Contrasting, ExampleRow, Explanation};
use crate::model::{Direction, Example, ExampleId};

/// Examples that got worse, per metric.
const WORST: usize = 3;
/// Share of the words in likeness; the rest are dimensions.
const WORDS: f64 = 0.7;

/// Looks for the nearest examples; see [`Nearest::read`], then [`Nearest::look`], then [`Nearest::finish`].
pub struct Nearest<'a> {
    rows: HashMap<&'a ExampleId, &'a ExampleRow>,
    targets: Vec<Target<'a>>,
}

/// One example that got worse.
struct Target<'a> {
    metric: &'a str,
    sign: f64,
    id: &'a ExampleId,
    change: f64,
    words: Option<BTreeSet<String>>,
    best: Option<(f64, &'a ExampleId, f64)>,
}

impl<'a> Nearest<'a> {
    /// Chooses the examples that got worse: those of the first named slice, else of any, where a metric regressed or a
    /// slice of it did.
    pub fn new(comparison: &'a Comparison, explanations: &'a [Explanation]) -> Self {
        let rows = comparison.examples.iter().map(|row| (&row.id, row)).collect();
        let mut targets = Vec::new();
        for explanation in explanations {
            let named = explanation.named.iter().find(|slice| slice.change == crate::model::Change::Regressed);
            if named.is_none() && explanation.change != crate::model::Change::Regressed {
                continue;
            }
            let sign = if explanation.direction == Direction::Lower { -1.0 } else { 1.0 };
            let conditions: &[Condition] = named.map(|slice| slice.conditions.as_slice()).unwrap_or_default();
            let mut worse: Vec<(f64, &ExampleRow)> = comparison
                .examples
                .iter()
                .filter(|row| conditions.iter().all(|condition| may_meet(row, condition)))
                .filter_map(|row| Some((change(row, &explanation.metric)?, row)))
                .filter(|(change, _)| sign * change < 0.0)
                .collect();
            worse.sort_by(|a, b| (sign * a.0).total_cmp(&(sign * b.0)).then_with(|| a.1.id.cmp(&b.1.id)));
            targets.extend(worse.into_iter().take(WORST).map(|(change, row)| Target {
                metric: explanation.metric.as_str(),
                sign,
                id: &row.id,
                change,
                words: None,
                best: None,
            }));
        }
        Self { rows, targets }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The examples that got worse.
    pub fn worse(&self) -> BTreeSet<&'a ExampleId> {
        self.targets.iter().map(|target| target.id).collect()
    }

    /// First pass: reads the examples that got worse.
    pub fn read(&mut self, example: &Example) {
        for target in self.targets.iter_mut().filter(|target| *target.id == example.id) {
            target.words = Some(tokens(&example.input_text()));
        }
    }

    /// Second pass: holds an example against those that got worse.
    pub fn look(&mut self, example: &Example) {
        let Some((id, row)) = self.rows.get_key_value(&example.id).map(|(id, row)| (*id, *row)) else { return };
        let mut words = None;
        for target in &mut self.targets {
            let (Some(wanted), Some(held)) = (&target.words, change(row, target.metric)) else { continue };
            if target.sign * held < 0.0 || target.id == id {
                continue;
            }
            let words = words.get_or_insert_with(|| tokens(&example.input_text()));
            let theirs = self.rows.get(target.id).map(|row| &row.dimensions);
            let alike = WORDS * shared(wanted, words)
                + (1.0 - WORDS) * theirs.map_or(0.0, |theirs| same(theirs, &row.dimensions));
            if target.best.is_none_or(|(best, other, _)| alike > best || (alike == best && id < other)) {
                target.best = Some((alike, id, held));
            }
        }
    }

    /// The pairs found, by metric.
    pub fn finish(self) -> BTreeMap<String, Vec<Contrasting>> {
        let mut found: BTreeMap<String, Vec<Contrasting>> = BTreeMap::new();
        for target in &self.targets {
            let Some((alike, held, held_change)) = target.best else { continue };
            let dimensions = |id: &ExampleId| self.rows.get(id).map(|row| row.dimensions.clone()).unwrap_or_default();
            let (mine, theirs) = (dimensions(target.id), dimensions(held));
            let names: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
            let value = |of: &BTreeMap<String, String>, name: &String| of.get(name).cloned().unwrap_or_default();
            let differs = names
                .into_iter()
                .filter(|name| mine.get(*name) != theirs.get(*name))
                .map(|name| (name.clone(), value(&mine, name), value(&theirs, name)))
                .collect();
            found.entry(target.metric.to_owned()).or_default().push(Contrasting {
                worse: target.id.clone(),
                worse_change: target.change,
                held: held.clone(),
                held_change,
                alike,
                differs,
            });
        }
        found
    }
}

/// Whether a row meets a condition as far as rows know: they hold the examples' own dimensions and nothing else.
fn may_meet(row: &ExampleRow, condition: &Condition) -> bool {
    condition.origin != super::Origin::Example
        || row.dimensions.get(&condition.dimension).is_none_or(|value| *value == condition.value)
}

fn change(row: &ExampleRow, metric: &str) -> Option<f64> {
    let value = |side: &BTreeMap<String, Option<f64>>| side.get(metric).copied().flatten();
    Some(value(&row.candidate)? - value(&row.baseline)?)
}

/// The words of a text, in lower case.
fn tokens(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Jaccard's likeness of two sets; two empty ones are alike.
fn shared(left: &BTreeSet<String>, right: &BTreeSet<String>) -> f64 {
    let all = left.union(right).count();
    if all == 0 { 1.0 } else { left.intersection(right).count() as f64 / all as f64 }
}

/// Share of dimensions that agree.
fn same(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) -> f64 {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    if names.is_empty() {
        return 1.0;
    }
    names.iter().filter(|name| left.get(**name) == right.get(**name)).count() as f64 / names.len() as f64
}
