//! The one stream between running and showing: everything that happens in a run, in the order the dispatcher saw it.
//!
//! The store keeps exactly these events; totals, reports and resumption are folds over them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CellKey, Digest, Failure, RunHeader, RunTotals, Scored, TrialKey, Usage};

/// Money and tokens of calls that were really made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spend {
    /// Calls that were answered, billed or not.
    #[serde(default)]
    pub calls: u64,
    /// Tokens.
    #[serde(default)]
    pub usage: Usage,
    /// US dollars of the calls whose price is known.
    #[serde(default)]
    pub cost_usd: f64,
    /// Calls whose price is not known: the sum above is then a lower bound.
    #[serde(default)]
    pub unpriced_calls: u64,
}

impl Spend {
    /// One call.
    pub fn of_call(usage: Usage, cost_usd: Option<f64>) -> Self {
        Self { calls: 1, usage, cost_usd: cost_usd.unwrap_or(0.0), unpriced_calls: u64::from(cost_usd.is_none()) }
    }

    /// Adds another spend to this one.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.usage = self.usage.plus(&other.usage);
        self.cost_usd += other.cost_usd;
        self.unpriced_calls += other.unpriced_calls;
    }
}

/// How a trial's target ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum TargetOutcome {
    /// It gave an output, stored by content.
    Output {
        /// Digest of the output's JSON in the blob table.
        digest: Digest,
        /// Milliseconds of the output, as in the output itself: kept here so that series need no blob.
        latency_ms: Option<f64>,
        /// Money of the output.
        cost_usd: Option<f64>,
        /// Tokens of the output.
        usage: Usage,
    },
    /// It failed for good.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// Why a run stops before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum CancelReason {
    /// Ctrl-C.
    Interrupted,
    /// The money of the run is spent.
    BudgetSpent,
    /// The time of the run is spent.
    DeadlinePassed,
    /// The verdict is settled: nothing that is left could change it.
    Decided {
        /// Name of the rule, as in the header.
        rule: String,
        /// How often the run was looked at.
        looks: u64,
    },
    /// A failure that every further call would meet.
    Fatal {
        /// What failed.
        failure: Failure,
    },
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// First of every run.
    RunStarted {
        /// What defines the run.
        header: Box<RunHeader>,
    },
    /// A stopped or killed run goes on.
    RunResumed {
        /// Cells already done.
        cells_done: u64,
    },
    /// A try failed and will be repeated, or was the last one.
    AttemptFailed {
        /// The trial.
        trial: TrialKey,
        /// The grader, when it was a judge's call.
        grader: Option<String>,
        /// Attempt number, from 1.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// When the next attempt comes, if there is one.
        retry_in_ms: Option<u64>,
    },
    /// The target of a trial ended.
    TargetFinished {
        /// The trial.
        trial: TrialKey,
        /// How.
        outcome: TargetOutcome,
        /// What it cost in this run.
        spend: Spend,
    },
    /// A cell ended.
    ScoreFinished {
        /// The cell.
        cell: CellKey,
        /// The score, or why there is none.
        scored: Scored,
        /// What it cost.
        spend: Spend,
        /// Whether the answer came from the cache.
        cached: bool,
        /// Milliseconds it took.
        took_ms: u64,
    },
    /// The run will stop.
    CancelRequested {
        /// Why.
        reason: CancelReason,
    },
    /// Last of every run that was not killed.
    RunFinished {
        /// Counts.
        totals: RunTotals,
        /// Whether every planned cell has an outcome.
        complete: bool,
    },
}

/// An event with its place in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JournalEntry {
    /// 0, 1, 2, ... without gaps in a run.
    pub seq: u64,
    /// When the dispatcher saw it.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}
