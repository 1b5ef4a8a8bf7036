//! Why a call of a target or a model did not succeed, told apart by what should happen next.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The class of a failure. It decides whether another attempt makes sense and whether the whole run should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No answer in time.
    Timeout,
    /// Refused for rate (429, or an overload answer).
    RateLimited,
    /// The server failed (5xx).
    Server,
    /// The connection could not be made or broke.
    Connection,
    /// An answer came that cannot be read (truncated body, not JSON, fields missing).
    BadReply,
    /// The server's certificate is not trusted.
    Untrusted,
    /// The key is missing or refused (401, 403).
    Auth,
    /// The address or the model does not exist (404).
    NotFound,
    /// The request was refused as wrong (400, 422).
    BadRequest,
    /// The model refused to answer.
    Refused,
    /// The provider's content filter cut in.
    ContentFilter,
    /// The target ran and said that it failed (non-zero exit, an error body).
    TargetError,
    /// Nothing is recorded for this call (`recorded`, `replay`).
    NotRecorded,
    /// The run's money or time is spent.
    BudgetSpent,
    /// The run was stopped.
    Cancelled,
}

impl FailureKind {
    /// Whether another attempt may succeed.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Timeout | Self::RateLimited | Self::Server | Self::Connection | Self::BadReply)
    }

    /// Whether every other call would fail the same way, so that the run should stop before it wastes more.
    pub fn stops_the_run(self) -> bool {
        matches!(self, Self::Auth | Self::NotFound | Self::Untrusted)
    }

    /// The word used in files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Connection => "connection",
            Self::BadReply => "bad_reply",
            Self::Untrusted => "untrusted",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::BadRequest => "bad_request",
            Self::Refused => "refused",
            Self::ContentFilter => "content_filter",
            Self::TargetError => "target_error",
            Self::NotRecorded => "not_recorded",
            Self::BudgetSpent => "budget_spent",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub struct Failure {
    /// Its class.
    pub kind: FailureKind,
    /// What happened, naming the thing and the cause. Hostile text when a server wrote part of it.
    pub message: String,
    /// How long the server asked to wait, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Whether another attempt might do harm, whatever the class: the call may have taken effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsafe_to_repeat: bool,
}

impl Failure {
    /// A failure of a class with its message.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: None, unsafe_to_repeat: false }
    }

    /// The same failure with the wait the server asked for.
    #[must_use]
    pub fn retry_after_ms(mut self, wait: Option<u64>) -> Self {
        self.retry_after_ms = wait;
        self
    }

    /// The same failure of a call that may have taken effect.
    #[must_use]
    pub fn not_repeated(mut self) -> Self {
        self.unsafe_to_repeat = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.message)
    }
}
