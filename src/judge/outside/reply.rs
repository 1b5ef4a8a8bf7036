//! What programs and services are shown of a cell, and how their answer becomes a finding.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault;
use crate::model::{Direction, Finite, Scale, Score, ScoreInput, ScoreValue, Scored, Unscored, UnscoredReason};
use crate::sys::text::one_line;

/// Characters of a reason that are kept.
const REASON: usize = 2_000;

/// What an answer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Gives {
    /// `passed`: true or false.
    #[default]
    Pass,
    /// `score`: a number.
    Number,
    /// `label`: one of `labels`.
    Label,
}

/// How an answer is read. An answer is a JSON object with one of `passed`, `score`, `label`, or `unscored` with why, and
/// perhaps `reason`, `details`, `evidence`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// What it holds.
    #[serde(default)]
    pub gives: Gives,
    /// For `label`: each label and what it is worth.
    #[serde(default)]
    pub labels: BTreeMap<String, f64>,
    /// For `number`: the least it can be.
    pub min: Option<f64>,
    /// For `number`: the most it can be.
    pub max: Option<f64>,
    /// For `number`: whether less is better.
    #[serde(default)]
    pub lower_is_better: bool,
    /// JSON pointer to the finding in the answer, where it is not under its usual name: `/0/score`.
    pub at: Option<String>,
}

impl Answer {
    pub(super) fn check(&self) -> Result<(), String> {
        if (self.gives == Gives::Label) == self.labels.is_empty() {
            return Err("`answer.labels` and `gives = \"label\"` belong together".to_owned());
        }
        if self.gives != Gives::Number && (self.min.is_some() || self.max.is_some() || self.lower_is_better) {
            return Err("`answer.min`, `max` and `lower_is_better` need `gives = \"number\"`".to_owned());
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            return Err(format!("`answer.min` is {min} and `answer.max` is {max}: nothing can lie between them"));
        }
        match &self.at {
            Some(at) if !at.starts_with('/') => {
                Err(format!("`answer.at` must be a JSON pointer like `/a/b`, found `{at}`"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn scale(&self) -> Scale {
        match self.gives {
            Gives::Pass => Scale::Binary,
            Gives::Number => Scale::Number { min: self.min, max: self.max },
            Gives::Label => {
                let mut labels: Vec<(String, Option<f64>)> =
                    self.labels.iter().map(|(label, worth)| (label.clone(), Some(*worth))).collect();
                labels.sort_by(|(_, a), (_, b)| b.unwrap_or(0.0).total_cmp(&a.unwrap_or(0.0)));
                Scale::Labels { labels }
            }
        }
    }

    pub(super) fn direction(&self) -> Direction {
        if self.lower_is_better { Direction::Lower } else { Direction::Higher }
    }

    /// The finding in an answer; `who` names the program or service.
    pub(super) fn read(&self, who: &str, bytes: &[u8]) -> Scored {
        let start = || one_line(&String::from_utf8_lossy(bytes), 160);
        let unreadable = |what: &str| {
            Unscored::new(UnscoredReason::ReplyUnreadable, format!("{who} answered {what}: `{}`", start()))
        };
        let answer: Value = serde_json::from_slice(bytes).map_err(|error| unreadable(&format!("no JSON ({error})")))?;
        let text = |key: &str| answer.get(key).and_then(Value::as_str).map(|text| one_line(text, REASON));
        if let Some(why) = answer.get("unscored").filter(|why| !why.is_null() && **why != Value::Bool(false)) {
            let why = why.as_str().map(|text| one_line(text, REASON)).or_else(|| text("reason")).unwrap_or_default();
            return Err(Unscored::not_applicable(format!("{who} gave no score: {why}")));
        }
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            return Err(fault(format!("{who} failed: {}", one_line(&error.to_string(), REASON))));
        }
        let key = match self.gives {
            Gives::Pass => "/passed",
            Gives::Number => "/score",
            Gives::Label => "/label",
        };
        let at = self.at.as_deref().unwrap_or(key);
        let found = answer.pointer(at).filter(|value| !value.is_null());
        let found = found.ok_or_else(|| unreadable(&format!("nothing at `{at}`")))?;
        let off = |wanted: &str| {
            let told = format!("{who} answered `{}` at `{at}`, expected {wanted}", one_line(&found.to_string(), 120));
            Unscored::new(UnscoredReason::OffMenu, told)
        };
        let value = match self.gives {
            Gives::Pass => ScoreValue::Pass { pass: found.as_bool().ok_or_else(|| off("true or false"))? },
            Gives::Number => {
                let number = found
                    .as_f64()
                    .filter(|n| self.min.is_none_or(|min| *n >= min) && self.max.is_none_or(|max| *n <= max));
                let number = number.and_then(Finite::new).ok_or_else(|| off("a number within its limits"))?;
                ScoreValue::Number { number }
            }
            Gives::Label => {
                let known = found.as_str().and_then(|label| self.labels.get_key_value(label));
                let (label, worth) = known.ok_or_else(|| off("one of its labels"))?;
                ScoreValue::Label { label: label.clone(), number: Finite::new(*worth) }
            }
        };
        let told = text("reason").filter(|reason| !reason.is_empty()).unwrap_or_else(|| format!("{who} gave {value}"));
        let mut score = Score::of(value, told);
        score.details =
            answer.get("details").filter(|details| details.to_string().len() < 100_000).cloned().unwrap_or_default();
        let evidence = answer.get("evidence").and_then(Value::as_array);
        score.evidence =
            evidence.into_iter().flatten().filter_map(Value::as_str).take(20).map(|text| one_line(text, 300)).collect();
        Ok(score)
    }
}

/// What is shown of a cell.
pub(super) fn question(input: &ScoreInput<'_>, call: u64) -> Value {
    let ScoreInput { example, output } = *input;
    json!({
        "call": call,
        "id": example.id,
        "input": example.input,
        "reference": example.reference,
        "expected_calls": example.expected_calls,
        "metadata": example.metadata,
        "dimensions": example.dimensions,
        "output": output.value,
        "text": output.text(),
        "trace": output.trace,
        "usage": output.usage,
        "cost_usd": output.cost_usd,
        "latency_ms": output.latency_ms,
        "output_metadata": output.metadata,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(options: Value) -> Answer {
        serde_json::from_value(options).unwrap()
    }

    #[test]
    fn answers_are_read_or_there_is_no_score() {
        let pass = answer(json!({}));
        let score = pass.read("w", br#"{"passed": true, "reason": "fine\u001b[31m", "evidence": ["a", 3]}"#).unwrap();
        assert_eq!((score.value.number(), score.evidence.len()), (Some(1.0), 1));
        assert!(!score.explanation.unwrap().contains('\u{1b}'));
        let reason = |options: &Answer, bytes: &[u8]| options.read("w", bytes).unwrap_err().reason;
        assert_eq!(reason(&pass, b"{\"passed\": tr"), UnscoredReason::ReplyUnreadable);
        assert_eq!(reason(&pass, b"{\"score\": 1}"), UnscoredReason::ReplyUnreadable);
        assert_eq!(reason(&pass, b"{\"passed\": 1}"), UnscoredReason::OffMenu);
        assert_eq!(reason(&pass, b"{\"unscored\": \"no\"}"), UnscoredReason::NotApplicable);
        assert_eq!(reason(&pass, b"{\"error\": \"broke\"}"), UnscoredReason::ScorerFault);
        let number = answer(json!({"gives": "number", "min": 0, "max": 1, "at": "/0/p"}));
        assert_eq!(number.read("w", b"[{\"p\": 0.25}]").unwrap().value.number(), Some(0.25));
        assert_eq!(reason(&number, b"[{\"p\": 2}]"), UnscoredReason::OffMenu);
        let label = answer(json!({"gives": "label", "labels": {"good": 1, "bad": 0}}));
        assert_eq!(label.read("w", b"{\"label\": \"bad\"}").unwrap().value.number(), Some(0.0));
        assert_eq!(reason(&label, b"{\"label\": \"so so\"}"), UnscoredReason::OffMenu);
        assert!(answer(json!({"gives": "label"})).check().is_err() && answer(json!({"min": 1})).check().is_err());
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[\\[\\]{}\":,a-z0-9. ]{0,40}") {
            for options in [json!({}), json!({"gives": "number"})] {
                let _ = answer(options.clone()).read("w", &bytes);
                let _ = answer(options).read("w", text.as_bytes());
            }
        }
    }
}
