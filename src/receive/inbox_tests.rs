//! The inbox against a keeper that fails, and over a crash.

use std::sync::{Arc, Mutex};

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

    fn flush(&mut self) -> Result<(), SinkError> {
        let mut failures = self.failures.lock().unwrap();
        let mut taken = self.taken.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            taken.clear();
            return Err("disk is full".into());
        }
        self.kept.lock().unwrap().append(&mut taken);
        Ok(())
    }
}

fn span(name: &str) -> Item {
    Item::Span(Box::new(Span::new(TraceId::from("t"), SpanId::from(name), SpanKind::Step, name, 1)))
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
            tokio::spawn(async move { inbox.submit(vec![span(&format!("{i:02}"))]).await })
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
        inbox.submit(vec![span(name)]).await.unwrap();
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
    inbox.submit(vec![span("new")]).await.unwrap();
    drop(inbox);
    assert_eq!(thread.join().unwrap(), Ok(()));
    assert_eq!(*names.kept.lock().unwrap(), ["left", "new"]);
}
