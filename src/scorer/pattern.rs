//! Regular expressions over the output, perhaps with a captured group compared with the reference.

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::material::{expected_found, quote, reference, text_of};
use super::options::{read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored};
use crate::sys::text::one_line;

pub(super) const REGEX: ScorerInfo = ScorerInfo {
    name: "regex",
    version: "1",
    summary: "Passes when a regular expression matches the output, or when what it captures equals the reference.",
    sample: "pattern = '(?m)^Answer: (?<answer>\\w+)$'",
    schema: schema_of::<Options>,
    build,
};

/// A group of the expression.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Group {
    /// By number; 0 is the whole match.
    Number(usize),
    /// By name.
    Name(String),
}

/// Which of several matches counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Take {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
}

/// What the output must match.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The expression, in the syntax of Rust's `regex` crate (no look-around, no back-references; time is linear in
    /// the length of the output).
    pattern: String,
    /// Whether letters of either case are the same, in the expression and in the captured text.
    #[serde(default)]
    ignore_case: bool,
    /// Whether the expression must match the whole output, white space at both ends left out.
    #[serde(default)]
    whole: bool,
    /// Whether the expression is forbidden: passes when it does not match.
    #[serde(default)]
    negate: bool,
    /// Group whose text must equal the reference, white space at both ends left out: a number or a name.
    capture: Option<Group>,
    /// Which match gives the captured text.
    #[serde(default)]
    take: Take,
    /// Compare the captured text with this instead of the example's reference.
    value: Option<Value>,
}

struct Pattern {
    options: Options,
    regex: Regex,
    group: Option<usize>,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    if options.pattern.is_empty() {
        return Err("`pattern` is empty, and an empty expression matches everything".to_owned());
    }
    compile(&options.pattern, options.ignore_case)?;
    // Checked alone above, so that a stray parenthesis cannot close the group around it.
    let whole = format!(r"\A(?:{})\z", options.pattern);
    let regex = compile(if options.whole { &whole } else { &options.pattern }, options.ignore_case)?;
    if options.capture.is_none() && (options.value.is_some() || options.take == Take::Last) {
        return Err("`value` and `take` speak of a captured text: set `capture` too".to_owned());
    }
    if options.capture.is_some() && options.negate {
        return Err("`capture` and `negate` cannot both be set: a match that must not be captures nothing".to_owned());
    }
    let group = options.capture.as_ref().map(|group| find_group(&regex, group)).transpose()?;
    Ok(Box::new(Pattern { options, regex, group }))
}

fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    RegexBuilder::new(pattern).case_insensitive(ignore_case).build().map_err(|error| {
        // The last line of the crate's drawing says what is wrong; the others repeat the expression.
        let message = error.to_string();
        let cause =
            message.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").trim_end_matches('.');
        format!("`pattern` {} is no valid expression: {}", quote(pattern), one_line(cause, 200))
    })
}

fn find_group(regex: &Regex, group: &Group) -> Result<usize, String> {
    let found = match group {
        Group::Number(number) => (*number < regex.captures_len()).then_some(*number),
        Group::Name(name) => regex.capture_names().position(|known| known == Some(name)),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = regex.capture_names().flatten().collect();
        let asked = match group {
            Group::Number(number) => number.to_string(),
            Group::Name(name) => name.clone(),
        };
        let named = if names.is_empty() { String::new() } else { format!(", named {}", names.join(", ")) };
        format!("`capture` = {asked}: `pattern` has {} groups{named}", regex.captures_len() - 1)
    })
}

impl Pattern {
    fn captured(&self, input: &ScoreInput<'_>, text: &str, group: usize) -> Scored {
        let expected = text_of(reference(input, self.options.value.as_ref(), "value")?);
        let captures = match self.options.take {
            Take::First => self.regex.captures(text),
            Take::Last => self.regex.captures_iter(text).last(),
        };
        let wanted = format!("{} captured by {}", quote(&expected), quote(&self.options.pattern));
        let Some(found) = captures.and_then(|captures| captures.get(group)) else {
            return Ok(Score::pass(false, expected_found(&wanted, &format!("no match in {}", quote(text)))));
        };
        let (found, expected) = (found.as_str().trim(), expected.trim());
        let pass =
            if self.options.ignore_case { found.to_lowercase() == expected.to_lowercase() } else { found == expected };
        Ok(Score::pass(pass, expected_found(&wanted, &quote(found))))
    }
}

impl Scorer for Pattern {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let text = input.output.text();
        let text = if self.options.whole { text.trim() } else { text.as_str() };
        if let Some(group) = self.group {
            return self.captured(input, text, group);
        }
        let found = self.regex.find(text);
        let shown = match found {
            Some(found) => format!("the match {}", quote(found.as_str())),
            None => format!("no match in {}", quote(text)),
        };
        let wanted = if self.options.negate { "no match of" } else { "a match of" };
        let told = expected_found(&format!("{wanted} {}", quote(&self.options.pattern)), &shown);
        Ok(Score::pass(found.is_some() != self.options.negate, told))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{build_error, passes, score};
    use super::*;

    #[test]
    fn matches_anywhere_or_whole_or_not_at_all() {
        assert!(passes("regex", json!({"pattern": r"\d{3}"}), json!("abc 123"), Value::Null));
        assert!(!passes("regex", json!({"pattern": r"\d{3}", "whole": true}), json!("abc 123"), Value::Null));
        assert!(passes("regex", json!({"pattern": r"a|abc", "whole": true}), json!(" abc\n"), Value::Null));
        assert!(passes("regex", json!({"pattern": "ssn", "negate": true}), json!("none"), Value::Null));
        assert!(!passes(
            "regex",
            json!({"pattern": "SSN", "negate": true, "ignore_case": true}),
            json!("ssn"),
            json!(1)
        ));
    }

    #[test]
    fn a_captured_group_is_compared() {
        let options = json!({"pattern": r"Answer: (?<letter>[A-D])", "capture": "letter", "take": "last"});
        assert!(passes("regex", options.clone(), json!("Answer: A. No, Answer: C"), json!("C")));
        assert!(!passes("regex", options.clone(), json!("Answer: C. No, Answer: A"), json!("C")));
        let none = score("regex", options.clone(), json!("C"), json!("C")).unwrap();
        assert!(none.explanation.unwrap().contains("no match in `C`"));
        assert!(score("regex", options, json!("Answer: C"), Value::Null).is_err());
        let numbered = json!({"pattern": r"(\w+)!", "capture": 1, "value": "hi"});
        assert!(passes("regex", numbered, json!("oh hi!"), Value::Null));
    }

    #[test]
    fn broken_expressions_are_refused_in_one_clear_line() {
        let open = build_error("regex", json!({"pattern": "a(b"}));
        assert_eq!(open, "`pattern` `a(b` is no valid expression: unclosed group");
        let huge = build_error("regex", json!({"pattern": "(?:a{1000}){1000}"}));
        assert!(huge.contains("size limit") && !huge.ends_with('.'), "{huge}");
        assert!(build_error("regex", json!({"pattern": "(?=x)"})).contains("look-around"));
        assert!(build_error("regex", json!({"pattern": "a)(b", "whole": true})).contains("no valid expression"));
        let group = build_error("regex", json!({"pattern": "(?<a>x)", "capture": "b"}));
        assert_eq!(group, "`capture` = b: `pattern` has 1 groups, named a");
        assert!(build_error("regex", json!({"pattern": "x", "capture": 1})).contains("0 groups"));
    }
}
