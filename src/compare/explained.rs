//! What an explanation of a change holds: slices that carry it, how they overlap, examples that show it.
//!
//! Data only; `explain` fills it, reports render it. Part of the stable JSON output of a comparison.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Change, Direction, ExampleId, SliceRate};
use crate::stats::Estimate;

/// Where a dimension comes from, which says how far a slice by it can be read as a cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The example itself: known before anything ran.
    #[default]
    Example,
    /// What the traces of the two runs hold, such as a tool that was called in either.
    Trace,
    /// What came out: cost, latency, tokens, findings of other graders.
    Outcome,
}

/// A dimension has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Dimension.
    pub dimension: String,
    /// Value.
    pub value: String,
    /// Where the dimension comes from.
    pub origin: Origin,
}

/// How far a slice is the same examples as one that was named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overlap {
    /// The named slice.
    pub with: String,
    /// Share of this slice's examples that are in the named one, 0 to 1.
    pub share: f64,
    /// The change in this slice without those examples; what is left of it once the named slice is known.
    pub without: Estimate,
}

/// The change in one slice against the change outside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SliceEffect {
    /// What all its examples have in common; one or two conditions.
    pub conditions: Vec<Condition>,
    /// The conditions in words: `intent = refund and tier = gold`.
    pub words: String,
    /// Other conditions that exactly the same examples meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Pairs inside.
    pub examples: u64,
    /// Their share of all pairs, 0 to 1.
    pub share: f64,
    /// Mean of the baseline inside.
    pub baseline: Estimate,
    /// Mean of the candidate inside.
    pub candidate: Estimate,
    /// Candidate minus baseline inside.
    pub inside: Estimate,
    /// Candidate minus baseline outside.
    pub outside: Estimate,
    /// The change inside drawn towards the change over all, the more the less is known of the slice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<f64>,
    /// Share of the whole change that the slice carries; `None` where there is no clear change over all. Above 1 when
    /// the others moved the other way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_of_change: Option<f64>,
    /// Two-sided p of "inside changed as much as outside".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// The same after the correction over all slices tested for the metric; see [`Explanation::rate`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<f64>,
    /// Regressed or improved: it moved apart from the rest at a false discovery rate of 10 %, and did move itself.
    pub change: Change,
    /// How far it is one of the named slices under another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
}

/// Two examples alike in all but how they changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Contrasting {
    /// The one that got worse.
    pub worse: ExampleId,
    /// Its change, in the metric's own sign.
    pub worse_change: f64,
    /// The one nearest to it that did not.
    pub held: ExampleId,
    /// Its change.
    pub held_change: f64,
    /// How alike their inputs and dimensions are, 0 to 1.
    pub alike: f64,
    /// Dimensions in which they differ: name, value of the worse one, value of the other.
    pub differs: Vec<(String, String, String)>,
}

/// Where the change of one metric sits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// Metric.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
    /// The finding over all examples.
    pub change: Change,
    /// The answer in one sentence.
    pub sentence: String,
    /// Slices that carry a change, at most three that share no example; empty where none stands apart from the rest.
    pub named: Vec<SliceEffect>,
    /// The slices with the most evidence of standing apart, most credible first; overlapping.
    pub slices: Vec<SliceEffect>,
    /// How many slices were tested.
    pub tested: u64,
    /// How `q` is corrected for their number.
    #[serde(default)]
    pub rate: SliceRate,
    /// Pairs of near examples of which one got worse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contrasting: Vec<Contrasting>,
}
