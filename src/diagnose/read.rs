//! Spans of the span model as the steps that detectors look at.
//!
//! What a dialect does not record stays unknown, so that a detector that needs it keeps silent. Histories repeat and
//! may begin in an earlier trace: each result is shown once, where it is new, and only if its call is of this trace.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::rules::Rules;
use super::tree::{Kind, Offered, Requested, Said, Shown, Step, Tree, Used};
use crate::model::{Message, Part, Span, SpanKind, SpanStatus, Trace};

/// Attributes that hold the most tokens to write.
const MOST_TOKENS: &[&str] =
    &["gen_ai.request.max_tokens", "gen_ai.request.max_output_tokens", "llm.request.max_tokens"];
/// Attributes that hold parameters of a call as an object, or as its JSON.
const PARAMETERS: &[&str] = &[
    "llm.invocation_parameters",
    "langfuse.observation.model.parameters",
    "model_parameters",
    "gen_ai.request.parameters",
];
/// Keys of the most tokens to write in those.
const PARAMETER_KEYS: &[&str] = &["max_tokens", "max_completion_tokens", "max_output_tokens"];
/// Attributes that hold the tools a model was offered, as a list or as its JSON.
const OFFERED: &[&str] = &["gen_ai.tool.definitions", "gen_ai.request.tools", "llm.tools", "ai.prompt.tools"];

/// Whether executions of tools are recorded in a trace: by a span of one, or of a handoff.
pub(super) fn has_tools(trace: &Trace) -> bool {
    trace.spans.iter().any(|span| span.kind == SpanKind::Tool)
}

/// Whether the root has ended.
pub(super) fn is_closed(trace: &Trace) -> bool {
    trace.root().is_some_and(|root| root.end_ns.is_some())
}

/// The steps of a trace, evaluators and what is below them left out.
pub(super) fn tree(trace: &Trace, rules: &Rules) -> Tree {
    let evaluators = trace.evaluator_spans();
    let spans = || trace.spans.iter().filter(|span| !evaluators.contains(&span.span_id));
    let zero = spans().map(|span| span.start_ns).min().unwrap_or_default();
    let agents: BTreeMap<String, String> = spans().filter_map(agent_name).map(|name| (letters(&name), name)).collect();
    let own = calls_of(spans());
    let mut seen = HashSet::new();
    let steps = spans().map(|span| {
        let mut step = step(span, zero, rules);
        step.tool_results = new_results(span, &own, &mut seen);
        // Tools that pass control on spell the agent's name as a tool's name is spelt. Where no agent is named at
        // all, who took over is unknown.
        let known = |name: String| agents.get(&letters(&name)).cloned().unwrap_or(name);
        step.to = step.to.filter(|_| !agents.is_empty()).map(known);
        step.from = step.from.map(known);
        step
    });
    Tree::new(steps.collect())
}

fn step(span: &Span, zero: i64, rules: &Rules) -> Step {
    let ms = |ns: i64| ns.saturating_sub(zero) as f64 / 1e6;
    let mut step = Step {
        id: span.span_id.to_string(),
        parent: span.parent_id.as_ref().map(ToString::to_string),
        kind: kind(span.kind),
        agent: agent_name(span),
        start: ms(span.start_ns),
        end: span.end_ns.map(ms),
        answered: !span.messages_out.is_empty()
            || span.output.is_some()
            || span.tool.as_ref().is_some_and(|tool| tool.result.is_some()),
        status: match span.status {
            SpanStatus::Unset => Said::Unset,
            SpanStatus::Ok => Said::Ok,
            SpanStatus::Error => Said::Error,
        },
        error_type: span.error.as_ref().and_then(|error| error.kind.clone()),
        error_message: span.error.as_ref().and_then(|error| error.message.clone()),
        ..Step::default()
    };
    match step.kind {
        Kind::Llm => model_call(&mut step, span, rules),
        Kind::Agent => step.output_text = text_out(span),
        Kind::Tool => tool_call(&mut step, span, rules),
        Kind::Handoff => handoff(&mut step, span),
        Kind::Retrieval | Kind::Other => {}
    }
    step
}

fn kind(kind: SpanKind) -> Kind {
    match kind {
        SpanKind::Agent => Kind::Agent,
        SpanKind::Model => Kind::Llm,
        SpanKind::Tool => Kind::Tool,
        SpanKind::Handoff => Kind::Handoff,
        SpanKind::Retrieval => Kind::Retrieval,
        SpanKind::Guardrail | SpanKind::Evaluator | SpanKind::Step | SpanKind::Other => Kind::Other,
    }
}

/// The agent a span names; the span of an agent that names none is called after it.
fn agent_name(span: &Span) -> Option<String> {
    let named = span.agent_name().filter(|name| !name.is_empty());
    named.or((span.kind == SpanKind::Agent).then_some(span.name.as_str())).map(str::to_owned)
}

/// A name by its letters and digits.
fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn model_call(step: &mut Step, span: &Span, rules: &Rules) {
    let tokens = |count: Option<u64>| count.map(|count| count as f64);
    step.finish_reasons.clone_from(&span.finish_reasons);
    (step.input_tokens, step.output_tokens) = (tokens(span.usage.input), tokens(span.usage.output));
    step.max_tokens = most_tokens(span);
    let model = span.model.as_ref();
    let names = [model.and_then(|model| model.response.as_ref()), model.and_then(|model| model.request.as_ref())];
    step.context_limit = names.into_iter().flatten().find_map(|name| {
        // The longest beginning that fits: `gpt-4o-mini` before `gpt-4o`.
        rules.context_limits.iter().rev().find(|(prefix, _)| name.starts_with(prefix.as_str())).map(|(_, limit)| *limit)
    });
    step.output_text = text_out(span);
    step.tools = offered(span);
    step.tool_calls = requested(span);
    step.input_messages = (!span.messages_in.is_empty()).then_some(span.messages_in.len() as f64);
    step.refusal = refusal(span);
    step.compaction = span.attribute("assize.compaction").and_then(Value::as_bool).unwrap_or_default();
}

fn tool_call(step: &mut Step, span: &Span, rules: &Rules) {
    let tool = span.tool.as_ref();
    let name = tool.map_or(span.name.as_str(), |tool| tool.name.as_str());
    step.tool = Some(name.to_owned());
    step.call_id = tool.and_then(|tool| tool.call_id.clone());
    step.arguments = tool.and_then(|tool| tool.arguments.clone()).or_else(|| span.input.clone());
    step.result = tool.and_then(|tool| tool.result.clone()).or_else(|| span.output.clone());
    step.timeout_ms = rules.timeouts_ms.get(name).copied();
    step.side_effect = rules.side_effects.contains(name);
    let arguments = step.arguments.as_ref().and_then(object);
    step.resources = rules
        .resources
        .iter()
        .filter(|resource| resource.tool == name)
        .filter_map(|resource| {
            let key = arguments.as_ref()?.get(&resource.argument)?;
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Some(Used { key, mode: if resource.writes { "w" } else { "r" }.to_owned() })
        })
        .collect();
}

fn handoff(step: &mut Step, span: &Span) {
    let said = |key: &str| span.attribute(key).and_then(Value::as_str).map(str::to_owned);
    let tool = span.tool.as_ref();
    step.tool = tool.map(|tool| tool.name.clone());
    step.call_id = tool.and_then(|tool| tool.call_id.clone());
    step.from = said("from_agent");
    step.to = said("to_agent");
    let words = tool.map_or(span.name.as_str(), |tool| tool.name.as_str());
    if step.to.is_none() {
        let by_tool = ["transfer_to_", "handoff_to_"].iter().find_map(|prefix| words.strip_prefix(prefix));
        step.to = by_tool.filter(|to| !to.is_empty()).map(str::to_owned);
    }
    // `handoff from A to B`, `handoff to B`.
    if let Some((before, to)) = span.name.split_once(" to ").filter(|_| step.to.is_none()) {
        step.to = Some(to.trim().to_owned());
        step.from = step.from.take().or_else(|| before.split_once(" from ").map(|(_, from)| from.trim().to_owned()));
    }
}

/// An object, or the JSON text of one.
fn object(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_object),
        other => other.is_object().then(|| other.clone()),
    }
}

fn most_tokens(span: &Span) -> Option<f64> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let direct = || MOST_TOKENS.iter().find_map(|key| span.attribute(key).and_then(number));
    let inside = || {
        let parameters = PARAMETERS.iter().find_map(|key| span.attribute(key).and_then(object))?;
        PARAMETER_KEYS.iter().find_map(|key| parameters.get(*key).and_then(number))
    };
    direct().or_else(inside)
}

fn refusal(span: &Span) -> Option<Value> {
    let parts = span.messages_out.iter().flat_map(|message| &message.parts);
    let refused = parts.filter_map(|part| match part {
        Part::Other { value } if value.get("type").and_then(Value::as_str) == Some("refusal") => Some(value.clone()),
        _ => None,
    });
    refused.into_iter().next()
}

/// The text that a span gave; `None` where none is recorded, or what is recorded may be something else than text.
fn text_out(span: &Span) -> Option<String> {
    let parts = || span.messages_out.iter().flat_map(|message| &message.parts);
    if span.messages_out.is_empty() {
        return span.output.as_ref().and_then(Value::as_str).map(str::to_owned);
    }
    // A message without any part is one that was not recorded; one with a call or its result alone has no text to give.
    let spoke = parts().any(|part| matches!(part, Part::Text { .. } | Part::Reasoning { .. }));
    let readable = spoke && parts().all(|part| !matches!(part, Part::Other { .. }));
    readable.then(|| span.messages_out.iter().map(Message::plain_text).collect::<Vec<_>>().join("\n"))
}

/// What a model asks for; tools that the provider ran itself have their result beside the call.
fn requested(span: &Span) -> Vec<Requested> {
    let parts = || span.messages_out.iter().flat_map(|message| &message.parts);
    let ran: HashSet<&String> = parts()
        .filter_map(|part| match part {
            Part::ToolResult { id, .. } => id.as_ref(),
            _ => None,
        })
        .collect();
    let calls = parts().filter_map(|part| match part {
        Part::ToolCall { id, name, arguments } if id.as_ref().is_none_or(|id| !ran.contains(id)) => {
            let given = !arguments.is_null() && arguments.as_str().is_none_or(|text| !text.trim().is_empty());
            Some(Requested { id: id.clone(), name: name.clone(), arguments: given.then(|| arguments.clone()) })
        }
        _ => None,
    });
    calls.collect()
}

/// Ids of the calls that models of this trace asked for, or that ran in it.
fn calls_of<'a>(spans: impl Iterator<Item = &'a Span>) -> HashSet<String> {
    let mut own = HashSet::new();
    for span in spans {
        own.extend(span.tool.as_ref().and_then(|tool| tool.call_id.clone()));
        own.extend(requested(span).into_iter().filter_map(|call| call.id));
    }
    own
}

/// Results that a model is shown for the first time, less those of calls that an earlier trace made.
fn new_results(span: &Span, own: &HashSet<String>, seen: &mut HashSet<(String, String)>) -> Vec<Shown> {
    if span.kind != SpanKind::Model {
        return Vec::new();
    }
    let parts = || span.messages_in.iter().flat_map(|message| &message.parts);
    let in_history: HashSet<&String> = parts()
        .filter_map(|part| match part {
            Part::ToolCall { id, .. } => id.as_ref(),
            _ => None,
        })
        .collect();
    let mut results = Vec::new();
    for part in parts() {
        let Part::ToolResult { id: Some(id), result } = part else { continue };
        let earlier = in_history.contains(id) && !own.contains(id);
        if !earlier && seen.insert((id.clone(), result.to_string())) {
            results.push(Shown { id: Some(id.clone()), content: Some(result.clone()), truncated: false });
        }
    }
    results
}

/// The tools a model was offered, in any of the forms that vocabularies write them.
fn offered(span: &Span) -> Option<Vec<Offered>> {
    let list = |value: &Value| match value {
        Value::String(text) => serde_json::from_str::<Vec<Value>>(text).ok(),
        other => other.as_array().cloned(),
    };
    let tools = OFFERED.iter().find_map(|key| span.attribute(key).and_then(list))?;
    let read: Vec<Offered> = tools.iter().filter_map(one_offered).collect();
    // One that cannot be read may be the one that was called.
    (read.len() == tools.len() && !read.is_empty()).then_some(read)
}

fn one_offered(tool: &Value) -> Option<Offered> {
    let tool = match tool {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    // OpenInference puts the definition below `tool.json_schema`, OpenAI below `function`.
    let inner = tool.get("tool.json_schema").or_else(|| tool.get("json_schema")).and_then(object).unwrap_or(tool);
    let inner = inner.get("function").filter(|inner| inner.is_object()).unwrap_or(&inner);
    let name = inner.get("name").and_then(Value::as_str)?.to_owned();
    let schema = ["parameters", "input_schema", "inputSchema", "schema"].iter().find_map(|key| inner.get(*key));
    Some(Offered { name, schema: schema.and_then(object) })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
