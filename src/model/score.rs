//! One finding of one grader on one output: a score, or the reason why there is none.
//!
//! *Unscored* is not a value. It never turns into 0 or NaN, it is counted by reason, and it is gated.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A number that is neither infinite nor NaN. Only [`Finite::new`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
pub struct Finite(f64);

impl Finite {
    /// `None` for infinities and NaN.
    pub fn new(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Finite {
    type Error = String;

    fn try_from(number: f64) -> Result<Self, Self::Error> {
        Self::new(number).ok_or_else(|| format!("expected a finite number, found `{number}`"))
    }
}

impl From<Finite> for f64 {
    fn from(number: Finite) -> Self {
        number.0
    }
}

/// What a grader found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ScoreValue {
    /// Yes or no.
    Pass {
        /// Whether it passed.
        pass: bool,
    },
    /// A number on the grader's scale.
    Number {
        /// The number.
        number: Finite,
    },
    /// One of the grader's labels, with the value the grader declares for it; a label without one enters no mean.
    Label {
        /// The label.
        label: String,
        /// Its declared value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<Finite>,
    },
}

impl ScoreValue {
    /// The value that enters means: 1 or 0 for yes and no, the number, or the label's declared value.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Pass { pass } => Some(if *pass { 1.0 } else { 0.0 }),
            Self::Number { number } => Some(number.get()),
            Self::Label { number, .. } => number.map(Finite::get),
        }
    }
}

impl fmt::Display for ScoreValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass { pass: true } => f.write_str("pass"),
            Self::Pass { pass: false } => f.write_str("fail"),
            Self::Number { number } => write!(f, "{}", number.get()),
            Self::Label { label, .. } => f.write_str(label),
        }
    }
}

/// A finding with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Score {
    /// What was found.
    pub value: ScoreValue,
    /// Why, in words. Hostile text when a judge wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// Quotes or span ids that the finding rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// What else the grader said (an aligned difference, flags).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl Score {
    /// A yes or no with its reason.
    pub fn pass(pass: bool, explanation: impl Into<String>) -> Self {
        Self::of(ScoreValue::Pass { pass }, explanation)
    }

    /// A number with its reason; `None` when it is not finite.
    pub fn number(number: f64, explanation: impl Into<String>) -> Option<Self> {
        Finite::new(number).map(|number| Self::of(ScoreValue::Number { number }, explanation))
    }

    /// Any value with its reason.
    pub fn of(value: ScoreValue, explanation: impl Into<String>) -> Self {
        let explanation = explanation.into();
        Self {
            value,
            explanation: (!explanation.is_empty()).then_some(explanation),
            evidence: Vec::new(),
            details: Value::Null,
        }
    }
}

/// Why there is no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnscoredReason {
    /// The grader does not apply here (no reference, no trace, a condition not met). Not a failure of anything.
    NotApplicable,
    /// The target failed, so there is no output to grade.
    TargetFailed,
    /// The judge's reply could not be read, even after a repair ask.
    ReplyUnreadable,
    /// The judge's verdict is not on the menu it was given.
    OffMenu,
    /// The judge said that it cannot tell.
    CannotJudge,
    /// The judge's provider refused.
    JudgeRefused,
    /// The provider's content filter cut in.
    ContentFilter,
    /// The judge's reply was cut off by its length limit.
    ReplyTruncated,
    /// The material does not fit the judge, and the judge's policy is to refuse.
    InputTooLong,
    /// No answer in time.
    Timeout,
    /// Still refused for rate after all attempts.
    RateLimited,
    /// The provider failed after all attempts.
    ProviderFailed,
    /// No recorded answer for this request (`replay`).
    NotRecorded,
    /// Too few members of a panel have a vote.
    NoQuorum,
    /// The votes are tied, and no rule of the judge's breaks the tie.
    VotesTied,
    /// The judge goes by probabilities and its server tells none, or too little of them lies on scores.
    NoProbabilities,
    /// The scorer itself broke.
    ScorerFault,
}

impl UnscoredReason {
    /// The word used in files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotApplicable => "not_applicable",
            Self::TargetFailed => "target_failed",
            Self::ReplyUnreadable => "reply_unreadable",
            Self::OffMenu => "off_menu",
            Self::CannotJudge => "cannot_judge",
            Self::JudgeRefused => "judge_refused",
            Self::ContentFilter => "content_filter",
            Self::ReplyTruncated => "reply_truncated",
            Self::InputTooLong => "input_too_long",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::ProviderFailed => "provider_failed",
            Self::NotRecorded => "not_recorded",
            Self::NoQuorum => "no_quorum",
            Self::VotesTied => "votes_tied",
            Self::NoProbabilities => "no_probabilities",
            Self::ScorerFault => "scorer_fault",
        }
    }

    /// Whether the measuring instrument failed, as opposed to there being nothing to measure.
    pub fn is_instrument_failure(self) -> bool {
        !matches!(self, Self::NotApplicable | Self::TargetFailed)
    }
}

/// No score, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unscored {
    /// The class of the reason.
    pub reason: UnscoredReason,
    /// The particulars, for people. Hostile text when a model wrote it.
    pub detail: String,
    /// What the grader found before it gave up (votes that tie, orders that contradict each other).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl Unscored {
    /// A reason with its particulars.
    pub fn new(reason: UnscoredReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), details: Value::Null }
    }

    /// The grader does not apply.
    pub fn not_applicable(detail: impl Into<String>) -> Self {
        Self::new(UnscoredReason::NotApplicable, detail)
    }
}

/// A score, or why there is none.
pub type Scored = Result<Score, Unscored>;
