//! The one task that numbers events, makes them durable, and only then shows them.
//!
//! Workers put events into an outbox; the dispatcher takes whatever waits there, writes it in one transaction, and
//! hands each entry to the listeners. Under load batches grow by themselves, so that a sync of the disk is shared.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::FailureWatch;
use super::control::Halt;
use super::{Listener, RunError};
use crate::compare::count;
use crate::model::{CancelReason, Digest, Event, JournalEntry, RunId, RunTotals};
use crate::store::{Store, StoreError};
use crate::sys::Clock;

/// Bytes of outputs that may wait.
const WAITING_BYTES: usize = 32 << 20;
/// Messages taken into one transaction.
const BATCH: usize = 512;
/// Waits before a failed write is tried again. Findings that were paid for should outlive a server's restart.
const STORE_WAITS: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(300), Duration::from_millis(1_200)];

/// Events that belong into one transaction, with the output they refer to.
pub(super) struct Message {
    events: Vec<Event>,
    blob: Option<(Digest, Vec<u8>)>,
    _room: Option<OwnedSemaphorePermit>,
    _bytes: Option<OwnedSemaphorePermit>,
}

/// The dispatcher is gone: nothing more can be journaled.
#[derive(Debug)]
pub(super) struct Closed;

/// Where workers put what happened. The channel itself has no bound, so that a notice in the middle of a call can be
/// sent without waiting; the bound is kept by permits for everything else. Notices are as few as failed attempts.
#[derive(Clone)]
pub(super) struct Outbox {
    sender: UnboundedSender<Message>,
    room: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// An outbox and its other end. `waiting` messages may wait to be durable, more make workers wait: what a killed run
/// loses is what was in flight and what waited.
pub(super) fn outbox(waiting: usize) -> (Outbox, UnboundedReceiver<Message>) {
    let (sender, receiver) = unbounded_channel();
    let room = Arc::new(Semaphore::new(waiting));
    (Outbox { sender, room, bytes: Arc::new(Semaphore::new(WAITING_BYTES)) }, receiver)
}

impl Outbox {
    /// Sends events that belong together, with the output they refer to.
    pub(super) async fn send(&self, events: Vec<Event>, blob: Option<(Digest, Vec<u8>)>) -> Result<(), Closed> {
        let size = blob.as_ref().map_or(0, |(_, bytes)| bytes.len().min(WAITING_BYTES));
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(u32::try_from(size).unwrap_or(u32::MAX));
        let bytes = Some(bytes.await.map_err(|_| Closed)?);
        let room = Some(Arc::clone(&self.room).acquire_owned().await.map_err(|_| Closed)?);
        self.sender.send(Message { events, blob, _room: room, _bytes: bytes }).map_err(|_| Closed)
    }

    /// Sends a notice without waiting. When nobody listens any more, the run has already failed.
    pub(super) fn notice(&self, event: Event) {
        let _ = self.sender.send(Message { events: vec![event], blob: None, _room: None, _bytes: None });
    }
}

/// Numbers, writes, counts, shows.
pub(super) struct Dispatcher {
    pub(super) journal: Journal,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) halt: Arc<Halt>,
    pub(super) next_seq: u64,
    pub(super) totals: RunTotals,
    pub(super) watch: FailureWatch,
    pub(super) audience: Audience,
}

/// What the dispatcher leaves behind.
pub(super) struct Dispatched {
    pub(super) totals: RunTotals,
    pub(super) complete: bool,
    pub(super) listener_failures: Vec<String>,
}

impl Dispatcher {
    /// Writes the opening event. `false` when it could not be written; then the halt says why.
    pub(super) async fn open(&mut self, opening: Event) -> bool {
        self.write(vec![opening], Vec::new()).await
    }

    /// Writes what comes until all outboxes are gone, then `run_finished`. Nothing, unless the journal is `writable`.
    pub(super) async fn work(mut self, mut writable: bool, mut inbox: UnboundedReceiver<Message>) -> Dispatched {
        let halt = Arc::clone(&self.halt);
        let mut told = false;
        let mut batch = Vec::with_capacity(BATCH);
        while writable {
            tokio::select! {
                taken = inbox.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    writable = self.take(&mut batch).await;
                }
                () = halt.stopping(), if !told => {
                    told = true;
                    writable = self.tell_stop().await;
                }
            }
        }
        // Workers that still send find the outbox closed.
        inbox.close();
        if writable && !told {
            writable = self.tell_stop().await;
        }
        self.finish(writable).await
    }

    async fn take(&mut self, batch: &mut Vec<Message>) -> bool {
        let mut events = Vec::with_capacity(batch.len());
        let mut blobs = Vec::new();
        // Permits are held until the batch is durable: what waits for the disk counts as waiting.
        let mut permits = Vec::with_capacity(batch.len());
        for message in batch.drain(..) {
            events.extend(message.events);
            blobs.extend(message.blob);
            permits.push((message._room, message._bytes));
        }
        self.write(events, blobs).await
    }

    async fn tell_stop(&mut self) -> bool {
        match self.halt.reason() {
            Some(reason) => self.write(vec![Event::CancelRequested { reason }], Vec::new()).await,
            None => true,
        }
    }

    async fn finish(mut self, writable: bool) -> Dispatched {
        let totals = self.totals.clone();
        let complete = is_complete(&totals);
        let event = Event::RunFinished { totals, complete };
        // When the journal cannot be written, listeners are told the end all the same.
        if !(writable && self.write(vec![event.clone()], Vec::new()).await) {
            let entry = JournalEntry { seq: self.next_seq, at: self.clock.now(), event };
            self.audience.show(&entry, &self.totals);
        }
        Dispatched { totals: self.totals, complete, listener_failures: self.audience.failures }
    }

    /// Numbers and writes events; then counts and shows them. `false` when they could not be written.
    async fn write(&mut self, events: Vec<Event>, blobs: Vec<(Digest, Vec<u8>)>) -> bool {
        let entries: Vec<JournalEntry> = (self.next_seq..)
            .zip(events)
            .map(|(seq, event)| JournalEntry { seq, at: self.clock.now(), event })
            .collect();
        if let Err(error) = self.journal.write(&entries, &blobs).await {
            self.halt.fail_now(RunError::Store(error));
            return false;
        }
        self.next_seq += entries.len() as u64;
        for entry in &entries {
            count(&mut self.totals, &entry.event);
            if let Some(failure) = self.watch.push(&entry.event) {
                self.halt.stop(CancelReason::Fatal { failure });
            }
            self.audience.show(entry, &self.totals);
        }
        true
    }
}

/// One run's journal in the store, written as stubbornly as is sensible.
pub(super) struct Journal {
    pub(super) store: Arc<dyn Store>,
    pub(super) run: RunId,
}

impl Journal {
    async fn write(&self, entries: &[JournalEntry], blobs: &[(Digest, Vec<u8>)]) -> Result<(), StoreError> {
        let mut waits = STORE_WAITS.iter();
        let mut tried = false;
        loop {
            let error = match self.write_once(entries, blobs).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // A write whose answer was lost may have happened: then what conflicts is our own.
            if tried && matches!(error, StoreError::Conflict { .. }) && self.is_there(entries).await {
                return Ok(());
            }
            match waits.next() {
                Some(wait) if matches!(error, StoreError::Failed { .. }) => tokio::time::sleep(*wait).await,
                _ => return Err(error),
            }
            tried = true;
        }
    }

    async fn write_once(&self, entries: &[JournalEntry], blobs: &[(Digest, Vec<u8>)]) -> Result<(), StoreError> {
        // Outputs first: an event must never name an output that is not there.
        if !blobs.is_empty() {
            self.store.put_blobs(blobs).await?;
        }
        self.store.append(&self.run, entries).await
    }

    async fn is_there(&self, entries: &[JournalEntry]) -> bool {
        let Some(first) = entries.first() else { return true };
        let limit = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        self.store.replay(&self.run, first.seq, limit).await.is_ok_and(|there| there == entries)
    }
}

/// Whether every planned trial and cell has an outcome.
pub(super) fn is_complete(totals: &RunTotals) -> bool {
    totals.trials_ok + totals.trials_failed == totals.trials_planned && totals.cells_done() == totals.cells_planned
}

/// The listeners that still listen.
pub(super) struct Audience {
    listeners: Vec<Box<dyn Listener>>,
    failures: Vec<String>,
}

impl Audience {
    pub(super) fn new(listeners: Vec<Box<dyn Listener>>) -> Self {
        Self { listeners, failures: Vec::new() }
    }

    fn show(&mut self, entry: &JournalEntry, totals: &RunTotals) {
        let failures = &mut self.failures;
        self.listeners.retain_mut(|listener| {
            let shown = catch_unwind(AssertUnwindSafe(|| listener.on_entry(entry, totals)));
            let failure = match shown {
                Ok(Ok(())) => return true,
                Ok(Err(cause)) => cause,
                Err(panic) => format!("it panicked: {}", panic_words(&*panic)),
            };
            failures.push(format!("{}: {failure}", listener.name()));
            false
        });
    }
}

/// What a panic said.
pub(super) fn panic_words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}
