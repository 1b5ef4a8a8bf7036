//! What stands beside a metric's finding: the other population, bounds of what is missing, levels of a graded scale,
//! broken examples, waivers, what would decide. Data only; made in `change`, `gate` and `compare`.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Change, Estimand, ExampleId, GatePolicy, Verdict};
use crate::stats::{Estimate, Status};

/// The difference for both populations a weighted dataset can speak for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimands {
    /// Each example counts once.
    pub dataset: Estimate,
    /// Each example counts by its sampling weight.
    pub production: Estimate,
    /// The one that the finding rests on.
    pub decides: Estimand,
}

/// Where the cells of one metric in one run went; the parts add up to `planned`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cells {
    /// Examples times trials times draws.
    pub planned: u64,
    /// With a value.
    pub scored: u64,
    /// With a label that has no declared value.
    pub without_value: u64,
    /// Unscored because the instrument failed.
    pub instrument: u64,
    /// Unscored because the target failed.
    pub target_failed: u64,
    /// To which the grader does not apply.
    pub not_applicable: u64,
    /// Not run.
    pub not_run: u64,
}

/// A graded scale beside its mean (methods 1.4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ordinal {
    /// Share of examples that rose minus share that fell.
    pub net_sign: Estimate,
    /// `(net sign + 1) / 2`: how often the candidate's example is the higher one, ties counting half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superiority: Option<f64>,
    /// Two-sided p of Wilcoxon's signed ranks with Pratt's zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wilcoxon_p: Option<f64>,
    /// Each level with its cells in the baseline and in the candidate.
    pub levels: Vec<(String, u64, u64)>,
    /// Share of cells at the best level in the baseline and in the candidate.
    pub ceiling: (f64, f64),
    /// Whether mean and net sign say opposite things, both credibly: then there is no finding.
    pub conflict: bool,
}

/// Single examples that broke.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Broken {
    /// Loss from which an example counts.
    pub drop: f64,
    /// How many may break.
    pub allowed: u64,
    /// How many were looked at.
    pub of: u64,
    /// How many broke.
    pub count: u64,
    /// The first of them, worst first, each with its loss.
    pub examples: Vec<(ExampleId, f64)>,
}

/// A gate that did not hold and that somebody accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waived {
    /// Why.
    pub reason: String,
    /// Last day, in UTC.
    #[schemars(with = "String")]
    pub until: Date,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What the gate had said.
    pub verdict: Verdict,
}

/// What there can be more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum More {
    /// Examples, each with the trials and draws it has.
    Examples,
    /// Trials of each example.
    Trials,
    /// Draws of each trial.
    Draws,
}

/// One way to decide an open finding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// Of what.
    pub more: More,
    /// How many in all, not how many besides.
    pub count: u64,
    /// What the addition costs for both runs, in US dollars, at what the candidate's run cost; absent where that is
    /// not known or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_usd: Option<f64>,
}

/// What stands beside a metric's finding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Beside {
    /// Both populations, where weights differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimands: Option<Estimands>,
    /// The difference without pairs, where more than a tenth of the pairs is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpaired: Option<Estimate>,
    /// Least and greatest difference, whatever the cells hid that the instrument left unscored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<(f64, f64)>,
    /// Findings with all missing cells at their worst and at their best for the candidate, where the gate asks for both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ends: Option<(Change, Change)>,
    /// Cells of the baseline and of the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<(Cells, Cells)>,
    /// Levels of a graded scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<Ordinal>,
    /// Single examples that broke, where the gate has a guard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
    /// The waiver that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waived>,
    /// Ways to decide an open finding, the cheapest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to_decide: Vec<Remedy>,
    /// That the judge cannot be believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distrust: Option<Distrust>,
    /// That the judge is not credibly better than chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

/// A judge that cannot be believed, so that its metric decides nothing: it is no better than chance by its calibration, or
/// goes by the order of what it compares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distrust {
    /// `judge_uninformative` or `judge_unsteady`.
    pub status: Status,
    /// Why, and what would mend it.
    pub sentence: String,
}

impl Distrust {
    /// What a policy knows against the judge of a metric.
    pub(super) fn of(metric: &str, policy: &GatePolicy) -> Option<Self> {
        let chance = policy.distrusted.get(metric).map(|sentence| (Status::JudgeUninformative, sentence));
        let unsteady = || policy.unsteady.get(metric).map(|sentence| (Status::JudgeUnsteady, sentence));
        chance.or_else(unsteady).map(|(status, sentence)| Self { status, sentence: sentence.clone() })
    }
}

/// One gated metric with the examples in quarantine taken back in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WithAll {
    /// Metric.
    pub metric: String,
    /// The difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// The finding.
    pub change: Change,
    /// The verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// Examples that the gate left out because they are known to be flaky, and what the gate would say with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quarantine {
    /// Examples with the reason of each.
    pub examples: Vec<(ExampleId, String)>,
    /// Share of all examples.
    pub share: f64,
    /// The verdict with all examples.
    pub verdict_with_all: Verdict,
    /// Gated metrics with all examples.
    pub with_all: Vec<WithAll>,
}
