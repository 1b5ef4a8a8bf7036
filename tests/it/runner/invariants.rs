//! What holds of every run, whatever its targets, graders, stores and listeners do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use assize::model::{Event, Failure, FailureKind, JournalEntry, RunStatus, RunTotals, Score, Unscored, UnscoredReason};
use assize::runner::{Mode, Order, RunError, execute};
use assize::store::StoreError;

use super::doubles::*;

/// A world where all kinds of things go wrong, always the same ones.
async fn troubled(examples: usize) -> World {
    let mut world = World::new(examples).await;
    world.trials = 2;
    world.target = Arc::new(Scripted::new(|example, trial, attempt| match example {
        "e3" => Err(Failure::new(FailureKind::TargetError, "exit code 1")),
        "e4" if attempt < 3 => Err(Failure::new(FailureKind::Server, "503")),
        "e5" => Err(Failure::new(FailureKind::Server, "503 for ever")),
        "e6" if trial == 1 => panic!("the target breaks"),
        _ => Ok((format!("{example}/{trial}"), 0.001)),
    }));
    let broken = Part::rule(|input| {
        assert!(input.example.id.as_str() != "e2", "the scorer breaks");
        Ok(Score::pass(true, ""))
    });
    let moody = Part::juror(Juror::new(|text, draw| {
        assert!(!text.starts_with("e1/"), "the judge breaks");
        match draw {
            0 => graded(Ok(Score::pass(true, text)), 0.5),
            _ => graded(Err(Unscored::new(UnscoredReason::CannotJudge, "?")), f64::NAN),
        }
    }));
    world.graders.extend([("broken", 1, broken), ("moody", 2, moody)]);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_trouble_is_complete_and_in_order() {
    let world = troubled(12).await;
    let (listener, heard) = recorder();
    let outcome = execute(world.job(Mode::Fresh, vec![listener])).await.unwrap();
    assert_eq!((outcome.status, &outcome.stop), (RunStatus::Complete, &None));
    let journal = world.journal().await;
    let results = check(&journal);
    assert_eq!(results.totals, outcome.totals);

    // Two trials each of e3 and e5 fail, and the second of e6.
    let totals = &outcome.totals;
    assert_eq!((totals.trials_ok, totals.trials_failed, totals.cells_planned), (19, 5, 24 * 6));
    assert_eq!(totals.unscored[&UnscoredReason::TargetFailed], 5 * 6);
    // e2 breaks the scorer twice, e1 the judge in two trials of two draws.
    assert_eq!(totals.unscored[&UnscoredReason::ScorerFault], 2 + 4);
    assert_eq!(totals.unscored[&UnscoredReason::CannotJudge], 17);
    // e4 and e5 are each tried twice more in both trials.
    assert_eq!(totals.retries, 8);
    let spend = &totals.judge_spend;
    assert!((spend.cost_usd - (17.0 * 0.5 + 38.0 * 0.01)).abs() < 1e-9 && spend.unpriced_calls == 17, "{spend:?}");

    // The listener saw the journal, each entry with the fold up to it.
    let heard = heard.lock().unwrap();
    assert_eq!(heard.iter().map(|(entry, _)| entry.clone()).collect::<Vec<_>>(), journal);
    for (place, (_, totals)) in heard.iter().enumerate() {
        assert_eq!(&fold(&journal[..=place]).totals, totals);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_do_not_depend_on_order_or_concurrency() {
    let world = troubled(9).await;
    world.run().await.unwrap();
    let expected = check(&world.journal().await);
    for (targets, judges, order) in [(1, 1, Order::Dataset), (3, 50, Order::Shuffled), (40, 2, Order::Shuffled)] {
        let mut other = world.empty().await;
        other.options.target_concurrency = targets;
        other.options.judge_concurrency = judges;
        other.options.order = order;
        other.run().await.unwrap();
        assert_eq!(check(&other.journal().await).examples, expected.examples);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_tried_once_before_any_is_tried_twice() {
    let mut world = World::new(20).await;
    world.trials = 3;
    world.options.target_concurrency = 1;
    world.options.judge_concurrency = 1;
    world.options.order = Order::Shuffled;
    let asked = Arc::new(Mutex::new(Vec::new()));
    world.target = Arc::new(Scripted::new({
        let asked = Arc::clone(&asked);
        move |example, trial, _| {
            asked.lock().unwrap().push((example.to_owned(), trial));
            Ok((String::new(), 0.0))
        }
    }));
    world.run().await.unwrap();
    let mut asked = asked.lock().unwrap().clone();
    let firsts: Vec<String> = asked.iter().map(|(example, _)| example.clone()).take(20).collect();
    assert_ne!(firsts, (0..20).map(|number| format!("e{number}")).collect::<Vec<_>>(), "shuffled");
    // Two workers may overtake each other by one.
    let early = asked.iter().take(18).filter(|(_, trial)| *trial == 0).count();
    assert_eq!(early, 18);
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_concurrency_and_memory_are_kept() {
    let mut world = World::new(200).await;
    let mut target = Scripted::echo();
    target.delay = Duration::from_millis(2);
    let mut juror = Juror::of_price(0.0);
    juror.delay = Duration::from_millis(1);
    let (target, juror) = (Arc::new(target), Arc::new(juror));
    world.target = Arc::clone(&target);
    world.graders[1].2 = Part::Juror(Arc::clone(&juror));
    world.options.target_concurrency = 6;
    world.options.judge_concurrency = 3;
    world.run().await.unwrap();
    assert_eq!((target.gauge.calls(), juror.gauge.calls()), (200, 400));
    assert!((4..=6).contains(&target.gauge.most()), "{}", target.gauge.most());
    assert!((2..=3).contains(&juror.gauge.most()), "{}", juror.gauge.most());
    assert!(world.examples.most_alive.load(Ordering::Relaxed) <= 9, "{:?}", world.examples.most_alive);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_listener_is_dropped_and_named_and_changes_nothing() {
    let world = troubled(6).await;
    world.run().await.unwrap();
    let expected = check(&world.journal().await);

    let world = world.empty().await;
    let (listener, heard) = recorder();
    let calls = Arc::new(AtomicUsize::new(0));
    let panics = Ear("panics", {
        let calls = Arc::clone(&calls);
        move |entry: &JournalEntry, _: &RunTotals| {
            calls.fetch_add(1, Ordering::Relaxed);
            assert!(entry.seq != 7, "the screen is gone");
            Ok(())
        }
    });
    let fails = Ear("fails", |entry: &JournalEntry, _: &RunTotals| match entry.seq {
        0 => Err("the disk is full".to_owned()),
        _ => panic!("asked again after it failed"),
    });
    let job = world.job(Mode::Fresh, vec![Box::new(panics), Box::new(fails), listener]);
    let outcome = execute(job).await.unwrap();
    assert_eq!(outcome.listener_failures, ["fails: the disk is full", "panics: it panicked: the screen is gone"]);
    assert_eq!(calls.load(Ordering::Relaxed), 8);
    let journal = world.journal().await;
    assert_eq!(heard.lock().unwrap().len(), journal.len());
    assert_eq!(check(&journal).examples, expected.examples);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_for_good_stops_the_run_and_nothing_unwritten_was_shown() {
    let whole = troubled(8).await;
    whole.run().await.unwrap();
    let expected = check(&whole.journal().await);
    for at in (1..10).chain((10..200).step_by(9)) {
        let mut world = whole.empty().await;
        world.options.target_concurrency = 1;
        world.options.judge_concurrency = 1;
        let healthy = Arc::clone(&world.store);
        let appends = AtomicUsize::new(0);
        world.store = Arc::new(Faulty { inner: Arc::clone(&healthy), fault: Fault::ForGood, at, appends });
        let (listener, heard) = recorder();
        let ended = execute(world.job(Mode::Fresh, vec![listener])).await;
        let journal = journal_of(&*healthy).await;
        let shown: Vec<JournalEntry> = heard.lock().unwrap().iter().map(|(entry, _)| entry.clone()).collect();
        if ended.is_ok() {
            assert!(at > 10, "it needs at least a few appends");
            assert_eq!(shown, journal);
            return;
        }
        assert!(matches!(ended, Err(RunError::Store(StoreError::Unreadable { .. }))), "{ended:?}");
        // All that was shown is written, but for the last word.
        let (last, written) = shown.split_last().expect("listeners are told the end");
        assert_eq!(written, journal);
        assert!(matches!(last.event, Event::RunFinished { .. }), "{last:?}");
        if journal.is_empty() {
            continue;
        }
        check(&journal);
        world.store = healthy;
        let outcome = world.resume().await.unwrap();
        assert_eq!(outcome.status, RunStatus::Complete);
        assert_eq!(check(&world.journal().await).examples, expected.examples);
    }
    panic!("the run took 200 appends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_fault_of_the_store_loses_nothing() {
    let whole = troubled(4).await;
    whole.run().await.unwrap();
    let expected = check(&whole.journal().await);
    for (fault, at) in [(Fault::Once, 1), (Fault::Once, 2), (Fault::AnswerLost, 1), (Fault::AnswerLost, 3)] {
        let mut world = whole.empty().await;
        let appends = AtomicUsize::new(0);
        world.store = Arc::new(Faulty { inner: Arc::clone(&world.store), fault, at, appends });
        let outcome = world.run().await.unwrap();
        assert_eq!(outcome.status, RunStatus::Complete, "{fault:?} at {at}");
        assert_eq!(check(&world.journal().await).examples, expected.examples);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_example_ends_the_run_in_plain_words_and_it_can_be_mended() {
    let mut world = World::new(30).await;
    world.options.target_concurrency = 2;
    let mut torn = Made::new(30);
    torn.broken = Some(12);
    world.examples = Arc::new(torn);
    let error = world.run().await.unwrap_err().to_string();
    assert_eq!(error, "example 13 of dataset `refunds@3` cannot be read: the line is torn");
    let results = check(&world.journal().await);
    assert_eq!(results.status, RunStatus::Stopped);
    world.examples = Arc::new(Made::new(30));
    assert_eq!(world.resume().await.unwrap().status, RunStatus::Complete);
    check(&world.journal().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_is_done_at_once() {
    let mut world = World::new(0).await;
    assert_eq!(world.run().await.unwrap().status, RunStatus::Complete);
    check(&world.journal().await);
    world = World::new(3).await;
    world.graders.clear();
    let outcome = world.run().await.unwrap();
    assert_eq!((outcome.status, outcome.totals.trials_ok), (RunStatus::Complete, 3));
    check(&world.journal().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_contradicts_its_header_is_refused() {
    let world = World::new(3).await;
    let mut job = world.job(Mode::Fresh, Vec::new());
    job.header.examples = 4;
    assert!(matches!(execute(job).await, Err(RunError::Setup { .. })));
    let mut job = world.job(Mode::Fresh, Vec::new());
    job.graders.pop();
    assert!(matches!(execute(job).await, Err(RunError::Setup { .. })));
    world.run().await.unwrap();
    assert!(matches!(world.run().await, Err(RunError::Store(StoreError::Conflict { .. }))));
}

/// Prints its figures and asserts none of them.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_cells() {
    let mut world = World::new(2_500).await;
    let scorer =
        || Part::rule(|input| Ok(Score::number(input.output.text().len() as f64, "as long as it is").unwrap()));
    world.graders = ["one", "two", "three", "four"].map(|name| (name, 1, scorer())).to_vec();
    let started = Instant::now();
    let outcome = world.run().await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!((outcome.status, outcome.totals.scored), (RunStatus::Complete, 10_000));
    assert!(world.examples.most_alive.load(Ordering::Relaxed) <= 24);
    println!("{:.0} cells/s over SQLite, {:.2} s", 10_000.0 / seconds, seconds);
}
