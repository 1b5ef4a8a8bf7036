//! A script of the user's as a scorer: Rhai, with limits on work, depth and sizes, and no way out of itself.
//!
//! The limit of time is a number of operations, not a clock: the same script finds the same on every machine.

use std::collections::BTreeMap;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage,
    BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{AST, Dynamic, Engine, EvalAltResult, Scope};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::options::{check_bounds, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::model::{
    Direction, Finite, Scale, Score, ScoreInput, ScoreValue, Scored, Span, Trace, Unscored, UnscoredReason,
};
use crate::sys::text::one_line;

pub(super) const SCRIPT: ScorerInfo = ScorerInfo {
    name: "script",
    version: "1",
    summary: "Scores by a script in Rhai that sees input, output, reference, tool calls and steps, with limits on its work.",
    sample: "script = \"let short = text.len() < 200; #{ passed: short, reason: `${text.len()} characters` }\"",
    schema: schema_of::<Options>,
    build,
};

/// Calls inside calls.
const MAX_CALLS: usize = 32;
/// Depth of expressions.
const MAX_DEPTH: usize = 64;
/// Bytes of a text.
const MAX_TEXT: usize = 1 << 20;
/// Elements of a list or map.
const MAX_ITEMS: usize = 10_000;
/// Operations that a script may at most be allowed.
const MOST_OPERATIONS: u64 = 50_000_000;
/// Levels of nested data that a script is shown.
const LEVELS: usize = 64;
/// Characters of a reason.
const REASON: usize = 1_000;

/// What a script gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Gives {
    /// Yes or no.
    #[default]
    Pass,
    /// A number.
    Number,
    /// One of `labels`.
    Label,
}

/// The script, and what it gives. Its last value is the finding: `true` or `false`, a number, a label, or a map with
/// one of `passed`, `score`, `label`, `unscored`, and perhaps `reason`. It sees `input`, `text` (the output as text),
/// `output`, `reference`, `expected_calls`, `metadata` of the example, `output_metadata`, `calls` (tool calls with
/// `name`, `arguments`, `result`, `failed`), `steps` (spans), `latency_ms`, `cost_usd`, `tokens`; what is not known is
/// `()`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The script.
    script: String,
    /// What it gives.
    #[serde(default)]
    gives: Gives,
    /// For `label`: each label and what it is worth.
    labels: Option<BTreeMap<String, f64>>,
    /// For `number`: the least it can give.
    min: Option<f64>,
    /// For `number`: the most it can give.
    max: Option<f64>,
    /// For `number`: whether less is better.
    #[serde(default)]
    lower_is_better: bool,
    /// Most operations of one score; a million takes less than a second.
    #[serde(default = "operations")]
    max_operations: u64,
}

fn operations() -> u64 {
    1_000_000
}

struct Script {
    engine: Engine,
    ast: AST,
    options: Options,
}

fn build(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: Options = read(options)?;
    check_bounds(("min", "max"), options.min, options.max)?;
    if !(1..=MOST_OPERATIONS).contains(&options.max_operations) {
        return Err(format!("`max_operations` must lie between 1 and {MOST_OPERATIONS}"));
    }
    let bounds = options.min.is_some() || options.max.is_some() || options.lower_is_better;
    if bounds && options.gives != Gives::Number {
        return Err("`min`, `max` and `lower_is_better` mean something only with `gives = \"number\"`".to_owned());
    }
    let labels = options.labels.as_ref().is_some_and(|labels| !labels.is_empty());
    if labels != (options.gives == Gives::Label) {
        return Err("`labels` and `gives = \"label\"` belong together".to_owned());
    }
    let engine = engine(options.max_operations);
    let ast =
        engine.compile(&options.script).map_err(|error| format!("`script`: {}", one_line(&error.to_string(), 300)))?;
    Ok(Box::new(Script { engine, ast, options }))
}

/// The language with the functions that only compute: nothing waits, ends the program or makes code of texts.
fn engine(operations: u64) -> Engine {
    let mut engine = Engine::new_raw();
    ArithmeticPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    BitFieldPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    engine
        .set_max_operations(operations)
        .set_max_call_levels(MAX_CALLS)
        .set_max_expr_depths(MAX_DEPTH, MAX_DEPTH / 2)
        .set_max_string_size(MAX_TEXT)
        .set_max_array_size(MAX_ITEMS)
        .set_max_map_size(MAX_ITEMS)
        .set_max_variables(1_000)
        .set_max_functions(200);
    engine.disable_symbol("eval");
    engine.on_print(|_| {}).on_debug(|_, _, _| {});
    engine
}

impl Scorer for Script {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let mut scope = scope_of(input);
        let found = self.engine.eval_ast_with_scope::<Dynamic>(&mut scope, &self.ast);
        let found = found.map_err(|error| {
            let told = one_line(&error.to_string(), 300);
            let limit = matches!(*error, EvalAltResult::ErrorTooManyOperations(_));
            let more =
                if limit { format!(": it made more than {}", self.options.max_operations) } else { String::new() };
            Unscored::new(UnscoredReason::ScorerFault, format!("the script stopped: {told}{more}"))
        })?;
        self.read(found)
    }

    fn scale(&self) -> Scale {
        match self.options.gives {
            Gives::Pass => Scale::Binary,
            Gives::Number => Scale::Number { min: self.options.min, max: self.options.max },
            Gives::Label => {
                let labels = self.options.labels.iter().flatten().map(|(label, worth)| (label.clone(), Some(*worth)));
                let mut labels: Vec<(String, Option<f64>)> = labels.collect();
                labels.sort_by(|(_, a), (_, b)| b.unwrap_or(0.0).total_cmp(&a.unwrap_or(0.0)));
                Scale::Labels { labels }
            }
        }
    }

    fn direction(&self) -> Direction {
        if self.options.lower_is_better { Direction::Lower } else { Direction::Higher }
    }
}

impl Script {
    fn read(&self, found: Dynamic) -> Scored {
        let mut reason = String::new();
        let mut value = found;
        if let Some(map) = value.read_lock::<rhai::Map>().map(|map| map.clone()) {
            reason = map.get("reason").map(|told| one_line(&told.to_string(), REASON)).unwrap_or_default();
            if let Some(why) = map.get("unscored").filter(|why| !why.is_unit() && why.as_bool() != Ok(false)) {
                let why = if why.is_bool() { reason } else { one_line(&why.to_string(), REASON) };
                let why = if why.is_empty() { "the script says so".to_owned() } else { why };
                return Err(Unscored::not_applicable(why));
            }
            let key = match self.options.gives {
                Gives::Pass => "passed",
                Gives::Number => "score",
                Gives::Label => "label",
            };
            value = map.get(key).cloned().unwrap_or_default();
        }
        let told =
            if reason.is_empty() { format!("the script gave {}", one_line(&value.to_string(), 120)) } else { reason };
        let off = |wanted: &str| {
            let shown = one_line(&format!("{value:?}"), 120);
            Unscored::new(UnscoredReason::OffMenu, format!("the script should give {wanted}, and gave `{shown}`"))
        };
        match self.options.gives {
            Gives::Pass => value.as_bool().map(|pass| Score::pass(pass, told)).map_err(|_| off("`true` or `false`")),
            Gives::Number => {
                let number = value.as_float().ok().or_else(|| value.as_int().ok().map(|whole| whole as f64));
                let (min, max) = (self.options.min, self.options.max);
                let number = number.filter(|n| min.is_none_or(|min| *n >= min) && max.is_none_or(|max| *n <= max));
                number.and_then(|number| Score::number(number, told)).ok_or_else(|| off("a number within its limits"))
            }
            Gives::Label => {
                let label = value.clone().into_string().unwrap_or_default();
                let worth = self.options.labels.as_ref().and_then(|labels| labels.get(&label));
                let worth = worth.ok_or_else(|| off("one of its labels"))?;
                Ok(Score::of(ScoreValue::Label { label, number: Finite::new(*worth) }, told))
            }
        }
    }
}

fn scope_of(input: &ScoreInput<'_>) -> Scope<'static> {
    let ScoreInput { example, output } = *input;
    let mut scope = Scope::new();
    let mut put = |name: &'static str, value: Dynamic| {
        scope.push_constant_dynamic(name, value);
    };
    let map = |map: &BTreeMap<String, Value>| {
        map.iter().map(|(key, value)| (key.as_str().into(), dynamic(value, 1))).collect::<rhai::Map>()
    };
    put("input", dynamic(&example.input, 0));
    put("text", output.text().into());
    put("output", dynamic(&output.value, 0));
    put("reference", example.reference.as_ref().map_or(Dynamic::UNIT, |value| dynamic(value, 0)));
    put("expected_calls", of_json(&example.expected_calls));
    put("metadata", Dynamic::from_map(map(&example.metadata)));
    put("output_metadata", Dynamic::from_map(map(&output.metadata)));
    let trace = output.trace.as_deref();
    put("calls", trace.map_or(Dynamic::UNIT, calls));
    put("steps", trace.map_or(Dynamic::UNIT, |trace| trace.spans.iter().map(step).collect::<rhai::Array>().into()));
    put("latency_ms", output.latency_ms.map_or(Dynamic::UNIT, Dynamic::from_float));
    put("cost_usd", output.cost_usd.map_or(Dynamic::UNIT, Dynamic::from_float));
    put("tokens", output.usage.total().map_or(Dynamic::UNIT, whole));
    scope
}

fn of_json(value: &impl serde::Serialize) -> Dynamic {
    serde_json::to_value(value).map_or(Dynamic::UNIT, |value| dynamic(&value, 0))
}

fn calls(trace: &Trace) -> Dynamic {
    let spans: Vec<&Span> = trace.tool_spans().filter(|span| span.tool.is_some()).collect();
    let call = |(place, call): (usize, crate::model::ToolUse)| {
        let failed = spans.get(place).map(|span| span.failed());
        of_json(&json!({ "name": call.name, "arguments": call.arguments, "result": call.result, "failed": failed }))
    };
    trace.tools_used().into_iter().enumerate().map(call).collect::<rhai::Array>().into()
}

fn step(span: &Span) -> Dynamic {
    of_json(&json!({
        "id": span.span_id, "parent": span.parent_id, "kind": span.kind, "name": span.name, "agent": span.agent_name(),
        "failed": span.failed(), "error": span.error, "duration_ms": span.duration_ms(), "input": span.input,
        "output": span.output, "tool": span.tool, "usage": span.usage, "cost_usd": span.cost_usd,
        "attributes": span.attributes,
    }))
}

fn whole(number: u64) -> Dynamic {
    i64::try_from(number).map_or_else(|_| Dynamic::from_float(number as f64), Dynamic::from_int)
}

fn dynamic(value: &Value, level: usize) -> Dynamic {
    match value {
        _ if level > LEVELS => Dynamic::UNIT,
        Value::Null => Dynamic::UNIT,
        Value::Bool(yes) => Dynamic::from_bool(*yes),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Dynamic::from_int(number),
            (None, Some(number)) => Dynamic::from_float(number),
            (None, None) => Dynamic::UNIT,
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(|item| dynamic(item, level + 1)).collect::<rhai::Array>().into(),
        Value::Object(map) => {
            let map: rhai::Map =
                map.iter().map(|(key, value)| (key.as_str().into(), dynamic(value, level + 1))).collect();
            Dynamic::from_map(map)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{build_error, json_value, score, score_calls, trip};
    use super::*;

    fn found(script: &str, more: Value) -> Scored {
        let mut options = json!({ "script": script });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        score("script", options, json!({"city": "Paris", "n": 3}), json!("Paris"))
    }

    #[test]
    fn scripts_see_what_there_is_and_give_what_they_should() {
        assert_eq!(found("output.city == reference && output.n == 3", json!({})).unwrap().value.number(), Some(1.0));
        let number =
            found("#{ score: output.n / 4.0, reason: \"three\" }", json!({"gives": "number", "max": 1.0})).unwrap();
        assert_eq!((number.value.number(), number.explanation.as_deref()), (Some(0.75), Some("three")));
        let label = found("\"good\"", json!({"gives": "label", "labels": {"good": 1, "bad": 0}})).unwrap();
        assert_eq!(label.value.number(), Some(1.0));
        let none = found("#{ unscored: \"no city\" }", json!({})).unwrap_err();
        assert_eq!((none.reason, none.detail.as_str()), (UnscoredReason::NotApplicable, "no city"));
        let calls =
            "calls.filter(|c| c.name == \"search\" && c.failed).len() == 1 && steps.len() == 4 && cost_usd == ()";
        let scored = score_calls("script", json!({"script": calls}), Value::Null, &trip()).unwrap();
        assert_eq!(scored.value.number(), Some(1.0));
    }

    #[test]
    fn endless_work_and_endless_data_are_stopped_with_a_reason() {
        for script in [
            "loop {}",
            "while true { let x = 1; }",
            "fn f(x) { f(x + 1) } f(0)",
            "let s = \"x\"; loop { s += s; }",
            "let a = [1]; loop { a += a; }",
            "let a = []; loop { a.push([a]); }",
            "let m = #{}; let i = 0; loop { m[i.to_string()] = m; i += 1; }",
            "let s = \"a\"; s.pad(100000000, \"b\"); true",
            "let b = blob(1000000000); true",
            "sleep(1000); true",
            "sleep(1.0); true",
            "for i in 0..100000000000 { let x = i; } true",
            "throw \"x\"",
            "1 / 0",
            "nothing_such",
        ] {
            let stopped = found(script, json!({})).unwrap_err();
            assert_eq!(stopped.reason, UnscoredReason::ScorerFault, "{script}");
            assert!(stopped.detail.starts_with("the script stopped: "), "{script}: {}", stopped.detail);
        }
    }

    #[test]
    fn findings_off_the_scale_are_no_scores() {
        for (script, more) in [
            ("2", json!({})),
            ("\"yes\"", json!({})),
            ("()", json!({})),
            ("1.5", json!({"gives": "number", "max": 1.0})),
            ("0.0 / 0.0", json!({"gives": "number"})),
            ("\"sideways\"", json!({"gives": "label", "labels": {"up": 1}})),
        ] {
            assert_eq!(found(script, more).unwrap_err().reason, UnscoredReason::OffMenu, "{script}");
        }
    }

    #[test]
    fn scripts_that_cannot_be_are_refused() {
        let wrong = |options: Value| build_error("script", options);
        assert!(wrong(json!({"script": "let x = ;"})).contains("`script`"));
        assert!(wrong(json!({"script": "eval(\"1\")"})).contains("`script`"));
        assert!(wrong(json!({"script": "import \"x\" as y; true"})).contains("`script`"));
        assert!(wrong(json!({"script": "true", "max": 1})).contains("`gives"));
        assert!(wrong(json!({"script": "true", "gives": "label"})).contains("`labels`"));
        assert!(wrong(json!({"script": "true", "max_operations": 0})).contains("`max_operations`"));
        assert!(wrong(json!({"script": "(".repeat(10_000)})).contains("`script`"));
    }

    proptest! {
        #[test]
        fn data_reaches_the_script_as_it_is(value in json_value()) {
            let options = json!({"script": "output == reference || type_of(output) == \"f64\""});
            prop_assume!(!value.is_null());
            let scored = score("script", options, value.clone(), value);
            prop_assert!(matches!(&scored, Ok(score) if score.value.number() == Some(1.0)), "{:?}", scored);
        }
    }
}
