//! How a judge's score came about where it took more than one reply: votes, orders, masses, paths, parts.
//!
//! Kept in a score's details under one key, so that reports find it and nothing else is mistaken for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Finite, Score, ScoreValue, Unscored, UnscoredReason};

/// The key in a score's details.
const KEY: &str = "judged";

/// How a score came about. Each part is there only where it applies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The probabilities that the score is the mean of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masses: Option<Masses>,
    /// The verdicts of both orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<Orders>,
    /// The votes of a panel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
    /// Which judges of a cascade spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Cascaded>,
    /// The questions that led to the score.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<Answered>,
    /// The scores of the parts of a long record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartScored>,
    /// How sure the judge says it is: `low`, `medium` or `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sure: Option<String>,
    /// The likeliest score's share of the probability on scores, where the server told any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likeliest: Option<Finite>,
    /// Whether pieces of the material were summaries by a model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub summary_based: bool,
}

/// The probabilities behind an expected score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Masses {
    /// Probability that lay on labels, in [0, 1]; absent where the server told none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mass: Option<Finite>,
    /// How undecided the judge was, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<Finite>,
    /// Value of the label that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Finite>,
    /// Whether the label that was written stands in for the expected score.
    #[serde(default)]
    pub vote_instead: bool,
}

/// The verdicts on a pair in both orders, both in terms of the declared one; `None` where an order gave none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Orders {
    /// As declared.
    pub declared: Option<ScoreValue>,
    /// Each piece in the other's place.
    pub swapped: Option<ScoreValue>,
    /// Why an order gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<UnscoredReason>,
}

/// One member's vote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// Who: the model, or judge and model.
    pub member: String,
    /// What it found; `None` where it failed, which is no vote.
    pub value: Option<ScoreValue>,
    /// Why it has no vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unscored: Option<UnscoredReason>,
    /// Its weight, where votes have different ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Finite>,
    /// Its reasons. Hostile text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

/// Why the dear judge of a cascade was asked, or was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// The cheap one was sure.
    Sure,
    /// The cheap one was sure, and the dear one was asked to see whether it was right.
    Audit,
    /// The cheap one was not sure, and the dear one decided.
    Unsure,
    /// The cheap one failed, and the dear one decided.
    Failed,
}

/// Which judges of a cascade spoke.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cascaded {
    /// Why.
    pub why: Asked,
    /// What the cheap one found.
    pub cheap: Option<ScoreValue>,
    /// What the dear one found, where it was asked and answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dear: Option<ScoreValue>,
    /// How sure the cheap one was, in [0, 1] or by its word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sureness: String,
    /// Probability with which a sure one is audited.
    pub audit: Finite,
}

/// One question of a tree with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Name of the question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Why. Hostile text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
}

/// The score of one part of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartScored {
    /// Which: `steps 4 to 9`.
    pub part: String,
    /// Its score; `None` where it has none.
    pub value: Option<ScoreValue>,
    /// Why it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unscored: Option<UnscoredReason>,
}

impl Judged {
    /// How a score came about; `None` where it was one plain reply, or where the details are not of this form.
    pub fn of(score: &Score) -> Option<Self> {
        Self::read(&score.details)
    }

    /// What was found before there was no score.
    pub fn of_unscored(unscored: &Unscored) -> Option<Self> {
        Self::read(&unscored.details)
    }

    fn read(details: &Value) -> Option<Self> {
        serde_json::from_value(details.get(KEY)?.clone()).ok()
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Puts it among a score's details; nothing where there is nothing to tell.
    pub fn put(&self, score: &mut Score) {
        self.write(&mut score.details);
    }

    /// Keeps it with the reason why there is no score.
    #[must_use]
    pub fn put_unscored(&self, mut unscored: Unscored) -> Unscored {
        self.write(&mut unscored.details);
        unscored
    }

    fn write(&self, details: &mut Value) {
        if self.is_empty() {
            return;
        }
        let Ok(value) = serde_json::to_value(self) else { return };
        match details {
            Value::Object(details) => drop(details.insert(KEY.to_owned(), value)),
            other => *other = Value::Object(Map::from_iter([(KEY.to_owned(), value)])),
        }
    }
}
