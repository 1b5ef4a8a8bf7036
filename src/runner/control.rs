//! Stopping: a person's handle from outside, and the one switch inside that all workers watch.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use super::RunError;
use crate::model::CancelReason;

/// The handle by which a person stops a run, wired to Ctrl-C. Clones are the same handle; given to several jobs it
/// stops them all.
#[derive(Clone, Debug)]
pub struct Control {
    presses: Arc<watch::Sender<u32>>,
    settled: Arc<OnceLock<CancelReason>>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// A handle that was not used yet.
    pub fn new() -> Self {
        Self { presses: Arc::new(watch::Sender::new(0)), settled: Arc::default() }
    }

    /// The first call lets calls in flight finish and starts no others; the second drops them. Both leave a journal
    /// that can be resumed.
    pub fn stop(&self) {
        self.presses.send_modify(|presses| *presses = presses.saturating_add(1));
    }

    /// Stops a run whose verdict is settled, like the first [`Control::stop`], with the name of the rule and the number
    /// of looks. Once is enough.
    pub fn settle(&self, rule: &str, looks: u64) {
        if self.settled.set(CancelReason::Decided { rule: rule.to_owned(), looks }).is_ok() {
            self.stop();
        }
    }

    /// Why it was used.
    pub(super) fn reason(&self) -> CancelReason {
        self.settled.get().cloned().unwrap_or(CancelReason::Interrupted)
    }

    /// Whether it was used.
    pub fn is_stopped(&self) -> bool {
        *self.presses.borrow() > 0
    }

    /// Waits until it was used more than `seen` times; gives how often.
    pub(super) async fn pressed(&self, seen: u32) -> u32 {
        let mut presses = self.presses.subscribe();
        // The sender lives as long as `self`.
        let pressed = presses.wait_for(|presses| *presses > seen).await.map(|presses| *presses).ok();
        match pressed {
            Some(pressed) => pressed,
            None => std::future::pending().await,
        }
    }
}

/// How far a run has been stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It runs.
    Running,
    /// No new call is made; those in flight finish.
    Stopping,
    /// Calls in flight are dropped.
    Aborting,
}

/// The switch inside a run. The first reason stays.
pub(super) struct Halt {
    phase: watch::Sender<Phase>,
    reason: Mutex<Option<CancelReason>>,
    fault: Mutex<Option<RunError>>,
}

impl Halt {
    pub(super) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Running), reason: Mutex::new(None), fault: Mutex::new(None) }
    }

    /// Stops for a reason that the journal tells.
    pub(super) fn stop(&self, reason: CancelReason) {
        lock(&self.reason).get_or_insert(reason);
        self.raise(Phase::Stopping);
    }

    /// Drops what runs, for a reason that the journal tells.
    pub(super) fn abort(&self, reason: CancelReason) {
        lock(&self.reason).get_or_insert(reason);
        self.raise(Phase::Aborting);
    }

    /// Stops because the run itself failed; what is in flight may finish.
    pub(super) fn fail(&self, fault: RunError) {
        lock(&self.fault).get_or_insert(fault);
        self.raise(Phase::Stopping);
    }

    /// Drops what runs because nothing more can be journaled.
    pub(super) fn fail_now(&self, fault: RunError) {
        lock(&self.fault).get_or_insert(fault);
        self.raise(Phase::Aborting);
    }

    /// Why it stopped.
    pub(super) fn reason(&self) -> Option<CancelReason> {
        lock(&self.reason).clone()
    }

    /// What failed; the next call gives `None`.
    pub(super) fn take_fault(&self) -> Option<RunError> {
        lock(&self.fault).take()
    }

    /// Whether no new call may be made.
    pub(super) fn is_stopping(&self) -> bool {
        *self.phase.borrow() >= Phase::Stopping
    }

    /// Waits until no new call may be made.
    pub(super) async fn stopping(&self) {
        self.reached(Phase::Stopping).await;
    }

    /// Waits until calls in flight are to be dropped.
    pub(super) async fn aborting(&self) {
        self.reached(Phase::Aborting).await;
    }

    fn raise(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let raised = *phase < to;
            *phase = (*phase).max(to);
            raised
        });
    }

    async fn reached(&self, wanted: Phase) {
        let reached = self.phase.subscribe().wait_for(|phase| *phase >= wanted).await.is_ok();
        if !reached {
            // The sender lives as long as `self`.
            std::future::pending().await
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays_and_phases_only_rise() {
        let halt = Halt::new();
        assert!(!halt.is_stopping());
        halt.abort(CancelReason::BudgetSpent);
        halt.stop(CancelReason::Interrupted);
        halt.aborting().await;
        halt.stopping().await;
        assert_eq!(halt.reason(), Some(CancelReason::BudgetSpent));
    }

    #[tokio::test]
    async fn a_settled_run_says_so_and_is_stopped_once() {
        let control = Control::new();
        assert_eq!(control.reason(), CancelReason::Interrupted);
        control.settle("rule", 3);
        control.settle("rule", 4);
        assert_eq!(control.pressed(0).await, 1);
        assert_eq!(control.reason(), CancelReason::Decided { rule: "rule".to_owned(), looks: 3 });
    }

    #[tokio::test]
    async fn presses_are_counted_from_any_clone() {
        let control = Control::new();
        control.clone().stop();
        assert_eq!(control.pressed(0).await, 1);
        control.stop();
        assert_eq!(control.pressed(1).await, 2);
    }
}
