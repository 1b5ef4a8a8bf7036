//! A trace as a waterfall: one row per step, indented by depth, with its time, tokens, money and what went in and out.

use serde::Serialize;
use serde_json::Value;

use super::plot::percent;
use super::text::plain;
use crate::model::{Message, Part, Span, SpanId, Trace, TraceFault, Usage};
use crate::report::{number, words};
use crate::sys::text::{one_line, shorten};

/// Steps shown of one trace.
const SPANS_SHOWN: usize = 150;
/// Characters of one text of a step.
const TEXT_LIMIT: usize = 2000;
/// Deepest indentation drawn.
const DEPTH_DRAWN: usize = 8;

/// One trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct TraceView {
    /// Summary in words: steps, time.
    pub summary: String,
    /// Rows.
    pub spans: Vec<SpanView>,
    /// Steps not shown.
    pub more: Option<String>,
    /// Faults of structure, in words.
    pub faults: Vec<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SpanView {
    /// Depth for indentation, at most 8.
    pub depth: usize,
    /// Kind as a word; also its class.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// Begin of its bar in percent.
    pub x: String,
    /// Length of its bar in percent.
    pub width: String,
    /// Whether it said it failed.
    pub failed: bool,
    /// Duration.
    pub duration: String,
    /// Tokens and money.
    pub cost: String,
    /// Texts that went in and out.
    pub texts: Vec<SpanText>,
}

/// One text of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SpanText {
    /// What it is.
    pub label: String,
    /// The text.
    pub text: String,
}

/// Nanoseconds from the first start to the last end.
pub(super) fn length_ns(trace: &Trace) -> f64 {
    let start = trace.spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
    let end = trace.spans.iter().map(|span| span.end_ns.unwrap_or(span.start_ns)).max().unwrap_or(start);
    end as f64 - start as f64
}

/// Builds the waterfall; `whole` nanoseconds are the full width.
pub(super) fn trace_view(trace: &Trace, whole: f64) -> TraceView {
    let outline = trace.outline();
    let start = trace.spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
    let spans = outline.iter().take(SPANS_SHOWN).map(|(depth, span)| span_view(*depth, span, start, whole)).collect();
    let more = outline.len().checked_sub(SPANS_SHOWN).filter(|more| *more > 0);
    let steps = words::plural(outline.len() as u64, "step", "steps");
    let time = trace.duration_ms().map(|ms| format!(", {}", number::milliseconds(ms))).unwrap_or_default();
    TraceView {
        summary: format!("{steps}{time}"),
        spans,
        more: more.map(|more| format!("{} more steps are not shown", number::count(more as u64))),
        faults: trace.faults.iter().take(20).map(fault_words).collect(),
    }
}

fn span_view(depth: usize, span: &Span, start: i64, whole: f64) -> SpanView {
    let place = |ns: i64| ((ns as f64 - start as f64) / whole * 100.0).clamp(0.0, 100.0);
    let x = place(span.start_ns);
    let width = span.end_ns.map_or(0.0, |end| place(end) - x).max(0.0);
    // A bar too thin to be seen would say that nothing happened.
    let width = width.max(0.6);
    let x = x.min(100.0 - width);
    SpanView {
        depth: depth.min(DEPTH_DRAWN),
        kind: span.kind.as_str(),
        name: title(span),
        x: percent(x),
        width: percent(width),
        failed: span.failed(),
        duration: span.duration_ms().map_or_else(|| number::ABSENT.to_owned(), number::milliseconds),
        cost: short_cost(&span.usage, span.cost_usd),
        texts: texts(span),
    }
}

/// Name of the step, with the model that answered where the name does not say it. The operation is left out where the
/// kind beside it says the same.
fn title(span: &Span) -> String {
    let operation = ["execute_tool ", "invoke_agent "].into_iter().find_map(|prefix| span.name.strip_prefix(prefix));
    let name = one_line(operation.filter(|rest| !rest.trim().is_empty()).unwrap_or(&span.name), 80);
    let model = span.model.as_ref().and_then(|model| model.response.as_ref().or(model.request.as_ref()));
    match model {
        Some(model) if !span.name.contains(model.as_str()) => format!("{name} · {}", one_line(model, 50)),
        _ => name,
    }
}

fn short_cost(usage: &Usage, cost_usd: Option<f64>) -> String {
    let usage = Usage { input: usage.input, output: usage.output, ..Usage::default() };
    cost_words(&usage, cost_usd)
}

/// `1,711 in, 509 out, $0.0042`; what is unknown is left out.
pub(super) fn cost_words(usage: &Usage, cost_usd: Option<f64>) -> String {
    let tokens = |count: Option<u64>, what: &str| count.map(|count| format!("{} {what}", number::count(count)));
    let parts = [
        tokens(usage.input, "in"),
        tokens(usage.cache_read.filter(|count| *count > 0), "of them cached"),
        tokens(usage.output, "out"),
        tokens(usage.reasoning.filter(|count| *count > 0), "of them reasoning"),
        cost_usd.map(number::dollars),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn texts(span: &Span) -> Vec<SpanText> {
    let mut texts = Vec::new();
    let mut add = |label: &str, text: String| {
        if !text.trim().is_empty() {
            texts.push(SpanText { label: label.to_owned(), text: shorten(text.trim(), TEXT_LIMIT) });
        }
    };
    let value = |value: &Option<Value>| value.as_ref().map(|value| plain(value).0).unwrap_or_default();
    if let Some(error) = &span.error {
        let parts = [error.kind.as_deref(), error.message.as_deref()];
        add("error", parts.into_iter().flatten().collect::<Vec<_>>().join(": "));
    }
    if let Some(tool) = &span.tool {
        add("arguments", value(&tool.arguments));
        add("result", value(&tool.result));
    }
    // Every model call repeats the conversation; its last message is what is new.
    if let Some(message) = span.messages_in.last() {
        add(&format!("in, {}", one_line(&message.role, 30)), message_text(message));
    }
    for message in span.messages_out.iter().take(4) {
        add(&format!("out, {}", one_line(&message.role, 30)), message_text(message));
    }
    if span.messages_in.is_empty() && span.tool.is_none() {
        add("in", value(&span.input));
    }
    if span.messages_out.is_empty() && span.tool.is_none() {
        add("out", value(&span.output));
    }
    texts
}

fn message_text(message: &Message) -> String {
    let part_text = |part: &Part| match part {
        Part::Text { content } => content.clone(),
        Part::Reasoning { content } => format!("(reasoning) {content}"),
        Part::ToolCall { name, arguments, .. } => format!("{name}({})", plain(arguments).0),
        Part::ToolResult { result, .. } => plain(result).0,
        Part::Other { value } => plain(value).0,
    };
    message.parts.iter().take(20).map(part_text).collect::<Vec<_>>().join("\n")
}

fn fault_words(fault: &TraceFault) -> String {
    let id = |span: &SpanId| one_line(span.as_str(), 40);
    match fault {
        TraceFault::MissingParent { span } => format!("step {} names a parent that is not here", id(span)),
        TraceFault::SeveralRoots { count } => format!("{count} steps have no parent"),
        TraceFault::Cycle { span } => format!("step {} is its own ancestor", id(span)),
        TraceFault::EndBeforeStart { span } => format!("step {} ends before it starts", id(span)),
        TraceFault::Duplicate { span } => format!("step {} came twice with different content", id(span)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_tokens_are_not_zero() {
        assert_eq!(cost_words(&Usage::default(), None), "");
        let usage = Usage { input: Some(1711), output: Some(9), cache_read: Some(0), ..Usage::default() };
        assert_eq!(cost_words(&usage, Some(0.0042)), "1,711 in, 9 out, $0.0042");
    }
}
