//! Latency, cost, tokens and steps of an output, as numbers or against a limit.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::material::expected_found;
use super::options::{check_amount, read, schema_of};
use super::{Scorer, ScorerInfo};
use crate::diagnose::handoffs;
use crate::model::{Direction, Output, Scale, Score, ScoreInput, Scored, Span, SpanKind, Trace, Unscored, Usage};

pub(super) const LATENCY: ScorerInfo = ScorerInfo {
    name: "latency",
    version: "1",
    summary: "Gives the milliseconds the target took, or passes up to a limit.",
    sample: "at_most = 2000",
    schema: schema_of::<LatencyOptions>,
    build: build_latency,
};

pub(super) const COST: ScorerInfo = ScorerInfo {
    name: "cost",
    version: "1",
    summary: "Gives the US dollars the target spent, or passes up to a limit.",
    sample: "at_most = 0.02",
    schema: schema_of::<CostOptions>,
    build: build_cost,
};

pub(super) const TOKENS: ScorerInfo = ScorerInfo {
    name: "tokens",
    version: "1",
    summary: "Gives the tokens the target spent, or passes up to a limit.",
    sample: "count = \"output\"\nat_most = 800",
    schema: schema_of::<TokenOptions>,
    build: build_tokens,
};

pub(super) const STEPS: ScorerInfo = ScorerInfo {
    name: "steps",
    version: "1",
    summary: "Gives the steps, turns, calls of models or tools, or handoffs of a trace, or passes up to a limit.",
    sample: "count = \"tool_calls\"\nat_most = 10",
    schema: schema_of::<StepOptions>,
    build: build_steps,
};

/// Limit on the steps of a trace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StepOptions {
    /// What is counted.
    #[serde(default)]
    count: Counted,
    /// Pass up to this number; without it the number is the score, less is better.
    at_most: Option<f64>,
}

/// What is counted of a trace, evaluators left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Counted {
    /// Calls of models and tools, searches and handoffs.
    #[default]
    Steps,
    /// Messages of the user.
    Turns,
    /// Calls of models.
    ModelCalls,
    /// Calls of tools.
    ToolCalls,
    /// Control that passes between agents.
    Handoffs,
    /// All spans.
    Spans,
}

impl Counted {
    fn of(self, trace: &Trace) -> usize {
        let evaluators = trace.evaluator_spans();
        let spans = || trace.spans.iter().filter(|span| !evaluators.contains(&span.span_id));
        let of_kinds = |kinds: &[SpanKind]| spans().filter(|span| kinds.contains(&span.kind)).count();
        match self {
            Self::Steps => of_kinds(&[SpanKind::Model, SpanKind::Tool, SpanKind::Retrieval, SpanKind::Handoff]),
            // Every call repeats the conversation so far: the longest history has all of it.
            Self::Turns => {
                let asked = |span: &Span| span.messages_in.iter().filter(|message| message.role == "user").count();
                spans().map(asked).max().unwrap_or_default()
            }
            Self::ModelCalls => of_kinds(&[SpanKind::Model]),
            Self::ToolCalls => trace.tools_used().len(),
            Self::Handoffs => handoffs(trace).len(),
            Self::Spans => spans().count(),
        }
    }
}

/// Limit on the time the target took.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LatencyOptions {
    /// Pass up to this many milliseconds; without it the milliseconds are the score, less is better.
    at_most: Option<f64>,
}

/// Limit on the money the target spent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CostOptions {
    /// Pass up to this many US dollars; without it the dollars are the score, less is better.
    at_most: Option<f64>,
}

/// Limit on the tokens the target spent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TokenOptions {
    /// Which tokens are counted.
    #[serde(default)]
    count: Count,
    /// Pass up to this many tokens; without it the count is the score, less is better.
    at_most: Option<f64>,
}

/// Which tokens are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Count {
    /// Read and written; unknown while either is.
    #[default]
    Total,
    /// Read by the model, cached ones included.
    Input,
    /// Written by the model, reasoning included.
    Output,
    /// Spent on reasoning.
    Reasoning,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
enum Quantity {
    Latency,
    Cost,
    Tokens(Count),
    Steps(Counted),
}

struct Measure {
    quantity: Quantity,
    at_most: Option<f64>,
}

fn build_latency(options: &Value) -> Result<Box<dyn Scorer>, String> {
    measure(Quantity::Latency, read::<LatencyOptions>(options)?.at_most)
}

fn build_cost(options: &Value) -> Result<Box<dyn Scorer>, String> {
    measure(Quantity::Cost, read::<CostOptions>(options)?.at_most)
}

fn build_tokens(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: TokenOptions = read(options)?;
    measure(Quantity::Tokens(options.count), options.at_most)
}

fn build_steps(options: &Value) -> Result<Box<dyn Scorer>, String> {
    let options: StepOptions = read(options)?;
    measure(Quantity::Steps(options.count), options.at_most)
}

fn measure(quantity: Quantity, at_most: Option<f64>) -> Result<Box<dyn Scorer>, String> {
    check_amount("at_most", at_most)?;
    Ok(Box::new(Measure { quantity, at_most }))
}

impl Quantity {
    /// The output's own figure, else its trace's; `None` when neither knows.
    fn of(self, output: &Output) -> Option<f64> {
        let trace = output.trace.as_deref();
        match self {
            Self::Latency => output.latency_ms.or_else(|| trace?.duration_ms()),
            Self::Cost => output.cost_usd.or_else(|| trace?.cost_usd()),
            Self::Tokens(count) => {
                count.of(&output.usage).or_else(|| count.of(&trace?.usage())).map(|tokens| tokens as f64)
            }
            Self::Steps(count) => trace.filter(|trace| !trace.spans.is_empty()).map(|trace| count.of(trace) as f64),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Latency => "ms",
            Self::Cost => "US dollars",
            Self::Tokens(Count::Total) => "tokens",
            Self::Tokens(Count::Input) => "input tokens",
            Self::Tokens(Count::Output) => "output tokens",
            Self::Tokens(Count::Reasoning) => "reasoning tokens",
            Self::Steps(Counted::Steps) => "steps",
            Self::Steps(Counted::Turns) => "turns",
            Self::Steps(Counted::ModelCalls) => "model calls",
            Self::Steps(Counted::ToolCalls) => "tool calls",
            Self::Steps(Counted::Handoffs) => "handoffs",
            Self::Steps(Counted::Spans) => "spans",
        }
    }

    fn unknown(self) -> Unscored {
        Unscored::not_applicable(match self {
            Self::Latency => "the time is unknown: neither the output nor its trace states it",
            Self::Cost => "the cost is unknown: neither the output nor its trace states it; give the model a price",
            Self::Tokens(_) => "the tokens are unknown: neither the output nor its trace counts them all",
            Self::Steps(_) => "the output has no trace: its steps are unknown",
        })
    }
}

impl Count {
    fn of(self, usage: &Usage) -> Option<u64> {
        match self {
            // A part is not the whole: `Usage::total` would count an unknown side as nothing.
            Self::Total => Some(usage.input?.saturating_add(usage.output?)),
            Self::Input => usage.input,
            Self::Output => usage.output,
            Self::Reasoning => usage.reasoning,
        }
    }
}

impl Scorer for Measure {
    fn score(&self, input: &ScoreInput<'_>) -> Scored {
        let found = self.quantity.of(input.output).ok_or_else(|| self.quantity.unknown())?;
        if !found.is_finite() || found < 0.0 {
            return Err(Unscored::not_applicable(format!("the recorded figure `{found}` is no amount")));
        }
        // Rounded as it is shown, so that 0.1 + 0.2 dollars do not read as 0.30000000000000004.
        let shown = (found * 1e6).round() / 1e6;
        let unit = self.quantity.unit();
        let score = match self.at_most {
            Some(limit) => {
                let told = expected_found(&format!("at most {limit} {unit}"), &format!("{shown} {unit}"));
                let mut score = Score::pass(found <= limit, told);
                score.details = json!({ "found": found });
                Some(score)
            }
            None => Score::number(found, format!("{shown} {unit}")),
        };
        score.ok_or_else(|| self.quantity.unknown())
    }

    fn scale(&self) -> Scale {
        if self.at_most.is_some() { Scale::Binary } else { Scale::Number { min: Some(0.0), max: None } }
    }

    fn direction(&self) -> Direction {
        if self.at_most.is_some() { Direction::Higher } else { Direction::Lower }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{build, build_error, score_output, tool_trace};
    use super::*;
    use crate::model::UnscoredReason;

    fn known() -> Output {
        let usage = Usage { input: Some(100), output: Some(20), reasoning: Some(5), ..Usage::default() };
        Output { latency_ms: Some(1500.0), cost_usd: Some(0.1 + 0.2), usage, ..Output::of_text("x") }
    }

    #[test]
    fn amounts_are_numbers_or_held_against_a_limit() {
        let number = |name: &str, options: Value| score_output(name, options, &known()).unwrap().value.number();
        assert_eq!(number("latency", json!({})), Some(1500.0));
        assert_eq!(number("latency", json!({"at_most": 1500})), Some(1.0));
        assert_eq!(number("latency", json!({"at_most": 1499.9})), Some(0.0));
        assert_eq!(number("tokens", json!({})), Some(120.0));
        assert_eq!(number("tokens", json!({"count": "reasoning"})), Some(5.0));
        let cost = score_output("cost", json!({"at_most": 0.25}), &known()).unwrap();
        assert_eq!(cost.explanation.as_deref(), Some("expected at most 0.25 US dollars, found 0.3 US dollars"));
    }

    #[test]
    fn steps_of_a_trace_are_counted() {
        let calls = [("search", json!({}), false), ("book", json!({}), false)];
        let output = Output { trace: Some(Arc::new(tool_trace(&calls))), ..Output::default() };
        let count = |what: &str| score_output("steps", json!({ "count": what }), &output).unwrap().value.number();
        assert_eq!((count("steps"), count("tool_calls"), count("spans")), (Some(2.0), Some(2.0), Some(3.0)));
        assert_eq!((count("turns"), count("model_calls"), count("handoffs")), (Some(0.0), Some(0.0), Some(0.0)));
        assert_eq!(score_output("steps", json!({"at_most": 1}), &output).unwrap().value.number(), Some(0.0));
        assert!(score_output("steps", json!({}), &Output::default()).is_err());
    }

    #[test]
    fn less_is_better_until_there_is_a_limit() {
        assert_eq!(build("latency", json!({})).direction(), Direction::Lower);
        let limited = build("latency", json!({"at_most": 5}));
        assert_eq!((limited.direction(), limited.scale()), (Direction::Higher, Scale::Binary));
        assert!(build_error("cost", json!({"at_most": -1})).contains("`at_most`"));
    }

    #[test]
    fn the_unknown_is_not_zero() {
        let partial = Output { usage: Usage { input: Some(5), ..Usage::default() }, ..Output::default() };
        for name in ["latency", "cost", "tokens"] {
            let unscored = score_output(name, json!({}), &partial).unwrap_err();
            assert_eq!(unscored.reason, UnscoredReason::NotApplicable, "{name}");
        }
        let odd = Output { latency_ms: Some(f64::NAN), cost_usd: Some(-1.0), ..Output::default() };
        assert!(score_output("latency", json!({}), &odd).is_err());
        assert!(score_output("cost", json!({}), &odd).is_err());
    }

    #[test]
    fn the_trace_stands_in_for_the_output() {
        let output = Output { trace: Some(Arc::new(tool_trace(&[("search", json!({}), false)]))), ..Output::default() };
        let found = score_output("latency", json!({}), &output).unwrap();
        assert_eq!(found.value.number(), Some(2.0));
    }
}
