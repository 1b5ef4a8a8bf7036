//! `assize serve`: receives spans over OTLP and writes them to the lake until it is stopped; gives Prometheus its page.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde::Serialize;
use tokio::net::TcpListener;

use super::exit::{Done, Failed};
use super::intake::{IngestReport, Taker, rejected_file};
use super::metrics::Metrics;
use super::project::{Project, World};
use super::{pricing, redaction};
use crate::ingest::{Item, ReadOptions, SinkError, read_request};
use crate::lake::Lake;
use crate::model::Span;
use crate::receive::{
    Budget, Flushed, Inbox, Keeper, Pace, PageFn, Patience, Receiver, Spool, Told, serve as serve_otlp, serve_page,
};
use crate::sys::files;

/// The variable with the token that senders must show.
pub const TOKEN: &str = "ASSIZE_OTLP_TOKEN";
/// Longest wait for who is scraping when stopping.
const LINGER: Duration = Duration::from_secs(2);
/// Most bytes of one request.
const MAX_BODY: usize = 64 << 20;
/// Most bytes of all requests that are being read; as many again, and what is made of them, wait for the lake.
const IN_FLIGHT: usize = 256 << 20;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Address for OTLP over HTTP.
    pub http: Option<String>,
    /// Address for OTLP over gRPC.
    pub grpc: Option<String>,
    /// Address of the page that Prometheus scrapes.
    pub metrics: Option<String>,
    /// Seconds between receiving and writing to the lake at most.
    pub flush_s: u64,
}

/// Where it listens.
#[derive(Clone, Debug, Serialize)]
pub struct Listening {
    /// OTLP over HTTP.
    pub http: Option<SocketAddr>,
    /// OTLP over gRPC.
    pub grpc: Option<SocketAddr>,
    /// The page that Prometheus scrapes.
    pub metrics: Option<SocketAddr>,
    /// Whether senders must show a token.
    pub token: bool,
    /// What its owner should know.
    pub warnings: Vec<String>,
}

/// Puts what was received into the lake.
struct LakeKeeper {
    lake: Lake,
    rejected_to: std::path::PathBuf,
    held: Vec<Item>,
    patience: Patience,
    total: Arc<Mutex<Totals>>,
}

/// What was done since the start.
#[derive(Default)]
struct Totals {
    report: IngestReport,
    /// Log records that wait for their spans.
    waiting: usize,
}

impl Keeper for LakeKeeper {
    fn take(&mut self, items: Vec<Item>) -> Result<(), SinkError> {
        self.held.extend(items);
        Ok(())
    }

    fn flush(&mut self) -> Result<Flushed, SinkError> {
        let mut taker = Taker::new(self.rejected_to.clone(), Some(&self.lake));
        // Spans may be written in parts and do not wait: their log records go before them.
        let is_event = |item: &Item| matches!(item, Item::Event(_));
        let (events, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held).into_iter().partition(is_event);
        for item in events.into_iter().chain(others) {
            item.give(&mut taker)?;
        }
        taker.flush()?;
        // Those that wait already were looked for when they came; their span brings them along when it comes.
        let (new, mut waiting): (Vec<_>, Vec<_>) =
            taker.waiting().into_iter().partition(|event| !self.patience.knows(event));
        waiting.extend(taker.join_late(new)?);
        let (waiting, given_up) = self.patience.part(waiting, Instant::now());
        let mut total = locked(&self.total);
        total.waiting = waiting.len();
        total.report.add(IngestReport { unjoined: given_up as u64, ..taker.report });
        let waiting = waiting.into_iter().map(|event| Item::Event(Box::new(event))).collect();
        Ok(Flushed { waiting, given_up })
    }
}

fn locked(total: &Mutex<Totals>) -> MutexGuard<'_, Totals> {
    total.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until `stop` is done; then what was received is written and the totals are told.
///
/// # Errors
/// When an address cannot be listened on, or the spool cannot be used.
pub async fn serve(
    project: &Project,
    world: &World,
    ask: &Ask,
    listening: impl FnOnce(&Listening),
    tell: impl Fn(Told) + Send + 'static,
    stop: impl Future<Output = ()>,
) -> Done<IngestReport> {
    let scraped = listen(ask.metrics.as_deref()).await?;
    let token = world.env.secret(TOKEN);
    let (told, heard) = tokio::sync::watch::channel(false);
    let metrics_at = scraped.as_ref().and_then(|listener| listener.local_addr().ok());
    let page = match scraped {
        Some(listener) => {
            Some(tokio::spawn(serve_page(listener, page_of(project, world).await?, token.clone(), ended(heard))))
        }
        None => None,
    };
    let close_page = || async {
        // A page that is gone already means the same.
        let _ = told.send(true);
        if let Some(page) = page {
            let _ = tokio::time::timeout(LINGER, page).await;
        }
    };
    if ask.http.is_none() && ask.grpc.is_none() {
        let open = metrics_at.is_some_and(|address| !address.ip().is_loopback());
        let warning = (open && token.is_none())
            .then(|| format!("anyone who reaches this address can read scores; set {TOKEN} to ask for a token"));
        let warnings = warning.into_iter().collect();
        listening(&Listening { http: None, grpc: None, metrics: metrics_at, token: token.is_some(), warnings });
        stop.await;
        close_page().await;
        return Ok(IngestReport::default());
    }
    let state = project.state_folder();
    // Two receivers would take each other's spool for what a crash left.
    let Some(_alone) = files::lock(&state.join("serve.lock")).map_err(Failed::instrument)? else {
        let cause =
            "another receiver writes to this lake; send to that one, stop it, or give this one a lake of its own";
        return Err(Failed::usage(anyhow!("{cause}")));
    };
    let http = listen(ask.http.as_deref()).await?;
    let grpc = listen(ask.grpc.as_deref()).await?;
    let address = |listener: &Option<TcpListener>| listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let (http_at, grpc_at) = (address(&http), address(&grpc));
    let open = [http_at, grpc_at, metrics_at].into_iter().flatten().any(|address| !address.ip().is_loopback());
    let mut warnings = Vec::new();
    if open && token.is_none() {
        warnings.push(format!("anyone who reaches this address can send and read; set {TOKEN} to ask for a token"));
    }
    let redactor = redaction::of_receiver(project, world)?;
    warnings.extend(redactor.iter().flat_map(|redactor| redactor.warnings().to_vec()));
    let spool = Spool::open(&state.join("spool")).map_err(Failed::instrument)?;
    let total = Arc::new(Mutex::new(Totals::default()));
    let keeper = LakeKeeper {
        lake: project.lake(&world.env)?,
        rejected_to: rejected_file(project),
        held: Vec::new(),
        patience: Patience::default(),
        total: Arc::clone(&total),
    };
    let pace = Pace { flush_after: Duration::from_secs(ask.flush_s), ..Pace::default() };
    let started = Inbox::start(spool, Box::new(keeper), pace, Box::new(tell));
    let (inbox, thread) = started.map_err(Failed::instrument)?;
    let prices = project.config.prices.clone();
    let account = Arc::clone(&total);
    let receiver = Receiver {
        inbox: inbox.clone(),
        read: Arc::new(move |request, from, sink| {
            let price = |span: &Span| pricing::price(&prices, span);
            let options = ReadOptions { price: Some(&price), redact: redactor.as_ref(), ..ReadOptions::default() };
            read_request(request, from, &options, sink)
        }),
        taken: Arc::new(move |summary| locked(&account).report.add_request(summary)),
        token: token.clone(),
        max_body: MAX_BODY,
        budget: Budget::new(IN_FLIGHT),
    };
    listening(&Listening { http: http_at, grpc: grpc_at, metrics: metrics_at, token: token.is_some(), warnings });
    let served = serve_otlp(http, grpc, receiver, stop).await;
    close_page().await;
    let close = move || {
        inbox.close();
        thread.join()
    };
    let ended = tokio::task::spawn_blocking(close).await;
    served.map_err(Failed::instrument)?;
    match ended {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(cause))) => return Err(Failed::instrument(anyhow!("{cause}"))),
        _ => return Err(Failed::instrument(anyhow!("the writer ended badly; what was received is in the spool"))),
    }
    let Totals { mut report, waiting } = std::mem::take(&mut *locked(&total));
    if waiting > 0 {
        let told =
            format!("log records that still wait for their spans: {waiting}; they are in the spool for the next start");
        report.warnings.push(told);
    }
    Ok(report)
}

/// What makes the page.
async fn page_of(project: &Project, world: &World) -> Done<PageFn> {
    let metrics = Arc::new(Metrics::open(project, world).await?);
    Ok(Arc::new(move || {
        let metrics = Arc::clone(&metrics);
        Box::pin(async move { metrics.page().await.map_err(|failed| format!("{:#}", failed.error)) })
    }))
}

/// Done once it is told to end, or nobody is left to tell.
async fn ended(mut heard: tokio::sync::watch::Receiver<bool>) {
    let _ = heard.wait_for(|stop| *stop).await;
}

async fn listen(address: Option<&str>) -> Done<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let mend = "give an address such as `127.0.0.1:4318`, one that is free";
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|error| Failed::usage(anyhow!("cannot listen on `{address}`: {error}; {mend}")))
}
