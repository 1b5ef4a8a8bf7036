//! The inbox against a keeper that fails, and over a crash.

use std::sync::{Arc, Mutex};

use super::super::budget::Budget;
use super::*;
use crate::model::{Span, SpanId, SpanKind, TraceId};

/// Keeps names of spans; fails as often as told.
#[derive(Clone, Default)]
struct Names {
    taken: Arc<Mutex<Vec<String>>>,
    kept: Arc<Mutex<Vec<String>>>,
    failures: Arc<Mutex<usize>>,
}

impl Keeper for Names {
    fn take(&mut self, items: Vec<Item>) -> Result<(), SinkError> {
        let name = |item: Item| match item {
            Item::Span(span) => span.name,
            other => panic!("{other:?}"),
        };
        self.taken.lock().unwrap().extend(items.into_iter().map(name));
        Ok(())
    }

    fn flush(&mut self) -> Result<Flushed, SinkError> {
        let mut failures = self.failures.lock().unwrap();
        let mut taken = self.taken.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            taken.clear();
            return Err("disk is full".into());
        }
        let mut kept = self.kept.lock().unwrap();
        let (waiting, now): (Vec<_>, Vec<_>) = taken.drain(..).partition(|name| name == "late" && kept.is_empty());
        kept.extend(now);
        Ok(Flushed { waiting: waiting.iter().map(|name| span(name)).collect(), given_up: 0 })
    }
}

fn span(name: &str) -> Item {
    Item::Span(Box::new(Span::new(TraceId::from("t"), SpanId::from(name), SpanKind::Step, name, 1)))
}

fn share() -> Share {
    Budget::new(1 << 20).share()
}

fn quick() -> Pace {
    Pace { flush_after: Duration::from_millis(5), ..Pace::default() }
}

fn started(folder: &std::path::Path, names: &Names, pace: Pace) -> (Inbox, JoinHandle<Result<(), String>>) {
    Inbox::start(Spool::open(folder).unwrap(), Box::new(names.clone()), pace, Box::new(|_| ())).unwrap()
}

#[tokio::test]
async fn everything_submitted_is_kept_once_and_the_spool_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let names = Names::default();
    let (inbox, thread) = started(folder.path(), &names, quick());
    let jobs: Vec<_> = (0..50)
        .map(|i| {
            let inbox = inbox.clone();
            tokio::spawn(async move { inbox.submit(vec![span(&format!("{i:02}"))], share()).await })
        })
        .collect();
    for job in jobs {
        assert_eq!(job.await.unwrap(), Ok(()));
    }
    drop(inbox);
    assert_eq!(thread.join().unwrap(), Ok(()));
    let mut kept = names.kept.lock().unwrap().clone();
    kept.sort();
    assert_eq!(kept, (0..50).map(|i| format!("{i:02}")).collect::<Vec<_>>());
    assert!(Spool::open(folder.path()).unwrap().items().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_failing_keeper_drops_is_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let names = Names::default();
    *names.failures.lock().unwrap() = 3;
    let (inbox, thread) = started(folder.path(), &names, quick());
    for name in ["a", "b", "c"] {
        inbox.submit(vec![span(name)], share()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(inbox);
    let mut ended = thread.join().unwrap();
    if ended.is_err() {
        // Stopped while the keeper was still failing: the next start finds all of it.
        let (inbox, thread) = started(folder.path(), &names, quick());
        drop(inbox);
        ended = thread.join().unwrap();
    }
    assert_eq!(ended, Ok(()));
    assert_eq!(*names.kept.lock().unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_crash_between_durable_and_kept_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path()).unwrap();
    spool.append(&[span("left")]).unwrap();
    drop(spool);
    let names = Names::default();
    let (inbox, thread) = started(folder.path(), &names, quick());
    inbox.submit(vec![span("new")], share()).await.unwrap();
    drop(inbox);
    assert_eq!(thread.join().unwrap(), Ok(()));
    assert_eq!(*names.kept.lock().unwrap(), ["left", "new"]);
}

#[tokio::test]
async fn what_waits_is_given_again_also_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let names = Names::default();
    let (inbox, thread) = started(folder.path(), &names, quick());
    inbox.submit(vec![span("late")], share()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(inbox);
    assert_eq!(thread.join().unwrap(), Ok(()));
    assert!(names.kept.lock().unwrap().is_empty());
    names.taken.lock().unwrap().clear();
    let (inbox, thread) = started(folder.path(), &names, quick());
    inbox.submit(vec![span("a")], share()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    inbox.submit(vec![span("b")], share()).await.unwrap();
    drop(inbox);
    assert_eq!(thread.join().unwrap(), Ok(()));
    let mut kept = names.kept.lock().unwrap().clone();
    kept.sort();
    assert_eq!(kept, ["a", "b", "late"]);
    assert!(Spool::open(folder.path()).unwrap().items().unwrap().is_empty());
}

#[tokio::test]
async fn a_full_inbox_that_cannot_keep_does_not_try_with_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let names = Names::default();
    *names.failures.lock().unwrap() = 1000;
    let pace = Pace { flush_after: Duration::from_secs(3600), flush_at: 2, ..Pace::default() };
    let (inbox, thread) = started(folder.path(), &names, pace);
    for number in 0..50 {
        inbox.submit(vec![span(&number.to_string())], share()).await.unwrap();
    }
    let tried = 1000 - *names.failures.lock().unwrap();
    assert_eq!(tried, 1);
    *names.failures.lock().unwrap() = 0;
    drop(inbox);
    assert_eq!(thread.join().unwrap(), Ok(()));
    assert_eq!(names.kept.lock().unwrap().len(), 50);
}

#[tokio::test]
async fn many_bytes_bring_the_keeping_forward() {
    let folder = tempfile::tempdir().unwrap();
    let names = Names::default();
    let pace = Pace { flush_after: Duration::from_secs(3600), flush_at_bytes: 1000, ..Pace::default() };
    let (inbox, thread) = started(folder.path(), &names, pace);
    for (name, bytes) in [("a", 600), ("b", 600), ("c", 600)] {
        let mut share = share();
        assert!(share.grow(bytes).is_ok());
        inbox.submit(vec![span(name)], share).await.unwrap();
    }
    // The answer comes when things are on disk, the keeping after it.
    for _ in 0..200 {
        if !names.kept.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*names.kept.lock().unwrap(), ["a", "b"]);
    drop(inbox);
    assert_eq!(thread.join().unwrap(), Ok(()));
}
