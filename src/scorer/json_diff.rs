//! How far the output is from a reference in JSON, and whether single places in it hold what they should.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::json_text::find_json;
use super::material::{expected_found, quote, quote_value, reference, similarity_scale};
use super::options::{check_amount, check_share, read, schema_of};
use super::path::step;
use super::subset::{Credit, Tolerance, equal, leaves};
use super::{Scorer, ScorerInfo};
use crate::model::{Scale, Score, ScoreInput, Scored, Unscored, UnscoredReason};
use crate::sys::text::one_line;

pub(super) const JSON_DIFF: ScorerInfo = ScorerInfo {
    name: "json_diff",
    version: "1",
    summary: "Gives the share of the leaves of output and reference that agree, and lists the places that do not.",
    sample: "extract = true\nat_least = 0.9",
    schema: schema_of::<DiffOptions>,
    build: build_diff,
};

pub(super) const JSON_PATH: ScorerInfo = ScorerInfo {
    name: "json_path",
    version: "1",
    summary: "Passes when places in the output, read as JSON, hold the expected values, or gives their share.",
    sample: "equals = { \"order.status\" = \"paid\", \"items.0.price\" = 12.5 }",
    schema: schema_of::<PathOptions>,
    build: build_path,
};

/// Differences that a finding lists.
const LISTED: usize = 50;
/// Differences that an explanation shows.
const SHOWN: usize = 3;

/// What is compared, and how strictly.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DiffOptions {
    /// Compare with this instead of the example's reference; a text is read as JSON where it is JSON.
    value: Option<Value>,
    /// Pass from this share up, 0 to 1; without it the share itself is the score.
    at_least: Option<f64>,
    /// Whether JSON inside prose or a code fence counts.
    #[serde(default)]
    extract: bool,
    /// Keys that are left out on both sides, wherever they stand (`id`, `created_at`).
    #[serde(default)]
    ignore: Vec<String>,
    /// Greatest difference between two numbers, in their unit.
    #[serde(default)]
    tolerance: f64,
    /// Greatest difference between two numbers as a share of the expected one; the wider of the two holds.
    #[serde(default)]
    relative_tolerance: f64,
}

/// Which places hold what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PathOptions {
    /// Places and the values they must hold: steps are divided by points, lists are entered by index.
    equals: BTreeMap<String, Value>,
    /// Whether JSON inside prose or a code fence counts.
    #[serde(default)]
    extract: bool,
    /// Greatest difference between two numbers, in their unit.
    #[serde(default)]
    tolerance: f64,
    /// `pass` when every place holds its value, or the `share` of those that do.
    #[serde(default)]
    score: Credit,
}

fn build_diff(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: DiffOptions = read(options)?;
    check_share("at_least", options.at_least)?;
    check_amount("tolerance", Some(options.tolerance))?;
    check_amount("relative_tolerance", Some(options.relative_tolerance))?;
    Ok(Box::new(options))
}

fn build_path(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: PathOptions = read(options)?;
    check_amount("tolerance", Some(options.tolerance))?;
    if options.equals.is_empty() {
        return Err("`equals` is empty: name at least one place".to_owned());
    }
    Ok(Box::new(options))
}

impl Scorer for DiffOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let given = reference(input, self.value.as_ref(), "value")?;
        let read = given.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let expected = read.as_ref().unwrap_or(given);
        let wanted = quote_value(expected);
        let tolerance = Tolerance { absolute: self.tolerance, relative: self.relative_tolerance };
        let mut walk = Walk { tolerance, ignore: &self.ignore, same: 0, all: 0, differences: Vec::new(), more: 0 };
        match find_json(input.output, self.extract) {
            Ok(found) => walk.compare(Some(expected), Some(&found), &mut String::new()),
            Err(problem) => {
                walk.all = leaves(expected).max(1);
                walk.note(format!("expected JSON, found {}", one_line(&problem, 200)));
            }
        }
        let share = if walk.all == 0 { 1.0 } else { walk.same as f64 / walk.all as f64 };
        let found = match walk.differences.as_slice() {
            [] => "no difference".to_owned(),
            some => {
                let shown: Vec<&str> = some.iter().take(SHOWN).map(String::as_str).collect();
                let rest = some.len() - shown.len() + walk.more;
                let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
                format!("{}{more}", shown.join("; "))
            }
        };
        let told = format!("{} of {} leaves agree with {wanted}: {found}", walk.same, walk.all);
        let score = match self.at_least {
            Some(least) => Some(Score::pass(share >= least, told)),
            None => Score::number(share, told),
        };
        let mut score = score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the share is not finite"))?;
        score.details = json!({ "share": share, "differences": walk.differences });
        Ok(score)
    }

    fn scale(&self) -> Scale {
        similarity_scale(self.at_least)
    }
}

impl Scorer for PathOptions {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let all = self.equals.len();
        let found = match find_json(input.output, self.extract) {
            Ok(found) => found,
            Err(problem) => return self.score.score(false, 0, all, expected_found("JSON", &problem)),
        };
        let tolerance = Tolerance { absolute: self.tolerance, relative: 0.0 };
        let holds = |(path, expected): &(&String, &Value)| {
            step(&found, path).is_some_and(|value| equal(expected, value, tolerance))
        };
        let wrong: Vec<(&String, &Value)> = self.equals.iter().filter(|place| !holds(place)).collect();
        let told = match wrong.first() {
            None => format!("every place of {} holds what it should", quote_value(&found)),
            Some((path, expected)) => {
                let there = step(&found, path).map_or_else(|| "nothing".to_owned(), quote_value);
                format!("at {}: {}", quote(path), expected_found(&quote_value(expected), &there))
            }
        };
        self.score.score(wrong.is_empty(), all - wrong.len(), all, told)
    }

    fn scale(&self) -> Scale {
        self.score.scale()
    }
}

/// One walk over two values side by side.
struct Walk<'a> {
    tolerance: Tolerance,
    ignore: &'a [String],
    /// Leaves that agree.
    same: usize,
    /// Leaves that either side has; those of the same place count once.
    all: usize,
    differences: Vec<String>,
    /// Differences not listed.
    more: usize,
}

impl Walk<'_> {
    fn compare(&mut self, expected: Option<&Value>, found: Option<&Value>, path: &mut String) {
        match (expected, found) {
            (Some(Value::Object(a)), Some(Value::Object(b))) if !a.is_empty() || !b.is_empty() => {
                let added = b.keys().filter(|key| !a.contains_key(*key));
                let keys: Vec<&String> = a.keys().chain(added).filter(|key| !self.ignore.contains(key)).collect();
                for key in keys {
                    self.below(key, a.get(key), b.get(key), path);
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) if !a.is_empty() || !b.is_empty() => {
                for index in 0..a.len().max(b.len()) {
                    self.below(&index.to_string(), a.get(index), b.get(index), path);
                }
            }
            (Some(a), Some(b)) if equal(a, b, self.tolerance) => {
                self.all += 1;
                self.same += 1;
            }
            (expected, found) => {
                self.all += expected.map_or(0, leaves).max(found.map_or(0, leaves)).max(1);
                let at =
                    if path.is_empty() { "at the root".to_owned() } else { format!("at `{}`", one_line(path, 80)) };
                let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), quote_value);
                self.note(format!("{at}: {}", expected_found(&show(expected), &show(found))));
            }
        }
    }

    fn below(&mut self, key: &str, expected: Option<&Value>, found: Option<&Value>, path: &mut String) {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        self.compare(expected, found, path);
        path.truncate(length);
    }

    fn note(&mut self, difference: String) {
        if self.differences.len() < LISTED {
            self.differences.push(difference);
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{build_error, json_value, number, passes, score};
    use super::*;

    #[test]
    fn the_share_counts_leaves_of_both_sides() {
        let reference = json!({"a": 1, "b": {"c": "x", "d": [1, 2]}, "id": 7});
        let output = json!({"a": 1.0, "b": {"c": "y", "d": [1]}, "e": true, "id": 8});
        let share = |options: Value| number("json_diff", options, output.clone(), reference.clone());
        // a agrees, c differs, d.0 agrees, d.1 is missing, id differs, e is extra.
        assert!((share(json!({})) - 2.0 / 6.0).abs() < 1e-12);
        assert!((share(json!({"ignore": ["id"]})) - 2.0 / 5.0).abs() < 1e-12);
        let found = score("json_diff", json!({}), output.clone(), reference.clone()).unwrap();
        let listed = found.details["differences"].to_string();
        assert!(listed.contains("at `b.d.1`: expected `2`, found nothing"), "{listed}");
        assert!(listed.contains("at `e`: expected nothing, found `true`"), "{listed}");
        assert!(passes("json_diff", json!({"at_least": 0.3}), output, reference));
        assert_eq!(number("json_diff", json!({}), json!("no JSON"), json!({"a": 1})), 0.0);
    }

    #[test]
    fn places_hold_their_values() {
        let output = json!("Here: {\"order\": {\"status\": \"paid\"}, \"items\": [{\"price\": 12.49}]}");
        let options = |more: Value| {
            let mut options = json!({"equals": {"order.status": "paid", "items.0.price": 12.5}, "extract": true});
            options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            options
        };
        assert!(passes("json_path", options(json!({"tolerance": 0.02})), output.clone(), Value::Null));
        assert!(!passes("json_path", options(json!({})), output.clone(), Value::Null));
        assert!((number("json_path", options(json!({"score": "share"})), output, Value::Null) - 0.5).abs() < 1e-12);
        assert!(build_error("json_path", json!({"equals": {}})).contains("`equals`"));
    }

    proptest! {
        #[test]
        fn a_value_agrees_with_itself_and_the_share_does_not_depend_on_the_side(a in json_value(), b in json_value()) {
            let share = |left: &Value, right: &Value| {
                let options = json!({ "value": left });
                score("json_diff", options, right.clone(), Value::Null).ok().and_then(|score| score.value.number())
            };
            // Texts are read as JSON on one side only, and null is nothing to compare with.
            prop_assume!(!a.is_null() && !b.is_null() && !a.is_string() && !b.is_string());
            prop_assert!((share(&a, &a).unwrap() - 1.0).abs() < 1e-12);
            prop_assert!((share(&a, &b).unwrap() - share(&b, &a).unwrap()).abs() < 1e-12);
        }
    }
}
