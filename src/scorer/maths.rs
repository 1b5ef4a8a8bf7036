//! Whether two expressions name the same number: decimals, fractions, percent, powers of ten, simple LaTeX.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{acceptable, expected_found, quote, reference, text_of};
use super::options::{check_amount, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored, Unscored};

pub(super) const MATHS: ScorerInfo = ScorerInfo {
    name: "maths",
    version: "1",
    summary: "Passes when the output names the same number as the reference: 1/2, 0.5, 50% or a simple LaTeX form.",
    sample: "value = \"\\\\frac{1}{2}\"\nboxed = true",
    schema: schema_of::<Options>,
    build,
};

/// Characters of an expression.
const LONGEST: usize = 400;
/// Brackets inside brackets.
const DEEPEST: usize = 20;

/// What is compared. The whole answer must be the expression; with `boxed` it is what stands in the last `\boxed{}`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Compare with this instead of the example's reference.
    value: Option<String>,
    /// Whether the answer is what stands in the last `\boxed{}` of the output, where there is one.
    #[serde(default)]
    boxed: bool,
    /// Whether a reference that is a list holds several acceptable answers.
    #[serde(default)]
    any_reference: bool,
    /// Greatest difference as a share of the expected number, for what is rounded.
    #[serde(default = "tolerance")]
    relative_tolerance: f64,
}

fn tolerance() -> f64 {
    1e-9
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    check_amount("relative_tolerance", Some(options.relative_tolerance))?;
    if let Some(text) = options.value.as_ref().filter(|text| number_of(text).is_none()) {
        return Err(format!("`value` = {} names no number", quote(text)));
    }
    Ok(Box::new(options))
}

impl Scorer for Options {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let fixed = self.value.clone().map(Value::String);
        let given = reference(input, fixed.as_ref(), "value")?;
        let wanted: Vec<(String, Option<f64>)> = acceptable(given, self.any_reference && fixed.is_none())?
            .into_iter()
            .map(|value| (text_of(value).into_owned(), number_of(&text_of(value))))
            .collect();
        let text = input.output.text();
        let answer = if self.boxed { boxed(&text).unwrap_or(&text) } else { &text };
        let shown: Vec<String> = wanted.iter().take(5).map(|(text, _)| quote(text)).collect();
        let shown = shown.join(" or ");
        if wanted.iter().all(|(_, number)| number.is_none()) {
            return Err(Unscored::not_applicable(format!("the reference {shown} names no number")));
        }
        let Some(found) = number_of(answer) else {
            return Ok(Score::pass(
                false,
                expected_found(&shown, &format!("{}, which names no number", quote(answer))),
            ));
        };
        let near = |wanted: f64| (wanted - found).abs() <= self.relative_tolerance * wanted.abs().max(found.abs());
        let pass = wanted.iter().filter_map(|(_, number)| *number).any(near);
        Ok(Score::pass(pass, expected_found(&shown, &format!("{} = {found}", quote(answer)))))
    }
}

/// What stands in the last `\boxed{}`.
fn boxed(text: &str) -> Option<&str> {
    let rest = text.rsplit_once("\\boxed{")?.1;
    let mut depth = 1;
    for (at, character) in rest.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return rest.get(..at);
        }
    }
    None
}

/// The number an expression names; finite.
fn number_of(text: &str) -> Option<f64> {
    if text.chars().count() > LONGEST {
        return None;
    }
    let mut plain = text.trim().to_owned();
    for (from, to) in [
        ("\\left", ""),
        ("\\right", ""),
        ("\\dfrac", "\\frac"),
        ("\\tfrac", "\\frac"),
        ("\\cdot", "*"),
        ("\\times", "*"),
        ("×", "*"),
        ("·", "*"),
        ("÷", "/"),
        ("−", "-"),
        ("–", "-"),
        ("\\%", "%"),
        ("\\pi", "π"),
        ("\\,", ""),
        ("\\!", ""),
        ("\\ ", ""),
        ("{,}", ""),
        ("\\$", ""),
        ("$", ""),
        ("\\(", ""),
        ("\\)", ""),
    ] {
        plain = plain.replace(from, to);
    }
    let plain = plain.trim().trim_end_matches('.').trim();
    let mut reader = Reader { rest: plain, depth: 0 };
    let number = reader.sum()?;
    reader.skip();
    (reader.rest.is_empty() && number.is_finite()).then_some(number)
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, sign: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn sum(&mut self) -> Option<f64> {
        let mut sum = self.product()?;
        loop {
            if self.take("+") {
                sum += self.product()?;
            } else if self.take("-") {
                sum -= self.product()?;
            } else {
                return Some(sum);
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut product = self.signed()?;
        loop {
            if self.take("*") {
                product *= self.signed()?;
            } else if self.take("/") {
                product /= self.signed()?;
            } else {
                return Some(product);
            }
        }
    }

    fn signed(&mut self) -> Option<f64> {
        if self.take("-") {
            return Some(-self.mixed()?);
        }
        self.take("+");
        self.mixed()
    }

    /// A power; `1 \frac{1}{2}` and `1 1/2` are mixed numbers.
    fn mixed(&mut self) -> Option<f64> {
        let whole_text = self.rest;
        let first = self.power()?;
        self.skip();
        let is_whole = first.fract() == 0.0 && whole_text.trim_start().starts_with(|c: char| c.is_ascii_digit());
        if is_whole && self.rest.starts_with("\\frac") {
            return Some(first + self.power()?);
        }
        let digits = |text: &'a str| -> Option<(&'a str, &'a str)> {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            (end > 0).then(|| text.split_at(end))
        };
        let fraction = digits(self.rest).and_then(|(top, rest)| {
            let (bottom, rest) = digits(rest.strip_prefix('/')?)?;
            Some((top.parse::<f64>().ok()? / bottom.parse::<f64>().ok()?, rest))
        });
        match fraction.filter(|_| is_whole) {
            Some((part, rest)) => {
                self.rest = rest;
                Some(first + part)
            }
            None => Some(first),
        }
    }

    fn power(&mut self) -> Option<f64> {
        let mut base = self.atom()?;
        if self.take("^") {
            let power =
                if self.rest.starts_with('{') || self.rest.starts_with('(') { self.atom()? } else { self.signed()? };
            base = base.powf(power);
        }
        while self.take("%") {
            base /= 100.0;
        }
        Some(base)
    }

    fn atom(&mut self) -> Option<f64> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let found = if self.take("\\frac") {
            let top = self.atom()?;
            Some(top / self.atom()?)
        } else if self.take("\\sqrt") {
            self.atom().map(f64::sqrt)
        } else if self.take("π") {
            Some(std::f64::consts::PI)
        } else if self.take("(") {
            self.inside(")")
        } else if self.take("{") {
            self.inside("}")
        } else {
            self.literal()
        };
        self.depth -= 1;
        found
    }

    fn inside(&mut self, end: &str) -> Option<f64> {
        let number = self.sum()?;
        self.take(end).then_some(number)
    }

    /// Digits, perhaps with commas before every three of them, a point, and a power of ten.
    fn literal(&mut self) -> Option<f64> {
        self.skip();
        let rest = self.rest;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.').unwrap_or(rest.len());
        let (mantissa, after) = rest.split_at(end);
        let whole = mantissa.split('.').next().unwrap_or_default();
        let mut groups = whole.split(',');
        let first = groups.next().unwrap_or_default();
        let grouped = whole.contains(',');
        if grouped && (first.is_empty() || first.len() > 3 || groups.any(|group| group.len() != 3)) {
            return None;
        }
        let exponent = after.strip_prefix(['e', 'E']).and_then(|tail| {
            let digits = tail.strip_prefix(['-', '+']).unwrap_or(tail);
            let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            (length > 0).then(|| 1 + tail.len() - digits.len() + length)
        });
        let (exponent, after) = after.split_at_checked(exponent.unwrap_or(0))?;
        let number = format!("{}{exponent}", mantissa.replace(',', "")).parse().ok()?;
        self.rest = after;
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::tests::{build_error, passes, score};
    use super::*;

    #[test]
    fn expressions_name_numbers() {
        for (text, number) in [
            ("0.5", 0.5),
            ("1/2", 0.5),
            ("50%", 0.5),
            ("50\\%", 0.5),
            ("\\frac{1}{2}", 0.5),
            ("1,234.5", 1234.5),
            ("$1,234.50", 1234.5),
            ("1{,}000", 1000.0),
            ("-3", -3.0),
            ("−3", -3.0),
            ("1 1/2", 1.5),
            ("1\\frac{1}{2}", 1.5),
            ("2^{10}", 1024.0),
            ("2^-1", 0.5),
            ("3.2 \\times 10^{-4}", 3.2e-4),
            ("1e-3", 1e-3),
            ("\\sqrt{16}", 4.0),
            ("\\left(1+2\\right)/3", 1.0),
            ("2\\cdot 3", 6.0),
            ("\\pi", std::f64::consts::PI),
            ("7.", 7.0),
        ] {
            let found = number_of(text);
            assert!(found.is_some_and(|found| (found - number).abs() < 1e-12), "{text}: {found:?}");
        }
        for none in ["", "x", "1,23", "1..2", "1/0", "(1", "three", "\\frac{1}", "1 2", "1e", "--"] {
            assert_eq!(number_of(none), None, "{none}");
        }
        assert_eq!(number_of(&"(".repeat(300)), None);
    }

    #[test]
    fn answers_are_compared_as_numbers() {
        let same = |options: Value, output: &str, wanted: &str| passes("maths", options, json!(output), json!(wanted));
        assert!(
            same(json!({}), "0.5", "\\frac{1}{2}")
                && same(json!({}), "33%", "0.33")
                && !same(json!({}), "0.3333", "1/3")
        );
        assert!(same(json!({"relative_tolerance": 1e-3}), "0.3333", "1/3"));
        assert!(same(json!({"boxed": true}), "So x = 1 and thus \\boxed{\\frac{2}{4}}.", "0.5"));
        assert!(!same(json!({}), "about a half", "0.5"));
        assert!(score("maths", json!({}), json!("1"), json!("x + y")).is_err());
        assert!(build_error("maths", json!({"value": "many"})).contains("`value`"));
    }

    proptest! {
        #[test]
        fn a_fraction_is_its_quotient(top in -999..999_i32, bottom in 1..999_i32, text in ".{0,30}") {
            let quotient = f64::from(top) / f64::from(bottom);
            for written in [format!("{top}/{bottom}"), format!("\\frac{{{top}}}{{{bottom}}}"), format!("{quotient:e}")] {
                let found = number_of(&written);
                prop_assert!(found.is_some_and(|found| (found - quotient).abs() <= 1e-9), "{} {:?}", written, found);
            }
            let _ = number_of(&text);
        }
    }
}
