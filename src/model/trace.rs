//! The one span model that every source is read into, and the trace assembled from such spans.
//!
//! Foreign data is representable as it came: a span may end before it starts, name a parent that is not there, or
//! have no end. Faults of structure are listed beside the spans, never repaired in silence and never a panic.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Message, Part, SessionId, SpanId, TraceId, Usage};

/// The attribute that marks a cost as computed from a price table; a cost without it was stated by the source.
pub const PRICED_KEY: &str = "assize.cost_priced";

/// The attribute that orders reports of the same span where the source numbers or dates them: a greater one is newer.
pub const REVISION_KEY: &str = "assize.revision";

/// What a span stands for, whatever dialect said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// One invocation of an agent.
    Agent,
    /// One call of a chat or completion model.
    Model,
    /// One call of a tool.
    Tool,
    /// A search over documents, embeddings and reranking included.
    Retrieval,
    /// Control passes from one agent to another.
    Handoff,
    /// A check on input or output.
    Guardrail,
    /// A scorer or judge that ran inside the application; left out of the agent's cost and quality.
    Evaluator,
    /// A workflow, chain or task step.
    Step,
    /// Anything else.
    Other,
}

impl SpanKind {
    /// The word used in files, SQL and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Retrieval => "retrieval",
            Self::Handoff => "handoff",
            Self::Guardrail => "guardrail",
            Self::Evaluator => "evaluator",
            Self::Step => "step",
            Self::Other => "other",
        }
    }
}

/// What the span said about its own success. `Unset` is not success: most tracers never set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanStatus {
    /// Nothing was said.
    #[default]
    Unset,
    /// Said to be fine.
    Ok,
    /// Said to have failed.
    Error,
}

/// What went wrong, as far as the span says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanError {
    /// Class of the error (`error.type`, exception type).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Text of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The agent a span belongs to, where the span itself says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRef {
    /// Stable id of a hosted agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Version of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The model of a model call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What answered: often a dated snapshot of the requested name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// Who serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// The prompt a model call used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptRef {
    /// Name in a prompt registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Version in that registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Digest of system instructions, so that a version axis exists where no registry is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The tool call that a tool span carries out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolUse {
    /// Name of the tool.
    pub name: String,
    /// Id that joins the request in a model's output to this execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// Arguments: JSON where they parsed, else the text as a JSON string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// Result: JSON where it parsed, else the text as a JSON string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

/// Where a span was read, for error messages and for pushing scores back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Vocabulary the attributes were written in (`otel_genai`, `openinference`, ...).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// File or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// One-based line in that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What the platform it was exported from calls it; absent for formats without a platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
}

/// The ids a platform gave, kept word for word so that scores can be pushed back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Native {
    /// Platform (`langfuse`, `langsmith`, ...).
    pub platform: String,
    /// Its id of the trace.
    pub trace: String,
    /// Its id of the span; absent where the platform has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
    /// Its id of the project, where the export says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// One timed step of a trace.
///
/// Times are nanoseconds since 1970 in UTC. `end_ns` may be absent (still open, or never closed) or before
/// `start_ns` (skewed clocks): see [`Span::duration_ms`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The step that caused it; absent at a root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<SpanId>,
    /// Conversation, where the source names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// User, where the source names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What the step is.
    pub kind: SpanKind,
    /// Name as the tracer gave it.
    pub name: String,
    /// Start, nanoseconds since 1970.
    pub start_ns: i64,
    /// End, nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_ns: Option<i64>,
    /// Said status.
    #[serde(default)]
    pub status: SpanStatus,
    /// Said error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SpanError>,
    /// Agent that the span names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentRef>,
    /// Model that the span names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRef>,
    /// Prompt that the span names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptRef>,
    /// Tool call that the span carries out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolUse>,
    /// Messages into a model or agent. Every model call repeats the conversation so far: never concatenate them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages_in: Vec<Message>,
    /// Messages out of a model or agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages_out: Vec<Message>,
    /// Raw input where it is not messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Raw output where it is not messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Tokens. Count those of `Model` spans only; agent spans repeat the sum.
    #[serde(default, skip_serializing_if = "Usage::is_unknown")]
    pub usage: Usage,
    /// Money in US dollars, where the source states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Why the model stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<String>,
    /// What no other field holds, verbatim.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Value>,
    /// Attributes of the process that made the span (`service.name`, ...), shared by the spans that were read together.
    #[serde(default, skip_serializing_if = "no_attributes")]
    pub resource: Arc<BTreeMap<String, Value>>,
    /// Where it was read.
    #[serde(default)]
    pub source: Source,
}

fn no_attributes(attributes: &Arc<BTreeMap<String, Value>>) -> bool {
    attributes.is_empty()
}

impl Span {
    /// An open span at a root of which nothing more is known.
    pub fn new(trace_id: TraceId, span_id: SpanId, kind: SpanKind, name: impl Into<String>, start_ns: i64) -> Self {
        Self {
            trace_id,
            span_id,
            parent_id: None,
            session_id: None,
            user_id: None,
            kind,
            name: name.into(),
            start_ns,
            end_ns: None,
            status: SpanStatus::Unset,
            error: None,
            agent: None,
            model: None,
            prompt: None,
            tool: None,
            messages_in: Vec::new(),
            messages_out: Vec::new(),
            input: None,
            output: None,
            usage: Usage::default(),
            cost_usd: None,
            finish_reasons: Vec::new(),
            attributes: BTreeMap::new(),
            resource: Arc::default(),
            source: Source::default(),
        }
    }

    /// Milliseconds from start to end; `None` while open or when the end lies before the start.
    pub fn duration_ms(&self) -> Option<f64> {
        let end = self.end_ns?;
        let nanos = end.checked_sub(self.start_ns)?;
        (nanos >= 0).then_some(nanos as f64 / 1e6)
    }

    /// Whether the span says it failed.
    pub fn failed(&self) -> bool {
        self.status == SpanStatus::Error
    }

    /// Name of the agent the span names, if any.
    pub fn agent_name(&self) -> Option<&str> {
        self.agent.as_ref().and_then(|agent| agent.name.as_deref())
    }

    /// Looks up an attribute of the span, then of its resource.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.get(key).or_else(|| self.resource.get(key))
    }
}

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
