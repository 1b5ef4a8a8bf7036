//! Going on after a stop, a kill, or any other end; and who may.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use assize::model::{Digest, Example, Failure, FailureKind, RunId, RunStatus};
use assize::runner::{CallEstimate, Mode, Plan, Progress, Quantity, RunError, execute};
use assize::store::{self, StoreError};
use assize::sys::{Env, SystemClock};

use super::doubles::*;
use crate::store::{Place, moment};

#[tokio::test(flavor = "multi_thread")]
async fn resuming_after_any_prefix_gives_what_an_uninterrupted_run_gives() {
    let mut whole = World::new(5).await;
    whole.trials = 2;
    whole.target = Arc::new(Scripted::new(|example, trial, _| match example {
        "e2" => Err(Failure::new(FailureKind::TargetError, "exit code 1")),
        _ => Ok((format!("{example}/{trial}"), 0.001)),
    }));
    let uninterrupted = whole.run().await.unwrap();
    let journal = whole.journal().await;
    let expected = check(&journal);
    for cut in 1..=journal.len() {
        let world = whole.empty().await;
        for entry in &journal[..cut] {
            let event = serde_json::to_value(&entry.event).unwrap();
            if let Some(digest) = event.pointer("/outcome/digest") {
                let digest: Digest = serde_json::from_value(digest.clone()).unwrap();
                let bytes = whole.store.get_blob(&digest).await.unwrap().unwrap();
                world.store.put_blobs(&[(digest, bytes)]).await.unwrap();
            }
        }
        world.store.append(&RunId::new(RUN), &journal[..cut]).await.unwrap();
        let header = world.header();
        let (progress, _) = Progress::read(&*world.store, &header, &*world.examples).await.unwrap();
        let plan = Plan::of(&progress);
        let outcome = world.resume().await.unwrap();
        assert_eq!(outcome.status, RunStatus::Complete, "cut at {cut}");
        let resumed = world.journal().await;
        let results = check(&resumed);
        assert_eq!(results.examples, expected.examples, "cut at {cut}");
        // Sums of money may differ in the last digit, since the order of entries may.
        let close = |left: f64, right: f64| (left - right).abs() < 1e-9;
        let (mut left, right) = (outcome.totals, uninterrupted.totals.clone());
        assert!(close(left.judge_spend.cost_usd, right.judge_spend.cost_usd));
        assert!(close(left.target_spend.cost_usd, right.target_spend.cost_usd));
        left.judge_spend.cost_usd = right.judge_spend.cost_usd;
        left.target_spend.cost_usd = right.target_spend.cost_usd;
        // The failed target of a trial that was cut is told again only where it had not ended.
        assert_eq!(left, right, "cut at {cut}");
        // The plan said what was left to be called.
        let added = &resumed[cut..];
        let count = |kind: &str| {
            let is_kind = |value: &serde_json::Value| value["event"] == kind;
            added.iter().filter(|entry| is_kind(&serde_json::to_value(&entry.event).unwrap())).count() as u64
        };
        assert_eq!(count("target_finished"), plan.target_calls(), "cut at {cut}");
        assert_eq!(count("score_finished"), plan.cells - plan.cells_done, "cut at {cut}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_calls_and_their_price_beforehand() {
    let mut world = World::new(200).await;
    world.trials = 3;
    let mut plan = Plan::of(&Progress::fresh(&world.header()));
    assert_eq!((plan.trials, plan.cells, plan.target_calls(), plan.judge_calls().0), (600, 1_800, 600, 1_200));
    assert_eq!(plan.total(), None);
    let asked = std::cell::Cell::new(0);
    let call = |example: &Example, grader: Option<&str>| {
        asked.set(asked.get() + 1);
        let length = example.input_text().len() as f64;
        let tokens = Quantity { low: length, high: 2.0 * length };
        match grader {
            None => None,
            Some(name) => {
                assert_eq!(name, "even");
                Some(CallEstimate {
                    calls: Quantity { low: 1.0, high: 1.0 },
                    tokens,
                    cost_usd: Some(Quantity { low: 0.01, high: 0.02 }),
                    ..CallEstimate::default()
                })
            }
        }
    };
    plan.estimate(&*world.examples, 50, &call).unwrap();
    assert_eq!(asked.get(), 100, "only a sample is read");
    let total = plan.total().unwrap();
    assert!((total.cost_usd.low - 12.0).abs() < 1e-9 && (total.cost_usd.high - 24.0).abs() < 1e-9, "{total:?}");
    // Inputs are 7 to 9 characters long.
    assert!((7.0 * 1_200.0..9.0 * 1_200.0).contains(&total.tokens.low) && !total.unpriced, "{total:?}");
    assert_eq!(total.calls, 600 + 1_200);
    plan.estimate(&*world.examples, 5, &|_, _| Some(CallEstimate::default())).unwrap();
    assert!(plan.total().unwrap().unpriced);
    Plan::of(&Progress::fresh(&World::new(0).await.header())).estimate(&Made::new(0), 5, &|_, _| None).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_run_is_not_touched() {
    let world = World::new(3).await;
    let first = world.run().await.unwrap();
    let journal = world.journal().await;
    let again = world.resume().await.unwrap();
    assert_eq!((again.status, &again.totals), (RunStatus::Complete, &first.totals));
    assert_eq!(world.journal().await, journal);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_is_named() {
    let mut world = World::new(3).await;
    world.options.budget.max_time = Some(Duration::ZERO);
    world.run().await.unwrap();
    let mut job = world.job(Mode::Resume { force: false }, Vec::new());
    job.header.dataset_digest = Digest::of(b"another");
    job.header.target.digest = Digest::of(b"another");
    job.header.graders[0].digest = Digest::of(b"another");
    job.header.graders[1].name = "odd".to_owned();
    job.graders[0].info = job.header.graders[0].clone();
    job.graders[1].info = job.header.graders[1].clone();
    let error = execute(job).await.unwrap_err();
    let text = error.to_string();
    for part in
        ["the dataset changed", "the target changed", "grader `length` changed", "`even` is gone", "`odd` is new"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(matches!(error, RunError::Changed { what, .. } if what.len() == 5));
    // Trials and seed are the run's own, whatever is configured today.
    world.trials = 7;
    world.options.budget.max_time = None;
    let outcome = world.resume().await.unwrap();
    assert_eq!((outcome.status, outcome.totals.trials_planned), (RunStatus::Complete, 3));
    let mut job = world.job(Mode::Resume { force: false }, Vec::new());
    job.header.id = RunId::new("0190ffff-none");
    assert!(matches!(execute(job).await, Err(RunError::Store(StoreError::NoSuchRun { .. }))));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_do_not_run_the_same_run() {
    let mut world = World::new(2_000).await;
    let mut target = Scripted::echo();
    target.delay = Duration::from_millis(2);
    let target = Arc::new(target);
    world.target = Arc::clone(&target);
    world.options.lease = Duration::from_millis(60);
    world.options.holder = "first".to_owned();
    let mut job = world.job(Mode::Fresh, Vec::new());
    job.clock = Arc::new(SystemClock);
    let running = tokio::spawn(execute(job));
    while target.gauge.calls() < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = |force| {
        let mut job = world.job(Mode::Resume { force }, Vec::new());
        job.options.holder = "second".to_owned();
        job.clock = Arc::new(SystemClock);
        execute(job)
    };
    // Longer than one lease: it is renewed.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let refused = second(false).await.unwrap_err();
    assert!(matches!(refused, RunError::Claimed { .. }), "{refused}");
    // Forced: the second goes on, or loses the race for the next number and is told; the first gives up either way
    // unless it kept the right.
    let forced = second(true).await;
    let first = running.await.unwrap();
    if forced.is_err() {
        assert!(matches!(forced, Err(RunError::Store(StoreError::Conflict { .. }))), "{forced:?}");
    } else {
        assert!(matches!(first, Err(RunError::Store(StoreError::Conflict { .. }))), "{first:?}");
    }
    world.resume().await.unwrap();
    let results = check(&world.journal().await);
    assert_eq!(results.status, RunStatus::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_holders_right_ends_by_itself() {
    let mut world = World::new(2).await;
    let now = moment(0);
    let until = now + jiff::SignedDuration::from_millis(40);
    world.store.claim(&RunId::new(RUN), "dead", now, until).await.unwrap();
    // The frozen clock never gets there.
    assert!(matches!(world.run().await, Err(RunError::Claimed { .. })));
    world.options.claim_wait = Duration::from_secs(20);
    let mut job = world.job(Mode::Fresh, Vec::new());
    job.clock = Arc::new(SystemClock);
    let now = assize::sys::Clock::now(&SystemClock);
    world.store.release(&RunId::new(RUN), "dead").await.unwrap();
    let until = now + jiff::SignedDuration::from_millis(400);
    world.store.claim(&RunId::new(RUN), "dead", now, until).await.unwrap();
    assert_eq!(execute(job).await.unwrap().status, RunStatus::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_postgres_is_stopped_and_resumed() {
    let Some(place) = Place::postgres() else { return };
    let mut world = World::new(60).await;
    world.store = place.open().await;
    let control = world.control.clone();
    let stopper = Ear("stopper", move |entry: &assize::model::JournalEntry, _: &assize::model::RunTotals| {
        if entry.seq == 50 {
            control.stop();
        }
        Ok(())
    });
    let outcome = execute(world.job(Mode::Fresh, vec![Box::new(stopper)])).await.unwrap();
    assert_eq!(outcome.status, RunStatus::Stopped);
    world.control = assize::runner::Control::new();
    assert_eq!(world.resume().await.unwrap().status, RunStatus::Complete);
    check(&world.journal().await);
    place.end(world.store).await;
}

const KILL_FOLDER: &str = "ASSIZE_TEST_KILL_FOLDER";
const KILL_EXAMPLES: usize = 300;

/// A world that lies in a folder, so that another process can go on with it. Its target notes each call in a file.
async fn world_in(folder: &std::path::Path) -> World {
    let mut world = World::new(KILL_EXAMPLES).await;
    world.store = store::open(folder.join("store.db").to_str().unwrap()).await.unwrap();
    let calls = folder.join("calls");
    let mut target = Scripted::new(move |example, _, _| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&calls).unwrap();
        writeln!(file, "{example}").unwrap();
        Ok((example.to_owned(), 0.0))
    });
    target.delay = Duration::from_millis(2);
    world.target = Arc::new(target);
    world
}

/// Not a test by itself: the process that [`a_killed_run_goes_on_without_loss_or_repetition`] kills.
#[tokio::test(flavor = "multi_thread")]
async fn killed_child() {
    let env = Env::of_process();
    let Some(folder) = env.get(KILL_FOLDER) else { return };
    let world = world_in(std::path::Path::new(folder)).await;
    let fresh = world.store.find_run(RUN).await.is_err();
    let mode = if fresh { Mode::Fresh } else { Mode::Resume { force: true } };
    execute(world.job(mode, Vec::new())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_goes_on_without_loss_or_repetition() {
    let folder = tempfile::tempdir().unwrap();
    let calls_made = || std::fs::read_to_string(folder.path().join("calls")).unwrap_or_default().lines().count();
    let kills = 5;
    for kill in 1..=kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "runner::resuming::killed_child", "--nocapture"])
            .env(KILL_FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while calls_made() < kill * KILL_EXAMPLES / 8 {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // SIGKILL: nothing gets to tidy up.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let world = world_in(folder.path()).await;
    let seen = world.journal().await;
    let mode = if seen.is_empty() { Mode::Fresh } else { Mode::Resume { force: true } };
    let outcome = execute(world.job(mode, Vec::new())).await.unwrap();
    assert_eq!(outcome.status, RunStatus::Complete);
    let journal = world.journal().await;
    let results = check(&journal);
    assert_eq!(results.examples.len(), KILL_EXAMPLES);
    assert_eq!(journal[..seen.len()], seen, "what was written stays as it was");
    let calls = calls_made();
    // A kill loses what was in flight and what waited for the disk.
    let in_flight = 2 * (world.options.target_concurrency + world.options.judge_concurrency);
    let most = KILL_EXAMPLES + kills * in_flight;
    assert!((KILL_EXAMPLES..=most).contains(&calls), "{calls} calls after {kills} kills");
    println!("{kills} kills, {} entries before the last sitting, {calls} calls", seen.len());
}
