//! Which tools the agent called, with which arguments, and how often.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::calls::{Expected, calls_of, expected_in, shown_calls, source_of, within_limit};
use super::material::expected_found;
use super::options::{check_bounds, read, schema_of};
use super::path::Path;
use super::{Scorer, ScorerInfo};
use crate::model::{Score, ScoreInput, Scored, Unscored};

pub(super) const TOOL_USED: ScorerInfo = ScorerInfo {
    name: "tool_used",
    version: "1",
    summary: "Passes when the agent called the expected tools, with the expected arguments and often enough, or did not.",
    sample: "tools = [\"search\", { name = \"book\", arguments = { city = \"Paris\" }, max = 1 }]",
    schema: schema_of::<UsedOptions>,
    build: build_used,
};

/// Which of the tools must have been called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Every one.
    #[default]
    All,
    /// At least one.
    Any,
    /// None: the tools are forbidden.
    None,
}

/// A tool: its name, or a table with more.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum UsedTool {
    /// Name of the tool, case-sensitive.
    Name(String),
    /// The tool with what its calls must look like.
    Call(UsedCall),
}

/// A tool with what its calls must look like.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UsedCall {
    /// Name of the tool, case-sensitive.
    name: String,
    /// Only calls count whose arguments contain these.
    arguments: Option<Map<String, Value>>,
    /// Fewest calls; 1 unless said otherwise.
    min: Option<u64>,
    /// Most calls.
    max: Option<u64>,
}

/// Which tools must, or must not, be called.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UsedOptions {
    /// The tools; without them they are read from `expected_from`.
    tools: Option<Vec<UsedTool>>,
    /// Where a list of expected calls stands when `tools` is not set: a path such as `example.metadata.actions`. Each
    /// element is a name, or an object with a name and arguments. Unless said, the example's `expected_calls`, or its
    /// reference when it has none.
    expected_from: Option<String>,
    /// Which of them must have been called.
    #[serde(default)]
    mode: Mode,
    /// Whether arguments of expected calls that stand in the data are left out of the comparison.
    #[serde(default)]
    ignore_arguments: bool,
}

/// One tool with its limits.
#[derive(Clone, Debug)]
struct Rule {
    call: Expected,
    min: u64,
    max: Option<u64>,
}

struct Used {
    rules: Option<Vec<Rule>>,
    source: Path,
    mode: Mode,
    ignore_arguments: bool,
}

fn build_used(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: UsedOptions = read(options)?;
    let source = source_of(options.tools.as_deref(), options.expected_from.as_deref())?;
    if options.tools.is_some() && options.ignore_arguments {
        return Err("`ignore_arguments` means nothing with `tools`: leave the arguments out there".to_owned());
    }
    let rules = options
        .tools
        .map(|tools| tools.into_iter().map(|tool| rule_of(tool, options.mode)).collect::<Result<_, _>>())
        .transpose()?;
    Ok(Box::new(Used { rules, source, mode: options.mode, ignore_arguments: options.ignore_arguments }))
}

fn rule_of(tool: UsedTool, mode: Mode) -> Result<Rule, String> {
    let call = match tool {
        UsedTool::Name(name) => UsedCall { name, arguments: None, min: None, max: None },
        UsedTool::Call(call) => call,
    };
    if call.name.is_empty() {
        return Err("`tools` holds an empty name".to_owned());
    }
    if mode == Mode::None && (call.min.is_some() || call.max.is_some()) {
        return Err("`min` and `max` mean nothing with `mode = \"none\"`, which forbids every call".to_owned());
    }
    check_bounds(("min", "max"), call.min, call.max)?;
    let min = call.min.unwrap_or(if call.max == Some(0) { 0 } else { 1 });
    Ok(Rule { call: Expected { name: call.name, arguments: call.arguments.map(Value::Object) }, min, max: call.max })
}

impl Used {
    fn rules(&self, input: &ScoreInput<'_>) -> Result<Vec<Rule>, Unscored> {
        if let Some(rules) = &self.rules {
            return Ok(rules.clone());
        }
        let mut rules: Vec<Rule> = Vec::new();
        for call in expected_in(input, &self.source, !self.ignore_arguments)? {
            // A call that is listed twice is expected twice.
            match rules.iter_mut().find(|rule| rule.call == call) {
                Some(rule) => rule.min += 1,
                None => rules.push(Rule { call, min: 1, max: None }),
            }
        }
        if rules.is_empty() {
            return Err(Unscored::not_applicable(format!(
                "the list at `{}` expects no tool call",
                self.source.written()
            )));
        }
        Ok(rules)
    }
}

impl Rule {
    fn allows(&self, count: u64) -> bool {
        count >= self.min && self.max.is_none_or(|max| count <= max)
    }

    fn shown(&self) -> String {
        let often = match (self.min, self.max) {
            (1, None) => return self.call.shown(),
            (min, Some(max)) if min == max => format!("{max} times"),
            (0, Some(max)) => format!("at most {max} times"),
            (min, Some(max)) => format!("{min} to {max} times"),
            (min, None) => format!("at least {min} times"),
        };
        format!("{} {often}", self.call.shown())
    }
}

impl Scorer for Used {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let rules = self.rules(input)?;
        let calls = calls_of(input.output)?;
        within_limit(rules.len(), calls.len())?;
        let count = |rule: &Rule| calls.iter().filter(|call| rule.call.met_by(call)).count() as u64;
        let counted: Vec<(&Rule, u64)> = rules.iter().map(|rule| (rule, count(rule))).collect();
        let (pass, culprits): (bool, Vec<&Rule>) = match self.mode {
            Mode::All => {
                let broken: Vec<&Rule> =
                    counted.iter().filter(|(rule, count)| !rule.allows(*count)).map(|(rule, _)| *rule).collect();
                (broken.is_empty(), broken)
            }
            Mode::Any => (counted.iter().any(|(rule, count)| rule.allows(*count)), Vec::new()),
            Mode::None => {
                let met: Vec<&Rule> = counted.iter().filter(|(_, count)| *count > 0).map(|(rule, _)| *rule).collect();
                (met.is_empty(), met)
            }
        };
        let named: Vec<&Rule> = if culprits.is_empty() { rules.iter().collect() } else { culprits };
        let mut shown: Vec<String> = named.iter().take(3).map(|rule| rule.shown()).collect();
        if named.len() > 3 {
            shown.push(format!("{} more", named.len() - 3));
        }
        let wanted = match self.mode {
            Mode::All => format!("calls of {}", shown.join(", ")),
            Mode::Any => format!("a call of one of {}", shown.join(", ")),
            Mode::None => format!("no call of {}", shown.join(", ")),
        };
        let mut score = Score::pass(pass, expected_found(&wanted, &shown_calls(&calls)));
        let counts: Vec<Value> = counted.iter().map(|(rule, n)| json!({"tool": rule.call.name, "calls": n})).collect();
        score.details = json!({ "counts": counts });
        Ok(score)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{build_error, calls_pass, score_calls, score_pair, trip};
    use super::*;
    use crate::model::{Example, Output, UnscoredReason};

    #[test]
    fn tools_are_required_counted_and_forbidden() {
        let used = |options: Value| calls_pass("tool_used", options, Value::Null, &trip());
        assert!(used(json!({"tools": ["search", "book"]})));
        assert!(!used(json!({"tools": ["search", "pay"]})) && used(json!({"tools": ["search", "pay"], "mode": "any"})));
        assert!(used(json!({"tools": ["pay"], "mode": "none"})) && !used(json!({"tools": ["book"], "mode": "none"})));
        assert!(used(json!({"tools": [{"name": "search", "min": 2, "max": 2}]})));
        assert!(!used(json!({"tools": [{"name": "search", "max": 1}]})));
        assert!(used(json!({"tools": [{"name": "pay", "max": 0}]})));
        assert!(used(json!({"tools": [{"name": "book", "arguments": {"nights": 2}}]})));
        let only_rome = json!({"tools": [{"name": "search", "arguments": {"city": "Rome"}, "max": 1}]});
        assert!(used(only_rome));
    }

    #[test]
    fn the_finding_names_the_tool_that_is_missing() {
        let score = score_calls("tool_used", json!({"tools": ["search", "pay"]}), Value::Null, &trip()).unwrap();
        let told = score.explanation.unwrap();
        assert_eq!(told, "expected calls of `pay`, found calls of `book`, `search` × 2");
    }

    #[test]
    fn expectations_are_read_from_the_data_in_many_forms() {
        let openai = json!([{"type": "function", "function": {"name": "book", "arguments": "{\"nights\": 2}"}}]);
        assert!(calls_pass("tool_used", json!({}), openai, &trip()));
        assert!(calls_pass(
            "tool_used",
            json!({}),
            json!([{"name": "search", "kwargs": {"city": "Rome"}}, "book"]),
            &trip()
        ));
        assert!(!calls_pass("tool_used", json!({}), json!(["book", "book"]), &trip()));
        let other = json!([{"name": "search", "args": {"city": "Oslo"}}]);
        assert!(!calls_pass("tool_used", json!({}), other.clone(), &trip()));
        assert!(calls_pass("tool_used", json!({"ignore_arguments": true}), other, &trip()));
        for unfit in [Value::Null, json!("search"), json!([]), json!([{"x": 1}])] {
            assert!(score_calls("tool_used", json!({}), unfit, &trip()).is_err());
        }
    }

    #[test]
    fn without_a_trace_nothing_is_known() {
        let example = Example::new("e".into(), json!("x"));
        for (name, options) in [("tool_used", json!({"tools": ["a"]})), ("tool_errors", json!({}))] {
            let scored = score_pair(name, options, &example, &Output::of_text("x"));
            assert_eq!(scored.unwrap_err().reason, UnscoredReason::NotApplicable, "{name}");
        }
    }

    #[test]
    fn options_that_contradict_are_refused() {
        let wrong = |options: Value| build_error("tool_used", options);
        assert!(wrong(json!({"tools": []})).contains("`tools`"));
        assert!(wrong(json!({"tools": ["a"], "expected_from": "example.metadata.x"})).contains("`expected_from`"));
        assert!(wrong(json!({"tools": [{"name": "a", "min": 3, "max": 2}]})).contains("`min`"));
        assert!(wrong(json!({"tools": [{"name": "a", "maximum": 2}]})).contains("tools.0"));
    }
}
