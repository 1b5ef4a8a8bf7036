//! The engine: plans a run, runs trials and graders, journals what happens, resumes what was stopped or killed.
//!
//! ```text
//! worker ... worker --> [outbox, bounded] --> dispatcher --> store (one transaction per batch)
//!    ^                                            |              |
//!    +-- Halt: stop, abort, fault <---------------+              +--> listeners (isolated, best effort)
//! ```
//!
//! Knows neither configuration nor reports; whoever starts a [`Job`] builds target and graders and renders outcomes.
//! What it promises:
//!
//! - entries of a run are numbered 0, 1, 2, ...; `run_started` is the first, `run_finished` the last;
//! - each trial has one `target_finished`, each cell one `score_finished`, whatever was killed or resumed;
//! - an entry is in the store before a listener sees it, and a broken listener changes nothing;
//! - cells that were not run are not journaled: resuming runs them;
//! - memory is bound by the number of trials in flight, not by the number of examples (but for four bytes per example
//!   when shuffled, and one bit per cell and sixteen bytes per example when resumed);
//! - a killed run loses at most the calls in flight and as many findings that waited for the disk.

mod budget;
mod control;
mod dispatch;
mod execute;
mod lease;
mod plan;
mod resume;
mod target_call;
mod trial;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use crate::judge::Grade;
use crate::model::{
    CancelReason, Example, ExampleId, GraderInfo, JournalEntry, RunHeader, RunId, RunStatus, RunTotals,
};
use crate::provider::Thrift;
use crate::scorer::Scorer;
use crate::store::{Store, StoreError};
use crate::sys::{Clock, RetryPolicy};
use crate::target::Target;

pub use budget::{Budget, Lost};
pub use control::Control;
pub use execute::execute;
pub use plan::{CallEstimate, CallRange, GraderPlan, Plan, Quantity};
pub use resume::{Progress, differences};
pub use turns::Lane;

/// The examples of a run, read when they are needed.
pub trait Examples: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Id of one, by its place from 0. Asked for all of them only when a run is resumed.
    fn id(&self, index: usize) -> Result<ExampleId, String>;

    /// One of them, by its place from 0.
    fn load(&self, index: usize) -> Result<Arc<Example>, String>;
}

/// A grader that can be put to work.
pub struct Grader {
    /// How it stands in the run's header.
    pub info: GraderInfo,
    /// What does the work.
    pub work: Work,
}

/// What does a grader's work.
pub enum Work {
    /// Deterministic code, run where the output is at hand.
    Scorer(Box<dyn Scorer>),
    /// A model with a rubric, asked under `judge_concurrency`.
    Judge(Arc<dyn Grade>),
}

/// Sees what happens in a run, after it is in the store.
pub trait Listener: Send {
    /// What it is called when it breaks.
    fn name(&self) -> &str;

    /// Takes an entry and the counts up to and with it. Called in order, from one task; it should not take long.
    /// After an error or a panic it is called no more; the run goes on.
    fn on_entry(&mut self, entry: &JournalEntry, totals: &RunTotals) -> Result<(), String>;
}

/// Whether a run begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A new run: the header's id must not be in the store.
    Fresh,
    /// The run with the header's id goes on. Trials, seed and draws are those it was started with.
    Resume {
        /// Takes the run from a holder whose lease has not ended.
        force: bool,
    },
}

/// The order in which examples are tried. Each example has its first trial before any has its second, so that a run
/// stopped early covers as many examples as it can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As in the dataset.
    #[default]
    Dataset,
    /// Shuffled by the run's seed.
    Shuffled,
    /// The places given, with all trials of an example before the next: a run that is looked at while it goes on needs
    /// whole examples, as many as there are in the header.
    Given(Arc<Vec<u32>>),
}

/// How a run is carried out. Nothing here changes a finding.
#[derive(Clone, Debug)]
pub struct Options {
    /// Targets called at once.
    pub target_concurrency: usize,
    /// Judges asked at once, all of them together.
    pub judge_concurrency: usize,
    /// Attempts, waits and time limits of targets that do not retry by themselves.
    pub retry: RetryPolicy,
    /// Order of the examples.
    pub order: Order,
    /// Takes turns with another run: then `target_concurrency` is that of both together.
    pub lane: Option<Arc<Lane>>,
    /// Limits.
    pub budget: Budget,
    /// Money that stands in no finding and counts all the same.
    pub lost: Lost,
    /// Told when money is short.
    pub thrift: Thrift,
    /// Who this process is, among all that may write to the store; shown to nobody, each sitting adds its moment.
    pub holder: String,
    /// How long the right to write the run lasts without being renewed; it is renewed three times as often.
    pub lease: Duration,
    /// How long to wait for another holder's right to end before giving up.
    pub claim_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target_concurrency: 8,
            judge_concurrency: 16,
            retry: RetryPolicy::default(),
            order: Order::default(),
            lane: None,
            budget: Budget::default(),
            lost: Lost::default(),
            thrift: Thrift::default(),
            holder: format!("process {}", std::process::id()),
            lease: Duration::from_secs(30),
            claim_wait: Duration::ZERO,
        }
    }
}

/// All that a run needs.
pub struct Job {
    /// What defines the run, as configured now; when resuming, with the id of the run that goes on.
    pub header: RunHeader,
    /// Whether it begins or goes on.
    pub mode: Mode,
    /// Examples, as many as the header says.
    pub examples: Arc<dyn Examples>,
    /// Target.
    pub target: Arc<dyn Target>,
    /// Graders, in the header's order.
    pub graders: Vec<Grader>,
    /// Where the journal is kept.
    pub store: Arc<dyn Store>,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// Who watches.
    pub listeners: Vec<Box<dyn Listener>>,
    /// How it is carried out.
    pub options: Options,
    /// The handle by which a person stops it.
    pub control: Control,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    /// The run.
    pub run: RunId,
    /// Counts over the whole run, earlier sittings included.
    pub totals: RunTotals,
    /// [`RunStatus::Complete`] or [`RunStatus::Stopped`].
    pub status: RunStatus,
    /// Why it stopped before its end.
    pub stop: Option<CancelReason>,
    /// Listeners that broke: name and why.
    pub listener_failures: Vec<String>,
}

/// A run could not be carried out. Findings already journaled stay, and the run can be resumed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process writes the run.
    #[error(
        "run `{run}` is being written by another process, or was until its lease of {lease_s} s ends; \
         wait, stop that process, or use `--force`"
    )]
    Claimed {
        /// The run.
        run: RunId,
        /// Length of a lease, seconds.
        lease_s: u64,
    },
    /// What is configured now is not what the run was started with.
    #[error("run `{run}` cannot be resumed: {}; start a new run, or restore what it was started with", what.join("; "))]
    Changed {
        /// The run.
        run: RunId,
        /// What differs, one thing each.
        what: Vec<String>,
    },
    /// An example could not be read.
    #[error("example {number} of dataset `{dataset}` cannot be read: {cause}")]
    Example {
        /// Its number in the dataset, from 1.
        number: usize,
        /// `name@version` of the dataset.
        dataset: String,
        /// Why.
        cause: String,
    },
    /// The journal does not fit itself or the dataset.
    #[error("journal of run `{run}` cannot be used: {cause}; it may be damaged, start a new run")]
    Damaged {
        /// The run.
        run: RunId,
        /// Why.
        cause: String,
    },
    /// The parts of the job contradict each other: a bug of the caller.
    #[error("run `{run}` was set up wrong: {cause}; please report this")]
    Setup {
        /// The run.
        run: RunId,
        /// What contradicts what.
        cause: String,
    },
}
