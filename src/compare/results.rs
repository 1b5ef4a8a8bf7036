//! A run's journal folded into results per example and trial.
//!
//! The fold is the only reader of events for findings: live totals, reports and comparisons all come from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::few::Few;
use crate::model::{Event, ExampleId, JournalEntry, RunHeader, RunStatus, RunTotals, Scored, TargetOutcome};

/// One trial of one example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrialResult {
    /// How the target ended; `None` while it has not.
    pub target: Option<TargetOutcome>,
    /// Grader to its draws, by draw number.
    pub scores: Few<Arc<str>, Few<u32, Scored>>,
}

/// All trials of one example, by trial number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExampleResult {
    /// Trials.
    pub trials: Few<u32, TrialResult>,
}

/// A run folded.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResults {
    /// What defines the run.
    pub header: RunHeader,
    /// Counts.
    pub totals: RunTotals,
    /// How it stands.
    pub status: RunStatus,
    /// Results by example.
    pub examples: BTreeMap<ExampleId, ExampleResult>,
}

/// A journal that cannot be folded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The first event is not `run_started`.
    #[error("journal does not begin with `run_started`; it may be damaged")]
    NoStart,
    /// A number is missing.
    #[error("journal lacks entry {expected}: found {found} in its place; it may be damaged")]
    Gap {
        /// The number that should have come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
}

/// Folds entries one by one, so that a journal need not be in memory at once.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    results: Option<RunResults>,
    next_seq: u64,
    /// Names of graders, each kept once.
    names: BTreeSet<Arc<str>>,
}

impl Fold {
    /// An empty fold.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next entry.
    pub fn push(&mut self, entry: JournalEntry) -> Result<(), FoldError> {
        if entry.seq != self.next_seq {
            return Err(FoldError::Gap { expected: self.next_seq, found: entry.seq });
        }
        self.next_seq += 1;
        match (&mut self.results, entry.event) {
            (None, Event::RunStarted { header }) => self.results = Some(start(*header)),
            (None, _) => return Err(FoldError::NoStart),
            (Some(results), event) => apply(results, event, &mut self.names),
        }
        Ok(())
    }

    /// The results so far.
    pub fn finish(self) -> Result<RunResults, FoldError> {
        self.results.ok_or(FoldError::NoStart)
    }

    /// The results so far, without ending the fold; `None` before the first entry.
    pub fn results(&self) -> Option<&RunResults> {
        self.results.as_ref()
    }

    /// The counts so far; `None` before the first entry.
    pub fn totals(&self) -> Option<&RunTotals> {
        self.results.as_ref().map(|results| &results.totals)
    }
}

fn start(header: RunHeader) -> RunResults {
    let trials_planned = header.examples * u64::from(header.trials);
    let draws: u64 = header.graders.iter().map(|grader| u64::from(grader.draws)).sum();
    let totals = RunTotals { trials_planned, cells_planned: trials_planned * draws, ..RunTotals::default() };
    RunResults { header, totals, status: RunStatus::Open, examples: BTreeMap::new() }
}

fn apply(results: &mut RunResults, event: Event, names: &mut BTreeSet<Arc<str>>) {
    count(&mut results.totals, &event);
    match event {
        Event::TargetFinished { trial, outcome, .. } => {
            let example = results.examples.entry(trial.example).or_default();
            example.trials.or_default(trial.trial).target = Some(outcome);
        }
        Event::ScoreFinished { cell, scored, .. } => {
            let example = results.examples.entry(cell.trial.example).or_default();
            let trial = example.trials.or_default(cell.trial.trial);
            trial.scores.or_default(shared(names, &cell.grader)).insert(cell.draw, scored);
        }
        Event::RunFinished { complete, .. } => {
            results.status = if complete { RunStatus::Complete } else { RunStatus::Stopped };
        }
        Event::RunResumed { .. } => results.status = RunStatus::Open,
        Event::RunStarted { .. } | Event::AttemptFailed { .. } | Event::CancelRequested { .. } => {}
    }
}

/// The one copy of a name.
fn shared(names: &mut BTreeSet<Arc<str>>, name: &str) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return known.clone();
    }
    let name: Arc<str> = Arc::from(name);
    names.insert(name.clone());
    name
}

/// Adds one event to running counts; what the dispatcher shows live and what [`Fold`] keeps.
pub fn count(totals: &mut RunTotals, event: &Event) {
    match event {
        Event::TargetFinished { outcome, spend, .. } => {
            match outcome {
                TargetOutcome::Output { .. } => totals.trials_ok += 1,
                TargetOutcome::Failed { .. } => totals.trials_failed += 1,
            }
            totals.target_spend.add(spend);
        }
        Event::ScoreFinished { scored, spend, cached, .. } => {
            match scored {
                Ok(_) => totals.scored += 1,
                Err(unscored) => *totals.unscored.entry(unscored.reason).or_default() += 1,
            }
            totals.cached += u64::from(*cached);
            totals.judge_spend.add(spend);
        }
        Event::AttemptFailed { retry_in_ms, .. } => totals.retries += u64::from(retry_in_ms.is_some()),
        Event::RunStarted { .. }
        | Event::RunResumed { .. }
        | Event::CancelRequested { .. }
        | Event::RunFinished { .. } => {}
    }
}
