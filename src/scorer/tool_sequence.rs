//! In which order the agent called its tools.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::calls::{Expected, calls_of, expected_in, source_of, within_limit};
use super::material::{expected_found, ordered_matches, pair_up};
use super::options::{read, schema_of};
use super::path::Path;
use super::subset::Credit;
use super::{Scorer, ScorerInfo};
use crate::model::{Scale, ScoreInput, Scored, ToolUse, Unscored};
use crate::sys::text::one_line;

pub(super) const TOOL_SEQUENCE: ScorerInfo = ScorerInfo {
    name: "tool_sequence",
    version: "1",
    summary: "Passes when the agent made the expected tool calls in the expected order, or gives the share it made.",
    sample: "tools = [\"search\", \"book\"]\norder = \"in_order\"",
    schema: schema_of::<SequenceOptions>,
    build: build_sequence,
};

/// How the calls made must follow those expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Fit {
    /// These calls, in this order, and no others.
    Exact,
    /// These calls in this order; others may stand between them.
    #[default]
    InOrder,
    /// These calls in any order; others may stand beside them.
    AnyOrder,
}

/// A call: the name of the tool, or a table with arguments.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Step {
    /// Name of the tool, case-sensitive.
    Name(String),
    /// The tool with arguments.
    Call(StepCall),
}

/// A call with arguments.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StepCall {
    /// Name of the tool, case-sensitive.
    name: String,
    /// The call's arguments must contain these.
    arguments: Option<Map<String, Value>>,
}

/// Which calls are expected, and how strictly.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SequenceOptions {
    /// The expected calls in order; without them they are read from `expected_from`.
    tools: Option<Vec<Step>>,
    /// Where a list of expected calls stands when `tools` is not set: a path such as `example.metadata.actions`. Each
    /// element is a name, or an object with a name and arguments. Unless said, the example's `expected_calls`, or its
    /// reference when it has none.
    expected_from: Option<String>,
    /// How the calls made must follow those expected.
    #[serde(default)]
    order: Fit,
    /// Tools whose calls are left out on both sides, such as those that only read.
    #[serde(default)]
    ignore: BTreeSet<String>,
    /// Whether only the names are compared.
    #[serde(default)]
    ignore_arguments: bool,
    /// `pass` when the order holds, or the `share` of the expected calls that were made in it; for `exact` the share
    /// of the longer of the two lists.
    #[serde(default)]
    score: Credit,
}

struct Sequence {
    expected: Option<Vec<Expected>>,
    source: Path,
    options: SequenceOptions,
}

fn build_sequence(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let mut options: SequenceOptions = read(options)?;
    let source = source_of(options.tools.as_deref(), options.expected_from.as_deref())?;
    let arguments = !options.ignore_arguments;
    let expected = options.tools.take().map(|steps| {
        let read = steps.into_iter().map(|step| match step {
            Step::Name(name) => Expected { name, arguments: None },
            Step::Call(call) => {
                Expected { name: call.name, arguments: call.arguments.filter(|_| arguments).map(Value::Object) }
            }
        });
        read.collect::<Vec<_>>()
    });
    if expected.iter().flatten().any(|call| call.name.is_empty()) {
        return Err("`tools` holds an empty name".to_owned());
    }
    if let Some(call) = expected.iter().flatten().find(|call| options.ignore.contains(&call.name)) {
        return Err(format!("`{}` is both in `tools` and in `ignore`", call.name));
    }
    Ok(Box::new(Sequence { expected, source, options }))
}

impl Scorer for Sequence {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let mut expected = match &self.expected {
            Some(expected) => expected.clone(),
            None => expected_in(input, &self.source, !self.options.ignore_arguments)?,
        };
        expected.retain(|call| !self.options.ignore.contains(&call.name));
        let mut calls = calls_of(input.output)?;
        calls.retain(|call| !self.options.ignore.contains(&call.name));
        within_limit(expected.len(), calls.len())?;
        if expected.is_empty() {
            return self.nothing_expected(&calls);
        }
        let (met, all) = match self.options.order {
            Fit::Exact => (in_order(&expected, &calls), expected.len().max(calls.len())),
            Fit::InOrder => (in_order(&expected, &calls), expected.len()),
            Fit::AnyOrder => {
                let fits = |call: usize, made: usize| match (expected.get(call), calls.get(made)) {
                    (Some(call), Some(made)) => call.met_by(made),
                    _ => false,
                };
                (pair_up(expected.len(), calls.len(), fits).iter().flatten().count(), expected.len())
            }
        };
        let told = expected_found(&self.wanted(&expected, &calls), &shown_order(&calls));
        self.options.score.score(met == all, met, all, told)
    }

    fn scale(&self) -> Scale {
        self.options.score.scale()
    }
}

impl Sequence {
    fn nothing_expected(&self, calls: &[ToolUse]) -> Scored {
        if self.options.order != Fit::Exact {
            return Err(Unscored::not_applicable(format!(
                "the list at `{}` expects no tool call: use `order = \"exact\"` to score that there is none",
                self.source.written()
            )));
        }
        let met = usize::from(calls.is_empty());
        self.options.score.score(calls.is_empty(), met, 1, expected_found("no tool call", &shown_order(calls)))
    }

    fn wanted(&self, expected: &[Expected], calls: &[ToolUse]) -> String {
        let order = match self.options.order {
            Fit::Exact => "exactly the calls",
            Fit::InOrder => "in this order the calls",
            Fit::AnyOrder => "in any order the calls",
        };
        let names: Vec<&str> = expected.iter().map(|call| call.name.as_str()).collect();
        let absent = expected.iter().find(|call| !calls.iter().any(|made| call.met_by(made)));
        let first = absent.map(|call| format!(" (none fits {})", call.shown())).unwrap_or_default();
        format!("{order} {}{first}", shown_names(&names))
    }
}

fn in_order(expected: &[Expected], calls: &[ToolUse]) -> usize {
    ordered_matches(expected, calls, |expected, call| expected.met_by(call))
}

fn shown_order(calls: &[ToolUse]) -> String {
    if calls.is_empty() {
        return "no tool call".to_owned();
    }
    shown_names(&calls.iter().map(|call| call.name.as_str()).collect::<Vec<_>>())
}

fn shown_names(names: &[&str]) -> String {
    format!("`{}`", one_line(&names.join(" → "), 300))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::tests::{build_error, calls_pass, number_of_calls, score_calls, score_pair, tool_trace, trip};
    use super::*;
    use crate::model::{Example, ExpectedCall, Output};

    #[test]
    fn sequences_are_exact_in_order_or_in_any_order() {
        let fits = |order: &str, tools: Value| {
            calls_pass("tool_sequence", json!({"tools": tools, "order": order}), Value::Null, &trip())
        };
        assert!(fits("exact", json!(["search", "search", "book"])) && !fits("exact", json!(["search", "book"])));
        assert!(fits("in_order", json!(["search", "book"])) && !fits("in_order", json!(["book", "search"])));
        assert!(fits("any_order", json!(["book", "search"])) && !fits("any_order", json!(["book", "book"])));
        let rome_first = json!(["search", {"name": "search", "arguments": {"city": "Paris"}}]);
        assert!(fits("any_order", rome_first.clone()) && !fits("in_order", rome_first));
    }

    #[test]
    fn shares_and_ignored_tools() {
        let share =
            |options: Value| number_of_calls("tool_sequence", options, json!(["search", "pay", "book"]), &trip());
        assert!((share(json!({"score": "share"})) - 2.0 / 3.0).abs() < 1e-12);
        let exact = json!({"score": "share", "order": "exact", "ignore": ["pay"]});
        assert!((share(exact) - 2.0 / 3.0).abs() < 1e-12);
        assert!(score_calls("tool_sequence", json!({}), json!([]), &trip()).is_err());
        assert!(!calls_pass("tool_sequence", json!({"order": "exact"}), json!([]), &trip()));
        assert!(calls_pass("tool_sequence", json!({"order": "exact"}), json!([]), &[]));
    }

    #[test]
    fn expected_calls_of_the_example_come_before_its_reference() {
        let mut example = Example::new("e".into(), json!("x"));
        example.reference = Some(json!(["pay"]));
        example.expected_calls = Some(vec![
            ExpectedCall { name: "search".into(), arguments: json!({"city": "Rome"}).as_object().cloned() },
            ExpectedCall { name: "book".into(), arguments: None },
        ]);
        let output = Output { trace: Some(Arc::new(tool_trace(&trip()))), ..Output::of_text("x") };
        let passes = |name: &str, options: Value, example: &Example| {
            score_pair(name, options, example, &output).unwrap().value.number() == Some(1.0)
        };
        assert!(passes("tool_sequence", json!({}), &example) && passes("tool_used", json!({}), &example));
        assert!(!passes("tool_sequence", json!({"expected_from": "example.reference"}), &example));
        example.expected_calls = Some(Vec::new());
        assert!(!passes("tool_sequence", json!({"order": "exact"}), &example), "no call was expected");
    }

    #[test]
    fn options_that_contradict_are_refused() {
        assert!(build_error("tool_sequence", json!({"tools": ["a"], "ignore": ["a"]})).contains("`ignore`"));
        assert!(build_error("tool_sequence", json!({"tools": [""]})).contains("`tools`"));
    }
}
