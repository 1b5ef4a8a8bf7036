//! A receiver of spans that lives as long as a run: what a target sends while it works on a trial becomes the trial's
//! trace. Nothing of it goes into the lake: trials are no production traffic.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::exit::{Done, Failed};
use super::project::{Project, World};
use super::{pricing, redaction};
use crate::config::PriceTable;
use crate::ingest::{Assembler, Item, ReadOptions, SinkError, read_request};
use crate::model::{Failure, FailureKind, Span, Trace};
use crate::receive::{Budget, Flushed, Inbox, Keeper, Pace, Receiver, Spool, serve};
use crate::redact::Redactor;
use crate::target::{Collected, Collector, TraceIds};

/// Most bytes of one request, and of all that are being read.
const MAX_BODY: usize = 64 << 20;
/// Silence after the outermost span that is taken for the end.
const QUIET: Duration = Duration::from_millis(60);
/// Traces that nobody asks for are kept up to so many.
const MOST_TRACES: usize = 20_000;

/// Receives spans and keeps them until their trial asks for them.
pub(super) struct OtlpCollector {
    address: String,
    prices: PriceTable,
    redactor: Arc<Option<Redactor>>,
    heap: Arc<Heap>,
    open: tokio::sync::Mutex<Option<Open>>,
    endpoint: Mutex<Option<SocketAddr>>,
}

/// What is held while it listens; all of it ends when it is dropped.
struct Open {
    _spool: tempfile::TempDir,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What came, by trace.
#[derive(Default)]
struct Heap {
    traces: Mutex<BTreeMap<String, Assembler>>,
    came: Notify,
}

impl Heap {
    fn traces(&self) -> MutexGuard<'_, BTreeMap<String, Assembler>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts what the receiver has read on the heap at once.
struct OnHeap(Arc<Heap>);

impl Keeper for OnHeap {
    fn take(&mut self, items: Vec<Item>) -> Result<(), SinkError> {
        let mut traces = self.0.traces();
        for item in items {
            let id = match &item {
                Item::Span(span) => span.trace_id.as_str().to_owned(),
                Item::Event(event) => event.trace_id.as_str().to_owned(),
                Item::Score(_) | Item::Rejected(_) => continue,
            };
            if traces.len() >= MOST_TRACES && !traces.contains_key(&id) {
                traces.pop_first();
            }
            item.give(traces.entry(id).or_default())?;
        }
        drop(traces);
        self.0.came.notify_waiters();
        Ok(())
    }

    fn flush(&mut self) -> Result<Flushed, SinkError> {
        Ok(Flushed::default())
    }
}

impl OtlpCollector {
    /// One that will listen on an address.
    pub fn new(project: &Project, world: &World, address: &str) -> Done<Self> {
        Ok(Self {
            address: address.to_owned(),
            prices: project.config.prices.clone(),
            redactor: Arc::new(redaction::of_receiver(project, world)?),
            heap: Arc::default(),
            open: tokio::sync::Mutex::default(),
            endpoint: Mutex::default(),
        })
    }

    async fn listen(&self) -> Result<Open, Failure> {
        let fail = |text: String| Failure::new(FailureKind::Connection, text);
        let address = &self.address;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            fail(format!(
                "spans cannot be received at `{address}`: {error}; stop what listens there, set another `collect.address`, \
                 or leave it out to take a free port"
            ))
        })?;
        let at = listener.local_addr().map_err(|error| fail(format!("`{address}`: {error}")))?;
        let folder = tempfile::Builder::new().prefix("assize-spans-").tempdir();
        let folder = folder.map_err(|error| fail(format!("a folder for received spans cannot be made: {error}")))?;
        let spool = Spool::open(folder.path()).map_err(|error| fail(error.to_string()))?;
        let keeper = Box::new(OnHeap(Arc::clone(&self.heap)));
        let started = Inbox::start(spool, keeper, Pace::default(), Box::new(|_| {}));
        let (inbox, _thread) = started.map_err(|error| fail(error.to_string()))?;
        let (prices, redactor) = (self.prices.clone(), Arc::clone(&self.redactor));
        let receiver = Receiver {
            inbox,
            read: Arc::new(move |request, from, sink| {
                let price = |span: &Span| pricing::price(&prices, span);
                let options =
                    ReadOptions { price: Some(&price), redact: redactor.as_ref().as_ref(), ..ReadOptions::default() };
                read_request(request, from, &options, sink)
            }),
            taken: Arc::new(|_| {}),
            token: None,
            max_body: MAX_BODY,
            budget: Budget::new(4 * MAX_BODY),
        };
        let serving = tokio::spawn(async move {
            // It is ended from outside; what goes wrong before that shows as spans that do not come.
            let _ = serve(Some(listener), None, receiver, std::future::pending()).await;
        });
        *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        Ok(Open { _spool: folder, serving })
    }

    /// Whether the outermost span of a trial is there and has ended: nothing is to be expected but stragglers.
    fn looks_whole(&self, ids: &TraceIds) -> bool {
        let traces = self.heap.traces();
        let spans = traces.get(&ids.trace).map(|trace| trace.spans());
        spans.is_some_and(|spans| spans.iter().any(|span| is_below(span, ids) && span.end_ns.is_some()))
    }
}

/// Whether a span is a child of the one that the trial was announced with.
fn is_below(span: &Span, ids: &TraceIds) -> bool {
    span.parent_id.as_ref().is_none_or(|parent| parent.as_str() == ids.span)
}

#[async_trait]
impl Collector for OtlpCollector {
    async fn open(&self) -> Result<(), Failure> {
        let mut open = self.open.lock().await;
        if open.is_none() {
            *open = Some(self.listen().await?);
        }
        Ok(())
    }

    fn endpoint(&self) -> Option<String> {
        let at = *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        at.map(|at| format!("http://{at}"))
    }

    async fn take(&self, ids: &TraceIds, grace: Duration) -> Collected {
        let deadline = Instant::now() + grace;
        loop {
            let came = self.heap.came.notified();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let whole = self.looks_whole(ids);
            let wait = if whole { left.min(QUIET) } else { left };
            // Other trials' spans wake this one, too; it then looks again.
            if tokio::time::timeout(wait, came).await.is_err() && whole {
                break;
            }
        }
        let Some(mut gathered) = self.heap.traces().remove(&ids.trace) else { return Collected::default() };
        let gathered = gathered.drain();
        let trace = gathered.traces.into_iter().next().map(|trace| rooted(trace, ids));
        Collected { trace, rejected: gathered.rejected.len() as u64 }
    }
}

/// The span that a trial was announced with is not in its trace: its children are roots.
fn rooted(mut trace: Trace, ids: &TraceIds) -> Trace {
    for span in &mut trace.spans {
        if span.parent_id.as_ref().is_some_and(|parent| parent.as_str() == ids.span) {
            span.parent_id = None;
        }
    }
    crate::model::assemble(trace.spans.clone()).traces.into_iter().next().unwrap_or(trace)
}

/// A shared collector per address, so that two targets of one command may name the same.
#[derive(Default)]
pub(super) struct Collectors(Mutex<BTreeMap<String, Arc<OtlpCollector>>>);

impl Collectors {
    /// The one of an address; nothing listens before it is opened.
    pub fn at(&self, project: &Project, world: &World, address: &str) -> Result<Arc<OtlpCollector>, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(address) {
            return Ok(Arc::clone(found));
        }
        let made = OtlpCollector::new(project, world, address).map_err(|failed: Failed| failed.error.to_string())?;
        let made = Arc::new(made);
        known.insert(address.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}
