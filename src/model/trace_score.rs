//! Scores that others gave to traces: users, annotators and judges of the platforms traces come from.
//!
//! They are data about a trace, not findings of this program: they choose what is sampled and become labels.

use serde::{Deserialize, Serialize};

use super::{SessionId, Source, SpanId, TraceId};

/// Who gave a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreOrigin {
    /// A user of the application: thumbs, stars.
    User,
    /// A person who looked at it afterwards.
    Annotator,
    /// A program: a judge, an evaluator.
    Evaluator,
    /// The source does not say.
    #[default]
    Unknown,
}

impl ScoreOrigin {
    /// The word used in files and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Annotator => "annotator",
            Self::Evaluator => "evaluator",
            Self::Unknown => "unknown",
        }
    }
}

/// One score of a trace, a span or a session. At least one of `value` and `label` is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceScore {
    /// The trace; absent for a score of a whole session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// The span; absent for a score of the whole trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
    /// The session, where the score names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// What was scored.
    pub name: String,
    /// The number; finite. Truth values are 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who gave it.
    #[serde(default)]
    pub origin: ScoreOrigin,
    /// The person or program, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When, nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ns: Option<i64>,
    /// Where it was read.
    #[serde(default)]
    pub source: Source,
}
