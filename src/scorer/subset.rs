//! Whether a reference in JSON is contained in the output, and how much of it.
//!
//! Also the rule by which scorers of tool calls compare arguments.

use std::collections::{BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::json_text::find_json;
use super::material::{expected_found, pair_up, quote, quote_value, reference};
use super::options::{check_amount, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Scale, Score, ScoreInput, Scored, Unscored, UnscoredReason};

pub(super) const JSON_SUBSET: ScorerInfo = ScorerInfo {
    name: "json_subset",
    version: "1",
    summary: "Passes when the reference, read as JSON, is contained in the output, or gives the share of it that is.",
    sample: "extract = true\ntolerance = 0.01\nscore = \"share\"",
    schema: schema_of::<Options>,
    build,
};

/// Comparisons of one output. Lists in any order are matched pair by pair, which hostile lists make expensive.
const MAX_STEPS: usize = 2_000_000;

/// How far apart two numbers may lie: by either of the two.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tolerance {
    /// In the unit of the numbers.
    pub absolute: f64,
    /// As a share of the expected number.
    pub relative: f64,
}

impl Tolerance {
    /// Whether `found` lies within the tolerance of `expected`.
    pub(super) fn allows(self, expected: f64, found: f64) -> bool {
        expected == found || (expected - found).abs() <= self.absolute.max(self.relative * expected.abs())
    }
}

/// How lists are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lists {
    /// The same length, element by element; each expected element is contained in the one at its place.
    #[default]
    InOrder,
    /// Each expected element is contained in one of the output's, in any order, each used once; others may stand
    /// beside them.
    AnyOrder,
}

/// What is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Credit {
    /// Pass when everything expected is there.
    #[default]
    Pass,
    /// The share of what is expected that is there, 0 to 1.
    Share,
}

impl Credit {
    /// Values it can give.
    pub(super) fn scale(self) -> Scale {
        match self {
            Self::Pass => Scale::Binary,
            Self::Share => Scale::Number { min: Some(0.0), max: Some(1.0) },
        }
    }

    /// The score for `met` of `all` expected things; `all` is not 0.
    pub(super) fn score(self, pass: bool, met: usize, all: usize, told: String) -> Scored {
        match self {
            Self::Pass => {
                let mut score = Score::pass(pass, told);
                score.details = json!({ "met": met, "expected": all });
                Ok(score)
            }
            Self::Share => Score::number(met as f64 / all as f64, format!("{met} of {all}: {told}"))
                .ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "nothing was expected")),
        }
    }
}

/// What must be contained, and how strictly.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Compare with this instead of the example's reference; a text is read as JSON where it is JSON.
    value: Option<Value>,
    /// Whether JSON inside prose or a code fence counts.
    #[serde(default)]
    extract: bool,
    /// Greatest difference between two numbers, in their unit.
    #[serde(default)]
    tolerance: f64,
    /// Greatest difference between two numbers as a share of the expected one; the wider of the two holds.
    #[serde(default)]
    relative_tolerance: f64,
    /// How lists are compared.
    #[serde(default)]
    lists: Lists,
    /// `pass` when all is there, or the `share` of the expected leaves (numbers, texts, empty objects and lists).
    #[serde(default)]
    score: Credit,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    check_amount("tolerance", Some(options.tolerance))?;
    check_amount("relative_tolerance", Some(options.relative_tolerance))?;
    Ok(Box::new(options))
}

impl Scorer for Options {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let given = reference(input, self.value.as_ref(), "value")?;
        let read = given.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let expected = read.as_ref().unwrap_or(given);
        let all = leaves(expected);
        let wanted = format!("JSON that contains {}", quote_value(expected));
        let found = match find_json(input.output, self.extract) {
            Ok(found) => found,
            Err(problem) => return self.score.score(false, 0, all, expected_found(&wanted, &problem)),
        };
        let tolerance = Tolerance { absolute: self.tolerance, relative: self.relative_tolerance };
        let mut walk = Walk::new(tolerance, self.lists);
        let met = walk.met(expected, &found, &mut Vec::new());
        if walk.exhausted() {
            let detail = format!("comparing the lists takes more than {MAX_STEPS} steps: use `lists = \"in_order\"`");
            return Err(Unscored::new(UnscoredReason::InputTooLong, detail));
        }
        let told = match walk.first {
            Some(first) => first,
            None => expected_found(&wanted, "all of it"),
        };
        self.score.score(met == all, met, all, told)
    }

    fn scale(&self) -> Scale {
        self.score.scale()
    }
}

/// Whether two values are the same JSON, numbers by value.
pub(super) fn equal(expected: &Value, found: &Value, tolerance: Tolerance) -> bool {
    match (expected, found) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b, tolerance),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b, tolerance))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other, tolerance)))
        }
        (a, b) => a == b,
    }
}

/// Whether everything expected is in what was found: keys of objects may be fewer, lists are element by element.
pub(super) fn contained(expected: &Value, found: &Value) -> bool {
    contained_within(expected, found, Tolerance::default())
}

/// The same with a tolerance for numbers.
pub(super) fn contained_within(expected: &Value, found: &Value, tolerance: Tolerance) -> bool {
    let mut walk = Walk::new(tolerance, Lists::InOrder);
    walk.met(expected, found, &mut Vec::new()) == leaves(expected) && !walk.exhausted()
}

/// How many things there are to find in a value: its scalars and its empty objects and lists.
pub(super) fn leaves(value: &Value) -> usize {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().map(leaves).sum(),
        Value::Object(map) if !map.is_empty() => map.values().map(leaves).sum(),
        _ => 1,
    }
}

fn same_number(expected: &Number, found: &Number, tolerance: Tolerance) -> bool {
    if expected == found {
        return true;
    }
    // Two integers beyond 2^53 may be the same as floating numbers without being equal.
    if !expected.is_f64() && !found.is_f64() && tolerance.absolute == 0.0 && tolerance.relative == 0.0 {
        return false;
    }
    matches!((expected.as_f64(), found.as_f64()), (Some(a), Some(b)) if tolerance.allows(a, b))
}

/// One walk over an expected value beside a found one.
struct Walk {
    tolerance: Tolerance,
    lists: Lists,
    steps: usize,
    /// The first difference, told.
    first: Option<String>,
    /// Greater than 0 while a pairing is only tried out, so that its differences are not told.
    trying: usize,
}

impl Walk {
    fn new(tolerance: Tolerance, lists: Lists) -> Self {
        Self { tolerance, lists, steps: 0, first: None, trying: 0 }
    }

    fn exhausted(&self) -> bool {
        self.steps > MAX_STEPS
    }

    /// Leaves of `expected` that `found` has.
    fn met(&mut self, expected: &Value, found: &Value, path: &mut Vec<String>) -> usize {
        self.steps += 1;
        if self.exhausted() {
            return 0;
        }
        match (expected, found) {
            (Value::Object(expected), Value::Object(found)) if !expected.is_empty() => {
                let mut met = 0;
                for (key, value) in expected {
                    path.push(key.clone());
                    match found.get(key) {
                        Some(other) => met += self.met(value, other, path),
                        None => self.differ(path, || (quote_value(value), "no such key".to_owned())),
                    }
                    path.pop();
                }
                met
            }
            (Value::Array(wanted), Value::Array(found)) if self.lists == Lists::AnyOrder && !wanted.is_empty() => {
                self.met_in_any_order(wanted, found, path)
            }
            (Value::Array(wanted), Value::Array(found)) if !wanted.is_empty() => self.met_in_order(wanted, found, path),
            (Value::Array(wanted), Value::Array(_)) if wanted.is_empty() && self.lists == Lists::AnyOrder => 1,
            (Value::Object(wanted), Value::Object(_)) if wanted.is_empty() => 1,
            (expected, found) if equal(expected, found, self.tolerance) => 1,
            (expected, found) => {
                self.differ(path, || (quote_value(expected), quote_value(found)));
                0
            }
        }
    }

    fn met_in_order(&mut self, wanted: &[Value], found: &[Value], path: &mut Vec<String>) -> usize {
        let mut met = 0;
        for (index, (value, other)) in wanted.iter().zip(found).enumerate() {
            path.push(index.to_string());
            met += self.met(value, other, path);
            path.pop();
        }
        if wanted.len() != found.len() {
            self.differ(path, || (format!("a list of {}", wanted.len()), format!("a list of {}", found.len())));
            // A list that is too long has every leaf and is still not what was expected.
            let all: usize = wanted.iter().map(leaves).sum();
            return met.min(all - 1);
        }
        met
    }

    /// As many elements as possible are paired with one that contains them whole; what is left takes, in its order,
    /// the free element that has most of it.
    fn met_in_any_order(&mut self, wanted: &[Value], found: &[Value], path: &mut Vec<String>) -> usize {
        if wanted.len().saturating_mul(found.len()) > MAX_STEPS {
            self.steps = MAX_STEPS + 1;
            return 0;
        }
        let all: Vec<usize> = wanted.iter().map(leaves).collect();
        let mut known: HashMap<(usize, usize), usize> = HashMap::new();
        self.trying += 1;
        let mates = pair_up(wanted.len(), found.len(), |index, place| {
            self.steps += 1;
            let met = match (wanted.get(index), found.get(place)) {
                _ if self.exhausted() => 0,
                (Some(value), Some(other)) => {
                    *known.entry((index, place)).or_insert_with(|| self.met(value, other, path))
                }
                _ => 0,
            };
            all.get(index) == Some(&met)
        });
        let mut free: BTreeSet<usize> = (0..found.len()).collect();
        mates.iter().flatten().for_each(|place| {
            free.remove(place);
        });
        let mut parts = Vec::new();
        for (index, value) in wanted.iter().enumerate() {
            if mates.get(index).is_some_and(Option::is_some) {
                parts.push(all.get(index).copied().unwrap_or(0));
                continue;
            }
            let mut best = (0, None);
            for place in &free {
                let Some(other) = found.get(*place) else { continue };
                let met = known.get(&(index, *place)).copied().unwrap_or_else(|| self.met(value, other, path));
                if met > best.0 {
                    best = (met, Some(*place));
                }
            }
            if let (_, Some(place)) = best {
                free.remove(&place);
            }
            parts.push(best.0);
        }
        self.trying -= 1;
        for (index, value) in wanted.iter().enumerate() {
            let part = parts.get(index).copied().unwrap_or(0);
            if all.get(index) != Some(&part) {
                path.push(index.to_string());
                let found = if part == 0 { "no element that contains it" } else { "a part of it" };
                self.differ(path, || (quote_value(value), found.to_owned()));
                path.pop();
            }
        }
        parts.iter().sum()
    }

    /// Notes a difference; only the first is told, and none while pairings are tried out.
    fn differ(&mut self, path: &[String], told: impl FnOnce() -> (String, String)) {
        if self.trying > 0 || self.first.is_some() {
            return;
        }
        let place = if path.is_empty() { "the root".to_owned() } else { pointer(path) };
        let (expected, found) = told();
        self.first = Some(format!("at {place}: {}", expected_found(&expected, &found)));
    }
}

/// RFC 6901, in quotes.
fn pointer(path: &[String]) -> String {
    let pointer: String = path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
    quote(&pointer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{json_value, number, passes, score};
    use super::*;

    #[test]
    fn fewer_keys_are_contained_and_other_values_are_not() {
        let output = json!("{\"a\": 1, \"b\": {\"c\": [1, 2], \"d\": null}}");
        assert!(passes("json_subset", json!({}), output.clone(), json!({"b": {"c": [1, 2]}})));
        assert!(passes("json_subset", json!({}), output.clone(), json!("{\"a\": 1.0}")));
        assert!(!passes("json_subset", json!({}), output.clone(), json!({"b": {"c": [1]}})));
        assert!(!passes("json_subset", json!({}), output.clone(), json!({"a": "1"})));
        assert!(passes("json_subset", json!({"value": {"b": {}}}), output, Value::Null));
    }

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let output = json!({"a": {"b/c": [1, 3]}});
        let found = score("json_subset", json!({}), output, json!({"a": {"b/c": [1, 2]}, "z": 1})).unwrap();
        assert_eq!(found.explanation.as_deref(), Some("at `/a/b~1c/1`: expected `2`, found `3`"));
    }

    #[test]
    fn numbers_may_differ_within_the_tolerance() {
        let near = |options: Value| passes("json_subset", options, json!({"x": 102.0}), json!({"x": 100}));
        assert!(!near(json!({})) && !near(json!({"tolerance": 1.9})) && !near(json!({"relative_tolerance": 0.019})));
        assert!(near(json!({"tolerance": 2})) && near(json!({"relative_tolerance": 0.02})));
        let big = json!([9_007_199_254_740_993_u64]);
        assert!(!passes("json_subset", json!({}), json!([9_007_199_254_740_992_u64]), big));
    }

    #[test]
    fn lists_in_any_order() {
        let output = json!({"items": [{"id": 1, "n": 2}, {"id": 2, "n": 1}, {"id": 3}]});
        let wanted = json!({"items": [{"id": 2}, {"id": 1, "n": 2}]});
        assert!(passes("json_subset", json!({"lists": "any_order"}), output.clone(), wanted.clone()));
        assert!(!passes("json_subset", json!({}), output.clone(), wanted));
        let greedy_would_fail = json!({"items": [{}, {"id": 3}, {"id": 1}]});
        assert!(passes("json_subset", json!({"lists": "any_order"}), output.clone(), greedy_would_fail));
        let twice = json!({"items": [{"id": 2}, {"id": 2}]});
        assert!(!passes("json_subset", json!({"lists": "any_order"}), output, twice));
    }

    #[test]
    fn shares_count_leaves() {
        let share = json!({"score": "share"});
        let wanted = json!({"a": 1, "b": {"c": "x", "d": []}, "e": 5});
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(
            number("json_subset", share.clone(), json!({"a": 1, "b": {"c": "y", "d": []}}), wanted.clone()),
            0.5
        ));
        assert!(close(number("json_subset", share.clone(), json!("no json"), wanted.clone()), 0.0));
        assert!(close(number("json_subset", share.clone(), wanted.clone(), wanted), 1.0));
        let longer = number("json_subset", share, json!([1, 2, 3]), json!([1, 2]));
        assert!(close(longer, 0.5), "{longer}");
    }

    #[test]
    fn hostile_lists_are_not_compared_for_ever() {
        let wanted: Vec<Value> = (0..3000).map(|n| json!({ "a": n, "b": 0 })).collect();
        let found: Vec<Value> = (0..3000).map(|n| json!({ "a": -n - 1, "b": 0 })).collect();
        let scored = score("json_subset", json!({"lists": "any_order"}), json!(found), json!(wanted));
        assert_eq!(scored.unwrap_err().reason, UnscoredReason::InputTooLong);
    }

    proptest! {
        #[test]
        fn every_value_contains_itself(value in json_value()) {
            for lists in [Lists::InOrder, Lists::AnyOrder] {
                let mut walk = Walk::new(Tolerance::default(), lists);
                prop_assert_eq!(walk.met(&value, &value, &mut Vec::new()), leaves(&value));
                prop_assert!(walk.first.is_none());
            }
            prop_assert!(equal(&value, &value, Tolerance::default()));
        }

        #[test]
        fn shares_stay_between_0_and_1(expected in json_value(), found in json_value()) {
            for lists in [Lists::InOrder, Lists::AnyOrder] {
                let mut walk = Walk::new(Tolerance::default(), lists);
                let met = walk.met(&expected, &found, &mut Vec::new());
                prop_assert!(met <= leaves(&expected));
                prop_assert_eq!(met == leaves(&expected), walk.first.is_none());
            }
        }
    }
}
