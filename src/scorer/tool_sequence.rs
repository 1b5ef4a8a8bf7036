//! In which order the agent called its tools, with which arguments, and how far that is from what was expected.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::aligned::Aligned;
use super::arguments::{Comparator, Match, Rules};
use super::calls::{Expected, calls_of, expected_in, source_of, within_limit};
use super::material::expected_found;
use super::options::{check_amount, read, schema_of};
use super::path::Path;
use super::subset::Tolerance;
use super::{Scorer, ScorerInfo};
use crate::model::{Scale, Score, ScoreInput, Scored, ToolUse, Unscored, UnscoredReason};
use crate::sys::text::one_line;

pub(super) const TOOL_SEQUENCE: ScorerInfo = ScorerInfo {
    name: "tool_sequence",
    version: "2",
    summary: "Passes when the agent made the expected tool calls in the expected order, or gives how far it did.",
    sample: "tools = [\"search\", { name = \"book\", arguments = { nights = 2 } }]\norder = \"in_order\"\narguments = \"exact\"\nscore = \"f1\"",
    schema: schema_of::<SequenceOptions>,
    build: build_sequence,
};

/// How the calls made must follow those expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Fit {
    /// These calls, in this order, and no others: what others call strict.
    Exact,
    /// These calls in this order; others may stand between them.
    #[default]
    InOrder,
    /// These calls in any order; others may stand beside them: the calls made are a superset.
    AnyOrder,
    /// These calls in any order, and no others: what others call unordered.
    SameCalls,
    /// No calls but these, in any order; some of them may be left out: the calls made are a subset.
    Subset,
}

impl Fit {
    fn is_ordered(self) -> bool {
        matches!(self, Self::Exact | Self::InOrder)
    }

    /// Whether calls beside the expected ones are wrong.
    fn forbids_others(self) -> bool {
        matches!(self, Self::Exact | Self::SameCalls | Self::Subset)
    }

    /// How many calls must fit, of `expected` and `made` ones.
    fn of(self, expected: usize, made: usize) -> usize {
        match self {
            Self::Exact | Self::SameCalls => expected.max(made),
            Self::InOrder | Self::AnyOrder => expected,
            Self::Subset => made,
        }
    }
}

/// What is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Credit {
    /// Pass when the order holds.
    #[default]
    Pass,
    /// The share of the calls that had to fit and did, 0 to 1.
    Share,
    /// F1 over the best pairing: a pair counts as far as it fits, the tool and each argument alike. 0 to 1.
    F1,
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
    /// The arguments that `arguments` compares.
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
    /// How strictly arguments are compared. Without arguments in the expectation, any will do.
    #[serde(default)]
    arguments: Match,
    /// The same for single tools, by name.
    #[serde(default)]
    arguments_of: BTreeMap<String, Match>,
    /// Greatest difference between two numbers in arguments, in their unit.
    #[serde(default)]
    tolerance: f64,
    /// Greatest difference between two numbers in arguments as a share of the expected one; the wider holds.
    #[serde(default)]
    relative_tolerance: f64,
    /// Whether letters of either case are the same in arguments.
    #[serde(default)]
    ignore_case: bool,
    /// Scorers that compare single arguments, by `argument` or `tool.argument`: `{ scorer = "token_f1", at_least = 0.5 }`.
    /// The expected argument is their reference, the one given their output.
    #[serde(default)]
    compare: BTreeMap<String, Comparator>,
    /// What is given.
    #[serde(default)]
    score: Credit,
}

struct Sequence {
    expected: Option<Vec<Expected>>,
    source: Path,
    order: Fit,
    ignore: BTreeSet<String>,
    reads_arguments: bool,
    rules: Rules,
    score: Credit,
}

fn build_sequence(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let mut options: SequenceOptions = read(options)?;
    let source = source_of(options.tools.as_deref(), options.expected_from.as_deref())?;
    check_amount("tolerance", Some(options.tolerance))?;
    check_amount("relative_tolerance", Some(options.relative_tolerance))?;
    let expected = options.tools.take().map(|steps| {
        let read = steps.into_iter().map(|step| match step {
            Step::Name(name) => Expected { name, arguments: None },
            Step::Call(call) => Expected { name: call.name, arguments: call.arguments.map(Value::Object) },
        });
        read.collect::<Vec<_>>()
    });
    if expected.iter().flatten().any(|call| call.name.is_empty()) {
        return Err("`tools` holds an empty name".to_owned());
    }
    if let Some(call) = expected.iter().flatten().find(|call| options.ignore.contains(&call.name)) {
        return Err(format!("`{}` is both in `tools` and in `ignore`", call.name));
    }
    let tolerance = Tolerance { absolute: options.tolerance, relative: options.relative_tolerance };
    let reads_arguments = options.arguments != Match::Ignore || !options.arguments_of.is_empty();
    let rules = Rules::new(options.arguments, options.arguments_of, tolerance, options.ignore_case, options.compare)?;
    Ok(Box::new(Sequence {
        expected,
        source,
        order: options.order,
        ignore: options.ignore,
        reads_arguments,
        rules,
        score: options.score,
    }))
}

impl Scorer for Sequence {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let mut expected = match &self.expected {
            Some(expected) => expected.clone(),
            None => expected_in(input, &self.source, self.reads_arguments)?,
        };
        expected.retain(|call| !self.ignore.contains(&call.name));
        let mut made = calls_of(input.output)?;
        made.retain(|call| !self.ignore.contains(&call.name));
        within_limit(expected.len(), made.len())?;
        if expected.is_empty() && !self.order.forbids_others() {
            return Err(Unscored::not_applicable(format!(
                "the list at `{}` expects no tool call: use `order = \"exact\"` to score that there is none",
                self.source.written()
            )));
        }
        let aligned = Aligned::new(&self.rules, &expected, &made, self.order.is_ordered())?;
        let all = self.order.of(expected.len(), made.len());
        let pass = aligned.full == all;
        let figure = match self.score {
            Credit::Pass => f64::from(u8::from(pass)),
            Credit::Share if all == 0 => 1.0,
            Credit::Share => aligned.full as f64 / all as f64,
            Credit::F1 => aligned.f1(),
        };
        let told = expected_found(&self.wanted(&expected), &shown_order(&made));
        let difference = if figure < 1.0 { aligned.told() } else { String::new() };
        let told = format!("{} of {all} as expected: {told}{difference}", aligned.full);
        let score = match self.score {
            Credit::Pass => Some(Score::pass(pass, told)),
            _ => Score::number(figure, told),
        };
        let mut score = score.ok_or_else(|| Unscored::new(UnscoredReason::ScorerFault, "the share is not finite"))?;
        score.details = json!({
            "met": aligned.full, "expected": expected.len(), "made": made.len(), "f1": aligned.f1(),
            "aligned": aligned.details(),
        });
        Ok(score)
    }

    fn scale(&self) -> Scale {
        match self.score {
            Credit::Pass => Scale::Binary,
            _ => Scale::Number { min: Some(0.0), max: Some(1.0) },
        }
    }

    fn inside(&self) -> Vec<String> {
        self.rules.inside()
    }
}

impl Sequence {
    fn wanted(&self, expected: &[Expected]) -> String {
        if expected.is_empty() {
            return "no tool call".to_owned();
        }
        let order = match self.order {
            Fit::Exact => "exactly the calls",
            Fit::InOrder => "in this order the calls",
            Fit::AnyOrder => "in any order the calls",
            Fit::SameCalls => "in any order exactly the calls",
            Fit::Subset => "no calls but",
        };
        let names: Vec<&str> = expected.iter().map(|call| call.name.as_str()).collect();
        format!("{order} {}", shown_names(&names))
    }
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
    fn the_five_orders_differ_as_they_say() {
        let made = [("a", json!({}), false), ("b", json!({}), false)];
        let fits = |order: &str, tools: Value| {
            calls_pass("tool_sequence", json!({"tools": tools, "order": order}), Value::Null, &made)
        };
        let table = [
            // tools, exact, in_order, any_order, same_calls, subset
            (json!(["a", "b"]), [true, true, true, true, true]),
            (json!(["b", "a"]), [false, false, true, true, true]),
            (json!(["a"]), [false, true, true, false, false]),
            (json!(["b", "c", "a"]), [false, false, false, false, true]),
        ];
        for (tools, expected) in table {
            let found =
                ["exact", "in_order", "any_order", "same_calls", "subset"].map(|order| fits(order, tools.clone()));
            assert_eq!(found, expected, "{tools}");
        }
    }

    #[test]
    fn arguments_are_compared_as_strictly_as_said() {
        let made = [("book", json!({"city": "paris", "nights": 2.004, "note": "window seat please"}), false)];
        let fits = |more: Value| {
            let mut options = json!({"tools": [{"name": "book", "arguments": {"city": "Paris", "nights": 2}}]});
            options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            calls_pass("tool_sequence", options, Value::Null, &made)
        };
        assert!(!fits(json!({})) && !fits(json!({"ignore_case": true})) && fits(json!({"arguments": "ignore"})));
        assert!(fits(json!({"ignore_case": true, "tolerance": 0.01})));
        assert!(fits(json!({"ignore_case": true, "relative_tolerance": 0.01})));
        assert!(!fits(json!({"ignore_case": true, "tolerance": 0.01, "arguments": "exact"})));
        assert!(fits(json!({"arguments": "exact", "arguments_of": {"book": "ignore"}})));
        let near = json!({"scorer": "numeric", "tolerance": 0.01});
        let case = json!({"scorer": "exact", "ignore_case": true});
        assert!(fits(json!({"compare": {"book.nights": near, "city": case}})));
        let tools = json!([{"name": "book", "arguments": {"city": "paris", "nights": 2.004, "note": "x", "pets": 1}}]);
        let within = |note: &str| {
            let mut made = made.clone();
            made[0].1["note"] = json!(note);
            calls_pass("tool_sequence", json!({"tools": tools, "arguments": "within"}), Value::Null, &made)
        };
        assert!(within("x") && !within("y"));
    }

    #[test]
    fn credit_is_given_for_calls_that_are_partly_right_and_the_difference_is_told() {
        let made = [("search", json!({"city": "Rome", "limit": 5}), false), ("pay", json!({}), false)];
        let tools = json!([{"name": "search", "arguments": {"city": "Paris", "limit": 5}}, "book"]);
        let found = score_calls("tool_sequence", json!({"tools": tools, "score": "f1"}), Value::Null, &made).unwrap();
        // The tool and one of two arguments: two thirds; twice that over two expected and two made calls.
        assert!((found.value.number().unwrap() - 2.0 * (2.0 / 3.0) / 4.0).abs() < 1e-12);
        let told = found.explanation.unwrap();
        assert!(told.contains("\n~ `search`: `city` expected `\"Paris\"`, found `\"Rome\"`"), "{told}");
        assert!(told.contains("\n- `book` (expected, not made)") && told.contains("\n+ `pay`"), "{told}");
        assert_eq!(found.details["aligned"][0]["mark"], json!("changed"));
    }

    #[test]
    fn options_that_contradict_are_refused() {
        assert!(build_error("tool_sequence", json!({"tools": ["a"], "ignore": ["a"]})).contains("`ignore`"));
        assert!(build_error("tool_sequence", json!({"tools": [""]})).contains("`tools`"));
        let number = json!({"tools": ["a"], "compare": {"x": {"scorer": "token_f1"}}});
        assert!(build_error("tool_sequence", number).contains("`compare.x`"));
    }
}
