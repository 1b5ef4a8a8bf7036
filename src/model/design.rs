//! How a dataset was sampled: the design as it was carried out, with what it gave. Data only; `dataset` carries it out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TraceId;

/// One stratum of a sampling design, as it was carried out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stratum {
    /// Value of the stratifying attributes; `all` when there is only one.
    pub name: String,
    /// How many candidates it held, near-duplicates included.
    pub population: u64,
    /// Probability with which each was chosen; the mean where it differs from one to the other.
    pub rate: f64,
    /// How many were chosen.
    pub chosen: u64,
    /// How many the design chooses on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
    /// Sum of the weights of the chosen; estimates `population`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Kish's effective sample size of the chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<f64>,
}

/// One rule that raised probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleCounts {
    /// The rule as written.
    pub rule: String,
    /// Its rate.
    pub rate: f64,
    /// Value from which on it holds, for the long tail of a dimension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Candidates it holds for.
    pub population: u64,
    /// How many of those were chosen, by whatever rule.
    pub chosen: u64,
}

/// Clusters that were drawn as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterCounts {
    /// Dimension that names the cluster.
    pub by: String,
    /// How many there were.
    pub population: u64,
    /// How many were chosen.
    pub chosen: u64,
    /// Most examples taken of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u64>,
}

/// Near-duplicates that were merged before the choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MergedNear {
    /// Least Jaccard similarity of shingles that makes two candidates near-duplicates.
    pub threshold: f64,
    /// Candidates that another one stands for.
    pub merged: u64,
    /// Groups of two and more.
    pub groups: u64,
    /// Size of the largest group.
    pub largest: u64,
}

/// What the weights of a sample look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WeightSummary {
    /// Candidates, near-duplicates included: what the weights should add up to.
    pub population: u64,
    /// How many could be drawn: candidates without near-duplicates that another one stands for.
    pub drawable: u64,
    /// Chosen.
    pub chosen: u64,
    /// How many the design chooses on average; absent where probabilities are not known.
    pub expected: Option<f64>,
    /// Sum of weights; absent where probabilities are not known, as is all below.
    pub weight: Option<f64>,
    /// Kish's effective sample size, `(sum w)² / sum w²`.
    pub effective: Option<f64>,
    /// Kish's design effect, chosen by effective.
    pub design_effect: Option<f64>,
    /// Least weight.
    pub least: Option<f64>,
    /// Greatest weight.
    pub greatest: Option<f64>,
}

/// What a version saw of the lake, so that the next one can begin there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// Start of the last trace seen, nanoseconds since 1970.
    pub until_ns: i64,
    /// Traces that had begun by then and were still open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<TraceId>,
}

/// How a dataset was sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleDesign {
    /// `uniform`, `stratified`, `boosted`, `poisson`, `clustered` or `diverse`.
    pub method: String,
    /// Whether every inclusion probability is known, so that weights speak for the population. `false` for a choice
    /// by diversity: its examples have no probability, and no estimate from them is one of the population.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub probability_sample: bool,
    /// Seed of the hash that chose.
    pub seed: u64,
    /// Attributes that define the strata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stratify_by: Vec<String>,
    /// The strata with what they held and gave.
    pub strata: Vec<Stratum>,
    /// Filter on candidates, as the user wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The plan as it was given; the same plan on the same candidates makes the same choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Value>,
    /// Rules that raised probabilities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleCounts>,
    /// Clusters, where they were drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<ClusterCounts>,
    /// Near-duplicates, where they were looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_duplicates: Option<MergedNear>,
    /// Weights of the whole sample.
    #[serde(default)]
    pub weights: WeightSummary,
    /// Candidates by what was decided on them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decisions: BTreeMap<String, u64>,
    /// Traces that never became candidates, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, u64>,
    /// What was seen of the lake; absent for files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// Traces that an earlier version holds with other content: late spans reopened them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reopened: u64,
}

fn yes() -> bool {
    true
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
