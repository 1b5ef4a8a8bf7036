//! `assize lake`: its words, its call, its printing.

use std::fmt::Write as _;

use clap::{ArgGroup, Args, Subcommand};

use super::print::Printer;
use super::show::{count, table, thousands};
use crate::lake::{Compacted, Whose};
use crate::ops::lake::{self, Stats, Taken};
use crate::ops::{Done, Exit, Project, World};
use crate::sys::text::one_line;

/// `lake`
#[derive(Debug, Subcommand)]
pub enum LakeVerb {
    /// Say how much the lake holds.
    Stats,
    /// Turn the many small files of a day into few sorted ones. Safe beside readers and writers.
    Compact {
        /// Only this day, such as `2026-11-21`.
        #[arg(long, value_name = "DATE")]
        day: Option<String>,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take out old days. Says what it would do; `--yes` does it.
    Expire {
        /// Age of a day in days or weeks, such as `90d` or `12w`.
        #[arg(long, value_name = "AGE")]
        older_than: String,
        /// Keep traces that stand in a dataset.
        #[arg(long)]
        keep_sampled: bool,
        /// Do it.
        #[arg(long)]
        yes: bool,
        /// Only say what would be done; this is also what happens without `--yes`.
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
    },
    /// Take out everything of a user, a session or a trace. Says what it would do; `--yes` does it.
    #[command(after_help = "Example:\n  assize lake delete --user u-1047\n  assize lake delete --user u-1047 --yes")]
    Delete(DeleteArgs),
}

/// `lake delete`
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whose").required(true)))]
pub struct DeleteArgs {
    /// User, as traces name them.
    #[arg(long, group = "whose")]
    pub user: Option<String>,
    /// Session.
    #[arg(long, group = "whose")]
    pub session: Option<String>,
    /// Trace id, or its first characters.
    #[arg(long, group = "whose")]
    pub trace: Option<String>,
    /// Do it.
    #[arg(long)]
    pub yes: bool,
    /// Only say what would be done; this is also what happens without `--yes`.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
}

/// Carries out `lake`.
pub async fn verb(project: &Project, world: &World, verb: LakeVerb, printer: &Printer) -> Done<Exit> {
    match verb {
        LakeVerb::Stats => {
            let stats = lake::stats(project, world)?;
            printer.result(&stats, || totals(&stats))?;
        }
        LakeVerb::Compact { day, dry_run } => {
            let done = lake::compact(project, world, day.as_deref(), !dry_run)?;
            printer.result(&done, || compacted(&done))?;
        }
        LakeVerb::Expire { older_than, keep_sampled, yes, .. } => {
            let done = lake::expire(project, world, &older_than, keep_sampled, yes).await?;
            printer.result(&done, || taken(&done))?;
        }
        LakeVerb::Delete(args) => {
            let yes = args.yes;
            let whose = match (args.user, args.session, args.trace) {
                (Some(user), _, _) => Whose::User(user),
                (_, Some(session), _) => Whose::Session(session.as_str().into()),
                (_, _, trace) => Whose::Trace(trace.unwrap_or_default().as_str().into()),
            };
            let done = lake::delete(project, world, whose, yes).await?;
            printer.result(&done, || taken(&done))?;
        }
    }
    Ok(Exit::Pass)
}

fn totals(found: &Stats) -> String {
    let stats = &found.stats;
    let time = |nanos: Option<i64>| {
        let time = nanos.and_then(|nanos| jiff::Timestamp::from_nanosecond(i128::from(nanos)).ok());
        time.map_or("-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("lake", one_line(&found.place, 200)),
        row("traces", thousands(stats.traces)),
        row("spans", thousands(stats.spans)),
        row("failed spans", thousands(stats.errors)),
        row("scores", thousands(stats.scores)),
        row("first", time(stats.first_ns)),
        row("last", time(stats.last_ns)),
        row("days", thousands(stats.days)),
        row("files", thousands(stats.parts)),
        row("bytes", thousands(stats.bytes)),
    ];
    table(&["", ""], &rows).trim_start().to_owned()
}

fn compacted(done: &Compacted) -> String {
    if done.rewritten == 0 {
        return format!("Nothing to do: {} in {}.", count(done.parts_before, "file", "files"), days(done.days));
    }
    let (became, was, were) =
        if done.done { ("became", "row was", "rows were") } else { ("would become", "row", "rows") };
    let files = count(done.parts_before, "file", "files");
    let mut text = format!("{files} {became} {} in {}.", done.parts_after, days(done.days));
    if done.superseded > 0 {
        let rows = count(done.superseded, was, were);
        let would = if done.done { "" } else { " would be" };
        let _ = write!(text, " {rows}{would} left out because another version of the span counts.");
    }
    if !done.done {
        text.push_str("\nNothing was changed; leave `--dry-run` out to do it.");
    }
    text
}

fn days(n: u64) -> String {
    count(n, "day", "days")
}

fn taken(done: &Taken) -> String {
    let removed = &done.removed;
    let found = format!(
        "{}, {}, {}, {}",
        count(removed.traces, "trace", "traces"),
        count(removed.spans, "span", "spans"),
        count(removed.scores, "score", "scores"),
        count(done.rejected, "rejected row", "rejected rows"),
    );
    if removed.spans == 0 && removed.scores == 0 && done.rejected == 0 {
        return "Nothing of that is in the lake.".to_owned();
    }
    let files = format!(
        "{} of {} to write again, {} to remove",
        count(removed.parts_rewritten, "file", "files"),
        days(removed.days),
        removed.parts_removed
    );
    let found = match &done.trace {
        Some(trace) => format!("trace {}: {found}", one_line(trace.as_str(), 80)),
        None => found,
    };
    match &done.subject {
        None => format!("Would take out {found}: {files}.\nNothing was changed; add --yes to do it."),
        Some(subject) => format!(
            "Took out {found}.\nIn the audit trail as `{subject}`. Datasets and runs made from these traces keep what \
             they hold."
        ),
    }
}
