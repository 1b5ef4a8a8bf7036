//! What a team demands of a candidate, and the words for how it did.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How one metric moved from baseline to candidate. "Different" and "different enough to matter" are separate
/// questions, so there are four answers (methods: two one-sided tests against a margin).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Credibly better.
    Improved,
    /// Credibly worse.
    Regressed,
    /// Credibly within the margin.
    Equivalent,
    /// The data do not decide.
    Inconclusive,
}

impl Change {
    /// The word used in files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::Equivalent => "equivalent",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// The answer of a gate. Ordered: the verdict of several gates is the greatest of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// May go on.
    Pass,
    /// Cannot be decided from this evidence.
    Inconclusive,
    /// May not.
    Fail,
}

impl Verdict {
    /// The word used in files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// Whether a metric can fail the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricRole {
    /// It can.
    #[default]
    Gate,
    /// It is shown only.
    Inform,
}

/// What makes a gated metric fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailOn {
    /// A credible regression, however small.
    #[default]
    Regressed,
    /// A credible regression, or a finding that stays open.
    Strict,
    /// Anything that is not shown to be no worse than the margin.
    NotNonInferior,
    /// Only a regression credibly larger than the margin.
    MaterialRegression,
}

/// What is demanded of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricPolicy {
    /// Gate or inform.
    pub role: MetricRole,
    /// Smallest change that matters, in the metric's own unit; 0 turns equivalence off.
    pub margin: f64,
    /// Least acceptable value of the candidate itself (for metrics where less is better: the greatest), checked
    /// against the one-sided bound, apart from any comparison.
    pub floor: Option<f64>,
}

/// What a team demands of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatePolicy {
    /// By metric name. Metrics not named here inform.
    pub metrics: BTreeMap<String, MetricPolicy>,
    /// One-sided error probability of each test.
    pub alpha: f64,
    /// What makes a gated metric fail.
    pub fail_on: FailOn,
    /// Greatest share of cells of a gated metric that the instrument may leave unscored in either run.
    pub max_unscored: f64,
    /// Greatest share of trials whose target may fail before the run counts as an instrument failure.
    pub max_target_failures: f64,
    /// Fewest pairs below which no verdict is given.
    pub min_pairs: u64,
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            metrics: BTreeMap::new(),
            alpha: 0.05,
            fail_on: FailOn::Regressed,
            max_unscored: 0.05,
            max_target_failures: 0.2,
            min_pairs: 10,
        }
    }
}
