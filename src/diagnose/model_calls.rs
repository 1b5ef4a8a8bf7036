//! Detectors of calls of models: answers cut off, filtered, empty; windows that are full; arguments that are no good.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::shape::names;
use super::tree::{Kind, Offered, Requested, Step};
use super::{Detector, Found, Rules};

/// Reasons to stop, in lower case.
const CUT: &[&str] = &["length", "max_tokens", "model_length", "max_output_tokens"];
const FILTERED: &[&str] =
    &["content_filter", "safety", "recitation", "prohibited_content", "blocklist", "guardrail_intervened", "spii"];
const REFUSED: &[&str] = &["refusal"];

static TOO_LONG: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = r"(?i)context[ _-]?(length|window|limit)|prompt (is )?too long|prompt_too_long|input (is )?too long|maximum context|too many tokens";
    Regex::new(pattern).ok()
});
static THOUGHT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?is)<think>.*?</think>|<thinking>.*?</thinking>|<reasoning>.*?</reasoning>").ok());

pub(super) fn look(found: &mut Found<'_>, rules: &Rules) {
    let tree = found.tree;
    for place in tree.model_calls() {
        let step = tree.step(place);
        for (detector, subtype) in [truncated(step), overflow(step, rules), filtered(step)].into_iter().flatten() {
            found.add(detector, subtype, &[place]);
        }
        for call in &step.tool_calls {
            for subtype in faults(step.tools.as_deref(), call) {
                found.add(Detector::MalformedToolArgs, subtype, &[place]);
            }
        }
        let silent = step.tool_calls.is_empty() && !step.failed() && filtered(step).is_none();
        if silent && is_empty(step) {
            found.add(Detector::EmptyOutput, "llm", &[place]);
        }
    }
    for place in tree.of_kind(Kind::Agent) {
        let step = tree.step(place);
        if step.parent.is_none() && !step.failed() && is_empty(step) {
            found.add(Detector::EmptyOutput, "root", &[place]);
        }
    }
    windows_of_receivers(found, rules);
}

type Fault = Option<(Detector, &'static str)>;

fn stopped_by(step: &Step, reasons: &[&str]) -> bool {
    step.finish_reasons.iter().any(|reason| reasons.contains(&reason.to_lowercase().as_str()))
}

fn truncated(step: &Step) -> Fault {
    if stopped_by(step, CUT) {
        return Some((Detector::TruncatedOutput, "finish_reason"));
    }
    let at_limit = step.output_tokens.zip(step.max_tokens).is_some_and(|(wrote, most)| wrote.total_cmp(&most).is_eq());
    (step.finish_reasons.is_empty() && at_limit).then_some((Detector::TruncatedOutput, "token_limit_inferred"))
}

fn overflow(step: &Step, rules: &Rules) -> Fault {
    if step.failed() && names(&TOO_LONG, &step.error_text()) {
        return Some((Detector::ContextOverflow, "provider_error"));
    }
    let full = step.input_tokens.zip(step.context_limit).is_some_and(|(read, limit)| read >= rules.ctx_ratio * limit);
    full.then_some((Detector::ContextOverflow, "near_limit"))
}

fn filtered(step: &Step) -> Fault {
    if stopped_by(step, FILTERED) {
        return Some((Detector::ContentFilter, "filter"));
    }
    let said = match &step.refusal {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Bool(said)) => *said,
        Some(Value::Null) | None => false,
        Some(_) => true,
    };
    (said || stopped_by(step, REFUSED)).then_some((Detector::ContentFilter, "refusal"))
}

/// Whether the text is recorded and holds no word.
fn is_empty(step: &Step) -> bool {
    let word = |text: &str| text.chars().any(|c| c.is_alphanumeric() || c == '_');
    step.output_text.as_ref().is_some_and(|text| match THOUGHT.as_ref() {
        Some(thought) => !word(&thought.replace_all(text, "")),
        None => !word(text),
    })
}

/// What is wrong with the call that a model asks for.
fn faults(offered: Option<&[Offered]>, call: &Requested) -> Vec<&'static str> {
    let mut found = Vec::new();
    let tool = offered.and_then(|offered| offered.iter().find(|tool| tool.name == call.name));
    if offered.is_some_and(|offered| !offered.is_empty()) && tool.is_none() {
        found.push("unknown_tool");
    }
    let arguments = match &call.arguments {
        None => return found,
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(inner) => inner,
            Err(_) => {
                found.push("invalid_json");
                return found;
            }
        },
        Some(other) => other.clone(),
    };
    if !arguments.is_object() {
        found.push("not_object");
    } else if tool.and_then(|tool| tool.schema.as_ref()).is_some_and(|schema| breaks(schema, &arguments)) {
        found.push("schema_violation");
    }
    found
}

/// Whether arguments are against a schema; one that is none is broken by nothing.
fn breaks(schema: &Value, arguments: &Value) -> bool {
    jsonschema::validator_for(schema).is_ok_and(|validator| !validator.is_valid(arguments))
}

/// The first model call of whoever a handoff goes to, against what the handoff carries.
fn windows_of_receivers(found: &mut Found<'_>, rules: &Rules) {
    let tree = found.tree;
    for handoff in tree.of_kind(Kind::Handoff) {
        let step = tree.step(handoff);
        let (Some(to), Some(carried)) = (&step.to, step.payload_tokens) else { continue };
        let first = tree
            .model_calls()
            .find(|call| tree.owner(*call) == Some(to.as_str()) && tree.step(*call).start >= step.start);
        let Some(call) = first else { continue };
        let receiver = tree.step(call);
        if receiver.context_limit.is_some_and(|limit| carried > limit) {
            found.add(Detector::ContextOverflow, "handoff_exceeds_window", &[handoff, call]);
        }
        if receiver.input_tokens.is_some_and(|read| read < rules.handoff_drop * carried) {
            found.add(Detector::ContextOverflow, "handoff_context_dropped", &[handoff, call]);
        }
    }
}
