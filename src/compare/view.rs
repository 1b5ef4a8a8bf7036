//! The finished findings that every report renders: one shape for a run, one for a comparison.
//!
//! Data only. All words a person reads about a metric (`sentence`, `expert`) are made with the numbers, once, so
//! that no two reports can say different things. `Comparison` and `RunView` are also the stable JSON output.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Beside, CostOfGood, Explanation, Frontier, JudgeFacts, Quarantine, RepeatedCompared, RepeatedTrials};
use crate::model::{
    Change, Digest, Direction, Example, ExampleId, Failure, GraderInfo, MetricRole, RunHeader, RunId, RunStatus,
    RunTotals, Scale, Scored, TargetInfo, Trace, UnscoredReason, Usage, Verdict,
};
use crate::stats::Estimate;

/// What pairing and slicing need to know of an example; small, so that a million fit in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleMeta {
    /// Id.
    pub id: ExampleId,
    /// Independent unit.
    pub cluster: String,
    /// Sampling weight.
    pub weight: f64,
    /// Stratum of the sampling design.
    pub stratum: Option<String>,
    /// Probability with which it was chosen.
    pub probability: Option<f64>,
    /// Whether it was chosen for diversity, so that it has no weight and speaks for itself alone.
    pub diverse: bool,
    /// Dimensions to slice by.
    pub dimensions: BTreeMap<String, String>,
}

impl ExampleMeta {
    /// The meta data of an example.
    pub fn of(example: &Example) -> Self {
        Self {
            id: example.id.clone(),
            cluster: example.cluster_key().to_owned(),
            weight: example.weight(),
            stratum: example.stratum.clone(),
            probability: example.inclusion_probability,
            diverse: example.is_diverse(),
            dimensions: example.slice_dimensions(),
        }
    }
}

/// A run as a report introduces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunCard {
    /// Id.
    pub id: RunId,
    /// Suite.
    pub suite: String,
    /// When it was started.
    pub created_at: Timestamp,
    /// How it stands.
    pub status: RunStatus,
    /// `name@version` of the dataset.
    pub dataset: String,
    /// Digest of the dataset's task.
    pub dataset_digest: Digest,
    /// Trials per example.
    pub trials: u32,
    /// Target.
    pub target: TargetInfo,
    /// Graders.
    pub graders: Vec<GraderInfo>,
    /// Counts.
    pub totals: RunTotals,
    /// Seed.
    pub seed: u64,
    /// Version of the program that ran it.
    pub tool_version: String,
    /// Commit of the user's repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// By whose word it is or was the baseline of its suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blessing: Option<Blessing>,
    /// Which run was chosen to compare with, and why, where a rule chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
}

/// Who made a run the baseline of its suite, when and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Blessing {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

impl RunCard {
    /// The card of a run from its header, counts and standing.
    pub fn of(header: &RunHeader, totals: &RunTotals, status: RunStatus) -> Self {
        Self {
            id: header.id.clone(),
            suite: header.suite.clone(),
            created_at: header.created_at,
            status,
            dataset: header.dataset.clone(),
            dataset_digest: header.dataset_digest.clone(),
            trials: header.trials,
            target: header.target.clone(),
            graders: header.graders.clone(),
            totals: totals.clone(),
            seed: header.seed,
            tool_version: header.tool_version.clone(),
            git_commit: header.git_commit.clone(),
            blessing: None,
            chosen: None,
        }
    }
}

/// One metric of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricSummary {
    /// Name of the grader, or `latency_ms`, `cost_usd`, `tokens`.
    pub name: String,
    /// Gate or inform.
    pub role: MetricRole,
    /// Which way is better.
    pub direction: Direction,
    /// Values it can have.
    pub scale: Scale,
    /// Mean over examples with interval.
    pub estimate: Estimate,
    /// Cells without a score, by reason.
    pub unscored: BTreeMap<UnscoredReason, u64>,
    /// How often each label or level occurred, over cells; best first for labels, ascending for numbers (at most 12).
    pub distribution: Vec<(String, u64)>,
    /// Median and 95th percentile over trials, for latency and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// Acceptable value asked for, and whether it is met: see [`crate::model::MetricPolicy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<(f64, Verdict)>,
    /// The finding in words a manager understands.
    pub sentence: String,
}

/// One metric in one slice of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SliceSummary {
    /// Dimension.
    pub dimension: String,
    /// Value of the dimension.
    pub value: String,
    /// Metric.
    pub metric: String,
    /// Mean in the slice.
    pub estimate: Estimate,
}

/// One row of the list of examples of a run: scores reduced over trials and draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExampleRow {
    /// Id.
    pub id: ExampleId,
    /// Dimensions.
    pub dimensions: BTreeMap<String, String>,
    /// Metric to its reduced value in the baseline (absent in a run's own report).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub baseline: BTreeMap<String, Option<f64>>,
    /// Metric to its reduced value in the run or candidate; `None` is unscored.
    pub candidate: BTreeMap<String, Option<f64>>,
    /// Sum over gated metrics of candidate minus baseline, signed so that less than 0 is worse and scaled by each
    /// metric's range where known; 0 in a run's own report. The list is sorted by it, worst first.
    pub shift: f64,
    /// Whether trials of the same run disagree on a yes-or-no metric.
    pub flaky: bool,
}

/// One run, finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunView {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// The run.
    pub run: RunCard,
    /// Verdict of the absolute floors and of instrument health; `None` when nothing is gated.
    pub verdict: Option<Verdict>,
    /// Whether the verdict is about the instrument, not the target.
    pub instrument_failed: bool,
    /// The verdict in one sentence.
    pub headline: String,
    /// Why, one line each.
    pub reasons: Vec<String>,
    /// Metrics of graders, in the suite's order.
    pub metrics: Vec<MetricSummary>,
    /// Latency, cost, tokens.
    pub measures: Vec<MetricSummary>,
    /// Slices.
    pub slices: Vec<SliceSummary>,
    /// Chances over repeated trials, by metric and k.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated: Vec<RepeatedTrials>,
    /// What good answers cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cost_of_good: Vec<CostOfGood>,
    /// How its judges worked, where there is something to tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub judges: Vec<JudgeFacts>,
    /// Rows of examples, worst first.
    pub examples: Vec<ExampleRow>,
}

/// One respect in which two runs differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// What: `dataset`, `sampler`, `grader:NAME`, `trials`, `prices`, or a setting of the target.
    pub what: String,
    /// Its value in the baseline.
    pub baseline: String,
    /// Its value in the candidate.
    pub candidate: String,
    /// Whether it forbids a comparison (the measure changed) or is what is being compared (the target changed).
    pub blocking: bool,
    /// Whether the user allowed it by name.
    pub allowed: bool,
}

/// Whether two runs can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Comparability {
    /// No difference blocks, or each that does was allowed.
    pub comparable: bool,
    /// All differences.
    pub differences: Vec<Difference>,
}

/// Where the examples of two runs went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pairing {
    /// Examples in both runs.
    pub paired: u64,
    /// Examples only in the baseline.
    pub only_baseline: u64,
    /// Examples only in the candidate.
    pub only_candidate: u64,
}

/// What a metric's comparison had to leave out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// Pairs left out because the baseline has no score.
    pub no_baseline_score: u64,
    /// Pairs left out because the candidate has none.
    pub no_candidate_score: u64,
    /// Pairs left out because neither has.
    pub neither: u64,
    /// Unscored cells of the baseline, by reason.
    pub baseline_reasons: BTreeMap<UnscoredReason, u64>,
    /// Unscored cells of the candidate, by reason.
    pub candidate_reasons: BTreeMap<UnscoredReason, u64>,
    /// Two-sided mid-p McNemar test of "unscored by instrument failure" differing between the runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs_p: Option<f64>,
}

/// Pairs that changed sides on a yes-or-no metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Discordance {
    /// Failed in the baseline, passed in the candidate.
    pub improved: u64,
    /// Passed in the baseline, failed in the candidate.
    pub worsened: u64,
    /// Exact two-sided McNemar p.
    pub exact_p: f64,
    /// Mid-p version.
    pub mid_p: f64,
}

/// One metric compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricComparison {
    /// Name of the grader, or `latency_ms`, `cost_usd`, `tokens`.
    pub name: String,
    /// Gate or inform.
    pub role: MetricRole,
    /// Which way is better.
    pub direction: Direction,
    /// Values it can have.
    pub scale: Scale,
    /// Mean of the baseline over paired examples.
    pub baseline: Estimate,
    /// Mean of the candidate over paired examples.
    pub candidate: Estimate,
    /// Candidate minus baseline, in the metric's own unit and sign. For cost, latency and tokens: see `ratio`.
    pub difference: Estimate,
    /// Candidate over baseline for strictly positive measures (geometric mean of per-example ratios), with interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Estimate>,
    /// Smallest change that matters.
    pub margin: f64,
    /// The finding.
    pub change: Change,
    /// One-sided p that the candidate is worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_worse: Option<f64>,
    /// One-sided p that the candidate is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_better: Option<f64>,
    /// `p_worse` after Holm's correction over the gated metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_worse_adjusted: Option<f64>,
    /// Shown to be no worse than the margin.
    pub non_inferior: bool,
    /// Shown to be worse by more than the margin.
    pub material_regression: bool,
    /// Pairs that changed sides (yes-or-no metrics with one trial).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discordance: Option<Discordance>,
    /// What was left out.
    pub missing: Missing,
    /// Smallest true difference this comparison would find in 80 % of tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
    /// For an inconclusive finding: about how many examples would decide it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples_needed: Option<u64>,
    /// Verdict of this metric's gate; `None` for metrics that inform.
    pub verdict: Option<Verdict>,
    /// The finding in words a manager understands.
    pub sentence: String,
    /// The line an expert wants: n, interval, method, p.
    pub expert: String,
    /// What stands beside the finding.
    #[serde(default)]
    pub beside: Beside,
}

/// One metric in one slice, compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SliceComparison {
    /// Dimension.
    pub dimension: String,
    /// Value of the dimension.
    pub value: String,
    /// Metric.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
    /// Mean of the baseline in the slice.
    pub baseline: Estimate,
    /// Mean of the candidate in the slice.
    pub candidate: Estimate,
    /// Candidate minus baseline.
    pub difference: Estimate,
    /// Two-sided p after the correction over all slices and metrics tested (Benjamini-Hochberg, or what the gate says);
    /// `None` when too small to test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<f64>,
    /// The finding at a false discovery rate of 10 %.
    pub change: Change,
}

/// Cost and latency of one agent or tool, in both runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Breakdown {
    /// `agent` or `tool`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Calls, failed calls, mean milliseconds, tokens in the baseline.
    pub baseline: Option<BreakdownSide>,
    /// The same in the candidate.
    pub candidate: Option<BreakdownSide>,
}

/// One side of a breakdown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BreakdownSide {
    /// Spans.
    pub calls: u64,
    /// Spans with status error.
    pub errors: u64,
    /// Mean milliseconds of those that ended.
    pub mean_ms: Option<f64>,
    /// Tokens of model spans of that agent.
    pub tokens: Option<u64>,
    /// Money of model spans of that agent, in US dollars, as far as the traces say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// Two runs, compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Format version of this document; 1 today.
    pub format: u32,
    /// The run compared against.
    pub baseline: RunCard,
    /// The run being judged.
    pub candidate: RunCard,
    /// Whether they can be compared.
    pub comparability: Comparability,
    /// Where examples went.
    pub pairing: Pairing,
    /// The answer of the gate.
    pub verdict: Verdict,
    /// Whether there is no verdict on the candidate because the instrument failed or the runs are not comparable.
    pub instrument_failed: bool,
    /// The verdict in one sentence.
    pub headline: String,
    /// Why, one line each: what failed the gate, what stayed open, what would decide it.
    pub reasons: Vec<String>,
    /// Metrics of graders, in the suite's order.
    pub metrics: Vec<MetricComparison>,
    /// Latency, cost, tokens.
    pub measures: Vec<MetricComparison>,
    /// Slices, most credible change first.
    pub slices: Vec<SliceComparison>,
    /// Where each metric's change sits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanations: Vec<Explanation>,
    /// Quality joined to cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frontier: Vec<Frontier>,
    /// Changes of chances over repeated trials, by metric and k.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated: Vec<RepeatedCompared>,
    /// Agents and tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakdown: Vec<Breakdown>,
    /// How the judges of the baseline worked, where there is something to tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline_judges: Vec<JudgeFacts>,
    /// The same of the candidate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate_judges: Vec<JudgeFacts>,
    /// Rows of examples, worst shift first.
    pub examples: Vec<ExampleRow>,
    /// Examples that the gate left out as flaky; absent when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
}

/// One score of one trial as a report shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreDetail {
    /// Grader.
    pub grader: String,
    /// Draw.
    pub draw: u32,
    /// Score, or why there is none.
    pub scored: Scored,
}

/// One trial as a report shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialDetail {
    /// Trial number.
    pub trial: u32,
    /// Output value; `None` when the target failed.
    pub output: Option<Value>,
    /// Why the target failed.
    pub failure: Option<Failure>,
    /// Steps.
    pub trace: Option<Arc<Trace>>,
    /// Milliseconds.
    pub latency_ms: Option<f64>,
    /// US dollars.
    pub cost_usd: Option<f64>,
    /// Tokens.
    pub usage: Usage,
    /// Scores.
    pub scores: Vec<ScoreDetail>,
}

/// One example opened: what was asked and what came out on each side.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleDetail {
    /// Id.
    pub id: ExampleId,
    /// Input.
    pub input: Value,
    /// Reference.
    pub reference: Option<Value>,
    /// Trials of the baseline; empty in a run's own report.
    pub baseline: Vec<TrialDetail>,
    /// Trials of the run or candidate.
    pub candidate: Vec<TrialDetail>,
}

/// Details of the examples a report opens, in the order of its rows. Not all rows need have one.
pub type Details = Vec<ExampleDetail>;
