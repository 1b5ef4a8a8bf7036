//! Texts that must, or must not, occur in the output.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{expected_found, quote, reference, text_of};
use super::options::{read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored, Unscored};

pub(super) const CONTAINS: ScorerInfo = ScorerInfo {
    name: "contains",
    version: "1",
    summary: "Passes when given texts, or the reference, occur in the output, at its start or at its end, or do not.",
    sample: "values = [\"refund\", \"5 days\"]\nmode = \"all\"\nignore_case = true",
    schema: schema_of::<Options>,
    build,
};

/// How many of the texts must occur.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Every one of them.
    All,
    /// At least one of them.
    Any,
}

/// Where a text must occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// Anywhere in the output.
    #[default]
    Anywhere,
    /// At its start; white space before it is left out.
    Start,
    /// At its end; white space after it is left out.
    End,
}

/// Which texts must occur, and where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The one text to look for; without `value` and `values` it is the example's reference, or each element of a
    /// reference that is a list.
    value: Option<String>,
    /// The texts to look for.
    values: Option<Vec<String>>,
    /// How many of them must occur: `all` unless said otherwise, `any` at the start or the end.
    mode: Option<Mode>,
    /// Where they must occur.
    #[serde(default, rename = "where")]
    place: Place,
    /// Whether letters of either case are the same.
    #[serde(default)]
    ignore_case: bool,
    /// Whether the texts are forbidden: passes when none of them occurs.
    #[serde(default)]
    negate: bool,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    if options.value.is_some() && options.values.is_some() {
        return Err("`value` and `values` are both set: keep one".to_owned());
    }
    if options.negate && options.mode.is_some() {
        return Err("`mode` means nothing with `negate`, which forbids every text: leave it out".to_owned());
    }
    if options.values.as_ref().is_some_and(Vec::is_empty) {
        return Err("`values` is empty: name at least one text".to_owned());
    }
    if options.value.iter().chain(options.values.iter().flatten()).any(String::is_empty) {
        return Err("an empty text occurs everywhere: give `value` or `values` at least one character".to_owned());
    }
    Ok(Box::new(options))
}

impl Options {
    fn wanted<'a>(&'a self, input: &ScoreInput<'a>) -> Result<Vec<Cow<'a, str>>, Unscored> {
        if let Some(values) = &self.values {
            return Ok(values.iter().map(|value| Cow::Borrowed(value.as_str())).collect());
        }
        if let Some(value) = &self.value {
            return Ok(vec![Cow::Borrowed(value.as_str())]);
        }
        let wanted: Vec<Cow<'_, str>> = match reference(input, None, "value")? {
            Value::Array(items) => items.iter().map(text_of).collect(),
            one => vec![text_of(one)],
        };
        if wanted.is_empty() || wanted.iter().any(|text| text.is_empty()) {
            return Err(Unscored::not_applicable("the reference is empty, and an empty text occurs everywhere"));
        }
        Ok(wanted)
    }

    fn occurs(&self, folded: &str, wanted: &str) -> bool {
        let wanted = self.fold(wanted);
        match self.place {
            Place::Anywhere => folded.contains(wanted.as_ref()),
            Place::Start => folded.starts_with(wanted.as_ref()) || folded.trim_start().starts_with(wanted.as_ref()),
            Place::End => folded.ends_with(wanted.as_ref()) || folded.trim_end().ends_with(wanted.as_ref()),
        }
    }

    fn fold<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.ignore_case { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) }
    }
}

impl Scorer for Options {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let wanted = self.wanted(input)?;
        let text = input.output.text();
        let folded = self.fold(&text);
        let (present, absent): (Vec<_>, Vec<_>) = wanted.iter().partition(|wanted| self.occurs(&folded, wanted));
        let all = match self.mode {
            Some(mode) => mode == Mode::All,
            None => self.place == Place::Anywhere,
        };
        let place = match self.place {
            Place::Anywhere => "in the output",
            Place::Start => "at the start",
            Place::End => "at the end",
        };
        let (pass, expected, found) = if self.negate {
            (present.is_empty(), format!("none of {} {place}", listed(&wanted)), present)
        } else if all {
            (absent.is_empty(), format!("{} {place}", listed(&wanted)), present)
        } else {
            (!present.is_empty(), format!("one of {} {place}", listed(&wanted)), present)
        };
        let found = if found.is_empty() { format!("none in {}", quote(&text)) } else { listed(&found) };
        let mut told = expected_found(&expected, &found);
        if all && !self.negate && !absent.is_empty() && wanted.len() > 1 {
            told.push_str(&format!("; missing {}", listed(&absent)));
        }
        Ok(Score::pass(pass, told))
    }
}

fn listed<T: AsRef<str>>(texts: &[T]) -> String {
    let mut shown: Vec<String> = texts.iter().take(5).map(|text| quote(text.as_ref())).collect();
    if texts.len() > 5 {
        shown.push(format!("{} more", texts.len() - 5));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{build_error, passes, score};
    use super::*;

    #[test]
    fn all_any_and_none() {
        let text = json!("Your refund arrives in 5 days.");
        let values = json!({"values": ["refund", "10 days"]});
        assert!(!passes("contains", values, text.clone(), Value::Null));
        let any = json!({"values": ["refund", "10 days"], "mode": "any"});
        assert!(passes("contains", any, text.clone(), Value::Null));
        assert!(!passes("contains", json!({"values": ["refund", "x"], "negate": true}), text.clone(), Value::Null));
        assert!(passes("contains", json!({"values": ["cash", "x"], "negate": true}), text.clone(), Value::Null));
        assert!(passes("contains", json!({"value": "REFUND", "ignore_case": true}), text, Value::Null));
    }

    #[test]
    fn start_and_end_look_past_white_space() {
        let at = |place: &str, value: &str| {
            passes("contains", json!({"value": value, "where": place}), json!("  Dear Ann\nBye.\n"), Value::Null)
        };
        assert!(at("start", "Dear") && at("end", "Bye."));
        assert!(!at("start", "Bye.") && !at("end", "Dear"));
        let several = json!({"values": ["Hello", "Dear"], "where": "start"});
        assert!(passes("contains", several, json!("Dear Ann"), Value::Null));
    }

    #[test]
    fn the_reference_stands_in_for_a_value() {
        assert!(passes("contains", json!({}), json!("It is Paris."), json!("Paris")));
        assert!(passes("contains", json!({}), json!("Paris, Rome"), json!(["Rome", "Paris"])));
        assert!(!passes("contains", json!({}), json!("Paris"), json!(["Rome", "Paris"])));
        assert!(score("contains", json!({}), json!("x"), json!("")).is_err());
    }

    #[test]
    fn the_finding_names_what_is_missing() {
        let score = score("contains", json!({"values": ["a", "b", "c"]}), json!("xaxx"), Value::Null).unwrap();
        let told = score.explanation.unwrap();
        assert_eq!(told, "expected `a`, `b`, `c` in the output, found `a`; missing `b`, `c`");
    }

    #[test]
    fn options_that_contradict_are_refused() {
        assert!(build_error("contains", json!({"value": "a", "values": ["b"]})).contains("`values`"));
        assert!(build_error("contains", json!({"value": ""})).contains("`value`"));
        assert!(build_error("contains", json!({"value": "a", "negate": true, "mode": "any"})).contains("`mode`"));
    }
}
