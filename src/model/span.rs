//! The one span model that every source is read into.
//!
//! Foreign data is representable as it came: a span may end before it starts, name a parent that is not there, or
//! have no end. How spans make a trace is `trace`.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Message, SessionId, SpanId, TraceId, Usage};

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
