//! One notice: what fires or is over, with the figures behind it, in words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sys::text::one_line;

/// Whether a rule begins to fire or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

/// A notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Rule, such as `quality_drop`.
    pub rule: String,
    /// Score, for rules about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// Beginning or end.
    pub state: State,
    /// Day on which it began to fire.
    pub since: String,
    /// The same as a moment.
    pub began: Timestamp,
    /// When the notice was made.
    pub at: Timestamp,
    /// Last day that was looked at.
    pub day: String,
    /// Estimate of that day, in the rule's unit.
    pub estimate: Option<f64>,
    /// Its one-sided bound.
    pub bound: Option<f64>,
    /// What it is held against.
    pub limit: f64,
    /// Values of the day.
    pub n: u64,
}

impl Notice {
    /// What beginning and end of the same thing share.
    pub fn key(&self) -> String {
        Self::key_of(&self.rule, self.score.as_deref())
    }

    /// The key of a rule.
    pub fn key_of(rule: &str, score: Option<&str>) -> String {
        match score {
            Some(score) => format!("assize/{rule}/{}", one_line(score, 120)),
            None => format!("assize/{rule}"),
        }
    }

    fn name(&self) -> String {
        match &self.score {
            Some(score) => format!("{} of {}", self.rule, one_line(score, 120)),
            None => self.rule.clone(),
        }
    }

    /// One line.
    pub fn title(&self) -> String {
        match self.state {
            State::Firing => format!("assize: {} fires since {}", self.name(), self.since),
            State::Resolved => format!("assize: {} is over; it fired since {}", self.name(), self.since),
        }
    }

    /// The figures in one sentence.
    pub fn text(&self) -> String {
        let or = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:.4}"));
        format!(
            "{}: estimate {}, bound {}, limit {:.4}, {} values",
            self.day,
            or(self.estimate),
            or(self.bound),
            self.limit,
            self.n
        )
    }
}
