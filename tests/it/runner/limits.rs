//! Attempts, time limits, money, deadlines, shares of failures, and the person at the keyboard.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use assize::model::{
    CancelReason, Event, Failure, FailureKind, JournalEntry, RunStatus, RunTotals, Score, TargetOutcome, Unscored,
    UnscoredReason,
};
use assize::runner::{Budget, Mode, execute};
use assize::sys::Clock;
use jiff::{SignedDuration, Timestamp};

use super::doubles::*;
use crate::store::moment;

fn cancels(journal: &[JournalEntry]) -> Vec<CancelReason> {
    let reason = |entry: &JournalEntry| match &entry.event {
        Event::CancelRequested { reason } => Some(reason.clone()),
        _ => None,
    };
    journal.iter().filter_map(reason).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_told_before_the_target_ends() {
    let mut world = World::new(1).await;
    world.target = Arc::new(Scripted::new(|_, _, attempt| match attempt {
        1 | 2 => Err(Failure::new(FailureKind::Server, format!("503 at {attempt}"))),
        _ => Ok(("fine".to_owned(), 0.0)),
    }));
    world.run().await.unwrap();
    let journal = world.journal().await;
    check(&journal);
    let told: Vec<String> = journal
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::AttemptFailed { attempt, failure, retry_in_ms, .. } => {
                Some(format!("{attempt} {} {}", failure.message, retry_in_ms.is_some()))
            }
            Event::TargetFinished { .. } => Some("ended".to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["1 503 at 1 true", "2 503 at 2 true", "ended"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_retries_by_itself_is_asked_once_and_has_no_clock_over_it() {
    let mut world = World::new(1).await;
    let mut target = Scripted::new(|_, _, _| Err(Failure::new(FailureKind::Server, "503")));
    target.retried = false;
    target.delay = Duration::from_millis(120);
    let target = Arc::new(target);
    world.target = Arc::clone(&target);
    world.options.retry.attempt_timeout = Duration::from_millis(10);
    let outcome = world.run().await.unwrap();
    assert_eq!((target.gauge.calls(), outcome.totals.trials_failed, outcome.totals.retries), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_hangs_is_given_up() {
    let mut world = World::new(2).await;
    let mut target = Scripted::echo();
    target.delay = Duration::from_secs(3_600);
    world.target = Arc::new(target);
    world.options.retry.attempt_timeout = Duration::from_millis(20);
    world.options.retry.max_attempts = 2;
    let outcome = world.run().await.unwrap();
    assert_eq!((outcome.status, outcome.totals.trials_failed, outcome.totals.retries), (RunStatus::Complete, 2, 2));
    let journal = world.journal().await;
    check(&journal);
    let timeouts = journal.iter().filter(|entry| {
        matches!(&entry.event, Event::TargetFinished { outcome: TargetOutcome::Failed { failure }, .. }
            if failure.kind == FailureKind::Timeout)
    });
    assert_eq!(timeouts.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_never_overspent_and_more_of_it_finishes_the_run() {
    for foretold in [None, Some(0.03)] {
        let mut world = World::new(40).await;
        world.target = Arc::new(Scripted::new(|example, _, _| Ok((example.to_owned(), 0.02))));
        let mut juror = Juror::of_price(0.03);
        juror.delay = Duration::from_millis(1);
        world.graders[1].2 = Part::juror(juror);
        world.options.target_concurrency = 20;
        world.options.judge_concurrency = 20;
        let budget = Budget { max_cost_usd: Some(1.0), judge_call_usd: foretold, ..Budget::default() };
        world.options.budget = budget.clone();
        let outcome = world.run().await.unwrap();
        assert_eq!((outcome.status, outcome.stop.clone()), (RunStatus::Stopped, Some(CancelReason::BudgetSpent)));
        let spent = |totals: &RunTotals| totals.target_spend.cost_usd + totals.judge_spend.cost_usd;
        let first = spent(&outcome.totals);
        assert!(first <= 1.0 + 1e-9 && first > 0.9, "{first}");
        let journal = world.journal().await;
        check(&journal);
        assert_eq!(cancels(&journal), [CancelReason::BudgetSpent]);

        // The limit is the run's, not the sitting's.
        let again = world.resume().await.unwrap();
        assert_eq!((again.stop, spent(&again.totals) <= 1.0 + 1e-9), (Some(CancelReason::BudgetSpent), true));
        world.options.budget = Budget { max_cost_usd: Some(10.0), ..budget };
        let outcome = world.resume().await.unwrap();
        assert_eq!(outcome.status, RunStatus::Complete);
        assert!((spent(&outcome.totals) - 40.0 * (0.02 + 2.0 * 0.03)).abs() < 1e-9);
        check(&world.journal().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn judges_keep_to_their_share() {
    let mut world = World::new(40).await;
    world.target = Arc::new(Scripted::new(|example, _, _| Ok((example.to_owned(), 0.001))));
    world.graders[1].2 = Part::juror(Juror::of_price(0.05));
    world.options.budget = Budget { max_cost_usd: Some(2.0), judge_share: Some(0.25), ..Budget::default() };
    let outcome = world.run().await.unwrap();
    assert_eq!(outcome.stop, Some(CancelReason::BudgetSpent));
    let spent = outcome.totals.judge_spend.cost_usd;
    assert!(spent <= 0.5 + 1e-9 && spent > 0.4, "{spent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_lets_calls_in_flight_finish() {
    let mut world = World::new(1_000).await;
    let mut target = Scripted::echo();
    target.delay = Duration::from_millis(20);
    world.target = Arc::new(target);
    world.options.budget.max_time = Some(Duration::from_millis(100));
    let outcome = world.run().await.unwrap();
    assert_eq!((outcome.status, outcome.stop), (RunStatus::Stopped, Some(CancelReason::DeadlinePassed)));
    assert!(outcome.totals.trials_ok >= 8, "{:?}", outcome.totals);
    check(&world.journal().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_stops_the_run_and_leaves_its_cells_to_be_done() {
    for at_target in [true, false] {
        let mut world = World::new(50).await;
        let mended = Arc::new(AtomicBool::new(false));
        let refused = || Failure::new(FailureKind::Auth, "401: the key was refused");
        let is_mended = Arc::clone(&mended);
        if at_target {
            world.target = Arc::new(Scripted::new(move |example, _, _| match is_mended.load(Ordering::SeqCst) {
                true => Ok((example.to_owned(), 0.0)),
                false => Err(refused()),
            }));
        } else {
            world.graders[1].2 = Part::juror(Juror::new(move |_, _| {
                let mut graded = graded(Ok(Score::pass(true, "")), 0.0);
                if !is_mended.load(Ordering::SeqCst) {
                    graded.scored = Err(Unscored::new(UnscoredReason::ProviderFailed, "401"));
                    graded.fatal = Some(refused());
                }
                graded
            }));
        }
        let outcome = world.run().await.unwrap();
        assert_eq!(
            (outcome.status, outcome.stop),
            (RunStatus::Stopped, Some(CancelReason::Fatal { failure: refused() }))
        );
        let totals = outcome.totals;
        assert_eq!((totals.trials_failed, totals.instrument_failures()), (0, 0), "nothing is held against the target");
        assert!(totals.trials_ok < 50);
        mended.store(true, Ordering::SeqCst);
        let outcome = world.resume().await.unwrap();
        assert_eq!((outcome.status, outcome.totals.scored), (RunStatus::Complete, 150));
        check(&world.journal().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_stop_the_run() {
    let mut world = World::new(500).await;
    world.target = Arc::new(Scripted::new(|_, _, _| Err(Failure::new(FailureKind::TargetError, "exit code 1"))));
    world.options.budget.max_failures = Some(0.5);
    let outcome = world.run().await.unwrap();
    assert!(outcome.totals.trials_failed >= 10 && outcome.totals.trials_failed < 500, "{:?}", outcome.totals);
    let Some(CancelReason::Fatal { failure }) = outcome.stop else { panic!("{:?}", outcome.stop) };
    assert!(failure.message.contains("trials failed") && failure.message.contains("exit code 1"), "{failure}");
    check(&world.journal().await);

    let mut world = World::new(500).await;
    world.graders[1].2 =
        Part::juror(Juror::new(|_, _| graded(Err(Unscored::new(UnscoredReason::Timeout, "60 s")), 0.0)));
    world.options.budget.max_failures = Some(0.2);
    let outcome = world.run().await.unwrap();
    let Some(CancelReason::Fatal { failure }) = outcome.stop else { panic!("{:?}", outcome.stop) };
    assert!(failure.message.contains("judge cells failed"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_stop_finishes_what_runs_and_the_second_drops_it() {
    for presses in [1, 2] {
        let mut world = World::new(100).await;
        let mut target = Scripted::echo();
        target.delay = Duration::from_millis(if presses == 1 { 50 } else { 3_600_000 });
        let target = Arc::new(target);
        world.target = Arc::clone(&target);
        world.options.retry.attempt_timeout = Duration::from_secs(7_200);
        let running = tokio::spawn(execute(world.job(Mode::Fresh, Vec::new())));
        while target.gauge.calls() < 8 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let stopped = Instant::now();
        (0..presses).for_each(|_| world.control.stop());
        let outcome = running.await.unwrap().unwrap();
        assert!(stopped.elapsed() < Duration::from_secs(10));
        assert_eq!((outcome.status, outcome.stop), (RunStatus::Stopped, Some(CancelReason::Interrupted)));
        let calls = u64::from(target.gauge.calls());
        assert_eq!(outcome.totals.trials_ok, if presses == 1 { calls } else { 0 });
        let journal = world.journal().await;
        check(&journal);
        assert_eq!(cancels(&journal), [CancelReason::Interrupted]);

        let mut resumed = World::new(0).await;
        resumed.examples = Arc::clone(&world.examples);
        resumed.store = Arc::clone(&world.store);
        resumed.graders = world.graders.clone();
        assert_eq!(resumed.resume().await.unwrap().status, RunStatus::Complete);
        check(&world.journal().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_at_any_entry_leaves_a_run_that_can_go_on() {
    let whole = World::new(12).await;
    whole.run().await.unwrap();
    let expected = check(&whole.journal().await);
    for at in (0..expected.totals.cells_planned).step_by(3) {
        let mut world = whole.empty().await;
        let control = world.control.clone();
        let stopper = Ear("stopper", move |entry: &JournalEntry, _: &RunTotals| {
            if entry.seq == at {
                control.stop();
                if at % 2 == 0 {
                    control.stop();
                }
            }
            Ok(())
        });
        execute(world.job(Mode::Fresh, vec![Box::new(stopper)])).await.unwrap();
        check(&world.journal().await);
        world.control = assize::runner::Control::new();
        let outcome = world.resume().await.unwrap();
        assert_eq!(outcome.status, RunStatus::Complete);
        let results = check(&world.journal().await);
        assert_eq!(results.examples, expected.examples, "stopped at {at}");
        assert_eq!(results.totals.cells_done(), expected.totals.cells_done());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_a_wait_does_not_wait() {
    let mut world = World::new(1).await;
    let calls = Arc::new(AtomicU32::new(0));
    let waits = Arc::new(Mutex::new(Instant::now()));
    world.target = Arc::new(Scripted::new({
        let calls = Arc::clone(&calls);
        move |_, _, _| {
            calls.fetch_add(1, Ordering::SeqCst);
            *waits.lock().unwrap() = Instant::now();
            Err(Failure::new(FailureKind::RateLimited, "429").retry_after_ms(Some(3_600_000)))
        }
    }));
    let running = tokio::spawn(execute(world.job(Mode::Fresh, Vec::new())));
    while calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.control.stop();
    let outcome = running.await.unwrap().unwrap();
    assert_eq!((outcome.status, outcome.totals.trials_failed), (RunStatus::Stopped, 0));
}

/// A clock that is set forward by a day, back by two, and so on: a machine that wakes, or is told the time.
#[derive(Debug, Default)]
struct JumpingClock(AtomicU32);

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        let reading = i64::from(self.0.fetch_add(1, Ordering::Relaxed));
        let days = if reading % 2 == 0 { 1 } else { -1 };
        moment(0) + SignedDuration::from_hours(24 * days) + SignedDuration::from_millis(reading)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_costs_no_cell_and_no_second_ask() {
    let mut world = World::new(200).await;
    let target = Arc::new(Scripted::echo());
    world.target = Arc::clone(&target);
    world.options.lease = Duration::from_millis(30);
    let clock = Arc::new(JumpingClock::default());
    let mut job = world.job(Mode::Fresh, Vec::new());
    job.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let begun = Instant::now();
    let outcome = execute(job).await.unwrap();
    assert_eq!(outcome.status, RunStatus::Complete);
    let journal = world.journal().await;
    let results = check(&journal);
    assert_eq!((results.status, target.gauge.calls()), (RunStatus::Complete, 200));
    assert!(journal.windows(2).any(|two| two[1].at < two[0].at), "the clock did jump");
    assert!(begun.elapsed() < Duration::from_secs(60), "nothing waited for the clock");
    // Another holder meets the right that was given back, whatever the clock says by then.
    let mut job = world.job(Mode::Resume { force: false }, Vec::new());
    job.clock = clock;
    assert_eq!(execute(job).await.unwrap().status, RunStatus::Complete);
    assert_eq!(target.gauge.calls(), 200, "nothing is done again");
}
