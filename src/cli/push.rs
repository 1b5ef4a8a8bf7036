//! `assize push`: its arguments and what is told.

use std::fmt::Write as _;

use clap::Args;

use super::print::Printer;
use crate::ops::push::{self, Ask, Pushed, SinkPushed};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// Shown below the help of the verb.
pub const EXAMPLES: &str = "Example:\n  assize push latest\n  assize push 7f3a91c2 --to production --dry-run\n\n\
                            Sinks are under `[sinks]`; `assize schema sink.langfuse` lists the options of one. \
                            Cells without a score are never sent.";

/// `push`
#[derive(Debug, Args)]
pub struct PushArgs {
    /// Run: an id, its last characters, `latest` or `baseline`.
    pub run: String,
    /// Suite, for `latest` and `baseline`; may be left out when there is only one.
    #[arg(long)]
    pub suite: Option<String>,
    /// Only this sink; by default all of them.
    #[arg(long, value_name = "NAME")]
    pub to: Option<String>,
    /// Send nothing; say what would be sent.
    #[arg(long)]
    pub dry_run: bool,
    /// Send at most so many entries to each sink; the others wait.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Send again what a sink turned away before.
    #[arg(long, conflicts_with = "dry_run")]
    pub rejected: bool,
}

/// Carries it out.
pub async fn run(project: &Project, world: &World, args: PushArgs, printer: &Printer) -> Done<Exit> {
    let PushArgs { run, suite, to, dry_run, limit, rejected } = args;
    let (pushed, exit) = push::push(project, world, &Ask { run, suite, to, dry_run, limit, rejected }).await?;
    printer.result(&pushed, || text(&pushed))?;
    Ok(exit)
}

fn text(pushed: &Pushed) -> String {
    let mut text = format!("Run {}: {} cells with a score", pushed.run, pushed.scored);
    if !pushed.unscored.is_empty() {
        let reasons: Vec<String> = pushed.unscored.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let _ = write!(text, "; without one and not sent: {}", reasons.join(", "));
    }
    if pushed.without_trace > 0 {
        let _ = write!(text, "; {} outputs are of no known trace and not sent", pushed.without_trace);
    }
    text.push('\n');
    pushed.sinks.iter().for_each(|said| one(said, pushed.dry_run, &mut text));
    text
}

fn one(said: &SinkPushed, dry: bool, text: &mut String) {
    let _ = writeln!(
        text,
        "{} ({}): {} entries: {} new, {} changed, {} known",
        said.sink, said.kind, said.entries, said.new, said.changed, said.same
    );
    if dry {
        let _ = writeln!(text, "  would send {}", said.waiting);
        for body in &said.would_send {
            let _ = writeln!(text, "  {}", one_line(&body.to_string(), 400));
        }
    } else {
        let _ = writeln!(
            text,
            "  sent {}, turned away {}, waiting {} ({} requests, {} of them repeated)",
            said.sent, said.rejected, said.waiting, said.requests, said.retries
        );
    }
    for (why, count) in &said.left_out {
        let _ = writeln!(text, "  left out {count}: {}", one_line(why, 200));
    }
    for rejection in &said.rejections {
        let _ = writeln!(text, "  turned away: {}", one_line(rejection, 300));
    }
    if let Some(why) = &said.stopped {
        let _ = writeln!(text, "  stopped: {}", one_line(why, 600));
    }
}
