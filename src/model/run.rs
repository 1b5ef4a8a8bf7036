//! A run: what is tried, by whom it is graded, how far it got.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Digest, Digester, ExampleId, RunId, Spend, UnscoredReason};

/// One trial: the key by which runs are paired.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct TrialKey {
    /// The example.
    pub example: ExampleId,
    /// Trial number, from 0.
    pub trial: u32,
}

/// One cell: one grader's one draw on one trial. Scored exactly once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct CellKey {
    /// The trial.
    pub trial: TrialKey,
    /// Name of the grader in the suite.
    pub grader: String,
    /// Draw number, from 0; scorers have one.
    pub draw: u32,
}

/// Who grades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GraderKind {
    /// Deterministic code.
    Scorer,
    /// A model with a rubric.
    Judge,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is better.
    #[default]
    Higher,
    /// Less is better.
    Lower,
}

/// The values a grader can give.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Scale {
    /// Yes or no.
    Binary,
    /// A number, with its bounds where they exist.
    Number {
        /// Least value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<f64>,
        /// Greatest value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
    /// Labels with the values declared for them, best first.
    Labels {
        /// Label and its value, where it has one.
        labels: Vec<(String, Option<f64>)>,
    },
}

impl Scale {
    /// Least and greatest value, where both are known.
    pub fn bounds(&self) -> Option<(f64, f64)> {
        match self {
            Self::Binary => Some((0.0, 1.0)),
            Self::Number { min, max } => Some(((*min)?, (*max)?)),
            Self::Labels { labels } => {
                let values = labels.iter().filter_map(|(_, value)| *value);
                let (min, max) =
                    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), v| (min.min(v), max.max(v)));
                (min <= max).then_some((min, max))
            }
        }
    }
}

/// A grader as it took part in a run: enough to say later whether two runs were graded alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GraderInfo {
    /// Name in the suite; also the name of the metric.
    pub name: String,
    /// Scorer or judge.
    pub kind: GraderKind,
    /// The scorer's or judge's own name.
    pub component: String,
    /// Its version.
    pub version: String,
    /// Digest of all that can change its findings: options, rubric, model, parameters, parser.
    pub digest: Digest,
    /// Values it can give.
    pub scale: Scale,
    /// Which way is better.
    #[serde(default)]
    pub direction: Direction,
    /// Draws per trial.
    pub draws: u32,
    /// Model of a judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// The target as it took part in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetInfo {
    /// `recorded`, `http`, `command`, `prompt`.
    pub kind: String,
    /// What a person calls it: the variant's name.
    pub name: String,
    /// Digest of all that can change its outputs, as far as it can be seen from here.
    pub digest: Digest,
    /// What is worth showing of its configuration; never a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Value>,
}

/// What defines a run. Written once, before the first call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunHeader {
    /// Format version of the journal; 1 today.
    pub format: u32,
    /// Id.
    pub id: RunId,
    /// Suite in the configuration.
    pub suite: String,
    /// When it was started.
    pub created_at: Timestamp,
    /// `name@version` of the dataset.
    pub dataset: String,
    /// Digest of the dataset's task.
    pub dataset_digest: Digest,
    /// How many examples the run covers.
    pub examples: u64,
    /// Trials per example.
    pub trials: u32,
    /// Target.
    pub target: TargetInfo,
    /// Graders.
    pub graders: Vec<GraderInfo>,
    /// Seed of everything that draws.
    pub seed: u64,
    /// Digest of the price table that money was reckoned with.
    pub price_digest: Digest,
    /// Version of this program.
    pub tool_version: String,
    /// Commit of the user's repository, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// Free tags of the user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The examples of the run, without recorded outputs, as JSON lines in blobs and in dataset order: a report can
    /// be made where the dataset is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub example_blobs: Vec<Digest>,
    /// Present when the run stops as soon as its verdict is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_decided: Option<UntilDecided>,
    /// How the dataset was sampled; absent when it was not, or when its probabilities are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub design: Option<RunDesign>,
}

impl RunHeader {
    /// Format version of the journal that is written; every earlier one can be read.
    pub const FORMAT: u32 = 1;
}

/// How a run that stops as soon as its verdict is settled is looked at. Stands in its header, because intervals that
/// take the number of examples for fixed do not hold for such a run, even where it went to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UntilDecided {
    /// Run that it is compared with while it goes on.
    pub baseline: RunId,
    /// Name of the rule.
    pub rule: String,
}

impl UntilDecided {
    /// The one rule there is: stop when the gate's verdict stands by confidence sequences.
    pub const RULE: &'static str = "gate_by_confidence_sequences";
}

/// The place of a cluster in the order in which a run that is looked at tries them: the clusters sorted by it. A digest, so
/// that it is as good as drawn and the same on every machine.
pub fn trial_place(seed: u64, cluster: &str) -> Digest {
    Digester::new().part("seed", &seed.to_le_bytes()).part("cluster", cluster.as_bytes()).finish()
}

/// What a standard error needs to know of the sampling design beyond the examples' own probabilities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunDesign {
    /// `uniform`, `stratified`, `boosted`, `poisson` or `clustered`.
    pub method: String,
    /// Whether each unit was drawn on its own, so that the number of the chosen is chance too.
    pub independent: bool,
    /// How many candidates each stratum held.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub strata: BTreeMap<String, u64>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Started and not finished: running now, or killed.
    Open,
    /// Every cell is scored or unscored.
    Complete,
    /// Stopped before its end; can be resumed.
    Stopped,
}

/// Counts of a run: the fold of its events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunTotals {
    /// Trials planned.
    pub trials_planned: u64,
    /// Trials whose target gave an output.
    pub trials_ok: u64,
    /// Trials whose target failed.
    pub trials_failed: u64,
    /// Cells planned.
    pub cells_planned: u64,
    /// Cells with a score.
    pub scored: u64,
    /// Cells without, by reason.
    #[serde(default)]
    pub unscored: BTreeMap<UnscoredReason, u64>,
    /// Attempts that failed and were tried again.
    pub retries: u64,
    /// Answers taken from the cache.
    pub cached: u64,
    /// What the target cost in this run; recorded outputs cost nothing.
    #[serde(default)]
    pub target_spend: Spend,
    /// What the judges cost.
    #[serde(default)]
    pub judge_spend: Spend,
}

impl RunTotals {
    /// Cells that have an outcome.
    pub fn cells_done(&self) -> u64 {
        self.scored + self.unscored.values().sum::<u64>()
    }

    /// Cells unscored because the instrument failed.
    pub fn instrument_failures(&self) -> u64 {
        self.unscored.iter().filter(|(reason, _)| reason.is_instrument_failure()).map(|(_, count)| count).sum()
    }
}
