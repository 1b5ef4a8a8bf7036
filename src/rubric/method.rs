//! The ways a judge can come to its score beyond one question with one answer: expected scores, several criteria, pairs
//! in both orders, trees of questions, parts of a long record, worked examples.
//!
//! Data only, made by `parse`; asking is `judge`'s work.

use serde_json::{Value, json};

use super::scale::{LabelSpec, RubricScale};
use crate::model::{Direction, ScoreValue};

/// A score taken from the probabilities of the labels instead of the label that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedScore {
    /// Share of the probability that must lie on labels, above 0 and at most 1.
    pub least_mass: f64,
    /// What happens where the server tells no probabilities, or labels carry too little.
    pub otherwise: Otherwise,
    /// Likeliest tokens that are asked for.
    pub top: u8,
    /// Whether the judge gives evidence and reasons first; else the label is all it writes.
    pub reasoned: bool,
}

/// What stands in for an expected score that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The cell is *unscored*.
    Unscored,
    /// The label that was written, by its value; said in the score's details.
    Vote,
}

/// One of several criteria that one question asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion {
    /// Name; its metric is `JUDGE.NAME`.
    pub name: String,
    /// The criterion in one sentence.
    pub summary: String,
    /// Permitted scores.
    pub scale: RubricScale,
    /// Which way is better.
    pub direction: Direction,
}

/// Two pieces of material that are compared in both orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Input that the score speaks for: the first label means that it is better.
    pub first: super::InputName,
    /// Input it is compared with.
    pub second: super::InputName,
    /// What two orders give that contradict each other.
    pub disagreement: Disagreement,
}

/// What contradicting orders give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// The label in the middle.
    Tie,
    /// The cell is *unscored*.
    Unscored,
}

impl Pair {
    /// The verdict of the swapped order in terms of the declared one: labels are mirrored.
    pub fn mirrored(scale: &RubricScale, value: &ScoreValue) -> Option<ScoreValue> {
        let (RubricScale::Labels(labels), ScoreValue::Label { label, .. }) = (scale, value) else { return None };
        let place = labels.iter().position(|known| known.label == *label)?;
        labels.get(labels.len() - 1 - place).map(LabelSpec::to_value)
    }

    /// The label in the middle; `None` with two labels.
    pub fn tie(scale: &RubricScale) -> Option<ScoreValue> {
        match scale {
            RubricScale::Labels(labels) if labels.len() == 3 => labels.get(1).map(LabelSpec::to_value),
            _ => None,
        }
    }
}

/// Small questions, each answer of which leads to another question or to a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// Questions; the first is asked first. No question can be met twice.
    pub questions: Vec<TreeQuestion>,
}

/// One question of a tree.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeQuestion {
    /// Name, unique in the tree.
    pub name: String,
    /// The question.
    pub ask: String,
    /// Answers in the order in which they are offered.
    pub answers: Vec<TreeAnswer>,
}

/// One answer of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeAnswer {
    /// The answer.
    pub answer: String,
    /// When it is the right one; may be empty.
    pub means: String,
    /// Where it leads.
    pub leads: Leads,
}

/// Where an answer leads.
#[derive(Clone, Debug, PartialEq)]
pub enum Leads {
    /// To a question, by its place.
    Question(usize),
    /// To a score.
    Score(ScoreValue),
    /// To no score: the judge does not apply.
    NotApplicable,
}

impl TreeQuestion {
    /// The answers as a scale of labels.
    pub fn scale(&self) -> RubricScale {
        let label = |answer: &TreeAnswer| LabelSpec {
            label: answer.answer.clone(),
            value: None,
            description: answer.means.clone(),
        };
        RubricScale::Labels(self.answers.iter().map(label).collect())
    }
}

impl Tree {
    /// Fewest and most questions that one cell can ask.
    pub fn depth(&self) -> (u32, u32) {
        // Answers lead only to later questions, so that one walk from the end is enough.
        let mut depths: Vec<(u32, u32)> = vec![(1, 1); self.questions.len()];
        for (place, question) in self.questions.iter().enumerate().rev() {
            let below = question.answers.iter().map(|answer| match answer.leads {
                Leads::Question(next) => depths.get(next).copied().unwrap_or((0, 0)),
                Leads::Score(_) | Leads::NotApplicable => (0, 0),
            });
            let found = below.fold((u32::MAX, 0), |(low, high), (least, most)| (low.min(least), high.max(most)));
            if let Some(depth) = depths.get_mut(place) {
                *depth = (found.0.saturating_add(1), found.1 + 1);
            }
        }
        depths.first().copied().unwrap_or((0, 0))
    }
}

/// The record of steps judged in parts, each with a question of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How the record is parted.
    pub over: Over,
    /// How the scores of the parts become one.
    pub fold: PartFold,
    /// Most parts; a record of more is *unscored*, never cut.
    pub most: usize,
}

/// How a record is parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Only where it is too long: as few parts as fit.
    Room,
    /// So many steps to a part.
    Steps(usize),
    /// At each message of the user.
    Turns,
}

/// How the scores of parts become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartFold {
    /// The worst of them.
    Worst,
    /// The best of them.
    Best,
    /// Their mean, as a number.
    Mean,
    /// That of the last part.
    Last,
}

/// Worked examples, chosen among those that people labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FewShot {
    /// How many.
    pub count: usize,
    /// Seed of the choice.
    pub seed: u64,
}

/// How a judge comes to its score.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Method {
    /// One question, one score.
    #[default]
    Plain,
    /// The mean over the probabilities of the labels.
    Expected(ExpectedScore),
    /// One question, a score for each criterion.
    Criteria(Vec<Criterion>),
    /// Two questions about a pair, in both orders.
    Pair(Pair),
    /// Small questions that lead to a score.
    Tree(Tree),
    /// A question for each part of the record.
    Parts(Parts),
}

impl Method {
    /// The way in words; `None` for one question with one score.
    pub fn words(&self) -> Option<String> {
        Some(match self {
            Self::Plain => return None,
            Self::Expected(expected) if expected.reasoned => "expected score, after reasons".to_owned(),
            Self::Expected(_) => "expected score, of the score alone".to_owned(),
            Self::Criteria(criteria) => {
                let names: Vec<&str> = criteria.iter().map(|criterion| criterion.name.as_str()).collect();
                format!("one question for {} criteria: {}", names.len(), names.join(", "))
            }
            Self::Pair(pair) => format!("{} against {}, in both orders", pair.first, pair.second),
            Self::Tree(tree) => {
                let (least, most) = tree.depth();
                format!("a tree of {} questions, {least} to {most} of which are asked", tree.questions.len())
            }
            Self::Parts(parts) => {
                let over = match parts.over {
                    Over::Room => "in as few parts as fit".to_owned(),
                    Over::Steps(count) => format!("in parts of {count} steps"),
                    Over::Turns => "turn by turn".to_owned(),
                };
                format!("the record {over}; of its scores, the {}", format!("{:?}", parts.fold).to_lowercase())
            }
        })
    }

    /// What of it can change a finding; `None` for one question with one score, so that digests of judges without a
    /// method do not depend on there being any.
    pub(super) fn to_json(&self) -> Option<Value> {
        Some(match self {
            Self::Plain => return None,
            Self::Expected(expected) => json!({"expected_score": {
                "least_mass": expected.least_mass, "vote": expected.otherwise == Otherwise::Vote,
                "top": expected.top, "reasoned": expected.reasoned,
            }}),
            Self::Criteria(criteria) => json!({"criteria": criteria.iter().map(|one| {
                json!([one.name, one.summary, one.scale.to_json(), one.direction])
            }).collect::<Vec<_>>()}),
            Self::Pair(pair) => json!({"pairwise": {
                "first": pair.first.to_string(), "second": pair.second.to_string(),
                "tie": pair.disagreement == Disagreement::Tie,
            }}),
            Self::Tree(tree) => json!({"tree": tree.questions.iter().map(|question| {
                json!([question.name, question.ask, question.answers.iter().map(|answer| {
                    json!([answer.answer, answer.means, leads_json(&answer.leads)])
                }).collect::<Vec<_>>()])
            }).collect::<Vec<_>>()}),
            Self::Parts(parts) => {
                json!({"parts": [format!("{:?}", parts.over), format!("{:?}", parts.fold), parts.most]})
            }
        })
    }
}

fn leads_json(leads: &Leads) -> Value {
    match leads {
        Leads::Question(place) => json!({"question": place}),
        Leads::Score(value) => json!({"score": value}),
        Leads::NotApplicable => json!("not_applicable"),
    }
}
