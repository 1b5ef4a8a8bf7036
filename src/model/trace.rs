//! The trace assembled from spans: its root and outline, what was asked and answered, its dimensions.
//!
//! Faults of structure are listed beside the spans, never repaired in silence and never a panic.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Message, Part, SessionId, Span, SpanId, SpanKind, ToolUse, TraceId};

/// A fault in the structure of a trace: stated, counted, shown; the trace stays usable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum TraceFault {
    /// The parent a span names is not in the trace.
    MissingParent {
        /// The span.
        span: SpanId,
    },
    /// More than one span has no parent.
    SeveralRoots {
        /// How many.
        count: usize,
    },
    /// Following parents from this span comes back to it.
    Cycle {
        /// The span.
        span: SpanId,
    },
    /// The span ends before it starts.
    EndBeforeStart {
        /// The span.
        span: SpanId,
    },
    /// The same span id was met with different content; the latest was kept.
    Duplicate {
        /// The span.
        span: SpanId,
    },
}

/// All spans of one request, sorted by start and id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    /// Conversation, if any span names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The steps, sorted by (start, id).
    pub spans: Vec<Span>,
    /// Faults of structure found when the trace was assembled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<TraceFault>,
}

impl Trace {
    /// The span that stands for the whole request: the first without a parent, else the first whose parent is
    /// missing, else the first at all. `None` only for a trace without spans.
    pub fn root(&self) -> Option<&Span> {
        self.spans.iter().find(|span| span.parent_id.is_none()).or_else(|| self.orphan()).or_else(|| self.spans.first())
    }

    /// The first span whose parent is missing.
    fn orphan(&self) -> Option<&Span> {
        let ids: BTreeSet<&SpanId> = self.spans.iter().map(|span| &span.span_id).collect();
        self.spans.iter().find(|span| span.parent_id.as_ref().is_some_and(|id| !ids.contains(id)))
    }

    /// Depth-first order with depths, roots and orphans first; every span occurs once even when parents form a cycle.
    pub fn outline(&self) -> Vec<(usize, &Span)> {
        let known: BTreeSet<&SpanId> = self.spans.iter().map(|span| &span.span_id).collect();
        let mut children: HashMap<&SpanId, Vec<&Span>> = HashMap::new();
        let mut starts: Vec<&Span> = Vec::new();
        for span in &self.spans {
            match &span.parent_id {
                Some(parent) if known.contains(parent) => children.entry(parent).or_default().push(span),
                _ => starts.push(span),
            }
        }
        let mut seen: BTreeSet<&SpanId> = BTreeSet::new();
        let mut ordered = Vec::with_capacity(self.spans.len());
        // Spans on a cycle are reachable from no root: they are appended as further starts.
        for start in starts.into_iter().chain(self.spans.iter()) {
            let mut stack = vec![(0, start)];
            while let Some((depth, span)) = stack.pop() {
                if !seen.insert(&span.span_id) {
                    continue;
                }
                ordered.push((depth, span));
                if let Some(below) = children.get(&span.span_id) {
                    stack.extend(below.iter().rev().map(|child| (depth + 1, *child)));
                }
            }
        }
        ordered
    }

    /// What the user asked: the last user message into the first agent or model span, else the root's raw input.
    pub fn input(&self) -> Option<Value> {
        let asked = self
            .outline()
            .into_iter()
            .filter(|(_, span)| matches!(span.kind, SpanKind::Agent | SpanKind::Model | SpanKind::Step))
            .find_map(|(_, span)| last_text(&span.messages_in, "user"));
        asked.map(Value::String).or_else(|| self.root().and_then(|root| root.input.clone()))
    }

    /// What the user got: the last assistant text of the root, else of the last model span that asked for no tool,
    /// else the root's raw output. The rule of `final answer` in most dialects, because histories repeat.
    pub fn final_output(&self) -> Option<Value> {
        let root = self.root()?;
        if let Some(text) = last_text(&root.messages_out, "assistant") {
            return Some(Value::String(text));
        }
        if let Some(output) = &root.output {
            return Some(output.clone());
        }
        self.spans
            .iter()
            .rev()
            .filter(|span| span.kind == SpanKind::Model)
            .find_map(|span| last_text(&span.messages_out, "assistant"))
            .map(Value::String)
    }

    /// Tool spans in order of time.
    pub fn tool_spans(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(|span| span.kind == SpanKind::Tool)
    }

    /// Names of the tools used, each call once, in order of time. Where a trace has no tool spans, the calls that
    /// models asked for stand in, deduplicated by call id because histories repeat.
    pub fn tools_used(&self) -> Vec<ToolUse> {
        let executed: Vec<ToolUse> = self.tool_spans().filter_map(|span| span.tool.clone()).collect();
        if !executed.is_empty() {
            return executed;
        }
        let mut seen = BTreeSet::new();
        let mut asked = Vec::new();
        for message in self.spans.iter().flat_map(|span| &span.messages_out) {
            for part in &message.parts {
                if let Part::ToolCall { id, name, arguments } = part {
                    if id.as_ref().is_some_and(|id| !seen.insert(id.clone())) {
                        continue;
                    }
                    asked.push(ToolUse {
                        name: name.clone(),
                        call_id: id.clone(),
                        arguments: Some(arguments.clone()),
                        result: None,
                    });
                }
            }
        }
        asked
    }

    /// Milliseconds from the earliest start to the latest end; `None` when no span has ended.
    pub fn duration_ms(&self) -> Option<f64> {
        let start = self.spans.iter().map(|span| span.start_ns).min()?;
        let end = self.spans.iter().filter_map(|span| span.end_ns).max()?;
        let nanos = end.checked_sub(start)?;
        (nanos >= 0).then_some(nanos as f64 / 1e6)
    }

    /// Looks a dimension up by name: the root first, then the first span that has it.
    ///
    /// Besides attributes and resource attributes, the names `session`, `user`, `tenant`, `environment`, `tags`, `agent`,
    /// `agent_version`, `model`, `prompt_version`, `status`, `name` and `trace_id` are known. Attributes that are lists
    /// are given as JSON.
    pub fn dimension(&self, key: &str) -> Option<String> {
        let root = self.root();
        root.and_then(|span| self.span_dimension(span, key))
            .or_else(|| self.spans.iter().find_map(|span| self.span_dimension(span, key)))
    }

    fn span_dimension(&self, span: &Span, key: &str) -> Option<String> {
        match key {
            "session" => self.session_id.as_ref().map(ToString::to_string),
            "trace_id" => Some(self.id.to_string()),
            "user" => span.user_id.clone(),
            "name" => Some(span.name.clone()),
            "agent" => span.agent_name().map(str::to_owned),
            "agent_version" => span.agent.as_ref()?.version.clone(),
            "model" => span.model.as_ref().and_then(|model| model.response.clone().or_else(|| model.request.clone())),
            "prompt_version" => span.prompt.as_ref().and_then(|prompt| prompt.version.clone()),
            "status" => Some(if self.spans.iter().any(Span::failed) { "error" } else { "ok" }.to_owned()),
            other => {
                let alias = ALIASES.iter().find(|(name, _)| *name == other).map(|(_, keys)| *keys).unwrap_or_default();
                let found = || alias.iter().find_map(|key| span.attribute(key));
                span.attribute(other).or_else(found).map(scalar_text)
            }
        }
    }

    /// Ids of evaluator spans and everything below them.
    pub fn evaluator_spans(&self) -> BTreeSet<SpanId> {
        let mut found = BTreeSet::new();
        if self.spans.iter().all(|span| span.kind != SpanKind::Evaluator) {
            return found;
        }
        let mut above: Vec<(usize, bool)> = Vec::new();
        for (depth, span) in self.outline() {
            // Levels rise along the stack, so only its end can be too deep: linear even for a chain of spans.
            while above.last().is_some_and(|(level, _)| *level >= depth) {
                above.pop();
            }
            let inside = span.kind == SpanKind::Evaluator || above.last().is_some_and(|(_, inside)| *inside);
            above.push((depth, inside));
            if inside {
                found.insert(span.span_id.clone());
            }
        }
        found
    }
}

/// Dimensions under one name whatever the vocabulary, where an attribute holds them.
const ALIASES: &[(&str, &[&str])] = &[
    (
        "environment",
        &["deployment.environment.name", "deployment.environment", "langfuse.environment", "sentry.environment"],
    ),
    ("tenant", &["tenant.id", "enduser.tenant", "organization.id"]),
    (
        "tags",
        &["langfuse.trace.tags", "tag.tags", "langsmith.span.tags", "agentops.tags", "ai.telemetry.metadata.tags"],
    ),
];

fn last_text(messages: &[Message], role: &str) -> Option<String> {
    messages
        .iter()
        .rev()
        .filter(|message| message.role == role)
        .map(Message::plain_text)
        .find(|text| !text.trim().is_empty())
}

fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
