//! Carrying out a job: sets everything up, lets workers go through the trials, and brings it to a good end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::budget::{FailureWatch, Ledger};
use super::control::Halt;
use super::dispatch::{Audience, Dispatched, Dispatcher, Journal, Outbox, outbox};
use super::lease::Lease;
use super::resume::{Progress, Slot};
use super::trial::{self, Broken};
use super::turns::Lane;
use super::{Control, Examples, Grader, Job, Mode, Order, RunError, RunOutcome};
use crate::model::{CancelReason, Event, RunHeader, RunId, RunStatus};
use crate::store::Store;
use crate::sys::RetryPolicy;
use crate::target::Target;

/// What every worker works with.
pub(super) struct Bench {
    pub(super) examples: Arc<dyn Examples>,
    pub(super) target: Arc<dyn Target>,
    pub(super) graders: Vec<Grader>,
    pub(super) store: Arc<dyn Store>,
    pub(super) progress: Progress,
    pub(super) retry: RetryPolicy,
    pub(super) seed: u64,
    pub(super) ledger: Ledger,
    pub(super) halt: Arc<Halt>,
    pub(super) outbox: Outbox,
    pub(super) target_slots: Semaphore,
    pub(super) judge_slots: Semaphore,
    pub(super) lane: Option<Arc<Lane>>,
    order: Option<Arc<Vec<u32>>>,
    /// Whether all trials of an example come before the next example.
    together: bool,
    next: AtomicUsize,
}

/// Carries out a job: runs what is not done yet, journals it, shows it.
///
/// Ends well with [`RunStatus::Complete`], or with [`RunStatus::Stopped`] and the reason; such a run can be resumed,
/// and so can one that ended in an error or was killed.
///
/// # Errors
///
/// [`RunError`]: nothing more could be journaled, or the run cannot be what it was.
pub async fn execute(job: Job) -> Result<RunOutcome, RunError> {
    check(&job)?;
    let force = job.mode == (Mode::Resume { force: true });
    let (store, clock) = (Arc::clone(&job.store), Arc::clone(&job.clock));
    let mut lease = Lease::take(store, clock, &job.header.id, &job.options, force).await?;
    let outcome = run(job, &mut lease).await;
    lease.give_back().await;
    outcome
}

async fn run(job: Job, lease: &mut Lease) -> Result<RunOutcome, RunError> {
    let Job { header, mode, examples, target, graders, store, clock, listeners, options, control } = job;
    let run = header.id.clone();
    let (progress, opening) = match mode {
        Mode::Fresh => (Progress::fresh(&header), Event::RunStarted { header: Box::new(header) }),
        Mode::Resume { .. } => {
            let (progress, status) = Progress::read(&*store, &header, &*examples).await?;
            if status == RunStatus::Complete {
                let totals = progress.totals().clone();
                return Ok(RunOutcome { run, totals, status, stop: None, listener_failures: Vec::new() });
            }
            let cells_done = progress.cells_done();
            (progress, Event::RunResumed { cells_done })
        }
    };
    let halt = Arc::new(Halt::new());
    lease.keep(Arc::clone(&clock), options.lease, Arc::clone(&halt));
    // Enough trials to keep both pools busy, and no more: each holds its example and its output.
    let trials = options.target_concurrency.max(1) + options.judge_concurrency.max(1);
    let (sender, inbox) = outbox(trials);
    let mut dispatcher = Dispatcher {
        journal: Journal { store: Arc::clone(&store), run: run.clone() },
        clock,
        halt: Arc::clone(&halt),
        next_seq: progress.next_seq(),
        totals: progress.totals().clone(),
        watch: FailureWatch::new(&options.budget, &progress.header().graders),
        audience: Audience::new(listeners),
    };
    // Before anything is called: what is paid for must find its run in the store.
    let writable = dispatcher.open(opening).await;
    // In a set of its own, so that it ends with this future should that be dropped.
    let mut dispatching = JoinSet::new();
    dispatching.spawn(dispatcher.work(writable, inbox));
    let bench = Bench {
        together: matches!(options.order, Order::Given(_)),
        order: places(&options.order, progress.header()),
        seed: progress.header().seed,
        ledger: Ledger::new(&options.budget, progress.totals(), progress.dearest())
            .with_lost(options.lost)
            .with_thrift(options.thrift),
        examples,
        target,
        graders,
        store,
        progress,
        retry: options.retry,
        halt: Arc::clone(&halt),
        outbox: sender,
        target_slots: Semaphore::new(options.target_concurrency.max(1)),
        judge_slots: Semaphore::new(options.judge_concurrency.max(1)),
        lane: options.lane,
        next: AtomicUsize::new(0),
    };
    work_through(bench, trials, &control, options.budget.max_time).await;
    let dispatched = dispatching.join_next().await;
    close(run, &halt, dispatched)
}

/// Lets workers go through the trials until none is left or the run is stopped.
async fn work_through(bench: Bench, trials: usize, control: &Control, max_time: Option<Duration>) {
    let bench = Arc::new(bench);
    let halt = Arc::clone(&bench.halt);
    let mut workers = JoinSet::new();
    for _ in 0..trials.min(bench.positions()) {
        workers.spawn(work(Arc::clone(&bench)));
    }
    // The outbox must end with the last worker: that is how the dispatcher knows.
    drop(bench);
    let deadline = tokio::time::sleep(max_time.unwrap_or(Duration::MAX));
    tokio::pin!(deadline);
    let mut presses = 0;
    loop {
        tokio::select! {
            biased;
            pressed = control.pressed(presses) => {
                presses = pressed;
                match pressed {
                    1 => halt.stop(control.reason()),
                    _ => halt.abort(control.reason()),
                }
            }
            () = &mut deadline, if max_time.is_some() && !halt.is_stopping() => halt.stop(CancelReason::DeadlinePassed),
            joined = workers.join_next() => match joined {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => halt.fail_now(broke(error)),
            },
        }
    }
}

async fn work(bench: Arc<Bench>) {
    while let Some(slot) = bench.next_slot() {
        let ended = tokio::select! {
            biased;
            () = bench.halt.aborting() => return,
            ended = trial::run(&bench, slot) => ended,
        };
        match ended {
            Ok(()) => {}
            Err(Broken::Closed) => return,
            Err(Broken::Fault(fault)) => return bench.halt.fail(fault),
        }
    }
}

impl Bench {
    /// Trials of the run, done ones included.
    fn positions(&self) -> usize {
        self.examples.len() * self.progress.header().trials as usize
    }

    /// The next trial that is not done; `None` when there is none or the run stops.
    fn next_slot(&self) -> Option<Slot> {
        let examples = self.examples.len();
        loop {
            if self.halt.is_stopping() {
                return None;
            }
            let position = self.next.fetch_add(1, Ordering::Relaxed);
            if position >= self.positions() {
                return None;
            }
            let trials = (self.positions() / examples).max(1);
            let (place, trial) = if self.together {
                (position / trials, position % trials)
            } else {
                (position % examples, position / examples)
            };
            let index = match &self.order {
                Some(order) => *order.get(place)? as usize,
                None => place,
            };
            let slot = Slot { index, trial: u32::try_from(trial).ok()? };
            if !self.progress.is_done(slot) {
                return Some(slot);
            }
        }
    }

    pub(super) fn bad_example(&self, index: usize, cause: String) -> RunError {
        RunError::Example { number: index + 1, dataset: self.progress.header().dataset.clone(), cause }
    }

    pub(super) fn damaged(&self, cause: String) -> RunError {
        RunError::Damaged { run: self.progress.header().id.clone(), cause }
    }
}

fn close(run: RunId, halt: &Halt, dispatched: Option<Result<Dispatched, JoinError>>) -> Result<RunOutcome, RunError> {
    if let Some(fault) = halt.take_fault() {
        return Err(fault);
    }
    let Dispatched { totals, complete, listener_failures } = match dispatched {
        Some(Ok(dispatched)) => dispatched,
        Some(Err(error)) => return Err(broke(error)),
        None => return Err(RunError::Setup { run, cause: "no dispatcher ran".to_owned() }),
    };
    let status = if complete { RunStatus::Complete } else { RunStatus::Stopped };
    let stop = if complete { None } else { halt.reason() };
    Ok(RunOutcome { run, totals, status, stop, listener_failures })
}

/// A task of the runner panicked: a bug, shown as one where the runner is called.
fn broke(error: JoinError) -> RunError {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => RunError::Setup { run: RunId::new(""), cause: error.to_string() },
    }
}

/// The order of the examples by their places; `None` for that of the dataset.
fn places(order: &Order, header: &RunHeader) -> Option<Arc<Vec<u32>>> {
    match order {
        Order::Dataset => return None,
        Order::Given(places) => return Some(Arc::clone(places)),
        Order::Shuffled => {}
    }
    let mut places: Vec<u32> = (0..u32::try_from(header.examples).unwrap_or(u32::MAX)).collect();
    places.shuffle(&mut Pcg64Mcg::seed_from_u64(header.seed));
    Some(Arc::new(places))
}

fn check(job: &Job) -> Result<(), RunError> {
    let refuse = |cause: String| Err(RunError::Setup { run: job.header.id.clone(), cause });
    if job.examples.len() as u64 != job.header.examples {
        return refuse(format!("{} examples, {} in its header", job.examples.len(), job.header.examples));
    }
    if let Order::Given(places) = &job.options.order {
        let distinct: std::collections::BTreeSet<&u32> = places.iter().collect();
        if distinct.len() != places.len() || places.len() as u64 != job.header.examples {
            return refuse(format!("an order of {} places for {} examples", places.len(), job.header.examples));
        }
    }
    if !job.graders.iter().map(|grader| &grader.info).eq(&job.header.graders) {
        return refuse("its graders are not those in its header".to_owned());
    }
    Ok(())
}
