//! What a team demands of a candidate, and the words for how it did.

use std::collections::BTreeMap;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ExampleId;

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

/// What is done with a cell that ought to have a score and has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMissing {
    /// The cell is left out and counted.
    #[default]
    Exclude,
    /// The cell gets the worst value of the scale.
    Fail,
    /// The gate must hold whether all such cells have the worst value or the best one.
    Bounds,
}

/// Which population a difference speaks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Estimand {
    /// The traffic that the dataset was sampled from: each example counts by its sampling weight.
    #[default]
    Production,
    /// The dataset as it is: each example counts once.
    Dataset,
}

/// How the findings of slices are held to a false discovery rate of ten percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SliceRate {
    /// Benjamini and Hochberg: holds where slices that overlap err in the same direction, as those of one metric do.
    #[default]
    Bh,
    /// Benjamini and Yekutieli: holds whatever depends on what, and finds less.
    By,
}

/// A limit on single examples that break, beside the mean that may hide them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Loss of one example, in the metric's unit, from which it counts as broken: 1 for a yes-or-no metric is a fall
    /// from "all trials pass" to "none does".
    pub drop: f64,
    /// How many may break.
    #[serde(default)]
    pub allowed: u64,
    /// Only examples that have these dimensions; all when left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<String, String>,
}

/// A failed or open gate that somebody accepts for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Metric.
    pub metric: String,
    /// Why.
    pub reason: String,
    /// Last day it holds, in UTC.
    pub until: Date,
    /// Who accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What is demanded of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricPolicy {
    /// Gate or inform.
    pub role: MetricRole,
    /// Smallest change that matters: in the metric's own unit; for latency, cost and tokens as a share of the baseline.
    /// 0 turns equivalence off. `None` is a twentieth of the scale, or of the baseline.
    pub margin: Option<f64>,
    /// Least acceptable value of the candidate itself (for metrics where less is better: the greatest), checked
    /// against the one-sided bound, apart from any comparison.
    pub floor: Option<f64>,
    /// What is done with cells that the instrument left unscored.
    #[serde(default)]
    pub on_unscored: OnMissing,
    /// What is done with cells of trials whose target failed.
    #[serde(default)]
    pub on_target_failure: OnMissing,
    /// Greatest share of unscored cells of this metric; as the policy says when absent.
    #[serde(default)]
    pub max_unscored: Option<f64>,
    /// Limit on single examples that break.
    #[serde(default)]
    pub guard: Option<Guard>,
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
    /// Fewest pairs below which no verdict is given; with weights, the fewest that they amount to.
    pub min_pairs: u64,
    /// Which population the gate speaks for.
    #[serde(default)]
    pub estimand: Estimand,
    /// Dimension whose values are the independent units; the examples' own clusters when absent.
    #[serde(default)]
    pub cluster_by: Option<String>,
    /// Whether strata with a single unit are put together, so that an error can be estimated.
    #[serde(default)]
    pub collapse_strata: bool,
    /// How findings of slices are corrected for their number.
    #[serde(default)]
    pub slice_rate: SliceRate,
    /// What is accepted for a while.
    #[serde(default)]
    pub waivers: Vec<Waiver>,
    /// The day by which waivers are judged, in UTC; without one no waiver holds.
    #[serde(default)]
    pub today: Option<Date>,
    /// Examples known to be flaky that the gate leaves out, with the reason.
    #[serde(default)]
    pub quarantine: BTreeMap<ExampleId, String>,
    /// Greatest share of examples that may be in quarantine.
    #[serde(default = "tenth")]
    pub max_quarantined: f64,
    /// Metrics whose judge is no better than chance by its calibration, with the sentence that says so. They neither
    /// pass nor fail.
    #[serde(default)]
    pub distrusted: BTreeMap<String, String>,
    /// Metrics whose judge is not credibly better than chance, with the sentence that says so. They decide; it is told
    /// beside the verdict.
    #[serde(default)]
    pub doubted: BTreeMap<String, String>,
    /// Metrics of pairs whose judge says too often something else in the other order, with the sentence that says so.
    /// They neither pass nor fail. Known of the runs themselves.
    #[serde(default)]
    pub unsteady: BTreeMap<String, String>,
}

fn tenth() -> f64 {
    0.1
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
            estimand: Estimand::Production,
            cluster_by: None,
            collapse_strata: false,
            slice_rate: SliceRate::default(),
            waivers: Vec::new(),
            today: None,
            quarantine: BTreeMap::new(),
            max_quarantined: tenth(),
            distrusted: BTreeMap::new(),
            doubted: BTreeMap::new(),
            unsteady: BTreeMap::new(),
        }
    }
}
