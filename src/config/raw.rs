//! What may be written in `assize.toml`: the shape, closed against unknown keys.
//!
//! The documentation comments are the descriptions in `assize schema` and in the configuration reference. What the
//! values mean together is checked in `validate`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use super::raw_target::{RawAround, RawCollect, RawConversation, RawHooks, RawMatrix, RawTarget, RawVariant};
use crate::model::{DriftPolicy, Estimand, FailOn, Guard, MetricRole, OnMissing, RedactPolicy, SliceRate, SpanChoice};

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "assize.toml")]
pub struct Raw {
    /// Address of this schema, for editors; ignored.
    #[serde(default, rename = "$schema")]
    pub schema: Option<String>,
    /// Places.
    #[serde(default)]
    pub project: RawProject,
    /// Storage behind `s3://` names.
    #[serde(default)]
    pub s3: RawS3,
    /// Model services by name.
    #[serde(default)]
    pub providers: BTreeMap<String, RawProvider>,
    /// Models by the name that judges and targets use.
    #[serde(default)]
    pub models: BTreeMap<String, RawModel>,
    /// Platforms to pull traces from, by the name `assize ingest NAME` takes.
    #[serde(default)]
    pub sources: BTreeMap<String, RawSource>,
    /// Places that scores are sent to, by the name `assize push --to NAME` takes.
    #[serde(default)]
    pub sinks: BTreeMap<String, RawSink>,
    /// Who is told when live traces drift: `assize drift --live --alarm`.
    #[serde(default)]
    pub alarms: BTreeMap<String, RawAlarm>,
    /// Prices in US dollars per million tokens, by model name; `*` stands for any text. They win over the shipped table.
    #[serde(default)]
    pub prices: BTreeMap<String, RawPrice>,
    /// Prices of tools in US dollars per call, by tool name; `*` stands for any text. A tool not named here is free.
    #[serde(default)]
    pub tool_prices: BTreeMap<String, f64>,
    /// What is taken out of traces and imported examples before anything is written. Secrets are masked unless this
    /// says otherwise; personal data stays unless it is asked for.
    #[serde(default)]
    pub redact: RedactPolicy,
    /// What counts as drift of live traces and scores: `assize drift --live`.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// Suites by name.
    #[serde(default)]
    pub suites: BTreeMap<String, RawSuite>,
    /// Sampling plans by the name of the dataset they make: see `assize schema sample`.
    #[serde(default)]
    pub samples: BTreeMap<String, Map<String, Value>>,
}

impl Raw {
    /// The JSON Schema of the file.
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

/// Where things are, relative to the file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawProject {
    /// Store: `sqlite:PATH` or `postgres://...`; the variable `ASSIZE_STORE` wins. Default `sqlite:.assize/assize.sqlite`.
    pub store: Option<String>,
    /// Folder of dataset versions, meant to be committed. Default `datasets`.
    pub datasets: Option<String>,
    /// Folder of your own judges; one of the same name wins over a shipped one. Default `judges`.
    pub judges: Option<String>,
    /// Folder of the trace lake, or `s3://BUCKET/PREFIX`. Default `.assize/lake`.
    pub lake: Option<String>,
    /// File of the reply cache. Default `.assize/cache.sqlite`.
    pub cache: Option<String>,
    /// Folder that reports are written to. Default `.assize/reports`.
    pub reports: Option<String>,
}

/// S3-compatible storage. The account's keys come from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawS3 {
    /// Address of the service. Default: the variable `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, else Amazon's own.
    pub endpoint: Option<String>,
    /// Region. Default: the variable `AWS_REGION` or `AWS_DEFAULT_REGION`, else `us-east-1`.
    pub region: Option<String>,
}

/// A model service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct RawProvider {
    /// Who serves: `openai` (and everything that speaks its wire format), `anthropic`, `ollama`, `replay`, ...
    pub kind: String,
    /// Time limit of one attempt, such as `60s`. Default `60s`.
    pub timeout: Option<String>,
    /// Most attempts of one call. Default 5.
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: Option<u32>,
    /// Options of the endpoint: see `assize schema provider`.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

/// A platform to pull traces from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct RawSource {
    /// `langfuse`, `langsmith`, `phoenix`, `clickhouse`, ...
    pub kind: String,
    /// Options of that kind: see `assize schema source.KIND`.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

/// A place that scores are sent to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct RawSink {
    /// `langfuse`, `langsmith`, `otlp`, `webhook`, ...
    pub kind: String,
    /// Options of that kind: see `assize schema sink.KIND`.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

/// Who is told when something fires.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct RawAlarm {
    /// `slack`, `pagerduty`, `alertmanager` or `webhook`.
    pub kind: String,
    /// Options of that kind: see `assize schema alarm.KIND`.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

/// A model with its parameters.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawModel {
    /// Name of the provider above.
    pub provider: String,
    /// Model name as the provider knows it; a dated snapshot makes runs comparable.
    pub model: String,
    /// Sampling temperature; left out of the request when unset.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub temperature: Option<f64>,
    /// Most tokens to write.
    #[schemars(range(min = 1))]
    pub max_tokens: Option<u32>,
    /// Seed, where the provider takes one.
    pub seed: Option<u64>,
    /// Further fields of the request body, verbatim.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// A price in US dollars per million tokens.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPrice {
    /// Tokens read.
    #[schemars(range(min = 0.0))]
    pub input: f64,
    /// Tokens written, reasoning included.
    #[schemars(range(min = 0.0))]
    pub output: f64,
    /// Tokens read from a cache; the input price when left out.
    #[schemars(range(min = 0.0))]
    pub cache_read: Option<f64>,
    /// Tokens written to a cache; the input price when left out.
    #[schemars(range(min = 0.0))]
    pub cache_write: Option<f64>,
    /// Tokens written to a cache that keeps them for an hour; the price of `cache_write` when left out.
    #[schemars(range(min = 0.0))]
    pub cache_write_1h: Option<f64>,
    /// Tokens spent on reasoning; the output price when left out.
    #[schemars(range(min = 0.0))]
    pub reasoning: Option<f64>,
    /// Prices of calls that read more than so many tokens.
    pub above: Option<RawAbove>,
    /// What the price is multiplied with in a service tier: `batch = 0.5`. In a tier not named here it is unknown.
    #[serde(default)]
    pub tiers: BTreeMap<String, f64>,
    /// What it cost before, the oldest first.
    #[serde(default)]
    pub earlier: Vec<RawEarlier>,
}

// The four prices stand again in the two tables below: serde cannot flatten a shared struct and still refuse unknown
// keys.
/// Prices of long calls, in US dollars per million tokens; all tokens of such a call are priced so.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAbove {
    /// Tokens read, cached ones included, beyond which these prices hold.
    pub tokens: u64,
    /// Tokens read.
    #[schemars(range(min = 0.0))]
    pub input: f64,
    /// Tokens written.
    #[schemars(range(min = 0.0))]
    pub output: f64,
    /// Tokens read from a cache; the input price when left out.
    #[schemars(range(min = 0.0))]
    pub cache_read: Option<f64>,
    /// Tokens written to a cache; the input price when left out.
    #[schemars(range(min = 0.0))]
    pub cache_write: Option<f64>,
}

/// A price that held until a day.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEarlier {
    /// First day it no longer held, such as `2025-06-10`, in UTC.
    pub until: String,
    /// Tokens read.
    #[schemars(range(min = 0.0))]
    pub input: f64,
    /// Tokens written.
    #[schemars(range(min = 0.0))]
    pub output: f64,
    /// Tokens read from a cache; the input price when left out.
    #[schemars(range(min = 0.0))]
    pub cache_read: Option<f64>,
    /// Tokens written to a cache; the input price when left out.
    #[schemars(range(min = 0.0))]
    pub cache_write: Option<f64>,
}

/// A suite: a dataset, targets, graders and what is demanded.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSuite {
    /// Dataset by name (the latest version) or `name@version`. Either this or `file`.
    pub dataset: Option<String>,
    /// A file of examples instead: JSON lines, JSON, CSV or Parquet.
    pub file: Option<String>,
    /// How the columns of `file` map to an example: `id`, `input`, `reference`, `output`, ...
    pub fields: Option<Map<String, Value>>,
    /// Trials per example. Default 1.
    #[schemars(range(min = 1, max = 10_000))]
    pub trials: Option<u32>,
    /// Seed of everything that draws. Default 0.
    pub seed: Option<u64>,
    /// How many calls run at once.
    #[serde(default)]
    pub concurrency: RawConcurrency,
    /// Most US dollars one run may spend on target and judges together.
    #[schemars(range(min = 0.0))]
    pub max_cost: Option<f64>,
    /// Greatest part of `max_cost` (or `--max-cost`) that judges may take, from 0.01 to 1. Default: all of it.
    #[schemars(range(min = 0.01, max = 1.0))]
    pub judge_share: Option<f64>,
    /// Longest time one run may take, such as `30m`.
    pub max_time: Option<String>,
    /// The things under test, by name: `kind` and the options of that kind.
    pub targets: BTreeMap<String, RawTarget>,
    /// Further things under test: each is one of `targets` with something set otherwise.
    #[serde(default)]
    pub variants: BTreeMap<String, RawVariant>,
    /// Things under test by combination: a target with each combination of the values of some settings.
    #[serde(default)]
    pub matrix: BTreeMap<String, RawMatrix>,
    /// Target of a run when none is named. Needed when there is more than one.
    pub candidate: Option<String>,
    /// Target that `assize ci` runs as baseline when no run has been blessed.
    pub baseline: Option<String>,
    /// Who grades.
    pub graders: Vec<RawGrader>,
    /// What is demanded.
    #[serde(default)]
    pub gate: RawGate,
}

/// How many calls run at once.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConcurrency {
    /// Target calls. Default 8.
    #[schemars(range(min = 1, max = 100_000))]
    pub targets: Option<u32>,
    /// Judge calls. Default 32.
    #[schemars(range(min = 1, max = 100_000))]
    pub judges: Option<u32>,
}

/// A grader: a scorer with its options, or a judge with its model.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct RawGrader {
    /// Name of the metric; the scorer's or judge's own name when left out.
    pub name: Option<String>,
    /// A scorer; its options stand beside this key: see `assize schema scorer.NAME`.
    pub scorer: Option<String>,
    /// A judge, shipped or your own.
    pub judge: Option<String>,
    /// Model that judges: a name from `[models]`.
    pub model: Option<String>,
    /// How often the judge is asked about each output. Default: as the judge says.
    #[schemars(range(min = 1, max = 1000))]
    pub draws: Option<u32>,
    /// Several judges or models that vote, in place of one.
    pub panel: Option<RawPanel>,
    /// A dear model that is asked where this one is not sure.
    pub cascade: Option<RawCascade>,
    /// Spans of the trace that are graded in place of the output: `on = { kind = "tool", name = "search*" }`.
    pub on: Option<SpanChoice>,
    /// Options of the scorer.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

/// Judges that vote. A member that fails has no vote.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPanel {
    /// Models that are asked with the grader's judge: names from `[models]`.
    #[serde(default)]
    pub models: Vec<String>,
    /// Members with a judge or a weight of their own.
    #[serde(default)]
    pub members: Vec<RawMember>,
    /// How votes become a score. Default: `majority`, for number scales `mean`.
    pub vote: Option<RawVote>,
    /// How votes weigh: `equal`, or `calibration` by how members did in `assize judge calibrate`. Default `equal`.
    #[serde(default)]
    pub weights: RawWeights,
    /// Fewest votes for a score. Default: more than half of the members.
    #[schemars(range(min = 1))]
    pub quorum: Option<u32>,
}

/// A member of a panel.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMember {
    /// Judge; the grader's when left out. All must have the same scale.
    pub judge: Option<String>,
    /// Model: a name from `[models]`.
    pub model: String,
    /// How much its vote weighs, above 0. Default 1.
    pub weight: Option<f64>,
}

/// How votes become a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawVote {
    /// The score with most votes; a tie is unscored.
    Majority,
    /// The middle vote, as a number.
    Median,
    /// The mean of the votes, as a number.
    Mean,
}

/// How votes weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawWeights {
    /// As written with each member, else all alike.
    #[default]
    Equal,
    /// By how members did against labels of people; refused without a calibration.
    Calibration,
}

/// A dear judge behind a cheap one. One of `declared`, `probability` and `votes` says when the cheap one is sure.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCascade {
    /// Model that decides where the first is not sure: a name from `[models]`.
    pub model: String,
    /// Sure where the judge says so itself; at least this. The judge needs `says_sure = true`.
    pub declared: Option<RawSure>,
    /// Sure where the likeliest score has at least this share of the probability on scores.
    pub probability: Option<f64>,
    /// Sure where at least this share of `draws` answers agree.
    pub votes: Option<f64>,
    /// Answers of the first model for `votes`. Default 3.
    #[schemars(range(min = 2, max = 99))]
    pub draws: Option<u32>,
    /// Share of the sure cells that the dear model sees all the same, to measure what the cascade does. Default 0.1.
    pub audit: Option<f64>,
}

/// How sure a judge says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawSure {
    /// Hardly.
    Low,
    /// Somewhat.
    Medium,
    /// Sure.
    High,
}

/// What `inconclusive` does to the exit code of a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInconclusive {
    /// Exit code 4.
    #[default]
    Report,
    /// Exit code 0.
    Pass,
    /// Exit code 1.
    Fail,
}

/// What is demanded of a candidate.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGate {
    /// Demands by metric.
    #[serde(default)]
    pub metrics: BTreeMap<String, RawMetric>,
    /// One-sided error probability of each test. Default 0.05.
    #[schemars(range(min = 0.0001, max = 0.4))]
    pub alpha: Option<f64>,
    /// What makes a gated metric fail. Default `regressed`.
    pub fail_on: Option<FailOn>,
    /// Greatest share of cells of a gated metric without a score. Default 0.05.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_unscored: Option<f64>,
    /// Greatest share of trials whose target fails. Default 0.2.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_target_failures: Option<f64>,
    /// Fewest pairs for a verdict; with unequal weights, the fewest that they amount to. Default 10.
    pub min_pairs: Option<u64>,
    /// Which population the gate speaks for: `production` weighs examples by their sampling weight, `dataset` counts
    /// each once. Default `production`.
    pub estimand: Option<Estimand>,
    /// Dimension whose values are the independent units, such as `session` or `user`. Default: the examples' clusters.
    pub cluster_by: Option<String>,
    /// Put strata with a single unit together, so that an error can be estimated. Default false.
    #[serde(default)]
    pub collapse_strata: bool,
    /// How findings of slices are held to a false discovery rate of ten percent: `bh`, or `by`, which holds whatever slices
    /// share, and finds less. Default `bh`.
    #[serde(default)]
    pub slice_rate: SliceRate,
    /// Greatest share of the examples that may be in quarantine as flaky. Default 0.1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_quarantined: Option<f64>,
    /// Failed or open gates that are accepted for a while, each with a reason and a last day.
    #[serde(default)]
    pub waivers: Vec<RawWaiver>,
    /// What an open finding does to the exit code. Default `report`: exit code 4.
    #[serde(default)]
    pub on_inconclusive: OnInconclusive,
}

/// A gate that is accepted although it does not hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWaiver {
    /// Metric.
    pub metric: String,
    /// Why; shown in every report.
    pub reason: String,
    /// Last day it holds, such as `2026-12-31`, in UTC.
    pub until: String,
    /// Who accepted it.
    pub by: Option<String>,
}

/// What is demanded of one metric: a grader's, or `latency_ms`, `cost_usd`, `tokens`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMetric {
    /// `gate` (default) or `inform`.
    #[serde(default)]
    pub role: MetricRole,
    /// Smallest change that matters, in the metric's unit; for latency, cost and tokens as a share of the baseline
    /// (0.1 is ten percent). 0 turns equivalence off. Default: a twentieth of the scale, or of the baseline.
    #[schemars(range(min = 0.0))]
    pub margin: Option<f64>,
    /// Least acceptable value of the candidate itself; for metrics where less is better, the greatest.
    pub floor: Option<f64>,
    /// Cells that the grader failed on: `exclude` leaves them out and counts them, `fail` gives them the worst value,
    /// `bounds` asks the gate to hold with all at their worst and at their best. Default `exclude`.
    #[serde(default)]
    pub on_unscored: OnMissing,
    /// The same for cells of trials whose target failed. Default `exclude`.
    #[serde(default)]
    pub on_target_failure: OnMissing,
    /// Greatest share of cells without a score. Default: as the gate says.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_unscored: Option<f64>,
    /// Limit on single examples that break, beside the mean: `{ drop = 1.0, allowed = 0 }`.
    pub guard: Option<Guard>,
}
