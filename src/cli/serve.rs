//! `assize serve`: arguments, what is told while it runs, totals.

use clap::Args;

use super::ingested;
use super::print::{Printer, to_stderr};
use crate::ops::serve::{Ask, Listening, TOKEN, serve};
use crate::ops::{Done, Exit, Failed, Project, World};
use crate::receive::{SetAside, Told};

/// `serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Receive OTLP over HTTP at this address (protobuf and JSON; `/v1/traces`, `/v1/logs`). Default when `--grpc` is
    /// not given either: 127.0.0.1:4318.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = DEFAULT)]
    pub otlp: Option<String>,
    /// Receive OTLP over gRPC at this address, such as 127.0.0.1:4317.
    #[arg(long, value_name = "ADDRESS")]
    pub grpc: Option<String>,
    /// Give Prometheus a page of the latest findings at this address, such as 127.0.0.1:9464, under `/metrics`. Alone,
    /// nothing is received.
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,
    /// Write to the lake at least every so many seconds. Every request is on disk before it is answered.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub flush: u64,
}

const DEFAULT: &str = "127.0.0.1:4318";

/// Carries it out.
pub async fn run(project: &Project, world: &World, args: ServeArgs, printer: &Printer) -> Done<Exit> {
    let http = match (&args.otlp, &args.grpc, &args.metrics) {
        (None, None, None) => Some(DEFAULT.to_owned()),
        (http, ..) => http.clone(),
    };
    let receives = http.is_some() || args.grpc.is_some();
    let ask = Ask { http, grpc: args.grpc, metrics: args.metrics, flush_s: args.flush };
    let quiet = printer.quiet;
    // Listened to before anyone is told that it runs: who is told may stop it at once.
    let stopped = stop_signal().map_err(Failed::instrument)?;
    let stop = async {
        stopped.await;
        printer.note(if receives { "Stopping: writing what was received." } else { "Stopping." });
    };
    let tell = move |told: Told| match told {
        Told::Failed(why) => to_stderr(&format!("cannot write: {why}; kept in the spool and tried again")),
        Told::Recovered(count) if !quiet => to_stderr(&format!("{count} rows left by an earlier stop are written")),
        Told::GivenUp(count) => {
            to_stderr(&format!("{count} log records waited too long for their spans; what they say is in no trace"))
        }
        Told::Unreadable(SetAside { file, lines }) => {
            to_stderr(&format!("{lines} lines of the spool cannot be read; the file is kept as {}", file.display()))
        }
        Told::Kept(_) | Told::Recovered(_) => {}
    };
    let report = serve(project, world, &ask, |listening| printer.note(&listening_text(listening)), tell, stop).await?;
    report.warnings.iter().for_each(|warning| printer.note(&format!("warning: {warning}")));
    if receives {
        printer.result(&report, || ingested::ingested(&report))?;
    }
    Ok(Exit::Pass)
}

/// Ctrl-C, or what ends a service. Listens from now on, not from the first wait on.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

fn listening_text(listening: &Listening) -> String {
    let mut lines = Vec::new();
    if let Some(address) = listening.http {
        lines.push(format!("Receiving OTLP over HTTP on http://{address}/v1/traces"));
    }
    if let Some(address) = listening.grpc {
        lines.push(format!("Receiving OTLP over gRPC on {address}"));
    }
    if let Some(address) = listening.metrics {
        lines.push(format!("Giving metrics on http://{address}/metrics"));
    }
    if listening.token {
        lines.push(format!("Senders show the token of {TOKEN}."));
    }
    lines.extend(listening.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.push("Ctrl-C stops.".to_owned());
    lines.join("\n")
}
