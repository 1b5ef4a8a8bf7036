//! The scores a judge may give, with what each means, and how they enter a run's header.

use serde_json::{Value, json};

use crate::model::{Finite, Scale, ScoreValue};

/// One label of a labels scale.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSpec {
    /// The label.
    pub label: String,
    /// The value that enters means; a label without one enters none.
    pub value: Option<f64>,
    /// When it is the right one.
    pub description: String,
}

impl LabelSpec {
    /// The label as a score.
    pub fn to_value(&self) -> ScoreValue {
        ScoreValue::Label { label: self.label.clone(), number: self.value.and_then(Finite::new) }
    }
}

/// The sentence for one level of a number scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Anchor {
    /// The level.
    pub level: f64,
    /// What it means.
    pub description: String,
}

/// The scores a judge may give, with what each means.
#[derive(Clone, Debug, PartialEq)]
pub enum RubricScale {
    /// `pass` or `fail`.
    Binary {
        /// When `pass` is right; may be empty.
        pass: String,
        /// When `fail` is right; may be empty.
        fail: String,
    },
    /// One of some labels, best first.
    Labels(Vec<LabelSpec>),
    /// A number from `min` to `max`.
    Number {
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
        /// Distance of permitted numbers, counted from `min`; any number in between when absent.
        step: Option<f64>,
        /// Sentences, by level, ascending.
        anchors: Vec<Anchor>,
    },
}

impl RubricScale {
    /// The scale as it enters a run's header.
    pub fn to_scale(&self) -> Scale {
        match self {
            Self::Binary { .. } => Scale::Binary,
            Self::Labels(labels) => {
                Scale::Labels { labels: labels.iter().map(|label| (label.label.clone(), label.value)).collect() }
            }
            Self::Number { min, max, .. } => Scale::Number { min: Some(*min), max: Some(*max) },
        }
    }

    /// The permitted numbers of a stepped number scale with at most 21 of them.
    pub fn levels(&self) -> Option<Vec<f64>> {
        let Self::Number { min, max, step: Some(step), .. } = self else { return None };
        let count = ((max - min) / step).round();
        if !(1.0..=20.0).contains(&count) {
            return None;
        }
        // Multiplied, not summed, so that 0.1 steps do not drift; then rounded to what a person would write.
        Some((0..=count as u32).map(|index| ((min + f64::from(index) * step) * 1e9).round() / 1e9).collect())
    }

    /// `binary`, `labels` or `number`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Binary { .. } => "binary",
            Self::Labels(_) => "labels",
            Self::Number { .. } => "number",
        }
    }

    /// All scores that can be named with their values, in the order of the scale; `None` for a scale that permits any
    /// number or too many. A label without a value has none.
    pub fn menu(&self) -> Option<Vec<(String, Option<f64>)>> {
        Some(match self {
            Self::Binary { .. } => vec![("pass".to_owned(), Some(1.0)), ("fail".to_owned(), Some(0.0))],
            Self::Labels(labels) => labels.iter().map(|label| (label.label.clone(), label.value)).collect(),
            Self::Number { .. } => self.levels()?.into_iter().map(|level| (level.to_string(), Some(level))).collect(),
        })
    }

    /// The scale of means of its scores: numbers within its bounds.
    pub fn to_number_scale(&self) -> Scale {
        let bounds = self.to_scale().bounds();
        Scale::Number { min: bounds.map(|(min, _)| min), max: bounds.map(|(_, max)| max) }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Binary { pass, fail } => json!({"binary": {"pass": pass, "fail": fail}}),
            Self::Labels(labels) => {
                json!({"labels": labels.iter().map(|l| json!([l.label, l.value, l.description])).collect::<Vec<_>>()})
            }
            Self::Number { min, max, step, anchors } => json!({"number": {
                "min": min, "max": max, "step": step,
                "anchors": anchors.iter().map(|a| json!([a.level, a.description])).collect::<Vec<_>>(),
            }}),
        }
    }
}
