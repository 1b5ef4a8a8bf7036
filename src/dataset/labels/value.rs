//! What a person wrote in a cell, read by the scale of the question.

use serde_json::{Number, Value};

use crate::model::Scale;
use crate::sys::text::one_line;

/// Which values a question takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Answer {
    /// Those of a judge's scale.
    Scale(Scale),
    /// One of these.
    OneOf(Vec<String>),
    /// Anything.
    #[default]
    Free,
}

impl Answer {
    /// The values as a person reads them: `pass | fail`.
    pub fn shown(&self) -> String {
        match self {
            Self::Scale(Scale::Binary) => "pass | fail".to_owned(),
            Self::Scale(Scale::Labels { labels }) => {
                labels.iter().map(|(label, _)| label.as_str()).collect::<Vec<_>>().join(" | ")
            }
            Self::Scale(Scale::Number { min: Some(min), max: Some(max) }) => format!("a number from {min} to {max}"),
            Self::Scale(Scale::Number { min: Some(min), max: None }) => format!("a number from {min} up"),
            Self::Scale(Scale::Number { min: None, max: Some(max) }) => format!("a number up to {max}"),
            Self::Scale(Scale::Number { .. }) => "a number".to_owned(),
            Self::OneOf(values) => values.join(" | "),
            Self::Free => String::new(),
        }
    }

    /// The values of a list as [`Answer::shown`] writes it.
    pub fn of_list(text: &str) -> Self {
        let values: Vec<String> =
            text.split('|').map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect();
        if values.is_empty() { Self::Free } else { Self::OneOf(values) }
    }
}

/// Words for yes and no, in lower case.
const YES: &[&str] = &["pass", "passed", "yes", "y", "true", "1", "good", "ok"];
const NO: &[&str] = &["fail", "failed", "no", "n", "false", "0", "bad"];

/// Reads a value: a boolean for a binary scale, a number for a numeric one, the label as the scale spells it.
///
/// # Errors
/// What was expected.
pub fn parse_value(found: &Value, answer: &Answer) -> Result<Value, String> {
    let text = match found {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let folded = text.to_lowercase();
    match answer {
        Answer::Free => Ok(free(&text)),
        Answer::OneOf(values) => {
            let known = values.iter().find(|value| value.to_lowercase() == folded);
            known.map(|value| free(value)).ok_or_else(|| one_of(values.iter().map(String::as_str)))
        }
        Answer::Scale(Scale::Binary) if YES.contains(&folded.as_str()) => Ok(Value::Bool(true)),
        Answer::Scale(Scale::Binary) if NO.contains(&folded.as_str()) => Ok(Value::Bool(false)),
        Answer::Scale(Scale::Binary) => Err("`pass` or `fail`".to_owned()),
        Answer::Scale(Scale::Labels { labels }) => {
            let known = labels.iter().find(|(label, _)| label.to_lowercase() == folded);
            known
                .map(|(label, _)| Value::String(label.clone()))
                .ok_or_else(|| one_of(labels.iter().map(|(label, _)| label.as_str())))
        }
        Answer::Scale(Scale::Number { min, max }) => {
            let number = text.parse::<f64>().ok().filter(|number| {
                number.is_finite() && min.is_none_or(|min| *number >= min) && max.is_none_or(|max| *number <= max)
            });
            number.map(whole_or_float).ok_or_else(|| answer.shown())
        }
    }
}

fn one_of<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.map(|value| format!("`{}`", one_line(value, 40))).collect();
    format!("one of {}", values.join(", "))
}

/// A free value: a number or a boolean where it is one, else text.
fn free(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match text.parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) => whole_or_float(number),
            None => Value::String(text.to_owned()),
        },
    }
}

/// `3` and `3.0` are one value, whatever a spreadsheet made of it. Beyond 2^53 a float names no one whole number.
fn whole_or_float(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str, answer: &Answer) -> Result<Value, String> {
        parse_value(&json!(text), answer)
    }

    #[test]
    fn values_are_read_by_the_scale() {
        let binary = Answer::Scale(Scale::Binary);
        assert_eq!(read(" Pass", &binary).unwrap(), json!(true));
        assert_eq!(parse_value(&json!(false), &binary).unwrap(), json!(false));
        assert!(read("maybe", &binary).unwrap_err().contains("`pass` or `fail`"));
        let labels = Answer::Scale(Scale::Labels { labels: vec![("Fully".into(), Some(1.0)), ("Not".into(), None)] });
        assert_eq!(read("fully", &labels).unwrap(), json!("Fully"));
        assert!(read("half", &labels).unwrap_err().contains("`Fully`, `Not`"));
        let number = Answer::Scale(Scale::Number { min: Some(1.0), max: Some(5.0) });
        assert_eq!((read("4.0", &number).unwrap(), read("4.5", &number).unwrap()), (json!(4), json!(4.5)));
        assert_eq!(read("6", &number).unwrap_err(), "a number from 1 to 5");
        assert!(read("nan", &number).is_err());
    }

    #[test]
    fn a_list_of_values_survives_its_cell() {
        let answer = Answer::OneOf(vec!["a".into(), "2".into()]);
        assert_eq!(Answer::of_list(&answer.shown()), answer);
        assert_eq!((read("2", &answer).unwrap(), read("A", &answer).unwrap()), (json!(2), json!("a")));
        assert_eq!(Answer::of_list(" "), Answer::Free);
        assert_eq!(read("x y", &Answer::Free).unwrap(), json!("x y"));
    }
}
