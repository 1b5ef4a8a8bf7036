//! What a target gave back, and what a grader is shown.
//!
//! An output carries its own trace, tokens, money and time, so that scoring needs no second lookup.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Example, Trace};

/// Tokens in subset semantics: cached tokens are part of `input`, reasoning tokens part of `output`. They are never
/// added again. `None` is unknown, which is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens read by the model, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Tokens written by the model, reasoning included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// The part of `input` read from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    /// The part of `input` written to a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
    /// The part of `output` spent on reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
}

impl Usage {
    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        self.input.is_none() && self.output.is_none()
    }

    /// Input plus output; `None` when neither is known.
    pub fn total(&self) -> Option<u64> {
        add(self.input, self.output)
    }

    /// The sum of two usages. What only one side knows is kept: a sum over calls should not vanish because one of
    /// them said nothing; callers that need exactness count the unknown ones.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input: add(self.input, other.input),
            output: add(self.output, other.output),
            cache_read: add(self.cache_read, other.cache_read),
            cache_write: add(self.cache_write, other.cache_write),
            reasoning: add(self.reasoning, other.reasoning),
        }
    }
}

fn add(left: Option<u64>, right: Option<u64>) -> Option<u64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.saturating_add(right)),
        (known, None) | (None, known) => known,
    }
}

/// What a target gave back for one trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The output: text as a JSON string, or structured.
    pub value: Value,
    /// The steps behind it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub trace: Option<Arc<Trace>>,
    /// Tokens spent by the target.
    #[serde(default, skip_serializing_if = "Usage::is_unknown")]
    pub usage: Usage,
    /// Money spent by the target in US dollars; `None` when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Milliseconds the target took; `None` when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// What else the target or the recording said (a recorded reward, a finish reason, user feedback).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
}

impl Output {
    /// An output of plain text and nothing else.
    pub fn of_text(text: impl Into<String>) -> Self {
        Self { value: Value::String(text.into()), ..Self::default() }
    }

    /// The output as text: a JSON string unquoted, anything else as JSON, null as the empty text.
    pub fn text(&self) -> String {
        match &self.value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// What a grader is shown.
#[derive(Clone, Copy, Debug)]
pub struct ScoreInput<'a> {
    /// The example: input, reference, metadata.
    pub example: &'a Example,
    /// What the target gave back.
    pub output: &'a Output,
}
