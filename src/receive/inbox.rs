//! One thread that puts what requests hold on disk and hands it on in larger pieces.
//!
//! Requests that wait together are made durable together, so the disk is asked once for many. When more waits than
//! `Pace` allows, new requests are refused at once: a sender that is told "later" keeps its spans, one that waits
//! for ever loses them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::budget::Share;
use super::spool::{SetAside, Spool};
use crate::ingest::{Item, SinkError};

/// Requests made durable by one write at most.
const TOGETHER: usize = 256;
/// Wait where there is nothing to do.
const IDLE: Duration = Duration::from_secs(3600);
/// Wait where only log records wait for their spans: whether they have waited too long is found out by keeping.
const RECHECK: Duration = Duration::from_secs(60);

/// Keeps what was received, for good.
pub trait Keeper: Send {
    /// Takes it; it need not be kept before [`Keeper::flush`].
    ///
    /// # Errors
    /// When it cannot be kept; it will be given again.
    fn take(&mut self, items: Vec<Item>) -> Result<(), SinkError>;

    /// Keeps what was taken, and lets go of it. What cannot be kept yet is given back: it goes into the spool and is
    /// given again.
    ///
    /// # Errors
    /// When it cannot be kept; everything since the last flush will be given again.
    fn flush(&mut self) -> Result<Flushed, SinkError>;
}

/// What a flush did not keep.
#[derive(Debug, Default)]
pub struct Flushed {
    /// What still waits.
    pub waiting: Vec<Item>,
    /// How many things waited too long and were let go.
    pub given_up: usize,
}

/// When things are kept and how much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Longest time between receiving and keeping.
    pub flush_after: Duration,
    /// Things received that bring the keeping forward.
    pub flush_at: usize,
    /// Bytes received that bring the keeping forward.
    pub flush_at_bytes: usize,
    /// Requests that may wait to be made durable.
    pub waiting: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { flush_after: Duration::from_secs(10), flush_at: 50_000, flush_at_bytes: 128 << 20, waiting: 1024 }
    }
}

/// Something worth telling whoever runs the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// So many things were kept.
    Kept(usize),
    /// Left by an earlier process and taken over.
    Recovered(usize),
    /// Could not be kept; it stays in the spool and is tried again.
    Failed(String),
    /// So many log records waited too long for their spans and were let go.
    GivenUp(usize),
    /// A file of the spool with lines that could not be read.
    Unreadable(SetAside),
}

enum Message {
    Waiting(Waiting),
    Close,
}

struct Waiting {
    items: Vec<Item>,
    /// The memory of the request, given back with this.
    share: Share,
    durable: oneshot::Sender<Result<(), String>>,
}

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too much waits already.
    Full,
    /// It cannot be made durable, or the thread has ended.
    Broken(String),
}

/// The way in. Clones share one thread; it ends when one of them is closed, or all are gone.
#[derive(Clone)]
pub struct Inbox {
    sender: SyncSender<Message>,
}

impl Inbox {
    /// Starts the thread. What the spool still holds is kept first.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        spool: Spool,
        keeper: Box<dyn Keeper>,
        pace: Pace,
        tell: Box<dyn Fn(Told) + Send>,
    ) -> std::io::Result<(Self, JoinHandle<Result<(), String>>)> {
        let (sender, receiver) = sync_channel(pace.waiting);
        let worker = Worker {
            spool,
            keeper,
            pace,
            tell,
            held: 0,
            held_bytes: 0,
            since: None,
            waiting: 0,
            flushed: Instant::now(),
            lost: true,
        };
        let thread = std::thread::Builder::new().name("inbox".to_owned()).spawn(move || worker.run(&receiver))?;
        Ok((Self { sender }, thread))
    }

    /// Takes no more; what waits is made durable and kept, then the thread ends. Waits while the inbox is full, so it
    /// is not for asynchronous code. Connections that linger hold clones, so their end cannot be waited for.
    pub fn close(&self) {
        // A thread that has ended is closed.
        let _ = self.sender.send(Message::Close);
    }

    /// Waits until the items are on disk.
    pub(super) async fn submit(&self, items: Vec<Item>, share: Share) -> Result<(), Refused> {
        let (durable, answer) = oneshot::channel();
        match self.sender.try_send(Message::Waiting(Waiting { items, share, durable })) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Refused::Full),
            Err(TrySendError::Disconnected(_)) => return Err(Refused::Broken("receiver is stopping".to_owned())),
        }
        match answer.await {
            Ok(done) => done.map_err(Refused::Broken),
            Err(_) => Err(Refused::Broken("receiver is stopping".to_owned())),
        }
    }
}

struct Worker {
    spool: Spool,
    keeper: Box<dyn Keeper>,
    pace: Pace,
    tell: Box<dyn Fn(Told) + Send>,
    /// Things in the spool that the keeper has and has not kept.
    held: usize,
    /// Bytes of the requests that brought them.
    held_bytes: usize,
    /// When the first of them came, or keeping failed last.
    since: Option<Instant>,
    /// Things that the keeper could not keep yet.
    waiting: usize,
    /// Last flush.
    flushed: Instant,
    /// Whether the spool holds things the keeper does not have: after a failure, and at the start.
    lost: bool,
}

impl Worker {
    fn run(mut self, receiver: &Receiver<Message>) -> Result<(), String> {
        self.recover();
        loop {
            let wait = self.left();
            match receiver.recv_timeout(wait) {
                Ok(Message::Waiting(first)) => {
                    if self.take_with(first, receiver) {
                        break;
                    }
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            // After a failure everything is read from the spool again: once in a while, not with every request.
            let full = self.held >= self.pace.flush_at || self.held_bytes >= self.pace.flush_at_bytes;
            if self.left().is_zero() || (full && !self.lost) {
                self.flush();
            }
        }
        if self.since.is_some() {
            self.flush();
        }
        if self.since.is_some() {
            return Err("what was received last could not be kept; it is in the spool for the next start".to_owned());
        }
        Ok(())
    }

    /// How long until the next flush is due.
    fn left(&self) -> Duration {
        match self.since {
            Some(since) => self.pace.flush_after.saturating_sub(since.elapsed()),
            None if self.waiting > 0 => RECHECK.saturating_sub(self.flushed.elapsed()),
            None => IDLE,
        }
    }

    /// Takes one and whatever else waits; says whether the inbox was closed meanwhile.
    fn take_with(&mut self, first: Waiting, receiver: &Receiver<Message>) -> bool {
        let mut together = vec![first];
        let mut closed = false;
        while together.len() < TOGETHER && !closed {
            match receiver.try_recv() {
                Ok(Message::Waiting(next)) => together.push(next),
                Ok(Message::Close) => closed = true,
                Err(_) => break,
            }
        }
        self.take(together);
        closed
    }

    fn take(&mut self, together: Vec<Waiting>) {
        let (mut items, mut answers, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for waiting in together {
            items.extend(waiting.items);
            answers.push(waiting.durable);
            shares.push(waiting.share);
        }
        let durable = self.spool.append(&items).map_err(|error| error.to_string());
        if durable.is_ok() && !items.is_empty() {
            self.held += items.len();
            self.held_bytes += shares.iter().map(Share::bytes).sum::<usize>();
            self.since.get_or_insert_with(Instant::now);
            if !self.lost
                && let Err(error) = self.keeper.take(items)
            {
                self.lost = true;
                (self.tell)(Told::Failed(error.to_string()));
            }
        }
        for answer in answers {
            // A sender that has gone away does not need the answer.
            let _ = answer.send(durable.clone());
        }
    }

    fn recover(&mut self) {
        match self.spool.items() {
            Ok(items) if items.is_empty() && !self.spool.has_bad() => self.lost = false,
            Ok(items) => {
                if !items.is_empty() {
                    (self.tell)(Told::Recovered(items.len()));
                }
                self.held = items.len();
                self.flush();
            }
            Err(error) => (self.tell)(Told::Failed(error.to_string())),
        }
    }

    fn flush(&mut self) {
        self.flushed = Instant::now();
        match self.try_flush() {
            Ok(()) => {
                (self.tell)(Told::Kept(self.held.saturating_sub(self.waiting)));
                (self.held, self.held_bytes, self.since, self.lost) = (0, 0, None, false);
            }
            Err(error) => {
                self.lost = true;
                self.since = Some(Instant::now());
                (self.tell)(Told::Failed(error.to_string()));
            }
        }
    }

    fn try_flush(&mut self) -> Result<(), SinkError> {
        if self.lost {
            self.keeper.take(self.spool.items()?)?;
        }
        let Flushed { waiting, given_up } = self.keeper.flush()?;
        // Kept twice does no harm, lost does: the spool goes away only now, and what waits takes its place first.
        for aside in self.spool.replace(&waiting)? {
            (self.tell)(Told::Unreadable(aside));
        }
        if given_up > 0 {
            (self.tell)(Told::GivenUp(given_up));
        }
        self.waiting = waiting.len();
        self.keeper.take(waiting)
    }
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
