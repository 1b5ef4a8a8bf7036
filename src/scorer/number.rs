//! The number in an output, compared with a reference number.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::material::{expected_found, quote, quote_value, reference};
use super::options::{check_amount, read, schema_of};
use super::subset::Tolerance;
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored, Unscored};

pub(super) const NUMERIC: ScorerInfo = ScorerInfo {
    name: "numeric",
    version: "1",
    summary: "Passes when the number in the output equals the reference number within a tolerance.",
    sample: "take = \"last\"\nrelative_tolerance = 0.01",
    schema: schema_of::<Options>,
    build,
};

/// Difference that is put down to writing decimals in binary, as a share of the expected number.
const ROUNDING: f64 = 1e-12;

/// Which number of a text counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Take {
    /// The last one.
    #[default]
    Last,
    /// The first one.
    First,
    /// The text must be one number; a currency or percent sign may stand beside it.
    Whole,
}

/// Which number, and how near it must be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Compare with this instead of the example's reference.
    value: Option<f64>,
    /// Which number counts, in the output and in a reference that is a text.
    #[serde(default)]
    take: Take,
    /// Greatest difference, in the unit of the number.
    #[serde(default)]
    tolerance: f64,
    /// Greatest difference as a share of the expected number; the wider of the two holds.
    #[serde(default)]
    relative_tolerance: f64,
    /// Whether the comma is the decimal sign and the point groups thousands (`1.234,50`).
    #[serde(default)]
    decimal_comma: bool,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    check_amount("tolerance", Some(options.tolerance))?;
    check_amount("relative_tolerance", Some(options.relative_tolerance))?;
    Ok(Box::new(options))
}

impl Options {
    fn number_in(&self, value: &Value) -> Option<f64> {
        match value {
            Value::Number(number) => number.as_f64().filter(|number| number.is_finite()),
            Value::Null => None,
            Value::String(text) => self.number_in_text(text),
            other => self.number_in_text(&other.to_string()),
        }
    }

    fn number_in_text(&self, text: &str) -> Option<f64> {
        match self.take {
            Take::Last => numbers(text, self.decimal_comma).last().map(|(number, _)| *number),
            Take::First => numbers(text, self.decimal_comma).first().map(|(number, _)| *number),
            Take::Whole => {
                let bare = text.trim().trim_end_matches('%').trim_matches(CURRENCIES).trim();
                // Between a sign and the digits a currency may stand: -$5.
                let bare = match bare.strip_prefix(MINUS) {
                    Some(rest) => format!("-{}", rest.trim_start_matches(CURRENCIES)),
                    None => bare.to_owned(),
                };
                match numbers(&bare, self.decimal_comma).as_slice() {
                    [(number, length)] if *length == bare.len() => Some(*number),
                    _ => None,
                }
            }
        }
    }

    fn expected(&self, input: &ScoreInput<'_>) -> Result<f64, Unscored> {
        if let Some(value) = self.value {
            return Ok(value);
        }
        let given = reference(input, None, "value")?;
        self.number_in(given).ok_or_else(|| {
            Unscored::not_applicable(format!(
                "the reference {} holds no number: give the example a number or set `value`",
                quote_value(given)
            ))
        })
    }
}

impl Scorer for Options {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let expected = self.expected(input)?;
        let relative = self.relative_tolerance.max(ROUNDING);
        let tolerance = Tolerance { absolute: self.tolerance, relative };
        let wanted = match (self.tolerance > 0.0, self.relative_tolerance > 0.0) {
            (false, false) => format!("{expected}"),
            (true, false) => format!("{expected} ± {}", self.tolerance),
            (false, true) => format!("{expected} ± {} %", self.relative_tolerance * 100.0),
            (true, true) => format!("{expected} ± {} or {} %", self.tolerance, self.relative_tolerance * 100.0),
        };
        let Some(found) = self.number_in(&input.output.value) else {
            let what = if self.take == Take::Whole { "no bare number" } else { "no number" };
            return Ok(Score::pass(
                false,
                expected_found(&wanted, &format!("{what} in {}", quote(&input.output.text()))),
            ));
        };
        let mut score = Score::pass(tolerance.allows(expected, found), expected_found(&wanted, &found.to_string()));
        score.details = json!({ "found": found });
        Ok(score)
    }
}

/// Signs written before or after an amount.
const CURRENCIES: &[char] = &['$', '€', '£', '¥', '₹', ' '];
/// Hyphen and minus sign.
const MINUS: &[char] = &['-', '\u{2212}'];

/// The numbers in a text, in order, each with its length in bytes: digits with well-placed thousand separators, a
/// decimal part, an exponent. A minus counts only where no word or number touches it from the left, so that neither
/// `2024-05-20` nor `GPT-4` holds a negative one. Numbers too large for a double are left out.
fn numbers(text: &str, decimal_comma: bool) -> Vec<(f64, usize)> {
    let (point, group) = if decimal_comma { (b',', b'.') } else { (b'.', b',') };
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let fraction = bytes.get(at) == Some(&point) && digit(at + 1) && !before.is_some_and(|c| c.is_ascii_digit());
        let starts = digit(at) || fraction;
        if !starts || before.is_some_and(|c| c.is_ascii_alphabetic() || c == '_') {
            // The rest of a word with digits in it is skipped with the word.
            at += 1;
            while starts && digit(at) {
                at += 1;
            }
            continue;
        }
        let sign = sign_before(text, at);
        let (digits, end) = scan(bytes, at, point, group);
        if let Some(number) = digits.parse::<f64>().ok().filter(|number| number.is_finite()) {
            let length = end - at + sign;
            found.push((if sign > 0 { -number } else { number }, length));
        }
        at = end.max(at + 1);
    }
    found
}

/// Bytes of the minus that belongs to a number at `at`; 0 when there is none.
fn sign_before(text: &str, at: usize) -> usize {
    let Some(head) = text.get(..at) else { return 0 };
    let bare = head.trim_end_matches(|c| c != ' ' && CURRENCIES.contains(&c));
    let Some(before) = bare.strip_suffix(MINUS) else { return 0 };
    let touched = before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ')');
    if touched { 0 } else { at - before.len() }
}

/// Reads one number from `start`: its text with a point for the decimals, and where it ends.
fn scan(bytes: &[u8], start: usize, point: u8, group: u8) -> (String, usize) {
    let run = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut digits = String::new();
    let mut push = |from: usize, count: usize| {
        digits.extend(bytes.iter().skip(from).take(count).map(|byte| char::from(*byte)));
    };
    let mut at = start;
    let first = run(at);
    push(at, first);
    at += first;
    // 1,234,567 is one number; 3,4,5 and 1,2345 are several.
    while (1..=3).contains(&first) && bytes.get(at) == Some(&group) && run(at + 1) == 3 {
        push(at + 1, 3);
        at += 4;
    }
    if bytes.get(at) == Some(&point) && run(at + 1) > 0 {
        let count = run(at + 1);
        digits.push('.');
        digits.extend(bytes.iter().skip(at + 1).take(count).map(|byte| char::from(*byte)));
        at += 1 + count;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let count = run(at + 1 + sign);
        if count > 0 {
            digits.extend(bytes.iter().skip(at).take(1 + sign + count).map(|byte| char::from(*byte)));
            at += 1 + sign + count;
        }
    }
    (digits, at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{build_error, passes, score};
    use super::*;

    fn all(text: &str) -> Vec<f64> {
        numbers(text, false).into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn numbers_are_found_as_people_write_them() {
        assert_eq!(all("It costs $1,234.50, not 99."), [1234.5, 99.0]);
        assert_eq!(all("-5, −6, -$7 and $-8"), [-5.0, -6.0, -7.0, -8.0]);
        assert_eq!(all("on 2024-05-20 with GPT-4 and 10-5"), [2024.0, 5.0, 20.0, 4.0, 10.0, 5.0]);
        assert_eq!(all("3,4,5 and 1,2345"), [3.0, 4.0, 5.0, 1.0, 2345.0]);
        assert_eq!(all("1e3 2.5E-2 5e .5 7."), [1000.0, 0.025, 5.0, 0.5, 7.0]);
        assert_eq!(all("HAT136 x2 sha_12 答案是42。 45%"), [42.0, 45.0]);
        assert_eq!(all("v 1.2.3"), [1.2, 3.0]);
        assert_eq!(all("1e999 is too large"), Vec::<f64>::new());
        assert_eq!(numbers("1.234,50 €", true).first().map(|n| n.0), Some(1234.5));
    }

    #[test]
    fn the_chosen_number_is_compared() {
        let text = json!("First 3, then 7. #### 42");
        assert!(passes("numeric", json!({}), text.clone(), json!("… = 42 #### 42")));
        assert!(passes("numeric", json!({"take": "first"}), text.clone(), json!(3)));
        assert!(!passes("numeric", json!({"take": "whole"}), text, json!(42)));
        for whole in ["42", " $42.00 ", "42 %", "€42", "42 €"] {
            assert!(passes("numeric", json!({"take": "whole"}), json!(whole), json!(42)), "{whole}");
        }
        for whole in ["-42", "-$42", "−42"] {
            assert!(passes("numeric", json!({"take": "whole"}), json!(whole), json!(-42)), "{whole}");
        }
        assert!(passes("numeric", json!({}), json!(42.0), json!(42)));
    }

    #[test]
    fn the_wider_tolerance_holds() {
        let near = |options: Value| passes("numeric", options, json!("about 102"), json!(100));
        assert!(!near(json!({})) && !near(json!({"tolerance": 1})) && !near(json!({"relative_tolerance": 0.01})));
        assert!(near(json!({"tolerance": 2})) && near(json!({"tolerance": 1, "relative_tolerance": 0.02})));
        assert!(passes("numeric", json!({"value": 0.3}), json!(0.1 + 0.2), Value::Null));
        assert!(build_error("numeric", json!({"tolerance": -1})).contains("`tolerance`"));
    }

    #[test]
    fn no_number_in_the_output_fails_and_none_in_the_reference_does_not_apply() {
        let found = score("numeric", json!({}), json!("none"), json!(5)).unwrap();
        assert_eq!(found.value.number(), Some(0.0));
        assert_eq!(found.explanation.as_deref(), Some("expected 5, found no number in `none`"));
        assert!(score("numeric", json!({}), json!("5"), json!("five")).is_err());
    }

    proptest! {
        #[test]
        fn a_written_number_is_read_back(number in -1e12..1e12_f64) {
            prop_assert_eq!(all(&format!("it is {number}")), vec![number]);
        }
    }
}
