//! Equality with the reference, as text or as JSON.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{acceptable, expected_found, quote, quote_value, reference, text_of};
use super::options::{read, schema_of};
use super::subset::{Tolerance, equal};
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored};

pub(super) const EXACT: ScorerInfo = ScorerInfo {
    name: "exact",
    version: "1",
    summary: "Passes when the output equals the reference or a fixed value.",
    sample: "ignore_case = true",
    schema: schema_of::<Options>,
    build,
};

/// How the output must equal the reference.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Compare with this instead of the example's reference.
    value: Option<Value>,
    /// Whether letters of either case are the same.
    #[serde(default)]
    ignore_case: bool,
    /// Whether white space at both ends is left out.
    #[serde(default = "yes")]
    trim: bool,
    /// Whether each run of white space counts as one space.
    #[serde(default)]
    fold_whitespace: bool,
    /// Whether a reference that is a list holds several acceptable answers, one of which must be met.
    #[serde(default)]
    any_reference: bool,
}

fn yes() -> bool {
    true
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    read::<Options>(options).map(|options| Box::new(options) as Box<dyn Scorer>)
}

impl Options {
    fn form<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut form = Cow::Borrowed(if self.trim { text.trim() } else { text });
        if self.fold_whitespace {
            form = Cow::Owned(fold_whitespace(&form));
        }
        if self.ignore_case {
            form = Cow::Owned(form.to_lowercase());
        }
        form
    }

    fn equals(&self, output: &Value, text: &str, expected: &Value) -> bool {
        if self.form(text) == self.form(&text_of(expected)) {
            return true;
        }
        if expected.is_string() {
            return false;
        }
        // A structured reference is met by the same JSON however it is written.
        match output {
            Value::String(text) => {
                serde_json::from_str::<Value>(text).is_ok_and(|read| equal(expected, &read, Tolerance::default()))
            }
            other => equal(expected, other, Tolerance::default()),
        }
    }
}

impl Scorer for Options {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let expected = reference(input, self.value.as_ref(), "value")?;
        let choices = acceptable(expected, self.any_reference && self.value.is_none())?;
        let text = input.output.text();
        let pass = choices.iter().any(|choice| self.equals(&input.output.value, &text, choice));
        let wanted = match choices.as_slice() {
            [Value::String(one)] => quote(one),
            [one] => quote_value(one),
            _ => format!("one of {}", quote_value(expected)),
        };
        Ok(Score::pass(pass, expected_found(&wanted, &quote(&text))))
    }
}

/// Each run of white space as one space, ends kept.
fn fold_whitespace(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut in_space = false;
    for character in text.chars() {
        if !character.is_whitespace() {
            folded.push(character);
        } else if !in_space {
            folded.push(' ');
        }
        in_space = character.is_whitespace();
    }
    folded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{passes, score};
    use super::*;

    #[test]
    fn text_is_equal_after_the_chosen_folding() {
        assert!(passes("exact", json!({}), json!(" Paris\n"), json!("Paris")));
        assert!(!passes("exact", json!({"trim": false}), json!(" Paris"), json!("Paris")));
        assert!(!passes("exact", json!({}), json!("paris"), json!("Paris")));
        assert!(passes("exact", json!({"ignore_case": true}), json!("STRASSE É"), json!("strasse é")));
        assert!(!passes("exact", json!({}), json!("a  b"), json!("a b")));
        assert!(passes("exact", json!({"fold_whitespace": true}), json!("a \n b"), json!("a b")));
    }

    #[test]
    fn structured_references_are_compared_as_json() {
        assert!(passes("exact", json!({}), json!({"b": 1, "a": [1.0]}), json!({"a": [1], "b": 1.0})));
        assert!(passes("exact", json!({}), json!("{ \"a\": [1], \"b\": 1 }"), json!({"a": [1], "b": 1})));
        assert!(!passes("exact", json!({}), json!({"a": 1, "b": 2}), json!({"a": 1})));
        assert!(passes("exact", json!({}), json!("42"), json!(42)));
        assert!(passes("exact", json!({"ignore_case": true}), json!("True"), json!(true)));
    }

    #[test]
    fn a_list_holds_several_answers_only_where_asked() {
        let several = json!({"any_reference": true});
        assert!(passes("exact", several.clone(), json!("NYC"), json!(["New York", "NYC"])));
        assert!(!passes("exact", json!({}), json!("NYC"), json!(["New York", "NYC"])));
        assert!(score("exact", several, json!("NYC"), json!([])).is_err());
    }

    #[test]
    fn the_finding_says_what_was_expected() {
        let score = score("exact", json!({"value": "yes"}), json!("no"), Value::Null).unwrap();
        assert_eq!(score.explanation.as_deref(), Some("expected `yes`, found `no`"));
    }
}
