//! Which spans of a trace a grader looks at in place of the whole output.
//!
//! Data and the choice itself; how findings on several spans are put together is the graders' side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Output, Span, SpanId, SpanKind, Trace};

/// Which of the spans that fit are graded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhichSpans {
    /// Each for itself; `combine` makes one finding of theirs.
    #[default]
    Each,
    /// The first.
    First,
    /// The last.
    Last,
    /// All together: their outputs as one list.
    All,
}

/// How findings on several spans become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CombineSpans {
    /// Every one passes.
    All,
    /// One passes.
    Any,
    /// The mean.
    Mean,
    /// The least number.
    Min,
    /// The greatest number.
    Max,
}

/// Spans that are graded as if each were the output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanChoice {
    /// Kind of the spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SpanKind>,
    /// Name of the tool, the agent or the span; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Name of the agent that the spans belong to; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Which of them are graded. Default `each`.
    #[serde(default)]
    pub which: WhichSpans,
    /// How findings of `each` become one. Default: `all` where the grader says yes or no, `mean` where it gives numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<CombineSpans>,
}

impl SpanChoice {
    /// The spans that fit, in order of time, evaluators left out.
    pub fn spans<'a>(&self, trace: &'a Trace) -> Vec<&'a Span> {
        let evaluators = trace.evaluator_spans();
        let agents = agents_of(trace);
        let fits = |span: &&Span| {
            let agent = agents.get(&span.span_id).copied();
            let named = |pattern: &String| names_of(span).any(|name| is_like(pattern, name));
            !evaluators.contains(&span.span_id)
                && self.kind.is_none_or(|kind| kind == span.kind)
                && self.name.as_ref().is_none_or(named)
                && self.agent.as_ref().is_none_or(|pattern| agent.is_some_and(|agent| is_like(pattern, agent)))
        };
        let mut found: Vec<&Span> = trace.spans.iter().filter(fits).collect();
        match self.which {
            WhichSpans::First => found.truncate(1),
            WhichSpans::Last => found = found.pop().into_iter().collect(),
            WhichSpans::Each | WhichSpans::All => {}
        }
        found
    }

    /// A span as an output: what it gave back, the spans below it as its trace, its own tokens, money and time.
    pub fn output(trace: &Trace, span: &Span, whole: &Output) -> Output {
        let below = Trace {
            id: trace.id.clone(),
            session_id: trace.session_id.clone(),
            spans: below(trace, &span.span_id),
            faults: Vec::new(),
        };
        let cost_usd = span.cost_usd.or_else(|| below.cost_usd());
        let usage = if span.usage.is_unknown() { below.usage() } else { span.usage.clone() };
        Output {
            value: value_of(span),
            trace: Some(Arc::new(below)),
            usage,
            cost_usd,
            latency_ms: span.duration_ms(),
            metadata: whole.metadata.clone(),
        }
    }
}

/// What a span gave back: the result of its tool, its output, else the last text it wrote.
pub fn value_of(span: &Span) -> Value {
    let tool = span.tool.as_ref().and_then(|tool| tool.result.clone());
    let said = || span.messages_out.iter().rev().map(super::Message::plain_text).find(|text| !text.trim().is_empty());
    tool.or_else(|| span.output.clone()).or_else(|| said().map(Value::String)).unwrap_or_default()
}

fn names_of(span: &Span) -> impl Iterator<Item = &str> {
    let tool = span.tool.as_ref().map(|tool| tool.name.as_str());
    let agent = span.agent_name().filter(|_| span.kind == SpanKind::Agent);
    tool.into_iter().chain(agent).chain([span.name.as_str()])
}

/// The agent each span belongs to: the one it names, else that of the span above it.
fn agents_of(trace: &Trace) -> BTreeMap<&SpanId, &str> {
    let mut agents: BTreeMap<&SpanId, &str> = BTreeMap::new();
    for (_, span) in trace.outline() {
        let own = span.agent_name().or((span.kind == SpanKind::Agent).then_some(span.name.as_str()));
        let above = span.parent_id.as_ref().and_then(|parent| agents.get(parent).copied());
        if let Some(agent) = own.filter(|name| !name.is_empty()).or(above) {
            agents.insert(&span.span_id, agent);
        }
    }
    agents
}

/// A span and all below it, in order of time; the span itself becomes the root.
fn below(trace: &Trace, id: &SpanId) -> Vec<Span> {
    let mut depth = None;
    let mut inside = BTreeSet::new();
    for (level, span) in trace.outline() {
        match depth {
            None if span.span_id == *id => depth = Some(level),
            Some(top) if level <= top => break,
            _ => {}
        }
        if depth.is_some() {
            inside.insert(&span.span_id);
        }
    }
    let chosen = trace.spans.iter().filter(|span| inside.contains(&span.span_id));
    let rooted = chosen.map(|span| match span.span_id == *id {
        true => Span { parent_id: None, ..span.clone() },
        false => span.clone(),
    });
    rooted.collect()
}

/// Whether a text is like a pattern in which `*` stands for any text. Time is linear in the text for each star.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|head| text.strip_prefix(head)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn trace() -> Trace {
        let span = |id: &str, parent: Option<&str>, kind: &str, name: &str, start: i64, output: Value| -> Span {
            serde_json::from_value(json!({
                "trace_id": "t", "span_id": id, "parent_id": parent, "kind": kind, "name": name, "start_ns": start,
                "end_ns": start + 2_000_000, "output": output,
            }))
            .unwrap()
        };
        Trace {
            id: "t".into(),
            session_id: None,
            spans: vec![
                span("a", None, "agent", "boss", 0, json!("done")),
                span("b", Some("a"), "agent", "helper", 1, json!("helped")),
                span("c", Some("b"), "tool", "search_web", 2, json!("w")),
                span("d", Some("b"), "tool", "search_mail", 3, json!("m")),
                span("e", Some("a"), "tool", "pay", 4, json!("p")),
            ],
            faults: Vec::new(),
        }
    }

    fn chosen(choice: Value) -> Vec<String> {
        let choice: SpanChoice = serde_json::from_value(choice).unwrap();
        choice.spans(&trace()).iter().map(|span| span.span_id.to_string()).collect()
    }

    #[test]
    fn spans_are_chosen_by_kind_name_agent_and_place() {
        assert_eq!(chosen(json!({"kind": "tool"})), ["c", "d", "e"]);
        assert_eq!(chosen(json!({"kind": "tool", "name": "search*"})), ["c", "d"]);
        assert_eq!(chosen(json!({"kind": "tool", "agent": "boss"})), ["e"]);
        assert_eq!(chosen(json!({"agent": "help*", "which": "last"})), ["d"]);
        assert_eq!(chosen(json!({"kind": "tool", "which": "first"})), ["c"]);
        assert_eq!(chosen(json!({"kind": "model"})), Vec::<String>::new());
    }

    #[test]
    fn a_span_as_an_output_brings_what_is_below_it() {
        let trace = trace();
        let output = SpanChoice::output(&trace, &trace.spans[1], &Output::default());
        assert_eq!((output.value, output.latency_ms), (json!("helped"), Some(2.0)));
        let ids: Vec<String> = output.trace.unwrap().spans.iter().map(|span| span.span_id.to_string()).collect();
        assert_eq!(ids, ["b", "c", "d"]);
    }

    proptest! {
        #[test]
        fn stars_stand_for_any_text(head in "[ab]{0,4}", middle in "[ab]{0,4}", tail in "[ab]{0,4}", fill in "[abc]{0,4}") {
            let (pattern, text) = (format!("{head}*{middle}*{tail}"), format!("{head}{fill}{middle}{fill}{tail}"));
            prop_assert!(is_like(&pattern, &text));
            let longer = is_like(&format!("{text}x"), &text);
            prop_assert!(is_like(&text, &text) && is_like("*", &text) && !longer);
        }
    }
}
