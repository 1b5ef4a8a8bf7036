//! What the data already says about an output: user feedback, a benchmark's reward, a `resolved` column.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{expected_found, quote, quote_value, text_of};
use super::options::{check_bounds, read, schema_of};
use super::path::Path;
use super::{Scorer, ScorerInfo};
use crate::model::{Direction, Finite, Scale, Score, ScoreInput, ScoreValue, Scored, Unscored, UnscoredReason};
use crate::sys::text::one_line;

pub(super) const RECORDED_VALUE: ScorerInfo = ScorerInfo {
    name: "recorded_value",
    version: "1",
    summary: "Gives a value that the data already holds, such as a reward, user feedback or a solved mark.",
    sample: "field = \"output.metadata.reward\"\nas = \"pass\"",
    schema: schema_of::<Options>,
    build,
};

/// Words that mean yes and no, in either case.
const YES: &[&str] = &["true", "yes", "y", "1", "1.0", "pass", "passed"];
const NO: &[&str] = &["false", "no", "n", "0", "0.0", "fail", "failed"];

/// What the value is taken as.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum As {
    /// Yes or no: true and false, 1 and 0, their usual words, a label worth 1 or 0, or a number against `at_least`.
    Pass,
    /// A number; true and false count as 1 and 0.
    Number,
    /// One of `labels`.
    Label,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Better {
    /// More is better.
    #[default]
    Higher,
    /// Less is better.
    Lower,
}

/// Where the value stands and what it means.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Where it stands: a key of the output's metadata, or a path that starts with `output.metadata`, `output.value`,
    /// `example.metadata`, `example.dimensions`, `example.input`, `example.reference`, or `trace` (an attribute of a
    /// span, the root's first). Steps are divided by points; lists are entered by index.
    field: String,
    /// What it is taken as.
    r#as: As,
    /// Labels and what each is worth; for `pass` they must be worth 1 or 0.
    labels: Option<BTreeMap<String, f64>>,
    /// For `pass`: a number passes from here up.
    at_least: Option<f64>,
    /// For `pass`: a number passes up to here.
    at_most: Option<f64>,
    /// For `pass`: whether yes in the data means fail (`escalated`, `thumbs_down`).
    #[serde(default)]
    negate: bool,
    /// For `number`: added to what is recorded, before the bounds: `-1` turns preferences of 1 to 2 into wins.
    plus: Option<f64>,
    /// For `number`: the least value there can be; a lower one is no score.
    min: Option<f64>,
    /// For `number`: the greatest value there can be; a higher one is no score.
    max: Option<f64>,
    /// For `number` and `label`: which way is better.
    better: Option<Better>,
}

struct Recorded {
    path: Path,
    options: Options,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    let path = Path::parse("field", &options.field)?;
    options.check()?;
    Ok(Box::new(Recorded { path, options }))
}

impl Options {
    fn check(&self) -> Result<(), String> {
        check_bounds(("min", "max"), self.min, self.max)?;
        check_bounds(("at_least", "at_most"), self.at_least, self.at_most)?;
        let pass = self.r#as == As::Pass;
        let number = self.r#as == As::Number;
        let misplaced = [
            ("at_least", self.at_least.is_some() && !pass, "pass"),
            ("at_most", self.at_most.is_some() && !pass, "pass"),
            ("negate", self.negate && !pass, "pass"),
            ("min", self.min.is_some() && !number, "number"),
            ("max", self.max.is_some() && !number, "number"),
            ("plus", self.plus.is_some() && !number, "number"),
        ];
        if let Some((key, _, kind)) = misplaced.into_iter().find(|(_, wrong, _)| *wrong) {
            return Err(format!("`{key}` means something only with `as = \"{kind}\"`"));
        }
        if pass && self.better.is_some() {
            return Err("`better` means nothing with `as = \"pass\"`: use `negate` where yes is bad".to_owned());
        }
        if self.r#as == As::Label && self.labels.as_ref().is_none_or(BTreeMap::is_empty) {
            return Err("`as = \"label\"` needs `labels`: a table of each label and what it is worth".to_owned());
        }
        let odd = self.labels.iter().flatten().find(|(_, worth)| pass && !is(**worth, 0.0) && !is(**worth, 1.0));
        if let Some((label, worth)) = odd {
            return Err(format!("`labels`: for `as = \"pass\"` a label is worth 1 or 0, `{label}` is worth `{worth}`"));
        }
        Ok(())
    }

    /// What a label is worth; labels of numbers and truth values are written as text.
    fn worth(&self, value: &Value) -> Option<(&str, f64)> {
        let text = text_of(value);
        self.labels.as_ref()?.get_key_value(text.trim()).map(|(label, worth)| (label.as_str(), *worth))
    }

    fn verdict(&self, value: &Value) -> Result<bool, String> {
        if let Some((_, worth)) = self.worth(value) {
            return Ok(is(worth, 1.0));
        }
        if self.at_least.is_some() || self.at_most.is_some() {
            let number = number_of(value).ok_or("a number")?;
            return Ok(
                self.at_least.is_none_or(|least| number >= least) && self.at_most.is_none_or(|most| number <= most)
            );
        }
        let known = match value {
            Value::Bool(yes) => Some(*yes),
            Value::Number(_) | Value::String(_) => {
                let text = text_of(value).trim().to_lowercase();
                if YES.contains(&text.as_str()) { Some(true) } else { NO.contains(&text.as_str()).then_some(false) }
            }
            _ => None,
        };
        known.ok_or_else(|| match &self.labels {
            Some(labels) => format!("one of {}", listed(labels)),
            None => {
                "yes or no (true, 1, `yes`, `pass`, ...); other numbers need `at_least`, other words `labels`".into()
            }
        })
    }

    fn wanted(&self) -> String {
        let yes = match (self.at_least, self.at_most) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) => "yes".to_owned(),
        };
        if self.negate { format!("not {yes}") } else { yes }
    }

    fn number(&self, value: &Value) -> Result<f64, String> {
        let recorded = self.worth(value).map(|(_, worth)| worth).or_else(|| number_of(value)).ok_or("a number")?;
        let number = recorded + self.plus.unwrap_or(0.0);
        let inside = self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max);
        let bound = |bound: Option<f64>, open: &str| bound.map_or(open.to_owned(), |bound| bound.to_string());
        if inside {
            return Ok(number);
        }
        Err(format!("a number from {} to {}", bound(self.min, "-∞"), bound(self.max, "∞")))
    }
}

impl Scorer for Recorded {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let at = self.path.written();
        let value = self.path.find(input).ok_or_else(|| {
            Unscored::not_applicable(format!("there is no value at `{at}`: record it, or point `field` elsewhere"))
        })?;
        let off = |wanted: String| {
            // Something is recorded and cannot be read: counted as a failure of the instrument, not as nothing to measure.
            let told = expected_found(&wanted, &quote_value(&value));
            Unscored::new(UnscoredReason::OffMenu, format!("at `{at}`: {told}"))
        };
        match self.options.r#as {
            As::Pass => {
                let yes = self.options.verdict(&value).map_err(off)?;
                let told = expected_found(&self.options.wanted(), &quote_value(&value));
                Ok(Score::pass(yes != self.options.negate, format!("at `{at}`: {told}")))
            }
            As::Number => {
                let number = self.options.number(&value).map_err(&off)?;
                Score::number(number, format!("{number} at `{at}`")).ok_or_else(|| off("a finite number".to_owned()))
            }
            As::Label => {
                let labels = self.options.labels.as_ref().map(listed).unwrap_or_default();
                let (label, worth) = self.options.worth(&value).ok_or_else(|| off(format!("one of {labels}")))?;
                let told = format!("{} at `{at}`", quote(label));
                Ok(Score::of(ScoreValue::Label { label: label.to_owned(), number: Finite::new(worth) }, told))
            }
        }
    }

    fn scale(&self) -> Scale {
        match self.options.r#as {
            As::Pass => Scale::Binary,
            As::Number => Scale::Number { min: self.options.min, max: self.options.max },
            As::Label => {
                let mut labels: Vec<(String, Option<f64>)> =
                    self.options.labels.iter().flatten().map(|(label, worth)| (label.clone(), Some(*worth))).collect();
                labels.sort_by(|(_, a), (_, b)| b.unwrap_or(0.0).total_cmp(&a.unwrap_or(0.0)));
                if self.direction() == Direction::Lower {
                    labels.reverse();
                }
                Scale::Labels { labels }
            }
        }
    }

    fn direction(&self) -> Direction {
        if self.options.better == Some(Better::Lower) { Direction::Lower } else { Direction::Higher }
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(yes) => Some(if *yes { 1.0 } else { 0.0 }),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number: &f64| number.is_finite())
}

fn is(number: f64, other: f64) -> bool {
    (number - other).abs() < f64::EPSILON
}

fn listed(labels: &BTreeMap<String, f64>) -> String {
    let names: Vec<String> = labels.keys().map(|label| format!("`{label}`")).collect();
    one_line(&names.join(", "), 200)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{build, build_error, score_output};
    use super::*;
    use crate::model::Output;

    fn recorded(mut options: Value, value: Value) -> Scored {
        let mut output = Output::of_text("x");
        output.metadata.insert("mark".to_owned(), value);
        options["field"] = json!("output.metadata.mark");
        score_output("recorded_value", options, &output)
    }

    fn number(options: Value, value: Value) -> Option<f64> {
        recorded(options, value).unwrap().value.number()
    }

    #[test]
    fn yes_and_no_are_read_in_their_usual_forms() {
        for yes in [json!(true), json!(1), json!(1.0), json!("True"), json!(" yes "), json!("1")] {
            assert_eq!(number(json!({"as": "pass"}), yes.clone()), Some(1.0), "{yes}");
            assert_eq!(number(json!({"as": "pass", "negate": true}), yes.clone()), Some(0.0), "{yes}");
        }
        for no in [json!(false), json!(0), json!(0.0), json!("FALSE"), json!("failed")] {
            assert_eq!(number(json!({"as": "pass"}), no.clone()), Some(0.0), "{no}");
        }
        let words = json!({"as": "pass", "labels": {"resolved": 1, "open": 0}});
        assert_eq!(number(words.clone(), json!("resolved")), Some(1.0));
        assert_eq!(number(words, json!("open")), Some(0.0));
        assert_eq!(number(json!({"as": "pass", "at_least": 4}), json!("4.5")), Some(1.0));
        assert_eq!(number(json!({"as": "pass", "at_least": 4}), json!(3)), Some(0.0));
    }

    #[test]
    fn nothing_recorded_does_not_apply_and_nonsense_is_off_the_menu() {
        assert_eq!(recorded(json!({"as": "pass"}), Value::Null).unwrap_err().reason, UnscoredReason::NotApplicable);
        for odd in [json!(0.5), json!("maybe"), json!([1]), json!({"a": 1})] {
            let unscored = recorded(json!({"as": "pass"}), odd.clone()).unwrap_err();
            assert_eq!(unscored.reason, UnscoredReason::OffMenu, "{odd}");
        }
        for odd in [json!("NaN"), json!("inf"), json!(7), json!(-1), json!("")] {
            assert!(recorded(json!({"as": "number", "min": 0, "max": 5}), odd.clone()).is_err(), "{odd}");
        }
        assert!(recorded(json!({"as": "label", "labels": {"up": 1}}), json!("sideways")).is_err());
        let win = json!({"as": "number", "plus": -1, "min": 0, "max": 1});
        assert_eq!(recorded(win.clone(), json!(1.25)).unwrap().value.number(), Some(0.25));
        assert!(recorded(win, json!(0.5)).is_err(), "bounds hold after the shift");
    }

    #[test]
    fn numbers_and_labels_keep_their_scale() {
        assert_eq!(number(json!({"as": "number", "min": 1, "max": 5}), json!("4")), Some(4.0));
        let labels = json!({"field": "x", "as": "label", "labels": {"bad": 0, "good": 1, "fair": 0.5}});
        let Scale::Labels { labels: best_first } = build("recorded_value", labels).scale() else { panic!() };
        let names: Vec<&str> = best_first.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(names, ["good", "fair", "bad"]);
        let lower = build("recorded_value", json!({"field": "x", "as": "number", "better": "lower"}));
        assert_eq!(lower.direction(), Direction::Lower);
    }

    #[test]
    fn options_that_contradict_are_refused() {
        let wrong = |options: Value| build_error("recorded_value", options);
        assert!(wrong(json!({"as": "pass"})).contains("`field`"));
        assert!(wrong(json!({"field": "x", "as": "label"})).contains("`labels`"));
        assert!(wrong(json!({"field": "x", "as": "pass", "max": 3})).contains("`max`"));
        assert!(wrong(json!({"field": "x", "as": "number", "negate": true})).contains("`negate`"));
        assert!(wrong(json!({"field": "x", "as": "pass", "labels": {"a": 0.5}})).contains("`labels`"));
    }
}
